//! Old clips make room for new ones, and the owner hears of it.

use journal::ids::Channel;
use journal::message::{Alerts, DropReason, NoticeKind, Settings};
use journal::{AppClipState, Taken};
use wal::disk::Fault;

use super::super::*;
use super::given::{alert, still};
use super::world::{NOW_MS, World, event, piece};
use crate::camera::EventEnd;

const MADE_ROOM: AppClipState = AppClipState::Dropped(DropReason::Budget);
/// Pieces of an event here, each as large as pieces get: not quite 256 KiB.
const PIECES: u8 = 4;
const MIB: u64 = 1 << 20;
const AWAY: Presence = Presence::Away {
    missed: Duration::ZERO,
};

fn big(number: u8) -> Piece {
    Piece {
        bytes: bytes::Bytes::from(vec![number; journal::CHUNK_BYTES_MAX]),
        captured_unix_ms: 1,
    }
}

/// A whole event, each piece synced; its bytes. Nothing of it is refused.
fn record(world: &mut World, number: u8) -> Vec<u8> {
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken, "event {number}");
    let mut bytes = Vec::new();
    for _ in 0..PIECES {
        let taken = world.core.handle_pieces(vec![big(number)], 6).unwrap();
        assert_eq!(taken, Recorded::Taken, "event {number}");
        world.core.commit(6).unwrap();
        bytes.extend_from_slice(&big(number).bytes);
    }
    world.end_event(EventEnd::Completed);
    bytes
}

fn video_bytes(world: &mut World) -> u64 {
    world.core.status().unwrap().video_bytes
}

/// The clips that made room, of what was said since the last look.
fn dropped(world: &mut World) -> Vec<ClipFacts> {
    let one = |notice| match notice {
        Notice::ClipDropped {
            clip,
            reason: DropReason::Budget,
            ..
        } => Some(clip),
        _ => None,
    };
    world.notices().into_iter().filter_map(one).collect()
}

/// What the phone was notified of.
fn alarms(world: &mut World) -> Vec<NoticeKind> {
    world.core.handle_timeout(NOW_MS).unwrap();
    world.core.commit(NOW_MS).unwrap();
    let said = world.fetch_on(Channel::Notification).into_iter();
    let kind = |taken| match taken {
        Taken::Notified(notice) => Some(notice.kind),
        _ => None,
    };
    said.filter_map(kind).collect()
}

#[test]
fn within_a_budget_the_oldest_clips_make_room_and_the_phone_knows_which() {
    let mut world = World::paired();
    world.core.set_budget(Some(MIB));
    let mut recorded = Vec::new();
    let mut gone = Vec::new();
    for number in 0..9 {
        recorded.push(record(&mut world, number));
        gone.extend(dropped(&mut world));
        assert!(video_bytes(&mut world) <= MIB);
    }
    assert!((4..9).contains(&gone.len()), "{}", gone.len());
    // The oldest first, in the order in which they were recorded.
    let clips = world.core.status().unwrap().clips;
    for (number, clip) in clips.iter().enumerate() {
        let is_gone = number < gone.len();
        assert_eq!(clip.state == ClipState::Dropped, is_gone, "clip {number}");
        assert!(!is_gone || gone[number].clip == clip.clip);
    }
    assert_eq!(alarms(&mut world), [NoticeKind::StorageFull], "once");
    world.deliver();
    let held = world.app_clips();
    assert_eq!(held.len(), recorded.len());
    for (number, (state, bytes)) in held.iter().enumerate() {
        match number < gone.len() {
            true => assert_eq!(*state, MADE_ROOM),
            false => {
                assert_eq!(*state, AppClipState::Complete);
                assert!(*bytes == recorded[number], "clip {number}");
            }
        }
    }
    world.ack();
    // What is acked is no burden, however much it was.
    let next = record(&mut world, 77);
    assert!(dropped(&mut world).is_empty());
    world.deliver();
    assert!(world.app_clips().last() == Some(&(AppClipState::Complete, next)));
}

