//! Several cameras at once, and what is said beside their clips.

use journal::ids::Channel;
use journal::message::NoticeKind;
use journal::{AppClipState, Taken};

use super::super::*;
use super::given::{alert, still};
use super::world::{World, event, piece};
use crate::camera::EventEnd;

const DOOR: CameraNumber = CameraNumber::FIRST;
const YARD: CameraNumber = CameraNumber(1);

fn event_of(camera: &str) -> Event {
    Event {
        camera: camera.into(),
        ..event()
    }
}

/// Both cameras record, each with a piece of its own.
fn both() -> World {
    let mut world = World::paired();
    for (camera, name) in [(DOOR, "door"), (YARD, "yard")] {
        let begun = world.core.begin_event(camera, event_of(name), 5).unwrap();
        assert_eq!(begun, Recorded::Taken);
    }
    take(&mut world, DOOR, 1);
    take(&mut world, YARD, 2);
    world.core.commit(5).unwrap();
    world
}

fn take(world: &mut World, camera: CameraNumber, number: u64) {
    let taken = world
        .core
        .take_pieces(camera, vec![piece(number)], 6)
        .unwrap();
    assert_eq!(taken, Recorded::Taken);
}

fn bytes(numbers: &[u64]) -> Vec<u8> {
    let pieces = numbers.iter().flat_map(|number| piece(*number).bytes);
    pieces.collect()
}

fn end(world: &mut World, camera: CameraNumber) {
    let ended = world
        .core
        .end_event(camera, EventEnd::Completed, 7)
        .unwrap();
    assert_eq!(ended, Recorded::Taken);
    world.core.commit(7).unwrap();
}

#[test]
fn two_cameras_record_at_once_and_neither_ends_the_other() {
    let mut world = both();
    assert_eq!(world.core.status().unwrap().recording_of, ["door", "yard"]);
    take(&mut world, DOOR, 3);
    end(&mut world, DOOR);
    assert_eq!(world.core.status().unwrap().recording_of, ["yard"]);
    let late = world.core.take_pieces(DOOR, vec![piece(9)], 7).unwrap();
    assert_eq!(late, Recorded::Not(Stop::NoClip));
    take(&mut world, YARD, 4);
    // The first camera's next event meanwhile.
    let begun = world.core.begin_event(DOOR, event_of("door"), 8).unwrap();
    assert_eq!(begun, Recorded::Taken);
    take(&mut world, DOOR, 5);
    end(&mut world, YARD);
    end(&mut world, DOOR);
    world.deliver();
    let clips = world.app_clips();
    assert!(
        clips
            .iter()
            .all(|(state, _)| *state == AppClipState::Complete)
    );
    let found: Vec<Vec<u8>> = clips.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(found, [bytes(&[1, 3]), bytes(&[2, 4]), bytes(&[5])]);
    world.ack();
}

#[test]
fn a_power_cut_cuts_off_both_and_a_journal_opened_again_neither() {
    let mut world = both();
    world.crash();
    let mut ends = world.finished();
    ends.sort_by_key(|clip| clip.bytes);
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|clip| clip.state == ClipState::CutOff));
    assert_eq!(ends[0].bytes, bytes(&[1]).len() as u64);
    world.deliver();
    let found: Vec<Vec<u8>> = world
        .app_clips()
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    assert_eq!(found, [bytes(&[1]), bytes(&[2])]);

    let mut world = both();
    take(&mut world, DOOR, 3);
    take(&mut world, YARD, 4);
    world
        .disk
        .inject(world.disk.op_count() + 1, wal::disk::Fault::Eio);
    assert!(world.reopens(Core::commit));
    end(&mut world, DOOR);
    end(&mut world, YARD);
    world.deliver();
    let clips = world.app_clips();
    assert!(
        clips
            .iter()
            .all(|(state, _)| *state == AppClipState::Complete)
    );
    let found: Vec<Vec<u8>> = clips.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(found, [bytes(&[1, 3]), bytes(&[2, 4])]);
}

#[test]
fn notification_and_picture_reach_the_phone_while_the_clip_is_recorded() {
    let mut world = World::paired();
    let alert = alert(1_000);
    let still = still(1_000);
    assert_eq!(world.core.handle_alert(&alert, 5).unwrap(), Recorded::Taken);
    assert!(
        world.notices().is_empty(),
        "nothing is said before it is durable"
    );
    world.core.commit(5).unwrap();
    world.record_some(1);
    assert_eq!(world.core.handle_still(&still, 6).unwrap(), Recorded::Taken);
    world.core.commit(6).unwrap();
    let told: Vec<Channel> = world
        .notices()
        .iter()
        .filter_map(|notice| match notice {
            Notice::Told { line, .. } => Some(line.channel),
            _ => None,
        })
        .collect();
    assert_eq!(told, [Channel::Notification, Channel::Thumbnail]);
    let said = world.fetch_on(Channel::Notification);
    assert!(
        matches!(said[..], [Taken::NewEpoch(_), Taken::Notified(_)]),
        "{said:?}"
    );
    let seen = world.fetch_on(Channel::Thumbnail);
    let state = AppClipState::Complete;
    assert!(
        matches!(seen.last(), Some(Taken::Ended { state: found, .. }) if *found == state),
        "{seen:?}"
    );
    // What was seen in it may be hinted at any time behind that.
    let hinted = world.core.handle_person(&alert, 7).unwrap();
    assert_eq!(hinted, Recorded::Taken);
    world.core.commit(7).unwrap();
    let said = world.fetch_on(Channel::Notification);
    assert!(
        matches!(&said[..], [Taken::NewEpoch(_), Taken::Notified(said)] if said.kind == NoticeKind::Person),
        "{said:?}"
    );
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes(&[0]))]);
}

