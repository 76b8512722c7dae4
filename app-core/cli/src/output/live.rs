//! What is said of live pictures, beside the pictures themselves: facts for programs, sentences for people.
//!
//! This room must never print a byte of a picture.

use std::io;

use app_core::LiveEvent;
use serde_json::{Value, json};

use super::{Place, Style};

impl Style {
    /// What is watched live, beside the pictures themselves.
    pub(crate) fn live(self, place: Place, event: &LiveEvent) -> io::Result<()> {
        match (self, live_json(event)) {
            (Self::Json, None) => Ok(()),
            (_, json) => self.line_to(place, || json.unwrap_or(Value::Null), || live_text(event)),
        }
    }

    /// How old the pictures are, when that has become much, or little again.
    pub(crate) fn live_age(self, place: Place, age_ms: u64) -> io::Result<()> {
        self.line_to(
            place,
            || json!({"event": "live_age", "age_ms": age_ms}),
            || Some(format!("live: what is shown is {} s old", age_ms / 1_000)),
        )
    }
}

/// What a program is told of live pictures.
fn live_json(event: &LiveEvent) -> Option<Value> {
    Some(match event {
        LiveEvent::Began => json!({"event": "live_began"}),
        LiveEvent::Start { mime, init } => {
            json!({"event": "live_start", "mime": mime, "bytes": init.len()})
        }
        LiveEvent::Media {
            bytes,
            begins_group,
            captured_unix_ms,
            received_unix_ms,
        } => json!({
            "event": "live_media",
            "bytes": bytes.len(),
            "begins_group": begins_group,
            "captured_unix_ms": captured_unix_ms,
            "received_unix_ms": received_unix_ms,
        }),
        LiveEvent::Gap { frames } => json!({"event": "live_gap", "frames": frames}),
        LiveEvent::Quiet => json!({"event": "live_quiet"}),
        LiveEvent::Interrupted => json!({"event": "live_interrupted"}),
        LiveEvent::Ended(why) => json!({"event": "live_ended", "why": why.as_str()}),
        _ => return None,
    })
}

/// The same for people; none for what they see anyway.
fn live_text(event: &LiveEvent) -> Option<String> {
    Some(match event {
        LiveEvent::Began => "live: pictures follow".into(),
        LiveEvent::Gap { frames } => format!("live: pictures are missing ({frames} pieces)"),
        LiveEvent::Quiet => "live: nothing comes; what is shown is old".into(),
        LiveEvent::Interrupted => "live: interrupted; it goes on in a moment".into(),
        LiveEvent::Ended(why) => format!("live: ended ({})", why.as_str()),
        _ => return None,
    })
}
