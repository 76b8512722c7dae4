//! Disk errors on real files: one machine of the simulation lives on real files and RocksDB, in a
//! process of its own with the recorder preloaded, which makes one operation fail.
//!
//! Every operation is tried, of every sort that the process makes, with each error; the same oracle
//! as in the simulation judges the whole conversation afterwards. How many there are is counted first,
//! in a run in which none fails. This room starts the processes and counts; it must never take a run
//! for tried in which nothing failed.
#![expect(
    clippy::disallowed_methods,
    reason = "It owns real processes: it waits for them on a real clock and has two threads."
)]

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crashtest::fault::{self, Kind, Operations};
use crashtest::progress::Progress;
use crashtest::shard::Shard;
use journal::Suite;
use serde_json::{Map, Value};

use crate::files;
use crate::plan::Who;
use crate::run;

mod found;
mod kept;

pub use found::{Counts, Found};

/// Runs at a time: half of the time each of them waits for its disk.
const WORKERS: usize = 4;
/// A run that takes longer is counted as hung. Usually it takes a third of a second.
const RUN_MAX: Duration = Duration::from_secs(60);

/// One operation that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Whose.
    pub who: Who,
    /// How.
    pub kind: Kind,
    /// Which of those that can meet it, from 1.
    pub number: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, kind, number } = *self;
        write!(f, "{} {}", name_of(who), kind.plan(number))
    }
}

/// A machine's name on command lines and in files.
#[must_use]
pub fn name_of(who: Who) -> String {
    format!("{who:?}").to_lowercase()
}

/// The machine of this name.
#[must_use]
pub fn named(name: &str) -> Option<Who> {
    Who::ALL
        .into_iter()
        .find(|who| name_of(*who).eq_ignore_ascii_case(name))
}

/// A planned run, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What was planned.
    pub case: Case,
    /// What came of it.
    pub run: Run,
}

/// Which part of all errors is tried, and for how long.
pub struct Part<'a> {
    /// Of the operations each so many-th, from the first.
    pub stride: u64,
    /// Which machine of several this is.
    pub shard: Shard,
    /// No run is begun after this.
    pub until: Option<Instant>,
    /// What earlier parts did, and where this one writes down what it does.
    pub progress: &'a Progress<Cell>,
}

/// What came of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose operation failed.
    pub who: Who,
    /// What the recorder was told.
    pub fault: String,
    /// Operations that did fail.
    pub failed_operations: u64,
    /// Processes that ended by it and were started again.
    pub restarts: u64,
    /// The promise that did not hold.
    pub broken: Option<String>,
}

/// The pair and the programs of a sweep.
pub struct Sweep {
    program: PathBuf,
    library: PathBuf,
    scratch: tempfile::TempDir,
}

impl Sweep {
    /// Pairs a hub and an app and lays them out. `program` is `simulate`; the recorder lies beside it.
    ///
    /// # Errors
    /// The recorder is not built, or the machine.
    pub fn new(program: PathBuf) -> io::Result<Sweep> {
        let library = fault::library(&program).map_err(io::Error::other)?;
        let scratch = tempfile::tempdir()?;
        let pair = run::pair(Suite::Classic).map_err(io::Error::other)?;
        files::lay_out(&pair, scratch.path())?;
        Ok(Sweep {
            program,
            library,
            scratch,
        })
    }

    /// Counts the operations of a machine, in two runs in which none fails.
    fn count(&self, who: Who) -> io::Result<Operations> {
        let mut counted = Operations::default();
        for fault in ["any:1+:NOTHING", "read:1+:NOTHING"] {
            let (run, faults) = self.driven(who, fault)?;
            if run.restarts > 0 || run.broken.is_some() {
                let what = format!("even without an error there is trouble: {run:?}");
                return Err(io::Error::other(what));
            }
            counted.add(&faults);
        }
        Ok(counted)
    }