#[test]
fn without_room_or_a_phone_nothing_is_said_and_nothing_else_stops() {
    let alert = alert(1_000);
    let mut alone = World::unpaired();
    let said = alone.core.handle_alert(&alert, 5).unwrap();
    assert_eq!(said, Recorded::Not(Stop::NoPairing));
    let mut world = World::paired();
    world.record_some(1);
    world.core.room = Some(false);
    let said = world.core.handle_alert(&alert, 5).unwrap();
    assert_eq!(said, Recorded::Not(Stop::Space));
    let said = world.core.handle_person(&alert, 5).unwrap();
    assert_eq!(said, Recorded::Not(Stop::Space));
    world.core.room = None;
    assert!(world.core.is_recording());
    world.record_more(1..2);
    world.end_event(EventEnd::Completed);
}

#[test]
fn in_privacy_mode_and_at_a_constant_rate_nothing_is_said_beside_a_clip() {
    let alert = alert(1_000);
    let still = still(1_000);
    let mut world = both();
    let privacy = |privacy| journal::message::Settings {
        privacy,
        event_seconds_max: None,
        ..journal::message::Settings::default()
    };
    world.core.set(privacy(true), 7).unwrap();
    assert!(!world.core.is_recording(), "neither of both cameras");
    let said = world.core.handle_alert(&alert, 8).unwrap();
    assert_eq!(said, Recorded::Not(Stop::Privacy));
    let seen = world.core.handle_still(&still, 8).unwrap();
    assert_eq!(seen, Recorded::Not(Stop::Privacy));
    world.core.set(privacy(false), 9).unwrap();
    assert_eq!(world.core.handle_alert(&alert, 9).unwrap(), Recorded::Taken);

    let journal = world.core.journal.as_mut().unwrap();
    journal.send_in_full_size(Channel::EventVideo);
    let said = world.core.handle_alert(&alert, 10).unwrap();
    assert_eq!(said, Recorded::Not(Stop::Covered));
    let seen = world.core.handle_still(&still, 10).unwrap();
    assert_eq!(seen, Recorded::Not(Stop::Covered));
    let begun = world.core.begin_event(DOOR, event_of("door"), 10).unwrap();
    assert_eq!(begun, Recorded::Taken);
}

/// A few numbers that come out the same every time.
struct Rolls(u64);

impl Rolls {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What was offered of one event.
struct Offered {
    camera: String,
    bytes: Vec<u8>,
}

/// Three cameras, a disk that fails now and then, and power cuts.
fn play(seed: u64) {
    let mut world = World::paired();
    let mut rolls = Rolls(seed);
    let mut offered: Vec<Offered> = Vec::new();
    let mut open: [Option<usize>; 3] = [None; 3];
    let mut fault_at = 0;
    for step in 0..80 {
        let which = rolls.below(3) as usize;
        let camera = CameraNumber(which as u8);
        let name = format!("camera {which}");
        match rolls.below(12) {
            0..=2 => {
                let begun = world.core.begin_event(camera, event_of(&name), 5);
                open[which] = matches!(begun, Ok(Recorded::Taken)).then_some(offered.len());
                offered.push(Offered {
                    camera: name,
                    bytes: Vec::new(),
                });
            }
            3..=7 => {
                let Some(at) = open[which] else {
                    continue;
                };
                let one = piece(seed * 1_000 + step);
                offered[at].bytes.extend_from_slice(&one.bytes);
                match world.core.take_pieces(camera, vec![one], 6) {
                    Ok(Recorded::Taken) => {}
                    // A recorder begins anew.
                    Ok(Recorded::Not(_)) | Err(CoreError::Reopened) => {
                        let _ended = world.core.end_event(camera, EventEnd::CutOff, 6);
                        open[which] = None;
                    }
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
            8 => {
                let _ended = world.core.end_event(camera, EventEnd::Completed, 7);
                open[which] = None;
            }
            // One error at a time: two in a row end the process.
            9 if world.disk.op_count() > fault_at + 200 => {
                fault_at = world.disk.op_count() + rolls.below(8);
                world.disk.inject(fault_at, wal::disk::Fault::Eio);
            }
            10 => {
                world.crash();
                open = [None; 3];
                fault_at = 0;
            }
            _ => {
                let _reopened = world.reopens(Core::commit);
            }
        }
    }
    world.disk.heal();
    for number in 0..3 {
        let _ended = world
            .core
            .end_event(CameraNumber(number), EventEnd::CutOff, 8);
    }
    for _ in 0..2 {
        let _reopened = world.reopens(Core::commit);
    }
    let holds = world.holds();
    for (clip, bytes) in holds.clips.iter().zip(&holds.bytes) {
        let ended = matches!(clip.state, AppClipState::Complete | AppClipState::CutOff);
        assert!(ended, "seed {seed}: {clip:?}");
        let of_one = offered
            .iter()
            .any(|one| one.camera == clip.camera && one.bytes.starts_with(bytes));
        assert!(of_one, "seed {seed}: {clip:?}");
    }
    let open = world.core.status().unwrap().clips.into_iter();
    let open = open.filter(|clip| clip.state == ClipState::Recording);
    assert_eq!(open.count(), 0, "seed {seed}");
}

#[test]
fn whatever_happens_each_clip_is_the_beginning_of_one_event_of_its_camera() {
    for seed in 0..48 {
        play(seed);
    }
}
