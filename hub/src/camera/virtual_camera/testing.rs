//! Moving pictures for tests, drawn and encoded as those of the virtual camera, to a script.

use std::time::Duration;

use bytes::Bytes;

use super::scene::{CYCLE, Scene, WALK};
use super::{SceneEncoder, VirtualConfig};
use crate::camera::SourceItem;
use crate::camera::annex_b::Picture;
use crate::camera::command::Parameters;

/// Who is in the picture.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// The clock stands as well.
    Nobody,
    /// Somebody who crosses it, from the left side on.
    Somebody,
    /// Nobody, and the clock runs.
    Clock,
}

/// Pictures a second. Each tenth is a key frame.
pub(crate) const RATE: u64 = 10;
/// From one picture to the next, in milliseconds.
pub(crate) const PICTURE_MS: u64 = 1000 / RATE;
/// The same in ticks of the track.
const PICTURE_TICKS: u64 = 90_000 / RATE;

/// Width and height of the pictures, in pixels, where nobody says anything else.
const SIDES: (u16, u16) = (320, 240);

/// The pictures of so many seconds each.
fn pictures((width, height): (u16, u16), script: &[(Shows, u64)]) -> Vec<Picture> {
    let config = VirtualConfig {
        width,
        height,
        pictures_per_second: RATE as u8,
        ..VirtualConfig::default()
    };
    let mut encoder = SceneEncoder::new(config).unwrap();
    let mut pictures = Vec::new();
    for (shows, seconds) in script {
        for number in 0..seconds * RATE {
            let walked = Duration::from_millis(number * PICTURE_MS);
            let passed_ms = pictures.len() as u64 * PICTURE_MS;
            let scene = match shows {
                Shows::Nobody => Scene::at(Duration::ZERO, 0),
                Shows::Somebody => Scene::at(CYCLE - WALK + walked, 0),
                // Every bit of it moves sooner or later.
                Shows::Clock => Scene::at(Duration::ZERO, passed_ms * 0x1_0001),
            };
            let passed = Duration::from_millis(passed_ms);
            pictures.push(encoder.encode(&scene, passed).unwrap());
        }
    }
    pictures
}

/// What a source says of them: a format, then pictures of which number `n` is captured `n` times
/// [`PICTURE_MS`] after 1970.
pub(crate) fn items(script: &[(Shows, u64)]) -> Vec<SourceItem> {
    let mut parameters = Parameters::default();
    let numbered = (0..).zip(pictures(SIDES, script));
    let items = numbered.flat_map(|(number, picture)| {
        let (dts, captured_unix_ms) = (number * PICTURE_TICKS, number * PICTURE_MS);
        parameters
            .handle_picture(picture, dts, captured_unix_ms)
            .unwrap()
    });
    items.collect()
}

/// What an RTSP camera plays.
pub(crate) fn scene(script: &[(Shows, u64)]) -> test_camera::Scene {
    scene_of(SIDES, script)
}

/// The same in pictures of that width and height.
pub(crate) fn scene_of(sides: (u16, u16), script: &[(Shows, u64)]) -> test_camera::Scene {
    let pictures = pictures(sides, script);
    let first = &pictures[0];
    test_camera::Scene {
        vps: None,
        sps: first.sps.clone().unwrap(),
        pps: first.pps.clone().unwrap(),
        duration: pictures.len() as u64 * PICTURE_TICKS,
        pictures: (0..)
            .zip(&pictures)
            .map(|(number, picture)| test_camera::Picture {
                nals: nals(&picture.data),
                pts: number * PICTURE_TICKS,
                dts: number * PICTURE_TICKS,
            })
            .collect(),
    }
}

/// NAL units behind lengths of four bytes.
fn nals(mut data: &[u8]) -> Vec<Bytes> {
    let mut nals = Vec::new();
    while let Some((length, behind)) = data.split_first_chunk::<4>() {
        let (nal, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        nals.push(Bytes::copy_from_slice(nal));
        data = behind;
    }
    nals
}
