//! Deliberate bugs, each planted in the real programs and each to be caught by the promise that it
//! breaks.
//!
//! The programs know the bugs (`wal::mutant!`) and list them; this room says in which workload and
//! under which crash each is tried. It must never count a bug as caught by anything but its own
//! promise, nor if the same workload and crash fails without the bug.
#![expect(clippy::disallowed_methods, reason = "A trial shows how long it took.")]

use std::fmt;
use std::time::{Duration, Instant};

use crate::daemon_errors;
use crate::oracle::{Broken, Verdict};
use crate::process::Role;
use crate::sweep::{self, Case, Survey};
use crate::system::{Crash, Stock};
use crate::workload::Workload;

/// How long a wait may take at least while a bug is alive: what it broke often never comes.
const PATIENCE_MIN: Duration = Duration::from_secs(20);
/// Half of all bugs are to be seen within this time.
pub const MEDIAN_MAX: Duration = Duration::from_secs(60);
/// Otherwise as many times the whole run without the bug. So no wait of that run was as long, it
/// would have passed with the very patience that the bug gets, and slowness alone is no catch.
const PATIENCE_RUNS: u32 = 4;

/// How a complaint goes on that is about a commit: whatever a program does, it passes those.
const PASSED_BY_ALL: &str = ": wal.commit.";

/// Where the bugs are listed that the simulation tries, and those that it leaves to this room.
const SIMULATED: &str = include_str!("../sim/src/mutants/trials.rs");

/// How a bug is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// The bug.
    pub mutant: &'static str,
    /// In which conversation.
    pub workload: Workload,
    /// What it takes to see the bug.
    pub by: By,
}

/// What it takes to see a bug, besides the conversation.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// Nothing.
    Itself,
    /// A program dies: which, at which point, at which hit.
    Crash(Role, &'static str, u64),
    /// An operation of a program fails, as `SECLUSO_RECORD_FAULT` says.
    Fault(Role, &'static str),
    /// The survey: a point that nobody passes fails a sweep before it begins.
    Survey,
}

/// All trials. A bug that the programs have and that is missing here fails the run.
pub const TRIALS: &[Trial] = &[
    Trial {
        mutant: "merge_before_persist",
        workload: Workload::Event,
        by: By::Crash(Role::Hub, "wal.commit.after_apply", 2),
    },
    Trial {
        mutant: "send_before_sync",
        workload: Workload::Event,
        by: By::Itself,
    },
    Trial {
        mutant: "skip_the_sync",
        workload: Workload::Event,
        by: By::Itself,
    },
    Trial {
        mutant: "ack_before_durable",
        workload: Workload::Event,
        by: By::Crash(Role::App, "app.take.staged", 2),
    },
    Trial {
        mutant: "ratchet_not_stored",
        workload: Workload::Event,
        by: By::Crash(Role::App, "app.take.staged", 3),
    },
    // The simulation tries it, too; here it shows that the thief of real directories is not blind.
    Trial {
        mutant: "ack_key_stays",
        workload: Workload::Event,
        by: By::Itself,
    },
    Trial {
        mutant: "copy_outlives_ack",
        workload: Workload::Retain,
        by: By::Itself,
    },
    // The thief's tier tries it, too; here the phone's next processes do not mend it either.
    Trial {
        mutant: "deleted_key_stays",
        workload: Workload::Trim,
        by: By::Itself,
    },
    Trial {
        mutant: "cursor_apart",
        workload: Workload::Event,
        by: By::Itself,
    },
    Trial {
        mutant: "new_commit_after_restart",
        workload: Workload::Event,
        by: By::Crash(Role::Hub, "wal.commit.after_apply", 5),
    },
    Trial {
        mutant: "success_without_proof",
        workload: Workload::Pair,
        by: By::Crash(Role::Hub, "journal.pairing.hub_done", 1),
    },
    Trial {
        mutant: "key_in_a_log_line",
        workload: Workload::Event,
        by: By::Itself,
    },
    Trial {
        mutant: "panic_instead_of_poison",
        workload: Workload::Event,
        by: By::Fault(Role::Hub, "sync:16:EIO"),
    },
    Trial {
        mutant: "overtaken_not_noted",
        workload: Workload::Beside,
        by: By::Itself,
    },
    Trial {
        mutant: "settings_version_not_compared",
        workload: Workload::Beside,
        by: By::Itself,
    },
    Trial {
        mutant: "camera_set_forgotten",
        workload: Workload::Order,
        by: By::Itself,
    },
    Trial {
        mutant: "full_unsaid",
        workload: Workload::Budget,
        by: By::Itself,
    },
    Trial {
        mutant: "copies_go_with_their_phone",
        workload: Workload::Replace,
        by: By::Itself,
    },
    Trial {
        mutant: "second_phone_ends_first",
        workload: Workload::Beside,
        by: By::Itself,
    },
    Trial {
        mutant: "dismissal_forgotten",
        workload: Workload::Remove,
        by: By::Itself,
    },
    Trial {
        mutant: "revoke_not_stored",
        workload: Workload::Remove,
        by: By::Itself,
    },
    Trial {
        mutant: "reset_removes_first",
        workload: Workload::Reset,
        by: By::Itself,
    },
    Trial {
        mutant: "point_never_passed",
        workload: Workload::Event,
        by: By::Survey,
    },
];

/// What came of a trial.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The bug.
    pub mutant: &'static str,
    /// The promise that it breaks.
    pub promise: String,
    /// With the bug.
    pub with: Verdict,
    /// The same workload and crash without it.
    pub without: Verdict,
    /// Time to detection.
    pub took: Duration,
}

