//! Who watches live: from the wish to each way in which a session ends, beside events that are recorded.

use std::time::Duration;

use journal::ids::{Channel, Line, LiveId, PairingId};
use journal::message::{CameraSettings, LiveEnd, LiveStart, LiveWish, Settings};
use journal::{Follower, LiveArrival, LivePart, LivePiece, Session, Taken};

use super::super::*;
use super::world::{NOW_MS, Phone, World};
use crate::camera::EventEnd;

/// A phone that watches, with what its process remembers of that.
struct Viewer {
    line: Line,
    session: Session<Follower>,
}

impl Viewer {
    fn of(pairing: PairingId) -> Self {
        let line = Line::of(pairing, Channel::Livestream);
        Self {
            line,
            session: Session::new(line),
        }
    }

    /// Says a wish; it is in the outbox.
    fn wish(&mut self, phone: &mut Phone, number: u8) {
        self.wish_for("door", phone, number);
    }

    fn wish_for(&mut self, camera: &str, phone: &mut Phone, number: u8) {
        let mut txn = phone.journal().begin();
        let wish = LiveWish {
            id: LiveId([number; 16]),
            camera: camera.into(),
        };
        self.session.send_watch(&mut txn, &wish).unwrap();
        drop(txn.commit(()).unwrap());
    }

    fn enough(&mut self, phone: &mut Phone, number: u8) {
        let mut txn = phone.journal().begin();
        let wish = LiveId([number; 16]);
        self.session.send_enough(&mut txn, wish).unwrap();
        drop(txn.commit(()).unwrap());
    }

    /// New keys are proposed on the line.
    fn proposes(&mut self, phone: &mut Phone) {
        let mut txn = phone.journal().begin();
        self.session.propose_update(&mut txn, 1, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
    }

    /// What the hub has said since.
    fn hears(&mut self, core: &mut Core, phone: &mut Phone) -> Vec<Taken> {
        let mut all = Vec::new();
        let mut at = phone.journal().inbox_head(self.line).unwrap().cursor;
        while let Some((seq, envelope)) = core.next_envelope(self.line, at, NOW_MS).unwrap() {
            let mut txn = phone.journal().begin();
            let taken = self
                .session
                .take(&mut txn, seq, envelope.as_bytes(), NOW_MS);
            all.push(taken.unwrap());
            drop(txn.commit(()).unwrap());
            at = seq;
        }
        all
    }

    /// A wish, and the session that answers it.
    fn watches(&mut self, core: &mut Core, phone: &mut Phone, number: u8) -> u64 {
        self.wish(phone, number);
        assert_eq!(phone.send(core, self.line, NOW_MS), [Verdict::Taken]);
        let said = self.hears(core, phone);
        assert!(matches!(said.last(), Some(Taken::LiveBegun(_))), "{said:?}");
        core.live_board()[&self.line].session
    }

    /// Why the hub said last that it is over.
    fn told(&mut self, core: &mut Core, phone: &mut Phone) -> Option<LiveEnd> {
        self.hears(core, phone)
            .iter()
            .rev()
            .find_map(|taken| match taken {
                Taken::LiveEnded(ended) => Some(ended.why),
                _ => None,
            })
    }

    fn shown(&mut self, phone: &mut Phone, frame: &[u8]) -> LivePart {
        match self.session.open_live(phone.journal(), frame).unwrap() {
            LiveArrival::Part(part) => part,
            other => panic!("{other:?}"),
        }
    }
}

/// The first phone of a world, as a viewer.
fn first(world: &World) -> Viewer {
    Viewer::of(world.line.pairing)
}

fn seal(core: &mut Core, line: Line, session: u64, bytes: &[u8]) -> Option<Vec<u8>> {
    let start = LiveStart {
        mime: "video/mp4".into(),
        init: vec![1],
    };
    let piece = LivePiece {
        start: Some(&start),
        captured_unix_ms: 7,
        ends_fragment: true,
        bytes,
    };
    let frame = core.seal_live(line, session, piece, NOW_MS).unwrap();
    frame.map(|frame| frame.into_inner().into_bytes())
}

fn ends(world: &mut World) -> Vec<Option<LiveEnd>> {
    let end = |notice| match notice {
        Notice::LiveEnded { why, .. } => Some(why),
        _ => None,
    };
    world.notices().into_iter().filter_map(end).collect()
}

#[test]
fn no_frame_is_sealed_before_the_session_is_durable() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    viewer.wish(phone, 1);
    let (seq, envelope) = phone
        .journal()
        .outbox_next(viewer.line, core.cursor(viewer.line).unwrap())
        .unwrap()
        .unwrap();
    let taken = core.handle_envelope(viewer.line, seq, envelope.as_bytes(), NOW_MS);
    assert_eq!(taken.unwrap().verdict, Verdict::Taken);
    assert!(core.live_board().is_empty());
    // Nor while its sync is under way.
    core.begin_commit(NOW_MS).unwrap();
    assert!(core.live_board().is_empty());
    core.finish_commit(NOW_MS).unwrap();
    let board = core.live_board();
    let now = &board[&viewer.line];
    assert_eq!(now.camera, "door");
    let frame = seal(core, viewer.line, now.session, b"picture").unwrap();
    viewer.hears(core, phone);
    assert_eq!(viewer.shown(phone, &frame).bytes.as_slice(), b"picture");
    assert!(
        world
            .notices()
            .iter()
            .any(|notice| matches!(notice, Notice::LiveBegun { .. }))
    );
}

