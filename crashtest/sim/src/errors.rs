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
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crashtest::fault::{self, Kind, Operations};
use journal::Suite;
use serde_json::json;

use crate::files;
use crate::plan::Who;
use crate::run;

/// Runs at a time.
const WORKERS: usize = 2;
/// A run that takes longer is counted as hung. Usually it takes a third of a second.
const RUN_MAX: Duration = Duration::from_secs(60);
/// Of the numbers that are tried so many and a tenth may meet no operation: how many there are differs
/// a little from run to run, because RocksDB has threads.
const MISSED_MAX: u64 = 2;

/// What came of one run.
#[derive(Clone, Debug)]
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

/// Totals of one machine and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations that can meet this error, counted in a run in which none did.
    pub operations: u64,
    /// Numbers of them that were tried.
    pub tried: u64,
    /// Runs in which an operation failed.
    pub runs: u64,
    /// Runs after which the process had to be started again.
    pub restarted: u64,
    /// Runs that broke a promise.
    pub fatal: u64,
}

/// What a sweep found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// By machine and kind.
    pub counts: BTreeMap<(Who, Kind), Counts>,
    /// Those that broke a promise.
    pub fatal: Vec<Run>,
    /// The time was up first.
    pub unfinished: bool,
}

impl Found {
    /// Every promise held, every machine met every kind, and all was tried.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let tried = |who, kind: Kind| {
            self.counts
                .get(&(who, kind))
                .is_some_and(|counts| counts.runs > 0 && (kind.is_rare() || counts.met_most()))
        };
        let all = |who| Kind::ALL.into_iter().all(|kind| tried(who, kind));
        self.fatal.is_empty() && !self.unfinished && Who::ALL.into_iter().all(all)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let rows = self.counts.iter().map(|((who, kind), counts)| {
            json!({"program": format!("{who:?}").to_lowercase(), "error": kind.to_string(),
                   "operations": counts.operations, "tried": counts.tried, "runs": counts.runs, "restarted": counts.restarted, "fatal": counts.fatal})
        });
        let fatal = self.fatal.iter().map(|run| {
            json!({"program": format!("{:?}", run.who).to_lowercase(), "fault": run.fault,
                   "broken": run.broken})
        });
        json!({"rows": rows.collect::<Vec<_>>(), "fatal": fatal.collect::<Vec<_>>(),
               "unfinished": self.unfinished, "good": self.is_good()})
    }
}

impl Counts {
    fn met_most(&self) -> bool {
        self.tried - self.runs.min(self.tried) <= MISSED_MAX + self.tried / 10
    }
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

    /// Tries every operation of every machine with every error; of them each `stride`-th, from the
    /// first. `told` hears of each run.
    ///
    /// # Errors
    /// The machine.
    pub fn all(
        &self,
        stride: u64,
        until: Option<Instant>,
        told: &(impl Fn(&Run) + Sync),
    ) -> io::Result<Found> {
        let mut found = Found::default();
        let mut lists: Vec<List> = Vec::new();
        for who in Who::ALL {
            let counted = self.count(who)?;
            for kind in Kind::ALL {
                let operations = counted.of(kind);
                found.counts.entry((who, kind)).or_default().operations = operations;
                lists.push(List::new(who, kind, operations, stride));
            }
        }
        let (found, lists) = (Mutex::new(found), Mutex::new(lists));
        let work = || -> io::Result<()> {
            loop {
                let next = unpoisoned(&lists).iter_mut().find_map(List::next);
                let Some((who, kind, number)) = next else {
                    return Ok(());
                };
                if until.is_some_and(|until| Instant::now() >= until) {
                    unpoisoned(&found).unfinished = true;
                    return Ok(());
                }
                let run = self.one(who, &kind.plan(number))?;
                told(&run);
                unpoisoned(&found).count(kind, run);
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
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Found {
    fn count(&mut self, kind: Kind, run: Run) {
        let counts = self.counts.entry((run.who, kind)).or_default();
        counts.tried += 1;
        if run.failed_operations == 0 && run.broken.is_none() {
            return;
        }
        counts.runs += 1;
        counts.restarted += u64::from(run.restarts > 0);
        if run.broken.is_some() {
            counts.fatal += 1;
            self.fatal.push(run);
        }
    }
}

/// The numbers that are still to be tried of one machine and kind.
struct List {
    who: Who,
    kind: Kind,
    number: u64,
    through: u64,
    stride: u64,
}

impl List {
    fn new(who: Who, kind: Kind, through: u64, stride: u64) -> List {
        List {
            who,
            kind,
            number: 1,
            through,
            stride: stride * kind.stride(),
        }
    }

    fn next(&mut self) -> Option<(Who, Kind, u64)> {
        let number = self.number;
        if number > self.through {
            return None;
        }
        self.number += self.stride;
        Some((self.who, self.kind, number))
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A worker that panicked is joined, and its panic goes on there.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    let line: Option<serde_json::Value> = said
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    match line {
        Some(line) if status.success() => {
            let restarts = line.get("restarts").and_then(serde_json::Value::as_u64);
            let broken = line.get("broken").and_then(serde_json::Value::as_str);
            (restarts.unwrap_or_default(), broken.map(str::to_owned))
        }
        _ => (0, Some(format!("C7: it ended with {status}"))),
    }
}
