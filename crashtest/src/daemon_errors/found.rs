//! What the errors under the running programs came to, and what of them says something.
//!
//! A run in which no operation failed covers nothing. This room must never call that good.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, Cell, KINDS};
use crate::fault::{Kind, Operations};
use crate::process::Role;

/// Of the runs of one program and error so many and a tenth may meet no operation; all but one of them if
/// most operations cannot.
const MISSED_MAX: u64 = 2;

/// What a sweep found.
pub struct Found {
    /// The operations of each program.
    pub operations: BTreeMap<Role, Operations>,
    /// What was planned.
    pub cases: Vec<Case>,
    /// What was done, in all parts.
    pub cells: Vec<Cell>,
    /// How long all parts took.
    pub took: Duration,
}

/// The runs of one program and error.
struct Row {
    role: Role,
    kind: Kind,
    /// Those of this sweep.
    planned: u64,
    /// Those that were made.
    tried: u64,
    /// Those in which no operation failed.
    missed: u64,
}

impl Row {
    /// Most operations need no room: a full disk is often not noticed.
    fn may_miss(&self) -> u64 {
        let may = match self.kind.is_rare() {
            true => self.tried,
            false => MISSED_MAX + self.tried / 10,
        };
        // One at least meets it, however few there are.
        may.min(self.tried.saturating_sub(1))
    }

    /// Too few of those that were planned met it, and no time is to blame.
    fn is_blind(&self) -> bool {
        self.tried == self.planned && self.missed > self.may_miss()
    }

    /// The time was up before one of them was made, or before one of them met anything.
    fn is_not_begun(&self) -> bool {
        self.tried < self.planned && self.missed == self.tried
    }
}

impl Found {
    /// Runs that the time did not reach.
    #[must_use]
    pub fn left(&self) -> usize {
        self.cases.len() - self.cells.len()
    }

    fn of(&self, role: Role, kind: Kind) -> impl Iterator<Item = &Cell> + Clone {
        let of = move |cell: &&Cell| cell.case.role == role && cell.case.kind == kind;
        self.cells.iter().filter(of)
    }

    fn rows(&self) -> Vec<Row> {
        let mut all = Vec::new();
        for role in Role::ALL {
            for kind in KINDS {
                let planned = |case: &&Case| case.role == role && case.kind == kind;
                let cells = self.of(role, kind);
                all.push(Row {
                    role,
                    kind,
                    planned: self.cases.iter().filter(planned).count() as u64,
                    tried: cells.clone().count() as u64,
                    missed: cells.filter(|cell| !cell.has_met()).count() as u64,
                });
            }
        }
        all
    }

    /// Errors that too few of their runs met, though all of them were made; a sentence each.
    #[must_use]
    pub fn blind(&self) -> Vec<String> {
        let rows = self.rows().into_iter().filter(Row::is_blind);
        rows.map(|row| {
            format!(
                "{}, {}: {} of {} runs met no operation",
                row.role, row.kind, row.missed, row.tried
            )
        })
        .collect()
    }

    /// What was not done, or in which too many runs met no operation; a sentence each.
    #[must_use]
    pub fn not_covered(&self) -> Vec<String> {
        let left = self.left();
        let mut all: Vec<String> = (left > 0)
            .then(|| format!("{left} runs: the time was up"))
            .into_iter()
            .collect();
        let not_begun = self.rows().into_iter().filter(Row::is_not_begun);
        all.extend(not_begun.map(|row| {
            format!(
                "{}, {}: the time was up before a run met it",
                row.role, row.kind
            )
        }));
        all.extend(self.blind());
        all
    }