    /// Tries one error.
    ///
    /// # Errors
    /// The machine, or a trace that cannot be read.
    pub fn one(&self, who: Who, fault: &str) -> io::Result<Run> {
        Ok(self.driven(who, fault)?.0)
    }

    /// A run, and what the recorder says of each operation that was made to fail.
    fn driven(&self, who: Who, fault: &str) -> io::Result<(Run, Vec<String>)> {
        let place = tempfile::tempdir_in(self.scratch.path())?;
        let state = place.path().join("state");
        if let Some(from) = files::files_of(who, self.scratch.path()) {
            files::copy_all(&from, &state)?;
        }
        let trace = place.path().join("trace");
        let said = std::fs::File::create(place.path().join("said"))?;
        let mut child = Command::new(&self.program)
            .args(["drive", &format!("{who:?}").to_lowercase()])
            .arg(self.scratch.path())
            .arg(&state)
            .env("LD_PRELOAD", &self.library)
            .env(
                "SECLUSO_RECORD_ROOT",
                std::fs::canonicalize(place.path())?.join("state"),
            )
            .env("SECLUSO_RECORD_TRACE", &trace)
            .env("SECLUSO_RECORD_FAULT", fault)
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(Stdio::null())
            .spawn()?;
        let ended = wait(&mut child)?;
        let said = std::fs::read_to_string(place.path().join("said"))?;
        let (restarts, broken) = verdict(&said, ended);
        let (faults, unread) = fault::met(&std::fs::read(&trace)?);
        // Only a process that was killed leaves half a frame.
        if let Some(error) = unread.filter(|_| ended.is_some()) {
            return Err(io::Error::other(error));
        }
        let run = Run {
            who,
            fault: fault.to_owned(),
            failed_operations: faults.len() as u64,
            restarts,
            broken,
        };
        Ok((run, faults))
    }

    /// The operations of each machine: those that the first part of this sweep counted, so that all parts
    /// have one plan.
    fn counted(&self, progress: &Progress<Cell>) -> io::Result<BTreeMap<Who, Operations>> {
        if let Some(plan) = progress.plan() {
            let of = |who: Who| Some((who, Operations::of_value(plan.get(name_of(who))?)?));
            let all: Option<BTreeMap<Who, Operations>> = Who::ALL.into_iter().map(of).collect();
            let wrong = || io::Error::other("the progress is of another kind of sweep");
            return all.ok_or_else(wrong);
        }
        let (mut all, mut plan) = (BTreeMap::new(), Map::new());
        for who in Who::ALL {
            let operations = self.count(who)?;
            plan.insert(name_of(who), operations.to_value());
            all.insert(who, operations);
        }
        progress.keep_plan(Value::Object(plan))?;
        Ok(all)
    }

    /// Tries every operation of every machine with every error, or a part of that. What earlier parts did is
    /// not done again, but for what failed, and that first. `told` hears of each run.
    ///
    /// # Errors
    /// The machine; or the progress cannot be kept.
    pub fn all(&self, part: &Part<'_>, told: &(impl Fn(&Run) + Sync)) -> io::Result<Found> {
        let operations = self.counted(part.progress)?;
        let cases = cases(&operations, part.stride, part.shard);
        let left = part.progress.left_of(&cases);
        let next = AtomicUsize::new(0);
        let work = || -> io::Result<()> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let late = part.until.is_some_and(|until| Instant::now() >= until);
                let Some(case) = left.get(index).copied().filter(|_| !late) else {
                    return Ok(());
                };
                let run = self.one(case.who, &case.kind.plan(case.number))?;
                told(&run);
                part.progress.take(&Cell { case, run })?;
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            let joined = workers.into_iter().map(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<io::Result<Vec<()>>>()
        })?;
        let planned = part.progress.with_done(cases);
        Ok(Found::new(&operations, &planned, part.progress.all()))
    }

    /// A file of progress of this sweep; none where there is no path.
    ///
    /// # Errors
    /// It is about another build, or damaged; or the machine's.
    pub fn progress(
        &self,
        path: Option<&Path>,
        stride: u64,
        shard: Shard,
    ) -> io::Result<Progress<Cell>> {
        let part = format!("stride {stride} shard {shard}");
        Progress::resumed(path, &[self.program.clone(), self.library.clone()], &part)
    }
}

