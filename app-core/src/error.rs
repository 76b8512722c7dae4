//! What can go wrong for an app, sorted by what the caller must do about it.
//!
//! Errors are shown to people and cross language borders: facts and one sentence with the next
//! step, never a secret, a payload or a type of the rooms below.

use journal::{JournalError, PairingError};
use relay_client::ClientError;
use relay_client::rpk::RpkError;
use wal::disk::Cause;

use crate::command::{CLIP_DAYS, EVENT_SECONDS};
use crate::types::{ClipId, HubId};

/// What the caller must do about an [`AppError`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorKind {
    /// Try again after a pause; nothing was lost.
    Retry,
    /// The hub or the relay misbehaves: show it, try again later.
    Peer,
    /// The relay or the hub refuses this device: the person must get a new code from the hub.
    Refused,
    /// Delete clips or free disk space, then try again.
    Space,
    /// Keep the directory as it is and show the message to a person.
    Corrupt,
    /// The disk keeps failing: check it, then start the program again.
    Poisoned,
    /// Pair with a hub first.
    NotPaired,
    /// Another process uses the directory: stop it, or use it.
    Locked,
    /// The directory is older than what left it: nothing is sent any more. Make a new one and pair
    /// again.
    RolledBack,
    /// What was asked for does not exist, or cannot be done like this: ask for something else.
    Usage,
}

