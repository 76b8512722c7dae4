//! Whether the wall clock goes on as time does: two clocks in, a jump out.
//!
//! Nothing is ordered by the wall clock, so a jump costs nothing; but people read the times that it gave. This room
//! has no clock, and must never judge which time is right: a machine without a clock of its own starts wrong.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;
use std::time::Duration;

/// By so much the clocks may part between two ticks: a clock that is corrected in small steps stays far below it.
const APART_MS_MAX: u64 = 60_000;

/// Both clocks, as they were at the last tick.
pub(super) struct ClockWatch {
    /// The one that never falls.
    now: Duration,
    unix_ms: u64,
}

/// The wall clock shows another time than what has passed makes of the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Jump {
    /// What it would show.
    pub(super) expected: UnixTime,
    /// What it shows.
    pub(super) shown: UnixTime,
}

impl ClockWatch {
    /// Begins with what both clocks show.
    pub(super) fn new(now: Duration, unix_ms: u64) -> Self {
        Self { now, unix_ms }
    }

    /// What both clocks show at the next tick. A jump is answered once: from then on the new time counts.
    pub(super) fn handle_tick(&mut self, now: Duration, unix_ms: u64) -> Option<Jump> {
        let passed = now.saturating_sub(self.now).as_millis();
        let passed_ms = u64::try_from(passed).unwrap_or(u64::MAX);
        let expected_ms = self.unix_ms.saturating_add(passed_ms);
        *self = Self::new(now, unix_ms);
        (expected_ms.abs_diff(unix_ms) > APART_MS_MAX).then_some(Jump {
            expected: UnixTime(expected_ms),
            shown: UnixTime(unix_ms),
        })
    }
}

/// Milliseconds since 1970, shown as people write a time, in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct UnixTime(u64);

impl fmt::Display for UnixTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000;
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        // A year begins in March here, so that a leap day is its last; 400 years have 146,097 days.
        let since_march_0 = days + 719_468;
        let (era, day) = (since_march_0 / 146_097, since_march_0 % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let of_year = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let (month, next) = match from_march {
            0..=9 => (from_march + 3, 0),
            _ => (from_march - 9, 1),
        };
        let year = era * 400 + year + next;
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(
            out,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-01, noon.
    const NOON_MS: u64 = 1_772_366_400_000;
    const YEAR_MS: u64 = 365 * 86_400_000;

    #[test]
    fn a_jump_is_seen_once_whichever_way_it_goes_and_nothing_else_is_one() {
        let seconds = Duration::from_secs;
        let mut watch = ClockWatch::new(seconds(100), NOON_MS);
        assert_eq!(watch.handle_tick(seconds(105), NOON_MS + 5_000), None);
        // A busy journal ticks late; both clocks have gone on.
        assert_eq!(watch.handle_tick(seconds(805), NOON_MS + 705_000), None);
        // A minute is no jump, whichever way.
        assert_eq!(watch.handle_tick(seconds(810), NOON_MS + 770_000), None);
        assert_eq!(watch.handle_tick(seconds(815), NOON_MS + 715_000), None);

        let later = NOON_MS + 720_000 + YEAR_MS;
        let jump = watch.handle_tick(seconds(820), later).unwrap();
        assert_eq!(jump.expected, UnixTime(NOON_MS + 720_000));
        assert_eq!(jump.shown, UnixTime(later));
        assert_eq!(watch.handle_tick(seconds(825), later + 5_000), None);
        let back = watch.handle_tick(seconds(830), NOON_MS + 730_000).unwrap();
        assert_eq!(back.expected, UnixTime(later + 10_000));
        // One that was lost altogether, and a machine that is told the time again.
        assert!(watch.handle_tick(seconds(835), 0).is_some());
        assert!(watch.handle_tick(seconds(840), NOON_MS).is_some());
    }

    #[test]
    fn times_are_written_as_people_do() {
        for (unix_s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (NOON_MS / 1_000, "2026-03-01T12:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(UnixTime(unix_s * 1_000).to_string(), text);
        }
        // Whatever a clock shows.
        assert!(UnixTime(u64::MAX).to_string().ends_with('Z'));
    }
}
