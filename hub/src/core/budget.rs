//! Room for what a camera is about to give: the oldest clips that phones have not got make it.
//!
//! Two things limit video: the disk, and the owner's budget. Where one of them is reached, what is dead goes
//! first, then whole clips, the oldest first, each with signed statements in its place, so that the phone that
//! comes back can pass it and sees what is missing. Of several phones the one for which most waits gives: no
//! clock is asked whose clip is older, and a phone that keeps up pays for none that is away. Room is made before it is
//! needed to the last byte, so that the statements do not use what is held back for epochs.
//! This room must never drop a clip that is being recorded or played, never a Commit and never a notification,
//! and must end: each call drops a bounded number of clips, in transactions of a bounded size.

use journal::ids::Line;
use journal::message::DropReason;
use journal::{ClipOutcome, ErrorKind, HubClip, JournalError};
use wal::{Priority, WalError};
use wire::ids::Seq;

use super::{
    ClipFacts, Core, CoreError, EPOCH_BYTES, LineState, Notice, TRIM_STEPS_PER_TICK,
    is_about_one_line,
};

/// How much more than what is asked for must fit, in bytes: what statements and removals may take until the
/// room that they make is there. Little beside a log file, because no question for more than one can be answered
/// from files that came free.
const AHEAD_BYTES: u64 = 4 * EPOCH_BYTES;
/// So many bytes of clips are dropped before the disk is asked again: room comes by whole log files.
const ROUND_BYTES: u64 = 16 * 1024 * 1024;
/// How often one question for room may ask the disk again, the first time before anything is dropped.
const ROUNDS_MAX: u32 = 5;
/// Clips that one question for room drops at most: bounds how long a recording waits for it. They share their
/// syncs.
const DROPS_MAX: u32 = 256;
/// Transactions that drop one clip at one time; what is left goes with the next question or tick.
const STEPS_MAX: u32 = 32;
/// Times that what is dead is looked for at one time.
const SWEEPS_MAX: u32 = 64;

impl Core {
    /// At most so many bytes of video may wait for phones, retained copies included; `None`: as many as the
    /// disk takes. In force with the next piece.
    pub fn set_budget(&mut self, bytes: Option<u64>) {
        self.budget_bytes = bytes;
    }

    /// Whether so many bytes more of video are within the budget.
    pub(super) fn is_within_budget(&self, bytes: u64) -> Result<bool, CoreError> {
        let stored = self.journal_ref()?.stats().live_bytes;
        let budget = self.budget_bytes.unwrap_or(u64::MAX);
        Ok(stored.saturating_add(bytes) <= budget)
    }

    /// Makes room for so many bytes of what a camera gives. False if there is none, even though everything that
    /// may go has gone: the owner is told.
    ///
    /// # Errors
    /// As [`Self::has_room`]; a recording may be another, or none, afterwards.
    pub(super) fn make_room(&mut self, bytes: u64, now_unix_ms: u64) -> Result<bool, CoreError> {
        self.make_room_beside(bytes, bytes, now_unix_ms)
    }

    /// The same for so many bytes of which only `video` count for the budget: what is said beside a clip is
    /// nothing in comparison, and no budget keeps it back.
    ///
    /// # Errors
    /// As [`Self::make_room`].
    pub(super) fn make_room_beside(
        &mut self,
        video: u64,
        bytes: u64,
        now_unix_ms: u64,
    ) -> Result<bool, CoreError> {
        let is_roomy = self.has_room(bytes + AHEAD_BYTES, Priority::Bulk, now_unix_ms)?;
        if is_roomy && self.is_within_budget(video)? {
            return Ok(true);
        }
        if self.may_drop() {
            match self.clear(video, bytes, now_unix_ms) {
                // Opened again: nothing of the caller's step was done.
                Ok(()) | Err(CoreError::Reopened) => {}
                Err(error) => return Err(error),
            }
        }
        // A budget that is too small for anything holds up no word.
        let is_allowed = video == 0 || self.is_within_budget(video)?;
        let made = is_allowed && self.has_room(bytes, Priority::Bulk, now_unix_ms)?;
        if !made {
            self.alarms.storage_full(self.ran, now_unix_ms);
        }
        Ok(made)
    }

