//! A directory whose bytes are the input: logs, checkpoints, view and vault, damaged in any way.
//!
//! A start succeeds or says what is wrong (promise C7). What it has once believed it believes again, and
//! what is committed behind it is there the next time.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use journal::ids::{Channel, ClipId, Line, PairingId};
use journal::{AppClip, Committer, ErrorKind, Follower, Journal, JournalError, Role, Session};
use relay::store::{AppendAnswer, MailboxStore, Quota, Quotas, ReadAnswer};
use wal::disk::{Disk, OpenMode, SimDisk};
use wal::store::MemStore;
use wal::{Options, RecoveryReport, SECTOR_BYTES, SeededDice, Txn, Wal, WalError};
use wire::ids::{Digest, SendId, Seq};
use wire::{Class, DeviceId};

use crate::input::Input;
use crate::log::repair;
use crate::pair::{NOW_MS, Pair, copy, offered, open, outgoing};

/// Most changes of a directory in one run.
const CHANGES_MAX: usize = 16;
/// No start makes a directory larger than this, in bytes.
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;
/// The view's file.
const VIEW: &str = "view";
/// The change that removes a file, and the highest of them.
const GONE: u8 = 5;
/// Values that the engine's directory begins with.
const VALUES: u8 = 24;

thread_local! {
    static ENGINE: OnceCell<SimDisk> = const { OnceCell::new() };
    static APP: OnceCell<SimDisk> = const { OnceCell::new() };
    static JOURNAL: OnceCell<SimDisk> = const { OnceCell::new() };
    static RELAY: OnceCell<SimDisk> = const { OnceCell::new() };
}

/// The engine alone, with log files so small that there are several.
pub(crate) fn engine(data: &[u8]) {
    let disk = ENGINE.with(|base| copy(base.get_or_init(engine_directory)));
    change(&disk, &mut Input::new(data), Sums::MayFit);
    let mut first = match open_wal(&disk, 2) {
        Ok(wal) => wal,
        Err(error) => return typed_wal(&error),
    };
    let Some(believed) = read_all(&first) else {
        return;
    };
    if commit(&mut first, b"after").is_err() {
        return;
    }
    drop(first);
    bounded(&disk);
    let second = match open_wal(&disk, 3) {
        Ok(wal) => wal,
        Err(error) => panic!("a directory that opened does not open again: {error}"),
    };
    let again = read_all(&second).expect("what could be read can be read again");
    for (key, value) in &believed {
        assert!(key == b"after" || again.contains(&(key.clone(), value.clone())));
    }
    let after = second.get(b"after").expect("a sound view answers");
    assert_eq!(after.as_deref(), Some(&b"after"[..]), "a commit is gone");
}

/// A hub's whole directory, with its vault.
pub(crate) fn journal(data: &[u8]) {
    let disk = JOURNAL.with(|base| copy(base.get_or_init(journal_directory)));
    change(&disk, &mut Input::new(data), Sums::MayFit);
    let secret = match open(Role::Hub, &disk, 5) {
        Ok(mut journal) => match journal.device() {
            Ok(device) => device.secret,
            Err(error) => return typed(&error),
        },
        Err(error) => return typed(&error),
    };
    bounded(&disk);
    match open(Role::Hub, &disk, 6) {
        Ok(mut journal) => {
            let again = journal.device().expect("what was read once is read again");
            assert_eq!(*again.secret, *secret, "the device has another secret");
        }
        Err(error) => panic!("a directory that opened does not open again: {error}"),
    }
}

/// A phone's whole directory: what it says of its pairings and clips once, it says again.
pub(crate) fn app(data: &[u8]) {
    let disk = APP.with(|base| copy(base.get_or_init(app_directory)));
    change(&disk, &mut Input::new(data), Sums::MayFit);
    let told = match open(Role::App, &disk, 5) {
        Ok(app) => tells(&app),
        Err(error) => return typed(&error),
    };
    bounded(&disk);
    match open(Role::App, &disk, 6) {
        Ok(app) => assert_eq!(tells(&app), told, "two starts say two things"),
        Err(error) => panic!("a directory that opened does not open again: {error}"),
    }
}

