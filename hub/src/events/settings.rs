//! What an owner can set about events, checked once.
//!
//! It must never hold a value that the machine would have to correct.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::Duration;

use crate::motion::QuietHours;

/// Shortest and longest pre-roll, in seconds.
pub const PRE_ROLL_SECONDS: (f64, f64) = (0.0, 30.0);
/// Shortest and longest post-roll, in seconds.
pub const POST_ROLL_SECONDS: (f64, f64) = (1.0, 120.0);
/// The least and the most that an event may be told to last at most, in seconds.
pub const AT_MOST_SECONDS: (f64, f64) = (10.0, 600.0);
/// Shortest and longest cool-down, in seconds.
pub const COOL_DOWN_SECONDS: (f64, f64) = (0.0, 3600.0);
/// Smallest and largest ring, in bytes.
pub const RING_BYTES: (usize, usize) = (1 << 20, 64 << 20);

/// Values as somebody wrote them. [`Default`] is what a camera has of which nothing is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventValues {
    /// What is recorded from before the motion, in seconds, [`PRE_ROLL_SECONDS`]; up to one group of
    /// pictures more, and less if the ring is too small for it.
    pub pre_roll_seconds: f64,
    /// What is recorded after the last motion, in seconds, [`POST_ROLL_SECONDS`]. Motion within it belongs to
    /// the same event.
    pub post_roll_seconds: f64,
    /// How long after its first motion an event ends, whatever moves, in seconds, [`AT_MOST_SECONDS`]; at
    /// the next key frame.
    pub at_most_seconds: f64,
    /// How long after an event none begins, in seconds, [`COOL_DOWN_SECONDS`].
    pub cool_down_seconds: f64,
    /// The most bytes of the stream that are held for the pre-roll, [`RING_BYTES`].
    pub ring_bytes_max: usize,
    /// When no event begins; `None`: never.
    pub quiet: Option<QuietHours>,
}

impl Default for EventValues {
    fn default() -> Self {
        Self {
            pre_roll_seconds: 5.0,
            post_roll_seconds: 5.0,
            at_most_seconds: 120.0,
            cool_down_seconds: 5.0,
            ring_bytes_max: 16 << 20,
            quiet: None,
        }
    }
}

/// Values that can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSettings {
    pre_roll: Duration,
    post_roll: Duration,
    at_most: Duration,
    cool_down: Duration,
    ring_bytes_max: usize,
    quiet: Option<QuietHours>,
}

impl Default for EventSettings {
    fn default() -> Self {
        let values = EventValues::default();
        // The limits are kept: a test takes the defaults through `new`.
        Self {
            pre_roll: Duration::from_secs_f64(values.pre_roll_seconds),
            post_roll: Duration::from_secs_f64(values.post_roll_seconds),
            at_most: Duration::from_secs_f64(values.at_most_seconds),
            cool_down: Duration::from_secs_f64(values.cool_down_seconds),
            ring_bytes_max: values.ring_bytes_max,
            quiet: values.quiet,
        }
    }
}

/// Which value cannot be. The names are those of [`EventValues`].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum EventSettingsError {
    /// A time is outside its limits.
    #[error("`{name}` is {found}; {min} to {max} seconds are supported")]
    Seconds {
        /// Which value.
        name: &'static str,
        /// What it is.
        found: f64,
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// The size of the ring is outside its limits.
    #[error("a ring of {found} bytes; {} to {} are supported", RING_BYTES.0, RING_BYTES.1)]
    RingBytes {
        /// What it is.
        found: usize,
    },
    /// An event would be over before its post-roll is.
    #[error(
        "`at_most_seconds` is not more than `post_roll_seconds`; an event would be all post-roll"
    )]
    AllPostRoll,
}

