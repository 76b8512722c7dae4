//! Exit codes, one list for the whole program (`hub/README.md` has it for people), and the error
//! that carries one.

use journal::JournalError;
use relay_client::ClientError;
use wal::WalError;
use wal::disk::Cause;

use crate::config::ConfigError;
use crate::core::CoreError;
use crate::sealer::SealerError;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    /// Done.
    Ok = 0,
    /// Usage, configuration, or a clip that cannot be used.
    Usage = 2,
    /// Another hub has the state directory.
    Locked = 3,
    /// The state is damaged, of another version, or refused.
    State = 4,
    /// Nobody could be reached.
    Network = 5,
    /// The relay, or a phone's code, was refused.
    NotAdmitted = 6,
    /// The disk is full.
    Space = 7,
    /// A phone asked for a restart: the hub has stopped cleanly and is to be started again.
    Restart = 8,
    /// A mistake of ours, or a disk that fails.
    Internal = 70,
}

impl Code {
    /// For a path that could not be used.
    pub fn of_path(error: &std::io::Error) -> Self {
        match Cause::of(error) {
            Cause::Setup => Self::Usage,
            Cause::Space => Self::Space,
            _ => Self::Internal,
        }
    }
}

/// One clear sentence and the code to end with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the program ends.
    pub code: Code,
    /// For people: what is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<pairing_code::NoPicture> for Failure {
    fn from(error: pairing_code::NoPicture) -> Self {
        Self::new(Code::Usage, error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Code::Usage, error.to_string())
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let code = match (&error, error.kind()) {
            // Nothing that a phone says ends the hub: it is what is stored that MLS refuses. And what
            // the disk does not read may be there, but nobody can go on without it.
            (JournalError::Mls(_) | JournalError::Wal(WalError::Unread { .. }), _) => Code::State,
            (_, journal::ErrorKind::Space) => Code::Space,
            (_, journal::ErrorKind::Locked) => Code::Locked,
            (_, journal::ErrorKind::Corrupt) => Code::State,
            (_, journal::ErrorKind::Peer) => Code::NotAdmitted,
            (
                _,
                journal::ErrorKind::Retry
                | journal::ErrorKind::Poisoned
                // A phone's: a hub awaits nobody's Commit.
                | journal::ErrorKind::Wait
                | journal::ErrorKind::Misuse,
            ) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Journal(error) => error.into(),
            CoreError::Reopened | CoreError::NotSynced(_) | CoreError::Dead(_) => {
                Self::new(Code::Internal, error.to_string())
            }
        }
    }
}

impl From<SealerError> for Failure {
    fn from(error: SealerError) -> Self {
        match error {
            SealerError::Core(error) => error.into(),
            SealerError::Closed => Self::new(Code::Internal, error.to_string()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match error.kind() {
            relay_client::ErrorKind::NotAdmitted => Code::NotAdmitted,
            relay_client::ErrorKind::Misuse => Code::Usage,
            _ => Code::Network,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use journal::PairingError;
    use wal::Lsn;
    use wire::ErrorCode;

    use super::*;

    fn code(error: impl Into<Failure>) -> u8 {
        error.into().code as u8
    }

    #[test]
    fn a_path_that_cannot_be_used_is_no_failing_disk() {
        let of = |number| Code::of_path(&std::io::Error::from_raw_os_error(number)) as u8;
        // EACCES, ENOSPC, EIO.
        assert_eq!([13, 28, 5].map(of), [2, 7, 70]);
    }

    /// The table of `hub/README.md`.
    #[test]
    fn exit_codes_are_the_documented_ones() {
        let space = WalError::Space {
            needed: 2,
            available: 1,
        };
        let stranger = ClientError::Refused {
            code: ErrorCode::Stranger,
        };
        let table = [
            (code(ClientError::BadAddress), 2),
            (code(JournalError::Wal(WalError::Locked)), 3),
            (code(JournalError::Wal(WalError::Unread { lsn: Lsn(7) })), 4),
            (code(JournalError::VaultDamaged { sector: 0 }), 4),
            (code(JournalError::Mls("no group".into())), 4),
            (code(ClientError::Timeout), 5),
            (code(ClientError::go_away(1)), 5),
            (code(ClientError::WrongRelay), 5),
            (code(stranger), 6),
            (code(JournalError::Pairing(PairingError::Expired)), 6),
            (code(JournalError::Wal(space)), 7),
            (code(JournalError::VaultFull), 7),
            (code(JournalError::Poisoned), 70),
            (code(JournalError::Misuse("a rule")), 70),
            (code(CoreError::Dead("the disk".into())), 70),
            (code(SealerError::Closed), 70),
        ];
        for (row, (got, want)) in table.into_iter().enumerate() {
            assert_eq!(got, want, "row {row}");
        }
    }
}
