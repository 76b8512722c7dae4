//! What a camera of 1080p and 4 Mbit/s makes, 25 pictures a second with a key frame every second: as a clip, and as a stream
//! with start codes, before whose camera somebody walks.
//!
//! The pictures are the virtual camera's, really encoded, and filled up to their share of the rate with filler data
//! (ITU-T H.264, 7.4.1, type 12), which every decoder leaves out. It must never be larger or smaller than it says.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use hub::camera::annex_b::Picture;
use hub::camera::virtual_camera::scene::Scene;
use hub::camera::virtual_camera::{SceneEncoder, VirtualConfig};
use hub::camera::{AccessUnit, AvcConfig, VideoCodec, VideoTrack};
use hub::segmenter::Segmenter;

use crate::Outcome;
use crate::hub::NOW_UNIX_MS;

/// Of the pictures, in bytes a second: 4 Mbit/s.
pub(super) const BYTES_PER_SECOND: usize = 500_000;
const RATE: u8 = 25;
/// From one picture to the next, in milliseconds.
pub(super) const PERIOD_MS: u64 = 1_000 / RATE as u64;
/// How often somebody walks through the scene of the stream, which is one such cycle: he takes ten seconds, and the others
/// are more than a pre-roll and a post-roll.
pub(super) const STREAM_CYCLE: Duration = Duration::from_secs(20);
/// How many pictures the stream has.
pub(super) const STREAM_PICTURES: u64 = STREAM_CYCLE.as_secs() * RATE as u64;
const SIDES: (u16, u16) = (1920, 1080);
const SECONDS: u64 = 10;
/// A key frame is so many times as large as another picture.
const KEY_FRAME: usize = 8;
const TIMESCALE: u32 = 90_000;
/// Filler data, its header.
const FILLER: u8 = 12;
/// What ends a NAL unit's payload.
const TRAILING: u8 = 0x80;
/// What stands before each NAL unit of a stream.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Writes a clip of ten seconds, in which nobody comes.
pub(super) fn write(path: &Path) -> Outcome<()> {
    let mut segmenter = None;
    let mut mp4 = Vec::new();
    let ticks = TIMESCALE / u32::from(RATE);
    let scene = |number: u64, passed: Duration| Scene::at(passed, NOW_UNIX_MS + number);
    encode(SECONDS * u64::from(RATE), scene, |number, picture| {
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
        let chunks = segmenter.handle_unit(AccessUnit {
            data: picture.data.freeze(),
            dts: number * u64::from(ticks),
            composition_offset: 0,
            duration: Some(ticks),
            is_sync: picture.is_sync,
            captured_unix_ms: NOW_UNIX_MS,
        })?;
        chunks
            .iter()
            .for_each(|chunk| mp4.extend_from_slice(&chunk.data));
        Ok(())
    })?;
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

/// Writes the stream: each picture with its start codes, behind its length in four bytes for whoever plays it. The clock in a
/// picture shows its number in the stream, in milliseconds.
pub(super) fn write_stream(path: &Path) -> Outcome<()> {
    let mut stream = Vec::new();
    let scene = |number: u64, passed: Duration| Scene::of_cycle(STREAM_CYCLE, passed, number);
    encode(STREAM_PICTURES, scene, |_, picture| {
        let mut bytes = Vec::new();
        for set in [&picture.sps, &picture.pps].into_iter().flatten() {
            bytes.extend_from_slice(&START_CODE);
            bytes.extend_from_slice(set);
        }
        put_with_start_codes(&picture.data, &mut bytes)?;
        stream.extend_from_slice(&u32::try_from(bytes.len())?.to_be_bytes());
        stream.extend_from_slice(&bytes);
        Ok(())
    })?;
    std::fs::write(path, stream)?;
    Ok(())
}

/// The pictures of a stream that was written.
pub(super) fn pictures_of(mut stream: &[u8]) -> Outcome<Vec<&[u8]>> {
    let mut pictures = Vec::new();
    while !stream.is_empty() {
        let (picture, rest) = behind_its_length(stream)?;
        pictures.push(picture);
        stream = rest;
    }
    Ok(pictures)
}

/// Draws and encodes so many pictures, fills each up to its share of the rate, and hands it on with its number.
fn encode(
    pictures: u64,
    scene: impl Fn(u64, Duration) -> Scene,
    mut each: impl FnMut(u64, Picture) -> Outcome<()>,
) -> Outcome<()> {
    let config = VirtualConfig {
        width: SIDES.0,
        height: SIDES.1,
        pictures_per_second: RATE,
        ..VirtualConfig::default()
    };
    let mut encoder = SceneEncoder::new(config)?;
    for number in 0..pictures {
        let passed = Duration::from_millis(number * PERIOD_MS);
        let mut picture = encoder.encode(&scene(number, passed), passed)?;
        let wanted = picture_bytes(picture.is_sync);
        fill(&mut picture.data, wanted);
        each(number, picture)?;
    }
    Ok(())
}

/// NAL units behind their lengths become some behind start codes (ITU-T H.264, annex B).
fn put_with_start_codes(mut data: &[u8], out: &mut Vec<u8>) -> Outcome<()> {
    while !data.is_empty() {
        let (nal, rest) = behind_its_length(data)?;
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(nal);
        data = rest;
    }
    Ok(())
}

/// What stands behind its length in four bytes, and what follows it.
fn behind_its_length(bytes: &[u8]) -> Outcome<(&[u8], &[u8])> {
    let wrong = "a length is beyond its bytes";
    let (length, behind) = bytes.split_first_chunk::<4>().ok_or(wrong)?;
    let length = usize::try_from(u32::from_be_bytes(*length))?;
    Ok(behind.split_at_checked(length).ok_or(wrong)?)
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

    #[test]
    fn a_stream_is_played_as_it_was_written() {
        let data = [0, 0, 0, 2, 0x65, 7, 0, 0, 0, 1, FILLER];
        let mut picture = Vec::new();
        put_with_start_codes(&data, &mut picture).unwrap();
        assert_eq!(picture, [0, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, FILLER]);
        let stream = [&[0_u8, 0, 0, 11][..], &picture[..], &[0, 0, 0, 1, 9][..]].concat();
        assert_eq!(pictures_of(&stream).unwrap(), [&picture[..], &[9_u8][..]]);
        assert!(pictures_of(&stream[..stream.len() - 1]).is_err());
        assert!(put_with_start_codes(&data[..5], &mut picture).is_err());
    }

    #[test]
    fn somebody_walks_in_the_second_half_of_the_stream() {
        let scene = |second| Scene::of_cycle(STREAM_CYCLE, Duration::from_secs(second), 0);
        let seen: Vec<u64> = (0..STREAM_CYCLE.as_secs())
            .filter(|second| scene(*second).has_somebody())
            .collect();
        assert_eq!(seen, (10..20).collect::<Vec<u64>>());
        assert_eq!(STREAM_PICTURES * PERIOD_MS, 20_000);
    }
}
