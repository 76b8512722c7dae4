//! Scenarios 1 to 4: what a start makes of the log's tail and of its own copy of it, wherever it dies.

use wal::disk::{CrashPolicy, Disk as _, Fault, SimDisk};
use wal::record::FileKind;
use wal::{Corruption, ErrorKind, Txn, WalError};

use crate::common::*;
use crate::support::{SECTOR, calm, find, groups, header_of};

#[test]
fn scenario_01_a_dead_group_behind_a_torn_one_stays_dead() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    put(&mut wal, "a", "acked");
    let mut lsns = Vec::new();
    for value in ["100", "101"] {
        let mut txn = Txn::new();
        txn.put(value, value);
        lsns.push(wal.stage(txn, ()).unwrap().lsn());
    }
    let (first, second) = (lsns[0], lsns[1]);
    drop(wal.commit().unwrap());
    drop(wal);
    // The power cut keeps the second group's sector and not the first one's.
    let (path, at, _) = find(&disk, first);
    disk.damage(&path, at, &[0; SECTOR]).unwrap();
    assert!(
        groups(&disk, &path)
            .iter()
            .any(|(_, header)| header.lsn == second)
    );
    let (mut wal, report) = open(&disk, 2).unwrap();
    assert_eq!(report.torn_tail, Some(first));
    assert_eq!((text(&wal, "100"), text(&wal, "101")), (None, None));
    // New transactions of the same size get the same numbers in another file.
    for value in ["x", "y", "z"] {
        put(&mut wal, value, "new");
    }
    drop(wal);
    let (wal, _) = open(&disk, 3).unwrap();
    assert_eq!((text(&wal, "100"), text(&wal, "101")), (None, None));
    assert_eq!(text(&wal, "a").as_deref(), Some("acked"));
    assert_eq!(text(&wal, "z").as_deref(), Some("new"));
}

#[test]
fn scenario_02_what_only_the_page_cache_knew_is_synced_before_it_is_believed() {
    for failed_sync in [false, true] {
        let disk = SimDisk::new();
        let (mut wal, _) = open(&disk, 1).unwrap();
        put(&mut wal, "warm", "up");
        let mut txn = Txn::new();
        txn.put("commit", "first");
        drop(wal.stage(txn, ()).unwrap());
        // The write happens, the sync does not: SIGKILL, or EIO.
        let fault = if failed_sync { Fault::Eio } else { Fault::Dead };
        disk.inject(disk.op_count() + 1, fault);
        assert_eq!(wal.commit().err().unwrap().kind(), ErrorKind::Poisoned);
        drop(wal);
        disk.heal();
        let machine = disk.crash_clone(CrashPolicy::ProcessKill, 0);
        let lost = machine.crash_clone(CrashPolicy::LoseAll, 0);
        let (wal, _) = open(&lost, 9).unwrap();
        assert_eq!(text(&wal, "commit"), None, "the sync never covered it");
        let (wal, _) = open(&machine, 2).unwrap();
        // It is shown as durable, so it must survive the power cut that comes now.
        let shown = wal
            .durable_get(b"commit")
            .unwrap()
            .map(|value| value.into_inner());
        assert_eq!(shown, Some(b"first".to_vec()));
        let cut = machine.crash_clone(CrashPolicy::LoseAll, 1);
        let (wal, _) = open(&cut, 3).unwrap();
        assert_eq!(text(&wal, "commit").as_deref(), Some("first"));
    }
}

#[test]
fn scenario_03_an_unsealed_copy_is_reclaimed_and_a_sealed_one_is_the_truth() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    for n in 0..5 {
        put(&mut wal, &format!("k{n}"), "v");
    }
    let mut txn = Txn::new();
    txn.put("zombie", "z");
    drop(wal.stage(txn, ()).unwrap());
    disk.inject(disk.op_count() + 1, Fault::Dead);
    assert!(wal.commit().is_err());
    drop(wal);
    disk.heal();
    // Power fails at every step of the copy, and the zombie tail may come or go each time.
    let before = disk.crash_clone(CrashPolicy::ProcessKill, 0);
    before.record_snapshots();
    drop(open(&before, 2).unwrap());
    let (mut reclaimed, mut outcomes) = (0, [0, 0]);
    for (at, step) in before.snapshots().iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let after = step.crash_clone(policy, at as u64);
            let (wal, report) = open(&after, 3).unwrap();
            reclaimed += report.reclaimed_copies;
            let told = text(&wal, "zombie");
            outcomes[usize::from(told.is_some())] += 1;
            drop(wal);
            // Whatever this start said, the next ones say the same.
            for again in 0..2 {
                let cut = after.crash_clone(CrashPolicy::LoseAll, again);
                let (wal, _) = open(&cut, 4).unwrap();
                assert_eq!(text(&wal, "zombie"), told, "op {at} {policy:?}");
                assert_eq!(text(&wal, "k4").as_deref(), Some("v"));
            }
        }
    }
    assert!(
        reclaimed > 0 && outcomes[0] > 0 && outcomes[1] > 0,
        "{reclaimed} {outcomes:?}"
    );
}

