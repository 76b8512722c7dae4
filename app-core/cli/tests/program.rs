//! The program as people start it: exit codes, one clear line, nothing asked.

use std::process::{Command, Output};

fn run(arguments: &[&str], dir: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secluso-app"))
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap()
}

fn refused(output: &Output, code: i32, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
}

#[test]
fn what_cannot_be_done_is_one_line_and_a_code() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("app");
    for command in ["sync", "clips", "status"] {
        refused(&run(&[command], &dir), 6, "not paired");
        assert!(!dir.exists(), "{command} made a directory");
    }
    refused(
        &run(&["export", "nonsense", "x.mp4"], &dir),
        2,
        "32 hexadecimal digits",
    );
    refused(
        &run(&["pair", "SECLUSO1:nonsense", "--json"], &dir),
        6,
        "this pairing code was refused",
    );
    // The attempt made a directory; still nothing is paired.
    refused(&run(&["status", "--json"], &dir), 6, "not paired");
    let unknown = "0123456789abcdef0123456789abcdef";
    refused(&run(&["export", unknown, "x.mp4"], &dir), 2, "no clip");
    refused(&run(&["delete", unknown], &dir), 2, "no clip");
    let clips = run(&["clips", "--json"], &dir);
    assert_eq!(clips.status.code(), Some(0));
    assert_eq!(clips.stdout, b"{\"clips\":[]}\n");
    std::fs::write(place.path().join("photo.jpg"), b"x").unwrap();
    refused(&run(&["pair", "x"], place.path()), 2, "other files");
    // Nobody is told to pair, or to check the disk, for a path that cannot be.
    let through_a_file = place.path().join("photo.jpg/app");
    for command in [&["status"][..], &["pair", "x"]] {
        refused(&run(command, &through_a_file), 2, "correct the path");
    }
    let doctor = run(&["doctor"], &through_a_file);
    assert_eq!(doctor.status.code(), Some(2), "{doctor:?}");
}

#[test]
fn a_failure_is_one_object_for_scripts() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("app");
    assert_eq!(run(&["status"], &dir).stdout, b"");
    let said = run(&["status", "--json"], &dir).stdout;
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["\"event\":\"error\"", "\"exit_code\":6", "not paired"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn completions_for_a_reader_that_has_gone_are_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_secluso-app"))
        .args(["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}

#[test]
fn the_doctor_names_what_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    let output = run(&["doctor", "--json"], &place.path().join("app"));
    assert_eq!(output.status.code(), Some(6));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("\"check\":\"directory\"") && text.contains("\"verdict\":\"bad\""),
        "{text}"
    );
}
