//! The engine's seeds of the gate.

use crashtest_sim::run;
use crashtest_sim::seeds::Seeds;

/// Seeds in the gate; `simulate engine` does more.
const SEEDS: u64 = 4_000;

#[test]
fn every_prefix_survives_every_crash() {
    let found = run::engines(&Seeds::new(0, SEEDS)).unwrap();
    let crashes = found.sum(0);
    let failed = &found.failed;
    println!(
        "{SEEDS} engine seeds, {crashes} crashes, {} failed",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(found.played, SEEDS);
    assert!(crashes > 5 * SEEDS, "{crashes}");
}
