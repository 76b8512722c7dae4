//! A verdict as JSON and back, for whoever goes on with a sweep in another process.
//!
//! This room must never read a verdict as a better one: what it does not know is none.

use serde_json::{Value, json};

use super::{Broken, Verdict};
use crate::process::Role;

/// The promises that a run can break.
const PROMISES: [&str; 15] = [
    "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "S1", "S2", "S3", "S4", "S5", "A1", "A2",
];

impl Broken {
    fn to_value(&self) -> Value {
        json!({"promise": self.promise, "what": self.what})
    }

    fn of_value(value: &Value) -> Option<Self> {
        let promise = value.get("promise")?.as_str()?;
        let known = PROMISES.into_iter().find(|known| *known == promise)?;
        Some(Self::new(known, value.get("what")?.as_str()?))
    }
}

impl Verdict {
    /// All of it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Pass => json!("pass"),
            Self::Refused { role, code, said } => {
                json!({"refused": role.program(), "code": code, "said": said})
            }
            Self::Fatal(broken) => {
                json!({"fatal": broken.iter().map(Broken::to_value).collect::<Vec<_>>()})
            }
        }
    }

    /// What [`Verdict::to_value`] made; none if it is something else.
    #[must_use]
    pub fn of_value(value: &Value) -> Option<Self> {
        if value.as_str() == Some("pass") {
            return Some(Self::Pass);
        }
        if let Some(role) = value.get("refused") {
            return Some(Self::Refused {
                role: Role::of_program(role.as_str()?)?,
                code: value.get("code")?.as_i64()?.try_into().ok()?,
                said: value.get("said")?.as_str()?.to_owned(),
            });
        }
        let broken = value.get("fatal")?.as_array()?;
        let broken: Option<Vec<Broken>> = broken.iter().map(Broken::of_value).collect();
        broken.map(Self::Fatal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_read_as_it_was_written_and_nothing_else_is_one() {
        let verdicts = [
            Verdict::Pass,
            Verdict::Refused {
                role: Role::Relay,
                code: 7,
                said: "no space\nis left".to_owned(),
            },
            Verdict::Fatal(vec![
                Broken::new("C7", "it hung"),
                Broken::new("S3", "a \"key\" opens it"),
            ]),
            Verdict::Fatal(Vec::new()),
        ];
        for verdict in verdicts {
            let text = verdict.to_value().to_string();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(Verdict::of_value(&value), Some(verdict), "{text}");
        }
        for wrong in [
            json!(null),
            json!("passed"),
            json!({"refused": "secluso-toaster", "code": 4, "said": "no"}),
            json!({"fatal": [{"promise": "C99", "what": "it"}]}),
            json!({"fatal": true}),
        ] {
            assert_eq!(Verdict::of_value(&wrong), None, "{wrong}");
        }
    }
}
