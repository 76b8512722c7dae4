//! The program as scripts start it: codes, one object that says why, and readers that have gone.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

fn hub(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secluso-hub"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    hub(arguments).output().unwrap()
}

#[test]
fn a_failure_is_one_object_for_scripts_and_one_line_for_people() {
    let missing = ["status", "--config", "/nowhere/hub.toml"];
    let output = run(&missing);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let output = run(&[&missing[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["event"], "error");
    assert_eq!(said["exit_code"], 2);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let message = said["message"].as_str().unwrap();
    assert!(stderr.contains(message), "{stderr}");
}

#[test]
fn completions_for_a_reader_that_has_gone_are_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = hub(&["completions", "bash"]).stdout(writer).output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
    assert!(run(&["completions", "bash"]).stdout.len() > 1_000);
}

/// The journal is open by then, on a thread of its own, which must be gone before the process takes itself
/// apart: it was killed by a signal now and then (seldom here) instead of ending with its code.
#[test]
fn a_hub_without_room_for_its_control_socket_ends_with_its_code() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("state").join("control.sock");
    std::fs::create_dir_all(socket.join("in the way")).unwrap();
    let ours = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(place.path().join("state"), ours).unwrap();
    let config = place.path().join("hub.toml");
    let relay = wire::RelayId([7; 32]).to_text();
    let text = format!("state_dir = \"state\"\nrelay = \"127.0.0.1:4433/{relay}\"\n");
    std::fs::write(&config, text).unwrap();
    for _ in 0..5 {
        let output = run(&["run", "--config", config.to_str().unwrap()]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("control socket"), "{stderr}");
    }
}

/// A configuration with these cameras, in a directory of its own.
fn configured(cameras: &str) -> (tempfile::TempDir, String) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("hub.toml");
    let relay = format!("127.0.0.1:4433/{}", wire::RelayId([7; 32]).to_text());
    let text = format!("state_dir = \"state\"\nrelay = \"{relay}\"\n{cameras}");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (place, path)
}

#[test]
fn cameras_are_listed_without_what_is_secret() {
    let (_place, config) = configured(
        "[[camera]]\nkind = \"rtsp\"\nname = \"door\"\nurl = \"rtsp://cam.lan/1?password=hunter2\"\n\
         [[camera]]\nkind = \"virtual\"\nname = \"try\"\n",
    );
    let output = run(&["cameras", "--config", &config]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(
        lines[0],
        "door: rtsp, rtsp://cam.lan/1?...; events by motion"
    );
    assert!(lines[1].starts_with("try: virtual, "), "{said}");
    let output = run(&["cameras", "--json", "--config", &config]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("hunter2"), "{said}");
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
    let url = format!("rtsp://admin:hunter2@127.0.0.1:{port}/cam");
    let output = run(&["test-camera", &url]);
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("is not reached"), "{said}");
    assert!(
        !said.contains("hunter2") && !said.contains("admin"),
        "{said}"
    );

    let output = run(&["test-camera", "http://admin:hunter2@127.0.0.1/"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("rtsp://") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn a_clip_that_is_not_there_ends_the_hub_with_its_code() {
    let (_place, config) = configured(
        "[[camera]]\nkind = \"virtual\"\nname = \"a\"\n\
         [[camera]]\nkind = \"file\"\nname = \"b\"\npath = \"nowhere.mp4\"\n",
    );
    let output = run(&["run", "--config", &config]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nowhere.mp4"), "{said}");
}
