//! The phones of this hub as a whole: who is silent, who is removed, and what the relay must be told.
//!
//! Each phone is a pairing of its own and takes part in events on its own; what happens to one never
//! touches another. This room must never remove a phone half: the journal does that in one transaction,
//! and only then does memory forget.

use std::collections::BTreeSet;

use journal::ids::{Channel, Line, PairingId};
use journal::{Dismissal, ErrorKind, HubPairing, JournalError};

use super::silence::{Due, SilenceLimits};
use super::{Core, CoreError, Notice, PROVEN, SMALL_GROUP_BYTES, Stop, push};

impl Core {
    /// How long a phone may be unheard of. Until this is called, [`SilenceLimits::default`] holds.
    pub fn limit_silence(&mut self, limits: SilenceLimits) {
        self.silence.limit(limits);
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
        let removed = self.with_journal(now_unix_ms, |journal| HubPairing::remove(journal, phone))?;
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
    /// progress goes on for the others. If its sync fails, what recovery finds is looked at anew.
    pub(super) fn forget_phone(&mut self, phone: PairingId) -> Result<(), CoreError> {
        self.refresh_lines()?;
        let why = self.nobody();
        self.leave_recording(Line::of(phone, Channel::EventVideo), why);
        Ok(())
    }

    /// Phones that were removed and that the relay was not yet told of.
    ///
    /// # Errors
    /// The journal's.
    pub fn dismissals(&self) -> Result<Vec<Dismissal>, CoreError> {
        Ok(self.journal_ref()?.dismissals()?)
    }

    /// Why an event that begins now has nobody to be recorded for.
    pub(super) fn nobody(&self) -> Stop {
        let records = || self.lines.iter().filter(|(_, state)| state.records());
        let silent = records().any(|(line, state)| {
            state.may_record() && self.silence.is_silent(line.pairing)
        });
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

    /// A tick: time has passed in which phones were not heard of.
    pub(super) fn watch_silence(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        for due in self.silence.tick(now_unix_ms) {
            match due {
                Due::Say(phone) => push(&mut self.notices, Notice::PhoneSilent { phone }),
                Due::Store(phone, ms) => match self.store_unheard(phone, ms) {
                    Ok(()) => self.silence.stored(phone, ms),
                    // It is due again at the next tick, and only a count is late.
                    Err(CoreError::Journal(error)) if is_for_later(&error) => {
                        tracing::debug!(%error, "how long a phone is silent is stored later");
                    }
                    Err(error) => return self.judge(Err(error), now_unix_ms),
                },
                Due::Remove(phone) => match self.remove_phone(phone, now_unix_ms) {
                    Ok(_was_there) => {
                        tracing::warn!("a phone that was not heard of for too long is removed");
                    }
                    // It is due again at the next tick, and gets nothing new meanwhile.
                    Err(CoreError::Journal(error)) if is_for_later(&error) => {
                        tracing::warn!(%error, "a phone that is silent for too long is removed later");
                    }
                    Err(error) => return Err(error),
                },
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

/// Whether a row that could not be staged may be tried again.
fn is_for_later(error: &JournalError) -> bool {
    matches!(error.kind(), ErrorKind::Space | ErrorKind::Retry)
}
