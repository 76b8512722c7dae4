//! What the malicious relay truly stores, in memory, by the protocol's own mailbox machine; and everything
//! that ever came, for lies.
//!
//! An attacker's relay need not survive a crash, so nothing here is on a disk. This room must never lie: it is
//! what the liar lies about, and what both ends find when it behaves.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wire::mailbox::{Mailbox, Verdict};
use wire::{Digest, Head, ReceiveState, SendId, SendState, Seq};

/// Bytes of envelopes that are stored at most.
const STORED_BYTES_MAX: usize = 256 << 20;
/// Envelopes that are remembered for lies at most.
const HISTORY_MAX: usize = 4096;

/// The answer to an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Stored, or stored before.
    Receipt(Head),
    /// Other bytes are stored there.
    Conflict(Head),
    /// It does not follow what is there.
    NotNext(Option<Head>),
    /// There is no room.
    Full,
}

#[derive(Clone, Default, Debug)]
struct Kept {
    facts: Mailbox,
    envelopes: BTreeMap<Seq, Bytes>,
}

/// One mailbox's past: an envelope that came once.
#[derive(Clone, Debug)]
struct Past {
    mailbox: SendId,
    seq: Seq,
    bytes: Bytes,
}

/// All mailboxes as they stand.
#[derive(Clone, Default, Debug)]
pub struct Image(BTreeMap<SendId, Kept>);

/// All mailboxes, and their past.
#[derive(Default, Debug)]
pub struct Mailboxes {
    now: Image,
    bytes: usize,
    past: Vec<Past>,
    known: BTreeSet<(SendId, Seq, Digest)>,
}

/// Whether an envelope had come before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    /// These bytes under this number in this mailbox came for the first time.
    First,
    /// They came before.
    Again,
}

impl Mailboxes {
    /// Remembers that an envelope came, whatever becomes of it.
    pub fn remember(&mut self, mailbox: SendId, seq: Seq, bytes: &Bytes) -> Came {
        if !self.known.insert((mailbox, seq, Digest::of(bytes))) {
            return Came::Again;
        }
        if self.past.len() < HISTORY_MAX {
            let bytes = bytes.clone();
            self.past.push(Past {
                mailbox,
                seq,
                bytes,
            });
        }
        Came::First
    }

    /// Appends as an honest relay does.
    pub fn append(
        &mut self,
        mailbox: SendId,
        seq: Seq,
        after: Seq,
        digest: Digest,
        bytes: &Bytes,
    ) -> Answer {
        let full = self.bytes.saturating_add(bytes.len()) > STORED_BYTES_MAX;
        let kept = self.now.0.entry(mailbox).or_default();
        let stored = |seq: Seq| kept.envelopes.get(&seq).map(|bytes| Digest::of(bytes));
        match kept.facts.append(seq, after, digest, stored) {
            Verdict::Store { .. } if full => Answer::Full,
            Verdict::Store {
                mailbox: facts,
                superseded,
            } => {
                kept.facts = facts;
                let gone = superseded.and_then(|seq| kept.envelopes.remove(&seq));
                kept.envelopes.insert(seq, bytes.clone());
                self.bytes -= gone.map_or(0, |gone| gone.len());
                self.bytes += bytes.len();
                Answer::Receipt(Head { seq, digest })
            }
            Verdict::Duplicate => Answer::Receipt(Head { seq, digest }),
            Verdict::Conflict { stored } => Answer::Conflict(stored),
            Verdict::NotNext { head } => Answer::NotNext(head),
        }
    }

    /// Trims as an honest relay does.
    pub fn trim(&mut self, mailbox: &SendId, through: Seq) {
        let Some(kept) = self.now.0.get_mut(mailbox) else {
            return;
        };
        let Some(plan) = kept.facts.trim(through) else {
            return;
        };
        kept.facts = plan.mailbox;
        let gone: Vec<Seq> = kept
            .envelopes
            .range(..=plan.through)
            .map(|(seq, _)| *seq)
            .filter(|seq| *seq != plan.keep)
            .collect();
        for seq in gone {
            let freed = kept.envelopes.remove(&seq).map_or(0, |bytes| bytes.len());
            self.bytes -= freed;
        }
    }

    /// Empties a mailbox that nobody uses any more.
    pub fn forget(&mut self, mailbox: &SendId) {
        if let Some(gone) = self.now.0.remove(mailbox) {
            self.bytes -= gone.envelopes.values().map(Bytes::len).sum::<usize>();
        }
    }

    /// What an honest relay shows a sender.
    #[must_use]
    pub fn send_state(&self, mailbox: &SendId) -> SendState {
        let kept = self.now.0.get(mailbox);
        kept.map_or_else(SendState::default, |kept| kept.facts.send_state())
    }

