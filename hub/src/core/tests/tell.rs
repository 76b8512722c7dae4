//! What the uplink learns of what is said beside a clip.

use journal::ids::{Channel, Line};
use journal::message::{EventNotice, NoticeKind};

use super::super::tell::Ask;
use super::super::*;
use super::given::{alert, still};
use super::world::World;

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
