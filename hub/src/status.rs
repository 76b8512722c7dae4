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
        // What the camera failed of, for people; null while it is there.
        "camera_trouble": trouble.map(|error| camera(Some(error)).1),
        "connected": link.connected,
        "trouble": link.trouble,
        "pairings": pairings,
        "clips": clips,
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
        out.push_str(&rhythm(&pairing["constant_rate"]));
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
        assert!(text.contains("nothing waits") && !text.contains("NOT"), "{text}");
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
    }
}
