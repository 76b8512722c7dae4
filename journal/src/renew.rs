//! New keys for every group at each start.
//!
//! A power cut may take back the transaction in which an epoch began and leave its group of records whole in
//! the log, behind a torn one. Nothing tells the next start of it: the row that the epoch is in use was taken back
//! with the rest. What it had sealed would open with the group's key until the next rotation, which may be days away.
//! So no group goes on under the key that the last process had, whatever that one did.

use wal::{Priority, WalError, mutant};

use crate::error::{ErrorKind, JournalError};
use crate::ids::Line;
use crate::journal::{Journal, scan_all};
use crate::keys;
use crate::scope::Scope;

/// What a row and its record cost in the log beside the value, in bytes, generously.
const ROW_BYTES: u64 = 256;

impl Journal {
    /// Rotates the key of every living group: all of them share one sync of the log and the two of the vault, unless
    /// there are more than fit in one batch.
    ///
    /// A group of which a value is damaged keeps its key, and its session says what is wrong with it; so do all
    /// for which the disk has no room. They are owed: [`Self::is_renewed`].
    ///
    /// # Errors
    /// A failed write or sync.
    pub(crate) fn renew_group_keys(&mut self) -> Result<(), JournalError> {
        mutant!("start_renews_nothing", "S3", "a start rotates no group: what a power cut took back opens with the key that goes on" => {
            return Ok(());
        });
        let group = |scope| match scope {
            Scope::Group(line) => Some(line),
            _ => None,
        };
        let lines: Vec<Line> = self.scopes.iter().filter_map(group).collect();
        for line in lines {
            let mut staged = self.stage_new_key(line);
            if matches!(staged, Err(JournalError::Wal(WalError::BatchFull { .. }))) {
                drop(self.commit()?);
                staged = self.stage_new_key(line);
            }
            match staged {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Space | ErrorKind::Corrupt) => {
                    tracing::warn!(%error, "a group goes on under the key of the last process");
                    self.unrenewed.insert(Scope::Group(line));
                }
                Err(error) => return Err(error),
            }
        }
        drop(self.commit()?);
        Ok(())
    }

    /// Whether this opening, or something since, has rotated the key of a line's group, or there is none. If not,
    /// a rotation is owed.
    pub fn is_renewed(&self, line: Line) -> bool {
        !self.unrenewed.contains(&Scope::Group(line))
    }

    /// How often the key of a line's group was rotated; none if it has no group.
    pub fn key_version(&self, line: Line) -> Option<u64> {
        Some(self.scopes.get(Scope::Group(line))?.version)
    }

    fn stage_new_key(&mut self, line: Line) -> Result<(), JournalError> {
        let scope = Scope::Group(line);
        let values = scan_all(&self.wal, &keys::secret_prefix(scope))?;
        let bytes =
            |(key, value): &(Vec<u8>, Vec<u8>)| (key.len() + value.len()) as u64 + ROW_BYTES;
        self.admit(values.iter().map(bytes).sum(), Priority::Epoch)?;
        let mut txn = self.begin();
        txn.rotate(scope);
        // What the last process had taken from a phone and left owing is made good with it.
        txn.settle_stirred(line)?;
        let _staged = txn.stage(())?;
        Ok(())
    }
}
