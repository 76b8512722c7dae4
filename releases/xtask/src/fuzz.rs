//! `cargo xtask fuzz`: every parser of bytes from outside under libFuzzer, each for its time.
//!
//! It wants a nightly toolchain and builds with that, in a target directory of its own: nothing of it is in
//! the gate's build. cargo-fuzz builds where it is installed; else the same flags are given here. The
//! programs are run by this tool either way, several at a time. It must never end well if one of them found
//! something, and never throw a finding away.

mod build;
mod listen;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cargo;
use crate::failure::{Because as _, Failure, Outcome};
use crate::progress::human;
use crate::setup;
use listen::Heard;

/// Minutes for each target.
const MINUTES: u64 = 5;
/// Minutes for each target in the long mode.
const LONG_MINUTES: u64 = 30;
/// An input that takes longer, in seconds, is a finding.
const INPUT_SECONDS_MAX: u64 = 25;
/// A run that takes more memory, in MiB, is a finding.
const MEMORY_MIB_MAX: u64 = 2048;

/// The libFuzzer programs' package.
const PACKAGE: &str = "crashtest/fuzz";

/// What the user asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    minutes: u64,
    targets: BTreeSet<String>,
    jobs: usize,
    json: bool,
}

impl Options {
    fn parse(words: &[String]) -> Outcome<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (mut minutes, mut long) = (None, false);
        let mut options = Self {
            minutes: MINUTES,
            targets: BTreeSet::new(),
            jobs: (threads / 2).max(1),
            json: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let missing = || Failure::usage(format!("{word} wants a value"));
                words.next().cloned().ok_or_else(missing)
            };
            match word.as_str() {
                "--json" => options.json = true,
                "--long" => long = true,
                "--minutes" => minutes = Some(number(word, &value()?)?),
                "--jobs" => options.jobs = usize::try_from(number(word, &value()?)?).unwrap_or(1),
                "--target" => {
                    options.targets.insert(value()?);
                }
                other => return Err(Failure::usage(format!("fuzz: what is `{other}`?"))),
            }
        }
        options.minutes = minutes.unwrap_or(if long { LONG_MINUTES } else { MINUTES });
        Ok(options)
    }
}

fn number(word: &str, text: &str) -> Outcome<u64> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Failure::usage(format!("{word} wants a number above 0"))),
    }
}

/// What became of one target.
struct Run {
    target: String,
    heard: Heard,
    /// Inputs that failed, kept.
    findings: Vec<PathBuf>,
    /// How the program ended, if not well.
    ended: Option<String>,
}

impl Run {
    fn failed(&self) -> bool {
        // One that ran nothing has shown nothing.
        self.ended.is_some() || !self.findings.is_empty() || self.heard.runs == 0
    }

    fn json(&self) -> Value {
        let findings: Vec<String> = self
            .findings
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        json!({
            "target": self.target,
            "runs": self.heard.runs,
            "runs_per_second": self.heard.runs_per_second,
            "coverage": self.heard.coverage,
            "features": self.heard.features,
            "new_inputs": self.heard.new_inputs,
            "peak_mib": self.heard.peak_mib,
            "findings": findings,
            "ended": self.ended,
            "ok": !self.failed(),
        })
    }
}

/// Fuzzes what was asked for, and says what came of it.
pub(crate) fn run(words: &[String]) -> Outcome<()> {
    let options = Options::parse(words)?;
    let all = targets(
        &fs::read_to_string(cargo::root().join(PACKAGE).join("Cargo.toml"))
            .because("the fuzz targets' manifest cannot be read")?,
    );
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        return Err(Failure::usage(format!(
            "no target is called `{unknown}`; there are {}",
            all.join(", ")
        )));
    }
    let wanted: Vec<String> = all
        .into_iter()
        .filter(|name| options.targets.is_empty() || options.targets.contains(name))
        .collect();
    setup::ensure_build_tools()?;
    let place = place();
    let programs = build::programs(&place, &wanted)?;
    let each = Duration::from_secs(options.minutes * 60);
    let rounds = wanted.len().div_ceil(options.jobs);
    eprintln!(
        "{} targets, {} each, {} at a time: about {}",
        wanted.len(),
        human(each),
        options.jobs,
        human(each * u32::try_from(rounds).unwrap_or(u32::MAX)),
    );
    let results = fuzz_all(&place, &programs, &wanted, each, options.jobs)?;
    report(&results, options.json);
    let failed: Vec<&str> = results
        .iter()
        .filter(|result| result.failed())
        .map(|result| result.target.as_str())
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::found(format!(
            "findings in {}; again: PROGRAM INPUT (both are listed above)",
            failed.join(", ")
        ))),
    }
}

