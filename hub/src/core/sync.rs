//! One sync for everything that is staged, in two halves, and what is true once it is over; behind it, when there is time,
//! the vault.
//!
//! This room must never let a notice, an outbox head or a wish out before the sync that covers it; where that
//! sync fails, [`super::poison`] goes on.

use std::time::Duration;

use journal::ids::Line;
use journal::{Journal, JournalError, LiveRight, Staged};

use super::lines::LineBooks;
use super::recording::{Mark, Recording};
use super::trim::TRIM_STEPS_PER_COMMIT;
use super::{Core, CoreError, Notice, Wishes, push};

/// A sync under way: what is true when it is over.
pub(super) struct Flight {
    notices: Vec<Notice>,
    heads: Vec<(Line, LineBooks)>,
    wishes: Wishes,
    recordings: Vec<Mark>,
    /// To seal frames of live sessions.
    rights: Vec<Staged<LiveRight>>,
    /// Alarms that it covers.
    alarms: usize,
}

impl Core {
    /// Makes everything staged durable with one sync; only then do its notices come out.
    ///
    /// # Errors
    /// [`CoreError::Reopened`]: the sync failed, the journal was opened again, a recording goes on
    /// behind a new Commit. [`CoreError::Dead`]: end the process.
    pub fn commit(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.begin_commit(now_unix_ms)?;
        self.finish_commit(now_unix_ms)?;
        self.settle_keys(now_unix_ms)
    }

    /// Whether keys were given up of which the vault has not heard yet, and nobody waits for a first byte that its
    /// syncs would hold up.
    pub fn may_settle_keys(&self) -> bool {
        let owes = self.journal.as_ref().is_some_and(Journal::owes_vault);
        owes && !self.awaits_first_byte()
    }

