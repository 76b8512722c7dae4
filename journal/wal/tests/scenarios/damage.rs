//! Rot in the log, files that are missing and reads that the disk refuses: each costs no more than it must, or the
//! start is refused.

use wal::disk::{CrashPolicy, Disk as _, SimDisk};
use wal::{Corruption, ErrorKind, SeededDice, Txn, WalError};

use crate::common::*;
use crate::support::{calm, find, groups};

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
