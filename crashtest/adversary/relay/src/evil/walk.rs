//! A proxy beneath TLS: one byte of a frame changed on its way to its reader, another one each time.
//!
//! Each envelope comes changed a few times before it comes as it is, so that whoever reads goes on; from one change
//! to the next the place moves on, in turn near the frame's beginning and anywhere in it. What the relay says of
//! mailboxes is changed now and then in the same way. This room only says which byte; it must never change an
//! envelope for good, or nothing would ever be taken.

use std::collections::BTreeMap;

use wire::frame::Frame;
use wire::{SendId, Seq};

/// How often one envelope comes changed: whoever reads waits longer from one time to the next.
pub const TIMES: u32 = 2;
/// Bytes at a frame's beginning that every other change walks through: its header, and the envelope's.
const HEAD_BYTES: usize = 128;
/// From one change anywhere to the next. Prime, so that frames of each length are walked through.
const STRIDE: usize = 257;
/// One in so many words of a kind is changed, or nobody would ever be attached.
const ONE_WORD_IN: usize = 4;

/// What is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Frames that carry an envelope to its reader.
    Envelopes,
    /// What the relay says of mailboxes, to senders and readers.
    Words,
}

impl Which {
    /// By the parity of a seed, so that orders that count up try both.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        match seed.is_multiple_of(2) {
            true => Self::Envelopes,
            false => Self::Words,
        }
    }
}

/// A byte of a frame, and what it is changed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    place: usize,
    mask: u8,
}

impl Change {
    /// Changes that byte.
    pub fn apply(self, frame: &mut [u8]) {
        if let Some(byte) = frame.get_mut(self.place) {
            *byte ^= self.mask;
        }
    }
}

/// How far the walk is. It goes on where it was when it is ordered again.
#[derive(Default, Debug)]
pub struct Walk {
    now: Option<Which>,
    envelopes: BTreeMap<(SendId, Seq), u32>,
    /// Envelopes that came changed.
    changed: usize,
    words: BTreeMap<u8, usize>,
}

impl Walk {
    /// From now on, this is changed; or nothing.
    pub fn begin(&mut self, which: Option<Which>) {
        self.now = which;
    }

    /// What is changed in a frame of `bytes` that carries this envelope; nothing once it was changed often enough.
    pub fn of_envelope(&mut self, mailbox: SendId, seq: Seq, bytes: usize) -> Option<Change> {
        if self.now != Some(Which::Envelopes) {
            return None;
        }
        let times = self.envelopes.entry((mailbox, seq)).or_default();
        if *times >= TIMES {
            return None;
        }
        *times += 1;
        let turn = self.changed;
        self.changed += 1;
        let place = match turn % 2 {
            0 => turn / 2 % HEAD_BYTES.min(bytes.max(1)),
            _ => turn.wrapping_mul(STRIDE) % bytes.max(1),
        };
        let mask = 1 << (turn / 2 % 8);
        Some(Change { place, mask })
    }

    /// What is changed in a control frame of `bytes`, if it is a word about a mailbox and its turn.
    pub fn of_word(&mut self, frame: &Frame<'_>, bytes: usize) -> Option<Change> {
        let about_mailboxes = matches!(
            frame,
            Frame::SendState { .. }
                | Frame::ReceiveState { .. }
                | Frame::Receipt { .. }
                | Frame::Conflict { .. }
                | Frame::NotNext { .. }
                | Frame::OverQuota { .. }
                | Frame::Stored { .. }
                | Frame::Revoked { .. }
        );
        if self.now != Some(Which::Words) || !about_mailboxes {
            return None;
        }
        let said = self.words.entry(frame.kind()).or_default();
        *said += 1;
        if !said.is_multiple_of(ONE_WORD_IN) {
            return None;
        }
        let turn = *said / ONE_WORD_IN;
        let place = turn % bytes.max(1);
        let mask = 1 << (turn % 8);
        Some(Change { place, mask })
    }
}

#[cfg(test)]
mod tests {
    use wire::frame::Revocation;

    use super::*;

    const BOX: SendId = SendId([1; 24]);

    #[test]
    fn each_time_another_byte_is_changed_and_an_envelope_comes_as_it_is_in_the_end() {
        let mut walk = Walk::default();
        assert_eq!(walk.of_envelope(BOX, Seq(1), 512), None);
        walk.begin(Some(Which::Envelopes));
        let mut places = std::collections::BTreeSet::new();
        for seq in 1..=200 {
            let mut times = 0;
            while let Some(change) = walk.of_envelope(BOX, Seq(seq), 512) {
                let mut frame = vec![0; 512];
                change.apply(&mut frame);
                let changed: Vec<usize> = (0..512).filter(|place| frame[*place] != 0).collect();
                assert_eq!(changed.len(), 1);
                places.extend(changed);
                times += 1;
            }
            assert_eq!(times, TIMES);
        }
        assert!((0..HEAD_BYTES).all(|place| places.contains(&place)));
        assert!(places.len() > 250, "{}", places.len());
        // Ordered again it goes on where it was.
        walk.begin(Some(Which::of(2)));
        assert_eq!(walk.of_envelope(BOX, Seq(1), 512), None);
        assert!(walk.of_envelope(BOX, Seq(201), 512).is_some());
    }

    #[test]
    fn one_word_in_four_is_changed_and_no_other_frame() {
        let mut walk = Walk::default();
        walk.begin(Some(Which::of(3)));
        let word = Frame::Revoked {
            request: 1,
            outcome: Revocation::Done,
        };
        let changed = (0..40).filter(|_| walk.of_word(&word, 9).is_some());
        assert_eq!(changed.count(), 10);
        let pong = Frame::Pong { token: 1 };
        assert!((0..40).all(|_| walk.of_word(&pong, 12).is_none()));
        assert_eq!(walk.of_envelope(BOX, Seq(1), 512), None);
    }
}
