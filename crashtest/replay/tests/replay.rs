//! A real conversation, recorded once; then every kind of crash of each program, and a few
//! recordings that were tampered with, to see that the sweep would notice.

use std::sync::OnceLock;

use crashtest::process::Role;
use crashtest::trouble::Outcome;
use crashtest_replay::check::{Outcome as Start, Part, Subject, Told, layout};
use crashtest_replay::conversation::{Length, Stories, record};
use crashtest_replay::ends::Peer;
use crashtest_replay::steps::{Step, Story, Target};
use crashtest_replay::sweep::{Plan, Report, sweep};
use crashtest_replay::tree::{Change, Node};

/// Different states that the gate opens.
const UNIQUE_MIN: u64 = 10_000;
/// Of each program, in memory.
const LOG_STATES: u64 = 3_200;
/// Of each program, as files with RocksDB.
const WHOLE_STATES: u64 = 300;

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

/// The deliberate bug "no fdatasync": taken out of the recording, one at a time. Where what leaves
/// had been covered by an earlier sync, and was only sent late, nothing is wrong without this one.
#[test]
fn a_sync_that_is_missing_before_something_leaves_is_noticed() -> Outcome<()> {
    for role in Role::ALL {
        let story = &without_durable(stories().of(role));
        let syncs = syncs_before_words(story, role);
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
                ["was sent", "may forget", "was given"]
                    .iter()
                    .any(|words| why.contains(words))
            };
            let found = report
                .failures
                .iter()
                .any(|failure| failure.why.iter().any(about_words));
            noticed += usize::from(found);
        }
        println!(
            "{role}: {noticed} of {} missing syncs were noticed",
            syncs.len()
        );
        assert!(
            noticed >= 3 && noticed * 4 >= syncs.len() * 3,
            "{role}: {noticed} of {}",
            syncs.len()
        );
    }
    Ok(())
}

/// A batch whose sync had ended must be found, whether anything of it ever left or not.
#[test]
fn a_synced_batch_that_a_start_does_not_find_is_noticed() -> Outcome<()> {
    for role in Role::ALL {
        let story = stories().of(role);
        let syncs = syncs_before_words(story, role);
        let some = syncs.iter().step_by(syncs.len().div_ceil(8).max(1));
        let (mut tried, mut noticed) = (0, 0);
        for (begin, end) in some {
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
        let whole = story
            .after()
            .part(|path| !path.starts_with(layout(role).view));
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
