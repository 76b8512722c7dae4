//! Says where a long command stands: step n of m, how long each took, and a table at the end.
//!
//! This room only talks (to stderr, so that stdout stays free for results). It never decides
//! whether a step failed, and never forgets one that was planned: what did not run is listed as not
//! covered.

use std::time::{Duration, Instant};

use crate::failure::Outcome;
use crate::junit::{Case, Verdict};

/// Why a planned step did not run, if nobody gave another reason.
const NOT_REACHED: &str = "not run, because a step before it failed";

/// The steps of one command.
pub(crate) struct Steps {
    count: usize,
    planned: Vec<String>,
    started: Instant,
    done: Vec<Case>,
}

impl Steps {
    /// A command with these steps begins now.
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut steps = Self::counted(0);
        steps.expect(names);
        steps
    }

    /// A command that stops at the first step that fails, and says so by itself: only the number of its
    /// steps is known.
    pub(crate) fn counted(count: usize) -> Self {
        Self {
            count,
            planned: Vec::new(),
            started: Instant::now(),
            done: Vec::new(),
        }
    }

    /// More steps than were known at first.
    pub(crate) fn expect(&mut self, names: &[&str]) {
        self.count += names.len();
        self.planned
            .extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// Runs one step and remembers its time, whatever comes of it.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        self.announce(name);
        let started = Instant::now();
        let outcome = work();
        let verdict = match &outcome {
            Ok(_) => Verdict::Passed,
            Err(failure) => Verdict::Failed(failure.to_string()),
        };
        self.put(name, verdict, started.elapsed());
        outcome
    }

    /// As [`Self::step`], unless something is lacking that the tool does not bring: then the step is left
    /// out, loudly.
    pub(crate) fn step_unless(
        &mut self,
        name: &str,
        lacking: Option<String>,
        work: impl FnOnce() -> Outcome<()>,
    ) -> Outcome<()> {
        let Some(why) = lacking else {
            return self.step(name, work);
        };
        self.announce(name);
        self.skip(name, &why);
        Ok(())
    }

    /// A step that is left out.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        eprintln!("      NOT COVERED: {name}: {why}");
        self.put(name, Verdict::Skipped(why.to_owned()), Duration::ZERO);
    }

    /// Something that failed and is no step.
    pub(crate) fn fail(&mut self, name: &str, why: &str) {
        self.put(name, Verdict::Failed(why.to_owned()), Duration::ZERO);
    }

    fn put(&mut self, name: &str, verdict: Verdict, time: Duration) {
        self.done.push(Case {
            class: "step",
            name: name.to_owned(),
            verdict,
            time,
        });
    }

    fn announce(&self, name: &str) {
        eprintln!(
            "[{}/{}] {name}  (at {})",
            self.done.len() + 1,
            self.count,
            human(self.started.elapsed())
        );
    }

    /// How long the command has been running.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Every step as a result for CI, those that were planned and did not run among them.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases = self.done.clone();
        for name in &self.planned {
            if !self.done.iter().any(|case| case.name == *name) {
                cases.push(Case {
                    class: "step",
                    name: name.clone(),
                    verdict: Verdict::Skipped(NOT_REACHED.to_owned()),
                    time: Duration::ZERO,
                });
            }
        }
        cases
    }

    /// Prints what took how long, and everything that was not covered: steps, and of the other cases
    /// those that say so.
    pub(crate) fn summary(&self, others: &[Case]) {
        eprintln!("\nstep                                      time  result");
        let steps = self.cases();
        for step in &steps {
            let result = match &step.verdict {
                Verdict::Passed => "ok",
                Verdict::Failed(_) => "FAILED",
                Verdict::Skipped(_) => "NOT COVERED",
            };
            eprintln!("{:<36}{:>10}  {result}", step.name, human(step.time));
        }
        eprintln!("{:<36}{:>10}", "all", human(self.started.elapsed()));
        let mut all = steps.iter().chain(others);
        let Some(first) = all.by_ref().find_map(Case::not_covered) else {
            return;
        };
        eprintln!("\nNOT COVERED:\n  {first}");
        for sentence in all.filter_map(Case::not_covered) {
            eprintln!("  {sentence}");
        }
    }
}

/// `93.4 s` below two minutes, `4 min 07 s` above.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 120 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn times_read_like_times() {
        assert_eq!(human(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(human(Duration::from_secs(119)), "119.0 s");
        assert_eq!(human(Duration::from_secs(247)), "4 min 07 s");
    }

    #[test]
    fn every_planned_step_has_an_outcome_whatever_was_run() {
        let mut steps = Steps::new(&["one", "two"]);
        steps.expect(&["three", "four", "five"]);
        steps.step("one", || Ok(())).unwrap();
        let lacking = Some("no tool".to_owned());
        let never = || Err(Failure::found("it was run"));
        steps.step_unless("two", lacking, never).unwrap();
        let failed = steps.step_unless("three", None, || Err(Failure::found("broken")));
        assert!(failed.is_err());
        steps.skip("four", "not wanted");
        let verdicts: Vec<(String, Verdict)> = steps
            .cases()
            .into_iter()
            .map(|case| (case.name, case.verdict))
            .collect();
        let skipped = |why: &str| Verdict::Skipped(why.to_owned());
        let wanted = [
            ("one", Verdict::Passed),
            ("two", skipped("no tool")),
            ("three", Verdict::Failed("broken".to_owned())),
            ("four", skipped("not wanted")),
            ("five", skipped(NOT_REACHED)),
        ];
        let wanted = wanted.map(|(name, verdict)| (name.to_owned(), verdict));
        assert_eq!(verdicts, wanted);
    }
}