impl Finding {
    /// Its own promise was named, and without the bug nothing was.
    #[must_use]
    pub fn caught(&self) -> bool {
        let named = match &self.with {
            Verdict::Fatal(broken) => broken.iter().any(|one| one.promise == self.promise),
            _ => false,
        };
        named && self.without == Verdict::Pass
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.caught() { "caught" } else { "SURVIVED" };
        let seconds = self.took.as_secs_f64();
        write!(
            f,
            "{:<26} {} {outcome}  {seconds:.1} s  ",
            self.mutant, self.promise
        )?;
        match &self.with {
            Verdict::Fatal(broken) => {
                let own = broken.iter().find(|one| one.promise == self.promise);
                match own.or(broken.first()) {
                    Some(Broken { promise, what }) => write!(f, "{promise}: {what:.160}")?,
                    None => write!(f, "nothing")?,
                }
            }
            other => write!(f, "{other:?}")?,
        }
        match &self.without {
            Verdict::Pass => Ok(()),
            other => write!(f, "  and without the bug: {other:?}"),
        }
    }
}

/// Bugs that neither this room nor the simulation tries, and trials of bugs that no program has.
#[must_use]
pub fn unmatched(survey: &Survey) -> Vec<String> {
    let untried = survey.mutants.keys().filter(|name| !is_tried(name));
    let unknown = TRIALS
        .iter()
        .filter(|trial| !survey.mutants.contains_key(trial.mutant));
    untried
        .map(|name| format!("no trial plants {name}"))
        .chain(unknown.map(|trial| format!("no program has {}", trial.mutant)))
        .collect()
}

/// Whether some trial plants this bug, here or in the simulation.
#[must_use]
pub fn is_tried(name: &str) -> bool {
    let simulated = SIMULATED.contains(&format!("(\"{name}\""));
    simulated || TRIALS.iter().any(|trial| trial.mutant == name)
}

