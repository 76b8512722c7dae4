//! A phone's heartbeat heals all five groups, while an event is recorded too, and never half.

use journal::ids::Channel;
use journal::{AppClipState, Taken};

use super::super::*;
use super::world::{NOW_MS, World, piece};
use crate::camera::EventEnd;

#[test]
fn scenario_08_a_heartbeat_in_a_clip_heals_all_five_groups_and_the_clip_is_whole() {
    let mut world = World::paired();
    let mut bytes = world.record_some(3);
    world.deliver();
    world.beat(1);
    for channel in Channel::ALL {
        let verdicts = world.send_on(channel);
        let message = usize::from(channel == Channel::Config);
        assert_eq!(verdicts, vec![Verdict::Taken; 1 + message], "{channel:?}");
    }
    let healed = world
        .notices()
        .into_iter()
        .filter(|notice| matches!(notice, Notice::Healed { .. }))
        .count();
    assert_eq!(healed, 5);
    bytes.extend(world.record_more(3..6));
    world.end_event(EventEnd::Completed);
    for channel in Channel::ALL {
        let taken = world.fetch_on(channel);
        let heals = |taken: &&Taken| matches!(taken, Taken::Healed(_));
        assert_eq!(taken.iter().filter(heals).count(), 1, "{channel:?}");
        if channel == Channel::Config {
            let answer = taken.last();
            let number = match answer {
                Some(Taken::Answered(answer)) => answer.number,
                other => panic!("{other:?}"),
            };
            assert_eq!(number, 1);
        }
    }
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    let status = world.core.status().unwrap();
    assert_eq!(status.lines.len(), 1, "a phone is one row");
    assert_eq!(
        status.lines[0].heard.map(|heard| heard.unix_ms),
        Some(NOW_MS)
    );
    // In step is who can follow one more: after a start, too, which owes nothing.
    world.crash();
    let more = world.record_some(1);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips()[1], (AppClipState::Complete, more));
}

#[test]
fn new_keys_wait_where_there_is_no_room_for_their_commit_and_nothing_of_them_is_taken() {
    let mut world = World::paired();
    let _bytes = world.record_some(2);
    world.deliver();
    world.beat(1);
    let line = world.line;
    let (head, epoch) = (
        world.core.heads().unwrap()[&line].last,
        world.core.status().unwrap().lines[0].epoch,
    );
    world.core.room = Some(false);
    assert_eq!(world.send_on(Channel::EventVideo), [Verdict::Waits]);
    assert_eq!(world.core.cursor(line).unwrap(), Seq::NONE);
    assert_eq!(world.core.heads().unwrap()[&line].last, head);
    world.core.room = None;
    // The right to encrypt is still this handle's.
    let _ = world.core.handle_pieces(vec![piece(7)], 6).unwrap();
    world.core.commit(6).unwrap();
    assert_eq!(world.core.status().unwrap().lines[0].epoch, epoch);
    assert_eq!(world.send_on(Channel::EventVideo), [Verdict::Taken]);
    assert_eq!(world.core.status().unwrap().lines[0].epoch, epoch + 1);
}

/// Scenario 9: the phone proposed for an epoch that the hub has left. Nothing of it is lost: the Commit
/// that overtook it ends it, and the next heartbeat is whole again.
#[test]
fn scenario_09_new_keys_for_a_past_epoch_change_nothing() {
    let mut world = World::paired();
    world.beat(1);
    let bytes = world.record_some(2);
    assert_eq!(world.send_on(Channel::EventVideo), [Verdict::Taken]);
    let taken = world.fetch_on(Channel::EventVideo);
    assert!(!taken.iter().any(|taken| matches!(taken, Taken::Healed(_))));
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    for channel in [
        Channel::Thumbnail,
        Channel::Livestream,
        Channel::Notification,
        Channel::Config,
    ] {
        let _verdicts = world.send_on(channel);
        let _taken = world.fetch_on(channel);
    }
    world.beat(2);
    assert_eq!(world.send_on(Channel::EventVideo), [Verdict::Taken]);
    let taken = world.fetch_on(Channel::EventVideo);
    assert!(taken.iter().any(|taken| matches!(taken, Taken::Healed(_))));
}
