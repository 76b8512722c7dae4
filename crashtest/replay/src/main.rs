//! `crashtest-replay`: record a conversation, sweep over its crash states, repeat one.
//!
//! This room is the command line only: arguments in, reports out, an exit code that says whether
//! every state was good.
#![expect(
    clippy::disallowed_methods,
    reason = "A sweep may have a deadline: it is a shell."
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand, ValueEnum};
use crashtest::process::Role;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::any::{self, Marks};
use crashtest_replay::check::{Outcome as Start, Part, Subject, Told};
use crashtest_replay::conversation::{Length, converse, load, save};
use crashtest_replay::ends::Peer;
use crashtest_replay::progress::Progress;
use crashtest_replay::report;
use crashtest_replay::steps;
use crashtest_replay::sweep::{Plan, Report, Talkative, open_files, sweep};
use crashtest_replay::tree::{Inodes, Tree};

/// Crash states from recordings: each one opened by the real recovery and judged.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run relay, hub and app with the recorder and keep the recording.
    Record {
        /// Where to keep it.
        directory: PathBuf,
        /// Events between two restarts.
        #[arg(long, default_value_t = 4)]
        events: usize,
    },
    /// Derive crash states from a recording and open each of them.
    Sweep {
        /// A recording.
        directory: PathBuf,
        /// Different states to open, over all programs; a tenth of them as files with RocksDB.
        #[arg(long, default_value_t = 100_000)]
        states: u64,
        /// For the states that are chosen by dice.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// `2/8` is the third of eight machines that share the work.
        #[arg(long, default_value = "0/1", value_parser = shard)]
        shard: (u32, u32),
        /// Stop after so many minutes.
        #[arg(long)]
        minutes: Option<u64>,
        /// Only this part of each state.
        #[arg(long)]
        part: Option<PartName>,
        /// Go on where an earlier sweep of this recording stopped: what failed then is asked again
        /// first, and totals are of all parts. Only for the same build.
        #[arg(long)]
        resume: bool,
        /// The time is what was planned: states that it does not reach are reported as not covered, and
        /// are no failure.
        #[arg(long, requires = "minutes")]
        open_ended: bool,
        /// Write the totals to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Where failing states are kept.
        #[arg(long, default_value = "failed-states")]
        keep: PathBuf,
    },
    /// Sweep over a recording of any program: a command opens each state and says whether it is good.
    Any {
        /// The trace.
        trace: PathBuf,
        /// A copy of the directory as it was before the recording; empty, if it is not said.
        #[arg(long)]
        before: Option<PathBuf>,
        /// The program does not say what it sends.
        #[arg(long)]
        no_marks: bool,
        /// Different states to open.
        #[arg(long, default_value_t = 10_000)]
        states: u64,
        /// For the states that are chosen by dice.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Write the totals to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Where failing states are kept.
        #[arg(long, default_value = "failed-states")]
        keep: PathBuf,
        /// The command. `{state}` is the directory, `{told}` a file with one mark on each line. Exit
        /// code 0: good; 3: refused, and said what to do; anything else: failed.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Open a state that failed, once more.
    Check {
        /// What a sweep kept.
        directory: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum PartName {
    /// In memory, without the view.
    Log,
    /// As files, with RocksDB.
    Whole,
}

fn shard(text: &str) -> Result<(u32, u32), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(rest, of)| Some((rest.parse().ok()?, of.parse().ok()?)))
        .filter(|(rest, of)| rest < of);
    parsed.ok_or_else(|| "expected something like 0/1 or 2/8".to_owned())
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Record { directory, events } => {
            converse(Length::Events(events)).and_then(|mut recording| {
                save(&recording, &directory)?;
                recording.system_mut().finish()
            })
        }
        Command::Sweep {
            directory,
            states,
            seed,
            shard,
            minutes,
            part,
            resume,
            open_ended,
            json,
            keep,
        } => sweep_all(
            &directory,
            &Wanted {
                states,
                seed,
                shard,
                time_max: minutes.map_or(Duration::MAX, |minutes| {
                    Duration::from_secs(minutes.saturating_mul(60))
                }),
                part,
                resume,
                open_ended,
                keep,
            },
            json.as_deref(),
        ),
        Command::Any {
            trace,
            before,
            no_marks,
            states,
            seed,
            json,
            keep,
            command,
        } => {
            let mut plan = Plan::new(Part::Whole, states, &keep);
            plan.seed = seed;
            plan.talkative = Talkative::Yes;
            let marks = if no_marks { Marks::None } else { Marks::Wanted };
            any::story(&trace, before.as_deref())
                .and_then(|story| any::judge(&story, command, &plan, marks))
                .and_then(|report| {
                    println!("{report}");
                    verdict(&[report], json.as_deref(), false)
                })
        }
        Command::Check { directory } => check(&directory),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::FAILURE
        }
    }
}

