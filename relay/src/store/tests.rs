//! The store against its promises: idempotent appends, the kept last envelope, quotas.

use std::sync::Arc;

use bytes::Bytes;
use wal::disk::{RealDisk, SimDisk};
use wal::store::MemStore;
use wal::{Options, SeededDice, Wal};
use wire::envelope::Size;
use wire::limits::{ENVELOPE_BYTES_MAX, INVITATIONS_PER_DAY_MAX, SMALL_ENVELOPE_BYTES_MAX};
use wire::{Class, DeviceId, Digest, Head, SendId, Seq};

use super::invites::INVITE_SWEEP_MAX;
use super::removal::REMOVED_ENVELOPES_MAX;
use super::*;

mod batches;
mod disk;
mod guests;

const HUB_ID: DeviceId = DeviceId([1; 32]);
const HUB: (DeviceId, Class) = (HUB_ID, Class::Hub);
const PHONE: (DeviceId, Class) = (DeviceId([4; 32]), Class::Phone);
const BOX: SendId = SendId([2; 24]);

fn quotas() -> Quotas {
    Quotas {
        hub: Quota {
            account_bytes: 200_000,
            reserved_bytes: 50_000,
            mailboxes: 3,
        },
        phone: Quota {
            account_bytes: 30_000,
            reserved_bytes: 10_000,
            mailboxes: 2,
        },
    }
}

/// Quotas that no test here reaches.
fn wide() -> Quotas {
    let quota = Quota {
        account_bytes: 1 << 40,
        reserved_bytes: 1 << 20,
        mailboxes: u32::MAX,
    };
    Quotas {
        hub: quota,
        phone: quota,
    }
}

fn open_with(disk: &SimDisk, quotas: Quotas) -> MailboxStore {
    let disk: Arc<dyn wal::Disk> = Arc::new(disk.clone());
    let view = Box::new(MemStore::on_disk(Arc::clone(&disk), "view"));
    let options = Options {
        log_file_bytes: 1 << 20,
        grow_bytes: 256 << 10,
        ballast_bytes: 64 << 10,
        ..Options::default()
    };
    let (wal, report) = Wal::open(disk, view, Box::new(SeededDice(7)), options).unwrap();
    MailboxStore::new(wal, &report, quotas).unwrap()
}

fn open_on(disk: &SimDisk) -> MailboxStore {
    open_with(disk, quotas())
}

fn store() -> MailboxStore {
    open_on(&SimDisk::new())
}

fn bytes(fill: u8, len: usize) -> Bytes {
    Bytes::from(vec![fill; len])
}

fn head(seq: u64, envelope: &Bytes) -> Head {
    Head {
        seq: Seq(seq),
        digest: Digest::of(envelope),
    }
}

/// Append and commit in one go.
fn append(
    store: &mut MailboxStore,
    mailbox: SendId,
    seq: u64,
    after: u64,
    envelope: &Bytes,
) -> AppendAnswer {
    append_as(HUB, store, mailbox, seq, after, envelope)
}

fn append_as(
    account: (DeviceId, Class),
    store: &mut MailboxStore,
    mailbox: SendId,
    seq: u64,
    after: u64,
    envelope: &Bytes,
) -> AppendAnswer {
    let digest = Digest::of(envelope);
    let pending = store
        .append(account, mailbox, Seq(seq), Seq(after), digest, envelope)
        .unwrap();
    let committed = store.commit().unwrap();
    store.answer(&committed, pending).unwrap()
}

fn receipt(answer: AppendAnswer) -> Head {
    match answer {
        AppendAnswer::Receipt(receipt) => receipt.head(),
        other => panic!("no receipt: {other:?}"),
    }
}

/// Stages as many small envelopes as asked for, from number 1 on, and commits them.
fn fill(store: &mut MailboxStore, mailbox: SendId, count: u64) {
    let small = bytes(1, 10);
    let digest = Digest::of(&small);
    for n in 1..=count {
        let _pending = store
            .append(HUB, mailbox, Seq(n), Seq(n - 1), digest, &small)
            .unwrap();
    }
    let _durable = store.commit().unwrap();
}

