//! How long a source waits for its camera: for the next picture, and for the next key frame.
//!
//! Without pictures a camera is gone. One that sends pictures and no key frame is there, and of no use: a recording
//! begins with a key frame alone. Both are judged here, for every source that is fed from outside, and in no other
//! place. Time is an argument. This room must never call a camera useless whose key frames are merely far apart
//! ([`KEY_FRAMES_APART_MAX`]).

use std::time::Duration;

use super::CameraError;
use super::source::SourceItem;

/// How far apart a camera's key frames may be, where no longer pause between two pictures is configured. Cameras that
/// save ("smart codec") stretch them to ten seconds, some to twenty and more; one that was just opened, or has lost a
/// packet, is of use again with the next. What has sent none for a minute does not send any, and most cameras send
/// one when they are opened anew.
pub const KEY_FRAMES_APART_MAX: Duration = Duration::from_secs(60);

/// What became of the pictures that have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    /// A key frame among them was handed out.
    KeyFrame,
    /// They were handed out behind the last one.
    Pictures,
    /// They were left out, because they wait for one.
    Waiting,
}

impl Came {
    /// What `items` tell of it; `has_left_out`: a picture that waits for a key frame is not among them. `None`: no
    /// picture has come.
    pub(super) fn of(items: &[SourceItem], has_left_out: bool) -> Option<Self> {
        let is_picture = |item: &SourceItem| matches!(item, SourceItem::Video(_));
        let is_key_frame =
            |item: &SourceItem| matches!(item, SourceItem::Video(unit) if unit.is_sync);
        if items.iter().any(is_key_frame) {
            Some(Self::KeyFrame)
        } else if items.iter().any(is_picture) {
            Some(Self::Pictures)
        } else {
            has_left_out.then_some(Self::Waiting)
        }
    }
}

/// The patience with one camera, from when it was opened. Times are those of any clock that does not fall.
pub(super) struct Patience {
    camera: String,
    stall: Duration,
    /// When the camera counts as gone: a stall behind the last picture that has come, handed out or not. What is no
    /// picture, such as sound or parameter sets, does not move it.
    gone_at: Duration,
    /// When the last picture came.
    last: Duration,
    /// When the last one came that was handed out.
    shown: Duration,
    /// For how long pictures have come since the last key frame.
    waited: Duration,
}

impl Patience {
    /// With the camera of this address or program, which was opened now.
    pub(super) fn new(camera: String, stall: Duration, now: Duration) -> Self {
        Self {
            camera,
            stall,
            gone_at: now.saturating_add(stall),
            last: now,
            shown: now,
            waited: Duration::ZERO,
        }
    }

    /// When it is over if no picture comes.
    pub(super) fn ends_at(&self) -> Duration {
        self.gone_at
    }

    /// No picture has come until then.
    pub(super) fn stalled(&self) -> CameraError {
        CameraError::Stalled {
            camera: self.camera.clone(),
            after: self.stall,
        }
    }

    /// Pictures have come.
    ///
    /// # Errors
    /// [`CameraError::NoKeyFrame`]: there was no key frame for too long.
    pub(super) fn handle_pictures(&mut self, came: Came, now: Duration) -> Result<(), CameraError> {
        // Had nothing come for longer, it would be gone: for the rest of that time nobody has asked for pictures.
        let passed = now.saturating_sub(self.last).min(self.stall);
        self.last = now;
        self.gone_at = now.saturating_add(self.stall);
        self.waited = match came {
            Came::KeyFrame => Duration::ZERO,
            Came::Pictures | Came::Waiting => self.waited.saturating_add(passed),
        };
        if came != Came::Waiting {
            self.shown = now;
        }
        if self.waited < self.stall.max(KEY_FRAMES_APART_MAX) {
            return Ok(());
        }
        Err(CameraError::NoKeyFrame {
            camera: self.camera.clone(),
            after: self.waited,
            missed: now.saturating_sub(self.shown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(10);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A picture a second, from the opening at 100 s on; answers what came of the last second's.
    fn watch(patience: &mut Patience, from: u64, came: &[Came]) -> Result<(), CameraError> {
        let mut judged = Ok(());
        for (second, came) in (from..).zip(came) {
            judged = patience.handle_pictures(*came, seconds(second));
        }
        judged
    }

    fn patience(stall: Duration) -> Patience {
        Patience::new("cam".into(), stall, seconds(100))
    }

    /// Longer than a stall, as a camera that saves has them: it is neither gone nor useless.
    #[test]
    fn key_frames_that_are_far_apart_are_waited_for() {
        for before in [Came::Pictures, Came::Waiting] {
            let mut patience = patience(STALL);
            let mut came = vec![before; 59];
            assert_eq!(watch(&mut patience, 101, &came), Ok(()));
            assert_eq!(patience.ends_at(), seconds(159) + STALL);
            came.insert(0, Came::KeyFrame);
            assert_eq!(watch(&mut patience, 160, &came), Ok(()));
        }
    }

    #[test]
    fn a_camera_that_sends_pictures_and_no_key_frame_has_failed_of_that() {
        for (before, missed) in [(Came::Pictures, 0), (Came::Waiting, 60)] {
            let mut patience = patience(STALL);
            let error = watch(&mut patience, 101, &[before; 60]).unwrap_err();
            assert_eq!(error.missed(), seconds(missed));
            let said = error.to_string();
            assert!(said.contains("no key frame for 60 s"), "{said}");
            assert!(said.contains("key frame interval"), "{said}");
            assert_eq!(error.kind(), crate::camera::CameraErrorKind::Retry);
        }
        // Whoever gives it longer for a picture gives it as long for a key frame.
        let mut patience = patience(seconds(90));
        assert_eq!(watch(&mut patience, 101, &[Came::Waiting; 89]), Ok(()));
        assert!(
            patience
                .handle_pictures(Came::Waiting, seconds(190))
                .is_err()
        );
    }

    #[test]
    fn a_camera_that_sends_nothing_is_gone_after_a_stall() {
        let mut patience = patience(STALL);
        assert_eq!(patience.ends_at(), seconds(110));
        watch(&mut patience, 101, &[Came::KeyFrame, Came::Pictures]).unwrap();
        assert_eq!(patience.ends_at(), seconds(112));
        assert!(matches!(patience.stalled(), CameraError::Stalled { after, .. } if after == STALL));
    }

    /// A disk that hangs makes the camera wait, and is no fault of it.
    #[test]
    fn time_in_which_nobody_asks_counts_as_a_stall_at_most() {
        let mut patience = patience(STALL);
        watch(&mut patience, 101, &[Came::KeyFrame, Came::Pictures]).unwrap();
        let late = seconds(4_000);
        assert_eq!(patience.handle_pictures(Came::Pictures, late), Ok(()));
        assert_eq!(patience.ends_at(), late + STALL);
    }
}
