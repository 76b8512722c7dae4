//! How far a stream has come, so that another can go on behind it in one timeline.
//!
//! It is numbers alone, and must never know what is in the stream.

use std::num::NonZeroU32;

/// A stream that has come so far tells its end no more: beyond lies only what a camera with broken times made of it.
const TICKS_MAX: u64 = 1 << 62;

/// How far a stream has come. The default is the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    fragments: u32,
    ticks: u64,
    timescale: NonZeroU32,
}

impl Default for Position {
    fn default() -> Self {
        Self::new(0, 0, NonZeroU32::MIN)
    }
}

impl Position {
    /// Behind so many fragments, at `ticks` of which there are `timescale` in a second. What is absurdly late is the
    /// beginning.
    pub(super) fn new(fragments: u32, ticks: u64, timescale: NonZeroU32) -> Self {
        Self {
            fragments,
            ticks: if ticks > TICKS_MAX { 0 } else { ticks },
            timescale,
        }
    }

    pub(super) fn fragments(self) -> u32 {
        self.fragments
    }

    /// In ticks of a track that has so many a second: the first that is not before it.
    pub(super) fn ticks(self, timescale: NonZeroU32) -> u64 {
        let ticks = u128::from(self.ticks) * u128::from(timescale.get());
        u64::try_from(ticks.div_ceil(u128::from(self.timescale.get()))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tick_of_another_track_is_before_it() {
        let rate = |ticks| NonZeroU32::new(ticks).unwrap();
        // (ticks, their rate, another rate, ticks there)
        let table = [
            (0, 1, 90_000, 0),
            (90_000, 90_000, 8_000, 8_000),
            (90_001, 90_000, 8_000, 8_001),
            (7, 90_000, 90_000, 7),
            (TICKS_MAX, 1, 90_000, 0),
            (TICKS_MAX + 1, 90_000, 90_000, 0),
        ];
        for (ticks, own, other, want) in table {
            let found = Position::new(3, ticks, rate(own)).ticks(rate(other));
            assert_eq!(found, want, "{ticks} of {own}");
        }
    }
}
