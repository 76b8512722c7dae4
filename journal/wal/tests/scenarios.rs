//! The scenarios that earlier drafts of the design did not survive, by their numbers.

mod common;

use std::sync::Arc;

use common::*;
use wal::disk::{CrashPolicy, Disk, Fault, SimDisk};
use wal::record::{FileHeader, FileKind, GroupHeader};
use wal::store::MemStore;
use wal::{
    Corruption, ErrorKind, Lsn, Options, Priority, SeededDice, Txn, ViewOutcome, Wal, WalError,
};

const SECTOR: usize = 4096;

/// Offsets of all sound group headers in a file, with their headers.
fn groups(disk: &SimDisk, path: &str) -> Vec<(u64, GroupHeader)> {
    let bytes = disk.contents(path).unwrap();
    let sectors = bytes.chunks(SECTOR).enumerate();
    sectors
        .filter_map(|(n, sector)| {
            let (header, _) = GroupHeader::decode(sector).ok()?;
            Some(((n * SECTOR) as u64, header))
        })
        .collect()
}

/// Where the group with this LSN stands in the newest file that has it.
fn find(disk: &SimDisk, lsn: Lsn) -> (String, u64, GroupHeader) {
    let files = disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("log/"));
    let all = files.flat_map(|path| {
        groups(disk, &path)
            .into_iter()
            .map(move |(at, header)| (path.clone(), at, header))
    });
    all.filter(|(_, _, header)| header.lsn == lsn)
        .max_by_key(|(_, _, header)| header.identity.number)
        .unwrap()
}

/// Sizes with which a handful of transactions never makes a checkpoint of their own.
fn calm(disk: &SimDisk, seed: u64) -> Result<(Wal, wal::RecoveryReport), WalError> {
    open_with(
        disk,
        seed,
        Options {
            log_file_bytes: 512 << 10,
            ..small()
        },
    )
}

fn header_of(disk: &SimDisk, path: &str) -> Option<FileHeader> {
    FileHeader::decode(&disk.contents(path).unwrap()).ok()
}

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

#[test]
fn scenario_05_a_damaged_view_is_rebuilt_at_open_and_at_a_get() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    let mut dice = SeededDice(4);
    let mut model = Model::default();
    for n in 1..=60 {
        let txn = random_txn(&mut dice, n, &mut model);
        drop(wal.stage(txn, ()).unwrap());
        drop(wal.commit().unwrap());
    }
    wal.checkpoint().unwrap();
    drop(wal);
    disk.damage("view", 20, &[0xff; 40]).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = MemStore::on_disk(Arc::clone(&shared), "view");
    let control = store.control();
    let (mut wal, report) =
        Wal::open(shared, Box::new(store), Box::new(SeededDice(2)), small()).unwrap();
    assert_eq!(report.view, ViewOutcome::Rebuilt);
    assert_eq!(dump(&wal).unwrap(), model);
    // Later, in the middle of life, with something staged.
    let mut txn = random_txn(&mut dice, 61, &mut model);
    txn.put("staged", "s");
    drop(wal.stage(txn, ()).unwrap());
    control.corrupt_reads();
    model.values.insert(b"staged".to_vec(), b"s".to_vec());
    assert_eq!(dump(&wal).unwrap(), model);
    drop(wal.commit().unwrap());
    control.corrupt_reads();
    put(&mut wal, "after", "a");
    model.values.insert(b"after".to_vec(), b"a".to_vec());
    assert_eq!(dump(&wal).unwrap(), model);
    control.corrupt_reads();
    wal.checkpoint().unwrap();
    assert_eq!(dump(&wal).unwrap(), model);
}

#[test]
fn scenario_05_one_damaged_checkpoint_is_survived() {
    for newest in [false, true] {
        let disk = SimDisk::new();
        let (mut wal, _) = open(&disk, 1).unwrap();
        let mut dice = SeededDice(4);
        let mut model = Model::default();
        for n in 1..=90 {
            let txn = random_txn(&mut dice, n, &mut model);
            drop(wal.stage(txn, ()).unwrap());
            drop(wal.commit().unwrap());
        }
        let made = wal.stats().checkpoints;
        assert!(made >= 2);
        drop(wal);
        // The first one goes to `a`, then they take turns.
        let even = made % 2 == 0;
        let path = if even == newest {
            "checkpoint-b"
        } else {
            "checkpoint-a"
        };
        disk.damage(path, 8192 + 30, &[0xff; 9]).unwrap();
        disk.remove("view").unwrap();
        let (wal, report) = open(&disk, 2).unwrap();
        assert_eq!(report.view, ViewOutcome::Rebuilt);
        assert_eq!(dump(&wal).unwrap(), model, "newest {newest}");
    }
}

