//! A commit whose sync is good and whose checkpoint fails: the event goes on behind a new Commit.

use journal::AppClipState;
use wal::disk::{Fault, SimDisk};

use super::super::*;
use super::world::{World, event};
use crate::camera::EventEnd;

/// A piece that fills a log file of these tests in some seventy of its like.
fn large(number: u64) -> Piece {
    Piece {
        bytes: vec![number as u8; journal::CHUNK_BYTES_MAX].into(),
        captured_unix_ms: 2_000 + number,
    }
}

fn checkpoints(world: &World) -> u64 {
    world.core.journal_ref().unwrap().stats().checkpoints
}

/// A recording that goes on until the next commit owes a checkpoint: how many pieces that takes.
fn pieces_until_due() -> (u64, u64) {
    let mut world = World::paired();
    let _ = world.record_some(0);
    for number in 0..200 {
        let (before, ops) = (checkpoints(&world), world.disk.op_count());
        let _ = world.core.handle_pieces(vec![large(number)], 6).unwrap();
        world.core.commit(6).unwrap();
        if checkpoints(&world) > before {
            return (number, world.disk.op_count() - ops);
        }
    }
    panic!("no commit owes a checkpoint");
}

#[test]
fn whichever_operation_of_a_commit_with_a_checkpoint_fails_the_event_goes_on_behind_a_commit() {
    let (due, operations) = pieces_until_due();
    assert!(operations > 4, "write, sync and the checkpoint's own");
    let mut reopenings = 0;
    for offset in 0..operations {
        let mut world = World::paired();
        let _ = world.record_some(0);
        let mut expected = Vec::new();
        let (mut reopened, mut epoch_when_due) = (false, 0);
        for number in 0..due + 3 {
            let head = world.core.heads().unwrap()[&world.line].last;
            if number == due {
                epoch_when_due = world.core.status().unwrap().lines[0].epoch;
                world
                    .disk
                    .inject(world.disk.op_count() + offset, Fault::Eio);
            }
            let taken = world.core.handle_pieces(vec![large(number)], 6);
            assert_eq!(taken.unwrap(), Recorded::Taken, "{offset}: {number}");
            expected.extend_from_slice(&large(number).bytes);
            if world.reopens(Core::commit) {
                assert_eq!(number, due, "{offset}");
                reopened = true;
                reopenings += 1;
            } else if reopened && number == due + 1 {
                let after = world.core.status().unwrap().lines[0].epoch;
                assert!(after > epoch_when_due, "{offset}: no new Commit");
            }
            assert!(world.core.heads().unwrap()[&world.line].last > head);
        }
        world.end_event(EventEnd::Completed);
        assert_eq!(world.core.death(), None);
        let ended = world.finished();
        assert_eq!(ended.len(), 1, "{offset}: {ended:?}");
        world.deliver();
        assert_eq!(
            world.app_clips(),
            [(AppClipState::Complete, expected)],
            "{offset}"
        );
        // And the next event is nobody's casualty either.
        let next = world.record_some(1);
        world.end_event(EventEnd::Completed);
        world.deliver();
        assert_eq!(world.app_clips()[1], (AppClipState::Complete, next));
    }
    assert!(reopenings > 2);
}

/// Some operation of this checkpoint fails so that the journal is poisoned.
fn spoil(disk: &SimDisk, journal: &mut Journal) {
    for operation in 0..20 {
        disk.inject(disk.op_count() + operation, Fault::Eio);
        assert!(journal.checkpoint().is_err(), "{operation}");
        if journal.is_poisoned() {
            return;
        }
    }
    panic!("no operation of a checkpoint poisons the journal");
}

/// The journal is poisoned behind the core's back, which is what any first question finds out.
fn poison(world: &mut World) {
    let disk = world.disk.clone();
    spoil(&disk, world.core.journal().unwrap());
}

#[test]
fn a_question_for_room_that_finds_a_poisoned_journal_costs_nothing_of_the_event() {
    let mut world = World::paired();
    poison(&mut world);
    assert_eq!(world.core.heads().unwrap().len(), 5, "no line is hidden");
    assert_eq!(
        world.core.handle_event_started(event(), 5).unwrap(),
        Recorded::Taken
    );
    let mut bytes = world.record_more(0..2);
    poison(&mut world);
    bytes.extend(world.record_more(2..4));
    poison(&mut world);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    assert_eq!(world.core.generation(), 3);
}

#[test]
fn a_step_of_the_journals_own_leaves_no_poisoned_journal_behind() {
    let mut world = World::paired();
    let disk = world.disk.clone();
    let step = |journal: &mut Journal| {
        spoil(&disk, journal);
        Ok(7)
    };
    assert_eq!(world.core.with_journal(5, step).unwrap(), 7);
    assert!(!world.core.journal_ref().unwrap().is_poisoned());
    assert_eq!(world.core.generation(), 1);
}
