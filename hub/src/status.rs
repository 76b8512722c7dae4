//! The status of a running hub as one JSON object, and the same for people.

use serde_json::{Value, json};

use crate::core::{CoreStatus, Evidence, Standing, Stop};
use crate::exit::Failure;
use crate::detector::Mode;
use crate::output::{CAMERA_FAILED, camera, hex, stop};
use crate::sealer::Sealer;
use crate::supervisor::{CameraState, Cameras, Looks};
use crate::uplink::{LinkStatus, Uplink};

/// Asks journal and uplink; `cameras` is how they stand.
///
/// # Errors
/// The journal's.
pub async fn read(
    sealer: &Sealer,
    uplink: &Uplink,
    cameras: Cameras,
) -> Result<Value, Failure> {
    let asked = sealer.run(|core, now| Ok((core.status()?, now)));
    let (core, now_unix_ms) = asked.await?;
    Ok(to_json(
        &core,
        &uplink.status(),
        &cameras,
        now_unix_ms,
    ))
}

fn to_json(
    core: &CoreStatus,
    link: &LinkStatus,
    cameras: &[CameraState],
    now_unix_ms: u64,
) -> Value {
    let mut troubles = cameras
        .iter()
        .filter_map(|state| Some(camera(&state.name, Some(state.trouble.as_ref()?)).1));
    let trouble = troubles.next();
    // Without a camera there is no event that could show that the other reason is gone.
    let not_recorded = match trouble {
        Some(_) => Some(CAMERA_FAILED),
        None => core.stopped.map(|why| stop(why).0),
    };
    let pairings: Vec<Value> = core
        .lines
        .iter()
        .map(|line| {
            let known = link.lines.get(&line.line).copied().unwrap_or_default();
            json!({
                "phone": line.line.pairing.to_hex(),
                "epoch": line.epoch,
                "unacked_envelopes": line.unacked_envelopes,
                "unacked_bytes": line.unacked_bytes,
                "last": line.last.0,
                // An ack proves that the relay had it.
                "stored_through": known.stored_through.max(line.acked).0,
                "acked_through": line.acked.0,
                "connected": known.connected,
                "relay_full": known.over_quota,
                "standing": standing(line.standing),
                // Seconds since its last heartbeat was taken; null before the first.
                "phone_heard_s_ago": line
                    .heard
                    .map(|heard| now_unix_ms.saturating_sub(heard.unix_ms) / 1000),
            })
        })
        .collect();
    let clips: Vec<Value> = core
        .clips
        .iter()
        .map(|clip| {
            json!({
                "clip": clip.clip.to_hex(),
                "bytes": clip.bytes,
                "sha256": clip.sha256.map(|hash| hex(&hash)),
                "outcome": clip.state.word(),
            })
        })
        .collect();
    json!({
        "recording": core.recording,
        // Why the last event was not recorded, or not all of it; null once one is recorded again.
        "not_recorded": not_recorded,
        // What a camera failed of, for people; null while all are there.
        "camera_trouble": trouble,
        "cameras": cameras.iter().map(|state| of_camera(state, core)).collect::<Vec<_>>(),
        "connected": link.connected,
        "trouble": link.trouble,
        "pairings": pairings,
        "clips": clips,
    })
}

/// What one camera does.
fn of_camera(state: &CameraState, core: &CoreStatus) -> Value {
    let detection = match state.looks {
        Looks::Opening => "opening",
        Looks::No => "off",
        Looks::Cannot => "unavailable",
        Looks::Yes(watching) => match watching.mode {
            Mode::EveryPicture => "every_picture",
            Mode::KeyFramesOnly => "key_frames_only",
        },
    };
    let watching = match state.looks {
        Looks::Yes(watching) => Some(watching),
        _ => None,
    };
    json!({
        "camera": state.name,
        "kind": state.kind,
        // What it failed of; null while it is there.
        "trouble": state.trouble.as_ref().map(ToString::to_string),
        // A clip of it is being recorded.
        "recording": core.recording_of.contains(&state.name),
        // Whether what moves is looked for, and in which pictures.
        "detection": detection,
        // Something moves now. This and what follows are null where nobody looks.
        "motion": watching.map(|watching| watching.is_event),
        // Since it was opened last.
        "events": watching.map(|watching| watching.events),
        "undecodable_pictures": watching.map(|watching| watching.undecodable),
    })
}

