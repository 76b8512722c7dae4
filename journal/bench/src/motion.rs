//! What it costs to look for what moves: the decoder, and our own search beside it, on a real scene, with what a hub keeps
//! of each picture in which something moves, for it may become the event's.
//!
//! All are measured by CPU time, because that is what a hub with several cameras runs out of. It must never search
//! in pictures that nobody decoded, nor decode more than a camera at work would.

use std::hint::black_box;

use bytes::Bytes;
use hub::camera::AccessUnit;
use hub::camera::demux::{Clip, SampleEntry};
use hub::detector::{Decoder as _, OpenH264, Show};
use hub::motion::{Luma, MotionDetector, MotionSettings, Scene};
use hub::picture::{Picture, Plane};
use hub::thumbnail::Thumbnail;

use crate::measure::{Samples, timed};
use crate::report::{Figure, Question, Target};
use crate::{Outcome, Scale};

/// People who walk, 768x576, ten pictures a second.
const SCENE: &[u8] = include_bytes!("../../../hub/testdata/people-20s.mp4");
/// Every second picture is looked at.
const EVERY: usize = 2;
/// So many are looked at in a second.
const LOOKS_PER_SECOND: usize = 5;
/// Seconds in a day.
const DAY_S: f64 = 86_400.0;

/// What is asked.
pub(crate) const QUESTIONS: [Question; 2] = [
    Question {
        key: "motion",
        title: "search for motion beside decoding, each 768x576 picture, CPU",
        unit: "ms",
        target: Target::AtMost(1.0),
    },
    Question {
        key: "detection_day",
        title: "detection of one camera for a day, CPU: ten pictures/s decoded, five looked at",
        unit: "s",
        target: Target::None,
    },
];

/// One plane of a picture, as the decoder lent it.
struct Kept {
    width: usize,
    height: usize,
    stride: usize,
    data: Vec<u8>,
}

impl Kept {
    fn of(plane: Plane<'_>) -> Self {
        Self {
            width: plane.width(),
            height: plane.height(),
            stride: plane.stride(),
            data: plane.data().to_vec(),
        }
    }

    fn plane(&self) -> Outcome<Plane<'_>> {
        let plane = Plane::new(self.width, self.height, self.stride, &self.data);
        Ok(plane.ok_or("a plane is as it was lent")?)
    }
}

/// A picture: brightness, blue, red.
struct Decoded([Kept; 3]);

impl Decoded {
    fn of(picture: &Picture<'_>) -> Self {
        Self([picture.luma, picture.blue, picture.red].map(Kept::of))
    }

    fn picture(&self) -> Outcome<Picture<'_>> {
        let [luma, blue, red] = &self.0;
        Ok(Picture {
            luma: luma.plane()?,
            blue: blue.plane()?,
            red: red.plane()?,
        })
    }
}

/// The search with what is kept, and a day of both with the decoder.
pub(crate) fn run(scale: Scale) -> Outcome<Vec<Figure>> {
    let clip = Clip::read(SCENE)?;
    let units = units(&clip)?;
    let mut pictures = Vec::new();
    decode(&clip, &units, |picture| {
        pictures.push(Decoded::of(picture));
    })?;
    let shown = pictures.len() as f64;
    if pictures.is_empty() {
        return Err("no picture of the scene could be decoded".into());
    }
    let lent: Vec<Picture<'_>> = pictures
        .iter()
        .map(Decoded::picture)
        .collect::<Outcome<_>>()?;
    let (mut search_ms, mut decode_ms) = (Samples::default(), Samples::default());
    let (mut keep_ms, mut day_s) = (Samples::default(), Samples::default());
    let mut moving = 0;
    for _ in 0..scale.rounds(3, 15) {
        let (decoded, decoding) = timed(|| {
            decode(&clip, &units, |picture| {
                black_box(picture.luma.data());
            })
        });
        decoded?;
        let (found, searching) = timed(|| search(&lent));
        let found = found?;
        moving = found.len();
        let ((), keeping) = timed(|| keep(&found));
        let beside_s = searching.cpu_s + keeping.cpu_s;
        search_ms.push(beside_s * 1e3 / shown);
        keep_ms.push(keeping.cpu_s * 1e3 / moving.max(1) as f64);
        decode_ms.push(decoding.cpu_s * 1e3 / units.len() as f64);
        let seconds = shown / LOOKS_PER_SECOND as f64;
        day_s.push((decoding.cpu_s + beside_s) / seconds * DAY_S);
    }
    if moving == 0 {
        return Err("nothing moves in the scene, and nothing was kept".into());
    }
    let [search, day] = QUESTIONS;
    let search = search
        .answer_by(&search_ms)
        .with_number("decoding, ms each picture", decode_ms.median())
        .with_number("pictures", shown)
        .with_number("of them with something that moves, and kept", moving as f64)
        .with_number("keeping one of these, ms", keep_ms.median());
    let day = day
        .answer_by(&day_s)
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
fn decode(clip: &Clip, units: &[AccessUnit], mut each: impl FnMut(&Picture<'_>)) -> Outcome<()> {
    let mut decoder = OpenH264::new()?;
    for (number, unit) in units.iter().enumerate() {
        let show = match number % EVERY {
            0 => Show::Picture,
            _ => Show::Nothing,
        };
        if let Some(picture) = decoder.decode(&clip.track, unit, show)? {
            each(&picture);
        }
    }
    Ok(())
}

/// Those of them in which something moves.
fn search<'p>(pictures: &'p [Picture<'p>]) -> Outcome<Vec<&'p Picture<'p>>> {
    let mut detector = MotionDetector::new(MotionSettings::default());
    let mut moving = Vec::with_capacity(pictures.len());
    for (number, picture) in pictures.iter().enumerate() {
        let luma = Luma::try_from(picture.luma)?;
        let at_ms = (number * 1_000 / LOOKS_PER_SECOND) as u64;
        let verdict = detector.handle_picture(luma, at_ms);
        if verdict.scene == Scene::Moving {
            moving.push(picture);
        }
    }
    Ok(moving)
}

/// Keeps each of them instead of the one before it, as the hub does with what may become the picture of an event.
fn keep(moving: &[&Picture<'_>]) {
    let mut latest = Thumbnail::default();
    for picture in moving {
        latest.keep(picture);
        black_box(&latest);
    }
}
