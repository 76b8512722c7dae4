//! Cover: what is put into an outbox so that an envelope leaves when there is nothing to say.
//!
//! The uplink asks for it; when, and how much, is the uplink's to know. Cover is the first to go without when the
//! disk is full, and this room must never let it stand in the way of anything else.

use journal::ErrorKind;
use journal::ids::Line;
use wal::{Priority, crash_point};

use super::{Core, CoreError, LineState, SMALL_GROUP_BYTES, is_about_one_line};

impl Core {
    /// Stages one cover on a line. False if none can be made now: no events are recorded for that phone any more,
    /// or the disk is full.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn handle_cover_due(&mut self, line: Line, now_unix_ms: u64) -> Result<bool, CoreError> {
        let is_used = self.lines.get(&line).is_some_and(LineState::may_record);
        if !is_used || !self.has_room(SMALL_GROUP_BYTES, Priority::Bulk, now_unix_ms)? {
            return Ok(false);
        }
        let staged = self.in_txn(line, SMALL_GROUP_BYTES, now_unix_ms, |session, txn| {
            session.cover(txn)
        });
        match self.judge(staged, now_unix_ms) {
            Ok(_seq) => {
                // CRASH(hub.cover.staged): before: no cover, its number is the next envelope's | after: it is in
                // the outbox, synced, and leaves in a slot.
                crash_point!("hub.cover.staged");
                Ok(true)
            }
            Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                self.set_broken(line, &error);
                Ok(false)
            }
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => Ok(false),
            Err(error) => Err(error),
        }
    }
}
