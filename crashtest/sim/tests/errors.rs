//! A sample of the disk errors that `simulate errors` tries in full, on real files.

use std::path::PathBuf;
use std::process::Command;

use crashtest::fault::Kind;
use crashtest::progress::Progress;
use crashtest::shard::Shard;
use crashtest_sim::errors::{Part, Sweep};
use crashtest_sim::plan::Who;

/// Each so many-th operation: about eighty runs.
const STRIDE: u64 = 67;

#[test]
fn an_operation_that_fails_parts_nobody_and_loses_nothing() {
    let sweep = Sweep::new(PathBuf::from(env!("CARGO_BIN_EXE_simulate"))).unwrap();
    let part = Part {
        stride: STRIDE,
        shard: Shard::WHOLE,
        until: None,
        progress: &Progress::unkept(),
    };
    let found = sweep
        .all(&part, &|run| {
            if let Some(broken) = &run.broken {
                eprintln!("{:?} {}: {broken}", run.who, run.fault);
            }
        })
        .unwrap();
    assert!(found.is_good(), "{}", found.json());
    // Counted from runs in which nothing failed, and tried to the last one.
    for who in Who::ALL {
        let counts = found.counts[&(who, Kind::Eio)];
        assert!(counts.operations > 100, "{who:?}: {counts:?}");
        assert_eq!(counts.tried, counts.operations.div_ceil(STRIDE), "{who:?}");
    }
}

/// On real files as on simulated ones: a key that stays, and a hub that records nothing any more, are
/// seen, and without the bug nothing is broken.
#[test]
fn the_oracle_is_awake_on_real_files() {
    let none = "any:1000000:EIO";
    let trials = [
        ("hub", none, "", ""),
        ("hub", none, "ack_key_stays", "S3"),
        ("app", none, "past_epochs_kept", "S5"),
        ("hub", "any:97-157:FULL", "full_for_ever", "C1"),
    ];
    for (who, fault, mutant, promise) in trials {
        let run = Command::new(env!("CARGO_BIN_EXE_simulate"))
            .args(["error", who, fault])
            .env("SECLUSO_MUTANT", mutant)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        let broken = said.contains(&format!("Some(\"{promise}: "));
        assert_eq!(run.status.success(), promise.is_empty(), "{mutant}: {said}");
        assert!(broken || promise.is_empty(), "{mutant}: {said}");
    }
}
