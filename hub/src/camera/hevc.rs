//! The H.265 decoder configuration record (ISO/IEC 14496-15, 8.3.3.1), carried byte for byte.
//!
//! It must never panic on a record from outside, and never look inside a parameter set. The hub
//! records and sends H.265; it cannot decode it, so nothing is detected in such pictures.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt::Write as _;

use bytes::Bytes;

use super::AVC_CONFIG_BYTES_MAX;

/// The largest record accepted, in bytes: as of H.264. Real ones have about 100.
pub const HEVC_CONFIG_BYTES_MAX: usize = AVC_CONFIG_BYTES_MAX;

/// A valid `HEVCDecoderConfigurationRecord`: the body of the `hvcC` box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HevcConfig {
    record: Bytes,
    codec_string: String,
}

/// Why a configuration record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HevcConfigError {
    /// The record ends inside its fixed part.
    #[error("it ends too early, after {bytes} bytes")]
    Truncated {
        /// Length of the record.
        bytes: usize,
    },
    /// The record is larger than [`HEVC_CONFIG_BYTES_MAX`].
    #[error("it has {bytes} bytes, more than {HEVC_CONFIG_BYTES_MAX}")]
    TooLarge {
        /// Length of the record.
        bytes: usize,
    },
    /// `configurationVersion` is not 1.
    #[error("its version is {found}, not 1")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// The pictures have NAL lengths of four bytes; the record says otherwise.
    #[error("it wants NAL lengths of {found} bytes")]
    NalLengthBytes {
        /// The width found.
        found: u8,
    },
}

impl HevcConfig {
    /// Parses a record whose pictures have NAL lengths of four bytes.
    ///
    /// # Errors
    /// [`HevcConfigError`].
    pub fn parse(record: &[u8]) -> Result<Self, HevcConfigError> {
        let bytes = record.len();
        if bytes > HEVC_CONFIG_BYTES_MAX {
            return Err(HevcConfigError::TooLarge { bytes });
        }
        let Some((fixed, _sets)) = record.split_first_chunk::<23>() else {
            return Err(HevcConfigError::Truncated { bytes });
        };
        let &[
            version,
            profile,
            c0,
            c1,
            c2,
            c3,
            constraints @ ..,
            level,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            lengths,
            _,
        ] = fixed;
        if version != 1 {
            return Err(HevcConfigError::UnknownVersion { found: version });
        }
        let nal_length_bytes = (lengths & 0b11) + 1;
        if nal_length_bytes != 4 {
            return Err(HevcConfigError::NalLengthBytes {
                found: nal_length_bytes,
            });
        }
        let compatibility = u32::from_be_bytes([c0, c1, c2, c3]);
        Ok(Self {
            record: Bytes::copy_from_slice(record),
            codec_string: codec_string(profile, compatibility, &constraints, level),
        })
    }

    /// The record as it came.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// The codec as players name it, such as `hvc1.1.6.L93.B0` (ISO/IEC 14496-15, annex E.3).
    pub fn codec_string(&self) -> &str {
        &self.codec_string
    }
}

fn codec_string(profile: u8, compatibility: u32, constraints: &[u8], level: u8) -> String {
    let space = ["", "A", "B", "C"]
        .get(usize::from(profile >> 6))
        .copied()
        .unwrap_or("");
    let tier = if profile & 0b0010_0000 == 0 { 'L' } else { 'H' };
    let mut out = format!(
        "hvc1.{space}{}.{:X}.{tier}{level}",
        profile & 0b1_1111,
        compatibility.reverse_bits()
    );
    let last = constraints.iter().rposition(|byte| *byte != 0);
    for byte in constraints.iter().take(last.map_or(0, |last| last + 1)) {
        // Writing into a string does not fail.
        let _written = write!(out, ".{byte:X}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Main profile, level 3.1, as FFmpeg writes it; without parameter sets.
    const RECORD: [u8; 23] = [
        1, 0x01, 0x60, 0, 0, 0, 0xB0, 0, 0, 0, 0, 0, 93, 0xF0, 0, 0xFC, 0xFD, 0xF8, 0xF8, 0, 0,
        0x0F, 0,
    ];

    #[test]
    fn a_record_is_kept_and_named_as_players_name_it() {
        let config = HevcConfig::parse(&RECORD).expect("valid");
        assert_eq!(config.record().as_ref(), RECORD);
        assert_eq!(config.codec_string(), "hvc1.1.6.L93.B0");
    }

    #[test]
    fn a_clip_says_that_it_is_h265() {
        use std::num::{NonZeroU16, NonZeroU32};

        use crate::camera::{VideoCodec, VideoTrack};

        let side = NonZeroU16::new(64).expect("not zero");
        let track = VideoTrack {
            timescale: NonZeroU32::MIN,
            width: side,
            height: side,
            codec: VideoCodec::H265(HevcConfig::parse(&RECORD).expect("valid")),
        };
        assert!(!track.codec.is_decodable());
        let segment = crate::fmp4::init_segment(&track, 0);
        let has = |bytes: &[u8]| segment.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(&[&b"hvcC"[..], &RECORD].concat()));
        assert!(has(b"hvc1") && has(b"iso6hvc1"));
        assert!(!has(b"avc1") && !has(b"avcC"));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for length in 0..RECORD.len() {
            assert_eq!(
                HevcConfig::parse(&RECORD[..length]),
                Err(HevcConfigError::Truncated { bytes: length })
            );
        }
        let with = |at: usize, value: u8| {
            let mut record = RECORD;
            record[at] = value;
            HevcConfig::parse(&record).expect_err("must be refused")
        };
        assert_eq!(with(0, 0), HevcConfigError::UnknownVersion { found: 0 });
        assert_eq!(with(21, 0x0D), HevcConfigError::NalLengthBytes { found: 2 });
        let bytes = HEVC_CONFIG_BYTES_MAX + 1;
        assert_eq!(
            HevcConfig::parse(&vec![1; bytes]),
            Err(HevcConfigError::TooLarge { bytes })
        );
    }
}
