//! The tests in an order that keeps the machine busy: what computes beside what waits, and then, alone, what
//! plays in real time.
//!
//! `cargo test` runs one program after the other, and those that start the real programs spend most of their
//! time waiting for cameras, back-offs and deaths. So two runs of it share the machine. Whoever decodes pictures
//! at the pace of a camera, or shows them in a browser, would say that the machine is busy, and so comes last.
//! This room only sorts and starts; it must never leave a test out.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use crate::budget;
use crate::cargo::{self, Heard, Manner, SELECTION};
use crate::failure::{Because as _, Failure, Outcome};

/// Test programs that mostly wait, by name.
const WAIT: [&str; 19] = [
    "any",
    "away",
    "bad_input",
    "commands",
    "constant_rate",
    "crash_points",
    "daemon_errors",
    "loopback",
    "phones",
    "privacy",
    "process",
    "program",
    "recorder",
    "reset",
    "revoke",
    "rtsp",
    "scenarios",
    "service",
    "supervised",
];

/// Test programs that play in real time.
const PLAY: [&str; 4] = ["cameras", "end_to_end", "live", "media"];

/// Which tests a run is of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lane {
    /// For cargo, behind its selection of packages.
    targets: Vec<String>,
    manner: Manner,
}

/// Runs all tests.
pub(crate) fn run() -> Outcome<Heard> {
    let metadata = cargo::output(&["metadata", "--locked", "--no-deps", "--format-version", "1"])?;
    let metadata = serde_json::from_str(&metadata).because("cargo's metadata is no JSON")?;
    let [compute, wait, play] = lanes(&programs(&metadata))?;
    let began = Instant::now();
    let (first, second) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| heard(&wait));
        let first = heard(&compute);
        (first, beside.join())
    });
    let second = second.map_err(|_| Failure::machine("a run of tests could not be heard"))?;
    let docs = Lane {
        targets: vec!["--doc".to_owned()],
        manner: Manner::Lines,
    };
    let runs = [first?, second?, heard(&play)?, heard(&docs)?];
    let mut all = sum(runs);
    all.took = began.elapsed();
    Ok(all)
}

/// The test programs in `tests` directories, by name; several crates may have one of a name.
fn programs(metadata: &Value) -> BTreeSet<String> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let targets = list(metadata, "packages")
        .into_iter()
        // The yardsticks are no part of the selection.
        .filter(|package| package["name"] != "bench")
        .flat_map(|package| list(&package, "targets"));
    targets
        .filter(|target| list(target, "kind").iter().any(|kind| kind == "test"))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect()
}

/// Every program in exactly one lane.
fn lanes(programs: &BTreeSet<String>) -> Outcome<[Lane; 3]> {
    let unknown = WAIT
        .iter()
        .chain(&PLAY)
        .find(|name| !programs.contains(**name));
    if let Some(name) = unknown {
        return Err(Failure::found(format!(
            "no test program is called `{name}`: take it out of releases/xtask/src/lanes.rs"
        )));
    }
    let of = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .flat_map(|name| ["--test".to_owned(), (*name).to_owned()])
            .collect()
    };
    let others: Vec<&str> = programs
        .iter()
        .map(String::as_str)
        .filter(|name| !WAIT.contains(name) && !PLAY.contains(name))
        .collect();
    let mut compute = vec!["--lib".to_owned(), "--bins".to_owned()];
    compute.extend(of(&others));
    let lane = |targets, manner| Lane { targets, manner };
    Ok([
        lane(compute, Manner::Lines),
        lane(of(&WAIT), Manner::Blocks),
        lane(of(&PLAY), Manner::Lines),
    ])
}

fn heard(lane: &Lane) -> Outcome<Heard> {
    let mut words = vec!["test"];
    words.extend(SELECTION);
    words.push("--no-fail-fast");
    words.extend(lane.targets.iter().map(String::as_str));
    let mut heard = cargo::run_heard(&words, lane.manner)?;
    heard.programs = budget::programs(&heard.stderr, heard.took);
    Ok(heard)
}

/// All of what was said, and the first failure.
fn sum(runs: [Heard; 4]) -> Heard {
    let mut all = Heard::default();
    for run in runs {
        all.stdout.push_str(&run.stdout);
        all.stderr.extend(run.stderr);
        all.programs.extend(run.programs);
        all.took += run.took;
        all.outcome = all.outcome.and(run.outcome);
    }
    all.programs
        .sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> BTreeSet<String> {
        let all = WAIT.iter().chain(&PLAY).chain(&["gate", "engine"]);
        all.map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_program_is_in_one_lane() {
        let names = names();
        let lanes = lanes(&names).unwrap();
        for name in &names {
            let of = |lane: &&Lane| lane.targets.contains(name);
            assert_eq!(lanes.iter().filter(of).count(), 1, "{name}");
        }
        assert_eq!(
            lanes[0].targets,
            ["--lib", "--bins", "--test", "engine", "--test", "gate"]
        );
    }

    #[test]
    fn a_name_that_no_program_has_is_told() {
        let mut names = names();
        names.remove("phones");
        let said = lanes(&names).unwrap_err().to_string();
        assert!(said.contains("`phones`"), "{said}");
    }

    #[test]
    fn programs_are_those_of_the_selection() {
        let target = |kind: &str, name: &str| json!({ "kind": [kind], "name": name });
        let metadata = json!({ "packages": [
            { "name": "hub", "targets": [target("lib", "hub"), target("test", "media")] },
            { "name": "relay", "targets": [target("test", "live"), target("bin", "secluso-relay")] },
            { "name": "bench", "targets": [target("test", "rows")] },
        ] });
        let found: Vec<String> = programs(&metadata).into_iter().collect();
        assert_eq!(found, ["live", "media"]);
    }

    #[test]
    fn the_first_failure_of_all_runs_is_theirs() {
        let run = |outcome| Heard {
            stdout: "test a ... ok\n".to_owned(),
            outcome,
            ..Heard::default()
        };
        let failed = || Err(Failure::found("`cargo test` failed"));
        let all = sum([run(Ok(())), run(failed()), run(Ok(())), run(Ok(()))]);
        assert!(all.outcome.is_err());
        assert_eq!(all.stdout.lines().count(), 4);
    }
}
