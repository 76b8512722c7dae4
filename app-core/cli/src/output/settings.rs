//! What is set at a hub and at its cameras: JSON for programs, and a line for people.
//!
//! This room must never say of a value what the hub's configuration has beside it: the app does not know that.

use app_core::{CameraSettings, HubSettings};
use serde_json::{Value, json};

pub(super) fn settings_json(settings: &HubSettings) -> Value {
    json!({"privacy": settings.privacy, "event_seconds_max": settings.event_seconds_max,
           "clip_days_max": settings.clip_days_max, "alerts": {"motion": settings.alerts.motion,
           "storage_full": settings.alerts.storage_full, "camera_away": settings.alerts.camera_away}})
}

pub(super) fn settings_text(settings: &HubSettings) -> String {
    let privacy = match settings.privacy {
        true => "privacy mode on, no event is recorded",
        false => "privacy mode off",
    };
    let lasts = match settings.event_seconds_max {
        Some(seconds) => format!("an event ends after {seconds} s"),
        None => "an event lasts as long as the camera says".into(),
    };
    let kept = match settings.clip_days_max {
        Some(days) => format!("a clip that no phone has got goes after {days} days"),
        None => "clips are kept for as long as the hub's configuration says".into(),
    };
    let alerts = settings.alerts;
    let unwanted = [
        (alerts.motion, "motion"),
        (alerts.storage_full, "storage_full"),
        (alerts.camera_away, "camera_away"),
    ];
    let unwanted = unwanted.into_iter().filter(|(on, _)| !on);
    let unwanted: Vec<&str> = unwanted.map(|(_, kind)| kind).collect();
    match unwanted.as_slice() {
        [] => format!("{privacy}; {lasts}; {kept}"),
        kinds => format!(
            "{privacy}; {lasts}; {kept}; not notified of {}",
            kinds.join(", ")
        ),
    }
}

pub(super) fn camera_json(settings: &CameraSettings) -> Value {
    json!(settings)
}

/// What is set; what is not is the configuration's, and left out.
pub(super) fn camera_text(settings: &CameraSettings) -> String {
    let json = camera_json(settings);
    let set = json.as_object().into_iter().flatten();
    let set = set.filter(|(_key, value)| !value.is_null());
    let set: Vec<String> = set.map(|(key, value)| format!("{key} {value}")).collect();
    match set.as_slice() {
        [] => "nothing is set, the hub's configuration holds".into(),
        set => set.join(", "),
    }
}
