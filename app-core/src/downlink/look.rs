//! When a sync looks whether a command waits or a heartbeat is due, or a hub silent, and what it does then.
//!
//! A phone's battery pays for every wake-up, so this room waits for what changes the answer: a line that
//! becomes level with the relay, a Commit or an answer that was taken, a command that was given, the time that the
//! core names. It must never have a heartbeat made while a line has yet to be compared with the relay, nor a command
//! while its own line is not level: what the relay shows may prove that this directory is old. A line that cannot be
//! reached is no such thing and is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::ids::{Line, PairingId};
use tokio::sync::{Notify, watch};

use crate::app::Shared;
use crate::core::Sight;
use crate::types::HUB_WAIT_MS;

/// A sync that goes on looks so often whether a heartbeat is due, though nothing says that one is: the
/// clock may have been set.
pub(super) const LOOK_PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// It looks so seldom, if nothing stirs.
const LOOK_PAUSE_MIN: Duration = Duration::from_secs(1);
/// It looks again so much later when it could not see.
const LOOK_PAUSE_AFTER_TROUBLE: Duration = Duration::from_secs(30);

/// How a line stands with the relay, as far as this connection knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Everything that the relay holds for it is here, and its copy of what we sent agrees with the outbox.
    Level {
        /// Since when we have listened while the relay had all that we said; milliseconds of the clock that
        /// never steps.
        told_since_ms: Option<u64>,
    },
    /// It could not be brought there when that was tried last.
    Away,
    /// What the relay showed of it speaks against this directory.
    Suspect,
}

/// Which lines of a connection are level with the relay, and which cannot be. Of those that are not there
/// nothing is known yet.
#[derive(Default)]
pub(super) struct Levels {
    lines: Mutex<BTreeMap<Line, Place>>,
    moved: Notify,
    nudges: watch::Sender<u64>,
}

impl Levels {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<Line, Place>> {
        // Nothing panics while it is held, and a map of lines is always whole.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, line: Line, told_since_ms: Option<u64>) {
        let place = Place::Level { told_since_ms };
        let before = self.lines().insert(line, place);
        if !matches!(before, Some(Place::Level { .. })) {
            self.stir();
        }
    }

    /// It cannot be made level. A suspicion stays one until the relay's copy has been found to agree.
    pub(super) fn away(&self, line: Line) {
        let mut lines = self.lines();
        let before = lines.get(&line).copied();
        if !matches!(before, Some(Place::Suspect | Place::Away)) {
            lines.insert(line, Place::Away);
            self.stir();
        }
    }

    /// What the relay showed of it speaks against this directory.
    pub(super) fn suspect(&self, line: Line) {
        self.lines().insert(line, Place::Suspect);
    }

    /// It is not level any more, or is tried once more.
    pub(super) fn lower(&self, line: Line) {
        let keeps = |place: &Place| !matches!(place, Place::Level { .. });
        self.lines()
            .retain(|known, place| *known != line || keeps(place));
    }

    pub(super) fn contains(&self, line: Line) -> bool {
        matches!(self.lines().get(&line), Some(Place::Level { .. }))
    }

    fn sight(&self, now_ms: u64) -> Sight {
        let mut sight = Sight::default();
        for (line, place) in self.lines().iter() {
            match place {
                Place::Level { told_since_ms } => {
                    sight.level.insert(*line);
                    if told_since_ms.is_some_and(|since| now_ms >= since + HUB_WAIT_MS) {
                        sight.waited.insert(*line);
                    }
                }
                Place::Away => {
                    sight.away.insert(*line);
                }
                Place::Suspect => {}
            }
        }
        sight
    }

    /// Whether a heartbeat is due may have changed.
    pub(super) fn stir(&self) {
        self.moved.notify_one();
    }

    /// What is in the outboxes, or due on the lines, may have changed without their doing.
    pub(super) fn nudge(&self) {
        self.nudges.send_modify(|count| *count += 1);
    }

    /// Changes with each [`Self::nudge`] from now on.
    pub(super) fn nudges(&self) -> watch::Receiver<u64> {
        self.nudges.subscribe()
    }