#[test]
fn scenario_05_the_log_back_to_the_older_checkpoint_is_kept() {
    // Files without payloads come free as soon as they may and are used again at once, by the
    // next file and by the copy of a start; the newest checkpoint then rots.
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    let mut checked = 0;
    for n in 0..400u64 {
        put(&mut wal, &format!("k{}", n % 40), &"v".repeat(2000));
        put(&mut wal, "n", &n.to_string());
        if n % 5 != 0 || wal.stats().checkpoints < 3 {
            continue;
        }
        let rotten = disk.crash_clone(CrashPolicy::LoseAll, n);
        for start in 0..3 {
            drop(open(&rotten, start).unwrap());
        }
        rotten
            .damage(newest_checkpoint(&rotten), 8192 + 30, &[0xff; 9])
            .unwrap();
        let (again, report) = open(&rotten, n).unwrap_or_else(|error| panic!("{n}: {error}"));
        assert_eq!(text(&again, "n"), Some(n.to_string()));
        assert!(report.base_lsn.0 > 0);
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

/// The checkpoint file with the higher LSN, which stands at offset 26.
fn newest_checkpoint(disk: &SimDisk) -> &'static str {
    let lsn = |path: &str| {
        let bytes = disk.contents(path).unwrap();
        u64::from_le_bytes(bytes[26..34].try_into().unwrap())
    };
    ["checkpoint-a", "checkpoint-b"]
        .into_iter()
        .max_by_key(|path| lsn(path))
        .unwrap()
}

#[test]
fn scenario_06_a_small_value_pins_no_file_and_files_come_free_in_any_order() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    put(&mut wal, "un-acked commit", "4 kB of it");
    // Two clips, interleaved with a third that stays.
    let mut kept = Vec::new();
    for n in 0..40u64 {
        put_payload(&mut wal, &format!("v{n}"), pattern(n, 1, 9000));
        if n % 8 == 0 {
            kept.push(n);
        }
    }
    let before = wal.stats();
    for n in (0..40u64).rev().filter(|n| !kept.contains(n)) {
        let mut txn = Txn::new();
        txn.delete_payload(format!("v{n}"));
        drop(wal.stage(txn, ()).unwrap());
        if n % 4 == 0 {
            drop(wal.commit().unwrap());
        }
    }
    drop(wal.commit().unwrap());
    wal.checkpoint().unwrap();
    wal.checkpoint().unwrap();
    let after = wal.stats();
    assert!(after.files < before.files, "{before:?} {after:?}");
    assert_eq!(after.live_bytes, kept.len() as u64 * 9000);
    // One 16th of the bytes is live; whole files of the rest are free or gone.
    assert!(disk.used_bytes() < 16 * small().log_file_bytes);
    drop(wal);
    let (wal, _) = open(&disk, 2).unwrap();
    assert_eq!(text(&wal, "un-acked commit").as_deref(), Some("4 kB of it"));
    for n in kept {
        assert_eq!(
            wal.payload(format!("v{n}").as_bytes()).unwrap(),
            Some(pattern(n, 1, 9000))
        );
    }
    assert_eq!(wal.scan_payloads(b"v", b"", 99).unwrap().len(), 5);
}

#[test]
fn scenario_07_a_full_view_refuses_video_and_does_not_poison() {
    let shared = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(shared.clone());
    let store = MemStore::on_disk(Arc::clone(&disk), "view");
    let control = store.control();
    let (mut wal, _) = Wal::open(disk, Box::new(store), Box::new(SeededDice(1)), small()).unwrap();
    wal.admit(5000, Priority::Bulk).unwrap();
    control.full_writes();
    let lsn = wal.next_lsn();
    for n in 0..20 {
        put(&mut wal, "epoch", &n.to_string());
    }
    assert_eq!(
        wal.admit(5000, Priority::Bulk).err().unwrap().kind(),
        ErrorKind::Space
    );
    wal.admit(5000, Priority::Epoch).unwrap();
    assert_eq!(wal.next_lsn(), Lsn(lsn.0 + 20), "a refusal uses no number");
    assert!(wal.poisoned().is_none());
    assert_eq!(text(&wal, "epoch").as_deref(), Some("19"));
    // A checkpoint dumps what the store could not take.
    wal.checkpoint().unwrap();
    drop(wal);
    let (mut wal, _) = open(&shared, 2).unwrap();
    assert_eq!(text(&wal, "epoch").as_deref(), Some("19"));
    put(&mut wal, "epoch", "20");
    wal.admit(5000, Priority::Bulk).unwrap();
}

