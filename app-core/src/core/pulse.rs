//! When a heartbeat is due, and what the silence of a hub means.
//!
//! Arithmetic over what is stored and the time on the wall; no storage, no dice. Such a clock can be
//! wrong and be put right, so a time of ours that lies ahead of it is never waited for. This room must
//! never ask for a look at a time that is past without something to be done then: its callers sleep
//! until the time that it names.

use std::collections::BTreeSet;

use journal::ids::PairingId;

/// From one heartbeat to the next, in milliseconds, not counting jitter.
pub(crate) const EVERY_MS: u64 = 6 * 60 * 60 * 1_000;
/// Most that jitter takes from it, in milliseconds: phones that were paired together part.
const JITTER_MS_MAX: u64 = 30 * 60 * 1_000;
/// A launch sends one unless the last is younger than this, in milliseconds.
const LAUNCH_AFTER_MS: u64 = 10 * 60 * 1_000;
/// One that failed is said again after this time, in milliseconds; doubled for each that failed before
/// it, up to [`EVERY_MS`].
pub(super) const REPEAT_AFTER_MS: u64 = 30_000;
/// Doublings that are counted: more would pass [`EVERY_MS`] by far.
const DOUBLINGS_MAX: u64 = 16;
/// A heartbeat without an answer for so long, in milliseconds: the camera looks offline. What an app takes that is
/// told nothing else.
pub const OFFLINE_AFTER_MS: u64 = 15 * 60 * 1_000;
/// That everything is here is written down again after this time at the earliest, in milliseconds.
const NOTE_AFTER_MS: u64 = 60_000;
/// So far ahead of the clock a time of ours may lie, in milliseconds: it is set by a little all the time.
const CLOCK_SLACK_MS: u64 = 60_000;

/// Why the question is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rhythm {
    /// The first time since a person launched the app.
    Launch,
    /// Any later time.
    Running,
}

/// Which pairings the launch of a process still owes a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Launch {
    /// A person launched it. These have had theirs, or did not need one.
    ByPerson(BTreeSet<PairingId>),
    /// A scheduler did: nothing is owed for that.
    ByScheduler,
}

impl Launch {
    /// The rhythm of a pairing's heartbeats now.
    #[must_use]
    pub fn rhythm(&self, pairing: PairingId) -> Rhythm {
        match self {
            Self::ByPerson(had) if !had.contains(&pairing) => Rhythm::Launch,
            Self::ByPerson(_) | Self::ByScheduler => Rhythm::Running,
        }
    }

    /// The heartbeat of this launch was said, or none was due.
    pub fn is_over(&mut self, pairing: PairingId) {
        if let Self::ByPerson(had) = self {
            had.insert(pairing);
        }
    }
}

/// The last heartbeat of a pairing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said {
    /// Its number.
    pub number: u64,
    /// When it was said first, milliseconds since 1970 by our clock.
    pub first_unix_ms: u64,
    /// When it was said last, in the same way.
    pub last_unix_ms: u64,
    /// How often it was said.
    pub attempts: u32,
    /// It was answered.
    pub answered: bool,
    /// When we last had everything that the relay held, since it was said first.
    pub level_unix_ms: Option<u64>,
}

/// What is stored about the heartbeats of a pairing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pulse {
    /// The last one; `None` before the first.
    pub said: Option<Said>,
    /// The config line waits for the hub's Commit: none can be said before it.
    pub mute: bool,
    /// Since when an answer or a Commit has been waited for, the oldest of all lines; milliseconds since
    /// 1970 by our clock.
    pub waits_since_unix_ms: Option<u64>,
    /// How many heartbeats have passed since new keys of ours were taken, on the line where that is
    /// longest; lines that wait for a Commit, or are over, are not counted. 0 if all is well.
    pub behind: u64,
    /// Nothing can be said any more: the directory is an older copy, or the config line broke.
    pub over: bool,
    /// What jitter takes from the next pause, in milliseconds.
    pub jitter_ms: u64,
    /// A hub that is silent for so long looks offline, in milliseconds; six hours at most.
    pub offline_after_ms: u64,
}

impl Default for Pulse {
    /// Nothing was said yet.
    fn default() -> Self {
        Self {
            said: None,
            mute: false,
            waits_since_unix_ms: None,
            behind: 0,
            over: false,
            jitter_ms: 0,
            offline_after_ms: OFFLINE_AFTER_MS,
        }
    }
}

