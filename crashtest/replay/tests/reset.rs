//! How a phone and a hub end: what a removal leaves after a power cut, and what a reset does to the disk, in order, and
//! leaves after one. A reset is no step of a journal, so no golden trace has it; and both take away what the states of
//! the long conversation are judged by. So the programs are recorded for these alone, once for all tests.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crashtest::notes::OWN_GROUPS;
use crashtest::process::Role;
use crashtest::system::{Answer, Setup};
use crashtest::thief;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::check::{LOG_KIB, Part, Told, layout, open_journal};
use crashtest_replay::disk::{Noting, TreeDisk};
use crashtest_replay::recording::Recording;
use crashtest_replay::states::{Kind, Moment, moments};
use crashtest_replay::steps::{Step, Story, Target};
use crashtest_replay::tree::{Change, Node, Object, Tree};
use hub::config::Config;
use hub::reset;
use journal::PairingState;
use journal::thief::keys_in;
use wal::store::MemStore;
use wal::{Disk, Options, SeededDice};

/// The hub's vault, beneath its recorded directory.
const VAULT: &str = "journal/vault";
/// Of the states of a removal those of kill and loss of all are opened, and one in so many of the others.
const OPENED_EVERY: u128 = 8;
/// Of the states of a removal in which the phone is gone, a thief comes to those of kill and loss of all, and to one in so
/// many of the others.
const THIEF_EVERY: u128 = 16;
/// Of the states of a reset that ask for it, the same are written down as files and started, and one in so many others.
const FILES_EVERY: u128 = 32;

/// What was recorded of the hub: it is paired, its one phone is removed, and it is reset.
struct Ending {
    story: Story,
    /// Steps that were done when the phone was to be removed, and when the hub was to be reset.
    paired: usize,
    removed: usize,
    vault: Object,
}

fn ending() -> &'static Ending {
    static ENDING: OnceLock<Ending> = OnceLock::new();
    ENDING.get_or_init(|| record().unwrap())
}

fn record() -> Outcome<Ending> {
    let mut recording = Recording::new(Setup {
        log_kib: Some(LOG_KIB),
        ..Setup::default()
    })?;
    recording.pair()?;
    let listed = ask(&mut recording, &["phones"])?;
    let listed = listed.lines.last().cloned().unwrap_or_default();
    let phone = listed["phones"][0]["phone"].as_str().unwrap_or_default();
    let paired = recording.story(Role::Hub)?;
    let Some(Node::File(vault)) = paired.after().get(VAULT) else {
        return Err(Trouble::Broken("a hub that is paired has no vault".into()));
    };
    ask(&mut recording, &["remove", phone, "--yes"])?;
    let removed = recording.story(Role::Hub)?;
    ask(&mut recording, &["reset", "--yes"])?;
    let ending = Ending {
        story: recording.story(Role::Hub)?,
        paired: paired.steps.len(),
        removed: removed.steps.len(),
        vault,
    };
    // Last, for it opens what is there, which writes to it.
    recording.system_mut().finish()?;
    Ok(ending)
}

/// Asks the recorded hub's program something, which runs by itself.
fn ask(recording: &mut Recording, words: &[&str]) -> Outcome<Answer> {
    let config = recording.system().path("hub.toml").display().to_string();
    let words = [words, &["--config", &config, "--json"]].concat();
    let start = recording.recorded(Role::Hub, &words)?;
    let answer = recording.system_mut().ask_started(Role::Hub, &start)?;
    match answer.status.success() {
        true => Ok(answer),
        false => Err(Trouble::Ended {
            role: Role::Hub,
            status: answer.status,
            said: answer.said,
        }),
    }
}

impl Ending {
    /// The moments behind the first `from` steps, of the first `until`.
    fn moments(&self, from: usize, until: usize) -> Vec<Moment> {
        let story = Story {
            before: self.story.before.clone(),
            steps: self.story.steps[..until].to_vec(),
        };
        let mut all = moments(&story, Part::Log.weigh(Role::Hub));
        all.retain(|moment| moment.steps > from);
        all
    }
}

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
fn a_reset_asks_for_itself_then_overwrites_the_keys_twice_and_only_then_removes_a_name() {
    let Ending {
        story,
        removed,
        vault,
        ..
    } = ending();
    let vault = *vault;
    let behind = story.steps.iter().skip(*removed);
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
}

