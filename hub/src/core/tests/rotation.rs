//! What a phone says on a line in which nothing is recorded leaves no key behind, and what that costs.

use journal::ids::Channel;
use journal::{EpochUse, Suite};

use super::super::*;
use super::world::{NOW_MS, World, event, piece};
use crate::camera::EventEnd;

/// A pair after a heartbeat: the phone owes an ack on each line.
fn healed() -> World {
    let mut world = World::paired_with(Suite::XWing);
    world.beat(1);
    for channel in Channel::ALL {
        let verdicts = world.send_on(channel);
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Taken));
        assert!(!world.fetch_on(channel).is_empty());
        world.ack_on(channel);
    }
    world
}

fn used(world: &World, channel: Channel) -> EpochUse {
    let line = Line::of(world.line.pairing, channel);
    let journal = world.core.journal.as_ref().unwrap();
    journal.epoch_use(line).unwrap().unwrap()
}

fn is_finished(world: &World, channel: Channel) -> bool {
    matches!(used(world, channel), EpochUse::Finished { .. })
}

fn is_stirred(world: &World, channel: Channel) -> bool {
    matches!(used(world, channel), EpochUse::Stirred { .. })
}

#[test]
fn acks_of_all_lines_in_one_batch_cost_two_syncs_of_the_vault_together() {
    let mut world = healed();
    let syncs = world.disk.totals().1;
    for channel in Channel::ALL {
        assert_eq!(world.hand_over_on(channel), [Verdict::Taken]);
        assert!(is_stirred(&world, channel), "{channel:?}");
    }
    world.core.commit(NOW_MS).unwrap();
    assert_eq!(
        world.disk.totals().1,
        syncs + 3,
        "the log, and both images of the vault"
    );
    for channel in Channel::ALL {
        assert!(is_finished(&world, channel), "{channel:?}");
    }
}

#[test]
fn no_sync_of_the_vault_comes_before_a_first_byte_and_the_next_tick_rotates() {
    let mut world = healed();
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    let taken = world.core.handle_pieces(vec![piece(0)], 5).unwrap();
    assert_eq!(taken, Recorded::Taken);
    assert_eq!(world.hand_over_on(Channel::Config), [Verdict::Taken]);
    world.core.handle_timeout(5).unwrap();
    let syncs = world.disk.totals().1;
    world.core.commit(5).unwrap();
    assert_eq!(world.disk.totals().1, syncs + 1, "the log alone");
    assert!(is_stirred(&world, Channel::Config));

    world.core.handle_timeout(6).unwrap();
    world.core.commit(6).unwrap();
    assert_eq!(world.disk.totals().1, syncs + 4);
    assert!(is_finished(&world, Channel::Config));
    let in_use = used(&world, Channel::EventVideo);
    assert!(matches!(in_use, EpochUse::InUse { .. }), "{in_use:?}");
}

#[test]
fn the_end_of_an_event_takes_what_other_lines_owe_along() {
    let mut world = healed();
    let _bytes = world.record_some(1);
    assert_eq!(world.send_on(Channel::Notification), [Verdict::Taken]);
    assert!(is_stirred(&world, Channel::Notification));
    let syncs = world.disk.totals().1;
    world.end_event(EventEnd::Completed);
    assert_eq!(world.disk.totals().1, syncs + 3);
    assert!(is_finished(&world, Channel::Notification));
    assert!(is_finished(&world, Channel::EventVideo));
}

#[test]
fn a_start_rotates_what_the_last_process_left_owing() {
    let mut world = healed();
    let _bytes = world.record_some(1);
    for channel in [Channel::Config, Channel::Thumbnail] {
        assert_eq!(world.send_on(channel), [Verdict::Taken]);
        assert!(is_stirred(&world, channel), "{channel:?}");
    }
    world.crash();
    for channel in Channel::ALL {
        // On the others nothing was taken since their Commits.
        assert!(is_finished(&world, channel), "{channel:?}");
    }
    // A start that finds nothing owed writes nothing for it.
    let epoch = used(&world, Channel::Config);
    world.crash();
    assert_eq!(used(&world, Channel::Config), epoch);
    let more = world.record_some(1);
    world.end_event(EventEnd::Completed);
    let _taken = world.fetch_on(Channel::EventVideo);
    assert_eq!(world.app_clips().last().unwrap().1, more);
}

#[test]
fn a_rotation_whose_sync_fails_is_owed_again() {
    let mut world = healed();
    assert_eq!(world.hand_over_on(Channel::Config), [Verdict::Taken]);
    world
        .disk
        .inject(world.disk.op_count(), wal::disk::Fault::Eio);
    assert!(world.reopens(Core::commit));
    // What recovery found of it is stored: with the ack, or without it.
    let again = world.hand_over_on(Channel::Config);
    assert!(matches!(again[..], [] | [Verdict::Taken]), "{again:?}");
    world.core.commit(NOW_MS).unwrap();
    assert!(is_finished(&world, Channel::Config));
}
