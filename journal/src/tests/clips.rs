//! Clips from hub to app, with everything that may go wrong on the way but a crash.

use sha2::{Digest as _, Sha256};
use wire::ids::Seq;

use super::harness::{App, NOW_MS, converge, paired, paired_with, settle};
use crate::keys::{self, Family};
use crate::library::AppClipState;
use crate::message::DropReason;
use crate::scope::Scope;
use crate::session::EpochUse;
use crate::{CHUNK_BYTES_MAX, ClipOutcome, Closed, Held, JournalError, Received, Suite, Taken};

#[test]
fn a_clip_arrives_byte_for_byte_with_both_suites() {
    for suite in [Suite::XWing, Suite::Classic] {
        let (mut hub, mut app) = paired_with(suite);
        let chunk = vec![0xa5; CHUNK_BYTES_MAX];
        let clip = hub.record(&[&chunk, b"tail"]);
        settle(&mut hub, &mut app);
        let mut whole = chunk.clone();
        whole.extend_from_slice(b"tail");
        assert_eq!(app.bytes_of(clip), whole);
        let known = app.journal.app_clip(clip).unwrap();
        assert_eq!(known.state, AppClipState::Complete);
        let sha256: [u8; 32] = Sha256::digest(&whole).into();
        assert_eq!(known.sha256, Some(sha256));
        let at_hub = hub.journal.hub_clips(hub.line().pairing).unwrap();
        assert_eq!(
            (at_hub[0].sha256, at_hub[0].outcome),
            (Some(sha256), ClipOutcome::Complete)
        );
        assert_eq!(hub.journal.outbox_waiting(hub.line()).unwrap(), (0, 0));
        converge(&mut hub, &mut app);
    }
}

/// A full chunk and its wrap must leave as an envelope of sixteen sectors less the record group's share.
#[test]
fn a_full_chunk_fills_its_size_class() {
    let (mut hub, _app) = paired();
    let clip = hub.start_clip();
    let seq = hub.chunk(clip, &vec![1; CHUNK_BYTES_MAX]);
    let sent = hub.outgoing(Seq(seq.0 - 1));
    assert_eq!(sent[0].1.as_bytes().len(), 16 * 4096 - 512);
}

/// Scenario 13: one mailbox holds the Commit and what it separates, so the app cannot merge before
/// it has read the epoch before.
#[test]
fn scenario_13_the_commit_lies_between_the_epochs() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    hub.record(&[b"two"]);
    let sent = hub.outgoing(Seq(0));
    let second_commit = &sent[4];
    assert_eq!(
        app.take(second_commit.0, second_commit.1.as_bytes()),
        Taken::Gap { expected: Seq(1) }
    );
    settle(&mut hub, &mut app);
    assert_eq!(app.journal.app_clips(app.line().pairing).unwrap().len(), 2);
}

/// Scenario 12: an ack of an older epoch in the middle of a clip is consumed, and the handle that
/// opened the epoch keeps it: no Commit, no generation used twice.
#[test]
fn scenario_12_a_stale_ack_mid_clip_does_not_cost_the_handle() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"first"]);
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        app.take(seq, envelope.as_bytes());
    }
    app.ack();
    let stale = app.outgoing(Seq(0));
    let clip = hub.start_clip();
    let before = hub.chunk(clip, b"one ");
    let epoch = hub.epoch();
    assert!(matches!(hub.take(stale[0].0, &stale[0].1), Received::Stale));
    let after = hub.chunk(clip, b"two");
    assert_eq!(after.0, before.0 + 1, "a Commit was made in between");
    assert_eq!(hub.epoch(), epoch);
    hub.finish(clip);
    settle(&mut hub, &mut app);
    assert_eq!(app.bytes_of(clip), b"one two");
}

