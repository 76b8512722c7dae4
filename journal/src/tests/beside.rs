//! What is said beside a clip: several clips at once in one line, notifications, and pictures of events.

use wal::disk::CrashPolicy;
use wire::ids::Seq;

use super::harness::{App, Hub, NOW_MS, converge, paired, settle};
use super::secrets::files_contain;
use crate::clip::STATEMENTS_MAX;
use crate::ids::{Channel, ClipId, Line};
use crate::message::{EventNotice, NoticeKind};
use crate::scope::Scope;
use crate::{AppClipState, ClipOutcome, Closed, EpochUse, Journal, NOTICES_KEPT, Session, Taken};

/// Both ends on another line of their pairing.
fn on(channel: Channel) -> (Hub, App) {
    let (mut hub, mut app) = paired();
    let line = Line::of(hub.line().pairing, channel);
    hub.session = Session::new(line);
    app.session = Session::new(line);
    (hub, app)
}

fn state(app: &App, clip: ClipId) -> AppClipState {
    app.journal.app_clip(clip).unwrap().state
}

#[test]
fn clips_of_two_cameras_share_a_line_and_each_ends_for_itself() {
    let (mut hub, mut app) = paired();
    let (door, yard) = (hub.start_clip(), hub.start_clip());
    hub.chunk(door, b"door ");
    hub.chunk(yard, b"yard ");
    hub.chunk(door, b"closes");
    let before = hub.epoch();
    hub.finish(door);
    let used = hub.journal.epoch_use(hub.line()).unwrap();
    assert!(
        matches!(used, Some(EpochUse::Finished { .. })),
        "its keys are gone"
    );
    hub.chunk(yard, b"goes on");
    assert!(hub.epoch() > before, "behind a Commit");
    hub.finish(yard);
    settle(&mut hub, &mut app);
    assert_eq!(app.bytes_of(door), b"door closes");
    assert_eq!(app.bytes_of(yard), b"yard goes on");
    for clip in [door, yard] {
        assert_eq!(state(&app, clip), AppClipState::Complete);
    }
    converge(&mut hub, &mut app);
}

#[test]
fn a_start_cuts_off_every_clip_that_was_open() {
    for finished in [false, true] {
        let (mut hub, mut app) = paired();
        let (door, yard) = (hub.start_clip(), hub.start_clip());
        hub.chunk(door, b"door");
        hub.chunk(yard, b"yard");
        if finished {
            // The epoch is closed, and no chunk of the other clip has opened another.
            hub.finish(door);
        }
        let disk = hub.disk.crash_clone(CrashPolicy::LoseAll, 0);
        assert!(hub.journal.owes_close(hub.line()).unwrap());
        let (mut hub, closed) = hub.restart(disk, 11);
        let Closed::CutOff(ends) = closed else {
            panic!("{closed:?}");
        };
        let ended: Vec<ClipId> = ends.iter().map(|end| end.clip).collect();
        match finished {
            true => assert_eq!(ended, [yard]),
            false => assert_eq!(ended, [door, yard]),
        }
        assert!(!hub.journal.owes_close(hub.line()).unwrap());
        settle(&mut hub, &mut app);
        assert_eq!(app.bytes_of(door), b"door");
        assert_eq!(app.bytes_of(yard), b"yard");
        assert_eq!(state(&app, yard), AppClipState::CutOff);
        let clips = hub.journal.hub_clips(hub.line().pairing).unwrap();
        assert!(
            clips
                .iter()
                .all(|clip| clip.outcome != ClipOutcome::Recording)
        );
        converge(&mut hub, &mut app);
    }
}

/// Each chunk of two clips that are recorded at once is a piece of its own.
#[test]
fn a_damaged_clip_in_many_pieces_is_dropped_in_steps_and_the_other_one_is_whole() {
    let (mut hub, mut app) = paired();
    let (lost, kept) = (hub.start_clip(), hub.start_clip());
    let mut chunks = Vec::new();
    for _ in 0..STATEMENTS_MAX + 20 {
        chunks.push(hub.chunk(lost, b"lost"));
        hub.chunk(kept, b"kept");
    }
    hub.finish(lost);
    hub.finish(kept);
    let whole = hub.outgoing(Seq(0)).len();
    let mut txn = hub.journal.begin();
    let dropped = hub.session.drop_damaged(&mut txn, chunks[0]).unwrap();
    drop(txn.commit(()).unwrap());
    assert!(dropped.is_some());
    let statements = |hub: &Hub| {
        let kept = hub.journal.hub_clips(hub.line().pairing).unwrap();
        assert!(matches!(kept[0].outcome, ClipOutcome::Dropped(_)));
        hub.outgoing(Seq(0)).len()
    };
    // A statement stands for each, under its number.
    assert_eq!(statements(&hub), whole);
    let mut steps = 0;
    loop {
        let mut txn = hub.journal.begin();
        let more = hub.session.drop_more(&mut txn, chunks[0]).unwrap();
        drop(txn.commit(()).unwrap());
        if !more {
            break;
        }
        steps += 1;
    }
    assert_eq!(steps, 1, "the trailer lies among the last");
    settle(&mut hub, &mut app);
    assert!(matches!(state(&app, lost), AppClipState::Dropped(_)));
    assert_eq!(state(&app, kept), AppClipState::Complete);
    assert_eq!(app.bytes_of(kept), b"kept".repeat(STATEMENTS_MAX + 20));
    converge(&mut hub, &mut app);
}

