//! The gate: the design holds within the bounds, every planted mistake and every unsafe order is
//! found by its own promise, and the model is not empty.

use std::collections::{BTreeSet, HashSet};

use crashtest_model::bugs::{CRASHES_SOUGHT, EPOCHS, PLANTED, Place, Real};
use crashtest_model::channel::state::{Kind, Process, State};
use crashtest_model::channel::{Channel, Step};
use crashtest_model::check::explore;
use crashtest_model::pairing::{Pairing, PairingBug};
use crashtest_model::scope::{
    APP_ROLLBACK, CRASHES, HEARTBEAT, HUB_ROLLBACK, ORDERS, RELAY, SCOPES, Scope,
};
use stateright::Model;

/// The bounds of the gate.
const GATE: (u8, u8) = (6, 4);

/// The design within a scope, with at least so many states: fewer, and something was cut off.
fn holds(scope: Scope, at_least: usize) {
    let outcome = explore(Channel::new(scope, None), None, 1);
    println!(
        "{}: {} states, {:?}",
        scope.name, outcome.unique, outcome.took
    );
    assert!(outcome.broken.is_empty(), "{:?}", outcome.broken);
    assert!(outcome.unique >= at_least, "{} states", outcome.unique);
}

#[test]
fn the_design_survives_deaths_anywhere() {
    holds(CRASHES.bounded(GATE.0, GATE.1), 250_000);
}

#[test]
fn the_design_survives_a_relay_that_forgets_and_shows_old_states() {
    holds(RELAY.bounded(GATE.0, GATE.1), 200_000);
}

#[test]
fn the_design_survives_heartbeats_in_the_middle_of_clips() {
    holds(HEARTBEAT.bounded(GATE.0, GATE.1), 250_000);
}

#[test]
fn copied_directories_are_noticed() {
    holds(HUB_ROLLBACK.bounded(GATE.0, GATE.1), 400_000);
    holds(APP_ROLLBACK.bounded(GATE.0, GATE.1), 150_000);
}

#[test]
fn where_steps_were_joined_the_same_holds_with_each_for_itself() {
    for scope in [RELAY, HEARTBEAT, HUB_ROLLBACK, APP_ROLLBACK] {
        holds(scope.fine().bounded(EPOCHS, CRASHES_SOUGHT), 5_000);
    }
}

#[test]
fn every_planted_mistake_is_found_by_its_own_promise() {
    let mut survivors = Vec::new();
    for planted in PLANTED {
        match planted.seek().way {
            Some(way) => assert!(way.len() < 40, "{}: {way:?}", planted.name),
            None => survivors.push(planted.name),
        }
    }
    assert!(survivors.is_empty(), "{survivors:?}");
    assert!(PLANTED.len() >= 20);
}

#[test]
fn orders_of_persist_send_and_merge_are_safe_or_not_as_the_document_says() {
    for order in ORDERS {
        let outcome = explore(
            Channel::new(CRASHES.bounded(4, 3).ordered(order), None),
            None,
            1,
        );
        let broken = outcome.broken.iter().map(|(promise, _)| *promise);
        let broken: BTreeSet<&str> = broken.collect();
        assert_eq!(
            broken.is_empty(),
            order.is_safe(),
            "{}: {broken:?}",
            order.name()
        );
    }
}

#[test]
fn pairing_ends_well_or_can_be_begun_again() {
    let outcome = explore(Pairing::new(3, GATE.1, None), None, 1);
    assert!(outcome.broken.is_empty(), "{:?}", outcome.broken);
    assert!(outcome.unique > 20_000);
    // An answer that was lost in a crash is not fatal: without a proof nothing is whole.
    let early = Pairing::new(2, 3, Some(PairingBug::AnswerBeforePersist));
    let outcome = explore(early, None, 1);
    assert!(outcome.broken.is_empty(), "{:?}", outcome.broken);
}

/// The exception in C8 is needed: a relay that lost its disk lets a rollback go unnoticed.
#[test]
fn a_rollback_and_a_relay_that_forgot_are_together_not_noticed() {
    let scope = Scope {
        amnesias: 1,
        amnesia_after_image: true,
        ..HUB_ROLLBACK.fine().bounded(EPOCHS, CRASHES_SOUGHT)
    };
    let promise = "C8 a rollback is seen";
    let outcome = explore(Channel::new(scope, None), Some(promise), 1);
    assert!(outcome.broken.iter().any(|(name, _)| *name == promise));
}

/// A mistake in one of its own promises must not make another one's search blind.
#[test]
fn each_mistake_is_planted_once() {
    let names: BTreeSet<&str> = PLANTED.iter().map(|planted| planted.name).collect();
    assert_eq!(names.len(), PLANTED.len());
    // Two mistakes of the model may be one in the programs; never the same one in the same place.
    let planted = PLANTED.iter().map(|planted| format!("{:?}", planted.real));
    let real: Vec<String> = planted.collect();
    let different: BTreeSet<&String> = real.iter().filter(|one| !one.starts_with("Not")).collect();
    assert_eq!(different.len(), 19);
    assert!(
        PLANTED
            .iter()
            .any(|planted| matches!(planted.place, Place::Pairing(_)))
    );
}

