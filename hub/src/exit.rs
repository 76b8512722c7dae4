//! Exit codes, one list for the whole program (`hub/README.md` has it for people), and the error
//! that carries one.

use journal::JournalError;
use relay_client::ClientError;
use wal::WalError;
use wal::disk::Cause;

use crate::config::ConfigError;
use crate::core::{CoreError, Death};
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
        Self::of_cause(Some(Cause::of(error)))
    }

    /// For what the operating system said, if it is known.
    pub fn of_cause(cause: Option<Cause>) -> Self {
        match cause {
            Some(Cause::Setup) => Self::Usage,
            Some(Cause::Space) => Self::Space,
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
            ) => Code::of_cause(error.cause()),
        };
        Self::new(code, error.to_string())
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Journal(error) => error.into(),
            CoreError::Dead(death) => death.into(),
            CoreError::Reopened | CoreError::NotSynced(_) => {
                Self::new(Code::Internal, error.to_string())
            }
        }
    }
}

/// Nothing in memory can be trusted to agree with the disk any more: the next start recovers.
impl From<Death> for Failure {
    fn from(death: Death) -> Self {
        let code = Code::of_cause(death.cause());
        let message = match code {
            Code::Space => {
                format!("the disk is full: {death}. Free some space, then start again")
            }
            Code::Usage => format!(
                "the state directory cannot be used: {death}. Correct its path or its permissions, \
                 then start again"
            ),
            _ => format!("the disk fails: {death}. Check it, then start again"),
        };
        Self::new(code, message)
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

    /// The disk's answer decides, wherever it was met, and the sentence names the way out.
    #[test]
    fn what_the_system_says_of_the_state_has_the_code_of_its_way_out() {
        let system = std::io::Error::from_raw_os_error;
        for (number, code, way_out) in [
            (13, 2, "permissions"),
            (28, 7, "ree some space"),
            (5, 70, "heck"),
        ] {
            let log = || {
                JournalError::Wal(WalError::Io {
                    operation: "the log directory",
                    source: system(number),
                })
            };
            let vault = || JournalError::Vault(system(number));
            let failures: [Failure; 4] = [
                log().into(),
                vault().into(),
                CoreError::Dead(Death::of(&log())).into(),
                CoreError::Dead(Death::of(&vault())).into(),
            ];
            for failure in failures {
                assert_eq!(failure.code as u8, code, "{number}: {failure}");
                assert!(failure.message.contains(way_out), "{number}: {failure}");
            }
        }
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
            (code(JournalError::Poisoned(None)), 70),
            (code(JournalError::Poisoned(Some(Cause::Space))), 7),
            (code(JournalError::Misuse("a rule")), 70),
            (code(CoreError::Dead("the disk".into())), 70),
            (code(SealerError::Closed), 70),
        ];
        for (row, (got, want)) in table.into_iter().enumerate() {
            assert_eq!(got, want, "row {row}");
        }
    }
}
