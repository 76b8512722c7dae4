//! The one muxer of fragmented MP4 (ISO/IEC 14496-12 and -15), for clips and for live: an
//! initialisation segment, then fragments that each stand behind it in order.
//!
//! It is pure: numbers and bytes in, bytes out. It must never invent a time (no assumed frame
//! rate), never touch the bytes of a picture, and never decide where a fragment ends: that is
//! `segmenter`.
//!
//! ```text
//! ftyp                                brands
//! moov                                8.2.1
//!   mvhd                              8.2.2
//!   trak                              8.3.1, one for pictures and one for sound, if there is any
//!     tkhd                            8.3.2
//!     edts elst                       8.6.5, 8.6.6  only if the track begins before it is presented
//!     mdia mdhd hdlr                  8.4
//!       minf vmhd dinf dref url       8.4.4, 8.4.5, 8.7; smhd for sound
//!         stbl stsd avc1 avcC         8.5, 14496-15 5.4.2.1; hvc1 hvcC; mp4a esds; the rest is empty
//!   mvex trex                         8.8.1, 8.8.3
//! moof mfhd traf tfhd tfdt trun       8.8.4 to 8.8.12, a traf for each track
//! mdat                                8.1.1
//! ```
//!
//! # How sound stays with the pictures
//!
//! Both tracks are presented from the moment of the first picture on. Its composition offset and the part
//! of the first piece of sound that lies before it are skipped by edit lists; what begins later has
//! decode times that do. So nothing is cut and nothing is moved by a fraction of a frame.

mod boxes;
mod movie;

use std::num::{NonZeroU16, NonZeroU32};

use crate::camera::VideoTrack;
use crate::media::AudioTrack;
use boxes::{put_box, put_full_box, put_u32, put_u64, size_of_box};

/// The track id of the one video track.
pub const TRACK_ID: u32 = 1;

/// The track id of the one audio track.
pub const AUDIO_TRACK_ID: u32 = 2;

/// Most bytes of samples in one fragment. Keeps every size of a fragment inside the 32 bits that
/// its boxes have; a caller that gives more is broken, and [`fragment`] panics.
pub const FRAGMENT_PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// `sample_is_non_sync_sample` of the sample flags (8.8.3.1).
pub const SAMPLE_IS_NON_SYNC: u32 = 0x0001_0000;
/// `sample_depends_on` = 1: needs other pictures (8.8.3.1, 8.6.4).
const SAMPLE_DEPENDS: u32 = 0x0100_0000;
/// `sample_depends_on` = 2: stands alone.
const SAMPLE_STANDS_ALONE: u32 = 0x0200_0000;

/// Flags of `tfhd` (8.8.7.1).
pub(crate) mod tfhd_flags {
    pub(crate) const BASE_DATA_OFFSET: u32 = 0x00_0001;
    pub(crate) const SAMPLE_DESCRIPTION_INDEX: u32 = 0x00_0002;
    pub(crate) const DEFAULT_DURATION: u32 = 0x00_0008;
    pub(crate) const DEFAULT_SIZE: u32 = 0x00_0010;
    pub(crate) const DEFAULT_FLAGS: u32 = 0x00_0020;
    pub(crate) const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
}

/// Flags of `trun` (8.8.8.1).
pub(crate) mod trun_flags {
    pub(crate) const DATA_OFFSET: u32 = 0x001;
    pub(crate) const FIRST_SAMPLE_FLAGS: u32 = 0x004;
    pub(crate) const DURATION: u32 = 0x100;
    pub(crate) const SIZE: u32 = 0x200;
    pub(crate) const FLAGS: u32 = 0x400;
    pub(crate) const COMPOSITION_OFFSET: u32 = 0x800;
}

/// One picture, or piece of sound, as a fragment holds it. Times in ticks of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// NAL units with their lengths, as [`crate::camera::AccessUnit::data`], or one AAC frame.
    pub data: &'a [u8],
    /// How long it is shown.
    pub duration: u32,
    /// Presentation time minus decode time.
    pub composition_offset: i32,
    /// Whether decoding can begin here.
    pub is_sync: bool,
}

