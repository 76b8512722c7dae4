//! The program as scripts start it: codes, one object that says why, and readers that have gone.

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
