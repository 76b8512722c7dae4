//! Disk errors under the real programs: one operation of relay, hub or app fails while all three run, by
//! the recorder that is preloaded into that one; the system goes on, and the oracle judges as ever.
//!
//! The errors at every operation are tried where a run takes a third of a second (`simulate errors`); here it
//! is the shells that are tried: sockets, threads, restarts, and what a program says when it ends. This room
//! must never count a run in which no operation failed.
#![expect(clippy::disallowed_methods, reason = "It shows how long it took.")]

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault::{Kind, Operations};
use crate::oracle::{Broken, Ends, Verdict};
use crate::process::{Line, Role};
use crate::system::{Met, Setup, Stock, System};
use crate::trouble::{Outcome, Trouble};
use crate::workers;
use crate::workload::Workload;

/// The errors that are tried. One on a read belongs to a start, which is all of `simulate errors`.
pub const KINDS: [Kind; 5] = [Kind::Eio, Kind::Enospc, Kind::Short, Kind::Lost, Kind::Full];
/// How many operations of each program meet each error in the whole sweep, spread over all there are.
pub const EACH: u64 = 24;
/// How long the event that meets the error may take to come to an end, or to be given up.
const EVENT_PATIENCE: Duration = Duration::from_secs(60);
/// Of the runs of one program and error so many may meet no operation, and half of them if it is rare.
const MISSED_MAX: u64 = 2;

/// One operation that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Whose.
    pub role: Role,
    /// How.
    pub kind: Kind,
    /// Which of those that can meet it, from 1.
    pub number: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<14} {}",
            self.role.program(),
            self.kind.plan(self.number)
        )
    }
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The run.
    pub case: Case,
    /// What failed, and whether the program ended by it.
    pub met: Met,
    /// What the oracle says.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

impl Cell {
    /// A broken promise or a refusal, whatever failed.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.verdict != Verdict::Pass
    }

    /// Whether an operation failed.
    #[must_use]
    pub fn has_met(&self) -> bool {
        !self.met.operations.is_empty()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.met.operations.first();
        write!(
            f,
            "{:<34} {:<24} {:.1} s{}  ",
            self.case.to_string(),
            what.map_or("no operation failed", String::as_str),
            self.took.as_secs_f64(),
            if self.met.ends > 0 { ", ended" } else { "" },
        )?;
        match &self.verdict {
            Verdict::Pass => f.write_str("pass"),
            Verdict::Refused { code, said, .. } => write!(f, "REFUSED ({code}: {said})"),
            Verdict::Fatal(broken) => {
                let all: Vec<String> = broken.iter().map(Broken::to_string).collect();
                write!(f, "FATAL {}", all.join("; "))
            }
        }
    }
}

/// Events while the error may come: the one after it must be as if nothing had been.
const EVENTS: u32 = 2;

fn setup() -> Setup {
    Setup {
        passes: EVENTS,
        ..Workload::Event.setup()
    }
}

/// What the running hub has said of its events so far: whether they are over as they may be under this error.
///
/// # Errors
/// It says what this error is no reason for.
fn are_over(system: &mut System, role: Role, full: bool) -> Outcome<bool> {
    let hub = system.process(Role::Hub)?.number();
    let lines = system.board().lines();
    let said = |line: &&Line| {
        line.process == hub && matches!(line.event(), "clip_finished" | "not_recorded")
    };
    let said: Vec<&Line> = lines.iter().filter(said).collect();
    for line in &said {
        let is_full = role == Role::Hub && line.text("why") == "disk_full";
        if line.event() == "not_recorded" && !is_full {
            let what = format!(
                "C7: an error of {role}'s disk made the hub say {}",
                line.value
            );
            return Err(Trouble::Broken(what));
        }
    }
    // A disk that is full for a while may refuse both; then the next start shows that it goes on.
    if full && role == Role::Hub {
        return Ok(!said.is_empty());
    }
    let is_whole =
        |line: &Line| line.event() == "clip_finished" && line.text("outcome") == "complete";
    Ok(said.len() >= EVENTS as usize && said.last().is_some_and(|line| is_whole(line)))
}

