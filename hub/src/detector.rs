//! From compressed pictures to verdicts about motion, within a share of one core.
//!
//! A picture in H.264 needs those before it, so there are only two ways to go: decode every picture, or
//! key frames alone. This room goes the first way while that costs no more than its share and nothing
//! is waiting, and the second otherwise; [`Detector::mode`] says which, for `status`.
//!
//! It must never hold a recording up: who has more pictures waiting than it can decode says how long
//! they have waited, and the detector skips. It must never panic on what a camera sends, and never end a
//! recording because a picture cannot be decoded.

mod cisco;
mod pacer;

use std::sync::Arc;
use std::time::Duration;

use crate::camera::{AccessUnit, Clock, VideoTrack};
use crate::motion::{MotionDetector, MotionSettings, Verdict};
use crate::picture::Picture;
pub use cisco::OpenH264;
pub use pacer::{
    BEHIND_MAX, CPU_PERCENT, CPU_PERCENT_DEFAULT, Mode, Pacer, Plan, RETRY_FIRST, RETRY_MAX, WINDOW,
};

/// In a stream nothing is to be seen if in none of its key frames anything was for so long,
pub const BLIND_AFTER: Duration = Duration::from_secs(30);
/// and they were so many at least: some cameras have one in ten seconds.
pub const BLIND_KEY_FRAMES: u32 = 3;

/// Why a picture was not decoded. The stream can be decoded again from its next key frame on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The lengths before the NAL units do not add up.
    #[error("a picture's parts do not fit its {bytes} bytes")]
    Lengths {
        /// Size of the picture.
        bytes: usize,
    },
    /// The decoder refused it.
    #[error("a picture cannot be decoded: {reason}")]
    Refused {
        /// What the decoder says.
        reason: String,
    },
    /// The decoder could not be made.
    #[error("there is no decoder: {reason}")]
    NoDecoder {
        /// What the library says.
        reason: String,
    },
}

/// What the caller must do about a [`DecodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// Count it, and go on with the next key frame.
    Peer,
    /// Record without detection, and say so.
    Unsupported,
}

impl DecodeError {
    /// What the caller must do.
    pub fn kind(&self) -> DecodeErrorKind {
        match self {
            Self::Lengths { .. } | Self::Refused { .. } => DecodeErrorKind::Peer,
            Self::NoDecoder { .. } => DecodeErrorKind::Unsupported,
        }
    }
}

/// Something that decodes H.264.
pub trait Decoder: Send {
    /// Decodes the next picture of a track. Answers the newest picture that can be shown, which with
    /// B-frames is an earlier one; `None` if there is none or none is wanted.
    ///
    /// # Errors
    /// [`DecodeError`]; until the next key frame the answers are then worth nothing.
    fn decode(
        &mut self,
        track: &VideoTrack,
        unit: &AccessUnit,
        show: Show,
    ) -> Result<Option<Picture<'_>>, DecodeError>;
}

/// Whether anybody wants to see a picture that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Yes.
    Picture,
    /// No: it is decoded for those that need it.
    Nothing,
}

/// What was seen in one picture.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Whether something moves.
    pub verdict: Verdict<'a>,
    /// The picture itself, for a thumbnail.
    pub picture: Picture<'a>,
}

/// Watches the stream of one camera.
#[derive(Debug)]
pub struct Detector<D> {
    decoder: D,
    track: Arc<VideoTrack>,
    motion: MotionDetector,
    pacer: Pacer,
    decoded: u64,
    failures: u64,
    unseen: Unseen,
}

/// Key frames in which nothing was to be seen, since there was something.
#[derive(Debug, Default)]
struct Unseen {
    key_frames: u32,
    since: Option<Duration>,
}

impl<D: Decoder> Detector<D> {
    /// A detector for one track. `cpu_percent` is the share of one core that it may take, within
    /// [`CPU_PERCENT`]; what is outside is brought inside.
    pub fn new(
        decoder: D,
        track: Arc<VideoTrack>,
        settings: MotionSettings,
        cpu_percent: u32,
    ) -> Self {
        Self {
            decoder,
            track,
            motion: MotionDetector::new(settings),
            pacer: Pacer::new(cpu_percent),
            decoded: 0,
            failures: 0,
            unseen: Unseen::default(),
        }
    }

    /// Other settings from the next picture on ([`MotionDetector::handle_settings`]).
    pub fn handle_settings(&mut self, settings: MotionSettings, cpu_percent: u32) {
        self.motion.handle_settings(settings);
        self.pacer.set_cpu_percent(cpu_percent);
    }

    /// The stream goes on with other codec parameters, with a key frame.
    pub fn handle_track(&mut self, track: Arc<VideoTrack>) {
        self.track = track;
        self.motion.restart();
        self.pacer.handle_failed();
        // What could not be decoded before says nothing of it.
        self.unseen = Unseen::default();
    }

    /// Pictures are missing before the next one.
    pub fn handle_gap(&mut self) {
        self.pacer.handle_failed();
    }

    /// Whether every picture is decoded.
    pub fn mode(&self) -> Mode {
        self.pacer.mode()
    }

    /// How many pictures were decoded.
    pub fn decoded(&self) -> u64 {
        self.decoded
    }

    /// How many pictures could not be decoded.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether nothing is to be seen in this stream: for a while key frames have come, and not one of them could be
    /// decoded to a picture that can be looked at. The next one that can ends that.
    pub fn is_blind(&self, now: Duration) -> bool {
        let Unseen { key_frames, since } = self.unseen;
        key_frames >= BLIND_KEY_FRAMES
            && since.is_some_and(|since| now.saturating_sub(since) >= BLIND_AFTER)
    }

    /// Takes the next picture of the track, which has waited for `behind`. Answers what is seen, `None` if
    /// it was not looked at: skipped, not due, or not decodable.
    ///
    /// The clock is asked before and after, because what decoding costs is known only then.
    pub fn handle_unit(
        &mut self,
        unit: &AccessUnit,
        behind: Duration,
        clock: &dyn Clock,
    ) -> Option<Look<'_>> {
        let began = clock.now();
        let show = match self.pacer.plan(unit.is_sync, behind, began) {
            Plan::Skip => return None,
            Plan::Decode => Show::Nothing,
            Plan::DecodeAndLook => Show::Picture,
        };
        // Of a picture that nobody wanted to see there is nothing to be said.
        let mut is_tried = show == Show::Picture;
        let picture = match self.decoder.decode(&self.track, unit, show) {
            Ok(picture) => {
                self.decoded = self.decoded.saturating_add(1);
                picture
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                is_tried = true;
                self.pacer.handle_failed();
                tracing::debug!(%error, "no detection until the next key frame");
                None
            }
        };
        let mut look = None;
        // A picture too small or too large to watch is none.
        if let Some(picture) = picture
            && let Ok(luma) = picture.luma.try_into()
        {
            let at_ms = u64::try_from(began.as_millis()).unwrap_or(u64::MAX);
            look = Some(Look {
                verdict: self.motion.handle_picture(luma, at_ms),
                picture,
            });
        }
        if look.is_some() {
            self.unseen = Unseen::default();
        } else if unit.is_sync && is_tried {
            self.unseen.key_frames = self.unseen.key_frames.saturating_add(1);
            self.unseen.since.get_or_insert(began);
        }
        let now = clock.now();
        self.pacer.handle_spent(now.saturating_sub(began), now);
        look
    }
}

#[cfg(test)]
mod tests;
