//! New keys for every group at each start.
//!
//! A power cut may take back the transaction in which an epoch began and leave its group of records whole in
//! the log, behind a torn one. Nothing tells the next start of it: the row that the epoch is in use was taken back
//! with the rest. What it had sealed would open with the group's key until the next rotation, which may be days away.
//! So no group goes on under the key that the last process had, whatever that one did.

use wal::{Priority, WalError};

use crate::error::{ErrorKind, JournalError};
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
    /// for which the disk has no room, until they are rotated for another reason.
    ///
    /// # Errors
    /// A failed write or sync.
    pub(crate) fn renew_group_keys(&mut self) -> Result<(), JournalError> {
        let scopes: Vec<Scope> = self.scopes.iter().collect();
        for scope in scopes {
            if !matches!(scope, Scope::Group(_)) {
                continue;
            }
            let mut staged = self.stage_new_key(scope);
            if matches!(staged, Err(JournalError::Wal(WalError::BatchFull { .. }))) {
                drop(self.commit()?);
                staged = self.stage_new_key(scope);
            }
            match staged {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Space | ErrorKind::Corrupt) => {
                    tracing::warn!(%error, "a group goes on under the key of the last process");
                }
                Err(error) => return Err(error),
            }
        }
        drop(self.commit()?);
        Ok(())
    }

    fn stage_new_key(&mut self, scope: Scope) -> Result<(), JournalError> {
        let values = scan_all(&self.wal, &keys::secret_prefix(scope))?;
        let bytes =
            |(key, value): &(Vec<u8>, Vec<u8>)| (key.len() + value.len()) as u64 + ROW_BYTES;
        self.admit(values.iter().map(bytes).sum(), Priority::Epoch)?;
        let mut txn = self.begin();
        txn.rotate(scope);
        let _staged = txn.stage(())?;
        Ok(())
    }
}
