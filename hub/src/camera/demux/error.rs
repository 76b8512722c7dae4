//! Why an MP4 file was refused: facts for one clear line to the owner, and what to do about it.
//!
//! It must never carry bytes of the picture.

use std::io;

use super::boxes::FourCc;
use crate::camera::{AvcConfigError, CameraErrorKind};

/// Why a clip cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// The operating system could not open or read it.
    #[error("it cannot be read: {kind}")]
    Unreadable {
        /// What the operating system said.
        kind: io::ErrorKind,
    },
    /// It is a directory, pipe or device.
    #[error("it is not a regular file")]
    NotAFile,
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// It does not begin as an MP4 file does.
    #[error("it is not an MP4 file")]
    NotMp4,
    /// A box reaches beyond the end of the file.
    #[error(
        "the file is cut off: it ends after {file_bytes} bytes, inside the {inside} box that begins at {start}"
    )]
    Truncated {
        /// The box that is cut off.
        inside: FourCc,
        /// Where it begins.
        start: u64,
        /// The size of the file.
        file_bytes: u64,
    },
    /// A box that must be there is not.
    #[error("its {missing} box is missing")]
    BoxMissing {
        /// The box.
        missing: FourCc,
        /// The box it should be inside; `None` for the file itself.
        inside: Option<FourCc>,
    },
    /// A box contradicts the standard or another box.
    #[error("its {inside} box is damaged: {what}")]
    Malformed {
        /// The box.
        inside: FourCc,
        /// What is wrong, for people.
        what: &'static str,
    },
    /// The H.264 configuration cannot be used.
    #[error("its H.264 configuration is damaged: {0}")]
    AvcConfig(#[from] AvcConfigError),
    /// No track is H.264 as this hub reads it (sample entry `avc1` or `avc3`).
    #[error("it has no H.264 track; found: {}", found_list(found))]
    NoH264Track {
        /// The kinds of the tracks that were found, the first few of them.
        found: Vec<FourCc>,
    },
    /// The H.264 track changes its parameters in the middle.
    #[error("its H.264 track has {found} sample descriptions; only one is supported")]
    SampleDescriptions {
        /// How many there are.
        found: u32,
    },
    /// The H.264 track is empty.
    #[error("its H.264 track has no pictures")]
    NoSamples,
    /// No sample is a sync sample, so nothing can be decoded.
    #[error("its H.264 track has no key frame")]
    NoKeyFrame,
    /// A sample is said to lie outside the file.
    #[error(
        "picture {index} is said to be at {offset} with {bytes} bytes, outside the file of {file_bytes} bytes"
    )]
    SampleOutside {
        /// Which sample, from 0.
        index: usize,
        /// Where it is said to begin.
        offset: u64,
        /// How many bytes it is said to have.
        bytes: u64,
        /// The size of the file.
        file_bytes: u64,
    },
    /// A number is above a limit of this hub.
    #[error("its {what} is {found}; at most {limit} is supported")]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// What the file says.
        found: u64,
        /// The limit.
        limit: u64,
    },
}

impl ClipError {
    pub(crate) fn unreadable(error: io::Error) -> Self {
        Self::Unreadable { kind: error.kind() }
    }

    pub(super) fn malformed(inside: FourCc, what: &'static str) -> Self {
        Self::Malformed { inside, what }
    }

    /// What the caller must do: retry after a read error (a disk or network mount may come back),
    /// otherwise ask the owner for another file.
    pub fn kind(&self) -> CameraErrorKind {
        match self {
            Self::Unreadable { kind } => match kind {
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::UnexpectedEof => CameraErrorKind::Replace,
                _ => CameraErrorKind::Retry,
            },
            _ => CameraErrorKind::Replace,
        }
    }
}

fn found_list(found: &[FourCc]) -> String {
    if found.is_empty() {
        return "no tracks at all".to_owned();
    }
    let names: Vec<String> = found.iter().map(FourCc::to_string).collect();
    names.join(", ")
}
