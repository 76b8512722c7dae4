//! The engine in good weather: reads, overlays, payloads, rotation, reopening.

mod common;

use std::sync::Arc;

use common::*;
use wal::disk::{CrashPolicy, RealDisk, SimDisk};
use wal::store::RocksStore;
use wal::{ErrorKind, Options, OsDice, Priority, SeededDice, Txn, Wal, WalError};

#[test]
fn a_value_is_there_after_reopening() {
    let disk = SimDisk::new();
    let (mut wal, report) = open(&disk, 1).unwrap();
    assert!(report.fresh);
    assert_eq!(report.incarnation, 1);
    put(&mut wal, "a", "1");
    put(&mut wal, "b", "2");
    put_payload(&mut wal, "v", pattern(1, 1, 9000));
    drop(wal);
    let (wal, report) = open(&disk, 2).unwrap();
    assert!(!report.fresh);
    assert_eq!(report.incarnation, 2);
    assert_eq!(text(&wal, "a").as_deref(), Some("1"));
    assert_eq!(wal.payload(b"v").unwrap(), Some(pattern(1, 1, 9000)));
    assert_eq!(
        wal.scan_last(b"").unwrap(),
        Some((b"b".to_vec(), b"2".to_vec()))
    );
}

#[test]
fn staged_is_visible_and_not_durable() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    let mut txn = Txn::new();
    txn.put("a", "1");
    txn.put_payload("v", vec![7; 100]);
    let staged = wal.stage(txn, 42u32).unwrap();
    assert_eq!(text(&wal, "a").as_deref(), Some("1"));
    assert_eq!(wal.payload(b"v").unwrap(), Some(vec![7; 100]));
    assert!(wal.durable_get(b"a").unwrap().is_none());
    assert!(wal.durable_payload(b"v").unwrap().is_none());
    let durable = wal.commit().unwrap().redeem(staged);
    assert_eq!(*durable, 42);
    assert_eq!(*wal.durable_get(b"a").unwrap().unwrap(), b"1".to_vec());
    assert_eq!(*wal.durable_payload(b"v").unwrap().unwrap(), vec![7; 100]);
}

#[test]
fn a_transaction_reads_its_own_writes_and_rolls_back_on_drop() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    put(&mut wal, "k1", "old");
    put(&mut wal, "k2", "old");
    let mut txn = Txn::new();
    txn.put("k1", "new");
    txn.delete("k2");
    txn.put("k3", "new");
    assert_eq!(txn.get(&wal, b"k1").unwrap().unwrap(), b"new");
    let keys: Vec<_> = txn
        .scan(&wal, b"k", b"", 9)
        .unwrap()
        .into_iter()
        .map(|p| p.0)
        .collect();
    assert_eq!(keys, [b"k1".to_vec(), b"k3".to_vec()]);
    drop(txn);
    assert_eq!(text(&wal, "k1").as_deref(), Some("old"));
    assert_eq!(text(&wal, "k3"), None);
}

#[test]
fn all_staged_transactions_share_one_sync() {
    let disk = SimDisk::new();
    let (mut wal, _) = open_with(&disk, 1, Options::default()).unwrap();
    put(&mut wal, "warm", "up");
    let before = disk.totals().1;
    let staged: Vec<_> = (0..5)
        .map(|n| {
            let mut txn = Txn::new();
            txn.put(format!("k{n}"), "v");
            wal.stage(txn, n).unwrap()
        })
        .collect();
    let committed = wal.commit().unwrap();
    assert_eq!(disk.totals().1, before + 1);
    let values: Vec<i32> = staged
        .into_iter()
        .map(|s| committed.redeem(s).into_inner())
        .collect();
    assert_eq!(values, [0, 1, 2, 3, 4]);
}

#[test]
#[should_panic(expected = "another Wal")]
fn a_commit_of_another_handle_redeems_nothing() {
    let (mut one, _) = open(&SimDisk::new(), 1).unwrap();
    let (mut two, _) = open(&SimDisk::new(), 2).unwrap();
    let mut txn = Txn::new();
    txn.put("k", "v");
    let staged = one.stage(txn, ()).unwrap();
    put(&mut two, "k", "v");
    put(&mut two, "k", "v");
    drop(two.commit().unwrap().redeem(staged));
}

