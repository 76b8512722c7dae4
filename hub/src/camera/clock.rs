//! Time as a camera sees it: an argument, so that a test can play an hour of video in a moment.
//!
//! It must never be used to order anything: counters order, clocks only time things out and tell
//! people when something was.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The future of [`Clock::sleep_until`].
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A clock that can also wait.
pub trait Clock: Send + Sync {
    /// Time since an origin that the clock chose; never falls, not even when the wall clock is
    /// set.
    fn now(&self) -> Duration;

    /// Milliseconds since 1970 by the wall clock, which may be wrong and may be set.
    fn unix_ms(&self) -> u64;

    /// Completes when [`Clock::now`] is `at` or later; at once if it already is. Cancel safe.
    fn sleep_until(&self, at: Duration) -> Sleep<'_>;
}

/// The real clock, on tokio's timer.
#[derive(Debug, Clone)]
pub struct TokioClock {
    origin: tokio::time::Instant,
}

impl TokioClock {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self {
            origin: tokio::time::Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "This is the one place where the media path reads the wall clock."
    )]
    fn unix_ms(&self) -> u64 {
        // A wall clock before 1970 is a Pi that has not been told the time: zero says so.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }

    fn sleep_until(&self, at: Duration) -> Sleep<'_> {
        Box::pin(async move {
            match self.origin.checked_add(at) {
                Some(instant) => tokio::time::sleep_until(instant).await,
                // Beyond what the platform can name is later than any process lives.
                None => std::future::pending().await,
            }
        })
    }
}
