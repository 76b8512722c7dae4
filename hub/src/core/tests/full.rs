//! Full disks: video goes, epochs and notices never, and nothing is tried for ever.

use journal::AppClipState;
use wal::disk::Fault;

use super::super::*;
use super::world::{World, event, piece};
use crate::camera::EventEnd;

#[test]
fn scenario_07_a_full_disk_ends_the_clip_once_and_burns_no_epoch() {
    let mut world = World::paired();
    let bytes = world.record_some(2);
    let epoch = world.core.status().unwrap().lines[0].epoch;
    world.notices();
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    let huge: Vec<Piece> = (0..2_000).map(piece).collect();
    assert_eq!(
        world.core.handle_pieces(huge, 6).unwrap(),
        Recorded::Not(Stop::Space)
    );
    world.core.commit(6).unwrap();
    let notices = world.notices();
    assert!(
        notices.contains(&Notice::NotRecorded(Stop::Space)),
        "{notices:?}"
    );
    let ended = notices.iter().any(|notice| {
        matches!(notice, Notice::ClipFinished { clip, .. } if clip.state == ClipState::CutOff)
    });
    assert!(ended, "a truncated clip is not whole: {notices:?}");
    assert_eq!(
        world.core.handle_pieces(vec![piece(3)], 6).unwrap(),
        Recorded::Not(Stop::NoClip)
    );
    assert_eq!(world.core.status().unwrap().lines[0].epoch, epoch);
    world.disk.set_capacity(None);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::CutOff, bytes)]);
    // There is room again, and events are recorded again.
    let _ = world.record_some(1);
}

/// A piece as large as pieces get.
fn big(number: u8) -> Piece {
    Piece {
        bytes: bytes::Bytes::from(vec![number; journal::CHUNK_BYTES_MAX]),
        captured_unix_ms: 1,
    }
}

/// Big pieces, each synced, until the disk refuses one. Returns the bytes that were taken.
fn record_until_refused(world: &mut World) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..=u8::MAX {
        match world.core.handle_pieces(vec![big(number)], 6).unwrap() {
            Recorded::Taken => bytes.extend_from_slice(&big(number).bytes),
            Recorded::Not(why) => {
                assert_eq!(why, Stop::Space);
                world.core.commit(6).unwrap();
                return bytes;
            }
        }
        world.core.commit(6).unwrap();
    }
    panic!("the disk is never full");
}

