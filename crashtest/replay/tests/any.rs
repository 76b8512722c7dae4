//! Somebody else's program: a shell script that saves a file, and another that judges the states.

use std::path::Path;
use std::process::Command;

use crashtest::trouble::Outcome;
use crashtest_replay::any::{self, Marks};
use crashtest_replay::check::{Part, Subject};
use crashtest_replay::recording::library;
use crashtest_replay::steps::{Step, Story, story};
use crashtest_replay::sweep::{Plan, Report, sweep};
use crashtest_replay::tree::{Inodes, Tree};

/// Saves a file and then says so; `$SYNC` is what makes its name durable.
const SAVE: &str = "printf old-words > a.tmp; sync a.tmp; mv a.tmp a; sync .
printf new-words > a.tmp; sync a.tmp; mv a.tmp a; $SYNC
echo saved >> $SECLUSO_RECORD_MARKS";

/// Whole in any case, and new once that was said.
const JUDGE: &str = "test -e {state}/a || exit 0
grep -q -E '^(old-words|new-words)$' {state}/a || exit 1
if grep -q saved {told}; then grep -q new-words {state}/a; fi";

/// Records the script; its trace is `trace` in `place`.
fn recorded(sync: &str, place: &Path) -> Story {
    let place = place.canonicalize().unwrap();
    let root = place.join("root");
    std::fs::create_dir(&root).unwrap();
    let status = Command::new("sh")
        .args(["-c", SAVE])
        .current_dir(&root)
        .env("SYNC", sync)
        .env("LD_PRELOAD", library().unwrap())
        .env("SECLUSO_RECORD_ROOT", &root)
        .env("SECLUSO_RECORD_TRACE", place.join("trace"))
        .env("SECLUSO_RECORD_MARKS", place.join("marks"))
        .status()
        .unwrap();
    assert!(status.success());
    let (records, error) = crashtest_trace::read(&std::fs::read(place.join("trace")).unwrap());
    assert_eq!(error, None);
    let story = story(Tree::default(), Inodes::default(), &records).unwrap();
    assert_eq!(
        story.after().difference(&Tree::read(&root).unwrap().0),
        None
    );
    story
}

fn swept(sync: &str, place: &Path) -> Report {
    let story = recorded(sync, place);
    let words = ["sh", "-c", JUDGE].map(str::to_owned).to_vec();
    let plan = Plan::new(Part::Whole, 1_000, &place.join("failed"));
    sweep(&Subject::command(words), &story, None, &plan)
}

#[test]
fn a_script_that_syncs_is_good_and_one_that_forgets_the_directory_is_not() {
    let place = tempfile::tempdir().unwrap();
    let good = swept("sync .", place.path());
    assert_eq!((good.total().failed, good.marks), (0, 1), "{good}");
    assert!(good.total().unique >= 5, "{good}");

    let place = tempfile::tempdir().unwrap();
    let bad = swept(":", place.path());
    assert!(bad.total().failed > 0, "{bad}");
    let kept = bad.failures[0].kept.as_ref().unwrap();
    assert_eq!(std::fs::read_to_string(kept.join("told")).unwrap(), "saved");
}

fn judged(story: &Story, check: &str, marks: Marks) -> Outcome<Report> {
    let place = tempfile::tempdir().unwrap();
    let words = ["sh", "-c", check].map(str::to_owned).to_vec();
    let mut plan = Plan::new(Part::Whole, 100, place.path());
    plan.rounds_max = 1;
    any::judge(story, words, &plan, marks)
}

#[test]
fn a_check_that_does_not_work_and_a_trace_that_says_nothing_are_no_verdict() {
    let place = tempfile::tempdir().unwrap();
    let _story = recorded("sync .", place.path());
    let trace = place.path().canonicalize().unwrap().join("trace");
    let story = any::story(&trace, None).unwrap();
    assert_eq!(
        judged(&story, JUDGE, Marks::Wanted).unwrap().total().failed,
        0
    );
    let wrong = |outcome: Outcome<Report>| outcome.unwrap_err().to_string();
    let said = wrong(judged(&story, "exit 1", Marks::Wanted));
    assert!(said.contains("the check itself does not work"), "{said}");

    let mut silent = story.clone();
    silent
        .steps
        .retain(|placed| !matches!(placed.step, Step::Mark(_)));
    let said = wrong(judged(&silent, "exit 0", Marks::Wanted));
    assert!(said.contains("no mark"), "{said}");
    assert!(judged(&silent, JUDGE, Marks::None).is_ok());
    silent.steps.clear();
    let said = wrong(judged(&silent, "exit 0", Marks::None));
    assert!(said.contains("no state"), "{said}");

    // A frame that was cut off is a kill; one in the middle that is damaged is no trace.
    let bytes = std::fs::read(&trace).unwrap();
    std::fs::write(&trace, &bytes[..bytes.len() - 5]).unwrap();
    assert!(any::story(&trace, None).is_ok());
    let mut damaged = bytes;
    damaged[70] ^= 1;
    damaged[14] ^= 1;
    std::fs::write(&trace, &damaged).unwrap();
    assert!(any::story(&trace, None).is_err());
}

#[test]
fn a_directory_that_was_not_empty_before_is_given_as_a_copy() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path().canonicalize().unwrap();
    let (root, before) = (place.join("root"), place.join("before"));
    for directory in [&root, &before] {
        std::fs::create_dir(directory).unwrap();
        std::fs::write(directory.join("a"), "old").unwrap();
    }
    let status = Command::new("sh")
        .args(["-c", "printf more >> a; sync a"])
        .current_dir(&root)
        .env("LD_PRELOAD", library().unwrap())
        .env("SECLUSO_RECORD_ROOT", &root)
        .env("SECLUSO_RECORD_TRACE", place.join("trace"))
        .status()
        .unwrap();
    assert!(status.success());
    assert!(any::story(&place.join("trace"), None).is_err());
    let story = any::story(&place.join("trace"), Some(&before)).unwrap();
    assert_eq!(
        story.after().difference(&Tree::read(&root).unwrap().0),
        None
    );
    let report = judged(&story, "test -e {state}/a", Marks::None).unwrap();
    assert_eq!(report.total().failed, 0, "{report}");
    assert!(report.total().unique >= 2, "{report}");
}
