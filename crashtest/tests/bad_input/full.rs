//! No space: a relay's quota, and full disks at the start.
//!
//! A full disk is a small tmpfs of a program's own (a user and mount namespace), full to its last
//! page before the program starts. Where the kernel does not allow that, these tests fail, unless
//! `SECLUSO_MAY_SKIP=full-disk` says that they may be left out; then they say so loudly.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crashtest::damage;
use crashtest::process::{Role, Start};
use crashtest::system::{CAMERA, PATIENCE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};
use wal::disk::RealDisk;
use wal::store::MemStore;
use wal::{Lsn, Options, OsDice, Wal};

use crate::{goes_on, one_event};

#[test]
fn a_full_relay_is_said_once_and_recovers() -> Outcome<()> {
    let mut system = System::paired(Setup {
        passes: 14,
        gap_seconds: 0.0,
        quota_mib: 1,
        reserved_mib: 0,
        ..Setup::default()
    })?;
    // The quota is read at the start; the phone sleeps, so that nothing is trimmed.
    system.stop(Role::Relay)?;
    system.start_relay()?;
    system.start_hub()?;
    system.until(
        "all clips recorded, and not all of them stored",
        PATIENCE,
        |system| {
            let status = system.hub_status()?;
            system.remember(format!("{status:?}"));
            let complete = status
                .clips
                .iter()
                .filter(|clip| clip.outcome == "complete")
                .count();
            let waiting = status.acked_through + status.unacked_envelopes > status.stored_through;
            Ok((complete == 14 && waiting).then_some(()))
        },
    )?;
    let said = system.process(Role::Hub)?.said();
    let full: Vec<&str> = said
        .lines()
        .filter(|line| {
            line.to_lowercase().contains("full") || line.to_lowercase().contains("quota")
        })
        .collect();
    assert!(
        (1..=3).contains(&full.len()),
        "a full relay is said clearly, and not again and again: {said}"
    );
    // The phone wakes up, acks, the relay trims, and the rest goes through.
    goes_on(&mut system)
}

/// By this word in `SECLUSO_MAY_SKIP`, words apart by commas, these tests may be left out.
const SKIP: &str = "full-disk";

/// Whether a list of words allows that tests of this sort are left out.
fn may_skip(listed: Option<&str>) -> bool {
    let mut words = listed.into_iter().flat_map(|words| words.split(','));
    words.any(|word| word.trim() == SKIP)
}

#[test]
fn nothing_is_left_out_unless_its_name_is_said() {
    for listed in [None, Some(""), Some("1"), Some("all"), Some("full")] {
        assert!(!may_skip(listed), "{listed:?}");
    }
    assert!(may_skip(Some("full-disk")));
    assert!(may_skip(Some("other, full-disk")));
}

/// Whether a program can be given a tmpfs of its own, as a test of this name wants it.
///
/// # Errors
/// It cannot, and nobody said that these tests may be left out.
fn can_mount(test: &str) -> Outcome<bool> {
    let mut probe = Command::new("unshare");
    probe
        .args(["-rm", "setpriv", "--pdeathsig", "KILL"])
        .args(["sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"])
        .stderr(Stdio::null());
    let can = probe.status().is_ok_and(|status| status.success());
    let listed = std::env::var("SECLUSO_MAY_SKIP").ok();
    if !can && !may_skip(listed.as_deref()) {
        return Err(Trouble::Broken(format!(
            "this machine allows no user and mount namespaces (`unshare -rm setpriv`), so no disk can be full; \
             allow them, or set SECLUSO_MAY_SKIP={SKIP} and know that it is not covered"
        )));
    }
    if !can {
        // The test runner hides what a passing test prints; this is not to be hidden. `cargo xtask test`
        // reads the line and counts the test as skipped.
        let line = format!(
            "\nNOT COVERED: {test}: this machine allows no mount namespaces, so no disk can be full\n"
        );
        std::io::stderr()
            .write_all(line.as_bytes())
            .expect("stderr is open");
    }
    Ok(can)
}

