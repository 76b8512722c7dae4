//! The status of a running hub as one JSON object, and the same for people.

use serde_json::{Value, json};

use crate::core::{CoreStatus, Standing, Stop};
use crate::detector::Mode;
use crate::exit::Failure;
use crate::output::{CAMERA_FAILED, alerts, camera, hex, next, stop};
use crate::sealer::Sealer;
use crate::supervisor::{CameraState, Cameras, Looks};
use crate::uplink::{LinkStatus, Shaped, Uplink};
use crate::watcher::RING_TOO_SMALL;

/// Asks journal and uplink; `cameras` is how they stand.
///
/// # Errors
/// The journal's.
pub async fn read(sealer: &Sealer, uplink: &Uplink, cameras: Cameras) -> Result<Value, Failure> {
    let asked = sealer.ask(|core, now| Ok((core.status()?, now)));
    let (core, now_unix_ms) = asked.await?;
    Ok(to_json(&core, &uplink.status(), &cameras, now_unix_ms))
}

fn to_json(
    core: &CoreStatus,
    link: &LinkStatus,
    cameras: &[CameraState],
    now_unix_ms: u64,
) -> Value {
    let mut troubles = cameras
        .iter()
        .filter(|state| !state.is_open)
        .filter_map(|state| Some(camera(&state.name, Some(state.trouble.as_ref()?)).1));
    let trouble = troubles.next();
    // Without a camera there is no event that could show that the other reason is gone.
    let not_recorded = match trouble {
        Some(_) => Some(CAMERA_FAILED),
        // Also before the first event since, of which there may be none: the camera is not asked.
        None if core.settings.settings.privacy => Some(stop(Stop::Privacy).0),
        // It was off again before any event could show it.
        None if core.stopped == Some(Stop::Privacy) => None,
        None => core.stopped.map(|why| stop(why).0),
    };
    let pairings: Vec<Value> = core
        .lines
        .iter()
        .map(|line| {
            let known = link.lines.get(&line.line).copied().unwrap_or_default();
            json!({
                "phone": line.line.pairing.short(),
                "epoch": line.epoch,
                "unacked_envelopes": line.unacked_envelopes,
                "unacked_bytes": line.unacked_bytes,
                "last": line.last.0,
                // An ack proves that the relay had it.
                "stored_through": known.stored_through.max(line.acked).0,
                "acked_through": line.acked.0,
                "connected": known.connected,
                "relay_full": known.over_quota,
                // Null without a constant rate, and before the relay was reached.
                "constant_rate": known.shaped.map(shaped),
                "standing": standing(line.standing),
                // Seconds since its last heartbeat was taken; null before the first.
                "phone_heard_s_ago": line
                    .heard
                    .map(|heard| now_unix_ms.saturating_sub(heard.unix_ms) / 1000),
                "silent": line.is_silent,
            })
        })
        .collect();
    let clips: Vec<Value> = core
        .clips
        .iter()
        .map(|clip| {
            json!({
                "clip": clip.clip.short(),
                "bytes": clip.bytes,
                "sha256": clip.sha256.map(|hash| hex(&hash)),
                "outcome": clip.state.word(),
            })
        })
        .collect();
    let lives: Vec<Value> = core
        .lives
        .iter()
        .map(|live| {
            json!({
                "phone": live.line.pairing.short(),
                "session": live.session,
                "seconds": live.lasted.as_secs(),
            })
        })
        .collect();
    let still_admitted = link.still_admitted.len() as u64;
    json!({
        "recording": core.recording,
        // What phones have set; version 0 before the first time.
        "settings": {
            "version": core.settings.version,
            "privacy": core.settings.settings.privacy,
            "event_seconds_max": core.settings.settings.event_seconds_max,
            "clip_days_max": core.settings.settings.clip_days_max,
            "alerts": alerts(&core.settings.settings.alerts),
        },
        // Why the last event was not recorded, or not all of it; null once one is recorded again.
        "not_recorded": not_recorded,
        // What a camera failed of, for people; null while all are there, or open again.
        "camera_trouble": trouble,
        "cameras": cameras.iter().map(|state| of_camera(state, core)).collect::<Vec<_>>(),
        "connected": link.connected,
        "trouble": link.trouble,
        // Phones that were removed here and that the relay does not know of yet.
        "relay_not_told": core.dismissals.saturating_sub(still_admitted),
        // Phones that were removed here and that the relay admits by somebody else's invitation.
        "relay_still_admits": still_admitted,
        "pairings": pairings,
        "clips": clips,
        // Bytes of video that wait for phones, and how many may; null: as many as the disk takes.
        "video_bytes": core.video_bytes,
        "budget_bytes": core.budget_bytes,
        // After how many days of running one goes that no phone has got; null: never for its age.
        "clip_days_max": core.clip_days_max,
        // Retained copies that wait for nobody's ack any more.
        "stranded_copies": core.stranded_copies,
        "live": lives,
    })
}

