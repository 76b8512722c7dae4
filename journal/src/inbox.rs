//! The inbox: how far a line has been read, and how an envelope is judged before MLS sees it.
//!
//! Duplicates are known by `Seq` before OpenMLS is called, because its errors cannot tell a
//! duplicate from lost state. The cursor moves in the transaction that takes the envelope's effect.

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Seq};

use crate::error::JournalError;
use crate::ids::Line;
use crate::journal::Journal;
use crate::keys;
use crate::txn::Txn;

/// How far a line has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InboxHead {
    /// The last envelope taken; 0 if none.
    pub cursor: Seq,
    /// Its digest.
    pub digest: Digest,
}

impl Default for InboxHead {
    fn default() -> Self {
        Self {
            cursor: Seq(0),
            digest: Digest([0; 32]),
        }
    }
}

/// Where an arriving envelope stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// The one we wait for.
    Next,
    /// Taken before.
    Duplicate,
    /// Something is missing before it.
    AfterGap {
        /// What we wait for.
        expected: Seq,
    },
}

pub(crate) fn arrival(txn: &Txn<'_>, line: Line, seq: Seq) -> Result<Arrival, JournalError> {
    let head: InboxHead = txn.row(&keys::inbox_head(line))?.unwrap_or_default();
    let expected = Seq(head.cursor.0 + 1);
    Ok(match seq.cmp(&expected) {
        std::cmp::Ordering::Less
            if wal::mutant!(
                "dedupe_left_out",
                "C1",
                "what was taken before is taken again"
            ) =>
        {
            Arrival::Next
        }
        std::cmp::Ordering::Less => Arrival::Duplicate,
        std::cmp::Ordering::Equal => Arrival::Next,
        std::cmp::Ordering::Greater => Arrival::AfterGap { expected },
    })
}

/// Moves the cursor to `seq`, whose envelope has this digest.
pub(crate) fn take(
    txn: &mut Txn<'_>,
    line: Line,
    seq: Seq,
    digest: Digest,
) -> Result<(), JournalError> {
    let head = InboxHead {
        cursor: seq,
        digest,
    };
    txn.put_row(&keys::inbox_head(line), &head)
}

impl Journal {
    /// How far a line has been read, staged transactions included.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn inbox_head(&self, line: Line) -> Result<InboxHead, JournalError> {
        Ok(self.row(&keys::inbox_head(line))?.unwrap_or_default())
    }
}