    /// Everything was done and every promise held.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.left() == 0 && self.is_good_so_far()
    }

    /// Something was done, every promise held in it, and whatever the time did not cut short met what it
    /// should: good for a sweep whose plan is the time.
    #[must_use]
    pub fn is_good_so_far(&self) -> bool {
        (self.cases.is_empty() || !self.cells.is_empty())
            && self.blind().is_empty()
            && !self.cells.iter().any(Cell::fails)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows().into_iter().map(|row| {
            let cells = self.of(row.role, row.kind);
            let operations = self.operations.get(&row.role);
            json!({
                "program": row.role.program(), "error": row.kind.to_string(),
                "operations": operations.map(|all| all.of(row.kind)),
                "planned": row.planned,
                "tried": row.tried,
                "runs": row.tried - row.missed,
                "restarted": cells.clone().filter(|cell| cell.met.ends > 0).count(),
                "fatal": cells.filter(|cell| cell.fails()).count(),
            })
        });
        let failed = self.cells.iter().filter(|cell| cell.fails());
        json!({
            "rows": rows.collect::<Vec<_>>(),
            "fatal": failed.map(Cell::to_string).collect::<Vec<_>>(),
            "not_covered": self.not_covered(),
            "seconds": self.took.as_secs_f64(),
            "good": self.is_good(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{Broken, Verdict};
    use crate::shard::Shard;
    use crate::system::Met;

    fn counted() -> BTreeMap<Role, Operations> {
        let mut operations = Operations::default();
        operations.add(&vec!["Write EIO".to_owned(); 60]);
        operations.add(&vec!["Sync EIO".to_owned(); 3]);
        Role::ALL
            .into_iter()
            .map(|role| (role, operations))
            .collect()
    }

    fn found(met: impl Fn(&Case) -> bool) -> Found {
        let operations = counted();
        let cases = super::super::cases(&operations, 4, Shard::WHOLE);
        let cell = |case: &Case| Cell {
            case: *case,
            met: Met {
                operations: met(case)
                    .then(|| "Write EIO".to_owned())
                    .into_iter()
                    .collect(),
                ends: 0,
                untold: 0,
            },
            verdict: Verdict::Pass,
            took: Duration::ZERO,
        };
        Found {
            cells: cases.iter().map(cell).collect(),
            operations,
            cases,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_run_that_met_nothing_covers_nothing() {
        let all = found(|_| true);
        assert!(all.is_good(), "{:?}", all.not_covered());
        assert!(!found(|_| false).is_good());
        assert!(!found(|case| case.kind != Kind::Eio).is_good_so_far());
        let mut broken = found(|_| true);
        broken.cells[0].verdict = Verdict::Fatal(vec![Broken::new("C4", "it left")]);
        assert!(!broken.is_good_so_far());
        assert_eq!(all.json()["rows"][0]["operations"], 63);
        assert_eq!(all.json()["rows"][0]["tried"], 4);
    }

    #[test]
    fn what_the_time_did_not_reach_is_said_and_is_good_only_for_whoever_planned_the_time() {
        let mut none = found(|_| true);
        none.cells.clear();
        assert!(!none.is_good_so_far());
        let mut early = found(|_| true);
        let of_hub = |cell: &Cell| cell.case.role == Role::Hub && cell.case.kind == Kind::Eio;
        early.cells.retain(|cell| !of_hub(cell));
        assert!(!early.is_good());
        assert!(early.is_good_so_far());
        let said = early.not_covered();
        assert_eq!(said[0], "4 runs: the time was up");
        assert_eq!(
            said[1],
            "secluso-hub, EIO: the time was up before a run met it"
        );
        // The time is no excuse for errors whose runs were all made.
        let mut blind = found(|case| case.kind != Kind::Short);
        blind.cells.retain(|cell| !of_hub(cell));
        assert!(!blind.is_good_so_far());
        // A machine of several may have none of an error.
        let mut part = found(|_| true);
        part.cells.retain(|cell| !of_hub(cell));
        part.cases
            .retain(|case| case.role != Role::Hub || case.kind != Kind::Eio);
        assert!(part.is_good(), "{:?}", part.not_covered());
    }
}