/// An error of the app.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The relay or the hub could not be reached, or the connection was lost.
    #[error("{0}; try again when the network is back")]
    Network(String),
    /// The other side broke the protocol.
    #[error("{0}")]
    Peer(String),
    /// The relay does not admit this device.
    #[error("{0}")]
    NotAdmitted(String),
    /// A newer connection of this device took the place of ours at the relay.
    #[error(
        "another process, or a copy of this phone, is connected to the relay as it; if that is not yours, remove this phone at the camera, make a new directory and pair again"
    )]
    Replaced,
    /// The pairing was refused, here or by the hub.
    #[error("{0}")]
    Pairing(String),
    /// This app uses another relay already.
    #[error(
        "this app is already admitted at another relay; use another directory for a hub at {relay}"
    )]
    OtherRelay {
        /// The relay in the code, as `host:port`.
        relay: String,
    },
    /// The disk is too full.
    #[error("{0}")]
    Space(String),
    /// Stored state is damaged.
    #[error("{0}")]
    Corrupt(String),
    /// Bytes of a clip are damaged on this device.
    #[error(
        "chunk {chunk} of clip {} is damaged on this device; the clip cannot be exported whole",
        .clip.short()
    )]
    ClipDamaged {
        /// Which clip.
        clip: ClipId,
        /// Which chunk, from 0.
        chunk: u32,
    },
    /// The bytes read back are not those that were received.
    #[error(
        "clip {} does not have the SHA-256 that was stored when it ended; it was not exported",
        .clip.short()
    )]
    HashDiffers {
        /// Which clip.
        clip: ClipId,
    },
    /// The journal failed, was opened again, and failed again.
    #[error("the state directory keeps failing ({0}); check the disk, then start again")]
    Poisoned(String),
    /// The journal failed and was opened again; whether this call had its effect is unknown.
    #[error("the state had to be opened again ({0}); try again")]
    Interrupted(String),
    /// There is no pairing here.
    #[error(
        "this app is not paired with a hub; run `secluso-hub pair` and give its code to `secluso-app pair`"
    )]
    NotPaired,
    /// Another process has the directory open.
    #[error("another process uses this state directory; stop it first")]
    Locked,
    /// The hub, or the relay, holds more of ours than this directory ever sent. Kept: no later sync changes it.
    #[error(
        "a hub, or the relay, holds messages of this app that its directory never made: the directory is an older copy of what it was. Nothing is sent to that hub or taken from it any more; export what is here, make a new directory and pair again"
    )]
    OlderCopy,
    /// The hub opened an epoch that this directory cannot follow. Kept: no later sync changes it.
    #[error(
        "the hub goes on in keys that this directory does not have, and none of its further clips can be read here. Nothing is taken from it or sent to it any more; what is here can be read and exported. Pair again: run `secluso-hub pair` and scan the new code"
    )]
    LineBroken,
    /// No such clip.
    #[error("no clip {} is known here; `clips` lists them", .0.short())]
    NoSuchClip(ClipId),
    /// Nothing of the clip is here.
    #[error("nothing of clip {} is here; the hub dropped it", .0.short())]
    EmptyClip(ClipId),
    /// The text is no whole clip identifier.
    #[error("the whole name of a clip has 32 hexadecimal digits")]
    BadClipId,
    /// No such hub.
    #[error("this app is not paired with hub {}; `status` lists the hubs", .0.short())]
    NoSuchHub(HubId),
    /// As many commands wait for that hub's answers as may.
    #[error("too many commands wait for this camera to answer; try again when it has")]
    CommandsWait,
    /// Somebody watches that hub already.
    #[error("this app watches that camera already; stop that first")]
    WatchedAlready,
    /// A name that no camera has.
    #[error("no camera has a name of so many bytes")]
    NoSuchCamera,
    /// A setting outside its limits.
    #[error(
        "an event may last {} to {} seconds, and a clip be kept for {} to {} days",
        EVENT_SECONDS.0, EVENT_SECONDS.1, CLIP_DAYS.0, CLIP_DAYS.1
    )]
    BadSetting,
    /// More is set at a camera than fits into a command, or its name is too long.
    #[error(
        "that is too much for one camera: fewer zones and masks, or fewer corners, and a name of at most {} bytes",
        journal::message::NAME_BYTES_MAX
    )]
    TooManySettings,
    /// The file that was to be written could not be.
    #[error("{path} cannot be written: {reason}")]
    Target {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The state directory cannot be used.
    #[error("{path} cannot be used as a state directory: {reason}")]
    Directory {
        /// Which directory.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system does not let its files be used.
    #[error("the state directory cannot be used: {0}")]
    Unusable(String),
    /// A mistake in this program.
    #[error("a mistake in this program: {0}; please report it")]
    Bug(String),
}

impl AppError {
    /// What the caller must do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Network(_) | Self::Interrupted(_) | Self::Replaced | Self::CommandsWait => {
                ErrorKind::Retry
            }
            Self::Peer(_) => ErrorKind::Peer,
            Self::NotAdmitted(_) | Self::Pairing(_) => ErrorKind::Refused,
            Self::Space(_) => ErrorKind::Space,
            Self::Corrupt(_)
            | Self::LineBroken
            | Self::ClipDamaged { .. }
            | Self::HashDiffers { .. } => ErrorKind::Corrupt,
            Self::Poisoned(_) | Self::Bug(_) => ErrorKind::Poisoned,
            Self::NotPaired => ErrorKind::NotPaired,
            Self::Locked => ErrorKind::Locked,
            Self::OlderCopy => ErrorKind::RolledBack,
            Self::NoSuchClip(_)
            | Self::NoSuchHub(_)
            | Self::BadSetting
            | Self::WatchedAlready
            | Self::NoSuchCamera
            | Self::TooManySettings
            | Self::EmptyClip(_)
            | Self::BadClipId
            | Self::OtherRelay { .. }
            | Self::Target { .. }
            | Self::Directory { .. }
            | Self::Unusable(_) => ErrorKind::Usage,
        }
    }

    /// Whether trying again later may help without anybody doing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Retry | ErrorKind::Peer)
    }

    /// Whether it is what [`Self::from_failing`] makes of a journal whose disk does not do what it should.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Poisoned(_) | Self::Unusable(_))
    }

    pub(crate) fn from_journal(error: &JournalError) -> Self {
        let text = error.to_string();
        match error {
            JournalError::NoSuchClip(clip) => Self::NoSuchClip(ClipId::from_journal(*clip)),
            JournalError::ChunkDamaged { clip, index } => Self::ClipDamaged {
                clip: ClipId::from_journal(*clip),
                chunk: *index,
            },
            JournalError::Pairing(error) => Self::from_pairing(error),
            JournalError::RolledBack(_) => Self::OlderCopy,
            JournalError::LineBroken(_) => Self::LineBroken,
            // It may be there, but nobody can go on without it.
            JournalError::Wal(wal::WalError::Unread { .. }) => Self::Corrupt(text),
            _ => match error.kind() {
                journal::ErrorKind::Space => Self::Space(text),
                journal::ErrorKind::Peer => Self::Peer(text),
                journal::ErrorKind::Corrupt => Self::Corrupt(text),
                // Both mean for the caller: it may not have had its effect, so try again.
                journal::ErrorKind::Retry | journal::ErrorKind::Poisoned => Self::Interrupted(text),
                // The hub will come round to it.
                journal::ErrorKind::Wait => Self::Peer(text),
                journal::ErrorKind::Locked => Self::Locked,
                journal::ErrorKind::Misuse => Self::Bug(text),
            },
        }
    }

    /// The same of a journal that could not be opened, or not be opened again: to try once more cures
    /// nothing, so whoever can mend it is told.
    pub(crate) fn from_failing(error: &JournalError) -> Self {
        match (Self::from_journal(error), error.cause()) {
            (Self::Interrupted(reason), Some(Cause::Space)) => Self::Space(format!(
                "the disk is full ({reason}); delete clips or free some space, then start again"
            )),
            (Self::Interrupted(reason), Some(Cause::Setup)) => Self::Unusable(reason),
            (Self::Interrupted(reason), _) => Self::Poisoned(reason),
            (other, _) => other,
        }
    }

    /// One sentence whatever was wrong, so that trying codes teaches nothing; the log knows more.
    pub(crate) fn from_pairing(error: &PairingError) -> Self {
        tracing::info!(%error, "a pairing code was refused");
        Self::refused()
    }

    /// The code does not pair, here or by the hub's word.
    pub(crate) fn refused() -> Self {
        Self::Pairing(journal::pairing::REFUSAL.into())
    }

    pub(crate) fn from_client(error: &ClientError) -> Self {
        let text = error.to_string();
        match error.kind() {
            relay_client::ErrorKind::Retry => Self::Network(text),
            relay_client::ErrorKind::NotAdmitted => Self::NotAdmitted(text),
            // Not the relay's refusal, so no new code helps; another network may.
            relay_client::ErrorKind::WrongRelay | relay_client::ErrorKind::Peer => Self::Peer(text),
            relay_client::ErrorKind::Replaced => Self::Replaced,
            relay_client::ErrorKind::Misuse => Self::Bug(text),
        }
    }

    pub(crate) fn from_direct(error: &RpkError) -> Self {
        match error {
            RpkError::WrongKey => {
                tracing::info!("what answers at the code's address is not the hub that it names");
                Self::refused()
            }
            RpkError::Tls(_) => Self::Bug(error.to_string()),
            RpkError::Socket { .. } | RpkError::Connection(_) => {
                Self::Network(format!("the hub cannot be reached ({error})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors are shown, and logged.
    #[test]
    fn clips_and_hubs_are_told_by_their_first_digits() {
        let clip = ClipId::from_journal(journal::ids::ClipId([0xab; 16]));
        let hub = HubId::from_journal(journal::ids::PairingId([0xab; 16]));
        for (error, digits) in [
            (AppError::NoSuchClip(clip), 12),
            (AppError::EmptyClip(clip), 12),
            (AppError::HashDiffers { clip }, 12),
            (AppError::ClipDamaged { clip, chunk: 7 }, 12),
            (AppError::NoSuchHub(hub), 8),
        ] {
            let text = error.to_string();
            let word = text.split([' ', ';']).find(|word| word.starts_with("abab"));
            assert_eq!(word.map(str::len), Some(digits), "{text}");
        }
    }

    #[test]
    fn what_storage_says_has_the_kind_that_names_the_way_out() {
        let lsn = wal::Lsn(7);
        let table = [
            (JournalError::Wal(wal::WalError::Locked), ErrorKind::Locked),
            (
                JournalError::Wal(wal::WalError::Unread { lsn }),
                ErrorKind::Corrupt,
            ),
            (JournalError::VaultDamaged { sector: 0 }, ErrorKind::Corrupt),
            (JournalError::VaultFull, ErrorKind::Space),
            (JournalError::Poisoned(None), ErrorKind::Retry),
            (JournalError::Misuse("a rule"), ErrorKind::Poisoned),
            (
                JournalError::Pairing(PairingError::Expired),
                ErrorKind::Refused,
            ),
        ];
        for (error, kind) in table {
            assert_eq!(AppError::from_journal(&error).kind(), kind, "{error}");
        }
        // Once it may pass; of a journal that cannot be opened again the disk's answer decides.
        let system = std::io::Error::from_raw_os_error;
        let table = [
            (13, ErrorKind::Usage, "permissions"), // EACCES
            (28, ErrorKind::Space, "free some space"),
            (5, ErrorKind::Poisoned, "check the disk"),
        ];
        for (number, kind, way_out) in table {
            let failures = [
                JournalError::Vault(system(number)),
                JournalError::Wal(wal::WalError::Io {
                    operation: "the log directory",
                    source: system(number),
                }),
            ];
            for error in failures {
                let failing = AppError::from_failing(&error);
                assert_eq!(failing.kind(), kind, "{error}");
                assert!(failing.to_string().contains(way_out), "{failing}");
            }
        }
        let poisoned = JournalError::Poisoned(Some(Cause::Space));
        assert_eq!(AppError::from_failing(&poisoned).kind(), ErrorKind::Space);
        let wrong = AppError::from_client(&ClientError::WrongRelay);
        assert_eq!(wrong.kind(), ErrorKind::Peer, "no new code helps: {wrong}");
    }
}