#[test]
fn the_clip_that_is_recorded_never_makes_room_for_itself() {
    let mut world = World::paired();
    world.core.set_budget(Some(MIB / 2));
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    let mut bytes = Vec::new();
    let stopped = loop {
        match world.core.handle_pieces(vec![big(1)], 6).unwrap() {
            Recorded::Taken => bytes.extend_from_slice(&big(1).bytes),
            Recorded::Not(why) => break why,
        }
        world.core.commit(6).unwrap();
        assert!(bytes.len() as u64 <= MIB, "it has no end");
    };
    assert_eq!(stopped, Stop::Space);
    world.core.commit(6).unwrap();
    assert!(dropped(&mut world).is_empty());
    assert_eq!(alarms(&mut world), [NoticeKind::StorageFull]);
    world.deliver();
    assert!(world.app_clips() == [(AppClipState::CutOff, bytes)]);
}

/// A disk that nothing but video fills is never full for long.
#[test]
fn on_a_full_disk_recording_goes_on_in_the_room_of_the_oldest_clips() {
    let mut world = World::paired();
    world
        .disk
        .set_capacity(Some(world.disk.used_bytes() + 40 * MIB));
    let mut recorded = Vec::new();
    let mut gone = 0;
    let mut number = 0;
    // Until the room of dropped clips was filled anew.
    while gone < 100 {
        recorded.push(record(&mut world, number));
        gone += dropped(&mut world).len();
        number = number.wrapping_add(1);
        assert!(recorded.len() < 600, "only {gone} made room");
    }
    assert_eq!(alarms(&mut world), [NoticeKind::StorageFull]);
    // Nothing of it is held up by a crash.
    world.crash();
    world.deliver();
    let held = world.app_clips();
    assert_eq!(held.len(), recorded.len());
    let whole = held.iter().zip(&recorded).filter(|((state, bytes), one)| {
        let is_gone = *state == MADE_ROOM;
        assert!(is_gone || *state == AppClipState::Complete && bytes == *one);
        !is_gone
    });
    assert_eq!(whole.count(), recorded.len() - gone);
    world.ack();
    let next = record(&mut world, 77);
    world.deliver();
    assert!(world.app_clips().last() == Some(&(AppClipState::Complete, next)));
}

/// The phone that is away pays, not the one that keeps up.
#[test]
fn of_two_phones_the_one_for_which_most_waits_gives() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    for number in 0..3 {
        record(&mut world, number);
    }
    // The first phone has all but the last; the other is away.
    world.deliver();
    world.ack();
    record(&mut world, 3);
    let stored = video_bytes(&mut world);
    world.core.set_budget(Some(stored));
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    world.core.commit(5).unwrap();
    let lines: Vec<Line> = world
        .notices()
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::ClipDropped { line, .. } => Some(line),
            _ => None,
        })
        .collect();
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| *line == other.line), "{lines:?}");
    world.deliver();
    let states = |clips: &[(AppClipState, Vec<u8>)]| {
        let gone = clips.iter().filter(|(state, _)| *state == MADE_ROOM);
        gone.count()
    };
    assert_eq!(states(&world.app_clips()), 0);
    other.deliver(&mut world.core);
    assert_eq!(states(&other.clips()), lines.len());
}

/// A write or a sync fails at any operation while room is made and used, or the power does: both ends agree in the end,
/// and no clip is lost without a word.
#[test]
fn whatever_fails_while_room_is_made_each_clip_is_whole_or_explained() {
    let mut tried = 0;
    for at in 0.. {
        let mut world = World::paired();
        let recorded: Vec<Vec<u8>> = (0..3).map(|number| record(&mut world, number)).collect();
        let _said = world.notices();
        world.core.set_budget(Some(MIB / 2));
        let first = world.disk.op_count() + at;
        world.disk.inject(first, Fault::Eio);
        type Step = fn(&mut Core) -> Result<(), CoreError>;
        let steps: [Step; 6] = [
            |core| core.handle_event_started(event(), 5).map(drop),
            |core| core.handle_pieces(vec![big(3)], 5).map(drop),
            |core| core.commit(5),
            |core| core.handle_event_ended(EventEnd::Completed, 5).map(drop),
            |core| core.handle_timeout(5),
            |core| core.commit(5),
        ];
        for step in steps {
            match step(&mut world.core) {
                Ok(()) | Err(CoreError::Reopened) => {}
                Err(error) => panic!("operation {at}: {error}"),
            }
        }
        let was_reached = world.disk.op_count() > first;
        assert_eq!(world.core.death(), None, "operation {at}");
        world.disk.heal();
        if at % 2 == 0 {
            world.crash();
        }
        // What was begun is finished by whoever comes next.
        world.core.handle_timeout(6).unwrap();
        world.core.commit(6).unwrap();
        let said = world.core.status().unwrap().clips;
        world.deliver();
        let held = world.app_clips();
        for (number, one) in recorded.iter().enumerate() {
            let (state, bytes) = &held[number];
            match said[number].state {
                ClipState::Dropped => assert_eq!(*state, MADE_ROOM, "operation {at}"),
                _ => assert!(
                    *state == AppClipState::Complete && bytes == one,
                    "operation {at}, clip {number}: {state:?}"
                ),
            }
        }
        world.ack();
        world.core.set_budget(None);
        let _next = record(&mut world, 9);
        world.deliver();
        tried += 1;
        if !was_reached {
            break;
        }
    }
    assert!(tried > 5, "only {tried} operations");
}