/// The same for people.
fn camera_text(camera: &Value) -> String {
    let name = camera["camera"].as_str().unwrap_or_default();
    let doing = if !camera["trouble"].is_null() {
        "not there"
    } else if camera["recording"] == true {
        "recording"
    } else {
        "waiting for an event"
    };
    let detection = match camera["detection"].as_str().unwrap_or_default() {
        "opening" => "not open yet",
        "off" => "nobody looks at its pictures",
        "unavailable" => "its pictures cannot be decoded, so its events go by the clock",
        "key_frames_only" => {
            "motion is looked for in key frames only, because all pictures would take too much of the CPU"
        }
        _ => "motion is looked for in every picture",
    };
    let mut text = format!("camera {name:?}: {doing}; {detection}");
    if let Some(events) = camera["events"].as_u64() {
        text.push_str(&format!("; {events} events since it was opened"));
    }
    text
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Good => "good",
        Standing::RolledBack(Evidence::AboveHead) => {
            "rolled_back: the relay holds more than this hub ever sent"
        }
        Standing::RolledBack(Evidence::OtherDigest) => {
            "rolled_back: the relay holds something else under our numbers"
        }
        Standing::RolledBack(Evidence::PhoneHoldsMore) => {
            "rolled_back: the phone holds what this hub never sent"
        }
    }
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
    let why = [Stop::NoPairing, Stop::Space, Stop::RolledBack].map(stop);
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
            "\nphone {}: epoch {}, {} envelopes ({} bytes) wait for its ack, standing {}, {}",
            pairing["phone"].as_str().unwrap_or_default(),
            pairing["epoch"],
            pairing["unacked_envelopes"],
            pairing["unacked_bytes"],
            pairing["standing"].as_str().unwrap_or_default(),
            match pairing["phone_heard_s_ago"].as_u64() {
                Some(seconds) => format!("last heartbeat {seconds} s ago"),
                None => "no heartbeat yet".into(),
            },
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
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::{CameraError, ClipError};
    use crate::watcher::Watching;

    #[test]
    fn a_camera_that_failed_is_why_nothing_is_recorded() {
        let core = CoreStatus {
            recording: false,
            recording_of: vec!["door".into()],
            stopped: Some(Stop::Space),
            lines: Vec::new(),
            clips: Vec::new(),
        };
        let link = LinkStatus::default();
        let error = |kind| CameraError::Clip {
            path: "/clip.mp4".into(),
            source: ClipError::Unreadable { kind },
        };
        for (kind, way_out) in [
            (std::io::ErrorKind::TimedOut, "opened again and again"),
            (std::io::ErrorKind::NotFound, "Put a good one"),
        ] {
            let mut camera = camera_state("gate", Looks::No);
            camera.trouble = Some(error(kind));
            let status = to_json(&core, &link, &[camera], 0);
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
    }

    fn camera_state(name: &str, looks: Looks) -> CameraState {
        CameraState {
            name: name.into(),
            kind: "rtsp",
            trouble: None,
            looks,
        }
    }

    #[test]
    fn each_camera_says_what_it_does() {
        let core = CoreStatus {
            recording: true,
            recording_of: vec!["door".into()],
            stopped: None,
            lines: Vec::new(),
            clips: Vec::new(),
        };
        let watching = Watching {
            mode: Mode::KeyFramesOnly,
            events: 3,
            is_event: true,
            undecodable: 0,
        };
        let cameras = [
            camera_state("door", Looks::Yes(watching)),
            camera_state("gate", Looks::Cannot),
        ];
        let status = to_json(&core, &LinkStatus::default(), &cameras, 0);
        let [door, gate] = [&status["cameras"][0], &status["cameras"][1]];
        assert_eq!(door["detection"], "key_frames_only");
        assert_eq!((&door["recording"], &door["events"]), (&true.into(), &3.into()));
        assert_eq!(gate["detection"], "unavailable");
        assert_eq!(gate["recording"], false);
        assert!(gate["motion"].is_null());
        let text = to_text(&status);
        assert!(text.contains("in key frames only"), "{text}");
        assert!(text.contains("3 events since"), "{text}");
    }
}
