//! What a phone says on a line in which nothing is recorded leaves no key behind, and what that costs.

use journal::ids::Channel;
use journal::{EpochUse, Suite};

use super::super::*;
use super::given::alert;
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

/// One sync of the log, as the journal's thread does it between two jobs.
fn sync_log(world: &mut World) {
    world.core.begin_commit(5).unwrap();
    world.core.finish_commit(5).unwrap();
}

/// A notification gives its epoch's key up with the transaction that says it. That holds up neither the notification nor
/// the clip behind it.
#[test]
fn a_notification_and_the_first_byte_behind_it_wait_for_the_log_alone() {
    let mut world = healed();
    let syncs = world.disk.totals().1;
    let said = world.core.handle_alert(&alert(5), 5).unwrap();
    assert_eq!(said, Recorded::Taken);
    sync_log(&mut world);
    assert_eq!(world.disk.totals().1, syncs + 1);
    assert!(world.core.may_settle_keys());
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    assert!(!world.core.may_settle_keys(), "its first byte goes first");
    let taken = world.core.handle_pieces(vec![piece(0)], 5).unwrap();
    assert_eq!(taken, Recorded::Taken);
    sync_log(&mut world);
    assert_eq!(world.disk.totals().1, syncs + 2);
    assert!(world.core.may_settle_keys());
    world.core.settle_keys(5).unwrap();
    assert_eq!(world.disk.totals().1, syncs + 4, "both images of the vault");
    assert!(!world.core.may_settle_keys());
}

#[test]
fn a_tick_tells_the_vault_whatever_else_there_is_to_do() {
    let mut world = healed();
    let _said = world.core.handle_alert(&alert(5), 5).unwrap();
    sync_log(&mut world);
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    let owes = |world: &World| world.core.journal.as_ref().unwrap().owes_vault();
    // The event's first byte goes first, once.
    world.core.handle_timeout(5).unwrap();
    assert!(owes(&world));
    world.core.handle_timeout(5).unwrap();
    assert!(!owes(&world));
}

/// What a line takes while the vault has not heard of its last rotation owes one, which comes as soon as that has.
#[test]
fn a_rotation_that_waits_for_the_vault_comes_with_the_next_quiet_moment_or_the_end() {
    for at_rest in [false, true] {
        let mut world = healed();
        assert_eq!(world.hand_over_on(Channel::Config), [Verdict::Taken]);
        sync_log(&mut world);
        assert!(is_finished(&world, Channel::Config));
        // Another ack, before anybody had time for the vault.
        world.ack_on(Channel::Config);
        let taken = world.hand_over_on(Channel::Config);
        sync_log(&mut world);
        assert_eq!(taken, [Verdict::Taken]);
        assert!(is_stirred(&world, Channel::Config));
        match at_rest {
            true => world.core.handle_rest(5).unwrap(),
            false => {
                assert!(world.core.handle_quiet(5).unwrap());
                sync_log(&mut world);
                assert!(!world.core.handle_quiet(5).unwrap());
            }
        }
        assert!(is_finished(&world, Channel::Config));
        assert!(!world.core.may_settle_keys());
    }
}

#[test]
fn what_the_vault_has_not_heard_it_hears_from_the_next_rotation_or_the_next_start() {
    let mut world = healed();
    for started in [5, 6] {
        // The second is a rotation of the same key.
        let said = world.core.handle_alert(&alert(started), 5).unwrap();
        assert_eq!(said, Recorded::Taken);
        sync_log(&mut world);
        assert!(world.core.may_settle_keys());
    }
    world.crash();
    assert!(!world.core.may_settle_keys());
    assert!(is_finished(&world, Channel::Notification));
    let said = world.core.handle_alert(&alert(7), 5).unwrap();
    assert_eq!(said, Recorded::Taken);
    world.core.commit(5).unwrap();
    assert!(!world.fetch_on(Channel::Notification).is_empty());
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
