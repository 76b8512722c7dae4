//! Envelopes of one size, and covers between them: what leaves looks alike, and nothing else changes.

use wal::disk::CrashPolicy;
use wire::ids::{Digest, Seq};

use super::harness::{App, Hub, converge, paired, settle};
use super::secrets::files_contain;
use crate::ids::Channel;
use crate::keys;
use crate::library::AppClipState;
use crate::message::DropReason;
use crate::session::EpochUse;
use crate::wrap::{self, Place};
use crate::{Closed, FULL_ENVELOPE_BYTES, Held, JournalError, Taken};

/// A hub whose event videos leave in envelopes of one size.
fn shaped() -> (Hub, App) {
    let (mut hub, app) = paired();
    hub.journal.send_in_full_size(Channel::EventVideo);
    (hub, app)
}

fn cover(hub: &mut Hub) -> Seq {
    let mut txn = hub.journal.begin();
    let seq = hub.session.cover(&mut txn).unwrap();
    txn.commit(seq).unwrap().into_inner()
}

fn all_alike(hub: &Hub) -> bool {
    let sent = hub.outgoing(Seq(0));
    sent.iter()
        .all(|(_, envelope)| envelope.as_bytes().len() == FULL_ENVELOPE_BYTES)
}

#[test]
fn a_clip_among_covers_looks_like_covers_and_arrives_whole() {
    let (mut hub, mut app) = shaped();
    cover(&mut hub);
    let clip = hub.start_clip();
    for chunk in [b"one".as_slice(), b"two", b"three"] {
        hub.chunk(clip, chunk);
        cover(&mut hub);
        cover(&mut hub);
    }
    hub.finish(clip);
    assert!(all_alike(&hub));
    // On this disk they take what is in them.
    let (count, bytes) = hub.journal.outbox_waiting(hub.line()).unwrap();
    assert_eq!(count, 13);
    assert!(bytes < 13 * 4096, "{bytes}");
    let mut covers = 0;
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        covers += u32::from(app.take(seq, envelope.as_bytes()) == Taken::Cover);
    }
    assert_eq!(covers, 7);
    assert_eq!(app.bytes_of(clip), b"onetwothree");
    converge(&mut hub, &mut app);
}

/// What the outbox holds under this number, and whether it is a payload.
fn kept(hub: &Hub, seq: Seq) -> (Vec<u8>, bool) {
    let key = keys::outbox(hub.line(), seq);
    let small = hub.journal.wal.get(&key).unwrap();
    let is_payload = small.is_none();
    let large = || hub.journal.wal.payload(&key).unwrap();
    (small.or_else(large).unwrap(), is_payload)
}

/// Puts these bytes where the outbox holds something.
fn keep(hub: &mut Hub, seq: Seq, bytes: &[u8], is_payload: bool) {
    let key = keys::outbox(hub.line(), seq);
    let mut rows = wal::Txn::new();
    match is_payload {
        true => rows.put_payload(key, bytes.to_vec()),
        false => rows.put(key, bytes.to_vec()),
    }
    drop(hub.journal.wal.stage(rows, ()).unwrap());
    drop(hub.journal.commit().unwrap());
}

