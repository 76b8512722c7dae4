//! What a camera's pictures become: decoded, looked at for motion, made small. And what a phone may set of that.

use bytes::Bytes;
use hub::camera::demux::Clip;
use hub::camera::{AccessUnit, VideoTrack};
use hub::config::detection::{Detection, UTC_OFFSET_MINUTES};
use hub::detector::{DecodeErrorKind, Decoder, OpenH264, Show};
use hub::motion::{
    FULL_PERMILLE, Luma, MASKS_MAX, MotionDetector, MotionSettings, REGIONS_MAX, SIDE_MIN, Scene,
    Verdict, WallClock, ZONES_MAX,
};
use hub::picture::Picture;
use hub::thumbnail::{self, Thumbnail};
use journal::message::{self, CameraSettings, QuietSetting, ZoneSetting};

use crate::input::Input;

/// Most pictures of one run: more than a calibration lasts.
const PICTURES_MAX: usize = 96;
/// Most compressed pictures of one run before the honest ones.
const UNITS_MAX: usize = 8;
/// Pictures of the sound clip that are used, its first key frame among them.
const HONEST_MAX: usize = 12;
/// The longest side of a picture.
const SIDE_MAX: usize = 96;
/// A clip of 96 x 64 pixels, as a camera sends it.
pub(crate) const CLIP: &[u8] = include_bytes!("../../fuzz/seeds/mp4/fragmented.mp4");

/// Settings of a phone over a file's, and some pictures under them. Settings that cannot be are named and change
/// nothing; what is found lies in the picture, and hangs on nothing but its pixels.
pub(crate) fn detection(data: &[u8]) {
    let mut input = Input::new(data);
    let file = Detection::default();
    let set = match file.with(&wanted(&mut input)) {
        Ok(set) => set,
        Err(error) => {
            assert!(!error.key.is_empty() && !error.to_string().contains('\n'));
            file.clone()
        }
    };
    let values = set.motion.values();
    assert!(values.zones.len() <= ZONES_MAX && values.masks.len() <= MASKS_MAX);
    let (first, last) = UTC_OFFSET_MINUTES;
    let is_fixed =
        matches!(&set.wall_clock, WallClock::Fixed(minutes) if (first..=last).contains(minutes));
    assert!(is_fixed, "a phone set {:?}", set.wall_clock);
    assert_eq!(
        set.cpu_percent, file.cpu_percent,
        "a phone set the hub's means"
    );
    assert_eq!(set.person, None, "a phone brought in a program");
    assert!(set.events.at_most() > set.events.post_roll());
    assert_eq!(set.with(&CameraSettings::default()), Ok(set.clone()));
    look(&mut input, &file.motion, &set.motion);
}

/// What a phone wants: as it comes in a command, or values that can be, more often than luck would have it.
fn wanted(input: &mut Input<'_>) -> CameraSettings {
    if input.flag() {
        return message::decode(input.bytes()).unwrap_or_default();
    }
    let zone = |input: &mut Input<'_>| ZoneSetting {
        name: "z".repeat(usize::from(input.byte() % 66)),
        corners: corners(input),
    };
    let has = input.word();
    let byte = |bit: u32, input: &mut Input<'_>| (has >> bit & 1 == 1).then(|| input.byte());
    let millis =
        |bit: u32, input: &mut Input<'_>| (has >> bit & 1 == 1).then(|| input.word() as u32 * 16);
    CameraSettings {
        detects: byte(0, input).map(|byte| byte & 1 == 1),
        sensitivity: byte(1, input),
        min_area_permille: byte(2, input).map(u16::from),
        light_switch_percent: byte(3, input),
        zones: byte(4, input).map(|count| (0..count % 10).map(|_| zone(input)).collect()),
        masks: byte(5, input).map(|count| (0..count % 18).map(|_| corners(input)).collect()),
        quiet: byte(6, input).map(|byte| match byte {
            0 => QuietSetting::Never,
            _ => QuietSetting::Hours {
                from_minute: u16::from(byte) * 6,
                until_minute: input.word() as u16,
            },
        }),
        utc_offset_minutes: (has >> 7 & 1 == 1).then(|| input.word() as i16),
        pre_roll_ms: millis(8, input),
        post_roll_ms: millis(9, input),
        at_most_ms: millis(10, input),
        cool_down_ms: millis(11, input),
        name: byte(12, input).map(|length| "n".repeat(usize::from(length % 66))),
        persons: byte(13, input).map(|byte| byte & 1 == 1),
    }
}

/// A few corners; one in four is outside of the picture.
fn corners(input: &mut Input<'_>) -> Vec<(u16, u16)> {
    let count = input.byte() % 8;
    let place = |input: &mut Input<'_>| u16::from(input.byte()) * 5;
    (0..count).map(|_| (place(input), place(input))).collect()
}

/// Two detectors see the same pictures, one of them with other bytes between the lines.
fn look(input: &mut Input<'_>, file: &MotionSettings, set: &MotionSettings) {
    let mut settings = set;
    let mut detectors = [set, set].map(|set| MotionDetector::new(set.clone()));
    let mut side = || SIDE_MIN + input.below(SIDE_MAX - SIDE_MIN);
    let (width, height) = (side(), side());
    let stride = width + input.below(16);
    let mut pixels = vec![input.byte(); width * height];
    let mut at_ms = 0;
    for _ in 0..PICTURES_MAX {
        if input.is_empty() {
            return;
        }
        let what = input.byte();
        match what & 7 {
            0 => detectors.iter_mut().for_each(MotionDetector::restart),
            1 => {
                settings = if input.flag() { file } else { set };
                for detector in &mut detectors {
                    detector.handle_settings(settings.clone());
                }
            }
            2 => pixels.fill(input.byte()),
            _ => block(&mut pixels, width, input),
        }
        at_ms += u64::from(what >> 3) * 40;
        let mut apart = vec![what; stride * height];
        for (to, from) in apart.chunks_mut(stride).zip(pixels.chunks(width)) {
            to[..width].copy_from_slice(from);
        }
        let [one, other] = &mut detectors;
        let together = Luma::new(width, height, width, &pixels).expect("all lines are there");
        let spread = Luma::new(width, height, stride, &apart).expect("all lines are there");
        let verdict = one.handle_picture(together, at_ms);
        assert_eq!(verdict, other.handle_picture(spread, at_ms));
        is_sound(&verdict, settings);
    }
}

