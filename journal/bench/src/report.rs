//! What was found: one figure per question, with its target, for people and for scripts.
//!
//! It must never hide a miss: a figure without a target says so, one that misses is marked.

use serde_json::{Value, json};

use crate::measure::{Rounds, Samples};

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// For information only.
    None,
}

impl Target {
    fn met(self, measured: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bound) => Some(measured >= bound),
            Self::AtMost(bound) => Some(measured <= bound),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {bound}"),
            Self::AtMost(bound) => format!("<= {bound}"),
            Self::None => "-".to_owned(),
        }
    }
}

/// One question and its answer.
pub(crate) struct Figure {
    pub(crate) key: &'static str,
    title: &'static str,
    unit: &'static str,
    measured: Option<f64>,
    spread: Option<(f64, f64)>,
    target: Target,
    details: Vec<(String, Value)>,
}

impl Figure {
    /// A figure that is known as one number.
    pub(crate) fn new(
        key: &'static str,
        title: &'static str,
        unit: &'static str,
        measured: f64,
        target: Target,
    ) -> Self {
        let measured = Some(measured);
        Self {
            key,
            title,
            unit,
            measured,
            spread: None,
            target,
            details: Vec::new(),
        }
    }

    /// The median of samples, with its quartiles as spread.
    pub(crate) fn of_samples(
        key: &'static str,
        title: &'static str,
        unit: &'static str,
        samples: &Samples,
        target: Target,
    ) -> Self {
        let mut figure = Self::new(key, title, unit, samples.median(), target);
        figure.spread = Some((samples.quantile(0.25), samples.quantile(0.75)));
        figure
    }

    /// A figure that could not be measured here, with the reason.
    pub(crate) fn missing(
        key: &'static str,
        title: &'static str,
        target: Target,
        reason: impl Into<String>,
    ) -> Self {
        let mut figure = Self::new(key, title, "", 0.0, target);
        figure.measured = None;
        figure.with("not measured", json!(reason.into()))
    }

    pub(crate) fn with(mut self, name: impl Into<String>, value: Value) -> Self {
        self.details.push((name.into(), value));
        self
    }

    /// Adds a number, rounded so that a table stays readable.
    pub(crate) fn with_number(self, name: impl Into<String>, value: f64) -> Self {
        self.with(name, json!(rounded(value)))
    }

    /// Adds what a contender's rounds cost; `bytes` per round makes a throughput of them.
    pub(crate) fn with_rounds(self, name: &str, rounds: &Rounds, bytes: Option<u64>) -> Self {
        let mut value = json!({
            "rounds": rounds.wall_s.count(),
            "wall_ms": rounded(rounds.wall_s.median() * 1e3),
            "wall_ms_quartiles": [
                rounded(rounds.wall_s.quantile(0.25) * 1e3),
                rounded(rounds.wall_s.quantile(0.75) * 1e3),
            ],
            "cpu_ms": rounded(rounds.cpu_s.median() * 1e3),
        });
        if let Some(bytes) = bytes {
            let rate = bytes as f64 / rounds.wall_s.median() / 1e6;
            value["mb_per_s"] = json!(rounded(rate));
        }
        self.with(name, value)
    }

    pub(crate) fn met(&self) -> Option<bool> {
        self.measured.and_then(|measured| self.target.met(measured))
    }

    /// It could not be measured.
    fn is_unknown(&self) -> bool {
        self.measured.is_none()
    }

    fn json(&self) -> Value {
        let (target, kind) = match self.target {
            Target::AtLeast(bound) => (json!(bound), json!("at_least")),
            Target::AtMost(bound) => (json!(bound), json!("at_most")),
            Target::None => (Value::Null, Value::Null),
        };
        let details = self
            .details
            .iter()
            .map(|(name, value)| (key_of(name), value.clone()));
        let details: serde_json::Map<_, _> = details.collect();
        json!({
            "title": self.title,
            "measured": self.measured.map(rounded),
            "unit": self.unit,
            "quartiles": self.spread.map(|(low, high)| [rounded(low), rounded(high)]),
            "target": target,
            "target_kind": kind,
            "met": self.met(),
            "details": details,
        })
    }