#[test]
fn an_ack_of_the_open_epoch_does_not_cost_the_handle_either() {
    let (mut hub, mut app) = paired();
    let clip = hub.start_clip();
    hub.chunk(clip, b"one ");
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        app.take(seq, envelope.as_bytes());
    }
    app.ack();
    let acks = app.outgoing(Seq(0));
    assert!(matches!(
        hub.take(acks[0].0, &acks[0].1),
        Received::Message(_)
    ));
    let head = hub.journal.outbox_head(hub.line()).unwrap();
    assert_eq!(head.acked, head.last);
    let next = hub.chunk(clip, b"two");
    assert_eq!(next.0, head.last.0 + 1);
    hub.finish(clip);
    settle(&mut hub, &mut app);
    assert_eq!(app.bytes_of(clip), b"one two");
}

/// The handle rule: after a dropped transaction the epoch is never encrypted in again; the clip goes
/// on behind a Commit, and what was dropped can be given again.
#[test]
fn a_dropped_transaction_costs_the_epoch_and_nothing_else() {
    let (mut hub, mut app) = paired();
    let clip = hub.start_clip();
    let first = hub.chunk(clip, b"one ");
    let epoch = hub.epoch();
    {
        let mut txn = hub.journal.begin();
        hub.session
            .append_chunk(&mut txn, clip, b"two ", NOW_MS)
            .unwrap();
    }
    let again = hub.chunk(clip, b"two ");
    assert_eq!(again.0, first.0 + 2, "a Commit must lie between");
    assert!(hub.epoch() > epoch);
    hub.finish(clip);
    settle(&mut hub, &mut app);
    assert_eq!(app.bytes_of(clip), b"one two ");
    assert_eq!(
        app.journal.app_clip(clip).unwrap().state,
        AppClipState::Complete
    );
    converge(&mut hub, &mut app);
}

/// Scenario 15, the app's half: processing without merging, or either without the cursor, is not
/// possible; a dropped transaction leaves the envelope to be taken again.
#[test]
fn scenario_15_a_dropped_take_can_be_redone() {
    let (mut hub, mut app) = paired();
    let clip = hub.record(&[b"one", b"two"]);
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        {
            let mut txn = app.journal.begin();
            app.session
                .take(&mut txn, seq, envelope.as_bytes(), NOW_MS)
                .unwrap();
        }
        assert!(!matches!(
            app.take(seq, envelope.as_bytes()),
            Taken::Nothing(_)
        ));
    }
    assert_eq!(app.bytes_of(clip), b"onetwo");
    converge(&mut hub, &mut app);
}

/// Scenario 17: a restart in the middle of a clip. The notice holds the digest of what was durable.
#[test]
fn scenario_17_a_cut_off_clip_ends_where_its_durable_chunks_end() {
    let (mut hub, mut app) = paired();
    let clip = hub.start_clip();
    hub.chunk(clip, b"durable ");
    hub.chunk(clip, b"too");
    {
        let mut txn = hub.journal.begin();
        hub.session
            .append_chunk(&mut txn, clip, b"never", NOW_MS)
            .unwrap();
        let _staged = txn.stage(()).unwrap();
    }
    let disk = hub.disk.crash_clone(wal::disk::CrashPolicy::LoseAll, 0);
    let (mut hub, closed) = hub.restart(disk, 11);
    let Closed::CutOff(ends) = closed else {
        panic!("the clip was not cut off: {closed:?}");
    };
    assert_eq!(ends.len(), 1);
    let end = &ends[0];
    assert_eq!((end.clip, end.chunks, end.bytes), (clip, 2, 11));
    let sha256: [u8; 32] = Sha256::digest(b"durable too").into();
    assert_eq!(end.sha256, sha256);
    let used = hub.journal.epoch_use(hub.line()).unwrap();
    assert!(
        matches!(used, Some(EpochUse::Finished { .. })),
        "scenario 24: closed at once"
    );
    settle(&mut hub, &mut app);
    assert_eq!(app.bytes_of(clip), b"durable too");
    assert_eq!(
        app.journal.app_clip(clip).unwrap().state,
        AppClipState::CutOff
    );
    converge(&mut hub, &mut app);
}

