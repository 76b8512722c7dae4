//! When a line's ack is due, and when the key of its group rotates; both are staged here.
//!
//! When an ack is due (DESIGN section 4; cumulative, so that one made stale by a new epoch is made
//! good by the next): at once after a clip ended or an epoch began, else [`ACK_PAUSE_MS`] after the
//! first envelope that it owes, and whenever the line falls quiet. What a hub says in envelopes of one size
//! is not acked at once: the time of an ack must then not tell the relay which of them it was. The group's
//! key rotates when the line falls quiet, in the transaction of the last ack, also if that is said again and
//! nothing was taken; among covers that do not end, by itself. While an update of ours waits for the hub's
//! Commit no ack is due; that Commit makes it due at once. A heartbeat acks all lines. This room must never let
//! an ack say more than what is staged before it.

use journal::ids::Line;
use journal::{FULL_ENVELOPE_BYTES, Journal, JournalError, Staged, Taken, or_after_commit};
use wal::{Priority, crash_point};
use wire::Seq;

use super::follow::Follow;
use super::{ACK_COST_BYTES, Core, Halt, PendingRun};

/// An ack waits at most this long while media flows, in milliseconds.
pub const ACK_PAUSE_MS: u64 = 1_000;

/// A line without deliveries for this long is quiet, in milliseconds.
pub const QUIET_MS: u64 = 500;

/// An ack in the outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckSent {
    /// The number of its own envelope.
    pub envelope: Seq,
    /// It says that everything through here is durable.
    pub through: Seq,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Settling {
    WhenDue,
    Now,
}

impl Follow {
    /// When the ack is due that is owed, if one can be said.
    fn ack_at_ms(&self) -> Option<u64> {
        let owed = self.owed_since_ms.filter(|_| !self.awaits_commit)?;
        let ack = if self.urgent { 0 } else { owed + ACK_PAUSE_MS };
        Some(ack.min(self.last_taken_ms + QUIET_MS))
    }

    /// When the group's key is to rotate. Covers put nothing off that nobody sees: a line on which they never end
    /// would never fall quiet.
    fn rotates_at_ms(&self) -> Option<u64> {
        self.stirred.then_some(self.stirred_ms + QUIET_MS)
    }

    fn due_at_ms(&self) -> Option<u64> {
        match (self.ack_at_ms(), self.rotates_at_ms()) {
            (Some(ack), Some(rotation)) => Some(ack.min(rotation)),
            (ack, rotation) => ack.or(rotation),
        }
    }

    /// `bytes` is the length of the envelope: what the relay sees of it.
    pub(super) fn took(&mut self, taken: &Taken, bytes: usize, now_ms: u64) {
        self.owed_since_ms.get_or_insert(now_ms);
        let moved = matches!(taken, Taken::NewEpoch(_) | Taken::Healed(_));
        // Any Commit takes a pending update, or ends it.
        self.awaits_commit &= !moved;
        let urgent = moved || matches!(taken, Taken::Ended { .. });
        // A Commit or an end of that length is one in disguise.
        self.urgent |= urgent && bytes < FULL_ENVELOPE_BYTES;
        // With a cover nothing was opened with the group's keys.
        if !matches!(taken, Taken::Cover) {
            self.stirred = true;
            self.stirred_ms = now_ms;
        }
        self.last_taken_ms = now_ms;
    }
}

impl Core {
    /// Notes that the hub may not know what we hold: the relay lost something, or a new
    /// connection was made.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn owe_ack(&mut self, line: Line, now_ms: u64) -> Result<(), JournalError> {
        let cursor = self.journal.inbox_head(line)?.cursor;
        let follow = self.follow(line)?;
        if cursor.is_some() {
            follow.owed_since_ms.get_or_insert(now_ms);
        }
        Ok(())
    }

    /// Stages what time asks for: an ack, and a rotation when the line is quiet.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`], or only our own storage.
    pub fn tick(&mut self, line: Line, now_ms: u64) -> Result<PendingRun, JournalError> {
        self.check_goes_on(line)?;
        let mut pending = PendingRun::new(line, now_ms);
        self.stage_due(&mut pending, Settling::WhenDue);
        pending.no_journal_trouble()
    }

    /// After how many milliseconds [`Self::tick`] has something to do on a line; `None` if nothing is due.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn due_in_ms(&mut self, line: Line, now_ms: u64) -> Result<Option<u64>, JournalError> {
        let due_at_ms = self.follow(line)?.due_at_ms();
        Ok(due_at_ms.map(|at| at.saturating_sub(now_ms)))
    }

    /// The end of a sync: the last ack if one is owed, and the rotation of the group's key, in one
    /// transaction.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`], or only our own storage.
    pub fn finish_sync(&mut self, line: Line, now_ms: u64) -> Result<PendingRun, JournalError> {
        self.check_goes_on(line)?;
        let mut pending = PendingRun::new(line, now_ms);
        self.stage_due(&mut pending, Settling::Now);
        pending.no_journal_trouble()
    }

    pub(super) fn stage_due(&mut self, pending: &mut PendingRun, settling: Settling) {
        let now_ms = pending.now_ms;
        let Some(follow) = self.lines.get_mut(&pending.line) else {
            return;
        };
        if follow.over.is_some() {
            return;
        }
        let at_once = settling == Settling::Now;
        let is_due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_once || at_ms <= now_ms);
        // An ack never goes along with a rotation that is due before it: its time would tell the relay that something
        // was taken among covers.
        let owed = is_due(follow.ack_at_ms());
        let quiet = at_once || now_ms >= follow.last_taken_ms + QUIET_MS;
        // Also of a line on which only we have spoken: an ack has moved a ratchet, too.
        let rotate = is_due(follow.rotates_at_ms()) || (owed && quiet);
        if !owed && !rotate {
            return;
        }
        let staged = or_after_commit(
            &mut self.journal,
            |journal| stage_ack(journal, follow, owed, rotate),
            |journal| journal.commit().map(drop),
        );
        match staged {
            Ok(ack) => {
                if owed {
                    follow.owed_since_ms = None;
                    follow.urgent = false;
                }
                if owed && !follow.stirred {
                    follow.stirred = true;
                    follow.stirred_ms = now_ms;
                }
                follow.stirred &= !rotate;
                pending.ack = ack;
            }
            Err(error) => pending.halt = Some(Halt::Journal(error)),
        }
    }
}

/// Ack and rotation in one transaction; its cursor is what was staged before it.
fn stage_ack(
    journal: &mut Journal,
    follow: &mut Follow,
    owed: bool,
    rotate: bool,
) -> Result<Option<Staged<AckSent>>, JournalError> {
    // Before anything is encrypted: a refusal spends no generation.
    journal.admit(ACK_COST_BYTES, Priority::Epoch)?;
    let through = journal.inbox_head(follow.session.line())?.cursor;
    let mut txn = journal.begin();
    if rotate {
        follow.session.rotate(&mut txn);
    }
    if !owed {
        let _rotation = txn.stage(())?;
        return Ok(None);
    }
    let envelope = follow.session.send_ack(&mut txn)?;
    let staged = txn.stage(AckSent { envelope, through })?;
    // CRASH(app.ack.staged): before: no ack in the outbox, keys as they were; the next process owes one
    // | after: ack and rotation are synced as one.
    crash_point!("app.ack.staged");
    journal.stage_trims(1, |txn| txn.trim_deleted());
    Ok(Some(staged))
}
