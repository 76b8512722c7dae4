//! The short form of the attacks, for the gate: some vices against the real programs, and a sample of the
//! bytes of their traffic. `cargo xtask adversary` plays all of them.

use crashtest::trouble::{Outcome, Trouble};
use crashtest_adversary::campaign::{self, Case};
use crashtest_adversary::mutated::{self, Depth, Tally};
use crashtest_adversary::vice::Vice;

/// One wave of workers: of each kind of lie one, about envelopes, receipts, heads, time and memory.
const VICES: [Vice; 6] = [
    Vice::Flip,
    Vice::ForgeReceipts,
    Vice::HeadAbove,
    Vice::Equivocate,
    Vice::Wipe,
    Vice::Mixture,
];

#[test]
fn a_malicious_relay_breaks_no_promise_and_stops_nobody_for_good() -> Outcome<()> {
    let cases = VICES.map(|vice| Case { vice, seed: 1 });
    let cells = campaign::run(&cases, |_count, cell| println!("{cell}"))?;
    assert_eq!(cells.len(), cases.len(), "not all were played");
    let failed: Vec<String> = cells
        .iter()
        .filter(|cell| cell.broken.is_some())
        .map(ToString::to_string)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Trouble::Broken(failed.join("; ")))
}

#[test]
fn changed_traffic_changes_nothing() -> Outcome<()> {
    let mut tally = Tally::default();
    mutated::run(Depth::Sample, &mut tally)?;
    println!("{tally}");
    // Five lines with a heartbeat, and an event of a Commit, a header, three pieces and its end.
    assert!(tally.envelopes >= 16, "{tally}");
    assert!(tally.changed > tally.envelopes * 128, "{tally}");
    assert!(tally.frames > 0 && tally.control > 0, "{tally}");
    Ok(())
}
