//! Steps of a phone that no short conversation has: a forged envelope, its rest, the next log file, a
//! long clip's rows.

use app_core::core::{Delivered, Halt, RUN_ENVELOPES_MAX};
use crashtest_sim::plan::Who;
use hub::core::Recorded;
use journal::Trim;
use wire::Seq;

use crate::ends::{AppEnd, Ends, NOW_MS, piece};
use crate::told::{is_untouched, traced, traced_until, wrote_checkpoint};

/// Pieces that go on in the next log file, and their size in bytes.
const NEXT_FILE: (usize, usize) = (30, 40_000);
/// Pieces of a clip that has more rows than one transaction removes.
const LONG: usize = 800;

/// The steps of this room.
pub(crate) fn steps(text: &mut String) {
    forged(text);
    rest(text);
    checkpoint(text);
    deleted(text);
}

/// It does nothing at all, and the genuine one is taken afterwards.
fn forged(text: &mut String) {
    let mut ends = Ends::in_step();
    let disk = ends.app.disk.clone();
    ends.hub.record(&[500]);
    let cursor = ends.app.cursor();
    let sent = ends.hub.sent_after(cursor);
    let first = sent.first().unwrap();
    let mut bytes = first.bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let forged = Delivered {
        seq: first.seq,
        bytes: bytes.into(),
    };
    let step = "it is given a forged envelope";
    let run = traced(text, &disk, Who::App, step, || ends.app.takes(&[forged]));
    assert!(is_untouched(&disk), "a forged envelope is not written down");
    assert!(
        matches!(run.halt, Some(Halt::NotAuthentic { seq }) if seq == first.seq),
        "{:?}",
        run.halt
    );
    assert_eq!(ends.app.cursor(), cursor);
    ends.settle();
}

fn rest(text: &mut String) {
    let mut ends = Ends::in_step();
    let disk = ends.app.disk.clone();
    let step = "nothing more is expected for a moment";
    traced(text, &disk, Who::App, step, || ends.app.core.rest()).unwrap();
    assert!(!is_untouched(&disk), "there was something to witness");
    let step = "nothing has happened since it rested";
    traced(text, &disk, Who::App, step, || ends.app.core.rest()).unwrap();
    assert!(is_untouched(&disk), "it is written down once");
}

fn checkpoint(text: &mut String) {
    let mut ends = Ends::new();
    let disk = ends.app.disk.clone();
    let (count, bytes) = NEXT_FILE;
    ends.hub.record(&vec![bytes; count]);
    let sent = ends.hub.sent_after(Seq::NONE);
    let mut sent = sent.iter();
    let step = "a piece that goes on in the next log file: a checkpoint";
    traced_until(text, &disk, Who::App, step, || {
        let next = sent.next().expect("all of it fits into one log file");
        let run = ends.app.takes(std::slice::from_ref(next));
        assert!(run.halt.is_none(), "{:?}", run.halt);
        wrote_checkpoint(&disk).then_some(())
    });
    assert!(sent.next().is_some(), "it was the end of the clip");
}

/// The key of a clip goes at once, and the rows of a long one in steps.
fn deleted(text: &mut String) {
    let mut ends = Ends::new();
    ends.hub.begin();
    let pieces = (0..LONG).map(|_| piece(8)).collect();
    let taken = ends.hub.core.handle_pieces(pieces, NOW_MS);
    assert_eq!(taken.unwrap(), Recorded::Taken);
    ends.hub.end();
    let sent = ends.hub.sent_after(Seq::NONE);
    for run in sent.chunks(RUN_ENVELOPES_MAX) {
        let run = ends.app.takes(run);
        assert!(run.halt.is_none(), "{:?}", run.halt);
    }
    let clips = ends.app.core.clips().unwrap();
    let (pairing, clip) = clips.first().unwrap();
    assert_eq!(clip.chunks as usize, LONG);
    let copy = ends.app.copy();

    let disk = ends.app.disk.clone();
    let core = &mut ends.app.core;
    let step = "a long clip is deleted: its key, and its rows in steps";
    traced(text, &disk, Who::App, step, || {
        let staged = core.delete(clip.clip).unwrap();
        let committed = core.commit().unwrap();
        assert_eq!(committed.redeem(staged).into_inner(), clip.clip);
    });
    assert!(core.clips().unwrap().is_empty());
    let left = core.journal().begin().trim_deleted().unwrap();
    assert_eq!(left, Trim::Idle);

    // The same, with a death between the two.
    let mut app = AppEnd::open(copy, 71, ends.app.line);
    let journal = app.core.journal();
    let mut txn = journal.begin();
    txn.delete_clip(*pairing, clip.clip).unwrap();
    drop(txn.commit(()).unwrap());
    let mut app = AppEnd::open(app.copy(), 72, ends.app.line);
    let disk = app.disk.clone();
    let journal = app.core.journal();
    let step = "what a long clip left is removed";
    let steps = traced(text, &disk, Who::App, step, || {
        let steps = journal.stage_trims(1, |txn| txn.trim_deleted()).steps;
        drop(journal.commit().unwrap());
        steps
    });
    assert_eq!(steps, 1, "all rows went with the clip");
    let left = journal.begin().trim_deleted().unwrap();
    assert_eq!(left, Trim::Idle);
}