/// A whole trim, however many steps it takes.
fn trim(store: &mut MailboxStore, mailbox: &SendId, through: u64) -> usize {
    let mut steps = 1;
    while store.trim(mailbox, Seq(through)).unwrap() == Progress::More {
        steps += 1;
    }
    steps
}

fn seqs(store: &mut MailboxStore, cursor: u64) -> Vec<u64> {
    match store.read(&BOX, Seq(cursor), 1 << 20).unwrap() {
        ReadAnswer::Envelopes(envelopes) => envelopes.iter().map(|(seq, _)| seq.0).collect(),
        ReadAnswer::Lost => panic!("lost"),
    }
}

#[test]
fn append_duplicate_conflict_gap() {
    let mut store = store();
    let (a, b) = (bytes(1, 100), bytes(2, 100));
    // Any first number is welcome.
    assert_eq!(receipt(append(&mut store, BOX, 7, 0, &a)), head(7, &a));
    assert_eq!(receipt(append(&mut store, BOX, 8, 7, &b)), head(8, &b));
    // Scenario 18: the same number is answered by what is stored, never by what is sent.
    assert_eq!(receipt(append(&mut store, BOX, 7, 0, &a)), head(7, &a));
    assert_eq!(
        append(&mut store, BOX, 7, 0, &b),
        AppendAnswer::Conflict(head(7, &a))
    );
    assert_eq!(
        append(&mut store, BOX, 8, 7, &a),
        AppendAnswer::Conflict(head(8, &b))
    );
    // A gap is refused unless it is declared.
    let ends = AppendAnswer::NotNext(Some(head(8, &b)));
    assert_eq!(append(&mut store, BOX, 10, 9, &a), ends);
    assert_eq!(append(&mut store, BOX, 5, 4, &a), ends);
    assert_eq!(receipt(append(&mut store, BOX, 10, 8, &a)), head(10, &a));
    assert_eq!(seqs(&mut store, 0), [7, 8, 10]);
    assert_eq!(seqs(&mut store, 8), [10]);
    assert_eq!(
        append(&mut store, SendId([9; 24]), 2, 1, &a),
        AppendAnswer::NotNext(None)
    );
}

#[test]
fn one_batch_holds_an_append_and_its_duplicate() {
    let mut store = store();
    let a = bytes(1, 100);
    let digest = Digest::of(&a);
    let first = store
        .append(HUB, BOX, Seq(1), Seq::NONE, digest, &a)
        .unwrap();
    let again = store
        .append(HUB, BOX, Seq(1), Seq::NONE, digest, &a)
        .unwrap();
    assert!(matches!(again, PendingAppend::Duplicate(..)));
    let committed = store.commit().unwrap();
    assert_eq!(
        receipt(store.answer(&committed, first).unwrap()),
        head(1, &a)
    );
    assert_eq!(
        receipt(store.answer(&committed, again).unwrap()),
        head(1, &a)
    );
}

#[test]
fn scenario_19_the_last_envelope_stays_as_evidence() {
    let mut store = store();
    let envelopes: Vec<Bytes> = (1..=5).map(|n| bytes(n, 1000)).collect();
    for (n, envelope) in (1..).zip(&envelopes) {
        receipt(append(&mut store, BOX, n, n - 1, envelope));
    }
    trim(&mut store, &BOX, 99);
    let _durable = store.commit().unwrap();
    let state = store.send_state(&BOX).unwrap();
    assert_eq!(state.last, Some(head(5, &envelopes[4])));
    assert_eq!(state.trimmed_through, Seq(5));
    assert_eq!(seqs(&mut store, 0), [5]);
    assert_eq!(
        store.fetch(&BOX, Seq(5)).unwrap().as_ref(),
        Some(&envelopes[4])
    );
    assert_eq!(store.fetch(&BOX, Seq(4)).unwrap(), None);
    assert_eq!(store.usage().envelope_bytes, 1000);
    // It goes when another takes its place.
    receipt(append(&mut store, BOX, 6, 5, &envelopes[0]));
    assert_eq!(seqs(&mut store, 0), [6]);
    assert_eq!(store.receive_state(&BOX).unwrap().first, Seq(6));
    assert_eq!(store.usage().envelope_bytes, 1000);
    // A trimmed number that comes again cannot be compared, so it is not "stored".
    assert_eq!(
        append(&mut store, BOX, 3, 2, &envelopes[2]),
        AppendAnswer::NotNext(Some(head(6, &envelopes[0])))
    );
}