    /// Nobody asks for anything: the vault hears of keys that were given up, and what has waited for that is staged,
    /// the rotation of a line that took something meanwhile. True if there is something to sync.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn handle_quiet(&mut self, now_unix_ms: u64) -> Result<bool, CoreError> {
        if !self.may_settle_keys() {
            return Ok(false);
        }
        self.settle_keys(now_unix_ms)?;
        self.rotate_with_batch(now_unix_ms)?;
        Ok(self.has_staged())
    }

    /// However busy it is: what was given up is gone within a tick, or two where a first byte is in front of it.
    pub(super) fn settle_keys_at_tick(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.keys_waited = self.awaits_first_byte() && !self.keys_waited;
        match self.keys_waited {
            true => Ok(()),
            false => self.settle_keys(now_unix_ms),
        }
    }

    /// Whether a first byte waits for a sync.
    pub(super) fn awaits_first_byte(&self) -> bool {
        self.recordings.values().any(Recording::awaits_first_byte)
    }

    /// Tells the vault of the keys that were given up. Two syncs, for which nothing need wait that is durable: what an
    /// ended clip was sealed under can be read until then.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn settle_keys(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let journal = self.journal()?;
        if !journal.owes_vault() {
            return Ok(());
        }
        match journal.settle() {
            Ok(()) => {
                self.reopens = 0;
                Ok(())
            }
            Err(error) => self.reopen(&error, now_unix_ms),
        }
    }

    /// The first half of [`Self::commit`]: starts the sync of everything staged, and finishes an
    /// earlier one first. Nothing of it is true before [`Self::finish_commit`].
    ///
    /// # Errors
    /// As [`Self::commit`]; any other changes nothing, and what is staged waits for the next.
    pub fn begin_commit(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.finish_commit(now_unix_ms)?;
        self.trim_acked(TRIM_STEPS_PER_COMMIT);
        self.rotate_with_batch(now_unix_ms)?;
        let heads = self.outbox_heads();
        #[cfg(test)]
        let heads = match self.no_sync {
            0 => heads,
            _ => {
                self.no_sync -= 1;
                Err(JournalError::Wal(wal::WalError::Io {
                    operation: "a test",
                    source: std::io::ErrorKind::Interrupted.into(),
                }))
            }
        };
        let heads = self.judge(heads, now_unix_ms)?;
        let wishes = self.staged_wishes();
        let wishes = self.judge(wishes, now_unix_ms)?;
        match self.journal()?.begin_commit() {
            Ok(()) => {
                self.staged_bytes = 0;
                self.flight = Some(Flight {
                    notices: std::mem::take(&mut self.pending),
                    heads,
                    wishes,
                    recordings: self
                        .recordings
                        .iter()
                        .map(|(camera, recording)| recording.mark(*camera))
                        .collect(),
                    rights: self.lives.fly(),
                    alarms: self.alarms.count_staged(),
                });
                Ok(())
            }
            Err(error) => self.reopen(&error, now_unix_ms),
        }
    }

    /// The second half of [`Self::commit`]: waits for the sync that is under way, if one is. The vault hears of it by
    /// [`Self::settle_keys`].
    ///
    /// # Errors
    /// As [`Self::commit`]. [`CoreError::Reopened`] also where this sync succeeded and the checkpoint
    /// that followed it failed: what it covers is true and was said, what was staged since is not
    /// known.
    pub fn finish_commit(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let Some(mut flight) = self.flight.take() else {
            return Ok(());
        };
        match self.journal()?.finish_commit() {
            Ok(committed) => {
                let rights = std::mem::take(&mut flight.rights);
                self.lives.land(&committed, rights);
                self.settle(flight);
                // The next call would be refused, whatever it is, and with it the rest of the event.
                let journal = self.journal()?;
                if journal.is_poisoned() {
                    let poisoning = journal.poisoning();
                    return self.reopen(&poisoning, now_unix_ms);
                }
                // A vault that takes nothing is a failure as well.
                if !journal.owes_vault() {
                    self.reopens = 0;
                }
                Ok(())
            }
            Err(error) => self.reopen(&error, now_unix_ms),
        }
    }

    /// Waits at most so long for the sync that is under way. False as long as
    /// [`Self::finish_commit`] would still wait for it: there is time to run more steps.
    pub fn wait_for_sync(&mut self, patience: Duration) -> bool {
        self.flight.is_none()
            || self
                .journal
                .as_mut()
                .is_none_or(|journal| journal.wait_for_sync(patience))
    }

    /// Whether [`Self::begin_commit`] has anything to do.
    pub fn has_staged(&self) -> bool {
        self.staged_bytes > 0 || !self.pending.is_empty()
    }

    /// Whether [`Self::finish_commit`] has anything to do.
    pub fn is_committing(&self) -> bool {
        self.flight.is_some()
    }

    /// Tells the uplink of what no sync covers: part of a deliberate bug (crashtest), never called
    /// otherwise.
    pub(crate) fn believe_what_is_staged(&mut self) {
        for (line, head) in self.outbox_heads().unwrap_or_default() {
            if let Some(state) = self.lines.get_mut(&line) {
                state.durable = head;
            }
        }
    }

    pub(super) fn outbox_heads(&self) -> Result<Vec<(Line, LineBooks)>, JournalError> {
        let journal = self.journal.as_ref().ok_or(JournalError::Poisoned(None))?;
        self.lines
            .iter()
            .map(|(line, state)| {
                let books = LineBooks::read(journal, *line, state.events_told)?;
                Ok((*line, books))
            })
            .collect()
    }

    /// Lets out what a sync made true.
    fn settle(&mut self, flight: Flight) {
        for notice in flight.notices {
            push(&mut self.notices, notice);
        }
        for (line, head) in flight.heads {
            if let Some(state) = self.lines.get_mut(&line) {
                state.durable = head;
            }
        }
        self.wishes = flight.wishes;
        self.alarms.settle(flight.alarms);
        for mark in flight.recordings {
            self.settle_recording(mark);
        }
    }
}
