//! How long each phone has not been heard of, and what that means: a phone that is silent gets nothing
//! new, one that stays silent is removed.
//!
//! The hub may have no clock that a battery keeps, so no two dates are ever compared. What counts is for
//! how long the hub itself has run since the last heartbeat, or since pairing: each tick adds what has
//! passed since the last one, at most [`STEP_MS_MAX`]. So a clock that jumps adds one step, however far it
//! jumps; one that falls back adds nothing; and the time for which the hub was off, in which nothing was
//! encrypted either, does not count. This room has no IO and no clock; it must never let one tick make
//! a phone silent that was not about to be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use journal::ids::PairingId;

/// The most that one tick counts, in milliseconds: far more than lies between two ticks of a busy hub, far
/// less than any limit.
pub(super) const STEP_MS_MAX: u64 = 60_000;
/// How much may be counted before it is stored, in milliseconds: what a hub that loses its power forgets.
const STORE_MS: u64 = 15 * 60_000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a phone may be unheard of, in time that the hub has run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SilenceLimits {
    /// After so long it gets nothing new.
    pub silent_after: Duration,
    /// After so long it is removed. More than the other.
    pub removed_after: Duration,
}

impl Default for SilenceLimits {
    /// A week, and 90 days.
    fn default() -> Self {
        Self {
            silent_after: 7 * DAY,
            removed_after: 90 * DAY,
        }
    }
}

/// What a tick finds to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Say that this phone is silent from now on.
    Say(PairingId),
    /// Store its count, in milliseconds.
    Store(PairingId, u64),
    /// Remove it.
    Remove(PairingId),
}

#[derive(Clone, Copy, Default)]
struct Unheard {
    ms: u64,
    stored_ms: u64,
    /// It was said that it is silent.
    said: bool,
}

/// The counts of all phones.
#[derive(Default)]
pub(super) struct Silence {
    limits: SilenceLimits,
    /// The time of the last tick, milliseconds since 1970 by whatever the clock then said.
    ticked_unix_ms: Option<u64>,
    phones: BTreeMap<PairingId, Unheard>,
}

impl Silence {
    pub(super) fn limit(&mut self, limits: SilenceLimits) {
        self.limits = limits;
    }

    /// Forgets every phone that is not among these.
    pub(super) fn retain(&mut self, phones: &BTreeSet<PairingId>) {
        self.phones.retain(|phone, _| phones.contains(phone));
    }

    pub(super) fn knows(&self, phone: PairingId) -> bool {
        self.phones.contains_key(&phone)
    }

    /// Takes the count up that is stored.
    pub(super) fn set(&mut self, phone: PairingId, ms: u64) {
        let unheard = self.phones.entry(phone).or_default();
        (unheard.ms, unheard.stored_ms) = (ms, ms);
    }

    /// A count was stored.
    pub(super) fn stored(&mut self, phone: PairingId, ms: u64) {
        if let Some(unheard) = self.phones.get_mut(&phone) {
            unheard.stored_ms = ms;
        }
    }

    /// A heartbeat came. True if it was said that the phone is silent.
    pub(super) fn heard(&mut self, phone: PairingId) -> bool {
        let before = self.phones.insert(phone, Unheard::default());
        before.is_some_and(|before| before.said)
    }

    /// Whether a phone gets nothing new.
    pub(super) fn is_silent(&self, phone: PairingId) -> bool {
        let limit = millis(self.limits.silent_after);
        self.unheard_ms(phone) >= limit
    }

    /// What is counted, in milliseconds.
    pub(super) fn unheard_ms(&self, phone: PairingId) -> u64 {
        self.phones.get(&phone).map_or(0, |unheard| unheard.ms)
    }

