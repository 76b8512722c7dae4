//! A finished run under an error as JSON and back.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, Cell};
use crate::oracle::Verdict;
use crate::process::Role;
use crate::progress::Kept;
use crate::system::Met;

impl Kept for Cell {
    type Case = Case;

    fn case(&self) -> Case {
        self.case
    }

    fn fails(&self) -> bool {
        Cell::fails(self)
    }

    fn to_value(&self) -> Value {
        json!({
            "program": self.case.role.program(),
            "error": self.case.kind.to_string(),
            "number": self.case.number,
            "met": self.met.operations,
            "ends": self.met.ends,
            "untold": self.met.untold,
            "verdict": self.verdict.to_value(),
            "seconds": self.took.as_secs_f64(),
        })
    }

    fn of_value(value: &Value) -> Option<Self> {
        let words = value.get("met")?.as_array()?.iter();
        let words = words.map(|word| Some(word.as_str()?.to_owned()));
        let operations: Option<Vec<String>> = words.collect();
        let seconds = value.get("seconds")?.as_f64()?;
        Some(Self {
            case: Case {
                role: Role::of_program(value.get("program")?.as_str()?)?,
                kind: value.get("error")?.as_str()?.parse().ok()?,
                number: value.get("number")?.as_u64()?,
            },
            met: Met {
                operations: operations?,
                ends: value.get("ends")?.as_u64()?.try_into().ok()?,
                untold: value.get("untold")?.as_u64()?.try_into().ok()?,
            },
            verdict: Verdict::of_value(value.get("verdict")?)?,
            took: Duration::try_from_secs_f64(seconds).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;
    use crate::oracle::Broken;

    #[test]
    fn a_run_comes_back_as_it_was() {
        let cell = Cell {
            case: Case {
                role: Role::App,
                kind: Kind::Full,
                number: 17,
            },
            met: Met {
                operations: vec!["Write ENOSPC".to_owned(), "Allocate ENOSPC".to_owned()],
                ends: 1,
                untold: 2,
            },
            verdict: Verdict::Fatal(vec![Broken::new("C2", "it is gone")]),
            took: Duration::from_millis(2500),
        };
        let back = Cell::of_value(&cell.to_value()).unwrap();
        assert_eq!((back.case, back.met), (cell.case, cell.met));
        assert_eq!((back.verdict, back.took), (cell.verdict, cell.took));
        assert!(Cell::of_value(&json!({"program": "secluso-hub"})).is_none());
    }
}
