//! Heartbeats: when one is due, and its one transaction over all lines of a pairing.
//!
//! A heartbeat is a sign of life that says what is durable here, then new keys of ours for each group
//! (DESIGN section 4, scenarios 8 to 12). All of it is one transaction, the message first: behind a
//! proposal its line is mute until the hub's Commit. This room decides from what is stored, the time
//! and a die that the caller throws; it must never propose on a line that may be about to be told of
//! a newer epoch, so the caller asks only once every line has caught up with the relay.
//!
//! No back-off of its own is needed towards a hub that does not answer: its lines await their
//! Commits, and until they come there is nothing that could be sent again.

use journal::ids::{Channel, Line, PairingId};
use journal::{JournalError, Staged};
use wal::Priority;
use wire::Seq;

use super::Core;

/// From one heartbeat to the next, in milliseconds, not counting jitter.
const EVERY_MS: u64 = 6 * 60 * 60 * 1_000;
/// Most that jitter takes from it, in milliseconds: phones that were paired together part.
const JITTER_MS_MAX: u64 = 30 * 60 * 1_000;
/// A launch sends one unless the last is younger than this, in milliseconds.
const LAUNCH_AFTER_MS: u64 = 10 * 60 * 1_000;
/// One that went stale, or whose answer is lost, is said again after this time, in milliseconds.
const REPEAT_AFTER_MS: u64 = 30_000;
/// A heartbeat without an answer for so long: the camera looks offline, in milliseconds.
pub const OFFLINE_AFTER_MS: u64 = 15 * 60 * 1_000;
/// What a heartbeat may cost in the log: a message, five groups with new keys, five envelopes.
const HEARTBEAT_COST_BYTES: u64 = 512 * 1024;

/// Why the question is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rhythm {
    /// The first time since the app was launched.
    Launch,
    /// Any later time.
    Running,
}

/// What is stored about the heartbeats of a pairing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pulse {
    /// When the last one was sent, milliseconds since 1970 by our clock.
    pub sent_unix_ms: Option<u64>,
    /// It was answered.
    pub answered: bool,
    /// An update of ours waits for the hub's Commit, on any line: nothing can be sent.
    pub awaits_commit: bool,
    /// A line moved on without taking the update of the last one.
    pub stale: bool,
    /// A line is over: there is nothing to heal.
    pub over: bool,
}

impl Pulse {
    /// When the next heartbeat is due, milliseconds since 1970; `None` while only the hub can change
    /// that. `die` is any number.
    #[must_use]
    pub fn due_unix_ms(&self, rhythm: Rhythm, die: u64) -> Option<u64> {
        if self.awaits_commit || self.over {
            return None;
        }
        let Some(sent) = self.sent_unix_ms else {
            return Some(0);
        };
        let pause = match rhythm {
            _ if self.stale || !self.answered => REPEAT_AFTER_MS,
            Rhythm::Launch => LAUNCH_AFTER_MS,
            Rhythm::Running => EVERY_MS - die % JITTER_MS_MAX,
        };
        Some(sent.saturating_add(pause))
    }
}

/// A heartbeat in the outboxes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BeatSent {
    /// Its number.
    pub number: u64,
    /// The envelope of its message in the config line.
    pub message: Seq,
}