#[test]
fn scenario_03_a_damaged_header_loses_nothing() {
    // The header of the copy, and of a normal file: the groups say who they are.
    for kind in [FileKind::Copy, FileKind::Normal] {
        let disk = SimDisk::new();
        let (mut wal, _) = calm(&disk, 1).unwrap();
        put(&mut wal, "a", "1");
        drop(wal);
        let (mut wal, _) = calm(&disk, 2).unwrap();
        put(&mut wal, "b", "2");
        put_payload(&mut wal, "p", pattern(1, 1, 5000));
        drop(wal);
        let newest = disk
            .paths()
            .into_iter()
            .filter(|path| path.starts_with("log/"))
            .filter_map(|path| Some((header_of(&disk, &path)?, path)))
            .filter(|(header, _)| header.identity.kind == kind)
            .max_by_key(|(header, _)| header.identity.number)
            .unwrap()
            .1;
        disk.damage(&newest, 3, &[0xff; 60]).unwrap();
        let (wal, report) = calm(&disk, 3).unwrap();
        assert_eq!(report.headless_files, 1, "{kind:?}");
        assert_eq!(text(&wal, "a").as_deref(), Some("1"));
        assert_eq!(text(&wal, "b").as_deref(), Some("2"));
        assert_eq!(wal.payload(b"p").unwrap(), Some(pattern(1, 1, 5000)));
    }
}

#[test]
fn scenario_03_a_finished_copy_that_cannot_be_read_is_a_refusal() {
    let disk = SimDisk::new();
    let (mut wal, _) = calm(&disk, 1).unwrap();
    put(&mut wal, "a", "1");
    drop(wal);
    let (mut wal, report) = calm(&disk, 2).unwrap();
    // Something after the seal proves that it was synced.
    put(&mut wal, "b", "2");
    drop(wal);
    let (path, at, header) = find(&disk, report.last_lsn.prev());
    assert_eq!(header.identity.kind, FileKind::Copy);
    disk.damage(&path, at, &[0; SECTOR]).unwrap();
    let refused = calm(&disk, 3).err().unwrap();
    assert!(
        matches!(
            refused,
            WalError::Corrupt(Corruption::LostCopy { incarnation: 2 })
        ),
        "{refused}"
    );
}

#[test]
fn scenario_04_starts_that_die_in_any_of_their_syncs_on_a_full_disk_need_no_new_space() {
    const ROW: u64 = 4;
    const SYNCS: u64 = 14;
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    for n in 0..8 {
        put_payload(&mut wal, &format!("p{n}"), pattern(n, 1, 5000));
    }
    drop(wal);
    disk.remove("ballast").unwrap();
    for nth in 1..SYNCS {
        let mut now = disk.crash_clone(CrashPolicy::KeepAll, 0);
        for number in 0..ROW {
            let start = now.crash_clone(CrashPolicy::ProcessKill, 0);
            start.set_capacity(Some(start.used_bytes()));
            start.die_at_sync(nth);
            drop(open(&start, number));
            now = start;
        }
        let start = now.crash_clone(CrashPolicy::ProcessKill, 0);
        start.set_capacity(Some(start.used_bytes()));
        let (wal, _) = open(&start, 99).unwrap_or_else(|error| panic!("sync {nth}: {error}"));
        for n in 0..8 {
            let found = wal.payload(format!("p{n}").as_bytes()).unwrap().unwrap();
            assert_eq!(found, pattern(n, 1, 5000), "sync {nth}");
        }
    }
}

#[test]
fn scenario_04_starts_that_crash_in_recovery_need_no_new_space() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    for n in 0..8 {
        put_payload(&mut wal, &format!("p{n}"), pattern(n, 1, 5000));
    }
    drop(wal);
    // Not one byte more, and no ballast to give.
    if disk.exists("ballast").unwrap() {
        disk.remove("ballast").unwrap();
    }
    let full = disk.crash_clone(CrashPolicy::KeepAll, 0);
    full.set_capacity(Some(full.used_bytes()));
    let mut disk = full;
    for round in 0..40u64 {
        // Every start dies a little later, some of them right after the seal.
        disk.inject(disk.op_count() + round % 13, Fault::Dead);
        match open(&disk, round) {
            Ok((wal, _)) => drop(wal),
            Err(error) => assert_ne!(error.kind(), ErrorKind::Space, "round {round}: {error}"),
        }
        disk = disk.crash_clone(CrashPolicy::Subset, round);
        disk.set_capacity(Some(disk.used_bytes()));
    }
    let (wal, _) = open(&disk, 99).unwrap();
    for n in 0..8 {
        assert_eq!(
            wal.payload(format!("p{n}").as_bytes()).unwrap(),
            Some(pattern(n, 1, 5000))
        );
    }
}
