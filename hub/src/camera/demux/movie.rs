//! The `moov` box: finds the H.264 track, its codec parameters and its defaults for fragments.
//!
//! It must never judge a track other than the one it chose: damage in an audio track is no reason
//! to refuse a clip.

use std::num::{NonZeroU16, NonZeroU32};

use super::boxes::{Fields, FourCc};
use super::table::{self, Checks};
use super::{ClipError, SampleEntry};
use crate::camera::{AvcConfig, TIMESCALE_MAX, UNIT_SECONDS_MAX, VideoCodec, VideoTrack};

/// How many kinds of unusable tracks an error lists.
const FOUND_MAX: usize = 8;

/// What the rest of the file is read with.
pub(super) struct Movie {
    pub(super) track: VideoTrack,
    pub(super) track_id: u32,
    pub(super) defaults: Option<TrackDefaults>,
    pub(super) checks: Checks,
}

/// The `trex` box (14496-12, 8.8.3): what a fragment does not say itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrackDefaults {
    pub(super) duration: u32,
    pub(super) bytes: u32,
    pub(super) flags: u32,
}

/// Reads `moov` (14496-12, 8.2.1), and the samples that its tables name.
pub(super) fn read(
    moov: Fields<'_>,
    file_bytes: u64,
) -> Result<(Movie, Vec<SampleEntry>), ClipError> {
    let (trak, entry) = find_h264(moov)?;
    let mdia = trak.need(b"mdia")?;
    let timescale = timescale(mdia.need(b"mdhd")?)?;
    let track_id = track_id(trak.need(b"tkhd")?)?;
    let checks = Checks {
        file_bytes,
        // Both are bounded, so that the product fits (see the assertion beside them).
        ticks_max: UNIT_SECONDS_MAX * timescale.get(),
    };
    let movie = Movie {
        track: video_track(entry, timescale)?,
        track_id,
        defaults: track_defaults(moov, track_id)?,
        checks,
    };
    let samples = table::read(mdia.need(b"minf")?.need(b"stbl")?, checks)?;
    Ok((movie, samples))
}

/// The first video track with an `avc1` or `avc3` sample entry: the `trak` and that box.
fn find_h264(mut moov: Fields<'_>) -> Result<(Fields<'_>, Fields<'_>), ClipError> {
    let mut found = Vec::new();
    while let Some(child) = moov.child()? {
        if &child.inside().0 != b"trak" {
            continue;
        }
        match sample_entry(child) {
            Ok((entry, _)) if !matches!(&entry.inside().0, b"avc1" | b"avc3") => {
                if found.len() < FOUND_MAX {
                    found.push(entry.inside());
                }
            }
            Ok((entry, 1)) => return Ok((child, entry)),
            Ok((_, descriptions)) => {
                return Err(ClipError::SampleDescriptions {
                    found: descriptions,
                });
            }
            Err(error) if is_video(child) => return Err(error),
            Err(_) => {}
        }
    }
    Err(ClipError::NoH264Track { found })
}

fn is_video(trak: Fields<'_>) -> bool {
    // Of `hdlr` (14496-12, 8.4.3): version and flags, pre_defined, handler_type.
    let handler = trak
        .need(b"mdia")
        .and_then(|mdia| mdia.need(b"hdlr"))
        .and_then(|mut hdlr| hdlr.skip(8).and_then(|()| hdlr.array::<4>()));
    handler.as_ref() == Ok(b"vide")
}

/// The first sample entry of a track (14496-12, 8.5.2), and how many there are.
fn sample_entry(trak: Fields<'_>) -> Result<(Fields<'_>, u32), ClipError> {
    let mut stsd = trak
        .need(b"mdia")?
        .need(b"minf")?
        .need(b"stbl")?
        .need(b"stsd")?;
    stsd.version_and_flags()?;
    let descriptions = stsd.u32()?;
    match stsd.child()? {
        Some(entry) if descriptions > 0 => Ok((entry, descriptions)),
        _ => Err(stsd.malformed("it has no entries")),
    }
}

/// The `avc1` or `avc3` sample entry (14496-12, 12.1.3, and 14496-15, 5.4.2.1).
fn video_track(mut entry: Fields<'_>, timescale: NonZeroU32) -> Result<VideoTrack, ClipError> {
    // Reserved (6), data_reference_index (2), pre_defined and reserved (16).
    entry.skip(24)?;
    let size = (NonZeroU16::new(entry.u16()?), NonZeroU16::new(entry.u16()?));
    let (Some(width), Some(height)) = size else {
        return Err(entry.malformed("the picture has no width or no height"));
    };
    // Resolutions (8), reserved (4), frame_count (2), compressorname (32), depth and pre_defined (4).
    entry.skip(50)?;
    let record = entry.need(b"avcC")?.rest();
    let avc = match &entry.inside().0 {
        b"avc3" => AvcConfig::parse_in_band(record)?,
        _ => AvcConfig::parse(record)?,
    };
    Ok(VideoTrack {
        timescale,
        width,
        height,
        codec: VideoCodec::H264(avc),
    })
}

/// The `mdhd` box (14496-12, 8.4.2).
fn timescale(mut mdhd: Fields<'_>) -> Result<NonZeroU32, ClipError> {
    let (version, _) = mdhd.version_and_flags()?;
    mdhd.skip(if version == 1 { 16 } else { 8 })?;
    let found = mdhd.u32()?;
    if found > TIMESCALE_MAX {
        return Err(ClipError::TooLarge {
            what: "timescale",
            found: u64::from(found),
            limit: u64::from(TIMESCALE_MAX),
        });
    }
    NonZeroU32::new(found).ok_or(mdhd.malformed("its timescale is zero"))
}

/// The `tkhd` box (14496-12, 8.3.2).
fn track_id(mut tkhd: Fields<'_>) -> Result<u32, ClipError> {
    let (version, _) = tkhd.version_and_flags()?;
    tkhd.skip(if version == 1 { 16 } else { 8 })?;
    tkhd.u32()
}

/// The `trex` box of the track inside `mvex`; `None` if the file has no fragments.
fn track_defaults(moov: Fields<'_>, track_id: u32) -> Result<Option<TrackDefaults>, ClipError> {
    let Some(mut mvex) = moov.find(b"mvex")? else {
        return Ok(None);
    };
    while let Some(mut trex) = mvex.child()? {
        if trex.inside() != FourCc(*b"trex") {
            continue;
        }
        trex.version_and_flags()?;
        if trex.u32()? != track_id {
            continue;
        }
        let _description_index = trex.u32()?;
        return Ok(Some(TrackDefaults {
            duration: trex.u32()?,
            bytes: trex.u32()?,
            flags: trex.u32()?,
        }));
    }
    Ok(None)
}
