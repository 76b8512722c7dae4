//! The crash sweep over named points: one run of a whole conversation for each point and program.
//!
//! A cell of the table is one program dying by SIGKILL at the first hit of one crash point, in
//! whichever of its processes that is (pairing, daemon, a question, or a recovery after an earlier
//! restart), and both ends going on afterwards. This room must never count a run in which the
//! program did not really die there.
#![expect(
    clippy::disallowed_methods,
    reason = "The sweep shows how long it took, and its workers are threads that wait for processes."
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::oracle::{Broken, Ends, Verdict};
use crate::process::Role;
use crate::system::{Crash, PATIENCE, Setup, System};
use crate::trouble::{Outcome, Trouble};

/// Events that the hub plays after each start in a sweep.
const EVENTS: usize = 3;
/// Runs at a time. They mostly wait: for the camera, which plays in real time, and for syncs.
pub const WORKERS: usize = 4;

/// The crash points of one program.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// All that are linked in, with their place in the source.
    pub linked: BTreeMap<String, String>,
    /// How often each was hit in the conversation, over all processes of the program.
    pub hits: BTreeMap<String, u64>,
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The crash.
    pub crash: Crash,
    /// Whether the program really died there.
    pub died: Death,
    /// What the oracle says.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Whether the planted crash happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// By SIGKILL, at the point.
    Really,
    /// The point was not reached: the cell says nothing.
    Never,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match (&self.died, &self.verdict) {
            (Death::Never, _) => "INVALID: did not die there",
            (_, Verdict::Pass) => "pass",
            (_, Verdict::Refused { .. }) => "REFUSED",
            (_, Verdict::Fatal(_)) => "FATAL",
        };
        let Crash { role, point, hit } = &self.crash;
        write!(
            f,
            "{:<14} {point:<34} {hit:>3}  {outcome}  {:.1} s",
            role.program(),
            self.took.as_secs_f64()
        )?;
        match &self.verdict {
            Verdict::Pass => Ok(()),
            Verdict::Refused { code, said, .. } => write!(f, "  ({code}: {said})"),
            Verdict::Fatal(broken) => {
                let all: Vec<String> = broken.iter().map(Broken::to_string).collect();
                write!(f, "  {}", all.join("; "))
            }
        }
    }
}

/// The conversation of the sweep: pair; events; all three programs stopped and started again twice
/// (so that recovery has its turn, and a checkpoint after enough was stored); more events; a
/// deletion; and the settling event.
///
/// # Errors
/// A program ended without being told to, or something did not happen in time.
pub fn conversation(system: &mut System) -> Outcome<Ends> {
    system.make_relay()?;
    system.write_hub_config()?;
    system.pair()?;
    system.start_app()?;
    system.start_hub()?;
    events_arrive(system)?;
    for role in [Role::App, Role::Relay, Role::Hub] {
        system.stop(role)?;
    }
    // The hub first: it records while the relay is away.
    for role in [Role::Hub, Role::Relay, Role::App] {
        system.start(role)?;
    }
    events_arrive(system)?;
    for role in [Role::App, Role::Relay] {
        system.stop(role)?;
    }
    system.delete_first_clip()?;
    system.settle()
}

fn setup() -> Setup {
    Setup {
        passes: u32::try_from(EVENTS).unwrap_or(u32::MAX),
        gap_seconds: 0.0,
        ..Setup::default()
    }
}

/// Waits until the running hub has played all its passes and the app has acked everything. A hub
/// that a crash killed begins its passes again, so that nothing is waited for in vain.
fn events_arrive(system: &mut System) -> Outcome<()> {
    system.until("the events and their acks", PATIENCE, |system| {
        let lines = system.board().lines();
        let hub = system.process(Role::Hub)?.number();
        let finished = lines.iter().filter(|line| {
            line.process == hub
                && line.event() == "clip_finished"
                && line.text("outcome") == "complete"
        });
        if finished.count() < EVENTS {
            return Ok(None);
        }
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        Ok((!status.recording && status.unacked_envelopes == 0).then_some(()))
    })
}

/// Which points there are and which the conversation hits, from one run without a crash.
///
/// # Errors
/// The run failed, or was not a pass: a sweep over a broken system says nothing.
pub fn survey() -> Outcome<BTreeMap<Role, Points>> {
    let mut system = System::new(setup())?.traced();
    let run = conversation(&mut system);
    Verdict::of(&run).expect_pass()?;
    let mut all = BTreeMap::new();
    for role in Role::ALL {
        let points = Points {
            linked: read_points(&system.path(&format!("points.{role}")))?,
            hits: read_trace(&system.path(&format!("trace.{role}")))?,
        };
        all.insert(role, points);
    }
    Ok(all)
}

fn read_points(file: &Path) -> Outcome<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).map_err(Trouble::machine(format!(
        "{}; are the programs built with their crash points (a workspace build)?",
        file.display()
    )))?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs
        .map(|(name, place)| (name.to_owned(), place.to_owned()))
        .collect())
}

fn read_trace(file: &Path) -> Outcome<BTreeMap<String, u64>> {
    let text =
        std::fs::read_to_string(file).map_err(Trouble::machine(file.display().to_string()))?;
    let mut hits = BTreeMap::new();
    for (name, _count) in text.lines().filter_map(|line| line.split_once(' ')) {
        *hits.entry(name.to_owned()).or_default() += 1;
    }
    Ok(hits)
}

/// Points that a program has linked in, that the conversation never hits, and that `excused`
/// (program, point, reason) does not name; and excuses for points that are hit or do not exist.
#[must_use]
pub fn unexplained(points: &BTreeMap<Role, Points>, excused: &[(Role, &str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (role, points) in points {
        let excuses: BTreeSet<&str> = excused
            .iter()
            .filter(|(r, ..)| r == role)
            .map(|(_, point, _)| *point)
            .collect();
        for (name, place) in &points.linked {
            match (
                points.hits.contains_key(name),
                excuses.contains(name.as_str()),
            ) {
                (false, false) => wrong.push(format!("{role}: {name} ({place}) was never hit")),
                (true, true) => wrong.push(format!("{role}: {name} is excused and was hit")),
                _ => {}
            }
        }
        for excuse in excuses {
            if !points.linked.contains_key(excuse) {
                wrong.push(format!("{role}: {excuse} is excused and does not exist"));
            }
        }
    }
    wrong
}

/// One run.
#[must_use]
pub fn cell(crash: Crash) -> Cell {
    let began = Instant::now();
    let mut died = Death::Never;
    let run = System::new(setup()).and_then(|system| {
        let mut system = system.planted(crash.clone());
        let run = conversation(&mut system);
        if system.died() {
            died = Death::Really;
        }
        run
    });
    Cell {
        crash,
        died,
        verdict: Verdict::of(&run),
        took: began.elapsed(),
    }
}

/// All cells, a few at a time, in the order of `crashes`.
#[must_use]
pub fn run(crashes: &[Crash]) -> Vec<Cell> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, Cell>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _worker in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(crash) = crashes.get(index) else {
                        return;
                    };
                    let cell = cell(crash.clone());
                    println!("{cell}");
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .insert(index, cell);
                }
            });
        }
    });
    let done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.into_values().collect()
}
