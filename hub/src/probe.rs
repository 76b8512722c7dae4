//! Looks at a camera for a moment: what it sends and how well, for `test-camera` and `doctor`.
//!
//! It must never record anything, and never show a password.

use std::time::Duration;

use serde_json::{Value, json};

use crate::camera::{CameraError, CameraErrorKind, Clock, DECODABLE, SourceConfig, SourceItem};
use crate::exit::{Code, Failure};
use crate::media::Tracks;

/// How long it takes a camera to begin, at the most: some that save send a key frame every twenty seconds only.
pub const BEGIN_WAIT: Duration = Duration::from_secs(25);

/// What a camera sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What it is.
    pub format: Tracks,
    /// Pictures, and how many of them can be decoded by themselves.
    pub pictures: u64,
    /// Key frames among them.
    pub key_frames: u64,
    /// Bytes of all pictures.
    pub bytes: u64,
    /// Pieces of sound.
    pub sounds: u64,
    /// How often pictures were missing.
    pub gaps: u64,
    /// From the first picture to the last, by the camera's clock.
    pub media: Duration,
}

/// Opens a camera and watches it for so long from when it has begun, for which it has as long, and [`BEGIN_WAIT`] at
/// least.
///
/// # Errors
/// [`CameraError`], also where the camera sends nothing that could be recorded.
pub async fn look<C: Clock + Clone + 'static>(
    source: &SourceConfig,
    duration: Duration,
    clock: C,
) -> Result<Seen, CameraError> {
    let mut opened = source.open(clock.clone()).await?;
    let wait = duration.max(BEGIN_WAIT);
    let give_up = clock.now().saturating_add(wait);
    let format = loop {
        let item = tokio::select! {
            biased;
            item = opened.next_item() => item?,
            () = clock.sleep_until(give_up) => {
                let (camera, after) = (source.describe(), wait);
                return Err(CameraError::NotBegun { camera, after });
            }
        };
        match item {
            Some(SourceItem::Format(format)) => break format,
            Some(_) => {}
            None => {
                let camera = source.describe();
                return Err(CameraError::Closed { camera });
            }
        }
    };
    let timescale = format.video.timescale.get();
    let mut seen = Seen {
        format,
        pictures: 0,
        key_frames: 0,
        bytes: 0,
        sounds: 0,
        gaps: 0,
        media: Duration::ZERO,
    };
    let mut first = None;
    let until = clock.now().saturating_add(duration);
    loop {
        let item = tokio::select! {
            biased;
            () = clock.sleep_until(until) => return Ok(seen),
            item = opened.next_item() => item?,
        };
        match item {
            Some(SourceItem::Video(unit)) => {
                let first = *first.get_or_insert(unit.dts);
                let ticks = unit.dts.saturating_sub(first);
                seen.media = Duration::from_secs_f64(ticks as f64 / f64::from(timescale));
                seen.pictures += 1;
                seen.key_frames += u64::from(unit.is_sync);
                seen.bytes += unit.data.len() as u64;
            }
            Some(SourceItem::Audio(_)) => seen.sounds += 1,
            Some(SourceItem::Gap) => seen.gaps += 1,
            Some(SourceItem::Format(format)) => seen.format = format,
            None => return Ok(seen),
        }
    }
}

impl Seen {
    /// Pictures a second; zero if there was one at most.
    fn rate(&self) -> f64 {
        let seconds = self.media.as_secs_f64();
        if seconds > 0.0 {
            (self.pictures.saturating_sub(1)) as f64 / seconds
        } else {
            0.0
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let video = &self.format.video;
        json!({
            "video": {
                "codec": video.codec.codec_string(),
                "width": video.width.get(),
                "height": video.height.get(),
                "detection": video.codec.is_decodable(),
            },
            "audio": self.format.audio.as_ref().map(|audio| json!({
                "codec": audio.config.codec_string(),
                "rate": audio.timescale.get(),
                "channels": audio.channels.get(),
            })),
            "pictures": self.pictures,
            "key_frames": self.key_frames,
            "bytes": self.bytes,
            "sounds": self.sounds,
            "gaps": self.gaps,
            "seconds": self.media.as_secs_f64(),
        })
    }

    /// One line for people.
    pub fn to_text(&self) -> String {
        let video = &self.format.video;
        let mut text = format!(
            "{} {}x{}, {} pictures, {:.1} a second, {} key frames, {} KB",
            video.codec.name(),
            video.width,
            video.height,
            self.pictures,
            self.rate(),
            self.key_frames,
            self.bytes / 1000
        );
        match &self.format.audio {
            Some(audio) => text.push_str(&format!(", AAC {} Hz", audio.timescale)),
            None => text.push_str(", no AAC audio"),
        }
        if self.gaps > 0 {
            text.push_str(&format!(", pictures missing {} times", self.gaps));
        }
        if let Some(pictures) = video.codec.undecodable() {
            text.push_str(&format!(
                "; it is recorded and sent, but nothing can be detected in {pictures}: set the camera to {DECODABLE} for that"
            ));
        }
        text
    }
}

/// A camera that cannot be used, as the end of a command.
pub fn failure(error: &CameraError) -> Failure {
    let code = match error.kind() {
        CameraErrorKind::Retry => Code::Network,
        CameraErrorKind::Replace | CameraErrorKind::Login => Code::Usage,
    };
    Failure::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32};
    use std::sync::Arc;

