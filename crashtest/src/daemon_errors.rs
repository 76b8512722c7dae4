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

use serde_json::{Map, Value};

use crate::fault::{Kind, Operations};
use crate::oracle::{Broken, Ends, Verdict};
use crate::process::{Line, Role};
use crate::progress::Progress;
use crate::shard::Shard;
use crate::system::{Met, Setup, Stock, System};
use crate::trouble::{Outcome, Trouble};
use crate::workers;
use crate::workload::Workload;

mod found;
mod kept;

pub use found::Found;

/// The errors that are tried. One on a read belongs to a start, which is all of `simulate errors`.
pub const KINDS: [Kind; 5] = [Kind::Eio, Kind::Enospc, Kind::Short, Kind::Lost, Kind::Full];
/// The least of them that a rare error is tried at.
const RARE_MIN: u64 = 6;
/// How many operations of each program meet each error in the whole sweep, spread over all there are.
pub const EACH: u64 = 24;
/// How long the event that meets the error may take to come to an end, or to be given up.
const EVENT_PATIENCE: Duration = Duration::from_secs(60);

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

/// The same counts for all parts of a sweep: those that its first part made.
///
/// # Errors
/// As [`count`]; or the progress cannot be kept, or does not say what it should.
pub fn counted(
    progress: &Progress<Cell>,
    stock: impl FnOnce() -> Outcome<Stock>,
) -> Outcome<BTreeMap<Role, Operations>> {
    if let Some(plan) = progress.plan() {
        let of = |role: Role| Some((role, Operations::of_value(plan.get(role.program())?)?));
        let all: Option<BTreeMap<Role, Operations>> = Role::ALL.into_iter().map(of).collect();
        let wrong = || Trouble::Usage("the progress is of another kind of sweep".to_owned());
        return all.ok_or_else(wrong);
    }
    let all = count(&stock()?)?;
    let plan = all.iter();
    let plan: Map<String, Value> = plan
        .map(|(role, operations)| (role.program().to_owned(), operations.to_value()))
        .collect();
    let kept = progress.keep_plan(Value::Object(plan));
    kept.map_err(Trouble::machine("progress"))?;
    Ok(all)
}

/// One machine's part: of each program and error at most `each` operations, spread evenly over all there
/// are, and from all of them by turns, so that a time limit cuts each of them alike.
#[must_use]
pub fn cases(operations: &BTreeMap<Role, Operations>, each: u64, shard: Shard) -> Vec<Case> {
    let mut lists = Vec::new();
    for (role, operations) in operations {
        lists.extend(KINDS.map(|kind| (*role, kind, operations.of(kind))));
    }
    // Of those that most operations do not meet a small sample would meet none.
    let tried = |kind: Kind, count: u64| match kind.is_rare() {
        true => each.max(RARE_MIN).min(count),
        false => each.min(count),
    };
    let lengths: Vec<u64> = lists
        .iter()
        .map(|(_, kind, count)| tried(*kind, *count))
        .collect();
    let own = shard.spread(&lengths).into_iter();
    own.filter_map(|(list, place)| {
        let (role, kind, count) = *lists.get(list)?;
        let tried = tried(kind, count);
        Some(Case {
            role,
            kind,
            // In the middle of its part, so that neither the first nor the last alone stand for all.
            number: ((2 * place + 1) * count / (2 * tried) + 1).min(count),
        })
    })
    .collect()
}

/// All cases, a few at a time; those that the time does not reach are left out. What earlier parts did is
/// not done again, but for what failed, and that first. Each cell is told when it is done, with how many
/// there are of all parts.
///
/// # Errors
/// No paired world could be made, or the progress cannot be kept.
pub fn run(
    operations: BTreeMap<Role, Operations>,
    cases: Vec<Case>,
    until: Option<Instant>,
    progress: &Progress<Cell>,
    tell: impl Fn(usize, &Cell) + Sync,
) -> Outcome<Found> {
    let one = |stock: &Stock, case: &Case| cell(stock, *case);
    workers::run(&setup(), &progress.left_of(&cases), until, one, |cell| {
        let count = progress.take(cell).map_err(Trouble::machine("progress"))?;
        tell(count, cell);
        Ok(())
    })?;
    Ok(Found {
        operations,
        cases: progress.with_done(cases),
        cells: progress.all(),
        took: progress.wall(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_spread_over_all_operations_and_none_is_beyond_the_last() {
        let mut operations = Operations::default();
        let words = |sort: &str, count: usize| vec![format!("{sort} EIO"); count];
        operations.add(&words("Write", 60));
        operations.add(&words("Sync", 3));
        let counted: BTreeMap<Role, Operations> = Role::ALL
            .into_iter()
            .map(|role| (role, operations))
            .collect();
        let of = |all: &[Case], kind| -> Vec<u64> {
            let own = all.iter();
            let own = own.filter(|case| case.role == Role::Hub && case.kind == kind);
            let mut numbers: Vec<u64> = own.map(|case| case.number).collect();
            numbers.sort_unstable();
            numbers
        };
        let all = cases(&counted, 4, Shard::WHOLE);
        assert_eq!(of(&all, Kind::Eio), [8, 24, 40, 56]);
        assert_eq!(of(&all, Kind::Lost), [1, 2, 3], "there are no more syncs");
        assert!(all.iter().all(|case| case.number >= 1));
        assert_eq!(of(&all, Kind::Read), [0u64; 0]);
        // Whoever tries all tries each once, and two machines share them.
        let every = cases(&counted, 1000, Shard::WHOLE);
        assert_eq!(of(&every, Kind::Eio), (1..=63).collect::<Vec<u64>>());
        let halves = ["0/2", "1/2"].map(|half| cases(&counted, 1000, half.parse().unwrap()));
        let mut both = halves.map(|half| of(&half, Kind::Short)).concat();
        both.sort_unstable();
        assert_eq!(both, (1..=60).collect::<Vec<u64>>());
    }

    #[test]
    fn a_time_limit_cuts_no_program_and_no_error_off() {
        let mut operations = Operations::default();
        operations.add(&vec!["Write EIO".to_owned(); 100]);
        operations.add(&vec!["Sync EIO".to_owned(); 50]);
        let counted: BTreeMap<Role, Operations> = Role::ALL
            .into_iter()
            .map(|role| (role, operations))
            .collect();
        let all = cases(&counted, 1000, Shard::WHOLE);
        let early = &all[..all.len() / 10];
        for role in Role::ALL {
            for kind in KINDS {
                let tried = early
                    .iter()
                    .filter(|case| case.role == role && case.kind == kind);
                assert!(tried.count() >= 3, "{role}, {kind}");
            }
        }
    }
}
