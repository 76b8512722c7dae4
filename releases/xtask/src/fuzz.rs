//! `cargo xtask fuzz`: every parser of bytes from outside under libFuzzer, each for its time.
//!
//! It wants a nightly toolchain and builds with that, in a target directory of its own: nothing of it is in
//! the gate's build. cargo-fuzz builds where it is installed; else the same flags are given here. The
//! programs are run by this tool either way, several at a time. What each was worth is kept as soon as it is over
//! ([`outcome`]), and with `--bless` in a document ([`results`]). It must never end well if one of them found
//! something, and never throw a finding away.

mod build;
mod listen;
mod outcome;
mod results;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cargo;
use crate::commit;
use crate::failure::{Because as _, Failure, Outcome};
use crate::progress::human;
use crate::setup;
use listen::Heard;
use outcome::Run;

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
    resume: bool,
    bless: bool,
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
            resume: false,
            bless: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let missing = || Failure::usage(format!("{word} wants a value"));
                words.next().cloned().ok_or_else(missing)
            };
            match word.as_str() {
                "--json" => options.json = true,
                "--resume" => options.resume = true,
                "--bless" => options.bless = true,
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
        if options.bless && options.minutes < MINUTES {
            return Err(Failure::usage(format!(
                "--bless keeps what {MINUTES} minutes of each target are worth, or more"
            )));
        }
        Ok(options)
    }
}

fn number(word: &str, text: &str) -> Outcome<u64> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Failure::usage(format!("{word} wants a number above 0"))),
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
    let commit = commit::name(&[results::DOCUMENT]);
    if options.bless {
        commit::check(&commit)?;
    }
    let place = place();
    let (mut results, mut wanted) = (Vec::new(), Vec::new());
    for target in &all {
        if !options.targets.is_empty() && !options.targets.contains(target) {
            continue;
        }
        let kept = Run::kept(&place, target).filter(|_| options.resume);
        match kept.filter(|run| run.stands_for(&commit, options.minutes)) {
            Some(run) => results.push(run),
            None => wanted.push(target.clone()),
        }
    }
    if !results.is_empty() {
        eprintln!("{} targets have run already, on this commit", results.len());
    }
    if !wanted.is_empty() {
        setup::ensure_build_tools()?;
        let programs = build::programs(&place, &wanted)?;
        let campaign = Campaign {
            place: &place,
            programs: &programs,
            commit: &commit,
            minutes: options.minutes,
        };
        results.extend(campaign.run_all(&wanted, options.jobs)?);
        results.sort_by(|a, b| a.target.cmp(&b.target));
    }
    report(&results, options.json);
    if options.bless {
        results::bless(&results, &all)?;
    }
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

/// What all runs of one call have in common.
struct Campaign<'a> {
    place: &'a Path,
    programs: &'a Path,
    commit: &'a str,
    minutes: u64,
}

impl Campaign<'_> {
    /// How long each target runs.
    fn each(&self) -> Duration {
        Duration::from_secs(self.minutes * 60)
    }

    /// Some threads take targets off the list until none is left.
    fn run_all(&self, wanted: &[String], jobs: usize) -> Outcome<Vec<Run>> {
        let each = self.each();
        let rounds = wanted.len().div_ceil(jobs);
        eprintln!(
            "{} targets, {} each, {jobs} at a time: about {}",
            wanted.len(),
            human(each),
            human(each * u32::try_from(rounds).unwrap_or(u32::MAX)),
        );
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..jobs.min(wanted.len()) {
                scope.spawn(|| {
                    while let Some(target) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.run(target).and_then(|run| {
                            eprintln!("{}", line(&run));
                            run.keep(self.place).map(|()| run)
                        });
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        done.push(result);
                    }
                });
            }
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.into_iter().collect()
    }

    fn run(&self, target: &str) -> Outcome<Run> {
        let corpus = self.place.join("corpus").join(target);
        let artifacts = self.place.join("findings").join(target);
        let seeds = cargo::root().join(PACKAGE).join("seeds").join(target);
        for folder in [&corpus, &artifacts] {
            fs::create_dir_all(folder).because("the folders of a target cannot be made")?;
        }
        let before = files(&artifacts)?;
        let program = self.programs.join(target);
        let output = Command::new(&program)
            .arg(&corpus)
            .arg(&seeds)
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .arg(format!("-max_total_time={}", self.each().as_secs()))
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
                eprintln!("      again: {} {}", program.display(), finding.display());
            }
        }
        Ok(Run {
            target: target.to_owned(),
            commit: self.commit.to_owned(),
            minutes: self.minutes,
            heard: listen::heard(&said),
            findings,
            ended,
        })
    }
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
        assert!(!options.bless && !options.resume);
        assert!(options.targets.contains("frame"));
        let options = Options::parse(&words("--long --minutes 2 --jobs 3")).unwrap();
        assert_eq!((options.minutes, options.jobs), (2, 3));
        let options = Options::parse(&words("--bless --resume --jobs 2")).unwrap();
        assert!(options.bless && options.resume && options.minutes == MINUTES);
        for wrong in [
            "--minutes",
            "--minutes x",
            "--minutes 0",
            "--jobs 0",
            "--bless --minutes 1",
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
