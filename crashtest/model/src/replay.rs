//! The model's mistakes in the real programs: where the programs have the same one, it must part
//! them by the same promise at the crash that the model names, and they must pass without it.
//!
//! This room must never judge: the harness's oracle does, and what it prints is read here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// The harness of the same build.
#[must_use]
pub fn beside() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("secluso-crashtest")
}

/// Runs one with the mistake and one without.
#[must_use]
pub fn play(program: &Path, real: &Real, promise: &str) -> Verdict {
    let number = promise.split(' ').next().unwrap_or(promise);
    let with = match run(program, real.mutant, real) {
        Ok(said) => said,
        Err(why) => return Verdict::NoHarness(why),
    };
    if !with.contains(&format!("promise: \"{number}\"")) {
        return Verdict::Survived(shortened(&with));
    }
    match run(program, NO_MUTANT, real) {
        Ok(said) if said.contains(": Pass") => Verdict::Parted,
        Ok(said) => Verdict::FailsAnyway(shortened(&said)),
        Err(why) => Verdict::NoHarness(why),
    }
}

fn run(program: &Path, mutant: &str, real: &Real) -> Result<String, String> {
    let output = Command::new(program)
        .args(["mutant", mutant, real.workload])
        .args(real.crash)
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
