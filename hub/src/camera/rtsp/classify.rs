//! What `retina` says, in our words: errors and codec parameters.
//!
//! It must never let a password through, nor more than one line of what a camera said.

use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};

use retina::codec::{AudioParameters, VideoParameters, VideoParametersCodec};

use super::SecretRef;
use crate::camera::{AvcConfig, CameraError, HevcConfig, TIMESCALE_MAX, VideoCodec, VideoTrack};
use crate::media::{AacConfig, AudioTrack};

/// The most characters of a camera's or library's words in a message.
const LINE_CHARS_MAX: usize = 200;

/// How `retina` begins the text of an error for which it has no code.
const NOT_CONNECTED: &str = "Unable to connect to RTSP server: ";

/// What went wrong while the camera played. A refusal says nothing of the password any more, which was
/// right a moment ago: some cameras forget who has logged in.
pub(super) fn playing(error: &retina::Error, camera: &str) -> CameraError {
    of_status(None, &error.to_string(), camera, None)
}

/// What went wrong before that. `secret` is what was used to log in.
pub(super) fn error(error: &retina::Error, camera: &str, secret: SecretRef<'_>) -> CameraError {
    of_status(error.status_code(), &error.to_string(), camera, secret)
}

fn of_status(status: Option<u16>, text: &str, camera: &str, secret: SecretRef<'_>) -> CameraError {
    let line = one_line(text, secret);
    let camera = camera.to_owned();
    match status {
        Some(401 | 403) if secret.is_some() => CameraError::LoginRefused { camera },
        Some(401) => CameraError::LoginMissing { camera },
        Some(403) => CameraError::LoginRefused { camera },
        Some(status @ (404 | 410 | 454)) => CameraError::NoSuchStream { camera, status },
        _ => match line.strip_prefix(NOT_CONNECTED) {
            Some(reason) => CameraError::Unreachable {
                camera,
                reason: reason.to_owned(),
            },
            None => CameraError::Protocol {
                camera,
                reason: line,
            },
        },
    }
}

/// The first line, without control characters, cut where it is too long, without the password.
pub(super) fn one_line(text: &str, secret: SecretRef<'_>) -> String {
    let first = text.lines().next().unwrap_or_default();
    let first = match secret.map(super::Secret::reveal) {
        Some(secret) if !secret.is_empty() => first.replace(secret, "..."),
        _ => first.to_owned(),
    };
    let printable = first.chars().filter(|char| !char.is_control());
    printable.take(LINE_CHARS_MAX).collect()
}

/// The codec parameters of a video stream.
pub(super) fn track(
    parameters: &VideoParameters,
    timescale: NonZeroU32,
    camera: &str,
) -> Result<VideoTrack, CameraError> {
    let named = || camera.to_owned();
    let codec = match parameters.codec_params() {
        VideoParametersCodec::H264 { .. } => {
            let avc = AvcConfig::parse(parameters.extra_data());
            VideoCodec::H264(avc.map_err(|source| CameraError::Avc {
                camera: named(),
                source,
            })?)
        }
        VideoParametersCodec::H265 { .. } => {
            let hevc = HevcConfig::parse(parameters.extra_data());
            VideoCodec::H265(hevc.map_err(|source| CameraError::Hevc {
                camera: named(),
                source,
            })?)
        }
        _ => {
            return Err(CameraError::NoVideo {
                camera: named(),
                offered: parameters.rfc6381_codec().to_owned(),
            });
        }
    };
    let (width, height) = parameters.pixel_dimensions();
    let side = |pixels: u32| u16::try_from(pixels).ok().and_then(NonZeroU16::new);
    let (Some(width), Some(height)) = (side(width), side(height)) else {
        let reason = format!("pictures of {width}x{height} pixels");
        return Err(CameraError::Protocol {
            camera: named(),
            reason,
        });
    };
    if timescale.get() > TIMESCALE_MAX {
        let reason = format!("{timescale} ticks a second; at most {TIMESCALE_MAX} are supported");
        return Err(CameraError::Protocol {
            camera: named(),
            reason,
        });
    }
    Ok(VideoTrack {
        timescale,
        width,
        height,
        codec,
    })
}

/// The codec parameters of an AAC stream; `None` if they are not those of AAC.
pub(super) fn audio_track(parameters: &AudioParameters) -> Option<AudioTrack> {
    // What has no name among players is not AAC.
    parameters.rfc6381_codec()?;
    Some(AudioTrack {
        timescale: NonZeroU32::new(parameters.clock_rate())?,
        channels: NonZeroU8::try_from(parameters.channels()).ok()?,
        config: AacConfig::new(parameters.extra_data())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::CameraErrorKind;
    use crate::camera::address::Secret;

    #[test]
    fn each_status_says_what_to_do() {
        let secret = Secret::new("s3cret".into());
        let of = |status, secret| of_status(Some(status), "", "rtsp://cam/", secret);
        for status in [401, 403] {
            let error = of(status, Some(&secret));
            assert!(matches!(error, CameraError::LoginRefused { .. }), "{error}");
            assert_eq!(error.kind(), CameraErrorKind::Login);
        }
        assert!(matches!(of(401, None), CameraError::LoginMissing { .. }));
        assert_eq!(of(401, None).kind(), CameraErrorKind::Login);
        assert_eq!(of(404, None).kind(), CameraErrorKind::Replace);
        assert_eq!(of(503, None).kind(), CameraErrorKind::Retry);
    }

    #[test]
    fn nobody_there_is_told_from_nonsense() {
        let of = |text: &str| of_status(None, text, "rtsp://cam/", None);
        let refused = of("Unable to connect to RTSP server: Connection refused (os error 111)");
        let CameraError::Unreachable { reason, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(reason, "Connection refused (os error 111)");
        let nonsense = of("RTSP framing error: bad\n\nconn: 1.2.3.4");
        assert!(
            matches!(nonsense, CameraError::Protocol { .. }),
            "{nonsense}"
        );
        assert!(!nonsense.to_string().contains("conn"), "{nonsense}");
    }

    #[test]
    fn a_message_is_one_short_line_without_the_password() {
        let secret = Secret::new("s3cret".into());
        let text = format!("said s3cret\x1b[31m {}\nmore", "x".repeat(1000));
        let line = one_line(&text, Some(&secret));
        assert!(line.starts_with("said ...[31m xxx"), "{line}");
        assert_eq!(line.chars().count(), LINE_CHARS_MAX);
    }
}
