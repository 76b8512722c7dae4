//! Steps of a relay's store: whom it lets in, mailboxes that are lost, log files that are mostly dead.

use bytes::Bytes;
use crashtest::raw;
use crashtest_sim::node::options;
use crashtest_sim::plan::Who;
use relay::admission;
use relay::store::{AppendAnswer, MailboxStore, Progress, Quotas, ReadAnswer, Revoked};
use wal::disk::SimDisk;
use wal::{SeededDice, Txn, Wal, WalError};
use wire::frame::Guest;
use wire::{Class, DeviceId, Digest, SendId, Seq};

use crate::NOW_S;
use crate::pairing::{PHONE, TTL_S};
use crate::told::{ground, is_untouched, traced, traced_until, wrote_checkpoint};

/// Whose envelopes they are.
const HUB: DeviceId = DeviceId([1; 32]);
/// A mailbox that nothing happens to, and one that is damaged or trimmed.
const FINE: SendId = SendId([3; SendId::BYTES]);
const OTHER: SendId = SendId([4; SendId::BYTES]);
/// An envelope of video in bytes, how many of them fill a log file, and a small one.
const VIDEO_BYTES: usize = 60_000;
const FILLING: u64 = 9;
const SMALL_BYTES: usize = 200;
/// First byte of an envelope's key, and of the row that says of a mailbox that it is lost
/// (`relay/src/store/rows.rs`).
const ENVELOPE: &[u8] = b"e";
const LOST: &[u8] = b"l";
/// Rounds, transactions or envelopes after which something was to have happened.
const TRIES_MAX: u64 = 10_000;

/// The steps of this room, but for [`admission`].
pub(crate) fn steps(text: &mut String) {
    checkpoint(text);
    lost(text);
    lost_on_a_full_disk(text);
    lost_half_way(text);
    gathering(text);
}

fn open(disk: &SimDisk, seed: u64) -> MailboxStore {
    let (watched, view) = ground(disk).parts();
    let dice = Box::new(SeededDice(seed));
    let (wal, report) = Wal::open(watched, view, dice, options()).unwrap();
    MailboxStore::new(wal, &report, Quotas::default()).unwrap()
}

/// What a relay stores of those whom it lets in, beside their mailboxes.
pub(crate) fn admission(text: &mut String) {
    let disk = SimDisk::new();
    let mut store = open(&disk, 6);
    drop(store.commit().unwrap());
    let step = "an invitation is made for a hub: it is counted";
    traced(text, &disk, Who::Relay, step, || {
        let counted = store.count_invitation(HUB, NOW_S / 86_400);
        let counted = counted.unwrap().unwrap();
        drop(store.commit().unwrap().redeem(counted));
    });
    let step = "a phone redeems an invitation";
    traced(text, &disk, Who::Relay, step, || {
        let used = store.redeem(PHONE, &[9; 16], NOW_S + TTL_S, NOW_S);
        let used = used.unwrap().unwrap();
        drop(store.commit().unwrap().redeem(used));
    });
}

/// A hub takes its invitation of a phone back: that is shut out, and what lies in its mailboxes goes.
pub(crate) fn revoked(text: &mut String) {
    let disk = SimDisk::new();
    let mut store = open(&disk, 68);
    let nonce = admission::hub_nonce(&HUB, [9; admission::NONCE_DICE_BYTES]);
    let used = store.redeem_phone(PHONE, &nonce, NOW_S + TTL_S, NOW_S);
    let used = used.unwrap().unwrap();
    drop(store.commit().unwrap().redeem(used));
    append(&mut store, OTHER, 1, SMALL_BYTES);
    append(&mut store, FINE, 1, SMALL_BYTES);
    let guest = Guest {
        device: PHONE,
        invitation: nonce,
    };
    let asking = (HUB, admission::inviter_tag(&HUB));
    let step = "a hub takes its invitation back: the phone is shut out, its mailbox emptied";
    let revoked = traced(text, &disk, Who::Relay, step, || {
        let staged = store.revoke(asking, Some(guest), &[OTHER], NOW_S);
        let staged = staged.unwrap().unwrap();
        store.commit().unwrap().redeem(staged).into_inner()
    });
    assert_eq!(revoked.outcome, Revoked::Done);
    assert!(store.is_revoked(&PHONE).unwrap());
    assert_eq!(last(&mut store, &OTHER), None);
    assert_eq!(last(&mut store, &FINE), Some(Seq(1)));
    let step = "it asks again, because the answer was lost";
    let again = traced(text, &disk, Who::Relay, step, || {
        let staged = store.revoke(asking, Some(guest), &[OTHER], NOW_S);
        let staged = staged.unwrap().unwrap();
        store.commit().unwrap().redeem(staged).into_inner()
    });
    assert_eq!(again.outcome, Revoked::Done);
    drop(store);
    assert!(open(&disk, 69).is_revoked(&PHONE).unwrap(), "it is kept");
}