/// A hub that retains gives the copy with the clip: it would be played into the room that was made.
#[test]
fn a_retained_copy_goes_with_its_clip() {
    let mut world = World::paired();
    world.core.set_retention(true);
    for number in 0..2 {
        record(&mut world, number);
    }
    assert_eq!(world.core.retained().unwrap().len(), 2);
    let stored = video_bytes(&mut world);
    world.core.set_budget(Some(stored));
    record(&mut world, 2);
    let gone = dropped(&mut world).len();
    assert!(gone > 0);
    assert_eq!(world.core.retained().unwrap().len(), 3 - gone);
    world.pass(2);
    world.deliver();
    let clips = world.app_clips();
    assert_eq!(clips.len(), 3, "nothing was played anew");
}

#[test]
fn an_away_camera_reaches_the_phone_and_so_does_its_return() {
    let mut world = World::paired();
    world.core.handle_camera("door", AWAY, NOW_MS);
    assert!(alarms(&mut world).is_empty(), "not at once");
    world.pass(1);
    assert_eq!(alarms(&mut world), [NoticeKind::CameraAway]);
    world
        .core
        .handle_camera("door", Presence::There, NOW_MS + 1);
    assert_eq!(alarms(&mut world), [NoticeKind::CameraBack]);
    // In privacy mode nobody has the camera, and nobody misses it.
    world.core.handle_camera("door", AWAY, NOW_MS + 2);
    let private = Settings {
        privacy: true,
        event_seconds_max: None,
        ..Settings::default()
    };
    world.core.set(private, NOW_MS).unwrap();
    world.pass(30);
    assert!(alarms(&mut world).is_empty());
}

fn set_privacy(world: &mut World, privacy: bool) {
    let settings = Settings {
        privacy,
        event_seconds_max: None,
        ..Settings::default()
    };
    world.core.set(settings, NOW_MS).unwrap();
}

/// A phone that knows a camera to be away hears that it is back, whatever happens in between: a power cut, or privacy
/// mode.
#[test]
fn the_return_of_a_camera_is_said_after_a_crash_and_after_privacy_mode() {
    for private in [false, true] {
        let mut world = World::paired();
        world.core.handle_camera("door", AWAY, NOW_MS);
        world.pass(1);
        assert_eq!(alarms(&mut world), [NoticeKind::CameraAway]);
        if private {
            world.core.handle_camera("door", Presence::There, NOW_MS);
            set_privacy(&mut world, true);
            world.pass(1);
            assert!(alarms(&mut world).is_empty());
            set_privacy(&mut world, false);
        } else {
            world.crash();
            world
                .core
                .keep_alarms(&["yard".to_owned(), "door".to_owned()]);
            world.core.handle_camera("yard", Presence::There, NOW_MS);
            world.core.handle_camera("door", Presence::There, NOW_MS);
        }
        assert_eq!(alarms(&mut world), [NoticeKind::CameraBack]);
        world.crash();
        world.core.handle_camera("door", Presence::There, NOW_MS);
        assert!(alarms(&mut world).is_empty(), "it is said once");
    }
}