/// The right to append, and what the wrap hides, stand in no file of the hub, though each envelope is padded anew
/// whenever it leaves.
#[test]
fn nothing_that_the_wrap_hides_is_in_the_clear() {
    let (mut hub, mut app) = shaped();
    cover(&mut hub);
    hub.record(&[b"one", &[7; 20_000]]);
    let line = hub.line();
    let record = hub.journal.begin().pairing_record(line).unwrap();
    let mailbox = &record.line(line.channel).unwrap().send;
    assert!(!files_contain(&hub.disk, &mailbox.0), "the right to append");
    let mut messages = 0;
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        let (row, _) = kept(&hub, seq);
        assert!(row.len() < FULL_ENVELOPE_BYTES, "it is a recipe");
        let held_by_row = |part: &[u8]| row.windows(part.len()).any(|window| window == part);
        assert!(held_by_row(&row[1..25]), "the control");
        for secret in [&mailbox.0[..], &record.send_key[..], &record.tag_key[..]] {
            assert!(!held_by_row(secret), "{seq}");
        }
        let place = Place { mailbox, seq };
        let body = wrap::unwrap(&record.send_key, place, envelope.as_bytes()).unwrap();
        for part in body.content.chunks_exact(16) {
            assert!(!held_by_row(part), "{seq}");
        }
        if !body.content.is_empty() {
            messages += 1;
            assert!(!files_contain(&hub.disk, &body.content), "{seq}");
        }
    }
    // Commit, header, two chunks, trailer; and a cover.
    assert_eq!(messages, 5);
    converge(&mut hub, &mut app);
}

/// A recipe of which a byte is another, or the end is missing, becomes no envelope: it is damaged. What is put
/// back leaves as it did.
#[test]
fn a_changed_recipe_is_a_damaged_envelope() {
    let (mut hub, mut app) = shaped();
    let clip = hub.start_clip();
    let chunk = hub.chunk(clip, b"chunk");
    hub.finish(clip);
    let last = cover(&mut hub);
    let line = hub.line();
    let before = hub.outgoing(Seq(0));
    for seq in [chunk, last] {
        let (row, is_payload) = kept(&hub, seq);
        assert_eq!(is_payload, seq == chunk);
        // The cover's, byte by byte; of the chunk's some.
        let step = if is_payload { 17 } else { 1 };
        for at in (usize::from(is_payload)..row.len()).step_by(step) {
            let mut bad = row.clone();
            bad[at] ^= 0x80;
            for bad in [bad.as_slice(), &row[..at]] {
                keep(&mut hub, seq, bad, is_payload);
                let found = hub.journal.outbox_next(line, Seq(seq.0 - 1));
                let found = found.map(|found| found.map(|(seq, _)| seq));
                let Err(JournalError::EnvelopeDamaged { seq: told, .. }) = found else {
                    panic!("{seq}, {at}: {found:?}");
                };
                assert_eq!(told, seq);
                assert_eq!(hub.journal.outbox_digest(line, seq).unwrap(), None);
            }
        }
        // Also one of another number.
        let (other, _) = kept(&hub, Seq(1));
        keep(&mut hub, seq, &other, is_payload);
        let found = hub.journal.outbox_next(line, Seq(seq.0 - 1));
        assert!(matches!(found, Err(JournalError::EnvelopeDamaged { .. })));
        keep(&mut hub, seq, &row, is_payload);
        assert_eq!(hub.outgoing(Seq(0)), before);
    }
    converge(&mut hub, &mut app);
}

#[test]
fn a_cover_opens_no_epoch_and_a_start_owes_nothing_for_it() {
    let (mut hub, mut app) = shaped();
    hub.record(&[b"one"]);
    let (epoch, used) = (hub.epoch(), hub.journal.epoch_use(hub.line()).unwrap());
    assert!(matches!(used, Some(EpochUse::Finished { .. })), "{used:?}");
    for _ in 0..3 {
        cover(&mut hub);
    }
    assert_eq!(hub.epoch(), epoch);
    assert_eq!(hub.journal.epoch_use(hub.line()).unwrap(), used);
    let before = hub.outgoing(Seq(0));
    let disk = hub.disk.crash_clone(CrashPolicy::LoseAll, 0);
    // It was not told of the one size: what is there leaves as it was made.
    let (mut hub, closed) = hub.restart(disk, 31);
    assert_eq!(closed, Closed::NothingOwed);
    assert_eq!(hub.outgoing(Seq(0)), before);
    converge(&mut hub, &mut app);
}

