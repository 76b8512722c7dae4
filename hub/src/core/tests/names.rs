//! Another name for a camera: everything of one event is said under one, whatever is set meanwhile.

use bytes::Bytes;
use journal::Taken;
use journal::ids::Channel;
use journal::message::{CameraSettings, CommandKind, CommandResult, NoticeKind, Refusal};

use super::super::*;
use super::given::alert;
use super::world::{NOW_MS, Phone, World, piece};
use crate::camera::EventEnd;
use crate::config::detection::Detection;

/// One that is watched, one whose events go by the clock, and one more.
fn world() -> World {
    let mut world = World::paired();
    let watched = || Some(Box::new(Detection::default()));
    let cameras = [("door", watched()), ("clock", None), ("yard", watched())];
    let cameras = cameras.map(|(name, detection)| (name.to_owned(), detection));
    world.core.set_detections(cameras.into_iter().collect());
    world
}

fn named(name: &str) -> CameraSettings {
    CameraSettings {
        name: Some(name.into()),
        ..CameraSettings::default()
    }
}

fn set(
    core: &mut Core,
    phone: &mut Phone,
    camera: &str,
    settings: CameraSettings,
) -> CommandResult {
    phone.set_camera(camera, settings);
    let _taken = phone.talk(core);
    phone.book().done.last().unwrap().result.clone()
}

fn begin(core: &mut Core, started_unix_ms: u64) {
    let alert = alert(started_unix_ms);
    assert_eq!(core.handle_alert(&alert, 5).unwrap(), Recorded::Taken);
    let event = Event {
        camera: "door".into(),
        mime: "video/mp4".into(),
        started_unix_ms,
    };
    assert_eq!(
        core.handle_event_started(event, 5).unwrap(),
        Recorded::Taken
    );
    more(core, 0);
}

fn more(core: &mut Core, number: u64) {
    let taken = core.handle_pieces(vec![piece(number)], 5).unwrap();
    assert_eq!(taken, Recorded::Taken);
    core.commit(5).unwrap();
}

fn end(core: &mut Core, started_unix_ms: u64) {
    let still = Still {
        camera: "door".into(),
        started_unix_ms,
        jpeg: Bytes::from_static(b"a picture"),
    };
    assert_eq!(core.handle_still(&still, 6).unwrap(), Recorded::Taken);
    let ended = core.handle_event_ended(EventEnd::Completed, 7).unwrap();
    assert_eq!(ended, Recorded::Taken);
    core.commit(7).unwrap();
}

#[test]
fn a_rename_amid_an_event_leaves_that_event_its_name() {
    let mut world = world();
    let (core, phone) = world.ends();
    begin(core, 1_000);
    let result = set(core, phone, "door", named("Front door"));
    assert!(
        matches!(result, CommandResult::CameraChanged(_)),
        "{result:?}"
    );
    assert!(core.is_recording());
    more(core, 1);
    // Status and everything inside this program know it by its own name.
    assert_eq!(core.status().unwrap().recording_of, ["door"]);
    end(core, 1_000);
    begin(core, 2_000);
    end(core, 2_000);

    let names = ["door", "Front door"];
    let told = world.fetch_on(Channel::Notification).into_iter();
    let told = told.filter_map(|taken| match taken {
        Taken::Notified(notice) => Some(notice.camera),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), names);
    world.deliver();
    let _pictures = world.fetch_on(Channel::Thumbnail);
    let pairing = world.line.pairing;
    let (_core, phone) = world.ends();
    for of in [
        phone.journal().app_clips(pairing).unwrap(),
        phone.journal().app_thumbnails(pairing).unwrap(),
    ] {
        let cameras: Vec<String> = of.into_iter().map(|clip| clip.camera).collect();
        assert_eq!(cameras, names);
    }
    // A start knows it too.
    world.crash();
    assert_eq!(world.core.shown_name("door"), "Front door");
}

#[test]
fn a_name_is_refused_that_is_none_or_another_cameras_and_any_camera_may_have_one() {
    let mut world = world();
    let (core, phone) = world.ends();
    let refused = CommandResult::Refused;
    let long = "x".repeat(65);
    for (name, refusal) in [
        ("", Refusal::OutOfRange),
        ("two\nlines", Refusal::OutOfRange),
        (long.as_str(), Refusal::OutOfRange),
        ("yard", Refusal::NameTaken),
    ] {
        let result = set(core, phone, "door", named(name));
        assert_eq!(result, refused(refusal), "{name:?}");
    }
    // Nobody looks at its pictures, and it has a name all the same.
    let result = set(core, phone, "clock", named("Hall"));
    assert!(
        matches!(result, CommandResult::CameraChanged(_)),
        "{result:?}"
    );
    let result = set(core, phone, "door", named("Hall"));
    assert_eq!(result, refused(Refusal::NameTaken));
    // It is asked for by either name, and given the old one back.
    for camera in ["clock", "Hall"] {
        phone.order(CommandKind::Camera {
            camera: camera.into(),
        });
        let _taken = phone.talk(core);
        let result = phone.book().done.last().unwrap().result.clone();
        assert!(
            matches!(&result, CommandResult::Camera(doc) if doc.camera == "clock"),
            "{result:?}"
        );
    }
    let result = set(core, phone, "Hall", CameraSettings::default());
    assert!(
        matches!(&result, CommandResult::CameraChanged(doc) if doc.camera == "clock" && doc.version == 2),
        "{result:?}"
    );
    assert_eq!(core.shown_name("clock"), "clock");
    assert!(
        core.status()
            .unwrap()
            .cameras_set
            .iter()
            .all(|set| set.fits)
    );
}

/// The configuration has got a camera of that name since: nobody may take the one for the other.
#[test]
fn a_name_that_the_configuration_gives_to_another_camera_is_shown_no_more() {
    let mut world = world();
    let (core, phone) = world.ends();
    let _changed = set(core, phone, "door", named("Gate"));
    assert_eq!(core.shown_name("door"), "Gate");
    assert_eq!(core.camera_named("Gate"), "door");
    let cameras = ["door", "Gate"].map(|name| (name.to_owned(), None));
    core.set_detections(cameras.into_iter().collect());
    assert_eq!(core.shown_name("door"), "door");
    assert_eq!(core.camera_named("Gate"), "Gate");
}

/// A camera that was said to be away is back under the name that it has then.
#[test]
fn an_alarm_has_the_name_of_its_time() {
    let mut world = world();
    let away = Presence::Away {
        missed: Duration::ZERO,
    };
    world.core.handle_camera("door", away, NOW_MS);
    world.pass(2);
    let (core, phone) = world.ends();
    let _changed = set(core, phone, "door", named("Gate"));
    core.handle_camera("door", Presence::There, NOW_MS);
    world.pass(1);
    let said = world.fetch_on(Channel::Notification).into_iter();
    let said = said.filter_map(|taken| match taken {
        Taken::Notified(notice) => Some((notice.camera, notice.kind)),
        _ => None,
    });
    let expected = [
        ("door", NoticeKind::CameraAway),
        ("Gate", NoticeKind::CameraBack),
    ];
    assert_eq!(
        said.collect::<Vec<_>>(),
        expected.map(|(name, kind)| (name.to_owned(), kind))
    );
    assert!(
        world
            .core
            .journal_ref()
            .unwrap()
            .alarms_owed()
            .unwrap()
            .away
            .is_empty()
    );
}