/// Of each pairing how far its videos were taken, and its clips with their pieces; nothing where the journal has
/// an error instead.
type Told = Vec<(PairingId, Option<Seq>, Option<Vec<ToldClip>>)>;
type ToldClip = (ClipId, Vec<Option<Vec<u8>>>);

fn tells(app: &Journal) -> Told {
    let clip = |clip: &AppClip| -> ToldClip {
        let pieces = (0..clip.chunks).map(|index| {
            let piece = unless_damaged(app.app_chunk(clip.clip, index))?;
            Some(piece.to_vec())
        });
        (clip.clip, pieces.collect())
    };
    let pairing = |pairing: PairingId| {
        let line = Line::of(pairing, Channel::EventVideo);
        let cursor = unless_damaged(app.inbox_head(line)).map(|head| head.cursor);
        let clips = unless_damaged(app.app_clips(pairing));
        (
            pairing,
            cursor,
            clips.map(|clips| clips.iter().map(clip).collect::<Vec<_>>()),
        )
    };
    app.pairing_ids().into_iter().map(pairing).collect()
}

/// An error about what is stored is a sentence.
fn unless_damaged<T>(read: Result<T, JournalError>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Whose hand has changed a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sums {
    /// Somebody's, who can make checksums fit again.
    MayFit,
    /// None: rot and torn writes, which cannot.
    DoNotFit,
}

/// Changes files as the input says: their bytes, their ends, whether they are there; with checksums that
/// fit again, or not.
fn change(disk: &SimDisk, input: &mut Input<'_>, sums: Sums) {
    for _ in 0..CHANGES_MAX {
        // The view stands for RocksDB, whose files are not ours to parse: it is there or gone.
        let paths: Vec<String> = disk.paths();
        if input.is_empty() || paths.is_empty() {
            return;
        }
        let path = &paths[input.below(paths.len())];
        let length = disk.contents(path).map_or(0, |bytes| bytes.len());
        let sector = input.below(length / SECTOR_BYTES as usize + 1) as u64 * SECTOR_BYTES;
        let what = match path == VIEW {
            true => GONE,
            false => input.byte() % (GONE + 1),
        };
        match what {
            0 | 1 => {
                let at = sector + input.word() as u64 % SECTOR_BYTES;
                let room = (length as u64).saturating_sub(at) as usize;
                let bytes = input.bytes();
                let fits = &bytes[..bytes.len().min(room)];
                overwrite(disk, path, at, fits);
            }
            2 => {
                let from = input.below(length / SECTOR_BYTES as usize + 1) * SECTOR_BYTES as usize;
                let bytes = disk.contents(path).expect("the file is there");
                let end = (from + SECTOR_BYTES as usize).min(bytes.len());
                if sector < length as u64 {
                    overwrite(disk, path, sector, &bytes[from..end]);
                }
            }
            3 if sums == Sums::DoNotFit => {}
            3 => {
                let mut bytes = disk.contents(path).expect("the file is there");
                repair(&mut bytes);
                overwrite(disk, path, 0, &bytes);
            }
            4 => {
                let file = disk
                    .open(path, OpenMode::Existing)
                    .expect("the file is there");
                let shorter = sector.min(length as u64);
                file.set_len(shorter).expect("a disk in memory can");
            }
            _ => disk.remove(path).expect("the file is there"),
        }
    }
}

fn overwrite(disk: &SimDisk, path: &str, at: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        disk.damage(path, at, bytes).expect("the file is there");
    }
}

fn bounded(disk: &SimDisk) {
    let used = disk.used_bytes();
    assert!(
        used <= DIRECTORY_BYTES_MAX,
        "a start made {used} bytes of it"
    );
}

/// A start that refuses says what to do.
fn typed(error: &JournalError) {
    assert!(!error.to_string().is_empty());
    let kind = error.kind();
    assert!(
        matches!(
            kind,
            ErrorKind::Corrupt | ErrorKind::Poisoned | ErrorKind::Retry | ErrorKind::Space
        ),
        "{kind:?}: {error}"
    );
}

fn typed_wal(error: &WalError) {
    use wal::ErrorKind::{Corrupt, Poisoned, Retry, Space};
    let kind = error.kind();
    assert!(
        matches!(kind, Corrupt | Poisoned | Retry | Space),
        "{kind:?}: {error}"
    );
}

