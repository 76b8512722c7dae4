//! What the program says: facts on stdout, one JSON object a line with `--json`; everything else on
//! stderr. It must never print a key; the pairing code is printed only by `pair`, for a person.

use std::io::Write as _;

use journal::ids::Channel;
use journal::message::{Alerts, DropReason, LiveEnd};
use serde_json::{Value, json};

use crate::camera::{CameraError, CameraErrorKind};
use crate::core::{ClipState, Notice, Stop};
use crate::exit::Failure;

/// How facts are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// Prints one line and flushes it. A reader that has gone is no reason to stop recording.
    pub fn line(self, json: &Value, text: &str) {
        let mut out = std::io::stdout().lock();
        let written = match self {
            Self::Json => writeln!(out, "{json}"),
            Self::Text if text.is_empty() => Ok(()),
            Self::Text => writeln!(out, "{text}"),
        };
        if written.and_then(|()| out.flush()).is_err() {
            tracing::debug!("nobody reads stdout");
        }
    }
}

/// Prints what is no fact but a text of its own, such as completions. A reader that has gone is no
/// reason to fail.
pub fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads stdout");
    }
}

/// Why the program ends otherwise than asked, as one line of JSON.
pub fn failure(failure: &Failure) -> Value {
    json!({"event": "error", "message": failure.message, "exit_code": failure.code as u8})
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A notice as JSON for stdout, if the contract has it, and as a line for people.
pub fn notice(notice: &Notice) -> (Option<Value>, String) {
    match notice {
        Notice::ClipStarted {
            clip, started_unix_ms, ..
        } => {
            let id = clip.short();
            let json = json!({"event": "clip_started", "clip": id, "unix_ms": started_unix_ms});
            (Some(json), format!("recording clip {id}"))
        }
        Notice::ClipFinished { clip, .. } => {
            let id = clip.clip.short();
            let sha256 = clip.sha256.map(|hash| hex(&hash));
            let outcome = match clip.state {
                ClipState::CutOff => "cut_off",
                _ => "complete",
            };
            let text = format!("clip {id} is {outcome}: {} bytes", clip.bytes);
            let json = json!({"event": "clip_finished", "clip": id, "bytes": clip.bytes, "sha256": sha256, "outcome": outcome});
            (Some(json), text)
        }
        Notice::Told { line, started_unix_ms } => {
            let channel = channel(line.channel);
            let json = json!({"event": "told", "channel": channel, "unix_ms": started_unix_ms});
            let text = match line.channel {
                Channel::Thumbnail => "the picture of an event is stored for a phone",
                _ => "a notification is stored for a phone",
            };
            (Some(json), text.into())
        }
        Notice::ClipDropped { clip, reason, .. } => {
            let id = clip.clip.short();
            let (why, text) = match reason {
                DropReason::Damaged => (
                    "damaged",
                    format!("clip {id} is lost: its stored bytes are damaged. The phone is told. Run `secluso-hub doctor` and check the disk"),
                ),
                DropReason::Budget => (
                    "budget",
                    format!("clip {id} is dropped: the storage is full and it was the oldest that a phone has not got. The phone is told. Free some space, raise `budget_mib`, or open the app"),
                ),
                DropReason::Age => (
                    "age",
                    format!("clip {id} is dropped: it has waited for a phone for as long as clips are kept. The phone is told. Open the app more often, or raise `clip_days_max`"),
                ),
            };
            let json = json!({"event": "clip_dropped", "clip": id, "why": why});
            (Some(json), text)
        }
        Notice::DamageWaits { what, .. } => (
            Some(json!({"event": "damage_waits"})),
            format!("stored bytes are damaged and nothing more is sent to one phone until their clip can be dropped: {what}. It is tried again; check the disk and its free space"),
        ),
        Notice::NotRecorded(why) => {
            let (word, text) = stop(*why);
            (Some(json!({"event": "not_recorded", "why": word})), text.into())
        }
        Notice::PlayWaits { .. } => (
            Some(json!({"event": "play_waits"})),
            "what is to be played to a phone waits: the disk is full. Free some space".into(),
        ),
        Notice::Reopened => (
            Some(json!({"event": "reopened"})),
            "a write to the disk failed; the journal was opened again and recording goes on. Check the disk".into(),
        ),
        Notice::LineBroken { line, what } => (
            Some(json!({"event": "pairing_broken", "channel": channel(line.channel)})),
            match line.channel {
                Channel::EventVideo => format!("events are not recorded for one phone: {what}"),
                other => format!("one channel of a phone, {}, cannot be used: {what}", channel(other)),
            },
        ),
        Notice::Settings(doc) => {
            let settings = doc.settings;
            let json = json!({"event": "settings", "version": doc.version, "privacy": settings.privacy,
                              "event_seconds_max": settings.event_seconds_max,
                              "clip_days_max": settings.clip_days_max, "alerts": alerts(&settings.alerts)});
            let text = match settings.privacy {
                true => "a phone has changed the settings: privacy mode is on, no event is recorded",
                false => "a phone has changed the settings: privacy mode is off",
            };
            (Some(json), text.into())
        }
        Notice::LiveBegun { line, session } => {
            let phone = line.pairing.short();
            let json = json!({"event": "live_began", "phone": phone, "session": session});
            (Some(json), format!("phone {phone} watches live"))
        }
        Notice::LiveEnded { line, why } => {
            let phone = line.pairing.short();
            let why = why.map_or("interrupted", live_end);
            let json = json!({"event": "live_ended", "phone": phone, "why": why});
            (Some(json), format!("phone {phone} watches no more ({why})"))
        }
        Notice::Healed { line, epoch } => (
            Some(
                json!({"event": "healed", "channel": channel(line.channel), "epoch": epoch.0}),
            ),
            format!(
                "new keys of a phone are in use for {}",
                channel(line.channel)
            ),
        ),
        Notice::PhoneSilent { phone } => (
            Some(json!({"event": "phone_silent", "phone": phone.short()})),
            format!(
                "phone {} was not heard of for too long: nothing new is encrypted for it until its next heartbeat. If it is lost, run `secluso-hub remove {}`",
                phone.short(),
                phone.short()
            ),
        ),
        Notice::PhoneBack { phone } => (
            Some(json!({"event": "phone_back", "phone": phone.short()})),
            format!(
                "phone {} was heard of again: events are recorded for it",
                phone.short()
            ),
        ),
        Notice::PhoneAdded { phone, by } => (
            Some(json!({"event": "phone_added", "phone": phone.short(), "by": by.short()})),
            format!(
                "phone {} was paired by a code that phone {} passed on. If you do not know it, run `secluso-hub remove` for both",
                phone.short(),
                by.short()
            ),
        ),
        Notice::PhoneRemoved { phone } => (
            Some(json!({"event": "phone_removed", "phone": phone.short()})),
            format!(
                "phone {} is removed with all its keys; to use it again, pair it again",
                phone.short()
            ),
        ),
        // Never taken back, so no other state is ever told.
        Notice::RolledBack { .. } => (
            Some(json!({"event": "standing", "state": "rolled_back"})),
            "this state directory is older than what it once sent: a phone, or the relay, holds what it never made. Nothing is recorded for that phone or sent to it any more. Run `secluso-hub reset` and pair again".into(),
        ),
    }
}

/// The word for what comes next where a camera may be back at any time: it is opened again and again.
pub const NEXT_RETRY: &str = "retry";
/// Where it refuses name or password: it is tried rarely.
pub const NEXT_LOGIN: &str = "login";

/// The word in `not_recorded` while the camera is not there.
pub const CAMERA_FAILED: &str = "camera_failed";

/// What the camera of this name failed of, or that it is there again: JSON for stdout, and a line for
/// people.
pub fn camera(name: &str, trouble: Option<&CameraError>) -> (Value, String) {
    let Some(error) = trouble else {
        let text = format!("the camera {name:?} is there again; its events are recorded");
        return (json!({"event": "camera_back", "camera": name}), text);
    };
    let next = next(error);
    let way_out = match error.kind() {
        CameraErrorKind::Retry => "It is opened again and again; check where it is",
        CameraErrorKind::Replace => "Put a good one in its place; the hub looks for it",
        CameraErrorKind::Login => {
            "Correct `user` or the password and have the hub read its configuration again (SIGHUP); until then it is tried rarely, so that the camera does not lock the account"
        }
    };
    let json = json!({
        "event": CAMERA_FAILED, "camera": name, "what": error.to_string(), "next": next
    });
    let text = format!("events of the camera {name:?} are not recorded: {error}. {way_out}");
    (json, text)
}

/// What comes next where a camera has failed, as JSON has it.
pub fn next(error: &CameraError) -> &'static str {
    match error.kind() {
        CameraErrorKind::Retry => NEXT_RETRY,
        CameraErrorKind::Replace => "replace",
        CameraErrorKind::Login => NEXT_LOGIN,
    }
}

