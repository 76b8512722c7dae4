//! What the other side holds, against our books, at either end; and what is missing from them.

use sha2::{Digest as _, Sha256};
use wal::disk::{CrashPolicy, SimDisk};
use wire::ids::{DeviceId, Digest, Seq};

use super::harness::{Hub, converge, finish_pairing_as, open, paired, settle};
use super::pairing::offer;
use crate::ids::{Channel, Line, PairingId};
use crate::keys;
use crate::library::AppClipState;
use crate::message::DropReason;
use crate::scope::Scope;
use crate::wrap::{self, Place};
use crate::{ClipOutcome, Held, Journal, JournalError, Received, Role, Taken};

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

/// Scenario 19: everything is acked and trimmed at both ends, and the relay has lost its disk as well, so nothing is
/// left that could show an old copy of the hub. What the phone holds is in every word that it says next.
#[test]
fn scenario_19_the_phones_next_word_proves_what_nothing_at_the_relay_can() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let old = hub.disk.crash_clone(CrashPolicy::KeepAll, 0);
    hub.record(&[b"two"]);
    settle(&mut hub, &mut app);
    let line = hub.line();
    assert_eq!(hub.journal.outbox_waiting(line).unwrap(), (0, 0));
    let (mut hub, _) = hub.restart(old, 32);
    let books = hub.journal.outbox_head(line).unwrap();
    assert_eq!(books.acked, books.last, "by its own books nothing is wrong");
    app.ack();
    let said = app.outgoing(hub.journal.inbox_head(line).unwrap().cursor);
    let (seq, envelope) = said.first().unwrap();
    let received = hub.take(*seq, envelope);
    assert!(matches!(received, Received::RolledBack(_)), "{received:?}");
    assert!(hub.journal.rollback_proof(line).unwrap().is_some());
    let mut txn = hub.journal.begin();
    let more = hub.session.start_clip(&mut txn, "door", "video/mp4", 1);
    assert!(matches!(more, Err(JournalError::RolledBack(_))));
}

/// What the other side can put in the place of an envelope of ours that it was given.
fn changed_by_the_other_side(journal: &mut Journal, line: Line, seq: Seq, bytes: &[u8]) -> Vec<u8> {
    let record = journal.begin().pairing_record(line).unwrap();
    let mailbox = record.line(line.channel).unwrap().send;
    let place = Place {
        mailbox: &mailbox,
        seq,
    };
    wrap::with_another_content(&record.send_key, place, bytes)
}

