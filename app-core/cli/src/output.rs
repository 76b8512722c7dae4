//! What goes to stdout: JSON lines for programs, or sentences for people; to stderr where stdout has live pictures.
//!
//! Every line is flushed, also into a pipe: a line that was printed was durable, and a line that was
//! not printed may be missing only because we died.

use std::io::{self, Write};

use app_core::{
    AddedPhone, AppError, Clip, ClipId, CommandOutcome, CommandState, CommandStatus, Event,
    Exported, HubId, InviteCode, KnownSettings, Notification, OFFLINE_ADVICE, PairedHub,
    PairedPhone, Pairing, Status, Thumbnail, hex,
};
use serde_json::{Value, json};

use crate::invite::failure_text;
use settings::{camera_json, camera_text, settings_json, settings_text};

mod live;
mod settings;

/// Prints what is no fact but a text of its own, such as completions. A reader that has gone has had
/// enough of it.
pub(crate) fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    Json,
    Text,
}

/// Where facts go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Stdout,
    /// Stdout has the pictures.
    Stderr,
}

impl Style {
    fn line(
        self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> Option<String>,
    ) -> io::Result<()> {
        self.line_to(Place::Stdout, json, text)
    }

    fn line_to(
        self,
        place: Place,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> Option<String>,
    ) -> io::Result<()> {
        let line = match self {
            Self::Json => json().to_string(),
            Self::Text => match (text(), place) {
                (Some(line), Place::Stdout) => line,
                (Some(line), Place::Stderr) => format!("secluso-app: {line}"),
                (None, _) => return Ok(()),
            },
        };
        match place {
            Place::Stdout => {
                let mut out = io::stdout().lock();
                writeln!(out, "{line}")?;
                out.flush()
            }
            Place::Stderr => {
                // In one piece, for the log goes there as well. Who reads it may leave: the pictures go on.
                let _gone = io::stderr()
                    .lock()
                    .write_all(format!("{line}\n").as_bytes());
                Ok(())
            }
        }
    }

    /// Why the program ends otherwise than asked. People read a sentence on stderr; a program whose facts come there
    /// reads this in its place.
    pub(crate) fn failure(self, place: Place, message: &str, exit_code: u8) {
        // Its reader may have gone: that is what stderr is for.
        let _gone = self.line_to(
            place,
            || json!({"event": "error", "message": message, "exit_code": exit_code}),
            || None,
        );
        if (self, place) != (Self::Json, Place::Stderr) {
            eprintln!("secluso-app: {message}");
        }
    }

    pub(crate) fn paired(self, paired: &PairedHub) -> io::Result<()> {
        let hub = paired.hub.short();
        self.line(
            || json!({"event": "paired", "hub": hub, "new": paired.news == Pairing::New}),
            || {
                Some(match paired.news {
                    Pairing::New => format!("paired with hub {hub}"),
                    Pairing::Known => format!(
                        "this app was paired with hub {hub} by this code before; all is well"
                    ),
                })
            },
        )
    }

    pub(crate) fn event(self, event: &Event) -> io::Result<()> {
        if self == Self::Json && json_of(event).is_none() {
            return Ok(());
        }
        self.line(|| json_of(event).unwrap_or(Value::Null), || text_of(event))
    }

    pub(crate) fn clips(self, clips: &[Clip]) -> io::Result<()> {
        let rows = || clips.iter().map(clip_json).collect::<Vec<_>>();
        let text = || {
            let line = |clip: &Clip| {
                format!(
                    "{}  {:>9}  {:>12} bytes  {}",
                    clip.clip.short(),
                    clip.state.as_str(),
                    clip.bytes,
                    clip.camera
                )
            };
            let lines: Vec<String> = clips.iter().map(line).collect();
            Some(if lines.is_empty() {
                "no clips yet".into()
            } else {
                lines.join("\n")
            })
        };
        self.line(|| json!({"clips": rows()}), text)
    }