/// What a video track is to a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoEntry<'a> {
    /// Ticks a second.
    pub timescale: NonZeroU32,
    /// Width in pixels.
    pub width: NonZeroU16,
    /// Height in pixels.
    pub height: NonZeroU16,
    kind: &'static [u8; 4],
    config_kind: &'static [u8; 4],
    config: &'a [u8],
}

impl<'a> From<&'a VideoTrack> for VideoEntry<'a> {
    fn from(track: &'a VideoTrack) -> Self {
        Self {
            timescale: track.timescale,
            width: track.width,
            height: track.height,
            kind: track.codec.sample_entry(),
            config_kind: track.codec.record_box(),
            config: track.codec.record(),
        }
    }
}

/// What an audio track is to a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioEntry<'a> {
    /// Its codec parameters.
    pub track: &'a AudioTrack,
    /// How much of the track lies before the first picture, in its ticks; that is not presented.
    pub media_start: u32,
}

/// What an initialisation segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Movie<'a> {
    /// The pictures.
    pub video: VideoEntry<'a>,
    /// The composition offset of the first picture, in ticks: an edit list makes the clip begin with that
    /// picture instead of with a pause (8.6.6).
    pub presentation_start: u32,
    /// The sound, if there is any.
    pub audio: Option<AudioEntry<'a>>,
}

/// The initialisation segment of a clip without sound; [`movie_segment`] says what `presentation_start`
/// is.
pub fn init_segment(track: &VideoTrack, presentation_start: u32) -> Vec<u8> {
    movie_segment(&Movie {
        video: track.into(),
        presentation_start,
        audio: None,
    })
}

/// The initialisation segment of a clip or a stream.
pub fn movie_segment(movie: &Movie<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(2048);
    put_box(&mut out, b"ftyp", |out| {
        // iso6 is the brand that brought 64-bit tfdt and signed trun offsets (annex E).
        out.extend_from_slice(b"iso6");
        put_u32(out, 0);
        out.extend_from_slice(b"iso6");
        match movie.video.kind {
            b"hvc1" => out.extend_from_slice(b"hvc1"),
            _ => out.extend_from_slice(b"avc1"),
        }
        out.extend_from_slice(b"mp41");
    });
    movie::put_movie(&mut out, movie);
    out
}

/// The samples of one track in one fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// [`TRACK_ID`] or [`AUDIO_TRACK_ID`].
    pub track_id: u32,
    /// The decode time of the first sample, in ticks of the track.
    pub decode_time: u64,
    /// At least one.
    pub samples: &'a [Sample<'a>],
}