#[test]
fn scenario_07_a_view_that_met_a_full_disk_comes_back_by_itself() {
    let shared = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(shared.clone());
    let store = MemStore::on_disk(Arc::clone(&disk), "view");
    let control = store.control();
    let (mut wal, _) = Wal::open(disk, Box::new(store), Box::new(SeededDice(1)), small()).unwrap();
    put(&mut wal, "before", "b");
    control.full_writes();
    put(&mut wal, "during", "d");
    let refused = wal.admit(5000, Priority::Bulk);
    assert!(
        matches!(refused, Err(WalError::Space { needed, available }) if needed < available),
        "whoever is refused sees that the disk is not full any more: {refused:?}"
    );
    control.heal();
    assert!(
        wal.admit(5000, Priority::Bulk).is_err(),
        "nothing looked again yet"
    );
    wal.admit_or_relieve(5000, Priority::Bulk).unwrap();
    wal.admit(5000, Priority::Bulk).unwrap();
    assert_eq!(text(&wal, "before").as_deref(), Some("b"));
    assert_eq!(text(&wal, "during").as_deref(), Some("d"));
}

/// A view that is made anew on a full disk waits in memory, all of it, however large it is. Each start
/// finds the same and is as good: the disk is full, and nothing is broken.
#[test]
fn scenario_07_a_view_made_anew_on_a_full_disk_is_full_and_not_broken() {
    const VALUES: usize = 10;
    let value = "v".repeat((1 << 20) - 64);
    let options = Options {
        log_file_bytes: 8 << 20,
        ..small()
    };
    let shared = SimDisk::new();
    let (mut wal, _) = open_with(&shared, 1, options.clone()).unwrap();
    for n in 0..VALUES {
        put(&mut wal, &format!("k{n}"), &value);
    }
    wal.checkpoint().unwrap();
    drop(wal);
    shared.remove("view").unwrap();
    for start in 0..3 {
        let disk: Arc<dyn Disk> = Arc::new(shared.clone());
        let store = MemStore::on_disk(Arc::clone(&disk), "view");
        store.control().full_writes();
        let dice = Box::new(SeededDice(2 + start));
        let (mut wal, _) = Wal::open(disk, Box::new(store), dice, options.clone()).unwrap();
        put(&mut wal, "epoch", &start.to_string());
        let refused = wal.admit_or_relieve(5000, Priority::Bulk).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Space);
        assert!(wal.poisoned().is_none());
        assert_eq!(text(&wal, "epoch"), Some(start.to_string()));
        for n in 0..VALUES {
            assert_eq!(text(&wal, &format!("k{n}")).as_ref(), Some(&value));
        }
    }
    let (mut wal, _) = open_with(&shared, 9, options).unwrap();
    wal.admit_or_relieve(5000, Priority::Bulk).unwrap();
    put(&mut wal, "epoch", "after");
    assert_eq!(text(&wal, "k9").as_ref(), Some(&value));
}

/// A start on a full disk refuses bulk data; when somebody frees space, it takes it again although
/// nothing was committed in between.
#[test]
fn scenario_07_bulk_is_taken_again_when_space_comes_back() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    put(&mut wal, "a", "1");
    wal.checkpoint().unwrap();
    drop(wal);
    for path in disk.paths() {
        if path == "ballast" {
            disk.remove(&path).unwrap();
        }
    }
    disk.set_capacity(Some(disk.used_bytes()));
    let (mut wal, _) = open(&disk, 2).unwrap();
    let refused = wal.admit_or_relieve(5000, Priority::Bulk).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Space);
    disk.set_capacity(None);
    assert!(
        wal.admit(5000, Priority::Bulk).is_err(),
        "nothing looked again yet"
    );
    wal.admit_or_relieve(5000, Priority::Bulk).unwrap();
    put_payload(&mut wal, "v", pattern(1, 1, 5000));
    assert_eq!(text(&wal, "a").as_deref(), Some("1"));
}

