//! No space: a relay's quota, and full disks at the start.
//!
//! A full disk is a small tmpfs of a program's own (a user and mount namespace), filled before the
//! program starts. Where the kernel does not allow that, these tests say so loudly.

use std::process::{Command, Stdio};

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

/// Whether a program can be given a tmpfs of its own.
fn can_mount() -> bool {
    let mut probe = Command::new("unshare");
    probe
        .args(["-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"])
        .stderr(Stdio::null());
    let can = probe.status().is_ok_and(|status| status.success());
    if !can {
        eprintln!("NOT COVERED: this machine allows no mount namespaces, so no disk can be full");
    }
    can
}

/// A wrapper that runs a program over a copy of `directory` on a disk with `free` bytes left.
fn on_a_full_disk(directory: &std::path::Path, free_kib: u32) -> Start {
    let script = format!(
        "set -e; d='{}'; mount -t tmpfs -o size=1g tmpfs /mnt; cp -a \"$d/.\" /mnt/; \
         used=$(du -sk /mnt | cut -f1); mount -o remount,size=$((used + {free_kib}))k /mnt; \
         mount --bind /mnt \"$d\"; exec \"$@\"",
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

#[test]
fn a_program_that_starts_on_a_full_disk_says_so_and_harms_nothing() -> Outcome<()> {
    if !can_mount() {
        return Ok(());
    }
    let mut system = System::paired(one_event())?;
    let _ends = system.settle()?;
    system.stop(Role::Hub)?;
    // No relay: what happens on the copies must not leave them.
    system.stop(Role::Relay)?;
    let hub = system.path("hub.toml").to_string_lossy().into_owned();
    let relay = system
        .path("relay/relay.toml")
        .to_string_lossy()
        .into_owned();
    let app = system.path("app").to_string_lossy().into_owned();
    let table: [(Role, &str, Vec<&str>); 3] = [
        (Role::Hub, "hub", vec!["run", "--config", &hub, "--json"]),
        (
            Role::Relay,
            "relay/data",
            vec!["run", "--config", &relay, "--json"],
        ),
        (Role::App, "app", vec!["--dir", &app, "clips", "--json"]),
    ];
    for (role, directory, words) in table {
        for free_kib in [0, 64, 1024] {
            let mut start = on_a_full_disk(&system.path(directory), free_kib);
            start.arguments = words.iter().map(Into::into).collect();
            full_start(&mut system, role, &start, free_kib)?;
        }
    }
    // The real directories, untouched, go on.
    goes_on(&mut system)
}

/// It runs (and then stops politely), or refuses with 7 and one clear sentence.
fn full_start(system: &mut System, role: Role, start: &Start, free_kib: u32) -> Outcome<()> {
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
    match status {
        None => {
            println!("{role} with {free_kib} KiB free: runs; {said}");
            system.stop(role)?;
        }
        Some(status) => {
            println!("{role} with {free_kib} KiB free: {status}; {said}");
            let answered = role == Role::App && status.success();
            let clear = status.code() == Some(7) && said.to_lowercase().contains("space")
                || said.to_lowercase().contains("full");
            if !(answered || clear) || said.contains("panicked") {
                return Err(Trouble::Broken(format!(
                    "{role} with {free_kib} KiB free: {status}; {said}"
                )));
            }
            system.kill(role)?;
        }
    }
    Ok(())
}