    pub(crate) fn thumbnails(self, thumbnails: &[Thumbnail]) -> io::Result<()> {
        let rows = || thumbnails.iter().map(thumbnail_json).collect::<Vec<_>>();
        let line = |picture: &Thumbnail| {
            format!(
                "{}  {:>9}  {:>12} bytes  {}  clip {}",
                picture.thumbnail.short(),
                picture.state.as_str(),
                picture.bytes,
                picture.camera,
                clip_text(picture.clip),
            )
        };
        let text = || Some(lines_or(thumbnails.iter().map(line), "no pictures yet"));
        self.line(|| json!({"thumbnails": rows()}), text)
    }

    pub(crate) fn notifications(self, notifications: &[Notification]) -> io::Result<()> {
        let rows = || {
            notifications
                .iter()
                .map(notification_json)
                .collect::<Vec<_>>()
        };
        let line = |said: &Notification| {
            format!(
                "{}  {}  {}  clip {}",
                said.started_unix_ms,
                said.kind.as_str(),
                said.camera,
                clip_text(said.clip),
            )
        };
        let text = || {
            Some(lines_or(
                notifications.iter().map(line),
                "no notifications yet",
            ))
        };
        self.line(|| json!({"notifications": rows()}), text)
    }

    pub(crate) fn exported(self, exported: &Exported, file: &str) -> io::Result<()> {
        let (clip, sha256) = (exported.clip.short(), hex(&exported.sha256));
        let (bytes, state) = (exported.bytes, exported.state.as_str());
        self.line(
            || json!({"clip": clip, "bytes": bytes, "sha256": sha256, "state": state}),
            || Some(format!("{file}: {bytes} bytes, SHA-256 {sha256}, {state}")),
        )
    }

    pub(crate) fn deleted(self, clip: ClipId) -> io::Result<()> {
        let clip = clip.short();
        self.line(
            || json!({"event": "deleted", "clip": clip}),
            || Some(format!("deleted {clip}")),
        )
    }

    pub(crate) fn forgotten(self, hub: HubId) -> io::Result<()> {
        let hub = hub.short();
        self.line(
            || json!({"event": "forgotten", "hub": hub}),
            || Some(format!("hub {hub} and its clips are forgotten")),
        )
    }

    /// The key of a relay is no news for a person.
    pub(crate) fn moved(self, relay: &str) -> io::Result<()> {
        let place = relay.split('/').next().unwrap_or_default();
        self.line(
            || json!({"event": "moved", "relay": place}),
            || {
                Some(format!(
                    "this app is at the relay {place} now; `sync` goes on there"
                ))
            },
        )
    }

    pub(crate) fn command(self, command: &CommandStatus) -> io::Result<()> {
        self.line(|| command_json(command), || Some(command_text(command)))
    }

    pub(crate) fn commands(self, commands: &[CommandStatus]) -> io::Result<()> {
        let rows = || commands.iter().map(command_json).collect::<Vec<_>>();
        let text = || match commands {
            [] => Some("no commands yet".into()),
            _ => {
                let lines: Vec<String> = commands.iter().map(command_text).collect();
                Some(lines.join("\n"))
            }
        };
        self.line(|| json!({"commands": rows()}), text)
    }

    /// A code to pass on: the one place where one is printed, for a person who asked for it.
    pub(crate) fn code(self, code: &InviteCode, shown: &str) -> io::Result<()> {
        let expires_unix_ms = code.expires_unix_s.saturating_mul(1_000);
        self.line(
            || {
                json!({"event": "offer", "hub": code.hub.short(), "qr": code.text.as_str(),
                       "expires_unix_ms": expires_unix_ms})
            },
            || Some(shown.to_owned()),
        )
    }

    pub(crate) fn added(self, hub: HubId, added: &AddedPhone) -> io::Result<()> {
        self.line(|| added_json(hub, added), || Some(added_text(added)))
    }

