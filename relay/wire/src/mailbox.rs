//! The relay's side of one mailbox: what to do with an append and with a trim.
//!
//! This room decides and stores nothing: the relay applies the verdict in one transaction and
//! answers after its sync. It must never answer "stored" for bytes other than those that are
//! stored under that number (scenario 18: a rolled back sender would lose its video to it).

use crate::frame::{ReceiveState, SendState};
use crate::ids::{Digest, Head, Seq};

/// The facts that a relay keeps about a mailbox besides the envelopes.
///
/// INVARIANT: `trimmed_through` never passes `last`; the envelope `last` itself stays stored
/// until another takes its place, trimmed or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mailbox {
    /// The last envelope ever appended.
    pub last: Option<Head>,
    /// The reader holds everything through this number.
    pub trimmed_through: Seq,
}

/// What becomes of an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Store it, and drop `superseded`: the last envelope, kept only as evidence so far.
    Store {
        /// The mailbox behind this append.
        mailbox: Mailbox,
        /// An envelope that nobody needs once this one is stored.
        superseded: Option<Seq>,
    },
    /// The same bytes are stored already: answer with a receipt.
    Duplicate,
    /// Other bytes are stored under this number: answer with their digest.
    Conflict {
        /// What is stored.
        stored: Head,
    },
    /// Neither the next nor one that can be compared: answer with the head.
    NotNext {
        /// What the mailbox ends with.
        head: Option<Head>,
    },
}

/// What a trim removes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrimPlan {
    /// The mailbox behind this trim.
    pub mailbox: Mailbox,
    /// Remove every stored envelope up to and including this number...
    pub through: Seq,
    /// ...except this one: it is the evidence of scenario 19.
    pub keep: Seq,
}

impl Mailbox {
    /// Judges an append. `stored` gives the digest of a stored envelope below the last one; it
    /// is asked only when it is needed.
    pub fn append(
        &self,
        seq: Seq,
        after: Seq,
        digest: Digest,
        stored: impl FnOnce(Seq) -> Option<Digest>,
    ) -> Verdict {
        if !seq.is_some() {
            // No envelope has it: it would leave the reader without a cursor behind it.
            return Verdict::NotNext { head: self.last };
        }
        let Some(last) = self.last else {
            // Any first number is welcome, but only from a sender who knows that it is first
            // here: one that believes in a predecessor must look again.
            return if after == Seq::NONE {
                self.store(seq, digest)
            } else {
                Verdict::NotNext { head: None }
            };
        };
        if seq > last.seq {
            return if after == last.seq {
                self.store(seq, digest)
            } else {
                Verdict::NotNext { head: Some(last) }
            };
        }
        let known = if seq == last.seq {
            Some(last.digest)
        } else {
            stored(seq)
        };
        match known {
            Some(known) if known == digest => Verdict::Duplicate,
            Some(known) => Verdict::Conflict {
                stored: Head { seq, digest: known },
            },
            None => Verdict::NotNext { head: Some(last) },
        }
    }

    fn store(&self, seq: Seq, digest: Digest) -> Verdict {
        Verdict::Store {
            mailbox: Mailbox {
                last: Some(Head { seq, digest }),
                trimmed_through: self.trimmed_through,
            },
            superseded: self
                .last
                .map(|last| last.seq)
                .filter(|last| *last <= self.trimmed_through),
        }
    }

    /// Judges a trim. None: there is nothing to do, which is no error, because trims are
    /// repeated after a reconnect.
    #[must_use]
    pub fn trim(&self, through: Seq) -> Option<TrimPlan> {
        let last = self.last?;
        let through = through.min(last.seq);
        if through <= self.trimmed_through {
            return None;
        }
        Some(TrimPlan {
            mailbox: Mailbox {
                last: self.last,
                trimmed_through: through,
            },
            through,
            keep: last.seq,
        })
    }

    /// What a writer is shown.
    #[must_use]
    pub fn send_state(&self) -> SendState {
        SendState {
            last: self.last,
            trimmed_through: self.trimmed_through,
        }
    }

    /// What a reader is shown; `first` is the lowest number still stored.
    #[must_use]
    pub fn receive_state(&self, first: Seq) -> ReceiveState {
        ReceiveState {
            first,
            last: self.last,
        }
    }
}

#[cfg(test)]
mod tests;