/// A crash between the steps: what is left of the clip comes, and the phone passes over it.
#[test]
fn what_is_left_of_a_dropped_clip_is_passed_over() {
    let (mut hub, mut app) = paired();
    let (lost, kept) = (hub.start_clip(), hub.start_clip());
    let mut chunks = Vec::new();
    for _ in 0..STATEMENTS_MAX + 20 {
        chunks.push(hub.chunk(lost, b"lost"));
        hub.chunk(kept, b"kept");
    }
    hub.finish(lost);
    hub.finish(kept);
    let mut txn = hub.journal.begin();
    let dropped = hub.session.drop_damaged(&mut txn, chunks[0]).unwrap();
    drop(txn.commit(()).unwrap());
    assert!(dropped.is_some());
    let disk = hub.disk.crash_clone(CrashPolicy::LoseAll, 0);
    let (mut hub, _closed) = hub.restart(disk, 13);
    settle(&mut hub, &mut app);
    assert!(matches!(state(&app, lost), AppClipState::Dropped(_)));
    assert_eq!(app.bytes_of(kept), b"kept".repeat(STATEMENTS_MAX + 20));
    converge(&mut hub, &mut app);
}

fn notice(number: u64) -> EventNotice {
    EventNotice {
        camera: "door".into(),
        started_unix_ms: 1_000 + number,
        kind: NoticeKind::Motion,
    }
}

fn notify(hub: &mut Hub, number: u64) {
    let mut txn = hub.journal.begin();
    hub.session.notify(&mut txn, &notice(number)).unwrap();
    drop(txn.commit(()).unwrap());
}

fn deliver(hub: &Hub, app: &mut App) -> Vec<Taken> {
    let envelopes = hub.outgoing(app.cursor());
    let taken = envelopes
        .iter()
        .map(|(seq, one)| app.take(*seq, one.as_bytes()));
    taken.collect()
}

#[test]
fn a_notification_is_one_epoch_and_is_remembered_once() {
    let (mut hub, mut app) = on(Channel::Notification);
    notify(&mut hub, 1);
    let used = hub.journal.epoch_use(hub.line()).unwrap();
    assert!(matches!(used, Some(EpochUse::Finished { .. })));
    let taken = deliver(&hub, &mut app);
    let [Taken::NewEpoch(_), Taken::Notified(said)] = &taken[..] else {
        panic!("{taken:?}");
    };
    assert_eq!(
        (said.camera.as_str(), said.started_unix_ms),
        ("door", 1_001)
    );
    assert_eq!(said.taken_unix_ms, NOW_MS);
    // A hub that does not know whether it has said it says it again.
    notify(&mut hub, 1);
    let taken = deliver(&hub, &mut app);
    assert!(
        matches!(taken[..], [Taken::NewEpoch(_), Taken::Nothing(_)]),
        "{taken:?}"
    );
    settle(&mut hub, &mut app);
    assert_eq!(hub.exporter(), app.exporter());
}

#[test]
fn what_is_no_event_is_another_notification_and_stays_when_an_event_is_deleted() {
    let (mut hub, mut app) = on(Channel::Notification);
    notify(&mut hub, 1);
    for kind in [
        NoticeKind::CameraAway,
        NoticeKind::Person,
        NoticeKind::CameraBack,
    ] {
        let alarm = EventNotice { kind, ..notice(1) };
        let mut txn = hub.journal.begin();
        hub.session.notify(&mut txn, &alarm).unwrap();
        drop(txn.commit(()).unwrap());
    }
    deliver(&hub, &mut app);
    let pairing = app.line().pairing;
    let known = app.journal.app_notices(pairing).unwrap();
    let of_the_event = known.iter().map(|known| known.is_of("door", 1_001));
    let of_the_event: Vec<bool> = of_the_event.collect();
    assert_eq!(of_the_event, [true, false, true, false]);
    let mut txn = app.journal.begin();
    txn.forget_notice(pairing, "door", 1_001).unwrap();
    app.session.rotate(&mut txn);
    drop(txn.commit(()).unwrap());
    let known = app.journal.app_notices(pairing).unwrap();
    let kinds: Vec<NoticeKind> = known.iter().map(|known| known.kind).collect();
    assert_eq!(kinds, [NoticeKind::CameraAway, NoticeKind::CameraBack]);
    settle(&mut hub, &mut app);
}

