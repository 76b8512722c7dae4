//! The virtual camera's pictures, decoded again: when each was drawn, and whether somebody is in it.
//!
//! Both are read from the pixels. It must never guess a time: a picture whose clock cannot be read has none.

use bytes::Bytes;
use hub::camera::AccessUnit;
use hub::camera::demux::{Clip, SampleEntry};
use hub::camera::virtual_camera::scene::{CLOCK_PART, read_time};
use hub::detector::{Decoder as _, OpenH264, Show};
use hub::picture::Plane;

use crate::Outcome;
use crate::measure::Stopwatch;

/// A pixel has changed if its brightness has by more than this.
const CHANGED: u8 = 30;
/// Somebody is in a picture if more than this part of it has changed: a body is four times as much.
const SOMEBODY_PART: usize = 100;

/// A picture that was decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Where its bytes begin in the file.
    pub(super) offset: u64,
    /// When it was drawn, by its own clock; `None` if that cannot be read.
    pub(super) drawn_unix_ms: Option<u64>,
    /// Whether it shows what the first one does not.
    pub(super) has_somebody: bool,
    /// What decoding it took.
    pub(super) decode_ms: f64,
}

/// All pictures of an MP4, from its first key frame on.
pub(super) fn read(mp4: &[u8]) -> Outcome<Vec<Shown>> {
    let clip = Clip::read(mp4)?;
    let mut decoder = OpenH264::new()?;
    let mut empty: Option<Vec<u8>> = None;
    let mut all = Vec::new();
    for sample in &clip.samples {
        let unit = unit(mp4, sample)?;
        let watch = Stopwatch::start();
        let decoded = decoder.decode(&clip.track, &unit, Show::Picture)?;
        let cost = watch.stop();
        let Some(picture) = decoded else { continue };
        let luma = picture.luma;
        let below = below_clock(luma);
        let first = empty.get_or_insert_with(|| below.clone());
        all.push(Shown {
            offset: sample.offset,
            drawn_unix_ms: read_time(luma.data(), luma.width(), luma.height(), luma.stride()),
            has_somebody: differ(first, &below),
            decode_ms: cost.wall_s * 1e3,
        });
    }
    Ok(all)
}

fn unit(mp4: &[u8], sample: &SampleEntry) -> Outcome<AccessUnit> {
    let start = usize::try_from(sample.offset)?;
    let data = mp4.get(start..start + sample.bytes as usize);
    let data = data.ok_or("a picture lies outside its file")?;
    Ok(AccessUnit {
        data: Bytes::copy_from_slice(data),
        dts: 0,
        composition_offset: sample.composition_offset,
        duration: Some(sample.duration),
        is_sync: sample.is_sync,
        captured_unix_ms: 0,
    })
}

/// Where nothing but somebody moves.
fn below_clock(luma: Plane<'_>) -> Vec<u8> {
    let first = luma.height() / CLOCK_PART + 2;
    let lines = (first..luma.height()).flat_map(|y| luma.line(y).iter().copied());
    lines.collect()
}

fn differ(one: &[u8], other: &[u8]) -> bool {
    let pairs = one.iter().zip(other);
    let changed = pairs.filter(|(a, b)| a.abs_diff(**b) > CHANGED).count();
    changed * SOMEBODY_PART > one.len()
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32};
    use std::sync::Arc;
    use std::time::Duration;

    use hub::camera::virtual_camera::scene::{CYCLE, Scene, WALK};
    use hub::camera::virtual_camera::{SceneEncoder, VirtualConfig};
    use hub::camera::{AvcConfig, VideoCodec, VideoTrack};
    use hub::segmenter::Segmenter;

    use super::*;

    #[test]
    fn clock_and_somebody_are_read_from_what_was_encoded() {
        let config = VirtualConfig::default();
        let mut encoder = SceneEncoder::new(config).unwrap();
        let (mut mp4, mut segmenter) = (Vec::new(), None);
        for number in 0..20_u64 {
            // Somebody comes with the tenth picture.
            let passed = Duration::from_millis(number * 100);
            let scene = Scene::at(
                CYCLE - WALK + passed - Duration::from_secs(1),
                5_000 + number,
            );
            let picture = encoder.encode(&scene, passed).unwrap();
            let segmenter = segmenter.get_or_insert_with(|| {
                let (sps, pps) = (picture.sps.clone().unwrap(), picture.pps.clone().unwrap());
                Segmenter::new(Arc::new(VideoTrack {
                    timescale: NonZeroU32::new(1_000).unwrap(),
                    width: NonZeroU16::new(config.width).unwrap(),
                    height: NonZeroU16::new(config.height).unwrap(),
                    codec: VideoCodec::H264(AvcConfig::of_sets(&sps, &pps).unwrap()),
                }))
            });
            let unit = AccessUnit {
                data: picture.data.freeze(),
                dts: number * 100,
                composition_offset: 0,
                duration: Some(100),
                is_sync: picture.is_sync,
                captured_unix_ms: 0,
            };
            for chunk in segmenter.handle_unit(unit).unwrap() {
                mp4.extend_from_slice(&chunk.data);
            }
        }
        for chunk in segmenter.unwrap().finish() {
            mp4.extend_from_slice(&chunk.data);
        }
        let shown = read(&mp4).unwrap();
        let drawn: Vec<_> = shown.iter().filter_map(|one| one.drawn_unix_ms).collect();
        assert_eq!(drawn, (5_000..5_020).collect::<Vec<_>>());
        let first = shown.iter().position(|one| one.has_somebody);
        assert_eq!(first, Some(10));
        assert!(shown.is_sorted_by_key(|one| one.offset));
    }
}
