//! The malicious relay: the relay's protocol with an identity of its own, mailboxes in memory, and a vice.
//!
//! [`Evil`] is sans IO and holds everything; [`server`] puts it on the network. It must never refuse to admit a device
//! that an honest relay would admit: a relay that says no there is no attack on anything but availability. What it
//! refuses to an admitted one, by the vice for that, is a slot, a stream or a connection.

mod guests;
pub mod liar;
pub mod mailboxes;
pub mod pictures;
pub mod server;
mod session;
pub mod walk;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wire::frame::{Frame, Guest, Revocation};
use wire::{Class, DeviceId, Digest, ReceiveState, SendId, SendState, Seq};

use crate::orders::{Look, Order};
use crate::vice::Vice;
use guests::Guests;
use liar::{Handling, Liar, Reader, Refusal, Side};
use mailboxes::{Answer, Came, Image, Mailboxes};
use pictures::Pictures;
use walk::{Change, Walk, Which};

/// Envelopes that one reader is given at a time.
const DELIVERIES_MAX: usize = 32;

/// An end of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    Writes,
    Reads,
}

/// What is known of an end that was attached once.
#[derive(Clone, Copy, Default, Debug)]
struct Attachments {
    count: u64,
    /// Since the last order.
    again: bool,
    /// Who did it last.
    by: Option<Class>,
}

/// Envelopes that came for the first time since the last mark, by the class of who sent them.
#[derive(Clone, Copy, Default, Debug)]
struct Fresh {
    hub: u64,
    phone: u64,
    gone: u64,
}

/// The malicious relay without its network.
#[derive(Default, Debug)]
pub struct Evil {
    mailboxes: Mailboxes,
    liar: Liar,
    /// What was wiped and comes back.
    wiped: Option<Image>,
    ends: BTreeMap<(SendId, End), Attachments>,
    /// Mailboxes of which a hub has said that nobody uses them any more.
    gone: BTreeSet<SendId>,
    fresh: Fresh,
    guests: Guests,
    walk: Walk,
    pictures: Pictures,
}

/// Whether connections go on behind an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connections {
    /// All are closed: both ends attach anew.
    Closed,
    /// They stay.
    Stay,
}

impl Evil {
    /// Does what it is told.
    pub fn obey(&mut self, order: Order) -> Connections {
        match order {
            Order::Vice(vice, seed) => {
                self.liar.begin(vice, seed);
                let walks = vice == Vice::Walk;
                self.walk.begin(walks.then(|| Which::of(seed)));
                if vice == Vice::Wipe {
                    self.wiped = Some(self.mailboxes.image());
                    self.mailboxes.become_image(Image::default());
                    self.liar.tell();
                }
            }
            Order::Behave => {
                self.liar.behave();
                self.walk.begin(None);
                if let Some(image) = self.wiped.take() {
                    self.mailboxes.become_image(image);
                    self.liar.tell();
                }
            }
            Order::Empty => self.mailboxes.become_image(Image::default()),
            Order::Mark => {
                self.fresh = Fresh::default();
                return Connections::Stay;
            }
            Order::Look => return Connections::Stay,
        }
        for attachments in self.ends.values_mut() {
            attachments.again = false;
        }
        Connections::Closed
    }

    /// What the one who gives the orders may see.
    #[must_use]
    pub fn look(&self) -> Look {
        let used = self.ends.iter();
        let used = used.filter(|((mailbox, _end), _)| !self.gone.contains(mailbox));
        let used: Vec<Attachments> = used.map(|(_, end)| *end).collect();
        let waiting = |class: Class| {
            let away = used
                .iter()
                .filter(|end| end.by == Some(class) && !end.again);
            away.count() as u64
        };
        Look {
            lies: self.liar.told(),
            ends: used.len() as u64,
            waiting_hub: waiting(Class::Hub),
            waiting_phone: waiting(Class::Phone),
            stored: self.mailboxes.count() as u64,
            fresh_hub: self.fresh.hub,
            fresh_phone: self.fresh.phone,
            fresh_gone: self.fresh.gone,
        }
    }

    fn attached(&mut self, by: Class, mailbox: SendId, end: End) -> Side {
        let attachments = self.ends.entry((mailbox, end)).or_default();
        attachments.count += 1;
        attachments.again = true;
        attachments.by = Some(by);
        Side::of(attachments.count)
    }

    /// Whether the next thing that an admitted device asks for, or is given, is refused.
    pub fn refuse(&mut self, class: Class) -> Option<Refusal> {
        self.liar.refuse(class)
    }

