//! The H.264 decoder configuration record (ISO/IEC 14496-15, 5.3.3.1): parsed once at the edge
//! and carried byte for byte after that.
//!
//! It must never panic on a record from outside, and never look inside a parameter set: that is
//! the decoder's business, and that of `sps`.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::ops::Range;

use bytes::Bytes;

/// The largest configuration record accepted, in bytes. Real ones have about 40.
pub const AVC_CONFIG_BYTES_MAX: usize = 16 * 1024;

/// A valid `AVCDecoderConfigurationRecord`: the body of the `avcC` box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvcConfig {
    record: Bytes,
    profile: [u8; 3],
    nal_length_bytes: u8,
    sequence_parameter_sets: Vec<Range<usize>>,
    picture_parameter_sets: Vec<Range<usize>>,
    /// The pictures may bring parameter sets of their own (sample entry `avc3`).
    is_in_band: bool,
}

/// Why a configuration record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AvcConfigError {
    /// The record ends inside a field.
    #[error("it ends too early, after {bytes} bytes")]
    Truncated {
        /// Length of the record.
        bytes: usize,
    },
    /// The record is larger than [`AVC_CONFIG_BYTES_MAX`].
    #[error("it has {bytes} bytes, more than {AVC_CONFIG_BYTES_MAX}")]
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
    /// NAL lengths of three bytes, which the standard does not allow.
    #[error("it wants NAL lengths of {found} bytes")]
    NalLengthBytes {
        /// The width found.
        found: u8,
    },
    /// A decoder needs at least one sequence and one picture parameter set.
    #[error(
        "it has {sequence_sets} sequence and {picture_sets} picture parameter sets; one of each is needed"
    )]
    ParameterSetMissing {
        /// Number of SPS.
        sequence_sets: usize,
        /// Number of PPS.
        picture_sets: usize,
    },
    /// The size of the pictures is not in the sequence parameter set.
    #[error("its sequence parameter set does not say how large the pictures are")]
    PictureSize,
}

impl AvcConfig {
    /// Parses a record. Bytes after the picture parameter sets (the extension of the high
    /// profiles) are kept as they are.
    pub fn parse(record: &[u8]) -> Result<Self, AvcConfigError> {
        Self::parse_as(record, false)
    }

    /// As [`Self::parse`], of a track whose pictures may bring parameter sets of their own (sample
    /// entry `avc3`): the record need not have any.
    pub fn parse_in_band(record: &[u8]) -> Result<Self, AvcConfigError> {
        Self::parse_as(record, true)
    }

    /// The configuration of one sequence and one picture parameter set, without length or start code,
    /// whose pictures have NAL lengths of four bytes.
    ///
    /// # Errors
    /// [`AvcConfigError`]: a set that is cut off or too large.
    pub fn of_sets(sps: &[u8], pps: &[u8]) -> Result<Self, AvcConfigError> {
        let bytes = sps.len() + pps.len();
        let &[_, profile, compatibility, level, ..] = sps else {
            return Err(AvcConfigError::Truncated { bytes });
        };
        let (Ok(sps_bytes), Ok(pps_bytes)) = (u16::try_from(sps.len()), u16::try_from(pps.len()))
        else {
            return Err(AvcConfigError::TooLarge { bytes });
        };
        let mut record = vec![1, profile, compatibility, level, 0xFF, 0xE1];
        record.extend_from_slice(&sps_bytes.to_be_bytes());
        record.extend_from_slice(sps);
        record.push(1);
        record.extend_from_slice(&pps_bytes.to_be_bytes());
        record.extend_from_slice(pps);
        Self::parse(&record)
    }

    fn parse_as(record: &[u8], is_in_band: bool) -> Result<Self, AvcConfigError> {
        let bytes = record.len();
        if bytes > AVC_CONFIG_BYTES_MAX {
            return Err(AvcConfigError::TooLarge { bytes });
        }
        let truncated = AvcConfigError::Truncated { bytes };
        let Some((
            &[
                version,
                profile,
                compatibility,
                level,
                length_size,
                sps_count,
            ],
            _,
        )) = record.split_first_chunk::<6>()
        else {
            return Err(truncated);
        };
        if version != 1 {
            return Err(AvcConfigError::UnknownVersion { found: version });
        }
        let nal_length_bytes = (length_size & 0b11) + 1;
        if nal_length_bytes == 3 {
            return Err(AvcConfigError::NalLengthBytes { found: 3 });
        }
        let (sequence_parameter_sets, at) =
            parameter_sets(record, 6, sps_count & 0b1_1111).ok_or(truncated)?;
        let pps_count = *record.get(at).ok_or(truncated)?;
        let (picture_parameter_sets, _) =
            parameter_sets(record, at + 1, pps_count).ok_or(truncated)?;
        let lacks = sequence_parameter_sets.is_empty() || picture_parameter_sets.is_empty();
        if lacks && !is_in_band {
            return Err(AvcConfigError::ParameterSetMissing {
                sequence_sets: sequence_parameter_sets.len(),
                picture_sets: picture_parameter_sets.len(),
            });
        }
        Ok(Self {
            record: Bytes::copy_from_slice(record),
            profile: [profile, compatibility, level],
            nal_length_bytes,
            sequence_parameter_sets,
            picture_parameter_sets,
            is_in_band,
        })
    }