    /// Drops what has to go for so many bytes, as far as one call may.
    fn clear(&mut self, video: u64, bytes: u64, now_unix_ms: u64) -> Result<(), CoreError> {
        let mut drops = DROPS_MAX;
        if !self.keep_budget(video, &mut drops, now_unix_ms)? {
            return Ok(());
        }
        for round in 0..ROUNDS_MAX {
            if !self.is_full(bytes + AHEAD_BYTES, now_unix_ms)? {
                return Ok(());
            }
            let is_swept = self.remove_dead(now_unix_ms)?;
            let dropped = match round {
                // No clip goes where what is dead already, and a shorter tail, are room enough.
                0 if is_swept || self.oldest().is_some() => 1,
                0 => 0,
                _ => self.drop_oldest(ROUND_BYTES, &mut drops, now_unix_ms)?,
            };
            if dropped == 0 && !is_swept {
                return Ok(());
            }
            self.remove_dead(now_unix_ms)?;
            // Files that hold nothing any more come free with it.
            self.take_back_files(now_unix_ms)?;
        }
        Ok(())
    }

    /// Whether the disk has less left than so many bytes more take. One that has enough and refuses all the same,
    /// because it failed a moment ago, is not full: no clip would help it.
    fn is_full(&mut self, bytes: u64, now_unix_ms: u64) -> Result<bool, CoreError> {
        let asked = self.journal()?.admit(bytes, Priority::Bulk);
        match self.judge(asked, now_unix_ms) {
            Ok(()) => Ok(false),
            Err(CoreError::Journal(JournalError::Wal(WalError::Space { needed, available }))) => {
                Ok(available < needed)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether this core drops clips for their room: always, but for tests that are about something else.
    fn may_drop(&self) -> bool {
        #[cfg(test)]
        if self.room.is_some() || self.keeps_all {
            return false;
        }
        true
    }

    fn keep_budget(
        &mut self,
        bytes: u64,
        drops: &mut u32,
        now_unix_ms: u64,
    ) -> Result<bool, CoreError> {
        while !self.is_within_budget(bytes)? {
            if self.remove_dead(now_unix_ms)? {
                continue;
            }
            let stored = self.journal_ref()?.stats().live_bytes;
            let excess = (stored + bytes).saturating_sub(self.budget_bytes.unwrap_or(u64::MAX));
            if self.drop_oldest(excess, drops, now_unix_ms)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes what is acked, ended or dropped, synced; whether there was any of it.
    fn remove_dead(&mut self, now_unix_ms: u64) -> Result<bool, CoreError> {
        let mut any = false;
        for _ in 0..SWEEPS_MAX {
            let before = self.staged_bytes;
            self.trim(TRIM_STEPS_PER_TICK);
            if self.staged_bytes == before {
                break;
            }
            self.commit(now_unix_ms)?;
            any = true;
        }
        Ok(any)
    }

    fn take_back_files(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.finish_commit(now_unix_ms)?;
        let made = self.journal()?.checkpoint();
        match self.judge(made, now_unix_ms) {
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                tracing::debug!(%error, "the disk has no room for a checkpoint");
                Ok(())
            }
            made => made,
        }
    }

    /// Drops the oldest clips that may go, until they had so many bytes of video, or `drops` are used up; synced. How
    /// many bytes they had: none if there is none, or if not even what is held back has room for their statements.
    fn drop_oldest(
        &mut self,
        wanted: u64,
        drops: &mut u32,
        now_unix_ms: u64,
    ) -> Result<u64, CoreError> {
        let mut dropped = 0;
        let Some((line, clips)) = self.oldest() else {
            return Ok(dropped);
        };
        for clip in clips {
            if dropped >= wanted || *drops == 0 {
                break;
            }
            let Some(bytes) = self.drop_clip(line, &clip, DropReason::Budget, now_unix_ms)? else {
                break;
            };
            *drops -= 1;
            // One without a byte is one less as well.
            dropped += bytes.max(1);
        }
        self.commit(now_unix_ms)?;
        Ok(dropped)
    }

    /// The clips that may go, oldest first, of the line for which most waits; at least one.
    fn oldest(&self) -> Option<(Line, Vec<HubClip>)> {
        let mut found: Option<(u64, Line, Vec<HubClip>)> = None;
        let lines = self.lines.iter();
        for (line, _) in lines.filter(|(_, state)| state.may_record()) {
            let clips = self.droppable(*line);
            let waits: u64 = clips.iter().map(|clip| clip.bytes).sum();
            let is_more = found.as_ref().is_none_or(|(most, ..)| waits > *most);
            if is_more && !clips.is_empty() {
                found = Some((waits, *line, clips));
            }
        }
        found.map(|(_, line, clips)| (line, clips))
    }

    /// The clips of a line that may go, oldest first. What cannot be read gives no room.
    pub(super) fn droppable(&self, line: Line) -> Vec<HubClip> {
        let Some(journal) = &self.journal else {
            return Vec::new();
        };
        let read = journal
            .outbox_head(line)
            .and_then(|head| Ok((head.acked, journal.hub_clips(line.pairing)?)));
        let (acked, mut clips) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "the clips of a phone cannot be read, so none of them is dropped");
                return Vec::new();
            }
        };
        let mut busy = self.clips_in_progress();
        // Its copy would end under the player's hands.
        busy.extend(self.played_from());
        clips.retain(|clip| may_go(clip, acked) && !busy.contains(&clip.clip));
        clips
    }

    /// Drops a clip, or goes on with one; how many bytes of video it had. Staged, in steps: a crash between two leaves
    /// a clip that says itself how far it has come. `None`: there is no room for its statements.
    pub(super) fn drop_clip(
        &mut self,
        line: Line,
        clip: &HubClip,
        reason: DropReason,
        now_unix_ms: u64,
    ) -> Result<Option<u64>, CoreError> {
        let is_for_room = reason == DropReason::Budget;
        let is_told = is_for_room && self.settings(now_unix_ms)?.settings.alerts.storage_full;
        let mut is_news = !clip.is_dropped_in_part();
        for _ in 0..STEPS_MAX {
            if !self.has_room(EPOCH_BYTES, Priority::Epoch, now_unix_ms)? {
                return Ok(None);
            }
            let owes_alarm = is_news && is_told && self.alarms.owes_full(self.ran);
            let dropped = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
                let dropped = session.drop_whole(txn, clip.clip, reason)?;
                if owes_alarm {
                    // A start that finds the clip dropped finds this as well.
                    txn.note_storage_full(true)?;
                }
                Ok(dropped)
            });
            let dropped = match self.judge(dropped, now_unix_ms) {
                Ok(dropped) => dropped,
                Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                    return Ok(None);
                }
                Err(CoreError::Journal(error)) if gives_no_room(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            if std::mem::take(&mut is_news) {
                let bytes = clip.bytes;
                match is_for_room {
                    true => {
                        tracing::warn!(
                            bytes,
                            "the oldest clip that a phone has not got makes room"
                        );
                        self.alarms.storage_full(self.ran, now_unix_ms);
                    }
                    false => tracing::info!(bytes, "a clip that a phone has not got is too old"),
                }
                let clip = ClipFacts::of(&dropped);
                self.pending
                    .push(Notice::ClipDropped { line, clip, reason });
            }
            if !dropped.is_dropped_in_part() {
                return Ok(Some(clip.bytes));
            }
        }
        // The next call goes on.
        self.drops = true;
        Ok(Some(clip.bytes))
    }

