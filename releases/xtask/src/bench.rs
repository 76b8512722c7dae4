//! `cargo xtask bench`: ratios against the yardsticks in one run, and what was promised of the programs together.
//!
//! Another program measures and judges (`journal/bench`); this room builds what that needs, and with `--bless` keeps
//! what it found in a document ([`results`]). Outside the gate: it links SQLite and wants a quiet machine. It must never
//! end well where a target was missed or nothing was measured, but for a quick look.

mod results;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cargo;
use crate::commit;
use crate::failure::{Because as _, Failure, Outcome};
use crate::progress::Steps;
use crate::setup;

/// Keeps the figures.
const BLESS: &str = "--bless";

/// Measures what was asked for.
pub(crate) fn run(words: &[String]) -> Outcome<()> {
    let (keeps, words) = without_bless(words)?;
    let commit = commit::name(&[results::DOCUMENT]);
    if keeps {
        commit::check(&commit)?;
    }
    let is_whole = runs_whole(&words);
    let mut steps = Steps::counted(if is_whole { 4 } else { 3 });
    steps.step("set-up", setup::ensure_build_tools)?;
    if is_whole {
        // It runs them, from where it lies itself.
        steps.step("build the programs", || cargo::build_programs().map(drop))?;
    }
    // A build of its own, because SQLite's dependencies beside RocksDB's would build that again.
    let sqlite = [
        "build",
        "--locked",
        "--package",
        "yardstick",
        "--features",
        "sqlite",
    ];
    steps.step("the SQLite yardstick", || cargo::run(&sqlite))?;
    let file = figures_file()?;
    let place = file.display().to_string();
    let mut arguments = vec!["run", "--locked", "--package", "bench", "--"];
    arguments.extend(words.iter().map(String::as_str));
    arguments.extend(["--figures", &place]);
    let result = steps.step("benchmarks", || {
        cargo::run(&arguments).map_err(|failure| shortfall(&file).unwrap_or(failure))
    });
    steps.summary(&[]);
    match found(&file) {
        Some(found) if keeps => results::bless(&found, &commit)?,
        // Without figures the benchmarks have failed, and say so.
        Some(_) | None => {}
    }
    result
}

/// Whether figures are to be kept, and the words that are the other program's.
fn without_bless(words: &[String]) -> Outcome<(bool, Vec<String>)> {
    let keeps = words.iter().any(|word| word == BLESS);
    if keeps && words.iter().any(|word| word == "--quick") {
        let sentence = "--bless keeps the figures of a whole run, and --quick is none";
        return Err(Failure::usage(sentence));
    }
    let others = words.iter().filter(|word| *word != BLESS);
    Ok((keeps, others.cloned().collect()))
}

/// Where the other program writes its figures down; nothing is there yet.
fn figures_file() -> Outcome<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| cargo::root().join("target"), PathBuf::from);
    fs::create_dir_all(&target).because("the folder of figures cannot be made")?;
    // The other program is run from the root, wherever this one is.
    let target = std::path::absolute(target).because("the folder of figures cannot be found")?;
    let file = target.join("bench-figures.json");
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).because("old figures cannot be removed")
        }
        _ => Ok(file),
    }
}

/// The figures, if the other program has come so far.
fn found(file: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

/// Why a run whose figures are there has failed.
fn shortfall(file: &Path) -> Option<Failure> {
    let found = found(file)?;
    let keys = |list: &str| {
        let keys = found[list].as_array().map(Vec::as_slice);
        let keys = keys.unwrap_or_default().iter().filter_map(Value::as_str);
        keys.collect::<Vec<_>>().join(", ")
    };
    let (missed, unknown) = (keys("missed"), keys("not_measured"));
    let sentence = match (missed.is_empty(), unknown.is_empty()) {
        (true, true) => return None,
        (false, true) => format!("targets missed: {missed}"),
        (true, false) => format!("not measured: {unknown}"),
        (false, false) => format!("targets missed: {missed}; not measured: {unknown}"),
    };
    Some(Failure::found(sentence))
}

/// Whether benchmarks with these arguments run the programs together.
fn runs_whole(arguments: &[String]) -> bool {
    let mut only = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--only=") {
            Some(part) => only.push(part),
            None if argument == "--only" => only.extend(arguments.next().map(String::as_str)),
            None => {}
        }
    }
    only.is_empty() || only.contains(&"whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn benchmarks_need_the_programs_only_if_they_run_them() {
        for line in [
            "",
            "--quick --json",
            "--only seal --only whole",
            "--only=whole",
        ] {
            assert!(runs_whole(&words(line)), "{line}");
        }
        for line in ["--only seal", "--json --only=epoch", "--only seal --quick"] {
            assert!(!runs_whole(&words(line)), "{line}");
        }
    }

    #[test]
    fn figures_of_a_quick_look_are_not_kept() {
        let (keeps, others) = without_bless(&words("--only seal --bless --json")).unwrap();
        assert!(keeps);
        assert_eq!(others, words("--only seal --json"));
        let (keeps, others) = without_bless(&words("--quick")).unwrap();
        assert!(!keeps && others == words("--quick"));
        let refused = without_bless(&words("--quick --bless")).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
    }

    #[test]
    fn what_was_missed_or_not_measured_is_named() {
        let name = format!("xtask-bench-{}.json", std::process::id());
        let file = std::env::temp_dir().join(name);
        let said = |text: &str| {
            fs::write(&file, text).unwrap();
            shortfall(&file).map(|failure| (failure.exit_code(), failure.to_string()))
        };
        let both = said(r#"{"missed": ["a", "b"], "not_measured": ["c"]}"#);
        let sentence = "targets missed: a, b; not measured: c".to_owned();
        assert_eq!(both, Some((1, sentence)));
        assert_eq!(said(r#"{"missed": [], "not_measured": []}"#), None);
        assert_eq!(said("half a li"), None);
        fs::remove_file(&file).unwrap();
        assert!(shortfall(&file).is_none());
    }
}
