//! Somebody else's program: a command opens a state and says whether it is good.
//!
//! This room knows nothing of the program but its exit code and its last words. It ends a command
//! that does not come to an end.
#![expect(
    clippy::disallowed_methods,
    reason = "A command that hangs is ended by the clock: this is a shell."
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::check::{Facts, Outcome};
use crate::tree::Tree;

/// The exit code that means: refused, and said what to do.
pub const REFUSED: i32 = 3;
/// A start that takes longer is stuck.
const START_MAX: Duration = Duration::from_secs(30);
/// How often a running command is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// The end of what a command says that is kept, in bytes.
const SAID_BYTES: usize = 500;

/// Writes a state and what had been told into `place`, which is emptied before, and asks a command.
/// In its words `{state}` is the directory and `{told}` a file with one mark on each line.
#[must_use]
pub fn ask(words: &[String], tree: &Tree, told: &[&str], place: &Path) -> Outcome {
    match run(words, tree, told, place) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Broken(format!("the harness: {error}")),
    }
}

fn run(words: &[String], tree: &Tree, told: &[&str], place: &Path) -> std::io::Result<Outcome> {
    match std::fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let state = place.join("state");
    tree.write(&state)?;
    let list = place.join("told");
    let mut lines = told.join("\n");
    lines.push('\n');
    std::fs::write(&list, lines)?;
    let filled = words.iter().map(|word| {
        word.replace("{state}", &state.to_string_lossy())
            .replace("{told}", &list.to_string_lossy())
    });
    let filled: Vec<String> = filled.collect();
    let Some((program, arguments)) = filled.split_first() else {
        return Ok(Outcome::Broken("no command was given".to_owned()));
    };
    let said = place.join("said");
    let output = std::fs::File::create(&said)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let code = wait(child)?;
    let said = std::fs::read(&said)?;
    let from = said.len().saturating_sub(SAID_BYTES);
    let said = String::from_utf8_lossy(said.get(from..).unwrap_or_default());
    let said = said.trim().to_owned();
    Ok(match code {
        Some(0) => Outcome::Opened(Facts::default()),
        Some(REFUSED) => Outcome::Refused(said),
        Some(code) => Outcome::Broken(format!("exit code {code}: {said}")),
        None => Outcome::Broken(format!("killed, or longer than {START_MAX:?}: {said}")),
    })
}

/// Its exit code; none if a signal ended it, ours included.
fn wait(mut child: Child) -> std::io::Result<Option<i32>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if begun.elapsed() > START_MAX {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
