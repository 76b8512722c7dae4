//! The keys of groups in which nothing is recorded: they rotate with what a batch has taken from a phone.
//!
//! The transaction that opens a message says that its line owes a rotation (`journal::Session::rotate_stirred`); what
//! is owed by all lines is staged once for a batch, so that however many acks a batch takes cost two syncs of the
//! vault together. While an event is recorded they wait for a tick, and always for the event's first byte: no sync is
//! added on the way to that (one that is under way when an event begins is finished first). A line whose last rotation
//! the vault has not heard of waits for that ([`Core::handle_quiet`]). The end of the event takes them along. What a
//! process leaves owing, the opening of the journal makes good for the next one; what that had no room for is owed as
//! well. This room must never hold up what is
//! staged: where there is no room for a rotation it comes later.

use journal::Rotation;
use journal::ids::Line;
use wal::Priority;

use super::{Core, CoreError, LineState, PROVEN, is_about_one_line};

/// What a rotation takes in the log: all values of a group, sealed anew.
const ROTATION_BYTES: u64 = 64 * 1024;

impl Core {
    /// A batch is about to be synced: what its lines owe goes with it, unless an event is being recorded.
    ///
    /// # Errors
    /// [`CoreError::Reopened`] or [`CoreError::Dead`]; whatever else is in the way is tried again.
    pub(super) fn rotate_with_batch(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let is_recording = self.recordings.values().any(|r| !r.has_ended());
        match is_recording {
            true => Ok(()),
            false => self.rotate_stirred(now_unix_ms),
        }
    }

    /// The same at a tick: also in an event, once its first byte is out.
    ///
    /// # Errors
    /// As [`Self::rotate_with_batch`].
    pub(super) fn rotate_at_tick(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        match self.awaits_first_byte() {
            true => Ok(()),
            false => self.rotate_stirred(now_unix_ms),
        }
    }

    /// Stages the rotation of every line that owes one. What is stored knows; memory only spares the question.
    fn rotate_stirred(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        if self.journal.is_none() {
            return Ok(());
        }
        let may_owe = |(line, state): (&Line, &LineState)| {
            let goes_on = !state.broken && state.standing != PROVEN;
            (state.stirred && goes_on).then_some(*line)
        };
        let lines: Vec<Line> = self.lines.iter().filter_map(may_owe).collect();
        for line in lines {
            let rotated = self.try_rotate(line);
            match self.judge(rotated, now_unix_ms) {
                Ok(is_settled) => {
                    if let Some(state) = self.lines.get_mut(&line) {
                        state.stirred = !is_settled;
                    }
                }
                Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                    // Its opening could not rotate it either: it is not the view that is damaged.
                    if !self.journal()?.is_renewed(line) {
                        let abandoned = self.try_abandon(line);
                        match self.judge(abandoned, now_unix_ms) {
                            Ok(()) => {}
                            // The next start tries again.
                            Err(CoreError::Journal(error)) => {
                                tracing::debug!(%error, "a damaged group dies later");
                            }
                            Err(error) => return Err(error),
                        }
                    }
                }
                // No room, or a batch that takes no more: the row stays, and the next batch or tick tries again.
                Err(CoreError::Journal(error)) => {
                    tracing::debug!(%error, "a key is rotated later");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the line owes nothing any more.
    fn try_rotate(&mut self, line: Line) -> Result<bool, CoreError> {
        let journal = self.journal()?;
        match journal.rotation(line)? {
            Rotation::NotOwed => return Ok(true),
            Rotation::Later => return Ok(false),
            Rotation::Owed => {}
        }
        journal.admit(ROTATION_BYTES, Priority::Epoch)?;
        self.try_in_txn(line, ROTATION_BYTES, |session, txn| {
            session.rotate_stirred(txn)
        })
    }
}
