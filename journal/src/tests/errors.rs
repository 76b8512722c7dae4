//! A disk that fails at every operation: nothing is sent after, and reopening finds both ends in step
//! (C1 to C4, and "a failed sync is never retried").

use wal::disk::{CrashPolicy, Fault, SimDisk};
use wire::envelope::Envelope;
use wire::ids::Seq;

use super::harness::{App, Hub, NOW_MS, converge, open, paired, settle};
use crate::ids::Line;
use crate::{ErrorKind, JournalError, Role};

type Sent = Vec<(Seq, Envelope)>;

/// The conversation; stops at the first error, as the owner must. `sent` is what may have left:
/// everything durable after each commit.
fn talk(hub: &mut Hub, sent: &mut Sent) -> Result<(), JournalError> {
    let mut txn = hub.journal.begin();
    let clip = hub
        .session
        .start_clip(&mut txn, "door", "video/mp4", NOW_MS)?;
    drop(txn.commit(())?);
    *sent = hub.outgoing(Seq(0));
    for bytes in [&[1_u8; 5000][..], &[2; 100]] {
        let mut txn = hub.journal.begin();
        hub.session.append_chunk(&mut txn, clip, bytes, NOW_MS)?;
        drop(txn.commit(())?);
        *sent = hub.outgoing(Seq(0));
    }
    let mut txn = hub.journal.begin();
    hub.session.finish_clip(&mut txn, clip, NOW_MS)?;
    drop(txn.commit(())?);
    *sent = hub.outgoing(Seq(0));
    Ok(())
}

fn run(base: &SimDisk, app: &SimDisk, line: Line, at: u64, fault: Fault) -> bool {
    let disk = base.crash_clone(CrashPolicy::KeepAll, 0);
    let (mut hub, _) = Hub::start(disk.clone(), line, 77);
    disk.inject(disk.op_count() + at, fault);
    let mut sent = hub.outgoing(Seq(0));
    let result = talk(&mut hub, &mut sent);
    let Err(error) = result else {
        return false;
    };
    assert_eq!(
        error.kind(),
        ErrorKind::Poisoned,
        "{fault:?} at {at}: {error}"
    );
    assert!(hub.journal.is_poisoned());
    // Nothing more leaves, and nothing new is made.
    let next = hub.journal.outbox_next(line, Seq(0));
    assert_eq!(
        next.err().map(|error| error.kind()),
        Some(ErrorKind::Poisoned)
    );
    let refused = talk(&mut hub, &mut Sent::new()).expect_err("a poisoned journal went on");
    assert_eq!(refused.kind(), ErrorKind::Poisoned);
    drop(hub);
    disk.heal();
    // The machine lives; and, as another case, the power fails as well.
    for policy in [
        CrashPolicy::ProcessKill,
        CrashPolicy::LoseAll,
        CrashPolicy::Subset,
    ] {
        let after = disk.crash_clone(policy, at);
        let (mut hub, _) = Hub::start(after, line, 78);
        let again = hub.outgoing(Seq(0));
        for (seq, envelope) in &sent {
            let same = again.iter().find(|(other, _)| other == seq);
            assert_eq!(
                same.map(|(_, e)| e),
                Some(envelope),
                "{seq:?} changed after it could have been sent"
            );
        }
        let app_disk = app.crash_clone(CrashPolicy::KeepAll, 0);
        let mut app = App::open(Role::App, app_disk, line, 79);
        converge(&mut hub, &mut app);
    }
    true
}

#[test]
fn a_journal_of_another_version_or_role_is_refused() {
    let (format, openmls) = (crate::FORMAT_VERSION, crate::OPENMLS_VERSION);
    let table = [
        (format, openmls, Role::Hub, None),
        (format + 1, openmls, Role::Hub, Some("journal format 4")),
        (format - 1, openmls, Role::Hub, Some("journal format 2")),
        (format, "0.9.1", Role::Hub, Some("OpenMLS 0.9.1")),
        (format, "0.10.0", Role::Hub, Some("OpenMLS 0.10.0")),
        (format, openmls, Role::App, Some("belongs to a app")),
    ];
    for (format, openmls, role, refusal) in table {
        let disk = SimDisk::new();
        let mut hub = open(Role::Hub, &disk, 1).unwrap();
        crate::journal::spoil_meta(&mut hub, format, openmls, role);
        drop(hub);
        let error = open(Role::Hub, &disk, 2).err();
        assert_eq!(error.is_some(), refusal.is_some(), "{error:?}");
        if let (Some(error), Some(refusal)) = (error, refusal) {
            assert!(error.to_string().contains(refusal), "{error}");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

#[test]
fn every_operation_of_a_clip_may_fail() {
    let (mut hub, mut app) = paired();
    settle(&mut hub, &mut app);
    let (base, app_disk, line) = (hub.disk.clone(), app.disk.clone(), hub.line());
    drop((hub, app));
    for fault in [Fault::Eio, Fault::Enospc, Fault::ShortWrite, Fault::Dead] {
        let failed = (0..64)
            .take_while(|at| run(&base, &app_disk, line, *at, fault))
            .count();
        assert!(
            (8..64).contains(&failed),
            "{fault:?}: {failed} operations failed"
        );
    }
}
