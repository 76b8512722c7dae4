//! When a sync looks whether a heartbeat is due, and what it does then.
//!
//! A phone's battery pays for every wake-up, so this room waits for what changes the answer: a line that
//! becomes level with the relay, a Commit or an answer that was taken, the time that the core names. It
//! must never have a heartbeat made while a line is not level: what the relay shows may prove that this
//! directory is old.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::ids::{Line, PairingId};
use tokio::sync::Notify;

use crate::app::Shared;

/// A sync that goes on looks so often whether a heartbeat is due, though nothing says that one is: the
/// clock may have been set.
pub(super) const LOOK_PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// It looks so seldom, if nothing stirs.
const LOOK_PAUSE_MIN: Duration = Duration::from_secs(1);
/// It looks again so much later when it could not see.
const LOOK_PAUSE_AFTER_TROUBLE: Duration = Duration::from_secs(30);

/// Which lines of a connection are level with the relay: everything that it holds for them is here, and
/// its copy of what we sent agrees with the outbox.
#[derive(Default)]
pub(super) struct Levels {
    lines: Mutex<BTreeSet<Line>>,
    moved: Notify,
}

impl Levels {
    fn lines(&self) -> MutexGuard<'_, BTreeSet<Line>> {
        // Nothing panics while it is held, and a set of lines is always whole.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, line: Line) {
        if self.lines().insert(line) {
            self.stir();
        }
    }

    pub(super) fn remove(&self, line: Line) {
        self.lines().remove(&line);
    }

    pub(super) fn contains(&self, line: Line) -> bool {
        self.lines().contains(&line)
    }

    /// Whether a heartbeat is due may have changed.
    pub(super) fn stir(&self) {
        self.moved.notify_one();
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
    /// Pairings whose heartbeat may be in the outboxes.
    pub(super) tried: BTreeSet<PairingId>,
    /// How long there is nothing to look for, unless something stirs.
    pub(super) pause: Duration,
}

/// Does what is to be done about heartbeats now: says those that are due, of pairings whose lines are all
/// level, and writes down which hubs are silent. What stands in the way is no trouble of the sync: a
/// later look tries again.
pub(super) async fn look(shared: &Arc<Shared>, levels: &Levels) -> Looked {
    let (level, launch) = (levels.lines().clone(), shared.launch());
    let look = shared.engine.read(move |core, shell| {
        let now_unix_ms = shell.clock.unix_ms();
        Ok((core.look(&level, &launch, now_unix_ms)?, now_unix_ms))
    });
    let mut tried = BTreeSet::new();
    let (look, now_unix_ms) = match look.await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "whether a heartbeat is due cannot be read");
            let pause = LOOK_PAUSE_AFTER_TROUBLE;
            return Looked { tried, pause };
        }
    };
    for pairing in look.idle {
        shared.launch_is_over(pairing);
    }
    for pairing in look.silent {
        let noted = shared.engine.write(
            move |core, shell| core.stage_level(pairing, shell.clock.unix_ms()),
            |_core, committed, staged, _shell| {
                committed.redeem(staged).into_inner();
                Ok(())
            },
        );
        if let Err(error) = noted.await {
            tracing::warn!(%error, "that a hub is silent cannot be written down");
        }
    }
    for pairing in look.due {
        let staged = shared.engine.write(
            move |core, shell| core.stage_heartbeat(pairing, shell.clock.unix_ms()),
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
        pause: pause.clamp(LOOK_PAUSE_MIN, LOOK_PAUSE_MAX),
    }
}