/// Stores an envelope and gives a receipt.
fn append(store: &mut MailboxStore, mailbox: SendId, seq: u64, bytes: usize) {
    let envelope = Bytes::from(vec![7; bytes]);
    let (account, digest) = ((HUB, Class::Hub), Digest::of(&envelope));
    let (seq, after) = (Seq(seq), Seq(seq - 1));
    let pending = store.append(account, mailbox, seq, after, digest, &envelope);
    let committed = store.commit().unwrap();
    let answer = store.answer(&committed, pending.unwrap()).unwrap();
    assert!(matches!(answer, AppendAnswer::Receipt(_)), "{answer:?}");
}

/// The last envelope that a mailbox is known to hold.
fn last(store: &mut MailboxStore, mailbox: &SendId) -> Option<Seq> {
    let state = store.send_state(mailbox).unwrap();
    state.last.map(|last| last.seq)
}

/// Three envelopes in a mailbox, and one in another.
fn filled(disk: &SimDisk, seed: u64) -> MailboxStore {
    let mut store = open(disk, seed);
    for seq in 1..=3 {
        append(&mut store, OTHER, seq, VIDEO_BYTES);
    }
    append(&mut store, FINE, 1, VIDEO_BYTES);
    store
}

/// All envelopes of a mailbox rot.
fn damage(disk: &SimDisk, mailbox: &SendId) {
    let prefix = [ENVELOPE, mailbox.as_bytes()].concat();
    let mut payloads = raw::payloads(disk).unwrap();
    payloads.retain(|payload| payload.key.starts_with(&prefix));
    assert_eq!(payloads.len(), 3, "each lies in the log once");
    for payload in payloads {
        let at = payload.offset + 8;
        disk.damage(&payload.path, at, &[0x5a; 16]).unwrap();
    }
}

fn checkpoint(text: &mut String) {
    let disk = SimDisk::new();
    let mut store = open(&disk, 61);
    let mut seq = 0;
    let step = "an envelope that goes on in the next log file: a checkpoint";
    traced_until(text, &disk, Who::Relay, step, || {
        seq += 1;
        append(&mut store, FINE, seq, VIDEO_BYTES);
        wrote_checkpoint(&disk).then_some(())
    });
    assert_eq!(last(&mut store, &FINE), Some(Seq(seq)));
}

fn lost(text: &mut String) {
    let disk = SimDisk::new();
    let mut store = filled(&disk, 62);
    damage(&disk, &OTHER);
    let step = "it meets a damaged envelope: its mailbox is marked as lost and emptied";
    let read = traced(text, &disk, Who::Relay, step, || {
        let read = store.read(&OTHER, Seq::NONE, 1 << 20).unwrap();
        drop(store.commit().unwrap());
        read
    });
    assert!(!is_untouched(&disk), "the loss is stored");
    assert_eq!(read, ReadAnswer::Lost);
    assert_eq!(store.take_lost(), [OTHER]);
    assert_eq!(store.usage().mailboxes, 1);
    assert_eq!(last(&mut store, &OTHER), None);
    assert_eq!(last(&mut store, &FINE), Some(Seq(1)));
}

