//! What goes in comes out: the same payloads, durations, offsets and sync flags, in fragments and
//! chunks within their limits. re_mp4 reads both ends; neither of our own readers is believed.

use hub::fmp4;
use hub::segmenter::{CHUNK_BYTES_MAX, FRAGMENT_MS_MAX};
use re_mp4::{Mp4, TrackKind};

use crate::support::{CLIPS, concatenate, demux, payload, read, record, units};

fn video(mp4: &Mp4) -> &re_mp4::Track {
    mp4.tracks()
        .values()
        .find(|track| track.kind == Some(TrackKind::Video))
        .expect("a video track")
}

#[test]
fn our_demuxer_agrees_with_an_independent_reader() {
    for name in CLIPS {
        let file = read(name);
        let ours = demux(&file);
        let mp4 = Mp4::read_bytes(&file).expect("a sound file");
        let theirs = video(&mp4);
        assert_eq!(u64::from(ours.track.timescale.get()), theirs.timescale);
        assert_eq!(ours.track.width.get(), theirs.width);
        assert_eq!(ours.track.height.get(), theirs.height);
        assert_eq!(
            Some(ours.track.codec.codec_string()),
            theirs.codec_string(&mp4)
        );
        assert_eq!(ours.samples.len(), theirs.samples.len(), "{name}");
        let first = &theirs.samples[0];
        // Its times have an origin of its own, so distances from the first sample are compared.
        let first_offset = i64::from(ours.samples[0].composition_offset);
        let mut dts = 0;
        for (ours, theirs) in ours.samples.iter().zip(&theirs.samples) {
            let pts = dts + i64::from(ours.composition_offset) - first_offset;
            assert_eq!(ours.offset, theirs.offset, "{name}");
            assert_eq!(u64::from(ours.bytes), theirs.size, "{name}");
            assert_eq!(ours.is_sync, theirs.is_sync, "{name}");
            assert_eq!(u64::from(ours.duration), theirs.duration, "{name}");
            assert_eq!(dts, theirs.decode_timestamp - first.decode_timestamp);
            assert_eq!(
                pts,
                theirs.composition_timestamp - first.composition_timestamp
            );
            dts += i64::from(ours.duration);
        }
    }
}

#[test]
fn every_sample_comes_out_as_it_went_in() {
    for name in CLIPS {
        let file = read(name);
        let source = demux(&file);
        let clip = concatenate(&record(name));
        let mp4 = Mp4::read_bytes(&clip).expect("our own clip");
        let out = video(&mp4);
        assert_eq!(out.samples.len(), source.samples.len(), "{name}");
        let mut dts = 0;
        for (out, source) in out.samples.iter().zip(&source.samples) {
            assert!(
                clip[out.byte_range()] == *payload(&file, source),
                "{name}: payload {}",
                out.id
            );
            assert_eq!(out.duration, u64::from(source.duration), "{name}");
            assert_eq!(out.is_sync, source.is_sync, "{name}");
            assert_eq!(out.decode_timestamp, dts, "{name}");
            // It reads a signed offset as an unsigned one.
            let offset = (out.composition_timestamp - out.decode_timestamp) as i32;
            assert_eq!(offset, source.composition_offset, "{name}");
            dts += i64::from(source.duration);
        }
        let config = out.raw_codec_config(&mp4).expect("an avcC box");
        assert_eq!(config, *source.track.codec.record(), "{name}");

        // And our own demuxer reads it back.
        let mut again = demux(&clip);
        for (again, source) in again.samples.iter_mut().zip(&source.samples) {
            assert_eq!(payload(&clip, again), payload(&file, source), "{name}");
            again.offset = source.offset;
        }
        assert_eq!(again, source, "{name}");
    }
}

#[test]
fn the_clips_are_what_their_names_say() {
    let offsets = |name: &str| -> Vec<i32> {
        let clip = demux(&read(name));
        clip.samples.iter().map(|s| s.composition_offset).collect()
    };
    let durations = demux(&read("odd-durations.mp4")).samples;
    let mut durations: Vec<u32> = durations.iter().map(|s| s.duration).collect();
    durations.sort_unstable();
    durations.dedup();
    assert!(durations.len() > 10, "{durations:?}");
    assert!(offsets("bframes.mp4").iter().any(|offset| *offset > 1024));
    assert!(
        offsets("negative-offsets.mp4")
            .iter()
            .any(|offset| *offset < 0)
    );
    assert!(offsets("people-20s.mp4").iter().all(|offset| *offset == 0));
    let mp4 = Mp4::read_bytes(&read("fragmented.mp4")).expect("a sound file");
    assert!(mp4.moofs.len() > 1);
}

