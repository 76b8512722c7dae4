//! No space: a relay's quota, and full disks at the start.
//!
//! A full disk is a small tmpfs of a program's own (a user and mount namespace), full to its last
//! page before the program starts. Where the kernel does not allow that, these tests fail, unless
//! `SECLUSO_MAY_SKIP=full-disk` says that they may be left out; then they say so loudly.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crashtest::process::{Role, Start};
use crashtest::system::{PATIENCE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};

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
        .args(["-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"])
        .stderr(Stdio::null());
    let can = probe.status().is_ok_and(|status| status.success());
    let listed = std::env::var("SECLUSO_MAY_SKIP").ok();
    if !can && !may_skip(listed.as_deref()) {
        return Err(Trouble::Broken(format!(
            "this machine allows no user and mount namespaces (`unshare -rm`), so no disk can be full; \
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

/// A wrapper that runs a program over a copy of `directory` on a disk of its own with so much left.
/// Without `Held::Back` the files that an installation holds back for this day are gone: the
/// program is run once, then there is space again, and it is run again.
fn on_a_full_disk(directory: &Path, free_kib: u32, held: Held) -> Start {
    let (prepare, run) = match held {
        Held::Back => ("", "exec \"$@\""),
        Held::Gone => (
            "find /mnt -name ballast -delete; find /mnt -path '*/log/*' -type f | \
             while read -r file; do \
             head -c 8 \"$file\" | grep -q SecluLog || rm \"$file\"; done;",
            "set +e; \"$@\"; echo \"first start: $?\" >&2; mount -o remount,size=1g /mnt; exec \"$@\"",
        ),
    };
    let script = format!(
        "set -e; d='{}'; mount -t tmpfs -o size=1g tmpfs /mnt; cp -a \"$d/.\" /mnt/; {prepare} \
         used=$(du -sk /mnt | cut -f1); mount -o remount,size=$((used + {free_kib}))k /mnt; \
         mount --bind /mnt \"$d\"; {run}",
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

/// What an installation holds back for a full disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Back,
    Gone,
}

/// A program, its directory, and its command line.
type Program = (Role, &'static str, Vec<String>);

/// A paired world at rest, and how each program is started over which directory.
fn at_rest() -> Outcome<(System, Vec<Program>)> {
    let mut system = System::paired(one_event())?;
    let _ends = system.settle()?;
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
            let mut start = on_a_full_disk(&system.path(directory), free_kib, Held::Back);
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
            claims.withdraw(&system)?;
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
        let mut start = on_a_full_disk(&system.path(directory), 0, Held::Gone);
        start.arguments = words.iter().map(Into::into).collect();
        let claims = Claims::before(&system, role);
        let (status, said) = until_up(&mut system, role, &start)?;
        assert!(
            said.contains("first start: 7"),
            "{role}: {status:?}; {said}"
        );
        says_what_to_do(role, &said);
        match status {
            // It runs, now that there is room.
            None => system.stop(role)?,
            Some(status) => {
                assert!(
                    role == Role::App && status.success(),
                    "{role}: {status}; {said}"
                );
                system.kill(role)?;
            }
        }
        claims.withdraw(&system)?;
    }
    goes_on(&mut system)
}

/// What had been said and noted before a program ran on a copy. It may have recorded something
/// there, which the real directory never saw.
struct Claims {
    lines: usize,
    notes: std::path::PathBuf,
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

    fn withdraw(self, system: &System) -> Outcome<()> {
        system.board().forget_from(self.lines);
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
