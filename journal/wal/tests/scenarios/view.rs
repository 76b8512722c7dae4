//! Scenario 5: a damaged view or checkpoint is made anew from the log, which is kept for it.

use std::sync::Arc;

use wal::disk::{CrashPolicy, Disk, SimDisk};
use wal::store::MemStore;
use wal::{SeededDice, ViewOutcome, Wal};

use crate::common::*;

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
