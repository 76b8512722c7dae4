//! What a camera fails of, in words for people, and what the caller must do.
//!
//! It must never hold a password or the credentials of an address: `camera` is what
//! [`super::CameraAddress`] shows.

use std::time::Duration;

use super::address::PasswordError;
use super::annex_b::AnnexBError;
use super::{AvcConfigError, ClipError, HevcConfigError};

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
    /// Nobody answers at the camera's address.
    #[error("the camera {camera} is not reached: {reason}")]
    Unreachable {
        /// Its address.
        camera: String,
        /// What the system says.
        reason: String,
    },
    /// The camera refuses name or password.
    #[error("the camera {camera} refuses name or password")]
    LoginRefused {
        /// Its address.
        camera: String,
    },
    /// The camera wants a name and a password, and none is configured.
    #[error("the camera {camera} wants a name and a password, and none is configured")]
    LoginMissing {
        /// Its address.
        camera: String,
    },
    /// The password cannot be read.
    #[error("the password of the camera {camera} cannot be used: {source}")]
    Password {
        /// Its address.
        camera: String,
        /// What is wrong.
        source: PasswordError,
    },
    /// The camera does not know the stream.
    #[error("the camera {camera} has no stream of that path (status {status})")]
    NoSuchStream {
        /// Its address.
        camera: String,
        /// The status of its answer.
        status: u16,
    },
    /// No stream that the hub can record.
    #[error("the camera {camera} offers no H.264 or H.265 video, only {offered}")]
    NoVideo {
        /// Its address.
        camera: String,
        /// What it offers.
        offered: String,
    },
    /// The camera breaks the rules of RTSP or RTP.
    #[error("the camera {camera} is not understood: {reason}")]
    Protocol {
        /// Its address.
        camera: String,
        /// Which rule, in one line.
        reason: String,
    },
    /// The codec parameters of an H.264 stream cannot be used.
    #[error("the camera {camera} sends parameter sets that cannot be used: {source}")]
    Avc {
        /// Its address or program.
        camera: String,
        /// What is wrong with them.
        source: AvcConfigError,
    },
    /// The codec parameters of an H.265 stream cannot be used.
    #[error("the camera {camera} sends parameter sets that cannot be used: {source}")]
    Hevc {
        /// Its address.
        camera: String,
        /// What is wrong with them.
        source: HevcConfigError,
    },
    /// No picture has come for too long.
    #[error("the camera {camera} has sent no picture for {} s", .after.as_secs())]
    Stalled {
        /// Its address or program.
        camera: String,
        /// For how long.
        after: Duration,
    },
    /// Pictures come, and for too long none with which a recording could begin.
    #[error(
        "the camera {camera} sends pictures, but no key frame for {} s, and no recording can begin without one: set its key frame interval (GOP, I-frame interval) to one or two seconds, and turn `smart codec` or intra refresh off", .after.as_secs()
    )]
    NoKeyFrame {
        /// Its address or program.
        camera: String,
        /// For how long.
        after: Duration,
        /// For how long no picture was of use when that was found out.
        missed: Duration,
    },
    /// The camera was looked at, and has not begun.
    #[error(
        "the camera {camera} has sent nothing within {} s with which a recording could begin, no key frame at least: if its picture is seen elsewhere, set its key frame interval (GOP, I-frame interval) to one or two seconds, and turn `smart codec` or intra refresh off", .after.as_secs()
    )]
    NotBegun {
        /// What it is.
        camera: String,
        /// For how long it was waited for.
        after: Duration,
    },
    /// The camera has hung up.
    #[error("the camera {camera} has closed the connection")]
    Closed {
        /// Its address.
        camera: String,
    },
    /// The camera goes on with pictures that the hub does not decode, or with such that it does again.
    #[error("the camera {camera} has changed what it sends to {codec}")]
    CodecChanged {
        /// Its name.
        camera: String,
        /// To which.
        codec: &'static str,
    },
    /// The camera's program does not start.
    #[error("the program {program} does not start: {reason}")]
    NotStarted {
        /// Its path.
        program: String,
        /// What the system says.
        reason: String,
    },
    /// The camera's program has ended.
    #[error("the program {program} has ended ({status})")]
    Ended {
        /// Its path.
        program: String,
        /// How.
        status: String,
    },
    /// What the camera's program writes is not what the hub reads.
    #[error("the program {program} cannot be used: {source}")]
    Output {
        /// Its path.
        program: String,
        /// What is wrong.
        source: AnnexBError,
    },
    /// Our own code, or a library of ours, has panicked over what the camera sends. Where, stands in the log.
    #[error(
        "what the camera {camera} sends has broken the program that reads it, which must not happen; report it"
    )]
    Broken {
        /// Its address, program or name.
        camera: String,
    },
    /// The virtual camera's encoder fails.
    #[error("the virtual camera's encoder fails: {reason}")]
    Encoder {
        /// What it says.
        reason: String,
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
    /// Tell the owner, and try rarely: many cameras lock an account after a few wrong passwords.
    Login,
}

impl CameraError {
    /// For how long no picture had come, or none of use, when it was found out.
    pub fn missed(&self) -> Duration {
        match self {
            Self::Stalled { after, .. } => *after,
            Self::NoKeyFrame { missed, .. } => *missed,
            _ => Duration::ZERO,
        }
    }

    /// What the caller must do.
    pub fn kind(&self) -> CameraErrorKind {
        match self {
            Self::Clip { source, .. } => source.kind(),
            Self::LoginRefused { .. } | Self::LoginMissing { .. } => CameraErrorKind::Login,
            Self::Password { .. }
            | Self::NoSuchStream { .. }
            | Self::NoVideo { .. }
            | Self::NotStarted { .. }
            | Self::Output { .. } => CameraErrorKind::Replace,
            Self::Unreachable { .. }
            | Self::Protocol { .. }
            | Self::Avc { .. }
            | Self::Hevc { .. }
            | Self::Stalled { .. }
            | Self::NoKeyFrame { .. }
            | Self::NotBegun { .. }
            | Self::Closed { .. }
            | Self::CodecChanged { .. }
            | Self::Ended { .. }
            | Self::Broken { .. }
            | Self::Encoder { .. } => CameraErrorKind::Retry,
        }
    }
}