impl EventSettings {
    /// Checks values.
    ///
    /// # Errors
    /// [`EventSettingsError`], for the first that cannot be.
    pub fn new(values: EventValues) -> Result<Self, EventSettingsError> {
        let EventValues {
            pre_roll_seconds,
            post_roll_seconds,
            at_most_seconds,
            cool_down_seconds,
            ring_bytes_max,
            quiet,
        } = values;
        let settings = Self {
            pre_roll: seconds("pre_roll_seconds", pre_roll_seconds, PRE_ROLL_SECONDS)?,
            post_roll: seconds("post_roll_seconds", post_roll_seconds, POST_ROLL_SECONDS)?,
            at_most: seconds("at_most_seconds", at_most_seconds, AT_MOST_SECONDS)?,
            cool_down: seconds("cool_down_seconds", cool_down_seconds, COOL_DOWN_SECONDS)?,
            ring_bytes_max,
            quiet,
        };
        if !(RING_BYTES.0..=RING_BYTES.1).contains(&ring_bytes_max) {
            return Err(EventSettingsError::RingBytes {
                found: ring_bytes_max,
            });
        }
        if settings.at_most <= settings.post_roll {
            return Err(EventSettingsError::AllPostRoll);
        }
        Ok(settings)
    }

    /// The values themselves.
    pub fn values(&self) -> EventValues {
        EventValues {
            pre_roll_seconds: self.pre_roll.as_secs_f64(),
            post_roll_seconds: self.post_roll.as_secs_f64(),
            at_most_seconds: self.at_most.as_secs_f64(),
            cool_down_seconds: self.cool_down.as_secs_f64(),
            ring_bytes_max: self.ring_bytes_max,
            quiet: self.quiet,
        }
    }

    /// What is recorded from before the motion.
    pub fn pre_roll(&self) -> Duration {
        self.pre_roll
    }

    /// What is recorded after it.
    pub fn post_roll(&self) -> Duration {
        self.post_roll
    }

    /// The longest event, from its first motion on.
    pub fn at_most(&self) -> Duration {
        self.at_most
    }

    /// The pause between two events.
    pub fn cool_down(&self) -> Duration {
        self.cool_down
    }

    /// The most bytes of the ring.
    pub fn ring_bytes_max(&self) -> usize {
        self.ring_bytes_max
    }

    /// When no event begins.
    pub fn quiet(&self) -> Option<QuietHours> {
        self.quiet
    }
}

fn seconds(
    name: &'static str,
    found: f64,
    (min, max): (f64, f64),
) -> Result<Duration, EventSettingsError> {
    // What is no number is in no range.
    if (min..=max).contains(&found) {
        Ok(Duration::from_secs_f64(found))
    } else {
        Err(EventSettingsError::Seconds {
            name,
            found,
            min,
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_and_each_value_has_its_limits() {
        let settings = EventSettings::new(EventValues::default()).unwrap();
        assert_eq!(settings, EventSettings::default());
        assert_eq!(EventSettings::new(settings.values()), Ok(settings));
        assert_eq!(settings.pre_roll(), Duration::from_secs(5));
        type Change = fn(&mut EventValues);
        let table: [(Change, &str); 8] = [
            (|v| v.pre_roll_seconds = -0.1, "pre_roll_seconds"),
            (|v| v.pre_roll_seconds = f64::NAN, "pre_roll_seconds"),
            (|v| v.post_roll_seconds = 0.5, "post_roll_seconds"),
            (|v| v.at_most_seconds = f64::INFINITY, "at_most_seconds"),
            (|v| v.cool_down_seconds = 3601.0, "cool_down_seconds"),
            (|v| v.ring_bytes_max = 1, "ring of 1"),
            (|v| v.ring_bytes_max = usize::MAX, "ring"),
            (
                |v| {
                    v.at_most_seconds = 20.0;
                    v.post_roll_seconds = 20.0;
                },
                "all post-roll",
            ),
        ];
        for (change, word) in table {
            let mut values = EventValues::default();
            change(&mut values);
            let error = EventSettings::new(values).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
