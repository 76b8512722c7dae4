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
//!   trak                              8.3.1
//!     tkhd                            8.3.2
//!     edts elst                       8.6.5, 8.6.6  only if the first picture is shown late
//!     mdia mdhd hdlr                  8.4
//!       minf vmhd dinf dref url       8.4.4, 8.4.5, 8.7
//!         stbl stsd avc1 avcC         8.5, 14496-15 5.4.2.1; stts stsc stsz stco are empty
//!                   hvc1 hvcC         of H.265 instead: 14496-15 8.4.1
//!   mvex trex                         8.8.1, 8.8.3
//! moof mfhd traf tfhd tfdt trun       8.8.4 to 8.8.12
//! mdat                                8.1.1
//! ```

use crate::camera::{VideoCodec, VideoTrack};

/// The track id of the one video track.
pub const TRACK_ID: u32 = 1;

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

/// One picture as a fragment holds it. Times in ticks of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// NAL units with their lengths, as [`crate::camera::AccessUnit::data`].
    pub data: &'a [u8],
    /// How long it is shown.
    pub duration: u32,
    /// Presentation time minus decode time.
    pub composition_offset: i32,
    /// Whether decoding can begin here.
    pub is_sync: bool,
}

/// The initialisation segment of a track.
///
/// `presentation_start` is the composition offset of the first picture, in ticks: an edit list
/// makes the clip begin with that picture instead of with a pause (8.6.6). Its duration is zero,
/// which in a fragmented file means until the end.
pub fn init_segment(track: &VideoTrack, presentation_start: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    put_box(&mut out, b"ftyp", |out| {
        // iso6 is the brand that brought 64-bit tfdt and signed trun offsets (annex E).
        out.extend_from_slice(b"iso6");
        put_u32(out, 0);
        out.extend_from_slice(b"iso6");
        out.extend_from_slice(match track.codec {
            VideoCodec::H264(_) => b"avc1",
            VideoCodec::H265(_) => b"hvc1",
        });
        out.extend_from_slice(b"mp41");
    });
    put_box(&mut out, b"moov", |out| {
        put_movie_header(out, track);
        put_box(out, b"trak", |out| {
            put_track(out, track, presentation_start)
        });
        put_box(out, b"mvex", |out| {
            put_full_box(out, b"trex", 0, 0, |out| {
                put_u32(out, TRACK_ID);
                put_u32(out, 1); // default_sample_description_index
                put_zeros(out, 12); // duration, size and flags are given with each sample
            });
        });
    });
    out
}

