//! What `doctor` says by the word of a running hub: the hub has journal, relay and cameras open, and nobody else is
//! to open them beside it.
//!
//! All of it is in the hub's `status`. This room must never ask anybody itself.

use std::path::Path;

use serde_json::Value;

use super::Finding;
use crate::camera::SourceConfig;
use crate::cli::shown;
use crate::exit::Code;
use crate::output::{NEXT_LOGIN, NEXT_RETRY};
use crate::status::{doing, stranded};

/// The phones, and whether they are sent anything.
pub(super) fn pairing(status: &Value) -> Finding {
    let phones = rows(&status["pairings"]);
    let refused = phones
        .iter()
        .filter(|phone| phone["standing"] != "good")
        .count();
    match (phones.len(), refused) {
        (0, _) => Finding::Warning("no phone; run `secluso-hub pair`".into()),
        (all, 0) => Finding::Good(format!("{all} phone(s)")),
        (all, refused) => Finding::Warning(format!(
            "{refused} of {all} phone(s) are sent nothing; `secluso-hub status` says why"
        )),
    }
}

/// Retained copies that no ack will end, if there are any.
pub(super) fn retained(status: &Value) -> Option<Finding> {
    match status["stranded_copies"].as_u64() {
        None | Some(0) => None,
        Some(copies) => Some(Finding::Warning(stranded(copies))),
    }
}

/// Whether the device has the secret of the configured file; `compared` is what the hub says of it.
pub(super) fn device_secret(compared: &Value, path: &Path) -> Finding {
    let shown = shown(path);
    match (compared["same"].as_bool(), compared["trouble"].as_str()) {
        (Some(true), _) => Finding::Good(format!("that of {shown}")),
        (Some(false), _) => Finding::Warning(format!(
            "another than in {shown}, which was there too late; `secluso-hub reset` takes that one over"
        )),
        (None, Some(trouble)) => Finding::Warning(trouble.to_owned()),
        (None, None) => Finding::Warning(format!(
            "the running hub does not know of {shown}; restart it for device_secret_file"
        )),
    }
}

/// Whether the relay is reached.
pub(super) fn relay(status: &Value) -> Finding {
    match (status["connected"] == true, status["trouble"].as_str()) {
        (true, _) => Finding::Good("the running hub is connected".into()),
        (false, Some(trouble)) => {
            let what = format!("the running hub is not connected: {trouble}");
            Finding::Bad(Code::Network, what)
        }
        (false, None) => Finding::Warning(
            "the running hub is not connected yet; run `secluso-hub doctor` again in a moment"
                .into(),
        ),
    }
}

/// What a running hub says of a camera.
pub(super) enum Camera {
    /// Nobody else is to ask it.
    Judged(Finding),
    /// It is away.
    Away(Told),
}

/// What a camera that is away failed of.
pub(super) struct Told {
    pub(super) code: Code,
    pub(super) what: String,
    /// It refuses name or password, and may lock the account.
    is_refused: bool,
}

impl Told {
    /// Whether somebody beside the hub may ask such a camera. A program has its device for itself.
    pub(super) fn may_be_asked(&self, source: &SourceConfig) -> bool {
        let is_out_of_reach = source
            .password()
            .is_some_and(|password| password.is_out_of_reach());
        let is_program = matches!(source, SourceConfig::Command(_));
        !(self.is_refused || is_out_of_reach || is_program)
    }
}