/// A wrapper that runs a program over a copy of `from`, which is laid over `directory`, on a disk of
/// its own with so much left.
fn on_a_full_disk(from: &Path, directory: &Path, free_kib: u32, then: Then) -> Start {
    // Entering a namespace takes from a process that it dies with us.
    let program = "setpriv --pdeathsig KILL \"$@\"";
    let run = match then {
        Then::Runs => format!("exec {program}"),
        Then::RunsAgainWithRoom => format!(
            "set +e; {program}; echo \"first start: $?\" >&2; \
             mount -o remount,size=1g /mnt; exec {program}"
        ),
    };
    let script = format!(
        "set -e; mount -t tmpfs -o size=1g tmpfs /mnt; cp -a '{}/.' /mnt/; \
         used=$(du -sk /mnt | cut -f1); mount -o remount,size=$((used + {free_kib}))k /mnt; \
         mount --bind /mnt '{}'; {run}",
        from.display(),
        directory.display(),
    );
    Start {
        wrapper: ["unshare", "-rm", "sh", "-c", &script, "sh"]
            .iter()
            .map(Into::into)
            .collect(),
        ..Start::default()
    }
}

/// What becomes of a program on a full disk.
#[derive(Clone, Copy)]
enum Then {
    Runs,
    /// Once; then there is space, and it is started again.
    RunsAgainWithRoom,
}

/// What a start needs room for, because it is not there any more.
#[derive(Clone, Copy, Debug)]
enum Missing {
    /// All that a copy of the log's tail could be written over.
    Spares,
    /// The view, which is to be made anew.
    View,
}

impl Missing {
    /// A copy of `directory`, beside it, without these, and without the ballast.
    fn taken_from(self, directory: &Path) -> Outcome<PathBuf> {
        let bare = directory.with_extension(format!("{self:?}"));
        copy(directory, &bare)?;
        let journal = match bare.join("journal") {
            journal if journal.is_dir() => journal,
            _ => bare.clone(),
        };
        let gone = Trouble::machine("what is held back");
        let taken = std::fs::remove_file(journal.join("ballast")).and_then(|()| match self {
            Self::Spares => Ok(()),
            Self::View => std::fs::remove_dir_all(journal.join("view")),
        });
        taken.map_err(gone)?;
        if matches!(self, Self::Spares) {
            remove_spares(&journal)?;
        }
        Ok(bare)
    }
}

/// Removes the log files of a journal at rest that no start needs: those without which it finds all
/// that it would find with them. What is left is read by a start, so none of it is written over.
fn remove_spares(journal: &Path) -> Outcome<()> {
    let whole = found(journal)?;
    assert!(whole.is_some(), "{} can be recovered", journal.display());
    let files = damage::files(&journal.join("log"))?;
    let aside = journal.with_extension("aside");
    let mut removed = 0;
    for file in &files {
        std::fs::rename(file, &aside).map_err(Trouble::machine("a log file"))?;
        if found(journal)? == whole {
            std::fs::remove_file(&aside).map_err(Trouble::machine("a spare log file"))?;
            removed += 1;
        } else {
            std::fs::rename(&aside, file).map_err(Trouble::machine("a log file"))?;
        }
    }
    // Two are held back for recovery, if nothing else.
    assert!(
        (2..files.len()).contains(&removed),
        "{removed} of {files:?}"
    );
    Ok(())
}

/// What a start finds in a journal, or nothing if it refuses: its last transaction, what it copies, and
/// how many payloads it misses. It is asked about a copy.
fn found(journal: &Path) -> Outcome<Option<(Lsn, u64, u64)>> {
    let asked = journal.with_extension("asked");
    copy(journal, &asked)?;
    let disk = RealDisk::new(&asked).map_err(Trouble::machine("a copied journal"))?;
    let opened = Wal::open(
        Arc::new(disk),
        Box::new(MemStore::new()),
        Box::new(OsDice),
        Options::default(),
    );
    let found = opened
        .ok()
        .map(|(_, report)| (report.last_lsn, report.groups_copied, report.lost_payloads));
    std::fs::remove_dir_all(&asked).map_err(Trouble::machine("a copied journal"))?;
    Ok(found)
}

/// Copies a directory with everything in it.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    let status = status.map_err(Trouble::machine("cp"))?;
    assert!(status.success(), "{} was not copied", from.display());
    Ok(())
}

