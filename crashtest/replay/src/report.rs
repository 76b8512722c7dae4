//! What came of a sweep: numbers and failures, for people and as JSON for programs.
//!
//! Of a sweep that was resumed these are the totals of all its parts. This room must never leave out
//! that something planned was not done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::check::Part;
use crate::states::Kind;

/// Numbers for one kind of state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Derived.
    pub derived: u64,
    /// Of them, not seen before.
    pub unique: u64,
    /// Of the unique, refused with a typed error.
    pub refused: u64,
    /// Of the derived, failed: broken, or something sent is not explained.
    pub failed: u64,
}

/// One state that must not be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What sort of state.
    pub kind: Kind,
    /// After so many steps of the story.
    pub steps: usize,
    /// What is wrong, one sentence each.
    pub why: Vec<String>,
    /// Where it is kept, with what repeats it; none if there are too many.
    pub kept: Option<PathBuf>,
}

/// What came of a sweep.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which program.
    pub name: String,
    /// Which part of its state.
    pub part: Part,
    /// Moments at which a crash leaves something new.
    pub moments: usize,
    /// Marks that were checked.
    pub marks: usize,
    /// By kind.
    pub counts: BTreeMap<Kind, Count>,
    /// Refusals and how often each.
    pub refusals: BTreeMap<String, u64>,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// Pairs of a state and a moment at which it must explain what was sent.
    pub explained: u64,
    /// States that came to an agreement with the other end.
    pub talks: u64,
    /// States that could not, because the two are not paired yet.
    pub unpaired: u64,
    /// Derived states that were left out because the plan wants fewer.
    pub left_out: u64,
    /// The longest start.
    pub slowest: Duration,
    /// Wall time.
    pub took: Duration,
    /// Rounds that were begun.
    pub rounds: u32,
    /// Why fewer states were opened than planned, although there are more; none if it is done.
    pub unfinished: Option<String>,
}

impl Report {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> Count {
        self.counts
            .values()
            .fold(Count::default(), |sum, count| Count {
                derived: sum.derived + count.derived,
                unique: sum.unique + count.unique,
                refused: sum.refused + count.refused,
                failed: sum.failed + count.failed,
            })
    }

    /// Different states opened in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.total().unique as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total = self.total();
        writeln!(
            f,
            "{} {:?}: {} unique of {} derived states at {} moments with {} marks; {} refused, {} \
             failed; {} state-and-moment pairs explained, {} talks agreed ({} not paired yet); {} derived states left out; {:.1} s, {:.0} unique states/s, slowest \
             start {} ms, {} rounds",
            self.name,
            self.part,
            total.unique,
            total.derived,
            self.moments,
            self.marks,
            total.refused,
            total.failed,
            self.explained,
            self.talks,
            self.unpaired,
            self.left_out,
            self.took.as_secs_f64(),
            self.rate(),
            self.slowest.as_millis(),
            self.rounds,
        )?;
        for (kind, count) in &self.counts {
            writeln!(
                f,
                "  {:<18} {:>8} derived {:>8} unique {:>6} refused {:>6} failed",
                kind.name(),
                count.derived,
                count.unique,
                count.refused,
                count.failed
            )?;
        }
        for (refusal, count) in &self.refusals {
            writeln!(f, "  refused {count} times: {refusal}")?;
        }
        if let Some(why) = &self.unfinished {
            writeln!(f, "  NOT COVERED: {why}")?;
        }
        for failure in &self.failures {
            writeln!(
                f,
                "  FAILED {} after step {}: {}",
                failure.kind.name(),
                failure.steps,
                failure.why.join("; ")
            )?;
            if let Some(kept) = &failure.kept {
                writeln!(f, "    repeat: crashtest-replay check {}", kept.display())?;
            }
        }
        Ok(())
    }
}

/// The totals of some sweeps.
#[must_use]
pub fn json(reports: &[Report]) -> Value {
    let one = |report: &Report| {
        let kinds: serde_json::Map<String, Value> = report
            .counts
            .iter()
            .map(|(kind, count)| {
                let value = json!({
                    "derived": count.derived,
                    "unique": count.unique,
                    "refused": count.refused,
                    "failed": count.failed,
                });
                (kind.name().to_owned(), value)
            })
            .collect();
        let failures: Vec<Value> = report
            .failures
            .iter()
            .map(|failure| {
                json!({
                    "kind": failure.kind.name(),
                    "step": failure.steps,
                    "why": failure.why,
                    "kept": failure.kept.as_ref().map(|kept| kept.to_string_lossy().into_owned()),
                })
            })
            .collect();
        let total = report.total();
        json!({
            "program": report.name,
            "part": format!("{:?}", report.part).to_lowercase(),
            "moments": report.moments,
            "marks": report.marks,
            "derived": total.derived,
            "unique": total.unique,
            "refused": total.refused,
            "failed": total.failed,
            "explained": report.explained,
            "talks": report.talks,
            "unpaired": report.unpaired,
            "left_out": report.left_out,
            "rounds": report.rounds,
            "unfinished": report.unfinished,
            "seconds": report.took.as_secs_f64(),
            "states_per_second": report.rate(),
            "slowest_start_ms": report.slowest.as_millis() as u64,
            "kinds": kinds,
            "refusals": report.refusals,
            "failures": failures,
        })
    };
    Value::Array(reports.iter().map(one).collect())
}