/// The cores do each step of the model, or say of it that they have no counterpart; and nothing that is
/// handed to them is a step that they do not have.
#[test]
fn every_step_has_its_row_in_the_table_of_the_cores() {
    const TABLE: &str = include_str!("../../sim/src/script/steps.rs");
    const README: &str = include_str!("../README.md");
    let done = |name: &str| TABLE.contains(&format!("\n    {name}: \""));
    let not_there = |name: &str| {
        TABLE.contains(&format!("(\n        \"{name}\","))
            || TABLE.contains(&format!("(\"{name}\", "))
    };
    for step in Step::names() {
        assert!(done(&step) != not_there(&step), "{step}");
        assert!(README.contains(&format!("| `{step}`")), "{step}");
    }
    let mut scripts = 0;
    for planted in PLANTED {
        if !matches!(planted.real, Real::Script { .. }) {
            continue;
        }
        scripts += 1;
        let script = planted.script().unwrap();
        for step in script.text.lines() {
            assert!(done(step), "{}: {step}", planted.name);
        }
    }
    assert_eq!(scripts, 5);
}

/// What a vacuous model would not reach.
#[derive(Default, Debug)]
struct Reached {
    steps: HashSet<String>,
    stale: bool,
    middle_of_a_clip: bool,
    hub_noticed: bool,
    app_noticed: bool,
    unnoticed_yet: bool,
    last_epoch_at_the_app: bool,
}

#[test]
fn every_step_happens_and_the_odd_corners_are_reached() {
    let mut reached = Reached::default();
    for scope in SCOPES {
        walk(scope.fine().bounded(2, 2), &mut reached);
    }
    let wanted = [
        "HubCommits",
        "HubSeals",
        "HubSyncs",
        "HubSends",
        "HubHearsAck",
        "HubTakes",
        "RelaySyncs",
        "AppTakes",
        "AppSyncs",
        "AppSpeaks",
        "AppProposes",
        "AppSends",
        "HubDies",
        "HubDiesUnsynced",
        "HubPowerCutInRecovery",
        "HubStarts",
        "AppDies",
        "AppDiesUnsynced",
        "AppPowerCutInRecovery",
        "AppStarts",
        "RelayDies",
        "RelayForgets",
        "RelayIsSetBack",
        "HubIsCopied",
        "HubIsRestored",
        "AppIsCopied",
        "AppIsRestored",
    ];
    for step in wanted {
        assert!(reached.steps.contains(step), "{step} never happens");
    }
    let Reached {
        stale,
        middle_of_a_clip,
        hub_noticed,
        app_noticed,
        ..
    } = reached;
    assert!(
        stale && middle_of_a_clip && hub_noticed && app_noticed,
        "{reached:?}"
    );
    assert!(
        reached.unnoticed_yet && reached.last_epoch_at_the_app,
        "{reached:?}"
    );
}

/// Every state, breadth first, without the checker.
fn walk(scope: Scope, reached: &mut Reached) {
    let model = Channel::new(scope, None);
    let mut known: HashSet<State> = model.init_states().into_iter().collect();
    let mut edge: Vec<State> = known.iter().copied().collect();
    let mut steps = Vec::new();
    while let Some(state) = edge.pop() {
        look(&state, scope, reached);
        model.actions(&state, &mut steps);
        for step in steps.drain(..) {
            let Some(next) = model.after(&state, step) else {
                continue;
            };
            let name = format!("{step:?}");
            reached
                .steps
                .insert(name.split('(').next().unwrap().to_owned());
            if let (Process::Up(before), Process::Up(after), Step::HubTakes) =
                (state.hub, next.hub, step)
            {
                let envelope = state.up.stored.get(before.staged.inbox + 1).unwrap();
                let old = envelope.epoch < before.staged.epoch;
                reached.stale |= old && envelope.kind == Kind::Proposal && before.right;
                let commits = after.staged.epoch > before.staged.epoch;
                reached.middle_of_a_clip |= commits && before.right && before.generation == 1;
            }
            if known.insert(next) {
                edge.push(next);
            }
        }
    }
}

fn look(state: &State, scope: Scope, reached: &mut Reached) {
    let restored = state.seen.hub_restored || state.seen.app_restored;
    match (state.hub, state.app) {
        (Process::Up(hub), _) if hub.noticed => reached.hub_noticed = true,
        (_, Process::Up(app)) if app.noticed => reached.app_noticed = true,
        (Process::Up(_), Process::Up(_)) if restored => reached.unnoticed_yet = true,
        _ => {}
    }
    reached.last_epoch_at_the_app |= state.app_disk.epoch == scope.epochs;
}
