//! The segmenter on its own: fragments, chunks, and what it refuses.

use std::num::{NonZeroU16, NonZeroU32};

use super::*;
use crate::camera::{AvcConfig, VideoCodec};

const MS: u64 = 90;

fn track() -> Arc<VideoTrack> {
    let record = [
        1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
    ];
    Arc::new(VideoTrack {
        timescale: NonZeroU32::new(90_000).expect("not zero"),
        width: NonZeroU16::new(64).expect("not zero"),
        height: NonZeroU16::new(48).expect("not zero"),
        codec: VideoCodec::H264(AvcConfig::parse(&record).expect("valid")),
    })
}

fn unit(at_ms: u64, duration_ms: Option<u32>, bytes: usize) -> AccessUnit {
    AccessUnit {
        data: Bytes::from(vec![at_ms as u8; bytes]),
        dts: 1_000_000 + at_ms * MS,
        composition_offset: 0,
        duration: duration_ms.map(|ms| ms * MS as u32),
        is_sync: at_ms == 0,
        captured_unix_ms: 5_000 + at_ms,
    }
}

/// The number of fragments that each unit completes.
fn fragments_per_unit(segmenter: &mut Segmenter, units: &[AccessUnit]) -> Vec<usize> {
    units
        .iter()
        .map(|unit| {
            let chunks = segmenter.handle_unit(unit.clone()).expect("accepted");
            chunks.iter().filter(|c| c.is_last_of_fragment).count()
        })
        .collect()
}

#[test]
fn a_fragment_is_out_as_soon_as_it_is_full() {
    // (name, duration of each picture, fragments completed by each picture)
    let table: [(&str, u32, &[usize]); 5] = [
        ("10 fps: two fill it", 100, &[0, 1, 0, 1, 0]),
        ("25 fps: five fill it", 40, &[0, 0, 0, 0, 1, 0]),
        ("24 fps: a fifth would not fit", 42, &[0, 0, 0, 1, 0, 0]),
        ("1 fps: one is longer than a fragment", 1000, &[1, 1, 1]),
        ("7 fps: a second would not fit", 142, &[1, 1, 1]),
    ];
    for (name, duration, want) in table {
        let mut segmenter = Segmenter::new(track());
        let units: Vec<_> = (0..want.len() as u64)
            .map(|i| unit(i * u64::from(duration), Some(duration), 10))
            .collect();
        assert_eq!(fragments_per_unit(&mut segmenter, &units), want, "{name}");
    }
}

#[test]
fn an_unknown_duration_shows_when_the_next_picture_comes() {
    let mut segmenter = Segmenter::new(track());
    let units = [
        unit(0, None, 10),
        unit(90, None, 10),
        unit(150, None, 10),
        unit(199, None, 10),
        unit(260, None, 10),
    ];
    // When the third comes, the second is known to last 60 ms and the fragment to have 150: another
    // 60 would not fit.
    assert_eq!(fragments_per_unit(&mut segmenter, &units), [0, 0, 1, 0, 0]);
    let last = segmenter.finish();
    assert_eq!(last.len(), 1);
    assert!(last[0].is_first_of_fragment && last[0].is_last_of_fragment);
    // 61 ms twice: the last picture is given the duration of the one before it.
    let duration = (61 * MS as u32).to_be_bytes();
    let found = last[0].data.windows(4).filter(|w| **w == duration).count();
    assert_eq!(found, 2);
}

#[test]
fn a_pause_ends_the_fragment_and_the_time_of_the_next_shows_it() {
    let mut segmenter = Segmenter::new(track());
    let units = [unit(0, Some(40), 10), unit(500, Some(40), 10)];
    assert_eq!(fragments_per_unit(&mut segmenter, &units), [0, 1]);
    let last = segmenter.finish();
    let tfdt = last[0].data.windows(4).position(|w| w == b"tfdt");
    let at = tfdt.expect("a fragment has a tfdt") + 8;
    assert_eq!(last[0].data[at..at + 8], (500 * MS).to_be_bytes());
}

