//! Where time enters: the only room that reads clocks. Everything below takes times as arguments.
#![expect(
    clippy::disallowed_methods,
    reason = "This shell is where the clocks enter; the core takes `now` as an argument."
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that does not go backwards, counted from its making, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since [`Self::start`].
    pub(crate) fn now_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since 1970, for people; 0 before.
    pub(crate) fn unix_ms(self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Seconds since 1970.
    pub(crate) fn unix_s(self) -> u64 {
        self.unix_ms() / 1_000
    }
}
