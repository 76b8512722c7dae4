//! The program as people start it: exit codes, one clear line, nothing asked. What it wrote and printed is searched at
//! the end of each test.

use std::process::{Command, Output};

use crashtest_canary::Place;

/// What somebody types who has no code.
const CODE: &str = "SECLUSO1:nonsense";

fn app() -> Command {
    Command::new(env!("CARGO_BIN_EXE_secluso-app"))
}

fn run(place: &Place, arguments: &[&str], dir: &std::path::Path) -> Output {
    place.output(app().arg("--dir").arg(dir).args(arguments))
}

fn refused(output: &Output, code: i32, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
}

#[test]
fn what_cannot_be_done_is_one_line_and_a_code() {
    let place = Place::new();
    place.seek("a pairing code", CODE.as_bytes());
    let dir = place.path().join("app");
    for command in ["sync", "clips", "status"] {
        refused(&run(&place, &[command], &dir), 6, "not paired");
        assert!(!dir.exists(), "{command} made a directory");
    }
    refused(
        &run(&place, &["export", "nonsense", "x.mp4"], &dir),
        2,
        "hexadecimal digits",
    );
    refused(
        &run(&place, &["pair", CODE, "--json"], &dir),
        6,
        "this pairing code was refused",
    );
    // The attempt made a directory; still nothing is paired.
    refused(&run(&place, &["status", "--json"], &dir), 6, "not paired");
    let unknown = "0123456789abcdef0123456789abcdef";
    for unknown in [unknown, &unknown[..12]] {
        refused(
            &run(&place, &["export", unknown, "x.mp4"], &dir),
            2,
            "no clip",
        );
        refused(&run(&place, &["delete", unknown], &dir), 2, "no clip");
    }
    // What was given may be the whole of it, and is not said again.
    let said = run(&place, &["delete", unknown, "--json"], &dir);
    assert!(!String::from_utf8_lossy(&said.stdout).contains(unknown));
    assert!(!String::from_utf8_lossy(&said.stderr).contains(unknown));
    let clips = run(&place, &["clips", "--json"], &dir);
    assert_eq!(clips.status.code(), Some(0));
    assert_eq!(clips.stdout, b"{\"clips\":[]}\n");
    std::fs::write(place.path().join("photo.jpg"), b"x").unwrap();
    refused(&run(&place, &["pair", "x"], place.path()), 2, "other files");
    // Nobody is told to pair, or to check the disk, for a path that cannot be.
    let through_a_file = place.path().join("photo.jpg/app");
    for command in [&["status"][..], &["pair", "x"]] {
        let output = run(&place, command, &through_a_file);
        refused(&output, 2, "correct the path");
    }
    let doctor = run(&place, &["doctor"], &through_a_file);
    assert_eq!(doctor.status.code(), Some(2), "{doctor:?}");
}

#[test]
fn a_failure_is_one_object_for_scripts() {
    let place = Place::new();
    let dir = place.path().join("app");
    assert_eq!(run(&place, &["status"], &dir).stdout, b"");
    let said = run(&place, &["status", "--json"], &dir).stdout;
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["\"event\":\"error\"", "\"exit_code\":6", "not paired"] {
        assert!(said.contains(part), "{said}");
    }
}

/// A command line that cannot be read is a failure like any other.
#[test]
fn wrong_use_is_one_object_for_scripts() {
    let place = Place::new();
    let dir = place.path().join("app");
    let output = run(&place, &["status", "--bogus"], &dir);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let output = run(&place, &["status", "--bogus", "--json"], &dir);
    refused(&output, 2, "--bogus");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["\"event\":\"error\"", "\"exit_code\":2", "--bogus"] {
        assert!(said.contains(part), "{said}");
    }
    // Beside the pictures, where they would have come.
    let output = run(&place, &["live", "--bogus", "--json"], &dir);
    refused(&output, 2, "{\"event\":\"error\"");
    assert_eq!(output.stdout, b"");
}

#[test]
fn beside_pictures_on_stdout_a_failure_is_one_line_on_stderr() {
    let place = Place::new();
    let dir = place.path().join("app");
    for (words, begins) in [
        (&["live"][..], "secluso-app: "),
        (&["live", "--json"][..], "{\"event\":\"error\""),
    ] {
        let output = run(&place, words, &dir);
        refused(&output, 6, "not paired");
        assert!(output.stderr.starts_with(begins.as_bytes()), "{output:?}");
        assert_eq!(output.stdout, b"");
    }
    // Where a file has the pictures, stdout has the facts.
    let file = place.path().join("live.mp4").display().to_string();
    let output = run(&place, &["live", "--out", &file, "--json"], &dir);
    refused(&output, 6, "secluso-app: ");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\"event\":\"error\""), "{said}");
}

#[test]
fn completions_for_a_reader_that_has_gone_are_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let place = Place::new();
    let output = place.output(app().args(["completions", "bash"]).stdout(writer));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
}

#[test]
fn the_doctor_names_what_is_wrong() {
    let place = Place::new();
    let output = run(&place, &["doctor", "--json"], &place.path().join("app"));
    assert_eq!(output.status.code(), Some(6));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("\"check\":\"directory\"") && text.contains("\"verdict\":\"bad\""),
        "{text}"
    );
}