impl Core {
    /// What is stored about the heartbeats of a pairing.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn pulse(&mut self, pairing: PairingId) -> Result<Pulse, JournalError> {
        let state = self.journal.heartbeat(pairing)?;
        let mut pulse = Pulse {
            sent_unix_ms: state.as_ref().map(|state| state.sent_unix_ms),
            answered: state.as_ref().is_some_and(|state| state.is_answered()),
            ..Pulse::default()
        };
        for line in Line::all(pairing) {
            let healed = self.journal.healed(line)?.map(|healed| healed.unix_ms);
            let follow = self.follow(line)?;
            pulse.over |= follow.over.is_some();
            pulse.awaits_commit |= follow.awaits_commit;
            pulse.stale |= !follow.awaits_commit && healed < pulse.sent_unix_ms;
        }
        Ok(pulse)
    }

    /// When the next heartbeat of any pairing is due, milliseconds since 1970; `None` while only a hub
    /// can change that.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn next_heartbeat(
        &mut self,
        rhythm: Rhythm,
        die: u64,
    ) -> Result<Option<u64>, JournalError> {
        let mut next = None;
        for pairing in self.confirmed()? {
            let due = self.pulse(pairing.id)?.due_unix_ms(rhythm, die);
            next = next.into_iter().chain(due).min();
        }
        Ok(next)
    }

    /// The pairings whose heartbeat is due now. Beside a command that was just sent there is none: the answer
    /// would make it stale.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn due_heartbeats(
        &mut self,
        rhythm: Rhythm,
        now_unix_ms: u64,
        die: u64,
    ) -> Result<Vec<PairingId>, JournalError> {
        let mut due = Vec::new();
        for pairing in self.confirmed()? {
            let at = self.pulse(pairing.id)?.due_unix_ms(rhythm, die);
            // A clock that was put back must not silence us for as long as it was wrong.
            let sent_later = self
                .journal
                .heartbeat(pairing.id)?
                .is_some_and(|state| state.sent_unix_ms > now_unix_ms);
            let is_due = at.is_some_and(|at| at <= now_unix_ms || sent_later);
            if is_due && !self.answer_is_near(pairing.id, now_unix_ms)? {
                due.push(pairing.id);
            }
        }
        Ok(due)
    }

    /// Stages a heartbeat: the message in the config channel, then an update of our keys for every
    /// line. Call it only when every line has caught up with the relay, or a Commit that is on its way
    /// makes it stale; then it is said again, whole.
    ///
    /// # Errors
    /// [`JournalError::AwaitsCommit`] while an update is pending on any of the lines, as
    /// [`Self::tick`] otherwise: nothing was changed.
    pub fn stage_heartbeat(
        &mut self,
        pairing: PairingId,
        now_unix_ms: u64,
    ) -> Result<Staged<BeatSent>, JournalError> {
        for line in Line::all(pairing) {
            self.check_goes_on(line)?;
            if self.follow(line)?.awaits_commit {
                return Err(JournalError::AwaitsCommit(line));
            }
        }
        journal::or_after_commit(
            self,
            |core| core.try_stage_heartbeat(pairing, now_unix_ms),
            |core| core.commit().map(drop),
        )
    }

    fn try_stage_heartbeat(
        &mut self,
        pairing: PairingId,
        now_unix_ms: u64,
    ) -> Result<Staged<BeatSent>, JournalError> {
        // Before anything is encrypted: a refusal spends no generation.
        self.journal.admit(HEARTBEAT_COST_BYTES, Priority::Epoch)?;
        let config = Line::of(pairing, Channel::Config);
        // One that is said again keeps its number.
        let number = match self.journal.heartbeat(pairing)? {
            Some(last) if !last.is_answered() => last.number,
            last => last.map_or(0, |last| last.number) + 1,
        };
        let mut txn = self.journal.begin();
        let follow = self.lines.get_mut(&config);
        let Some(follow) = follow else {
            return Err(JournalError::NoGroup(config));
        };
        let message = follow
            .session
            .send_heartbeat(&mut txn, number, now_unix_ms)?;
        for line in Line::all(pairing) {
            if let Some(follow) = self.lines.get_mut(&line) {
                follow.session.propose_update(&mut txn)?;
            }
        }
        let staged = txn.stage(BeatSent { number, message })?;
        for line in Line::all(pairing) {
            if let Some(follow) = self.lines.get_mut(&line) {
                follow.awaits_commit = true;
            }
        }
        Ok(staged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_due_at_a_launch_then_every_six_hours_and_never_while_one_waits() {
        let at = |pulse: Pulse, rhythm| pulse.due_unix_ms(rhythm, 0);
        assert_eq!(at(Pulse::default(), Rhythm::Running), Some(0));
        let answered = Pulse {
            sent_unix_ms: Some(1_000),
            answered: true,
            ..Pulse::default()
        };
        assert_eq!(
            at(answered, Rhythm::Running),
            Some(1_000 + 6 * 60 * 60 * 1_000)
        );
        assert_eq!(at(answered, Rhythm::Launch), Some(1_000 + 10 * 60 * 1_000));
        let stale = Pulse {
            stale: true,
            ..answered
        };
        assert_eq!(at(stale, Rhythm::Running), Some(31_000));
        let waits = Pulse {
            awaits_commit: true,
            ..stale
        };
        assert_eq!(at(waits, Rhythm::Launch), None);
        for die in [0, 7, u64::MAX] {
            let due = answered.due_unix_ms(Rhythm::Running, die);
            let least = 1_000 + EVERY_MS - JITTER_MS_MAX;
            assert!(due.is_some_and(|due| (least..=1_000 + EVERY_MS).contains(&due)));
        }
    }
}
