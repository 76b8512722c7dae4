//! What can go wrong in the journal, sorted by what the caller must do about it.
//!
//! Errors carry facts, never secrets, payloads or whole identifiers.

use wal::WalError;
use wal::disk::Cause;
use wire::ids::Seq;

use crate::ids::{ClipId, Line};
use crate::scope::Scope;

/// What the caller must do about a [`JournalError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Nothing was changed: commit if the log takes no more at once, then try again after a pause.
    /// No handle was lost that the next transaction does not load again.
    Retry,
    /// Nothing was changed, and the other side must speak first: take what arrives, and try again when
    /// this line has moved to another epoch. Doing it again before that is refused again.
    Wait,
    /// Apply retention or free space, then try again. No epoch and no generation was spent.
    Space,
    /// The other side, or whoever carries its bytes, misbehaved: count it and carry on.
    Peer,
    /// Stop, keep the directory as it is, and show the message to a person.
    Corrupt,
    /// Drop everything in memory and open the journal again through recovery.
    Poisoned,
    /// Another process owns the directory: stop it, or use it.
    Locked,
    /// Our own code asked for something it may not have.
    Misuse,
}

/// An error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The storage engine refused or failed.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The vault file could not be read or written.
    #[error("{}", vault_failure(.0))]
    Vault(std::io::Error),
    /// There is no room for another key: the vault is as large as it may be, or the disk is full.
    #[error(
        "the key vault has no room for another key. Delete clips, or free some space on the disk, and try again"
    )]
    VaultFull,
    /// Both images of a vault sector are unreadable.
    #[error(
        "the key vault is damaged in sector {sector}, in both of its images. Its keys are gone: run `reset` on this device and pair again"
    )]
    VaultDamaged {
        /// Which pair of sectors, from 0.
        sector: u32,
    },
    /// The vault does not know the key of a scope that the log knows.
    #[error(
        "the key vault does not belong to this journal ({scope:?}: the log is at key version {log}, the vault at {vault:?}). Was the directory restored from a copy? Run `reset` and pair again"
    )]
    VaultMismatch {
        /// Whose key.
        scope: Scope,
        /// The version that the log names.
        log: u64,
        /// The version in the vault, if it has the key at all.
        vault: Option<u64>,
    },
    /// The vault could not be written after a rotation, or the process saw an earlier failure; with what
    /// that one asks of a person, as far as the operating system said.
    #[error(
        "an earlier write failed; nothing more is encrypted or sent until the journal is opened again"
    )]
    Poisoned(Option<Cause>),
    /// A stored value does not open under its scope's key, or does not decode.
    #[error("a stored value of {scope:?} is damaged ({what}). Keep the directory and run `doctor`")]
    ValueDamaged {
        /// Whose value.
        scope: Scope,
        /// Which family of values.
        what: &'static str,
    },
    /// The state was written by another version of the storage codec or of OpenMLS.
    #[error(
        "this directory was written as journal format {found}, this program reads {expected}. Use the program that wrote it, or run `reset` and pair again"
    )]
    FormatVersion {
        /// In the directory.
        found: u32,
        /// In this program.
        expected: u32,
    },
    /// The MLS state was written by another OpenMLS, whose stored values nobody promises to be the same.
    #[error(
        "this directory was written with OpenMLS {found}, this program reads that of {expected}. Use the program that wrote it, or run `reset` and pair again"
    )]
    OpenMlsVersion {
        /// In the directory.
        found: String,
        /// In this program.
        expected: &'static str,
    },
    /// The directory belongs to the other role (hub or app).
    #[error(
        "this directory belongs to a {found}, not to a {expected}. Give the right state directory"
    )]
    WrongRole {
        /// In the directory.
        found: String,
        /// Asked for.
        expected: String,
    },
    /// An MLS operation failed.
    #[error("MLS: {0}")]
    Mls(String),
    /// No group is stored where one must be.
    #[error("no MLS group is stored for {0:?}. Pair again")]
    NoGroup(Line),
    /// A self-check at open found MLS state that cannot follow the next Commit.
    #[error("the MLS state of {line:?} is not whole ({what}). Keep the directory and run `doctor`")]
    GroupNotWhole {
        /// Which group.
        line: Line,
        /// What is missing.
        what: &'static str,
    },
    /// The in-memory handle did not open this epoch, so it may not encrypt in it.
    #[error(
        "this handle did not open the current epoch of {0:?}; its next message must be a Commit"
    )]
    NoRightToEncrypt(Line),
    /// The other side proved that this directory is older than what left it. Nothing is encrypted or
    /// taken on the line any more.
    #[error(
        "the other side of {0:?} holds what this directory never made: it is an older copy of what it was. Nothing is sent any more; make a new one and pair again"
    )]
    RolledBack(Line),
    /// The other side opened an epoch that this end cannot follow. Nothing is taken or sent on the
    /// line any more.
    #[error(
        "the hub of {0:?} goes on in keys that this directory does not have. Nothing is taken or sent any more; pair again"
    )]
    LineBroken(Line),
    /// An update that this end proposed is pending. Nothing can be encrypted on the line until the hub's
    /// Commit, and no other update can be proposed.
    #[error(
        "{0:?} waits for the hub: an update was proposed on it, and the hub has not answered yet"
    )]
    AwaitsCommit(Line),
    /// An envelope too large for the relay would have entered the outbox.
    #[error("an envelope of {bytes} bytes exceeds the limit of {limit}")]
    EnvelopeTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A chunk's sealed bytes on disk are damaged or gone: the clip is lost and must be dropped by
    /// statement.
    #[error(
        "the stored envelope {seq:?} of {line:?} is damaged on disk, or gone; its clip is lost"
    )]
    EnvelopeDamaged {
        /// Which line.
        line: Line,
        /// Which envelope.
        seq: Seq,
    },
    /// No such clip.
    #[error("no clip {0:?} is known here")]
    NoSuchClip(ClipId),
    /// Stored bytes of a clip are damaged on this device.
    #[error("chunk {index} of clip {clip:?} is damaged on this device")]
    ChunkDamaged {
        /// Which clip.
        clip: ClipId,
        /// Which chunk, from 0.
        index: u32,
    },
    /// Pairing was refused.
    #[error(transparent)]
    Pairing(#[from] crate::pairing::PairingError),
    /// Our own code broke a rule of this crate; the text says which.
    #[error("broken rule: {0}")]
    Misuse(&'static str),
}

/// A full disk, a broken one and a wrong path have different ways out.
fn vault_failure(error: &std::io::Error) -> String {
    let way_out = match Cause::of_ours(error) {
        Cause::Space => "Free some space, then start again",
        Cause::Setup => {
            "Correct the path of its directory, or the permissions there, then start again"
        }
        _ => "Restart; if it happens again, check the disk",
    };
    format!("the key vault failed: {error}. {way_out}")
}

impl JournalError {
    /// What the operating system's answer asks of a person, if it is one that this error tells. The kind
    /// says what the caller must do; this says whose it is to mend when that does not help.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Wal(error) => error.cause(),
            Self::Vault(error) => Some(Cause::of_ours(error)),
            Self::VaultFull => Some(Cause::Space),
            Self::Poisoned(cause) => *cause,
            _ => None,
        }
    }

    /// What the caller must do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Wal(error) => match error.kind() {
                wal::ErrorKind::Space => ErrorKind::Space,
                wal::ErrorKind::Corrupt => ErrorKind::Corrupt,
                wal::ErrorKind::Locked => ErrorKind::Locked,
                wal::ErrorKind::Misuse => ErrorKind::Misuse,
                wal::ErrorKind::Retry => ErrorKind::Retry,
                wal::ErrorKind::Poisoned => ErrorKind::Poisoned,
            },
            Self::Vault(_) | Self::Poisoned(_) => ErrorKind::Poisoned,
            Self::VaultFull => ErrorKind::Space,
            Self::VaultDamaged { .. }
            | Self::VaultMismatch { .. }
            | Self::ValueDamaged { .. }
            | Self::FormatVersion { .. }
            | Self::OpenMlsVersion { .. }
            | Self::WrongRole { .. }
            | Self::NoGroup(_)
            | Self::GroupNotWhole { .. }
            | Self::RolledBack(_)
            | Self::LineBroken(_)
            | Self::EnvelopeDamaged { .. }
            | Self::ChunkDamaged { .. } => ErrorKind::Corrupt,
            Self::Mls(_) | Self::Pairing(_) => ErrorKind::Peer,
            Self::AwaitsCommit(_) => ErrorKind::Wait,
            Self::NoRightToEncrypt(_)
            | Self::EnvelopeTooLarge { .. }
            | Self::NoSuchClip(_)
            | Self::Misuse(_) => ErrorKind::Misuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_vaults_disk_says_names_its_way_out() {
        let table = [
            (13, Cause::Setup, "permissions"), // EACCES
            (28, Cause::Space, "Free some space"),
            (5, Cause::Disk, "check the disk"),
        ];
        for (number, cause, way_out) in table {
            let error = JournalError::Vault(std::io::Error::from_raw_os_error(number));
            assert_eq!(error.cause(), Some(cause), "{error}");
            assert!(error.to_string().contains(way_out), "{error}");
            // Whatever it was, nothing more may be done with this handle.
            assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
            assert_eq!(JournalError::Poisoned(error.cause()).cause(), Some(cause));
        }
        assert_eq!(JournalError::VaultDamaged { sector: 0 }.cause(), None);
    }
}
