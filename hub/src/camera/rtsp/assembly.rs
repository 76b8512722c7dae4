//! From depacketised frames to items of a source: decode times, formats, gaps.
//!
//! It is pure. It must never hand out a picture that cannot be decoded from what was handed out
//! before, and never believe a time that jumps.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::camera::source::SourceItem;
use crate::camera::times::DecodeTimes;
use crate::camera::{
    AccessUnit, CameraError, UNIT_BYTES_MAX, UNIT_SECONDS_MAX, VideoCodec, VideoTrack,
};
use crate::media::{AudioTrack, Tracks};

/// Media time zero of a stream is put here, so that what a camera sends from before the moment of PLAY
/// has a time too.
const LEAD: Duration = Duration::from_secs(3600);
/// The farthest two neighbouring pictures may be apart: more is a camera whose clock was set, and
/// only a new connection makes its times fit again.
const JUMP: Duration = Duration::from_secs(UNIT_SECONDS_MAX as u64);

/// One depacketised frame.
pub struct Frame {
    /// The codec parameters, at key frames and wherever they change.
    pub new_track: Option<VideoTrack>,
    /// Presentation time since PLAY in ticks.
    pub elapsed: i64,
    /// The camera says that decoding can begin here.
    pub is_sync: bool,
    /// Packets before it are missing.
    pub is_after_loss: bool,
    /// When it came, in milliseconds since 1970 by the hub's clock.
    pub received_unix_ms: u64,
    /// Its NAL units, each behind its length in four bytes.
    pub data: Bytes,
}

/// Where in a stream we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first key frame.
    Begin,
    Running,
    /// Something is missing; the next key frame goes on.
    Broken,
}

/// Assembles one camera's pictures. Public for fuzz targets.
pub struct Assembly {
    camera: String,
    audio: Option<Arc<AudioTrack>>,
    track: Option<Arc<VideoTrack>>,
    times: DecodeTimes,
    last_elapsed: Option<i64>,
    state: State,
    has_left_out: bool,
}

impl Assembly {
    /// For a camera of this name, before its first frame.
    pub fn new(camera: String, audio: Option<Arc<AudioTrack>>) -> Self {
        Self {
            camera,
            audio,
            track: None,
            times: DecodeTimes::default(),
            last_elapsed: None,
            state: State::Begin,
            has_left_out: false,
        }
    }

    /// Whether a picture was handed out.
    pub(super) fn has_begun(&self) -> bool {
        self.state != State::Begin
    }

    /// Whether the last frame was a picture that was not handed out, because it waits for a key frame. One that comes
    /// before any codec parameters counts as one.
    pub(super) fn has_left_out(&self) -> bool {
        self.has_left_out
    }

    /// Takes the next frame; answers at most two items.
    ///
    /// # Errors
    /// [`CameraError::Protocol`]: a picture that is too large, or a time that cannot be.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<Vec<SourceItem>, CameraError> {
        self.has_left_out = false;
        let bytes = frame.data.len();
        if bytes > UNIT_BYTES_MAX {
            return Err(self.broken(format!(
                "a picture of {bytes} bytes; at most {UNIT_BYTES_MAX} are supported"
            )));
        }
        let mut items = Vec::with_capacity(2);
        let changed = frame
            .new_track
            .filter(|new| self.track.as_deref() != Some(new));
        if let Some(track) = changed {
            self.track = Some(Arc::new(track));
            // Only a key frame may follow it. Whatever was lost, this begins afresh.
            self.state = State::Begin;
        } else if frame.is_after_loss && self.state == State::Running {
            self.state = State::Broken;
        }
        let Some(track) = &self.track else {
            self.has_left_out = true;
            return Ok(items);
        };
        // Parameter sets or information that a camera sends apart are no picture.
        let Some(slice) = slice(&track.codec, &frame.data) else {
            return Ok(items);
        };
        let is_sync = frame.is_sync && slice == Slice::Key;
        let Some(pts) = ticks(frame.elapsed, track.timescale) else {
            return Err(self.broken("a time far before the beginning".to_owned()));
        };
        let jump = i64::from(track.timescale.get()) * JUMP.as_secs() as i64;
        let last = self.last_elapsed.replace(frame.elapsed);
        if last.is_some_and(|last| frame.elapsed.abs_diff(last) > jump.unsigned_abs()) {
            return Err(self.broken("its time jumps".to_owned()));
        }
        // Also of a picture that is not handed out: the order of times is learnt from all.
        let times = self.times.handle_picture(pts);
        let Some(times) = times else {
            return Err(self.broken("its time jumps".to_owned()));
        };
        match self.state {
            State::Running => {}
            State::Begin | State::Broken if !is_sync => {
                self.has_left_out = true;
                return Ok(items);
            }
            State::Begin => items.push(SourceItem::Format(Tracks {
                video: Arc::clone(track),
                audio: self.audio.clone(),
            })),
            State::Broken => items.push(SourceItem::Gap),
        }
        self.state = State::Running;
        items.push(SourceItem::Video(AccessUnit {
            data: frame.data,
            dts: times.dts,
            composition_offset: times.composition_offset,
            duration: None,
            is_sync,
            captured_unix_ms: frame.received_unix_ms,
        }));
        Ok(items)
    }

    fn broken(&self, reason: String) -> CameraError {
        CameraError::Protocol {
            camera: self.camera.clone(),
            reason,
        }
    }
}

