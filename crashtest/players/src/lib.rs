//! What people play our clips with, as judges of them: FFmpeg, the reader `re_mp4`, and Chromium through its Media Source
//! Extensions.
//!
//! ```text
//! read     re_mp4     every box and sample; times that go on; how long it lasts
//! decode   FFmpeg     every picture and all sound, without one word of complaint
//! play     Chromium   appended fragment by fragment, played to its end in real time, no picture dropped
//! ```
//!
//! A test says what a [`Film`] should be, from what went into it ([`Want`]), and each judge compares that with what it
//! finds. This crate is for tests alone. It knows none of our code, and must never take from a film itself how long that
//! should last, nor pass what it did not look at: a test asks first whether the judge [is here](Player::is_here), which says
//! so if not.
#![forbid(unsafe_code)]

mod browser;
mod ffmpeg;
mod presence;
mod read;
mod site;

use std::time::Duration;

pub use browser::play;
pub use ffmpeg::decode;
pub use presence::{Player, here_or_said};
pub use read::{Seen, Stretch, longest_stretch, read};

/// The longest piece of sound that our clips have: 1,024 samples at 8 kHz.
const SOUND_PIECE: Duration = Duration::from_millis(128);
/// What two programs may differ by because they count in microseconds or in ticks.
const ROUNDING: Duration = Duration::from_millis(1);

/// A clip or a stream, and what it should be.
#[derive(Clone, Debug)]
pub struct Film {
    /// For people.
    pub name: String,
    /// Fragmented MP4: an initialisation segment, and fragments.
    pub bytes: Vec<u8>,
    /// What a browser is told: MIME type with codecs.
    pub mime: String,
    /// What it should be.
    pub want: Want,
}

/// What went into a film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// How many pictures.
    pub pictures: usize,
    /// From the first picture to the end of the last.
    pub lasts: Duration,
    /// How long the longest picture is shown: no judge may find the film to be longer or shorter by more.
    pub picture: Duration,
    /// How long the sound lasts, if there is any.
    pub sound: Option<Duration>,
}

/// Why a film is refused.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A judge complains about it.
    #[error("{judge} refuses {film}: {said}")]
    Refused {
        /// Who.
        judge: &'static str,
        /// About what.
        film: String,
        /// In its own words, or what it has found.
        said: String,
    },
    /// The judge could not be run.
    #[error("{judge} cannot be run: {said}")]
    Machine {
        /// Who.
        judge: &'static str,
        /// What happened.
        said: String,
    },
}

impl Fault {
    fn refused(judge: &'static str, film: &Film, said: impl Into<String>) -> Self {
        Self::Refused {
            judge,
            film: film.name.clone(),
            said: said.into(),
        }
    }

    fn machine(judge: &'static str, error: impl ToString) -> Self {
        Self::Machine {
            judge,
            said: error.to_string(),
        }
    }
}

impl Want {
    /// What is wrong with so many pictures over such a time, and such sound; nothing if it is as it should be.
    fn differs(&self, pictures: usize, lasts: Duration, sound: Option<Duration>) -> Option<String> {
        let is_near =
            |found: Duration, want: Duration, by: Duration| found.abs_diff(want) <= by + ROUNDING;
        let is_heard = match (sound, self.sound) {
            (Some(found), Some(want)) => is_near(found, want, SOUND_PIECE),
            (found, want) => found == want,
        };
        let is_good =
            pictures == self.pictures && is_near(lasts, self.lasts, self.picture) && is_heard;
        (!is_good).then(|| {
            format!("{pictures} pictures, {lasts:?}, sound {sound:?}; it should be {self:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_may_be_longer_or_shorter_by_one_picture_and_no_more() {
        let ms = Duration::from_millis;
        let want = Want {
            pictures: 20,
            lasts: ms(2_000),
            picture: ms(100),
            sound: Some(ms(1_900)),
        };
        // (pictures, milliseconds, of sound, whether that is good)
        let table = [
            (20, 2_000, Some(1_900), true),
            (20, 2_100, Some(2_000), true),
            (20, 1_900, Some(1_800), true),
            (20, 2_103, Some(1_900), false),
            (20, 1_897, Some(1_900), false),
            (19, 2_000, Some(1_900), false),
            (21, 2_000, Some(1_900), false),
            (20, 2_000, Some(1_500), false),
            (20, 2_000, None, false),
        ];
        for (pictures, lasts, sound, is_good) in table {
            let differs = want.differs(pictures, ms(lasts), sound.map(ms));
            assert_eq!(differs.is_none(), is_good, "{differs:?}");
        }
        let silent = Want {
            sound: None,
            ..want
        };
        assert!(silent.differs(20, ms(2_000), Some(ms(1))).is_some());
    }
}
