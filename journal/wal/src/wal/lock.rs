//! One process at a time: the lock of a directory.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, LockGuard, OpenMode};
use crate::{WalError, mutant};

/// The lock's file.
const NAME: &str = "lock";

/// Takes the lock of a directory.
///
/// # Errors
/// `Locked` if another process holds it, `Io` if the disk does not answer.
pub(super) fn take(disk: &Arc<dyn Disk>) -> Result<Box<dyn LockGuard>, WalError> {
    let left_behind = HeldByName::if_planted(disk)?;
    match disk.lock(NAME) {
        Ok(lock) => Ok(match left_behind {
            Some(held) => Box::new(held),
            None => lock,
        }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            if mutant!(
                "lock_left_out",
                "C4",
                "a second process opens the directory"
            ) {
                return Ok(Box::new(Unlocked));
            }
            Err(WalError::Locked)
        }
        Err(error) => Err(WalError::io("the lock file", error)),
    }
}

/// What the deliberate bug `lock_left_out` holds instead of a lock.
struct Unlocked;

impl LockGuard for Unlocked {}

/// What the deliberate bug `lock_file_left` holds instead of a lock.
struct HeldByName(Arc<dyn Disk>);

impl HeldByName {
    const NAME: &str = "lock.held";

    fn if_planted(disk: &Arc<dyn Disk>) -> Result<Option<Self>, WalError> {
        if !mutant!(
            "lock_file_left",
            "C7",
            "a lock is a file, which a killed process leaves behind"
        ) {
            return Ok(None);
        }
        match disk.open(Self::NAME, OpenMode::CreateNew) {
            Ok(_) => Ok(Some(Self(Arc::clone(disk)))),
            Err(_) => Err(WalError::Locked),
        }
    }
}

impl LockGuard for HeldByName {}

impl Drop for HeldByName {
    fn drop(&mut self) {
        // Of a disk that has lost its power nothing is removed.
        let _removed = self.0.remove(Self::NAME);
    }
}
