//! Fragments and crashes: what is left of a clip ends with a whole one.

use bytes::Bytes;
use journal::{AppClipState, CHUNK_BYTES_MAX};
use wal::disk::{CrashPolicy, Fault, SimDisk};

use super::super::*;
use super::world::World;
use crate::camera::EventEnd;

/// Pieces of a fragment that one transaction takes, and at whose end a sync begins.
const SOME: u8 = 6;
/// Pieces that no transaction takes: of the log files of these tests it has 1 MiB at most.
const MANY: u8 = 20;

const _: () = assert!(SOME as u64 * CHUNK_BYTES_MAX as u64 > BATCH_BYTES);

/// Of so many pieces as large as pieces get.
fn fragment(pieces: u8) -> Vec<Piece> {
    let piece = |number| Piece {
        bytes: Bytes::from(vec![number; CHUNK_BYTES_MAX]),
        captured_unix_ms: 1,
    };
    (0..pieces).map(piece).collect()
}

/// Hands a fragment over, and nothing waits for a sync. Returns its bytes.
fn hand_over(world: &mut World, pieces: u8) -> Vec<u8> {
    let fragment = fragment(pieces);
    let bytes = fragment.iter().flat_map(|piece| piece.bytes.to_vec());
    let bytes = bytes.collect();
    let taken = world.core.handle_pieces(fragment, 6).unwrap();
    assert_eq!(taken, Recorded::Taken);
    bytes
}

/// The hub starts again on this disk: what the phone has of the clip then.
fn left_of_it(world: &mut World, disk: SimDisk) -> Vec<u8> {
    world.restart_on(disk);
    world.deliver();
    let (state, bytes) = world.app_clips().remove(0);
    // The hub's count and digest are those of the same bytes.
    assert_eq!(state, AppClipState::CutOff);
    bytes
}

#[test]
fn a_crash_in_the_sync_of_a_fragment_leaves_all_of_it_or_nothing() {
    for policy in CrashPolicy::ALL {
        let mut world = World::paired();
        let begun = world.record_some(1);
        let more = hand_over(&mut world, SOME);
        let whole = [&begun[..], &more].concat();
        let disk = world.disk.crash_clone(policy, 1);
        let left = left_of_it(&mut world, disk);
        match policy {
            CrashPolicy::LoseAll => assert!(left == begun, "{}", left.len()),
            CrashPolicy::ProcessKill | CrashPolicy::KeepAll => {
                assert!(left == whole, "{policy:?}: {}", left.len());
            }
            _ => assert!(left == begun || left == whole, "{policy:?}: {}", left.len()),
        }
    }
}

/// A commit is one write, of which a crash may leave the beginning: no transaction in it may be half a fragment.
#[test]
fn a_write_that_ends_half_way_leaves_no_half_of_a_fragment() {
    let mut world = World::paired();
    let begun = world.record_some(1);
    world.disk.delay_started_writes();
    let _more = hand_over(&mut world, SOME);
    // The first half is there, and whatever would come behind it is not.
    let write = world.disk.op_count();
    world.disk.inject(write, Fault::ShortWrite);
    world.disk.inject_from(write + 1, Fault::Dead);
    let failed = world.core.finish_commit(6);
    assert!(matches!(failed, Err(CoreError::Dead(_))), "{failed:?}");
    let disk = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
    let left = left_of_it(&mut world, disk);
    assert!(left == begun, "{} bytes, not {}", left.len(), begun.len());
}

/// Also as the first of its clip, with Commit and header, and for two phones.
#[test]
fn a_fragment_that_no_transaction_takes_is_recorded_all_the_same() {
    let mut world = World::paired();
    let mut second = world.pair_another();
    let mut bytes = world.record_some(0);
    for _ in 0..2 {
        bytes.extend(hand_over(&mut world, MANY));
        world.core.commit(6).unwrap();
    }
    world.end_event(EventEnd::Completed);
    world.deliver();
    second.deliver(&mut world.core);
    for clips in [world.app_clips(), second.clips()] {
        assert_eq!(clips.len(), 1);
        assert!(clips[0] == (AppClipState::Complete, bytes.clone()));
    }
}