/// What the relay holds proves a rollback by the tag that is in it, and by nothing that the relay could say: neither
/// by a number, nor with bytes of its own, of another place or of the phone.
#[test]
fn what_the_relay_holds_is_a_proof_by_its_own_tag_alone() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let old = hub.disk.crash_clone(CrashPolicy::KeepAll, 0);
    let (line, books) = (hub.line(), hub.journal.outbox_head(hub.line()).unwrap());
    // Envelopes: a Commit, header, two chunks, trailer.
    hub.record(&[b"two", b"three"]);
    let left = hub.outgoing(books.last);
    assert_eq!(left.len(), 5);
    // By whoever made them, they prove nothing.
    for (seq, envelope) in &left {
        let proof = hub
            .journal
            .outbox_disproved(line, *seq, envelope.as_bytes());
        assert_eq!(proof.unwrap(), None);
    }
    let phones = app.outgoing(Seq::NONE);
    let (mut hub, _) = hub.restart(old, 33);
    // As the copy is, and once it has recorded under the same numbers, in part and past them.
    for recorded in [0, 1, 2] {
        if recorded > 0 {
            hub.record(&[b"another"]);
        }
        let last = hub.journal.outbox_head(line).unwrap().last;
        let proves = |journal: &Journal, seq: Seq, bytes: &[u8]| {
            journal.outbox_disproved(line, seq, bytes).unwrap()
        };
        for (seq, envelope) in &left {
            let (seq, bytes, digest) = (*seq, envelope.as_bytes(), envelope.digest());
            let proof = proves(&hub.journal, seq, bytes);
            assert_eq!(proof, Some(Held { seq, digest }), "{recorded}: {seq}");
            for other in [seq.next(), Seq(seq.0 - 1), Seq(1_000)] {
                assert_eq!(proves(&hub.journal, other, bytes), None, "{seq} as {other}");
            }
            for at in [0, 1, 30, bytes.len() - 1] {
                let mut bad = bytes.to_vec();
                bad[at] ^= 1;
                assert_eq!(proves(&hub.journal, seq, &bad), None, "{seq}: byte {at}");
            }
            assert_eq!(proves(&hub.journal, seq, &bytes[..bytes.len() / 2]), None);
            assert_eq!(proves(&hub.journal, seq, &[]), None);
            let elsewhere = Line::of(line.pairing, Channel::Config);
            let of_other = hub.journal.outbox_disproved(elsewhere, seq, bytes);
            assert_eq!(of_other.unwrap(), None);
            // The phone has the wrapping key, and no tag but that of the envelope that it changes: of a number
            // that is here that one has to be another one of ours all the same.
            let changed = changed_by_the_other_side(&mut hub.journal, line, seq, bytes);
            assert!(proves(&hub.journal, seq, &changed).is_some());
        }
        for (seq, envelope) in &phones {
            let seq = Seq(last.0 + seq.0);
            assert_eq!(proves(&hub.journal, seq, envelope.as_bytes()), None);
        }
        // Nothing can be made of what this copy has sent itself.
        for (seq, envelope) in hub.outgoing(Seq::NONE) {
            let bytes = envelope.as_bytes();
            assert_eq!(proves(&hub.journal, seq, bytes), None);
            let changed = changed_by_the_other_side(&mut hub.journal, line, seq, bytes);
            assert_ne!(changed, bytes);
            assert_eq!(proves(&hub.journal, seq, &changed), None, "{seq}");
        }
    }
    // Acked, or in a statement's place: nothing can be compared there.
    let (first, last) = (left[0].0, hub.journal.outbox_head(line).unwrap().last);
    let mut txn = hub.journal.begin();
    hub.session.take_ack(&mut txn, first).unwrap();
    drop(txn.commit(()).unwrap());
    let mut txn = hub.journal.begin();
    hub.session
        .drop_damaged(&mut txn, Seq(first.0 + 2))
        .unwrap();
    drop(txn.commit(()).unwrap());
    let judged = left.iter().map(|(seq, envelope)| {
        let found = hub
            .journal
            .outbox_disproved(line, *seq, envelope.as_bytes());
        found.unwrap().is_some()
    });
    // The statement stands at the end of the clip, for the chunk and the trailer.
    let expected = [false, true, false, false, true];
    assert_eq!(judged.collect::<Vec<_>>(), expected);
    assert_eq!(last, Seq(first.0 + 7));
}

/// It is the directory that is old, not one pairing's part of it: every line of every phone is over, in one
/// transaction and for good; but not those of a phone that pairs later.
#[test]
fn a_proof_by_our_own_tag_ends_every_line_that_there_is() {
    let (mut hub, _app) = paired();
    let line = hub.line();
    let pair = |hub: &mut Hub, name| {
        let code = offer(&mut hub.journal);
        let mut app = open(Role::App, &SimDisk::new(), u64::from(name)).unwrap();
        let device = DeviceId([name; 32]);
        finish_pairing_as(device, &mut hub.journal, &mut app, &code).unwrap()
    };
    let other = pair(&mut hub, 9);
    let held = |seq| Held {
        seq: Seq(seq),
        digest: Digest([9; 32]),
    };
    // One of them had a word of its own before.
    let of_a_phone = Line::of(other, Channel::Thumbnail);
    let mut txn = hub.journal.begin();
    txn.keep_rollback_proof(of_a_phone, held(4)).unwrap();
    drop(txn.commit(()).unwrap());
    let (there, gone) = (hub.journal.pairing_ids(), PairingId([7; 16]));
    let mut txn = hub.journal.begin();
    txn.prove_rollback_of_all(&[there, vec![gone]].concat(), held(7))
        .unwrap();
    drop(txn.commit(()).unwrap());
    let disk = hub.disk.crash_clone(CrashPolicy::LoseAll, 0);
    let mut hub = Hub::open(Role::Hub, disk, line, 41);
    for pairing in [line.pairing, other] {
        for of in Line::all(pairing) {
            let kept = hub.journal.rollback_proof(of).unwrap();
            let seq = if of == of_a_phone { 4 } else { 7 };
            assert_eq!(kept, Some(held(seq)), "{of:?}");
        }
    }
    let later = pair(&mut hub, 10);
    for of in [later, gone].map(Line::all).concat() {
        assert_eq!(hub.journal.rollback_proof(of).unwrap(), None);
    }
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
    hub.session.prove_rollback(&mut txn, held).unwrap();
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

/// Promise C8 at the phone (scenario 21): a backup of it is put back, and the hub says what it holds.
#[test]
fn scenario_21_a_phone_that_was_put_back_hears_it_from_the_hub_and_encrypts_nothing_more() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let line = app.line();
    let old = app.disk.crash_clone(CrashPolicy::KeepAll, 0);
    hub.record(&[b"two"]);
    settle(&mut hub, &mut app);
    // Made after the hub took the second ack.
    hub.record(&[b"three"]);
    let sent = hub.outgoing(Seq(0));

    let mut app = app.restart(old, 21);
    let before = app.journal.outbox_head(line).unwrap();
    let cursor = app.cursor();
    // Behind a gap: the relay forgot what the newer phone had acked.
    assert!(sent[0].0 > Seq(cursor.0 + 1));
    for started in [false, true] {
        if started {
            let disk = app.disk.crash_clone(CrashPolicy::LoseAll, 0);
            app = app.restart(disk, 22);
        }
        for (seq, envelope) in &sent {
            assert_eq!(app.take(*seq, envelope.as_bytes()), Taken::RolledBack);
        }
        let proof = app.journal.rollback_proof(line).unwrap().unwrap();
        assert!(proof.seq > before.last, "{proof:?}");
        let mut txn = app.journal.begin();
        let ack = app.session.send_ack(&mut txn);
        assert!(matches!(ack, Err(JournalError::RolledBack(_))), "{ack:?}");
        drop(txn);
        assert_eq!(app.journal.outbox_head(line).unwrap(), before);
        assert_eq!(app.cursor(), cursor);
    }
}