/// The names of the programs in the manifest.
fn targets(manifest: &str) -> Vec<String> {
    manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|table| table.lines().find_map(|line| line.strip_prefix("name = ")))
        .map(|name| name.trim_matches('"').to_owned())
        .collect()
}

/// Where programs, inputs and findings are.
fn place() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| cargo::root().join("target"), PathBuf::from);
    target.join("fuzz")
}

/// Some threads take targets off the list until none is left.
fn fuzz_all(
    place: &Path,
    programs: &Path,
    wanted: &[String],
    each: Duration,
    jobs: usize,
) -> Outcome<Vec<Run>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(wanted.len()) {
            scope.spawn(|| {
                while let Some(target) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = fuzz_one(place, programs, target, each);
                    if let Ok(result) = &result {
                        eprintln!("{}", line(result));
                    }
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push(result);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut results = done.into_iter().collect::<Outcome<Vec<Run>>>()?;
    results.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(results)
}

fn fuzz_one(place: &Path, programs: &Path, target: &str, each: Duration) -> Outcome<Run> {
    let corpus = place.join("corpus").join(target);
    let artifacts = place.join("findings").join(target);
    let seeds = cargo::root().join(PACKAGE).join("seeds").join(target);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).because("the folders of a target cannot be made")?;
    }
    let before = files(&artifacts)?;
    let output = Command::new(programs.join(target))
        .arg(&corpus)
        .arg(&seeds)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={}", each.as_secs()))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg("-print_final_stats=1")
        // What fails stands in the program's own words; the tool's environment has no place in it.
        .env("ASAN_OPTIONS", build::ASAN_OPTIONS)
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .because("a libFuzzer program cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let findings: Vec<PathBuf> = files(&artifacts)?.difference(&before).cloned().collect();
    let ended = (!output.status.success()).then(|| output.status.to_string());
    if ended.is_some() {
        let log = artifacts.join("last.log");
        fs::write(&log, said.as_bytes()).because("a finding's words cannot be kept")?;
        let tail = listen::tail(&said);
        eprintln!("{target}: {tail}\n      all of it: {}", log.display());
        for finding in &findings {
            let program = programs.join(target);
            eprintln!("      again: {} {}", program.display(), finding.display());
        }
    }
    Ok(Run {
        target: target.to_owned(),
        heard: listen::heard(&said),
        findings,
        ended,
    })
}

/// The inputs in a folder, without what this tool writes there.
fn files(folder: &Path) -> Outcome<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(folder).because("a folder of inputs cannot be read")?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: std::io::Result<BTreeSet<PathBuf>> = paths.collect();
    let mut paths = paths.because("a folder of inputs cannot be read")?;
    paths.retain(|path| path.extension().is_none_or(|extension| extension != "log"));
    Ok(paths)
}

fn line(result: &Run) -> String {
    let Heard {
        runs,
        runs_per_second,
        coverage,
        new_inputs,
        ..
    } = result.heard;
    let outcome = match result.failed() {
        true => "FOUND SOMETHING",
        false => "ok",
    };
    format!(
        "{:<18}{runs:>12} runs{runs_per_second:>9}/s  coverage {coverage:>6}  new inputs {new_inputs:>5}  {outcome}",
        result.target
    )
}

fn report(results: &[Run], as_json: bool) {
    eprintln!();
    for result in results {
        eprintln!("{}", line(result));
    }
    if as_json {
        let results: Vec<Value> = results.iter().map(Run::json).collect();
        println!("{}", json!({ "fuzz": results }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_understood_or_refused() {
        let options = Options::parse(&words("--long --target frame --json")).unwrap();
        assert_eq!((options.minutes, options.json), (LONG_MINUTES, true));
        assert!(options.targets.contains("frame"));
        let options = Options::parse(&words("--long --minutes 2 --jobs 3")).unwrap();
        assert_eq!((options.minutes, options.jobs), (2, 3));
        for wrong in [
            "--minutes",
            "--minutes x",
            "--minutes 0",
            "--jobs 0",
            "fast",
        ] {
            assert_eq!(
                Options::parse(&words(wrong)).unwrap_err().exit_code(),
                2,
                "{wrong}"
            );
        }
    }

    #[test]
    fn targets_are_read_from_the_manifest() {
        let manifest = "[package]\nname = \"fuzz\"\n\n[[bin]]\nname = \"a\"\npath = \"a.rs\"\n\n[[bin]]\nname = \"b\"\n";
        assert_eq!(targets(manifest), ["a", "b"]);
        let committed = fs::read_to_string(cargo::root().join(PACKAGE).join("Cargo.toml")).unwrap();
        assert!(targets(&committed).contains(&"frame".to_owned()));
    }
}