/// One fragment: `moof` and `mdat`.
///
/// `sequence` counts the fragments of a clip from 1; `decode_time` is the decode time of the first
/// sample.
///
/// # Panics
///
/// If there are no samples, or more than [`FRAGMENT_PAYLOAD_BYTES_MAX`] bytes of them.
pub fn fragment(sequence: u32, decode_time: u64, samples: &[Sample<'_>]) -> Vec<u8> {
    assert!(!samples.is_empty(), "a fragment needs samples");
    let payload_bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
    assert!(
        payload_bytes <= FRAGMENT_PAYLOAD_BYTES_MAX,
        "a fragment of {payload_bytes} bytes"
    );
    let mut out = Vec::with_capacity(128 + 16 * samples.len() + payload_bytes);
    let mut data_offset_at = 0;
    put_box(&mut out, b"moof", |out| {
        put_full_box(out, b"mfhd", 0, 0, |out| put_u32(out, sequence));
        put_box(out, b"traf", |out| {
            put_full_box(out, b"tfhd", 0, tfhd_flags::DEFAULT_BASE_IS_MOOF, |out| {
                put_u32(out, TRACK_ID);
            });
            put_full_box(out, b"tfdt", 1, 0, |out| put_u64(out, decode_time));
            data_offset_at = put_run(out, samples);
        });
    });
    let moof_bytes = out.len();
    // The offset is counted from the start of moof, and points behind the header of mdat.
    let data_offset = size_of_box(moof_bytes) + 8;
    out[data_offset_at..data_offset_at + 4].copy_from_slice(&data_offset.to_be_bytes());
    put_box(&mut out, b"mdat", |out| {
        for sample in samples {
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

fn put_movie_header(out: &mut Vec<u8>, track: &VideoTrack) {
    put_full_box(out, b"mvhd", 0, 0, |out| {
        put_zeros(out, 8); // creation and modification time: a clip tells no time of day
        put_u32(out, track.timescale.get());
        put_u32(out, 0); // duration: unknown, fragments follow
        put_u32(out, 0x0001_0000); // rate 1.0
        put_u16(out, 0x0100); // volume 1.0
        put_zeros(out, 10);
        put_unity_matrix(out);
        put_zeros(out, 24);
        put_u32(out, TRACK_ID + 1); // next_track_ID
    });
}

fn put_track(out: &mut Vec<u8>, track: &VideoTrack, presentation_start: u32) {
    // Flags: enabled, in movie, in preview.
    put_full_box(out, b"tkhd", 0, 7, |out| {
        put_zeros(out, 8); // creation and modification time
        put_u32(out, TRACK_ID);
        put_zeros(out, 4);
        put_u32(out, 0); // duration: unknown
        put_zeros(out, 16); // reserved, layer, alternate_group, volume of a video track, reserved
        put_unity_matrix(out);
        put_u32(out, u32::from(track.width.get()) << 16); // 16.16 fixed point
        put_u32(out, u32::from(track.height.get()) << 16);
    });
    if presentation_start > 0 {
        put_box(out, b"edts", |out| {
            put_full_box(out, b"elst", 0, 0, |out| {
                put_u32(out, 1); // entry_count
                put_u32(out, 0); // segment_duration: until the end
                put_u32(out, presentation_start); // media_time
                put_u32(out, 0x0001_0000); // rate 1.0
            });
        });
    }
    put_box(out, b"mdia", |out| {
        put_full_box(out, b"mdhd", 0, 0, |out| {
            put_zeros(out, 8);
            put_u32(out, track.timescale.get());
            put_u32(out, 0);
            put_u16(out, 0x55C4); // language "und", three times five bits
            put_u16(out, 0);
        });
        put_full_box(out, b"hdlr", 0, 0, |out| {
            put_u32(out, 0);
            out.extend_from_slice(b"vide");
            put_zeros(out, 12);
            out.push(0); // name: empty
        });
        put_box(out, b"minf", |out| {
            put_full_box(out, b"vmhd", 0, 1, |out| put_zeros(out, 8));
            put_box(out, b"dinf", |out| {
                put_full_box(out, b"dref", 0, 0, |out| {
                    put_u32(out, 1);
                    put_full_box(out, b"url ", 0, 1, |_| {}); // flag 1: in this file
                });
            });
            put_box(out, b"stbl", |out| put_sample_table(out, track));
        });
    });
}

/// `stbl` with the codec parameters and no samples: those are in the fragments.
fn put_sample_table(out: &mut Vec<u8>, track: &VideoTrack) {
    put_full_box(out, b"stsd", 0, 0, |out| {
        put_u32(out, 1);
        put_box(out, track.codec.sample_entry(), |out| {
            put_zeros(out, 6);
            put_u16(out, 1); // data_reference_index
            put_zeros(out, 16);
            put_u16(out, track.width.get());
            put_u16(out, track.height.get());
            put_u32(out, 0x0048_0000); // 72 dpi
            put_u32(out, 0x0048_0000);
            put_u32(out, 0);
            put_u16(out, 1); // frame_count
            put_zeros(out, 32); // compressorname
            put_u16(out, 0x0018); // depth: colour without alpha
            put_u16(out, 0xFFFF); // pre_defined -1
            put_box(out, track.codec.record_box(), |out| {
                out.extend_from_slice(track.codec.record());
            });
        });
    });
    put_full_box(out, b"stts", 0, 0, |out| put_u32(out, 0));
    put_full_box(out, b"stsc", 0, 0, |out| put_u32(out, 0));
    put_full_box(out, b"stsz", 0, 0, |out| put_zeros(out, 8));
    put_full_box(out, b"stco", 0, 0, |out| put_u32(out, 0));
}

/// A box: 32-bit size, type, body (4.2).
fn put_box(out: &mut Vec<u8>, kind: &[u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_u32(out, 0);
    out.extend_from_slice(kind);
    body(out);
    let size = size_of_box(out.len() - start);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// A box that begins with a version and 24 bits of flags (4.2).
fn put_full_box(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    put_box(out, kind, |out| {
        put_u32(out, u32::from(version) << 24 | flags);
        body(out);
    });
}

fn put_unity_matrix(out: &mut Vec<u8>) {
    for word in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        put_u32(out, word);
    }
}

/// INVARIANT: holds because of [`FRAGMENT_PAYLOAD_BYTES_MAX`] and the limit on a codec's record.
fn size_of_box(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("every box is far below 4 GiB")
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_zeros(out: &mut Vec<u8>, bytes: usize) {
    out.resize(out.len() + bytes, 0);
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
}
