//! Which stream of a camera was found to be undecodable although its parameters do not say so.
//!
//! Whoever looks at such a stream loses half a minute of events before that is known, and a camera on a bad line is opened
//! again and again. So it is not looked at anew each time, but after an hour, connected or not, or when it sends something
//! else. This room must never keep a camera from being recorded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::camera::VideoTrack;

/// For so long a stream counts as undecodable that was found to be; what was in its way may be over.
const BLIND_FOR: Duration = Duration::from_secs(60 * 60);

/// What was found last; all copies share it.
#[derive(Clone, Default)]
pub(in crate::supervisor) struct Blindness(Arc<Mutex<Option<Found>>>);

struct Found {
    video: Arc<VideoTrack>,
    until: Duration,
}

impl Blindness {
    /// No key frame of this stream could be decoded, by now; answers until when that counts.
    pub(super) fn note(&self, video: Arc<VideoTrack>, now: Duration) -> Duration {
        let until = now.saturating_add(BLIND_FOR);
        let found = Found { video, until };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        until
    }

    /// Until when that counts, if it was found of such a stream a while ago.
    pub(super) fn until(&self, video: &VideoTrack, now: Duration) -> Option<Duration> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = found.as_ref().filter(|found| *found.video == *video);
        found.map(|found| found.until).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32};

    use super::*;
    use crate::camera::{AvcConfig, VideoCodec};

    fn video(width: u16) -> Arc<VideoTrack> {
        let record = [
            1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
        ];
        Arc::new(VideoTrack {
            timescale: NonZeroU32::new(1000).unwrap(),
            width: NonZeroU16::new(width).unwrap(),
            height: NonZeroU16::new(96).unwrap(),
            codec: VideoCodec::H264(AvcConfig::parse(&record).unwrap()),
        })
    }

    #[test]
    fn the_same_stream_is_not_looked_at_for_an_hour_and_another_one_at_once() {
        let (garden, door) = (Blindness::default(), Blindness::default());
        let at = Duration::from_secs;
        let over = at(3_700);
        assert_eq!(garden.clone().note(video(640), at(100)), over);
        assert_eq!(garden.until(&video(640), at(3_699)), Some(over));
        assert_eq!(garden.until(&video(640), over), None);
        assert_eq!(garden.until(&video(320), at(101)), None);
        assert_eq!(door.until(&video(640), at(101)), None);
    }
}