#[test]
fn scenario_07_epochs_never_run_dry_on_a_full_disk() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(1 << 20));
    let options = Options {
        ballast_bytes: 128 << 10,
        ..small()
    };
    let (mut wal, _) = open_with(&disk, 1, options.clone()).unwrap();
    let mut n = 0u64;
    while wal.admit(9000, Priority::Bulk).is_ok() {
        put_payload(&mut wal, &format!("v{n}"), pattern(n, 1, 9000));
        n += 1;
    }
    // Somebody else fills what is left.
    disk.set_capacity(Some(disk.used_bytes()));
    for epoch in 0..600 {
        wal.admit(3000, Priority::Epoch)
            .unwrap_or_else(|error| panic!("epoch {epoch}: {error}"));
        put(&mut wal, "epoch", &epoch.to_string());
        if epoch % 150 == 149 {
            drop(wal);
            wal = open_with(&disk, epoch, options.clone()).unwrap().0;
        }
    }
    let refused = wal.admit(9000, Priority::Bulk);
    assert!(
        matches!(refused, Err(WalError::Space { needed, available }) if needed > available),
        "whoever is refused sees that the disk is full: {refused:?}"
    );
    assert_eq!(wal.payload(b"v0").unwrap(), Some(pattern(0, 1, 9000)));
}

#[test]
fn a_damaged_payload_costs_that_payload_only() {
    let disk = SimDisk::new();
    let (mut wal, _) = calm(&disk, 1).unwrap();
    let first = put_payload(&mut wal, "one", pattern(1, 1, 6000));
    put_payload(&mut wal, "two", pattern(2, 1, 6000));
    put(&mut wal, "k", "v");
    drop(wal);
    let (path, at, _) = find(&disk, first);
    disk.damage(&path, at + 5000, b"rot").unwrap();
    for seed in 2..5 {
        // It stays damaged, and said so, through any number of starts.
        let (wal, report) = calm(&disk, seed).unwrap();
        let damaged: Vec<_> = report
            .damaged_payloads
            .iter()
            .map(|d| (&d.key[..], d.lsn))
            .collect();
        assert_eq!(damaged, [(&b"one"[..], first)]);
        let refused = wal.payload(b"one").err().unwrap();
        assert!(
            matches!(&refused, WalError::PayloadDamaged { key, lsn } if key == b"one" && *lsn == first)
        );
        assert_eq!(wal.payload(b"two").unwrap(), Some(pattern(2, 1, 6000)));
        assert_eq!(text(&wal, "k").as_deref(), Some("v"));
    }
    let (mut wal, _) = calm(&disk, 6).unwrap();
    let mut txn = Txn::new();
    txn.delete_payload("one");
    drop(wal.stage(txn, ()).unwrap());
    drop(wal.commit().unwrap());
    assert_eq!(wal.payload(b"one").unwrap(), None);
}

#[test]
fn an_acknowledged_group_that_is_gone_is_a_refusal() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    put(&mut wal, "a", "1");
    let lsn = put(&mut wal, "b", "2");
    put(&mut wal, "c", "3");
    drop(wal);
    let (path, at, _) = find(&disk, lsn);
    disk.damage(&path, at + 90, &[0xee; 8]).unwrap();
    let refused = open(&disk, 2).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(matches!(refused, WalError::Corrupt(Corruption::LostGroup { lsn: l, .. }) if l == lsn));
    // The refusal is the same the next time: it changed nothing.
    assert!(matches!(open(&disk, 3), Err(WalError::Corrupt(_))));
}

#[test]
fn old_groups_behind_the_new_ones_of_a_recycled_file_are_dead() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    let mut dice = SeededDice(21);
    let mut model = Model::default();
    let mut seen = 0;
    for n in 1..=400 {
        let txn = random_txn(&mut dice, n, &mut model);
        drop(wal.stage(txn, ()).unwrap());
        drop(wal.commit().unwrap());
        if n % 20 == 0 {
            for path in disk.paths().iter().filter(|path| path.starts_with("log/")) {
                let lives: std::collections::BTreeSet<_> = groups(&disk, path)
                    .into_iter()
                    .map(|(_, h)| h.identity.number)
                    .collect();
                seen += usize::from(lives.len() > 1);
            }
            let cut = disk.crash_clone(CrashPolicy::LoseAll, n);
            let (again, _) = open(&cut, n).unwrap();
            assert_eq!(dump(&again).unwrap(), model);
        }
    }
    assert!(seen > 5, "no recycled file was met");
}

