//! What phones set at cameras: each change once, over whatever crashes, and nothing that cannot be.

use journal::message::{CameraDoc, CameraSettings, CommandKind, CommandResult, Refusal};
use wal::disk::CrashPolicy;

use super::super::*;
use super::world::{NOW_MS, Phone, World, opener};
use crate::config::detection::Detection;
use crate::person::{PersonProgram, Score};

/// A camera that is watched, and one whose events go by the clock.
fn detections() -> Detections {
    let watched = ("door".to_owned(), Some(Box::new(Detection::default())));
    [watched, ("clock".to_owned(), None)].into_iter().collect()
}

fn world() -> World {
    let mut world = World::paired();
    world.core.set_detections(detections());
    world
}

fn sensitive(sensitivity: u8) -> CameraSettings {
    CameraSettings {
        sensitivity: Some(sensitivity),
        ..CameraSettings::default()
    }
}

fn persons(on: bool) -> CameraSettings {
    CameraSettings {
        persons: Some(on),
        ..CameraSettings::default()
    }
}

fn ask(camera: &str) -> CommandKind {
    CommandKind::Camera {
        camera: camera.into(),
    }
}

/// The last answer that a phone has.
fn last(phone: &Phone) -> CommandResult {
    phone.book().done.last().unwrap().result.clone()
}

fn set_at(core: &Core) -> Vec<CameraDoc> {
    core.wishes().cameras.to_vec()
}

#[test]
fn a_camera_is_asked_for_and_set_and_a_start_has_it() {
    let mut world = world();
    let (core, phone) = world.ends();
    phone.order(ask("door"));
    let _taken = phone.talk(core);
    assert_eq!(last(phone), CommandResult::Camera(CameraDoc::unset("door")));
    // Two back to back both apply.
    phone.set_camera("door", sensitive(70));
    phone.set_camera("door", sensitive(71));
    for _ in 0..2 {
        let _taken = phone.talk(core);
    }
    let CommandResult::CameraChanged(doc) = last(phone) else {
        panic!("{:?}", last(phone));
    };
    assert_eq!((doc.version, &doc.settings), (2, &sensitive(71)));
    assert_eq!(set_at(core), std::slice::from_ref(&doc));
    let settings = core.status().unwrap().settings;
    assert_eq!(
        settings.version, 0,
        "those of the hub are a document of their own"
    );
    let status = core.status().unwrap().cameras_set;
    assert_eq!(status.len(), 1);
    assert!(status[0].fits && status[0].doc == doc);

    world.crash();
    assert_eq!(set_at(&world.core), std::slice::from_ref(&doc));
    assert!(world.core.status().unwrap().cameras_set.is_empty());
    // The configuration has changed meanwhile: what was set does not fit any more, and is not lost.
    let mut other = detections();
    other.remove("door");
    world.core.set_detections(other);
    assert!(world.core.status().unwrap().cameras_set.is_empty());
    assert_eq!(set_at(&world.core), [doc]);
}

#[test]
fn two_phones_that_set_a_camera_at_once_are_told_and_another_camera_is_not_in_their_way() {
    let mut world = world();
    let mut second = detections();
    second.insert("yard".into(), Some(Box::new(Detection::default())));
    world.core.set_detections(second);
    let mut other = world.pair_another();
    let (core, phone) = world.ends();
    other.set_camera("door", sensitive(20));
    let _taken = other.talk(core);
    phone.set_camera("door", sensitive(70));
    phone.set_camera("yard", sensitive(30));
    for _ in 0..3 {
        let _taken = phone.talk(core);
    }
    let results: Vec<CommandResult> = phone
        .book()
        .done
        .iter()
        .map(|done| done.result.clone())
        .collect();
    let [
        CommandResult::CameraConflict(lost),
        CommandResult::CameraChanged(yard),
    ] = &results[..]
    else {
        panic!("{results:?}");
    };
    assert_eq!((lost.version, &lost.settings), (1, &sensitive(20)));
    assert_eq!((yard.camera.as_str(), yard.version), ("yard", 1));
    assert_eq!(set_at(core).len(), 2);
    // From what it was told it can start anew.
    phone.set_camera("door", sensitive(71));
    let _taken = phone.talk(core);
    assert!(
        matches!(last(phone), CommandResult::CameraChanged(doc) if doc.version == 2),
        "{:?}",
        last(phone)
    );
}

