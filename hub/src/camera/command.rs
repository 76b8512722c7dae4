//! A camera that is a program: whatever writes H.264 with start codes (Annex B) to its standard
//! output, such as `rpicam-vid` on a Raspberry Pi, or `ffmpeg` for a USB camera.
//!
//! Such a stream has no times: a picture's time is the moment at which it was whole. B-frames would
//! be shown in the wrong order, so the program must not make any. This room must never start a shell,
//! never leave the program running when the source is dropped, nor what it has started, never let it see our input,
//! and never show what it says: many a program begins with its address, password included.

use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, decode_nal};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdout, Command};
use wal::service::{NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC};

use super::annex_b::{NalSplitter, Picture, PictureBuilder};
use super::file::media_ticks;
use super::patience::{Came, Patience};
use super::source::{NextItem, Source, SourceItem};
use super::{AccessUnit, AvcConfig, CameraError, Clock, VideoCodec, VideoTrack};
use crate::media::Tracks;

/// Ticks a second of a stream that has no times of its own: those of RTP.
pub(super) const TIMESCALE: NonZeroU32 = match NonZeroU32::new(90_000) {
    Some(ticks) => ticks,
    None => NonZeroU32::MIN,
};
/// The most bytes that are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// A program, and how to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandConfig {
    /// Its path, or its name if it is found in `PATH`.
    pub program: PathBuf,
    /// Its arguments, one by one: no shell looks at them.
    pub arguments: Vec<String>,
    /// How long no picture may come before the program is started again; for a key frame it has
    /// [`super::KEY_FRAMES_APART_MAX`] at least.
    pub stall: Duration,
}

/// The program and whatever it has started and not put elsewhere. They are killed when this is dropped.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// Of a program that was made by [`program`].
    pub(crate) fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Once: later its number may be another's.
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // Nobody may be left of it.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that is told nothing of this hub, in a group of its own; what it says on standard output is for us.
pub(crate) fn program(path: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(path);
    command
        .args(arguments)
        // Other cameras' passwords are no business of it.
        .env_remove("CREDENTIALS_DIRECTORY")
        // Nor is whether this hub is ready or alive.
        .env_remove(NOTIFY_SOCKET)
        .env_remove(WATCHDOG_USEC)
        .env_remove(WATCHDOG_PID)
        .stdout(Stdio::piped())
        // It may hold a password, and may be without end.
        .stderr(Stdio::null())
        // What it starts is in it as well, and ends with it.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// A [`Source`] that reads a program's standard output. The program, and what it has started, is killed when it is
/// dropped.
pub struct CommandSource<C> {
    clock: C,
    program: String,
    /// Before the child: its number is its own for as long as nobody has asked how it ended.
    group: Group,
    child: Child,
    stdout: ChildStdout,
    buffer: BytesMut,
    reader: Reader,
    /// For how long the next picture, and the next key frame, are waited for.
    patience: Patience,
    ready: VecDeque<SourceItem>,
    is_over: bool,
}

impl<C: Clock> CommandSource<C> {
    /// Starts the program.
    ///
    /// # Errors
    /// [`CameraError::NotStarted`].
    pub fn open(config: &CommandConfig, clock: C) -> Result<Self, CameraError> {
        let program = config.program.display().to_string();
        let started = self::program(&config.program, &config.arguments)
            .stdin(Stdio::null())
            .spawn();
        let not_started = |reason: String| CameraError::NotStarted {
            program: program.clone(),
            reason,
        };
        let mut child = started.map_err(|error| not_started(error.to_string()))?;
        let group = Group::of(&child);
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| not_started("it has no standard output".into()))?;
        let now = clock.now();
        Ok(Self {
            clock,
            reader: Reader::new(program.clone(), now),
            patience: Patience::new(program.clone(), config.stall, now),
            program,
            group,
            child,
            stdout,
            buffer: BytesMut::with_capacity(READ_BYTES),
            ready: VecDeque::new(),
            is_over: false,
        })
    }

    async fn next(&mut self) -> Result<Option<SourceItem>, CameraError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.is_over {
                return Ok(None);
            }
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                read = self.stdout.read_buf(&mut self.buffer) => read,
                () = self.clock.sleep_until(self.patience.ends_at()) => {
                    self.is_over = true;
                    return Err(self.patience.stalled());
                }
            };
            let (now, unix_ms) = (self.clock.now(), self.clock.unix_ms());
            if !matches!(read, Ok(bytes) if bytes > 0) {
                self.is_over = true;
                return Err(self.ended());
            }
            match self.handle_bytes(now, unix_ms) {
                Ok(items) => self.ready.extend(items),
                Err(error) => {
                    self.is_over = true;
                    return Err(error);
                }
            }
        }
    }

    /// What was read becomes items, if pictures come as they must.
    fn handle_bytes(
        &mut self,
        now: Duration,
        unix_ms: u64,
    ) -> Result<Vec<SourceItem>, CameraError> {
        let items = self.reader.handle_bytes(&self.buffer, now, unix_ms)?;
        if let Some(came) = Came::of(&items, self.reader.has_left_out) {
            self.patience.handle_pictures(came, now)?;
        }
        Ok(items)
    }

    /// The program has closed its output: it has ended, or it is killed when we are dropped.
    fn ended(&mut self) -> CameraError {
        let status = match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "it has closed its standard output".to_owned(),
        };
        self.group.kill();
        CameraError::Ended {
            program: self.program.clone(),
            status,
        }
    }
}

