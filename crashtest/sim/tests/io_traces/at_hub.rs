//! Steps of a hub that no good conversation has: what it takes without effect, its rest, a sync that
//! fails, a disk that is full.

use app_core::core::Delivered;
use crashtest_sim::plan::Who;
use hub::core::{ClipState, CoreError, Notice, Recorded, Stop, Verdict};
use journal::AppClipState;
use wal::disk::Fault;

use crate::ends::{Ends, NOW_MS, event, piece};
use crate::told::{is_untouched, traced, traced_until};

/// A piece whose first half says nothing of it, in bytes: of a small one half a write may be all.
const TORN: usize = 40_000;
/// Pieces for which a disk is full that still has room for the end of their clip, in bytes.
const TOO_MANY: usize = 2_000;
const ROOM_FOR_THE_END: u64 = 4 << 20;

/// The steps of this room.
pub(crate) fn steps(text: &mut String) {
    without_effect(text);
    rest(text);
    reopening(text);
    refused(text);
    owed(text);
}

/// A forged envelope does nothing at all. A stale one is consumed: it came, and says nothing any more.
fn without_effect(text: &mut String) {
    let mut ends = Ends::in_step();
    let disk = ends.hub.disk.clone();
    ends.hub.record(&[500]);
    let sent = ends.hub.sent_after(ends.app.cursor());
    let run = ends.app.takes(&sent);
    assert!(run.ack.is_some(), "the end of a clip is acked at once");
    let acks = ends.app.sent_after(ends.hub.cursor());
    let ack = acks.first().unwrap();
    let mut bytes = ack.bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let forged = Delivered {
        seq: ack.seq,
        bytes: bytes.into(),
    };
    let before = (ends.hub.heads(), ends.hub.cursor());
    let step = "it is given a forged envelope";
    let verdict = traced(text, &disk, Who::Hub, step, || ends.hub.takes(&forged));
    assert!(is_untouched(&disk), "a forged envelope is not written down");
    assert_eq!(verdict, Verdict::NotAuthentic);
    assert_eq!((ends.hub.heads(), ends.hub.cursor()), before);

    // Now the epoch in which it was sealed is past.
    ends.hub.record(&[500]);
    let before = ends.hub.heads();
    let step = "it consumes an ack of a past epoch";
    let verdict = traced(text, &disk, Who::Hub, step, || ends.hub.takes(ack));
    assert!(!is_untouched(&disk), "the cursor moves");
    assert_eq!(verdict, Verdict::Taken);
    assert_eq!(ends.hub.cursor(), ack.seq);
    assert_eq!(ends.hub.heads(), before, "a stale ack moves no watermark");
    ends.settle();
}

fn rest(text: &mut String) {
    let mut ends = Ends::in_step();
    let disk = ends.hub.disk.clone();
    let step = "nothing has happened for a moment";
    let rested = traced(text, &disk, Who::Hub, step, || {
        ends.hub.core.handle_rest(NOW_MS)
    });
    rested.unwrap();
    assert!(!is_untouched(&disk), "there was something to witness");
    let step = "nothing has happened since it rested";
    let rested = traced(text, &disk, Who::Hub, step, || {
        ends.hub.core.handle_rest(NOW_MS)
    });
    rested.unwrap();
    assert!(is_untouched(&disk), "it is written down once");
}

/// A commit in the middle of an event fails at the operation of this kind, so far into it. The journal
/// is dead, and the core opens it again.
fn failing(text: &mut String, step: &str, (ahead, kind): (u64, &str), fault: Fault) -> Ends {
    let mut ends = Ends::in_step();
    let disk = ends.hub.disk.clone();
    ends.hub.begin();
    assert_eq!(ends.hub.piece(500), Recorded::Taken);
    drop(ends.hub.notices());
    let (from, mut struck) = (disk.op_count(), 0);
    let failed = traced(text, &disk, Who::Hub, step, || {
        let core = &mut ends.hub.core;
        let taken = core.handle_pieces(vec![piece(TORN)], NOW_MS).unwrap();
        assert_eq!(taken, Recorded::Taken);
        struck = disk.op_count() + ahead;
        disk.inject(struck, fault);
        core.commit(NOW_MS)
    });
    assert!(matches!(failed, Err(CoreError::Reopened)), "{failed:?}");
    let met = disk.trace()[(struck - from) as usize].kind;
    assert_eq!(met, kind, "something else failed");
    assert_eq!(ends.hub.core.generation(), 1);
    assert!(ends.hub.core.is_recording());
    assert!(ends.hub.notices().contains(&Notice::Reopened));
    ends
}

/// The clip ends well, and so many bytes of it arrive.
fn arrives_whole(mut ends: Ends, bytes: u64) {
    ends.hub.end();
    ends.settle();
    let clips = ends.app.core.clips().unwrap();
    let (_, clip) = clips.last().unwrap();
    assert_eq!((clip.state, clip.bytes), (AppClipState::Complete, bytes));
}