    pub(crate) fn settings(self, known: &KnownSettings) -> io::Result<()> {
        let hub = known.hub.short();
        self.line(
            || {
                json!({"hub": hub, "version": known.version, "settings": settings_json(&known.settings),
                       "wanted": settings_json(&known.wanted)})
            },
            || {
                let mut text = format!("hub {hub}: {}", settings_text(&known.settings));
                if known.wanted != known.settings {
                    let wanted = settings_text(&known.wanted);
                    text.push_str(&format!("\n  once it has answered: {wanted}"));
                }
                Some(text)
            },
        )
    }

    /// The first hub's figures stand at the top level too: there is one hub so far.
    pub(crate) fn status(self, status: &Status) -> io::Result<()> {
        let hubs: Vec<Value> = status
            .hubs
            .iter()
            .map(|hub| {
                json!({"hub": hub.hub.short(), "relay": hub.relay, "epoch": hub.epoch, "cursor": hub.cursor,
                       "acked": hub.acked, "waiting": hub.waiting, "clips": hub.clips, "paired_unix_s": hub.paired_unix_s,
                       "standing": hub.standing.as_str(), "healed_unix_ms": hub.healed_unix_ms(),
                       "channels": channels_json(hub), "heartbeat": heartbeat_json(hub)})
            })
            .collect();
        let json = || {
            let mut all = hubs.first().cloned().unwrap_or_else(|| json!({}));
            if let Some(fields) = all.as_object_mut() {
                fields.insert("hubs".into(), Value::Array(hubs.clone()));
            }
            all
        };
        let text = || {
            let line = |hub: &app_core::HubStatus| {
                let trouble = hub.standing.trouble();
                let standing = trouble.map_or_else(String::new, |error| format!("; {error}"));
                format!(
                    "hub {} at {}: epoch {}, {} envelopes taken, {} clips, {} of ours wait{standing}\n{}",
                    hub.hub.short(),
                    hub.relay,
                    hub.epoch,
                    hub.cursor,
                    hub.clips,
                    hub.waiting,
                    keys_text(hub, status.read_unix_ms)
                )
            };
            Some(status.hubs.iter().map(line).collect::<Vec<_>>().join("\n"))
        };
        self.line(json, text)
    }

    pub(crate) fn check(self, name: &str, verdict: &str, detail: &str) -> io::Result<()> {
        self.line(
            || json!({"check": name, "verdict": verdict, "detail": detail}),
            || Some(format!("{verdict:>4}  {name}: {detail}")),
        )
    }
}

fn channels_json(hub: &app_core::HubStatus) -> Value {
    let channels = hub.channels.iter().map(|keys| {
        json!({"channel": keys.channel.as_str(), "healed_unix_ms": keys.healed_unix_ms,
               "awaits_commit": keys.awaits_commit})
    });
    channels.collect()
}

fn heartbeat_json(hub: &app_core::HubStatus) -> Value {
    hub.heartbeat.as_ref().map_or(Value::Null, |beat| {
        json!({"number": beat.number, "sent_unix_ms": beat.sent_unix_ms,
               "answered_unix_ms": beat.answered_unix_ms, "hub_version": beat.hub_version,
               "report": beat.report.as_ref().map(report_json), "looks_offline": beat.looks_offline})
    })
}

fn report_json(report: &app_core::CameraReport) -> Value {
    json!({"recording": report.recording, "unacked": report.unacked,
           "not_recorded": report.not_recorded.map(app_core::NotRecorded::as_str)})
}

/// What the camera said of itself, if it is something to be told.
fn report_text(report: &app_core::CameraReport) -> &'static str {
    match (report.not_recorded, report.recording) {
        (Some(app_core::NotRecorded::Camera), _) => "; it said that its camera had failed",
        (Some(app_core::NotRecorded::Privacy), _) => "; it said that privacy mode was on",
        (Some(app_core::NotRecorded::Space), _) => "; it said that its disk was full",
        (Some(app_core::NotRecorded::Silent), _) => {
            "; it said that it had heard of no phone for too long"
        }
        (Some(app_core::NotRecorded::RolledBack), _) => {
            "; it said that its directory is an older copy"
        }
        (None, true) => "; it was recording",
        (None, false) => "",
    }
}

