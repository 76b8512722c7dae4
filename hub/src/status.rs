//! The status of a running hub as one JSON object, and the same for people.

use serde_json::{Value, json};

use crate::camera::CameraError;
use crate::core::{CoreStatus, Evidence, Standing, Stop};
use crate::exit::Failure;
use crate::output::{CAMERA_FAILED, camera, hex, stop};
use crate::sealer::Sealer;
use crate::uplink::{LinkStatus, Shaped, Uplink};

/// Asks journal and uplink; `trouble` is what the camera failed of.
///
/// # Errors
/// The journal's.
pub async fn read(
    sealer: &Sealer,
    uplink: &Uplink,
    trouble: Option<CameraError>,
) -> Result<Value, Failure> {
    let asked = sealer.run(|core, now| Ok((core.status()?, now)));
    let (core, now_unix_ms) = asked.await?;
    Ok(to_json(
        &core,
        &uplink.status(),
        trouble.as_ref(),
        now_unix_ms,
    ))
}

fn to_json(
    core: &CoreStatus,
    link: &LinkStatus,
    trouble: Option<&CameraError>,
    now_unix_ms: u64,
) -> Value {
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
                "clip": clip.clip.to_hex(),
                "bytes": clip.bytes,
                "sha256": clip.sha256.map(|hash| hex(&hash)),
                "outcome": clip.state.word(),
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
        },
        // Why the last event was not recorded, or not all of it; null once one is recorded again.
        "not_recorded": not_recorded,
        // What the camera failed of, for people; null while it is there.
        "camera_trouble": trouble.map(|error| camera(Some(error)).1),
        "connected": link.connected,
        "trouble": link.trouble,
        // Phones that were removed here and that the relay does not know of yet.
        "relay_not_told": core.dismissals.saturating_sub(still_admitted),
        // Phones that were removed here and that the relay admits by somebody else's invitation.
        "relay_still_admits": still_admitted,
        "pairings": pairings,
        "clips": clips,
        // Retained copies that wait for nobody's ack any more.
        "stranded_copies": core.stranded_copies,
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
    use crate::camera::ClipError;

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
            stopped: Some(Stop::Space),
            settings: journal::message::SettingsDoc::default(),
            added: journal::message::AddedPhones::default(),
            lines: Vec::new(),
            dismissals: 0,
            clips: Vec::new(),
            stranded_copies: 0,
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
            let status = to_json(&core, &link, Some(&error(kind)), 0);
            assert_eq!(status["not_recorded"], CAMERA_FAILED);
            let text = to_text(&status);
            assert!(
                text.contains("/clip.mp4") && text.contains(way_out),
                "{text}"
            );
        }
        let status = to_json(&core, &link, None, 0);
        assert_eq!(status["not_recorded"], "disk_full");
        assert!(status["camera_trouble"].is_null());
        assert!(!to_text(&status).contains("retained"));
        let stranded_copies = 2;
        let core = CoreStatus {
            stranded_copies,
            ..core
        };
        let text = to_text(&to_json(&core, &link, None, 0));
        assert!(text.contains("2 retained clips"), "{text}");
    }

    #[test]
    fn privacy_mode_is_said_as_long_as_it_is_on_and_no_longer() {
        let mut core = CoreStatus {
            recording: false,
            stopped: None,
            settings: journal::message::SettingsDoc::default(),
            added: journal::message::AddedPhones::default(),
            lines: Vec::new(),
            dismissals: 0,
            clips: Vec::new(),
            stranded_copies: 0,
        };
        core.settings.settings.privacy = true;
        let link = LinkStatus::default();
        let status = to_json(&core, &link, None, 0);
        assert_eq!(status["not_recorded"], "privacy");
        assert_eq!(status["settings"]["privacy"], true);
        assert!(to_text(&status).contains("privacy mode"));
        core.stopped = Some(Stop::Privacy);
        core.settings.settings.privacy = false;
        assert!(to_json(&core, &link, None, 0)["not_recorded"].is_null());
    }

    #[test]
    fn a_removed_phone_that_somebody_else_lets_in_is_said_for_as_long_as_that_is_so() {
        let core = CoreStatus {
            recording: false,
            stopped: None,
            settings: journal::message::SettingsDoc::default(),
            added: journal::message::AddedPhones::default(),
            lines: Vec::new(),
            dismissals: 2,
            clips: Vec::new(),
            stranded_copies: 0,
        };
        let mut link = LinkStatus::default();
        let text = to_text(&to_json(&core, &link, None, 0));
        assert!(text.contains("2 removed phones are not yet"), "{text}");
        link.still_admitted.insert(journal::ids::PairingId([1; 16]));
        let status = to_json(&core, &link, None, 0);
        assert_eq!(status["relay_not_told"], 1);
        assert_eq!(status["relay_still_admits"], 1);
        let text = to_text(&status);
        assert!(
            text.contains("1 removed phones are still admitted"),
            "{text}"
        );
    }
}
