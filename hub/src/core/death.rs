//! Why a core can store nothing any more: a sentence, and what it asks of the hub's owner.
//!
//! It must never decide that a core is dead; whoever opens journals does.

use std::fmt;

use journal::JournalError;
use wal::disk::Cause;

use super::CoreError;

/// Why nothing can be stored any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    what: String,
    cause: Option<Cause>,
}

impl Death {
    /// By this failure of the journal.
    pub fn of(error: &JournalError) -> Self {
        Self {
            what: error.to_string(),
            cause: error.cause(),
        }
    }

    /// By whatever kept a core from being opened again.
    pub(super) fn by(error: &CoreError) -> Self {
        match error {
            CoreError::Journal(error) => Self::of(error),
            CoreError::Dead(death) => death.clone(),
            CoreError::Reopened | CoreError::NotSynced(_) => Self {
                what: error.to_string(),
                cause: None,
            },
        }
    }

    /// What the operating system's answer asks of a person, if it was that.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<&str> for Death {
    fn from(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            cause: None,
        }
    }
}
