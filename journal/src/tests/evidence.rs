//! What the other side holds, against our books; and what is missing from them.

use wal::disk::CrashPolicy;
use wire::ids::{Digest, Seq};

use super::harness::{Hub, converge, open, paired, settle};
use crate::keys;
use crate::library::AppClipState;
use crate::message::DropReason;
use crate::{Held, JournalError, Role};

fn explains(hub: &Hub, held: Held) -> bool {
    hub.journal.outbox_explains(hub.line(), held).unwrap()
}

#[test]
fn scenario_18_a_copy_that_has_recorded_past_the_phone_is_found_out_envelope_by_envelope() {
    let (mut hub, mut app) = paired();
    let old = hub.disk.crash_clone(CrashPolicy::KeepAll, 0);
    // Envelopes: 1 Commit, 2 header, 3 and 4 chunks, 5 trailer.
    hub.record(&[b"one", b"two"]);
    let mut phone = Vec::new();
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        app.take(seq, envelope.as_bytes());
        let head = app.journal.inbox_head(app.line()).unwrap();
        phone.push(Held {
            seq: head.cursor,
            digest: head.digest,
        });
    }
    assert_eq!(phone.len(), 5);
    assert!(phone.iter().all(|held| explains(&hub, *held)));

    let (mut hub, _) = hub.restart(old, 31);
    for _ in 0..3 {
        hub.record(&[b"another", b"history"]);
    }
    for held in &phone {
        assert!(!explains(&hub, *held), "{held:?}");
        let digest = hub.outgoing(Seq(held.seq.0 - 1))[0].1.digest();
        let honest = Held { digest, ..*held };
        assert!(explains(&hub, honest), "{held:?}");
    }
    // Where a statement stands, the phone may honestly hold what it replaced; what is gone or acked
    // cannot be compared.
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, Seq(3)).unwrap();
    hub.session.take_ack(&mut txn, Seq(1)).unwrap();
    drop(txn.commit(()).unwrap());
    let judged: Vec<bool> = phone.iter().map(|held| explains(&hub, *held)).collect();
    assert_eq!(judged, [true, false, true, true, true]);
}

#[test]
fn another_envelope_in_the_last_place_is_a_proof_and_one_beyond_it() {
    let (mut hub, _app) = paired();
    hub.record(&[b"one"]);
    let line = hub.line();
    let books = hub.journal.outbox_books(line).unwrap();
    let (seq, digest) = (books.last, books.last_digest.unwrap());
    assert!(explains(&hub, Held { seq, digest }));
    let beyond = Seq(seq.0 + 1);
    assert!(!explains(
        &hub,
        Held {
            seq: beyond,
            digest
        }
    ));
    let digest = Digest([9; 32]);
    assert!(!explains(&hub, Held { seq, digest }));
    let nothing = Held {
        seq: Seq(0),
        digest,
    };
    assert!(explains(&hub, nothing));
}

#[test]
fn damaged_bytes_prove_nothing_and_a_proof_is_kept() {
    let (mut hub, _app) = paired();
    let clip = hub.start_clip();
    let seq = hub.chunk(clip, &[0x5a; 4_000]);
    hub.finish(clip);
    let digest = Digest([9; 32]);
    let held = Held { seq, digest };
    assert!(!explains(&hub, held));
    let needle = hub.outgoing(Seq(seq.0 - 1))[0].1.as_bytes()[..64].to_vec();
    for path in hub.disk.paths() {
        let contents = hub.disk.contents(&path).unwrap();
        if let Some(at) = contents.windows(64).position(|bytes| bytes == needle) {
            hub.disk.damage(&path, at as u64 + 9, &[0; 8]).unwrap();
        }
    }
    assert!(explains(&hub, held));

    let line = hub.line();
    assert_eq!(hub.journal.rollback_proof(line).unwrap(), None);
    let mut txn = hub.journal.begin();
    txn.keep_rollback_proof(line, held).unwrap();
    drop(txn.commit(()).unwrap());
    let disk = hub.disk.crash_clone(CrashPolicy::LoseAll, 0);
    drop(hub);
    let journal = open(Role::Hub, &disk, 9).unwrap();
    assert_eq!(journal.rollback_proof(line).unwrap(), Some(held));
}

