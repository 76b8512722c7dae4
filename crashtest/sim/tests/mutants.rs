//! The oracle is awake: some deliberate bugs, quick ones, and states that no crash could leave.

use crashtest_sim::mutants::{self, TRIALS, Tier, Trial};
use crashtest_sim::plan::{Flavour, Plan, Step, What, Who};
use crashtest_sim::run::{pair, repeat};
use crashtest_sim::world::Pair;
use journal::Suite;
use wal::disk::Fault;

/// Those that each push tries, one for each promise; `simulate mutants` tries all.
const QUICK: [&str; 11] = [
    "garbage_moves_the_cursor",
    "past_epochs_kept",
    "dedupe_left_out",
    "index_before_chunk",
    "old_epoch_encrypted_in",
    "batch_not_synced",
    "two_batches_instead_of_one",
    "page_cache_believed",
    "relay_keeps_no_evidence",
    "ack_key_stays",
    "secret_left_out",
];

#[test]
fn no_bug_is_without_a_trial_and_no_trial_without_its_bug() {
    let linked = mutants::linked().unwrap();
    assert_eq!(mutants::unmatched(&linked), Vec::<String>::new());
    assert!(TRIALS.len() >= 30, "{}", TRIALS.len());
}

#[test]
fn a_bug_for_each_promise_is_caught_by_it() {
    let linked = mutants::linked().unwrap();
    let pair = pair(Suite::XWing).unwrap();
    let mut promises = Vec::new();
    for name in QUICK {
        let is = |trial: &&Trial| trial.mutant == name;
        let trial = TRIALS.iter().find(is).unwrap();
        let promise = linked[name];
        let finding = mutants::find(trial, promise, &pair);
        println!("{finding}");
        assert!(finding.caught(), "{finding}");
        promises.push(promise);
    }
    promises.sort_unstable();
    assert_eq!(
        promises,
        [
            "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "S2", "S3", "S5"
        ]
    );
}

/// What a power cut took back lies behind the torn end of the log, and each bug that leaves a key to it is seen.
#[test]
fn what_a_power_cut_took_back_stays_closed_and_each_bug_that_opens_it_is_seen() {
    let linked = mutants::linked().unwrap();
    let pair = pair(Suite::Classic).unwrap();
    let names: Vec<&str> = TRIALS
        .iter()
        .filter(|trial| trial.tier == Tier::Cut)
        .map(|trial| trial.mutant)
        .collect();
    assert_eq!(
        names,
        ["pool_kept", "rotation_without_salt", "start_renews_nothing"]
    );
    for seed in 0..3 {
        mutants::play(Tier::Cut, seed, None, &pair).unwrap();
        for name in &names {
            let broken = mutants::play(Tier::Cut, seed, Some(name), &pair).unwrap_err();
            assert_eq!(broken.promise, linked[name], "{name}: {broken}");
        }
    }
}

/// Who may not pair does not, and each bug that lets somebody in, or in unsaid, is seen. Of S4, which takes a life,
/// `theft.rs` has the bug of each push.
#[test]
fn nobody_pairs_who_may_not_and_each_bug_that_lets_somebody_in_is_seen() {
    let linked = mutants::linked().unwrap();
    let pair = pair(Suite::Classic).unwrap();
    mutants::play(Tier::Door, 0, None, &pair).unwrap();
    let at_the_door = TRIALS.iter().filter(|trial| trial.tier == Tier::Door);
    let mut seen = 0;
    for trial in at_the_door {
        let broken = mutants::play(Tier::Door, 0, Some(trial.mutant), &pair).unwrap_err();
        let name = trial.mutant;
        assert_eq!(broken.promise, linked[name], "{name}: {broken}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

fn some_events(and: Option<What>) -> Plan {
    let mut plan = Plan::flavoured(Flavour::Calm, 3);
    if let Some(what) = and {
        let at_ms = 13_000;
        plan.steps.push(Step { at_ms, what });
    }
    plan
}

/// A hub that takes a failed sync for a good one sends what it covered, and is caught in the act, not
/// only by what a later start misses.
#[test]
fn what_leaves_after_a_failed_sync_is_no_pass() {
    let pair = pair(Suite::Classic).unwrap();
    let caught = (0..24).any(|after_ops| {
        let mut plan = some_events(None);
        let what = What::DiskError {
            who: Who::Hub,
            after_ops,
            fault: Fault::Eio,
        };
        plan.steps.insert(0, Step { at_ms: 500, what });
        repeat(&plan, &pair).unwrap_or_else(|broken| panic!("without the bug: {broken}"));
        wal::mutant::choose(Some("sync_error_ignored"));
        let outcome = repeat(&plan, &pair);
        wal::mutant::choose(None);
        let left = |broken: crashtest_sim::Broken| {
            broken.promise == "C4" && broken.what.contains("nothing was opened again")
        };
        outcome.is_err_and(left)
    });
    assert!(caught, "nobody saw what left after a failed sync");
}

#[test]
fn a_truncated_store_is_no_pass() {
    let pair = pair(Suite::Classic).unwrap();
    repeat(&some_events(None), &pair).unwrap();
    for who in Who::ALL {
        let plan = some_events(Some(What::Truncate { who }));
        let broken = repeat(&plan, &pair).expect_err("a truncated store went unseen");
        assert!(["C4", "C7"].contains(&broken.promise), "{who:?}: {broken}");
    }
}

#[test]
fn the_app_of_another_pair_is_no_pass() {
    let (one, other) = (pair(Suite::Classic).unwrap(), pair(Suite::Classic).unwrap());
    let swapped = Pair {
        app: other.app,
        ..one
    };
    let broken = repeat(&some_events(None), &swapped).expect_err("swapped peers went unseen");
    assert!(["C1", "C7"].contains(&broken.promise), "{broken}");
}