/// One machine's part of all errors: from every program and kind by turns, so that a time limit cuts each of
/// them alike.
fn cases(operations: &BTreeMap<Who, Operations>, stride: u64, shard: Shard) -> Vec<Case> {
    let mut lists = Vec::new();
    for (who, operations) in operations {
        lists.extend(Kind::ALL.map(|kind| {
            let stride = stride.max(1) * kind.stride();
            (*who, kind, stride, *operations)
        }));
    }
    let length = |(_, kind, stride, operations): &(Who, Kind, u64, Operations)| {
        operations.of(*kind).div_ceil(*stride)
    };
    let lengths: Vec<u64> = lists.iter().map(length).collect();
    let own = shard.spread(&lengths).into_iter();
    own.filter_map(|(list, place)| {
        let (who, kind, stride, _) = *lists.get(list)?;
        let number = 1 + place * stride;
        Some(Case { who, kind, number })
    })
    .collect()
}

fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + RUN_MAX;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(3));
    }
}

/// What the child says, or how it ended without a word.
fn verdict(said: &str, ended: Option<ExitStatus>) -> (u64, Option<String>) {
    let Some(status) = ended else {
        return (0, Some("C7: it hung".to_owned()));
    };
    let line: Option<Value> = said
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    match line {
        Some(line) if status.success() => {
            let restarts = line.get("restarts").and_then(Value::as_u64);
            let broken = line.get("broken").and_then(Value::as_str);
            (restarts.unwrap_or_default(), broken.map(str::to_owned))
        }
        _ => (0, Some(format!("C7: it ended with {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_some_machines_and_none_is_beyond_the_last() {
        let mut operations = Operations::default();
        operations.add(&vec!["Write EIO".to_owned(); 50]);
        operations.add(&vec!["Sync EIO".to_owned(); 20]);
        operations.add(&vec!["Read EIO".to_owned(); 9]);
        let counted: BTreeMap<Who, Operations> =
            Who::ALL.into_iter().map(|who| (who, operations)).collect();
        let of = |all: &[Case], kind: Kind| -> Vec<u64> {
            let own = all.iter();
            let own = own.filter(|case| case.who == Who::App && case.kind == kind);
            let mut numbers: Vec<u64> = own.map(|case| case.number).collect();
            numbers.sort_unstable();
            numbers
        };
        let whole = cases(&counted, 1, Shard::WHOLE);
        assert_eq!(of(&whole, Kind::Eio), (1..=70).collect::<Vec<u64>>());
        assert_eq!(of(&whole, Kind::Lost), (1..=20).collect::<Vec<u64>>());
        assert_eq!(of(&whole, Kind::Read), (1..=9).collect::<Vec<u64>>());
        assert_eq!(
            of(&cases(&counted, 30, Shard::WHOLE), Kind::Eio),
            [1, 31, 61]
        );
        let mut shared = Vec::new();
        for shard in ["0/3", "1/3", "2/3"] {
            shared.extend(cases(&counted, 1, shard.parse().unwrap()));
        }
        let sorted = |all: &[Case]| {
            let mut words: Vec<String> = all.iter().map(Case::to_string).collect();
            words.sort_unstable();
            words
        };
        assert_eq!(sorted(&shared), sorted(&whole));
        // By turns: an early end has something of everything.
        let early = &whole[..whole.len() / 5];
        for kind in Kind::ALL {
            assert!(!of(early, kind).is_empty(), "{kind}");
        }
    }
}
