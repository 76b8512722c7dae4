//! What a source of video is to the hub. A [`Source`] hands out what a camera takes, all the time: an
//! RTSP camera, a command, a file, or the virtual camera. A [`Camera`] says besides when an event
//! starts and when it ends; [`Windows`] makes one of any source, and so does [`crate::watcher`].
//!
//! ```text
//! retina   -> RtspSource    --+           +-> Watcher --+   (what moves is an event)
//! program  -> CommandSource --+-> Source -+             +-> Camera -> recorder
//! openh264 -> VirtualSource --+           +-> Windows --+   (events by the clock)
//! MP4 file -> FileSource    --+                         ^
//!                                          FileCamera --+   (each pass is an event)
//! ```
//!
//! It must never seal, store or send, nor decode what it hands on; it must never queue without a
//! limit; and it must never panic on what the source feeds it: a broken source is a [`CameraError`].
//!
//! # The order of events
//!
//! ```text
//! EventStarted  (AccessUnit | Sound)*  EventEnded     any number of times
//!               Thumbnail                             of an event that has started, at most once, also
//!                                                     when it has ended
//!               Person                                behind the Thumbnail, at most once
//!               Trouble                               at any place; inside an event EventEnded{CutOff}
//!                                                     follows
//! None                                                the source is over and stays over
//! ```
//!
//! The first access unit of an event is always a sync sample, and [`EventStart`] carries the codec
//! parameters, so a reader can begin at any event.

pub mod address;
pub mod annex_b;
mod avc;
mod caught;
pub mod clock;
pub mod command;
pub mod demux;
mod error;
pub mod file;
mod hevc;
mod patience;
pub mod pauses;
pub mod rtsp;
pub mod source;
pub(crate) mod sps;
pub mod times;
pub mod virtual_camera;
pub mod windows;

use std::future::Future;
use std::num::{NonZeroU16, NonZeroU32};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::media::{AudioUnit, Tracks};

pub use address::{CameraAddress, Login, Secret};
pub use avc::{AVC_CONFIG_BYTES_MAX, AvcConfig, AvcConfigError};
pub(crate) use caught::{caught, unless_panicked};
pub use clock::{Clock, TokioClock};
pub use demux::ClipError;
pub use error::{CameraError, CameraErrorKind};
pub use file::{ClipFacts, FileCamera, FileCameraConfig, FileSource, Passes};
pub use hevc::{HEVC_CONFIG_BYTES_MAX, HevcConfig, HevcConfigError};
pub use patience::KEY_FRAMES_APART_MAX;
pub use source::{NextItem, Source, SourceConfig, SourceItem};
pub use windows::{Windows, WindowsConfig};

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

/// What a camera is to be set to, so that what moves in its pictures can be looked for.
pub const DECODABLE: &str = "H.264 in whole pictures (progressive) of 8 bits, 4:2:0";

/// The codec of a video track, with all a decoder needs before the first access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264: SPS, PPS and the NAL length size (ISO/IEC 14496-15).
    H264(AvcConfig),
    /// H.265: recorded and sent. The hub cannot decode it, so nothing is detected in it.
    H265(HevcConfig),
}

impl VideoCodec {
    /// The configuration record, as MP4 has it.
    pub fn record(&self) -> &Bytes {
        match self {
            Self::H264(avc) => avc.record(),
            Self::H265(hevc) => hevc.record(),
        }
    }

    /// The kind of the sample entry that such pictures need.
    pub fn sample_entry(&self) -> &'static [u8; 4] {
        match self {
            Self::H264(avc) => avc.sample_entry(),
            Self::H265(_) => b"hvc1",
        }
    }

    /// The kind of the box that holds the record.
    pub fn record_box(&self) -> &'static [u8; 4] {
        match self {
            Self::H264(_) => b"avcC",
            Self::H265(_) => b"hvcC",
        }
    }

    /// The codec as players name it (RFC 6381).
    pub fn codec_string(&self) -> String {
        match self {
            Self::H264(avc) => avc.codec_string(),
            Self::H265(hevc) => hevc.codec_string().to_owned(),
        }
    }

    /// The codec as people name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::H264(_) => "H.264",
            Self::H265(_) => "H.265",
        }
    }

    /// What the pictures are, for people, if the hub cannot look at them. `None` if it can, for all that the parameters
    /// say.
    pub fn undecodable(&self) -> Option<&'static str> {
        match self {
            Self::H264(avc) => avc
                .sequence_parameter_sets()
                .find_map(|set| sps::undecodable(&set)),
            Self::H265(_) => Some(self.name()),
        }
    }

    /// Whether the hub can look at the pictures, for all that the parameters say.
    pub fn is_decodable(&self) -> bool {
        self.undecodable().is_none()
    }
}

/// The codec parameters of one video track: all a decoder needs before the first access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoTrack {
    /// Ticks a second in which every time of the track is counted. At most [`TIMESCALE_MAX`].
    pub timescale: NonZeroU32,
    /// Picture width in pixels.
    pub width: NonZeroU16,
    /// Picture height in pixels.
    pub height: NonZeroU16,
    /// The codec and its parameters.
    pub codec: VideoCodec,
}

/// The start of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStart {
    /// The codec parameters of everything in this event.
    pub tracks: Tracks,
    /// Why it is one.
    pub kind: EventKind,
    /// When the event's first picture was captured, in milliseconds since 1970 by the hub's clock.
    /// For people and for measuring delay; nothing is ordered by it.
    pub started_unix_ms: u64,
}

/// Why something is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The configuration says so: nobody looks at the pictures, and nobody is told of it.
    Plain,
    /// Something moves. The phones are told.
    Motion,
}

/// The picture that stands for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPicture {
    /// [`EventStart::started_unix_ms`] of its event.
    pub started_unix_ms: u64,
    /// A JPEG of at most [`crate::thumbnail::BYTES_MAX`].
    pub jpeg: Bytes,
}

/// One compressed picture with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// The NAL units, each behind its length, as in MP4 (ISO/IEC 14496-15, 5.3.4.2; not Annex B):
    /// [`AvcConfig::nal_length_bytes`] bytes of it, with H.265 four. Passed on byte for byte. At
    /// most [`UNIT_BYTES_MAX`].
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
    /// The next piece of sound of the event.
    Sound(AudioUnit),
    /// The picture that stands for an event.
    Thumbnail(EventPicture),
    /// A person is likely in the picture of the event that began then, milliseconds since 1970.
    Person(u64),
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

/// A camera that is always there, until it fails.
pub trait LiveCamera: Camera {
    /// For how long it has handed out pictures.
    fn held(&self) -> Duration;
}
