//! The detector with a decoder made of numbers, and with the real one on a real scene.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::camera::clock::Sleep;
use crate::camera::demux::Clip;
use crate::camera::{AvcConfig, VideoCodec};
use crate::motion::{Luma, MotionDetector, PICTURE_INTERVAL_MS, STILL_AFTER_MS, Scene};
use crate::picture::Plane;

/// A clock that goes on by what a decoder says that it cost.
#[derive(Default)]
struct Watch(Mutex<Duration>);

impl Watch {
    fn advance(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for Watch {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn unix_ms(&self) -> u64 {
        0
    }

    fn sleep_until(&self, _at: Duration) -> Sleep<'_> {
        Box::pin(std::future::pending())
    }
}

/// Shows a box whose place is the first byte of a picture; a picture of one byte cannot be decoded.
struct Boxes {
    luma: Vec<u8>,
    decoded: usize,
    clock: Arc<Watch>,
    cost: Duration,
}

impl Decoder for Boxes {
    fn decode(
        &mut self,
        _track: &VideoTrack,
        unit: &AccessUnit,
        show: Show,
    ) -> Result<Option<Picture<'_>>, DecodeError> {
        self.decoded += 1;
        self.clock.advance(self.cost);
        let [place, _] = unit.data[..] else {
            return Err(DecodeError::Lengths {
                bytes: unit.data.len(),
            });
        };
        self.luma = vec![100; 96 * 96];
        for line in self.luma.chunks_exact_mut(96).take(20) {
            line[usize::from(place)..][..20].fill(220);
        }
        let picture = Picture {
            luma: Plane::new(96, 96, 96, &self.luma).unwrap(),
            blue: Plane::new(48, 48, 48, &self.luma).unwrap(),
            red: Plane::new(48, 48, 48, &self.luma).unwrap(),
        };
        Ok(Some(picture).filter(|_| show == Show::Picture))
    }
}

fn track() -> Arc<VideoTrack> {
    let record = [
        1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
    ];
    Arc::new(VideoTrack {
        timescale: NonZeroU32::new(1000).unwrap(),
        width: NonZeroU16::new(96).unwrap(),
        height: NonZeroU16::new(96).unwrap(),
        codec: VideoCodec::H264(AvcConfig::parse(&record).unwrap()),
    })
}

fn unit(data: &[u8], is_sync: bool) -> AccessUnit {
    AccessUnit {
        data: Bytes::copy_from_slice(data),
        dts: 0,
        composition_offset: 0,
        duration: None,
        is_sync,
        captured_unix_ms: 0,
    }
}

fn detector(cost: Duration) -> (Detector<Boxes>, Arc<Watch>) {
    let clock = Arc::new(Watch::default());
    let decoder = Boxes {
        luma: Vec::new(),
        decoded: 0,
        clock: Arc::clone(&clock),
        cost,
    };
    let settings = MotionSettings::default();
    (
        Detector::new(decoder, track(), settings, CPU_PERCENT_DEFAULT),
        clock,
    )
}

#[test]
fn what_moves_is_seen_and_the_picture_comes_with_it() {
    let (mut detector, clock) = detector(Duration::from_millis(1));
    let mut seen = None;
    for index in 0..20_u8 {
        clock.advance(Duration::from_millis(200));
        // It stands for ten pictures, then walks.
        let place = index.saturating_sub(10) * 6;
        let look = detector.handle_unit(&unit(&[place, 0], index == 0), Duration::ZERO, &*clock);
        let look = look.expect("every picture is due");
        if look.verdict.scene == Scene::Moving && seen.is_none() {
            seen = Some((index, look.picture.luma.line(0)[usize::from(place)]));
        }
    }
    assert!(matches!(seen, Some((11..=14, 220))), "{seen:?}");
}

#[test]
fn a_picture_that_cannot_be_decoded_is_counted_and_the_next_key_frame_waited_for() {
    let (mut detector, clock) = detector(Duration::from_millis(1));
    let mut see = |data: &[u8], is_sync| {
        clock.advance(Duration::from_millis(200));
        let look = detector.handle_unit(&unit(data, is_sync), Duration::ZERO, &*clock);
        let is_seen = look.is_some();
        (is_seen, detector.failures(), detector.decoder.decoded)
    };
    assert_eq!(see(&[0, 0], true), (true, 0, 1));
    assert_eq!(see(&[0], false), (false, 1, 2));
    assert_eq!(see(&[0, 0], false), (false, 1, 2));
    assert_eq!(see(&[0, 0], true), (true, 1, 3));
}

#[test]
fn a_stream_in_which_no_key_frame_shows_anything_for_a_while_is_known_for_that() {
    let (mut detector, clock) = detector(Duration::from_millis(1));
    let mut is_blind_after = |seconds, data: &[u8]| {
        clock.advance(Duration::from_secs(seconds));
        detector.handle_unit(&unit(data, true), Duration::ZERO, &*clock);
        detector.is_blind(clock.now())
    };
    let (broken, sound): (&[u8], &[u8]) = (&[0], &[0, 0]);
    // Two are too few for as long as it may be, and many are in too short a time.
    assert!(!is_blind_after(1, broken));
    assert!(!is_blind_after(60, broken));
    assert!(is_blind_after(1, broken));
    assert!(!is_blind_after(1, sound), "there is something");
    for second in 0..29 {
        assert!(!is_blind_after(1, broken), "{second}");
    }
    assert!(is_blind_after(10, broken));
}