fn open_wal(disk: &SimDisk, seed: u64) -> Result<Wal, WalError> {
    open_wal_reported(disk, seed).map(|(wal, _)| wal)
}

fn open_wal_reported(disk: &SimDisk, seed: u64) -> Result<(Wal, RecoveryReport), WalError> {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let store = Box::new(MemStore::on_disk(disk.clone(), VIEW));
    let options = Options {
        log_file_bytes: 16 * SECTOR_BYTES,
        grow_bytes: 4 * SECTOR_BYTES,
        spare_files_max: 1,
        ballast_bytes: 4 * SECTOR_BYTES,
    };
    Wal::open(disk, store, Box::new(SeededDice(seed)), options)
}

/// Every value, or `None` where the view does not answer, which is typed.
fn read_all(wal: &Wal) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    match wal.scan(b"", b"", usize::from(u16::MAX)) {
        Ok(pairs) => Some(pairs),
        Err(error) => {
            typed_wal(&error);
            None
        }
    }
}

fn commit(wal: &mut Wal, value: &[u8]) -> Result<(), WalError> {
    let mut txn = Txn::new();
    txn.put(value, value);
    let staged = wal.stage(txn, ())?;
    drop(wal.commit()?.redeem(staged));
    Ok(())
}

fn engine_directory() -> SimDisk {
    let disk = SimDisk::new();
    let mut wal = open_wal(&disk, 1).expect("an empty disk opens");
    for number in 0..VALUES {
        let mut txn = Txn::new();
        txn.put([b'k', number % 8], vec![number; 200]);
        txn.put_payload([b'p', number], vec![number; 9000]);
        if number >= 4 {
            txn.delete_payload([b'p', number - 4]);
        }
        let staged = wal.stage(txn, ()).expect("there is room");
        let committed = wal.commit().expect("a sound disk commits");
        drop(committed.redeem(staged));
    }
    disk
}

fn journal_directory() -> SimDisk {
    let disk = SimDisk::new();
    let mut hub = open(Role::Hub, &disk, 1).expect("an empty disk opens");
    hub.device().expect("our own storage");
    let _offer = offered(&mut hub);
    hub.checkpoint().expect("a sound disk takes a checkpoint");
    drop(
        hub.keep_certificate("relay", vec![7; 138])
            .expect("our own storage"),
    );
    disk
}

/// A relay's whole directory, spoilt by rot: it hands out what was appended, under its number, or nothing. Whoever fills
/// a mailbox goes on where its state says, and gets a receipt for what the next start has.
///
/// Not by a hand that makes checksums fit: the relay's operator owns its rows, and is believed nothing anyway.
pub(crate) fn relay(data: &[u8]) {
    let disk = RELAY.with(|base| copy(base.get_or_init(relay_directory)));
    change(&disk, &mut Input::new(data), Sums::DoNotFit);
    let mut store = match open_store(&disk, 2) {
        Ok(store) => store,
        Err(error) => return typed_wal(&error),
    };
    let mut appended = Vec::new();
    for mailbox in MAILBOXES {
        handed_out(&mut store, mailbox);
        let state = store.send_state(&mailbox);
        let Ok(state) = state.map_err(|error| typed_wal(&error)) else {
            return;
        };
        let after = state.last.map_or(Seq::NONE, |last| last.seq);
        if let Err(error) = append(&mut store, mailbox, after.next()) {
            return typed_wal(&error);
        }
        appended.push((mailbox, after.next()));
    }
    drop(store);
    bounded(&disk);
    let mut store = match open_store(&disk, 3) {
        Ok(store) => store,
        Err(error) => panic!("a directory that opened does not open again: {error}"),
    };
    for (mailbox, seq) in appended {
        let last = store
            .send_state(&mailbox)
            .expect("a sound view answers")
            .last;
        let last = last.expect("there was a receipt");
        assert_eq!(
            (last.seq, last.digest),
            (seq, Digest::of(&envelope(mailbox, seq)))
        );
        let fetched = store.fetch(&mailbox, seq).expect("a sound view answers");
        assert_eq!(
            fetched,
            Some(envelope(mailbox, seq)),
            "a receipt for nothing"
        );
        handed_out(&mut store, mailbox);
    }
}