/// A phone knows a camera by the name that it is shown; another name does not end what is watched.
#[test]
fn a_camera_is_watched_by_the_name_that_it_is_shown_and_a_rename_disturbs_nothing() {
    let mut world = World::paired();
    let door = ("door".to_owned(), None);
    world.core.set_detections([door].into_iter().collect());
    let name = |name: &str| CameraSettings {
        name: Some(name.into()),
        ..CameraSettings::default()
    };
    world.core.set_camera("door", name("Gate")).unwrap();
    world.core.commit(NOW_MS).unwrap();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    viewer.wish_for("Gate", phone, 1);
    assert_eq!(phone.send(core, viewer.line, NOW_MS), [Verdict::Taken]);
    let board = core.live_board();
    assert_eq!(board[&viewer.line].camera, "door");
    core.set_camera("door", name("Drive")).unwrap();
    core.commit(NOW_MS).unwrap();
    assert_eq!(core.live_board(), board);
    let session = board[&viewer.line].session;
    assert!(seal(core, viewer.line, session, b"picture").is_some());
}

/// New keys in the middle of a group: what is left of it is of no use, and no reason to end the session.
#[test]
fn the_middle_of_a_group_is_not_sealed_in_a_session_that_it_did_not_begin_in() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    let piece = LivePiece {
        start: None,
        captured_unix_ms: 7,
        ends_fragment: true,
        bytes: b"the middle",
    };
    let frame = core.seal_live(viewer.line, session, piece, NOW_MS).unwrap();
    assert!(frame.is_none());
    assert!(core.live_board().contains_key(&viewer.line));
    assert!(seal(core, viewer.line, session, b"the next group").is_some());
    assert!(ends(&mut world).is_empty());
}

#[test]
fn a_phone_that_is_removed_watches_no_more() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    viewer.watches(core, phone, 1);
    assert!(core.remove_phone(viewer.line.pairing, NOW_MS).unwrap());
    assert!(core.live_board().is_empty());
    assert!(core.status().unwrap().lives.is_empty());
    core.commit(NOW_MS).unwrap();
    assert_eq!(ends(&mut world), [None]);
}

