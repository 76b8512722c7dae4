//! What a reset does to the disk, in order. It is no step of a journal, so no golden trace has it: the program is
//! recorded.

use crashtest::process::Role;
use crashtest::system::Setup;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::recording::Recording;
use crashtest_replay::steps::{Step, Target};
use crashtest_replay::tree::{Change, Node};

/// The places of all steps that are wanted.
fn places(steps: &[&Step], wanted: impl Fn(&Step) -> bool) -> Vec<usize> {
    let all = steps.iter().enumerate();
    all.filter(|(_, step)| wanted(step))
        .map(|(place, _)| place)
        .collect()
}

/// Where syncs of this ended well.
fn synced(steps: &[&Step], wanted: &Target) -> Vec<usize> {
    let is_of = |step: &Step, end: &(u32, u64)| matches!(step, Step::SyncBegin { id, target } if id == end && target == wanted);
    let begun = |end: &(u32, u64)| steps.iter().any(|step| is_of(step, end));
    places(
        steps,
        |step| matches!(step, Step::SyncEnd { id, done: true } if begun(id)),
    )
}

#[test]
fn a_reset_asks_for_itself_then_overwrites_the_keys_twice_and_only_then_removes_a_name()
-> Outcome<()> {
    let mut recording = Recording::new(Setup::default())?;
    recording.pair()?;
    let paired = recording.story(Role::Hub)?;
    let Some(Node::File(vault)) = paired.after().get("journal/vault") else {
        return Err(Trouble::Broken("a hub that is paired has no vault".into()));
    };
    let config = recording.system().path("hub.toml").display().to_string();
    let words = ["reset", "--config", &config, "--yes", "--json"];
    let start = recording.recorded(Role::Hub, &words)?;
    let answer = recording.system_mut().ask_started(Role::Hub, &start)?;
    assert!(answer.status.success(), "{}", answer.said);

    let story = recording.story(Role::Hub)?;
    let behind = story.steps.iter().skip(paired.steps.len());
    let steps: Vec<&Step> = behind.map(|placed| &placed.step).collect();
    let state_dir = Target::Directory(String::new());
    let asked = steps.iter().find_map(|step| match step {
        Step::Change(Change::Link {
            path,
            node: Node::File(trigger),
        }) if path == "reset" => Some(*trigger),
        _ => None,
    });
    let trigger = asked.expect("no trigger was made");
    let named =
        |step: &Step| matches!(step, Step::Change(Change::Link { path, .. }) if path == "reset");
    let made = places(&steps, named)[0];
    let kept = synced(&steps, &Target::File(trigger))[0];
    // The journal that it looks for begins with a sync of the directory, before anything is asked for.
    let name_kept = synced(&steps, &state_dir);
    let name_kept = name_kept.into_iter().find(|place| made < *place);
    let name_kept = name_kept.expect("the trigger's name is not durable");
    let overwrites = places(&steps, |step| match step {
        Step::Change(change) => change.file() == Some(vault),
        _ => false,
    });
    let durably = synced(&steps, &Target::File(vault));
    let removed = places(
        &steps,
        |step| matches!(step, Step::Change(Change::Unlink { path }) if path.starts_with("journal")),
    );
    let untold = places(
        &steps,
        |step| matches!(step, Step::Change(Change::Unlink { path }) if path == "reset"),
    );
    // The trigger and its name, before the first key.
    assert!(made < kept && kept < overwrites[0], "{steps:?}");
    assert!(name_kept < overwrites[0], "{steps:?}");
    // All of it, synced, and all of it once more, before any name goes.
    assert_eq!(durably.len(), 2, "{steps:?}");
    let between = |place: &&usize| durably[0] < **place && **place < durably[1];
    assert!(overwrites[0] < durably[0]);
    assert!(overwrites.iter().any(|place| between(&place)));
    assert!(overwrites.iter().all(|place| *place < durably[1]));
    assert!(durably[1] < removed[0], "{steps:?}");
    // The journal is gone, durably, before the trigger is; and that it is, is durable as well.
    let gone = synced(&steps, &state_dir);
    let last = removed.last().copied().unwrap_or_default();
    assert_eq!(untold.len(), 1);
    assert!(gone.iter().any(|place| last < *place && *place < untold[0]));
    assert!(gone.iter().any(|place| untold[0] < *place), "{steps:?}");
    // Last, for it opens what is there, which writes to it.
    recording.system_mut().finish()
}
