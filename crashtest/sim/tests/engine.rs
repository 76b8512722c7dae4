//! The engine's seeds of the gate.

use crashtest_sim::engine::Bias;
use crashtest_sim::run;

/// Seeds in the gate; `simulate engine` does more.
const SEEDS: u64 = 4_000;

#[test]
fn every_prefix_survives_every_crash() {
    let halves = std::thread::scope(|scope| {
        let work = |from: u64| {
            let (mut crashes, mut failed) = (0, Vec::new());
            for seed in (from..SEEDS).step_by(2) {
                match run::engine(Bias::of(seed), seed) {
                    Ok(died) => crashes += died,
                    Err(broken) => failed.push(format!("engine seed {seed}: {broken}")),
                }
            }
            (crashes, failed)
        };
        [0, 1]
            .map(|from| scope.spawn(move || work(from)))
            .map(|half| half.join().unwrap())
    });
    let crashes: u64 = halves.iter().map(|half| half.0).sum();
    let failed: Vec<&String> = halves.iter().flat_map(|half| &half.1).collect();
    println!(
        "{SEEDS} engine seeds, {crashes} crashes, {} failed",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(crashes > 5 * SEEDS, "{crashes}");
}
