//! Access units of one event in, the bytes of one clip out: cuts the event into fragments of at
//! most 200 ms, has `fmp4` write them, and splits the byte stream into chunks for sealing. A live stream
//! is made in the same way, of fragments of at most 100 ms ([`Pace`]).
//!
//! It is pure, and one [`Segmenter`] is one clip. It must never hold a picture longer than its
//! fragment needs, never put bytes of two fragments into one chunk (a chunk can be sent the moment
//! it exists), and never change what the camera said about times.
//!
//! # Where a fragment ends
//!
//! With the picture that fills it, or the one after which another of the same duration would
//! go beyond: so a fragment is out as soon as it is full, and is longer than it may be only if it
//! holds a single picture that is. A pause between two pictures ends a fragment as well; and in a live stream
//! a key frame begins one, because whoever comes later begins there. Sound goes with the pictures among which
//! it came, and ends no fragment.

mod position;
mod sound;

use std::sync::Arc;

use bytes::Bytes;

use crate::camera::{AccessUnit, TIMESCALE_MAX, UNIT_BYTES_MAX, UNIT_SECONDS_MAX, VideoTrack};
use crate::fmp4::{self, Movie, Run, Sample};
use crate::media::{AUDIO_UNIT_BYTES_MAX, AudioUnit, MediaUnit, Tracks};
pub use position::Position;
pub use sound::SOUND_UNITS_MAX;
use sound::{Newest, Sound};

/// The longest fragment of a clip, in milliseconds of media time. The evidence leaves the house while the
/// event is still happening: what is in an unfinished fragment is what a cut wire costs.
pub const FRAGMENT_MS_MAX: u64 = 200;

/// The longest fragment of a live stream, in milliseconds of media time.
pub const LIVE_FRAGMENT_MS_MAX: u64 = 100;

/// What the fragments are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A clip: [`FRAGMENT_MS_MAX`].
    Clip,
    /// Somebody who watches now: [`LIVE_FRAGMENT_MS_MAX`].
    Live,
}

impl Pace {
    /// The longest fragment, in milliseconds of media time.
    pub fn fragment_ms_max(self) -> u64 {
        match self {
            Self::Clip => FRAGMENT_MS_MAX,
            Self::Live => LIVE_FRAGMENT_MS_MAX,
        }
    }
}

/// The most bytes of a clip in one chunk: what the journal seals as one message.
pub const CHUNK_BYTES_MAX: usize = journal::CHUNK_BYTES_MAX;

/// The most pictures in one fragment. Only a stream of pictures without duration reaches it.
pub const FRAGMENT_UNITS_MAX: usize = 256;

/// A fragment that has this many bytes ends, however short it is, so that what waits in memory
/// stays small.
pub const FRAGMENT_BYTES_SOFT_MAX: usize = 4 * 1024 * 1024;

const _: () = assert!(
    FRAGMENT_BYTES_SOFT_MAX + UNIT_BYTES_MAX + SOUND_UNITS_MAX * AUDIO_UNIT_BYTES_MAX
        <= fmp4::FRAGMENT_PAYLOAD_BYTES_MAX,
    "a fragment takes one more unit below its soft limit, and all sound that waits"
);
// The head of a fragment fits a chunk, so the first chunk always reaches the first picture.
const _: () = assert!(
    crate::camera::AVC_CONFIG_BYTES_MAX + 4096 + (FRAGMENT_UNITS_MAX + SOUND_UNITS_MAX) * 16
        < CHUNK_BYTES_MAX
);

/// The next bytes of a clip, and where they belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipChunk {
    /// Where in the clip the bytes begin. The chunks of a clip follow each other without gaps.
    pub clip_offset: u64,
    /// The bytes: 1 to [`CHUNK_BYTES_MAX`].
    pub data: Bytes,
    /// Which fragment of the clip they belong to, from 1. The initialisation segment is in front
    /// of the first and counts to it. A stream that goes on behind another goes on counting.
    pub fragment: u32,
    /// Whether the fragment begins with this chunk.
    pub is_first_of_fragment: bool,
    /// Whether it begins with a key frame as well: what follows can be decoded without what came before.
    pub begins_group: bool,
    /// Whether the fragment ends with this chunk: what came until here can be played.
    pub is_last_of_fragment: bool,
    /// When the newest picture of which this chunk has bytes was captured, in milliseconds since
    /// 1970 by the hub's clock.
    pub captured_unix_ms: u64,
}

