//! The phones of this hub as a whole: who is silent, who is removed, and what the relay must be told.
//!
//! Each phone is a pairing of its own and takes part in events on its own; what happens to one never
//! touches another. This room must never remove a phone half: the journal does that in one transaction,
//! and only then does memory forget.

use std::collections::BTreeSet;
use std::time::Duration;

use journal::ids::{Channel, Line, PairingId};
use journal::{Dismissals, ErrorKind, HubPairing, JournalError};

use super::silence::Due;
use super::{Core, CoreError, Notice, PROVEN, SMALL_GROUP_BYTES, Stop, is_about_one_line, push};

impl Core {
    /// Whether the relay has admitted this hub: only then can phones be heard. It is not until this was said.
    pub fn handle_link(&mut self, is_attached: bool) {
        self.silence.attach(is_attached);
        self.lives.link(is_attached);
    }

    /// So much time has passed since the last call, or the start, by a clock that never falls: it is counted
    /// in which phones were not heard of, and for how long they have watched.
    ///
    /// # Errors
    /// [`CoreError::Reopened`] or [`CoreError::Dead`]; whatever else is in the way of one phone is said in
    /// the log and tried again.
    pub fn handle_elapsed(&mut self, passed: Duration, now_unix_ms: u64) -> Result<(), CoreError> {
        self.ran = self.ran.saturating_add(passed);
        self.aging.tick(passed);
        self.count_live(passed, now_unix_ms)?;
        self.watch_silence(passed, now_unix_ms)
    }

    /// Removes a phone: its groups and keys, its outbox, what was known of its clips, all in one
    /// transaction of its own. An event in progress goes on for the others. What the relay must be told
    /// is durable as well ([`Self::dismissals`]). False if there is no such phone, or none any more.
    ///
    /// # Errors
    /// The journal's. [`CoreError::Reopened`]: look, then ask again.
    pub fn remove_phone(&mut self, phone: PairingId, now_unix_ms: u64) -> Result<bool, CoreError> {
        // Nothing of it may be under way that a sync would say later.
        self.commit(now_unix_ms)?;
        let removed =
            self.with_journal(now_unix_ms, |journal| HubPairing::remove(journal, phone))?;
        if !removed.into_inner() {
            return Ok(false);
        }
        self.forget_phone(phone)?;
        // An offer that it passed on is void, and who listens for that is told.
        self.refresh_wishes()?;
        push(&mut self.notices, Notice::PhoneRemoved { phone });
        Ok(true)
    }

    /// A phone is removed by what is durable or staged: memory has no line of it any more, and an event in
    /// progress goes on for the others. Nothing is read of them. If its sync fails, what recovery finds is looked
    /// at anew.
    pub(super) fn forget_phone(&mut self, phone: PairingId) -> Result<(), CoreError> {
        self.lines.retain(|line, _| line.pairing != phone);
        // Nothing can be sealed for it any more, and its seat is free.
        for line in self.lives.forget(phone) {
            self.pending.push(Notice::LiveEnded { line, why: None });
        }
        self.count_silence()?;
        let (line, why) = (Line::of(phone, Channel::EventVideo), self.nobody());
        self.leave_recordings(line, why);
        self.leave_playing(line);
        Ok(())
    }

    /// The pairings that there are, also those of which nothing can be read.
    ///
    /// # Errors
    /// [`CoreError::Dead`].
    pub fn pairing_ids(&self) -> Result<Vec<PairingId>, CoreError> {
        Ok(self.journal_ref()?.pairing_ids())
    }

    /// Those of them of which nothing can be read: they have no line, and wait to be removed.
    ///
    /// # Errors
    /// The journal's, as a whole.
    pub fn unreadable_phones(&self) -> Result<Vec<PairingId>, CoreError> {
        let mut found = Vec::new();
        for id in self.pairing_ids()? {
            match self.is_confirmed(id) {
                Ok(_confirmed) => {}
                Err(error) if is_about_one_line(&error) => found.push(id),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// Phones that were removed and that the relay was not yet told of.
    ///
    /// # Errors
    /// The journal's.
    pub fn dismissals(&self) -> Result<Dismissals, CoreError> {
        Ok(self.journal_ref()?.dismissals()?)
    }

    /// Why an event that begins now has nobody to be recorded for.
    pub(super) fn nobody(&self) -> Stop {
        let records = || self.lines.iter().filter(|(_, state)| state.records());
        let silent = records()
            .any(|(line, state)| state.may_record() && self.silence.is_silent(line.pairing));
        if silent {
            return Stop::Silent;
        }
        match records().any(|(_, state)| state.standing == PROVEN) {
            true => Stop::RolledBack,
            false => Stop::NoPairing,
        }
    }

    /// Counts the silence of every phone that there is, and of no other.
    pub(super) fn count_silence(&mut self) -> Result<(), CoreError> {
        let phones: BTreeSet<PairingId> = self.lines.keys().map(|line| line.pairing).collect();
        self.silence.retain(&phones);
        for phone in phones {
            if !self.silence.knows(phone) {
                let stored_ms = self.journal_ref()?.unheard_ms(phone)?;
                self.silence.set(phone, stored_ms);
            }
        }
        Ok(())
    }

    /// After the journal was opened again: a heartbeat that was staged may be lost, and comes again.
    pub(super) fn recount_silence(&mut self) -> Result<(), CoreError> {
        let phones: BTreeSet<PairingId> = self.lines.keys().map(|line| line.pairing).collect();
        for phone in phones {
            let stored_ms = self.journal_ref()?.unheard_ms(phone)?;
            self.silence.set(phone, stored_ms);
        }
        Ok(())
    }

    /// What is in the way of one phone's count or end never holds up another's.
    fn watch_silence(&mut self, passed: Duration, now_unix_ms: u64) -> Result<(), CoreError> {
        for due in self.silence.tick(passed) {
            let done = match due {
                Due::Say(phone) => {
                    push(&mut self.notices, Notice::PhoneSilent { phone });
                    continue;
                }
                Due::Store(phone, ms) => {
                    let stored = self.store_unheard(phone, ms);
                    let stored = self.judge(stored, now_unix_ms);
                    stored.map(|()| self.silence.stored(phone, ms))
                }
                Due::Remove(phone) => {
                    let removed = self.remove_phone(phone, now_unix_ms);
                    removed.map(|_was_there| {
                        tracing::warn!("a phone that was not heard of for too long is removed");
                    })
                }
            };
            match done {
                Ok(()) => {}
                // It is due again at the next tick, and the phone gets nothing new meanwhile.
                Err(CoreError::Journal(error)) if is_for_later(&error) => {
                    tracing::debug!(%error, "what a phone's silence asks for is done later");
                }
                Err(CoreError::Journal(error)) => {
                    tracing::warn!(%error, "what a phone's silence asks for is done later");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn store_unheard(&mut self, phone: PairingId, ms: u64) -> Result<(), CoreError> {
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        let mut txn = journal.begin();
        txn.put_unheard(phone, ms)?;
        drop(txn.stage(())?);
        self.staged_bytes += SMALL_GROUP_BYTES;
        Ok(())
    }
}

/// Whether nothing is wrong but room.
fn is_for_later(error: &JournalError) -> bool {
    matches!(error.kind(), ErrorKind::Space | ErrorKind::Retry)
}