/// What a failed sync leaves reads back and is kept. What a failed write leaves is not whole.
fn reopening(text: &mut String) {
    let step = "a sync fails in the middle of an event: the journal is opened again";
    let mut ends = failing(text, step, (1, "sync"), Fault::Eio);
    let disk = ends.hub.disk.clone();
    let step = "the next piece after that is sealed behind a new Commit";
    let taken = traced(text, &disk, Who::Hub, step, || ends.hub.piece(500));
    assert_eq!(taken, Recorded::Taken);
    arrives_whole(ends, (500 + TORN + 500) as u64);

    let step =
        "a write fails in the middle of an event: what it lost is sealed behind a new Commit";
    let ends = failing(text, step, (0, "write"), Fault::ShortWrite);
    arrives_whole(ends, (500 + TORN) as u64);
}

/// Whether a clip that was cut off is said to have ended.
fn says_cut_off(notices: &[Notice]) -> bool {
    notices.iter().any(|notice| {
        matches!(notice, Notice::ClipFinished { clip, .. } if clip.state == ClipState::CutOff)
    })
}

/// A disk that has room for what is small, and then one that has none.
fn refused(text: &mut String) {
    let mut ends = Ends::in_step();
    let disk = ends.hub.disk.clone();
    ends.hub.begin();
    assert_eq!(ends.hub.piece(500), Recorded::Taken);
    drop(ends.hub.notices());
    disk.set_capacity(Some(disk.used_bytes() + ROOM_FOR_THE_END));
    let step = "a full disk refuses pieces: the clip ends with a notice";
    let taken = traced(text, &disk, Who::Hub, step, || {
        let pieces = (0..TOO_MANY).map(|_| piece(500)).collect();
        let taken = ends.hub.core.handle_pieces(pieces, NOW_MS).unwrap();
        ends.hub.core.commit(NOW_MS).unwrap();
        taken
    });
    assert_eq!(taken, Recorded::Not(Stop::Space));
    assert!(!is_untouched(&disk), "the notice is stored");
    let said = ends.hub.notices();
    assert!(said.contains(&Notice::NotRecorded(Stop::Space)), "{said:?}");
    assert!(says_cut_off(&said), "{said:?}");

    disk.set_capacity(None);
    ends.hub.record(&[500]);
    // Nothing is left that could make room.
    ends.settle();
    drop(ends.hub.notices());
    disk.set_capacity(Some(disk.used_bytes()));
    let step = "a full disk refuses an event";
    let begun = traced(text, &disk, Who::Hub, step, || {
        let begun = ends.hub.core.handle_event_started(event(), NOW_MS).unwrap();
        ends.hub.core.commit(NOW_MS).unwrap();
        begun
    });
    assert_eq!(begun, Recorded::Not(Stop::Space));
    assert!(!ends.hub.core.is_recording());
    assert_eq!(
        ends.hub.notices(),
        [Notice::NotRecorded(Stop::Space)],
        "it is said, and nothing else happened"
    );

    disk.set_capacity(None);
    let step = "there is room again: an event and its first piece";
    traced(text, &disk, Who::Hub, step, || {
        ends.hub.begin();
        assert_eq!(ends.hub.piece(500), Recorded::Taken);
    });
    ends.hub.end();
    ends.settle();
}

/// Not even the end of the clip has room: it is owed, and comes when there is some.
fn owed(text: &mut String) {
    let mut ends = Ends::in_step();
    let disk = ends.hub.disk.clone();
    ends.hub.begin();
    assert_eq!(ends.hub.piece(500), Recorded::Taken);
    drop(ends.hub.notices());
    disk.set_capacity(Some(disk.used_bytes()));
    let step = "a disk without any room refuses a piece: the end of the clip is owed";
    traced_until(text, &disk, Who::Hub, step, || {
        (ends.hub.piece(40_000) == Recorded::Not(Stop::Space)).then_some(())
    });
    let said = ends.hub.notices();
    assert!(said.contains(&Notice::NotRecorded(Stop::Space)), "{said:?}");
    assert!(!says_cut_off(&said), "there was room for it: {said:?}");

    disk.set_capacity(None);
    let step = "there is room again: the notice that was owed";
    traced(text, &disk, Who::Hub, step, || {
        ends.hub.core.handle_timeout(NOW_MS).unwrap();
        ends.hub.core.commit(NOW_MS).unwrap();
    });
    let said = ends.hub.notices();
    assert!(says_cut_off(&said), "{said:?}");
    ends.settle();
    let clips = ends.app.core.clips().unwrap();
    let (_, clip) = clips.last().unwrap();
    assert_eq!(clip.state, AppClipState::CutOff);
}