/// Since when stolen keys are of no use, and whether the camera answers.
fn keys_text(hub: &app_core::HubStatus, now_unix_ms: u64) -> String {
    let ago = |unix_ms: u64| format!("{} s ago", now_unix_ms.saturating_sub(unix_ms) / 1_000);
    let made = |unix_ms: Option<u64>| match unix_ms {
        Some(unix_ms) => format!("made {}", ago(unix_ms)),
        None => "not renewed since pairing".into(),
    };
    let never = |keys: &app_core::ChannelKeys| keys.healed_unix_ms.is_none();
    let mixed = hub.channels.iter().any(never) && !hub.channels.iter().all(never);
    let mut text = match mixed {
        // Of all of them the oldest is what counts.
        false => format!("  keys of all channels {}", made(hub.healed_unix_ms())),
        true => {
            let each = hub
                .channels
                .iter()
                .map(|keys| format!("{} {}", keys.channel.as_str(), made(keys.healed_unix_ms)));
            format!("  keys of {}", each.collect::<Vec<_>>().join(", "))
        }
    };
    let waits = hub.channels.iter().filter(|keys| keys.awaits_commit);
    let waits: Vec<&str> = waits.map(|keys| keys.channel.as_str()).collect();
    match waits.len() {
        0 => {}
        all if all == hub.channels.len() => text.push_str("; new ones wait for the camera"),
        _ => text.push_str(&format!(
            "; new ones of {} wait for the camera",
            waits.join(", ")
        )),
    }
    match &hub.heartbeat {
        None => text.push_str("; no heartbeat yet"),
        Some(beat) => {
            text.push_str(&format!("; last heartbeat {}", ago(beat.sent_unix_ms)));
            match (beat.looks_offline, &beat.report) {
                (true, _) => text.push_str(&format!(
                    ", which the camera has not taken: {OFFLINE_ADVICE}"
                )),
                (false, Some(report)) => text.push_str(report_text(report)),
                (false, None) => {}
            }
        }
    }
    text
}

fn phone_json(phone: &PairedPhone) -> Value {
    json!({"phone": phone.phone.short(), "is_this": phone.is_this, "paired_unix_s": phone.paired_unix_s,
           "heard_unix_ms": phone.heard_unix_ms})
}

fn added_json(hub: HubId, added: &AddedPhone) -> Value {
    json!({"event": "phone_added", "hub": hub.short(), "phone": added.phone.short(),
           "is_this": added.is_this, "by": added.by.short(), "by_this": added.by_this,
           "paired_unix_s": added.paired_unix_s})
}

fn added_text(added: &AddedPhone) -> String {
    let phone = added.phone.short();
    match (added.is_this, added.by_this) {
        (true, _) => format!(
            "this phone was paired by a code that phone {} passed on",
            added.by.short()
        ),
        (_, true) => format!("phone {phone} is paired, by the code that this phone passed on"),
        _ => format!(
            "phone {phone} was paired with the camera by a code that phone {} passed on. If you do not know it, remove both with `secluso-app remove-phone`",
            added.by.short()
        ),
    }
}

fn phone_text(phone: &PairedPhone) -> String {
    let name = phone.phone.short();
    let this = match phone.is_this {
        true => ", this one",
        false => "",
    };
    let heard = match phone.heard_unix_ms {
        Some(unix_ms) => format!("last heard of at {}", unix_ms / 1_000),
        None => "not heard of yet".into(),
    };
    format!(
        "phone {name}{this}: paired at {}, {heard} (seconds since 1970)",
        phone.paired_unix_s
    )
}

