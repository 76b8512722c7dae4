//! The recorder sees what strace sees, its trace rebuilds the directory byte for byte, and it
//! injects the errors it is asked for.

use std::process::Command;

use crashtest::process::Role;
use crashtest::system::Setup;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::recording::{Recording, library};
use crashtest_replay::steps::{Story, story};
use crashtest_replay::strace;
use crashtest_replay::tree::{Inodes, Tree};
use crashtest_trace::{Event, Record};

fn records(recording: &Recording, role: Role) -> Vec<Record> {
    let bytes = std::fs::read(recording.trace(role)).unwrap();
    let (records, error) = crashtest_trace::read(&bytes);
    assert_eq!(error, None);
    records
}

fn told(recording: &Recording, role: Role) -> Story {
    let (before, inodes) = recording.before(role);
    story(before, inodes, &records(recording, role)).unwrap()
}

#[test]
fn the_trace_agrees_with_strace_and_rebuilds_every_directory() -> Outcome<()> {
    let mut recording = Recording::new(Setup {
        passes: 2,
        ..Setup::default()
    })?;
    recording.pair()?;
    recording.start(Role::App)?;
    let paired = records(&recording, Role::Hub).len();
    let output = recording.system().path("hub.strace");
    // `-D`: the program stays our child, so that it gets our signals; `-s 0`: no data.
    let words = ["strace", "-D", "-f", "-y", "-s", "0", "-o"];
    let mut wrapper: Vec<std::ffi::OsString> = words.map(Into::into).to_vec();
    wrapper.push(output.clone().into());
    wrapper.extend(["-e".into(), format!("trace={}", strace::CALLS).into()]);
    recording.wrapper.insert(Role::Hub, wrapper);
    let started = recording.start(Role::Hub);
    let said = std::fs::read_to_string(&output).unwrap_or_default();
    if started.is_err() && !said.contains("openat(") {
        return Err(Trouble::Broken(format!(
            "strace could not watch the hub, so its agreement with the recorder was not tested. \
             It needs the package `strace` (`cargo xtask setup` installs it) and a kernel that \
             allows ptrace; a container may need `--cap-add=SYS_PTRACE`. {started:?}"
        )));
    }
    started?;
    recording.play(2)?;
    for role in [Role::App, Role::Hub, Role::Relay] {
        recording.stop(role)?;
    }

    let root = recording.root(Role::Hub).to_string_lossy().into_owned();
    let seen = std::fs::read_to_string(&output).map_err(Trouble::machine("strace's output"))?;
    let all = records(&recording, Role::Hub);
    // The pairing ran without strace; what it opened, the daemon may go on with.
    let ours = strace::of_trace_from(&all, paired);
    let theirs = strace::of_strace(&seen, &root).map_err(Trouble::Broken)?;
    let differences = strace::differences(&ours, &theirs);
    assert!(differences.is_empty(), "{differences:#?}");
    let operations: usize = ours.values().map(Vec::len).sum();
    println!("{operations} operations on {} files agree", ours.len());
    assert!(operations > 100 && ours.keys().any(|path| path.ends_with(".sst")));

    for role in Role::ALL {
        let (real, _) = Tree::read(&recording.root(role)).unwrap();
        let told = told(&recording, role);
        assert_eq!(told.after().difference(&real), None, "{role}");
        assert!(told.steps.len() > 50, "{role}");
    }
    recording.system_mut().finish()
}

/// Runs a shell command with the recorder over an empty directory; the records and the result.
fn recorded(script: &str, fault: &str) -> (Vec<Record>, std::process::Output, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap().join("root");
    std::fs::create_dir(&root).unwrap();
    let trace = place.path().join("trace");
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .current_dir(&root)
        .env("LD_PRELOAD", library().unwrap())
        .env("SECLUSO_RECORD_ROOT", &root)
        .env("SECLUSO_RECORD_TRACE", &trace)
        .env("SECLUSO_RECORD_FAULT", fault);
    let output = command.output().unwrap();
    let bytes = std::fs::read(&trace).unwrap_or_default();
    let (records, error) = crashtest_trace::read(&bytes);
    assert_eq!(error, None);
    (records, output, place)
}

fn count(records: &[Record], wanted: impl Fn(&Event) -> bool) -> usize {
    records
        .iter()
        .filter(|record| wanted(&record.event))
        .count()
}

const DD: &str = "dd if=/dev/urandom of=a bs=4096 count=4 conv=fsync 2>&1";

#[test]
fn any_program_can_be_recorded() {
    let script = format!("{DD}; mv a b; ln b c; rm b; mkdir d; cp c d/e; rmdir d || true");
    let (records, _, place) = recorded(&script, "");
    let told = story(Tree::default(), Inodes::default(), &records).unwrap();
    let (real, _) = Tree::read(&place.path().join("root")).unwrap();
    assert_eq!(told.after().difference(&real), None, "{records:#?}");
    assert_eq!(
        count(&records, |event| matches!(event, Event::Write { .. })),
        5
    );
    assert_eq!(
        count(&records, |event| matches!(event, Event::SyncEnd { .. })),
        1
    );
}

#[test]
fn the_nth_operation_fails_as_asked() {
    let writes = |event: &Event| matches!(event, Event::Write { .. });
    let (records, output, _) = recorded(DD, "write:3:EIO");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Input/output error"), "{said}");
    assert_eq!(count(&records, writes), 2);

    let (records, output, _) = recorded(DD, "any:2+:ENOSPC");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(count(&records, writes), 0);

    // dd goes on after a short write, as it must.
    let (records, output, _) = recorded(DD, "write:2:SHORT");
    assert!(output.status.success());
    let half =
        |event: &Event| matches!(event, Event::Write { content, .. } if content.len() == 2048);
    assert_eq!((count(&records, writes), count(&records, half)), (5, 2));
}

#[test]
fn a_sync_that_loses_its_data_takes_it_out_of_the_file() {
    let (records, output, place) = recorded(DD, "sync:1:LOST");
    assert!(!output.status.success());
    let failed = |event: &Event| matches!(event, Event::SyncEnd { errno: 5, .. });
    assert_eq!(count(&records, failed), 1);
    let file = place.path().join("root/a");
    assert_eq!(std::fs::read(&file).unwrap().len(), 0);
    let told = story(Tree::default(), Inodes::default(), &records).unwrap();
    let (real, _) = Tree::read(&place.path().join("root")).unwrap();
    assert_eq!(told.after().difference(&real), None);

    // What an earlier sync covered stays; a later sync succeeds.
    let again = "dd if=/dev/urandom of=a bs=4096 count=1 conv=notrunc,fsync 2>&1";
    let script = format!("{DD}; SECLUSO_RECORD_FAULT=sync:1:LOST {again}; sync a");
    let (records, _, place) = recorded(&script, "");
    assert_eq!(
        std::fs::read(place.path().join("root/a")).unwrap().len(),
        4 * 4096
    );
    assert_eq!(count(&records, failed), 1);
    let told = story(Tree::default(), Inodes::default(), &records).unwrap();
    let (real, _) = Tree::read(&place.path().join("root")).unwrap();
    assert_eq!(told.after().difference(&real), None);
}