/// Something of one grey.
fn block(pixels: &mut [u8], width: usize, input: &mut Input<'_>) {
    let (left, top) = (input.below(width), input.below(pixels.len() / width));
    let (wide, high) = (usize::from(input.byte()), usize::from(input.byte()));
    let grey = input.byte();
    for line in pixels.chunks_mut(width).skip(top).take(high) {
        line[left..(left + wide).min(width)].fill(grey);
    }
}

fn is_sound(verdict: &Verdict<'_>, settings: &MotionSettings) {
    let regions = verdict.regions;
    assert!(regions.len() <= REGIONS_MAX);
    assert!(verdict.changed_permille <= FULL_PERMILLE && verdict.score() <= FULL_PERMILLE);
    assert!(verdict.scene != Scene::Calibrating || regions.is_empty());
    assert!(regions.is_sorted_by(|a, b| a.area_permille >= b.area_permille));
    let zones = settings.zones().len() as u32;
    for region in regions {
        assert!(region.left < region.right && region.right <= FULL_PERMILLE);
        assert!(region.top < region.bottom && region.bottom <= FULL_PERMILLE);
        assert!(region.area_permille <= FULL_PERMILLE);
        assert_eq!(
            u32::from(region.zones) >> zones,
            0,
            "a zone that is not there"
        );
        assert!(
            zones == 0 || region.zones != 0,
            "motion outside of all zones"
        );
    }
    let whole = [(0, 0), (1000, 0), (1000, 1000), (0, 1000)];
    let is_whole = |mask: &hub::motion::Polygon| {
        let points = mask.points().iter().map(|point| (point.x, point.y));
        points.eq(whole)
    };
    if settings.masks().iter().any(is_whole) {
        assert!(regions.is_empty() && verdict.changed_permille == 0);
    }
}

thread_local! {
    static HONEST: (VideoTrack, Vec<AccessUnit>) = honest();
}

/// The pictures of a sound clip.
fn honest() -> (VideoTrack, Vec<AccessUnit>) {
    let clip = Clip::read(CLIP).expect("the committed clip can be read");
    let mut dts = 0;
    let units = clip.samples.iter().take(HONEST_MAX).map(|sample| {
        let start = usize::try_from(sample.offset).expect("it lies inside the file");
        let unit = AccessUnit {
            data: Bytes::from_static(&CLIP[start..start + sample.bytes as usize]),
            dts,
            composition_offset: sample.composition_offset,
            duration: Some(sample.duration),
            is_sync: sample.is_sync,
            captured_unix_ms: 0,
        };
        dts += u64::from(sample.duration);
        unit
    });
    (clip.track, units.collect())
}

/// Damaged pictures to the decoder, and honest ones behind them. Each is a picture whose bytes are there or a typed
/// error, and from the next honest key frame on the stream is as if nothing had been.
pub(crate) fn decoder(data: &[u8]) {
    HONEST.with(|(track, honest)| {
        let mut input = Input::new(data);
        let mut decoder = OpenH264::new().expect("a decoder is built in");
        let mut thumbnail = Thumbnail::default();
        for _ in 0..UNITS_MAX {
            if input.is_empty() {
                break;
            }
            let mut unit = honest[input.below(honest.len())].clone();
            if input.flag() {
                unit.is_sync = !unit.is_sync;
            }
            let mut bytes = unit.data.to_vec();
            Input::new(input.bytes()).edit(&mut bytes);
            unit.data = bytes.into();
            match decoder.decode(track, &unit, Show::Picture) {
                Ok(Some(picture)) => seen(&picture, &mut thumbnail),
                Ok(None) => {}
                Err(error) => {
                    assert_eq!(error.kind(), DecodeErrorKind::Peer, "{error}");
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        if let Ok(jpeg) = thumbnail.jpeg() {
            assert!(jpeg.len() <= thumbnail::BYTES_MAX && jpeg.starts_with(&[0xff, 0xd8]));
        }
        let mut shown = 0;
        for unit in honest {
            let decoded = decoder.decode(track, unit, Show::Picture);
            let Some(picture) = decoded.expect("an honest picture is decoded") else {
                continue;
            };
            let (width, height) = (picture.luma.width(), picture.luma.height());
            let size = [track.width, track.height].map(|side| usize::from(side.get()));
            assert_eq!([width, height], size, "a picture of another size");
            shown += 1;
        }
        assert!(shown > 0, "no honest picture is shown behind damaged ones");
    });
}

fn seen(picture: &Picture<'_>, thumbnail: &mut Thumbnail) {
    for plane in [picture.luma, picture.blue, picture.red] {
        let mut lines = (0..plane.height()).map(|y| plane.line(y));
        assert!(lines.all(|line| line.len() == plane.width()));
        assert!(plane.line(plane.height()).is_empty());
    }
    thumbnail.keep(picture);
    if let Ok(luma) = Luma::try_from(picture.luma) {
        let mut detector = MotionDetector::new(MotionSettings::default());
        is_sound(
            &detector.handle_picture(luma, 0),
            &MotionSettings::default(),
        );
    }
}
