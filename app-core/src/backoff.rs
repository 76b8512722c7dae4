//! How long to wait before the next attempt: doubling, with jitter, so that a relay that comes back
//! is not met by everybody at once. It must never wait for ever.

use std::time::Duration;

/// The first pause.
const PAUSE_MS_MIN: u64 = 250;
/// The longest pause.
const PAUSE_MS_MAX: u64 = 30_000;

/// The pauses of one chain of attempts.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next_ms: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            next_ms: PAUSE_MS_MIN,
        }
    }

    /// Something worked.
    pub(crate) fn reset(&mut self) {
        self.next_ms = PAUSE_MS_MIN;
    }

    /// The next pause: between a half and the whole of what is due. `die` is any random number.
    pub(crate) fn next(&mut self, die: u64) -> Duration {
        let due = self.next_ms;
        self.next_ms = (due * 2).min(PAUSE_MS_MAX);
        Duration::from_millis(due / 2 + die % (due / 2 + 1))
    }

    /// The next pauses start at the longest: the trouble will not go away by itself.
    pub(crate) fn at_longest(&mut self) {
        self.next_ms = PAUSE_MS_MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_again() {
        for die in [0, 1, u64::MAX] {
            let mut backoff = Backoff::new();
            let mut due = PAUSE_MS_MIN;
            for _ in 0..20 {
                let pause = backoff.next(die);
                assert!(
                    pause >= Duration::from_millis(due / 2) && pause <= Duration::from_millis(due)
                );
                due = (due * 2).min(PAUSE_MS_MAX);
            }
            backoff.reset();
            assert!(backoff.next(die) <= Duration::from_millis(PAUSE_MS_MIN));
            backoff.at_longest();
            assert!(backoff.next(die) >= Duration::from_millis(PAUSE_MS_MAX / 2));
        }
    }
}