#[test]
fn a_trim_of_more_than_one_transaction_goes_on_after_a_crash() {
    let disk = SimDisk::new();
    let count = 2 * REMOVED_ENVELOPES_MAX as u64 + 10;
    let mut store = open_with(&disk, wide());
    fill(&mut store, BOX, count);
    let step = store.trim(&BOX, Seq(count - 2)).unwrap();
    assert_eq!(step, Progress::More);
    let _durable = store.commit().unwrap();
    drop(store);

    // What one step removed is removed, and the state says how far it came.
    let mut store = open_with(&disk, wide());
    let reached = REMOVED_ENVELOPES_MAX as u64;
    assert_eq!(
        store.send_state(&BOX).unwrap().trimmed_through,
        Seq(reached)
    );
    assert_eq!(store.receive_state(&BOX).unwrap().first, Seq(reached + 1));
    assert_eq!(store.usage().envelope_bytes, 10 * (count - reached));
    // The reader comes back and says it again.
    assert_eq!(trim(&mut store, &BOX, count - 2), 2);
    let _durable = store.commit().unwrap();
    assert_eq!(seqs(&mut store, 0), [count - 1, count]);
    assert_eq!(store.usage().envelope_bytes, 20);
}

#[test]
fn everything_survives_a_reopen() {
    let disk = SimDisk::new();
    let (a, b) = (bytes(1, 100), bytes(2, 70_000));
    {
        let mut store = open_on(&disk);
        receipt(append(&mut store, BOX, 1, 0, &a));
        receipt(append(&mut store, BOX, 2, 1, &b));
        trim(&mut store, &BOX, 1);
        let staged = store.redeem(HUB_ID, &[5; 16], 100, 50).unwrap();
        assert!(staged.is_some());
        let _durable = store.commit().unwrap();
    }
    let mut store = open_on(&disk);
    let state = store.send_state(&BOX).unwrap();
    assert_eq!(state.last, Some(head(2, &b)));
    assert_eq!(state.trimmed_through, Seq(1));
    assert_eq!(seqs(&mut store, 0), [2]);
    assert_eq!(store.usage().envelope_bytes, 70_000);
    let other = DeviceId([3; 32]);
    assert!(
        store.redeem(other, &[5; 16], 100, 60).unwrap().is_none(),
        "used for ever"
    );
    assert!(
        store.redeem(HUB_ID, &[5; 16], 100, 60).unwrap().is_some(),
        "but answered again"
    );
}

#[test]
fn a_video_flood_leaves_room_for_small_envelopes() {
    let mut store = store();
    let video = bytes(1, 70_000);
    let commit = bytes(2, SMALL_ENVELOPE_BYTES_MAX);
    receipt(append(&mut store, BOX, 1, 0, &video));
    receipt(append(&mut store, BOX, 2, 1, &video));
    assert_eq!(
        append(&mut store, BOX, 3, 2, &video),
        AppendAnswer::OverQuota(Size::Bulk)
    );
    // Two of 20 KiB fit into what video may not have: 200,000 bytes less two of 72 KiB.
    for n in 3..=4 {
        receipt(append(&mut store, BOX, n, n - 1, &commit));
    }
    assert_eq!(
        append(&mut store, BOX, 5, 4, &commit),
        AppendAnswer::OverQuota(Size::Small)
    );
    // The reader makes room.
    trim(&mut store, &BOX, 2);
    receipt(append(&mut store, BOX, 5, 4, &video));
}

