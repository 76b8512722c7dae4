//! The `moov` box without samples: what each track is and when it begins.
//!
//! It must never hold a time of day: a clip tells none.

use super::boxes::{put_box, put_full_box, put_u16, put_u32, put_unity_matrix, put_zeros};
use super::{AUDIO_TRACK_ID, AudioEntry, Movie, TRACK_ID, VideoEntry};

/// What a track box says of its track, whatever it holds.
struct Track {
    id: u32,
    timescale: u32,
    /// Ticks at its beginning that are not presented.
    media_start: u32,
    /// Volume, 8.8 fixed point.
    volume: u16,
    width: u16,
    height: u16,
    handler: &'static [u8; 4],
}

pub(super) fn put_movie(out: &mut Vec<u8>, movie: &Movie<'_>) {
    put_box(out, b"moov", |out| {
        let last_id = match movie.audio {
            None => TRACK_ID,
            Some(_) => AUDIO_TRACK_ID,
        };
        put_movie_header(out, movie.video.timescale.get(), last_id);
        put_video_track(out, movie);
        if let Some(audio) = &movie.audio {
            put_audio_track(out, audio);
        }
        put_box(out, b"mvex", |out| {
            for id in TRACK_ID..=last_id {
                put_full_box(out, b"trex", 0, 0, |out| {
                    put_u32(out, id);
                    put_u32(out, 1); // default_sample_description_index
                    put_zeros(out, 12); // duration, size and flags are given with each sample
                });
            }
        });
    });
}

fn put_movie_header(out: &mut Vec<u8>, timescale: u32, last_id: u32) {
    put_full_box(out, b"mvhd", 0, 0, |out| {
        put_zeros(out, 8); // creation and modification time: a clip tells no time of day
        put_u32(out, timescale);
        put_u32(out, 0); // duration: unknown, fragments follow
        put_u32(out, 0x0001_0000); // rate 1.0
        put_u16(out, 0x0100); // volume 1.0
        put_zeros(out, 10);
        put_unity_matrix(out);
        put_zeros(out, 24);
        put_u32(out, last_id + 1); // next_track_ID
    });
}

fn put_video_track(out: &mut Vec<u8>, movie: &Movie<'_>) {
    let video = &movie.video;
    let track = Track {
        id: TRACK_ID,
        timescale: video.timescale.get(),
        media_start: movie.presentation_start,
        volume: 0,
        width: video.width.get(),
        height: video.height.get(),
        handler: b"vide",
    };
    put_track(
        out,
        &track,
        |out| put_full_box(out, b"vmhd", 0, 1, |out| put_zeros(out, 8)),
        |out| put_video_entry(out, video),
    );
}

fn put_audio_track(out: &mut Vec<u8>, audio: &AudioEntry<'_>) {
    let track = Track {
        id: AUDIO_TRACK_ID,
        timescale: audio.track.timescale.get(),
        media_start: audio.media_start,
        volume: 0x0100,
        width: 0,
        height: 0,
        handler: b"soun",
    };
    put_track(
        out,
        &track,
        // balance: centre
        |out| put_full_box(out, b"smhd", 0, 0, |out| put_zeros(out, 4)),
        |out| put_audio_entry(out, audio),
    );
}

fn put_track(
    out: &mut Vec<u8>,
    track: &Track,
    media_header: impl FnOnce(&mut Vec<u8>),
    sample_entry: impl FnOnce(&mut Vec<u8>),
) {
    put_box(out, b"trak", |out| {
        put_track_header(out, track);
        if track.media_start > 0 {
            put_edit_list(out, track.media_start);
        }
        put_box(out, b"mdia", |out| {
            put_media_header(out, track);
            put_box(out, b"minf", |out| {
                media_header(out);
                put_box(out, b"dinf", |out| {
                    put_full_box(out, b"dref", 0, 0, |out| {
                        put_u32(out, 1);
                        put_full_box(out, b"url ", 0, 1, |_| {}); // flag 1: in this file
                    });
                });
                put_box(out, b"stbl", |out| put_sample_table(out, sample_entry));
            });
        });
    });
}

fn put_track_header(out: &mut Vec<u8>, track: &Track) {
    // Flags: enabled, in movie, in preview.
    put_full_box(out, b"tkhd", 0, 7, |out| {
        put_zeros(out, 8); // creation and modification time
        put_u32(out, track.id);
        put_zeros(out, 4);
        put_u32(out, 0); // duration: unknown
        put_zeros(out, 12); // reserved, layer, alternate_group
        put_u16(out, track.volume);
        put_zeros(out, 2);
        put_unity_matrix(out);
        put_u32(out, u32::from(track.width) << 16); // 16.16 fixed point
        put_u32(out, u32::from(track.height) << 16);
    });
}

