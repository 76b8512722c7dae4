//! The storage thread when the disk fails under it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use wal::disk::{Fault, SimDisk};
use wal::store::MemStore;
use wal::{Options, SeededDice, Wal};
use wire::Head;

use super::*;
use crate::store::Quota;

const HUB: DeviceId = DeviceId([1; 32]);
const BOX: SendId = SendId([2; 24]);
const PATIENCE: Duration = Duration::from_secs(20);

fn opener(disk: &SimDisk) -> Opener {
    let disk = disk.clone();
    Box::new(move || {
        let disk: Arc<dyn wal::Disk> = Arc::new(disk.clone());
        let view = Box::new(MemStore::on_disk(Arc::clone(&disk), "view"));
        let options = Options {
            log_file_bytes: 1 << 20,
            grow_bytes: 256 << 10,
            ballast_bytes: 64 << 10,
            ..Options::default()
        };
        let (wal, report) = Wal::open(disk, view, Box::new(SeededDice(3)), options)?;
        MailboxStore::new(wal, &report, Quota::default())
    })
}

fn start(disk: &SimDisk, fatal: Box<dyn FnOnce(WalError) + Send>) -> (Storage, JoinHandle<()>) {
    Storage::start(opener(disk), Arc::new(Watchers::default()), fatal).unwrap()
}

async fn append(storage: &Storage, seq: u64) -> Result<Head, StorageRestarting> {
    let envelope = Bytes::from(vec![seq as u8; 1000]);
    let permits = Arc::new(Semaphore::new(1));
    let permit = permits.acquire_owned().await.unwrap();
    let asked = storage.ask(|answer| Job::Append {
        account: HUB,
        mailbox: BOX,
        seq: Seq(seq),
        after: Seq(seq - 1),
        digest: Digest::of(&envelope),
        envelope,
        permit,
        answer,
    });
    match tokio::time::timeout(PATIENCE, asked).await.unwrap()?.0 {
        AppendAnswer::Receipt(receipt) => Ok(receipt.head()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failed_sync_gives_no_receipt_and_leads_through_recovery() {
    // Each operation of an append fails once; wherever it was, no acked envelope is lost.
    for after_ops in 0..4 {
        let disk = SimDisk::new();
        let (storage, thread) = start(&disk, Box::new(|error| panic!("fatal: {error}")));
        let mut reopened = storage.reopened();
        assert_eq!(append(&storage, 1).await.unwrap().seq, Seq(1));
        disk.inject(disk.op_count() + after_ops, Fault::Eio);
        let mut acked = 1;
        let failed_at = loop {
            match append(&storage, acked + 1).await {
                Ok(_) => acked += 1,
                Err(StorageRestarting) => break acked + 1,
            }
            assert!(acked < 50, "the fault never came");
        };
        tokio::time::timeout(PATIENCE, reopened.changed())
            .await
            .unwrap()
            .unwrap();
        let state = storage
            .ask(|answer| Job::SendState {
                mailbox: BOX,
                answer,
            })
            .await
            .unwrap();
        let last = state.last.unwrap().seq;
        assert!(last == Seq(acked) || last == Seq(failed_at), "{last}");
        // A duplicate, or new: it has its receipt now.
        assert_eq!(
            append(&storage, failed_at).await.unwrap().seq,
            Seq(failed_at)
        );
        drop((storage, reopened));
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_stays_broken_ends_the_process_after_two_attempts() {
    let disk = SimDisk::new();
    let attempts = Arc::new(AtomicUsize::new(0));
    let (ended, end) = oneshot::channel();
    let mut inner = opener(&disk);
    let counted = Arc::clone(&attempts);
    let counting: Opener = Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        inner()
    });
    let fatal = Box::new(move |error: WalError| {
        let _nobody = ended.send(error);
    });
    let (storage, thread) = Storage::start(counting, Arc::new(Watchers::default()), fatal).unwrap();
    append(&storage, 1).await.unwrap();
    disk.inject_from(disk.op_count(), Fault::Eio);
    assert_eq!(append(&storage, 2).await, Err(StorageRestarting));
    tokio::time::timeout(PATIENCE, end).await.unwrap().unwrap();
    assert_eq!(
        attempts.load(Ordering::Relaxed),
        3,
        "the start and two more"
    );
    thread.join().unwrap();
    assert_eq!(
        append(&storage, 2).await,
        Err(StorageRestarting),
        "and it stays so"
    );
}
