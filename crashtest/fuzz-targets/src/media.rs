//! What a camera or a file gives a hub: MP4 in, H.264 configuration, access units, and the clip that is
//! made of them.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use hub::camera::demux::{Clip, SAMPLES_MAX};
use hub::camera::{
    AVC_CONFIG_BYTES_MAX, AccessUnit, AvcConfig, TIMESCALE_MAX, VideoCodec, VideoTrack,
};
use hub::segmenter::{CHUNK_BYTES_MAX, ClipChunk, Segmenter};

use crate::input::Input;

/// A configuration record with one parameter set of each kind, as short as they can be.
pub(crate) const AVC_RECORD: [u8; 14] = [1, 0x42, 0, 30, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 2, 0x68, 1];
/// Most pictures of one run.
const UNITS_MAX: usize = 512;

/// Any bytes are a clip or a typed error. What is a clip can be recorded, and what was recorded can be read
/// and is the same pictures.
pub(crate) fn mp4(data: &[u8]) {
    let clip = match Clip::read(data) {
        Ok(clip) => clip,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!((1..=SAMPLES_MAX).contains(&clip.samples.len()));
    assert!(clip.samples[0].is_sync);
    let mut segmenter = Segmenter::new(Arc::new(clip.track.clone()));
    let mut chunks = Vec::new();
    let mut dts = 0;
    let mut recorded = 0;
    for sample in clip.samples.iter().take(UNITS_MAX) {
        let start = usize::try_from(sample.offset).expect("it lies inside the file");
        let unit = AccessUnit {
            data: Bytes::copy_from_slice(&data[start..start + sample.bytes as usize]),
            dts,
            composition_offset: sample.composition_offset,
            duration: Some(sample.duration),
            is_sync: sample.is_sync,
            captured_unix_ms: 0,
        };
        dts += u64::from(sample.duration);
        chunks.extend(
            segmenter
                .handle_unit(unit)
                .expect("a clip's picture is one"),
        );
        recorded += 1;
    }
    chunks.extend(segmenter.finish());
    let bytes = whole(&chunks);
    let again = Clip::read(bytes.as_slice()).expect("a recorded clip can be read");
    assert_eq!(again.track, clip.track);
    assert_eq!(again.samples.len(), recorded);
    for (was, is) in clip.samples.iter().zip(&again.samples) {
        let facts = |one: &hub::camera::demux::SampleEntry| {
            (one.bytes, one.duration, one.composition_offset, one.is_sync)
        };
        assert_eq!(facts(was), facts(is));
    }
}

/// The decoder configuration alone.
pub(crate) fn avc(data: &[u8]) {
    for parsed in [AvcConfig::parse(data), AvcConfig::parse_in_band(data)] {
        match parsed {
            Ok(config) => {
                assert!(data.len() <= AVC_CONFIG_BYTES_MAX);
                assert_eq!(&config.record()[..], data);
                // It reads the parameter sets.
                let codec = VideoCodec::H264(config);
                assert_ne!(codec.undecodable(), Some(""));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if AvcConfig::parse(data).is_ok() {
        assert!(AvcConfig::parse_in_band(data).is_ok());
    }
}

/// A camera that says what it likes: times that fall, pictures without bytes, pauses of hours.
pub(crate) fn units(data: &[u8]) {
    let mut input = Input::new(data);
    let avc = AvcConfig::parse(&AVC_RECORD).expect("the smallest record is one");
    let timescale = (input.number() % u64::from(TIMESCALE_MAX)) as u32;
    let track = Arc::new(VideoTrack {
        timescale: NonZeroU32::new(timescale).unwrap_or(NonZeroU32::MIN),
        width: NonZeroU16::MIN,
        height: NonZeroU16::MIN,
        codec: VideoCodec::H264(avc),
    });
    let mut segmenter = Segmenter::new(Arc::clone(&track));
    let mut chunks = Vec::new();
    let (mut dts, mut accepted) = (input.number(), 0_usize);
    // Where the last picture ends, if it said so; a pause behind it is not in a clip's tables.
    let (mut end, mut pauses) = (None, false);
    for _ in 0..UNITS_MAX {
        if input.is_empty() {
            break;
        }
        let flags = input.byte();
        let step = match flags & 3 {
            0 => input.number(),
            _ => u64::from(input.byte()) << (flags >> 4),
        };
        let unit = AccessUnit {
            data: Bytes::copy_from_slice(input.bytes()),
            dts: dts.wrapping_add(step),
            composition_offset: input.number() as i32,
            duration: (flags & 4 != 0).then(|| input.number() as u32 >> (flags >> 4)),
            is_sync: flags & 8 != 0 || accepted == 0,
            captured_unix_ms: input.number(),
        };
        let (at, duration) = (unit.dts, unit.duration);
        let before = segmenter.clip_bytes();
        match segmenter.handle_unit(unit) {
            Ok(more) => {
                chunks.extend(more);
                dts = at;
                accepted += 1;
                pauses |= end.is_some_and(|end| at > end);
                end = duration.map(|duration| at.saturating_add(u64::from(duration)));
            }
            Err(_) => assert_eq!(
                segmenter.clip_bytes(),
                before,
                "a refused picture left bytes"
            ),
        }
    }
    chunks.extend(segmenter.finish());
    let bytes = whole(&chunks);
    assert_eq!(bytes.is_empty(), accepted == 0);
    if accepted > 0 && !pauses {
        let clip = Clip::read(bytes.as_slice()).expect("a recorded clip can be read");
        assert_eq!(clip.samples.len(), accepted);
        assert_eq!(clip.track, *track);
    }
}

/// The bytes of a clip; its chunks follow each other and keep their limits.
pub(crate) fn whole(chunks: &[ClipChunk]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in chunks {
        assert_eq!(chunk.clip_offset, bytes.len() as u64);
        assert!((1..=CHUNK_BYTES_MAX).contains(&chunk.data.len()));
        bytes.extend_from_slice(&chunk.data);
    }
    bytes
}