#[test]
fn a_decoder_that_is_too_dear_is_given_key_frames_alone() {
    let (mut detector, clock) = detector(Duration::from_millis(60));
    for index in 0..100 {
        // With what it costs itself, 100 ms a picture.
        clock.advance(Duration::from_millis(40));
        let before = clock.now();
        detector.handle_unit(&unit(&[0, 0], index % 10 == 0), Duration::ZERO, &*clock);
        if clock.now() == before {
            clock.advance(Duration::from_millis(60));
        }
    }
    assert_eq!(detector.mode(), Mode::KeyFramesOnly);
    assert_eq!(detector.decoded(), detector.decoder.decoded as u64);
    // Two seconds of all, eight of one a second.
    assert!((20..=32).contains(&detector.decoder.decoded));
}

#[test]
fn people_are_seen_in_a_real_scene_by_the_real_decoder() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
    let file = std::fs::read(path).expect("the clip is committed");
    let clip = Clip::read(&file[..]).expect("the clip is sound");
    let decoder = OpenH264::new().unwrap();
    let clock = Watch::default();
    let settings = MotionSettings::default();
    let mut detector = Detector::new(decoder, Arc::new(clip.track), settings, 100);
    let (mut looks, mut moving) = (0, 0);
    for sample in &clip.samples {
        let start = sample.offset as usize;
        let data = &file[start..start + sample.bytes as usize];
        clock.advance(Duration::from_millis(100));
        let unit = unit(data, sample.is_sync);
        if let Some(look) = detector.handle_unit(&unit, Duration::ZERO, &clock) {
            let luma = look.picture.luma;
            assert_eq!((luma.width(), luma.height()), (768, 576));
            looks += 1;
            moving += usize::from(look.verdict.scene == Scene::Moving);
        }
    }
    assert_eq!((clip.samples.len(), detector.failures()), (200, 0));
    assert!(
        (196..=200).contains(&detector.decoded()),
        "{}",
        detector.decoded()
    );
    // Every second picture is due; somebody walks all the time, once the background is learned.
    assert!(looks >= 98, "{looks}");
    assert!(moving >= looks / 3, "{moving} of {looks}");
}

/// Ten seconds of the first picture, the clip, thirty seconds of the last: people move from the clip's first picture on
/// to its last, and stand there like posts before and behind.
#[test]
fn a_real_scene_moves_for_as_long_as_its_people_do() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
    let file = std::fs::read(path).expect("the clip is committed");
    let clip = Clip::read(&file[..]).expect("the clip is sound");
    let (mut decoder, track) = (OpenH264::new().unwrap(), Arc::new(clip.track));
    // Every second one of ten a second, as the pacer has it.
    let mut pictures: Vec<Vec<u8>> = Vec::new();
    for (number, sample) in clip.samples.iter().enumerate() {
        let start = sample.offset as usize;
        let data = &file[start..start + sample.bytes as usize];
        let decoded = decoder.decode(&track, &unit(data, sample.is_sync), Show::Picture);
        if let Some(picture) = decoded.unwrap()
            && number % 2 == 0
        {
            let luma = picture.luma;
            let lines = (0..luma.height()).flat_map(|y| luma.line(y).to_vec());
            pictures.push(lines.collect());
        }
    }
    assert!((99..=100).contains(&pictures.len()), "{}", pictures.len());
    let (first, last) = (&pictures[0], &pictures[pictures.len() - 1]);
    let head = vec![first; 50];
    let tail = vec![last; 150];
    let source = head.into_iter().chain(&pictures).chain(tail);
    let mut motion = MotionDetector::new(MotionSettings::default());
    let mut moving = Vec::new();
    for (number, picture) in (0_u64..).zip(source) {
        let luma = Luma::new(768, 576, 768, picture).unwrap();
        let verdict = motion.handle_picture(luma, number * PICTURE_INTERVAL_MS);
        if verdict.scene == Scene::Moving {
            moving.push(number * PICTURE_INTERVAL_MS);
        }
    }
    // The clip's first picture is at 10 s, its last at 30 s. Between two movements there is less than a post-roll.
    let (began, ended) = (moving[0], moving[moving.len() - 1]);
    assert!((10_200..=11_000).contains(&began), "{began}");
    let over_ms = STILL_AFTER_MS + 3 * PICTURE_INTERVAL_MS;
    assert!((29_000..=30_200 + over_ms).contains(&ended), "{ended}");
    assert!(
        moving.windows(2).all(|pair| pair[1] - pair[0] < 4_000),
        "{moving:?}"
    );
}