    use super::*;
    use crate::camera::clock::Sleep;
    use crate::camera::command::CommandConfig;
    use crate::camera::sps::testing::{HIGH_10, INTERLACED, WHOLE};
    use crate::camera::virtual_camera::VirtualConfig;
    use crate::camera::{AvcConfig, TokioClock, VideoCodec, VideoTrack};

    #[tokio::test]
    async fn a_camera_is_described_by_what_it_sends() {
        let source = SourceConfig::Virtual(VirtualConfig {
            width: 160,
            height: 160,
            pictures_per_second: 10,
            ..VirtualConfig::default()
        });
        let duration = Duration::from_millis(1500);
        let seen = look(&source, duration, TokioClock::new()).await.unwrap();
        assert!(seen.pictures >= 2, "{seen:?}");
        assert!(seen.key_frames >= 1 && seen.bytes > 0);
        assert_eq!((seen.gaps, seen.sounds), (0, 0));
        let text = seen.to_text();
        assert!(text.starts_with("H.264 160x160, "), "{text}");
        let json = seen.to_json();
        assert_eq!(json["video"]["width"], 160);
        assert_eq!(json["video"]["detection"], true);
        assert!(json["audio"].is_null());
    }

    /// The clock of this machine, a hundred times as fast.
    #[derive(Clone)]
    struct Hurried(TokioClock);

    impl Clock for Hurried {
        fn now(&self) -> Duration {
            self.0.now() * 100
        }

        fn unix_ms(&self) -> u64 {
            self.0.unix_ms()
        }

        fn sleep_until(&self, at: Duration) -> Sleep<'_> {
            self.0.sleep_until(at / 100)
        }
    }

    /// Whatever it sends: with nothing of it could anything begin.
    #[tokio::test]
    async fn a_camera_that_never_begins_is_given_up_with_one_line() {
        let source = SourceConfig::Command(CommandConfig {
            program: "sleep".into(),
            arguments: vec!["600".into()],
            stall: Duration::from_secs(60 * 60),
        });
        let clock = Hurried(TokioClock::new());
        let look = look(&source, Duration::from_secs(5), clock);
        let looked = tokio::time::timeout(Duration::from_secs(30), look).await;
        let error = looked.expect("it ends").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("nothing within 25 s"), "{text}");
        assert!(
            text.contains("key frame interval") && !text.contains('\n'),
            "{text}"
        );
        assert_eq!(failure(&error).code, Code::Network);
    }

    #[test]
    fn where_nothing_can_be_detected_that_is_said() {
        let side = NonZeroU16::new(576).unwrap();
        let seen = |sps: &[u8]| {
            let avc = AvcConfig::of_sets(sps, &[0x68, 9]).unwrap();
            let video = VideoTrack {
                timescale: NonZeroU32::MIN,
                width: side,
                height: side,
                codec: VideoCodec::H264(avc),
            };
            Seen {
                format: Tracks::silent(Arc::new(video)),
                pictures: 1,
                key_frames: 1,
                bytes: 1,
                sounds: 0,
                gaps: 0,
                media: Duration::ZERO,
            }
        };
        for (sps, words) in [
            (
                &INTERLACED[..],
                "nothing can be detected in interlaced H.264:",
            ),
            (
                &HIGH_10[..],
                "in H.264 of more than 8 bits: set the camera to",
            ),
        ] {
            let seen = seen(sps);
            assert_eq!(seen.to_json()["video"]["detection"], false);
            let text = seen.to_text();
            assert!(text.contains(words), "{text}");
        }
        let seen = seen(&WHOLE);
        assert_eq!(seen.to_json()["video"]["detection"], true);
        assert!(!seen.to_text().contains("detected"));
    }

    #[test]
    fn what_the_owner_can_correct_is_told_from_what_may_pass() {
        let camera = || "rtsp://cam/".to_owned();
        let refused = CameraError::LoginRefused { camera: camera() };
        assert_eq!(failure(&refused).code, Code::Usage);
        let closed = CameraError::Closed { camera: camera() };
        assert_eq!(failure(&closed).code, Code::Network);
    }
}