/// There is room when it is asked for, and none when the piece is to be stored: somebody else was
/// quicker.
#[test]
fn a_piece_that_the_disk_refuses_is_given_up_and_the_clip_ends_with_what_was_stored() {
    let mut world = World::paired();
    let mut bytes = world.record_some(2);
    world.core.room = Some(true);
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    bytes.extend(record_until_refused(&mut world));
    let full = world.core.status().unwrap();
    assert_eq!((full.recording, full.stopped), (false, Some(Stop::Space)));
    // Later pieces and events are refused too, and do not ask the disk for the one that it refused.
    let operations = world.disk.op_count();
    for number in 0..20 {
        let refused = world.core.handle_pieces(vec![piece(number)], 6).unwrap();
        assert_eq!(refused, Recorded::Not(Stop::NoClip));
        assert!(!world.core.has_staged());
    }
    assert_eq!(world.disk.op_count(), operations);
    world.core.room = None;
    // This is about the one clip that there is: it does not make room for the next.
    world.core.keeps_all = true;
    for now in 0..3 {
        let refused = world.core.handle_event_started(event(), 7).unwrap();
        assert_eq!(refused, Recorded::Not(Stop::Space));
        world.core.handle_timeout(now).unwrap();
        world.core.commit(7).unwrap();
    }
    let mut said = world.notices();
    let space = Notice::NotRecorded(Stop::Space);
    assert_eq!(said.iter().filter(|one| **one == space).count(), 1);

    world.disk.set_capacity(None);
    world.core.handle_timeout(8).unwrap();
    world.core.commit(8).unwrap();
    said.extend(world.notices());
    let finished: Vec<_> = said
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::ClipFinished { clip, .. } => Some((clip.state, clip.bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(finished, [(ClipState::CutOff, bytes.len() as u64)]);
    // The next event is tried afresh.
    let next = world.record_some(2);
    world.end_event(EventEnd::Completed);
    assert_eq!(world.core.status().unwrap().stopped, None);
    world.deliver();
    let clips = world.app_clips();
    assert!(clips[0] == (AppClipState::CutOff, bytes));
    assert!(clips[1] == (AppClipState::Complete, next));
    world.ack();
}

/// The very first piece: nothing was begun, so nothing has to end, and nothing stands in the way.
#[test]
fn an_event_whose_first_piece_is_refused_leaves_nothing() {
    let mut world = World::paired();
    world.core.room = Some(true);
    let full = |world: &World| world.disk.set_capacity(Some(world.disk.used_bytes()));
    full(&world);
    for _ in 0..500 {
        let clips = world.core.status().unwrap().clips.len();
        if world.core.handle_event_started(event(), 5).unwrap() != Recorded::Taken {
            // The end of the one before is owed.
            world.disk.set_capacity(None);
            world.core.handle_timeout(6).unwrap();
            world.core.commit(6).unwrap();
            full(&world);
            continue;
        }
        let taken = world.core.handle_pieces(vec![big(1)], 6).unwrap();
        world.core.commit(6).unwrap();
        if taken == Recorded::Not(Stop::Space) {
            assert_eq!(world.core.status().unwrap().clips.len(), clips);
            assert!(
                world.core.recordings.is_empty(),
                "something is still wanted"
            );
            world.disk.set_capacity(None);
            world.core.room = None;
            let _ = world.record_some(1);
            world.end_event(EventEnd::Completed);
            world.deliver();
            return;
        }
    }
    panic!("no first piece was refused");
}

/// A sync fails, and what it lost does not fit any more: the hub lives on, and the clip ends where its
/// durable part does.
#[test]
fn what_a_failed_sync_lost_is_given_up_if_it_does_not_fit_again() {
    // How much of the log's file is left when the disk is full decides whether it comes to that.
    let given_up: u64 = (2..10).map(failed_syncs_on_a_full_disk).sum();
    assert!(given_up > 0, "whatever was lost did fit again");
}

/// A sync fails behind each number of pieces that fit after `first`; how often something was given up.
fn failed_syncs_on_a_full_disk(first: u64) -> u64 {
    let mut given_up = 0;
    for before in 0..40 {
        let mut world = World::paired();
        let mut bytes = world.record_some(first);
        world.core.room = Some(true);
        world.disk.set_capacity(Some(world.disk.used_bytes()));
        for number in 0..=before {
            if number == before {
                world.disk.inject(world.disk.op_count(), Fault::Eio);
            }
            if world.core.handle_pieces(vec![big(number)], 6).unwrap() != Recorded::Taken {
                // The disk is full before a sync fails.
                return given_up;
            }
            let reopened = world.reopens(Core::commit);
            assert!(!reopened || number == before);
            if number < before {
                bytes.extend_from_slice(&big(number).bytes);
            }
        }
        assert_eq!(world.core.death(), None, "{before}");
        if world.core.status().unwrap().stopped != Some(Stop::Space) {
            continue;
        }
        given_up += 1;
        assert!(!world.core.is_recording());
        world.disk.set_capacity(None);
        world.core.handle_timeout(8).unwrap();
        world.core.commit(8).unwrap();
        let finished: Vec<_> = world.finished();
        assert_eq!(finished.len(), 1);
        assert_eq!(finished[0].state, ClipState::CutOff);
        assert_eq!(finished[0].bytes, bytes.len() as u64);
        world.deliver();
        assert!(world.app_clips()[0] == (AppClipState::CutOff, bytes));
        let next = world.record_some(1);
        world.end_event(EventEnd::Completed);
        world.deliver();
        assert!(world.app_clips()[1] == (AppClipState::Complete, next));
    }
    panic!("the disk is never full");
}