/// How a line stands whose envelopes leave at a constant rate.
fn shaped(shaped: Shaped) -> Value {
    // What is in stock is no delay: it is there so that something leaves.
    let behind = shaped.waits.saturating_sub(shaped.stock);
    json!({
        "interval_ms": shaped.interval_ms,
        "envelopes_behind": behind,
        "behind_ms": behind * shaped.interval_ms,
        // False while so much waits for the phone's ack that no cover is made: events show.
        "covered": shaped.covered,
    })
}

/// What one camera does.
fn of_camera(state: &CameraState, core: &CoreStatus) -> Value {
    let detection = match state.looks {
        Looks::Opening => "opening",
        Looks::No => "off",
        Looks::Cannot => "unavailable",
        Looks::Yes(watching) if !watching.is_on => "off_by_phone",
        Looks::Yes(watching) => match watching.mode {
            Mode::EveryPicture => "every_picture",
            Mode::KeyFramesOnly => "key_frames_only",
        },
    };
    let watching = match state.looks {
        Looks::Yes(watching) => Some(watching),
        _ => None,
    };
    let mut sets = core.cameras_set.iter();
    let found = sets.find(|set| set.doc.camera == state.name);
    let set = found.map(|set| {
        let followed = set.fits && state.looks != Looks::Cannot;
        let (version, settings) = (set.doc.version, &set.doc.settings);
        json!({"version": version, "set": settings, "fits": set.fits, "followed": followed})
    });
    let name = found.map(|set| set.shown.as_str());
    let name = name.filter(|shown| *shown != state.name);
    json!({
        "camera": state.name,
        // The name under which phones are shown it, if one has set another.
        "shown_as": name,
        "kind": state.kind,
        // What it failed of; null once its pictures have kept coming for ten seconds since.
        "trouble": state.trouble.as_ref().map(ToString::to_string),
        // It is open, and its events are recorded, also while it has yet to prove that it stays.
        "open": state.is_open,
        // What comes next then: `retry`, `replace` or `login`.
        "next": state.trouble.as_ref().map(next),
        // A clip of it is being recorded.
        "recording": core.recording_of.contains(&state.name),
        // Whether what moves is looked for, and in which pictures.
        "detection": detection,
        // Since the process began, however often it was opened: it only rises.
        "decoded_pictures": state.decoded.get(),
        // Something moves now. This and what follows are null where nobody looks.
        "motion": watching.map(|watching| watching.is_event),
        // Since it was opened last.
        "events": watching.map(|watching| watching.events),
        "undecodable_pictures": watching.map(|watching| watching.undecodable),
        // `ring_mib` is too small for the distance of its key frames.
        "ring_too_small": watching.map(|watching| watching.is_ring_too_small),
        // What phones have set, null where the configuration's holds; all null before the first time. Where it does
        // not fit the configuration any more, that holds alone; where the pictures cannot be decoded, nobody goes by it.
        "settings": set,
    })
}

/// The same for people.
fn camera_text(camera: &Value) -> String {
    let name = camera["camera"].as_str().unwrap_or_default();
    let shown = match camera["shown_as"].as_str() {
        Some(shown) => format!(", shown to phones as {shown:?}"),
        None => String::new(),
    };
    format!("camera {name:?}{shown}: {}", doing(camera))
}