#[test]
fn every_flipped_bit_and_every_prefix_of_a_file_is_survived_or_refused() {
    let disk = SimDisk::new();
    let (mut wal, _) = calm(&disk, 1).unwrap();
    let mut history = vec![Model::default()];
    let mut dice = SeededDice(31);
    let mut model = Model::default();
    for n in 1..=12 {
        let txn = random_txn(&mut dice, n, &mut model);
        history.push(model.clone());
        drop(wal.stage(txn, ()).unwrap());
        drop(wal.commit().unwrap());
    }
    drop(wal);
    let (mut fine, mut refused) = (0, 0);
    let paths = disk.paths();
    for path in paths.iter().filter(|path| path.starts_with("log/")) {
        let bytes = disk.contents(path).unwrap();
        for at in (0..bytes.len()).step_by(53) {
            let other = disk.crash_clone(CrashPolicy::KeepAll, 0);
            other
                .damage(path, at as u64, &[bytes[at] ^ (1 << (at % 8))])
                .unwrap();
            match calm(&other, 5) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{path} {at}: {error}");
                    refused += 1;
                }
                Ok((wal, report)) => {
                    fine += 1;
                    let rotten = matches!(dump(&wal), Err(WalError::PayloadDamaged { .. }));
                    assert!(rotten || report.damaged_payloads.is_empty());
                    if !rotten {
                        let n = check(&wal, &history, 11, &format!("{path} {at}"));
                        // Only the very last commit has no witness.
                        assert!(n >= 11);
                    }
                }
            }
        }
        for len in (0..bytes.len()).step_by(1024) {
            let other = disk.crash_clone(CrashPolicy::KeepAll, 0);
            let file = other.open(path, wal::disk::OpenMode::Existing).unwrap();
            file.set_len(len as u64).unwrap();
            if let Err(error) = calm(&other, 5) {
                assert_eq!(
                    error.kind(),
                    ErrorKind::Corrupt,
                    "{path} cut at {len}: {error}"
                );
            }
        }
    }
    assert!(fine > 100 && refused > 10, "{fine} {refused}");
}

#[test]
fn a_missing_log_file_is_refused_or_reported() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    for n in 0..30u64 {
        put_payload(&mut wal, &format!("v{n}"), pattern(n, 1, 9000));
    }
    drop(wal);
    let mut reported = 0;
    for path in disk.paths().iter().filter(|path| path.starts_with("log/")) {
        let other = disk.crash_clone(CrashPolicy::KeepAll, 0);
        other.remove(path).unwrap();
        match open(&other, 2) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{path}: {error}"),
            Ok((wal, report)) => {
                let bad = (0..30u64)
                    .filter(|n| wal.payload(format!("v{n}").as_bytes()).is_err())
                    .count() as u64;
                assert_eq!(bad, report.lost_payloads, "{path}");
                reported += bad;
            }
        }
    }
    assert!(reported > 0);
}

#[test]
fn a_witness_tells_rot_of_the_newest_transaction_from_a_torn_write() {
    let disk = SimDisk::new();
    let (mut wal, _) = calm(&disk, 1).unwrap();
    put(&mut wal, "a", "1");
    let lsn = put(&mut wal, "b", "2");
    let without = disk.crash_clone(CrashPolicy::LoseAll, 0);
    assert!(wal.witness_due());
    let syncs = wal.stats().syncs;
    wal.witness().unwrap();
    assert_eq!(wal.stats().syncs, syncs + 1);
    // Once is enough, and staging makes the next one due only when it is synced.
    assert!(!wal.witness_due());
    wal.witness().unwrap();
    assert_eq!(wal.stats().syncs, syncs + 1);
    drop(wal);
    let rot = |disk: &SimDisk| {
        let (path, at, _) = find(disk, lsn);
        disk.damage(&path, at + 90, &[0xee; 8]).unwrap();
        // The view knew it as well; it is gone together with the sector.
        let view: Vec<_> = disk
            .paths()
            .into_iter()
            .filter(|path| path.starts_with("view"))
            .collect();
        for path in view {
            disk.remove(&path).unwrap();
        }
    };
    // Nothing tells this from a write that tore.
    rot(&without);
    let (wal, _) = calm(&without, 2).unwrap();
    assert_eq!(
        (text(&wal, "a").as_deref(), text(&wal, "b")),
        (Some("1"), None)
    );
    // The witness does.
    rot(&disk);
    let refused = calm(&disk, 3).err().unwrap();
    assert!(matches!(refused, WalError::Corrupt(Corruption::LostGroup { lsn: l, .. }) if l == lsn));
}