    /// A writer attaches; what it is shown.
    pub fn attach_send(&mut self, by: Class, mailbox: SendId) -> SendState {
        let side = self.attached(by, mailbox, End::Writes);
        let state = self.mailboxes.send_state(&mailbox);
        self.liar.send_state(state, side)
    }

    /// A reader attaches; what it is shown, and where it stands.
    pub fn attach_receive(
        &mut self,
        by: Class,
        mailbox: SendId,
        cursor: Seq,
    ) -> (ReceiveState, Reader) {
        let side = self.attached(by, mailbox, End::Reads);
        let state = self.mailboxes.receive_state(&mailbox);
        let reader = Reader::new(cursor, &state, side);
        (self.liar.receive_state(state, side), reader)
    }

    /// An envelope came, whatever becomes of it.
    pub fn saw(&mut self, from: Class, mailbox: SendId, seq: Seq, bytes: &Bytes) {
        if self.mailboxes.remember(mailbox, seq, bytes) == Came::First {
            match from {
                Class::Hub => {
                    self.fresh.hub += 1;
                    self.fresh.gone += u64::from(self.gone.contains(&mailbox));
                }
                Class::Phone => self.fresh.phone += 1,
            }
        }
    }

    /// An envelope comes; the answer, if one is given. `digest` is the envelope's.
    pub fn append(
        &mut self,
        from: Class,
        mailbox: SendId,
        (seq, after, digest): (Seq, Seq, Digest),
        bytes: &Bytes,
    ) -> Option<Answer> {
        self.saw(from, mailbox, seq, bytes);
        let handling = self.liar.append(seq, digest);
        let answer = match handling {
            Handling::Ignore | Handling::Pretend(_) | Handling::Refuse(_) => Answer::Full,
            Handling::Store | Handling::StoreInSilence | Handling::StoreAndRefuse(_) => {
                self.mailboxes.append(mailbox, seq, after, digest, bytes)
            }
        };
        Liar::gives(handling, answer)
    }

    /// What an attached reader gets next.
    pub fn deliveries(&mut self, mailbox: &SendId, reader: &mut Reader) -> Vec<(Seq, Bytes)> {
        let Self {
            mailboxes, liar, ..
        } = self;
        liar.deliveries(mailboxes, mailbox, reader, DELIVERIES_MAX)
    }

    /// What is changed in the frame of `bytes` that carries this envelope to its reader.
    pub fn change_of(&mut self, mailbox: SendId, seq: Seq, bytes: usize) -> Option<Change> {
        let change = self.walk.of_envelope(mailbox, seq, bytes)?;
        self.liar.tell();
        Some(change)
    }

    /// What is changed in a control frame of `bytes`.
    pub fn change_of_word(&mut self, frame: &Frame<'_>, bytes: usize) -> Option<Change> {
        let change = self.walk.of_word(frame, bytes)?;
        self.liar.tell();
        Some(change)
    }

    /// A live piece comes; what is passed on in its place.
    pub fn live_piece(&mut self, mailbox: SendId, piece: &Bytes) -> Vec<Bytes> {
        let vice = self.liar.vice_of_pictures();
        let passed = self.pictures.pass(vice, mailbox, piece);
        if passed.first() != Some(piece) || passed.len() > 1 {
            self.liar.tell();
        }
        passed
    }

    /// A live group begins; the number that whoever watches is told.
    pub fn live_group(&mut self, group: u64) -> u64 {
        let vice = self.liar.vice_of_pictures();
        self.pictures.number(vice, group)
    }

    /// A hub takes its invitation of a device back; the answer, if one is given.
    pub fn revoke(&mut self, guest: Option<Guest>, mailboxes: &[SendId]) -> Option<Revocation> {
        match self.liar.revoke() {
            liar::Pardon::Silent => None,
            liar::Pardon::Pretends => {
                self.gone.extend(mailboxes);
                Some(Revocation::Done)
            }
            liar::Pardon::None => {
                self.gone.extend(mailboxes);
                let is_out = guest.is_none_or(|guest| self.guests.take_back(guest));
                for mailbox in mailboxes {
                    self.mailboxes.forget(mailbox);
                }
                Some(match is_out {
                    true => Revocation::Done,
                    false => Revocation::StillAdmitted,
                })
            }
        }
    }

    /// Whether a device was shut out, and not invited again since.
    #[must_use]
    pub fn is_shut_out(&self, device: &DeviceId) -> bool {
        self.guests.is_shut_out(device)
    }

    /// A device comes with an invitation; whether that admits it.
    pub fn redeem(&mut self, device: DeviceId, nonce: &[u8; 16]) -> bool {
        self.guests.redeem(device, nonce)
    }

    /// A reader holds everything through a number.
    pub fn trim(&mut self, mailbox: &SendId, through: Seq) {
        self.mailboxes.trim(mailbox, through);
    }

