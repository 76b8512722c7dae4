//! What each vice does to each answer. Sans IO: the true answer, the past and dice in; a lie out.
//!
//! Every lie is counted, so that a run in which none was told proves nothing and says so. This room must never
//! change what is stored.

use bytes::Bytes;
use relay_client::{ClientError, ErrorKind};
use wire::{Class, Digest, ErrorCode, Head, ReceiveState, SendId, SendState, Seq};

use super::mailboxes::{Answer, Mailboxes};
use crate::dice::Dice;
use crate::vice::Vice;

/// A number so far above any head that nobody has sent it.
const NEVER_SENT: u64 = 1_000;
/// One in so many chances to refuse a phone something is taken, or it would never be attached.
const REFUSES_PHONE_ONE_IN: u64 = 8;
/// The same of a hub, which has to store something for a phone meanwhile.
const REFUSES_HUB_ONE_IN: u64 = 16;
/// One in so many refusals of a phone is one of its whole connection.
const CLOSES_ONE_IN: u64 = 4;

/// How far an attached reader was given envelopes, and what it is shown.
#[derive(Clone, Debug)]
pub struct Reader {
    through: Seq,
    /// Given behind the next one, whenever that comes.
    kept_back: Option<(Seq, Bytes)>,
    side: Side,
    /// Where the mailbox ends for the side that is shown less.
    half: Seq,
}

/// Which of two stories an attachment is told by a relay that equivocates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The first half of the mailbox.
    Half,
    /// All of it, with each envelope's bytes those of an earlier one.
    Other,
}

impl Side {
    /// The story of the n-th attachment.
    #[must_use]
    pub fn of(attachment: u64) -> Self {
        match attachment % 2 {
            0 => Self::Half,
            _ => Self::Other,
        }
    }
}

impl Reader {
    /// A reader that holds everything through `cursor`.
    #[must_use]
    pub fn new(cursor: Seq, state: &ReceiveState, side: Side) -> Self {
        Self {
            through: cursor,
            kept_back: None,
            side,
            half: half(state.last, state.first),
        }
    }
}

/// The middle of a mailbox.
fn half(last: Option<Head>, first: Seq) -> Seq {
    let last = last.map_or(0, |head| head.seq.0);
    Seq(first.0.min(last) + last.saturating_sub(first.0) / 2)
}

/// What becomes of an append under a vice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handling {
    /// As the protocol says.
    Store,
    /// Stored, and nobody is told.
    StoreInSilence,
    /// Thrown away, and nobody is told.
    Ignore,
    /// Thrown away, and this receipt given.
    Pretend(Head),
    /// Thrown away, and refused for this, which is said to be stored.
    Refuse(Head),
    /// Stored, and refused all the same for this.
    StoreAndRefuse(Head),
}

/// What becomes of a hub's word that a phone is shut out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pardon {
    /// It is shut out.
    None,
    /// It is not, and the hub is told that it is.
    Pretends,
    /// It is not, and nobody is told anything.
    Silent,
}

/// What is refused, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A slot, or the stream of one.
    Slot(ErrorCode),
    /// The connection.
    Connection(ErrorCode),
}

/// The liar: a vice or none, and dice.
#[derive(Debug)]
pub struct Liar {
    vice: Option<Vice>,
    dice: Dice,
    told: u64,
    /// How often something was refused: reasons come in turn.
    refusals: usize,
}

impl Default for Liar {
    fn default() -> Self {
        Self {
            vice: None,
            dice: Dice::seeded(0),
            told: 0,
            refusals: 0,
        }
    }
}

impl Liar {
    /// From now on it has this vice. Lies are counted on.
    pub fn begin(&mut self, vice: Vice, seed: u64) {
        self.vice = Some(vice);
        self.dice = Dice::seeded(seed);
    }

    /// From now on it is honest.
    pub fn behave(&mut self) {
        self.vice = None;
    }

    /// How many lies it has told.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Counts a lie that was told elsewhere.
    pub fn tell(&mut self) {
        self.told += 1;
    }

