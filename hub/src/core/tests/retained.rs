//! Clips that are retained until they are acked, and played to the phone that takes a lost one's place.

use std::time::Duration;

use journal::AppClipState;
use journal::ids::{Channel, Line};

use super::super::*;
use super::world::{World, event, piece};
use crate::camera::EventEnd;

/// An event with a clip of its own start, whole. Returns its bytes.
fn event_at(world: &mut World, started_unix_ms: u64, pieces: std::ops::Range<u64>) -> Vec<u8> {
    let event = Event {
        started_unix_ms,
        ..event()
    };
    let begun = world.core.handle_event_started(event, 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    let bytes = world.record_more(pieces);
    world.end_event(EventEnd::Completed);
    bytes
}

fn tick(world: &mut World, times: u32) {
    for _ in 0..times {
        world.core.handle_timeout(9).unwrap();
        world.core.commit(9).unwrap();
    }
}

#[test]
fn a_new_phone_gets_what_a_lost_one_never_had_in_order_and_once() {
    let mut world = World::paired();
    let lost = world.line.pairing;
    let before = event_at(&mut world, 500, 0..2);
    world.core.set_retention(true);
    let first = event_at(&mut world, 1_000, 2..5);
    // A camera that failed.
    world.record_some(1);
    let second = [piece(0).bytes.to_vec(), world.record_more(5..7)].concat();
    world.end_event(EventEnd::CutOff);
    assert!(before.len() > 1_000);

    let mut new = world.pair_another();
    assert_eq!(world.core.handle_play(new.line.pairing, lost, 8).unwrap(), 2);
    // What comes later is not played a second time.
    let own = event_at(&mut world, super::world::NOW_MS + 5_000, 7..9);
    tick(&mut world, 5);
    new.deliver(&mut world.core);
    let complete = AppClipState::Complete;
    let clips = new.clips();
    assert_eq!(
        clips,
        [
            (complete, own),
            (complete, first),
            (AppClipState::CutOff, second)
        ]
    );
    // Of what was played, the lost phone's copies are gone, and the new phone has its own until its ack.
    let kept = world.core.retained().unwrap();
    let of = |phone| kept.iter().filter(|clip| clip.pairing == phone).count();
    assert_eq!((of(lost), of(new.line.pairing)), (1, 3));
    assert_eq!(world.core.handle_forget(lost, 9).unwrap(), 1);
    assert!(world.core.retained().unwrap().iter().all(|clip| clip.pairing != lost));
    // Nothing more is to be played, also after a start.
    world.crash();
    tick(&mut world, 2);
    new.deliver(&mut world.core);
    assert_eq!(new.clips().len(), 3);
}

#[test]
fn an_ack_ends_the_copy_and_nothing_is_kept_unless_it_is_asked_for() {
    let mut world = World::paired();
    event_at(&mut world, 1_000, 0..2);
    assert!(world.core.retained().unwrap().is_empty());
    world.core.set_retention(true);
    event_at(&mut world, 2_000, 2..4);
    assert_eq!(world.core.retained().unwrap().len(), 1);
    world.deliver();
    world.ack();
    assert!(world.core.retained().unwrap().is_empty());
    tick(&mut world, 1);
    // The one that is being recorded keeps its copy through an ack, and through a start.
    world.record_some(2);
    world.deliver();
    world.ack();
    assert_eq!(world.core.retained().unwrap().len(), 1);
    world.crash();
    let kept = world.core.retained().unwrap();
    assert_eq!((kept.len(), kept[0].chunks, kept[0].is_whole), (1, 2, false));
    world.deliver();
    world.ack();
    assert!(world.core.retained().unwrap().is_empty());
}

/// A crash while a clip is played: the new phone gets the piece, marked as cut off, and then the whole.
#[test]
fn what_a_crash_cuts_off_is_played_again_whole() {
    let mut world = World::paired();
    world.core.set_retention(true);
    let lost = world.line.pairing;
    let bytes = event_at(&mut world, 1_000, 0..4);
    let mut new = world.pair_another();
    world.core.handle_play(new.line.pairing, lost, 8).unwrap();
    world.disk.record_snapshots();
    tick(&mut world, 1);
    let snapshots = world.disk.snapshots();
    assert!(snapshots.len() > 2, "only {} states", snapshots.len());
    let last = snapshots.len() - 1;
    for at in [1, last, last / 2] {
        let crashed = snapshots[at].crash_clone(wal::disk::CrashPolicy::LoseAll, at as u64);
        world.restart_on(crashed);
        tick(&mut world, 3);
        let kept = world.core.retained().unwrap();
        assert!(kept.iter().all(|clip| clip.pairing != lost), "state {at}");
    }
    new.deliver(&mut world.core);
    let whole: Vec<_> = new
        .clips()
        .into_iter()
        .filter(|(state, _)| *state == AppClipState::Complete)
        .collect();
    assert_eq!(whole, [(AppClipState::Complete, bytes)]);
}

#[test]
fn a_phone_that_is_not_there_gets_nothing() {
    let mut world = World::paired();
    let own = world.line.pairing;
    let nobody = journal::ids::PairingId([9; 16]);
    assert!(world.core.handle_play(nobody, own, 8).is_err());
    assert!(world.core.handle_play(own, own, 8).is_err());
    assert_eq!(world.core.handle_play(own, nobody, 8).unwrap(), 0);
    tick(&mut world, 2);
    assert_eq!(world.core.handle_forget(nobody, 8).unwrap(), 0);
}

#[test]
fn what_is_being_recorded_is_not_forgotten_and_all_else_is() {
    let mut world = World::paired();
    let own = world.line.pairing;
    world.core.set_retention(true);
    event_at(&mut world, 1_000, 0..2);
    // An event of which nothing has come yet has no copy, and spares none.
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    assert_eq!(world.core.handle_forget(own, 8).unwrap(), 1);
    assert!(world.core.retained().unwrap().is_empty());
    world.record_more(2..3);
    assert_eq!(world.core.handle_forget(own, 8).unwrap(), 0);
    world.record_more(3..4);
    world.end_event(EventEnd::Completed);
    let kept = world.core.retained().unwrap();
    assert_eq!((kept.len(), kept[0].chunks, kept[0].is_whole), (1, 2, true));
}

/// A phone that takes a lost one's place and is silent itself gets nothing new, not of the lost one's either.
#[test]
fn a_silent_phone_is_played_nothing_until_it_is_heard_of() {
    let mut world = World::paired();
    let lost = world.line.pairing;
    world.core.set_retention(true);
    let bytes = event_at(&mut world, 1_000, 0..2);
    let mut new = world.pair_another();
    let phone = new.line.pairing;
    world.core.limit_silence(SilenceLimits {
        silent_after: Duration::from_secs(3600),
        removed_after: Duration::from_secs(3 * 3600),
    });
    world.idle(62);
    assert_eq!(world.core.handle_play(phone, lost, 8).unwrap(), 1);
    world.idle(2);
    new.deliver(&mut world.core);
    assert!(new.clips().is_empty());
    new.beat(1);
    let config = Line::of(phone, Channel::Config);
    let _verdicts = new.send(&mut world.core, config, super::world::NOW_MS);
    world.idle(1);
    new.deliver(&mut world.core);
    assert_eq!(new.clips(), [(AppClipState::Complete, bytes)]);
}