/// Two events in one process of the hub: the one that meets the error may be cut off or refused by a full
/// disk, the next must be whole. Then one more after a start, which must arrive, and rest.
fn conversation(system: &mut System, role: Role, full: bool) -> Outcome<Ends> {
    for role in [Role::Relay, Role::App, Role::Hub] {
        system.start(role)?;
    }
    system.until("the end of the events", EVENT_PATIENCE, |system| {
        Ok(are_over(system, role, full)?.then_some(()))
    })?;
    let patience = system.setup.patience;
    let acked = system.until("its acks", patience, |system| {
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        Ok((!status.recording && status.unacked_envelopes == 0).then_some(()))
    });
    acked.map_err(Trouble::apart)?;
    system.settle()
}

/// One run in which operations of a program fail as `plan` says (`SECLUSO_RECORD_FAULT`).
#[must_use]
pub fn attempt(stock: &Stock, role: Role, plan: &str) -> (Met, Verdict) {
    attempt_in(stock, setup(), role, plan)
}

/// The same, in a world of this kind.
#[must_use]
pub fn attempt_in(stock: &Stock, setup: Setup, role: Role, plan: &str) -> (Met, Verdict) {
    let world = stock
        .system(setup)
        .and_then(|system| system.faulted(role, plan));
    let mut system = match world {
        Ok(system) => system,
        Err(trouble) => return (Met::default(), Verdict::of(&Err(trouble))),
    };
    let run = conversation(&mut system, role, plan.ends_with(":FULL"));
    let verdict = match system.panic_said() {
        // Whoever lives on after it has hidden a mistake of ours.
        Some(said) => Verdict::Fatal(vec![Broken::new("C7", said)]),
        None => Verdict::with_notes(&run, &system.all_notes()),
    };
    match system.met() {
        Ok(met) => (met, verdict),
        Err(trouble) => (Met::default(), Verdict::of(&Err(trouble))),
    }
}

/// One run.
#[must_use]
pub fn cell(stock: &Stock, case: Case) -> Cell {
    let began = Instant::now();
    let (met, verdict) = attempt(stock, case.role, &case.kind.plan(case.number));
    let cell = Cell {
        case,
        met,
        verdict,
        took: began.elapsed(),
    };
    if cell.fails() {
        let name = format!("{} {}", case.role, case.kind.plan(case.number));
        stock.keep(&name.replace([' ', ':'], "-"));
    }
    cell
}

/// The operations of each program, counted in a run of each in which none fails.
///
/// # Errors
/// Such a run was not a pass: a sweep over a broken system says nothing.
pub fn count(stock: &Stock) -> Outcome<BTreeMap<Role, Operations>> {
    let mut all = BTreeMap::new();
    for role in Role::ALL {
        let (met, verdict) = attempt(stock, role, "any:1+:NOTHING");
        verdict.expect_pass()?;
        let mut operations = Operations::default();
        operations.add(&met.operations);
        if let Some(kind) = KINDS.into_iter().find(|kind| operations.of(*kind) == 0) {
            return Err(Trouble::Broken(format!(
                "{role} makes no operation that can meet {kind}"
            )));
        }
        all.insert(role, operations);
    }
    Ok(all)
}

/// Of each program and error at most `each` operations, spread evenly over all there are.
#[must_use]
pub fn cases(operations: &BTreeMap<Role, Operations>, each: u64) -> Vec<Case> {
    let mut all = Vec::new();
    for (role, operations) in operations {
        for kind in KINDS {
            let count = operations.of(kind);
            let tried = each.min(count);
            all.extend((0..tried).map(|index| Case {
                role: *role,
                kind,
                // In the middle of its part, so that neither the first nor the last alone stand for all.
                number: (2 * index + 1) * count / (2 * tried) + 1,
            }));
        }
    }
    all.iter_mut().for_each(|case| {
        let count = operations
            .get(&case.role)
            .map_or(1, |all| all.of(case.kind));
        case.number = case.number.min(count);
    });
    all
}

/// What a sweep found.
pub struct Found {
    /// What was planned.
    pub cases: Vec<Case>,
    /// What was done.
    pub cells: Vec<Cell>,
    /// How long it took.
    pub took: Duration,
}

impl Found {
    /// Runs that the time did not reach.
    #[must_use]
    pub fn left(&self) -> usize {
        self.cases.len() - self.cells.len()
    }

