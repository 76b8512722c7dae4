//! What is said of live pictures, beside the pictures themselves: facts for programs, sentences for people.
//!
//! This room must never print a byte of a picture.

use std::io;
use std::path::Path;

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

    /// The camera's stream has become another film: of pictures of this size, if it is known, in this file, if that is
    /// another one.
    pub(crate) fn live_changed(
        self,
        place: Place,
        size: Option<(u16, u16)>,
        file: Option<&Path>,
    ) -> io::Result<()> {
        let file = file.map(|file| file.display().to_string());
        self.line_to(
            place,
            || changed_json(size, file.as_deref()),
            || Some(changed_text(size, file.as_deref())),
        )
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

fn changed_json(size: Option<(u16, u16)>, file: Option<&str>) -> Value {
    let (width, height) = size.unzip();
    json!({"event": "live_changed", "width": width, "height": height, "file": file})
}

fn changed_text(size: Option<(u16, u16)>, file: Option<&str>) -> String {
    let to = size.map_or_else(String::new, |(width, height)| {
        format!(", to {width}x{height}")
    });
    match file {
        Some(file) => format!("live: the camera's picture has changed{to}: it goes on in {file}"),
        None => format!(
            "live: the camera's picture has changed{to}: players that read one beginning only are to be started anew"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_with_its_size_and_its_file_as_far_as_there_are_any() {
        let size = Some((1920, 1080));
        let said = changed_json(size, Some("door.2.mp4"));
        let want =
            json!({"event": "live_changed", "width": 1920, "height": 1080, "file": "door.2.mp4"});
        assert_eq!(said, want);
        let said = changed_text(size, Some("door.2.mp4"));
        assert!(said.contains("1920x1080") && said.ends_with("door.2.mp4"));
        let said = changed_text(None, None);
        assert!(said.contains("changed: players"), "{said}");
        assert!(changed_json(None, None)["width"].is_null());
    }
}