#[test]
fn mailboxes_and_invitations_are_counted() {
    let mut store = store();
    let a = bytes(1, 10);
    for n in 0..3 {
        receipt(append(&mut store, SendId([n; 24]), 1, 0, &a));
    }
    assert_eq!(
        append(&mut store, SendId([9; 24]), 1, 0, &a),
        AppendAnswer::TooManyMailboxes
    );
    for _ in 0..INVITATIONS_PER_DAY_MAX {
        assert!(store.count_invitation(HUB_ID, 100).unwrap().is_some());
    }
    assert!(store.count_invitation(HUB_ID, 100).unwrap().is_none());
    assert!(
        store.count_invitation(HUB_ID, 101).unwrap().is_some(),
        "a new day"
    );
}

#[test]
fn used_invitations_are_forgotten_once_they_have_expired() {
    let mut store = store();
    for n in 0..10 {
        assert!(store.redeem(HUB_ID, &[n; 16], 100, 50).unwrap().is_some());
    }
    assert!(store.redeem(HUB_ID, &[99; 16], 300, 200).unwrap().is_some());
    let _durable = store.commit().unwrap();
    let left = store.wal.scan(rows::INVITE, rows::INVITE, 100).unwrap();
    assert_eq!(left.len(), 1);
}

#[test]
fn the_search_for_expired_invitations_goes_round() {
    let mut store = store();
    // More that live long than one search looks at, and all before the others.
    let long = INVITE_SWEEP_MAX as u8 + 10;
    for n in 0..long {
        let staged = store.redeem(HUB_ID, &[n; 16], 1_000, 50).unwrap();
        assert!(staged.is_some());
    }
    for n in 0..10 {
        let staged = store.redeem(HUB_ID, &[200 + n; 16], 100, 50).unwrap();
        assert!(staged.is_some());
    }
    let expired = |store: &MailboxStore| {
        let rows = store.wal.scan(rows::INVITE, rows::INVITE, 1_000).unwrap();
        let expiries = rows
            .into_iter()
            .map(|(_, row)| rows::InviteRow::decode(row).expires_unix_s);
        expiries.filter(|expiry| *expiry < 200).count()
    };
    assert_eq!(expired(&store), 10);
    for n in 0..3 {
        let staged = store.redeem(HUB_ID, &[n; 16], 1_000, 200).unwrap();
        assert!(staged.is_some());
    }
    assert_eq!(expired(&store), 0);
}

#[test]
fn what_is_not_synced_is_not_read() {
    let mut store = store();
    let a = bytes(1, 100);
    let _pending = store
        .append(HUB, BOX, Seq(1), Seq::NONE, Digest::of(&a), &a)
        .unwrap();
    assert!(seqs(&mut store, 0).is_empty());
    assert_eq!(store.fetch(&BOX, Seq(1)).unwrap(), None);
    let _durable = store.commit().unwrap();
    assert_eq!(seqs(&mut store, 0), [1]);
}

#[test]
fn a_damaged_mailbox_starts_again_and_says_so() {
    let mut store = store();
    let a = bytes(1, 100);
    receipt(append(&mut store, BOX, 1, 0, &a));
    receipt(append(&mut store, BOX, 2, 1, &a));
    store.lose(&BOX).unwrap();
    let _durable = store.commit().unwrap();
    assert_eq!(store.take_lost(), [BOX]);
    assert!(store.take_lost().is_empty());
    assert_eq!(store.send_state(&BOX).unwrap().last, None);
    assert_eq!(store.usage().envelope_bytes, 0);
    // The sender that still has number 2 begins there.
    assert_eq!(receipt(append(&mut store, BOX, 2, 0, &a)), head(2, &a));
}

