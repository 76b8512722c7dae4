//! Pictures and notifications of events, and what becomes of them with their clip.

use journal::ids::{Channel, ClipId, Line};
use journal::message::{EventNotice, NoticeKind};
use journal::{Committer, JournalError, Session, Taken, Txn};
use wire::Seq;

use super::super::*;
use crate::testing::{Hub, NOW_MS, bytes_of, deliver, open_core, paired};

fn delete(core: &mut Core, clip: ClipId) {
    let deleted = core.delete(clip).unwrap();
    let committed = core.commit().unwrap();
    assert_eq!(committed.redeem(deleted).into_inner(), clip);
}

/// The hub says something on a line, and the app takes it.
fn say(
    hub: &mut Hub,
    core: &mut Core,
    channel: Channel,
    step: impl FnOnce(&mut Session<Committer>, &mut Txn<'_>) -> Result<(), JournalError>,
) -> Run {
    let line = Line::of(hub.line().pairing, channel);
    let events = std::mem::replace(&mut hub.session, Session::new(line));
    let mut txn = hub.journal.begin();
    step(&mut hub.session, &mut txn).unwrap();
    drop(txn.commit(()).unwrap());
    let cursor = core.cursor(line).unwrap();
    let run = deliver(core, line, &hub.outgoing(cursor), 10);
    hub.session = events;
    run
}

fn notify(hub: &mut Hub, core: &mut Core, started_unix_ms: u64) -> Run {
    let notice = EventNotice {
        camera: "door".into(),
        started_unix_ms,
        kind: NoticeKind::Motion,
    };
    say(hub, core, Channel::Notification, |session, txn| {
        session.notify(txn, &notice).map(drop)
    })
}

fn show(hub: &mut Hub, core: &mut Core, started_unix_ms: u64) -> ClipId {
    let named = ("door", "image/jpeg");
    let run = say(hub, core, Channel::Thumbnail, |session, txn| {
        let sent = session.send_whole(txn, named, started_unix_ms, b"a picture", NOW_MS);
        sent.map(drop)
    });
    let end = run.facts.last().unwrap();
    let picture = end.clip.as_ref().expect("a picture has come");
    assert_eq!(picture.mime, "image/jpeg");
    picture.clip
}

#[test]
fn picture_and_notification_of_an_event_know_its_clip_and_go_with_it() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let run = notify(&mut hub, &mut core, NOW_MS);
    assert!(matches!(
        run.facts.last().unwrap().taken,
        Taken::Notified(_)
    ));
    let picture = show(&mut hub, &mut core, NOW_MS);
    // Of another event.
    notify(&mut hub, &mut core, NOW_MS + 1);
    let other = show(&mut hub, &mut core, NOW_MS + 1);
    let known = |core: &Core| -> Vec<(ClipId, Option<ClipId>)> {
        let thumbnails = core.thumbnails().unwrap().into_iter();
        thumbnails.map(|one| (one.what.clip, one.clip)).collect()
    };
    assert_eq!(known(&core), [(picture, None), (other, None)]);
    assert!(core.clips().unwrap().is_empty(), "a picture is no clip");
    assert_eq!(bytes_of(&core, picture), b"a picture");

    let clip = hub.record(&[b"the clip"]);
    let line = hub.line();
    deliver(&mut core, line, &hub.outgoing(Seq::NONE), 20);
    assert_eq!(known(&core), [(picture, Some(clip)), (other, None)]);
    let notices = core.notices().unwrap();
    let clips: Vec<Option<ClipId>> = notices.iter().map(|one| one.clip).collect();
    assert_eq!(clips, [Some(clip), None]);

    delete(&mut core, clip);
    assert_eq!(known(&core), [(other, None)]);
    assert!(core.chunk(picture, 0).is_err());
    let left: Vec<u64> = core
        .notices()
        .unwrap()
        .iter()
        .map(|one| one.what.started_unix_ms)
        .collect();
    assert_eq!(left, [NOW_MS + 1]);
}

#[test]
fn what_comes_after_the_deletion_of_its_clip_is_not_kept() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let clip = hub.record(&[b"the clip"]);
    let line = hub.line();
    deliver(&mut core, line, &hub.outgoing(Seq::NONE), 20);
    delete(&mut core, clip);
    // What it remembers of that outlives the process.
    drop(core);
    let mut core = open_core(&disk, 4);
    let named = ("door", "image/jpeg");
    say(&mut hub, &mut core, Channel::Thumbnail, |session, txn| {
        let sent = session.send_whole(txn, named, NOW_MS, b"a picture", NOW_MS);
        sent.map(drop)
    });
    notify(&mut hub, &mut core, NOW_MS);
    assert!(core.thumbnails().unwrap().is_empty());
    assert!(core.notices().unwrap().is_empty());
    // Another event of the same camera is none of that.
    notify(&mut hub, &mut core, NOW_MS + 1);
    show(&mut hub, &mut core, NOW_MS + 1);
    assert_eq!(core.thumbnails().unwrap().len(), 1);
    assert_eq!(core.notices().unwrap().len(), 1);
}

#[test]
fn a_picture_without_a_clip_can_be_deleted() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    notify(&mut hub, &mut core, NOW_MS);
    let first = show(&mut hub, &mut core, NOW_MS);
    let second = show(&mut hub, &mut core, NOW_MS);
    let other = show(&mut hub, &mut core, NOW_MS + 1);
    delete(&mut core, first);
    let left: Vec<ClipId> = core
        .thumbnails()
        .unwrap()
        .iter()
        .map(|one| one.what.clip)
        .collect();
    assert_eq!(left, [other], "the second of the same event goes with it");
    assert!(core.chunk(second, 0).is_err());
    assert!(core.notices().unwrap().is_empty());
    assert!(matches!(
        core.delete(first),
        Err(JournalError::NoSuchClip(_))
    ));
}

#[test]
fn a_picture_is_acked_as_a_clip_is() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    show(&mut hub, &mut core, NOW_MS);
    let line = Line::of(hub.line().pairing, Channel::Thumbnail);
    let events = std::mem::replace(&mut hub.session, Session::new(line));
    hub.take_all(&core);
    assert_eq!(hub.unacked(), 0);
    hub.session = events;
}
