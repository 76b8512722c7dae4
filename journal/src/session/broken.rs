//! A line that the phone cannot follow any more: said once, durably, and never passed.
//!
//! An envelope that opened under the pairing's wrapping key and is a Commit that MLS does not accept, or
//! of an epoch that this end has not seen, means that the two ends have parted. No later envelope can
//! be read; to pass them by and ack them would make the hub throw its clips away. This room must never
//! believe that of bytes which do not open: a relay could say it then.

use serde::{Deserialize, Serialize};
use wire::ids::Seq;

use crate::error::JournalError;
use crate::ids::{Epoch, Line};
use crate::journal::Journal;
use crate::keys;
use crate::txn::Txn;

/// Where a line broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LineBreak {
    /// The envelope that cannot be followed; the cursor stays before it.
    pub seq: Seq,
    /// The epoch of this end.
    pub ours: Epoch,
    /// The epoch of that envelope.
    pub theirs: Epoch,
}

impl Journal {
    /// Where the line broke, if it did: nothing is taken from it or sent on it any more. There is no
    /// way back but to pair again.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn line_break(&self, line: Line) -> Result<Option<LineBreak>, JournalError> {
        self.row(&keys::line_break(line))
    }
}

impl Txn<'_> {
    /// [`Journal::line_break`], as the transaction sees it.
    pub(super) fn line_break(&self, line: Line) -> Result<Option<LineBreak>, JournalError> {
        self.row(&keys::line_break(line))
    }

    /// Remembers where the line broke.
    pub(super) fn keep_line_break(
        &mut self,
        line: Line,
        found: LineBreak,
    ) -> Result<(), JournalError> {
        self.put_row(&keys::line_break(line), &found)
    }
}
