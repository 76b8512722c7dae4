//! The sound of a clip: waits for the fragment that it goes with, and is placed on the pictures' time.
//!
//! It must never delay a picture, and never hold more than [`SOUND_UNITS_MAX`] pieces.
//!
//! A piece goes into the fragment that ends after it came. The newest stays behind for the next one,
//! because only its successor says how long it really lasts.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Position, SegmenterError};
use crate::camera::UNIT_SECONDS_MAX;
use crate::fmp4::{AudioEntry, Sample};
use crate::media::{AUDIO_UNIT_BYTES_MAX, AudioTrack, AudioUnit};

/// Most pieces of sound that wait for a picture: five seconds at 48 kHz. More than that, and the oldest go:
/// the pictures have stopped.
pub const SOUND_UNITS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Sound {
    track: Arc<AudioTrack>,
    ticks_max: u64,
    /// Pieces that are in no fragment yet.
    waiting: VecDeque<AudioUnit>,
    /// Time of the newest piece that was taken in.
    newest: Option<u64>,
    /// The time at which the clip begins; `None` before the first fragment.
    base: Option<u64>,
    /// The clip's time of that: zero, unless it goes on behind another.
    begins_at: u64,
    /// The pieces of the fragment being written, with their durations.
    leaving: Vec<(AudioUnit, u32)>,
}

impl Sound {
    /// The sound of a clip that begins at `position`.
    pub(super) fn behind(position: Position, track: Arc<AudioTrack>) -> Self {
        Self {
            begins_at: position.ticks(track.timescale),
            ticks_max: u64::from(track.timescale.get()) * u64::from(UNIT_SECONDS_MAX),
            track,
            waiting: VecDeque::new(),
            newest: None,
            base: None,
            leaving: Vec::new(),
        }
    }

    /// Takes in the next piece. After an error nothing has changed.
    pub(super) fn take(&mut self, unit: AudioUnit) -> Result<(), SegmenterError> {
        let bytes = unit.data.len();
        if bytes == 0 || bytes > AUDIO_UNIT_BYTES_MAX {
            return Err(SegmenterError::SoundBytes { bytes });
        }
        if let Some(newest) = self.newest {
            let Some(distance) = unit.pts.checked_sub(newest).filter(|ticks| *ticks > 0) else {
                return Err(SegmenterError::SoundTimeFell {
                    expected_min: newest.saturating_add(1),
                    found: unit.pts,
                });
            };
            if distance > self.ticks_max {
                return Err(SegmenterError::TooLong {
                    ticks: distance,
                    ticks_max: self.ticks_max,
                });
            }
        }
        self.newest = Some(unit.pts);
        if self.base.is_some_and(|base| unit.pts < base) {
            // It came late, from before the clip.
            return Ok(());
        }
        if self.waiting.len() == SOUND_UNITS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(unit);
        Ok(())
    }

    /// The clip begins with the picture that is shown at `at` ticks of a track of `timescale` ticks a
    /// second. Sound from before it is dropped, but for the piece that lasts into it.
    pub(super) fn begin(&mut self, at: u64, timescale: u32) -> AudioEntry<'_> {
        let ticks = u128::from(at) * u128::from(self.track.timescale.get()) / u128::from(timescale);
        let start = u64::try_from(ticks).unwrap_or(u64::MAX);
        while self
            .waiting
            .front()
            .is_some_and(|unit| unit.pts.saturating_add(u64::from(unit.duration)) <= start)
        {
            self.waiting.pop_front();
        }
        let base = self
            .waiting
            .front()
            .map_or(start, |unit| unit.pts.min(start));
        self.base = Some(base);
        AudioEntry {
            track: &self.track,
            // Less than one piece's duration, which is 32 bits.
            media_start: u32::try_from(start - base).unwrap_or(0),
        }
    }

    /// Gets the pieces ready that go into the fragment which ends now.
    pub(super) fn prepare(&mut self, newest: Newest) {
        let keep = match newest {
            Newest::Waits => 1,
            Newest::Leaves => 0,
        };
        self.leaving.clear();
        while self.waiting.len() > keep
            && let Some(unit) = self.waiting.pop_front()
        {
            let ticks = match self.waiting.front() {
                // `take` has seen that it is more than zero and not too much.
                Some(next) => (next.pts - unit.pts) as u32,
                None => unit.duration,
            };
            self.leaving.push((unit, ticks));
        }
    }

    /// What [`Self::prepare`] got ready, as samples, with the decode time of the first; `None` if that is
    /// nothing.
    pub(super) fn leaving(&self) -> Option<(u64, Vec<Sample<'_>>)> {
        let (first, _) = self.leaving.first()?;
        let samples = self
            .leaving
            .iter()
            .map(|(unit, duration)| Sample {
                data: &unit.data,
                duration: *duration,
                composition_offset: 0,
                is_sync: true,
            })
            .collect();
        let decode_time = self.begins_at.saturating_add(first.pts - self.base?);
        Some((decode_time, samples))
    }

    /// Where so many ticks of this track are.
    pub(super) fn position(&self, ticks: u64) -> Position {
        Position::new(0, ticks, self.track.timescale)
    }
}

/// What becomes of the newest piece of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newest {
    /// It waits for its successor.
    Waits,
    /// There will be none: it lasts as long as it says.
    Leaves,
}
