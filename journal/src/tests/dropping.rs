//! Clips that make room, and where a clip lies: rows that do not grow, drops in steps, a crash between any two.

use wal::disk::CrashPolicy;
use wire::ids::Seq;

use super::harness::{App, Hub, converge, paired, settle};
use crate::clip::{ACKED_CLIPS_KEPT, SPANS_PER_PAGE, STATEMENTS_MAX};
use crate::ids::ClipId;
use crate::journal::scan_all;
use crate::keys::{self, Family};
use crate::message::DropReason;
use crate::scope::Scope;
use crate::{AppClipState, ClipOutcome, HubClip, JournalError, Role};

const FOR_ROOM: ClipOutcome = ClipOutcome::Dropped(DropReason::Budget);
const MADE_ROOM: AppClipState = AppClipState::Dropped(DropReason::Budget);

/// Two clips, recorded at once, of so many chunks each.
fn beside(hub: &mut Hub, chunks: usize) -> (ClipId, ClipId, Vec<Seq>) {
    let (one, other) = (hub.start_clip(), hub.start_clip());
    let mut numbers = Vec::new();
    for _ in 0..chunks {
        numbers.push(hub.chunk(one, b"one"));
        hub.chunk(other, b"other");
    }
    hub.finish(one);
    hub.finish(other);
    (one, other, numbers)
}

/// One step, committed.
fn drop_step(hub: &mut Hub, clip: ClipId) -> HubClip {
    let mut txn = hub.journal.begin();
    let dropped = hub
        .session
        .drop_whole(&mut txn, clip, DropReason::Budget)
        .unwrap();
    txn.commit(dropped).unwrap().into_inner()
}

fn drop_whole(hub: &mut Hub, clip: ClipId) -> u32 {
    let mut steps = 1;
    while drop_step(hub, clip).is_dropped_in_part() {
        steps += 1;
    }
    steps
}

fn state(app: &App, clip: ClipId) -> AppClipState {
    app.journal.app_clip(clip).unwrap().state
}

/// Bytes of a clip's own row, and how many pages it has beside that.
fn rows(hub: &Hub, clip: ClipId) -> (usize, usize) {
    let scope = Scope::Pairing(hub.line().pairing);
    let own = keys::secret(scope, Family::Clip, &clip.0);
    let pages = keys::secret(scope, Family::Spans, &clip.0);
    let own = hub
        .journal
        .wal
        .get(&own)
        .unwrap()
        .map_or(0, |row| row.len());
    (own, scan_all(&hub.journal.wal, &pages).unwrap().len())
}

#[test]
fn the_row_of_a_clip_does_not_grow_with_the_clip() {
    let (mut hub, mut app) = paired();
    let chunks = 5 * SPANS_PER_PAGE + 3;
    let (one, other) = (hub.start_clip(), hub.start_clip());
    let mut numbers = Vec::new();
    for _ in 0..chunks {
        numbers.push(hub.chunk(one, b"one"));
        hub.chunk(other, b"other");
        let (own, _) = rows(&hub, one);
        assert!((1..600).contains(&own), "{own} bytes");
    }
    // The newest runs are in the clip's own row.
    assert_eq!(rows(&hub, one).1, chunks / SPANS_PER_PAGE);
    hub.finish(one);
    hub.finish(other);
    // Whichever page a damaged place is in, the clip is found that it belongs to.
    for at in [chunks - 1, 3 * SPANS_PER_PAGE, SPANS_PER_PAGE, 0] {
        let mut txn = hub.journal.begin();
        let dropped = hub.session.drop_damaged(&mut txn, numbers[at]).unwrap();
        drop(txn.commit(()).unwrap());
        if let Some(dropped) = dropped {
            assert_eq!(dropped.clip, one);
        }
        let mut txn = hub.journal.begin();
        while hub.session.drop_more(&mut txn, numbers[at]).unwrap() {
            drop(txn.commit(()).unwrap());
            txn = hub.journal.begin();
        }
    }
    settle(&mut hub, &mut app);
    assert_eq!(state(&app, one), AppClipState::Dropped(DropReason::Damaged));
    assert_eq!(app.bytes_of(other), b"other".repeat(chunks));
    converge(&mut hub, &mut app);
}

/// A chunk whose transaction is dropped takes its page with it.
#[test]
fn a_page_is_stored_with_the_chunk_that_fills_it_or_not_at_all() {
    let (mut hub, mut app) = paired();
    let (one, other) = (hub.start_clip(), hub.start_clip());
    for _ in 0..SPANS_PER_PAGE + 2 {
        hub.chunk(one, b"one");
        let mut txn = hub.journal.begin();
        let lost = hub.session.append_chunk(&mut txn, other, b"lost", 1);
        assert!(lost.is_ok());
        drop(txn);
        hub.chunk(other, b"other");
    }
    hub.finish(one);
    hub.finish(other);
    settle(&mut hub, &mut app);
    assert_eq!(app.bytes_of(other), b"other".repeat(SPANS_PER_PAGE + 2));
    converge(&mut hub, &mut app);
}

