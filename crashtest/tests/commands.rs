//! Commands with real processes: what an owner orders from the phone, and sets at a camera, the hub does and answers, also
//! over a restart; and what `doctor` says beside a hub that runs.

use crashtest::process::{Role, Start};
use crashtest::system::{CAMERA, PATIENCE, Setup, System};
use crashtest::trouble::Outcome;
use serde_json::Value;

/// Gives a command and waits for its answer: what came of it.
fn order(system: &mut System, words: &[&str]) -> Outcome<Value> {
    let words = [words, &["--wait", "--json"]].concat();
    let answer = system.ask_app(&words)?;
    let said = answer.lines.last().cloned().unwrap_or_default();
    assert_eq!(said["state"], "answered", "{said}");
    Ok(said["outcome"].clone())
}

fn hub_says(system: &mut System) -> Outcome<Value> {
    let config = system.path("hub.toml").display().to_string();
    let answer = system.ask_ok(Role::Hub, &["status", "--config", &config, "--json"])?;
    Ok(answer.lines.last().cloned().unwrap_or_default())
}

#[test]
fn privacy_mode_is_kept_over_a_restart_and_one_that_is_ordered_just_after_a_start_is_past()
-> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    system.start_hub()?;
    let done = order(&mut system, &["privacy", "on"])?;
    assert_eq!(done["result"], "changed", "{done}");
    assert_eq!(done["settings"]["privacy"], true, "{done}");
    let status = hub_says(&mut system)?;
    assert_eq!(status["settings"]["privacy"], true, "{status}");
    assert_eq!(status["not_recorded"], "privacy", "{status}");

    let done = order(&mut system, &["restart-hub"])?;
    assert_eq!(done["result"], "done", "{done}");
    // It has run for less than ten minutes: it goes on.
    let status = hub_says(&mut system)?;
    assert_eq!(status["settings"]["version"], 1, "{status}");
    system.stop(Role::Hub)?;
    system.start_hub()?;
    let status = hub_says(&mut system)?;
    assert_eq!(status["settings"]["privacy"], true, "{status}");
    let done = order(&mut system, &["privacy", "off"])?;
    assert_eq!(done["settings"]["privacy"], false, "{done}");
    system.stop(Role::Hub)?;
    system.finish()
}

/// How `status` names detection that a phone has turned off.
const OFF: &str = "off_by_phone";

/// A small camera before which nobody comes in any test: its events would be found in its pictures.
fn quiet_camera() -> String {
    format!(
        "[camera]\nname = \"{CAMERA}\"\nkind = \"virtual\"\nwidth = 160\nheight = 160\n\
         pictures_per_second = 5\ncycle_seconds = 3600.0\n\n"
    )
}

/// What makes the events of the one camera, in the hub's word.
fn detection(system: &mut System) -> Outcome<String> {
    let status = hub_says(system)?;
    system.remember(status.to_string());
    let said = status["cameras"][0]["detection"].as_str();
    Ok(said.unwrap_or_default().to_owned())
}

/// The same, as soon as the camera is open.
fn detection_once_open(system: &mut System) -> Outcome<String> {
    system.until("a camera that is open", PATIENCE, |system| {
        let said = detection(system)?;
        Ok((said != "opening").then_some(said))
    })
}

/// Whoever has the answer need not wait for anything: it is as he wanted it.
#[test]
fn detection_that_a_phone_turns_off_is_off_once_it_is_answered_and_after_a_restart() -> Outcome<()>
{
    let mut system = System::new(Setup::default())?;
    system.make_relay()?;
    system.write_hub_config_with(&quiet_camera())?;
    system.pair()?;
    system.start_hub()?;
    let said = detection_once_open(&mut system)?;
    // A machine that stood still for half a second looks at key frames alone.
    let ways = ["every_picture", "key_frames_only"];
    assert!(ways.contains(&said.as_str()), "{said}");

    // A change starts from what is known here.
    let known = order(&mut system, &["settings", "camera", CAMERA])?;
    assert_eq!(known["version"], 0, "{known}");
    let set = ["settings", "set-camera", CAMERA, "detection"];
    let done = order(&mut system, &[&set[..], &["off"]].concat())?;
    assert_eq!(done["result"], "camera_changed", "{done}");
    assert_eq!(done["settings"]["detects"], false, "{done}");
    assert_eq!(detection(&mut system)?, OFF);

    system.stop(Role::Hub)?;
    system.start_hub()?;
    assert_eq!(detection_once_open(&mut system)?, OFF);
    let status = hub_says(&mut system)?;
    let kept = &status["cameras"][0]["settings"];
    assert_eq!(kept["version"], 1, "{status}");
    assert_eq!(kept["set"]["detects"], false, "{status}");
    let done = order(&mut system, &[&set[..], &["default"]].concat())?;
    assert_eq!(done["result"], "camera_changed", "{done}");
    let said = detection(&mut system)?;
    assert!(ways.contains(&said.as_str()), "{said}");
    system.stop(Role::Hub)?;
    system.finish()
}

#[test]
fn a_phone_is_told_which_phones_there_are_and_cannot_remove_itself() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    system.start_hub()?;
    let done = order(&mut system, &["phones"])?;
    let phones = done["phones"].as_array().cloned().unwrap_or_default();
    assert_eq!(phones.len(), 1, "{done}");
    assert_eq!(phones[0]["is_this"], true, "{done}");
    let name = phones[0]["phone"].as_str().unwrap_or_default();
    let words = system.app_words(&["remove-phone", name, "--yes", "--json"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let refused = system.ask_started(Role::App, &Start::with(&words))?;
    assert_eq!(refused.code(), 2, "{}", refused.said);
    let again = order(&mut system, &["phones"])?;
    assert_eq!(again["phones"].as_array().map(Vec::len), Some(1), "{again}");
    system.stop(Role::Hub)?;
    system.finish()
}

/// The hub has journal, relay and cameras open: nobody else may, and what is known of them is known to it.
#[test]
fn doctor_takes_a_running_hubs_word_for_what_that_has_open() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    system.start_hub()?;
    system.until(
        "a hub that has its relay and its camera",
        PATIENCE,
        |system| {
            let status = hub_says(system)?;
            let has_both =
                status["connected"] == true && status["cameras"][0]["detection"] != "opening";
            Ok(has_both.then_some(()))
        },
    )?;
    let config = system.path("hub.toml").display().to_string();
    let doctor = Start::with(&["doctor", "--config", &config, "--json"]);
    let answer = system.ask_started(Role::Hub, &doctor)?;
    let camera = format!("camera {CAMERA}");
    for (check, word) in [
        ("pairing", "1 phone(s)"),
        ("relay", "connected"),
        (camera.as_str(), "the running hub has it"),
    ] {
        let found = answer.lines.iter().find(|line| line["check"] == check);
        let found = found.cloned().unwrap_or_default();
        assert_eq!(found["result"], "ok", "{check}: {found}");
        let text = found["text"].as_str().unwrap_or_default();
        assert!(text.contains(word), "{check}: {found}");
    }
    system.stop(Role::Hub)?;
    system.finish()
}