#[test]
fn what_cannot_be_set_is_refused_and_changes_nothing() {
    let mut world = world();
    let (core, phone) = world.ends();
    let refused = CommandResult::Refused;
    phone.order(ask("nobody"));
    let _taken = phone.talk(core);
    assert_eq!(last(phone), refused(Refusal::NoSuchCamera));
    for (camera, settings, refusal) in [
        ("nobody", sensitive(70), Refusal::NoSuchCamera),
        ("clock", sensitive(70), Refusal::NothingDetected),
        ("door", sensitive(0), Refusal::OutOfRange),
        ("clock", persons(false), Refusal::NothingDetected),
        // The configuration names nobody to ask.
        ("door", persons(true), Refusal::OutOfRange),
        (
            "door",
            CameraSettings {
                // By itself it can be; the configuration's longest event is as long.
                post_roll_ms: Some(120_000),
                ..CameraSettings::default()
            },
            Refusal::OutOfRange,
        ),
    ] {
        phone.set_camera(camera, settings);
        let _taken = phone.talk(core);
        assert_eq!(last(phone), refused(refusal), "{camera}");
    }
    assert!(set_at(core).is_empty());
}

/// Where the configuration names whom to ask: a phone says whether, each time in a version of its own.
#[test]
fn the_hint_at_persons_is_turned_off_and_on_and_a_start_has_it() {
    let mut world = World::paired();
    let asked = Detection {
        person: Some(PersonProgram {
            program: "guess".into(),
            arguments: Vec::new(),
            at_least: Score::new(70).unwrap(),
        }),
        ..Detection::default()
    };
    let mut all = detections();
    all.insert("door".into(), Some(Box::new(asked.clone())));
    world.core.set_detections(all);
    let (core, phone) = world.ends();
    for (version, on) in [(1, true), (2, false), (3, true)] {
        phone.set_camera("door", persons(on));
        let _taken = phone.talk(core);
        let CommandResult::CameraChanged(doc) = last(phone) else {
            panic!("{:?}", last(phone));
        };
        assert_eq!((doc.version, &doc.settings), (version, &persons(on)));
        let person = asked.with(&doc.settings).unwrap().person;
        assert_eq!(person.is_some(), on);
    }
    let set = set_at(core);
    world.crash();
    assert_eq!(set_at(&world.core), set);
    assert_eq!((set[0].version, set[0].settings.persons), (3, Some(true)));
    // The configuration names nobody any more: whatever else is set at that camera holds.
    world.core.set_detections(detections());
    assert!(world.core.status().unwrap().cameras_set[0].fits);
}

/// A power cut at every disk operation of taking a change: it is made once, and its phone hears so.
#[test]
fn a_change_survives_a_crash_at_every_operation() {
    let mut states = 0;
    let mut world = world();
    world.disk.record_snapshots();
    let (core, phone) = world.ends();
    phone.set_camera("door", sensitive(70));
    assert!(phone.say_order());
    let config = phone.config();
    assert_eq!(phone.send(core, config, NOW_MS), [Verdict::Taken]);
    let snapshots = world.disk.snapshots();
    for (i, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let seed = i as u64;
            let disk = snapshot.crash_clone(policy, seed);
            let limits = SilenceLimits::default();
            let mut core = Core::start(opener(&disk, 9_000 + seed), limits, NOW_MS).unwrap();
            core.set_detections(detections());
            let (_old, phone) = world.ends();
            let mut phone = phone.twin(seed);
            for _ in 0..3 {
                let _taken = phone.talk(&mut core);
            }
            let book = phone.book();
            assert!(book.pending.is_empty(), "{i} {policy:?}: {book:?}");
            assert!(
                matches!(last(&phone), CommandResult::CameraChanged(doc) if doc.version == 1),
                "{i} {policy:?}"
            );
            assert_eq!(set_at(&core).len(), 1, "{i} {policy:?}");
            assert_eq!(set_at(&core)[0].version, 1, "{i} {policy:?}");
            states += 1;
        }
    }
    assert!(states > 20, "only {states} states");
}