/// In each state that a power cut in a removal may leave, the phone is there, whole, or it is gone: then its keys are gone
/// with it, and the relay is still to be told.
#[test]
fn a_power_cut_in_a_removal_leaves_the_phone_whole_or_gone_for_good() {
    let ending = ending();
    let mut seen = HashSet::new();
    let (mut whole, mut gone, mut robbed) = (0, 0, 0);
    let moments = ending.moments(ending.paired, ending.removed);
    let steps = moments.last().map_or(0, |moment| moment.steps);
    for moment in &moments {
        let told = Told::until(&ending.story.steps, moment.marks);
        for (kind, fates) in moment.fates(1, 7) {
            let tree = moment.tree(&fates);
            let hash = tree.hash();
            let always = matches!(kind, Kind::Kill | Kind::LoseAll);
            if !always && !(hash >> 64).is_multiple_of(OPENED_EVERY) {
                continue;
            }
            if !seen.insert((hash, told.durable)) {
                continue;
            }
            let place = || format!("{}, behind {} steps", kind.name(), moment.steps);
            let disk = TreeDisk::new(tree, layout(Role::Hub).engine, Noting::Off);
            let (journal, report) = open_journal(
                Role::Hub,
                Arc::new(disk.clone()),
                Box::new(MemStore::new()),
                SeededDice(hash as u64 | 1),
            )
            .unwrap_or_else(|error| panic!("{}: C7: {error}", place()));
            let found = report.last_lsn.0.saturating_sub(OWN_GROUPS);
            assert!(found >= told.durable, "{}: C4: {found}", place());
            let phones = journal.pairing_ids();
            let dismissals = journal.dismissals().unwrap();
            match phones.as_slice() {
                [] => {
                    gone += 1;
                    assert_eq!(dismissals.owed.len(), 1, "{}: C4", place());
                    drop(journal);
                    if always || hash.is_multiple_of(THIEF_EVERY) {
                        robbed += 1;
                        let left =
                            TreeDisk::new(disk.tree(), layout(Role::Hub).engine, Noting::Off);
                        let left: Arc<dyn Disk> = Arc::new(left);
                        let opens = thief::judge(journal::Role::Hub, &left, Options::default());
                        opens.unwrap_or_else(|broken| panic!("{}: {broken}", place()));
                    }
                }
                [phone] => {
                    whole += 1;
                    let known = journal.pairing(*phone).unwrap().unwrap();
                    assert_eq!(known.state, PairingState::Confirmed, "{}", place());
                    assert!(dismissals.owed.is_empty(), "{}", place());
                    assert!(moment.steps < steps, "{}: C4: it was removed", place());
                }
                more => panic!("{}: {} phones", place(), more.len()),
            }
        }
    }
    println!("a removal: {whole} states with the phone, {gone} without, {robbed} robbed");
    assert!(
        // The last sync of it comes at its end, so most states are of before.
        whole > 20 && gone > 4 && robbed > 2,
        "{whole} {gone} {robbed}"
    );
}

/// Whether the vault of a tree still has one of these keys.
fn holds(tree: &Tree, keys: &[Vec<u8>]) -> bool {
    let Some(Node::File(vault)) = tree.get(VAULT) else {
        return false;
    };
    let bytes = tree.file(vault).map(|image| image.to_vec());
    let bytes = bytes.unwrap_or_default();
    let has = |key: &Vec<u8>| bytes.windows(key.len()).any(|part| part == key);
    keys.iter().any(has)
}

/// In each state that a power cut in a reset may leave, the hub is what it was, or it erases itself when it starts, or
/// there is nothing left to be opened.
#[test]
fn a_power_cut_in_a_reset_leaves_a_hub_that_opens_or_one_that_its_next_start_erases() {
    let ending = ending();
    let mut before = ending.story.before.clone();
    for placed in &ending.story.steps[..ending.removed] {
        if let Step::Change(change) = &placed.step {
            before.apply(change);
        }
    }
    let vault = before.file(ending.vault).map(|image| image.to_vec());
    let keys = keys_in(&vault.unwrap_or_default());
    assert!(!keys.is_empty() && holds(&before, &keys));
    let memory = Path::new("/dev/shm");
    let scratch = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let scratch = scratch.unwrap();
    let relay = wire::RelayId([7; 32]).to_text();
    let text = format!("state_dir = \"state\"\nrelay = \"127.0.0.1:1/{relay}\"\n");
    let config = Config::parse(&text, "hub.toml", scratch.path()).unwrap();
    let state = scratch.path().join("state");

    let mut seen = HashSet::new();
    let (mut opened, mut erased, mut empty) = (0, 0, 0);
    let moments = ending.moments(ending.removed, ending.story.steps.len());
    let steps = moments.last().map_or(0, |moment| moment.steps);
    for moment in &moments {
        for (kind, fates) in moment.fates(1, 7) {
            let tree = moment.tree(&fates);
            let hash = tree.hash();
            let always = matches!(kind, Kind::Kill | Kind::LoseAll);
            let is_last = moment.steps == steps;
            if !seen.insert(hash) && !is_last {
                continue;
            }
            let place = || format!("{}, behind {} steps", kind.name(), moment.steps);
            if tree.get(reset::TRIGGER_NAME).is_some() {
                if !always && !hash.is_multiple_of(FILES_EVERY) {
                    continue;
                }
                erased += 1;
                tree.write(&state).unwrap();
                let obeyed = reset::obey(&config);
                let obeyed = obeyed.unwrap_or_else(|failure| panic!("{}: C7: {failure}", place()));
                assert!(obeyed.is_some(), "{}", place());
                for name in ["journal", reset::TRIGGER_NAME] {
                    let is_there = state.join(name).try_exists().unwrap();
                    assert!(!is_there, "{}: S3: {name} is left", place());
                }
                std::fs::remove_dir_all(&state).unwrap();
            } else if holds(&tree, &keys) {
                opened += 1;
                assert!(!is_last, "{}: C4: it was reset", place());
                let disk = TreeDisk::new(tree, layout(Role::Hub).engine, Noting::Off);
                let view = Box::new(MemStore::new());
                let dice = SeededDice(hash as u64 | 1);
                let opens = open_journal(Role::Hub, Arc::new(disk), view, dice);
                drop(opens.unwrap_or_else(|error| panic!("{}: C7: {error}", place())));
            } else {
                empty += 1;
                let left: Vec<&str> = tree.names().map(|(path, _)| path).collect();
                let journal = left.iter().filter(|path| path.starts_with("journal"));
                assert_eq!(journal.count(), 0, "{}: S3: {left:?}", place());
            }
        }
    }
    println!("a reset: {opened} states opened, {erased} erased themselves, {empty} were empty");
    assert!(
        opened > 0 && erased > 4 && empty > 0,
        "{opened} {erased} {empty}"
    );
}