/// The camera that has this name in the configuration.
pub(super) fn camera(name: &str, status: &Value) -> Camera {
    let cameras = rows(&status["cameras"]);
    let Some(camera) = cameras.iter().find(|camera| camera["camera"] == name) else {
        return Camera::Judged(Finding::Warning(
            "the running hub does not have it yet; have it read its configuration again (SIGHUP)"
                .into(),
        ));
    };
    if let Some(trouble) = camera["trouble"].as_str() {
        if camera["open"] == true {
            // Opened a second time beside the hub, it might fail of that.
            return Camera::Judged(Finding::Warning(format!(
                "the running hub has just opened it again and records it; before that: {trouble}"
            )));
        }
        return Camera::Away(Told {
            code: match camera["next"] == NEXT_RETRY {
                true => Code::Network,
                false => Code::Usage,
            },
            what: trouble.to_owned(),
            is_refused: camera["next"] == NEXT_LOGIN,
        });
    }
    Camera::Judged(match camera["detection"] == "opening" {
        true => Finding::Warning(
            "the running hub has not opened it yet; run `secluso-hub doctor` again in a moment"
                .into(),
        ),
        false => Finding::Good(format!("the running hub has it: {}", doing(camera))),
    })
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::camera::FileCameraConfig;
    use crate::camera::command::CommandConfig;

    /// `ok`, `warning` or the code.
    fn word(finding: &Finding) -> String {
        match finding {
            Finding::Good(_) => "ok".into(),
            Finding::Unknown(_) => "unknown".into(),
            Finding::Warning(_) => "warning".into(),
            Finding::Bad(code, _) => (*code as u8).to_string(),
        }
    }

    #[test]
    fn phones_and_relay_are_as_the_hub_says() {
        let good = json!({"standing": "good"});
        let refused = json!({"standing": "rolled_back: the phone holds what this hub never sent"});
        for (pairings, expected) in [
            (json!([]), "warning"),
            (json!([good, good]), "ok"),
            (json!([good, refused]), "warning"),
        ] {
            let found = pairing(&json!({"pairings": pairings}));
            assert_eq!(word(&found), expected, "{found:?}");
        }
        for (status, expected) in [
            (json!({"connected": true, "trouble": null}), "ok"),
            (
                json!({"connected": false, "trouble": "nobody answers"}),
                "5",
            ),
            (json!({"connected": false, "trouble": null}), "warning"),
        ] {
            assert_eq!(word(&relay(&status)), expected, "{status}");
        }
        assert!(retained(&json!({"stranded_copies": 0})).is_none());
        assert!(retained(&json!({"stranded_copies": 2})).is_some());
    }

    #[test]
    fn the_device_secret_is_as_the_hub_says() {
        let path = Path::new("/etc/device.secret");
        for (compared, expected, words) in [
            (json!({"same": true, "trouble": null}), "ok", "that of /etc"),
            (json!({"same": false, "trouble": null}), "warning", "reset"),
            (json!({"same": null, "trouble": "gone"}), "warning", "gone"),
            (Value::Null, "warning", "restart"),
        ] {
            let found = device_secret(&compared, path);
            assert_eq!(word(&found), expected, "{found:?}");
            assert!(format!("{found:?}").contains(words), "{found:?}");
        }
    }

    #[test]
    fn a_camera_is_as_the_hub_says_and_away_only_where_the_hub_says_so() {
        let status = json!({"cameras": [
            {"camera": "door", "trouble": null, "next": null, "recording": true, "detection": "every_picture"},
            {"camera": "yard", "trouble": null, "next": null, "recording": false, "detection": "opening"},
            {"camera": "gate", "trouble": "nobody answers", "next": "retry", "detection": "opening"},
            {"camera": "roof", "trouble": "no such stream", "next": "replace", "detection": "opening"},
            {"camera": "barn", "trouble": "it refuses", "next": "login", "detection": "opening"},
            {"camera": "lane", "trouble": "nobody answers", "next": "retry", "open": true, "detection": "off"},
        ]});
        for (name, expected) in [
            ("door", "ok"),
            ("yard", "warning"),
            ("none", "warning"),
            ("lane", "warning"),
        ] {
            match camera(name, &status) {
                Camera::Judged(found) => assert_eq!(word(&found), expected, "{found:?}"),
                Camera::Away(_) => panic!("{name} is not away"),
            }
        }
        let file = SourceConfig::File(FileCameraConfig::new("/clip.mp4"));
        let program = SourceConfig::Command(CommandConfig {
            program: "rpicam-vid".into(),
            arguments: Vec::new(),
            stall: std::time::Duration::from_secs(10),
        });
        for (name, code, may_be_asked) in [
            ("gate", Code::Network, true),
            ("roof", Code::Usage, true),
            ("barn", Code::Usage, false),
        ] {
            match camera(name, &status) {
                Camera::Judged(found) => panic!("{name}: {found:?}"),
                Camera::Away(told) => {
                    assert_eq!(told.code, code);
                    assert_eq!(told.may_be_asked(&file), may_be_asked);
                    assert!(!told.may_be_asked(&program), "it has its device for itself");
                }
            }
        }
    }
}