#[test]
fn what_is_known_of_a_clip_that_is_acked_goes_with_its_pages() {
    let (mut hub, mut app) = paired();
    let (one, other, _) = beside(&mut hub, 2 * SPANS_PER_PAGE);
    assert!(rows(&hub, one).1 > 0 && rows(&hub, other).1 > 0);
    settle(&mut hub, &mut app);
    for _ in 0..ACKED_CLIPS_KEPT + 1 {
        hub.record(&[b"later"]);
        settle(&mut hub, &mut app);
    }
    hub.record(&[b"last"]);
    assert_eq!(rows(&hub, one), (0, 0));
    assert_eq!(rows(&hub, other), (0, 0));
}

#[test]
fn a_clip_that_makes_room_goes_whole_and_the_phone_passes_it() {
    let (mut hub, mut app) = paired();
    let oldest = hub.record(&[&[1; 9000], &[2; 9000]]);
    let kept = hub.record(&[b"kept"]);
    let before = hub.journal.stats().live_bytes;
    assert_eq!(drop_whole(&mut hub, oldest), 1);
    assert!(hub.journal.stats().live_bytes + 18_000 <= before);
    let clips = hub.journal.hub_clips(hub.line().pairing).unwrap();
    assert_eq!(clips[0].outcome, FOR_ROOM);
    // Again, it changes nothing.
    let before = hub.outgoing(Seq(0)).len();
    assert_eq!(drop_whole(&mut hub, oldest), 1);
    assert_eq!(hub.outgoing(Seq(0)).len(), before);
    settle(&mut hub, &mut app);
    assert_eq!(state(&app, oldest), MADE_ROOM);
    assert_eq!(app.bytes_of(kept), b"kept");
    converge(&mut hub, &mut app);
}

/// The relay had all of it: the phone reads the clip whole, and its ack is explained.
#[test]
fn a_phone_that_has_the_clip_already_loses_nothing() {
    let (mut hub, mut app) = paired();
    let oldest = hub.record(&[b"one", b"two"]);
    for (seq, envelope) in hub.outgoing(Seq(0)) {
        app.take(seq, envelope.as_bytes());
    }
    drop_whole(&mut hub, oldest);
    settle(&mut hub, &mut app);
    assert_eq!(state(&app, oldest), AppClipState::Complete);
    assert_eq!(app.bytes_of(oldest), b"onetwo");
    converge(&mut hub, &mut app);

    // And one that has some of it.
    let next = hub.record(&[b"one", b"two", b"three"]);
    for (seq, envelope) in hub.outgoing(app.cursor()).into_iter().take(4) {
        app.take(seq, envelope.as_bytes());
    }
    drop_whole(&mut hub, next);
    settle(&mut hub, &mut app);
    assert_eq!(state(&app, next), MADE_ROOM);
    converge(&mut hub, &mut app);
}

#[test]
fn neither_a_clip_that_is_recorded_nor_a_damaged_one_makes_room() {
    let (mut hub, mut app) = paired();
    let damaged = hub.record(&[b"one", b"two"]);
    let mut txn = hub.journal.begin();
    hub.session.drop_damaged(&mut txn, Seq(4)).unwrap();
    drop(txn.commit(()).unwrap());
    let open = hub.start_clip();
    hub.chunk(open, b"goes on");
    for clip in [damaged, open] {
        let mut txn = hub.journal.begin();
        let refused = hub.session.drop_whole(&mut txn, clip, DropReason::Budget);
        assert!(matches!(refused, Err(JournalError::Misuse(_))));
    }
    hub.finish(open);
    settle(&mut hub, &mut app);
    assert_eq!(app.bytes_of(open), b"goes on");
    converge(&mut hub, &mut app);
}

/// A clip in more pieces than a transaction has statements for; the hub dies at any operation of any step, and
/// the next process goes on from what the clip's row says.
#[test]
fn a_clip_that_makes_room_in_steps_is_dropped_by_whatever_process_comes_next() {
    let (mut hub, app) = paired();
    let chunks = STATEMENTS_MAX + 20;
    let (one, other, _) = beside(&mut hub, chunks);
    let (line, app_disk) = (hub.line(), app.disk.clone());
    drop(app);
    let mut states = 0;
    for step in 0.. {
        hub.disk.record_snapshots();
        let done = !drop_step(&mut hub, one).is_dropped_in_part();
        assert_eq!(done, step == 1, "two steps");
        for (number, snapshot) in hub.disk.snapshots().iter().enumerate() {
            for policy in CrashPolicy::ALL {
                let seed = number as u64;
                let disk = snapshot.crash_clone(policy, seed);
                let (mut hub, _closed) = Hub::start(disk, line, 3_000 + seed);
                let app_disk = app_disk.crash_clone(CrashPolicy::KeepAll, 0);
                let mut app = App::open(Role::App, app_disk, line, 4_000 + seed);
                if number % 2 == 0 {
                    drop_whole(&mut hub, one);
                }
                settle(&mut hub, &mut app);
                match state(&app, one) {
                    AppClipState::Complete => {
                        assert!(number % 2 != 0, "it was dropped");
                        assert_eq!(app.bytes_of(one), b"one".repeat(chunks));
                    }
                    found => assert_eq!(found, MADE_ROOM),
                }
                assert_eq!(app.bytes_of(other), b"other".repeat(chunks));
                converge(&mut hub, &mut app);
                states += 1;
            }
        }
        if done {
            break;
        }
    }
    assert!(states > 20, "only {states} states");
}