#[test]
fn a_start_owes_nothing_to_a_finished_epoch() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let epoch = hub.epoch();
    let disk = hub.disk.clone();
    let (mut hub, closed) = hub.restart(disk, 12);
    assert_eq!(closed, Closed::NothingOwed);
    assert_eq!(hub.epoch(), epoch);
    converge(&mut hub, &mut app);
}

/// Promise C6: whatever a relay does to an envelope, nothing changes and nothing is wedged.
#[test]
fn garbage_changes_nothing() {
    let (mut hub, mut app) = paired();
    let clip = hub.record(&[b"one", b"two"]);
    let sent = hub.outgoing(Seq(0));
    let untouched = |app: &App| app.journal.wal.next_lsn();
    for (i, (seq, envelope)) in sent.iter().enumerate() {
        let good = envelope.as_bytes();
        let lsn = untouched(&app);
        let mut judge = |seq: Seq, bytes: &[u8]| {
            let mut txn = app.journal.begin();
            app.session.take(&mut txn, seq, bytes, NOW_MS).unwrap()
        };
        for at in (0..good.len()).step_by(37) {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert_eq!(judge(*seq, &bad), Taken::NotAuthentic, "flip {at}");
            assert_eq!(judge(*seq, &good[..at]), Taken::NotAuthentic, "cut {at}");
        }
        for (other, (_, spliced)) in sent.iter().enumerate() {
            if other != i {
                assert_eq!(
                    judge(*seq, spliced.as_bytes()),
                    Taken::NotAuthentic,
                    "splice {other}"
                );
            }
        }
        assert_eq!(judge(*seq, &[]), Taken::NotAuthentic);
        assert_eq!(untouched(&app), lsn);
        app.take(*seq, good);
        assert_eq!(app.take(*seq, good), Taken::Duplicate);
    }
    assert_eq!(app.bytes_of(clip), b"onetwo");
    converge(&mut hub, &mut app);
}

/// A hub that sends rubbish inside a good wrap costs that message and nothing else.
#[test]
fn an_app_refuses_a_commit_from_its_own_mirror() {
    let (mut hub, mut app) = paired();
    settle(&mut hub, &mut app);
    app.ack();
    let acks = app.outgoing(Seq(1));
    // The relay sends the app's own envelope back to it.
    let (seq, envelope) = &acks[0];
    assert_eq!(app.take(*seq, envelope.as_bytes()), Taken::NotAuthentic);
    converge(&mut hub, &mut app);
}

/// Damaged payload: the clip is lost, both ends are told, Commits stay, the channel goes on.
#[test]
fn a_damaged_payload_costs_its_clip_and_both_ends_know() {
    let (mut hub, mut app) = paired();
    let lost = hub.record(&[b"one", b"two", b"three"]);
    let kept = hub.record(&[b"kept"]);
    // Envelopes: 1 Commit, 2 header, 3..=5 chunks, 6 trailer.
    for (seq, envelope) in hub.outgoing(Seq(0)).into_iter().take(3) {
        app.take(seq, envelope.as_bytes());
    }
    let mut txn = hub.journal.begin();
    let dropped = hub.session.drop_damaged(&mut txn, Seq(4)).unwrap();
    drop(txn.commit(()).unwrap());
    let dropped = dropped.expect("it was not dropped before");
    assert_eq!(dropped.outcome, ClipOutcome::Dropped(DropReason::Damaged));
    settle(&mut hub, &mut app);
    let state = app.journal.app_clip(lost).unwrap().state;
    assert_eq!(state, AppClipState::Dropped(DropReason::Damaged));
    assert_eq!(app.bytes_of(kept), b"kept");
    converge(&mut hub, &mut app);
}