impl<C: Clock> Source for CommandSource<C> {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(self.next())
    }
}

/// From bytes to items; pure. Public for fuzz targets.
pub struct Reader {
    program: String,
    origin: Duration,
    splitter: NalSplitter,
    builder: PictureBuilder,
    parameters: Parameters,
    last_dts: u64,
    /// Among the last bytes was a picture that was not handed out, because it waits for a key frame.
    has_left_out: bool,
}

impl Reader {
    /// A reader that has seen nothing of this program's stream, which began at `origin` of the clock.
    pub fn new(program: String, origin: Duration) -> Self {
        Self {
            program,
            origin,
            splitter: NalSplitter::default(),
            builder: PictureBuilder::default(),
            parameters: Parameters::default(),
            last_dts: 0,
            has_left_out: false,
        }
    }

    /// Takes the next bytes of the stream, read at `now` of the same clock and `unix_ms` milliseconds since 1970; answers
    /// the items that are whole now.
    ///
    /// # Errors
    /// [`CameraError::Output`] or [`CameraError::Avc`]; the stream cannot be used any further.
    pub fn handle_bytes(
        &mut self,
        bytes: &[u8],
        now: Duration,
        unix_ms: u64,
    ) -> Result<Vec<SourceItem>, CameraError> {
        let program = self.program.clone();
        let unusable = |source| CameraError::Output {
            program: program.clone(),
            source,
        };
        self.has_left_out = false;
        self.splitter.handle_bytes(bytes).map_err(unusable)?;
        let mut items = Vec::new();
        while let Some(nal) = self.splitter.poll_nal() {
            if let Some(picture) = self.builder.handle_nal(&nal).map_err(unusable)? {
                // Pictures that come in one piece are told apart by a tick.
                let dts = media_ticks(now.saturating_sub(self.origin), TIMESCALE);
                let dts = dts.max(self.last_dts + 1);
                let placed = self.parameters.handle_picture(picture, dts, unix_ms);
                let placed = placed.map_err(|source| CameraError::Avc {
                    camera: program.clone(),
                    source,
                })?;
                match placed.is_empty() {
                    true => self.has_left_out = true,
                    false => self.last_dts = dts,
                }
                items.extend(placed);
            }
        }
        Ok(items)
    }
}

/// Keeps the parameter sets of a stream that brings them with its pictures, and makes formats of
/// them; pure. Also the virtual camera's.
#[derive(Default)]
pub(super) struct Parameters {
    sps: Option<Bytes>,
    pps: Option<Bytes>,
    track: Option<Arc<VideoTrack>>,
    has_begun: bool,
}

impl Parameters {
    /// Takes the next picture and its time; answers it, behind its format if that is new. Nothing as
    /// long as nothing can be decoded.
    pub(super) fn handle_picture(
        &mut self,
        picture: Picture,
        dts: u64,
        captured_unix_ms: u64,
    ) -> Result<Vec<SourceItem>, super::AvcConfigError> {
        let mut items = Vec::with_capacity(2);
        let brings_sets = picture.sps.is_some() || picture.pps.is_some();
        self.sps = picture.sps.or(self.sps.take());
        self.pps = picture.pps.or(self.pps.take());
        if picture.is_sync
            && (brings_sets || self.track.is_none())
            && let (Some(sps), Some(pps)) = (&self.sps, &self.pps)
        {
            let track = track(sps, pps)?;
            if self.track.as_deref() != Some(&track) {
                let video = Arc::new(track);
                self.track = Some(Arc::clone(&video));
                items.push(SourceItem::Format(Tracks::silent(video)));
                self.has_begun = true;
            }
        }
        if self.has_begun {
            items.push(SourceItem::Video(AccessUnit {
                data: picture.data.freeze(),
                dts,
                composition_offset: 0,
                duration: None,
                is_sync: picture.is_sync,
                captured_unix_ms,
            }));
        }
        Ok(items)
    }
}

/// The track of an SPS and a PPS.
fn track(sps: &Bytes, pps: &Bytes) -> Result<VideoTrack, super::AvcConfigError> {
    let avc = AvcConfig::of_sets(sps, pps)?;
    let unreadable = super::AvcConfigError::PictureSize;
    let rbsp = decode_nal(sps).map_err(|_| unreadable)?;
    let parsed = SeqParameterSet::from_bits(BitReader::new(&*rbsp)).map_err(|_| unreadable)?;
    let (width, height) = parsed.pixel_dimensions().map_err(|_| unreadable)?;
    let side = |pixels: u32| u16::try_from(pixels).ok().and_then(NonZeroU16::new);
    let (Some(width), Some(height)) = (side(width), side(height)) else {
        return Err(unreadable);
    };
    Ok(VideoTrack {
        timescale: TIMESCALE,
        width,
        height,
        codec: VideoCodec::H264(avc),
    })
}

#[cfg(test)]
mod tests;