#[test]
fn events_are_recorded_beside_it_and_frames_cost_no_sync() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    let mut expected = world.record_some(2);
    for number in 0..5 {
        let syncs = world.disk.totals().1;
        let (core, phone) = world.ends();
        let bytes = [number as u8; 40];
        let frame = seal(core, viewer.line, session, &bytes).unwrap();
        assert_eq!(viewer.shown(phone, &frame).bytes.as_slice(), bytes);
        assert!(!core.has_staged());
        assert_eq!(world.disk.totals().1, syncs);
        expected.extend(world.record_more(10 + number..11 + number));
    }
    world.end_event(EventEnd::Completed);
    world.deliver();
    let clips = world.app_clips();
    assert_eq!(clips, [(journal::AppClipState::Complete, expected)]);
    assert!(world.core.live_board().contains_key(&viewer.line));
}

#[test]
fn a_session_ends_when_its_viewer_has_seen_enough() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    viewer.enough(phone, 1);
    assert_eq!(phone.send(core, viewer.line, NOW_MS), [Verdict::Taken]);
    assert!(core.live_board().is_empty());
    assert_eq!(seal(core, viewer.line, session, b"late"), None);
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Enough));
    assert_eq!(ends(&mut world), [Some(LiveEnd::Enough)]);
    assert!(world.core.status().unwrap().lives.is_empty());
}

#[test]
fn a_session_lasts_ten_minutes_and_no_longer() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    let minutes = LIVE_LASTS_MAX.as_secs() / 60;
    world.pass(minutes - 1);
    let lives = world.core.status().unwrap().lives;
    assert_eq!(lives[0].session, session);
    assert_eq!(lives[0].lasted, LIVE_LASTS_MAX - Duration::from_secs(60));
    assert!(ends(&mut world).is_empty());
    world.pass(1);
    assert_eq!(ends(&mut world), [Some(LiveEnd::Limit)]);
    let (core, phone) = world.ends();
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Limit));
    assert!(core.live_board().is_empty());
}

#[test]
fn privacy_mode_ends_it_and_lets_none_begin() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    viewer.watches(core, phone, 1);
    let settings = Settings {
        privacy: true,
        event_seconds_max: None,
        ..Settings::default()
    };
    core.set(settings, NOW_MS).unwrap();
    assert!(core.live_board().is_empty(), "not even before it is synced");
    core.commit(NOW_MS).unwrap();
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Privacy));
    viewer.wish(phone, 2);
    assert_eq!(phone.send(core, viewer.line, NOW_MS), [Verdict::Taken]);
    assert!(core.live_board().is_empty());
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Privacy));
    assert_eq!(ends(&mut world), [Some(LiveEnd::Privacy)]);
}

#[test]
fn at_a_constant_rate_nothing_is_shown_live() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let journal = core.journal.as_mut().unwrap();
    journal.send_in_full_size(Channel::EventVideo);
    viewer.wish(phone, 1);
    assert_eq!(phone.send(core, viewer.line, NOW_MS), [Verdict::Taken]);
    assert!(core.live_board().is_empty());
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Covered));
    assert!(ends(&mut world).is_empty(), "nothing has begun");
}

/// Cameras of these names, of which nothing is detected.
fn cameras(names: &[&str]) -> Detections {
    let camera = |name: &&str| ((*name).to_owned(), None);
    names.iter().map(camera).collect()
}

/// A name that was mistyped takes no viewer's place, and says so instead of showing nothing for ever.
#[test]
fn a_camera_that_is_not_there_cannot_be_watched() {
    for (there, wished) in [(&["door", "gate"][..], "dor"), (&[][..], "")] {
        let mut world = World::paired();
        world.core.set_detections(cameras(there));
        let mut viewer = first(&world);
        let (core, phone) = world.ends();
        viewer.wish_for(wished, phone, 1);
        assert_eq!(phone.send(core, viewer.line, NOW_MS), [Verdict::Taken]);
        assert!(core.live_board().is_empty(), "{wished:?}");
        assert!(core.status().unwrap().lives.is_empty());
        assert_eq!(viewer.told(core, phone), Some(LiveEnd::NoCamera));
        assert!(ends(&mut world).is_empty(), "nothing has begun");
    }
    // Whoever names none means the first.
    let mut world = World::paired();
    world.core.set_detections(cameras(&["door"]));
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    viewer.wish_for("", phone, 1);
    assert_eq!(phone.send(core, viewer.line, NOW_MS), [Verdict::Taken]);
    assert!(core.live_board().contains_key(&viewer.line));
}

