//! How often somebody may try to pair: a token bucket, as pure logic. It knows no clock.

/// Tries that may come at once.
pub(super) const BURST: u64 = 5;
/// One more try is allowed after so long, in milliseconds.
pub(super) const REFILL_MS: u64 = 1_000;

/// Tries that are left. Times are milliseconds of any clock that does not fall.
pub(super) struct Bucket {
    burst: u64,
    refill_ms: u64,
    /// When it is full again; each try moves it on.
    full_at_ms: u64,
}

impl Bucket {
    /// A full one, for so many tries at once and one more in so many milliseconds.
    pub(super) fn new(burst: u64, refill_ms: u64) -> Self {
        Self {
            burst,
            refill_ms,
            full_at_ms: 0,
        }
    }

    /// Takes a try; how long whoever tries must wait for it, in milliseconds.
    pub(super) fn take(&mut self, now_ms: u64) -> u64 {
        self.full_at_ms = self.full_at_ms.max(now_ms) + self.refill_ms;
        self.full_at_ms
            .saturating_sub(now_ms + self.burst * self.refill_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_one_a_refill() {
        let mut bucket = Bucket::new(BURST, REFILL_MS);
        let now_ms = 77_000;
        for _ in 0..BURST {
            assert_eq!(bucket.take(now_ms), 0);
        }
        assert_eq!(bucket.take(now_ms), REFILL_MS);
        assert_eq!(bucket.take(now_ms), 2 * REFILL_MS);
        assert_eq!(bucket.take(now_ms + 2 * REFILL_MS), REFILL_MS);
        // Silence fills it again, and never beyond a burst.
        let later = now_ms + 1_000 * REFILL_MS;
        for _ in 0..BURST {
            assert_eq!(bucket.take(later), 0);
        }
        assert_ne!(bucket.take(later), 0);
    }

    #[test]
    fn in_any_time_there_are_no_more_tries_than_the_burst_and_the_refills() {
        let mut bucket = Bucket::new(BURST, REFILL_MS);
        let (mut now_ms, mut tries) = (0, 0);
        while now_ms < 60_000 {
            now_ms += bucket.take(now_ms);
            tries += 1;
        }
        assert!(tries <= BURST + 60_000 / REFILL_MS, "{tries}");
    }
}
