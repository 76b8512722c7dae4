//! The part of a watcher that costs time: decoding, looking, and making a JPEG of the best picture.
//!
//! It is run where it may block, one job at a time, and moves there and back whole. It must never decide
//! what an event is, and never hold a picture in full size.

use std::sync::Arc;
use std::time::Duration;

use crate::camera::{AccessUnit, Clock, VideoTrack};
use crate::config::detection::Detection;
use crate::detector::{DecodeError, Detector, Mode, OpenH264};
use crate::motion::{MotionSettings, Scene};
use crate::tally::Tally;
use crate::thumbnail::{Thumbnail, ThumbnailError};

/// Something to do.
pub(super) enum Job {
    /// Look at a picture that has waited for so long.
    Look { unit: AccessUnit, behind: Duration },
    /// Make a JPEG of the picture that is kept.
    Jpeg,
}

/// What came of it.
pub(super) enum Answer {
    /// `None`: the picture was not looked at.
    Seen(Option<Seen>),
    Jpeg(Result<Vec<u8>, ThumbnailError>),
}

/// One picture's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) scene: Scene,
    pub(super) score: u16,
}

/// Decoder, detector and the pictures that may become a thumbnail.
#[derive(Debug)]
pub struct Eyes {
    detector: Detector<OpenH264>,
    /// Where decoded pictures are counted.
    tally: Tally,
    /// The last picture in which something moved.
    latest: Thumbnail,
    /// The best one of the event.
    kept: Thumbnail,
}

impl Eyes {
    /// Eyes for the pictures of a track.
    ///
    /// # Errors
    /// [`DecodeError::NoDecoder`].
    pub fn new(track: Arc<VideoTrack>, detection: &Detection) -> Result<Self, DecodeError> {
        let decoder = OpenH264::new()?;
        let motion = detection.motion.clone();
        Ok(Self {
            detector: Detector::new(decoder, track, motion, detection.cpu_percent),
            tally: Tally::default(),
            latest: Thumbnail::default(),
            kept: Thumbnail::default(),
        })
    }

    /// The same eyes, whose decoded pictures are counted there.
    #[must_use]
    pub fn tallied(self, tally: Tally) -> Self {
        Self { tally, ..self }
    }

    pub(super) fn handle_track(&mut self, track: Arc<VideoTrack>) {
        self.detector.handle_track(track);
    }

    /// Other settings from the next picture on.
    pub(super) fn handle_settings(&mut self, motion: MotionSettings, cpu_percent: u32) {
        self.detector.handle_settings(motion, cpu_percent);
    }

    pub(super) fn handle_gap(&mut self) {
        self.detector.handle_gap();
    }

    /// Keeps the picture that was just looked at.
    pub(super) fn keep(&mut self) {
        std::mem::swap(&mut self.latest, &mut self.kept);
    }

    pub(super) fn mode(&self) -> Mode {
        self.detector.mode()
    }

    /// How many pictures could not be decoded.
    pub(super) fn failures(&self) -> u64 {
        self.detector.failures()
    }

    /// Whether nothing is to be seen in the stream ([`Detector::is_blind`]).
    pub(super) fn are_blind(&self, now: Duration) -> bool {
        self.detector.is_blind(now)
    }

    pub(super) fn work(&mut self, job: Job, clock: &dyn Clock) -> Answer {
        match job {
            Job::Look { unit, behind } => {
                let before = self.detector.decoded();
                let seen = self.look(&unit, behind, clock);
                self.tally.add(self.detector.decoded() - before);
                Answer::Seen(seen)
            }
            Job::Jpeg => {
                let jpeg = self.kept.jpeg();
                self.kept.clear();
                Answer::Jpeg(jpeg)
            }
        }
    }

    fn look(&mut self, unit: &AccessUnit, behind: Duration, clock: &dyn Clock) -> Option<Seen> {
        let look = self.detector.handle_unit(unit, behind, clock)?;
        let seen = Seen {
            scene: look.verdict.scene,
            score: look.verdict.score(),
        };
        if seen.scene == Scene::Moving {
            self.latest.keep(&look.picture);
        }
        Some(seen)
    }
}