/// Why events are not recorded: the word for it in JSON, and a sentence.
pub fn stop(why: Stop) -> (&'static str, &'static str) {
    match why {
        Stop::NoPairing => (
            "no_phone",
            "events are not recorded: no phone is paired. Run `secluso-hub pair`",
        ),
        Stop::Silent => (
            "phones_silent",
            "events are not recorded: no paired phone was heard of for too long. Open the app on one",
        ),
        Stop::Space => (
            "disk_full",
            "an event is not recorded, or no further: the disk is full. Free some space",
        ),
        Stop::Privacy => (
            "privacy",
            "events are not recorded: a phone has switched privacy mode on",
        ),
        Stop::RolledBack => (
            "rolled_back",
            "events are not recorded: this state directory is older than what it once sent, and no phone could read them. Run `secluso-hub reset` and pair again",
        ),
        Stop::Covered => (
            "covered",
            "nothing is told of an event beside its video, which leaves at a constant rate",
        ),
        Stop::Unwanted => (
            "unwanted",
            "a notification is not sent: the owner wants none of its kind",
        ),
        Stop::NoClip => ("no_clip", "an event goes on in a new clip"),
    }
}

/// What phones are notified of, as JSON has it.
pub fn alerts(alerts: &Alerts) -> Value {
    json!({"motion": alerts.motion, "storage_full": alerts.storage_full, "camera_away": alerts.camera_away})
}