#[test]
fn the_last_notifications_are_kept_over_a_restart_until_they_are_forgotten() {
    let (mut hub, mut app) = on(Channel::Notification);
    let pairing = app.line().pairing;
    let said = NOTICES_KEPT as u64 + 3;
    for number in 0..said {
        notify(&mut hub, number);
    }
    deliver(&hub, &mut app);
    let mut txn = app.journal.begin();
    app.session.rotate(&mut txn);
    drop(txn.commit(()).unwrap());
    let disk = app.disk.crash_clone(CrashPolicy::LoseAll, 0);
    let line = app.line();
    drop(app);
    let mut app = App::open(crate::Role::App, disk, line, 12);
    let known = app.journal.app_notices(pairing).unwrap();
    assert_eq!(known.len(), NOTICES_KEPT);
    assert_eq!(known[0].started_unix_ms, 1_003);
    let mut txn = app.journal.begin();
    txn.forget_notice(pairing, "door", 1_003).unwrap();
    txn.forget_notice(pairing, "yard", 1_004).unwrap();
    app.session.rotate(&mut txn);
    drop(txn.commit(()).unwrap());
    let known = app.journal.app_notices(pairing).unwrap();
    assert_eq!(known.len(), NOTICES_KEPT - 1);
    assert_eq!(known[0].started_unix_ms, 1_004);
    // The next one has a number of its own.
    notify(&mut hub, said);
    deliver(&hub, &mut app);
    assert_eq!(
        app.journal.app_notices(pairing).unwrap().len(),
        NOTICES_KEPT
    );
}

#[test]
fn a_picture_is_a_clip_in_a_list_of_its_own() {
    let (mut hub, mut app) = on(Channel::Thumbnail);
    let pairing = app.line().pairing;
    let mut txn = hub.journal.begin();
    let named = ("door", "image/jpeg");
    let end = hub
        .session
        .send_whole(&mut txn, named, 1_001, b"a picture", NOW_MS);
    let end = txn.commit(end.unwrap()).unwrap().into_inner();
    let used = hub.journal.epoch_use(hub.line()).unwrap();
    assert!(matches!(used, Some(EpochUse::Finished { .. })));
    assert_eq!(hub.journal.hub_thumbnails(pairing).unwrap().len(), 1);
    assert!(hub.journal.hub_clips(pairing).unwrap().is_empty());
    settle(&mut hub, &mut app);
    let known = app.journal.app_thumbnails(pairing).unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(
        (known[0].clip, known[0].state),
        (end.clip, AppClipState::Complete)
    );
    assert_eq!(
        (known[0].started_unix_ms, known[0].mime.as_str()),
        (1_001, "image/jpeg")
    );
    assert_eq!(app.bytes_of(end.clip), b"a picture");
    assert!(app.journal.app_clips(pairing).unwrap().is_empty());
    // It goes as a clip goes.
    let mut txn = app.journal.begin();
    txn.delete_clip(pairing, end.clip).unwrap();
    app.session.rotate(&mut txn);
    drop(txn.commit(()).unwrap());
    assert!(app.journal.app_thumbnails(pairing).unwrap().is_empty());
    assert!(app.journal.app_chunk(end.clip, 0).is_err());
}

/// Of a picture the hub holds nothing that opens it from the sync on that makes it durable, and the phone nothing once
/// it is deleted.
#[test]
fn scenario_28_a_deleted_pictures_key_is_in_no_file() {
    let (mut hub, mut app) = on(Channel::Thumbnail);
    let pairing = app.line().pairing;
    let key = |journal: &Journal, scope| journal.scopes.get(scope).unwrap().key.clone();
    let group = Scope::Group(hub.line());
    let of_epoch = key(&hub.journal, group);
    assert!(files_contain(&hub.disk, of_epoch.as_slice()));
    let mut txn = hub.journal.begin();
    let named = ("door", "image/jpeg");
    let sent = hub
        .session
        .send_whole(&mut txn, named, 1_001, b"a picture", NOW_MS);
    let clip = txn.commit(sent.unwrap()).unwrap().into_inner().clip;
    assert!(!files_contain(&hub.disk, of_epoch.as_slice()));
    deliver(&hub, &mut app);
    let keys = [
        key(&app.journal, Scope::Clip(clip)),
        key(&app.journal, group),
    ];
    for key in &keys {
        assert!(files_contain(&app.disk, key.as_slice()));
    }
    let mut txn = app.journal.begin();
    txn.delete_clip(pairing, clip).unwrap();
    app.session.rotate(&mut txn);
    drop(txn.commit(()).unwrap());
    for key in &keys {
        assert!(!files_contain(&app.disk, key.as_slice()));
    }
}

#[test]
fn what_belongs_to_another_channel_is_refused() {
    let (mut hub, _app) = on(Channel::Config);
    let mut txn = hub.journal.begin();
    assert!(hub.session.notify(&mut txn, &notice(1)).is_err());
    drop(txn);
    let mut txn = hub.journal.begin();
    let named = ("door", "image/jpeg");
    assert!(
        hub.session
            .send_whole(&mut txn, named, 1, b"x", NOW_MS)
            .is_err()
    );
}