    /// The vice of this step.
    fn vice_now(&mut self) -> Option<Vice> {
        match self.vice {
            Some(Vice::Mixture) => {
                let all = Vice::OF_ONE_ANSWER;
                let index = self.dice.below(all.len() as u64);
                all.get(usize::try_from(index).unwrap_or(0)).copied()
            }
            other => other,
        }
    }

    /// The vice that the next of the live pictures is treated with.
    pub fn vice_of_pictures(&mut self) -> Option<Vice> {
        self.vice_now()
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.dice.below(n) == 0
    }

    /// What a sender is shown of its mailbox.
    pub fn send_state(&mut self, mut state: SendState, side: Side) -> SendState {
        let Some(vice) = self.vice_now() else {
            return state;
        };
        let honest = state;
        match (vice, state.last) {
            (Vice::HeadAbove, last) => {
                let seq = last.map_or(0, |head| head.seq.0) + 1 + self.dice.below(9);
                state.last = Some(self.invented(seq));
            }
            (Vice::HeadDigest, Some(last)) => {
                state.last = Some(self.invented(last.seq.0));
            }
            (Vice::Equivocate, Some(last)) if side == Side::Half && last.seq > Seq::FIRST => {
                state.last = Some(self.invented(last.seq.0 - 1));
            }
            (Vice::Equivocate, Some(last)) if side == Side::Other => {
                state.last = Some(self.invented(last.seq.0));
            }
            _ => {}
        }
        self.told += u64::from(state != honest);
        state
    }

    /// What a reader is shown of its mailbox.
    pub fn receive_state(&mut self, mut state: ReceiveState, side: Side) -> ReceiveState {
        let Some(vice) = self.vice_now() else {
            return state;
        };
        let honest = state;
        match (vice, state.last) {
            (Vice::HeadAbove, last) => {
                let seq = last.map_or(0, |head| head.seq.0) + 1 + self.dice.below(9);
                state.last = Some(self.invented(seq));
            }
            (Vice::HeadDigest, Some(last)) => state.last = Some(self.invented(last.seq.0)),
            (Vice::Equivocate, Some(last)) if side == Side::Half => {
                let seq = half(Some(last), state.first).max(Seq::FIRST);
                state.last = Some(self.invented(seq.0));
            }
            _ => {}
        }
        self.told += u64::from(state != honest);
        state
    }

    fn invented(&mut self, seq: u64) -> Head {
        let die = self.dice.next_u64().to_be_bytes();
        Head {
            seq: Seq(seq),
            digest: Digest::of(&die),
        }
    }

    /// What becomes of an append.
    pub fn append(&mut self, seq: Seq, digest: Digest) -> Handling {
        let handling = match self.vice_now() {
            Some(Vice::Drop) if self.one_in(4) => Handling::Ignore,
            Some(Vice::Withhold) => Handling::StoreInSilence,
            Some(Vice::ForgeReceipts) => Handling::Pretend(match self.dice.below(8) {
                0 => Head {
                    seq: Seq(seq.0.saturating_add(NEVER_SENT)),
                    digest,
                },
                1 => self.invented(seq.0),
                _ => Head { seq, digest },
            }),
            // Not each of them, so that something is under way that the next one can be about.
            Some(Vice::ForgeConflicts) => match self.dice.below(8) {
                0 => Handling::Refuse(Head {
                    seq: Seq(seq.0.saturating_add(NEVER_SENT)),
                    digest,
                }),
                1 => Handling::Refuse(Head { seq, digest }),
                2 | 3 => Handling::Refuse(self.invented(seq.0)),
                4 => Handling::StoreAndRefuse(self.invented(seq.0)),
                _ => Handling::Store,
            },
            _ => Handling::Store,
        };
        self.told += u64::from(handling != Handling::Store);
        handling
    }

