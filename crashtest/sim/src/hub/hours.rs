//! Hours in which nothing happens but that its clips grow old: all that a hub would look at in them, at once.
//!
//! No clock moves. The books count what passes before the core is told of it, so that no process can know of more; this
//! room must never let it pass unseen.

use std::time::Duration;

use super::sync::sync;
use super::{Fault, Hub, passing};
use crate::oracle::Books;

/// The core is told of a minute at a time: it counts no more than that.
const MINUTE_MS: u64 = 60_000;
/// As often it is asked what is to be done, in milliseconds.
const HOUR_MS: u64 = 60 * MINUTE_MS;

impl Hub {
    /// It runs for so many hours more, if it runs.
    ///
    /// # Errors
    /// As all steps.
    pub fn hours(&mut self, hours: u64, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        for hour in 0..hours {
            let Some(process) = &mut self.process else {
                return Ok(());
            };
            for _minute in 0..HOUR_MS / MINUTE_MS {
                books.ran_ms += MINUTE_MS;
                let passed = Duration::from_millis(MINUTE_MS);
                passing(process.core.handle_elapsed(passed, wall))?;
            }
            passing(process.core.handle_timeout(wall))?;
            // As everywhere here, the vault hears of it every second time.
            passing(sync(&mut process.core, now_ms + hour, wall))?;
            self.settle(books)?;
        }
        Ok(())
    }
}