/// What a picture is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slice {
    /// It can be decoded by itself.
    Key,
    Other,
}

/// The kind of the first slice among NAL units behind lengths of four bytes; `None` if there is none.
fn slice(codec: &VideoCodec, mut data: &[u8]) -> Option<Slice> {
    while let Some((length, behind)) = data.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (nal, behind) = behind.split_at_checked(length)?;
        let header = *nal.first()?;
        // ITU-T H.264, table 7-1; H.265, table 7-1, where IDR and other points of random access are
        // 16 to 21.
        match (codec, header & 0b1_1111, (header >> 1) & 0b11_1111) {
            (VideoCodec::H264(_), 5, _) | (VideoCodec::H265(_), _, 16..=21) => {
                return Some(Slice::Key);
            }
            (VideoCodec::H264(_), 1..=4, _) | (VideoCodec::H265(_), _, 0..=9) => {
                return Some(Slice::Other);
            }
            _ => data = behind,
        }
    }
    None
}

/// Ticks since PLAY as ticks of an item, for pictures and sound alike; `None` before [`LEAD`].
pub(super) fn ticks(elapsed: i64, timescale: NonZeroU32) -> Option<u64> {
    let lead = u64::from(timescale.get()) * LEAD.as_secs();
    lead.checked_add_signed(elapsed)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::camera::AvcConfig;

    const LEAD_TICKS: u64 = 90_000 * 3600;

    fn track(width: u16) -> VideoTrack {
        let record = [
            1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
        ];
        VideoTrack {
            timescale: NonZeroU32::new(90_000).unwrap(),
            width: NonZeroU16::new(width).unwrap(),
            height: NonZeroU16::new(64).unwrap(),
            codec: VideoCodec::H264(AvcConfig::parse(&record).unwrap()),
        }
    }

    fn key(elapsed: i64, width: u16) -> Frame {
        Frame {
            new_track: Some(track(width)),
            is_sync: true,
            // Information, then an IDR slice.
            data: Bytes::from_static(&[0, 0, 0, 1, 0x06, 0, 0, 0, 1, 0x65]),
            ..picture(elapsed)
        }
    }

    fn picture(elapsed: i64) -> Frame {
        Frame {
            new_track: None,
            elapsed,
            is_sync: false,
            is_after_loss: false,
            received_unix_ms: 5,
            data: Bytes::from_static(&[0, 0, 0, 1, 0x41]),
        }
    }

    /// `F`ormat, `K`ey frame, `P`icture, `G`ap.
    fn letters(items: &[SourceItem]) -> String {
        let letter = |item: &SourceItem| match item {
            SourceItem::Format(_) => 'F',
            SourceItem::Video(unit) if unit.is_sync => 'K',
            SourceItem::Video(_) => 'P',
            SourceItem::Audio(_) => 'A',
            SourceItem::Gap => 'G',
        };
        items.iter().map(letter).collect()
    }

    fn run(frames: Vec<Frame>) -> String {
        let mut assembly = Assembly::new("cam".into(), None);
        let items = frames
            .into_iter()
            .map(|frame| letters(&assembly.handle_frame(frame).unwrap()));
        items.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nothing_comes_before_a_key_frame_with_its_format() {
        let frames = vec![picture(0), key(3000, 64), picture(6000), key(9000, 64)];
        assert_eq!(run(frames), " FK P K");
    }

    #[test]
    fn what_waits_for_a_key_frame_is_told_from_what_is_no_picture() {
        let mut assembly = Assembly::new("cam".into(), None);
        let mut left_out = |frame: Frame| {
            assembly.handle_frame(frame).unwrap();
            assembly.has_left_out()
        };
        let apart = |elapsed| Frame {
            data: Bytes::from_static(&[0, 0, 0, 1, 0x06]),
            ..picture(elapsed)
        };
        let lost = Frame {
            is_after_loss: true,
            ..picture(12_000)
        };
        assert!(left_out(picture(0)), "nobody knows what it is of");
        assert!(!left_out(key(3000, 64)));
        assert!(!left_out(picture(6000)));
        assert!(!left_out(apart(9000)));
        assert!(left_out(lost));
        assert!(!left_out(apart(15_000)));
        assert!(left_out(picture(18_000)));
        assert!(!left_out(key(21_000, 64)));
    }

    #[test]
    fn after_a_loss_a_key_frame_goes_on() {
        let lost = Frame {
            is_after_loss: true,
            ..picture(6000)
        };
        let frames = vec![
            key(3000, 64),
            lost,
            picture(9000),
            key(12_000, 64),
            picture(15_000),
        ];
        assert_eq!(run(frames), "FK   GK P");
        let lost_and_key = Frame {
            is_after_loss: true,
            ..key(6000, 64)
        };
        assert_eq!(run(vec![key(3000, 64), lost_and_key]), "FK GK");
    }

    #[test]
    fn what_is_no_picture_is_left_out_and_no_key_frame() {
        for data in [
            &[][..],
            &[0, 0, 0, 1, 0x06],
            &[0, 0, 0, 9, 0x65],
            &[0, 0, 0, 0],
        ] {
            let apart = Frame {
                data: Bytes::copy_from_slice(data),
                ..key(0, 64)
            };
            assert_eq!(run(vec![apart, picture(3000), key(6000, 64)]), "  FK");
        }
        // A camera that calls every picture a key frame is not believed.
        let no_key = Frame {
            is_sync: true,
            ..picture(3000)
        };
        assert_eq!(run(vec![key(0, 64), no_key]), "FK P");
    }

    #[test]
    fn another_resolution_is_another_format() {
        let frames = vec![key(0, 64), picture(3000), key(6000, 128), picture(9000)];
        assert_eq!(run(frames), "FK P FK P");
    }

    #[test]
    fn times_are_those_of_the_camera() {
        let mut assembly = Assembly::new("cam".into(), None);
        let items = assembly.handle_frame(key(-3000, 64)).unwrap();
        let SourceItem::Video(unit) = &items[1] else {
            panic!("{items:?}");
        };
        assert_eq!((unit.dts, unit.composition_offset), (LEAD_TICKS - 3000, 0));
        assert_eq!(unit.duration, None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |frame: Frame| {
            let mut assembly = Assembly::new("cam".into(), None);
            assembly.handle_frame(key(0, 64)).unwrap();
            assembly.handle_frame(frame).unwrap_err().to_string()
        };
        let jump = 90_000 * 61;
        assert!(refused(picture(jump)).contains("jumps"));
        assert!(refused(picture(-jump)).contains("jumps"));
        assert!(refused(picture(i64::MIN)).contains("far before"));
        let large = Frame {
            data: Bytes::from(vec![0; UNIT_BYTES_MAX + 1]),
            ..picture(0)
        };
        assert!(refused(large).contains("supported"));
    }
}
