//! Full batches, and answers after damage in the same batch.

use super::*;

/// The disk fails a test that commits less than the engine's bound allows only by accident;
/// this fills a batch to just below it.
fn almost_full(store: &mut MailboxStore) -> Vec<PendingAppend> {
    let video = bytes(1, ENVELOPE_BYTES_MAX);
    let digest = Digest::of(&video);
    let mailbox = SendId([9; 24]);
    let mut pending = Vec::new();
    let mut n = 0;
    while !store.is_batch_full() {
        n += 1;
        pending.push(
            store
                .append(HUB, mailbox, Seq(n), Seq(n - 1), digest, &video)
                .unwrap(),
        );
    }
    pending
}

/// Nothing that a peer can make the relay stage meets a full batch, and receipts that waited
/// through a commit in between are given all the same.
#[test]
fn a_full_batch_is_committed_and_not_refused() {
    let disk = SimDisk::new();
    let mut store = open_with(&disk, wide());
    fill(&mut store, BOX, 20);
    for round in 0..4_u8 {
        let mut pending = Vec::new();
        // Far more than the engine takes at once: 512 KiB with these log files.
        for n in 0..200_u64 {
            let seq = u64::from(round) * 200 + n;
            let envelope = bytes(round, 30_000);
            let digest = Digest::of(&envelope);
            let mailbox = SendId([9; 24]);
            pending.push(
                store
                    .append(HUB, mailbox, Seq(seq + 1), Seq(seq), digest, &envelope)
                    .unwrap(),
            );
            let nonce = [n as u8 + round; 16];
            assert!(store.redeem(HUB_ID, &nonce, 100, 50).unwrap().is_some());
            let day = u64::from(round) * 200 + n;
            assert!(store.count_invitation(HUB_ID, day).unwrap().is_some());
            trim(&mut store, &BOX, n / 10);
        }
        let committed = store.commit().unwrap();
        for pending in pending {
            receipt(store.answer(&committed, pending).unwrap());
        }
    }
    assert_eq!(seqs(&mut store, 0)[0], 20);
}

#[test]
fn a_mailbox_of_more_than_a_batch_is_trimmed_and_lost_in_steps() {
    let mut store = open_with(&SimDisk::new(), wide());
    // Their removal alone is more than a batch of 256 KiB.
    let count = 12 * REMOVED_ENVELOPES_MAX as u64;
    for mailbox in [BOX, SendId([3; 24])] {
        fill(&mut store, mailbox, count);
    }
    let _pending = almost_full(&mut store);
    assert_eq!(trim(&mut store, &BOX, count), 12);
    assert_eq!(seqs(&mut store, 0), [count]);
    let _pending = almost_full_again(&mut store);
    store.lose(&SendId([3; 24])).unwrap();
    let _durable = store.commit().unwrap();
    assert_eq!(store.send_state(&SendId([3; 24])).unwrap().last, None);
}

fn almost_full_again(store: &mut MailboxStore) -> Vec<PendingAppend> {
    store.lose(&SendId([9; 24])).unwrap();
    let _durable = store.commit().unwrap();
    almost_full(store)
}

/// Damage is found between the decision about an append and its sync: what was said to be stored
/// is not, and nobody may be told that it is.
#[test]
fn a_mailbox_that_is_lost_in_the_batch_gives_no_receipt() {
    let mut store = store();
    let (old, new) = (bytes(1, 100), bytes(2, 100));
    let stage = |store: &mut MailboxStore, seq, after, envelope: &Bytes| {
        let digest = Digest::of(envelope);
        store
            .append(HUB, BOX, Seq(seq), Seq(after), digest, envelope)
            .unwrap()
    };
    receipt(append(&mut store, BOX, 5, 0, &old));
    let again = stage(&mut store, 5, 0, &old);
    assert!(matches!(again, PendingAppend::Duplicate(..)));
    let six = stage(&mut store, 6, 5, &old);
    store.lose(&BOX).unwrap();
    let three = stage(&mut store, 3, 0, &new);
    let four = stage(&mut store, 4, 3, &new);
    let committed = store.commit().unwrap();

    let ends = AppendAnswer::NotNext(Some(head(4, &new)));
    assert_eq!(store.answer(&committed, again).unwrap(), ends);
    assert_eq!(store.answer(&committed, six).unwrap(), ends);
    // Stored behind the loss, but that cannot be told apart: its sender looks again.
    assert_eq!(store.answer(&committed, three).unwrap(), ends);
    assert_eq!(
        receipt(store.answer(&committed, four).unwrap()),
        head(4, &new)
    );
    assert_eq!(store.take_lost(), [BOX]);
    assert_eq!(receipt(append(&mut store, BOX, 3, 0, &new)), head(3, &new));
}

#[test]
fn nothing_is_left_of_a_lost_mailbox_when_all_is_lost_in_one_batch() {
    let mut store = store();
    let envelope = bytes(1, 100);
    let digest = Digest::of(&envelope);
    let pending = store
        .append(HUB, BOX, Seq(1), Seq::NONE, digest, &envelope)
        .unwrap();
    store.lose(&BOX).unwrap();
    let committed = store.commit().unwrap();
    assert_eq!(
        store.answer(&committed, pending).unwrap(),
        AppendAnswer::NotNext(None)
    );
    assert_eq!(store.usage().mailboxes, 0);
    assert_eq!(store.usage().quota_bytes, 0);
}

/// Half a mailbox would show its reader a gap that nobody ever fills.
#[test]
fn a_loss_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let disk = SimDisk::new();
    let mut store = open_with(&disk, wide());
    fill(&mut store, BOX, 20);
    fill(&mut store, SendId([3; 24]), 1);
    store.mark_lost(&BOX).unwrap();
    let _durable = store.commit().unwrap();
    drop(store);
    let mut store = open_with(&disk, wide());
    assert_eq!(store.send_state(&BOX).unwrap().last, None);
    assert!(seqs(&mut store, 0).is_empty());
    assert_eq!(store.usage().mailboxes, 1);
    assert_eq!(store.usage().envelope_bytes, 10);
    drop(store);
    assert!(
        open_with(&disk, wide())
            .wal
            .scan(rows::LOST, rows::LOST, 9)
            .unwrap()
            .is_empty()
    );
}