#[test]
fn chunks_follow_each_other_and_say_what_is_in_them() {
    let mut segmenter = Segmenter::new(track());
    let mut chunks = segmenter
        .handle_unit(unit(0, Some(100), 100_000))
        .expect("accepted");
    assert!(chunks.is_empty());
    chunks.extend(
        segmenter
            .handle_unit(unit(100, Some(100), 60_000))
            .expect("accepted"),
    );
    assert_eq!(chunks.len(), 3);
    let clip_bytes = segmenter.clip_bytes();
    let mut offset = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.clip_offset, offset);
        assert!(!chunk.data.is_empty() && chunk.data.len() <= CHUNK_BYTES_MAX);
        assert_eq!(chunk.fragment, 1);
        assert_eq!(chunk.is_first_of_fragment, index == 0);
        assert_eq!(chunk.is_last_of_fragment, index == 2);
        offset += chunk.data.len() as u64;
    }
    assert_eq!(offset, clip_bytes);
    // The second picture begins in the second chunk.
    let captured: Vec<_> = chunks.iter().map(|c| c.captured_unix_ms).collect();
    assert_eq!(captured, [5_000, 5_100, 5_100]);
    assert_eq!(&chunks[0].data[4..8], b"ftyp");
}

#[test]
fn a_chunk_is_full_exactly_at_the_limit() {
    // A fragment that has exactly one chunk's bytes, and one byte more.
    let head = {
        let mut segmenter = Segmenter::new(track());
        let chunks = segmenter.handle_unit(unit(0, Some(200), 1)).expect("ok");
        chunks[0].data.len() - 1
    };
    for (extra, want) in [(0, vec![CHUNK_BYTES_MAX]), (1, vec![CHUNK_BYTES_MAX, 1])] {
        let mut segmenter = Segmenter::new(track());
        let bytes = CHUNK_BYTES_MAX - head + extra;
        let chunks = segmenter
            .handle_unit(unit(0, Some(200), bytes))
            .expect("ok");
        let found: Vec<_> = chunks.iter().map(|c| c.data.len()).collect();
        assert_eq!(found, want);
    }
}

#[test]
fn pictures_without_duration_and_large_ones_end_a_fragment_too() {
    let mut segmenter = Segmenter::new(track());
    let mut fragments = 0;
    for _ in 0..FRAGMENT_UNITS_MAX {
        let mut still = unit(0, Some(0), 10);
        still.is_sync = true;
        fragments += segmenter.handle_unit(still).expect("accepted").len();
    }
    assert_eq!(fragments, 1);

    let mut segmenter = Segmenter::new(track());
    let chunks = segmenter
        .handle_unit(unit(0, Some(1), FRAGMENT_BYTES_SOFT_MAX))
        .expect("accepted");
    assert!(chunks.last().is_some_and(|chunk| chunk.is_last_of_fragment));
}

#[test]
fn a_refused_unit_changes_nothing() {
    let mut segmenter = Segmenter::new(track());
    let not_sync = AccessUnit {
        is_sync: false,
        ..unit(0, Some(40), 10)
    };
    assert_eq!(
        segmenter.handle_unit(not_sync),
        Err(SegmenterError::FirstUnitNotSync)
    );
    segmenter
        .handle_unit(unit(0, Some(40), 10))
        .expect("accepted");
    let refused = [
        unit(39, Some(40), 10),
        unit(40, Some(40), 0),
        unit(40, Some(40), UNIT_BYTES_MAX + 1),
        unit(40, Some(60_001), 10),
        AccessUnit {
            composition_offset: i32::MIN,
            ..unit(40, Some(40), 10)
        },
    ];
    for unit in refused {
        segmenter.handle_unit(unit).expect_err("must be refused");
    }
    segmenter.handle_unit(unit(40, None, 10)).expect("accepted");
    let refused = [unit(39, None, 10), unit(70_000, None, 10)];
    for unit in refused {
        segmenter.handle_unit(unit).expect_err("must be refused");
    }
    let chunks = segmenter.finish();
    assert_eq!(chunks.len(), 1);

    let mut without_trouble = Segmenter::new(track());
    for unit in [unit(0, Some(40), 10), unit(40, None, 10)] {
        without_trouble.handle_unit(unit).expect("accepted");
    }
    assert_eq!(chunks, without_trouble.finish());
}

#[test]
fn decode_times_at_the_end_of_64_bits_do_no_harm() {
    let mut segmenter = Segmenter::new(track());
    let last = AccessUnit {
        dts: u64::MAX,
        ..unit(0, Some(40), 10)
    };
    segmenter.handle_unit(last).expect("accepted");
    assert_eq!(segmenter.finish().len(), 1);
}

#[test]
fn an_event_without_pictures_is_a_clip_without_bytes() {
    assert!(Segmenter::new(track()).finish().is_empty());
}