/// The phone's owner deletes a clip while it comes. The hub's word that it was lost brings it back into no list.
#[test]
fn a_clip_that_was_deleted_while_it_came_stays_away() {
    let (mut hub, mut app) = paired();
    let lost = hub.record(&[b"one", b"two", b"three"]);
    for (seq, envelope) in hub.outgoing(Seq(0)).into_iter().take(3) {
        app.take(seq, envelope.as_bytes());
    }
    let line = app.line();
    let mut txn = app.journal.begin();
    txn.delete_clip(line.pairing, lost).unwrap();
    txn.clip_is_gone(line, lost).unwrap();
    drop(txn.commit(()).unwrap());
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, Seq(4)).unwrap();
    drop(txn.commit(()).unwrap());
    settle(&mut hub, &mut app);
    assert!(app.journal.app_clips(line.pairing).unwrap().is_empty());
    converge(&mut hub, &mut app);
}

/// The statement is sealed when the hub is five epochs behind the gap that it explains: it is read
/// ahead of them, and all that came since is there.
#[test]
fn scenario_14_a_statement_sealed_five_epochs_behind_its_gap_is_read_ahead() {
    let (mut hub, mut app) = paired();
    let lost = hub.record(&[b"one", b"two", b"three"]);
    for (seq, envelope) in hub.outgoing(Seq(0)).into_iter().take(3) {
        app.take(seq, envelope.as_bytes());
    }
    let later: Vec<_> = (0..5).map(|_| hub.record(&[b"later"])).collect();
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, Seq(4)).unwrap();
    drop(txn.commit(()).unwrap());
    settle(&mut hub, &mut app);
    let state = app.journal.app_clip(lost).unwrap().state;
    assert_eq!(state, AppClipState::Dropped(DropReason::Damaged));
    for clip in later {
        assert_eq!(app.bytes_of(clip), b"later");
    }
    converge(&mut hub, &mut app);
}

/// Whole clips are dropped, however long: with more than a thousand generations of its epoch skipped by
/// a statement, which the phone never saw, it follows what comes after.
#[test]
fn scenario_14_a_statement_skips_more_than_a_thousand_generations() {
    const CHUNKS: usize = 1_010;
    let (mut hub, mut app) = paired();
    let lost = hub.start_clip();
    let numbers: Vec<Seq> = (0..CHUNKS).map(|_| hub.chunk(lost, b"chunk")).collect();
    hub.finish(lost);
    for (seq, envelope) in hub.outgoing(Seq(0)).into_iter().take(4) {
        app.take(seq, envelope.as_bytes());
    }
    let later = hub.record(&[b"later"]);
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, numbers[2]).unwrap();
    drop(txn.commit(()).unwrap());
    let left = hub.outgoing(app.cursor());
    assert!(
        left[0].0.0 > app.cursor().0 + 1_000,
        "one statement stands for all of them: {:?}",
        left[0].0
    );
    settle(&mut hub, &mut app);
    let state = app.journal.app_clip(lost).unwrap().state;
    assert_eq!(state, AppClipState::Dropped(DropReason::Damaged));
    assert_eq!(app.bytes_of(later), b"later");
    converge(&mut hub, &mut app);
}

/// The newest clip is lost: the phone's ack names the statement, and our books explain it. Whatever
/// stood there is explained as well, for a phone that had it before.
#[test]
fn a_replaced_head_proves_nothing() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one", b"two"]);
    let before = hub.journal.outbox_books(hub.line()).unwrap();
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, Seq(3)).unwrap();
    drop(txn.commit(()).unwrap());
    settle(&mut hub, &mut app);
    let head = hub.journal.outbox_books(hub.line()).unwrap();
    let held = app.journal.inbox_head(app.line()).unwrap();
    assert_eq!(held.cursor, head.last);
    let explains = |seq, digest| {
        let held = Held { seq, digest };
        hub.journal.outbox_explains(hub.line(), held).unwrap()
    };
    assert!(explains(held.cursor, held.digest));
    assert!(explains(before.last, before.last_digest.unwrap()));
    assert!(!explains(Seq(head.last.0 + 1), held.digest));
    converge(&mut hub, &mut app);
}

