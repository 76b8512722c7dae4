//! What the core does when there is no room: video goes, epochs never.
//!
//! What a full disk refuses is given up with the rest of its event, so that nothing stands in the way
//! of the clip's small end; that says exactly what was stored, and waits for room if not even what is
//! held back for epochs has any. Whoever waits is asked again by a tick or by the next event. This
//! room must never keep refused video for another try, and never lets a Commit or a notice go with it. Whether
//! old clips make room for what comes is asked before ([`super::budget`]).

use journal::ErrorKind;
use wal::Priority;

use super::recording::{CameraNumber, Ending, Recording};
use super::{Core, CoreError, Notice, Recorded, Stop, push};

/// What came of staging what is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// All of it is staged.
    Enough,
    /// The disk is full. The rest is given up, and the end of the clip is staged, or owed.
    None,
}

impl Core {
    /// Stages whatever of the recording is not staged yet, or gives it up.
    ///
    /// # Errors
    /// The journal's. What it could never take was given up as well.
    pub(super) fn advance_or_shed(
        &mut self,
        camera: CameraNumber,
        now_unix_ms: u64,
    ) -> Result<Room, CoreError> {
        match self.advance(camera, now_unix_ms) {
            Ok(()) => Ok(Room::Enough),
            // The room was there when it was asked for. The transaction was dropped whole.
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                self.shed(camera, now_unix_ms)?;
                Ok(Room::None)
            }
            Err(CoreError::Journal(error)) if error.kind() != ErrorKind::Retry => {
                self.shed(camera, now_unix_ms)?;
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives up what is not staged and ends the clip.
    fn shed(&mut self, camera: CameraNumber, now_unix_ms: u64) -> Result<(), CoreError> {
        if let Some(recording) = self.recordings.get_mut(&camera) {
            let _any = recording.shed();
        }
        self.end_recording(camera, Ending::CutOff, now_unix_ms)
    }

    /// Says once of each clip that its end has to wait.
    pub(super) fn say_owed(&mut self, camera: CameraNumber) {
        let recording = self.recordings.get_mut(&camera);
        if recording.is_some_and(Recording::owes_end) {
            tracing::warn!(
                "not even the reserve has room for the end of a clip; it is tried again"
            );
        }
    }

    /// Whether there is room for so many bytes more. A journal that fails at the question is opened
    /// again, which takes the recordings up, and is asked once more: nothing of the caller's step was
    /// done. So a recording may be another, or none, afterwards.
    ///
    /// # Errors
    /// The journal's.
    pub(super) fn has_room(
        &mut self,
        bytes: u64,
        priority: Priority,
        now_unix_ms: u64,
    ) -> Result<bool, CoreError> {
        match self.ask_for_room(bytes, priority, now_unix_ms) {
            Err(CoreError::Reopened) => self.ask_for_room(bytes, priority, now_unix_ms),
            asked => asked,
        }
    }

    fn ask_for_room(
        &mut self,
        bytes: u64,
        priority: Priority,
        now_unix_ms: u64,
    ) -> Result<bool, CoreError> {
        #[cfg(test)]
        if let Some(error) = self.room_errors.pop_front() {
            return Err(error);
        }
        #[cfg(test)]
        if let Some(room) = self.room {
            return Ok(room);
        }
        let asked = self.journal()?.admit(bytes, priority);
        match self.judge(asked, now_unix_ms) {
            Ok(()) => Ok(true),
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says once why events are not recorded, until one is again.
    pub(super) fn not_recorded(&mut self, why: Stop) -> Recorded {
        if self.stopped.replace(why) != Some(why) {
            push(&mut self.notices, Notice::NotRecorded(why));
        }
        Recorded::Not(why)
    }
}
