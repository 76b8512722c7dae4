//! What the errors on real files came to, by machine and kind.
//!
//! A run in which no operation failed covers nothing. This room must never call that good.

use std::collections::BTreeMap;

use crashtest::fault::{Kind, Operations};
use serde_json::json;

use super::{Case, Cell, Run, name_of};
use crate::plan::Who;

/// Of the numbers that are tried so many and a tenth may meet no operation: how many there are differs
/// a little from run to run, because RocksDB has threads.
const MISSED_MAX: u64 = 2;

/// Totals of one machine and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations that can meet this error, counted in a run in which none did.
    pub operations: u64,
    /// Numbers of them that are of this sweep.
    pub planned: u64,
    /// Numbers of them that were tried.
    pub tried: u64,
    /// Runs in which an operation failed.
    pub runs: u64,
    /// Runs after which the process had to be started again.
    pub restarted: u64,
    /// Runs that broke a promise.
    pub fatal: u64,
}

impl Counts {
    fn met_most(&self) -> bool {
        self.tried - self.runs.min(self.tried) <= MISSED_MAX + self.tried / 10
    }

    /// No operation can meet it; or all its runs were made, and too few of them met it.
    fn is_blind(&self, kind: Kind) -> bool {
        let made = self.planned > 0 && self.tried >= self.planned;
        let met = self.runs > 0 && (kind.is_rare() || self.met_most());
        self.operations == 0 || made && !met
    }

    fn add(&mut self, run: &Run) {
        self.tried += 1;
        if run.failed_operations == 0 && run.broken.is_none() {
            return;
        }
        self.runs += 1;
        self.restarted += u64::from(run.restarts > 0);
        self.fatal += u64::from(run.broken.is_some());
    }
}

/// What a sweep found, in all its parts.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// By machine and kind.
    pub counts: BTreeMap<(Who, Kind), Counts>,
    /// Those that broke a promise.
    pub fatal: Vec<Run>,
    /// Runs that the time did not reach.
    pub left: usize,
}

impl Found {
    /// Counts what was done of a plan, in which everything is that was done.
    pub(super) fn new(
        operations: &BTreeMap<Who, Operations>,
        planned: &[Case],
        cells: Vec<Cell>,
    ) -> Self {
        let mut found = Self {
            left: planned.len().saturating_sub(cells.len()),
            ..Self::default()
        };
        for who in Who::ALL {
            for kind in Kind::ALL {
                let counts = found.counts.entry((who, kind)).or_default();
                counts.operations = operations.get(&who).map_or(0, |all| all.of(kind));
            }
        }
        for case in planned {
            found
                .counts
                .entry((case.who, case.kind))
                .or_default()
                .planned += 1;
        }
        for Cell { case, run } in cells {
            let counts = found.counts.entry((case.who, case.kind)).or_default();
            counts.add(&run);
            if run.broken.is_some() {
                found.fatal.push(run);
            }
        }
        found
    }

    /// Every promise held, every machine met every kind, and all was tried.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.left == 0 && self.is_good_so_far()
    }

    /// Something was done, every promise held in it, and whatever the time did not cut short met what it
    /// should: good for a sweep whose plan is the time.
    #[must_use]
    pub fn is_good_so_far(&self) -> bool {
        let blind = |((_, kind), counts): (&(Who, Kind), &Counts)| counts.is_blind(*kind);
        let (mut planned, mut tried) = (0, 0);
        for counts in self.counts.values() {
            planned += counts.planned;
            tried += counts.tried;
        }
        (planned == 0 || tried > 0) && self.fatal.is_empty() && !self.counts.iter().any(blind)
    }

    /// Errors that no run met, or too few, a sentence each.
    #[must_use]
    pub fn not_covered(&self) -> Vec<String> {
        let mut all = Vec::new();
        for ((who, kind), counts) in &self.counts {
            let who = name_of(*who);
            if counts.is_blind(*kind) {
                let Counts { runs, tried, .. } = counts;
                all.push(format!(
                    "{who}, {kind}: {runs} of {tried} runs met an operation"
                ));
            } else if counts.runs == 0 && counts.tried < counts.planned {
                all.push(format!(
                    "{who}, {kind}: the time was up before a run met it"
                ));
            }
        }
        all
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let rows = self.counts.iter().map(|((who, kind), counts)| {
            json!({"program": name_of(*who), "error": kind.to_string(),
                   "operations": counts.operations, "planned": counts.planned,
                   "tried": counts.tried, "runs": counts.runs, "restarted": counts.restarted,
                   "fatal": counts.fatal})
        });
        let fatal = self.fatal.iter().map(
            |run| json!({"program": name_of(run.who), "fault": run.fault, "broken": run.broken}),
        );
        json!({"rows": rows.collect::<Vec<_>>(), "fatal": fatal.collect::<Vec<_>>(),
               "not_covered": self.not_covered(), "unfinished": self.left > 0,
               "good": self.is_good()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three runs of each machine and kind; `met` says which of them met an operation.
    fn found(made: impl Fn(&Case) -> bool, met: impl Fn(&Case) -> bool) -> Found {
        let mut operations = Operations::default();
        operations.add(&["Write EIO", "Sync EIO", "Read EIO"].map(str::to_owned));
        let operations = Who::ALL.into_iter().map(|who| (who, operations)).collect();
        let mut cases = Vec::new();
        for who in Who::ALL {
            for kind in Kind::ALL {
                cases.extend((1..=3).map(|number| Case { who, kind, number }));
            }
        }
        let cell = |case: &Case| Cell {
            case: *case,
            run: Run {
                who: case.who,
                fault: case.kind.plan(case.number),
                failed_operations: u64::from(met(case)),
                restarts: 0,
                broken: None,
            },
        };
        let cells = cases.iter().filter(|case| made(case)).map(cell).collect();
        Found::new(&operations, &cases, cells)
    }

    #[test]
    fn what_met_nothing_is_not_good_and_what_was_not_reached_is_said() {
        let all = found(|_| true, |_| true);
        assert!(all.is_good(), "{}", all.json());
        assert!(all.not_covered().is_empty());
        let is_eio = |case: &Case| case.kind == Kind::Eio && case.who == Who::Hub;
        let blind = found(|_| true, |case| !is_eio(case));
        assert!(!blind.is_good_so_far());
        assert_eq!(
            blind.not_covered(),
            ["hub, EIO: 0 of 3 runs met an operation"]
        );
        let late = found(|case| !is_eio(case), |_| true);
        assert_eq!((late.left, late.is_good()), (3, false));
        assert!(late.is_good_so_far());
        let said = late.not_covered();
        assert_eq!(said, ["hub, EIO: the time was up before a run met it"]);
        assert_eq!(late.json()["unfinished"], true);
        assert!(!found(|_| false, |_| true).is_good_so_far());
        let mut fatal = found(|_| true, |_| true);
        fatal.fatal.push(Run {
            who: Who::App,
            fault: "any:1:EIO".to_owned(),
            failed_operations: 1,
            restarts: 0,
            broken: Some("C2: it is gone".to_owned()),
        });
        assert!(!fatal.is_good_so_far());
    }
}
