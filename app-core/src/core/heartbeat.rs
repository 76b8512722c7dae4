//! Heartbeats: their one transaction over the lines of a pairing, and the look that says whose is due.
//!
//! A heartbeat is a sign of life that says what is durable here, then new keys of ours for each group
//! (DESIGN section 4, scenarios 8 to 12). All of it is one transaction, the message first: behind a
//! proposal its line is mute until the hub's Commit. A line that still waits for one, is over, cannot be
//! reached, or whose stored state cannot be used, is left out; the others are not held up by it. This room
//! must never propose on a line that may be about to be told of a newer epoch, so the caller says which
//! lines have caught up with the relay ([`Sight`]).

use std::collections::BTreeSet;

use journal::ids::{Channel, Line, PairingId};
use journal::{JournalError, Staged};
use wal::{Priority, crash_point, mutant};
use wire::Seq;

use super::pulse::{self, REPEAT_AFTER_MS};
use super::{Core, Launch, Over, Pulse, Rhythm, Said, is_about_one_line};
use crate::types::HUB_WAIT_MS;

/// What a heartbeat may cost in the log: a message, five groups with new keys, five envelopes.
const HEARTBEAT_COST_BYTES: u64 = 512 * 1024;

/// A heartbeat in the outboxes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BeatSent {
    /// Its number.
    pub number: u64,
    /// The envelope of its message in the config line.
    pub message: Seq,
}

/// What the caller of [`Core::look`] knows. A line that is neither level nor away has yet to be compared with
/// the relay's copy, or was found to differ from it: this directory may be old, so nothing is said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sight {
    /// Level with the relay: what that holds for the line is here, and the line's own mailbox there agrees
    /// with our outbox.
    pub level: BTreeSet<Line>,
    /// Could not be made level when that was tried last, and nothing spoke against this directory.
    pub away: BTreeSet<Line>,
    /// Was listened to for [`HUB_WAIT_MS`] while the relay had all that we said there: a hub that is there
    /// has answered.
    pub waited: BTreeSet<Line>,
    /// Pairings whose heartbeat was said by a sync that is to end: it sends no further one, and one that is
    /// made all the same would only keep their lines mute.
    pub said: BTreeSet<PairingId>,
}

/// What is to be said, or written down, now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// Pairings whose next command is to be sent: [`Core::stage_command`].
    pub orders: Vec<PairingId>,
    /// Pairings whose heartbeat is due: [`Core::stage_heartbeat`]. Once it is staged, their launch is over.
    pub due: Vec<PairingId>,
    /// Pairings whose hub is silent, and not because we have not looked: [`Core::stage_level`].
    pub silent: Vec<PairingId>,
    /// Pairings whose hub may be silent, or have only just been told: look again once the relay has had
    /// all that we said for a while ([`Sight::waited`]).
    pub unsure: Vec<PairingId>,
    /// Pairings of which nothing is due: their launch is over.
    pub idle: Vec<PairingId>,
    /// Pairings whose hub looks offline, and since when it has been silent, milliseconds since 1970 by our clock.
    pub offline: Vec<(PairingId, u64)>,
    /// Pairings whose hub does not.
    pub online: Vec<PairingId>,
    /// When to look again if no line catches up and nothing is taken before, milliseconds since 1970;
    /// always later than now. `None` if then only.
    pub again_unix_ms: Option<u64>,
}

