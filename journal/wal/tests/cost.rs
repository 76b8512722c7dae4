//! What durability costs: bytes written per payload byte, and syncs per commit.

mod common;

use std::sync::Arc;

use wal::disk::{Disk, SimDisk};
use wal::store::MemStore;
use wal::{Options, SeededDice, Txn, Wal};

#[test]
fn recycled_files_cost_one_byte_per_byte_and_one_sync_per_commit() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    // The view is in memory: its bytes are its own business.
    let store = Box::new(MemStore::new());
    let dice = Box::new(SeededDice(1));
    let options = Options {
        log_file_bytes: 4 << 20,
        ..Options::default()
    };
    let (mut wal, _) = Wal::open(shared, store, dice, options).unwrap();
    let payload = common::pattern(1, 1, 64 << 10);
    let clip = |wal: &mut Wal, first: u64, count: u64| {
        for n in first..first + count {
            let mut txn = Txn::new();
            for k in 0..4 {
                txn.put_payload(format!("chunk {n} {k}"), payload.clone());
                // The app's acks let earlier chunks go.
                txn.delete_payload(format!("chunk {} {k}", n.saturating_sub(20)));
            }
            txn.put("index", n.to_le_bytes());
            drop(wal.stage(txn, ()).unwrap());
            drop(wal.commit().unwrap());
        }
    };
    clip(&mut wal, 1, 120);
    let (bytes, syncs) = disk.totals();
    clip(&mut wal, 121, 80);
    let (bytes_after, syncs_after) = disk.totals();
    let per_byte = (bytes_after - bytes) as f64 / (80 * 4 * (64 << 10)) as f64;
    let per_commit = (syncs_after - syncs) as f64 / 80.0;
    println!("{per_byte:.4} bytes written per payload byte, {per_commit:.3} syncs per commit");
    assert!(per_byte <= 1.05, "{per_byte}");
    // Two for each checkpoint, one checkpoint for each file.
    assert!(per_commit <= 1.25, "{per_commit}");
    assert_eq!(wal.stats().bytes_written, bytes_after);
}
