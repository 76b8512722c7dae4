//! The program as scripts start it: codes, one object that says why, and readers that have gone. What it wrote and
//! printed is searched at the end of each test.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use crashtest_canary::Place;

/// In an address of a camera.
const PASSWORD: &str = "kestrel-hunter2";

fn hub(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secluso-hub"));
    command.args(arguments);
    command
}

fn run(place: &Place, arguments: &[&str]) -> Output {
    place.output(&mut hub(arguments))
}

#[test]
fn a_failure_is_one_object_for_scripts_and_one_line_for_people() {
    let place = Place::new();
    let missing = ["status", "--config", "/nowhere/hub.toml"];
    let output = run(&place, &missing);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let output = run(&place, &[&missing[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["event"], "error");
    assert_eq!(said["exit_code"], 2);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let message = said["message"].as_str().unwrap();
    assert!(stderr.contains(message), "{stderr}");
}

/// A command line that cannot be read is a failure like any other.
#[test]
fn wrong_use_is_one_object_for_scripts() {
    let place = Place::new();
    let wrong = ["status", "--bogus"];
    let output = run(&place, &wrong);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("Usage"), "{stderr}");
    let output = run(&place, &[&wrong[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["event"], "error");
    assert_eq!(said["exit_code"], 2);
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("--bogus"), "{message}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    // What was asked for is no failure.
    let output = run(&place, &["status", "--json", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"What a running hub"));
}

/// The one object in which the secret stands is the one that its owner asks for.
#[test]
fn the_secret_is_one_object_for_scripts_where_it_may_be_printed() {
    let (place, config) = configured("");
    let words = ["secret", "--config", &config, "--print", "--json"];
    let refused = run(&place, &words);
    assert_eq!(refused.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(said["event"], "error");
    let mut forced = hub(&words);
    let told = place.output_for_a_person(forced.arg("--force"));
    assert_eq!(told.status.code(), Some(0));
    let said: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(said["event"], "device_secret");
    let text = said["text"].as_str().unwrap();
    assert!(text.starts_with("SECLUSODEVICE1:"));
}

#[test]
fn completions_for_a_reader_that_has_gone_are_no_failure() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.output(hub(&["completions", "bash"]).stdout(writer));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
    let printed = run(&place, &["completions", "bash"]).stdout;
    assert!(printed.len() > 1_000);
}

/// The journal is open by then, on a thread of its own, which must be gone before the process takes itself
/// apart: it was killed by a signal now and then (seldom here) instead of ending with its code.
#[test]
fn a_hub_without_room_for_its_control_socket_ends_with_its_code() {
    let (place, config) = configured("");
    let socket = place.path().join("state").join("control.sock");
    std::fs::create_dir_all(socket.join("in the way")).unwrap();
    let ours = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(place.path().join("state"), ours).unwrap();
    for _ in 0..5 {
        let output = run(&place, &["run", "--config", &config]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("control socket"), "{stderr}");
    }
}

/// A configuration with these cameras, in a directory of its own, of a device whose secret is sought.
fn configured(cameras: &str) -> (Place, String) {
    let place = Place::new();
    let secret: Vec<u8> = (0..72_u8).map(|n| n.wrapping_mul(73) ^ 0x5c).collect();
    place.seek("the device secret", &secret);
    place.seek("a password", PASSWORD.as_bytes());
    place.write("device.secret", secret);
    let relay = format!("127.0.0.1:4433/{}", wire::RelayId([7; 32]).to_text());
    let text = format!(
        "state_dir = \"state\"\nrelay = \"{relay}\"\ndevice_secret_file = \"device.secret\"\n{cameras}"
    );
    let path = place.write("hub.toml", text).display().to_string();
    (place, path)
}

#[test]
fn cameras_are_listed_without_what_is_secret() {
    let (place, config) = configured(&format!(
        "[[camera]]\nkind = \"rtsp\"\nname = \"door\"\nurl = \"rtsp://cam.lan/1?password={PASSWORD}\"\n\
         [[camera]]\nkind = \"virtual\"\nname = \"try\"\n",
    ));
    let output = run(&place, &["cameras", "--config", &config]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(
        lines[0],
        "door: rtsp, rtsp://cam.lan/1?...; events by motion"
    );
    assert!(lines[1].starts_with("try: virtual, "), "{said}");
    let output = run(&place, &["cameras", "--json", "--config", &config]);
    let said = String::from_utf8(output.stdout).unwrap();
    let first: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(first["camera"], "door");
    assert_eq!(first["events"], "motion");
}

#[test]
fn a_camera_that_is_not_there_is_one_line_and_a_code() {
    // A port that nobody listens on: it was bound, and is closed again.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let place = Place::new();
    place.seek("a password", PASSWORD.as_bytes());
    let url = format!("rtsp://admin:{PASSWORD}@127.0.0.1:{port}/cam");
    let output = run(&place, &["test-camera", &url]);
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("is not reached"), "{said}");
    assert!(!said.contains("admin"), "{said}");

    let url = format!("http://admin:{PASSWORD}@127.0.0.1/");
    let output = run(&place, &["test-camera", &url]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("rtsp://"), "{said}");
}
