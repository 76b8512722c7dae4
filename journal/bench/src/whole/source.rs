//! A clip as a camera of 1080p and 4 Mbit/s makes it: 25 pictures a second, a key frame every second.
//!
//! The pictures are the virtual camera's, really encoded, and filled up to their share of the rate with filler data
//! (ITU-T H.264, 7.4.1, type 12), which every decoder leaves out. It must never be larger or smaller than it says.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use hub::camera::virtual_camera::scene::Scene;
use hub::camera::virtual_camera::{SceneEncoder, VirtualConfig};
use hub::camera::{AccessUnit, AvcConfig, VideoCodec, VideoTrack};
use hub::segmenter::Segmenter;

use crate::Outcome;
use crate::hub::NOW_UNIX_MS;

/// Of the pictures, in bytes a second: 4 Mbit/s.
pub(super) const BYTES_PER_SECOND: usize = 500_000;
const RATE: u8 = 25;
const SIDES: (u16, u16) = (1920, 1080);
const SECONDS: u64 = 10;
/// A key frame is so many times as large as another picture.
const KEY_FRAME: usize = 8;
const TIMESCALE: u32 = 90_000;
/// Filler data, its header.
const FILLER: u8 = 12;
/// What ends a NAL unit's payload.
const TRAILING: u8 = 0x80;

/// Writes it.
pub(super) fn write(path: &Path) -> Outcome<()> {
    let config = VirtualConfig {
        width: SIDES.0,
        height: SIDES.1,
        pictures_per_second: RATE,
        ..VirtualConfig::default()
    };
    let mut encoder = SceneEncoder::new(config)?;
    let mut segmenter = None;
    let mut mp4 = Vec::new();
    let ticks = TIMESCALE / u32::from(RATE);
    for number in 0..SECONDS * u64::from(RATE) {
        let passed = Duration::from_millis(number * 1_000 / u64::from(RATE));
        let scene = Scene::at(passed, NOW_UNIX_MS + number);
        let picture = encoder.encode(&scene, passed)?;
        let segmenter = match &mut segmenter {
            Some(segmenter) => segmenter,
            none => {
                let (Some(sps), Some(pps)) = (&picture.sps, &picture.pps) else {
                    return Err("the encoder's first picture has no parameter sets".into());
                };
                none.insert(Segmenter::new(Arc::new(VideoTrack {
                    timescale: NonZeroU32::new(TIMESCALE).ok_or("no timescale")?,
                    width: NonZeroU16::new(SIDES.0).ok_or("no width")?,
                    height: NonZeroU16::new(SIDES.1).ok_or("no height")?,
                    codec: VideoCodec::H264(AvcConfig::of_sets(sps, pps)?),
                })))
            }
        };
        let mut data = picture.data;
        fill(&mut data, picture_bytes(picture.is_sync));
        let chunks = segmenter.handle_unit(AccessUnit {
            data: data.freeze(),
            dts: number * u64::from(ticks),
            composition_offset: 0,
            duration: Some(ticks),
            is_sync: picture.is_sync,
            captured_unix_ms: NOW_UNIX_MS,
        })?;
        chunks
            .iter()
            .for_each(|chunk| mp4.extend_from_slice(&chunk.data));
    }
    let rest = segmenter.ok_or("a clip has pictures")?.finish();
    rest.iter()
        .for_each(|chunk| mp4.extend_from_slice(&chunk.data));
    let wanted = BYTES_PER_SECOND * SECONDS as usize;
    if mp4.len() < wanted || mp4.len() > wanted + wanted / 50 {
        return Err(format!("the clip has {} bytes, not {wanted}", mp4.len()).into());
    }
    std::fs::write(path, mp4)?;
    Ok(())
}

/// How many bytes a picture should have.
fn picture_bytes(is_sync: bool) -> usize {
    let each = BYTES_PER_SECOND / (usize::from(RATE) - 1 + KEY_FRAME);
    match is_sync {
        true => each * KEY_FRAME,
        false => each,
    }
}

/// Fills a picture up to so many bytes; one that is almost as large or larger stays as it is.
fn fill(data: &mut BytesMut, wanted: usize) {
    const HEAD_BYTES: usize = 4 + 1 + 1;
    let Some(filler) = wanted.checked_sub(data.len() + HEAD_BYTES) else {
        return;
    };
    // Length, header, payload, end.
    data.put_u32((filler + 2) as u32);
    data.put_u8(FILLER);
    data.put_bytes(0xFF, filler);
    data.put_u8(TRAILING);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_filled_up_to_its_share_of_the_rate() {
        let second = picture_bytes(true) + (usize::from(RATE) - 1) * picture_bytes(false);
        assert!(second.abs_diff(BYTES_PER_SECOND) < 100, "{second}");
        for (has, wanted, got) in [(100, 106, 106), (100, 1_000, 1_000), (100, 105, 100)] {
            let mut data = BytesMut::from(&vec![1; has][..]);
            fill(&mut data, wanted);
            assert_eq!(data.len(), got);
            let length = data.get(has..has + 4).map(|at| at.try_into().unwrap());
            let length = length.map(u32::from_be_bytes);
            assert_eq!(length, (got > has).then(|| (got - has - 4) as u32));
        }
    }
}