    /// Until something stirred, or so much time has passed.
    pub(super) async fn moved(&self, pause: Duration) {
        tokio::select! {
            () = self.moved.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What a look came to.
pub(super) struct Looked {
    /// Pairings whose heartbeat may be in the outboxes, or a command that failed.
    pub(super) tried: BTreeSet<PairingId>,
    /// Pairings whose next command is in the outbox.
    pub(super) ordered: BTreeSet<PairingId>,
    /// Pairings whose hub has to be listened to before it can be called silent.
    pub(super) unsure: BTreeSet<PairingId>,
    /// A hub was found to be silent just now.
    pub(super) finds_silence: bool,
    /// How long there is nothing to look for, unless something stirs.
    pub(super) pause: Duration,
}

/// Does what is to be done now: sends the next command of each hub whose config line is level, says the heartbeats
/// that are due, on the lines that are level, and writes down which hubs are silent. What stands in the way is no
/// trouble of the sync: a later look tries again.
///
/// `said` are the pairings for which a sync that is to end has said one already.
pub(super) async fn look(
    shared: &Arc<Shared>,
    levels: &Levels,
    said: &BTreeSet<PairingId>,
) -> Looked {
    let (mut sight, launch) = (levels.sight(shared.clock.now_ms()), shared.launch());
    sight.said.clone_from(said);
    let level = sight.level.clone();
    let look = shared.engine.read(move |core, shell| {
        let now_unix_ms = shell.clock.unix_ms();
        Ok((core.look(&sight, &launch, now_unix_ms)?, now_unix_ms))
    });
    let (mut tried, mut ordered) = (BTreeSet::new(), BTreeSet::new());
    let (look, now_unix_ms) = match look.await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "whether a heartbeat is due cannot be read");
            return Looked {
                tried,
                ordered,
                unsure: BTreeSet::new(),
                finds_silence: false,
                pause: LOOK_PAUSE_AFTER_TROUBLE,
            };
        }
    };
    let mut pause_max = LOOK_PAUSE_MAX;
    for pairing in look.orders {
        let staged = shared.engine.write(
            move |core, shell| core.stage_command(pairing, shell.clock.unix_ms()),
            |_core, committed, staged, _shell| {
                Ok(staged.map(|staged| committed.redeem(staged).into_inner()))
            },
        );
        match staged.await {
            Ok(Some(command)) => {
                tracing::info!(id = ?command.id, "a command is on its way");
                ordered.insert(pairing);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "a command has to wait");
                // As with a heartbeat: it may be found to be there. Nothing else says when to try again.
                tried.insert(pairing);
                pause_max = LOOK_PAUSE_AFTER_TROUBLE;
            }
        }
    }
    for pairing in look.idle {
        shared.launch_is_over(pairing);
    }
    // Also what an earlier process has found: whoever watches this one has not heard of it.
    for (pairing, since_unix_ms) in look.offline {
        shared.looks_offline(pairing, since_unix_ms);
    }
    for pairing in look.online {
        shared.looks_online(pairing);
    }
    let mut finds_silence = false;
    for pairing in look.silent {
        let noted = shared.engine.write(
            move |core, shell| core.stage_level(pairing, shell.clock.unix_ms()),
            move |core, committed, staged, shell| {
                committed.redeem(staged).into_inner();
                let pulse = core.pulse(pairing)?;
                Ok(pulse.offline_since_unix_ms(shell.clock.unix_ms()))
            },
        );
        match noted.await {
            Ok(silent) => {
                finds_silence = true;
                if let Some(since_unix_ms) = silent {
                    shared.looks_offline(pairing, since_unix_ms);
                }
            }
            Err(error) => tracing::warn!(%error, "that a hub is silent cannot be written down"),
        }
    }
    for pairing in look.due {
        let level = level.clone();
        let staged = shared.engine.write(
            move |core, shell| core.stage_heartbeat(pairing, &level, shell.clock.unix_ms()),
            |_core, committed, staged, _shell| Ok(committed.redeem(staged).into_inner()),
        );
        match staged.await {
            Ok(beat) => {
                tracing::info!(number = beat.number, "a heartbeat is on its way");
                shared.launch_is_over(pairing);
            }
            Err(error) => tracing::warn!(%error, "a heartbeat has to wait"),
        }
        // Also after an error: a commit that failed may be found to be there, and goes out at once then.
        tried.insert(pairing);
    }
    let pause = look.again_unix_ms.map_or(LOOK_PAUSE_MAX, |at| {
        Duration::from_millis(at.saturating_sub(now_unix_ms))
    });
    Looked {
        tried,
        ordered,
        unsure: look.unsure.into_iter().collect(),
        finds_silence,
        pause: pause.clamp(LOOK_PAUSE_MIN, pause_max),
    }
}

#[cfg(test)]
mod tests {
    use journal::ids::Channel;

    use super::*;

    #[test]
    fn a_line_that_cannot_be_reached_stays_so_until_it_is_level_or_suspected() {
        let levels = Levels::default();
        let line = Line::of(PairingId([1; 16]), Channel::Config);
        let only = BTreeSet::from([line]);
        let none = BTreeSet::new();
        // Tried for the first time: nothing is known.
        levels.lower(line);
        assert_eq!(levels.sight(0), Sight::default());
        levels.away(line);
        levels.lower(line);
        let sight = levels.sight(0);
        assert_eq!((&sight.level, &sight.away), (&none, &only));
        assert!(!levels.contains(line));
        levels.insert(line, None);
        let sight = levels.sight(0);
        assert_eq!((&sight.level, &sight.away), (&only, &none));
        assert!(levels.contains(line));
        levels.lower(line);
        assert_eq!(levels.sight(0), Sight::default());
        levels.away(line);
        levels.suspect(line);
        assert_eq!(levels.sight(0), Sight::default());
        // It could not be attached again: that takes back nothing.
        levels.lower(line);
        levels.away(line);
        assert_eq!(levels.sight(0), Sight::default());
        levels.insert(line, None);
        assert!(levels.contains(line));
    }
    #[test]
    fn a_line_has_waited_once_the_relay_has_had_all_for_a_while() {
        let levels = Levels::default();
        let line = Line::of(PairingId([1; 16]), Channel::Config);
        levels.insert(line, None);
        assert!(levels.sight(u64::MAX).waited.is_empty());
        levels.insert(line, Some(1_000));
        let waited = |now_ms| levels.sight(now_ms).waited.contains(&line);
        assert!(!waited(1_000) && !waited(999 + HUB_WAIT_MS));
        assert!(waited(1_000 + HUB_WAIT_MS));
        // Something new was said there, or the line is attached again.
        levels.insert(line, None);
        assert!(!waited(1_000 + HUB_WAIT_MS));
        assert!(levels.contains(line));
    }
}
