//! Runs cargo: one selection of packages, one profile, one target directory for everything.
//!
//! Demo, tests and lints must share what they build, because a second copy of RocksDB's C++ costs
//! minutes. So every call in this tool goes through here, and this room never passes a feature, a
//! profile or a target directory of its own.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Because, Failure, Outcome};

/// The packages that every gate builds. `bench` links the yardsticks (SQLite among them), which no
/// gate should wait for.
pub(crate) const SELECTION: [&str; 4] = ["--workspace", "--exclude", "bench", "--locked"];

/// What the demo builds. `--examples` selects nothing (there are no examples), but it makes cargo
/// unify features as `cargo test` does, so that nothing is compiled twice. `--lib` is for the crash
/// recorder, a library that nothing links.
const PROGRAM_TARGETS: [&str; 3] = ["--lib", "--bins", "--examples"];

/// The checkout's root.
pub(crate) fn root() -> PathBuf {
    // The tool lives two levels below the root; it is always run from its own checkout.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .ancestors()
        .nth(2)
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// A cargo command in the checkout's root, with what `cargo run` put into our environment taken
/// out again: build scripts of the nested run must see what they would see without us.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs cargo with its output going where ours goes; on a terminal cargo draws its own live line.
pub(crate) fn run(arguments: &[&str]) -> Outcome<()> {
    run_with(arguments, &[])
}

/// As [`run`], with extra environment variables.
pub(crate) fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome<()> {
    let mut command = command(arguments);
    command.envs(environment.iter().copied());
    let status = command.status().because("cannot start cargo")?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::found(format!(
        "`cargo {}` failed",
        arguments.join(" ")
    )))
}

/// A line on stderr, and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Since the command began.
    pub(crate) at: Duration,
    pub(crate) text: String,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) stdout: String,
    pub(crate) stderr: Vec<Line>,
    /// How long each test program of it ran, if somebody has looked.
    pub(crate) programs: Vec<(String, Duration)>,
    /// How long it ran.
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome<()>,
}

impl Default for Heard {
    /// Nothing was said, and nothing was wrong.
    fn default() -> Self {
        Self {
            stdout: String::new(),
            stderr: Vec::new(),
            programs: Vec::new(),
            took: Duration::ZERO,
            outcome: Ok(()),
        }
    }
}

/// How what a command prints is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Line by line.
    Lines,
    /// What a test program prints at once, when it has ended: for one of two runs that share a terminal.
    Blocks,
}

/// As [`run`]; what it says also comes back, whatever became of it.
pub(crate) fn run_heard(arguments: &[&str], manner: Manner) -> Outcome<Heard> {
    let mut command = command(arguments);
    let (mut heard, success) = hear(&mut command, manner).because("cannot run cargo")?;
    if !success {
        let words = arguments.join(" ");
        heard.outcome = Err(Failure::found(format!("`cargo {words}` failed")));
    }
    Ok(heard)
}

/// Runs a command, passes on both of its outputs, and remembers them.
fn hear(command: &mut Command, manner: Manner) -> io::Result<(Heard, bool)> {
    let began = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut said = String::new();
    // Each output has a reader of its own: whoever filled the one that nobody reads would wait for ever.
    let lines = std::thread::scope(|scope| {
        let errors = scope.spawn(|| {
            let mut lines = Vec::new();
            each_line(stderr, |text| {
                eprintln!("{text}");
                let at = began.elapsed();
                lines.push(Line { at, text });
            });
            lines
        });
        let mut shown = 0;
        each_line(stdout, |text| {
            said.push_str(&text);
            said.push('\n');
            if manner == Manner::Lines || text.starts_with("test result: ") {
                print!("{}", &said[shown..]);
                shown = said.len();
            }
        });
        print!("{}", &said[shown..]);
        // It panics only where stderr is closed, and then nobody can be told.
        errors.join().unwrap_or_default()
    });
    let status = child.wait()?;
    let heard = Heard {
        stdout: said,
        stderr: lines,
        took: began.elapsed(),
        ..Heard::default()
    };
    Ok((heard, status.success()))
}

/// Tests may print any bytes; what is no UTF-8 is shown as well as it can be.
fn each_line(output: Option<impl Read>, mut line: impl FnMut(String)) {
    let Some(output) = output else { return };
    for bytes in BufReader::new(output).split(b'\n') {
        let Ok(bytes) = bytes else { return };
        line(String::from_utf8_lossy(&bytes).into_owned());
    }
}

/// Runs cargo and returns its stdout; stderr is shown only when it fails.
pub(crate) fn output(arguments: &[&str]) -> Outcome<String> {
    let output = command(arguments).output().because("cannot start cargo")?;
    if output.status.success() {
        return String::from_utf8(output.stdout).because("cargo's answer is not UTF-8");
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Failure::found(format!(
        "`cargo {}` failed:\n{stderr}",
        arguments.join(" ")
    )))
}

/// Builds all programs and returns where each lies, by name.
pub(crate) fn build_programs() -> Outcome<BTreeMap<String, PathBuf>> {
    let mut arguments = vec!["build"];
    arguments.extend(SELECTION);
    arguments.extend(PROGRAM_TARGETS);
    arguments.push("--message-format=json-render-diagnostics");
    let output = command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .because("cannot start cargo")?;
    if !output.status.success() {
        return Err(Failure::found(format!(
            "`cargo {}` failed",
            arguments.join(" ")
        )));
    }
    let stdout = String::from_utf8(output.stdout).because("cargo's answer is not UTF-8")?;
    Ok(stdout.lines().filter_map(program_of_message).collect())
}

/// The name and place of a program that one line of cargo's JSON reports, if it reports one.
fn program_of_message(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    let executable = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), PathBuf::from(executable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargo_messages() {
        let artifact = r#"{"reason":"compiler-artifact","target":{"name":"secluso-hub"},"executable":"/t/debug/secluso-hub"}"#;
        let library = r#"{"reason":"compiler-artifact","target":{"name":"wal"},"executable":null}"#;
        let want = (
            "secluso-hub".to_owned(),
            PathBuf::from("/t/debug/secluso-hub"),
        );
        assert_eq!(program_of_message(artifact), Some(want));
        assert_eq!(program_of_message(library), None);
        assert_eq!(program_of_message("Compiling wal"), None);
    }

    #[test]
    fn both_outputs_are_heard_whatever_becomes_of_the_command() {
        // More than a pipe holds, on the output that is not read first.
        let script =
            "echo one; echo 'NOT COVERED: a: b' >&2; seq 20000 >&2; printf '\\377x'; exit 3";
        let (heard, success) =
            hear(Command::new("sh").args(["-c", script]), Manner::Blocks).unwrap();
        assert!(!success);
        assert_eq!(heard.stdout, "one\n\u{fffd}x\n");
        assert_eq!(heard.stderr.len(), 20_001);
        assert_eq!(heard.stderr[0].text, "NOT COVERED: a: b");
        assert!(heard.stderr.is_sorted_by_key(|line| line.at));
        assert!(heard.took >= heard.stderr[20_000].at);
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