fn outcome_json(outcome: &CommandOutcome) -> Value {
    match outcome {
        CommandOutcome::Changed { version, settings }
        | CommandOutcome::Conflict { version, settings } => {
            json!({"result": outcome.as_str(), "version": version, "settings": settings_json(settings)})
        }
        CommandOutcome::Camera {
            camera,
            version,
            settings,
        }
        | CommandOutcome::CameraChanged {
            camera,
            version,
            settings,
        }
        | CommandOutcome::CameraConflict {
            camera,
            version,
            settings,
        } => {
            json!({"result": outcome.as_str(), "camera": camera, "version": version,
                   "settings": camera_json(settings)})
        }
        CommandOutcome::Phones(phones) => {
            let phones: Vec<Value> = phones.iter().map(phone_json).collect();
            json!({"result": outcome.as_str(), "phones": phones})
        }
        _ => json!({"result": outcome.as_str()}),
    }
}

pub(crate) fn outcome_text(outcome: &CommandOutcome) -> String {
    match outcome {
        CommandOutcome::Done => "done".into(),
        CommandOutcome::Changed { settings, .. } => format!("done: {}", settings_text(settings)),
        CommandOutcome::Conflict { settings, .. } => format!(
            "not done, another phone has changed the settings: {}. Look at them and try again",
            settings_text(settings)
        ),
        CommandOutcome::Camera { camera, version, settings } => format!(
            "camera {camera:?}, version {version}: {}",
            camera_text(settings)
        ),
        CommandOutcome::CameraChanged { camera, settings, .. } => {
            format!("done: camera {camera:?}: {}", camera_text(settings))
        }
        CommandOutcome::CameraConflict { camera, settings, .. } => format!(
            "not done, another phone has set camera {camera:?}: {}. Look at that and try again",
            camera_text(settings)
        ),
        CommandOutcome::NoSuchCamera => "not done: no camera of this hub has that name".into(),
        CommandOutcome::NothingDetected => {
            "not done: that camera's events go by the clock, as the hub's configuration says; there is nothing to set but its name".into()
        }
        CommandOutcome::NameTaken => "not done: another camera has that name".into(),
        CommandOutcome::NotUnderstood => {
            "not done: the camera's program is older than this one".into()
        }
        CommandOutcome::OutOfRange => {
            "not done: a value is outside its limits, or cannot be beside the hub's configuration".into()
        }
        CommandOutcome::NoSuchPhone => {
            "not done: the camera has no other phone of that name. It may be removed already".into()
        }
        CommandOutcome::Unreadable => {
            "not done: what the camera has stored of it is damaged. Look at the camera's own program".into()
        }
        CommandOutcome::Phones(phones) => {
            let lines = phones.iter().map(|phone| format!("\n  {}", phone_text(phone)));
            format!("done: the camera has {} phones{}", phones.len(), lines.collect::<String>())
        }
        CommandOutcome::NotAllowed => {
            "not done: the camera allows no phone to pass a code on ([phones] invite). Pair at the camera, with `secluso-hub pair`".into()
        }
        CommandOutcome::TooManyPhones => {
            "not done: the camera has as many phones as it can have. Remove one with `secluso-app remove-phone`".into()
        }
        CommandOutcome::Busy => {
            "not done: another phone is passing a code on. Try again when that is over".into()
        }
        // A newer app-core may know more than this program.
        _ => outcome.as_str().into(),
    }
}

fn command_json(command: &CommandStatus) -> Value {
    let (state, outcome) = match &command.state {
        CommandState::Waiting => ("waiting", Value::Null),
        CommandState::Sent => ("sent", Value::Null),
        CommandState::Answered(outcome) => ("answered", outcome_json(outcome)),
    };
    json!({"command": command.id.short(), "hub": command.hub.short(), "what": command.what,
           "unix_ms": command.unix_ms, "state": state, "outcome": outcome})
}

fn command_text(command: &CommandStatus) -> String {
    let state = match &command.state {
        CommandState::Waiting => "waits, and is sent by the next sync".into(),
        CommandState::Sent => "is on its way; a later sync fetches the answer".into(),
        CommandState::Answered(outcome) => outcome_text(outcome),
    };
    format!("{} {}: {state}", command.what, command.id.short())
}

