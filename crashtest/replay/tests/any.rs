//! Somebody else's program: a shell script that saves a file, and another that judges the states.

use std::path::Path;
use std::process::Command;

use crashtest_replay::check::{Part, Subject};
use crashtest_replay::recording::library;
use crashtest_replay::steps::story;
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

fn swept(sync: &str, place: &Path) -> Report {
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
