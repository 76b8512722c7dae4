//! `cameras` and `test-camera`: what is configured, and what a camera sends.
//!
//! It must never print a name, a password, or what stands behind `?` in an address.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::camera::address::Password;
use crate::camera::rtsp::{AudioWish, RtspConfig, STALL_DEFAULT};
use crate::camera::{CameraAddress, Login, SourceConfig, TokioClock};
use crate::config::Config;
use crate::exit::{Code, Failure};
use crate::output::Format;
use crate::probe;

/// Each camera as it is configured, without credentials.
pub(super) fn list(config: &Config, format: Format) {
    for camera in &config.cameras {
        let (kind, what) = (camera.source.kind(), camera.source.describe());
        let events = match (&camera.detection, &camera.source) {
            (Some(_), _) => "motion",
            (None, SourceConfig::File(_)) => "passes",
            (None, _) => "clock",
        };
        let name = &camera.name;
        let json = json!({"camera": name, "kind": kind, "source": what, "events": events});
        format.line(
            &json,
            &format!("{name}: {kind}, {what}; events by {events}"),
        );
    }
    if config.cameras.is_empty() {
        eprintln!("secluso-hub: no [[camera]] is configured; nothing is recorded");
    }
}

/// The camera that a command line names.
fn camera_of(url: &str, login: Option<(String, PathBuf)>) -> Result<RtspConfig, Failure> {
    let parsed = CameraAddress::parse_with_login(url);
    let (address, in_url) = parsed.map_err(|error| Failure::new(Code::Usage, error.to_string()))?;
    let given = login.map(|(user, path)| Login {
        user,
        password: Password::File(path),
    });
    Ok(RtspConfig {
        address,
        login: given.or(in_url),
        audio: AudioWish::IfSupported,
        stall: STALL_DEFAULT,
    })
}

/// Looks at a camera and says what it sends.
pub(super) async fn test(
    url: &str,
    login: Option<(String, PathBuf)>,
    seconds: u16,
    format: Format,
) -> Result<(), Failure> {
    let source = SourceConfig::Rtsp(camera_of(url, login)?);
    let duration = Duration::from_secs(u64::from(seconds));
    let seen = probe::look(&source, duration, TokioClock::new()).await;
    let seen = seen.map_err(|error| probe::failure(&error))?;
    let text = format!("{}: {}", source.describe(), seen.to_text());
    let mut json = seen.to_json();
    json["source"] = source.describe().into();
    format.line(&json, &text);
    Ok(())
}