/// What a camera does, for people.
pub(crate) fn doing(camera: &Value) -> String {
    let failed_of = camera["trouble"].as_str();
    let doing = if failed_of.is_some() && camera["open"] != true {
        "not there"
    } else if camera["recording"] == true {
        "recording"
    } else {
        "waiting for an event"
    };
    let detection = match camera["detection"].as_str().unwrap_or_default() {
        "opening" => "not open yet",
        "off" => "nobody looks at its pictures",
        "off_by_phone" => "a phone has turned detection off, so no event begins",
        "unavailable" => "its pictures cannot be decoded, so its events go by the clock",
        "key_frames_only" => {
            "motion is looked for in key frames only, because all pictures would take too much of the CPU"
        }
        _ => "motion is looked for in every picture",
    };
    let mut text = format!("{doing}; {detection}");
    if let Some(trouble) = failed_of.filter(|_| camera["open"] == true) {
        text.push_str(&format!(
            "; opened again a moment ago, before that: {trouble}"
        ));
    }
    if let Some(events) = camera["events"].as_u64() {
        text.push_str(&format!("; {events} events since it was opened"));
    }
    if camera["ring_too_small"] == true {
        text.push_str(&format!("; {RING_TOO_SMALL}"));
    }
    if let Some(version) = camera["settings"]["version"].as_u64() {
        let settings = &camera["settings"];
        let holds = match (settings["fits"] == true, settings["followed"] == false) {
            (true, false) => "hold over the configuration",
            (true, true) => "are followed by nobody, because its pictures cannot be decoded",
            (false, _) => "do NOT fit the configuration any more, which holds alone",
        };
        text.push_str(&format!(
            "; version {version} of what phones have set: these {holds}"
        ));
    }
    text
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Good => "good",
        Standing::RolledBack => {
            "rolled_back: the phone, or the relay, holds what this hub never made"
        }
    }
}

/// What is to be said of retained copies that no ack will end.
pub(crate) fn stranded(copies: u64) -> String {
    format!(
        "{copies} retained clips wait for no phone that could ack them, and a thief of this hub opens them: see `secluso-hub retained`, and play or forget them"
    )
}

/// The status for people.
pub fn to_text(status: &Value) -> String {
    let word =
        |key: &str, yes: &'static str, no: &'static str| if status[key] == true { yes } else { no };
    let mut out = format!(
        "{}, {}",
        word("recording", "recording", "not recording"),
        word(
            "connected",
            "connected to the relay",
            "not connected to the relay"
        )
    );
    if let Some(trouble) = status["trouble"].as_str() {
        out.push_str(&format!(" ({trouble})"));
    }
    let why = [
        Stop::NoPairing,
        Stop::Silent,
        Stop::Space,
        Stop::Privacy,
        Stop::RolledBack,
    ];
    let why = why.map(stop);
    if let Some((_, text)) = why
        .into_iter()
        .find(|(word, _)| status["not_recorded"] == *word)
    {
        out.push_str(&format!("\n{text}"));
    }
    if let Some(trouble) = status["camera_trouble"].as_str() {
        out.push_str(&format!("\n{trouble}"));
    }
    for camera in status["cameras"].as_array().into_iter().flatten() {
        out.push_str(&format!("\n{}", camera_text(camera)));
    }
    for pairing in status["pairings"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "\nphone {}: epoch {}, {} envelopes ({} bytes) wait for its ack, standing {}, {}{}",
            pairing["phone"].as_str().unwrap_or_default(),
            pairing["epoch"],
            pairing["unacked_envelopes"],
            pairing["unacked_bytes"],
            pairing["standing"].as_str().unwrap_or_default(),
            match pairing["phone_heard_s_ago"].as_u64() {
                Some(seconds) => format!("last heartbeat {seconds} s ago"),
                None => "no heartbeat yet".into(),
            },
            match pairing["silent"] == true {
                true => ", silent: it gets nothing new",
                false => "",
            },
        ));
        out.push_str(&rhythm(&pairing["constant_rate"]));
    }
    for live in status["live"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "\nphone {} watches live, for {} s",
            live["phone"].as_str().unwrap_or_default(),
            live["seconds"],
        ));
    }
    if let Some(phones @ 1..) = status["relay_not_told"].as_u64() {
        out.push_str(&format!(
            "\n{phones} removed phones are not yet shut out at the relay; it is told as soon as it is reached"
        ));
    }
    if let Some(phones @ 1..) = status["relay_still_admits"].as_u64() {
        out.push_str(&format!(
            "\n{phones} removed phones are still admitted at the relay, by the invitation of another hub or of its operator, who can revoke them there"
        ));
    }
    for clip in status["clips"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "\nclip {}: {}, {} bytes",
            clip["clip"].as_str().unwrap_or_default(),
            clip["outcome"].as_str().unwrap_or_default(),
            clip["bytes"],
        ));
    }
    if let Some(budget) = status["budget_bytes"].as_u64() {
        let (video, budget) = (&status["video_bytes"], budget >> 20);
        out.push_str(&format!(
            "\n{video} bytes of video wait for phones, of {budget} MiB that may"
        ));
    }
    if let Some(days) = status["clip_days_max"].as_u64() {
        out.push_str(&format!(
            "\na clip that no phone has got goes after {days} days in which this hub has run"
        ));
    }
    let alerts = status["settings"]["alerts"].as_object();
    let unwanted = alerts.into_iter().flatten().filter(|(_, on)| **on == false);
    let unwanted: Vec<&str> = unwanted.map(|(kind, _)| kind.as_str()).collect();
    if !unwanted.is_empty() {
        out.push_str(&format!(
            "\nphones are not notified of: {}",
            unwanted.join(", ")
        ));
    }
    let waiting = status["service"]["waiting"].as_array();
    if let Some(keys) = waiting.filter(|keys| !keys.is_empty()) {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        out.push_str(&format!(
            "\nchanged in the configuration, and not in force before a restart: {}",
            keys.join(", ")
        ));
    }
    if let Some(copies) = status["stranded_copies"]
        .as_u64()
        .filter(|copies| *copies > 0)
    {
        out.push_str(&format!("\n{}", stranded(copies)));
    }
    out
}