/// Why a phone watches no more, as JSON has it.
fn live_end(why: LiveEnd) -> &'static str {
    match why {
        LiveEnd::Enough => "enough",
        LiveEnd::Limit => "limit",
        LiveEnd::Unwatched => "unwatched",
        LiveEnd::Privacy => "privacy",
        LiveEnd::Busy => "busy",
        LiveEnd::Covered => "covered",
        LiveEnd::NoCamera => "no_camera",
    }
}

/// The word for a channel in JSON.
fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::EventVideo => "event_video",
        Channel::Thumbnail => "thumbnail",
        Channel::Livestream => "livestream",
        Channel::Notification => "notification",
        Channel::Config => "config",
    }
}

#[cfg(test)]
mod tests {
    use journal::ids::{ClipId, Line, PairingId};

    use super::*;

    #[test]
    fn a_clip_is_told_by_its_first_digits() {
        let (json, text) = notice(&Notice::ClipStarted {
            line: Line::of(PairingId([0; 16]), Channel::EventVideo),
            clip: ClipId(*b"0123456789abcdef"),
            started_unix_ms: 7,
        });
        assert_eq!(json.unwrap()["clip"], "303132333435");
        assert_eq!(text, "recording clip 303132333435");
    }

    #[test]
    fn what_is_said_of_an_older_copy_names_the_way_out() {
        let line = Line {
            pairing: PairingId([0; 16]),
            channel: Channel::EventVideo,
        };
        let (json, text) = notice(&Notice::RolledBack { line });
        assert_eq!(json.unwrap()["state"], "rolled_back");
        assert!(text.contains("secluso-hub reset"), "{text}");
    }
}
