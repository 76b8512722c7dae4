//! What one camera's stream consists of: pictures and, where there is a microphone, sound, on one
//! timeline.
//!
//! It must never touch the bytes of either.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;

use crate::camera::{AccessUnit, VideoTrack};

/// Fewest and most bytes of an AudioSpecificConfig. Real ones have two to seven.
pub const AAC_CONFIG_BYTES: (usize, usize) = (2, 64);

/// The largest access unit of sound, in bytes: 6,144 bits a channel, eight channels, and something for a
/// camera that counts otherwise.
pub const AUDIO_UNIT_BYTES_MAX: usize = 8 * 1024;

/// Most samples of one channel in an access unit of sound. AAC has 1,024, its low-delay kinds fewer, its
/// high-efficiency kinds twice as many.
pub const AUDIO_UNIT_TICKS_MAX: u32 = 4096;

/// The codec parameters of an AAC track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioTrack {
    /// Ticks a second in which every time of the track is counted: its sampling rate.
    pub timescale: NonZeroU32,
    /// Channels.
    pub channels: NonZeroU8,
    /// The AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1): all that a decoder needs.
    pub config: AacConfig,
}

/// An AudioSpecificConfig that is neither empty nor absurd. What it says is the decoder's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AacConfig(Bytes);

impl AacConfig {
    /// `None` if its length is outside [`AAC_CONFIG_BYTES`].
    pub fn new(config: &[u8]) -> Option<Self> {
        let (min, max) = AAC_CONFIG_BYTES;
        (min..=max)
            .contains(&config.len())
            .then(|| Self(Bytes::copy_from_slice(config)))
    }

    /// As it came.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The codec as players name it, such as `mp4a.40.2` (RFC 6381, section 3.3).
    pub fn codec_string(&self) -> String {
        let bits = |at: usize, shift: u32| {
            let byte = self.0.get(at).copied().unwrap_or(0);
            u32::from(byte >> shift)
        };
        // audioObjectType: five bits, and if they are all set six more, from 32 on.
        let kind = match bits(0, 3) {
            31 => 32 + ((bits(0, 0) & 0b111) << 3 | bits(1, 5)),
            kind => kind,
        };
        format!("mp4a.40.{kind}")
    }
}

/// One piece of sound with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioUnit {
    /// One raw AAC frame, without an ADTS header. At most [`AUDIO_UNIT_BYTES_MAX`].
    pub data: Bytes,
    /// When it is heard, in ticks of the audio track, from the origin that the decode times of the video
    /// track have. Never falls.
    pub pts: u64,
    /// How long it lasts, in ticks: 1 to [`AUDIO_UNIT_TICKS_MAX`].
    pub duration: u32,
    /// When it was captured, in milliseconds since 1970 by the hub's clock.
    pub captured_unix_ms: u64,
}

/// The codec parameters of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracks {
    /// The pictures.
    pub video: Arc<VideoTrack>,
    /// The sound, if there is any.
    pub audio: Option<Arc<AudioTrack>>,
}

impl Tracks {
    /// A stream without sound.
    pub fn silent(video: Arc<VideoTrack>) -> Self {
        Self { video, audio: None }
    }

    /// What a player has to be told: `video/mp4; codecs="avc1.42C01F,mp4a.40.2"`.
    pub fn mime(&self) -> String {
        let video = self.video.codec.codec_string();
        match &self.audio {
            None => format!("video/mp4; codecs=\"{video}\""),
            Some(audio) => {
                let audio = audio.config.codec_string();
                format!("video/mp4; codecs=\"{video},{audio}\"")
            }
        }
    }
}

/// The next piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaUnit {
    /// A picture.
    Video(AccessUnit),
    /// Sound.
    Audio(AudioUnit),
}

impl MediaUnit {
    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Video(unit) => unit.data.len(),
            Self::Audio(unit) => unit.data.len(),
        }
    }

    /// Whether a clip can begin with it.
    pub fn is_key_frame(&self) -> bool {
        matches!(self, Self::Video(unit) if unit.is_sync)
    }

    /// When it was captured, in milliseconds since 1970 by the hub's clock.
    pub fn captured_unix_ms(&self) -> u64 {
        match self {
            Self::Video(unit) => unit.captured_unix_ms,
            Self::Audio(unit) => unit.captured_unix_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_has_a_length_and_a_name() {
        assert_eq!(AacConfig::new(&[0x12]), None);
        assert_eq!(AacConfig::new(&[0; 65]), None);
        // (AudioSpecificConfig, name): AAC-LC, HE-AAC, and an extended type: 39 is 32 + 7.
        let table = [
            ([0x12, 0x10], "mp4a.40.2"),
            ([0x2B, 0x92], "mp4a.40.5"),
            ([0xF8, 0xE0], "mp4a.40.39"),
        ];
        for (config, want) in table {
            let config = AacConfig::new(&config).unwrap();
            assert_eq!(config.codec_string(), want);
        }
    }
}
