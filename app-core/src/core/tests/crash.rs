//! C1, C2, C4 and C5 at the app: a power cut at every disk operation of a sync.

use std::collections::BTreeSet;

use journal::ids::ClipId;
use journal::{Follower, Role, Session, Taken};
use wal::disk::{CrashPolicy, SimDisk};
use wire::Seq;

use super::super::*;
use crate::testing::{Hub, bytes_of, deliver, finish_sync, open_core, open_journal, paired};

/// Takes everything in runs of `step`; gives the mailbox numbers that were announced as media.
/// `mark` tells the disk how many of them the outside has seen.
fn sync(
    core: &mut Core,
    line: Line,
    sent: &[Delivered],
    step: usize,
    disk: &SimDisk,
    seen: &mut Vec<u64>,
) {
    let cursor = core.cursor(line).unwrap();
    let rest: Vec<_> = sent
        .iter()
        .filter(|one| one.seq > cursor)
        .cloned()
        .collect();
    for (n, run) in rest.chunks(step).enumerate() {
        let run = deliver(core, line, run, n as u64 * 400);
        assert!(run.halt.is_none(), "{:?}", run.halt);
        seen.extend(
            run.facts
                .iter()
                .filter(|f| matches!(f.taken, Taken::Media { .. }))
                .map(|f| f.seq.0),
        );
        disk.set_mark(seen.len() as u64);
    }
    finish_sync(core, line, 60_000);
}

/// Clips and their bytes.
type Clips = Vec<(ClipId, Vec<u8>)>;

fn world() -> (Hub, SimDisk, Clips, Vec<Delivered>) {
    let (mut hub, disk) = paired();
    let mut clips = Vec::new();
    for n in 0_u8..3 {
        let parts: Vec<Vec<u8>> = (0..3).map(|part| vec![n * 10 + part; 700]).collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        clips.push((hub.record(&slices), parts.concat()));
    }
    let sent = hub.outgoing(Seq::NONE);
    (hub, disk, clips, sent)
}

#[test]
fn a_crash_at_every_disk_operation_of_a_sync_loses_and_repeats_nothing() {
    let (hub, disk, clips, sent) = world();
    let line = hub.line();
    disk.record_snapshots();
    let mut core = open_core(&disk, 3);
    let mut seen = Vec::new();
    sync(&mut core, line, &sent, 4, &disk, &mut seen);
    assert_eq!(seen.len(), 9);
    drop(core);
    let snapshots = disk.snapshots();
    let mut states = 0_u64;
    let mut resumed_at = BTreeSet::new();
    for (n, snapshot) in snapshots.iter().enumerate() {
        // Two policies at each operation; all of them in turn.
        for policy in [CrashPolicy::ALL[n % 8], CrashPolicy::ALL[(n + 3) % 8]] {
            let crashed = snapshot.crash_clone(policy, n as u64);
            let announced = snapshot.mark() as usize;
            let mut core =
                Core::new(open_journal(Role::App, &crashed, 100 + n as u64).expect("recovery"));
            let cursor = core.cursor(line).unwrap();
            resumed_at.insert(cursor.0);
            // C4: whatever was announced is there. C2: and is never announced again.
            assert!(
                seen[..announced].iter().all(|&seq| seq <= cursor.0),
                "{policy:?} at {n}"
            );
            let mut again = Vec::new();
            sync(&mut core, line, &sent, 5, &crashed, &mut again);
            assert!(
                again.iter().all(|seq| !seen[..announced].contains(seq)),
                "{policy:?} at {n}"
            );
            for (clip, bytes) in &clips {
                assert_eq!(&bytes_of(&core, *clip), bytes, "{policy:?} at {n}");
            }
            states += 1;
        }
    }
    assert!(states > 40, "{states} states");
    assert!(resumed_at.len() > 3, "the crashes fell at {resumed_at:?}");
}

/// The hub follows whichever acks got out: C1 through a further epoch.
#[test]
fn after_a_crash_between_cursor_and_ack_both_ends_agree() {
    let (mut hub, disk, _clips, sent) = world();
    let line = hub.line();
    disk.record_snapshots();
    let mut core = open_core(&disk, 3);
    let mut seen = Vec::new();
    sync(&mut core, line, &sent, 4, &disk, &mut seen);
    drop(core);
    let last = disk.crash_clone(CrashPolicy::LoseAll, 1);
    let mut core = open_core(&last, 9);
    finish_sync(&mut core, line, 0);
    hub.take_all(&core);
    assert_eq!(hub.unacked(), 0);
    let clip = hub.record(&[b"and on"]);
    let cursor = core.cursor(line).unwrap();
    deliver(&mut core, line, &hub.outgoing(cursor), 10);
    assert_eq!(bytes_of(&core, clip), b"and on");
    let mut session = Session::<Follower>::new(line);
    assert_eq!(
        session.exporter(&mut core.journal().begin()).unwrap(),
        hub.exporter()
    );
}

/// C5: a fault at every operation poisons or succeeds, and never leaves a half.
#[test]
fn an_io_error_at_every_disk_operation_is_survived() {
    let (hub, disk, clips, sent) = world();
    let line = hub.line();
    let base = disk.crash_clone(CrashPolicy::KeepAll, 0);
    let operations = {
        let trial = base.crash_clone(CrashPolicy::KeepAll, 0);
        let mut core = open_core(&trial, 3);
        let start = trial.op_count();
        sync(&mut core, line, &sent, 4, &trial, &mut Vec::new());
        start..trial.op_count()
    };
    for (n, operation) in operations.enumerate() {
        let disk = base.crash_clone(CrashPolicy::KeepAll, 0);
        let mut core = open_core(&disk, 3);
        let faults = [
            wal::disk::Fault::Eio,
            wal::disk::Fault::ShortWrite,
            wal::disk::Fault::Enospc,
        ];
        disk.inject(operation, faults[n % 3]);
        let mut at = 0;
        while at < sent.len() {
            let run = &sent[at..sent.len().min(at + 4)];
            let done = core.deliver(line, run, 0, 0).and_then(|pending| {
                let committed = core.commit()?;
                core.settle(&committed, pending)
            });
            match done {
                Ok(run) if run.halt.is_none() => at += 4,
                Ok(_) | Err(_) => {
                    // As the engine does: drop everything, recover, ask again.
                    drop(core);
                    core = open_core(&disk, 50 + n as u64);
                }
            }
        }
        for (clip, bytes) in &clips {
            assert_eq!(&bytes_of(&core, *clip), bytes, "operation {operation}");
        }
    }
}