    /// The bytes of a number, for its sender.
    pub fn fetch(&mut self, mailbox: &SendId, seq: Seq) -> Option<Bytes> {
        self.liar.stored(&self.mailboxes, mailbox, seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: SendId = SendId([1; 24]);

    fn append(evil: &mut Evil, seq: u64) -> Option<Answer> {
        let bytes = Bytes::from(format!("envelope {seq}"));
        let place = (Seq(seq), Seq(seq - 1), Digest::of(&bytes));
        evil.append(Class::Hub, BOX, place, &bytes)
    }

    #[test]
    fn a_wiped_one_has_its_old_state_back_when_it_behaves() {
        let mut evil = Evil::default();
        assert!(matches!(append(&mut evil, 1), Some(Answer::Receipt(_))));
        assert_eq!(evil.obey(Order::Vice(Vice::Wipe, 1)), Connections::Closed);
        assert_eq!(evil.attach_send(Class::Hub, BOX), SendState::default());
        assert_eq!(append(&mut evil, 2), Some(Answer::NotNext(None)));
        evil.obey(Order::Behave);
        assert_eq!(evil.attach_send(Class::Hub, BOX).last.unwrap().seq, Seq(1));
        assert_eq!(evil.look().lies, 2);
    }

    #[test]
    fn a_forged_conflict_is_an_answer_and_what_it_refuses_is_stored_or_not() {
        let mut evil = Evil::default();
        evil.obey(Order::Vice(Vice::ForgeConflicts, 1));
        let (mut refused, mut seq) = (0, 0);
        for _ in 0..64 {
            let stored = evil.look().stored;
            match append(&mut evil, seq + 1) {
                Some(Answer::Conflict(_)) => refused += 1,
                Some(Answer::Receipt(_)) => {}
                other => panic!("{other:?}"),
            }
            seq += evil.look().stored - stored;
        }
        assert!(refused > 0 && seq > 0);
        assert_eq!(evil.look().lies, refused);
        evil.obey(Order::Behave);
        assert!(matches!(
            append(&mut evil, seq + 1),
            Some(Answer::Receipt(_))
        ));
    }

    #[test]
    fn who_was_taken_back_is_shut_out_unless_it_only_says_so() {
        let guest = |letter| Guest {
            device: DeviceId([letter; 32]),
            invitation: [letter; 16],
        };
        let mut evil = Evil::default();
        let _shown = evil.attach_send(Class::Hub, BOX);
        evil.obey(Order::Vice(Vice::Withhold, 1));
        assert_eq!(evil.revoke(Some(guest(2)), &[BOX]), None);
        assert_eq!(evil.look().ends, 1);
        evil.obey(Order::Vice(Vice::Pardon, 1));
        let said = evil.revoke(Some(guest(2)), &[BOX]);
        assert_eq!(said, Some(Revocation::Done));
        assert!(!evil.is_shut_out(&DeviceId([2; 32])) && evil.look().lies == 2);
        // Nobody is waited for there any more, whoever attaches it.
        let _shown = evil.attach_send(Class::Hub, BOX);
        assert_eq!(evil.look().ends, 0);
        evil.obey(Order::Behave);
        evil.revoke(Some(guest(2)), &[BOX]);
        assert!(evil.is_shut_out(&DeviceId([2; 32])));
        assert!(!evil.is_shut_out(&DeviceId([3; 32])));
        assert_eq!(evil.look().ends, 0);
    }

    #[test]
    fn what_left_for_the_first_time_is_counted_whatever_became_of_it() {
        let mut evil = Evil::default();
        let _answer = append(&mut evil, 1);
        assert_eq!(evil.obey(Order::Mark), Connections::Stay);
        let _answer = append(&mut evil, 1);
        // It follows nothing that is there, and has left all the same.
        let _answer = append(&mut evil, 5);
        assert_eq!((evil.look().fresh_hub, evil.look().fresh_phone), (1, 0));
    }

    #[test]
    fn who_has_not_attached_since_the_last_order_is_waited_for() {
        let mut evil = Evil::default();
        let _shown = evil.attach_send(Class::Hub, BOX);
        let _shown = evil.attach_receive(Class::Phone, BOX, Seq::NONE);
        let waiting = |evil: &Evil| (evil.look().waiting_hub, evil.look().waiting_phone);
        assert_eq!((evil.look().ends, waiting(&evil)), (2, (0, 0)));
        evil.obey(Order::Behave);
        assert_eq!(waiting(&evil), (1, 1));
        let _shown = evil.attach_send(Class::Hub, BOX);
        assert_eq!(waiting(&evil), (0, 1));
    }
}
