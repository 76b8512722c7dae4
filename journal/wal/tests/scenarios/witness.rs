//! The witness: what tells rot of the newest transaction from a write that tore.

use wal::disk::{CrashPolicy, Disk as _, SimDisk};
use wal::{Corruption, WalError};

use crate::common::*;
use crate::support::{calm, find};

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
