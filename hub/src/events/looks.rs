//! How far apart the pictures are that are looked at, and what follows from it.
//!
//! Where every picture is decoded, one is looked at every 200 ms, and nothing follows. Where key frames alone are, seconds
//! may lie between two looks, and nobody knows what moved meanwhile: an event must not end before the next look could
//! show that it goes on, and what it is about may have begun right behind the last look that showed nothing. This room
//! must never change anything for a camera of which every picture is decoded.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::Duration;

use super::KEY_FRAME_WAIT;
use crate::detector::Mode;

/// Looks that are farther apart than this have a gap between them: the camera had one, or detection was off.
const APART_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Looks {
    mode: Mode,
    looks: Distance,
    /// Also while every picture is looked at, so that it is known when that ends.
    key_frames: Distance,
    /// When a picture was looked at last in which nothing moved.
    still: Option<Duration>,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::EveryPicture,
            looks: Distance::default(),
            key_frames: Distance::default(),
            still: None,
        }
    }

    /// Answers whether that is new.
    pub(super) fn handle_mode(&mut self, mode: Mode) -> bool {
        std::mem::replace(&mut self.mode, mode) != mode
    }

    /// Another stream: nothing is known of it but how it will be looked at.
    pub(super) fn restart(&mut self) {
        *self = Self {
            mode: self.mode,
            ..Self::new()
        };
    }

    pub(super) fn handle_key_frame(&mut self, now: Duration) {
        self.key_frames.note(now);
    }

    pub(super) fn handle_look(&mut self, is_still: bool, now: Duration) {
        self.looks.note(now);
        if is_still {
            self.still = Some(now);
        }
    }

    /// How far two looks are apart, as far as that is worth a thought.
    fn apart(&self) -> Duration {
        match self.mode {
            Mode::EveryPicture => Duration::ZERO,
            // A key frame that is too dear is left out, so looks may be farther apart than those. Of a stream that has
            // shown one key frame the next is waited for as a camera without any is.
            Mode::KeyFramesOnly => {
                let key_frames = self.key_frames.apart.unwrap_or(KEY_FRAME_WAIT);
                key_frames.max(self.looks.apart.unwrap_or(Duration::ZERO))
            }
        }
    }

    /// How long an event goes on behind the last motion: two looks without any, and the second may be late.
    pub(super) fn post_roll(&self, wanted: Duration) -> Duration {
        wanted.max(self.apart() * 5 / 2)
    }

    /// How far back the stream is to be held: motion may need two looks to be found.
    pub(super) fn reach(&self, pre_roll: Duration) -> Duration {
        pre_roll + self.apart() * 2
    }

    /// Since when something may have moved that a look at `now` shows.
    pub(super) fn moved_since(&self, now: Duration) -> Duration {
        match self.mode {
            Mode::EveryPicture => now,
            Mode::KeyFramesOnly => self.still.map_or(now, |still| still.min(now)),
        }
    }
}

/// The time between two of a kind.
#[derive(Debug, Default)]
struct Distance {
    last: Option<Duration>,
    apart: Option<Duration>,
}

impl Distance {
    /// A longer one counts at once, a shorter one little by little: many cameras have a key frame more where the scene
    /// changes, and the next is as far as ever.
    fn note(&mut self, now: Duration) {
        let Some(last) = self.last.replace(now) else {
            return;
        };
        let apart = now.saturating_sub(last).min(APART_MAX);
        let before = self.apart.unwrap_or(Duration::ZERO);
        self.apart = Some(apart.max(before * 3 / 4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_follows_where_every_picture_is_looked_at() {
        let mut looks = Looks::new();
        for at in [10, 20, 30] {
            looks.handle_key_frame(seconds(at));
            looks.handle_look(true, seconds(at));
        }
        assert_eq!(looks.post_roll(seconds(5)), seconds(5));
        assert_eq!(looks.reach(seconds(5)), seconds(5));
        assert_eq!(looks.moved_since(seconds(40)), seconds(40));
        assert!(looks.handle_mode(Mode::KeyFramesOnly));
        assert!(!looks.handle_mode(Mode::KeyFramesOnly));
        assert_eq!(looks.post_roll(seconds(5)), seconds(25));
        assert_eq!(looks.post_roll(seconds(60)), seconds(60));
        assert_eq!(looks.reach(seconds(5)), seconds(25));
        looks.handle_look(false, seconds(40));
        assert_eq!(looks.moved_since(seconds(40)), seconds(30));
    }

    #[test]
    fn a_key_frame_more_shortens_nothing_at_once_and_a_gap_is_no_distance() {
        let mut looks = Looks::new();
        assert!(looks.handle_mode(Mode::KeyFramesOnly));
        assert_eq!(looks.apart(), KEY_FRAME_WAIT, "nothing is known yet");
        for at in [0, 10, 11] {
            looks.handle_key_frame(seconds(at));
        }
        assert!(looks.post_roll(Duration::ZERO) > seconds(10));
        for at in 12..40 {
            looks.handle_key_frame(seconds(at));
        }
        assert_eq!(looks.apart(), seconds(1));
        looks.handle_look(true, seconds(40));
        looks.handle_look(true, seconds(4_000));
        assert_eq!(looks.apart(), APART_MAX);
        looks.restart();
        assert_eq!(looks.apart(), KEY_FRAME_WAIT);
        assert_eq!(looks.moved_since(seconds(50)), seconds(50));
    }
}
