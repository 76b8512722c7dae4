//! A camera that plays an H.264 MP4 file in real time: for demos, tests, and hubs without hardware.
//! Each pass through the file is one event; then there is a gap, then the next pass. The times of the
//! pictures go on rising over passes and gaps, so that whoever watches live has one stream.
//!
//! It must never hold more than one picture in memory, never hand one out before its time, and
//! never panic on what is in the file. Audio is ignored for now, and so are edit lists and
//! rotation.
//!
//! The tables are read once, when the file is opened. Who changes the file after that gets
//! damaged pictures or, if it became shorter, [`CameraEvent::Trouble`].

use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::demux::{ByteSource, Clip, ClipError, SampleEntry};
use super::{
    AccessUnit, Camera, CameraError, CameraEvent, Clock, EventEnd, EventKind, EventStart,
    NextEvent, NextItem, Source, SourceItem, VideoTrack,
};
use crate::media::Tracks;

/// How often the file is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Until the camera is dropped.
    Endless,
    /// This many times, then the source is over.
    Exactly(NonZeroU32),
}

/// What to play, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCameraConfig {
    /// The MP4 file.
    pub path: PathBuf,
    /// The pause between the end of a pass and the start of the next.
    pub gap: Duration,
    /// A pass that would be shorter plays the file again within its event, whole, until it has lasted
    /// so long at speed 1.
    pub at_least: Duration,
    /// A pass ends, complete, when it has lasted so long at speed 1; `None`: with the file.
    pub at_most: Option<Duration>,
    /// How often the file is played.
    pub passes: Passes,
    /// How many times faster than real time; 1 but for tests. The gap is not shortened.
    pub speed: NonZeroU32,
}

impl FileCameraConfig {
    /// Plays a file endlessly, in real time, with ten seconds between two passes.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            gap: Duration::from_secs(10),
            at_least: Duration::ZERO,
            at_most: None,
            passes: Passes::Endless,
            speed: NonZeroU32::MIN,
        }
    }
}

/// What a clip is, for `doctor` and `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipFacts {
    /// How long one pass lasts at speed 1.
    pub duration: Duration,
    /// How many pictures it has.
    pub pictures: usize,
    /// How many bytes all pictures have together.
    pub picture_bytes: u64,
}

/// A [`Camera`] that plays an MP4 file.
#[derive(Debug)]
pub struct FileCamera<C> {
    clock: C,
    config: FileCameraConfig,
    file: Arc<File>,
    track: Arc<VideoTrack>,
    samples: Vec<SampleEntry>,
    duration: Duration,
    state: State,
    passes_done: u32,
    /// Time of the clock at which decode time is zero.
    origin: Duration,
    /// Where the last picture ended, in ticks since the origin.
    end: u64,
}

/// Where in its order of events the camera is. It changes only between two awaits, which makes
/// [`Camera::next_event`] cancel safe.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Before a pass, which starts not before this time of the clock.
    Waiting(Duration),
    Playing(Pass),
    /// Trouble was reported inside an event; its end is still owed.
    CutOff,
    Over,
}

/// A pass under way.
#[derive(Debug, Clone, Copy)]
struct Pass {
    /// Time of the clock, and of the wall, at which it started.
    started: Duration,
    started_unix_ms: u64,
    /// The next sample, and its decode time in ticks since the pass started.
    next: usize,
    dts: u64,
    /// The decode time at which the pass started.
    offset: u64,
}

impl<C: Clock> FileCamera<C> {
    /// Opens a file and reads its tables. Blocking: at most some MiB are read.
    ///
    /// # Errors
    ///
    /// [`CameraError::Clip`]: the file cannot be read or is not an MP4 file with an H.264 track
    /// within the limits of [`super::demux`].
    pub fn open(config: FileCameraConfig, clock: C) -> Result<Self, CameraError> {
        let (file, clip) =
            open_clip(&config.path).map_err(|source| clip_error(&config.path, source))?;
        let duration = media_time(clip.duration_ticks(), clip.track.timescale);
        let now = clock.now();
        Ok(Self {
            clock,
            config,
            file: Arc::new(file),
            track: Arc::new(clip.track),
            samples: clip.samples,
            duration,
            state: State::Waiting(now),
            passes_done: 0,
            origin: now,
            end: 0,
        })
    }

