//! Quiet hours: a part of every day in which no event begins.
//!
//! It must never know the time: the local minute of the day is an argument.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Minutes of a day.
pub const MINUTES_A_DAY: u16 = 24 * 60;

/// Seconds of a day.
const SECONDS_A_DAY: u64 = 60 * MINUTES_A_DAY as u64;

/// What the clock on the wall at the camera shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WallClock {
    /// So many minutes more than UTC, all year.
    Fixed(i16),
    /// The time of a zone, which has a summer time or not.
    Zone(TimeZone),
}

impl WallClock {
    /// How many seconds more than UTC it shows at `unix_ms` milliseconds since 1970.
    fn ahead_s(&self, unix_ms: u64) -> i64 {
        match self {
            Self::Fixed(minutes) => 60 * i64::from(*minutes),
            Self::Zone(zone) => {
                let at = i64::try_from(unix_ms).ok();
                let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
                // Beyond all calendars the last rule holds.
                let offset = zone.to_offset(at.unwrap_or(Timestamp::MAX));
                i64::from(offset.seconds())
            }
        }
    }
}

/// A minute of the day by the clock on the wall at the camera: 0 to 1439.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinuteOfDay(u16);

impl MinuteOfDay {
    /// `None` from [`MINUTES_A_DAY`] on.
    pub fn new(minute: u16) -> Option<Self> {
        (minute < MINUTES_A_DAY).then_some(Self(minute))
    }

    /// The minute that a wall clock shows `unix_ms` milliseconds since 1970.
    pub fn at(unix_ms: u64, clock: &WallClock) -> Self {
        // Of a day, so that every sum fits.
        let second = (unix_ms / 1000 % SECONDS_A_DAY) as i64;
        let local = (second + clock.ahead_s(unix_ms)).rem_euclid(SECONDS_A_DAY as i64);
        Self((local / 60) as u16)
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
            let clock = WallClock::Fixed(offset);
            assert_eq!(MinuteOfDay::at(unix_ms, &clock), want, "{offset}");
        }
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for clock in [WallClock::Fixed(i16::MAX), WallClock::Zone(berlin)] {
            assert!(MinuteOfDay::at(u64::MAX, &clock).minute() < MINUTES_A_DAY);
        }
    }

    /// Nights in which the clocks are changed, by one hour either way at 01:00 UTC.
    #[test]
    fn a_zones_quiet_hours_follow_its_summer_time() {
        let night: QuietHours = "22:00-06:30".parse().unwrap();
        let zone = WallClock::Zone(TimeZone::get("Europe/Berlin").unwrap());
        let winter = WallClock::Fixed(60);
        // When they begin and end, by UTC; the last second before, and the first of it.
        let (march_28, october_24) = (1_774_656_000, 1_792_800_000);
        let at = |midnight: u64, hour: u64, minute: u64| midnight + hour * 3_600 + minute * 60;
        let table = [
            (at(march_28, 21, 0), at(march_28, 24 + 4, 30)),
            (at(march_28, 24 + 20, 0), at(march_28, 48 + 4, 30)),
            (at(october_24, 20, 0), at(october_24, 24 + 5, 30)),
            (at(october_24, 24 + 21, 0), at(october_24, 48 + 5, 30)),
        ];
        for (begin_s, end_s) in table {
            for (at_s, want) in [
                (begin_s - 1, false),
                (begin_s, true),
                (end_s - 1, true),
                (end_s, false),
            ] {
                let minute = MinuteOfDay::at(at_s * 1000, &zone);
                assert_eq!(night.contains(minute), want, "{at_s} {minute}");
            }
        }
        // What jumps is the clock, and a fixed one does not.
        let change = at(march_28, 24 + 1, 0) * 1000;
        let shown = |unix_ms, clock: &WallClock| MinuteOfDay::at(unix_ms, clock).to_string();
        assert_eq!(shown(change - 1, &zone), "01:59");
        assert_eq!(shown(change, &zone), "03:00");
        assert_eq!(shown(change, &winter), "02:00");
        let change = at(october_24, 24 + 1, 0) * 1000;
        assert_eq!(shown(change - 1, &zone), "02:59");
        assert_eq!(shown(change, &zone), "02:00");
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
