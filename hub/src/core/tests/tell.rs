//! What the uplink learns of what is said beside a clip.

use journal::ids::{Channel, Line};
use journal::message::{Alerts, EventNotice, NoticeKind, Settings};

use super::super::tell::Ask;
use super::super::*;
use super::given::{alert, event, piece, still};
use super::world::{NOW_MS, World};

/// Of how many events the heads say that they were told, and of how many that the picture was sent.
fn told(world: &World) -> (u64, u64) {
    let told = |channel| {
        let line = Line::of(world.line.pairing, channel);
        let head = world.core.head_of(line).unwrap();
        head.unwrap().events_told
    };
    (told(Channel::Notification), told(Channel::Thumbnail))
}

#[test]
fn events_and_pictures_count_when_they_are_durable_and_hints_and_alarms_never() {
    let mut world = World::paired();
    let alert = alert(1_000);
    let still = still(1_000);
    let alarm = EventNotice {
        camera: "door".into(),
        started_unix_ms: 1_000,
        kind: NoticeKind::CameraAway,
    };
    let taken = Recorded::Taken;
    assert_eq!(world.core.handle_alert(&alert, 5).unwrap(), taken);
    assert_eq!(told(&world), (0, 0), "no sync covers it");
    world.core.commit(5).unwrap();
    assert_eq!(told(&world), (1, 0));
    assert_eq!(world.core.handle_still(&still, 6).unwrap(), taken);
    assert_eq!(world.core.handle_person(&alert, 6).unwrap(), taken);
    let said = world.core.notify_all(&alarm, Ask::MakingRoom, 6);
    assert_eq!(said.unwrap(), taken);
    assert_eq!(told(&world), (1, 0));
    world.core.commit(6).unwrap();
    assert_eq!(told(&world), (1, 1));

    // The next process says nothing anew: what it tells begins at none.
    world.crash();
    assert_eq!(told(&world), (0, 0));
    assert_eq!(world.core.handle_alert(&alert, 7).unwrap(), taken);
    world.core.commit(7).unwrap();
    assert_eq!(told(&world), (1, 0));
}

/// Its clip waits for its picture as any other does.
#[test]
fn an_event_counts_also_where_nobody_wants_to_be_notified_of_it() {
    let mut world = World::paired();
    let quiet = Settings {
        alerts: Alerts {
            motion: false,
            ..Alerts::default()
        },
        ..Settings::default()
    };
    world.core.set(quiet, NOW_MS).unwrap();
    world.core.commit(NOW_MS).unwrap();
    let said = world.core.handle_alert(&alert(1_000), 5).unwrap();
    assert_eq!(said, Recorded::Not(Stop::Unwanted));
    let taken = Recorded::Taken;
    assert_eq!(world.core.handle_event_started(event(), 5).unwrap(), taken);
    assert_eq!(world.core.handle_pieces(vec![piece(1)], 6).unwrap(), taken);
    assert_eq!(told(&world), (0, 0));
    // With the first that there is of the clip.
    world.core.commit(6).unwrap();
    assert_eq!(told(&world), (1, 0));
    assert_eq!(world.core.handle_still(&still(1_000), 7).unwrap(), taken);
    world.core.commit(7).unwrap();
    assert_eq!(told(&world), (1, 1));
    // A hint at a person is of an event that has begun.
    let said = world.core.handle_person(&alert(1_000), 8).unwrap();
    assert_eq!(said, Recorded::Not(Stop::Unwanted));
    assert_eq!(world.core.handle_pieces(vec![piece(2)], 9).unwrap(), taken);
    world.core.commit(9).unwrap();
    assert_eq!(told(&world), (1, 1));
}