    /// Whether the next thing that a device asks for, or is given, is refused.
    ///
    /// A hub is never told that it is not admitted, for then it says nothing for a minute and more, nor is its
    /// connection closed, which it takes for the answer to whatever it has just asked: there would be nothing left to
    /// lie about.
    pub fn refuse(&mut self, class: Class) -> Option<Refusal> {
        let one_in = match class {
            Class::Hub => REFUSES_HUB_ONE_IN,
            Class::Phone => REFUSES_PHONE_ONE_IN,
        };
        if self.vice_now() != Some(Vice::Refuse) || !self.one_in(one_in) {
            return None;
        }
        let is_said = |code: &&ErrorCode| {
            let kind = ClientError::Refused { code: **code }.kind();
            class == Class::Phone || kind != ErrorKind::NotAdmitted
        };
        let codes = ErrorCode::ALL.iter().filter(is_said);
        let code = codes.cycle().nth(self.refusals % ErrorCode::ALL.len())?;
        self.refusals += 1;
        self.told += 1;
        Some(match class == Class::Phone && self.one_in(CLOSES_ONE_IN) {
            true => Refusal::Connection(*code),
            false => Refusal::Slot(*code),
        })
    }

    /// What becomes of a hub's word that a phone is shut out.
    pub fn revoke(&mut self) -> Pardon {
        let pardon = match self.vice {
            Some(Vice::Pardon) => Pardon::Pretends,
            Some(Vice::Withhold) => Pardon::Silent,
            _ => Pardon::None,
        };
        self.told += u64::from(pardon != Pardon::None);
        pardon
    }

    /// What is given to a reader next; at most `max`, with what lies add.
    pub fn deliveries(
        &mut self,
        mailboxes: &Mailboxes,
        mailbox: &SendId,
        reader: &mut Reader,
        max: usize,
    ) -> Vec<(Seq, Bytes)> {
        let mut out = Vec::new();
        while out.len() < max {
            let next = mailboxes.next_after(mailbox, reader.through);
            let Some((seq, bytes)) = next else { break };
            let vice = self.vice_now();
            let ends = vice == Some(Vice::Equivocate)
                && reader.side == Side::Half
                && seq > reader.half.max(Seq::FIRST);
            if vice == Some(Vice::Withhold) || ends {
                self.told += 1;
                break;
            }
            reader.through = seq;
            self.deliver(vice, mailboxes, mailbox, (seq, bytes), reader, &mut out);
        }
        out
    }

    fn deliver(
        &mut self,
        vice: Option<Vice>,
        mailboxes: &Mailboxes,
        mailbox: &SendId,
        (seq, bytes): (Seq, Bytes),
        reader: &mut Reader,
        out: &mut Vec<(Seq, Bytes)>,
    ) {
        let before = (out.len(), reader.kept_back.is_some());
        let die = self.dice.next_u64();
        match vice {
            Some(Vice::Drop) if die.is_multiple_of(2) => {}
            Some(Vice::Replay) => {
                if let Some((old, its)) = mailboxes.earlier(mailbox, seq, die) {
                    out.push((old, its.clone()));
                    out.push((seq, its));
                }
                out.push((seq, bytes.clone()));
            }
            Some(Vice::Reorder) => match reader.kept_back.take() {
                None => reader.kept_back = Some((seq, bytes.clone())),
                Some(kept) => out.extend([(seq, bytes.clone()), kept]),
            },
            Some(Vice::Splice) => {
                let other = mailboxes.elsewhere(mailbox, die);
                let its = other.map_or_else(|| bytes.clone(), |(_, its)| its);
                out.push((seq, its));
            }
            Some(Vice::Relabel) => out.push((Seq(seq.0 + 1 + die % 3), bytes.clone())),
            Some(Vice::Truncate) => {
                let most = (bytes.len() as u64).saturating_sub(1).max(1);
                let length = usize::try_from(1 + die % most).unwrap_or(1);
                out.push((seq, bytes.slice(..length.min(bytes.len()))));
            }
            Some(Vice::Flip) => out.push((seq, flipped(&bytes, die))),
            Some(Vice::Equivocate) if reader.side == Side::Other => {
                let other = mailboxes.earlier(mailbox, seq, die);
                let its = other.map_or_else(|| bytes.clone(), |(_, its)| its);
                out.push((seq, its));
            }
            _ => out.push((seq, bytes.clone())),
        }
        let honest = out.len() == before.0 + 1
            && !before.1
            && reader.kept_back.is_none()
            && out.last() == Some(&(seq, bytes));
        self.told += u64::from(!honest);
    }