    fn print(&self) {
        let measured = match self.measured {
            Some(measured) => format!("{} {}", rounded(measured), self.unit),
            None => "?".to_owned(),
        };
        let spread = match self.spread {
            Some((low, high)) => format!("{} .. {}", rounded(low), rounded(high)),
            None => String::new(),
        };
        let verdict = match (self.measured, self.met()) {
            (_, Some(true)) => "met",
            (_, Some(false)) => "NOT MET",
            (None, None) => "not measured",
            (Some(_), None) => "-",
        };
        println!(
            "{:<58} {measured:>16}  {spread:<18} {:<8} {verdict}",
            self.title,
            self.target.text()
        );
    }

    fn print_details(&self) {
        println!("\n{}", self.title);
        for (name, value) in &self.details {
            println!("  {name:<44} {}", flat(value));
        }
    }
}

/// The whole run for people: first the verdicts, then what lies behind them.
pub(crate) fn print_table(figures: &[Figure], notes: &[String]) {
    println!(
        "{:<58} {:>16}  {:<18} {:<8} verdict",
        "figure", "measured", "quartiles", "target"
    );
    for figure in figures {
        figure.print();
    }
    let missed = figures
        .iter()
        .filter(|figure| figure.met() == Some(false))
        .count();
    let unknown = figures.iter().filter(|figure| figure.is_unknown()).count();
    println!(
        "\n{missed} target(s) missed, {unknown} not measured. Ratios are speeds: above 1 means faster than the yardstick."
    );
    for note in notes {
        println!("Note: {note}");
    }
    for figure in figures.iter().filter(|figure| !figure.details.is_empty()) {
        figure.print_details();
    }
}

/// The whole run as one line of JSON.
pub(crate) fn print_json(figures: &[Figure], notes: &[String], quick: bool) {
    let by_key: serde_json::Map<_, _> = figures
        .iter()
        .map(|figure| (figure.key.to_owned(), figure.json()))
        .collect();
    let missed: Vec<_> = figures
        .iter()
        .filter(|figure| figure.met() == Some(false))
        .map(|figure| figure.key)
        .collect();
    println!(
        "{}",
        json!({ "quick": quick, "missed": missed, "notes": notes, "figures": by_key })
    );
}

/// A detail's name as scripts like it.
fn key_of(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_")
        .to_lowercase()
}

/// Four digits that count.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10f64.powi(digits.clamp(0, 9));
    (value * scale).round() / scale
}

fn flat(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("{name} {}", flat(value)))
                .collect();
            fields.join(", ")
        }
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(flat).collect();
            values.join(" .. ")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_its_own_side_only() {
        let figure = |measured, target| Figure::new("k", "t", "x", measured, target).met();
        assert_eq!(figure(0.69, Target::AtLeast(0.7)), Some(false));
        assert_eq!(figure(0.7, Target::AtLeast(0.7)), Some(true));
        assert_eq!(figure(1.11, Target::AtMost(1.1)), Some(false));
        assert_eq!(figure(5.0, Target::None), None);
        assert_eq!(
            Figure::missing("k", "t", Target::AtMost(1.0), "none").met(),
            None
        );
    }

    #[test]
    fn keys_have_no_marks() {
        assert_eq!(
            key_of("of commit: log sync (mean)"),
            "of_commit_log_sync_mean"
        );
    }

    #[test]
    fn numbers_keep_four_digits() {
        assert_eq!(rounded(1234.567), 1235.0);
        assert_eq!(rounded(0.012_345_6), 0.012_35);
        assert_eq!(rounded(0.0), 0.0);
    }
}
