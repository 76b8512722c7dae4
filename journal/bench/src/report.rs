//! What was found: one figure per question, with its target, for people and for scripts.
//!
//! It must never hide a miss: a figure without a target says so, one that misses is marked, and a question that nobody
//! has answered is a figure that was not measured.

use serde_json::{Value, json};

use crate::Outcome;
use crate::measure::{Rounds, Samples};

/// What stands for a value without end.
const NEVER: &str = "never";

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

/// What is asked, and what was promised. Each room of this program lists its own, for the table and for the document
/// that is committed: `cargo xtask` finds them there by the lines that begin with `key:`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// How scripts, and the document, name it.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
}

impl Question {
    /// Answered by one number.
    pub(crate) fn answer(self, measured: f64) -> Figure {
        Figure {
            question: self,
            measured: Some(measured),
            spread: None,
            details: Vec::new(),
        }
    }

    /// Answered by the median, with the quartiles as spread.
    pub(crate) fn answer_by(self, samples: &Samples) -> Figure {
        let mut figure = self.answer(samples.median());
        figure.spread = Some((samples.quantile(0.25), samples.quantile(0.75)));
        figure
    }

    /// It could not be measured here, with the reason.
    pub(crate) fn unanswered(self, reason: impl Into<String>) -> Figure {
        let mut figure = self.answer(0.0);
        figure.measured = None;
        figure.with("not measured", json!(reason.into()))
    }
}

/// A figure for each question, whatever became of those who were to answer.
pub(crate) fn complete(questions: &[Question], answers: Outcome<Vec<Figure>>) -> Vec<Figure> {
    let (mut figures, reason) = match answers {
        Ok(figures) => (figures, "nobody has answered it".to_owned()),
        Err(error) => (Vec::new(), error.to_string()),
    };
    for question in questions {
        if !figures.iter().any(|figure| figure.key() == question.key) {
            figures.push(question.unanswered(reason.as_str()));
        }
    }
    figures
}

/// One question and its answer.
pub(crate) struct Figure {
    question: Question,
    measured: Option<f64>,
    spread: Option<(f64, f64)>,
    details: Vec<(String, Value)>,
}

impl Figure {
    /// How scripts name it.
    pub(crate) fn key(&self) -> &'static str {
        self.question.key
    }

    pub(crate) fn with(mut self, name: impl Into<String>, value: Value) -> Self {
        self.details.push((name.into(), value));
        self
    }

    /// Adds a number, rounded so that a table stays readable.
    pub(crate) fn with_number(self, name: impl Into<String>, value: f64) -> Self {
        self.with(name, number(value))
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

    fn met(&self) -> Option<bool> {
        let target = self.question.target;
        self.measured.and_then(|measured| target.met(measured))
    }

    /// It could not be measured.
    fn is_unknown(&self) -> bool {
        self.measured.is_none()
    }

    /// In one word or two.
    fn verdict(&self) -> &'static str {
        match (self.measured, self.met()) {
            (_, Some(true)) => "met",
            (_, Some(false)) => "NOT MET",
            (None, None) => "not measured",
            (Some(_), None) => "-",
        }
    }

    fn json(&self) -> Value {
        let (target, kind) = match self.question.target {
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
            "title": self.question.title,
            "measured": self.measured.map(number),
            "unit": self.question.unit,
            "quartiles": self.spread.map(|(low, high)| [number(low), number(high)]),
            "target": target,
            "target_kind": kind,
            "target_text": self.question.target.text(),
            "met": self.met(),
            "verdict": self.verdict(),
            "details": details,
        })
    }

    fn print(&self) {
        let measured = match self.measured {
            Some(measured) => format!("{} {}", flat(&number(measured)), self.question.unit),
            None => "?".to_owned(),
        };
        let spread = match self.spread {
            Some((low, high)) => format!("{} .. {}", flat(&number(low)), flat(&number(high))),
            None => String::new(),
        };
        println!(
            "{:<58} {measured:>16}  {spread:<18} {:<8} {}",
            self.question.title,
            self.question.target.text(),
            self.verdict()
        );
    }

    fn print_details(&self) {
        println!("\n{}", self.question.title);
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
    let (missed, unknown) = (missed(figures).len(), unknown(figures).len());
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

/// The whole run for scripts; `place` is the file system in which was measured.
pub(crate) fn json(figures: &[Figure], notes: &[String], quick: bool, place: &str) -> Value {
    let by_key: serde_json::Map<_, _> = figures
        .iter()
        .map(|figure| (figure.key().to_owned(), figure.json()))
        .collect();
    json!({
        "quick": quick,
        "file_system": place,
        "missed": missed(figures),
        "not_measured": unknown(figures),
        "notes": notes,
        "figures": by_key,
    })
}

/// The keys of those that missed their target.
fn missed(figures: &[Figure]) -> Vec<&'static str> {
    let missed = figures.iter().filter(|figure| figure.met() == Some(false));
    missed.map(Figure::key).collect()
}

