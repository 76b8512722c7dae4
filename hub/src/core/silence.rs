//! How long each phone has not been heard of, and what that means: a phone that is silent gets nothing
//! new, one that stays silent is removed.
//!
//! The hub may have no clock that a battery keeps, so no two dates are ever compared. What counts is for
//! how long the hub has been attached to its relay since the phone was last heard of, or since pairing: each
//! tick adds what has passed since the last one by the clock that never falls, at most [`STEP_MS_MAX`]. So the
//! clock on the wall may jump as it likes; and time in which no phone could be heard, because the hub was off
//! or the relay away, does not count. Where every phone is silent it is the way to them that is broken, or was
//! cut: nobody is removed then, and when one is heard of again the others have time to be heard as well. This room has no IO and no clock; it must never let one tick make a phone
//! silent that was not about to be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use journal::ids::PairingId;
use wal::mutant;

/// The most that one tick counts, in milliseconds: far more than lies between two ticks of a busy hub, far
/// less than any limit.
const STEP_MS_MAX: u64 = 60_000;
/// How much may be counted before it is stored, in milliseconds: what a hub that loses its power forgets.
const STORE_MS: u64 = 15 * 60_000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a phone may be unheard of, in time in which the hub was attached to its relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SilenceLimits {
    /// After so long it gets nothing new.
    pub silent_after: Duration,
    /// After so long it is removed, if another phone is not silent. More than the other.
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
pub(super) struct Silence {
    limits: SilenceLimits,
    /// The hub has a connection on which phones could be heard.
    is_attached: bool,
    phones: BTreeMap<PairingId, Unheard>,
}

impl Silence {
    pub(super) fn new(limits: SilenceLimits) -> Self {
        Self {
            limits,
            is_attached: false,
            phones: BTreeMap::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn limit(&mut self, limits: SilenceLimits) {
        self.limits = limits;
    }

    /// Whether phones can be heard from now on.
    pub(super) fn attach(&mut self, is_attached: bool) {
        self.is_attached = is_attached;
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

    /// Whether something of its count is stored, which ends with whatever is heard of it.
    pub(super) fn has_stored(&self, phone: PairingId) -> bool {
        let unheard = self.phones.get(&phone);
        unheard.is_some_and(|unheard| unheard.stored_ms > 0)
    }

    /// Something came of which the phone alone can be the author. True if it was said that it is silent.
    pub(super) fn heard(&mut self, phone: PairingId) -> bool {
        let silent_ms = millis(self.limits.silent_after);
        if self.phones.values().all(|unheard| unheard.ms >= silent_ms) {
            // The way to all of them was cut, and what the others have sent comes behind this.
            let removed_ms = millis(self.limits.removed_after);
            let most_ms = removed_ms.saturating_sub(silent_ms).max(silent_ms);
            for unheard in self.phones.values_mut() {
                unheard.ms = unheard.ms.min(most_ms);
            }
        }
        let before = self.phones.insert(phone, Unheard::default());
        before.is_some_and(|before| before.said)
    }

    /// Whether a phone gets nothing new.
    pub(super) fn is_silent(&self, phone: PairingId) -> bool {
        let limit = millis(self.limits.silent_after);
        self.unheard_ms(phone) >= limit
            && !mutant!(
                "silence_ignored",
                "A1",
                "a phone that is said to be silent gets events all the same"
            )
    }

    /// What is counted, in milliseconds.
    pub(super) fn unheard_ms(&self, phone: PairingId) -> u64 {
        self.phones.get(&phone).map_or(0, |unheard| unheard.ms)
    }

    /// Counts what has passed since the last tick, within its bound. Nothing while no phone could be heard.
    pub(super) fn tick(&mut self, passed: Duration) -> Vec<Due> {
        if !self.is_attached {
            return Vec::new();
        }
        let step = millis(passed).min(STEP_MS_MAX);
        let silent_ms = millis(self.limits.silent_after);
        let removed_ms = millis(self.limits.removed_after);
        for unheard in self.phones.values_mut() {
            unheard.ms = unheard.ms.saturating_add(step);
        }
        // Else it is the link that is silent, or whoever holds it: nobody is removed by that.
        let is_one_heard = self.phones.values().any(|unheard| unheard.ms < silent_ms);
        let mut due = Vec::new();
        for (phone, unheard) in &mut self.phones {
            if unheard.ms >= removed_ms && is_one_heard {
                due.push(Due::Remove(*phone));
                continue;
            }
            let becomes_silent = unheard.ms >= silent_ms && !unheard.said;
            if becomes_silent {
                unheard.said = true;
                due.push(Due::Say(*phone));
            }
            let new_ms = unheard.ms.saturating_sub(unheard.stored_ms);
            let is_less = unheard.ms < unheard.stored_ms;
            if new_ms >= STORE_MS || becomes_silent && new_ms > 0 || is_less {
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
    const MINUTE: Duration = Duration::from_secs(60);

    fn silence(silent_s: u64, removed_s: u64) -> Silence {
        let mut silence = Silence::new(SilenceLimits {
            silent_after: Duration::from_secs(silent_s),
            removed_after: Duration::from_secs(removed_s),
        });
        silence.attach(true);
        silence.set(PHONE, 0);
        silence.set(OTHER, 0);
        silence
    }

    #[test]
    fn a_long_pause_between_two_ticks_counts_one_step() {
        let mut silence = silence(3600, 7200);
        assert!(silence.tick(400 * DAY).is_empty());
        assert_eq!(silence.unheard_ms(PHONE), STEP_MS_MAX);
        assert!(silence.tick(Duration::from_secs(5)).is_empty());
        assert_eq!(silence.unheard_ms(PHONE), STEP_MS_MAX + 5_000);
        assert!(!silence.is_silent(PHONE));
    }

    #[test]
    fn a_relay_that_is_away_for_100_days_silences_and_removes_nobody() {
        let mut silence = Silence::new(SilenceLimits::default());
        silence.set(PHONE, 0);
        silence.set(OTHER, 0);
        for _minute in 0..100 * 24 * 60 {
            assert!(silence.tick(MINUTE).is_empty());
        }
        assert_eq!(silence.unheard_ms(PHONE), 0);
        silence.attach(true);
        assert!(silence.tick(MINUTE).is_empty());
        assert_eq!(silence.unheard_ms(PHONE), STEP_MS_MAX);
    }

    /// The relay is there and delivers nothing of anybody.
    #[test]
    fn where_no_phone_at_all_is_heard_of_none_is_removed() {
        let mut silence = Silence::new(SilenceLimits::default());
        silence.attach(true);
        silence.set(PHONE, 0);
        silence.set(OTHER, 0);
        let removes = |due: &Vec<Due>| due.iter().any(|due| matches!(due, Due::Remove(_)));
        for _minute in 0..100 * 24 * 60 {
            assert!(!removes(&silence.tick(MINUTE)));
        }
        assert!(silence.is_silent(PHONE) && silence.is_silent(OTHER));
        // One is back. What the other one has sent may come behind that, so it has a week; then it is that one
        // itself that is silent.
        silence.stored(PHONE, silence.unheard_ms(PHONE));
        assert!(silence.heard(OTHER));
        let left_ms = millis(83 * DAY) + STEP_MS_MAX;
        assert_eq!(
            silence.tick(MINUTE),
            [Due::Store(PHONE, left_ms)],
            "a start knows it too"
        );
        for _minute in 2..7 * 24 * 60 {
            assert!(!removes(&silence.tick(MINUTE)));
            let _said = silence.heard(OTHER);
        }
        assert!(silence.is_silent(PHONE));
        assert_eq!(silence.tick(MINUTE), [Due::Remove(PHONE)]);
    }

    #[test]
    fn silence_is_said_once_and_its_count_stored_and_what_is_heard_ends_it() {
        let mut silence = silence(3600, 7200);
        let mut all = Vec::new();
        for _ in 0..70 {
            all.extend(silence.tick(MINUTE));
            if !silence.is_silent(OTHER) {
                let _said = silence.heard(OTHER);
            }
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
        assert!(!silence.has_stored(PHONE));
        for _minute in 0..45 {
            for due in silence.tick(MINUTE) {
                if let Due::Store(phone, ms) = due {
                    silence.stored(phone, ms);
                    stores.extend((phone == PHONE).then_some(ms / 60_000));
                }
            }
        }
        assert_eq!(stores, [15, 30, 45]);
        assert!(silence.has_stored(PHONE));
    }

    #[test]
    fn a_phone_past_the_longer_limit_is_due_for_removal_until_it_is_gone() {
        let mut silence = silence(60, 120);
        silence.set(PHONE, 119_999);
        let nothing = Duration::ZERO;
        assert_eq!(
            silence.tick(nothing),
            [Due::Say(PHONE)],
            "nothing new to store"
        );
        for _ in 0..2 {
            let due = silence.tick(Duration::from_millis(1));
            assert!(due.contains(&Due::Remove(PHONE)));
        }
        silence.retain(&BTreeSet::from([OTHER]));
        assert!(!silence.knows(PHONE));
        assert!(!silence.tick(nothing).contains(&Due::Remove(PHONE)));
    }
}
