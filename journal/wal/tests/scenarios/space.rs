//! Scenarios 6 and 7: what pins a file, and what is refused on a full disk.

use std::sync::Arc;

use wal::disk::{Disk, SimDisk};
use wal::store::MemStore;
use wal::{ErrorKind, Lsn, Options, Priority, SeededDice, Txn, Wal, WalError};

use crate::common::*;

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