/// So many hundredths more states are looked for than are wanted.
const SPARE_PERCENT: u64 = 8;
/// Of every so many states one talks with its peer; see [`Plan::talks_every`].
const TALKS_EVERY: u32 = 8;

struct Wanted {
    states: u64,
    seed: u64,
    shard: (u32, u32),
    time_max: Duration,
    part: Option<PartName>,
    resume: bool,
    open_ended: bool,
    keep: PathBuf,
}

fn sweep_all(directory: &Path, wanted: &Wanted, json: Option<&Path>) -> Outcome<()> {
    let stories = load(directory)?;
    // Tenths of the states, and parts of the time: a state as files takes longer.
    let parts: &[(Part, u64, u32)] = match wanted.part {
        Some(PartName::Log) => &[(Part::Log, 10, 1)],
        Some(PartName::Whole) => &[(Part::Whole, 10, 1)],
        None => &[(Part::Log, 9, 2), (Part::Whole, 1, 1)],
    };
    let programs = Role::ALL;
    let silent = |role: &&Role| stories.of(**role).steps.is_empty();
    if let Some(role) = programs.iter().find(silent) {
        return Err(Trouble::Broken(format!(
            "the recording has nothing of {role}; make another one"
        )));
    }
    let until = Instant::now().checked_add(wanted.time_max);
    let all: u32 = parts.iter().map(|(_, _, share)| share).sum();
    let mut shares_left = all * programs.len() as u32;
    let build = build(directory, wanted.seed)?;
    let mut reports = Vec::new();
    for role in &programs {
        let story = stories.of(*role);
        let subject = Subject::new(*role, &story.steps);
        let peer = stories
            .peer(*role)
            .map(|(role, story)| Peer::new(role, story));
        for (part, tenths, share) in parts {
            // A part that runs dry leaves the others to make up for it.
            let looked_for = wanted.states * tenths * (100 + SPARE_PERCENT);
            let states = looked_for.div_ceil(1_000 * programs.len() as u64);
            let mut plan = Plan::new(*part, states, &wanted.keep);
            plan.seed = wanted.seed;
            plan.talkative = Talkative::Yes;
            plan.shard = wanted.shard;
            plan.recoveries_every = 800;
            plan.talks_every = TALKS_EVERY;
            plan.time_max = until.map_or(Duration::MAX, |until| {
                let rest = until.saturating_duration_since(Instant::now());
                rest * *share / shares_left
            });
            shares_left -= share;
            let (rest, of) = wanted.shard;
            let path = directory.join(format!("{role}-{part:?}-{rest}-of-{of}.progress"));
            let (progress, earlier) = Progress::open(&path, &build, wanted.resume)?;
            (plan.progress, plan.earlier) = (Some(progress), earlier);
            let report = sweep(&subject, story, peer.as_ref(), &plan);
            println!("{report}");
            reports.push(report);
        }
    }
    verdict(&reports, json, wanted.open_ended)?;
    let (_, of) = wanted.shard;
    let unique: u64 = reports.iter().map(|report| report.total().unique).sum();
    let floor = wanted.states / u64::from(of);
    if !wanted.open_ended && unique < floor {
        return Err(Trouble::Broken(format!(
            "NOT COVERED: {unique} different states, and {floor} were wanted; record more events"
        )));
    }
    let talks: u64 = reports.iter().map(|report| report.talks).sum();
    let mute = reports.iter().find(|report| report.marks == 0);
    if talks == 0 || mute.is_some() {
        return Err(Trouble::Broken(
            "NOT COVERED: no state came to talk with its peer, or a program said nothing"
                .to_owned(),
        ));
    }
    Ok(())
}