#[test]
#[should_panic(expected = "above the committed LSN")]
fn an_older_commit_redeems_nothing_newer() {
    let (mut wal, _) = open(&SimDisk::new(), 1).unwrap();
    put(&mut wal, "k", "v");
    let committed = wal.commit().unwrap();
    let mut txn = Txn::new();
    txn.put("k", "w");
    let staged = wal.stage(txn, ()).unwrap();
    drop(committed.redeem(staged));
}

#[test]
fn a_second_handle_is_locked_out() {
    let disk = SimDisk::new();
    let first = open(&disk, 1).unwrap();
    let refused = open(&disk, 2).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    drop(first);
    open(&disk, 3).unwrap();
}

#[test]
fn limits_are_errors_and_use_no_number() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    let next = wal.next_lsn();
    let mut txn = Txn::new();
    txn.put(vec![0; 5000], "v");
    assert_eq!(wal.stage(txn, ()).err().unwrap().kind(), ErrorKind::Misuse);
    let mut txn = Txn::new();
    txn.put_payload("v", vec![0; 20 << 10]);
    assert_eq!(wal.stage(txn, ()).err().unwrap().kind(), ErrorKind::Misuse);
    assert_eq!(wal.next_lsn(), next);
    let full = (0..9).find_map(|n| {
        let mut txn = Txn::new();
        txn.put_payload(format!("v{n}"), vec![0; 10 << 10]);
        wal.stage(txn, ()).err()
    });
    assert!(matches!(full, Some(WalError::BatchFull { .. })));
    drop(wal.commit().unwrap());
}

#[test]
fn a_long_history_keeps_files_and_tail_bounded() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk, 1).unwrap();
    let mut dice = SeededDice(5);
    let mut model = Model::default();
    let limit = small().log_file_bytes * 3 / 2 + 4096 * 4;
    for n in 1..=1500 {
        let txn = random_txn(&mut dice, n, &mut model);
        drop(wal.stage(txn, ()).unwrap());
        if dice.below(3) == 0 || wal.staged_bytes() > 12 << 10 {
            drop(wal.commit().unwrap());
        }
        assert!(wal.stats().tail_bytes <= limit, "{:?}", wal.stats());
    }
    drop(wal.commit().unwrap());
    assert_eq!(dump(&wal).unwrap(), model);
    let stats = wal.stats();
    assert!(
        stats.checkpoints > 20 && stats.files + stats.free_files < 20,
        "{stats:?}"
    );
    drop(wal);
    let (wal, report) = open(&disk, 2).unwrap();
    assert!(report.bytes_copied <= limit);
    assert_eq!(dump(&wal).unwrap(), model);
}

#[test]
fn a_thousand_starts_stay_bounded() {
    let disk = SimDisk::new();
    drop(open(&disk, 1).unwrap());
    let mut disk = disk;
    let mut most = 0;
    for n in 2..400u64 {
        let policy = CrashPolicy::ALL[(n % 8) as usize];
        disk = disk.crash_clone(policy, n);
        let (mut wal, report) = open(&disk, n).unwrap();
        put(&mut wal, "n", &n.to_string());
        assert!(report.bytes_copied <= small().log_file_bytes);
        most = most.max(disk.used_bytes());
    }
    assert!(most < 12 * small().log_file_bytes, "{most}");
}

#[test]
fn space_is_refused_before_anything_is_built() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(896 << 10));
    let options = Options {
        ballast_bytes: 64 << 10,
        grow_bytes: 8 << 10,
        ..small()
    };
    let (mut wal, _) = open_with(&disk, 1, options).unwrap();
    let mut refused = 0;
    for n in 0..200 {
        if wal.admit(9000, Priority::Bulk).is_err() {
            refused += 1;
            // Epochs go on when video is refused.
            wal.admit(2000, Priority::Epoch).unwrap();
            put(&mut wal, "epoch", &n.to_string());
            continue;
        }
        put_payload(&mut wal, &format!("v{n}"), vec![1; 9000]);
    }
    assert!(refused > 100, "{refused}");
    assert_eq!(text(&wal, "epoch").as_deref(), Some("199"));
    for n in 0..200 {
        let mut txn = Txn::new();
        txn.delete_payload(format!("v{n}"));
        drop(wal.stage(txn, ()).unwrap());
        drop(wal.commit().unwrap());
    }
    wal.checkpoint().unwrap();
    wal.checkpoint().unwrap();
    wal.admit(9000, Priority::Bulk).unwrap();
}

