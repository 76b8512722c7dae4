//! The reader's side of one mailbox: rising order, duplicates dropped, gaps shown.
//!
//! This room must never move past a gap on its own word: it shows the gap once, and whoever
//! holds the durable cursor looks for the sender's signed statement about it.

use crate::frame::ReceiveState;
use crate::ids::Seq;

/// What a delivered envelope is to the reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// The one after the last.
    Next,
    /// Numbers are missing before it. Later arrivals are judged as if they had come.
    Ahead {
        /// The number that was due.
        expected: Seq,
    },
    /// Seen before: drop it.
    Duplicate,
}

/// What the relay's state answer means to this reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing is waiting.
    CaughtUp,
    /// Envelopes are waiting, through this number.
    Behind {
        /// The last one.
        last: Seq,
    },
    /// The relay ends below the reader: it forgot, and the sender will fill it again.
    RelayForgot {
        /// What the relay ends with; [`Seq::NONE`] for an empty mailbox.
        last: Seq,
    },
}

/// A reader of one mailbox on one attachment.
#[derive(Clone, Debug)]
pub struct Receiver {
    seen_through: Seq,
    durable_through: Seq,
    trimmed_through: Seq,
}

impl Receiver {
    /// A reader that holds everything through `cursor` durably.
    #[must_use]
    pub fn new(cursor: Seq) -> Receiver {
        Receiver {
            seen_through: cursor,
            durable_through: cursor,
            trimmed_through: Seq::NONE,
        }
    }

    /// The highest number seen on this attachment.
    #[must_use]
    pub fn seen_through(&self) -> Seq {
        self.seen_through
    }

    /// Compares the relay's answer to an attach with the cursor.
    #[must_use]
    pub fn handle_state(&self, state: &ReceiveState) -> Standing {
        let last = state.last.map_or(Seq::NONE, |head| head.seq);
        match last.cmp(&self.seen_through) {
            core::cmp::Ordering::Less => Standing::RelayForgot { last },
            core::cmp::Ordering::Equal => Standing::CaughtUp,
            core::cmp::Ordering::Greater => Standing::Behind { last },
        }
    }

    /// Judges a delivered envelope and takes note of it.
    pub fn handle_deliver(&mut self, seq: Seq) -> Arrival {
        if seq <= self.seen_through {
            return Arrival::Duplicate;
        }
        let expected = self.seen_through.next();
        self.seen_through = seq;
        if seq == expected {
            Arrival::Next
        } else {
            Arrival::Ahead { expected }
        }
    }

    /// The reader holds everything through `cursor` durably now.
    pub fn handle_durable(&mut self, cursor: Seq) {
        self.durable_through = self.durable_through.max(cursor);
    }

    /// The trim to send, if there is news; each is given out once.
    pub fn poll_trim(&mut self) -> Option<Seq> {
        if self.durable_through > self.trimmed_through {
            self.trimmed_through = self.durable_through;
            Some(self.trimmed_through)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Digest, Head};

    #[test]
    fn arrivals() {
        let mut receiver = Receiver::new(Seq(5));
        let table = [
            (5, Arrival::Duplicate),
            (1, Arrival::Duplicate),
            (6, Arrival::Next),
            (6, Arrival::Duplicate),
            (9, Arrival::Ahead { expected: Seq(7) }),
            (8, Arrival::Duplicate),
            (10, Arrival::Next),
        ];
        for (seq, want) in table {
            assert_eq!(receiver.handle_deliver(Seq(seq)), want, "{seq}");
        }
    }

    #[test]
    fn standing() {
        let receiver = Receiver::new(Seq(5));
        let state = |seq: Option<u64>| ReceiveState {
            first: Seq::NONE,
            last: seq.map(|seq| Head {
                seq: Seq(seq),
                digest: Digest([0; 32]),
            }),
        };
        let table = [
            (None, Standing::RelayForgot { last: Seq::NONE }),
            (Some(4), Standing::RelayForgot { last: Seq(4) }),
            (Some(5), Standing::CaughtUp),
            (Some(6), Standing::Behind { last: Seq(6) }),
        ];
        for (last, want) in table {
            assert_eq!(receiver.handle_state(&state(last)), want, "{last:?}");
        }
        assert_eq!(
            Receiver::new(Seq::NONE).handle_state(&state(None)),
            Standing::CaughtUp
        );
    }

    #[test]
    fn a_trim_is_given_out_once_and_only_for_what_is_durable() {
        let mut receiver = Receiver::new(Seq(3));
        assert_eq!(
            receiver.poll_trim(),
            Some(Seq(3)),
            "the relay may have missed it"
        );
        receiver.handle_deliver(Seq(4));
        assert_eq!(receiver.poll_trim(), None, "seen is not durable");
        receiver.handle_durable(Seq(4));
        receiver.handle_durable(Seq(2));
        assert_eq!(receiver.poll_trim(), Some(Seq(4)));
        assert_eq!(receiver.poll_trim(), None);
    }
}