/// Why an access unit was refused. Nothing of it is in the clip; what came before is good, and
/// [`Segmenter::finish`] ends the clip there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmenterError {
    /// The clip does not begin with a picture that can be decoded.
    #[error("the first picture of the event is not a key frame")]
    FirstUnitNotSync,
    /// The unit is empty or larger than [`UNIT_BYTES_MAX`].
    #[error("a picture of {bytes} bytes; 1 to {UNIT_BYTES_MAX} are supported")]
    UnitBytes {
        /// Its size.
        bytes: usize,
    },
    /// The unit's decode time lies before the end of the unit before it.
    #[error("a picture's decode time {found} is before {expected_min}")]
    DecodeTimeFell {
        /// The least it could be, in ticks.
        expected_min: u64,
        /// What it is, in ticks.
        found: u64,
    },
    /// A piece of sound is empty or larger than [`AUDIO_UNIT_BYTES_MAX`].
    #[error("a piece of sound of {bytes} bytes; 1 to {AUDIO_UNIT_BYTES_MAX} are supported")]
    SoundBytes {
        /// Its size.
        bytes: usize,
    },
    /// A piece of sound does not come after the one before it.
    #[error("a piece of sound at {found}, before {expected_min}")]
    SoundTimeFell {
        /// The least it could be, in ticks of the audio track.
        expected_min: u64,
        /// What it is, in ticks of the audio track.
        found: u64,
    },
    /// A duration or composition offset is beyond [`UNIT_SECONDS_MAX`].
    #[error("a picture's duration or offset of {ticks} ticks; at most {ticks_max} are supported")]
    TooLong {
        /// What it is, in ticks.
        ticks: u64,
        /// The limit, in ticks.
        ticks_max: u64,
    },
}

/// What the caller must do about a [`SegmenterError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmenterErrorKind {
    /// End the clip with [`Segmenter::finish`], mark it as cut off, count the camera's fault, and
    /// go on with its next event.
    Peer,
}

impl SegmenterError {
    /// What the caller must do.
    pub fn kind(&self) -> SegmenterErrorKind {
        SegmenterErrorKind::Peer
    }
}

/// Makes one clip of the access units of one event.
#[derive(Debug)]
pub struct Segmenter {
    track: Arc<VideoTrack>,
    pace: Pace,
    sound: Option<Sound>,
    /// Bytes of sound in the fragment being written.
    sound_bytes: usize,
    fragment_ticks_max: u64,
    ticks_max: u64,
    /// The camera's decode time at which the clip begins; `None` before the first unit.
    origin: Option<u64>,
    /// The clip's decode time of that: zero, unless it goes on behind another.
    begins_at: u64,
    /// The clip's time at which all that was handed out ends.
    told_until: u64,
    /// A unit whose duration shows when the next one comes.
    waiting: Option<AccessUnit>,
    /// The units of the fragment being filled, with their durations.
    open: Vec<(AccessUnit, u32)>,
    open_ticks: u64,
    open_bytes: usize,
    /// The camera's decode time at which the last placed unit ends.
    end: u64,
    last_duration: u32,
    fragments: u32,
    clip_bytes: u64,
}

impl Segmenter {
    /// A new clip without sound, with the codec parameters of its event.
    pub fn new(track: Arc<VideoTrack>) -> Self {
        Self::with_tracks(Tracks::silent(track), Pace::Clip)
    }

    /// A new clip or live stream with the codec parameters of all its tracks.
    pub fn with_tracks(tracks: Tracks, pace: Pace) -> Self {
        Self::behind(Position::default(), tracks, pace)
    }

    /// The same, and its times and fragments go on where another has ended: whoever has that one before it can play
    /// both as one.
    pub fn behind(position: Position, tracks: Tracks, pace: Pace) -> Self {
        let timescale = u64::from(tracks.video.timescale.get());
        debug_assert!(timescale <= u64::from(TIMESCALE_MAX));
        let begins_at = position.ticks(tracks.video.timescale);
        Self {
            pace,
            fragment_ticks_max: timescale * pace.fragment_ms_max() / 1000,
            ticks_max: timescale * u64::from(UNIT_SECONDS_MAX),
            track: tracks.video,
            sound: tracks.audio.map(|track| Sound::behind(position, track)),
            sound_bytes: 0,
            origin: None,
            begins_at,
            told_until: begins_at,
            waiting: None,
            open: Vec::new(),
            open_ticks: 0,
            open_bytes: 0,
            end: 0,
            last_duration: 0,
            fragments: position.fragments(),
            clip_bytes: 0,
        }
    }