/// Presentation begins so many ticks into the track. A duration of zero is, in a fragmented file, until
/// the end (8.6.6).
fn put_edit_list(out: &mut Vec<u8>, media_start: u32) {
    put_box(out, b"edts", |out| {
        put_full_box(out, b"elst", 0, 0, |out| {
            put_u32(out, 1); // entry_count
            put_u32(out, 0); // segment_duration: until the end
            put_u32(out, media_start); // media_time
            put_u32(out, 0x0001_0000); // rate 1.0
        });
    });
}

fn put_media_header(out: &mut Vec<u8>, track: &Track) {
    put_full_box(out, b"mdhd", 0, 0, |out| {
        put_zeros(out, 8);
        put_u32(out, track.timescale);
        put_u32(out, 0);
        put_u16(out, 0x55C4); // language "und", three times five bits
        put_u16(out, 0);
    });
    put_full_box(out, b"hdlr", 0, 0, |out| {
        put_u32(out, 0);
        out.extend_from_slice(track.handler);
        put_zeros(out, 12);
        out.push(0); // name: empty
    });
}

/// `stbl` with the codec parameters and no samples: those are in the fragments.
fn put_sample_table(out: &mut Vec<u8>, sample_entry: impl FnOnce(&mut Vec<u8>)) {
    put_full_box(out, b"stsd", 0, 0, |out| {
        put_u32(out, 1);
        sample_entry(out);
    });
    put_full_box(out, b"stts", 0, 0, |out| put_u32(out, 0));
    put_full_box(out, b"stsc", 0, 0, |out| put_u32(out, 0));
    put_full_box(out, b"stsz", 0, 0, |out| put_zeros(out, 8));
    put_full_box(out, b"stco", 0, 0, |out| put_u32(out, 0));
}

/// A visual sample entry (12.1.3) with its decoder configuration.
fn put_video_entry(out: &mut Vec<u8>, video: &VideoEntry<'_>) {
    put_box(out, video.kind, |out| {
        put_zeros(out, 6);
        put_u16(out, 1); // data_reference_index
        put_zeros(out, 16);
        put_u16(out, video.width.get());
        put_u16(out, video.height.get());
        put_u32(out, 0x0048_0000); // 72 dpi
        put_u32(out, 0x0048_0000);
        put_u32(out, 0);
        put_u16(out, 1); // frame_count
        put_zeros(out, 32); // compressorname
        put_u16(out, 0x0018); // depth: colour without alpha
        put_u16(out, 0xFFFF); // pre_defined -1
        put_box(out, video.config_kind, |out| {
            out.extend_from_slice(video.config);
        });
    });
}

/// `mp4a` (12.2.3) with `esds` (ISO/IEC 14496-14, 5.6.1; the descriptors are 14496-1, 7.2.6).
fn put_audio_entry(out: &mut Vec<u8>, audio: &AudioEntry<'_>) {
    // 16.16 fixed point; rates that it cannot hold are zero, the media header has them all.
    let rate = u16::try_from(audio.track.timescale.get()).unwrap_or(0);
    put_box(out, b"mp4a", |out| {
        put_zeros(out, 6);
        put_u16(out, 1); // data_reference_index
        put_zeros(out, 8);
        put_u16(out, u16::from(audio.track.channels.get()));
        put_u16(out, 16); // samplesize
        put_zeros(out, 4);
        put_u32(out, u32::from(rate) << 16);
        put_full_box(out, b"esds", 0, 0, |out| {
            // ES_Descriptor
            put_descriptor(out, 3, |out| {
                put_u16(out, 0); // ES_ID: in a file the track says it
                out.push(0);
                // DecoderConfigDescriptor
                put_descriptor(out, 4, |out| {
                    out.push(0x40); // objectTypeIndication: MPEG-4 audio
                    out.push(5 << 2 | 1); // streamType: audio; reserved bit
                    put_zeros(out, 11); // buffer size and bit rates: not known
                    // DecoderSpecificInfo
                    put_descriptor(out, 5, |out| {
                        out.extend_from_slice(audio.track.config.bytes());
                    });
                });
                // SLConfigDescriptor: 2, as in every MP4 file
                put_descriptor(out, 6, |out| out.push(2));
            });
        });
    });
}

/// A descriptor: tag, size in one byte, body (14496-1, 8.3.3).
fn put_descriptor(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let size_at = out.len();
    out.push(0);
    body(out);
    let size = out.len() - size_at - 1;
    // INVARIANT: the limit on an AudioSpecificConfig leaves every size below 128.
    out[size_at] = u8::try_from(size).expect("a small descriptor");
}
