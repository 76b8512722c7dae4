//! Its heartbeats: when it looks whether one is due, and how one is said.
//!
//! Whatever else its core finds in such a look is seen to as well: that a hub is silent, and that a command can go.

use std::collections::BTreeSet;

use app_core::HUB_WAIT_MS;
use journal::ids::{Channel, PairingId};
use journal::{ErrorKind, JournalError};

use super::line::LineEnd;
use super::{App, Process, ended};
use crate::hub::Fault;
use crate::oracle::Books;

/// It looks whether a heartbeat is due so often at most and so seldom at least, if nothing stirs.
const LOOK_PAUSE_MS: [u64; 2] = [1_000, 15 * 60 * 1_000];

impl App {
    /// A heartbeat is wanted as soon as one can be, due or not.
    pub fn want_heartbeat(&mut self) {
        if let Some(process) = &mut self.process {
            process.wanted = true;
        }
    }

    /// The number of its last heartbeat, 0 before the first; none if it cannot be asked now.
    pub fn heartbeat_number(&mut self) -> Option<u64> {
        let pairing = self.ways.first().map(|way| way.line.pairing)?;
        let pulse = self.process.as_mut()?.core.pulse(pairing).ok()?;
        Some(pulse.said.map_or(0, |said| said.number))
    }

    /// Whether a heartbeat with a higher number than this was answered, and its updates taken on every
    /// line. One is wanted if there was none yet.
    pub fn has_healed(&mut self, since_number: u64) -> bool {
        let pairing = self.ways.first().map(|way| way.line.pairing);
        let (Some(process), Some(pairing)) = (&mut self.process, pairing) else {
            return false;
        };
        // What cannot be read now shows again in the next step.
        let pulse = process.core.pulse(pairing).unwrap_or_default();
        let newer = pulse.said.is_some_and(|said| said.number > since_number);
        process.wanted |= !newer;
        newer && pulse.is_settled()
    }

    /// Does what is to be done about heartbeats: one is said if it is due, or wanted, and every line is
    /// level with the relay; and that a hub is silent is written down.
    pub(super) fn heartbeat(&mut self, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let wall_ms = self.wall_ms(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if !process.stirs(now_ms) {
            return Ok(());
        }
        let Process {
            core,
            launch,
            sight,
            ..
        } = process;
        let look = core.look(sight, launch, wall_ms);
        let look = look.map_err(|error| ended(&error))?;
        let pause_ms = look.again_unix_ms.map_or(LOOK_PAUSE_MS[1], |at| {
            let pause_ms = at.saturating_sub(wall_ms);
            pause_ms.clamp(LOOK_PAUSE_MS[0], LOOK_PAUSE_MS[1])
        });
        process.look_at_ms = now_ms + pause_ms;
        for pairing in look.silent {
            let staged = core.stage_level(pairing, wall_ms);
            match staged.and_then(|_staged| core.commit()) {
                Ok(_committed) => {}
                Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => {}
                Err(error) => return Err(ended(&error)),
            }
        }
        for pairing in &look.idle {
            launch.is_over(*pairing);
        }
        for pairing in look.orders {
            process.send_command(pairing, wall_ms)?;
        }
        let mut saying = look.due;
        if process.wanted {
            saying.extend(look.idle);
        }
        for pairing in saying {
            process.say(pairing, wall_ms, books)?;
        }
        Ok(())
    }
}

impl Process {
    /// Whether there is anything to look for: a line has become level, something was taken, the time has
    /// come, or somebody wants it.
    fn stirs(&mut self, now_ms: u64) -> bool {
        let (mut level, mut waited) = (BTreeSet::new(), BTreeSet::new());
        for end in &mut self.lines {
            if !end.is_level() {
                end.told_since_ms = None;
                continue;
            }
            level.insert(end.way.line);
            if end.sender.is_idle() {
                end.told_since_ms.get_or_insert(now_ms);
            }
            let since = end.told_since_ms;
            if since.is_some_and(|since| now_ms >= since + HUB_WAIT_MS) {
                waited.insert(end.way.line);
            }
        }
        self.sight.waited = waited;
        let risen = !level.is_subset(&self.sight.level);
        let mut stirs = self.wanted || now_ms >= self.look_at_ms || risen;
        self.sight.level = level;
        for end in &mut self.lines {
            stirs |= std::mem::take(&mut end.stirred);
        }
        stirs
    }

    /// Puts a heartbeat into the outboxes.
    fn say(&mut self, pairing: PairingId, wall_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let core = &mut self.core;
        let staged = core.stage_heartbeat(pairing, &self.sight.level, wall_ms);
        let staged = staged.and_then(|staged| {
            let committed = core.commit()?;
            Ok(committed.redeem(staged).into_inner())
        });
        let beat = match staged {
            Ok(beat) => beat,
            // It is said when the hub has answered, or when there is room.
            Err(error) if error.kind() == ErrorKind::Wait => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => return Ok(()),
            Err(error) => return Err(ended(&error)),
        };
        self.wanted = false;
        self.launch.is_over(pairing);
        books.heartbeats += 1;
        let claims = self.lines.iter().map(|end| {
            let cursor = core.cursor(end.way.line)?;
            Ok((end.way.receive.send_id(), cursor))
        });
        let claims: Result<Vec<_>, JournalError> = claims.collect();
        let claims = claims.map_err(|error| ended(&error))?;
        self.hear_of_outboxes()?;
        let config = |end: &&LineEnd| end.way.line.channel == Channel::Config;
        for end in self.lines.iter().filter(config) {
            books.ack_made((end.way.send, beat.message), claims.clone());
        }
        Ok(())
    }

    /// Every line's sender hears of what a commit has put into its outbox.
    pub(super) fn hear_of_outboxes(&mut self) -> Result<(), Fault> {
        for end in &mut self.lines {
            let outbox = self.core.outbox(end.way.line);
            let outbox = outbox.map_err(|error| ended(&error))?;
            end.last = outbox.last;
            end.sender.handle_durable(outbox.last);
            if !end.sender.is_idle() {
                end.told_since_ms = None;
            }
        }
        Ok(())
    }
}
