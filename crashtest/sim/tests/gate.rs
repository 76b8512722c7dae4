//! The seeds of the gate, and that the oracle is awake.

use crashtest_sim::plan::{Flavour, Plan, Step, What, Who};
use crashtest_sim::run::{self, pair, repeat};
use crashtest_sim::seeds::Seeds;
use journal::Suite;

/// Seeds in the gate; `simulate run` does more.
const SEEDS: u64 = 2_000;

/// Plans in which clips grow old.
const AGED: u64 = 64;

#[test]
fn every_promise_holds_for_every_seed() {
    let found = run::worlds(&Seeds::new(0, SEEDS)).unwrap();
    let (deaths, events) = (found.sum(0), found.sum(2));
    let failed = &found.failed;
    println!(
        "{SEEDS} seeds, {deaths} deaths, {events} events, {} failed",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(found.played, SEEDS);
    let (dropped, old) = (found.sum(3), found.sum(4));
    println!("{dropped} clips lost to damage and said so, {old} old copies seen");
    assert!(
        dropped >= SEEDS / 64 && old >= SEEDS / 64,
        "{dropped} {old}"
    );
    assert!(deaths > SEEDS / 2 && events > SEEDS, "{deaths} {events}");
    // One at each end of a scenario that nobody's old copy ended, and one or more before.
    let heartbeats = found.sum(5);
    assert!(heartbeats > SEEDS * 2, "{heartbeats}");
    let orders = found.sum(6);
    assert!(orders > SEEDS / 2, "{orders}");
}

/// A disk from before must be seen at the next start, whoever it belongs to.
#[test]
fn scenario_21_an_old_disk_is_seen_whoever_it_belongs_to() {
    let pair = pair(Suite::Classic).unwrap();
    for who in [Who::Hub, Who::App] {
        let record = |at_ms| Step {
            at_ms,
            what: What::Record {
                pieces: vec![500, 500],
                gap_ms: 10,
                cut: false,
            },
        };
        let old = Step {
            at_ms: 5_000,
            what: What::OldDisk { who },
        };
        let plan = Plan {
            seed: 1,
            steps: vec![record(100), old, record(9_000)],
        };
        repeat(&plan, &pair).unwrap_or_else(|broken| panic!("{who:?}: {broken}"));
    }
}

/// Without any trouble nothing is broken, and what was recorded has arrived.
#[test]
fn a_calm_day() {
    let pair = pair(Suite::XWing).unwrap();
    let steps = (0..5)
        .map(|n| Step {
            at_ms: n * 3_000,
            what: What::Record {
                pieces: vec![1_000; 4],
                gap_ms: 200,
                cut: false,
            },
        })
        .collect();
    let stats = repeat(&Plan { seed: 9, steps }, &pair).unwrap();
    assert_eq!((stats.events, stats.deaths), (6, 0));
    // A Commit, a header, four chunks and a trailer each, two chunks in the last, and the acks.
    assert!(stats.envelopes >= 5 * 7 + 5, "{stats:?}");
}

/// Clips that nobody fetches go when they have waited for a day, by a statement, and none before that: wherever their hub
/// dies meanwhile.
#[test]
fn clips_go_for_their_age_and_no_younger_one_does() {
    let pair = pair(Suite::Classic).unwrap();
    let (mut events, mut dropped, mut deaths) = (0, 0, 0);
    for seed in 0..AGED {
        let stats = repeat(&Plan::flavoured(Flavour::Ages, seed), &pair);
        let stats = stats.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        events += stats.events;
        dropped += stats.dropped;
        deaths += stats.deaths;
    }
    println!("{events} events, {dropped} dropped for their age, {deaths} deaths");
    assert!(deaths > AGED / 4, "{deaths}");
    // The one more of each end is there, and so is what was young enough.
    assert!((AGED / 4..events - AGED).contains(&dropped), "{dropped}");
}

/// No network for an hour at either end, and in the middle of it another relay, with nothing stored, in the place of
/// the one that there was. Events go on all the while; a part of one was on its way. Everything that the hub accepted
/// arrives, byte for byte, and both ends come into step.
#[test]
fn an_hour_without_network_and_then_an_empty_relay_cost_nothing_that_was_accepted() {
    const HOUR_MS: u64 = 3_600_000;
    let pair = pair(Suite::Classic).unwrap();
    let record = |at_ms, gap_ms| Step {
        at_ms,
        what: What::Record {
            pieces: vec![1_000; 4],
            gap_ms,
            cut: false,
        },
    };
    let gone = |who| Step {
        at_ms: 4_000,
        what: What::Break {
            who,
            for_ms: HOUR_MS,
        },
    };
    let mut steps = vec![record(1_000, 1_500), gone(Who::Hub), gone(Who::App)];
    steps.extend((1..13).map(|n| record(n * 5 * 60_000, 200)));
    steps.push(Step {
        at_ms: HOUR_MS / 2 + 60_000,
        what: What::Amnesia,
    });
    steps.sort_by_key(|step| step.at_ms);
    let stats = repeat(&Plan { seed: 3, steps }, &pair).unwrap();
    assert_eq!((stats.events, stats.dropped, stats.deaths), (14, 0, 0));
    assert!(stats.simulated_ms > HOUR_MS, "{stats:?}");
    // What leaves, leaves once or twice: nothing is sent again and again while nobody is there.
    assert!(stats.envelopes < 600, "{stats:?}");
}