impl Pulse {
    /// Everything that was said is answered, and every line that is not over has the newest keys.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.said.is_some() && self.waits_since_unix_ms.is_none() && self.behind == 0
    }

    /// When the next heartbeat is due, milliseconds since 1970; `None` while only the hub can change that.
    #[must_use]
    pub fn heartbeat_unix_ms(&self, rhythm: Rhythm, now_unix_ms: u64) -> Option<u64> {
        if self.over || self.mute {
            return None;
        }
        let Some(said) = self.said else {
            return Some(0);
        };
        if is_ahead(said.last_unix_ms, now_unix_ms) {
            // A clock that was put back must not silence us for as long as it was wrong.
            return Some(now_unix_ms);
        }
        let pause = match (self.failures(said), rhythm) {
            (0, Rhythm::Launch) => LAUNCH_AFTER_MS,
            (0, Rhythm::Running) => EVERY_MS - self.jitter_ms.min(JITTER_MS_MAX),
            (failures, Rhythm::Launch) => repeat_after_ms(failures).min(LAUNCH_AFTER_MS),
            (failures, Rhythm::Running) => repeat_after_ms(failures),
        };
        Some(said.last_unix_ms.saturating_add(pause))
    }

    /// When to see next whether the hub has answered, milliseconds since 1970: after 15 minutes, then
    /// after as long again as it has been silent, six hours at most. `None` if nothing is waited for.
    #[must_use]
    pub fn look_unix_ms(&self, now_unix_ms: u64) -> Option<u64> {
        let (since, said) = (self.waits_since_unix_ms?, self.said?);
        if self.over {
            return None;
        }
        let level = said.level_unix_ms.unwrap_or(0);
        if is_ahead(since, now_unix_ms) || is_ahead(level, now_unix_ms) {
            return Some(now_unix_ms);
        }
        Some(match said.level_unix_ms {
            None => since.saturating_add(self.offline_after_ms),
            Some(level) => {
                let silent = level.saturating_sub(since);
                level.saturating_add(silent.max(self.offline_after_ms).min(EVERY_MS))
            }
        })
    }

    /// Whether it should be written down that everything is here: it says that the hub is silent, and
    /// not the way to it.
    #[must_use]
    pub fn asks_for_note(&self, now_unix_ms: u64) -> bool {
        let (Some(look), Some(since), Some(said)) = (
            self.look_unix_ms(now_unix_ms),
            self.waits_since_unix_ms,
            self.said,
        ) else {
            return false;
        };
        let noted = said
            .level_unix_ms
            .is_some_and(|level| now_unix_ms < level.saturating_add(NOTE_AFTER_MS));
        let silent = now_unix_ms >= since.saturating_add(self.offline_after_ms);
        look <= now_unix_ms || silent && !noted
    }

    /// When a scheduler should call next, milliseconds since 1970; a time that is past means now.
    #[must_use]
    pub fn next_unix_ms(&self, rhythm: Rhythm, now_unix_ms: u64) -> Option<u64> {
        let heartbeat = self.heartbeat_unix_ms(rhythm, now_unix_ms);
        heartbeat
            .into_iter()
            .chain(self.look_unix_ms(now_unix_ms))
            .min()
    }

    /// The hub has been silent for 15 minutes ([`Self::offline_after_ms`]), and that is not because we have not
    /// looked: since then we once had everything that the relay held.
    #[must_use]
    pub fn looks_offline(&self, now_unix_ms: u64) -> bool {
        self.offline_since_unix_ms(now_unix_ms).is_some()
    }

    /// Since when the hub has been silent, milliseconds since 1970 by our clock, if it looks offline.
    #[must_use]
    pub fn offline_since_unix_ms(&self, now_unix_ms: u64) -> Option<u64> {
        let (since, said) = (self.waits_since_unix_ms?, self.said?);
        let level = said.level_unix_ms?;
        let looked = level >= since.saturating_add(self.offline_after_ms);
        (looked && !is_ahead(level, now_unix_ms)).then_some(since)
    }

    /// How many heartbeats in a row did not do all that they are for.
    fn failures(&self, said: Said) -> u64 {
        match self.behind.max(u64::from(!said.answered)) {
            0 => 0,
            failed => failed.saturating_add(u64::from(said.attempts.saturating_sub(1))),
        }
    }
}

/// What jitter takes from the pause behind a heartbeat: the same whenever it is asked, other for each.
pub(super) fn jitter_ms(pairing: PairingId, number: u64) -> u64 {
    // The finalizer of SplitMix64. No secret, and nobody gains by guessing it.
    let mut mixed = number;
    for byte in pairing.0 {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 29;
    }
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % JITTER_MS_MAX
}

fn repeat_after_ms(failures: u64) -> u64 {
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    (REPEAT_AFTER_MS << doublings).min(EVERY_MS)
}

fn is_ahead(unix_ms: u64, now_unix_ms: u64) -> bool {
    unix_ms > now_unix_ms.saturating_add(CLOCK_SLACK_MS)
}

#[cfg(test)]
mod tests;