#[test]
fn every_digest_is_that_of_what_leaves() {
    let (mut hub, _app) = shaped();
    hub.record(&[b"one"]);
    let judge = |hub: &Hub| {
        let line = hub.line();
        let sent = hub.outgoing(Seq(0));
        for (seq, envelope) in &sent {
            let digest = envelope.digest();
            let told = hub.journal.outbox_digest(line, *seq).unwrap();
            assert_eq!(told, Some(digest), "{seq}");
            let held = Held { seq: *seq, digest };
            assert!(hub.journal.outbox_explains(line, held).unwrap(), "{seq}");
            let digest = Digest([7; 32]);
            let other = Held { digest, ..held };
            assert!(!hub.journal.outbox_explains(line, other).unwrap(), "{seq}");
        }
        let books = hub.journal.outbox_books(line).unwrap();
        let last = sent.last().map(|(_, envelope)| envelope.digest());
        assert_eq!(books.last_digest, last);
    };
    judge(&hub);
    cover(&mut hub);
    judge(&hub);
    // A chunk is hashed when somebody asks.
    let clip = hub.start_clip();
    hub.chunk(clip, b"chunk");
    judge(&hub);
}

#[test]
fn a_damaged_clip_goes_with_the_covers_in_it_by_one_statement() {
    let (mut hub, mut app) = shaped();
    let lost = hub.start_clip();
    let mut chunks = Vec::new();
    for _ in 0..4 {
        chunks.push(hub.chunk(lost, b"chunk"));
        cover(&mut hub);
    }
    hub.finish(lost);
    cover(&mut hub);
    let kept = hub.record(&[b"kept"]);
    let mut txn = hub.journal.begin();
    let dropped = hub.session.drop_damaged(&mut txn, chunks[1]).unwrap();
    drop(txn.commit(()).unwrap());
    assert!(dropped.is_some());
    // Commit, header, chunk, cover; the statement; a cover; Commit, header, chunk, trailer.
    assert_eq!(hub.outgoing(Seq(0)).len(), 10);
    assert!(all_alike(&hub));
    settle(&mut hub, &mut app);
    let state = app.journal.app_clip(lost).unwrap().state;
    assert_eq!(state, AppClipState::Dropped(DropReason::Damaged));
    assert_eq!(app.bytes_of(kept), b"kept");
    converge(&mut hub, &mut app);
}

/// A statement takes whatever lies in its span, so nothing of another clip may.
#[test]
fn a_damaged_clip_goes_without_what_another_camera_said_among_the_covers() {
    let (mut hub, mut app) = shaped();
    let (lost, kept) = (hub.start_clip(), hub.start_clip());
    let mut chunks = Vec::new();
    for _ in 0..3 {
        chunks.push(hub.chunk(lost, b"lost"));
        cover(&mut hub);
        hub.chunk(kept, b"kept");
        cover(&mut hub);
        cover(&mut hub);
    }
    hub.finish(lost);
    hub.finish(kept);
    let mut txn = hub.journal.begin();
    let dropped = hub.session.drop_damaged(&mut txn, chunks[1]).unwrap();
    drop(txn.commit(()).unwrap());
    assert!(dropped.is_some());
    assert!(all_alike(&hub));
    settle(&mut hub, &mut app);
    let state = |clip| app.journal.app_clip(clip).unwrap().state;
    assert_eq!(state(lost), AppClipState::Dropped(DropReason::Damaged));
    assert_eq!(state(kept), AppClipState::Complete);
    assert_eq!(app.bytes_of(kept), b"keptkeptkept");
    converge(&mut hub, &mut app);
}

#[test]
fn nothing_covers_a_line_that_is_proved_rolled_back() {
    let (mut hub, _app) = shaped();
    let held = Held {
        seq: Seq(9),
        digest: Digest([9; 32]),
    };
    let mut txn = hub.journal.begin();
    hub.session.prove_rollback(&mut txn, held).unwrap();
    drop(txn.commit(()).unwrap());
    let mut txn = hub.journal.begin();
    let refused = hub.session.cover(&mut txn);
    assert!(matches!(refused, Err(JournalError::RolledBack(_))));
}