    /// Where another can go on: behind all pictures and all sound that were handed out.
    pub fn position(&self) -> Position {
        Position::new(self.fragments, self.told_until, self.track.timescale)
    }

    /// Bytes of the clip handed out so far.
    pub fn clip_bytes(&self) -> u64 {
        self.clip_bytes
    }

    /// Takes the next piece of the stream, as [`Self::handle_unit`] or [`Self::handle_sound`].
    pub fn handle_media(&mut self, unit: MediaUnit) -> Result<Vec<ClipChunk>, SegmenterError> {
        match unit {
            MediaUnit::Video(unit) => self.handle_unit(unit),
            MediaUnit::Audio(unit) => self.handle_sound(unit).map(|()| Vec::new()),
        }
    }

    /// Takes the next piece of sound; in a clip without sound it is nothing.
    ///
    /// After an error the piece is refused and nothing else has changed. Who would rather miss a piece of
    /// sound than end the clip goes on.
    pub fn handle_sound(&mut self, unit: AudioUnit) -> Result<(), SegmenterError> {
        match &mut self.sound {
            Some(sound) => sound.take(unit),
            None => Ok(()),
        }
    }

    /// Takes the next unit; answers the chunks that are ready: those of no, one or two fragments,
    /// seldom three.
    ///
    /// After an error the unit is refused and nothing else has changed.
    pub fn handle_unit(&mut self, unit: AccessUnit) -> Result<Vec<ClipChunk>, SegmenterError> {
        self.check(&unit)?;
        if self.origin.is_none() {
            self.origin = Some(unit.dts);
            self.end = unit.dts;
        }
        let mut chunks = Vec::new();
        if let Some(waiting) = self.waiting.take() {
            // `check` has seen that the distance is neither negative nor too long.
            let duration = (unit.dts - waiting.dts) as u32;
            self.place(waiting, duration, &mut chunks);
        }
        match unit.duration {
            Some(duration) => self.place(unit, duration, &mut chunks),
            None => self.waiting = Some(unit),
        }
        Ok(chunks)
    }

    /// Ends the clip; answers its last chunks, none if the event had no pictures.
    ///
    /// A last unit of unknown duration is given that of the one before it. Sound that came after the last
    /// picture is not in the clip, if the fragment of that is out.
    pub fn finish(mut self) -> Vec<ClipChunk> {
        let mut chunks = Vec::new();
        if let Some(waiting) = self.waiting.take() {
            let duration = self.last_duration;
            self.place(waiting, duration, &mut chunks);
        }
        self.close_fragment(Newest::Leaves, &mut chunks);
        chunks
    }

    /// All that can be wrong with a unit, before anything is changed.
    fn check(&self, unit: &AccessUnit) -> Result<(), SegmenterError> {
        let bytes = unit.data.len();
        if bytes == 0 || bytes > UNIT_BYTES_MAX {
            return Err(SegmenterError::UnitBytes { bytes });
        }
        if self.origin.is_none() && !unit.is_sync {
            return Err(SegmenterError::FirstUnitNotSync);
        }
        let expected_min = match &self.waiting {
            Some(waiting) => waiting.dts,
            None => self.end,
        };
        let Some(distance) = unit.dts.checked_sub(expected_min) else {
            return Err(SegmenterError::DecodeTimeFell {
                expected_min,
                found: unit.dts,
            });
        };
        if self.waiting.is_some() {
            self.check_ticks(distance)?;
        }
        self.check_ticks(u64::from(unit.duration.unwrap_or(0)))?;
        self.check_ticks(u64::from(unit.composition_offset.unsigned_abs()))
    }

    fn check_ticks(&self, ticks: u64) -> Result<(), SegmenterError> {
        if ticks > self.ticks_max {
            return Err(SegmenterError::TooLong {
                ticks,
                ticks_max: self.ticks_max,
            });
        }
        Ok(())
    }

