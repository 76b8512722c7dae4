//! Runs of envelopes as the relay delivered them: each is judged and taken in a transaction of its own.
//!
//! This room must never take anything behind an envelope that was refused, nor anything on a line that is over. A
//! hub's proof that this directory was rolled back ends all lines of its pairing.

use bytes::Bytes;
use journal::ids::Line;
use journal::{Follower, JournalError, Session, Staged, Taken, WantsCommit, or_after_commit};
use wal::{Priority, crash_point};
use wire::Seq;
use wire::envelope::Size;

use super::ack::Settling;
use super::{Core, Over, PendingRun};

/// Most envelopes in one run: they share one commit.
pub const RUN_ENVELOPES_MAX: usize = 32;

/// Most bytes in one run, not counting its last envelope.
pub const RUN_BYTES_MAX: usize = 1024 * 1024;

/// What one envelope may cost in the log besides its own bytes: group state, clip row, padding.
const ENVELOPE_COST_BYTES: u64 = 32 * 1024;

/// An envelope as the relay delivered it: it may be anything.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The number that the relay says it has.
    pub seq: Seq,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why a run stopped before its end. Nothing behind that point changed anything.
#[derive(Debug)]
pub enum Halt {
    /// Not made by the hub for this place: drop the connection and ask again.
    NotAuthentic {
        /// Its claimed number.
        seq: Seq,
    },
    /// Something is missing: ask again from the cursor.
    Gap {
        /// What must come first.
        expected: Seq,
    },
    /// The line is over. Nothing is taken or sent any more.
    Over(Over),
    /// Our own journal refused or failed.
    Journal(JournalError),
}

impl WantsCommit for Halt {
    fn wants_commit(&self) -> bool {
        matches!(self, Self::Journal(error) if error.wants_commit())
    }
}

impl From<JournalError> for Halt {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl Core {
    /// Takes a run of envelopes, each in a transaction of its own, and the ack that is due. The
    /// caller commits once and then settles. `now_unix_ms` is what is remembered as the time of a
    /// Commit or an answer.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`], or only our own storage, before anything was taken; later trouble
    /// is in [`Run::halt`](super::Run::halt).
    pub fn deliver(
        &mut self,
        line: Line,
        run: &[Delivered],
        now_ms: u64,
        now_unix_ms: u64,
    ) -> Result<PendingRun, JournalError> {
        self.follow(line)?;
        // A proof that found no room yet is tried again.
        if let Some(over) = self.known_over(line)? {
            return Err(over.error(line));
        }
        self.admit(run)?;
        let mut pending = PendingRun::new(line, now_ms);
        for delivered in run {
            // Small log files take less at once than a run holds.
            let taken = or_after_commit(
                self,
                |core| core.take(line, delivered, now_ms, now_unix_ms),
                |core| Ok(core.commit().map(drop)?),
            );
            match taken {
                Ok(fact) => pending.facts.extend(fact),
                Err(halt) => {
                    pending.halt = Some(halt);
                    break;
                }
            }
        }
        if !matches!(pending.halt, Some(Halt::Journal(_))) {
            self.stage_due(&mut pending, Settling::WhenDue);
        }
        Ok(pending)
    }

    /// Refuses a run before any of it is built. Small envelopes keep the epochs in step and may use
    /// what is held back for them.
    fn admit(&mut self, run: &[Delivered]) -> Result<(), JournalError> {
        let bytes: u64 = run
            .iter()
            .map(|one| one.bytes.len() as u64 + ENVELOPE_COST_BYTES)
            .sum();
        let bulk = run
            .iter()
            .any(|one| Size::of(one.bytes.len()) == Size::Bulk);
        let priority = if bulk {
            Priority::Bulk
        } else {
            Priority::Epoch
        };
        self.journal.admit(bytes, priority)
    }

    fn take(
        &mut self,
        line: Line,
        delivered: &Delivered,
        now_ms: u64,
        now_unix_ms: u64,
    ) -> Result<Option<Staged<(Seq, Taken)>>, Halt> {
        let Some(follow) = self.lines.get_mut(&line) else {
            return Err(JournalError::NoGroup(line).into());
        };
        let seq = delivered.seq;
        let mut txn = self.journal.begin();
        let taken = follow
            .session
            .take(&mut txn, seq, &delivered.bytes, now_unix_ms)?;
        match taken {
            Taken::Duplicate => return Ok(None),
            Taken::Gap { expected } => return Err(Halt::Gap { expected }),
            Taken::NotAuthentic => return Err(Halt::NotAuthentic { seq }),
            Taken::RolledBack | Taken::LineBroken => {
                let over = match taken {
                    Taken::RolledBack => Over::RolledBack,
                    _ => Over::Broken,
                };
                tracing::error!(?over, "nothing more is taken from this hub or sent to it");
                // Also if there is no room for the proof: it comes again with the next envelope.
                follow.over = Some(over);
                // It never falls quiet: what it took since its last rotation would stay readable for ever (S5).
                follow.session.rotate_for_good(&mut txn)?;
                let staged = txn.stage(());
                if over == Over::RolledBack {
                    self.end_all(line);
                }
                drop(staged?);
                return Err(Halt::Over(over));
            }
            Taken::Cover
            | Taken::Nothing(_)
            | Taken::NewEpoch(_)
            | Taken::Healed(_)
            | Taken::Answered(_)
            | Taken::CommandDone(_)
            | Taken::Settings(_)
            | Taken::Invited { .. }
            | Taken::Added(_)
            | Taken::LiveBegun(_)
            | Taken::LiveEnded(_)
            | Taken::Notified(_)
            | Taken::Started(_)
            | Taken::Media { .. }
            | Taken::Ended { .. } => {}
        }
        let noted = taken.clone();
        let staged = txn.stage((seq, taken))?;
        // CRASH(app.take.staged): before: the envelope is not taken, the cursor is before it; it comes
        // again | after: its effect and the cursor behind it are synced as one.
        crash_point!("app.take.staged");
        follow.took(&noted, delivered.bytes.len(), now_ms);
        self.note_live(line, &noted, now_ms);
        if matches!(noted, Taken::NewEpoch(_)) {
            self.owe_overtaken(line, now_ms)?;
        }
        Ok(Some(staged))
    }

    /// A directory rolls back whole: what proves it on one line ends the others of its pairing.
    fn end_all(&mut self, proven: Line) {
        for (line, follow) in &mut self.lines {
            if line.pairing == proven.pairing {
                follow.over = Some(Over::RolledBack);
            }
        }
        for line in Line::all(proven.pairing) {
            if line != proven {
                self.rotate_what_is_over(line);
            }
        }
    }

    /// A line that is over never falls quiet: what it took since its last rotation would stay readable (S5). Each in
    /// a transaction of its own, because all together may be more than one holds. What is not staged, the next
    /// opening of the journal rotates.
    pub(super) fn rotate_what_is_over(&mut self, line: Line) {
        let mut session = Session::<Follower>::new(line);
        let mut txn = self.journal.begin();
        let rotated = session.rotate_for_good(&mut txn);
        if let Err(error) = rotated.and_then(|()| txn.stage(()).map(drop)) {
            tracing::warn!(%error, "a line that is over keeps its key until the next start");
        }
    }
}
