//! Says where a long command stands: step n of m, how long each took, and a table at the end.
//!
//! This room only talks (to stderr, so that stdout stays free for results). It never decides
//! whether a step failed.

use std::time::{Duration, Instant};

use crate::failure::Outcome;
use crate::junit::Case;

/// The steps of one command.
pub(crate) struct Steps {
    count: usize,
    started: Instant,
    done: Vec<(String, Duration, Mark)>,
}

#[derive(Clone, Copy)]
enum Mark {
    Passed,
    Failed,
}

impl Steps {
    /// A command of `count` steps begins now.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            count,
            started: Instant::now(),
            done: Vec::new(),
        }
    }

    /// So many more steps than were known at first.
    pub(crate) fn expect(&mut self, more: usize) {
        self.count += more;
    }

    /// Runs one step and remembers its time, whatever comes of it.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        self.announce(name);
        let started = Instant::now();
        let outcome = work();
        let mark = if outcome.is_ok() {
            Mark::Passed
        } else {
            Mark::Failed
        };
        self.done.push((name.to_owned(), started.elapsed(), mark));
        outcome
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

    /// Every step that ran, as a result for CI.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let case = |(name, time, mark): &(String, Duration, Mark)| Case {
            class: "step",
            name: name.clone(),
            passed: matches!(mark, Mark::Passed),
            time: *time,
        };
        self.done.iter().map(case).collect()
    }

    /// Prints what took how long.
    pub(crate) fn summary(&self) {
        eprintln!("\nstep                                      time  result");
        for (name, time, mark) in &self.done {
            let result = match mark {
                Mark::Passed => "ok",
                Mark::Failed => "FAILED",
            };
            eprintln!("{name:<36}{:>10}  {result}", human(*time));
        }
        eprintln!("{:<36}{:>10}", "all", human(self.started.elapsed()));
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

    #[test]
    fn times_read_like_times() {
        assert_eq!(human(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(human(Duration::from_secs(119)), "119.0 s");
        assert_eq!(human(Duration::from_secs(247)), "4 min 07 s");
    }
}