/// The rhythm of a phone's line for people; nothing if it has none.
fn rhythm(shaped: &Value) -> String {
    let Some(interval_ms) = shaped["interval_ms"].as_u64() else {
        return String::new();
    };
    let behind = match shaped["behind_ms"].as_u64() {
        None | Some(0) => "nothing waits".to_owned(),
        Some(behind_ms) => format!(
            "{} envelopes of video wait, {} s behind",
            shaped["envelopes_behind"],
            behind_ms.div_ceil(1_000)
        ),
    };
    let covered = match shaped["covered"] == false {
        true => "; NOT COVERED until the phone reads: too much waits for its ack, and events show",
        false => "",
    };
    format!("\n  one envelope every {interval_ms} ms, {behind}{covered}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{CameraError, ClipError};
    use crate::tally::Tally;
    use crate::watcher::Watching;

    #[test]
    fn a_rhythm_says_how_far_video_is_behind_and_when_it_hides_nothing() {
        assert_eq!(rhythm(&Value::Null), "");
        let line = |waits, covered| {
            let value = shaped(Shaped {
                interval_ms: 250,
                waits,
                stock: 3,
                covered,
            });
            (value["behind_ms"].as_u64(), rhythm(&value))
        };
        let (behind_ms, text) = line(3, true);
        assert_eq!(behind_ms, Some(0));
        assert!(
            text.contains("nothing waits") && !text.contains("NOT"),
            "{text}"
        );
        let (behind_ms, text) = line(43, false);
        assert_eq!(behind_ms, Some(10_000));
        assert!(text.contains("40 envelopes of video wait, 10 s"), "{text}");
        assert!(text.contains("NOT COVERED"), "{text}");
    }

    #[test]
    fn a_camera_that_failed_is_why_nothing_is_recorded() {
        let core = CoreStatus {
            recording: false,
            recording_of: vec!["door".into()],
            stopped: Some(Stop::Space),
            settings: journal::message::SettingsDoc::default(),
            added: journal::message::AddedPhones::default(),
            cameras_set: Vec::new(),
            lines: Vec::new(),
            dismissals: 0,
            clips: Vec::new(),
            video_bytes: 0,
            budget_bytes: None,
            clip_days_max: None,
            stranded_copies: 0,
            lives: Vec::new(),
        };
        let link = LinkStatus::default();
        let error = |kind| CameraError::Clip {
            path: "/clip.mp4".into(),
            source: ClipError::Unreadable { kind },
        };
        for (kind, next, way_out) in [
            (
                std::io::ErrorKind::TimedOut,
                "retry",
                "opened again and again",
            ),
            (std::io::ErrorKind::NotFound, "replace", "Put a good one"),
        ] {
            let mut camera = camera_state("gate", Looks::No);
            camera.trouble = Some(error(kind));
            // Opened again, it is recorded, and has yet to show that it stays.
            let status = to_json(&core, &link, std::slice::from_ref(&camera), 0);
            assert_eq!(status["cameras"][0]["open"], true);
            assert_eq!(status["not_recorded"], "disk_full");
            assert!(status["camera_trouble"].is_null());
            let text = to_text(&status);
            assert!(
                text.contains("/clip.mp4") && !text.contains("not there"),
                "{text}"
            );
            camera.is_open = false;
            let status = to_json(&core, &link, &[camera], 0);
            assert_eq!(status["cameras"][0]["next"], next);
            assert_eq!(status["not_recorded"], CAMERA_FAILED);
            let text = to_text(&status);
            assert!(
                text.contains("/clip.mp4") && text.contains(way_out),
                "{text}"
            );
        }
        let camera = camera_state("gate", Looks::No);
        let status = to_json(&core, &link, &[camera], 0);
        assert_eq!(status["not_recorded"], "disk_full");
        assert!(status["camera_trouble"].is_null());
        assert!(!to_text(&status).contains("retained"));
        assert!(!to_text(&status).contains("of video wait"));
        let core = CoreStatus {
            stranded_copies: 2,
            video_bytes: 7,
            budget_bytes: Some(64 << 20),
            clip_days_max: Some(30),
            ..core
        };
        let status = to_json(&core, &link, &[], 0);
        assert_eq!(status["budget_bytes"], 64 << 20);
        let text = to_text(&status);
        assert!(text.contains("2 retained clips"), "{text}");
        assert!(
            text.contains("7 bytes of video wait for phones, of 64 MiB"),
            "{text}"
        );
    }

    #[test]
    fn what_waits_for_a_restart_is_said() {
        let mut status = json!({"service": {"waiting": []}});
        assert!(!to_text(&status).contains("restart"));
        status["service"]["waiting"] = json!(["relay", "[disk]"]);
        let text = to_text(&status);
        assert!(text.contains("before a restart: relay, [disk]"), "{text}");
    }

    #[test]
    fn privacy_mode_is_said_as_long_as_it_is_on_and_no_longer() {
        let mut core = CoreStatus {
            recording: false,
            recording_of: Vec::new(),
            stopped: None,
            settings: journal::message::SettingsDoc::default(),
            added: journal::message::AddedPhones::default(),
            cameras_set: Vec::new(),
            lines: Vec::new(),
            dismissals: 0,
            clips: Vec::new(),
            video_bytes: 0,
            budget_bytes: None,
            clip_days_max: None,
            stranded_copies: 0,
            lives: Vec::new(),
        };
        core.settings.settings.privacy = true;
        let link = LinkStatus::default();
        let status = to_json(&core, &link, &[], 0);
        assert_eq!(status["not_recorded"], "privacy");
        assert_eq!(status["settings"]["privacy"], true);
        assert!(to_text(&status).contains("privacy mode"));
        core.stopped = Some(Stop::Privacy);
        core.settings.settings.privacy = false;
        assert!(to_json(&core, &link, &[], 0)["not_recorded"].is_null());
    }

    #[test]
    fn a_removed_phone_that_somebody_else_lets_in_is_said_for_as_long_as_that_is_so() {
        let core = CoreStatus {
            recording: false,
            recording_of: Vec::new(),
            stopped: None,
            settings: journal::message::SettingsDoc::default(),
            added: journal::message::AddedPhones::default(),
            cameras_set: Vec::new(),
            lines: Vec::new(),
            dismissals: 2,
            clips: Vec::new(),
            video_bytes: 0,
            budget_bytes: None,
            clip_days_max: None,
            stranded_copies: 0,
            lives: Vec::new(),
        };
        let mut link = LinkStatus::default();
        let text = to_text(&to_json(&core, &link, &[], 0));
        assert!(text.contains("2 removed phones are not yet"), "{text}");
        link.still_admitted.insert(journal::ids::PairingId([1; 16]));
        let status = to_json(&core, &link, &[], 0);
        assert_eq!(status["relay_not_told"], 1);
        assert_eq!(status["relay_still_admits"], 1);
        let text = to_text(&status);
        assert!(
            text.contains("1 removed phones are still admitted"),
            "{text}"
        );
    }

    fn camera_state(name: &str, looks: Looks) -> CameraState {
        CameraState {
            name: name.into(),
            kind: "rtsp",
            trouble: None,
            is_open: true,
            looks,
            decoded: Tally::default(),
        }
    }

    #[test]
    fn each_camera_says_what_it_does() {
        let core = CoreStatus {
            recording: true,
            recording_of: vec!["door".into()],
            stopped: None,
            settings: journal::message::SettingsDoc::default(),
            added: journal::message::AddedPhones::default(),
            cameras_set: Vec::new(),
            lines: Vec::new(),
            dismissals: 0,
            clips: Vec::new(),
            video_bytes: 0,
            budget_bytes: None,
            clip_days_max: None,
            stranded_copies: 0,
            lives: Vec::new(),
        };
        let watching = Watching {
            mode: Mode::KeyFramesOnly,
            is_on: true,
            events: 3,
            is_event: true,
            undecodable: 0,
            is_ring_too_small: false,
        };
        let cameras = [
            camera_state("door", Looks::Yes(watching)),
            camera_state("gate", Looks::Cannot),
        ];
        cameras[0].decoded.add(40);
        let status = to_json(&core, &LinkStatus::default(), &cameras, 0);
        let [door, gate] = [&status["cameras"][0], &status["cameras"][1]];
        assert_eq!(door["detection"], "key_frames_only");
        assert_eq!(
            (&door["recording"], &door["events"]),
            (&true.into(), &3.into())
        );
        assert_eq!(door["decoded_pictures"], 40);
        assert_eq!(gate["decoded_pictures"], 0, "nobody looks");
        assert_eq!(gate["detection"], "unavailable");
        assert_eq!(gate["recording"], false);
        assert!(gate["motion"].is_null());
        let text = to_text(&status);
        assert!(text.contains("in key frames only"), "{text}");
        assert!(text.contains("3 events since"), "{text}");
        assert_eq!(door["ring_too_small"], false);
        assert!(gate["ring_too_small"].is_null());
        assert!(!text.contains("ring_mib"), "{text}");
        let short = Watching {
            is_ring_too_small: true,
            ..watching
        };
        let cameras = [camera_state("door", Looks::Yes(short))];
        let status = to_json(&core, &LinkStatus::default(), &cameras, 0);
        assert_eq!(status["cameras"][0]["ring_too_small"], true);
        let text = to_text(&status);
        assert!(text.contains("more than `ring_mib` holds"), "{text}");
    }

    #[test]
    fn what_phones_have_set_is_shown_with_its_camera() {
        let doc = journal::message::CameraDoc {
            version: 2,
            settings: journal::message::CameraSettings {
                sensitivity: Some(70),
                persons: Some(false),
                ..journal::message::CameraSettings::default()
            },
            ..journal::message::CameraDoc::unset("door")
        };
        let mut core = CoreStatus {
            recording: false,
            recording_of: Vec::new(),
            stopped: None,
            settings: journal::message::SettingsDoc::default(),
            added: journal::message::AddedPhones::default(),
            cameras_set: vec![crate::core::CameraSet {
                doc,
                fits: true,
                shown: "door".into(),
            }],
            lines: Vec::new(),
            dismissals: 0,
            clips: Vec::new(),
            video_bytes: 0,
            budget_bytes: None,
            clip_days_max: None,
            stranded_copies: 0,
            lives: Vec::new(),
        };
        let watching = Watching {
            mode: Mode::EveryPicture,
            is_on: false,
            events: 0,
            is_event: false,
            undecodable: 0,
            is_ring_too_small: false,
        };
        let cameras = [
            camera_state("door", Looks::Yes(watching)),
            camera_state("gate", Looks::No),
        ];
        let status = to_json(&core, &LinkStatus::default(), &cameras, 0);
        let door = &status["cameras"][0];
        assert_eq!(door["detection"], "off_by_phone");
        assert_eq!(door["settings"]["version"], 2);
        assert_eq!(door["settings"]["set"]["sensitivity"], 70);
        assert_eq!(door["settings"]["set"]["persons"], false);
        assert!(door["settings"]["set"]["zones"].is_null());
        assert!(status["cameras"][1]["settings"].is_null());
        let text = to_text(&status);
        assert!(text.contains("a phone has turned detection off"), "{text}");
        assert!(text.contains("version 2"), "{text}");
        assert_eq!(door["settings"]["followed"], true);
        let undecoded = [camera_state("door", Looks::Cannot)];
        let status = to_json(&core, &LinkStatus::default(), &undecoded, 0);
        assert_eq!(status["cameras"][0]["settings"]["followed"], false);
        let text = to_text(&status);
        assert!(text.contains("followed by nobody"), "{text}");
        core.cameras_set[0].fits = false;
        let text = to_text(&to_json(&core, &LinkStatus::default(), &cameras, 0));
        assert!(text.contains("do NOT fit"), "{text}");
    }
}
