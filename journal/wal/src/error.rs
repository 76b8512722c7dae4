//! What can go wrong in the engine, said with facts and with the next step.
//!
//! Errors never carry values or payload bytes: they end up in logs.

use std::io;

use crate::disk::{Cause, is_full};
use crate::{Lsn, PoisonCause, StoreError};

/// What the caller must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again after a pause; nothing was changed.
    Retry,
    /// Apply retention or free disk space, then try again; nothing was changed.
    Space,
    /// Stop, keep the files as evidence, show the person what the error says.
    Corrupt,
    /// Drop the `Wal` and open it again; never retry the write or the sync.
    Poisoned,
    /// Fix the calling code.
    Misuse,
    /// Another process owns the directory: stop that one, or choose another directory.
    Locked,
}

/// What kind of damage made a start or a read refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// An acknowledged transaction cannot be read in any file.
    LostGroup {
        /// The first missing number.
        lsn: Lsn,
        /// The highest number that something proves to have been synced.
        proven: Lsn,
    },
    /// The log of a start was acknowledged, and its copy cannot be read.
    LostCopy {
        /// The start (incarnation) in question.
        incarnation: u64,
    },
    /// Neither checkpoint can be read and the log does not reach back to the beginning.
    NoBase,
    /// The files are of a version that this build does not read.
    Version {
        /// The version found.
        found: u16,
    },
}

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// Another process holds the lock.
    #[error("another process has this journal open; stop it, or choose another directory")]
    Locked,
    /// The disk is too full for this.
    #[error(
        "the disk is full: {needed} bytes needed, {available} available; free some space or let retention drop video, then try again"
    )]
    Space {
        /// Bytes that were needed.
        needed: u64,
        /// Bytes that the file system has left.
        available: u64,
    },
    /// The log is damaged where it matters.
    #[error(
        "the journal is damaged ({0:?}); keep a copy of its directory as it is, then reset and pair again"
    )]
    Corrupt(Corruption),
    /// The disk does not read the newest transaction, and nothing proves that it was never
    /// acknowledged. Nothing was changed.
    #[error(
        "the disk does not read transaction {lsn}, the newest in the log; start again, and if that does not help copy the directory to a sound disk (ddrescue) and start there"
    )]
    Unread {
        /// Its number.
        lsn: Lsn,
    },
    /// One payload's bytes are damaged; everything else is fine.
    #[error("the payload stored at LSN {lsn} is damaged on disk; drop its clip and tell both ends")]
    PayloadDamaged {
        /// The key it is stored under.
        key: Vec<u8>,
        /// The transaction that stored it, 0 if not known.
        lsn: Lsn,
    },
    /// The handle is dead after a failed write or sync.
    #[error("the journal stopped after a failed {}: {:?}; it must be opened again", .0.operation, .0.kind)]
    Poisoned(PoisonCause),
    /// An IO error that changed nothing.
    #[error("{}", preparation_failure(.operation, .source))]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The view failed in a way that a rebuild did not cure.
    #[error("{}", view_failure(.0))]
    View(#[source] StoreError),
    /// A key, value or transaction is over its limit.
    #[error("{what} has {bytes} bytes, the limit is {max}; this is a bug of the caller")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// Too much is staged: commit, then stage again.
    #[error("{staged} bytes are staged and the limit is {max}; commit first, then stage again")]
    BatchFull {
        /// Bytes staged so far.
        staged: u64,
        /// The limit.
        max: u64,
    },
}

/// A full disk, a broken one and a wrong path have different ways out.
fn preparation_failure(operation: &str, source: &io::Error) -> String {
    let way_out = match Cause::of_ours(source) {
        Cause::Space => "free some space, then try again",
        Cause::Setup => "correct the path of the directory, or its permissions, then try again",
        Cause::Disk => "check the disk, then try again",
    };
    format!("reading or preparing {operation} failed: {source}; {way_out}")
}

/// As [`preparation_failure`], of the view.
fn view_failure(error: &StoreError) -> String {
    match error {
        StoreError::Full => "the disk is full: the view of the journal cannot be written; \
                             free some space, then try again"
            .to_owned(),
        StoreError::Io { source } => preparation_failure("the view of the journal", source),
        error => {
            format!("the view of the journal failed: {error}; check the disk, then start again")
        }
    }
}

impl WalError {
    /// What the caller must do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            WalError::Locked => ErrorKind::Locked,
            WalError::Space { .. } | WalError::View(StoreError::Full) => ErrorKind::Space,
            WalError::Io { source, .. } if is_full(source) => ErrorKind::Space,
            WalError::Corrupt(_) | WalError::PayloadDamaged { .. } => ErrorKind::Corrupt,
            WalError::Poisoned(_) => ErrorKind::Poisoned,
            WalError::Io { .. }
            | WalError::Unread { .. }
            | WalError::View(_)
            | WalError::BatchFull { .. } => ErrorKind::Retry,
            WalError::TooLarge { .. } => ErrorKind::Misuse,
        }
    }

    /// What the operating system's answer asks of a person, if it is one that this error tells. The kind
    /// says what the caller must do; this says whose it is to mend when that does not help.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            WalError::Space { .. } | WalError::View(StoreError::Full) => Some(Cause::Space),
            WalError::Io { source, .. } | WalError::View(StoreError::Io { source }) => {
                Some(Cause::of_ours(source))
            }
            WalError::Poisoned(cause) => Some(cause.cause()),
            WalError::Locked
            | WalError::Corrupt(_)
            | WalError::Unread { .. }
            | WalError::PayloadDamaged { .. }
            | WalError::View(StoreError::Corrupt { .. })
            | WalError::TooLarge { .. }
            | WalError::BatchFull { .. } => None,
        }
    }

    pub(crate) fn io(operation: &'static str, source: io::Error) -> Self {
        WalError::Io { operation, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_names_its_way_out() {
        let system = io::Error::from_raw_os_error;
        let table = [
            (13, Cause::Setup, "permissions"), // EACCES
            (28, Cause::Space, "free some space"),
            (5, Cause::Disk, "check the disk"),
        ];
        for (number, cause, way_out) in table {
            let failures = [
                WalError::io("the log directory", system(number)),
                WalError::View(StoreError::Io {
                    source: system(number),
                }),
            ];
            for error in failures {
                assert_eq!(error.cause(), Some(cause), "{error}");
                assert!(error.to_string().contains(way_out), "{error}");
            }
            // A full disk whose sync must not be tried again is hidden from whoever tries again.
            let hidden = PoisonCause::new("log preparation", &io::Error::other(system(number)));
            assert_eq!(WalError::Poisoned(hidden).cause(), Some(cause), "{number}");
        }
        let space = PoisonCause::new("the view", &io::ErrorKind::StorageFull.into());
        assert_eq!(WalError::Poisoned(space).cause(), Some(Cause::Space));
        let odd = PoisonCause::new("the view", &io::ErrorKind::InvalidData.into());
        assert_eq!(WalError::Poisoned(odd).cause(), Some(Cause::Disk));
        assert_eq!(WalError::Locked.cause(), None);
    }
}