    /// Puts a unit whose duration is known into the open fragment, and closes what is full.
    fn place(&mut self, unit: AccessUnit, duration: u32, chunks: &mut Vec<ClipChunk>) {
        let ticks = u64::from(duration);
        if unit.dts > self.end
            || self.open_ticks + ticks > self.fragment_ticks_max
            || self.pace == Pace::Live && unit.is_sync
        {
            self.close_fragment(Newest::Waits, chunks);
        }
        // Beyond 64 bits no later unit is accepted, which is soon enough.
        self.end = unit.dts.saturating_add(ticks);
        self.last_duration = duration;
        self.open_ticks += ticks;
        self.open_bytes += unit.data.len();
        self.open.push((unit, duration));
        if self.open_ticks >= self.fragment_ticks_max
            || self.open_ticks + ticks > self.fragment_ticks_max
            || self.open_bytes >= FRAGMENT_BYTES_SOFT_MAX
            || self.open.len() >= FRAGMENT_UNITS_MAX
        {
            self.close_fragment(Newest::Waits, chunks);
        }
    }

    fn close_fragment(&mut self, newest: Newest, chunks: &mut Vec<ClipChunk>) {
        let (Some((first, _)), Some(origin)) = (self.open.first(), self.origin) else {
            return;
        };
        self.fragments = self.fragments.wrapping_add(1);
        let mut bytes = Vec::new();
        if self.clip_bytes == 0 {
            let shown_at = u64::try_from(first.pts()).unwrap_or(0);
            let timescale = self.track.timescale.get();
            bytes = fmp4::movie_segment(&Movie {
                video: (&*self.track).into(),
                // A first picture shown before it is decoded has no place in an edit list; it is as
                // early as can be.
                presentation_start: u32::try_from(first.composition_offset).unwrap_or(0),
                audio: self
                    .sound
                    .as_mut()
                    .map(|sound| sound.begin(shown_at, timescale)),
            });
        }
        if let Some(sound) = &mut self.sound {
            sound.prepare(newest);
        }
        let pictures: Vec<Sample<'_>> = self
            .open
            .iter()
            .map(|(unit, duration)| Sample {
                data: &unit.data,
                duration: *duration,
                composition_offset: unit.composition_offset,
                is_sync: unit.is_sync,
            })
            .collect();
        let decode_time = self.begins_at.saturating_add(first.dts - origin);
        let mut told_until = decode_time.saturating_add(self.open_ticks);
        let mut runs = vec![Run {
            track_id: fmp4::TRACK_ID,
            decode_time,
            samples: &pictures,
        }];
        let heard = self.sound.as_ref().and_then(Sound::leaving);
        self.sound_bytes = 0;
        if let (Some((decode_time, samples)), Some(sound)) = (&heard, &self.sound) {
            self.sound_bytes = samples.iter().map(|sample| sample.data.len()).sum();
            let ticks: u64 = samples.iter().map(|s| u64::from(s.duration)).sum();
            let heard_until = sound.position(decode_time.saturating_add(ticks));
            told_until = told_until.max(heard_until.ticks(self.track.timescale));
            runs.push(Run {
                track_id: fmp4::AUDIO_TRACK_ID,
                decode_time: *decode_time,
                samples,
            });
        }
        bytes.extend(fmp4::fragment_of(self.fragments, &runs));
        self.told_until = self.told_until.max(told_until);
        self.split(Bytes::from(bytes), chunks);
        self.open.clear();
        self.open_ticks = 0;
        self.open_bytes = 0;
    }

    /// Splits the bytes of the open fragment into chunks.
    fn split(&mut self, mut rest: Bytes, chunks: &mut Vec<ClipChunk>) {
        // The pictures are near the end of the fragment, in order; behind them is only sound.
        let mut next_picture_at = rest.len() - self.open_bytes - self.sound_bytes;
        let is_key = self.open.first().is_some_and(|(unit, _)| unit.is_sync);
        let mut pictures = self.open.iter();
        let mut captured_unix_ms = 0;
        let mut done = 0;
        while !rest.is_empty() {
            let data = rest.split_to(rest.len().min(CHUNK_BYTES_MAX));
            let end = done + data.len();
            while next_picture_at < end
                && let Some((unit, _)) = pictures.next()
            {
                captured_unix_ms = unit.captured_unix_ms;
                next_picture_at += unit.data.len();
            }
            chunks.push(ClipChunk {
                clip_offset: self.clip_bytes,
                fragment: self.fragments,
                is_first_of_fragment: done == 0,
                begins_group: done == 0 && is_key,
                is_last_of_fragment: rest.is_empty(),
                captured_unix_ms,
                data,
            });
            self.clip_bytes += (end - done) as u64;
            done = end;
        }
    }
}

#[cfg(test)]
mod tests;