/// Overwrites every copy of these bytes on the disk.
fn damage(disk: &SimDisk, pattern: &[u8]) -> usize {
    let mut found = 0;
    for path in disk.paths() {
        let Ok(contents) = disk.contents(&path) else {
            continue;
        };
        for at in 0..contents.len().saturating_sub(pattern.len()) {
            if contents[at..].starts_with(pattern) {
                disk.damage(&path, at as u64, &[0xff; 8]).unwrap();
                found += 1;
            }
        }
    }
    found
}

#[test]
fn an_envelope_damaged_on_disk_costs_its_mailbox_and_nothing_else() {
    let disk = SimDisk::new();
    let mut store = open_on(&disk);
    let (fine, hurt) = (bytes(1, 5000), bytes(0xa5, 5000));
    let other = SendId([3; 24]);
    receipt(append(&mut store, BOX, 1, 0, &fine));
    receipt(append(&mut store, BOX, 2, 1, &hurt));
    receipt(append(&mut store, other, 1, 0, &fine));
    assert!(damage(&disk, &store.mask.turn(vec![0xa5; 64])) > 0);
    assert_eq!(
        store.read(&BOX, Seq::NONE, 1 << 20).unwrap(),
        ReadAnswer::Lost
    );
    let _durable = store.commit().unwrap();
    assert_eq!(store.take_lost(), [BOX]);
    assert_eq!(store.send_state(&BOX).unwrap().last, None);
    assert_eq!(store.send_state(&other).unwrap().last, Some(head(1, &fine)));
    assert_eq!(store.fetch(&other, Seq(1)).unwrap(), Some(fine));
    receipt(append(&mut store, BOX, 2, 0, &hurt));
    assert_eq!(seqs(&mut store, 0), [2]);
}

#[test]
fn a_full_disk_refuses_video_and_still_takes_small_envelopes() {
    let disk = SimDisk::new();
    let mut store = open_on(&disk);
    store.quotas = wide();
    let (video, small) = (bytes(1, 70_000), bytes(2, 1000));
    disk.set_capacity(Some(disk.used_bytes() + (2 << 20)));
    let mut last = 0;
    loop {
        match append(&mut store, BOX, last + 1, last, &video) {
            AppendAnswer::Receipt(_) => last += 1,
            AppendAnswer::OverQuota(Size::Bulk) => break,
            other => panic!("{other:?}"),
        }
        assert!(last < 100, "the disk is never full");
    }
    receipt(append(&mut store, BOX, last + 1, last, &small));
    disk.set_capacity(None);
    receipt(append(&mut store, BOX, last + 2, last + 1, &video));
}

/// Uses up what the disk has and what the engine holds back: nothing more can be staged.
fn exhaust(store: &mut MailboxStore, disk: &SimDisk) {
    disk.set_capacity(Some(disk.used_bytes()));
    for n in 0_u64.. {
        let mut txn = Txn::new();
        txn.put(b"zz".to_vec(), n.to_be_bytes());
        match store.wal.stage(txn, ()) {
            Ok(_staged) => drop(store.wal.commit().unwrap()),
            Err(WalError::Space { .. }) => return,
            Err(error) => panic!("{error}"),
        }
        assert!(n < 10_000, "the disk is never full");
    }
}

