//! What became of one target, and where that is kept: a file beside the programs, so that a series of runs that was
//! stopped goes on with `--resume`.
//!
//! It must never take a run that found something, or one of another tree, for one that need not be repeated.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::listen::Heard;
use crate::commit;
use crate::failure::{Because as _, Outcome};

/// What became of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) target: String,
    /// Of which commit, and whether of more than that.
    pub(super) commit: String,
    pub(super) minutes: u64,
    pub(super) heard: Heard,
    /// Inputs that failed, kept.
    pub(super) findings: Vec<PathBuf>,
    /// How the program ended, if not well.
    pub(super) ended: Option<String>,
}

impl Run {
    pub(super) fn failed(&self) -> bool {
        // One that ran nothing has shown nothing.
        self.ended.is_some() || !self.findings.is_empty() || self.heard.runs == 0
    }

    /// Whether it stands for a run of so many minutes of this commit.
    pub(super) fn stands_for(&self, commit: &str, minutes: u64) -> bool {
        let is_same = self.commit == commit && commit::is_one(commit);
        is_same && self.minutes >= minutes && !self.failed()
    }

    pub(super) fn json(&self) -> Value {
        let findings: Vec<String> = self
            .findings
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        json!({
            "target": self.target,
            "commit": self.commit,
            "minutes": self.minutes,
            "runs": self.heard.runs,
            "runs_per_second": self.heard.runs_per_second,
            "coverage": self.heard.coverage,
            "features": self.heard.features,
            "new_inputs": self.heard.new_inputs,
            "peak_mib": self.heard.peak_mib,
            "findings": findings,
            "ended": self.ended,
            "ok": !self.failed(),
        })
    }

    /// What [`Self::json`] made of a run that went well; `None` of any other text.
    fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| value[name].as_u64();
        let word = |name: &str| value[name].as_str().map(str::to_owned);
        let run = Self {
            target: word("target")?,
            commit: word("commit")?,
            minutes: number("minutes")?,
            heard: Heard {
                runs: number("runs")?,
                runs_per_second: number("runs_per_second")?,
                coverage: number("coverage")?,
                features: number("features")?,
                new_inputs: number("new_inputs")?,
                peak_mib: number("peak_mib")?,
            },
            findings: Vec::new(),
            ended: None,
        };
        (value["ok"] == true && !run.failed()).then_some(run)
    }

    /// Keeps it for a later call.
    pub(super) fn keep(&self, place: &Path) -> Outcome<()> {
        let path = path(place, &self.target);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).because("the folder of results cannot be made")?;
        }
        fs::write(path, self.json().to_string()).because("a result cannot be kept")
    }

    /// The last run of a target, if it went well.
    pub(super) fn kept(place: &Path, target: &str) -> Option<Self> {
        let text = fs::read_to_string(path(place, target)).ok()?;
        Self::read(&text).filter(|run| run.target == target)
    }
}

/// Where the result of a target is.
fn path(place: &Path, target: &str) -> PathBuf {
    place.join("results").join(format!("{target}.json"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::fuzz) fn run(target: &str) -> Run {
        Run {
            target: target.to_owned(),
            commit: "770686cd2b40".to_owned(),
            minutes: 5,
            heard: Heard {
                runs: 9000,
                runs_per_second: 30,
                coverage: 415,
                features: 990,
                new_inputs: 46,
                peak_mib: 61,
            },
            findings: Vec::new(),
            ended: None,
        }
    }

    #[test]
    fn a_run_that_went_well_is_read_back_and_no_other() {
        let good = run("frame");
        assert_eq!(Run::read(&good.json().to_string()), Some(good.clone()));
        let found = Run {
            findings: vec!["crash-1".into()],
            ..good.clone()
        };
        let died = Run {
            ended: Some("signal 9".to_owned()),
            ..good.clone()
        };
        let idle = Run {
            heard: Heard::default(),
            ..good
        };
        for bad in [found, died, idle] {
            assert!(bad.failed());
            assert_eq!(Run::read(&bad.json().to_string()), None);
        }
        assert_eq!(Run::read("{"), None);
    }

    #[test]
    fn a_run_stands_for_shorter_ones_of_its_own_commit() {
        let good = run("frame");
        let own = good.commit.clone();
        assert!(good.stands_for(&own, 5) && good.stands_for(&own, 1));
        assert!(!good.stands_for(&own, 30));
        assert!(!good.stands_for("0123456789ab", 5));
        // Nobody knows whether the changes are the same.
        let changed = own + " and changes";
        let of_changes = Run {
            commit: changed.clone(),
            ..good
        };
        assert!(!of_changes.stands_for(&changed, 5));
    }
}