    /// The codec parameters of every event of this camera.
    pub fn track(&self) -> &Arc<VideoTrack> {
        &self.track
    }

    /// What is played, and how.
    pub fn config(&self) -> &FileCameraConfig {
        &self.config
    }

    /// What the clip is.
    pub fn facts(&self) -> ClipFacts {
        ClipFacts {
            duration: self.duration,
            pictures: self.samples.len(),
            picture_bytes: self.samples.iter().map(|s| u64::from(s.bytes)).sum(),
        }
    }

    /// How often the file is still to be played, a pass that was cut off not counted; `None` if no
    /// pass is left.
    pub fn passes_left(&self) -> Option<Passes> {
        match self.config.passes {
            Passes::Endless => Some(Passes::Endless),
            Passes::Exactly(passes) => {
                let left = passes.get().saturating_sub(self.passes_done);
                NonZeroU32::new(left).map(Passes::Exactly)
            }
        }
    }

    async fn next(&mut self) -> Option<CameraEvent> {
        match self.state {
            State::Waiting(at) => {
                self.clock.sleep_until(at).await;
                Some(self.start_pass())
            }
            State::Playing(pass) => Some(self.play(pass).await),
            State::CutOff => {
                self.state = State::Over;
                Some(CameraEvent::EventEnded(EventEnd::CutOff))
            }
            State::Over => None,
        }
    }

    fn start_pass(&mut self) -> CameraEvent {
        // Now, not when it was due: a reader that was busy is not given a burst to catch up with.
        let started_unix_ms = self.clock.unix_ms();
        let started = self.clock.now();
        // The gap between two passes has passed for the pictures, too.
        let since = started.saturating_sub(self.origin);
        self.state = State::Playing(Pass {
            started,
            started_unix_ms,
            next: 0,
            dts: 0,
            offset: media_ticks(since, self.track.timescale).max(self.end),
        });
        CameraEvent::EventStarted(EventStart {
            tracks: Tracks::silent(Arc::clone(&self.track)),
            kind: EventKind::Plain,
            started_unix_ms,
        })
    }

    async fn play(&mut self, pass: Pass) -> CameraEvent {
        let played = media_time(pass.dts, self.track.timescale);
        let after_start = played / self.config.speed.get();
        self.clock.sleep_until(pass.started + after_start).await;
        let (next, sample) = match self.samples.get(pass.next) {
            _ if self.config.at_most.is_some_and(|most| played >= most) => (0, None),
            Some(sample) => (pass.next, Some(*sample)),
            // Again from the first picture, which can be decoded. Of a file without any duration
            // once is all there is.
            None if played < self.config.at_least && pass.dts > 0 => {
                (0, self.samples.first().copied())
            }
            None => (0, None),
        };
        let Some(sample) = sample else {
            self.end_pass();
            return CameraEvent::EventEnded(EventEnd::Completed);
        };
        let data = match read_sample(Arc::clone(&self.file), sample).await {
            Ok(data) => data,
            Err(source) => {
                self.state = State::CutOff;
                return CameraEvent::Trouble(clip_error(&self.config.path, source));
            }
        };
        let dts = pass.offset.saturating_add(pass.dts);
        self.end = dts.saturating_add(u64::from(sample.duration));
        self.state = State::Playing(Pass {
            next: next + 1,
            dts: pass.dts + u64::from(sample.duration),
            ..pass
        });
        // When it was due, by the wall clock of the start: a reader that was busy sees how late it
        // is, and a wall clock that is set meanwhile does not tear the event.
        let captured_unix_ms = pass
            .started_unix_ms
            .saturating_add(u64::try_from(after_start.as_millis()).unwrap_or(u64::MAX));
        CameraEvent::AccessUnit(AccessUnit {
            data,
            dts,
            composition_offset: sample.composition_offset,
            duration: Some(sample.duration),
            is_sync: sample.is_sync,
            captured_unix_ms,
        })
    }

    fn end_pass(&mut self) {
        self.passes_done = self.passes_done.saturating_add(1);
        self.state = match self.config.passes {
            Passes::Exactly(passes) if self.passes_done >= passes.get() => State::Over,
            _ => State::Waiting(self.clock.now().saturating_add(self.config.gap)),
        };
    }
}

