//! Commands from the phone, one after the other, until each is answered; the last of them are about a camera, and what
//! they set there holds also behind a restart of the hub.

use serde_json::Value;

use crate::oracle::Ends;
use crate::process::Role;
use crate::system::{FIRST_PHONE, System};
use crate::trouble::Outcome;

/// What is ordered. Each change of the settings makes one version of them, so that one which is done twice, or not at
/// all, or out of its turn, is seen in the versions. The camera may record when all are done.
const ORDERS: [&[&str]; 5] = [
    &["privacy", "on"],
    &["settings", "set", "event_seconds_max", "60"],
    &["phones"],
    &["privacy", "off"],
    &["resend"],
];

/// A second camera, before which nobody comes in any run: its events would be found in its pictures.
const QUIET: &str = "yard-plover-38";
/// How `status` names detection that a phone has turned off.
const OFF: &str = "off_by_phone";

pub(super) fn order(system: &mut System) -> Outcome<Ends> {
    system.write_hub_config_beside(&format!(
        "name = \"{QUIET}\"\nkind = \"virtual\"\nwidth = 160\nheight = 160\n\
         pictures_per_second = 5\ncycle_seconds = 3600.0\n"
    ))?;
    for role in [Role::Relay, Role::Hub] {
        system.start(role)?;
    }
    for words in ORDERS {
        system.order(words)?;
    }
    // What the last of them says is so.
    let status = system.hub_says(&["status"])?;
    let settings = &status["settings"];
    if settings["privacy"] != false || settings["event_seconds_max"] != 60 {
        system.found_broken(
            "C2",
            format!("commands were not done in their turn: {settings}"),
        );
    }
    set_camera(system)?;
    system.compare_settings(&[FIRST_PHONE])?;
    // With cover the outbox is never empty: the last word is without.
    system.setup.hub_extra.clear();
    system.settle()
}

/// The phone turns the detection of one camera off. Whoever dies over it: at any time it is set whole, or not at all, and
/// once it is answered it holds, also in the hub's next process.
fn set_camera(system: &mut System) -> Outcome<()> {
    // A change starts from what is known at the phone.
    system.order(&["settings", "camera", QUIET])?;
    let given = system.give(&["settings", "set-camera", QUIET, "detection", "off"])?;
    let status = system.hub_says(&["status"])?;
    let now = quiet_in(&status);
    if !now["settings"].is_null() && !is_set(&now["settings"]["set"]) {
        let what = format!("a camera is set as neither before nor as was ordered: {now}");
        system.found_broken("C2", what);
    }
    let done = system.answer_to(&given)?;
    if done["result"] != "camera_changed" || !is_set(&done["settings"]) {
        let what = format!("a camera was to be set, and what came of it is {done}");
        system.found_broken("C2", what);
    }
    judge_camera(system, &done)?;
    system.stop(Role::Hub)?;
    system.start(Role::Hub)?;
    judge_camera(system, &done)?;
    let told = system.order(&["settings", "camera", QUIET])?;
    if told["settings"] != done["settings"] || told["version"] != done["version"] {
        let what = format!("the phone was answered {done}, and is told {told}");
        system.found_broken("C2", what);
    }
    Ok(())
}

/// What the phone was answered is stored at the hub, and followed there.
fn judge_camera(system: &mut System, done: &Value) -> Outcome<()> {
    let patience = system.setup.patience;
    let camera = system.until("a camera that is open", patience, |system| {
        let status = system.ask_hub(&["status"])?;
        let camera = quiet_in(&status);
        system.remember(camera.to_string());
        Ok((camera["detection"] != "opening").then(|| camera.clone()))
    })?;
    let kept = &camera["settings"];
    let is_kept = kept["version"] == done["version"] && is_set(&kept["set"]);
    if !is_kept || kept["followed"] != true || camera["detection"] != OFF {
        let what = format!("the phone was answered {done}, and the hub has {camera}");
        system.found_broken("C2", what);
    }
    Ok(())
}

/// What a hub's `status` says of the second camera; null if it has none.
fn quiet_in(status: &Value) -> &Value {
    static NONE: Value = Value::Null;
    let mut cameras = status["cameras"].as_array().into_iter().flatten();
    let found = cameras.find(|camera| camera["camera"] == QUIET);
    found.unwrap_or(&NONE)
}

/// Whether these settings of a camera are the ones that were ordered.
fn is_set(settings: &Value) -> bool {
    settings["detects"] == false
}
