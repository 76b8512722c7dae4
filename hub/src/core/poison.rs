//! A journal that a failed write or sync has poisoned is dropped and opened again through recovery.
//!
//! A failed sync is never tried again, and nothing that was only true of the old handle is kept. Events in progress
//! go on behind a new Commit; if opening fails as well, the core is dead, and its owner ends the process.

use journal::{ErrorKind, Journal, JournalError};

use super::{Core, CoreError, Death, Notice, push, unless_reopened};

/// Times that the journal is opened again without one good sync in between.
pub(super) const REOPENS_MAX: u32 = 2;

impl Core {
    /// Turns a poisoned journal into one that was opened again.
    pub(super) fn judge<T>(
        &mut self,
        result: Result<T, impl Into<CoreError>>,
        now_unix_ms: u64,
    ) -> Result<T, CoreError> {
        match result.map_err(Into::into) {
            Err(CoreError::Journal(error)) if self.is_poison(&error) => {
                self.reopen(&error, now_unix_ms)?;
                Err(CoreError::Reopened)
            }
            other => other,
        }
    }

    /// Opens the journal again if a step that succeeded has left it poisoned: its own sync was good,
    /// the checkpoint behind it was not.
    ///
    /// # Errors
    /// [`CoreError::Dead`].
    pub(super) fn reopen_if_poisoned(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let journal = self.journal()?;
        match journal.is_poisoned() {
            true => {
                let poisoning = journal.poisoning();
                let reopened = self.reopen(&poisoning, now_unix_ms);
                unless_reopened(reopened).map(drop)
            }
            false => Ok(()),
        }
    }

    pub(super) fn is_poison(&self, error: &JournalError) -> bool {
        error.kind() == ErrorKind::Poisoned
            || self.journal.as_ref().is_none_or(Journal::is_poisoned)
    }

    /// Drops everything in memory and opens the journal through recovery. What was recorded and not
    /// synced is still in memory as plain pieces and is sealed again behind a new Commit, exactly
    /// from where the durable part ends.
    ///
    /// There is no half of it. Whatever fails before the recording goes on and all that a start owes
    /// is synced counts as an opening that failed: the journal is closed and opened once more, and
    /// after [`REOPENS_MAX`] of them without one good sync the core is dead.
    ///
    /// # Errors
    /// Always one of two: [`CoreError::Reopened`], or [`CoreError::Dead`].
    pub(super) fn reopen(
        &mut self,
        cause: &JournalError,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        tracing::error!(error = %cause, "the journal failed and is opened again");
        let mut last = Death::of(cause);
        while self.dead.is_none() && self.reopens < REOPENS_MAX {
            self.reopens += 1;
            match self.open_again(now_unix_ms) {
                // A failure on the way was a reopening of its own, and a whole one.
                Ok(()) | Err(CoreError::Reopened) => return Err(CoreError::Reopened),
                Err(error) => {
                    tracing::error!(%error, "the journal could not be opened again");
                    last = Death::by(&error);
                }
            }
        }
        self.forget_all();
        Err(CoreError::Dead(self.dead.get_or_insert(last).clone()))
    }

    /// One attempt of [`Self::reopen`].
    fn open_again(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.forget_all();
        self.generation += 1;
        let (journal, _report) = (self.opener)()?;
        self.journal = Some(journal);
        // What a step released may be there again, and a clip that it dropped be there in part.
        self.releases = true;
        self.drops = true;
        self.refresh_lines()?;
        self.recount_silence()?;
        // What recovery found is durable, also what nobody was told of.
        for (line, head) in self.outbox_heads()? {
            if let Some(state) = self.lines.get_mut(&line) {
                state.durable = head;
            }
        }
        self.wishes = self.staged_wishes()?;
        self.resume_recordings(now_unix_ms)?;
        self.close_used_epochs(now_unix_ms)?;
        self.commit(now_unix_ms)?;
        push(&mut self.notices, Notice::Reopened);
        Ok(())
    }

    /// Closes the journal, with everything in memory that was only true of its handle.
    fn forget_all(&mut self) {
        self.pending.clear();
        self.flight = None;
        self.staged_bytes = 0;
        // It is cut off with its epoch, and played again.
        self.playing = None;
        // Their epochs are closed; whoever watches sees that, and asks again.
        self.lives.clear();
        self.alarms.say_again();
        for state in self.lines.values_mut() {
            state.session.forget();
            // One that was staged may be lost, and the opening makes it good if there is room.
            state.stirred = true;
            // Recovery makes the view anew: what could not be read may be whole again, and is said again if not.
            state.broken = false;
        }
        // The lock is inside: the old handle must be gone before the new one is made.
        self.journal = None;
    }
}
