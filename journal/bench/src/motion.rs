//! What it costs to look for what moves: the decoder, and our own search beside it, on a real scene.
//!
//! Both are measured by CPU time, because that is what a hub with several cameras runs out of. It must never search
//! in pictures that nobody decoded, nor decode more than a camera at work would.

use std::hint::black_box;

use bytes::Bytes;
use hub::camera::AccessUnit;
use hub::camera::demux::{Clip, SampleEntry};
use hub::detector::{Decoder as _, OpenH264, Show};
use hub::motion::{Luma, MotionDetector, MotionSettings, Scene};
use hub::picture::Plane;

use crate::measure::{Samples, timed};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// People who walk, 768x576, ten pictures a second.
const SCENE: &[u8] = include_bytes!("../../../hub/testdata/people-20s.mp4");
/// Every second picture is looked at.
const EVERY: usize = 2;
/// So many are looked at in a second.
const LOOKS_PER_SECOND: usize = 5;
/// Promised: what the search costs beside the decoding, for each picture, in milliseconds.
const SEARCH_MS_MAX: f64 = 1.0;
/// Seconds in a day.
const DAY_S: f64 = 86_400.0;

/// The grey values of a picture.
struct Grey {
    width: usize,
    height: usize,
    stride: usize,
    data: Vec<u8>,
}

/// The search alone, and a day of both.
pub(crate) fn run(scale: Scale) -> Outcome<Vec<Figure>> {
    let clip = Clip::read(SCENE)?;
    let units = units(&clip)?;
    let mut pictures = Vec::new();
    decode(&clip, &units, |plane| {
        pictures.push(Grey {
            width: plane.width(),
            height: plane.height(),
            stride: plane.stride(),
            data: plane.data().to_vec(),
        });
    })?;
    let shown = pictures.len() as f64;
    if pictures.is_empty() {
        return Err("no picture of the scene could be decoded".into());
    }
    let (mut search_ms, mut decode_ms) = (Samples::default(), Samples::default());
    let mut day_s = Samples::default();
    let mut moving = 0;
    for _ in 0..scale.rounds(3, 15) {
        let (decoded, decoding) = timed(|| {
            decode(&clip, &units, |plane| {
                black_box(plane.data());
            })
        });
        decoded?;
        let (found, searching) = timed(|| search(&pictures));
        moving = found?;
        search_ms.push(searching.cpu_s * 1e3 / shown);
        decode_ms.push(decoding.cpu_s * 1e3 / units.len() as f64);
        let seconds = shown / LOOKS_PER_SECOND as f64;
        day_s.push((decoding.cpu_s + searching.cpu_s) / seconds * DAY_S);
    }
    let title = "search for motion beside decoding, each 768x576 picture, CPU";
    let target = Target::AtMost(SEARCH_MS_MAX);
    let search = Figure::of_samples("motion", title, "ms", &search_ms, target)
        .with_number("decoding, ms each picture", decode_ms.median())
        .with_number("pictures", shown)
        .with_number("of them with something that moves", moving as f64);
    let title = "detection of one camera for a day, CPU: ten pictures/s decoded, five looked at";
    let day = Figure::of_samples("detection_day", title, "s", &day_s, Target::None)
        .with_number("share of one core, %", day_s.median() / DAY_S * 100.0);
    Ok(vec![search, day])
}

fn units(clip: &Clip) -> Outcome<Vec<AccessUnit>> {
    let unit = |sample: &SampleEntry| -> Outcome<AccessUnit> {
        let start = usize::try_from(sample.offset)?;
        let data = SCENE.get(start..start + sample.bytes as usize);
        let data = data.ok_or("a picture lies outside its file")?;
        Ok(AccessUnit {
            data: Bytes::from_static(data),
            dts: 0,
            composition_offset: sample.composition_offset,
            duration: Some(sample.duration),
            is_sync: sample.is_sync,
            captured_unix_ms: 0,
        })
    };
    clip.samples.iter().map(unit).collect()
}

/// Decodes all, and shows those that are looked at.
fn decode(clip: &Clip, units: &[AccessUnit], mut each: impl FnMut(Plane<'_>)) -> Outcome<()> {
    let mut decoder = OpenH264::new()?;
    for (number, unit) in units.iter().enumerate() {
        let show = match number % EVERY {
            0 => Show::Picture,
            _ => Show::Nothing,
        };
        if let Some(picture) = decoder.decode(&clip.track, unit, show)? {
            each(picture.luma);
        }
    }
    Ok(())
}

/// In how many of them something moves.
fn search(pictures: &[Grey]) -> Outcome<usize> {
    let mut detector = MotionDetector::new(MotionSettings::default());
    let mut moving = 0;
    for (number, grey) in pictures.iter().enumerate() {
        let luma = Luma::new(grey.width, grey.height, grey.stride, &grey.data)?;
        let at_ms = (number * 1_000 / LOOKS_PER_SECOND) as u64;
        let verdict = detector.handle_picture(luma, at_ms);
        moving += usize::from(verdict.scene == Scene::Moving);
    }
    Ok(moving)
}