#[test]
fn fragments_are_short_and_their_times_add_up() {
    for name in CLIPS {
        let clip = concatenate(&record(name));
        let mp4 = Mp4::read_bytes(&clip).expect("our own clip");
        let timescale = video(&mp4).timescale;
        let mut decode_time = 0;
        let mut pictures = 0;
        for (index, moof) in mp4.moofs.iter().enumerate() {
            assert_eq!(moof.mfhd.sequence_number as usize, index + 1);
            let [traf] = &moof.trafs[..] else {
                panic!("{name}: one track");
            };
            assert_eq!(traf.tfhd.track_id, fmp4::TRACK_ID);
            let tfdt = traf.tfdt.as_ref().expect("a tfdt");
            assert_eq!(
                (tfdt.version, tfdt.base_media_decode_time),
                (1, decode_time)
            );
            let [trun] = &traf.truns[..] else {
                panic!("{name}: one run");
            };
            let ticks: u64 = trun.sample_durations.iter().map(|d| u64::from(*d)).sum();
            assert!(
                ticks * 1000 <= FRAGMENT_MS_MAX * timescale,
                "{name}: {ticks}"
            );
            pictures += trun.sample_durations.len();
            decode_time += ticks;
        }
        let source = demux(&read(name));
        assert_eq!(decode_time, source.duration_ticks(), "{name}");
        assert_eq!(pictures, source.samples.len());
        // Not shorter than they must be, either: 20 s of 200 ms.
        if name == "people-20s.mp4" {
            assert_eq!(mp4.moofs.len(), 100);
        }
    }
}

#[test]
fn an_edit_list_shows_the_first_picture_at_once() {
    for (name, want) in [
        ("bframes.mp4", Some(1024)),
        ("negative-offsets.mp4", None),
        ("people-20s.mp4", None),
    ] {
        let clip = concatenate(&record(name));
        let mp4 = Mp4::read_bytes(&clip).expect("our own clip");
        let edits = mp4.moov.traks[0].edts.as_ref();
        let found = edits.and_then(|edts| edts.elst.as_ref()).map(|elst| {
            assert_eq!(elst.entries.len(), 1);
            elst.entries[0].media_time
        });
        assert_eq!(found, want, "{name}");
    }
}

#[test]
fn chunks_are_within_their_limits_and_without_gaps() {
    for name in CLIPS {
        let chunks = record(name);
        let (mut offset, mut fragment, mut captured) = (0, 0, 0);
        let mut inside = false;
        for chunk in &chunks {
            assert_eq!(chunk.clip_offset, offset, "{name}");
            assert!((1..=CHUNK_BYTES_MAX).contains(&chunk.data.len()), "{name}");
            assert_eq!(chunk.is_first_of_fragment, !inside, "{name}");
            fragment += u32::from(chunk.is_first_of_fragment);
            assert_eq!(chunk.fragment, fragment, "{name}");
            assert!(chunk.captured_unix_ms >= captured, "{name}");
            inside = !chunk.is_last_of_fragment;
            captured = chunk.captured_unix_ms;
            offset += chunk.data.len() as u64;
        }
        assert!(!inside, "{name}: the last fragment is whole");
        let last = units(name).last().map(|unit| unit.captured_unix_ms);
        assert_eq!(Some(captured), last, "{name}");
    }
}

#[test]
fn the_first_chunk_is_out_before_200_ms_of_the_event_have_passed() {
    let source = demux(&read("people-20s.mp4"));
    let units = units("people-20s.mp4");
    let mut segmenter = hub::segmenter::Segmenter::new(source.track.into());
    let mut first = None;
    for unit in &units {
        let chunks = segmenter.handle_unit(unit.clone()).expect("a sound unit");
        if !chunks.is_empty() {
            first = Some(unit.captured_unix_ms - units[0].captured_unix_ms);
            break;
        }
    }
    // Ten pictures a second: the second one fills the fragment, 100 ms after the first.
    assert_eq!(first, Some(100));
}

#[test]
fn decode_times_beyond_32_bits_are_kept() {
    let track = demux(&read("people-20s.mp4")).track;
    let sample = fmp4::Sample {
        data: &[0, 0, 0, 1, 0x65],
        duration: 512,
        composition_offset: 0,
        is_sync: true,
    };
    let late = u64::from(u32::MAX) + 5;
    let mut clip = fmp4::init_segment(&track, 0);
    clip.extend(fmp4::fragment(1, late, &[sample]));
    let mp4 = Mp4::read_bytes(&clip).expect("our own clip");
    assert_eq!(video(&mp4).samples[0].decode_timestamp, late as i64);
    // A clip begins where its first fragment says, not at zero with a pause of a day.
    assert_eq!(demux(&clip).duration_ticks(), 512);
}

#[test]
fn the_limits_are_those_that_were_promised() {
    const { assert!(FRAGMENT_MS_MAX == 200 && CHUNK_BYTES_MAX <= 64 * 1024) };
}

#[test]
fn a_pause_between_fragments_is_kept_and_time_does_not_run_back() {
    let track = demux(&read("people-20s.mp4")).track;
    let sample = fmp4::Sample {
        data: &[0, 0, 0, 1, 0x65],
        duration: 512,
        composition_offset: 0,
        is_sync: true,
    };
    // (name, decode time of the second fragment, durations of the two pictures)
    let table = [
        ("they follow each other", 100_512, Some([512, 512])),
        ("a pause", 102_000, Some([2000, 512])),
        ("an overlap", 100_300, Some([300, 512])),
        ("before the first picture", 99_999, None),
        ("a pause of an hour", 40_000_000, None),
    ];
    for (name, second, want) in table {
        let mut clip = fmp4::init_segment(&track, 0);
        clip.extend(fmp4::fragment(1, 100_000, &[sample]));
        clip.extend(fmp4::fragment(2, second, &[sample]));
        let found = hub::camera::demux::Clip::read(&clip[..])
            .map(|clip| [clip.samples[0].duration, clip.samples[1].duration]);
        assert_eq!(found.ok(), want, "{name}");
    }
}