    /// The bytes of a number for its own sender. For a head that was invented, an envelope that it did send, under
    /// another number, or one of another mailbox, or something made up.
    pub fn stored(&mut self, mailboxes: &Mailboxes, mailbox: &SendId, seq: Seq) -> Option<Bytes> {
        let honest = mailboxes.stored(mailbox, seq);
        let die = self.dice.next_u64();
        let shown = match (self.vice_now(), &honest) {
            (Some(Vice::HeadAbove | Vice::ForgeConflicts), None) => {
                let past = match die % 4 {
                    0 => None,
                    1 => mailboxes.elsewhere(mailbox, die / 4),
                    _ => mailboxes.earlier(mailbox, seq, die / 4),
                };
                let made_up = || Bytes::copy_from_slice(&[1; 512]);
                Some(past.map_or_else(made_up, |(_, bytes)| bytes))
            }
            (Some(Vice::Flip | Vice::HeadDigest), Some(bytes)) => Some(flipped(bytes, die)),
            (_, honest) => honest.clone(),
        };
        self.told += u64::from(shown != honest);
        shown
    }

    /// Whether an answer to an append is given at all.
    #[must_use]
    pub fn gives(handling: Handling, answer: Answer) -> Option<Answer> {
        match handling {
            Handling::Store => Some(answer),
            Handling::StoreInSilence | Handling::Ignore => None,
            Handling::Pretend(head) => Some(Answer::Receipt(head)),
            Handling::Refuse(stored) | Handling::StoreAndRefuse(stored) => {
                Some(Answer::Conflict(stored))
            }
        }
    }
}