    /// What an honest relay shows a reader.
    #[must_use]
    pub fn receive_state(&self, mailbox: &SendId) -> ReceiveState {
        let Some(kept) = self.now.0.get(mailbox) else {
            return ReceiveState::default();
        };
        let first = kept.envelopes.keys().next().copied();
        kept.facts.receive_state(first.unwrap_or(Seq::NONE))
    }

    /// The first envelope behind `cursor`.
    #[must_use]
    pub fn next_after(&self, mailbox: &SendId, cursor: Seq) -> Option<(Seq, Bytes)> {
        let kept = self.now.0.get(mailbox)?;
        let (seq, bytes) = kept.envelopes.range(cursor.next()..).next()?;
        Some((*seq, bytes.clone()))
    }

    /// The stored bytes under a number.
    #[must_use]
    pub fn stored(&self, mailbox: &SendId, seq: Seq) -> Option<Bytes> {
        self.now.0.get(mailbox)?.envelopes.get(&seq).cloned()
    }

    /// An envelope of this mailbox's past below `seq`; `die` chooses.
    #[must_use]
    pub fn earlier(&self, mailbox: &SendId, seq: Seq, die: u64) -> Option<(Seq, Bytes)> {
        let below = |past: &&Past| past.mailbox == *mailbox && past.seq < seq;
        self.past_where(below, die)
    }

    /// An envelope of another mailbox's past; `die` chooses.
    #[must_use]
    pub fn elsewhere(&self, mailbox: &SendId, die: u64) -> Option<(Seq, Bytes)> {
        self.past_where(|past| past.mailbox != *mailbox, die)
    }

    fn past_where(&self, wanted: impl Fn(&&Past) -> bool, die: u64) -> Option<(Seq, Bytes)> {
        let found: Vec<&Past> = self.past.iter().filter(wanted).collect();
        let index = usize::try_from(die % (found.len().max(1) as u64)).unwrap_or(0);
        found.get(index).map(|past| (past.seq, past.bytes.clone()))
    }

    /// A copy of all mailboxes.
    #[must_use]
    pub fn image(&self) -> Image {
        self.now.clone()
    }

    /// Makes the mailboxes what they were in `image`; an empty one is a wiped relay. The past stays.
    pub fn become_image(&mut self, image: Image) {
        let bytes = |kept: &Kept| kept.envelopes.values().map(Bytes::len).sum::<usize>();
        self.bytes = image.0.values().map(bytes).sum();
        self.now = image;
    }

    /// How many envelopes are stored.
    #[must_use]
    pub fn count(&self) -> usize {
        self.now.0.values().map(|kept| kept.envelopes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: SendId = SendId([1; 24]);

    fn put(all: &mut Mailboxes, seq: u64, after: u64, text: &'static str) -> Answer {
        let bytes = Bytes::from_static(text.as_bytes());
        all.append(BOX, Seq(seq), Seq(after), Digest::of(&bytes), &bytes)
    }

    #[test]
    fn it_stores_and_trims_as_the_protocol_says_and_an_old_image_comes_back() {
        let mut all = Mailboxes::default();
        assert!(matches!(put(&mut all, 1, 0, "a"), Answer::Receipt(_)));
        let old = all.image();
        assert!(matches!(put(&mut all, 2, 1, "b"), Answer::Receipt(_)));
        assert!(matches!(put(&mut all, 2, 1, "c"), Answer::Conflict(_)));
        assert!(matches!(put(&mut all, 4, 3, "d"), Answer::NotNext(Some(_))));
        all.trim(&BOX, Seq(2));
        // The last one stays, as evidence.
        assert_eq!((all.count(), all.bytes), (1, 1));
        assert_eq!(all.send_state(&BOX).trimmed_through, Seq(2));
        all.become_image(old);
        assert_eq!(all.send_state(&BOX).last.unwrap().seq, Seq(1));
        assert_eq!(all.next_after(&BOX, Seq::NONE).unwrap().0, Seq(1));
        all.become_image(Image::default());
        assert_eq!(all.send_state(&BOX), SendState::default());
        assert_eq!(all.bytes, 0);
    }

    #[test]
    fn the_past_outlives_a_wipe() {
        let mut all = Mailboxes::default();
        let bytes = Bytes::from_static(b"a");
        assert_eq!(all.remember(BOX, Seq(1), &bytes), Came::First);
        all.become_image(Image::default());
        assert_eq!(all.remember(BOX, Seq(1), &bytes), Came::Again);
        assert_eq!(all.earlier(&BOX, Seq(2), 7).unwrap().0, Seq(1));
        assert!(all.earlier(&BOX, Seq(1), 7).is_none());
        assert!(all.elsewhere(&BOX, 7).is_none());
    }
}