/// The mailboxes of a relay's directory.
const MAILBOXES: [SendId; 2] = [SendId([1; 24]), SendId([2; 24])];
/// Envelopes that each of them begins with.
const ENVELOPES: u64 = 10;

/// What is appended under this number.
fn envelope(mailbox: SendId, seq: Seq) -> Bytes {
    let mut bytes = vec![mailbox.0[0]; 1500];
    bytes.extend_from_slice(&seq.0.to_be_bytes());
    bytes.into()
}

/// All that a reader gets of a mailbox.
fn handed_out(store: &mut MailboxStore, mailbox: SendId) {
    match store.read(&mailbox, Seq::NONE, usize::MAX) {
        Ok(ReadAnswer::Envelopes(envelopes)) => {
            let numbers = envelopes.iter().map(|(seq, _)| *seq);
            assert!(numbers.is_sorted_by(|a, b| a < b));
            for (seq, bytes) in envelopes {
                assert_eq!(bytes, envelope(mailbox, seq), "{seq} is another envelope");
            }
        }
        Ok(ReadAnswer::Lost) => {}
        Err(error) => typed_wal(&error),
    }
}

/// Appends the envelope of this number behind all others, and gets a receipt.
fn append(store: &mut MailboxStore, mailbox: SendId, seq: Seq) -> Result<(), WalError> {
    let bytes = envelope(mailbox, seq);
    let after = Seq(seq.0 - 1);
    let account = (DeviceId([7; 32]), Class::Hub);
    let pending = store.append(account, mailbox, seq, after, Digest::of(&bytes), &bytes)?;
    let committed = store.commit()?;
    match store.answer(&committed, pending)? {
        AppendAnswer::Receipt(_) => Ok(()),
        other => panic!("{other:?} to whoever goes on where the state says"),
    }
}

fn open_store(disk: &SimDisk, seed: u64) -> Result<MailboxStore, WalError> {
    let (wal, report) = open_wal_reported(disk, seed)?;
    let quota = Quota {
        account_bytes: 1 << 30,
        reserved_bytes: 1 << 20,
        mailboxes: 8,
    };
    let quotas = Quotas {
        hub: quota,
        phone: quota,
    };
    MailboxStore::new(wal, &report, quotas)
}

fn relay_directory() -> SimDisk {
    let disk = SimDisk::new();
    let mut store = open_store(&disk, 1).expect("an empty disk opens");
    for seq in 1..=ENVELOPES {
        for mailbox in MAILBOXES {
            append(&mut store, mailbox, Seq(seq)).expect("a sound disk commits");
        }
        if seq == ENVELOPES / 2 {
            let trimmed = store.trim(&MAILBOXES[0], Seq(2));
            let _progress = trimmed.expect("there is room");
            drop(store.commit().expect("a sound disk commits"));
        }
    }
    disk
}

/// Of a phone that has the beginning of a clip, part of it behind a checkpoint.
fn app_directory() -> SimDisk {
    let mut pair = Pair::new();
    let line = Line::of(pair.pairing, Channel::EventVideo);
    let mut hub = Session::<Committer>::new(line);
    let mut txn = pair.hub.begin();
    let clip = hub.start_clip(&mut txn, "door", "video/mp4", NOW_MS);
    let clip = clip.expect("a hub that is paired records");
    drop(txn.commit(()).expect("our own storage"));
    let mut txn = pair.hub.begin();
    let seq = hub.append_chunk(&mut txn, clip, b"bytes of a clip", NOW_MS);
    seq.expect("a hub that records appends");
    drop(txn.commit(()).expect("our own storage"));
    let mut session = Session::<Follower>::new(line);
    for (index, (seq, envelope)) in outgoing(&pair.hub, line, Seq::NONE).iter().enumerate() {
        let mut txn = pair.app.begin();
        let taken = session.take(&mut txn, *seq, envelope, NOW_MS);
        taken.expect("an honest envelope is no error");
        drop(txn.commit(()).expect("our own storage"));
        if index == 0 {
            let app = &mut pair.app;
            app.checkpoint().expect("a sound disk takes a checkpoint");
        }
    }
    pair.app_disk
}
