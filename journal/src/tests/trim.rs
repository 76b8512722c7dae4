//! Acks, statements and deletions over more rows than one transaction holds.

use wal::disk::{CrashPolicy, SimDisk};
use wire::ids::Seq;

use super::harness::{App, Hub, NOW_MS, converge, open, paired, settle};
use crate::ids::{ClipId, Line};
use crate::keys::{self, Family};
use crate::library::AppClipState;
use crate::message::DropReason;
use crate::scope::Scope;
use crate::{ACKED_CLIPS_KEPT, Journal, JournalError, Role, TRIM_ROWS_MAX, Trim};

/// More than a transaction of the harness's log files can remove: that is about 1,300 envelopes, and
/// about 2,000 stored chunks.
const CHUNKS: u32 = 2_500;

/// More clips than a transaction of the harness's log files can forget: that is about 3,400.
pub(super) const CLIPS: u32 = 4_000;

/// So many rows like that of the only clip which a hub knows, each of a clip of its own.
pub(super) fn know_many_clips(journal: &mut Journal, line: Line) {
    let scope = Scope::Pairing(line.pairing);
    let known = journal.hub_clips(line.pairing).unwrap();
    let mut clip = known.into_iter().next().unwrap();
    for number in 0..CLIPS {
        clip.clip = ClipId(u128::from(number).to_be_bytes());
        let mut txn = journal.begin();
        txn.put_secret_row(scope, Family::Clip, &clip.clip.0, &clip)
            .unwrap();
        drop(txn.stage(()).unwrap());
        if number % 16 == 0 {
            drop(journal.commit().unwrap());
        }
    }
    drop(journal.commit().unwrap());
}

/// A whole clip of one-byte chunks.
fn record_many(hub: &mut Hub) -> ClipId {
    let clip = hub.start_clip();
    for number in 0..CHUNKS {
        let mut txn = hub.journal.begin();
        let chunk = hub.session.append_chunk(&mut txn, clip, b"x", NOW_MS);
        chunk.unwrap();
        drop(txn.stage(()).unwrap());
        if number % 16 == 0 {
            drop(hub.journal.commit().unwrap());
        }
    }
    hub.finish(clip);
    clip
}

/// Rows under a line's outbox, dead or not.
fn rows(journal: &Journal, line: Line) -> usize {
    let prefix = keys::outbox_prefix(line);
    let small = journal.wal.scan(&prefix, &prefix, 10_000).unwrap();
    let large = journal.wal.scan_payloads(&prefix, &prefix, 10_000).unwrap();
    small.len() + large.len()
}

fn trim(journal: &mut Journal, line: Line) -> Trim {
    let mut txn = journal.begin();
    let trim = txn.trim_outbox(line).unwrap();
    txn.commit(trim).unwrap().into_inner()
}

fn crashed(disk: &SimDisk, seed: u64) -> (SimDisk, Journal) {
    let disk = disk.crash_clone(CrashPolicy::LoseAll, seed);
    let journal = open(Role::Hub, &disk, 100 + seed).unwrap();
    (disk, journal)
}

#[test]
fn an_ack_over_more_than_a_transaction_holds_is_taken_and_its_rows_go_in_steps() {
    let (mut hub, _app) = paired();
    record_many(&mut hub);
    let line = hub.line();
    let before = hub.journal.outbox_books(line).unwrap();
    let all = rows(&hub.journal, line);
    // All but the trailer.
    let through = Seq(before.last.0 - 1);
    let mut txn = hub.journal.begin();
    hub.session.take_ack(&mut txn, through).unwrap();
    drop(txn.commit(()).unwrap());

    let mut journal = hub.journal;
    let mut disk = hub.disk;
    let mut steps = 0;
    loop {
        assert_eq!(
            rows(&journal, line),
            all - (1 + steps) * TRIM_ROWS_MAX as usize
        );
        // The power fails between any two steps: the ack stands, and nothing dead comes back.
        drop(journal);
        (disk, journal) = crashed(&disk, steps as u64);
        assert_eq!(journal.outbox_head(line).unwrap().acked, through);
        let (next, _) = journal.outbox_next(line, Seq(0)).unwrap().unwrap();
        assert_eq!(next, before.last);
        assert_eq!(journal.outbox_waiting(line).unwrap().0, 1);
        assert_eq!(journal.outbox_books(line).unwrap(), before);
        steps += 1;
        match trim(&mut journal, line) {
            Trim::More => {}
            Trim::Done => break,
            Trim::Idle => panic!("rows remain"),
        }
    }
    assert!(steps > 10, "{steps} steps");
    assert_eq!(rows(&journal, line), 1);
    assert_eq!(trim(&mut journal, line), Trim::Idle);
    assert_eq!(journal.outbox_head(line).unwrap().last, before.last);
}