    /// Goes on with clips that an earlier call, or an earlier process, has begun to drop.
    ///
    /// # Errors
    /// [`CoreError::Reopened`] or [`CoreError::Dead`].
    pub(super) fn finish_drops(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        if !std::mem::take(&mut self.drops) {
            return Ok(());
        }
        let records = |(line, state): (&Line, &LineState)| state.may_record().then_some(*line);
        let lines: Vec<Line> = self.lines.iter().filter_map(records).collect();
        for line in lines {
            let mut begun = self.droppable(line).into_iter();
            if let Some(clip) = begun.find(HubClip::is_dropped_in_part) {
                // Another may be behind it.
                self.drops = true;
                let reason = match clip.outcome {
                    ClipOutcome::Dropped(reason) => reason,
                    _ => DropReason::Budget,
                };
                let _bytes = self.drop_clip(line, &clip, reason, now_unix_ms)?;
            }
        }
        Ok(())
    }
}

/// Whether a clip is one that may go for its room: it has ended, and the phone has not acked it.
fn may_go(clip: &HubClip, acked: Seq) -> bool {
    let is_whole = matches!(clip.outcome, ClipOutcome::Complete | ClipOutcome::CutOff);
    (is_whole || clip.is_dropped_in_part()) && clip.last_seq() > acked
}

/// Whether nothing was done for want of room, or of room in one batch.
fn gives_no_room(error: &JournalError) -> bool {
    matches!(error.kind(), ErrorKind::Space | ErrorKind::Retry)
}