/// The alarm is lost with its sync, and said again; the phone keeps one of each.
#[test]
fn an_alarm_that_was_lost_with_its_sync_is_said_again() {
    let mut world = World::paired();
    world.core.handle_camera("door", AWAY, NOW_MS);
    world
        .core
        .handle_elapsed(Duration::from_secs(60), NOW_MS)
        .unwrap();
    world.core.handle_timeout(NOW_MS).unwrap();
    world.disk.inject(world.disk.op_count() + 1, Fault::Eio);
    assert!(world.reopens(Core::commit));
    assert_eq!(alarms(&mut world), [NoticeKind::CameraAway]);
    assert!(alarms(&mut world).is_empty());
}

/// The drop is durable, and so is what is owed for it.
#[test]
fn a_full_storage_is_said_after_a_crash() {
    let mut world = World::paired();
    world.core.set_budget(Some(MIB));
    for number in 0..5 {
        let _bytes = record(&mut world, number);
    }
    assert!(!dropped(&mut world).is_empty());
    world.core.commit(NOW_MS).unwrap();
    world.crash();
    assert_eq!(alarms(&mut world), [NoticeKind::StorageFull]);
    world.crash();
    assert!(alarms(&mut world).is_empty(), "it is said once");
}

/// On a disk without room for anything but epochs the owner is told all the same.
#[test]
fn a_full_storage_is_said_out_of_what_is_held_back() {
    let mut world = World::paired();
    let used = world.disk.used_bytes();
    world.disk.set_capacity(Some(used));
    let huge: Vec<Piece> = (0..2_000).map(piece).collect();
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    let refused = match begun {
        Recorded::Taken => world.core.handle_pieces(huge, 6).unwrap(),
        refused => refused,
    };
    assert_eq!(refused, Recorded::Not(Stop::Space));
    assert_eq!(alarms(&mut world), [NoticeKind::StorageFull]);
}

fn notified_of(alerts: Alerts) -> Settings {
    Settings {
        alerts,
        ..Settings::default()
    }
}

#[test]
fn nobody_is_notified_of_what_the_owner_does_not_want_and_the_picture_comes_all_the_same() {
    let mut world = World::paired();
    let quiet = notified_of(Alerts {
        motion: false,
        ..Alerts::default()
    });
    world.core.set(quiet, NOW_MS).unwrap();
    let alert = alert(1_000);
    let still = still(1_000);
    let said = world.core.handle_alert(&alert, 5).unwrap();
    assert_eq!(said, Recorded::Not(Stop::Unwanted));
    assert_eq!(world.core.handle_still(&still, 5).unwrap(), Recorded::Taken);
    let _bytes = record(&mut world, 1);
    assert!(alarms(&mut world).is_empty());
    assert_eq!(world.core.status().unwrap().stopped, None, "no event stops");
    world.core.set(Settings::default(), NOW_MS).unwrap();
    assert_eq!(world.core.handle_alert(&alert, 5).unwrap(), Recorded::Taken);
    assert_eq!(alarms(&mut world), [NoticeKind::Motion]);
}

/// What is still so when it is wanted again is said then, and what was told has its end told.
#[test]
fn an_alarm_that_is_wanted_again_is_said_if_it_still_holds() {
    let mut world = World::paired();
    let quiet = notified_of(Alerts {
        camera_away: false,
        storage_full: false,
        ..Alerts::default()
    });
    world.core.set(quiet, NOW_MS).unwrap();
    world.core.set_budget(Some(MIB));
    for number in 0..5 {
        let _bytes = record(&mut world, number);
    }
    assert!(!dropped(&mut world).is_empty());
    world.core.handle_camera("door", AWAY, NOW_MS);
    world.core.handle_camera("yard", AWAY, NOW_MS);
    world.pass(20);
    assert!(alarms(&mut world).is_empty());
    // Nothing of it is owed by the next process either.
    assert!(
        !world
            .core
            .journal_ref()
            .unwrap()
            .alarms_owed()
            .unwrap()
            .is_full
    );
    world.core.handle_camera("yard", Presence::There, NOW_MS);
    world.core.set(Settings::default(), NOW_MS).unwrap();
    world.pass(2);
    assert_eq!(alarms(&mut world), [NoticeKind::CameraAway], "of the door");
    world.core.set(quiet, NOW_MS).unwrap();
    world.core.handle_camera("door", Presence::There, NOW_MS);
    assert_eq!(alarms(&mut world), [NoticeKind::CameraBack]);
}