/// Tries one bug, and the same without it. A [`Survey`] must have passed before.
#[must_use]
pub fn find(stock: &Stock, trial: &Trial, promise: &str) -> Finding {
    let finding = |without, with, took| Finding {
        mutant: trial.mutant,
        promise: promise.to_owned(),
        with,
        without,
        took,
    };
    let counted = match trial.by {
        // A heartbeat's messages of five lines would come between the hits that are counted.
        By::Crash(..) => match Stock::answered(&trial.workload.setup()) {
            Ok(stock) => Some(stock),
            Err(trouble) => {
                let failed = Verdict::of(&Err(trouble));
                return finding(failed.clone(), failed, Duration::ZERO);
            }
        },
        By::Itself | By::Fault(..) | By::Survey => None,
    };
    let stock = counted.as_ref().unwrap_or(stock);
    let began = Instant::now();
    // Here and now: how fast the survey was says nothing of a machine that has other work since.
    let without = play(stock, trial, None);
    let patience = PATIENCE_MIN.max(began.elapsed() * PATIENCE_RUNS);
    let began = Instant::now();
    let with = play(stock, trial, Some((trial.mutant, patience)));
    finding(without, with, began.elapsed())
}

/// The median time to detection.
#[must_use]
pub fn median(findings: &[Finding]) -> Duration {
    let mut took: Vec<Duration> = findings.iter().map(|finding| finding.took).collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}

/// Plays a trial's workload with what it takes, with a bug and so much patience, or without.
#[must_use]
pub fn play(stock: &Stock, trial: &Trial, mutant: Option<(&str, Duration)>) -> Verdict {
    let mut setup = trial.workload.setup();
    if let Some((mutant, patience)) = mutant {
        setup.mutant = Some(mutant.to_owned());
        setup.patience = patience;
    }
    match trial.by {
        By::Fault(role, plan) => return daemon_errors::attempt_in(stock, setup, role, plan).1,
        By::Survey => return surveyed(stock, trial.workload, setup.mutant),
        By::Itself | By::Crash(..) => {}
    }
    let mut system = match trial.workload.world(stock, setup) {
        Ok(system) => system,
        Err(trouble) => return Verdict::of(&Err(trouble)),
    };
    if let By::Crash(role, point, hit) = trial.by {
        let point = point.to_owned();
        system = system.planted(Crash { role, point, hit });
    }
    let run = trial.workload.run(&mut system);
    let verdict = Verdict::with_notes(&run, &system.all_notes());
    let died = system.died() || !matches!(trial.by, By::Crash(..));
    // With the bug or without, the crash must have happened, or the run is worth nothing.
    if !died {
        return Verdict::Fatal(vec![Broken {
            promise: "harness",
            what: format!("{} was not reached", Case::from(trial)),
        }]);
    }
    verdict
}

/// What a sweep would say before it kills anybody, of points that every conversation passes: one is enough, and
/// does not take as long as all of them.
fn surveyed(stock: &Stock, workload: Workload, mutant: Option<String>) -> Verdict {
    let survey = sweep::survey_of(stock, &[workload], mutant.as_deref());
    let never = survey.map(|survey| {
        let mut never = survey.never_hit();
        never.retain(|line| line.contains(PASSED_BY_ALL));
        never
    });
    match never {
        Ok(never) if never.is_empty() => Verdict::Pass,
        Ok(never) => Verdict::Fatal(
            never
                .into_iter()
                .map(|what| Broken::new("sweep", what))
                .collect(),
        ),
        Err(trouble) => Verdict::of(&Err(trouble)),
    }
}

impl From<&Trial> for Case {
    fn from(trial: &Trial) -> Self {
        let crash = match trial.by {
            By::Crash(role, point, hit) => Some(Crash {
                role,
                point: point.to_owned(),
                hit,
            }),
            By::Itself | By::Fault(..) | By::Survey => None,
        };
        Self {
            workload: trial.workload,
            crashes: crash.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_simulation_leaves_to_real_processes_is_tried_here() {
        let (_, list) = SIMULATED.split_once("ELSEWHERE: &[&str] = &[").unwrap();
        let (list, _) = list.split_once("];").unwrap();
        let left: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        let twice = |trial: &&Trial| SIMULATED.contains(&format!("(\"{}\"", trial.mutant));
        let here = TRIALS.iter().filter(|trial| !twice(trial));
        let here: Vec<&str> = here.map(|trial| trial.mutant).collect();
        assert_eq!(left, here);
    }
}
