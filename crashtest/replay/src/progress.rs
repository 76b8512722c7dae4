//! How far a long sweep has come, on disk, and the totals for other programs.
//!
//! A progress file is a text: `rounds N`, then one hash of a state that was opened on each line. It
//! only ever grows, so that a sweep that is killed loses no more than its last round.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::image::Hash;
use crate::sweep::Report;

/// What an earlier sweep did.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Rounds that it finished.
    pub rounds: u32,
    /// States that it opened and found good.
    pub seen: HashSet<Hash>,
}

impl Progress {
    /// Reads what is there; nothing if nothing is.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut progress = Self::default();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut round: Vec<Hash> = Vec::new();
        for line in text.lines() {
            if let Some(rounds) = line.strip_prefix("rounds ") {
                // The states of a round count once the round is over.
                if let Ok(rounds) = rounds.parse() {
                    progress.rounds = rounds;
                    progress.seen.extend(round.drain(..));
                }
            } else if let Ok(hash) = Hash::from_str_radix(line, 16) {
                round.push(hash);
            }
        }
        progress
    }

    /// Adds a finished round.
    ///
    /// # Errors
    /// The machine's.
    pub fn append(path: &Path, rounds: u32, hashes: &[Hash]) -> std::io::Result<()> {
        let mut text: String = hashes.iter().map(|hash| format!("{hash:x}\n")).collect();
        text.push_str(&format!("rounds {rounds}\n"));
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path);
        file?.write_all(text.as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_was_cut_off_is_done_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("progress");
        assert_eq!(Progress::read(&path).rounds, 0);
        Progress::append(&path, 1, &[0xa, 0xb]).unwrap();
        Progress::append(&path, 2, &[Hash::MAX]).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("c\nd");
        std::fs::write(&path, text).unwrap();
        let progress = Progress::read(&path);
        assert_eq!(progress.rounds, 2);
        assert_eq!(progress.seen, [0xa, 0xb, Hash::MAX].into());
    }
}