/// Whether the process goes on or starts again, and whether that start finds the damage or a loss
/// half done: the mailbox is shown as empty, and it is emptied when there is room.
#[test]
fn a_damaged_mailbox_on_a_full_disk_stops_nothing_and_ends_when_there_is_room() {
    let hurt = bytes(0xa5, 5000);
    for (restarts, marked) in [(false, false), (true, false), (true, true)] {
        let disk = SimDisk::new();
        let mut store = open_with(&disk, wide());
        receipt(append(&mut store, BOX, 1, 0, &hurt));
        receipt(append(&mut store, SendId([3; 24]), 1, 0, &bytes(1, 100)));
        if marked {
            store.mark_lost(&BOX).unwrap();
            let _durable = store.commit().unwrap();
            let operations = disk.op_count();
            store.mark_lost(&BOX).unwrap();
            let _durable = store.commit().unwrap();
            assert_eq!(disk.op_count(), operations, "marked once, and not again");
        } else {
            assert!(damage(&disk, &store.mask.turn(vec![0xa5; 64])) > 0);
        }
        exhaust(&mut store, &disk);
        if restarts {
            drop(store);
            store = open_with(&disk, wide());
            if !store.is_losing(&BOX) {
                exhaust(&mut store, &disk);
            }
        }
        if !marked {
            let seen = store.read(&BOX, Seq::NONE, 1 << 20).unwrap();
            assert_eq!(seen, ReadAnswer::Lost);
            assert_eq!(store.take_lost(), [BOX]);
            assert!(store.is_losing(&BOX), "there was room for it all the same");
        }
        // Nothing of it is shown, and nothing is taken that would go with it.
        for _ in 0..3 {
            let seen = store.read(&BOX, Seq::NONE, 1 << 20).unwrap();
            assert_eq!(seen, ReadAnswer::Envelopes(Vec::new()));
            assert_eq!(store.send_state(&BOX).unwrap().last, None);
            assert_eq!(store.fetch(&BOX, Seq(1)).unwrap(), None);
            let refused = append(&mut store, BOX, 1, 0, &bytes(4, 100));
            assert_eq!(refused, AppendAnswer::OverQuota(Size::Small));
            let _progress = store.gather().unwrap();
            store.go_on_losing().unwrap();
        }
        disk.set_capacity(None);
        store.go_on_losing().unwrap();
        let _durable = store.commit().unwrap();
        assert!(!store.is_losing(&BOX));
        assert_eq!(store.usage().mailboxes, 1);
        receipt(append(&mut store, BOX, 1, 0, &bytes(4, 100)));
        drop(store);
        let mut store = open_with(&disk, wide());
        assert_eq!(store.usage().mailboxes, 2);
        assert_eq!(seqs(&mut store, 0), [1]);
    }
}

#[test]
fn a_second_owner_of_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        Wal::open(
            Arc::new(RealDisk::new(dir.path()).unwrap()),
            Box::new(MemStore::new()),
            Box::new(SeededDice(1)),
            Options::default(),
        )
    };
    let _first = open().unwrap();
    assert!(matches!(open(), Err(WalError::Locked)));
}

/// Numbers come from strangers: whatever is said, the store answers and goes on.
#[test]
fn numbers_at_the_end_of_64_bits_stop_nothing() {
    let seqs = [0, 1, 2, u64::MAX - 2, u64::MAX - 1, u64::MAX];
    let short = bytes(3, 100);
    for (what, filled) in [
        ("empty", None),
        ("low", Some(1)),
        ("high", Some(Seq::LAST.0)),
    ] {
        for seq in seqs {
            let mut store = store();
            if let Some(first) = filled {
                receipt(append(&mut store, BOX, first, 0, &short));
            }
            let what = format!("{what}, {seq}");
            let read = store.read(&BOX, Seq(seq), 1 << 20).unwrap();
            let ReadAnswer::Envelopes(read) = read else {
                panic!("{what}: lost");
            };
            assert_eq!(read.len(), usize::from(filled.is_some_and(|n| n > seq)));
            store.fetch(&BOX, Seq(seq)).unwrap();
            for after in seqs {
                append(&mut store, BOX, seq, after, &short);
            }
            for _ in 0..2 {
                while store.trim(&BOX, Seq(seq)).unwrap() == Progress::More {}
            }
            store.send_state(&BOX).unwrap();
            store.receive_state(&BOX).unwrap();
            drop(store.commit().unwrap());
            receipt(append(&mut store, SendId([9; 24]), 1, 0, &short));
        }
    }
}
