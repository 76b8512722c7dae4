//! Exit codes, one list for the whole program (`hub/README.md` has it for people), and the error
//! that carries one.

use journal::JournalError;
use relay_client::ClientError;

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
    /// A mistake of ours, or a disk that fails.
    Internal = 70,
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

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Code::Usage, error.to_string())
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let code = match error.kind() {
            journal::ErrorKind::Space => Code::Space,
            journal::ErrorKind::Locked => Code::Locked,
            journal::ErrorKind::Corrupt => Code::State,
            journal::ErrorKind::Peer => Code::NotAdmitted,
            journal::ErrorKind::Retry
            | journal::ErrorKind::Poisoned
            | journal::ErrorKind::Misuse => Code::Internal,
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