/// A program, its directory, and its command line.
type Program = (Role, &'static str, Vec<String>);

/// A paired world at rest, and how each program is started over which directory.
fn at_rest() -> Outcome<(System, Vec<Program>)> {
    let mut system = System::paired(one_event())?;
    system.settle().map(drop)?;
    // No relay: what happens on the copies must not leave them.
    system.stop(Role::Relay)?;
    let text = |name: &str| system.path(name).to_string_lossy().into_owned();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let run = |config: &str| words(&["run", "--config", config, "--json"]);
    let table = vec![
        (Role::Hub, "hub", run(&text("hub.toml"))),
        (Role::Relay, "relay/data", run(&text("relay/relay.toml"))),
        (
            Role::App,
            "app",
            words(&["--dir", &text("app"), "clips", "--json"]),
        ),
    ];
    Ok((system, table))
}

#[test]
fn a_program_that_starts_on_a_full_disk_runs_or_says_so_and_harms_nothing() -> Outcome<()> {
    if !can_mount("a_program_that_starts_on_a_full_disk_runs_or_says_so_and_harms_nothing")? {
        return Ok(());
    }
    let (mut system, table) = at_rest()?;
    for (role, directory, words) in table {
        for free_kib in [0, 64, 1024] {
            let directory = system.path(directory);
            let mut start = on_a_full_disk(&directory, &directory, free_kib, Then::Runs);
            start.arguments = words.iter().map(Into::into).collect();
            let claims = Claims::before(&system, role);
            let (status, said) = until_up(&mut system, role, &start)?;
            println!("{role} with {free_kib} KiB free: {status:?}; {said}");
            match status {
                None => system.stop(role)?,
                Some(status) => {
                    let answered = role == Role::App && status.success();
                    if !answered {
                        assert_eq!(status.code(), Some(7), "{role}, {free_kib} KiB: {said}");
                        says_what_to_do(role, &said);
                    }
                    system.kill(role)?;
                }
            }
            claims.withdraw(&mut system)?;
        }
    }
    // The real directories, untouched, go on.
    goes_on(&mut system)
}

#[test]
fn without_room_to_recover_each_program_refuses_with_7_and_starts_when_there_is_room() -> Outcome<()>
{
    if !can_mount(
        "without_room_to_recover_each_program_refuses_with_7_and_starts_when_there_is_room",
    )? {
        return Ok(());
    }
    let (mut system, table) = at_rest()?;
    for (role, directory, words) in table {
        let directory = system.path(directory);
        for missing in [Missing::Spares, Missing::View] {
            let from = missing.taken_from(&directory)?;
            let mut start = on_a_full_disk(&from, &directory, 0, Then::RunsAgainWithRoom);
            start.arguments = words.iter().map(Into::into).collect();
            let claims = Claims::before(&system, role);
            let (status, said) = until_up(&mut system, role, &start)?;
            println!("{role} without {missing:?}: {status:?}; {said}");
            assert!(
                said.contains("first start: 7"),
                "{role} without {missing:?}: {status:?}; {said}"
            );
            says_what_to_do(role, &said);
            match status {
                // It runs, now that there is room.
                None => system.stop(role)?,
                Some(status) => {
                    assert!(
                        role == Role::App && status.success(),
                        "{role} without {missing:?}: {status}; {said}"
                    );
                    system.kill(role)?;
                }
            }
            claims.withdraw(&mut system)?;
        }
    }
    goes_on(&mut system)
}

/// Cameras of the hub on a small disk: so many fill it within seconds.
const CAMERAS: usize = 8;
/// What is left on it, in KiB: a few seconds of them.
const SMALL_KIB: u32 = 32 * 1024;
/// How long it may take until clips were recorded in the room of others.
const SMALL_PATIENCE: Duration = Duration::from_secs(180);
/// Clips that must have made room, and whole ones recorded behind them.
const DROPPED: usize = 40;

/// The hub's configuration with more cameras of the same kind, in a file of its own.
fn with_cameras(system: &System) -> Outcome<String> {
    let file = Trouble::machine("the hub's configuration");
    let whole = std::fs::read_to_string(system.path("hub.toml")).map_err(file)?;
    let (before, from) = whole
        .split_once("[camera]\n")
        .ok_or_else(|| Trouble::Broken(format!("no camera in {whole}")))?;
    let (camera, after) = from
        .split_once("\n\n")
        .ok_or_else(|| Trouble::Broken(format!("no end of the camera in {whole}")))?;
    let cameras: Vec<String> = (0..CAMERAS)
        .map(|number| {
            let camera = camera.replace(CAMERA, &number.to_string());
            format!("[[camera]]\n{camera}\n\n")
        })
        .collect();
    let path = system.path("small.toml");
    std::fs::write(&path, format!("{before}{}{after}", cameras.concat()))
        .map_err(Trouble::machine("the hub's configuration"))?;
    Ok(path.to_string_lossy().into_owned())
}

/// The relay is away, and nothing of what several cameras record can go anywhere.
#[test]
fn on_a_small_disk_recording_goes_on_in_the_room_of_the_oldest_clips() -> Outcome<()> {
    if !can_mount("on_a_small_disk_recording_goes_on_in_the_room_of_the_oldest_clips")? {
        return Ok(());
    }
    let mut system = System::paired(Setup {
        passes: 0,
        gap_seconds: 0.0,
        log_kib: Some(1024),
        ..Setup::default()
    })?;
    system.stop(Role::Relay)?;
    let config = with_cameras(&system)?;
    let directory = system.path("hub");
    let mut start = on_a_full_disk(&directory, &directory, SMALL_KIB, Then::Runs);
    start.arguments = ["run", "--config", &config, "--json"]
        .iter()
        .map(Into::into)
        .collect();
    let claims = Claims::before(&system, Role::Hub);
    let from = system.spawn(Role::Hub, &start)?;
    let number = system.process(Role::Hub)?.number();
    let enough = system.until("clips in the room of others", SMALL_PATIENCE, |system| {
        let (mut dropped, mut recorded) = (0, 0);
        for line in system.board().lines().iter().skip(from) {
            match line.event() {
                _ if line.process != number => {}
                "clip_dropped" => dropped += 1,
                "clip_finished" if dropped >= DROPPED && line.text("outcome") == "complete" => {
                    recorded += 1;
                }
                _ => {}
            }
        }
        if let Some(status) = system.process(Role::Hub)?.ended() {
            return Err(Trouble::Broken(format!("the hub has ended: {status}")));
        }
        system.remember(format!("{dropped} dropped, {recorded} recorded since"));
        Ok((recorded >= DROPPED).then_some(()))
    });
    enough?;
    let said = system.process(Role::Hub)?.said();
    assert!(!said.contains("panicked"), "{said}");
    system.kill(Role::Hub)?;
    claims.withdraw(&mut system)?;
    system.setup.passes = 1;
    system.write_hub_config()?;
    goes_on(&mut system)
}

/// What had been said and noted before a program ran on a copy. It may have recorded something
/// there, which the real directory never saw.
struct Claims {
    lines: usize,
    notes: PathBuf,
    noted: Option<Vec<u8>>,
}

impl Claims {
    fn before(system: &System, role: Role) -> Self {
        let notes = system.path(&format!("notes.{role}"));
        Self {
            lines: system.board().len(),
            noted: std::fs::read(&notes).ok(),
            notes,
        }
    }

    fn withdraw(self, system: &mut System) -> Outcome<()> {
        system.forget_from(self.lines);
        let restored = match self.noted {
            Some(bytes) => std::fs::write(&self.notes, bytes),
            None if self.notes.exists() => std::fs::remove_file(&self.notes),
            None => Ok(()),
        };
        restored.map_err(Trouble::machine("the notes of a copy"))
    }
}

/// One sentence to people, which names the trouble and the next step.
fn says_what_to_do(role: Role, said: &str) {
    let start = format!("{role}: ");
    let sentences: Vec<&str> = said
        .lines()
        .filter_map(|l| l.strip_prefix(&start))
        .collect();
    assert_eq!(sentences.len(), 1, "one sentence: {said}");
    assert!(sentences[0].contains("full"), "what is wrong: {said}");
    assert!(
        sentences[0].contains("free some space"),
        "what to do: {said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}

/// Starts a program and waits until it runs (no status) or has ended, and what it said.
fn until_up(
    system: &mut System,
    role: Role,
    start: &Start,
) -> Outcome<(Option<ExitStatus>, String)> {
    let from = system.spawn(role, start)?;
    let number = system.process(role)?.number();
    let status = system.until("a running or refusing program", PATIENCE, |system| {
        let process = system.process(role)?;
        if let Some(status) = process.ended() {
            return Ok(Some(Some(status)));
        }
        let up = system.board().find(from, |line| {
            line.process == number && matches!(line.event(), "ready" | "listening")
        });
        Ok(up.map(|_up| None))
    })?;
    let said = system.process(role)?.said();
    Ok((status, said))
}
