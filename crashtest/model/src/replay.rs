//! The model's mistakes in the real programs: where the programs have the same one, it must part
//! them by the same promise at the crash that the model names, or on the model's own way, and they must
//! pass without it.
//!
//! This room must never judge: the harness's oracle does, and what it prints is read here.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bugs::{Planted, Real, Script};

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
pub fn play(programs: &Programs, planted: &Planted) -> Option<Verdict> {
    match planted.real {
        Real::Processes {
            mutant,
            workload,
            crash,
            promise,
        } => {
            let run = |mutant: &str| run(&programs.processes, mutant, workload, crash);
            Some(processes(run, mutant, promise))
        }
        Real::Script { mutant, promise } => Some(match planted.script() {
            Some(script) => {
                let run = |mutant: Option<&str>| follow(&programs.cores, &script.text, mutant);
                scripted(run, &script, mutant, promise)
            }
            None => Verdict::NoHarness("the model finds no way".to_owned()),
        }),
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

/// With the mistake every step is done and the promise is broken. Without it none is; and what the design
/// does on its way, the cores do too: they refuse no step before the first that the model refuses.
fn scripted(
    run: impl Fn(Option<&str>) -> Result<Value, String>,
    script: &Script,
    mutant: &str,
    promise: &str,
) -> Verdict {
    let with = match run(Some(mutant)) {
        Ok(said) => said,
        Err(why) => return Verdict::NoHarness(why),
    };
    // The model's promise breaks at the end of its way: in the last step, or when the cores come to rest.
    let at_the_end = match with["broken_in"].as_u64() {
        Some(step) => with["steps"].as_u64() == Some(step + 1),
        None => with["done"] == with["steps"],
    };
    let refused_none = with["refused"] == Value::Array(Vec::new());
    if with["promise"] != promise || !at_the_end || !refused_none {
        return Verdict::Survived(shortened(&with.to_string()));
    }
    let without = match run(None) {
        Ok(said) => said,
        Err(why) => return Verdict::NoHarness(why),
    };
    let first = without["refused"][0]["step"].as_u64();
    let may = script.first_refused.map(|index| index as u64);
    let as_the_model = match (first, may) {
        (Some(first), Some(may)) => first >= may,
        (Some(_), None) => false,
        (None, _) => true,
    };
    match without["promise"].is_null() && as_the_model {
        true => Verdict::Parted,
        false => Verdict::FailsAnyway(shortened(&without.to_string())),
    }
}

/// Gives a script to the cores.
fn follow(program: &Path, script: &str, mutant: Option<&str>) -> Result<Value, String> {
    let name = program.display();
    let failed = |error: std::io::Error| format!("{name} cannot be started: {error}");
    let mut command = Command::new(program);
    command.args(["script", "-", "--json"]);
    if let Some(mutant) = mutant {
        command.args(["--mutant", mutant]);
    }
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever does not read it says below why.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().last().map(serde_json::from_str) {
        Some(Ok(value)) => Ok(value),
        _ => Err(shortened(&String::from_utf8_lossy(&output.stderr))),
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
