//! What a source of video is to the hub: one trait for files now, and for RTSP cameras, commands
//! and virtual cameras later. A camera says when an event starts, hands out compressed access
//! units while it lasts, and says when it ends.
//!
//! It must never decode, seal, store or send; it must never queue without a limit; and it must
//! never panic on what the source feeds it: a broken source is a [`CameraError`].
//!
//! # The order of events
//!
//! ```text
//! EventStarted  AccessUnit*  EventEnded     any number of times
//!               Trouble                     at any place; inside an event EventEnded{CutOff} follows
//! None                                      the source is over and stays over
//! ```
//!
//! The first access unit of an event is always a sync sample, and [`EventStart`] carries the codec
//! parameters, so a reader can begin at any event.

mod avc;
pub mod clock;
pub mod demux;
pub mod file;

use std::future::Future;
use std::num::{NonZeroU16, NonZeroU32};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

pub use avc::{AVC_CONFIG_BYTES_MAX, AvcConfig, AvcConfigError};
pub use clock::{Clock, TokioClock};
pub use demux::ClipError;
pub use file::{ClipFacts, FileCamera, FileCameraConfig, Passes};

/// The largest access unit a camera may hand out, in bytes. A 4K key frame at a generous bit rate
/// is a few MB; more than this is a broken file or an attack on our memory.
pub const UNIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The longest duration or composition offset of one access unit, in seconds of media time. A
/// larger one is a damaged time table; believing it would stop the hub for that long.
pub const UNIT_SECONDS_MAX: u32 = 60;

/// The finest timescale a track may have, in ticks a second. Keeps [`UNIT_SECONDS_MAX`] of ticks
/// inside 32 bits, which is what ISO/IEC 14496-12 gives a sample's duration.
pub const TIMESCALE_MAX: u32 = 10_000_000;

const _: () = assert!(UNIT_SECONDS_MAX as u64 * TIMESCALE_MAX as u64 <= i32::MAX as u64);

/// The codec parameters of one H.264 track: all a decoder needs before the first access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoTrack {
    /// Ticks a second in which every time of the track is counted. At most [`TIMESCALE_MAX`].
    pub timescale: NonZeroU32,
    /// Picture width in pixels.
    pub width: NonZeroU16,
    /// Picture height in pixels.
    pub height: NonZeroU16,
    /// SPS, PPS and the NAL length size (ISO/IEC 14496-15).
    pub avc: AvcConfig,
}

/// The start of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStart {
    /// The codec parameters of every access unit of this event.
    pub track: Arc<VideoTrack>,
    /// When the event's first picture was captured, in milliseconds since 1970 by the hub's clock.
    /// For people and for measuring delay; nothing is ordered by it.
    pub started_unix_ms: u64,
}

/// One compressed picture with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// The NAL units, each behind its length of [`AvcConfig::nal_length_bytes`] bytes, as in MP4
    /// (ISO/IEC 14496-15, 5.3.4.2; not Annex B). Passed on byte for byte. At most
    /// [`UNIT_BYTES_MAX`].
    pub data: Bytes,
    /// Decode time in ticks of the track, from an origin of the camera's choice. Never falls
    /// within an event.
    pub dts: u64,
    /// Presentation time minus decode time, in ticks. Not zero only with B-frames.
    pub composition_offset: i32,
    /// Duration in ticks, if the source knows it. A live source does not, and says `None`: the
    /// duration is then the distance to the next unit.
    pub duration: Option<u32>,
    /// Whether decoding can begin here (an IDR picture).
    pub is_sync: bool,
    /// When the picture was captured, in milliseconds since 1970 by the hub's clock.
    pub captured_unix_ms: u64,
}

impl AccessUnit {
    /// Presentation time in ticks, from the same origin as [`AccessUnit::dts`].
    pub fn pts(&self) -> i64 {
        // A decode time above i64::MAX is 29,000 years at TIMESCALE_MAX.
        i64::try_from(self.dts)
            .unwrap_or(i64::MAX)
            .saturating_add(i64::from(self.composition_offset))
    }
}

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventEnd {
    /// The source says that the event is over.
    Completed,
    /// The source failed in the middle; what was handed out until then is good.
    CutOff,
}

/// What a camera has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraEvent {
    /// An event begins. Access units follow.
    EventStarted(EventStart),
    /// The next picture of the event.
    AccessUnit(AccessUnit),
    /// The event is over.
    EventEnded(EventEnd),
    /// The source failed. Inside an event, `EventEnded(CutOff)` follows.
    Trouble(CameraError),
}

/// The future of [`Camera::next_event`]. Boxed, so that one supervisor can hold cameras of many
/// kinds behind `dyn Camera`.
pub type NextEvent<'a> = Pin<Box<dyn Future<Output = Option<CameraEvent>> + Send + 'a>>;

/// A source of video events.
pub trait Camera: Send {
    /// Waits for the next event; `None` when the source is over, and from then on always.
    ///
    /// Cancel safe: dropping the future loses nothing, the next call goes on where this one
    /// waited. This is how a camera is stopped: stop asking, and drop it.
    fn next_event(&mut self) -> NextEvent<'_>;
}

/// Why a source of video cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CameraError {
    /// The clip of a file camera cannot be used or can no longer be read.
    #[error("the clip {path} cannot be used: {source}")]
    Clip {
        /// The path as configured.
        path: String,
        /// What is wrong with it.
        source: ClipError,
    },
}

/// What the caller of a camera must do about a [`CameraError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraErrorKind {
    /// Open the camera again after a back-off: the same source may work later.
    Retry,
    /// Tell the owner: the source will not get better by itself, it must be replaced. A hub that runs
    /// looks for the new one by the same back-off.
    Replace,
}

impl CameraError {
    /// What the caller must do.
    pub fn kind(&self) -> CameraErrorKind {
        match self {
            Self::Clip { source, .. } => source.kind(),
        }
    }
}
