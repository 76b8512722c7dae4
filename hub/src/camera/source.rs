//! A source of video: what a camera takes, all the time, whether or not anything happens.
//!
//! It must never hand out a picture before the format that a decoder needs for it, never begin with a
//! picture that cannot be decoded, and never hold more than a few pictures: who does not ask makes
//! the camera wait, not our memory grow.

use std::future::Future;
use std::num::{NonZeroU16, NonZeroU32};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::command::{CommandConfig, CommandSource};
use super::rtsp::{RtspConfig, RtspSource};
use super::virtual_camera::{VirtualConfig, VirtualSource};
use super::{AccessUnit, CameraError, Clock, FileCameraConfig, FileSource, VideoTrack};

/// The codec parameters of one AAC track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioTrack {
    /// Ticks a second in which every time of the track is counted: the sample rate.
    pub timescale: NonZeroU32,
    /// Channels.
    pub channels: NonZeroU16,
    /// The `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    pub config: Bytes,
    /// The codec as players name it, such as `mp4a.40.2` (RFC 6381).
    pub codec_string: String,
}

/// One compressed piece of sound with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFrame {
    /// One raw AAC frame, without ADTS header.
    pub data: Bytes,
    /// Presentation time in ticks of the audio track. Zero is the moment of zero of the pictures'
    /// times.
    pub pts: u64,
    /// Duration in ticks.
    pub duration: u32,
    /// When it was received, in milliseconds since 1970 by the hub's clock.
    pub captured_unix_ms: u64,
}

/// What the pictures and the sound that follow are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// The pictures.
    pub video: Arc<VideoTrack>,
    /// The sound, if the source has any that is supported.
    pub audio: Option<Arc<AudioTrack>>,
}

/// What a source has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceItem {
    /// From here on everything is of this format. The next picture can be decoded by itself.
    Format(Format),
    /// The next picture, in the order of decoding.
    Video(AccessUnit),
    /// The next piece of sound.
    Audio(AudioFrame),
    /// Pictures are missing here. The next one can be decoded by itself.
    Gap,
}

/// The future of [`Source::next_item`].
pub type NextItem<'a> =
    Pin<Box<dyn Future<Output = Result<Option<SourceItem>, CameraError>> + Send + 'a>>;

/// A source of video.
///
/// ```text
/// Format  (Video | Audio | Gap | Format)*     Gap and Format are followed by a sync sample
/// Err                                         it failed; whoever wants more opens it again
/// None                                        it is over
/// ```
pub trait Source: Send {
    /// Waits for the next item; `None` when the source is over, and from then on always. After an
    /// error it is over.
    ///
    /// Cancel safe: dropping the future loses nothing. A source is stopped by dropping it.
    fn next_item(&mut self) -> NextItem<'_>;
}

/// What it takes to open a source: one of each kind.
#[derive(Debug, Clone)]
pub enum SourceConfig {
    /// A camera on the network.
    Rtsp(RtspConfig),
    /// A program that writes H.264 to its standard output.
    Command(CommandConfig),
    /// An MP4 file.
    File(FileCameraConfig),
    /// A scene that the hub draws.
    Virtual(VirtualConfig),
}

impl SourceConfig {
    /// Opens the source. Dropping the future gives the attempt up.
    ///
    /// # Errors
    /// [`CameraError`].
    pub async fn open<C: Clock + Clone + 'static>(
        &self,
        clock: C,
    ) -> Result<Box<dyn Source>, CameraError> {
        let source: Box<dyn Source> = match self {
            Self::Rtsp(config) => Box::new(RtspSource::open(config, clock).await?),
            Self::Command(config) => Box::new(CommandSource::open(config, clock)?),
            Self::Virtual(config) => Box::new(VirtualSource::open(*config, clock)?),
            Self::File(config) => Box::new(FileSource::open(config.clone(), clock).await?),
        };
        Ok(source)
    }

    /// What it is, for people; without credentials.
    pub fn describe(&self) -> String {
        match self {
            Self::Rtsp(config) => config.address.to_string(),
            Self::Command(config) => format!("program {}", config.program.display()),
            Self::File(config) => format!("file {}", config.path.display()),
            Self::Virtual(config) => format!(
                "virtual, {}x{}, {} pictures a second",
                config.width, config.height, config.pictures_per_second
            ),
        }
    }

    /// The kind's word in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rtsp(_) => "rtsp",
            Self::Command(_) => "command",
            Self::File(_) => "file",
            Self::Virtual(_) => "virtual",
        }
    }
}