    /// The record as it came.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// The width of the length before each NAL unit: 1, 2 or 4 bytes.
    pub fn nal_length_bytes(&self) -> u8 {
        self.nal_length_bytes
    }

    /// The kind of the sample entry that such pictures need: `avc1`, or `avc3` if they may bring
    /// parameter sets of their own.
    pub fn sample_entry(&self) -> &'static [u8; 4] {
        match self.is_in_band {
            true => b"avc3",
            false => b"avc1",
        }
    }

    /// The sequence parameter sets (at least one, or they are in band), without length or start code.
    pub fn sequence_parameter_sets(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.sequence_parameter_sets
            .iter()
            .map(|range| self.record.slice(range.clone()))
    }

    /// The picture parameter sets (at least one, or they are in band), without length or start code.
    pub fn picture_parameter_sets(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.picture_parameter_sets
            .iter()
            .map(|range| self.record.slice(range.clone()))
    }

    /// The codec as players name it, such as `avc1.42C01F` (RFC 6381, section 3.3).
    pub fn codec_string(&self) -> String {
        let [profile, compatibility, level] = self.profile;
        let entry = if self.is_in_band { "avc3" } else { "avc1" };
        format!("{entry}.{profile:02X}{compatibility:02X}{level:02X}")
    }
}

/// Reads `count` parameter sets, each behind a 16-bit length, and says where they end.
fn parameter_sets(record: &[u8], mut at: usize, count: u8) -> Option<(Vec<Range<usize>>, usize)> {
    let mut ranges = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (length, _) = record.get(at..)?.split_first_chunk::<2>()?;
        let start = at + 2;
        let end = start + usize::from(u16::from_be_bytes(*length));
        record.get(start..end)?;
        ranges.push(start..end);
        at = end;
    }
    Some((ranges, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: [u8; 17] = [
        1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9, 0xAA,
    ];

    #[test]
    fn a_record_is_parsed_and_kept_byte_for_byte() {
        let config = AvcConfig::parse(&RECORD).expect("valid");
        assert_eq!(config.record().as_ref(), RECORD);
        assert_eq!(config.nal_length_bytes(), 4);
        assert_eq!(config.codec_string(), "avc1.42C01F");
        let sps: Vec<_> = config.sequence_parameter_sets().collect();
        assert_eq!(sps, [Bytes::from_static(&[0x67, 1, 2])]);
        let pps: Vec<_> = config.picture_parameter_sets().collect();
        assert_eq!(pps, [Bytes::from_static(&[0x68, 9])]);
    }

    #[test]
    fn a_record_is_made_of_its_sets() {
        let config = AvcConfig::of_sets(&[0x67, 0x42, 0xC0, 0x1F, 7], &[0x68, 9]).expect("valid");
        assert_eq!(config.codec_string(), "avc1.42C01F");
        assert_eq!(config.nal_length_bytes(), 4);
        let sps: Vec<_> = config.sequence_parameter_sets().collect();
        assert_eq!(sps, [Bytes::from_static(&[0x67, 0x42, 0xC0, 0x1F, 7])]);
        let pps: Vec<_> = config.picture_parameter_sets().collect();
        assert_eq!(pps, [Bytes::from_static(&[0x68, 9])]);
        assert_eq!(
            AvcConfig::of_sets(&[0x67, 1], &[0x68]),
            Err(AvcConfigError::Truncated { bytes: 3 })
        );
        assert!(AvcConfig::of_sets(&[0x67; 70_000], &[0x68]).is_err());
    }

    #[test]
    fn every_prefix_is_refused_or_complete() {
        for length in 0..RECORD.len() - 1 {
            assert_eq!(
                AvcConfig::parse(&RECORD[..length]),
                Err(AvcConfigError::Truncated { bytes: length })
            );
        }
    }

    #[test]
    fn each_kind_of_wrong_record_has_its_own_error() {
        let with = |at: usize, value: u8| {
            let mut record = RECORD;
            record[at] = value;
            AvcConfig::parse(&record).expect_err("must be refused")
        };
        assert_eq!(with(0, 2), AvcConfigError::UnknownVersion { found: 2 });
        assert_eq!(with(4, 0xFE), AvcConfigError::NalLengthBytes { found: 3 });
        assert_eq!(
            AvcConfig::parse(&[1, 66, 0, 31, 0xFF, 0xE0, 0]),
            Err(AvcConfigError::ParameterSetMissing {
                sequence_sets: 0,
                picture_sets: 0
            })
        );
        assert_eq!(
            AvcConfig::parse(&[1; AVC_CONFIG_BYTES_MAX + 1]),
            Err(AvcConfigError::TooLarge {
                bytes: AVC_CONFIG_BYTES_MAX + 1
            })
        );
    }
}