/// As the phone before, but it has acked on from its backup: under numbers that the hub has.
#[test]
fn scenario_21_another_ack_under_a_number_that_the_hub_has_proves_it_as_well() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        app.take(seq, envelope.as_bytes());
    }
    let old = app.disk.crash_clone(CrashPolicy::KeepAll, 0);
    app.ack();
    for (seq, envelope) in app.outgoing(Seq(0)) {
        hub.take(seq, &envelope);
    }
    let clip = hub.start_clip();
    let sent = hub.outgoing(app.cursor());

    let mut app = app.restart(old, 23);
    app.ack();
    app.ack();
    let (seq, envelope) = &sent[0];
    assert_eq!(app.take(*seq, envelope.as_bytes()), Taken::RolledBack);
    // The honest one goes on, of course.
    hub.finish(clip);
}

/// Promise C8 at the hub: the right to encrypt ends with the proof, also in an open epoch, and the
/// group's keys die (promise S3).
#[test]
fn nothing_is_encrypted_on_a_line_whose_rollback_is_proved() {
    let (mut hub, _app) = paired();
    let clip = hub.start_clip();
    hub.chunk(clip, b"before");
    let line = hub.line();
    let head = hub.journal.outbox_head(line).unwrap();
    let held = Held {
        seq: Seq(head.last.0 + 1),
        digest: Digest([9; 32]),
    };
    let mut txn = hub.journal.begin();
    hub.session.prove_rollback(&mut txn, held).unwrap();
    let abandoned = hub.session.abandon(&mut txn).unwrap().pop().unwrap();
    drop(txn.commit(()).unwrap());
    assert_eq!(abandoned.outcome, ClipOutcome::CutOff);
    let sha256: [u8; 32] = Sha256::digest(b"before").into();
    assert_eq!((abandoned.bytes, abandoned.sha256), (6, Some(sha256)));
    for started in [false, true] {
        if started {
            let disk = hub.disk.crash_clone(CrashPolicy::LoseAll, 0);
            hub = Hub::open(Role::Hub, disk, line, 40);
        }
        let stored = hub.journal.hub_clips(line.pairing).unwrap();
        assert_eq!(stored, std::slice::from_ref(&abandoned));
        for step in 0..4 {
            let mut txn = hub.journal.begin();
            let session = &mut hub.session;
            let refused = match step {
                0 => session.append_chunk(&mut txn, clip, b"after", 1).err(),
                1 => session.finish_clip(&mut txn, clip, 1).err(),
                2 => session.start_clip(&mut txn, "door", "video/mp4", 1).err(),
                _ => session.close_used_epoch(&mut txn, 1).err(),
            };
            assert!(refused.is_some(), "step {step}");
            drop(txn);
        }
        assert_eq!(hub.journal.outbox_head(line).unwrap(), head);
        assert!(hub.journal.scopes.get(Scope::Group(line)).is_none());
    }
}