/// Uses up what the disk has and what the engine holds back: nothing more can be staged.
fn exhaust(store: &mut MailboxStore, disk: &SimDisk) {
    disk.set_capacity(Some(disk.used_bytes()));
    for _ in 0..TRIES_MAX {
        match store.redeem(PHONE, &[9; 16], NOW_S + TTL_S, NOW_S) {
            Ok(_staged) => drop(store.commit().unwrap()),
            Err(WalError::Space { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk is never full");
}

fn lost_on_a_full_disk(text: &mut String) {
    let disk = SimDisk::new();
    let mut store = filled(&disk, 63);
    damage(&disk, &OTHER);
    exhaust(&mut store, &disk);
    let step = "it meets a damaged envelope on a full disk: its mailbox waits for room";
    let read = traced(text, &disk, Who::Relay, step, || {
        let read = store.read(&OTHER, Seq::NONE, 1 << 20).unwrap();
        drop(store.commit().unwrap());
        read
    });
    assert_eq!(read, ReadAnswer::Lost);
    assert_eq!(store.take_lost(), [OTHER]);
    assert_eq!(last(&mut store, &OTHER), None, "it is shown as empty");
    assert_eq!(store.usage().mailboxes, 2, "there was room for it");
    disk.set_capacity(None);
    let step = "there is room again: the lost mailbox is marked and emptied";
    traced(text, &disk, Who::Relay, step, || {
        store.go_on_losing().unwrap();
        drop(store.commit().unwrap());
    });
    assert!(!is_untouched(&disk), "the loss is stored");
    assert_eq!(store.usage().mailboxes, 1);
    append(&mut store, OTHER, 1, SMALL_BYTES);
}

/// A relay died between the two halves of a loss: the mailbox is marked, and not emptied.
fn lost_half_way(text: &mut String) {
    let disk = SimDisk::new();
    drop(filled(&disk, 64));
    let (watched, view) = ground(&disk).parts();
    let dice = Box::new(SeededDice(65));
    let (mut wal, _) = Wal::open(watched, view, dice, options()).unwrap();
    let mut txn = Txn::new();
    txn.put([LOST, OTHER.as_bytes()].concat(), []);
    drop(wal.stage(txn, ()).unwrap());
    drop(wal.commit().unwrap());
    drop(wal);
    let step = "a start goes on with a mailbox that was marked as lost";
    let mut store = traced(text, &disk, Who::Relay, step, || open(&disk, 66));
    assert_eq!(store.usage().mailboxes, 1);
    assert_eq!(last(&mut store, &OTHER), None);
    assert_eq!(last(&mut store, &FINE), Some(Seq(1)));
}

/// One kept envelope in each log file, and nothing else that lives.
fn gathering(text: &mut String) {
    let disk = SimDisk::new();
    let mut store = open(&disk, 67);
    let (mut kept, mut trimmed) = (0, 0);
    while !store.wants_gathering() {
        kept += 1;
        append(&mut store, FINE, kept, SMALL_BYTES);
        for _ in 0..FILLING {
            trimmed += 1;
            append(&mut store, OTHER, trimmed, VIDEO_BYTES);
        }
        while store.trim(&OTHER, Seq(trimmed)).unwrap() == Progress::More {}
        drop(store.commit().unwrap());
        assert!(kept < TRIES_MAX, "its log files are never mostly dead");
    }
    let before = store.usage();
    let step = "it gathers what lives out of log files that are mostly dead";
    let progress = traced(text, &disk, Who::Relay, step, || {
        let progress = store.gather().unwrap();
        drop(store.commit().unwrap());
        progress
    });
    assert_eq!(progress, Progress::More);
    assert!(!is_untouched(&disk), "something is moved");
    let step = "everything was moved: two checkpoints, and the old log files are free";
    traced_until(text, &disk, Who::Relay, step, || {
        let progress = store.gather().unwrap();
        drop(store.commit().unwrap());
        (progress == Progress::Done).then_some(())
    });
    assert!(wrote_checkpoint(&disk), "the round did not come to its end");
    let after = store.usage();
    assert!(after.log_files < before.log_files, "{before:?}, {after:?}");
    assert_eq!(after.quota_bytes, before.quota_bytes);
    assert_eq!(last(&mut store, &FINE), Some(Seq(kept)));
    assert_eq!(last(&mut store, &OTHER), Some(Seq(trimmed)));
}
