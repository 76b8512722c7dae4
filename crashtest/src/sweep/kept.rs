//! A finished run of the sweep as JSON and back.
//!
//! It must come back with the same worth: a run that did not die there must never be one that did.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, Cell, Death};
use crate::oracle::Verdict;
use crate::process::Role;
use crate::progress::Kept;
use crate::system::Crash;

impl Death {
    const ALL: [Self; 3] = [Self::Really, Self::OnlyFirst, Self::Never];

    fn name(self) -> &'static str {
        match self {
            Self::Really => "really",
            Self::OnlyFirst => "only first",
            Self::Never => "never",
        }
    }
}

fn crash_of(value: &Value) -> Option<Crash> {
    Some(Crash {
        role: Role::of_program(value.get("program")?.as_str()?)?,
        point: value.get("point")?.as_str()?.to_owned(),
        hit: value.get("hit")?.as_u64()?,
    })
}

impl Kept for Cell {
    type Case = Case;

    fn case(&self) -> Case {
        self.case.clone()
    }

    fn fails(&self) -> bool {
        Cell::fails(self)
    }

    fn to_value(&self) -> Value {
        let crashes = self.case.crashes.iter().map(|crash| {
            json!({"program": crash.role.program(), "point": crash.point, "hit": crash.hit})
        });
        json!({
            "workload": self.case.workload.name(),
            "crashes": crashes.collect::<Vec<_>>(),
            "died": self.died.name(),
            "verdict": self.verdict.to_value(),
            "seconds": self.took.as_secs_f64(),
        })
    }

    fn of_value(value: &Value) -> Option<Self> {
        let crashes = value.get("crashes")?.as_array()?;
        let crashes: Option<Vec<Crash>> = crashes.iter().map(crash_of).collect();
        let died = value.get("died")?.as_str()?;
        let seconds = value.get("seconds")?.as_f64()?;
        Some(Self {
            case: Case {
                workload: value.get("workload")?.as_str()?.parse().ok()?,
                crashes: crashes?,
            },
            died: Death::ALL.into_iter().find(|one| one.name() == died)?,
            verdict: Verdict::of_value(value.get("verdict")?)?,
            took: Duration::try_from_secs_f64(seconds).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Broken;
    use crate::workload::Workload;

    #[test]
    fn a_cell_comes_back_with_its_worth() {
        let mut case = Case::one(Workload::Trim, Role::App, "app.take.staged", 3);
        case.crashes.push(Crash {
            role: Role::App,
            point: "wal.recover.before_seal".to_owned(),
            hit: 1,
        });
        for died in Death::ALL {
            for verdict in [
                Verdict::Pass,
                Verdict::Fatal(vec![Broken::new("C2", "it is gone")]),
            ] {
                let cell = Cell {
                    case: case.clone(),
                    died,
                    verdict,
                    took: Duration::from_millis(1500),
                };
                let back = Cell::of_value(&cell.to_value()).unwrap();
                assert_eq!(back.worth(), cell.worth());
                assert_eq!(back.case, cell.case);
                assert_eq!(back.to_string(), cell.to_string());
            }
        }
    }
}
