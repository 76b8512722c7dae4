//! A phone's heartbeat heals all five groups, while an event is recorded too, and never half.

use journal::ids::Channel;
use journal::message::{NotRecorded, Settings};
use journal::{AppClipState, Suite, Taken};
use wire::ids::Seq;

use super::super::*;
use super::world::{NOW_MS, World, piece};
use crate::camera::EventEnd;

#[test]
fn scenario_08_a_heartbeat_in_a_clip_heals_all_five_groups_and_the_clip_is_whole() {
    for suite in [Suite::Classic, Suite::XWing] {
        let mut world = World::paired_with(suite);
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
}

#[test]
fn new_keys_wait_where_there_is_no_room_for_their_commit_and_nothing_of_them_is_taken() {
    for suite in [Suite::Classic, Suite::XWing] {
        let mut world = World::paired_with(suite);
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
}

/// Scenario 9: the phone proposed for an epoch that the hub has left. Nothing of it is lost: the Commit
/// that overtook it ends it, and the next heartbeat is whole again.
#[test]
fn scenario_09_new_keys_for_a_past_epoch_change_nothing() {
    for suite in [Suite::Classic, Suite::XWing] {
        let mut world = World::paired_with(suite);
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
}

/// What a phone holds says what it misses: the relay is asked anew about that line, once for each heartbeat, and
/// about no line on which nothing is missing.
#[test]
fn a_heartbeat_says_what_is_to_be_sent_again() {
    let mut world = World::paired();
    let _bytes = world.record_some(2);
    let asked = |world: &World| -> Vec<u64> {
        let heads = world.core.heads().unwrap();
        let line = |channel| Line::of(world.line.pairing, channel);
        let times = Channel::ALL.map(|channel| heads[&line(channel)].asked_again);
        times.to_vec()
    };
    assert_eq!(asked(&world), [0; 5]);
    world.say_heartbeat(1);
    assert_eq!(world.send_on(Channel::Config), [Verdict::Taken]);
    let video = Channel::ALL.map(|channel| u64::from(channel == Channel::EventVideo));
    assert_eq!(asked(&world), video, "nothing of the clip is at the phone");
    // Said again it is the same heartbeat, and after a start the question is still on record.
    world.say_heartbeat(1);
    assert_eq!(world.send_on(Channel::Config), [Verdict::Taken]);
    world.crash();
    assert_eq!(asked(&world), video);
    // The start has ended the clip.
    world.deliver();
    world.say_heartbeat(2);
    assert_eq!(world.send_on(Channel::Config), [Verdict::Taken]);
    assert_eq!(asked(&world), video, "the phone has all of it");
    let _more = world.record_some(1);
    world.say_heartbeat(3);
    assert_eq!(world.send_on(Channel::Config), [Verdict::Taken]);
    assert_eq!(asked(&world), video.map(|times| 2 * times));
}

/// The answer says how the camera is: to the phone that asks, with what that phone has not acked.
#[test]
fn the_answer_to_a_heartbeat_says_how_the_hub_is() {
    let mut world = World::paired();
    let report = |world: &mut World, number| {
        world.beat(number);
        for channel in Channel::ALL {
            let _verdicts = world.send_on(channel);
        }
        let mut last = None;
        for channel in Channel::ALL {
            last = world.fetch_on(channel).pop();
            if channel != Channel::Config {
                world.ack_on(channel);
                let _verdicts = world.send_on(channel);
            }
        }
        match last {
            Some(Taken::Answered(answer)) => answer.status,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(Channel::ALL.last(), Some(&Channel::Config));
    let told = report(&mut world, 1);
    assert_eq!((told.recording, told.not_recorded), (false, None));
    let _bytes = world.record_some(3);
    let told = report(&mut world, 2);
    assert_eq!((told.recording, told.not_recorded), (true, None));
    assert!(
        told.unacked >= 4,
        "a header and three chunks: {}",
        told.unacked
    );
    world.fill_the_disk();
    world.core.room = None;
    let told = report(&mut world, 3);
    assert_eq!(
        (told.recording, told.not_recorded),
        (false, Some(NotRecorded::Space))
    );
    // What is there to be said of the camera goes before what the last event came to.
    world.core.handle_cameras(false);
    assert_eq!(
        report(&mut world, 4).not_recorded,
        Some(NotRecorded::Camera)
    );
    world.core.handle_cameras(true);
    let settings = Settings {
        privacy: true,
        ..Settings::default()
    };
    world.core.set(settings, NOW_MS).unwrap();
    world.core.commit(NOW_MS).unwrap();
    // The phone hears of that first, in an epoch of its own.
    let told = world.fetch_on(Channel::Config);
    assert!(matches!(told.last(), Some(Taken::Settings(_))), "{told:?}");
    assert_eq!(
        report(&mut world, 5).not_recorded,
        Some(NotRecorded::Privacy)
    );
}

/// The channels that the last answer names.
fn answered(taken: &[Taken]) -> Vec<Channel> {
    match taken.last() {
        Some(Taken::Answered(answer)) => {
            answer.epochs.iter().map(|(channel, _)| *channel).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// What has rotted of one idle group concerns that line alone: it is said once, and the phone is answered, healed
/// and recorded for on all others.
#[test]
fn a_damaged_idle_group_is_left_out_and_everything_else_goes_on() {
    for config_first in [true, false] {
        let mut world = World::paired();
        let lost = Channel::Thumbnail;
        world.lose_group(lost);
        world.notices();
        world.beat(1);
        let mut order = vec![
            Channel::Config,
            lost,
            Channel::EventVideo,
            Channel::Livestream,
            Channel::Notification,
        ];
        if !config_first {
            order.swap(0, 1);
        }
        for channel in order {
            let verdicts = world.send_on(channel);
            let expected = match channel {
                Channel::Config => vec![Verdict::Taken; 2],
                Channel::Thumbnail => vec![Verdict::LineBroken],
                _ => vec![Verdict::Taken],
            };
            assert_eq!(verdicts, expected, "{channel:?}");
        }
        let broken = |notice: &Notice| matches!(notice, Notice::LineBroken { line, .. } if line.channel == lost);
        let notices = world.notices();
        assert_eq!(notices.iter().filter(|n| broken(n)).count(), 1);
        let healed = |notice: &&Notice| matches!(notice, Notice::Healed { .. });
        assert_eq!(notices.iter().filter(healed).count(), 4);
        let named = answered(&world.fetch_on(Channel::Config));
        let others: Vec<_> = Channel::ALL.into_iter().filter(|c| *c != lost).collect();
        assert_eq!(named, others);
        let bytes = world.record_some(2);
        world.end_event(EventEnd::Completed);
        world.deliver();
        assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    }
}

/// The config group is one line as any other: no heartbeat is answered without it, and the rest goes on.
#[test]
fn a_damaged_config_group_is_one_line() {
    let mut world = World::paired();
    world.lose_group(Channel::Config);
    world.beat(1);
    // What cannot be read stays where it is, and the next waits behind it.
    let verdicts = world.send_on(Channel::Config);
    assert_eq!(verdicts, [Verdict::LineBroken, Verdict::Gap]);
    assert_eq!(world.send_on(Channel::EventVideo), [Verdict::Taken]);
    let bytes = world.record_some(1);
    world.end_event(EventEnd::Completed);
    world.fetch_on(Channel::EventVideo);
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
}

/// A phone that proposes again and again and never acks fills no disk: what it cost waits in the outbox, and with
/// sixteen of these the next waits, however late it is. Its ack, in the config channel because it is mute here,
/// makes room.
#[test]
fn a_phone_that_never_acks_new_keys_waits() {
    let mut world = World::paired();
    let channel = Channel::Thumbnail;
    let line = Line::of(world.line.pairing, channel);
    let long = pace::BURST * pace::REFILL_MS;
    for _ in 0..pace::UNACKED_MAX {
        world.propose_on(channel);
        assert_eq!(world.send_on(channel), [Verdict::Taken]);
        let taken = world.fetch_on(channel);
        assert!(matches!(taken[..], [Taken::Healed(_)]), "{taken:?}");
    }
    world.propose_on(channel);
    let head = world.core.heads().unwrap()[&line];
    for started in [false, true] {
        if started {
            world.crash();
        }
        assert_eq!(world.send_at(channel, NOW_MS + long), [Verdict::Waits]);
        assert_eq!(world.core.heads().unwrap()[&line].last, head.last);
        assert_eq!(head.last.0 - head.acked.0, pace::UNACKED_MAX);
    }
    world.say_heartbeat(1);
    assert_eq!(world.send_on(Channel::Config), [Verdict::Taken]);
    assert_eq!(world.send_at(channel, NOW_MS + long), [Verdict::Taken]);
    let taken = world.fetch_on(channel);
    assert!(matches!(taken[..], [Taken::Healed(_)]), "{taken:?}");
}

/// Nor does one that acks them all keep the hub busy, or a clip's books growing.
#[test]
fn a_phone_that_proposes_without_end_waits() {
    let mut world = World::paired();
    let mut bytes = world.record_some(1);
    let channel = Channel::EventVideo;
    let _taken = world.fetch_on(channel);
    let mut taken = 0;
    loop {
        world.propose_on(channel);
        match world.send_on(channel)[..] {
            [Verdict::Taken] => taken += 1,
            [Verdict::Waits] => break,
            ref other => panic!("{other:?}"),
        }
        let _taken = world.fetch_on(channel);
        world.ack_on(channel);
        assert_eq!(world.send_on(channel), [Verdict::Taken]);
    }
    assert_eq!(taken, pace::BURST);
    // The clip goes on meanwhile, and the phone is not forgotten.
    bytes.extend(world.record_more(1..3));
    let later = NOW_MS + pace::REFILL_MS;
    assert_eq!(world.send_at(channel, later), [Verdict::Taken]);
    bytes.extend(world.record_more(3..4));
    world.end_event(EventEnd::Completed);
    let _taken = world.fetch_on(channel);
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
}

/// Whatever a phone says costs a sync and a rotation. What comes faster than an honest phone says it is slowed down,
/// and all of it is taken in the end; another line has a bound of its own.
#[test]
fn what_a_phone_says_without_end_is_slowed_down_and_never_refused() {
    let mut world = World::paired();
    let mut bytes = world.record_some(1);
    let channel = Channel::EventVideo;
    let _taken = world.fetch_on(channel);
    for _ in 0..pace::MESSAGES_BURST / 32 {
        for _ in 0..32 {
            world.ack_on(channel);
        }
        assert_eq!(world.send_on(channel), [Verdict::Taken; 32]);
    }
    for _ in 0..3 {
        world.ack_on(channel);
    }
    assert_eq!(world.send_on(channel), [Verdict::Slowed; 3]);
    world.say_heartbeat(1);
    assert_eq!(world.send_on(Channel::Config), [Verdict::Taken]);
    // What waits was not opened, so the clip goes on in its epoch.
    let epoch = world.core.status().unwrap().lines[0].epoch;
    bytes.extend(world.record_more(1..2));
    assert_eq!(world.core.status().unwrap().lines[0].epoch, epoch);
    let later = NOW_MS + pace::MESSAGES_REFILL_MS;
    let verdicts = world.send_at(channel, later);
    assert_eq!(verdicts, [Verdict::Taken, Verdict::Slowed, Verdict::Slowed]);
    let later = later + 2 * pace::MESSAGES_REFILL_MS;
    assert_eq!(world.send_at(channel, later), [Verdict::Taken; 2]);
    world.end_event(EventEnd::Completed);
    let _taken = world.fetch_on(channel);
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
}

/// Each time that the relay is asked anew a line attaches again: heartbeats one after the other bring that about a few
/// times, and then once in a time. They are heard all the same.
#[test]
fn heartbeats_without_end_have_the_relay_asked_once_in_a_time() {
    let mut world = World::paired();
    let _bytes = world.record_some(1);
    let video = world.line;
    let asked = |world: &World| world.core.heads().unwrap()[&video].asked_again;
    let many = pace::ASKS_BURST + 4;
    for number in 1..=many {
        world.say_heartbeat(number);
        assert_eq!(world.send_on(Channel::Config), [Verdict::Taken]);
    }
    assert_eq!(asked(&world), pace::ASKS_BURST);
    world.say_heartbeat(many + 1);
    let later = NOW_MS + pace::REFILL_MS;
    assert_eq!(world.send_at(Channel::Config, later), [Verdict::Taken]);
    assert_eq!(asked(&world), pace::ASKS_BURST + 1);
}
