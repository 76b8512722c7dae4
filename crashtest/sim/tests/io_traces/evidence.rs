//! What an end proves of the other or of itself, and keeps: an old copy of a directory at the hub and
//! at the phone, and a line that broke.

use app_core::core::{Halt, Over};
use crashtest_sim::plan::Who;
use hub::core::{Notice, Recorded, Standing, Stop, Verdict};
use wire::Seq;

use crate::ends::{AppEnd, Ends, HubEnd};
use crate::told::{is_untouched, traced};

/// How a line stands at a hub whose phone has proved a rollback.
const PROVEN: Standing = Standing::RolledBack;

/// The steps of this room.
pub(crate) fn steps(text: &mut String) {
    old_hub(text);
    old_app(text);
    line_break(text);
}

/// The hub's directory is an old copy, and the phone's word is of what had left the newer one.
fn old_hub(text: &mut String) {
    let mut ends = Ends::in_step();
    let line = ends.hub.line;
    let old = ends.hub.copy();
    let also_old = ends.hub.copy();
    ends.hub.record(&[500]);
    let sent = ends.hub.sent_after(ends.app.cursor());
    assert!(ends.app.takes(&sent).ack.is_some());

    let mut hub = HubEnd::open(old, 21, line);
    let acks = ends.app.sent_after(hub.cursor());
    let ack = acks.first().unwrap();
    assert_eq!(hub.heads().standing, Standing::Good);
    let (disk, cursor) = (hub.disk.clone(), hub.cursor());
    let step = "a phone proves a rollback: the proof is kept";
    let verdict = traced(text, &disk, Who::Hub, step, || hub.takes(ack));
    assert!(!is_untouched(&disk), "the proof is stored");
    assert_eq!(verdict, Verdict::RolledBack);
    assert_eq!(hub.heads().standing, PROVEN);
    let step = "the phone says it again";
    let verdict = traced(text, &disk, Who::Hub, step, || hub.takes(ack));
    assert!(is_untouched(&disk), "it is known");
    assert_eq!(verdict, Verdict::RolledBack);
    assert_eq!(hub.cursor(), cursor, "nothing of it is taken");
    // Kept, and not only remembered.
    let after = hub.copy();
    drop(hub);
    assert_eq!(HubEnd::open(after, 22, line).heads().standing, PROVEN);

    let mut hub = HubEnd::open(also_old, 23, line);
    hub.begin();
    assert_eq!(hub.piece(500), Recorded::Taken);
    drop(hub.notices());
    let disk = hub.disk.clone();
    let step = "a phone proves a rollback in the middle of an event, which ends with it";
    let verdict = traced(text, &disk, Who::Hub, step, || hub.takes(ack));
    assert_eq!(verdict, Verdict::RolledBack);
    assert_eq!(hub.heads().standing, PROVEN);
    assert!(!hub.core.is_recording());
    let said = hub.notices();
    assert!(
        said.contains(&Notice::NotRecorded(Stop::RolledBack)),
        "{said:?}"
    );
    let ended = |notice: &Notice| matches!(notice, Notice::ClipFinished { .. });
    assert!(said.iter().any(ended), "{said:?}");
}

/// The phone's directory is an old copy, and the hub's word is of what had left the newer one.
fn old_app(text: &mut String) {
    let mut ends = Ends::in_step();
    let line = ends.app.line;
    let old = ends.app.copy();
    ends.hub.record(&[500]);
    ends.settle();
    ends.hub.record(&[500]);
    let sent = ends.hub.sent_after(Seq::NONE);

    let mut app = AppEnd::open(old, 31, line);
    assert_eq!(app.core.over(line).unwrap(), None);
    let (disk, cursor) = (app.disk.clone(), app.cursor());
    let step = "its hub proves a rollback: the proof is kept";
    let run = traced(text, &disk, Who::App, step, || app.takes(&sent));
    assert!(!is_untouched(&disk), "the proof is stored");
    assert!(
        matches!(run.halt, Some(Halt::Over(Over::RolledBack))),
        "{:?}",
        run.halt
    );
    assert!(run.facts.is_empty() && run.ack.is_none());
    assert_eq!(app.cursor(), cursor, "nothing is taken");
    let after = app.copy();
    drop(app);
    let app = AppEnd::open(after, 32, line);
    assert_eq!(app.core.over(line).unwrap(), Some(Over::RolledBack));
}

/// A copy of the hub's directory goes on in an epoch of its own before it could hear of that. What it
/// seals next opens under the pairing's key, and is a Commit that the phone's group does not accept.
fn line_break(text: &mut String) {
    let mut ends = Ends::in_step();
    let line = ends.app.line;
    let mut fork = HubEnd::open(ends.hub.copy(), 41, line);
    ends.hub.record(&[500]);
    let sent = ends.hub.sent_after(ends.app.cursor());
    assert!(ends.app.takes(&sent).halt.is_none());
    // As many envelopes, under the same numbers, and then a Commit where the phone goes on.
    fork.record(&[500]);
    fork.record(&[500]);
    let cursor = ends.app.cursor();
    let sent = fork.sent_after(cursor);
    assert_eq!(sent.first().map(|first| first.seq), Some(cursor.next()));

    let disk = ends.app.disk.clone();
    let step = "it can follow its hub no more: where that began is kept";
    let run = traced(text, &disk, Who::App, step, || ends.app.takes(&sent));
    assert!(!is_untouched(&disk), "the break is stored");
    assert!(
        matches!(run.halt, Some(Halt::Over(Over::Broken))),
        "{:?}",
        run.halt
    );
    assert!(run.facts.is_empty() && run.ack.is_none());
    assert_eq!(ends.app.cursor(), cursor, "nothing is passed");
    let mut app = AppEnd::open(ends.app.copy(), 42, line);
    assert_eq!(app.core.over(line).unwrap(), Some(Over::Broken));
    let found = app.core.journal().line_break(line).unwrap();
    assert_eq!(found.map(|found| found.seq), Some(cursor.next()));
}