#[test]
fn a_witness_survives_every_kind_of_power_cut_and_hides_nothing() {
    for policy in CrashPolicy::ALL {
        for seed in 0..20 {
            let disk = SimDisk::new();
            let (mut wal, _) = calm(&disk, seed).unwrap();
            put(&mut wal, "a", "1");
            disk.record_snapshots();
            wal.witness().unwrap();
            put(&mut wal, "b", "2");
            for snapshot in disk.snapshots() {
                let cut = snapshot.crash_clone(policy, seed);
                let (mut again, _) = calm(&cut, seed + 1).unwrap();
                assert_eq!(text(&again, "a").as_deref(), Some("1"), "{policy:?} {seed}");
                put(&mut again, "c", "3");
                again.witness().unwrap();
            }
        }
    }
}

#[test]
fn an_error_is_not_an_answer() {
    let disk = SimDisk::new();
    let (mut wal, _) = calm(&disk, 1).unwrap();
    put(&mut wal, "k", "v");
    let lsn = put_payload(&mut wal, "newest", pattern(1, 1, 9000));
    drop(wal);
    let (path, at, _) = find(&disk, lsn);
    let middle = at + 4096..at + 8192;
    // Nothing proves that the newest transaction was synced; but it may have been acknowledged,
    // and the disk refuses to say. That is no torn tail.
    for path_of_view in disk.paths().iter().filter(|path| path.starts_with("view")) {
        disk.remove(path_of_view).unwrap();
    }
    let stubborn = disk.crash_clone(CrashPolicy::KeepAll, 0);
    stubborn
        .refuse_reads(&path, middle.clone(), u32::MAX)
        .unwrap();
    for seed in 2..4 {
        let refused = calm(&stubborn, seed).err().unwrap();
        assert!(
            matches!(refused, WalError::Unread { lsn: l } if l == lsn),
            "{refused}"
        );
        assert_eq!(refused.kind(), ErrorKind::Retry);
    }
    // A disk that answers at the second try has lost nothing.
    disk.refuse_reads(&path, middle.clone(), 2).unwrap();
    let (mut wal, report) = calm(&disk, 5).unwrap();
    assert_eq!(report.damaged_payloads, []);
    assert_eq!(wal.payload(b"newest").unwrap(), Some(pattern(1, 1, 9000)));
    put(&mut wal, "k", "w");
    drop(wal);
    // Once it is proven, a sector that is gone for good costs that payload only; what else the
    // group's neighbours hold is kept.
    let (path, at, _) = find(&disk, lsn);
    disk.refuse_reads(&path, at + 4096..at + 8192, u32::MAX)
        .unwrap();
    let (wal, report) = calm(&disk, 6).unwrap();
    let keys: Vec<_> = report.damaged_payloads.iter().map(|d| &d.key[..]).collect();
    assert_eq!(keys, [b"newest"]);
    assert_eq!(text(&wal, "k").as_deref(), Some("w"));
}

#[test]
fn a_payload_that_is_read_at_the_second_try_is_not_damaged() {
    let disk = SimDisk::new();
    let (mut wal, _) = calm(&disk, 1).unwrap();
    let lsn = put_payload(&mut wal, "p", pattern(1, 1, 9000));
    let (path, at, _) = find(&disk, lsn);
    disk.refuse_reads(&path, at..at + 8192, 2).unwrap();
    assert_eq!(wal.payload(b"p").unwrap(), Some(pattern(1, 1, 9000)));
    disk.refuse_reads(&path, at..at + 8192, 3).unwrap();
    let refused = wal.payload(b"p").err().unwrap();
    assert!(matches!(refused, WalError::PayloadDamaged { .. }));
}
