//! How long to wait before the next attempt: doubling, with jitter, so that a relay that comes back
//! is not met by everybody at once. It knows no clock; the dice are an argument.

use std::time::Duration;

/// The first pause, before jitter.
const MIN: Duration = Duration::from_millis(250);
/// The longest, before jitter.
const MAX: Duration = Duration::from_secs(30);

/// Pauses between attempts.
pub struct Backoff {
    next: Duration,
    dice: Box<dyn FnMut() -> u64 + Send>,
}

impl Backoff {
    /// From the shortest pause; `dice` gives random numbers.
    pub fn new(dice: Box<dyn FnMut() -> u64 + Send>) -> Self {
        Self { next: MIN, dice }
    }

    /// The next pause: between half and all of what is due.
    pub fn pause(&mut self) -> Duration {
        let due = self.next;
        self.next = (due * 2).min(MAX);
        let half = due / 2;
        let span = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_millis((self.dice)() % span)
    }

    /// A connection has held: begin again with the shortest.
    pub fn reset(&mut self) {
        self.next = MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_limit_and_never_vanish() {
        let mut number = 0;
        let mut backoff = Backoff::new(Box::new(move || {
            number += 7919;
            number
        }));
        let mut due = MIN;
        for _ in 0..20 {
            let pause = backoff.pause();
            assert!(pause >= due / 2 && pause <= due, "{pause:?} for {due:?}");
            due = (due * 2).min(MAX);
        }
        backoff.reset();
        assert!(backoff.pause() <= MIN);
    }

    /// Often enough that its return is seen within half a minute, and never in a hurry.
    #[test]
    fn an_hour_without_a_relay_costs_a_bounded_number_of_attempts() {
        let mut number: u64 = 1;
        let mut backoff = Backoff::new(Box::new(move || {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            number >> 33
        }));
        let (mut passed, mut attempts) = (Duration::ZERO, 0);
        while passed < Duration::from_secs(3_600) {
            let pause = backoff.pause();
            assert!(pause <= MAX, "{pause:?}");
            passed += pause;
            attempts += 1;
        }
        assert!((120..=260).contains(&attempts), "{attempts}");
    }
}