impl<C: Clock> Camera for FileCamera<C> {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(self.next())
    }
}

/// A [`Source`] that plays an MP4 file: its passes follow each other as one stream.
#[derive(Debug)]
pub struct FileSource<C> {
    camera: FileCamera<C>,
    /// Whether the format was said; it is that of all passes.
    has_said_format: bool,
}

impl<C: Clock + 'static> FileSource<C> {
    /// Opens a file and reads its tables, on the blocking pool.
    ///
    /// # Errors
    /// As [`FileCamera::open`].
    pub async fn open(config: FileCameraConfig, clock: C) -> Result<Self, CameraError> {
        let path = config.path.clone();
        let opening = tokio::task::spawn_blocking(move || FileCamera::open(config, clock));
        let camera = match opening.await {
            Ok(opened) => opened?,
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            // The runtime is shutting down.
            Err(_) => {
                let kind = std::io::ErrorKind::Interrupted;
                return Err(clip_error(&path, ClipError::Unreadable { kind }));
            }
        };
        Ok(Self {
            camera,
            has_said_format: false,
        })
    }

    async fn next(&mut self) -> Result<Option<SourceItem>, CameraError> {
        loop {
            match self.camera.next().await {
                None => return Ok(None),
                Some(CameraEvent::EventStarted(start)) => {
                    if !std::mem::replace(&mut self.has_said_format, true) {
                        return Ok(Some(SourceItem::Format(start.tracks)));
                    }
                }
                Some(CameraEvent::AccessUnit(unit)) => return Ok(Some(SourceItem::Video(unit))),
                Some(CameraEvent::Trouble(error)) => return Err(error),
                Some(CameraEvent::EventEnded(EventEnd::CutOff)) => return Ok(None),
                // A file has neither sound nor thumbnails.
                Some(
                    CameraEvent::EventEnded(EventEnd::Completed)
                    | CameraEvent::Sound(_)
                    | CameraEvent::Thumbnail(_)
                    | CameraEvent::Person(_),
                ) => {}
            }
        }
    }
}

impl<C: Clock + 'static> Source for FileSource<C> {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(self.next())
    }
}

fn clip_error(path: &Path, source: ClipError) -> CameraError {
    CameraError::Clip {
        path: path.display().to_string(),
        source,
    }
}

fn open_clip(path: &Path) -> Result<(File, Clip), ClipError> {
    // Asked before opening, because opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(ClipError::unreadable)?;
    if !metadata.is_file() {
        return Err(ClipError::NotAFile);
    }
    let file = File::open(path).map_err(ClipError::unreadable)?;
    let clip = Clip::read(&file)?;
    Ok((file, clip))
}

/// Reads one sample on the blocking pool: the file may lie on a slow disk.
async fn read_sample(file: Arc<File>, sample: SampleEntry) -> Result<Bytes, ClipError> {
    let read = tokio::task::spawn_blocking(move || {
        // `Clip` has checked the size against a limit and the file.
        let mut data = vec![0; sample.bytes as usize];
        ByteSource::read_exact_at(&*file, &mut data, sample.offset)
            .map_err(ClipError::unreadable)?;
        Ok(Bytes::from(data))
    });
    match read.await {
        Ok(result) => result,
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        // The runtime is shutting down.
        Err(_) => Err(ClipError::Unreadable {
            kind: std::io::ErrorKind::Interrupted,
        }),
    }
}

/// Ticks as a duration, rounded down to a nanosecond.
fn media_time(ticks: u64, timescale: NonZeroU32) -> Duration {
    let timescale = u64::from(timescale.get());
    // A remainder below 2^32 times 10^9 fits 64 bits.
    let nanos = (ticks % timescale) * 1_000_000_000 / timescale;
    Duration::from_secs(ticks / timescale) + Duration::from_nanos(nanos)
}

/// A duration as ticks, rounded down.
pub(super) fn media_ticks(duration: Duration, timescale: NonZeroU32) -> u64 {
    let timescale = u128::from(timescale.get());
    let ticks = duration.as_nanos() * timescale / 1_000_000_000;
    // 64 bits of ticks are 58,000 years at TIMESCALE_MAX.
    u64::try_from(ticks).unwrap_or(u64::MAX)
}
