//! What an opening of the journal owes to epochs that were encrypted in before it: each is closed, and with it the
//! clip that was being sent in it.
//!
//! This room must never encrypt in such an epoch again, nor touch a line whose recording goes on. A group that cannot
//! be closed dies, and so does one of a line on which a rollback is proved.

use journal::ids::{Channel, Line};
use journal::message::ClipEnd;
use journal::{Closed, or_after_commit};
use wal::Priority;

use super::recording::Recording;
use super::{
    ClipFacts, ClipState, Core, CoreError, EPOCH_BYTES, LineState, Notice, PROVEN,
    is_about_one_line,
};

impl Core {
    /// What a start owes to epochs that were encrypted in, all lines in one sync. A line whose
    /// recording goes on owes nothing, and on one that is rolled back nothing is encrypted any more: its group dies,
    /// if it is not dead yet.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub(super) fn close_used_epochs(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let closed = self.try_close_used_epochs(now_unix_ms);
        self.judge(closed, now_unix_ms)
    }

    fn try_close_used_epochs(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.end_disproved_groups(now_unix_ms)?;
        let busy: Vec<Line> = self
            .recordings
            .values()
            .flat_map(Recording::lines)
            .collect();
        let owing = |(line, state): (&Line, &LineState)| {
            let owes = state.standing != PROVEN && !busy.contains(line);
            owes.then_some(*line)
        };
        let lines: Vec<Line> = self.lines.iter().filter_map(owing).collect();
        for line in lines {
            match self.journal()?.owes_close(line) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            self.journal()?.admit(EPOCH_BYTES, Priority::Epoch)?;
            let closed = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
                session.close_used_epoch(txn, now_unix_ms)
            });
            match closed {
                Ok(Closed::CutOff(ends)) => {
                    let cut_off = |end: &ClipEnd| Notice::ClipFinished {
                        line,
                        clip: ClipFacts::ended(end, ClipState::CutOff),
                    };
                    self.pending.extend(ends.iter().map(cut_off));
                }
                Ok(Closed::NothingOwed | Closed::EpochOnly) => {}
                Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                    or_after_commit(
                        self,
                        |core| core.try_abandon(line),
                        |core| core.commit(now_unix_ms),
                    )?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What cannot be closed, or has a value that no key opens, can never be rotated again, and nothing is in progress
    /// there: its group dies, with all that opens what was said in it last. Recovery has made the view anew before,
    /// so it is the disk that is damaged; the phone has to be paired again in any case. Nothing to do if it is
    /// dead already.
    pub(super) fn try_abandon(&mut self, line: Line) -> Result<(), CoreError> {
        if !self.journal_ref()?.has_group(line) {
            return Ok(());
        }
        let clips = self.try_in_txn(line, EPOCH_BYTES, |session, txn| {
            Ok(session.abandon(txn).unwrap_or_else(|error| {
                tracing::error!(%error, "a clip of a line that cannot go on stays as it is");
                Vec::new()
            }))
        })?;
        // Of pictures nothing is told, only of clips.
        let clips = clips.iter().filter(|_| line.channel == Channel::EventVideo);
        let ended = |clip| Notice::ClipFinished {
            line,
            clip: ClipFacts::of(clip),
        };
        self.pending.extend(clips.map(ended));
        Ok(())
    }
}