#[test]
fn the_real_disk_and_rocks_do_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(dir.path()).unwrap());
    let open = || {
        let store = Box::new(RocksStore::new(dir.path().join("view")));
        Wal::open(disk.clone(), store, Box::new(OsDice), small())
    };
    let mut dice = SeededDice(9);
    let mut model = Model::default();
    for round in 0..4u64 {
        let (mut wal, report) = open().unwrap();
        assert_eq!(report.incarnation, round + 1);
        assert_eq!(dump(&wal).unwrap(), model);
        for n in 0..60 {
            let txn = random_txn(&mut dice, round * 60 + n + 1, &mut model);
            drop(wal.stage(txn, ()).unwrap());
            drop(wal.commit().unwrap());
        }
        assert!(matches!(open(), Err(WalError::Locked)));
    }
    let (wal, _) = open().unwrap();
    assert_eq!(dump(&wal).unwrap(), model);
    assert_eq!(wal.options().log_file_bytes, small().log_file_bytes);
}

#[test]
fn an_idle_journal_is_small() {
    let disk = SimDisk::new();
    let (mut wal, _) = open_with(&disk, 1, Options::default()).unwrap();
    put(&mut wal, "k", "v");
    assert!(disk.used_bytes() <= 9 << 20, "{}", disk.used_bytes());
}

/// A commit that was begun is not durable, hides nothing, and lets the next batch be staged.
#[test]
fn the_next_batch_is_staged_while_the_disk_works() {
    let disk = SimDisk::new();
    disk.delay_started_writes();
    let (mut wal, _) = open(&disk, 1).unwrap();
    let stage = |wal: &mut Wal, key: &str, bytes: &[u8]| {
        let mut txn = Txn::new();
        txn.put(key, bytes);
        txn.put_payload(key, vec![7; 5000]);
        wal.stage(txn, ()).unwrap()
    };
    let first = stage(&mut wal, "a", b"one");
    wal.begin_commit().unwrap();
    // The file does not have it yet; it is read all the same.
    assert_eq!(wal.payload(b"a").unwrap(), Some(vec![7; 5000]));
    let second = stage(&mut wal, "a", b"two");
    assert_eq!(wal.get(b"a").unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(wal.payload(b"a").unwrap(), Some(vec![7; 5000]));
    assert!(wal.durable_get(b"a").unwrap().is_none());
    assert!(wal.durable_payload(b"a").unwrap().is_none());
    let committed = wal.finish_commit().unwrap();
    drop(committed.redeem(first));
    let durable = wal.durable_get(b"a").unwrap().unwrap();
    assert_eq!(*durable, b"one");
    assert_eq!(wal.get(b"a").unwrap().as_deref(), Some(&b"two"[..]));
    let unsynced = disk.crash_clone(CrashPolicy::LoseAll, 1);
    drop(wal.commit().unwrap().redeem(second));
    assert_eq!(*wal.durable_get(b"a").unwrap().unwrap(), b"two");
    let (reopened, _) = open(&unsynced, 2).unwrap();
    assert_eq!(reopened.get(b"a").unwrap().as_deref(), Some(&b"one"[..]));
}

#[test]
#[should_panic(expected = "above the committed LSN")]
fn what_was_staged_after_a_commit_began_is_not_covered_by_it() {
    let (mut wal, _) = open(&SimDisk::new(), 1).unwrap();
    let mut txn = Txn::new();
    txn.put("a", "one");
    drop(wal.stage(txn, ()).unwrap());
    wal.begin_commit().unwrap();
    let mut txn = Txn::new();
    txn.put("a", "two");
    let late = wal.stage(txn, ()).unwrap();
    drop(wal.finish_commit().unwrap().redeem(late));
}
