//! A power cut in the last write of a hub's journal, the start behind it, and a thief.
//!
//! The likeliest tear of all: of the last batch one sector of a clip's bytes is missing, and everything else is on the
//! disk. Recovery ends the log before that transaction, and what lies in it and behind it is there for who reads the files.
//! The start knows nothing of it and is killed as soon as its journal is open. What was taken back must not
//! open all the same (S3). This room must never let anything else happen: a later clip would hide what is looked for.

use std::sync::Arc;
use std::time::Duration;

use crashtest::raw;
use journal::ids::{Channel, Line};
use journal::pairing::{AppNext, OfferTerms};
use journal::vault::file::FileVault;
use journal::{AppPairing, Committer, HubPairing, Journal, JournalError, Role, Session, Suite};
use wal::disk::{CrashPolicy, Disk, SimDisk};
use wal::store::MemStore;
use wal::{Options, SeededDice};
use wire::DeviceId;

use crate::oracle::Broken;

const NOW_S: u64 = 1_800_000_000;
const NOW_MS: u64 = NOW_S * 1_000;
/// Bytes of the chunk that is torn: most of its group is this.
const CHUNK_BYTES: usize = 60_000;
/// How many of them are missing, and how far behind the payload's first.
const TORN_BYTES: usize = 512;
const TORN_AT: u64 = 20_000;
/// How long a sync of a disk in memory may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the power cut takes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    /// A clip's Commit, header and first chunk, and the birth of the copy that is retained of it.
    Beginning,
    /// A clip's last chunk, and with it the end: the trailer and the rotation.
    End,
}

/// Plays both cuts.
///
/// # Errors
/// S3 with what opened; C7 if a journal did not do what it should.
pub fn play(seed: u64) -> Result<(), Broken> {
    for lost in [Lost::Beginning, Lost::End] {
        let disk = cut_off(lost, seed).map_err(|error| unplayed(lost, &error))?;
        let started = open(Role::Hub, &disk, 40 + seed);
        drop(started.map_err(|error| unplayed(lost, &error))?);
        let stolen: Arc<dyn Disk> = Arc::new(disk);
        crashtest::thief::judge(Role::Hub, &stolen, options())?;
    }
    Ok(())
}

fn unplayed(lost: Lost, error: &JournalError) -> Broken {
    Broken::new("C7", format!("{lost:?}: {error}"))
}

/// The disk that the power cut leaves.
fn cut_off(lost: Lost, seed: u64) -> Result<SimDisk, JournalError> {
    let disk = SimDisk::new();
    let mut journal = open(Role::Hub, &disk, 20 + seed)?;
    let mut session = paired(&mut journal, seed)?;
    session.retain(lost == Lost::Beginning);
    // An epoch is finished, and nothing is owed.
    let mut txn = journal.begin();
    let clip = session.start_clip(&mut txn, "door", "video/mp4", NOW_MS)?;
    session.append_chunk(&mut txn, clip, b"before", NOW_MS)?;
    drop(txn.commit(())?);
    let mut txn = journal.begin();
    session.finish_clip(&mut txn, clip, NOW_MS)?;
    drop(txn.commit(())?);

    let chunk = vec![7; CHUNK_BYTES];
    let mut txn = journal.begin();
    let clip = session.start_clip(&mut txn, "door", "video/mp4", NOW_MS)?;
    if lost == Lost::End {
        drop(txn.commit(())?);
        txn = journal.begin();
    }
    session.append_chunk(&mut txn, clip, &chunk, NOW_MS)?;
    let _torn = txn.stage(())?;
    if lost == Lost::End {
        let mut txn = journal.begin();
        session.finish_clip(&mut txn, clip, NOW_MS)?;
        let _behind = txn.stage(())?;
    }
    journal.begin_commit()?;
    if !journal.wait_for_sync(PATIENCE) {
        return Err(JournalError::Misuse("a sync in memory does not end"));
    }
    // Nobody has been told, and nothing behind it says that it was synced.
    let left = disk.crash_clone(CrashPolicy::KeepAll, seed);
    tear(&left)?;
    Ok(left)
}

/// Takes a sector out of the newest chunk in the outbox.
fn tear(disk: &SimDisk) -> Result<(), JournalError> {
    let payloads = raw::payloads(disk).map_err(JournalError::Vault)?;
    let sent = payloads.iter().filter(|one| one.key.starts_with(b"O"));
    let newest = sent.max_by_key(|one| one.lsn);
    let newest = newest.ok_or(JournalError::Misuse("no chunk is a payload"))?;
    let at = newest.offset + TORN_AT;
    disk.damage(&newest.path, at, &[0; TORN_BYTES])
        .map_err(JournalError::Vault)
}

fn options() -> Options {
    Options {
        log_file_bytes: 1 << 20,
        ballast_bytes: 64 << 10,
        ..Options::default()
    }
}

fn open(role: Role, disk: &SimDisk, seed: u64) -> Result<Journal, JournalError> {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let (journal, _report) = Journal::open(
        role,
        disk.clone(),
        Box::new(MemStore::on_disk(disk.clone(), "view")),
        Box::new(FileVault::new(disk, "vault")),
        Box::new(SeededDice(seed)),
        options(),
    )?;
    Ok(journal)
}

/// A phone that is paired and never heard of again.
fn paired(hub: &mut Journal, seed: u64) -> Result<Session<Committer>, JournalError> {
    let mut app = open(Role::App, &SimDisk::new(), 10 + seed)?;
    let terms = OfferTerms {
        hub: DeviceId([7; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: "127.0.0.1:2/relay".into(),
        invitation: vec![1, 2, 3],
        suite: Suite::Classic,
        ttl_s: 600,
    };
    let offer = HubPairing::offer(hub, terms, NOW_S)?.into_inner();
    let started = AppPairing::start(&mut app, &offer, DeviceId([8; 32]), NOW_S)?;
    let AppNext::Request(request) = started.into_inner() else {
        return Err(JournalError::Misuse("a pairing begins with a request"));
    };
    let answer = HubPairing::request(hub, &request, request.device(), NOW_S)?;
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S)?;
    let confirm = confirm.into_inner();
    let done = HubPairing::confirm(hub, &confirm)?;
    let pairing = AppPairing::done(&mut app, &confirm, &done)?.into_inner();
    Ok(Session::new(Line::of(pairing, Channel::EventVideo)))
}