#[test]
fn a_later_ack_swallows_what_the_last_one_left() {
    let (mut hub, _app) = paired();
    record_many(&mut hub);
    let line = hub.line();
    for through in [300, 301, 2_400, 2_400] {
        let mut txn = hub.journal.begin();
        hub.session.take_ack(&mut txn, Seq(through)).unwrap();
        drop(txn.commit(()).unwrap());
    }
    let next = hub.journal.outbox_next(line, Seq(0)).unwrap();
    assert_eq!(next.unwrap().0, Seq(2_401));
    while trim(&mut hub.journal, line) != Trim::Idle {}
    let last = hub.journal.outbox_head(line).unwrap().last.0;
    assert_eq!(rows(&hub.journal, line) as u64, last - 2_400);
}

#[test]
fn a_damaged_clip_of_more_than_a_transaction_holds_gives_way_to_its_statement() {
    let (mut hub, mut app) = paired();
    let lost = record_many(&mut hub);
    let kept = hub.record(&[b"kept"]);
    let line = hub.line();
    for (seq, envelope) in hub.outgoing(Seq(0)).into_iter().take(3) {
        app.take(seq, envelope.as_bytes());
    }
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, Seq(4)).unwrap();
    drop(txn.commit(()).unwrap());
    let disk = hub.disk.crash_clone(CrashPolicy::LoseAll, 1);
    let (mut hub, _) = hub.restart(disk, 50);
    let last_of_lost = Seq(3 + u64::from(CHUNKS));
    let next = hub.journal.outbox_next(line, app.cursor()).unwrap();
    assert_eq!(next.unwrap().0, last_of_lost, "the hole is passed");
    // Commit, header, one chunk, the statement; and the four of the clip that was kept.
    assert_eq!(hub.journal.outbox_waiting(line).unwrap().0, 8);
    while trim(&mut hub.journal, line) != Trim::Idle {}
    assert_eq!(rows(&hub.journal, line), 8);
    settle(&mut hub, &mut app);
    let state = app.journal.app_clip(lost).unwrap().state;
    assert_eq!(state, AppClipState::Dropped(DropReason::Damaged));
    assert_eq!(app.bytes_of(kept), b"kept");
    converge(&mut hub, &mut app);
}

fn chunk_rows(app: &App, clip: ClipId) -> usize {
    let prefix = &keys::chunk(clip, 0)[..17];
    let rows = app.journal.wal.scan_payloads(prefix, prefix, 10_000);
    rows.unwrap().len()
}

#[test]
fn deleting_a_clip_of_more_than_a_transaction_holds_kills_its_key_at_once() {
    let (mut hub, mut app) = paired();
    let clip = record_many(&mut hub);
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        let mut txn = app.journal.begin();
        app.session
            .take(&mut txn, seq, envelope.as_bytes(), NOW_MS)
            .unwrap();
        drop(txn.stage(()).unwrap());
        if seq.0 % 16 == 0 {
            drop(app.journal.commit().unwrap());
        }
    }
    drop(app.journal.commit().unwrap());
    assert_eq!(chunk_rows(&app, clip), CHUNKS as usize);
    let pairing = app.line().pairing;
    let mut txn = app.journal.begin();
    txn.delete_clip(pairing, clip).unwrap();
    drop(txn.commit(()).unwrap());
    let mut left = chunk_rows(&app, clip);
    assert!(left > 0, "the test must need more than one step");
    let mut seed = 60;
    while left > 0 {
        assert!(matches!(
            app.journal.app_clip(clip),
            Err(JournalError::NoSuchClip(_))
        ));
        assert!(app.journal.app_chunk(clip, CHUNKS - 1).is_err());
        let disk = app.disk.crash_clone(CrashPolicy::LoseAll, seed);
        app = app.restart(disk, seed);
        seed += 1;
        let mut txn = app.journal.begin();
        let trim = txn.trim_deleted().unwrap();
        drop(txn.commit(()).unwrap());
        let now = chunk_rows(&app, clip);
        assert!(now < left, "{now} of {left}");
        assert_eq!(trim == Trim::More, now > 0);
        left = now;
    }
    assert!(app.journal.wal.get(&keys::deleted(clip)).unwrap().is_none());
    converge(&mut hub, &mut app);
}

#[test]
fn more_acked_clips_than_a_transaction_forgets_go_with_the_next_ones() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"first"]);
    settle(&mut hub, &mut app);
    let line = hub.line();
    know_many_clips(&mut hub.journal, line);
    let mut known = CLIPS as usize + 1;
    for _ in 0..CLIPS {
        hub.record(&[]);
        let now = hub.journal.hub_clips(line.pairing).unwrap().len();
        if now > known {
            break;
        }
        known = now;
    }
    // Those that are kept, and what was recorded since: nobody has acked that.
    let acked = hub.journal.outbox_head(line).unwrap().acked;
    let mut clips = hub.journal.hub_clips(line.pairing).unwrap();
    clips.retain(|clip| clip.last_seq() <= acked);
    assert_eq!(clips.len(), ACKED_CLIPS_KEPT);
    converge(&mut hub, &mut app);
}
