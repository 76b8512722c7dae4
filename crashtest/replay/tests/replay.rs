//! A real conversation, recorded once; then every kind of crash of each program, and a few
//! recordings that were tampered with, stores that were cut and peers that were swapped, to see that
//! the sweep would notice.

use std::sync::OnceLock;

use crashtest::process::Role;
use crashtest::trouble::Outcome;
use crashtest_replay::check::{Outcome as Start, Part, Subject, Told, layout};
use crashtest_replay::conversation::{Length, Stories, begin, record};
use crashtest_replay::ends::{Agreement, Peer, talk};
use crashtest_replay::recording::Recording;
use crashtest_replay::states::{Moment, moments};
use crashtest_replay::steps::{Step, Story, Target};
use crashtest_replay::sweep::{Plan, Report, sweep};
use crashtest_replay::tree::{Change, Node, Object, Tree};
use crashtest_replay::words;
use crashtest_trace::Content;

/// Different states that the gate opens.
const UNIQUE_MIN: u64 = 10_000;
/// Of each program, in memory.
const LOG_STATES: u64 = 3_200;
/// Of each program, as files with RocksDB.
const WHOLE_STATES: u64 = 300;
/// Syncs of each program that are taken out, spread evenly over those of its story that matter.
const SYNCS_LEFT_OUT: usize = 16;
/// The same, where every batch of the log counts.
const BATCHES_LOST: usize = 8;

fn stories() -> &'static Stories {
    static STORIES: OnceLock<Stories> = OnceLock::new();
    STORIES.get_or_init(|| record(Length::Gate).unwrap())
}

fn keep() -> std::path::PathBuf {
    std::env::temp_dir().join("secluso-crashtest-failed")
}

#[test]
fn every_state_that_a_crash_leaves_explains_what_was_sent() -> Outcome<()> {
    let stories = stories();
    let mut unique = 0;
    let mut reports: Vec<Report> = Vec::new();
    for role in Role::ALL {
        let story = stories.of(role);
        let subject = Subject::new(role, &story.steps);
        let peer = stories
            .peer(role)
            .map(|(role, story)| Peer::new(role, story));
        for (part, states) in [(Part::Log, LOG_STATES), (Part::Whole, WHOLE_STATES)] {
            let mut plan = Plan::new(part, states, &keep());
            plan.recoveries_every = 800;
            plan.talks_every = 20;
            let report = sweep(&subject, story, peer.as_ref(), &plan);
            print!("{report}");
            unique += report.total().unique;
            reports.push(report);
        }
    }
    let took: f64 = reports.iter().map(|report| report.took.as_secs_f64()).sum();
    println!(
        "{unique} unique states in {took:.0} s, {:.0} a second",
        unique as f64 / took
    );
    for report in &reports {
        let total = report.total();
        assert_eq!((total.refused, total.failed), (0, 0), "{report}");
        assert!(report.marks >= 10, "{report}");
    }
    assert!(unique >= UNIQUE_MIN, "{unique}");
    let talks: u64 = reports.iter().map(|report| report.talks).sum();
    assert!(
        talks >= 400,
        "only {talks} states came to talk with their peer"
    );
    Ok(())
}

/// Whether a step is of the engine's log.
fn in_log(story: &Story, role: Role, target: &Target) -> bool {
    let log = match layout(role).engine {
        "" => "log/".to_owned(),
        engine => format!("{engine}/log/"),
    };
    let Target::File(object) = target else {
        return false;
    };
    let names = story.names_of();
    names
        .get(object)
        .is_some_and(|names| names.iter().any(|name| name.starts_with(&log)))
}

/// The story without the engine's own word that a batch is durable, which comes before all others.
fn without_durable(story: &Story) -> Story {
    let mut story = story.clone();
    let durable = |step: &Step| matches!(step, Step::Mark(words) if words.starts_with("durable "));
    story.steps.retain(|placed| !durable(&placed.step));
    story
}

/// The syncs of the log right behind which something leaves: their places.
fn syncs_before_words(story: &Story, role: Role) -> Vec<(usize, usize)> {
    let mut begun = Vec::new();
    let mut found = Vec::new();
    for (place, pair) in story.steps.windows(2).enumerate() {
        match &pair[0].step {
            Step::SyncBegin { id, target } => begun.push((*id, target.clone(), place)),
            Step::SyncEnd { id, .. } if matches!(pair[1].step, Step::Mark(_)) => {
                let sync = begun.iter().rfind(|(begun, ..)| begun == id);
                if let Some((_, target, begin)) = sync
                    && in_log(story, role, target)
                {
                    found.push((*begin, place));
                }
            }
            _ => {}
        }
    }
    found
}

