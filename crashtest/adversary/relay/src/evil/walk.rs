//! A proxy beneath TLS: one byte of a frame changed on its way to its reader, another one at each attempt.
//!
//! An envelope comes with its frame's bytes changed in so many places, from the first to the last in even steps;
//! then it comes as it is. What the relay says of mailboxes is changed now and then in the same way. This room
//! only says which byte; it must never change an envelope for good, or nothing would ever be taken.

use std::collections::BTreeMap;

use wire::frame::Frame;
use wire::{SendId, Seq};

/// Attempts at one envelope, each with another byte of it changed.
pub const PLACES: usize = 24;
/// One in so many words of a kind is changed, or nobody would ever be attached.
const ONE_WORD_IN: u64 = 4;

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
        match seed % 2 {
            0 => Self::Envelopes,
            _ => Self::Words,
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
    envelopes: BTreeMap<(SendId, Seq), usize>,
    words: BTreeMap<u8, u64>,
}

impl Walk {
    /// From now on, this is changed; or nothing.
    pub fn begin(&mut self, which: Option<Which>) {
        self.now = which;
    }

    /// What is changed in a frame of `bytes` that carries this envelope; nothing once all places were tried.
    pub fn of_envelope(&mut self, mailbox: SendId, seq: Seq, bytes: usize) -> Option<Change> {
        if self.now != Some(Which::Envelopes) {
            return None;
        }
        let tried = self.envelopes.entry((mailbox, seq)).or_default();
        if *tried >= PLACES {
            return None;
        }
        let step = bytes / PLACES + 1;
        let shift = usize::try_from(seq.0 % step as u64).unwrap_or(0);
        let place = (*tried * bytes / PLACES + shift) % bytes.max(1);
        let mask = 1 << (*tried % 8);
        *tried += 1;
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
        if *said % ONE_WORD_IN != 0 {
            return None;
        }
        let turn = usize::try_from(*said / ONE_WORD_IN).unwrap_or(0);
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
    fn each_attempt_changes_another_byte_and_the_last_one_none() {
        let mut walk = Walk::default();
        assert_eq!(walk.of_envelope(BOX, Seq(1), 512), None);
        walk.begin(Some(Which::Envelopes));
        let mut places = Vec::new();
        while let Some(change) = walk.of_envelope(BOX, Seq(1), 512) {
            let mut frame = vec![0; 512];
            change.apply(&mut frame);
            let changed: Vec<usize> = (0..512).filter(|place| frame[*place] != 0).collect();
            assert_eq!(changed.len(), 1);
            places.extend(changed);
        }
        assert_eq!(places.len(), PLACES);
        let mut once = places.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), PLACES, "{places:?}");
        assert!(once[0] < 8 && once[PLACES - 1] > 512 - 2 * 512 / PLACES);
        // Ordered again it goes on, and another envelope begins.
        walk.begin(Some(Which::Envelopes));
        assert_eq!(walk.of_envelope(BOX, Seq(1), 512), None);
        assert!(walk.of_envelope(BOX, Seq(2), 512).is_some());
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