fn clip_text(clip: Option<ClipId>) -> String {
    clip.map_or_else(|| "not here".into(), ClipId::short)
}

fn lines_or(lines: impl Iterator<Item = String>, none: &str) -> String {
    let lines: Vec<String> = lines.collect();
    match lines.is_empty() {
        true => none.into(),
        false => lines.join("\n"),
    }
}

fn thumbnail_json(picture: &Thumbnail) -> Value {
    json!({
        "thumbnail": picture.thumbnail.short(),
        "clip": picture.clip.map(ClipId::short),
        "state": picture.state.as_str(),
        "bytes": picture.bytes,
        "camera": picture.camera,
        "mime": picture.mime,
        "started_unix_ms": picture.started_unix_ms,
        "hub": picture.hub.short(),
    })
}

fn notification_json(said: &Notification) -> Value {
    json!({
        "kind": said.kind.as_str(),
        "clip": said.clip.map(ClipId::short),
        "camera": said.camera,
        "started_unix_ms": said.started_unix_ms,
        "received_unix_ms": said.received_unix_ms,
        "hub": said.hub.short(),
    })
}

/// An object as a line of its own.
fn as_event(mut line: Value, event: &str) -> Value {
    if let Some(fields) = line.as_object_mut() {
        fields.insert("event".into(), event.into());
    }
    line
}

fn clip_json(clip: &Clip) -> Value {
    json!({
        "clip": clip.clip.short(),
        "state": clip.state.as_str(),
        "bytes": clip.bytes,
        "sha256": clip.sha256.map(|digest| hex(&digest)),
        "camera": clip.camera,
        "mime": clip.mime,
        "started_unix_ms": clip.started_unix_ms,
        "hub": clip.hub.short(),
    })
}

fn json_of(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Connected { hub } => json!({"event": "connected", "hub": hub.short()}),
        Event::Disconnected {
            hub,
            reason,
            retry_after_ms,
        } => {
            json!({"event": "disconnected", "hub": hub.short(), "reason": reason, "retry_after_ms": retry_after_ms})
        }
        Event::ChannelAway {
            hub,
            channel,
            reason,
            retry_after_ms,
        } => {
            json!({"event": "channel_away", "hub": hub.short(), "channel": channel.as_str(), "reason": reason,
                   "retry_after_ms": retry_after_ms})
        }
        Event::Media {
            clip,
            seq,
            bytes,
            captured_unix_ms,
            durable_unix_ms,
        } => json!({"event": "media", "clip": clip.short(), "seq": seq, "bytes": bytes,
                    "captured_unix_ms": captured_unix_ms, "durable_unix_ms": durable_unix_ms}),
        Event::Clip(clip) => as_event(clip_json(clip), "clip"),
        Event::Thumbnail(picture) => as_event(thumbnail_json(picture), "thumbnail"),
        Event::Notification(said) => as_event(notification_json(said), "notification"),
        Event::Deleted(clip) => json!({"event": "deleted", "clip": clip.short()}),
        Event::NewEpoch { hub, epoch } => {
            json!({"event": "epoch", "hub": hub.short(), "epoch": epoch})
        }
        Event::Healed {
            hub,
            channel,
            epoch,
        } => {
            json!({"event": "healed", "hub": hub.short(), "channel": channel.as_str(), "epoch": epoch})
        }
        Event::HeartbeatAnswered {
            hub,
            number,
            hub_version,
        } => {
            json!({"event": "heartbeat_answered", "hub": hub.short(), "number": number, "hub_version": hub_version})
        }
        Event::LooksOffline { hub, since_unix_ms } => {
            json!({"event": "looks_offline", "hub": hub.short(), "since_unix_ms": since_unix_ms,
                   "what": OFFLINE_ADVICE})
        }
        Event::BackOnline { hub } => json!({"event": "back_online", "hub": hub.short()}),
        Event::CommandDone { hub, id, outcome } => {
            json!({"event": "command_done", "hub": hub.short(), "command": id.short(),
                   "outcome": outcome_json(outcome)})
        }
        Event::Settings {
            hub,
            version,
            settings,
        } => {
            json!({"event": "settings", "hub": hub.short(), "version": version,
                   "settings": settings_json(settings)})
        }
        Event::InviteReady { hub, id } => {
            json!({"event": "invite_ready", "hub": hub.short(), "command": id.short()})
        }
        Event::InviteFailed { hub, id, why } => {
            json!({"event": "invite_failed", "hub": hub.short(), "command": id.short(),
                   "why": why.as_str()})
        }
        Event::PhoneAdded { hub, added } => added_json(*hub, added),
        Event::Acked { hub, seq } => json!({"event": "acked", "hub": hub.short(), "seq": seq}),
        Event::Idle { hub } => json!({"event": "idle", "hub": hub.short()}),
        Event::Ignored { hub, seq, why } => {
            json!({"event": "ignored", "hub": hub.short(), "seq": seq, "why": why})
        }
        Event::RolledBack { hub } => {
            json!({"event": "standing", "state": "rolled_back", "hub": hub.short()})
        }
        Event::LineBroken { hub } => {
            json!({"event": "standing", "state": "line_broken", "hub": hub.short()})
        }
        Event::ChannelDamaged {
            hub,
            channel,
            reason,
        } => {
            json!({"event": "channel_damaged", "hub": hub.short(), "channel": channel.as_str(), "reason": reason})
        }
        Event::Missed { count } => json!({"event": "missed", "count": count}),
        // A newer app-core may know more than this program.
        _ => return None,
    })
}