    /// Counts what has passed since the last tick, within its bound. The first tick of a process only
    /// looks at the clock.
    pub(super) fn tick(&mut self, now_unix_ms: u64) -> Vec<Due> {
        let before = self.ticked_unix_ms.replace(now_unix_ms);
        let step = before.map_or(0, |before| now_unix_ms.saturating_sub(before));
        let step = step.min(STEP_MS_MAX);
        let silent_ms = millis(self.limits.silent_after);
        let removed_ms = millis(self.limits.removed_after);
        let mut due = Vec::new();
        for (phone, unheard) in &mut self.phones {
            unheard.ms = unheard.ms.saturating_add(step);
            if unheard.ms >= removed_ms {
                due.push(Due::Remove(*phone));
                continue;
            }
            let becomes_silent = unheard.ms >= silent_ms && !unheard.said;
            if becomes_silent {
                unheard.said = true;
                due.push(Due::Say(*phone));
            }
            let new_ms = unheard.ms.saturating_sub(unheard.stored_ms);
            if new_ms >= STORE_MS || becomes_silent && new_ms > 0 {
                due.push(Due::Store(*phone, unheard.ms));
            }
        }
        // What cannot fail comes first: it is found once.
        due.sort_by_key(|due| !matches!(due, Due::Say(_)));
        due
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: PairingId = PairingId([1; 16]);
    const OTHER: PairingId = PairingId([2; 16]);

    fn silence(silent_s: u64, removed_s: u64) -> Silence {
        let mut silence = Silence::default();
        silence.limit(SilenceLimits {
            silent_after: Duration::from_secs(silent_s),
            removed_after: Duration::from_secs(removed_s),
        });
        silence.set(PHONE, 0);
        silence.set(OTHER, 0);
        silence
    }

    #[test]
    fn a_clock_that_jumps_counts_one_step_and_one_that_falls_back_none() {
        let mut silence = silence(3600, 7200);
        // A hub that does not know the year yet, and then does.
        assert!(silence.tick(5_000).is_empty());
        assert_eq!(silence.unheard_ms(PHONE), 0, "the first tick only looks");
        assert!(silence.tick(1_800_000_000_000).is_empty());
        assert_eq!(silence.unheard_ms(PHONE), STEP_MS_MAX);
        assert!(silence.tick(1_000).is_empty());
        assert_eq!(silence.unheard_ms(PHONE), STEP_MS_MAX);
        assert!(silence.tick(6_000).is_empty());
        assert_eq!(silence.unheard_ms(PHONE), STEP_MS_MAX + 5_000);
        assert!(!silence.is_silent(PHONE));
    }

    #[test]
    fn silence_is_said_once_and_its_count_stored_and_a_heartbeat_ends_it() {
        let mut silence = silence(3600, 7200);
        let mut now = 0;
        let mut all = Vec::new();
        for _ in 0..=70 {
            all.extend(silence.tick(now));
            if !silence.is_silent(OTHER) {
                let _said = silence.heard(OTHER);
            }
            now += STEP_MS_MAX;
        }
        let said = all.iter().filter(|due| **due == Due::Say(PHONE)).count();
        assert_eq!(said, 1);
        let hour = Due::Store(PHONE, 3_600_000);
        assert!(all.contains(&hour), "{all:?}");
        let about_other = |due: &&Due| matches!(due, Due::Say(of) if *of == OTHER);
        assert_eq!(all.iter().filter(about_other).count(), 0);
        assert!(silence.is_silent(PHONE) && !silence.is_silent(OTHER));
        assert!(silence.heard(PHONE), "its silence was said");
        assert!(!silence.is_silent(PHONE));
        assert!(!silence.heard(PHONE));
    }

    #[test]
    fn what_is_not_stored_is_due_every_quarter_of_an_hour() {
        let mut silence = silence(86_400, 172_800);
        let mut stores = Vec::new();
        for minute in 0..=45 {
            for due in silence.tick(minute * 60_000) {
                if let Due::Store(phone, ms) = due {
                    silence.stored(phone, ms);
                    stores.extend((phone == PHONE).then_some(ms / 60_000));
                }
            }
        }
        assert_eq!(stores, [15, 30, 45]);
    }

    #[test]
    fn a_phone_past_the_longer_limit_is_due_for_removal_until_it_is_gone() {
        let mut silence = silence(60, 120);
        silence.set(PHONE, 119_999);
        assert_eq!(silence.tick(0), [Due::Say(PHONE)], "nothing new to store");
        for _ in 0..2 {
            assert!(silence.tick(1).contains(&Due::Remove(PHONE)));
        }
        silence.retain(&BTreeSet::from([OTHER]));
        assert!(!silence.knows(PHONE));
        assert!(!silence.tick(2).contains(&Due::Remove(PHONE)));
    }
}