/// The app holds more of the clip than the damaged place, its ack is under way, and the relay has
/// forgotten everything: what follows the cursor is the statement, and it closes the gap.
#[test]
fn a_statement_reaches_a_cursor_in_the_middle_of_its_range() {
    let (mut hub, mut app) = paired();
    let lost = hub.record(&[b"one", b"two", b"three"]);
    for (seq, envelope) in hub.outgoing(Seq(0)).into_iter().take(4) {
        app.take(seq, envelope.as_bytes());
    }
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, Seq(3)).unwrap();
    drop(txn.commit(()).unwrap());
    let next = hub.outgoing(app.cursor());
    assert_eq!(next[0].0, Seq(6), "the statement stands at the end");
    settle(&mut hub, &mut app);
    let state = app.journal.app_clip(lost).unwrap().state;
    assert_eq!(state, AppClipState::Dropped(DropReason::Damaged));
    converge(&mut hub, &mut app);
}

#[test]
fn a_clip_is_never_dropped_while_it_is_recorded() {
    let (mut hub, _app) = paired();
    let clip = hub.start_clip();
    let seq = hub.chunk(clip, b"one");
    let mut txn = hub.journal.begin();
    assert!(matches!(
        hub.session.drop_damaged(&mut txn, seq),
        Err(JournalError::Misuse(_))
    ));
}

#[test]
fn deleting_a_clip_leaves_neither_row_nor_key() {
    let (mut hub, mut app) = paired();
    let clip = hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let pairing = app.line().pairing;
    let mut txn = app.journal.begin();
    txn.delete_clip(pairing, clip).unwrap();
    drop(txn.commit(()).unwrap());
    assert!(matches!(
        app.journal.app_clip(clip),
        Err(JournalError::NoSuchClip(_))
    ));
    assert!(app.journal.app_clips(pairing).unwrap().is_empty());
    let disk = app.disk.clone();
    let app = app.restart(disk, 5);
    assert!(app.journal.app_clips(pairing).unwrap().is_empty());
}

/// The ends agree by their exporter and by a message in the epoch, and the app has lost the key pairs
/// that the next Commit is encrypted to: only a further Commit shows it. That is why [`converge`], and
/// every oracle of the crash tests, asks for one.
#[test]
fn scenario_16_in_step_by_every_sign_and_unable_to_follow() {
    let (mut hub, mut app) = paired();
    let clip = hub.start_clip();
    settle(&mut hub, &mut app);
    let line = app.line();
    let scope = Scope::Group(line);
    let prefix = keys::secret_prefix(scope);
    let mut txn = app.journal.begin();
    let lost: Vec<Vec<u8>> = txn
        .secrets(scope, &prefix)
        .unwrap()
        .into_keys()
        .filter(|key| key.get(prefix.len()) == Some(&(Family::EpochKeyPairs as u8)))
        .collect();
    assert!(!lost.is_empty());
    for key in lost {
        txn.delete_secret(scope, key);
    }
    drop(txn.commit(()).unwrap());
    let disk = app.disk.clone();
    let mut app = app.restart(disk, 9);

    assert_eq!((hub.epoch(), hub.exporter()), (app.epoch(), app.exporter()));
    let seq = hub.chunk(clip, b"a message that opens");
    let (_, envelope) = hub.outgoing(Seq(seq.0 - 1)).remove(0);
    assert!(matches!(
        app.take(seq, envelope.as_bytes()),
        Taken::Media { .. }
    ));
    hub.finish(clip);
    settle(&mut hub, &mut app);

    hub.start_clip();
    let cursor = app.cursor();
    let (seq, envelope) = hub.outgoing(cursor).remove(0);
    let mut txn = app.journal.begin();
    let taken = app.session.take(&mut txn, seq, envelope.as_bytes(), NOW_MS);
    assert!(!matches!(taken, Ok(Taken::NewEpoch(_))), "{taken:?}");
    drop(txn);
    // And nothing of it changed anything: the cursor waits before it.
    assert_eq!(app.cursor(), cursor);
}