/// The keys of those that were not measured.
fn unknown(figures: &[Figure]) -> Vec<&'static str> {
    let unknown = figures.iter().filter(|figure| figure.is_unknown());
    unknown.map(Figure::key).collect()
}

/// What is wrong with a run, in one sentence; nothing if every question is answered and every target met.
pub(crate) fn shortfall(figures: &[Figure]) -> Option<String> {
    let lists = [
        ("missed", missed(figures)),
        ("not measured", unknown(figures)),
    ];
    let lists = lists.into_iter().filter(|(_, keys)| !keys.is_empty());
    let sentences: Vec<String> = lists
        .map(|(what, keys)| format!("{what}: {}", keys.join(", ")))
        .collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
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

/// A number as it is shown: four digits that count, or that it has no end, for which JSON has no number.
fn number(value: f64) -> Value {
    match value.is_infinite() {
        true => json!(NEVER),
        false => json!(rounded(value)),
    }
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

    fn asked(key: &'static str, target: Target) -> Question {
        let (title, unit) = ("t", "x");
        Question {
            key,
            title,
            unit,
            target,
        }
    }

    #[test]
    fn a_target_is_met_on_its_own_side_only() {
        let met = |measured, target| asked("k", target).answer(measured).met();
        assert_eq!(met(0.69, Target::AtLeast(0.7)), Some(false));
        assert_eq!(met(0.7, Target::AtLeast(0.7)), Some(true));
        assert_eq!(met(1.11, Target::AtMost(1.1)), Some(false));
        assert_eq!(met(5.0, Target::None), None);
        let unanswered = asked("k", Target::AtMost(1.0)).unanswered("none");
        assert_eq!(unanswered.met(), None);
    }

    #[test]
    fn what_never_came_misses_its_target_and_is_no_number() {
        let ages: Samples = [f64::INFINITY, f64::INFINITY, 3.0].into_iter().collect();
        let figure = asked("k", Target::AtMost(300.0)).answer_by(&ages);
        let json = figure.json();
        assert_eq!(
            (&json["met"], &json["verdict"]),
            (&json!(false), &json!("NOT MET"))
        );
        assert_eq!(
            (&json["measured"], &json["quartiles"][1]),
            (&json!(NEVER), &json!(NEVER))
        );
    }

    #[test]
    fn a_run_falls_short_by_each_miss_and_by_each_question_without_an_answer() {
        let questions = [
            asked("good", Target::AtMost(1.0)),
            asked("bad", Target::AtMost(1.0)),
            asked("told", Target::None),
            asked("gone", Target::None),
        ];
        let [good, bad, told, _] = questions;
        let answers = || vec![good.answer(0.5), told.answer(7.0)];
        assert_eq!(shortfall(&answers()), None);
        let figures = complete(
            &questions,
            Ok(vec![bad.answer(2.0), good.answer(0.5), told.answer(7.0)]),
        );
        assert_eq!(figures.len(), 4);
        let said = shortfall(&figures);
        assert_eq!(said.as_deref(), Some("missed: bad; not measured: gone"));
        let figures = complete(&questions, Err("no disk".into()));
        let said = shortfall(&figures);
        assert_eq!(said.as_deref(), Some("not measured: good, bad, told, gone"));
        let json = json(&figures, &[], false, "ext4");
        assert_eq!(json["not_measured"], json!(["good", "bad", "told", "gone"]));
        assert_eq!(
            json["figures"]["good"]["details"]["not_measured"],
            "no disk"
        );
        assert_eq!(json["file_system"], "ext4");
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
