//! Covers: staged and told like anything else, and the first to go without.

use journal::AppClipState;
use journal::ids::{Channel, PairingId};

use super::super::*;
use super::world::{NOW_MS, World};
use crate::camera::EventEnd;

#[test]
fn a_cover_is_durable_before_it_is_told_and_goes_with_an_ack() {
    let mut world = World::paired();
    let line = world.line;
    let last = |world: &World| world.core.heads().unwrap()[&line].last;
    let before = last(&world);
    assert!(world.core.handle_cover_due(line, NOW_MS).unwrap());
    assert!(world.core.has_staged());
    assert_eq!(last(&world), before);
    world.core.commit(NOW_MS).unwrap();
    assert_eq!(last(&world), before.next());
    world.deliver();
    world.ack();
    let status = world.core.status().unwrap();
    assert_eq!(status.lines[0].unacked_envelopes, 0);
    assert!(world.notices().is_empty());
}

#[test]
fn a_clip_goes_on_among_covers() {
    let mut world = World::paired();
    let line = world.line;
    let mut expected = world.record_some(2);
    for number in 2..5 {
        assert!(world.core.handle_cover_due(line, NOW_MS).unwrap());
        world.core.commit(NOW_MS).unwrap();
        expected.extend(world.record_more(number..number + 1));
    }
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, expected)]);
}

#[test]
fn there_is_none_without_room_or_for_a_phone_that_is_not_there() {
    let mut world = World::paired();
    world.core.room = Some(false);
    assert!(!world.core.handle_cover_due(world.line, NOW_MS).unwrap());
    world.core.room = None;
    let nobody = Line::of(PairingId([9; 16]), Channel::EventVideo);
    assert!(!world.core.handle_cover_due(nobody, NOW_MS).unwrap());
    // The other lines carry nothing that a camera saw.
    let config = Line::of(world.line.pairing, Channel::Config);
    assert!(!world.core.handle_cover_due(config, NOW_MS).unwrap());
    assert!(!world.core.has_staged());
}