/// The configuration was read again, and does not have it any more.
#[test]
fn a_session_ends_with_its_camera() {
    let mut world = World::paired();
    world.core.set_detections(cameras(&["door", "gate"]));
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    core.set_detections(cameras(&["door"]));
    assert!(core.live_board().contains_key(&viewer.line));
    core.set_detections(cameras(&["gate"]));
    assert!(core.live_board().is_empty());
    assert_eq!(seal(core, viewer.line, session, b"late"), None);
    core.handle_elapsed(Duration::from_secs(5), NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::NoCamera));
    assert!(core.status().unwrap().lives.is_empty());
    assert_eq!(ends(&mut world), [Some(LiveEnd::NoCamera)]);
}

#[test]
fn what_nobody_watches_ends() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    // Of a session that is over.
    core.handle_unwatched(viewer.line, session + 1, NOW_MS)
        .unwrap();
    assert!(!core.live_board().is_empty());
    core.handle_unwatched(viewer.line, session, NOW_MS).unwrap();
    assert!(core.live_board().is_empty());
    core.commit(NOW_MS).unwrap();
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Unwatched));
}

#[test]
fn so_many_phones_may_watch_and_one_more_is_told_why_not() {
    let mut world = World::paired();
    let mut phones: Vec<Phone> = (0..LIVE_VIEWERS_MAX as u64)
        .map(|n| world.pair_with_dice(40 + n))
        .collect();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    viewer.watches(core, phone, 1);
    let last = phones.pop().unwrap();
    for phone in &mut phones {
        let mut other = Viewer::of(phone.line.pairing);
        other.watches(core, phone, 2);
    }
    assert_eq!(core.live_board().len(), LIVE_VIEWERS_MAX);
    let mut phone = last;
    let mut one_more = Viewer::of(phone.line.pairing);
    one_more.wish(&mut phone, 3);
    assert_eq!(phone.send(core, one_more.line, NOW_MS), [Verdict::Taken]);
    assert_eq!(one_more.told(core, &mut phone), Some(LiveEnd::Busy));
    // Who watches already may begin again.
    let (core, phone) = world.ends();
    viewer.watches(core, phone, 4);
    assert_eq!(core.live_board().len(), LIVE_VIEWERS_MAX);
}

/// A heartbeat in a session: the phone goes on with another one, and its time is not begun anew.
#[test]
fn a_heartbeat_in_a_session_goes_on_with_another() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    world.pass(3);
    let (core, phone) = world.ends();
    viewer.proposes(phone);
    assert_eq!(phone.send(core, viewer.line, NOW_MS), [Verdict::Taken]);
    let board = world.core.live_board();
    assert_eq!(board[&viewer.line].session, session + 1);
    assert_eq!(board[&viewer.line].camera, "door");
    let lives = world.core.status().unwrap().lives;
    assert_eq!(lives[0].lasted, Duration::from_secs(180));
    assert!(ends(&mut world).is_empty());
    let (core, phone) = world.ends();
    assert_eq!(seal(core, viewer.line, session, b"of the first"), None);
    let said = viewer.hears(core, phone);
    assert!(
        matches!(said[..], [Taken::Healed(_), Taken::LiveBegun(_)]),
        "{said:?}"
    );
    let frame = seal(core, viewer.line, session + 1, b"of the second").unwrap();
    assert_eq!(viewer.shown(phone, &frame).session, session + 1);
}

