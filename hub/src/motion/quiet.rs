//! Quiet hours: a part of every day in which no event begins.
//!
//! It must never know the time: the local minute of the day is an argument.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;
use std::str::FromStr;

/// Minutes of a day.
pub const MINUTES_A_DAY: u16 = 24 * 60;

/// A minute of the day by the clock on the wall at the camera: 0 to 1439.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinuteOfDay(u16);

impl MinuteOfDay {
    /// `None` from [`MINUTES_A_DAY`] on.
    pub fn new(minute: u16) -> Option<Self> {
        (minute < MINUTES_A_DAY).then_some(Self(minute))
    }

    /// The minute at which a wall clock so many minutes east of Greenwich shows `unix_ms` milliseconds since
    /// 1970.
    pub fn at(unix_ms: u64, utc_offset_minutes: i16) -> Self {
        // Of a day, so that every sum fits.
        let minute = (unix_ms / 60_000 % u64::from(MINUTES_A_DAY)) as i64;
        let local = (minute + i64::from(utc_offset_minutes)).rem_euclid(i64::from(MINUTES_A_DAY));
        Self(local as u16)
    }

    /// Since midnight.
    pub fn minute(self) -> u16 {
        self.0
    }
}

impl fmt::Display for MinuteOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// From one minute of the day to another, over midnight if that comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from: MinuteOfDay,
    until: MinuteOfDay,
}

/// Why a text is no quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuietHoursError {
    /// Not of the form `HH:MM-HH:MM`.
    #[error("not a time from 00:00 to 23:59 and another; for example 22:00-06:30")]
    Form,
    /// Both ends are the same.
    #[error("it begins when it ends; turn detection off if no event is wanted")]
    Empty,
}

impl QuietHours {
    /// From the first minute until before the second.
    ///
    /// # Errors
    /// [`QuietHoursError::Empty`] if they are the same.
    pub fn new(from: MinuteOfDay, until: MinuteOfDay) -> Result<Self, QuietHoursError> {
        if from == until {
            return Err(QuietHoursError::Empty);
        }
        Ok(Self { from, until })
    }

    /// Whether a minute is within them.
    pub fn contains(&self, minute: MinuteOfDay) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.until)
    }
}

impl FromStr for QuietHours {
    type Err = QuietHoursError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, until) = text.split_once('-').ok_or(QuietHoursError::Form)?;
        let from = minute(from).ok_or(QuietHoursError::Form)?;
        let until = minute(until).ok_or(QuietHoursError::Form)?;
        Self::new(from, until)
    }
}

/// Reads `HH:MM`.
fn minute(text: &str) -> Option<MinuteOfDay> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |text: &str, below: u16| -> Option<u16> {
        // `parse` would take a sign.
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok()?;
        (is_plain && number < below).then_some(number)
    };
    MinuteOfDay::new(number(hours, 24)? * 60 + number(minutes, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u16, minute: u16) -> MinuteOfDay {
        MinuteOfDay::new(hour * 60 + minute).unwrap()
    }

    #[test]
    fn hours_may_pass_midnight() {
        let night: QuietHours = "22:00-06:30".parse().unwrap();
        for (hour, minute, want) in [
            (21, 59, false),
            (22, 0, true),
            (23, 59, true),
            (0, 0, true),
            (6, 29, true),
            (6, 30, false),
            (12, 0, false),
        ] {
            assert_eq!(night.contains(at(hour, minute)), want, "{hour}:{minute}");
        }
        let noon: QuietHours = "12:00-13:00".parse().unwrap();
        assert!(noon.contains(at(12, 0)) && !noon.contains(at(13, 0)));
        assert!(!noon.contains(at(23, 0)));
        assert_eq!(night.to_string(), "22:00-06:30");
    }

    #[test]
    fn a_wall_clock_shows_its_own_minute() {
        // 1970-01-02, 00:30 UTC.
        let unix_ms = (24 * 60 + 30) * 60_000 + 59_999;
        for (offset, want) in [
            (0, at(0, 30)),
            (60, at(1, 30)),
            (-60, at(23, 30)),
            (14 * 60, at(14, 30)),
            (-12 * 60, at(12, 30)),
        ] {
            assert_eq!(MinuteOfDay::at(unix_ms, offset), want, "{offset}");
        }
        assert!(MinuteOfDay::at(u64::MAX, i16::MAX).minute() < MINUTES_A_DAY);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "22:00",
            "22-06",
            "24:00-06:00",
            "22:60-06:00",
            "+2:00-06:00",
            "2:00-06:00",
            "22:00-06:00-07:00",
            "22:00-ab:cd",
        ] {
            assert_eq!(
                text.parse::<QuietHours>(),
                Err(QuietHoursError::Form),
                "{text:?}"
            );
        }
        assert_eq!(
            "07:00-07:00".parse::<QuietHours>(),
            Err(QuietHoursError::Empty)
        );
        assert_eq!(MinuteOfDay::new(MINUTES_A_DAY), None);
    }
}
