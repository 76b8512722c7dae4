//! A sample of the disk errors that `simulate errors` tries in full, on real files.

use std::path::PathBuf;

use crashtest_sim::errors::{Kind, Sweep};
use crashtest_sim::plan::Who;

/// Each so many-th operation: about eighty runs.
const STRIDE: u64 = 67;

#[test]
fn an_operation_that_fails_parts_nobody_and_loses_nothing() {
    let sweep = Sweep::new(PathBuf::from(env!("CARGO_BIN_EXE_simulate"))).unwrap();
    let found = sweep
        .all(STRIDE, None, &|run| {
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