/// A power cut in a session: nothing goes on in its epoch, and events are recorded as ever.
#[test]
fn a_hub_that_starts_again_has_no_sessions() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    assert!(seal(core, viewer.line, session, b"seen").is_some());
    world.crash();
    assert!(world.core.live_board().is_empty());
    let (core, phone) = world.ends();
    assert_eq!(seal(core, viewer.line, session, b"never"), None);
    let said = viewer.hears(core, phone);
    assert!(matches!(said[..], [Taken::NewEpoch(_)]), "{said:?}");
    assert!(viewer.watches(core, phone, 2) > session + 1);
    let bytes = world.record_some(1);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips()[0].1, bytes);
}

/// Somebody watched, nobody does any more, and the disk has no room for the end of the session.
fn unwatched_without_room() -> (World, Viewer, u64) {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    let session = viewer.watches(core, phone, 1);
    core.room = Some(false);
    core.handle_unwatched(viewer.line, session, NOW_MS).unwrap();
    (world, viewer, session)
}

/// The next tick stages the end, and the phone is told.
fn ends_unwatched(world: &mut World, viewer: &mut Viewer) {
    let (core, phone) = world.ends();
    core.handle_elapsed(Duration::from_secs(5), NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Unwatched));
}

/// A full disk takes no end of a session: no frame is sealed meanwhile, and the end comes when there is room.
#[test]
fn the_end_of_a_session_waits_for_room_and_its_frames_do_not() {
    let (mut world, mut viewer, session) = unwatched_without_room();
    let core = &mut world.core;
    assert!(core.live_board().is_empty());
    assert_eq!(seal(core, viewer.line, session, b"late"), None);
    assert_eq!(core.status().unwrap().lives.len(), 1);
    core.room = None;
    ends_unwatched(&mut world, &mut viewer);
    assert!(world.core.status().unwrap().lives.is_empty());
}

/// A heartbeat's Commit gives the session another number, and not its life back.
#[test]
fn what_is_to_end_ends_also_behind_another_commit() {
    let (mut world, mut viewer, session) = unwatched_without_room();
    let (core, phone) = world.ends();
    core.room = None;
    viewer.proposes(phone);
    assert_eq!(phone.send(core, viewer.line, NOW_MS), [Verdict::Taken]);
    assert!(core.live_board().is_empty());
    assert_eq!(seal(core, viewer.line, session + 1, b"late"), None);
    ends_unwatched(&mut world, &mut viewer);
}

/// Without a connection nobody can say that it is enough: it ends within five seconds, which is the hub's tick.
#[test]
fn the_first_tick_without_a_connection_ends_a_session() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    viewer.watches(core, phone, 1);
    core.handle_link(true);
    let tick = Duration::from_secs(5);
    core.handle_elapsed(tick, NOW_MS).unwrap();
    core.handle_link(false);
    assert!(!core.live_board().is_empty());
    core.handle_elapsed(tick, NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    assert!(core.live_board().is_empty());
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Unwatched));
}

/// One that was there when a tick came is as good as one that never left.
#[test]
fn a_session_does_not_outlast_its_connection_for_long() {
    let mut world = World::paired();
    let mut viewer = first(&world);
    let (core, phone) = world.ends();
    viewer.watches(core, phone, 1);
    core.handle_link(true);
    core.handle_elapsed(2 * LIVE_CUT_MAX, NOW_MS).unwrap();
    core.handle_link(false);
    core.handle_elapsed(LIVE_CUT_MAX / 2, NOW_MS).unwrap();
    core.handle_link(true);
    core.handle_elapsed(LIVE_CUT_MAX / 2, NOW_MS).unwrap();
    core.handle_link(false);
    core.handle_elapsed(LIVE_CUT_MAX / 2, NOW_MS).unwrap();
    assert!(!core.live_board().is_empty());
    core.handle_elapsed(LIVE_CUT_MAX / 2, NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    assert!(core.live_board().is_empty());
    assert_eq!(viewer.told(core, phone), Some(LiveEnd::Unwatched));
}