/// The same bytes with one bit flipped; `die` says which.
fn flipped(bytes: &Bytes, die: u64) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = die % (bytes.len().max(1) as u64 * 8);
    let index = usize::try_from(at / 8).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(index) {
        *byte ^= 1 << (at % 8);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: SendId = SendId([1; 24]);
    const OTHER: SendId = SendId([2; 24]);

    fn filled() -> Mailboxes {
        let mut all = Mailboxes::default();
        for (mailbox, letter) in [(BOX, 'a'), (OTHER, 'z')] {
            for seq in 1..=8_u64 {
                let bytes = Bytes::from(format!("{letter}{seq} with some more behind it"));
                all.remember(mailbox, Seq(seq), &bytes);
                let digest = Digest::of(&bytes);
                let _answer = all.append(mailbox, Seq(seq), Seq(seq - 1), digest, &bytes);
            }
        }
        all
    }

    fn read(liar: &mut Liar, all: &Mailboxes, side: Side) -> Vec<(Seq, Bytes)> {
        let mut reader = Reader::new(Seq::NONE, &all.receive_state(&BOX), side);
        liar.deliveries(all, &BOX, &mut reader, 64)
    }

    #[test]
    fn an_honest_one_gives_everything_once_and_tells_no_lie() {
        let (all, mut liar) = (filled(), Liar::default());
        let read = read(&mut liar, &all, Side::Half);
        let numbers: Vec<u64> = read.iter().map(|(seq, _)| seq.0).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
        let state = all.send_state(&BOX);
        assert_eq!(liar.send_state(state, Side::Other), state);
        let handling = liar.append(Seq(9), Digest([0; 32]));
        assert_eq!(handling, Handling::Store);
        for seq in [Seq(8), Seq(9)] {
            assert_eq!(liar.stored(&all, &BOX, seq), all.stored(&BOX, seq));
        }
        assert_eq!(liar.told(), 0);
    }

    #[test]
    fn for_a_head_that_it_invents_there_is_an_envelope_and_for_another_digest_another_one() {
        let all = filled();
        for (vice, seq) in [(Vice::HeadAbove, Seq(9)), (Vice::HeadDigest, Seq(8))] {
            let mut liar = Liar::default();
            liar.begin(vice, 5);
            let shown: Vec<_> = (0..16).map(|_| liar.stored(&all, &BOX, seq)).collect();
            let honest = all.stored(&BOX, seq);
            assert!(shown.iter().all(|one| one.is_some() && *one != honest));
            assert_eq!(liar.told(), 16, "{vice}");
        }
    }

    #[test]
    fn a_conflict_is_forged_with_another_digest_with_its_own_and_about_what_was_never_sent() {
        let mut liar = Liar::default();
        liar.begin(Vice::ForgeConflicts, 5);
        let (seq, digest) = (Seq(9), Digest([0; 32]));
        let (mut never_sent, mut own, mut other, mut stored) = (0, 0, 0, 0);
        for _ in 0..200 {
            let handling = liar.append(seq, digest);
            let head = match handling {
                Handling::Refuse(head) => head,
                Handling::StoreAndRefuse(head) => {
                    stored += 1;
                    head
                }
                honest => {
                    assert_eq!(honest, Handling::Store);
                    continue;
                }
            };
            let answer = Liar::gives(handling, Answer::Full);
            assert_eq!(answer, Some(Answer::Conflict(head)));
            match (head.seq == seq, head.digest == digest) {
                (false, _) => never_sent += 1,
                (true, true) => own += 1,
                (true, false) => other += 1,
            }
        }
        assert!(never_sent > 0 && own > 0 && stored > 0 && other > stored);
        assert_eq!(liar.told(), never_sent + own + other);
        // What is said to be stored is shown, and is not the sender's under this number.
        let all = filled();
        let shown = liar.stored(&all, &BOX, Seq(9));
        assert!(shown.is_some() && all.stored(&BOX, Seq(9)).is_none());
    }

    #[test]
    fn every_vice_tells_a_lie_that_is_counted_and_stops_when_it_behaves() {
        let all = filled();
        for vice in Vice::ALL {
            let mut liar = Liar::default();
            liar.begin(vice, 5);
            for side in [Side::Half, Side::Other] {
                let _given = read(&mut liar, &all, side);
                let _shown = liar.send_state(all.send_state(&BOX), side);
                let _shown = liar.receive_state(all.receive_state(&BOX), side);
                let _handled = liar.append(Seq(9), Digest([0; 32]));
                let _refused = (0..64).filter_map(|_| liar.refuse(Class::Phone)).count();
            }
            let _pardoned = liar.revoke();
            // What these two do is done to the mailboxes, and to frames.
            let elsewhere = matches!(vice, Vice::Wipe | Vice::Walk);
            assert_eq!(liar.told() > 0, !elsewhere, "{vice}");
            liar.behave();
            let told = liar.told();
            assert_eq!(read(&mut liar, &all, Side::Other).len(), 8, "{vice}");
            assert!(
                (0..64).all(|_| liar.refuse(Class::Phone).is_none()),
                "{vice}"
            );
            assert_eq!(liar.told(), told, "{vice}");
        }
    }

    #[test]
    fn a_phone_is_refused_for_every_reason_and_a_hub_is_left_something_to_say() {
        for class in [Class::Hub, Class::Phone] {
            let mut liar = Liar::default();
            liar.begin(Vice::Refuse, 5);
            let refusals: Vec<Refusal> = (0..20_000).filter_map(|_| liar.refuse(class)).collect();
            assert_eq!(liar.told(), refusals.len() as u64);
            let said = |code: ErrorCode| {
                let slot = refusals.contains(&Refusal::Slot(code));
                (slot, refusals.contains(&Refusal::Connection(code)))
            };
            for code in ErrorCode::ALL {
                let kind = ClientError::Refused { code: *code }.kind();
                let expected = match class {
                    Class::Phone => (true, true),
                    Class::Hub => (kind != ErrorKind::NotAdmitted, false),
                };
                assert_eq!(said(*code), expected, "{class:?} {code:?}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_one_bit() {
        let bytes = Bytes::from_static(b"bytes");
        for die in 0..40 {
            let other = flipped(&bytes, die);
            let bits: u32 = other
                .iter()
                .zip(bytes.iter())
                .map(|(a, b)| (a ^ b).count_ones())
                .sum();
            assert_eq!(bits, 1);
        }
    }
}