    /// What was not done, or in which too many runs met no operation; a sentence each.
    #[must_use]
    pub fn not_covered(&self) -> Vec<String> {
        let left = self.left();
        let mut all: Vec<String> = (left > 0)
            .then(|| format!("{left} runs: the time was up"))
            .into_iter()
            .collect();
        for role in Role::ALL {
            for kind in KINDS {
                let of = |cell: &&Cell| cell.case.role == role && cell.case.kind == kind;
                let runs = self.cells.iter().filter(of).count() as u64;
                let missed = self.cells.iter().filter(of).filter(|cell| !cell.has_met());
                let missed = missed.count() as u64;
                // Most operations need no room: a full disk is often not noticed.
                let may = match kind.is_rare() {
                    true => runs,
                    false => MISSED_MAX + runs / 10,
                };
                // One at least, however few there are.
                let may = may.min(runs.saturating_sub(1));
                if missed > may || runs == 0 {
                    all.push(format!(
                        "{role}, {kind}: {missed} of {runs} runs met no operation"
                    ));
                }
            }
        }
        all
    }

    /// Everything was done and every promise held.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.not_covered().is_empty() && !self.cells.iter().any(Cell::fails)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut rows = Vec::new();
        for role in Role::ALL {
            for kind in KINDS {
                let of = |cell: &&Cell| cell.case.role == role && cell.case.kind == kind;
                let cells = || self.cells.iter().filter(of);
                rows.push(json!({
                    "program": role.program(), "error": kind.to_string(),
                    "tried": cells().count(),
                    "runs": cells().filter(|cell| cell.has_met()).count(),
                    "restarted": cells().filter(|cell| cell.met.ends > 0).count(),
                    "fatal": cells().filter(|cell| cell.fails()).count(),
                }));
            }
        }
        let failed = self.cells.iter().filter(|cell| cell.fails());
        json!({
            "rows": rows,
            "fatal": failed.map(Cell::to_string).collect::<Vec<_>>(),
            "not_covered": self.not_covered(),
            "seconds": self.took.as_secs_f64(),
            "good": self.is_good(),
        })
    }
}

/// All cases, a few at a time; those that the time does not reach are left out.
///
/// # Errors
/// No paired world could be made.
pub fn run(
    cases: Vec<Case>,
    until: Option<Instant>,
    tell: impl Fn(usize, &Cell) + Sync,
) -> Outcome<Found> {
    let began = Instant::now();
    let one = |stock: &Stock, case: &Case| cell(stock, *case);
    let cells = workers::run(&setup(), &cases, until, one, tell)?;
    Ok(Found {
        cases,
        cells,
        took: began.elapsed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> BTreeMap<Role, Operations> {
        let mut operations = Operations::default();
        let words = |sort: &str, count: usize| vec![format!("{sort} EIO"); count];
        operations.add(&words("Write", 60));
        operations.add(&words("Sync", 3));
        Role::ALL
            .into_iter()
            .map(|role| (role, operations))
            .collect()
    }

    #[test]
    fn cases_are_spread_over_all_operations_and_none_is_beyond_the_last() {
        let all = cases(&counted(), 4);
        let of = |kind| -> Vec<u64> {
            let own = all
                .iter()
                .filter(|case| case.role == Role::Hub && case.kind == kind);
            own.map(|case| case.number).collect()
        };
        assert_eq!(of(Kind::Eio), [8, 24, 40, 56]);
        assert_eq!(of(Kind::Lost), [1, 2, 3], "there are no more syncs");
        assert!(all.iter().all(|case| case.number >= 1));
        assert_eq!(of(Kind::Read), [0u64; 0]);
    }

    #[test]
    fn a_run_that_met_nothing_covers_nothing() {
        let cases = cases(&counted(), 4);
        let cell = |case: &Case, met: bool| Cell {
            case: *case,
            met: Met {
                operations: met.then(|| "Write EIO".to_owned()).into_iter().collect(),
                ends: 0,
                untold: 0,
            },
            verdict: Verdict::Pass,
            took: Duration::ZERO,
        };
        let found = |met: bool| Found {
            cells: cases.iter().map(|case| cell(case, met)).collect(),
            cases: cases.clone(),
            took: Duration::ZERO,
        };
        assert!(found(true).is_good(), "{:?}", found(true).not_covered());
        assert!(!found(false).is_good());
        let mut early = found(true);
        early.cells.truncate(5);
        assert!(!early.is_good());
        let mut broken = found(true);
        broken.cells[0].verdict = Verdict::Fatal(vec![Broken::new("C4", "it left")]);
        assert!(!broken.is_good());
    }
}
