//! What is over is removed in steps: acked envelopes along with every sync, the rest when a tick has nothing better
//! to do.
//!
//! Which rows those are the journal knows. This room must never hold up what is recorded, so each call has a
//! bound; a step that finds no room is made later.

use super::Core;

/// Steps of removing acked envelopes that a commit takes along for each line, so that they go while
/// video is recorded and hold none of it up.
pub(super) const TRIM_STEPS_PER_COMMIT: u32 = 2;

/// Such steps at a start and at each tick, which have nothing better to do.
pub(super) const TRIM_STEPS_PER_TICK: u32 = 32;

/// What one of the steps takes in the log.
const TRIM_BYTES: u64 = 32 * 1024;

/// What one of those takes that remove chunks of a clip, or end copies.
pub(super) const TRIM_CLIPS_BYTES: u64 = 128 * 1024;

impl Core {
    /// Stages the removal of acked envelopes, some of each line.
    pub(super) fn trim_acked(&mut self, steps: u32) {
        let Some(journal) = self.journal.as_mut() else {
            return;
        };
        for line in self.lines.keys() {
            let staged = journal.stage_trims(steps, |txn| txn.trim_outbox(*line));
            self.staged_bytes += u64::from(staged.steps) * TRIM_BYTES;
        }
    }

    /// The same, and of what ended lines left: that is looked for in the view, and waits for a tick.
    pub(super) fn trim(&mut self, steps: u32) {
        self.trim_acked(steps);
        let busy = self.clips_in_progress();
        let Some(journal) = self.journal.as_mut() else {
            return;
        };
        let ended = journal.stage_trims(steps, |txn| txn.trim_ended());
        let mut of_clips = 0;
        if self.releases {
            let released = journal.stage_trims(steps, |txn| txn.trim_retained());
            // A step that could not be staged is made at the next tick.
            self.releases = !released.is_all;
            of_clips += released.steps;
        }
        if self.unwanted {
            let forgotten = journal.stage_trims(steps, |txn| txn.trim_unwanted(&busy));
            of_clips += forgotten.steps;
        }
        of_clips += journal.stage_trims(steps, |txn| txn.trim_deleted()).steps;
        self.staged_bytes += u64::from(ended.steps) * TRIM_BYTES;
        self.staged_bytes += u64::from(of_clips) * TRIM_CLIPS_BYTES;
    }
}