/// What found states belong to: this very program, the recording, and the dice.
fn build(directory: &Path, seed: u64) -> Outcome<String> {
    use sha2::{Digest as _, Sha256};
    let mut hasher = Sha256::new();
    let own = std::env::current_exe().map_err(Trouble::machine("this program"))?;
    let traces = Role::ALL.map(|role| directory.join(format!("{role}.iotrace")));
    for file in std::iter::once(own).chain(traces) {
        if file.exists() {
            let bytes = std::fs::read(&file).map_err(Trouble::machine("a recording"))?;
            hasher.update(Sha256::digest(&bytes));
        }
    }
    hasher.update(seed.to_le_bytes());
    let digest: String = hasher
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    Ok(digest.chars().take(16).collect())
}

/// Totals, and whether all is good.
fn verdict(reports: &[Report], json: Option<&Path>, open_ended: bool) -> Outcome<()> {
    if let Some(json) = json {
        let text = report::json(reports).to_string();
        std::fs::write(json, text).map_err(Trouble::machine("the totals"))?;
    }
    let unique: u64 = reports.iter().map(|report| report.total().unique).sum();
    let bad = |report: &Report| report.total().failed + report.total().refused;
    let bad: u64 = reports.iter().map(bad).sum();
    println!("{unique} unique states, {bad} of them refused or failed");
    if bad > 0 {
        return Err(Trouble::Broken(format!("{bad} states are not good")));
    }
    let unfinished = reports
        .iter()
        .filter_map(|report| report.unfinished.as_ref());
    let unfinished = unfinished.count();
    if unfinished > 0 && !open_ended {
        return Err(Trouble::Broken(format!(
            "{unfinished} parts opened fewer states than planned; see NOT COVERED"
        )));
    }
    Ok(())
}

fn check(directory: &Path) -> Outcome<()> {
    let machine = || Trouble::machine("the kept state");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).map_err(machine());
    let name = read("role")?;
    let role = Role::ALL
        .into_iter()
        .find(|role| role.program() == name.trim())
        .ok_or_else(|| {
            Trouble::Broken(format!(
                "{name} is not one of our programs; run its own check on {0}/state and {0}/told",
                directory.display()
            ))
        })?;
    let mut told = Told::default();
    let mut placed = Vec::new();
    for (record, words) in read("told")?.lines().enumerate() {
        if told.take(words).is_none() {
            told.unknown.push(words.to_owned());
        }
        placed.push(steps::Placed {
            nanos: 0,
            record,
            step: steps::Step::Mark(words.to_owned()),
        });
    }
    let (tree, Inodes { .. }) = Tree::read(&directory.join("state")).map_err(machine())?;
    let subject = Subject::new(role, &placed);
    let scratch = directory.join("opened");
    let starts = [
        ("in memory", subject.open(&tree, tree.hash())),
        (
            "as files",
            open_files(&subject, &tree, tree.hash(), &scratch),
        ),
    ];
    let mut bad = false;
    for (how, start) in starts {
        match start {
            Start::Opened(facts) => {
                println!("{how}: {facts:#?}");
                for why in subject.unexplained(&facts, &told) {
                    bad = true;
                    println!("{how}: {why}");
                }
            }
            other => {
                bad = true;
                println!("{how}: {other:?}");
            }
        }
    }
    println!("the state as it was opened: {}", scratch.display());
    if bad {
        Err(Trouble::Broken("the state is not good".to_owned()))
    } else {
        Ok(())
    }
}
