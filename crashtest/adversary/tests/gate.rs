//! The short form of the attacks, for the gate: every vice once against the real programs, some starts on old
//! copies, and a sample of the bytes of their traffic. `cargo xtask adversary` plays all of them.

use crashtest::trouble::{Outcome, Trouble};
use crashtest_adversary::campaign;
use crashtest_adversary::mutated::{self, Depth, Tally};
use crashtest_adversary::rollback;

#[test]
fn a_malicious_relay_breaks_no_promise_and_stops_nobody_for_good() -> Outcome<()> {
    let cases = campaign::cases(1, 1);
    let cells = campaign::run(&cases, |_count, cell| println!("{cell}"))?;
    assert_eq!(cells.len(), cases.len(), "not all were played");
    let failed = cells.iter().filter(|cell| cell.broken.is_some());
    none(failed.map(ToString::to_string).collect())
}

#[test]
fn an_old_copy_of_either_directory_is_noticed_before_anything_new_leaves_it() -> Outcome<()> {
    let cases = rollback::sample();
    let rows = rollback::run(&cases, |_count, row| println!("{row}"))?;
    assert_eq!(rows.len(), cases.len(), "not all were played");
    let failed = rows.iter().filter(|row| row.broken().is_some());
    none(failed.map(ToString::to_string).collect())
}

fn none(failed: Vec<String>) -> Outcome<()> {
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Trouble::Broken(failed.join("; "))),
    }
}

#[test]
fn changed_traffic_changes_nothing() -> Outcome<()> {
    let mut tally = Tally::default();
    mutated::run(Depth::Sample, &mut tally)?;
    println!("{tally}");
    // Five lines with a heartbeat, two events of a Commit, a header, three pieces and their end, and a notification, a
    // picture, a statement, two commands and a live session.
    assert!(tally.envelopes >= 40, "{tally}");
    assert!(tally.changed > tally.envelopes * 128, "{tally}");
    // That each part of it was changed, the exchange sees to itself.
    assert!(tally.notices >= 128 && tally.pictures >= 3 * 128, "{tally}");
    assert!(tally.statements >= 128 && tally.live >= 2 * 128, "{tally}");
    assert!(
        tally.live_frames >= 2 * 128 && tally.settings >= 128,
        "{tally}"
    );
    assert!(tally.inside > tally.envelopes * 40, "{tally}");
    // The most of them reach MLS and are taken there, if nothing is changed.
    assert!(tally.understood * 2 > tally.envelopes, "{tally}");
    assert!(tally.pairing > 4 * 128, "{tally}");
    Ok(())
}
