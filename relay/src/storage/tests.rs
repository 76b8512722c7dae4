//! The storage thread when the disk fails under it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use wal::disk::{Fault, SimDisk};
use wal::store::MemStore;
use wal::{Options, SeededDice, Wal};
use wire::Head;

use super::*;
use crate::store::Quotas;

const HUB: (DeviceId, Class) = (DeviceId([1; 32]), Class::Hub);
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
        MailboxStore::new(wal, &report, Quotas::default())
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
    match tokio::time::timeout(PATIENCE, asked).await.unwrap()? {
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

/// Submits an append of `len` bytes and does not wait for its answer.
async fn submit(
    storage: &Storage,
    mailbox: SendId,
    (seq, len): (u64, usize),
    permit: OwnedSemaphorePermit,
) -> oneshot::Receiver<AppendAnswer> {
    let envelope = Bytes::from(vec![seq as u8; len]);
    let (answer, answered) = oneshot::channel();
    let job = Job::Append {
        account: HUB,
        mailbox,
        seq: Seq(seq),
        after: Seq(seq - 1),
        digest: Digest::of(&envelope),
        envelope,
        permit,
        answer,
    };
    storage.submit(job).await.unwrap();
    answered
}

/// Memory for envelopes is shared by all senders: one that does not take its answers must not
/// hold any.
#[tokio::test]
async fn permits_come_back_after_the_sync_though_nobody_takes_the_answers() {
    let (storage, thread) = start(&SimDisk::new(), Box::new(|error| panic!("{error}")));
    let permits = Arc::new(Semaphore::new(64 * 1024));
    let mut unread = Vec::new();
    for seq in 1..=64 {
        let permit = Arc::clone(&permits).acquire_many_owned(1024);
        let permit = tokio::time::timeout(PATIENCE, permit).await.unwrap();
        unread.push(submit(&storage, BOX, (seq, 1024), permit.unwrap()).await);
    }
    let all = permits.acquire_many(64 * 1024);
    let _all = tokio::time::timeout(PATIENCE, all).await.unwrap().unwrap();
    for answer in unread {
        assert!(matches!(answer.await, Ok(AppendAnswer::Receipt(_))));
    }
    drop(storage);
    thread.join().unwrap();
}

/// A trim of thousands of envelopes is done in steps, each committed; the store is not opened
/// anew, which would close every connection.
#[tokio::test]
async fn a_very_long_trim_comes_to_its_end_and_reopens_nothing() {
    let (storage, thread) = start(&SimDisk::new(), Box::new(|error| panic!("{error}")));
    let permits = Arc::new(Semaphore::new(1 << 20));
    // Removing them takes more than twice what the engine takes in one batch with such files.
    const COUNT: u64 = 20_000;
    let mut last = None;
    for seq in 1..=COUNT {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        last = Some(submit(&storage, BOX, (seq, 1), permit).await);
    }
    let last = tokio::time::timeout(PATIENCE, last.unwrap()).await.unwrap();
    assert!(matches!(last, Ok(AppendAnswer::Receipt(_))), "{last:?}");

    let reopened = storage.reopened();
    let through = Seq(COUNT);
    let mailbox = BOX;
    storage
        .submit(Job::Trim { mailbox, through })
        .await
        .unwrap();
    let state = || {
        storage.ask(|answer| Job::SendState {
            mailbox: BOX,
            answer,
        })
    };
    let whole = async {
        while state().await.unwrap().trimmed_through < through {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, whole).await.unwrap();
    assert!(!reopened.has_changed().unwrap());
    assert_eq!(state().await.unwrap().last.unwrap().seq, Seq(COUNT));
    drop((storage, reopened));
    thread.join().unwrap();
}
