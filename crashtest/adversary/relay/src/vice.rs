//! The ways in which a relay can lie, by name.
//!
//! This room must never do anything: what a vice does to an answer is in `evil/liar.rs`.

use std::fmt;
use std::str::FromStr;

use crate::fault::{Fault, Outcome};

/// One way to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vice {
    /// Envelopes are thrown away: before they are stored, and before they are delivered.
    Drop,
    /// An older envelope comes again, under its own number and under the next one.
    Replay,
    /// Two envelopes change places.
    Reorder,
    /// An envelope of another mailbox takes the place of this one's.
    Splice,
    /// An envelope comes under another number.
    Relabel,
    /// An envelope loses its end.
    Truncate,
    /// One bit of an envelope flips.
    Flip,
    /// Sender and reader, and every second attach of either, are shown another mailbox.
    Equivocate,
    /// Nothing is delivered and no receipt given.
    Withhold,
    /// Receipts for what is not stored, for other bytes, and for what was never sent.
    ForgeReceipts,
    /// An append is refused for what is said to be stored in its place, and is not; also for what was never sent.
    ForgeConflicts,
    /// The mailbox is said to end above where it does.
    HeadAbove,
    /// The mailbox is said to end with other bytes.
    HeadDigest,
    /// Everything is forgotten, and when it behaves the old state is back.
    Wipe,
    /// A slot, a stream or a whole connection is refused, for every reason that the protocol has.
    Refuse,
    /// A hub that shuts a phone out is told that it is done, and the phone is let in.
    Pardon,
    /// One byte of a frame changes on its way, another one at each attempt: `evil/walk.rs`.
    Walk,
    /// One of the others at each step, as dice fall.
    Mixture,
}

impl Vice {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Drop,
        Self::Replay,
        Self::Reorder,
        Self::Splice,
        Self::Relabel,
        Self::Truncate,
        Self::Flip,
        Self::Equivocate,
        Self::Withhold,
        Self::ForgeReceipts,
        Self::ForgeConflicts,
        Self::HeadAbove,
        Self::HeadDigest,
        Self::Wipe,
        Self::Refuse,
        Self::Pardon,
        Self::Walk,
        Self::Mixture,
    ];

    /// Those that a [`Vice::Mixture`] draws from: what concerns one answer about a mailbox. The others are
    /// tried alone.
    pub const OF_ONE_ANSWER: [Self; 13] = [
        Self::Drop,
        Self::Replay,
        Self::Reorder,
        Self::Splice,
        Self::Relabel,
        Self::Truncate,
        Self::Flip,
        Self::Equivocate,
        Self::ForgeReceipts,
        Self::ForgeConflicts,
        Self::HeadAbove,
        Self::HeadDigest,
        Self::Refuse,
    ];

    /// Its name on command lines and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Replay => "replay",
            Self::Reorder => "reorder",
            Self::Splice => "splice",
            Self::Relabel => "relabel",
            Self::Truncate => "truncate",
            Self::Flip => "flip",
            Self::Equivocate => "equivocate",
            Self::Withhold => "withhold",
            Self::ForgeReceipts => "forge-receipts",
            Self::ForgeConflicts => "forge-conflicts",
            Self::HeadAbove => "head-above",
            Self::HeadDigest => "head-digest",
            Self::Wipe => "wipe",
            Self::Refuse => "refuse",
            Self::Pardon => "pardon",
            Self::Walk => "walk",
            Self::Mixture => "mixture",
        }
    }
}

impl fmt::Display for Vice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tables give it a width.
        f.pad(self.name())
    }
}

impl FromStr for Vice {
    type Err = Fault;

    fn from_str(text: &str) -> Outcome<Self> {
        let found = Self::ALL.into_iter().find(|vice| vice.name() == text);
        found.ok_or_else(|| Fault::Usage(format!("no vice is called `{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_a_mixture_is_not_of_itself() {
        for vice in Vice::ALL {
            assert_eq!(vice.name().parse::<Vice>().unwrap(), vice);
        }
        assert!("honest".parse::<Vice>().is_err());
        assert!(!Vice::OF_ONE_ANSWER.contains(&Vice::Mixture));
    }
}
