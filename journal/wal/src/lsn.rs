//! The log sequence number: the order of transactions in one journal.
//!
//! It is a counter and never a clock: it says before and after, never when.

use std::fmt;

/// The number of a transaction in this journal's life; the first one is 1, 0 means "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The number before the first transaction.
    pub const ZERO: Lsn = Lsn(0);

    /// The number that follows this one.
    ///
    /// Panics on overflow, which 2^64 transactions do not reach.
    #[must_use]
    pub fn next(self) -> Lsn {
        match self.0.checked_add(1) {
            Some(next) => Lsn(next),
            None => panic!("the log sequence number overflowed"),
        }
    }

    /// The number before this one; zero stays zero.
    #[must_use]
    pub fn prev(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