fn text_of(event: &Event) -> Option<String> {
    Some(match event {
        Event::Connected { .. } => "connected".into(),
        Event::Disconnected {
            reason,
            retry_after_ms,
            ..
        } => format!("{reason} (next attempt in {retry_after_ms} ms)"),
        Event::ChannelAway {
            channel,
            reason,
            retry_after_ms,
            ..
        } => format!(
            "{}: {reason} (next attempt in {retry_after_ms} ms)",
            channel.as_str()
        ),
        Event::Clip(clip) => format!(
            "clip {}: {}, {} bytes",
            clip.clip.short(),
            clip.state.as_str(),
            clip.bytes
        ),
        Event::Notification(said) if said.camera.is_empty() => said.kind.as_str().to_owned(),
        Event::Notification(said) => format!("{} at {}", said.kind.as_str(), said.camera),
        Event::Thumbnail(picture) => format!(
            "picture {} of {}: {}, {} bytes",
            picture.thumbnail.short(),
            picture.camera,
            picture.state.as_str(),
            picture.bytes
        ),
        Event::Deleted(clip) => format!("deleted {}", clip.short()),
        Event::LooksOffline { hub, .. } => {
            format!("hub {} does not answer: {OFFLINE_ADVICE}", hub.short())
        }
        Event::BackOnline { hub } => format!("hub {} answers again", hub.short()),
        Event::CommandDone { id, outcome, .. } => {
            format!("command {}: {}", id.short(), outcome_text(outcome))
        }
        Event::Settings { settings, .. } => {
            format!(
                "another phone has changed the settings: {}",
                settings_text(settings)
            )
        }
        Event::InviteFailed { why, .. } => failure_text(*why).into(),
        Event::PhoneAdded { added, .. } => added_text(added),
        Event::Idle { .. } => "everything that the relay holds is here".into(),
        Event::Ignored { seq, why, .. } => format!("envelope {seq} had no effect: {why}"),
        Event::RolledBack { hub } => format!("hub {}: {}", hub.short(), AppError::OlderCopy),
        Event::LineBroken { hub } => format!("hub {}: {}", hub.short(), AppError::LineBroken),
        Event::ChannelDamaged {
            channel, reason, ..
        } => format!("{}: {reason}", channel.as_str()),
        Event::Missed { count } => format!("{count} events were not shown"),
        // One line for each chunk is for programs.
        _ => return None,
    })
}
