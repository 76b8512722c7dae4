//! The model's mistakes in the real programs: where the programs have the same one, it must part
//! them by the same promise at the crash that the model names, and they must pass without it.
//!
//! This room must never judge: the harness's oracle does, and what it prints is read here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bugs::Real;

/// A name under which no program has a mistake: the same run without one.
const NO_MUTANT: &str = "none";

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Parted with the mistake, by its promise; passed without.
    Parted,
    /// The programs with the mistake broke no such promise.
    Survived(String),
    /// They fail without it too.
    FailsAnyway(String),
    /// The harness could not be run.
    NoHarness(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parted => write!(f, "parts the programs, and without it they pass"),
            Self::Survived(said) => write!(f, "SURVIVED: {said}"),
            Self::FailsAnyway(said) => write!(f, "FAILED without the mistake: {said}"),
            Self::NoHarness(why) => write!(f, "NOT COVERED: {why}"),
        }
    }
}

/// The programs of one build that are asked.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `secluso-crashtest`: the real processes.
    pub processes: PathBuf,
    /// `simulate`: their cores.
    pub cores: PathBuf,
}

impl Programs {
    /// Those in a directory.
    #[must_use]
    pub fn of(place: &Path) -> Self {
        Self {
            processes: place.join("secluso-crashtest"),
            cores: place.join("simulate"),
        }
    }

    /// Those of the same build.
    #[must_use]
    pub fn beside() -> Self {
        let own = std::env::current_exe().unwrap_or_default();
        Self::of(own.parent().unwrap_or_else(|| Path::new(".")))
    }
}

/// Runs one with the mistake and one without; `None` if it is not to be planted.
#[must_use]
pub fn play(programs: &Programs, real: &Real) -> Option<Verdict> {
    match *real {
        Real::Processes {
            mutant,
            workload,
            crash,
            promise,
        } => {
            let run = |mutant: &str| run(&programs.processes, mutant, workload, crash);
            Some(processes(run, mutant, promise))
        }
        Real::Cores { mutant, promise } => Some(cores(&programs.cores, mutant, promise)),
        Real::Not(_) => None,
    }
}

fn processes(run: impl Fn(&str) -> Result<String, String>, mutant: &str, promise: &str) -> Verdict {
    let with = match run(mutant) {
        Ok(said) => said,
        Err(why) => return Verdict::NoHarness(why),
    };
    if !with.contains(&format!("promise: \"{promise}\"")) {
        return Verdict::Survived(shortened(&with));
    }
    match run(NO_MUTANT) {
        Ok(said) if said.contains(": Pass") => Verdict::Parted,
        Ok(said) => Verdict::FailsAnyway(shortened(&said)),
        Err(why) => Verdict::NoHarness(why),
    }
}

/// The simulation seeks the schedule itself, and plays it without the mistake too.
fn cores(program: &Path, mutant: &str, promise: &str) -> Verdict {
    let output = Command::new(program)
        .args(["mutants", mutant, "--json"])
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            let name = program.display();
            return Verdict::NoHarness(format!("{name} cannot be started: {error}"));
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let value: Value = match text.lines().last().map(serde_json::from_str) {
        Some(Ok(value)) => value,
        _ => return Verdict::NoHarness("the simulation said nothing".to_owned()),
    };
    let found = &value["mutants"][0];
    let caught = found["caught"] == true && found["promise"] == promise;
    match caught && output.status.success() {
        true => Verdict::Parted,
        false => Verdict::Survived(shortened(&text)),
    }
}

fn run(program: &Path, mutant: &str, workload: &str, crash: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(["mutant", mutant, workload])
        .args(crash)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("the harness ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shortened(said: &str) -> String {
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(400).collect()
}