impl Core {
    /// What is stored about the heartbeats of a pairing.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn pulse(&mut self, pairing: PairingId) -> Result<Pulse, JournalError> {
        let state = self.journal.heartbeat(pairing)?;
        let said = state.map(|state| Said {
            number: state.number,
            first_unix_ms: state.first_sent_unix_ms,
            last_unix_ms: state.sent_unix_ms,
            attempts: state.attempts,
            answered: state.is_answered(),
            level_unix_ms: state.caught_up_unix_ms,
        });
        let number = said.map_or(0, |said| said.number);
        let mut pulse = Pulse {
            said,
            jitter_ms: pulse::jitter_ms(pairing, number),
            offline_after_ms: self.offline_after_ms,
            ..Pulse::default()
        };
        let unanswered = said.filter(|said| !said.answered);
        let mut waits = unanswered.map(|said| said.first_unix_ms);
        for line in Line::all(pairing) {
            let keys = self.journal.line_keys(line)?.unwrap_or_default();
            let (over, awaits) = self.stand(line)?;
            // A directory rolls back whole; a broken line is one line's trouble.
            pulse.over |= over == Some(Over::RolledBack);
            if line.channel == Channel::Config {
                pulse.over |= over.is_some();
                pulse.mute |= awaits;
            }
            if over.is_some() {
                continue;
            }
            if awaits {
                // What the wait is counted from is put right with the heartbeat, if the clock was wrong.
                let said = said.map(|said| said.first_unix_ms);
                let made = keys.pending.map(|made| made.made_unix_ms);
                waits = waits.into_iter().chain(said).chain(made).min();
            } else {
                let taken = keys.healed.map_or(0, |healed| healed.number);
                pulse.behind = pulse.behind.max(number.saturating_sub(taken));
            }
        }
        pulse.waits_since_unix_ms = waits;
        Ok(pulse)
    }

    /// When a scheduler should have us look next, milliseconds since 1970: the next heartbeat of any
    /// pairing, or a look whether a silent hub has answered. A time that is past means now; `None` if
    /// there is no pairing that could be heard of.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn next_heartbeat(&mut self, now_unix_ms: u64) -> Result<Option<u64>, JournalError> {
        let mut next = None;
        for pairing in self.confirmed()? {
            let pulse = match self.pulse(pairing.id) {
                // One hub's trouble is no other hub's.
                Err(error) if is_about_one_line(&error) => continue,
                pulse => pulse?,
            };
            let due = pulse.next_unix_ms(Rhythm::Running, now_unix_ms);
            next = next.into_iter().chain(due).min();
        }
        Ok(next)
    }

    /// What is to be done now. Only pairings are looked at whose config line, which carries messages and
    /// answers, is level, and of which no other line may yet prove this directory to be old. For a command that is
    /// asked of the config line alone. Behind a command that was just sent no heartbeat is due: the answer would make
    /// it stale. One that is due then goes before the next command, so that no number of commands holds it up.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn look(
        &mut self,
        sight: &Sight,
        launch: &Launch,
        now_unix_ms: u64,
    ) -> Result<Look, JournalError> {
        let mut look = Look::default();
        for pairing in self.confirmed()? {
            match self.look_at(pairing.id, sight, launch, now_unix_ms, &mut look) {
                Err(error) if is_about_one_line(&error) => {
                    tracing::warn!(%error, "a hub's heartbeats cannot be looked at; the others go on");
                }
                looked => looked?,
            }
        }
        Ok(look)
    }

    fn look_at(
        &mut self,
        id: PairingId,
        sight: &Sight,
        launch: &Launch,
        now_unix_ms: u64,
        look: &mut Look,
    ) -> Result<(), JournalError> {
        let config = Line::of(id, Channel::Config);
        let has_order = sight.level.contains(&config) && self.command_is_due(id)?;
        let pulse = match self.pulse(id) {
            // What cannot be read of another line is no trouble of a command.
            Err(error) if has_order && is_about_one_line(&error) => {
                look.orders.push(id);
                return Err(error);
            }
            pulse => pulse?,
        };
        let is_seen = !pulse.over && self.is_in_sight(id, sight)?;
        let due = pulse.heartbeat_unix_ms(launch.rhythm(id), now_unix_ms);
        let is_due = is_seen && due.is_some_and(|at| at <= now_unix_ms);
        let held_back =
            is_due && (sight.said.contains(&id) || self.answer_is_near(id, now_unix_ms)?);
        if has_order && (!is_due || held_back) {
            look.orders.push(id);
        }
        if !is_seen {
            return Ok(());
        }
        match pulse.offline_since_unix_ms(now_unix_ms) {
            Some(since) => look.offline.push((id, since)),
            None => look.online.push(id),
        }
        let asks = pulse.asks_for_note(now_unix_ms);
        let is_silent = asks && self.has_waited(id, sight)?;
        match (is_due, held_back) {
            (true, false) => look.due.push(id),
            (false, _) => look.idle.push(id),
            // It is still owed, also to the launch: said later, or by the next sync.
            (true, true) => {}
        }
        match (asks, is_silent) {
            (_, true) => look.silent.push(id),
            (true, false) => look.unsure.push(id),
            (false, false) => {}
        }
        // What is done now is seen then.
        let again = match (asks && !is_silent, is_due || is_silent) {
            (true, _) => Some(now_unix_ms.saturating_add(HUB_WAIT_MS)),
            (false, true) => {
                // No sooner than a hub could have answered, and in time to find it silent.
                let silent_ms = pulse.offline_after_ms.max(HUB_WAIT_MS);
                Some(now_unix_ms.saturating_add(REPEAT_AFTER_MS.min(silent_ms)))
            }
            (false, false) => pulse.next_unix_ms(Rhythm::Running, now_unix_ms),
        };
        look.again_unix_ms = look.again_unix_ms.into_iter().chain(again).min();
        Ok(())
    }

    /// Whether a hub that is there would have answered by now, on every line that can be read and waits for
    /// it. A heartbeat may have lain in our outbox for hours before the relay had it.
    fn has_waited(&mut self, pairing: PairingId, sight: &Sight) -> Result<bool, JournalError> {
        for line in Line::all(pairing) {
            let is_fresh = sight.level.contains(&line) && !sight.waited.contains(&line);
            if is_fresh && self.waits_for_hub(line)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a pairing's config line is level, and every other line that is not over is level too, or away.
    fn is_in_sight(&mut self, pairing: PairingId, sight: &Sight) -> Result<bool, JournalError> {
        if !sight.level.contains(&Line::of(pairing, Channel::Config)) {
            return Ok(false);
        }
        for line in Line::all(pairing) {
            let is_known = sight.level.contains(&line) || sight.away.contains(&line);
            if !is_known && self.stand(line)?.0.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a line waits for something that only the hub can say: its Commit, and in the config
    /// channel its answers to heartbeat and command.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn waits_for_hub(&mut self, line: Line) -> Result<bool, JournalError> {
        let follow = self.follow(line)?;
        if follow.awaits_commit || follow.over.is_some() || line.channel != Channel::Config {
            return Ok(follow.awaits_commit);
        }
        let state = self.journal.heartbeat(line.pairing)?;
        let book = self.journal.commands(line.pairing)?;
        let asked = book.pending.iter().any(|one| one.sent.is_some());
        Ok(asked || state.is_some_and(|state| !state.is_answered()))
    }

    /// Stages a heartbeat: the message in the config channel, then an update of our keys for every line among
    /// `level` that neither waits for a Commit nor is over. Call it only for what [`Self::look`] names: on a
    /// line that has not caught up with the relay, a Commit that is on its way would make it stale; then it is
    /// said again, whole.
    ///
    /// # Errors
    /// [`JournalError::AwaitsCommit`] while an update is pending on the config line, or if that is not level,
    /// [`JournalError::RolledBack`] if that is proved of any line, as [`Self::tick`] otherwise: nothing
    /// was changed.
    pub fn stage_heartbeat(
        &mut self,
        pairing: PairingId,
        level: &BTreeSet<Line>,
        now_unix_ms: u64,
    ) -> Result<Staged<BeatSent>, JournalError> {
        let config = Line::of(pairing, Channel::Config);
        let mut proposing = Vec::new();
        for line in Line::all(pairing) {
            match self.stand(line)? {
                (Some(Over::RolledBack), _) => return Err(JournalError::RolledBack(line)),
                (None, false) if level.contains(&line) => proposing.push(line),
                (Some(Over::Broken), _) | (None, _) => {}
            }
        }
        self.check_goes_on(config)?;
        if !proposing.contains(&config) {
            return Err(JournalError::AwaitsCommit(config));
        }
        journal::or_after_commit(
            self,
            |core| core.try_stage_heartbeat(pairing, &proposing, now_unix_ms),
            |core| core.commit().map(drop),
        )
    }

    fn try_stage_heartbeat(
        &mut self,
        pairing: PairingId,
        proposing: &[Line],
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
        let Some(follow) = self.lines.get_mut(&config) else {
            return Err(JournalError::NoGroup(config));
        };
        mutant!("proposals_before_message", "C1", "a heartbeat proposes new keys first, and its own line is mute then" => {
            follow
                .session
                .propose_update(&mut txn, number, now_unix_ms)?;
        });
        let message = follow
            .session
            .send_heartbeat(&mut txn, number, now_unix_ms)?;
        for line in proposing {
            if let Some(follow) = self.lines.get_mut(line) {
                follow
                    .session
                    .propose_update(&mut txn, number, now_unix_ms)?;
            }
        }
        let staged = txn.stage(BeatSent { number, message })?;
        // CRASH(app.heartbeat.staged): before: no heartbeat in any outbox, no line waits; the next process owes
        // one | after: message, new keys and proposals of all lines are synced as one, and each waits for its
        // Commit.
        crash_point!("app.heartbeat.staged");
        for line in Line::all(pairing) {
            if let Some(follow) = self.lines.get_mut(&line) {
                follow.awaits_commit |= proposing.contains(&line);
                // It acks everything that is durable.
                follow.owed_since_ms = None;
                follow.urgent = false;
            }
        }
        Ok(staged)
    }

    /// A new epoch of the config channel has made stale what was said there: the acks of the other lines
    /// in an unanswered heartbeat are owed again.
    pub(super) fn owe_overtaken(&mut self, line: Line, now_ms: u64) -> Result<(), JournalError> {
        let state = match line.channel {
            Channel::Config => self.journal.heartbeat(line.pairing)?,
            _ => return Ok(()),
        };
        if state.is_none_or(|state| state.is_answered()) {
            return Ok(());
        }
        for other in Line::all(line.pairing) {
            if other != line && self.stand(other)?.0.is_none() {
                self.owe_ack(other, now_ms)?;
            }
        }
        Ok(())
    }

    /// Stages that everything that the relay holds for a pairing is here now, while its hub is silent.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn stage_level(
        &mut self,
        pairing: PairingId,
        now_unix_ms: u64,
    ) -> Result<Staged<()>, JournalError> {
        journal::or_after_commit(
            &mut self.journal,
            |journal| {
                let mut txn = journal.begin();
                txn.put_caught_up(pairing, now_unix_ms)?;
                txn.stage(())
            },
            |journal| journal.commit().map(drop),
        )
    }
}
