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

/// The street and a microphone at 8 kHz, whose pieces last 128 ms.
fn with_sound() -> Tracks {
    use crate::media::{AacConfig, AudioTrack};

    Tracks {
        video: track(),
        audio: Some(Arc::new(AudioTrack {
            timescale: NonZeroU32::new(8_000).expect("not zero"),
            channels: std::num::NonZeroU8::MIN,
            config: AacConfig::new(&[0x15, 0x88]).expect("valid"),
        })),
    }
}

/// Ticks of the microphone when the picture `at_ms` is due.
fn heard_at(at_ms: u64) -> u64 {
    (1_000_000 + at_ms * MS) * 8_000 / 90_000
}

fn sound(pts: u64) -> AudioUnit {
    AudioUnit {
        data: Bytes::from_static(&[0xAA; 50]),
        pts,
        duration: 1024,
        captured_unix_ms: 0,
    }
}

#[test]
fn sound_is_on_the_time_of_the_pictures_to_a_tick() {
    // (what the first piece is late by, in ticks; what the edit list skips; when the sound begins)
    let table: [(i64, Option<u64>, u64); 4] = [
        (0, None, 0),
        (-100, Some(100), 0),
        (300, None, 300),
        // The first two pieces are over before the first picture.
        (-2048 - 24, Some(24), 0),
    ];
    for (late, skipped, begins) in table {
        let mut segmenter = Segmenter::with_tracks(with_sound(), Pace::Clip);
        let start = heard_at(0).checked_add_signed(late).expect("not negative");
        let mut clip = Vec::new();
        for index in 0..20_u64 {
            for piece in [2 * index, 2 * index + 1] {
                segmenter
                    .handle_sound(sound(start + piece * 1024))
                    .expect("accepted");
            }
            let mut picture = unit(index * 100, Some(100), 30);
            picture.is_sync = true;
            for chunk in segmenter.handle_unit(picture).expect("accepted") {
                clip.extend_from_slice(&chunk.data);
            }
        }
        for chunk in segmenter.finish() {
            clip.extend_from_slice(&chunk.data);
        }
        // Our own reader finds the pictures.
        let own = crate::camera::demux::Clip::read(&clip[..]).expect("sound");
        assert_eq!(own.samples.len(), 20, "{late}");
        assert!(own.samples.iter().all(|sample| sample.duration == 9_000));
        // Another one finds the sound.
        let mp4 = re_mp4::Mp4::read_bytes(&clip).expect("sound");
        let edits = mp4.moov.traks[1].edts.as_ref();
        let edit = edits
            .and_then(|edts| edts.elst.as_ref())
            .map(|elst| elst.entries[0].media_time);
        assert_eq!(edit, skipped, "{late}");
        let mut end = None;
        let mut pieces = 0;
        for traf in mp4.moofs.iter().flat_map(|moof| &moof.trafs) {
            if traf.tfhd.track_id != fmp4::AUDIO_TRACK_ID {
                continue;
            }
            let tfdt = traf.tfdt.as_ref().expect("a tfdt");
            let time = tfdt.base_media_decode_time;
            assert_eq!(time, end.unwrap_or(begins), "{late}");
            let durations = &traf.truns[0].sample_durations;
            assert!(durations.iter().all(|ticks| *ticks == 1024));
            pieces += durations.len();
            end = Some(time + 1024 * durations.len() as u64);
        }
        // The newest waits for another that does not come.
        let dropped = if late < -2048 { 2 } else { 0 };
        assert_eq!(pieces, 40 - 1 - dropped, "{late}");
    }
}

#[test]
fn sound_that_comes_late_or_not_at_all_holds_no_picture_up() {
    let mut segmenter = Segmenter::with_tracks(with_sound(), Pace::Clip);
    let units = [unit(0, Some(200), 10), unit(200, Some(200), 10)];
    assert_eq!(fragments_per_unit(&mut segmenter, &units), [1, 1]);
    // From before the clip: accepted, and not in it.
    segmenter
        .handle_sound(sound(heard_at(0) - 1024))
        .expect("accepted");
    let chunks = segmenter
        .handle_unit(unit(400, Some(200), 10))
        .expect("accepted");
    assert!(!chunks[0].data.windows(4).any(|w| w == [0xAA; 4]));
    // And when the pictures stop, sound does not pile up.
    for piece in 0..1000 {
        segmenter
            .handle_sound(sound(heard_at(600) + piece * 1024))
            .expect("accepted");
    }
    let chunks = segmenter
        .handle_unit(unit(55_000, Some(200), 10))
        .expect("accepted");
    let bytes: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
    assert!(bytes < SOUND_UNITS_MAX * (50 + 12) + 1024, "{bytes}");
    assert!(chunks.iter().all(|chunk| chunk.captured_unix_ms == 60_000));
}

#[test]
fn refused_sound_changes_nothing() {
    let mut segmenter = Segmenter::with_tracks(with_sound(), Pace::Clip);
    segmenter.handle_sound(sound(5_000)).expect("accepted");
    let empty = AudioUnit {
        data: Bytes::new(),
        ..sound(6_024)
    };
    for (unit, want) in [
        (empty, SegmenterError::SoundBytes { bytes: 0 }),
        (
            sound(5_000),
            SegmenterError::SoundTimeFell {
                expected_min: 5_001,
                found: 5_000,
            },
        ),
        (
            sound(5_001 + 60 * 8_000),
            SegmenterError::TooLong {
                ticks: 60 * 8_000 + 1,
                ticks_max: 60 * 8_000,
            },
        ),
    ] {
        assert_eq!(segmenter.handle_sound(unit), Err(want));
    }
    segmenter.handle_sound(sound(6_024)).expect("accepted");
    // Where there is no track of it, sound is nothing.
    let mut silent = Segmenter::new(track());
    assert_eq!(silent.handle_media(MediaUnit::Audio(sound(1))), Ok(vec![]));
}

#[test]
fn a_live_fragment_is_half_as_long() {
    let mut segmenter = Segmenter::with_tracks(Tracks::silent(track()), Pace::Live);
    let units: Vec<_> = (0..6).map(|i| unit(i * 40, Some(40), 10)).collect();
    assert_eq!(
        fragments_per_unit(&mut segmenter, &units),
        [0, 1, 0, 1, 0, 1]
    );
}
