//! What a phone says on a line in which nothing is recorded: its key does not stay.
//!
//! A message that was opened has moved a ratchet, and what the ratchet was before lies in the log, under the group's
//! storage key. In an epoch that is in use the end of that rotates the key. In one that is finished nobody else would
//! ever come by: so the transaction that takes the message says that a rotation is owed ([`EpochUse::Stirred`]), and
//! whoever owns the journal makes one rotation good for all that a batch has taken. The row is there for that process:
//! each opening rotates every group anyhow, and settles it. This room must never rotate in the middle of an epoch that
//! is in use.

use wal::{crash_point, mutant};

use super::{Committer, EpochUse, Session};
use crate::error::JournalError;
use crate::ids::{Epoch, Line};
use crate::journal::Journal;
use crate::keys;
use crate::scope::Scope;
use crate::txn::Txn;

impl Session<Committer> {
    /// Says that a rotation is owed, if this transaction has moved a ratchet of an epoch that is not in use.
    pub(super) fn stir(&self, txn: &mut Txn<'_>) -> Result<(), JournalError> {
        let moved = self.handle.as_ref().filter(|handle| {
            let touched = handle.touched.as_ref();
            touched.is_some_and(|outcome| outcome.same(txn.outcome()))
        });
        let Some(handle) = moved else {
            return Ok(());
        };
        let epoch = Epoch(handle.group.epoch().as_u64());
        let used: Option<EpochUse> = txn.row(&keys::epoch_use(self.line))?;
        match used {
            Some(EpochUse::InUse { .. } | EpochUse::Stirred { .. }) => Ok(()),
            Some(EpochUse::Finished { .. }) | None => {
                txn.put_row(&keys::epoch_use(self.line), &EpochUse::Stirred { epoch })
            }
        }
    }

    /// Rotates the group's key, if that is owed for what was taken in an epoch that is not in use. False if nothing
    /// is owed: then nothing was changed. One rotation is good for everything that was staged before it.
    ///
    /// # Errors
    /// Our own storage.
    pub fn rotate_stirred(&self, txn: &mut Txn<'_>) -> Result<bool, JournalError> {
        let line = self.line;
        let used: Option<EpochUse> = txn.row(&keys::epoch_use(line))?;
        let is_owed = match used {
            Some(EpochUse::InUse { .. }) => false,
            Some(EpochUse::Stirred { .. }) => true,
            Some(EpochUse::Finished { .. }) | None => !txn.journal().is_renewed(line),
        };
        if !is_owed {
            return Ok(false);
        }
        txn.settle_stirred(line)?;
        if !mutant!(
            "ack_key_stays",
            "S3",
            "what a phone says on an idle line leaves its used-up key readable"
        ) {
            txn.rotate(Scope::Group(line));
        }
        // CRASH(journal.session.rotation_staged): before: what was taken is stored, and that a rotation is owed for
        // it; the next start rotates all groups | after: the group's values are sealed under the next key, and nothing is
        // owed, synced as one.
        crash_point!("journal.session.rotation_staged");
        Ok(true)
    }
}

/// Whether a line's group key is to be rotated: for what was taken in an epoch that is not in use, or because the
/// opening of the journal had no room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// Nothing is owed.
    NotOwed,
    /// It is owed, and can be staged: [`Session::rotate_stirred`].
    Owed,
    /// It has to wait: the epoch is in use, whose end rotates; or the last rotation is not in both images of the
    /// vault yet, and another one would have to be synced at once.
    Later,
}

impl Txn<'_> {
    /// Nothing is owed for what was taken on a line: this transaction rotates its key.
    pub(crate) fn settle_stirred(&mut self, line: Line) -> Result<(), JournalError> {
        let used: Option<EpochUse> = self.row(&keys::epoch_use(line))?;
        match used {
            Some(EpochUse::Stirred { epoch }) => {
                self.put_row(&keys::epoch_use(line), &EpochUse::Finished { epoch })
            }
            Some(EpochUse::InUse { .. } | EpochUse::Finished { .. }) | None => Ok(()),
        }
    }
}

impl Journal {
    /// What is owed on a line (hub), staged transactions included.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn rotation(&self, line: Line) -> Result<Rotation, JournalError> {
        Ok(match self.epoch_use(line)? {
            None | Some(EpochUse::Finished { .. }) if self.is_renewed(line) => Rotation::NotOwed,
            Some(EpochUse::InUse { .. }) => Rotation::Later,
            _ if self.scopes.owes(Scope::Group(line)) => Rotation::Later,
            Some(EpochUse::Finished { .. } | EpochUse::Stirred { .. }) | None => Rotation::Owed,
        })
    }
}
