//! What one batch, or one transaction, cannot hold: done in steps.
//!
//! The log takes a bounded number of bytes between two syncs, and a transaction a bounded number of
//! rows. This room knows how to go on; it must never commit by itself, because only its caller knows
//! what a commit makes true.

use crate::error::{ErrorKind, JournalError};
use crate::journal::Journal;
use crate::outbox::Trim;
use crate::txn::Txn;

/// An error that may mean: the log takes no more at once.
pub trait WantsCommit {
    /// Whether nothing was staged, and a commit may let the same step through.
    fn wants_commit(&self) -> bool;
}

impl WantsCommit for JournalError {
    fn wants_commit(&self) -> bool {
        self.kind() == ErrorKind::Retry
    }
}

/// Runs `step`. If the log took no more at once, `commit` makes durable what is staged so far, which
/// harms nobody, and the step is run once more.
///
/// # Errors
/// Those of the two. A step that fails must have staged nothing.
pub fn or_after_commit<C, T, E: WantsCommit>(
    owner: &mut C,
    mut step: impl FnMut(&mut C) -> Result<T, E>,
    commit: impl FnOnce(&mut C) -> Result<(), E>,
) -> Result<T, E> {
    match step(owner) {
        Err(error) if error.wants_commit() => {
            commit(owner)?;
            step(owner)
        }
        other => other,
    }
}

/// What [`Journal::stage_trims`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trimmed {
    /// How many steps it staged.
    pub steps: u32,
    /// Whether it found that nothing more is left to remove. Not so if a step could not be staged.
    pub is_all: bool,
}

impl Journal {
    /// Stages the removal of dead rows, each step of it in a transaction of its own, at most `steps`
    /// of them.
    ///
    /// That it cannot stage one is nobody's error: what is left to remove is dead, it is tried
    /// again, and a journal that fails is found out by the commit.
    pub fn stage_trims(
        &mut self,
        steps: u32,
        trim: impl Fn(&mut Txn<'_>) -> Result<Trim, JournalError>,
    ) -> Trimmed {
        let trimmed = |steps, is_all| Trimmed { steps, is_all };
        for staged in 0..steps {
            let mut txn = self.begin();
            let step = trim(&mut txn).and_then(|trim| match trim {
                Trim::Idle => Ok(trim),
                Trim::Done | Trim::More => txn.stage(()).map(|_staged| trim),
            });
            match step {
                Ok(Trim::More) => {}
                Ok(Trim::Done) => return trimmed(staged + 1, true),
                Ok(Trim::Idle) => return trimmed(staged, true),
                Err(error) => {
                    tracing::debug!(%error, "dead rows are removed later");
                    return trimmed(staged, false);
                }
            }
        }
        trimmed(steps, false)
    }
}