/// So many of them, or all if there are fewer, spread evenly.
fn some_of<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let count = all.len();
    let is_chosen =
        |place: usize| count <= most || place * most / count < (place + 1) * most / count;
    let numbered = all.into_iter().enumerate();
    let chosen = numbered.filter(|(place, _)| is_chosen(*place));
    chosen.map(|(_, one)| one).collect()
}

#[test]
fn some_of_many_are_spread_evenly() {
    for (count, most, want) in [
        (0, 4, vec![]),
        (3, 4, vec![0, 1, 2]),
        (4, 4, vec![0, 1, 2, 3]),
        (5, 4, vec![1, 2, 3, 4]),
        (12, 4, vec![2, 5, 8, 11]),
    ] {
        let all: Vec<usize> = (0..count).collect();
        assert_eq!(some_of(all, most), want, "{most} of {count}");
    }
}

/// Those of these syncs without which a start does not find what is said right behind them. Without the others
/// nothing is wrong there: an earlier one had covered what was only sent late or is sent again, or the words speak
/// of nothing that is stored.
fn that_matter(story: &Story, role: Role, syncs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let subject = Subject::new(role, &story.steps);
    let moments = moments(story, |path| subject.weigh(Part::Log, path));
    // Nothing that was not synced is there.
    let facts = |moment: &Moment| match subject.open(&moment.durable, 1) {
        Start::Opened(facts) => facts,
        other => panic!("{role}, after {} steps: {other:?}", moment.steps),
    };
    let matters = |end: usize| {
        let Some(Step::Mark(said)) = story.steps.get(end + 1).map(|placed| &placed.step) else {
            return false;
        };
        // The words are the first moment that has the sync.
        let behind = moments.partition_point(|moment| moment.steps <= end);
        let (Some(without), Some(with)) = (
            behind.checked_sub(1).and_then(|last| moments.get(last)),
            moments.get(behind),
        ) else {
            return false;
        };
        words::need(said, &facts(without), &facts(with))
    };
    let mattering = syncs.iter().filter(|(_, end)| matters(*end));
    mattering.copied().collect()
}

/// The deliberate bug "no fdatasync": taken out of the recording, one at a time, of each program so many
/// as the gate has time for, and only such as matter.
#[test]
fn a_sync_that_is_missing_before_something_leaves_is_noticed() -> Outcome<()> {
    for role in Role::ALL {
        let story = &without_durable(stories().of(role));
        let all = syncs_before_words(story, role);
        let mattering = that_matter(story, role, &all);
        let matter = mattering.len();
        let syncs = some_of(mattering, SYNCS_LEFT_OUT);
        let mut noticed = 0;
        for (begin, end) in &syncs {
            let mut without = story.clone();
            without.steps.remove(*end);
            without.steps.remove(*begin);
            // Up to the words that follow; then the next sync makes it good.
            without.steps.truncate(*end);
            let subject = Subject::new(role, &without.steps);
            let place = tempfile::tempdir().unwrap();
            let mut plan = Plan::new(Part::Log, u64::MAX, place.path());
            plan.rounds_max = 1;
            plan.from_step = *begin;
            let report = sweep(&subject, &without, None, &plan);
            let about_words = |why: &String| {
                ["was sent", "may forget", "was given", "was said"]
                    .iter()
                    .any(|words| why.contains(words))
            };
            let found = report
                .failures
                .iter()
                .any(|failure| failure.why.iter().any(about_words));
            noticed += usize::from(found);
        }
        let tried = syncs.len();
        let figures = format!(
            "{role}: {} syncs right before something leaves, {matter} of them matter, {tried} of those were taken out, \
             {noticed} were noticed",
            all.len()
        );
        println!("{figures}");
        assert!(noticed >= 3 && noticed * 4 >= tried * 3, "{figures}");
    }
    Ok(())
}

