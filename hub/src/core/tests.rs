//! The core over a simulated disk, with an app's real journal on the other side.

mod age;
mod budget;
mod camera_settings;
mod cameras;
mod checkpoint;
mod command;
mod cover;
mod fragments;
mod full;
pub(crate) mod gate;
pub(crate) mod given;
mod heartbeat;
mod invite;
mod live;
mod names;
mod phones;
mod retained;
mod rollback;
mod rotation;
mod tell;
mod trouble;
pub(crate) mod world;

use journal::AppClipState;
use wire::ids::Seq;

use super::*;
use crate::camera::EventEnd;
use world::{World, event, piece};

#[test]
fn an_event_is_played_byte_for_byte_and_costs_one_sync_before_its_first_byte() {
    let mut world = World::paired();
    let before = world.disk.totals().1;
    assert_eq!(
        world.core.handle_event_started(event(), 5).unwrap(),
        Recorded::Taken
    );
    assert_eq!(
        world.core.handle_pieces(vec![piece(0)], 5).unwrap(),
        Recorded::Taken
    );
    assert_eq!(
        world.disk.totals().1,
        before,
        "nothing is synced before the commit"
    );
    assert!(
        world.notices().is_empty(),
        "nothing is said before it is durable"
    );
    world.core.commit(5).unwrap();
    assert_eq!(world.disk.totals().1, before + 1);
    let started = world.notices();
    assert!(
        matches!(
            started[..],
            [Notice::ClipStarted {
                started_unix_ms: 1_000,
                ..
            }]
        ),
        "{started:?}"
    );

    let mut expected = piece(0).bytes.to_vec();
    for n in 1..5 {
        let _ = world
            .core
            .handle_pieces(vec![piece(n), piece(n + 10)], 6)
            .unwrap();
        world.core.commit(6).unwrap();
        expected.extend_from_slice(&piece(n).bytes);
        expected.extend_from_slice(&piece(n + 10).bytes);
    }
    world.end_event(EventEnd::Completed);
    let finished = world.finished();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].bytes, expected.len() as u64);

    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, expected)]);
    world.ack();
    let status = world.core.status().unwrap();
    assert_eq!(status.lines[0].unacked_envelopes, 0);
    assert_eq!(status.lines[0].epoch, world.app_epoch());
    assert!(!status.recording);
}

#[test]
fn a_hub_that_dies_in_a_clip_cuts_it_off_with_the_right_digest() {
    let mut world = World::paired();
    let bytes = world.record_some(4);
    // Staged and never synced: lost with the process.
    let _ = world.core.handle_pieces(vec![piece(99)], 6).unwrap();
    world.crash();
    let finished = world.finished();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].state, ClipState::CutOff);
    assert_eq!(finished[0].bytes, bytes.len() as u64);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::CutOff, bytes)]);
    // A second start owes nothing.
    let epoch = world.core.status().unwrap().lines[0].epoch;
    world.crash();
    assert!(world.finished().is_empty());
    assert_eq!(world.core.status().unwrap().lines[0].epoch, epoch);
}

#[test]
fn a_camera_that_fails_marks_its_clip() {
    let mut world = World::paired();
    let bytes = world.record_some(2);
    world.end_event(EventEnd::CutOff);
    assert_eq!(world.finished()[0].state, ClipState::CutOff);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::CutOff, bytes)]);
}

#[test]
fn an_event_without_pictures_leaves_nothing_behind() {
    let mut world = World::paired();
    let epoch = world.core.status().unwrap().lines[0].epoch;
    let _ = world.record_some(0);
    world.end_event(EventEnd::Completed);
    let status = world.core.status().unwrap();
    assert_eq!((status.lines[0].epoch, status.clips.len()), (epoch, 0));
}

#[test]
fn scenario_12_a_stale_ack_in_a_clip_does_not_cost_the_right_to_encrypt() {
    let mut world = World::paired();
    let _ = world.record_some(1);
    world.deliver();
    // The phone acks in this epoch; before that arrives, the hub has moved on.
    world.app_ack();
    world.end_event(EventEnd::Completed);
    let bytes = world.record_some(1);
    let epoch = world.core.status().unwrap().lines[0].epoch;
    assert_eq!(world.take_from_app(), [Verdict::Taken]);
    let more = world.record_more(7..8);
    assert_eq!(
        world.core.status().unwrap().lines[0].epoch,
        epoch,
        "no Commit was needed"
    );
    world.end_event(EventEnd::Completed);
    world.deliver();
    let clips = world.app_clips();
    assert_eq!(clips[1], (AppClipState::Complete, [bytes, more].concat()));
}

#[test]
fn garbage_in_the_mailbox_changes_nothing() {
    let mut world = World::paired();
    let _ = world.record_some(1);
    world.deliver();
    world.app_ack();
    let (seq, envelope) = world.sent_by_app().remove(0);
    let line = world.line;
    let mut bad = envelope.clone();
    bad[40] ^= 1;
    let verdict = |world: &mut World, seq, bytes: &[u8]| {
        world
            .core
            .handle_envelope(line, seq, bytes, 9)
            .unwrap()
            .verdict
    };
    assert_eq!(verdict(&mut world, seq, &bad), Verdict::NotAuthentic);
    assert_eq!(
        verdict(&mut world, seq, &envelope[..10]),
        Verdict::NotAuthentic
    );
    assert_eq!(
        verdict(&mut world, Seq(seq.0 + 1), &envelope),
        Verdict::NotAuthentic
    );
    assert!(!world.core.has_staged());
    assert_eq!(verdict(&mut world, seq, &envelope), Verdict::Taken);
    world.core.commit(9).unwrap();
    assert_eq!(verdict(&mut world, seq, &envelope), Verdict::Duplicate);
}

#[test]
fn without_a_phone_events_are_not_recorded_and_that_is_said_once() {
    let mut world = World::unpaired();
    for _ in 0..3 {
        assert_eq!(
            world.core.handle_event_started(event(), 5).unwrap(),
            Recorded::Not(Stop::NoPairing)
        );
    }
    assert_eq!(world.notices(), [Notice::NotRecorded(Stop::NoPairing)]);
}