#[test]
fn a_row_that_is_gone_without_a_statement_is_a_damaged_envelope() {
    let (mut hub, mut app) = paired();
    // Envelopes: 1 Commit, 2 header, 3 to 5 chunks, 6 trailer; then the next clip.
    let lost = hub.record(&[b"one", b"two", b"three"]);
    let kept = hub.record(&[b"kept"]);
    let line = hub.line();
    // As if the view had been made anew without the file that held them.
    let mut rows = wal::Txn::new();
    for seq in [4, 5] {
        rows.delete_payload(keys::outbox(line, Seq(seq)));
    }
    drop(hub.journal.wal.stage(rows, ()).unwrap());
    drop(hub.journal.commit().unwrap());
    assert_eq!(
        hub.journal.outbox_next(line, Seq(2)).unwrap().unwrap().0,
        Seq(3)
    );
    let hole = hub.journal.outbox_next(line, Seq(3));
    assert!(
        matches!(hole, Err(JournalError::EnvelopeDamaged { seq: Seq(4), .. })),
        "{hole:?}"
    );
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, Seq(4)).unwrap();
    drop(txn.commit(()).unwrap());
    settle(&mut hub, &mut app);
    let state = app.journal.app_clip(lost).unwrap().state;
    assert_eq!(state, AppClipState::Dropped(DropReason::Damaged));
    assert_eq!(app.bytes_of(kept), b"kept");
    converge(&mut hub, &mut app);
    assert_eq!(hub.journal.outbox_waiting(line).unwrap(), (0, 0));
}

/// The relay had what lies before the hole, and loses it: an earlier hole of the same clip is met
/// only now, and the statement that was made does not explain it. That one may have left, so it
/// stays, byte for byte (promise C3), and the new hole has a statement of its own.
#[test]
fn an_earlier_hole_of_a_clip_that_was_dropped_has_a_statement_of_its_own() {
    let (mut hub, mut app) = paired();
    // Envelopes: 1 Commit, 2 header, 3 to 6 chunks, 7 trailer.
    let lost = hub.record(&[b"one", b"two", b"three", b"four"]);
    let line = hub.line();
    let end = hub.journal.outbox_books(line).unwrap();
    let mut rows = wal::Txn::new();
    for seq in [4, 6] {
        rows.delete_payload(keys::outbox(line, Seq(seq)));
    }
    drop(hub.journal.wal.stage(rows, ()).unwrap());
    drop(hub.journal.commit().unwrap());
    let mut statements = Vec::new();
    for (after, hole, place) in [(5, 6, 7), (3, 4, 5)] {
        let found = hub.journal.outbox_next(line, Seq(after));
        let Err(JournalError::EnvelopeDamaged { seq, .. }) = found else {
            panic!("{found:?}");
        };
        assert_eq!(seq, Seq(hole));
        let mut txn = hub.journal.begin();
        let dropped = hub.session.drop_damaged(&mut txn, seq).unwrap();
        assert_eq!(dropped.is_some(), hole == 6, "a clip is dropped once");
        drop(txn.commit(()).unwrap());
        let found = hub.journal.outbox_next(line, Seq(after)).unwrap();
        let (seq, statement) = found.unwrap();
        assert_eq!(seq, Seq(place));
        statements.push((seq, statement.digest()));
        // Whatever left is what is sent again, and asking once more changes nothing.
        for again in [hole, 6, 7] {
            let mut txn = hub.journal.begin();
            let dropped = hub.session.drop_damaged(&mut txn, Seq(again)).unwrap();
            assert_eq!(dropped, None);
            drop(txn.commit(()).unwrap());
        }
        for (seq, digest) in &statements {
            let before = Seq(seq.0 - 1);
            let (found, envelope) = hub.journal.outbox_next(line, before).unwrap().unwrap();
            assert_eq!((found, envelope.digest()), (*seq, *digest));
        }
    }
    // A phone that had it all before the relay lost it is no proof of anything.
    let digest = end.last_digest.unwrap();
    let seq = end.last;
    assert!(explains(&hub, Held { seq, digest }));
    settle(&mut hub, &mut app);
    let state = app.journal.app_clip(lost).unwrap().state;
    assert_eq!(state, AppClipState::Dropped(DropReason::Damaged));
    converge(&mut hub, &mut app);
}

/// The phone took the first statement and its ack is under way when the relay forgets everything:
/// the statement about the earlier hole lies behind its cursor.
#[test]
fn a_phone_that_holds_the_first_statement_passes_the_second() {
    let (mut hub, mut app) = paired();
    // Envelopes: 1 Commit, 2 header, 3 to 6 chunks, 7 trailer.
    hub.record(&[b"one", b"two", b"three", b"four"]);
    let line = hub.line();
    for (seq, envelope) in hub.outgoing(Seq(0)).into_iter().take(5) {
        app.take(seq, envelope.as_bytes());
    }
    for hole in [6, 4] {
        let mut txn = hub.journal.begin();
        let _clip = hub.session.drop_damaged(&mut txn, Seq(hole)).unwrap();
        drop(txn.commit(()).unwrap());
        for (seq, envelope) in hub.outgoing(app.cursor()) {
            app.take(seq, envelope.as_bytes());
        }
        assert_eq!(app.cursor(), Seq(7));
    }
    assert_eq!(hub.outgoing(Seq(3))[0].0, Seq(5));
    converge(&mut hub, &mut app);
    assert_eq!(hub.journal.outbox_waiting(line).unwrap(), (0, 0));
}
