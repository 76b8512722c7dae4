//! What a camera says, passed on to whoever casts it live.
//!
//! It must never hold the camera up, and never begin in the middle of a group of pictures.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::camera::{AccessUnit, Camera, CameraEvent, NextEvent, VideoTrack};
use crate::core::LiveBoard;

/// A camera's picture, or where its stream begins anew.
#[derive(Debug)]
pub(super) enum Item {
    /// From here on the pictures are of this track, and the next one can be decoded by itself.
    Track(Arc<VideoTrack>),
    /// The next picture.
    Unit(AccessUnit),
}

/// The caster's end of a camera.
#[derive(Debug)]
pub struct Tap {
    out: mpsc::Sender<Item>,
    lives: watch::Receiver<LiveBoard>,
    track: Option<Arc<VideoTrack>>,
    /// The next picture that is passed on is a key frame, behind its track.
    resumes: bool,
}

impl Tap {
    pub(super) fn new(out: mpsc::Sender<Item>, lives: watch::Receiver<LiveBoard>) -> Self {
        Self {
            out,
            lives,
            track: None,
            resumes: true,
        }
    }

    /// The camera's pictures are of this track from now on.
    pub fn handle_track(&mut self, track: &Arc<VideoTrack>) {
        self.track = Some(Arc::clone(track));
        self.resumes = true;
    }

    /// The camera's next picture.
    pub fn handle_unit(&mut self, unit: &AccessUnit) {
        let Some(track) = &self.track else {
            return;
        };
        if self.lives.borrow().is_empty() {
            self.resumes = true;
            return;
        }
        if self.resumes {
            if !unit.is_sync || self.out.try_send(Item::Track(Arc::clone(track))).is_err() {
                return;
            }
            self.resumes = false;
        }
        self.resumes = self.out.try_send(Item::Unit(unit.clone())).is_err();
    }

    /// Pictures are missing, or no more come for now.
    pub fn handle_gap(&mut self) {
        self.resumes = true;
    }

    fn handle_event(&mut self, event: &CameraEvent) {
        match event {
            CameraEvent::EventStarted(start) => self.handle_track(&start.track),
            CameraEvent::AccessUnit(unit) => self.handle_unit(unit),
            CameraEvent::EventEnded(_) | CameraEvent::Trouble(_) => self.handle_gap(),
        }
    }
}

/// A camera that is listened to.
pub struct Tapped<'c> {
    camera: &'c mut dyn Camera,
    tap: &'c mut Tap,
}

impl<'c> Tapped<'c> {
    /// Whatever `camera` says from now on, `tap` hears as well.
    pub fn new(camera: &'c mut dyn Camera, tap: &'c mut Tap) -> Self {
        Self { camera, tap }
    }
}

impl Camera for Tapped<'_> {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(async move {
            let event = self.camera.next_event().await;
            // Without an await in between: a future that is dropped has told the tap nothing and lost nothing.
            if let Some(event) = &event {
                self.tap.handle_event(event);
            }
            event
        })
    }
}

#[cfg(test)]
pub(in crate::live) mod tests {
    use std::num::{NonZeroU16, NonZeroU32};

    use bytes::Bytes;
    use journal::ids::{Channel, Line, PairingId};

    use super::*;
    use crate::camera::AvcConfig;
    use crate::core::LiveNow;

    pub(in crate::live) fn track() -> Arc<VideoTrack> {
        let small = |n| NonZeroU16::new(n).unwrap();
        let record = [
            1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
        ];
        Arc::new(VideoTrack {
            timescale: NonZeroU32::new(1_000).unwrap(),
            width: small(64),
            height: small(48),
            avc: AvcConfig::parse(&record).unwrap(),
        })
    }

    pub(in crate::live) fn unit(number: u64, is_sync: bool) -> AccessUnit {
        AccessUnit {
            data: Bytes::from(vec![number as u8; 100]),
            dts: number * 40,
            composition_offset: 0,
            duration: Some(40),
            is_sync,
            captured_unix_ms: 5_000 + number,
        }
    }

    fn somebody() -> LiveBoard {
        let line = Line::of(PairingId([1; 16]), Channel::Livestream);
        let now = LiveNow {
            session: 2,
            camera: String::new(),
        };
        LiveBoard::from([(line, now)])
    }

    fn taken(pictures: &mut mpsc::Receiver<Item>) -> Vec<Option<u8>> {
        let number = |item| match item {
            Item::Track(_) => None,
            Item::Unit(unit) => unit.data.first().copied(),
        };
        std::iter::from_fn(|| pictures.try_recv().ok().map(number)).collect()
    }

    #[test]
    fn nothing_is_passed_on_before_a_key_frame_or_while_nobody_watches() {
        let (out, mut pictures) = mpsc::channel(8);
        let (show, lives) = watch::channel(LiveBoard::new());
        let mut tap = Tap::new(out, lives);
        tap.handle_track(&track());
        tap.handle_unit(&unit(0, true));
        show.send_replace(somebody());
        tap.handle_unit(&unit(1, false));
        assert!(taken(&mut pictures).is_empty());
        tap.handle_unit(&unit(2, true));
        tap.handle_unit(&unit(3, false));
        assert_eq!(taken(&mut pictures), [None, Some(2), Some(3)]);
        tap.handle_gap();
        tap.handle_unit(&unit(4, false));
        assert!(taken(&mut pictures).is_empty());
    }

    #[test]
    fn who_is_too_slow_misses_the_rest_of_a_group() {
        let (out, mut pictures) = mpsc::channel(3);
        let (_show, lives) = watch::channel(somebody());
        let mut tap = Tap::new(out, lives);
        tap.handle_track(&track());
        for number in 0..5 {
            tap.handle_unit(&unit(number, number == 0));
        }
        assert_eq!(taken(&mut pictures), [None, Some(0), Some(1)]);
        tap.handle_unit(&unit(5, false));
        assert!(taken(&mut pictures).is_empty());
        tap.handle_unit(&unit(6, true));
        assert_eq!(taken(&mut pictures), [None, Some(6)]);
    }
}
