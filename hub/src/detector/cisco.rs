//! Cisco's decoder behind our trait.
//!
//! It must never hand it bytes whose lengths were not checked, and never change what a picture shows.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;

use openh264::OpenH264API;
use openh264::decoder::{DecoderConfig, Flush};
use openh264::formats::YUVSource;

use super::{DecodeError, Decoder, Show};
use crate::camera::{AccessUnit, VideoCodec, VideoTrack};
use crate::picture::{Picture, Plane};

/// What stands before each NAL unit in a byte stream (ITU-T H.264, annex B).
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// A decoder for one stream at a time. It has one thread: its own are said to crash.
pub struct OpenH264 {
    decoder: openh264::decoder::Decoder,
    /// The compressed picture as a byte stream. Kept for its room.
    stream: Vec<u8>,
    /// The planes of the picture that was shown last. Kept for their room.
    planes: [Vec<u8>; 3],
}

impl OpenH264 {
    /// A decoder that has seen nothing.
    ///
    /// # Errors
    /// [`DecodeError::NoDecoder`].
    pub fn new() -> Result<Self, DecodeError> {
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let api = OpenH264API::from_source();
        let decoder =
            openh264::decoder::Decoder::with_api_config(api, config).map_err(|error| {
                DecodeError::NoDecoder {
                    reason: error.to_string(),
                }
            })?;
        Ok(Self {
            decoder,
            stream: Vec::new(),
            planes: [Vec::new(), Vec::new(), Vec::new()],
        })
    }
}

impl fmt::Debug for OpenH264 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenH264").finish_non_exhaustive()
    }
}

impl Decoder for OpenH264 {
    fn decode(
        &mut self,
        track: &VideoTrack,
        unit: &AccessUnit,
        show: Show,
    ) -> Result<Option<Picture<'_>>, DecodeError> {
        byte_stream(track, unit, &mut self.stream)?;
        let decoded = self
            .decoder
            .decode(&self.stream)
            .map_err(|error| DecodeError::Refused {
                reason: error.to_string(),
            })?;
        let Some(yuv) = decoded.filter(|_| show == Show::Picture) else {
            return Ok(None);
        };
        // The library lends its planes only as long as its own view of them lives.
        let (width, height) = yuv.dimensions();
        let (half_width, half_height) = yuv.dimensions_uv();
        let (luma_stride, blue_stride, red_stride) = yuv.strides();
        for (copy, plane) in self.planes.iter_mut().zip([yuv.y(), yuv.u(), yuv.v()]) {
            copy.clear();
            copy.extend_from_slice(plane);
        }
        let [luma, blue, red] = &self.planes;
        let picture = || {
            Some(Picture {
                luma: Plane::new(width, height, luma_stride, luma)?,
                blue: Plane::new(half_width, half_height, blue_stride, blue)?,
                red: Plane::new(half_width, half_height, red_stride, red)?,
            })
        };
        Ok(picture())
    }
}

/// Writes a picture as a byte stream: start codes instead of lengths, and before a key frame the parameter
/// sets of the track.
fn byte_stream(
    track: &VideoTrack,
    unit: &AccessUnit,
    stream: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    stream.clear();
    let VideoCodec::H264(avc) = &track.codec else {
        return Err(DecodeError::NoDecoder {
            reason: format!("{} is not decoded", track.codec.name()),
        });
    };
    if unit.is_sync {
        let sets = avc.sequence_parameter_sets();
        for set in sets.chain(avc.picture_parameter_sets()) {
            stream.extend_from_slice(&START_CODE);
            stream.extend_from_slice(&set);
        }
    }
    let damaged = DecodeError::Lengths {
        bytes: unit.data.len(),
    };
    let width = usize::from(avc.nal_length_bytes());
    let mut rest: &[u8] = &unit.data;
    while !rest.is_empty() {
        let Some((length, behind)) = rest.split_at_checked(width) else {
            return Err(damaged);
        };
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        let Some((nal, behind)) = behind.split_at_checked(length) else {
            return Err(damaged);
        };
        stream.extend_from_slice(&START_CODE);
        stream.extend_from_slice(nal);
        rest = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32};

    use bytes::Bytes;

    use super::*;
    use crate::camera::AvcConfig;

    fn unit(data: &[u8], is_sync: bool) -> AccessUnit {
        AccessUnit {
            data: Bytes::copy_from_slice(data),
            dts: 0,
            composition_offset: 0,
            duration: None,
            is_sync,
            captured_unix_ms: 0,
        }
    }

    fn track() -> VideoTrack {
        let record = [
            1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
        ];
        VideoTrack {
            timescale: NonZeroU32::MIN,
            width: NonZeroU16::MIN,
            height: NonZeroU16::MIN,
            codec: VideoCodec::H264(AvcConfig::parse(&record).unwrap()),
        }
    }

    #[test]
    fn lengths_become_start_codes_and_a_key_frame_brings_its_parameters() {
        let data = [0, 0, 0, 2, 0x65, 7, 0, 0, 0, 1, 0x06];
        let mut stream = vec![9];
        byte_stream(&track(), &unit(&data, false), &mut stream).unwrap();
        assert_eq!(stream, [0, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, 0x06]);
        byte_stream(&track(), &unit(&data[..6], true), &mut stream).unwrap();
        let want = [
            0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 9, 0, 0, 0, 1, 0x65, 7,
        ];
        assert_eq!(stream, want);
    }

    #[test]
    fn whatever_the_lengths_are_and_whatever_the_bytes_there_is_an_answer() {
        let data = [0, 0, 0, 2, 0x65, 7];
        for length in 1..data.len() {
            let result = byte_stream(&track(), &unit(&data[..length], false), &mut Vec::new());
            assert_eq!(result, Err(DecodeError::Lengths { bytes: length }));
        }
        let mut decoder = OpenH264::new().unwrap();
        let picture = decoder.decode(&track(), &unit(&data, true), Show::Picture);
        assert!(!matches!(picture, Ok(Some(_))));
    }
}
