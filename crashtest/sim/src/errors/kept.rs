//! A finished run on real files as JSON and back.

use crashtest::progress::Kept;
use serde_json::{Value, json};

use super::{Case, Cell, Run, name_of, named};

impl Kept for Cell {
    type Case = Case;

    fn case(&self) -> Case {
        self.case
    }

    fn fails(&self) -> bool {
        self.run.broken.is_some()
    }

    fn to_value(&self) -> Value {
        json!({
            "program": name_of(self.case.who),
            "error": self.case.kind.to_string(),
            "number": self.case.number,
            "fault": self.run.fault,
            "failed_operations": self.run.failed_operations,
            "restarts": self.run.restarts,
            "broken": self.run.broken,
        })
    }

    fn of_value(value: &Value) -> Option<Self> {
        let who = named(value.get("program")?.as_str()?)?;
        let broken = match value.get("broken")? {
            Value::Null => None,
            broken => Some(broken.as_str()?.to_owned()),
        };
        Some(Self {
            case: Case {
                who,
                kind: value.get("error")?.as_str()?.parse().ok()?,
                number: value.get("number")?.as_u64()?,
            },
            run: Run {
                who,
                fault: value.get("fault")?.as_str()?.to_owned(),
                failed_operations: value.get("failed_operations")?.as_u64()?,
                restarts: value.get("restarts")?.as_u64()?,
                broken,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Who;
    use crashtest::fault::Kind;

    #[test]
    fn a_run_comes_back_as_it_was() {
        for broken in [None, Some("C4: it left".to_owned())] {
            let case = Case {
                who: Who::Relay,
                kind: Kind::Read,
                number: 9,
            };
            let cell = Cell {
                case,
                run: Run {
                    who: case.who,
                    fault: case.kind.plan(case.number),
                    failed_operations: 1,
                    restarts: 2,
                    broken,
                },
            };
            assert_eq!(Cell::of_value(&cell.to_value()), Some(cell));
        }
        assert_eq!(Cell::of_value(&json!({"program": "relay"})), None);
        assert_eq!(named("toaster"), None);
    }
}
