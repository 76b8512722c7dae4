//! Ways of the model, step by step in the cores: what is played is what is written, and nothing is left out.

use crashtest_sim::run::pair;
use crashtest_sim::script::{NOT_IN_THE_CORES, Played, Step, parse, play};
use journal::Suite;

/// The design's own day: an event with two more pieces, an ack, a second event.
const CALM: &str = "HubCommits, HubSeals, HubSyncs, HubSends, RelaySyncs, HubSends, RelaySyncs, AppTakes, \
                    AppSyncs, AppSends, HubTakes, AppTakes, AppSyncs, HubSeals, HubSyncs, HubSends, RelaySyncs, AppTakes, \
                    AppSyncs, HubCommits, HubSyncs, HubSends, RelaySyncs, AppTakes, AppSyncs";

/// The shortest way that the model finds for a relay that forgets what it delivered.
const FORGETS: &str =
    "HubCommits, HubSeals, HubSyncs, HubSends, RelaySyncs, HubSends, RelaySyncs, AppTakes, AppDies";

/// And for a sender that does not compare digests.
const COPIED: &str = "HubCommits, HubIsCopied, HubSyncs, HubSends, RelaySyncs, HubDies, HubIsRestored, \
                      HubStarts, HubCommits, HubSeals, HubSyncs, HubSends";

fn played(text: &str, mutant: Option<&'static str>) -> Played {
    let script = parse(text).unwrap();
    let pair = pair(Suite::Classic).unwrap();
    wal::mutant::choose(mutant);
    let played = play(&script, &pair);
    wal::mutant::choose(None);
    assert_eq!(played.otherwise, None);
    played
}

fn all_is_done(text: &str) {
    let steps = parse(text).unwrap().len();
    let played = played(text, None);
    assert_eq!(
        (played.done, played.refused.len()),
        (steps, 0),
        "{played:?}"
    );
    assert!(played.broken.is_none(), "{played:?}");
}

fn breaks(text: &str, mutant: &'static str, promise: &str) {
    let played = played(text, Some(mutant));
    let refused = &played.refused;
    assert!(refused.is_empty(), "{refused:?}");
    let broken = played.broken.as_ref().map(|broken| broken.promise);
    assert_eq!(broken, Some(promise), "{played:?}");
}

#[test]
fn a_calm_day_is_done_step_by_step() {
    all_is_done(CALM);
}

#[test]
fn deaths_in_every_place_are_done_and_survived() {
    all_is_done(
        "HubCommits, HubDiesUnsynced, HubPowerCutInRecovery, HubStarts, HubCommits, HubSeals, \
         HubDiesUnsynced, HubStarts, HubSends, RelayDies, HubSends, RelaySyncs, AppTakes, \
         AppDiesUnsynced, AppPowerCutInRecovery, AppStarts, AppTakes, AppDies, AppStarts, HubDies",
    );
}

#[test]
fn the_shortest_ways_of_the_model_break_what_they_should_and_are_harmless_without() {
    all_is_done(FORGETS);
    breaks(FORGETS, "relay_deletes_early", "C1");
    all_is_done(COPIED);
    breaks(COPIED, "digest_not_compared", "C8");
}

/// A copy behind which nothing left is no rollback; one behind which something left sends nothing new.
#[test]
fn a_copy_is_old_only_if_something_left_behind_it() {
    all_is_done("HubCommits, HubSyncs, HubIsCopied, HubDies, HubIsRestored, HubStarts, HubSends");
    let seen = played(&format!("{COPIED}, HubSyncs, HubSends"), None);
    assert!(seen.broken.is_none(), "{seen:?}");
}

/// What a core will not do is told, with its place; the steps behind it are done.
#[test]
fn a_refused_step_is_told() {
    let played = played(
        "HubSeals, HubSends, RelaySyncs, AppTakes, HubStarts, HubCommits",
        None,
    );
    let places: Vec<usize> = played.refused.iter().map(|(index, _)| *index).collect();
    assert_eq!(
        (places, played.done),
        (vec![0, 1, 2, 3, 4], 1),
        "{played:?}"
    );
}

#[test]
fn what_cannot_be_played_is_an_error() {
    assert!(parse("").is_err());
    assert!(parse("HubCommits, HubSulks").is_err());
    for (name, why) in NOT_IN_THE_CORES {
        let unplayable = parse(&format!("HubCommits, {name}(2)")).unwrap_err();
        assert_eq!(unplayable.why, *why, "{name}");
    }
    let read = parse("HubCommits [journal.session.commit_staged],\nAppTakes\n").unwrap();
    assert_eq!(read, [Step::HubCommits, Step::AppTakes]);
}
