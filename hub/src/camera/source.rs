//! A source of video: what a camera takes, all the time, whether or not anything happens.
//!
//! It must never hand out a picture before the format that a decoder needs for it, never begin with a
//! picture that cannot be decoded, and never hold more than a few pictures: who does not ask makes
//! the camera wait, not our memory grow.

use std::future::Future;
use std::pin::Pin;

use super::address::Password;
use super::caught::{Caught, caught};
use super::command::{CommandConfig, CommandSource};
use super::rtsp::{RtspConfig, RtspSource};
use super::virtual_camera::{VirtualConfig, VirtualSource};
use super::{AccessUnit, CameraError, Clock, FileCameraConfig, FileSource};
use crate::media::{AudioUnit, Tracks};

/// What a source has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceItem {
    /// From here on everything is of this format. The next picture can be decoded by itself.
    Format(Tracks),
    /// The next picture, in the order of decoding.
    Video(AccessUnit),
    /// The next piece of sound.
    Audio(AudioUnit),
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
#[derive(Debug, Clone, PartialEq)]
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
    /// Opens the source. Dropping the future gives the attempt up. A panic, now or later, is an error of this source
    /// alone.
    ///
    /// # Errors
    /// [`CameraError`].
    pub async fn open<C: Clock + Clone + 'static>(
        &self,
        clock: C,
    ) -> Result<Box<dyn Source>, CameraError> {
        let camera = self.describe();
        let opened = caught(&camera, self.open_uncaught(clock)).await?;
        Ok(Box::new(Caught::new(camera, opened)))
    }

    async fn open_uncaught<C: Clock + Clone + 'static>(
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

    /// Where the password is that it takes to open it, if it takes one.
    pub fn password(&self) -> Option<&Password> {
        match self {
            Self::Rtsp(config) => config.login.as_ref().map(|login| &login.password),
            Self::Command(_) | Self::File(_) | Self::Virtual(_) => None,
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