/// One fragment of a clip without sound: `moof` and `mdat`.
///
/// `sequence` counts the fragments of a clip from 1; `decode_time` is the decode time of the first
/// sample.
///
/// # Panics
///
/// As [`fragment_of`].
pub fn fragment(sequence: u32, decode_time: u64, samples: &[Sample<'_>]) -> Vec<u8> {
    fragment_of(
        sequence,
        &[Run {
            track_id: TRACK_ID,
            decode_time,
            samples,
        }],
    )
}

/// One fragment: `moof` and `mdat`. The samples stand in the order of the runs.
///
/// # Panics
///
/// If a run has no samples, or all together more than [`FRAGMENT_PAYLOAD_BYTES_MAX`] bytes.
pub fn fragment_of(sequence: u32, runs: &[Run<'_>]) -> Vec<u8> {
    let is_empty = |run: &Run<'_>| run.samples.is_empty();
    assert!(
        !runs.is_empty() && !runs.iter().any(is_empty),
        "a fragment needs samples"
    );
    let samples = || runs.iter().flat_map(|run| run.samples);
    let payload_bytes: usize = samples().map(|sample| sample.data.len()).sum();
    assert!(
        payload_bytes <= FRAGMENT_PAYLOAD_BYTES_MAX,
        "a fragment of {payload_bytes} bytes"
    );
    let mut out = Vec::with_capacity(64 + 80 * runs.len() + 16 * samples().count() + payload_bytes);
    let mut data_offsets_at = Vec::with_capacity(runs.len());
    put_box(&mut out, b"moof", |out| {
        put_full_box(out, b"mfhd", 0, 0, |out| put_u32(out, sequence));
        for run in runs {
            put_box(out, b"traf", |out| {
                put_full_box(out, b"tfhd", 0, tfhd_flags::DEFAULT_BASE_IS_MOOF, |out| {
                    put_u32(out, run.track_id);
                });
                put_full_box(out, b"tfdt", 1, 0, |out| put_u64(out, run.decode_time));
                data_offsets_at.push(put_run(out, run.samples));
            });
        }
    });
    // An offset is counted from the start of moof; the first points behind the header of mdat.
    let mut data_at = out.len() + 8;
    for (run, at) in runs.iter().zip(data_offsets_at) {
        out[at..at + 4].copy_from_slice(&size_of_box(data_at).to_be_bytes());
        data_at += run.samples.iter().map(|s| s.data.len()).sum::<usize>();
    }
    put_box(&mut out, b"mdat", |out| {
        for sample in samples() {
            out.extend_from_slice(sample.data);
        }
    });
    out
}

/// Writes `trun`; answers where its data offset must be filled in.
fn put_run(out: &mut Vec<u8>, samples: &[Sample<'_>]) -> usize {
    let reordered = samples.iter().any(|sample| sample.composition_offset != 0);
    let mut flags =
        trun_flags::DATA_OFFSET | trun_flags::DURATION | trun_flags::SIZE | trun_flags::FLAGS;
    if reordered {
        flags |= trun_flags::COMPOSITION_OFFSET;
    }
    // Version 1 has signed offsets. Old readers know only version 0, so it is used where it can be.
    let version = u8::from(samples.iter().any(|sample| sample.composition_offset < 0));
    let mut data_offset_at = 0;
    put_full_box(out, b"trun", version, flags, |out| {
        put_u32(out, size_of_box(samples.len()));
        data_offset_at = out.len();
        put_u32(out, 0);
        for sample in samples {
            put_u32(out, sample.duration);
            put_u32(out, size_of_box(sample.data.len()));
            put_u32(out, sample_flags(sample));
            if reordered {
                out.extend_from_slice(&sample.composition_offset.to_be_bytes());
            }
        }
    });
    data_offset_at
}

fn sample_flags(sample: &Sample<'_>) -> u32 {
    if sample.is_sync {
        SAMPLE_STANDS_ALONE
    } else {
        SAMPLE_DEPENDS | SAMPLE_IS_NON_SYNC
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_these_bytes() {
        let samples = [
            Sample {
                data: &[1, 2, 3],
                duration: 0x10,
                composition_offset: 0,
                is_sync: true,
            },
            Sample {
                data: &[4],
                duration: 0x20,
                composition_offset: -2,
                is_sync: false,
            },
        ];
        let found = fragment(7, 0x1_0000_0002, &samples);
        let mut want = Vec::new();
        want.extend_from_slice(b"\x00\x00\x00\x78moof");
        want.extend_from_slice(b"\x00\x00\x00\x10mfhd\0\0\0\0\0\0\0\x07");
        want.extend_from_slice(b"\x00\x00\x00\x60traf");
        want.extend_from_slice(b"\x00\x00\x00\x10tfhd\x00\x02\x00\x00\0\0\0\x01");
        want.extend_from_slice(b"\x00\x00\x00\x14tfdt\x01\x00\x00\x00\0\0\0\x01\0\0\0\x02");
        want.extend_from_slice(b"\x00\x00\x00\x34trun\x01\x00\x0f\x01\0\0\0\x02\0\0\0\x80");
        want.extend_from_slice(b"\0\0\0\x10\0\0\0\x03\x02\0\0\0\0\0\0\0");
        want.extend_from_slice(b"\0\0\0\x20\0\0\0\x01\x01\x01\0\0\xff\xff\xff\xfe");
        want.extend_from_slice(b"\x00\x00\x00\x0cmdat\x01\x02\x03\x04");
        assert_eq!(found, want);
    }

    #[test]
    fn composition_offsets_are_left_out_where_all_are_zero() {
        let sample = Sample {
            data: &[1],
            duration: 1,
            composition_offset: 0,
            is_sync: true,
        };
        let late = Sample {
            composition_offset: 5,
            ..sample
        };
        let plain = fragment(1, 0, &[sample]);
        let reordered = fragment(1, 0, &[late]);
        assert_eq!(reordered.len(), plain.len() + 4);
        // Version 0 is enough for an offset that is not negative.
        let trun = reordered
            .windows(4)
            .position(|w| w == b"trun")
            .expect("trun");
        assert_eq!(reordered[trun + 4], 0);
    }

    #[test]
    #[should_panic(expected = "a fragment needs samples")]
    fn an_empty_fragment_is_a_bug() {
        fragment(1, 0, &[]);
    }

    #[test]
    fn each_track_of_a_fragment_has_its_own_time_and_its_own_bytes() {
        let sample = |data| Sample {
            data,
            duration: 1,
            composition_offset: 0,
            is_sync: true,
        };
        let pictures = [sample(&[1, 2, 3][..]), sample(&[4][..])];
        let sound = [sample(&[9, 9][..])];
        let runs = [
            Run {
                track_id: TRACK_ID,
                decode_time: 70,
                samples: &pictures,
            },
            Run {
                track_id: AUDIO_TRACK_ID,
                decode_time: 80,
                samples: &sound,
            },
        ];
        let found = fragment_of(1, &runs);
        assert_eq!(found[..4], [0, 0, 0, 188], "8 + 16 + 88 + 76");
        assert!(found.ends_with(b"\0\0\0\x0emdat\x01\x02\x03\x04\x09\x09"));
        // Version and flags, count, data offset: relative to moof.
        let offsets: Vec<&[u8]> = found
            .windows(4)
            .enumerate()
            .filter(|(_, four)| four == b"trun")
            .map(|(at, _)| &found[at + 12..at + 16])
            .collect();
        assert_eq!(offsets, [[0, 0, 0, 196], [0, 0, 0, 200]]);
    }

    #[test]
    fn the_entries_of_h265_and_aac_carry_their_parameters() {
        use crate::media::AacConfig;
        use std::num::NonZeroU8;

        let audio = AudioTrack {
            timescale: NonZeroU32::new(48_000).unwrap(),
            channels: NonZeroU8::new(2).unwrap(),
            config: AacConfig::new(&[0x11, 0x90]).unwrap(),
        };
        let side = NonZeroU16::new(64).unwrap();
        let movie = Movie {
            video: VideoEntry {
                timescale: NonZeroU32::new(90_000).unwrap(),
                width: side,
                height: side,
                kind: b"hvc1",
                config_kind: b"hvcC",
                config: b"the record",
            },
            presentation_start: 0,
            audio: Some(AudioEntry {
                track: &audio,
                media_start: 512,
            }),
        };
        let found = movie_segment(&movie);
        let has = |bytes: &[u8]| found.windows(bytes.len()).any(|w| w == bytes);
        assert!(has(b"\0\0\0\x12hvcCthe record"));
        // 14496-1: tags 3, 4, 5 and 6 with their sizes.
        assert!(has(
            b"\0\0\0\x27esds\0\0\0\0\x03\x19\0\0\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x11\x90\x06\x01\x02"
        ));
        // One edit, of the audio track.
        assert!(has(b"elst\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x02\0\0\x01\0\0"));
        assert_eq!(found.windows(4).filter(|w| w == b"elst").count(), 1);
        assert_eq!(found.windows(4).filter(|w| w == b"trex").count(), 2);
    }
}