/// A batch whose sync had ended must be found, whether anything of it ever left or not.
#[test]
fn a_synced_batch_that_a_start_does_not_find_is_noticed() -> Outcome<()> {
    for role in Role::ALL {
        let story = stories().of(role);
        let syncs = some_of(syncs_before_words(story, role), BATCHES_LOST);
        let (mut tried, mut noticed) = (0, 0);
        for (begin, end) in &syncs {
            let mut without = story.clone();
            without.steps.remove(*end);
            without.steps.remove(*begin);
            without.steps.truncate(*end);
            let subject = Subject::new(role, &without.steps);
            let place = tempfile::tempdir().unwrap();
            let mut plan = Plan::new(Part::Log, u64::MAX, place.path());
            plan.rounds_max = 1;
            plan.from_step = *begin;
            let report = sweep(&subject, &without, None, &plan);
            let mut whys = report.failures.iter().flat_map(|failure| &failure.why);
            tried += 1;
            noticed += usize::from(whys.any(|why| why.contains("had ended, and the start")));
        }
        println!("{role}: {noticed} of {tried} lost batches were noticed");
        assert!(
            tried >= 3 && noticed * 4 >= tried * 3,
            "{role}: {noticed} of {tried}"
        );
    }
    Ok(())
}

/// The oracle is not satisfied with less than everything.
#[test]
fn a_state_that_lost_its_log_or_its_vault_is_not_explained() {
    for role in Role::ALL {
        let story = stories().of(role);
        let subject = Subject::new(role, &story.steps);
        let told = Told::until(&story.steps, usize::MAX);
        assert_eq!(told.unknown, Vec::<String>::new());
        let whole = left(story, role);
        let good = match subject.open(&whole, 1) {
            Start::Opened(facts) => subject.unexplained(&facts, &told),
            other => panic!("{role}: {other:?}"),
        };
        assert_eq!(good, Vec::<String>::new(), "{role}");
        let names: Vec<String> = whole
            .names()
            .filter(|(path, node)| {
                matches!(node, Node::File(_))
                    && !path.ends_with("lock")
                    && !path.ends_with("ballast")
            })
            .map(|(path, _)| path.to_owned())
            .collect();
        let mut all = whole.clone();
        for path in names {
            all.apply(&Change::Unlink { path });
        }
        let bad = match subject.open(&all, 1) {
            Start::Opened(facts) => !subject.unexplained(&facts, &told).is_empty(),
            Start::Refused(_) => true,
            Start::Broken(why) => panic!("{role}: {why}"),
        };
        assert!(bad, "{role}: an empty directory explains everything");
    }
}

/// What is there when all was said, without the view.
fn left(story: &Story, role: Role) -> Tree {
    story
        .after()
        .part(|path| !path.starts_with(layout(role).view))
}

/// Where the newest synced batches of the log begin, in the file that has them all: each is covered by a
/// sync right behind which the engine said so.
fn newest_batches(story: &Story, role: Role) -> Vec<(Object, u64)> {
    let mut found: Vec<(Object, u64)> = Vec::new();
    for (begin, _) in syncs_before_words(story, role).into_iter().rev() {
        let Step::SyncBegin {
            target: Target::File(synced),
            ..
        } = &story.steps[begin].step
        else {
            continue;
        };
        let written = story.steps[..begin].iter().rev().find_map(|placed| {
            match &placed.step {
                // Zeros only make room.
                Step::Change(Change::Write {
                    file,
                    offset,
                    content: Content::Bytes(_),
                }) if file == synced => Some((*file, *offset)),
                _ => None,
            }
        });
        found.extend(written);
    }
    let newest = found.first().map(|(file, _)| *file);
    found.retain(|(file, _)| Some(*file) == newest);
    found
}

/// Cut where the newest batches begin, of which everybody had been told.
#[test]
fn a_log_that_is_cut_behind_what_was_acknowledged_is_noticed() {
    for role in Role::ALL {
        let story = stories().of(role);
        let subject = Subject::new(role, &story.steps);
        let told = Told::until(&story.steps, usize::MAX);
        let whole = left(story, role);
        let cuts: Vec<(Object, u64)> = newest_batches(story, role).into_iter().take(4).collect();
        assert!(!cuts.is_empty(), "{role}");
        let mut lost = 0;
        for (file, length) in &cuts {
            let mut cut = whole.clone();
            cut.apply(&Change::SetLength {
                file: *file,
                length: *length,
            });
            match subject.open(&cut, 1) {
                Start::Opened(facts) => {
                    let why = subject.unexplained(&facts, &told);
                    assert!(
                        why.iter().any(|why| why.starts_with("C4: ")),
                        "{role}, cut at {length}: {why:?}"
                    );
                    lost += 1;
                }
                // The vault is ahead of such a log, which no crash leaves behind.
                Start::Refused(why) => println!("{role}, cut at {length}: refused, {why}"),
                Start::Broken(why) => panic!("{role}, cut at {length}: {why}"),
            }
        }
        println!("{role}: {lost} of {} cuts break C4", cuts.len());
        // A relay has no vault that could tell.
        assert!(
            role != Role::Relay || lost == cuts.len(),
            "C4 is named for {lost} of {}",
            cuts.len()
        );
    }
}

