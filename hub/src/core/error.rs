//! Why a step came to nothing, and how far that reaches: one line, the whole journal, the process.
//!
//! This room names what went wrong and mends nothing; what follows from poison is [`super::poison`]'s.

use journal::{ErrorKind, JournalError, WantsCommit};

use super::Death;

/// Why the core could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The journal refused; nothing of the step remains.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A write or sync failed and the journal was opened again. Whether the step was stored is not
    /// known: look, then ask again. A recording was taken up again already.
    #[error("a write to the disk failed; the journal was opened again through recovery")]
    Reopened,
    /// The sync could not begin, and the journal is as good as before. The step is staged and the
    /// next sync covers it, unless the process ends first: look, then ask again.
    #[error("the disk could not be asked to keep it: {0}. It is tried again")]
    NotSynced(String),
    /// Opening again failed twice: the process must end.
    #[error("the journal cannot be written and could not be opened again: {0}")]
    Dead(Death),
}

impl CoreError {
    /// Whether it is not known if the step was stored: look, then ask again. A recording goes on by
    /// itself.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Reopened | Self::NotSynced(_))
    }
}

impl WantsCommit for CoreError {
    fn wants_commit(&self) -> bool {
        matches!(self, Self::Journal(error) if error.wants_commit())
    }
}

/// `None` if the journal was opened again instead, which is a whole start of its own.
pub(super) fn unless_reopened<T>(result: Result<T, CoreError>) -> Result<Option<T>, CoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CoreError::Reopened) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error concerns one line's stored state and leaves the others alone.
pub(crate) fn is_about_one_line(error: &JournalError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::Peer | ErrorKind::Misuse
    )
}