/// Another hub and another phone, paired with each other and with nobody else: one clip.
fn strangers() -> Outcome<Recording> {
    let mut recording = begin()?;
    recording.play(1)?;
    for role in [Role::Hub, Role::App, Role::Relay] {
        recording.stop(role)?;
    }
    // The traces are whole; what is opened for the search is in none of them.
    recording.system_mut().finish()?;
    Ok(recording)
}

/// What a talk of these two breaks; nothing if they agree.
fn broken(hub: &Tree, app: &Tree, told: &Told) -> Vec<String> {
    match talk(hub, app, told, 1) {
        Agreement::Broken(why) => why,
        Agreement::Reached | Agreement::NotPaired => Vec::new(),
    }
}

/// The promises that sentences begin with.
fn promises(why: &[String]) -> Vec<&str> {
    why.iter()
        .filter_map(|why| why.split_once(": "))
        .map(|(promise, _)| promise)
        .filter(|promise| promise.len() == 2 && promise.starts_with(['C', 'S']))
        .collect()
}

/// A state is judged beside the peer of its own instant, by what its own process said. With any other
/// one the same states must fail.
#[test]
fn a_peer_that_is_not_its_own_is_noticed() -> Outcome<()> {
    let stories = stories();
    let (hub_story, app_story) = (stories.of(Role::Hub), stories.of(Role::App));
    let (hub, app) = (left(hub_story, Role::Hub), left(app_story, Role::App));
    let told =
        Peer::new(Role::App, app_story).told(&Told::until(&hub_story.steps, usize::MAX), u64::MAX);
    assert_eq!(talk(&hub, &app, &told, 1), Agreement::Reached);

    let others = strangers()?;
    let (other_hub, other_app) = (others.story(Role::Hub)?, others.story(Role::App)?);
    // Together they are as good as ours.
    let (their_hub, their_app) = (left(&other_hub, Role::Hub), left(&other_app, Role::App));
    let their_told = Told::until(&other_hub.steps, usize::MAX);
    assert_eq!(
        talk(&their_hub, &their_app, &their_told, 1),
        Agreement::Reached
    );

    let why = broken(&hub, &their_app, &told);
    assert!(
        promises(&why).contains(&"C1"),
        "our hub, their app: {why:?}"
    );
    let why = broken(&their_hub, &app, &their_told);
    assert!(
        promises(&why).contains(&"C1"),
        "their hub, our app: {why:?}"
    );

    // The words of the others.
    for (role, story, other) in [
        (Role::Hub, hub_story, &other_hub),
        (Role::App, app_story, &other_app),
        (
            Role::Relay,
            stories.of(Role::Relay),
            &others.story(Role::Relay)?,
        ),
    ] {
        // Asked for what the others had stored, too.
        let subject = Subject::new(role, &other.steps);
        let facts = match subject.open(&left(story, role), 1) {
            Start::Opened(facts) => facts,
            other => panic!("{role}: {other:?}"),
        };
        let why = subject.unexplained(&facts, &Told::until(&other.steps, usize::MAX));
        assert!(promises(&why).contains(&"C4"), "{role}: {why:?}");
    }

    // The right two, of instants that are far apart: one as it was when the first clip of the other
    // had been acked.
    let first_ack = |story: &Story| {
        let acked = |step: &Step| matches!(step, Step::Mark(words) if words.starts_with("trim "));
        story
            .steps
            .iter()
            .find(|placed| acked(&placed.step))
            .map(|placed| placed.nanos)
    };
    for role in [Role::Hub, Role::App] {
        let story = stories.of(role);
        let instant = first_ack(story).expect("something was trimmed");
        let early = Peer::new(role, story).at(instant);
        let why = match role {
            Role::Hub => broken(&early, &app, &told),
            _ => broken(&hub, &early, &told),
        };
        assert!(!promises(&why).is_empty(), "{role} of long ago: {why:?}");
        println!("{role} of long ago: {why:?}");
    }
    Ok(())
}
