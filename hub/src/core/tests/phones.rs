//! Several phones: each on its own, silent ones get nothing new, removed ones leave nothing.

use std::time::Duration;

use journal::ids::{Channel, Line, PairingId};
use journal::message::{CommandKind, Settings};
use journal::pairing::PHONES_MAX;
use journal::{AppClipState, HubPairing, JournalError, PairingError};
use wal::disk::CrashPolicy;
use wire::ids::Seq;

use super::super::*;
use super::world::{NOW_MS, World, event, opener, piece, terms};
use crate::camera::EventEnd;

/// Silent after an hour, removed after three.
fn impatient() -> SilenceLimits {
    SilenceLimits {
        silent_after: Duration::from_secs(3600),
        removed_after: Duration::from_secs(3 * 3600),
    }
}

fn phones(world: &mut World) -> Vec<PairingId> {
    let status = world.core.status().unwrap();
    status.lines.iter().map(|line| line.line.pairing).collect()
}

fn last(world: &World, line: Line) -> Seq {
    world.core.heads().unwrap()[&line].last
}

/// The phone that the world came with sends a heartbeat and the hub takes all of it.
fn heartbeat(world: &mut World, number: u64) {
    world.beat(number);
    for channel in Channel::ALL {
        let _verdicts = world.send_on(channel);
    }
}

#[test]
fn a_silent_phone_gets_nothing_new_others_do_and_its_first_heartbeat_resumes() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    world.limit_silence(impatient());
    world.idle(30);
    heartbeat(&mut world, 1);
    world.idle(30);
    assert_eq!(
        world.notices().last(),
        Some(&Notice::PhoneSilent {
            phone: other.line.pairing
        })
    );
    let status = world.core.status().unwrap();
    let is_silent = |phone| {
        let line = status.lines.iter().find(|line| line.line.pairing == phone);
        line.unwrap().is_silent
    };
    assert!(is_silent(other.line.pairing) && !is_silent(world.line.pairing));
    let before = Line::all(other.line.pairing).map(|line| last(&world, line));
    let bytes = world.record_some(3);
    world.end_event(EventEnd::Completed);
    let after = Line::all(other.line.pairing).map(|line| last(&world, line));
    assert_eq!(after, before, "nothing was encrypted for it");
    for channel in Channel::ALL {
        let _taken = world.fetch_on(channel);
    }
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);

    // Now both are silent, and then the other one is heard of.
    world.idle(60);
    let refused = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(refused, Recorded::Not(Stop::Silent));
    assert_eq!(world.core.status().unwrap().stopped, Some(Stop::Silent));
    other.beat(1);
    let config = Line::of(other.line.pairing, Channel::Config);
    let verdicts = other.send(&mut world.core, config, NOW_MS);
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Taken));
    let phone = other.line.pairing;
    assert!(world.notices().contains(&Notice::PhoneBack { phone }));
    let more = world.record_some(2);
    world.end_event(EventEnd::Completed);
    other.deliver(&mut world.core);
    assert_eq!(other.clips(), [(AppClipState::Complete, more)]);
    assert_eq!(world.app_clips().len(), 1, "the first one is silent");
}

#[test]
fn an_event_that_has_begun_is_finished_for_a_phone_that_falls_silent() {
    let mut world = World::paired();
    world.limit_silence(impatient());
    let mut bytes = world.record_some(1);
    world.idle(62);
    assert!(world.core.status().unwrap().lines[0].is_silent);
    bytes.extend(world.record_more(1..3));
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    let refused = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(refused, Recorded::Not(Stop::Silent));
}

#[test]
fn while_the_relay_is_away_nobody_is_silent_and_nobody_is_removed() {
    let mut world = World::paired();
    let _other = world.pair_another();
    world.limit_silence(impatient());
    world.idle(30);
    heartbeat(&mut world, 1);
    world.core.handle_link(false);
    world.pass(10 * 60);
    let lines = world.core.status().unwrap().lines;
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(
            !line.is_silent && line.unheard_ms <= 30 * 60_000,
            "{line:?}"
        );
    }
}

/// The relay is there and gives nothing out, or all that phones say is lost on the way to it.
#[test]
fn where_no_phone_at_all_is_heard_of_events_are_refused_and_none_is_removed() {
    let mut world = World::paired();
    let _other = world.pair_another();
    world.limit_silence(impatient());
    world.idle(10 * 60);
    let refused = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(refused, Recorded::Not(Stop::Silent));
    assert_eq!(phones(&mut world).len(), 2);
    assert!(world.core.dismissals().unwrap().owed.is_empty());
}

#[test]
fn an_ack_and_a_command_end_silence_as_a_heartbeat_does() {
    for is_command in [false, true] {
        let mut world = World::paired();
        world.limit_silence(impatient());
        let (core, phone) = world.ends();
        phone.order(CommandKind::Phones);
        let _taken = phone.talk(core);
        world.idle(61);
        assert!(world.core.status().unwrap().lines[0].is_silent);
        let (core, phone) = world.ends();
        match is_command {
            true => {
                phone.order(CommandKind::Phones);
                let _taken = phone.talk(core);
            }
            false => phone.ack_config(core),
        }
        let phone = world.line.pairing;
        assert!(world.notices().contains(&Notice::PhoneBack { phone }));
        // Its end is durable with what ended it.
        world.crash();
        let line = world.core.status().unwrap().lines.remove(0);
        assert_eq!((line.unheard_ms, line.is_silent), (0, false));
    }
}

#[test]
fn a_start_knows_who_is_silent_before_it_tells_anybody_anything() {
    let mut world = World::paired();
    let away = world.pair_another();
    world.limit_silence(impatient());
    world.idle(61);
    let (core, phone) = world.ends();
    phone.set(Settings {
        privacy: true,
        ..Settings::default()
    });
    let _taken = phone.talk(core);
    let before = last(&world, away.config());
    world.crash();
    assert!(world.core.wishes().settings.privacy);
    assert_eq!(last(&world, away.config()), before);
}

#[test]
fn silence_is_counted_on_after_a_restart() {
    let mut world = World::paired();
    world.limit_silence(impatient());
    world.idle(47);
    world.crash();
    // 45 of 47 minutes were stored; what a crash forgets is less than a quarter of an hour.
    assert_eq!(
        world.core.status().unwrap().lines[0].unheard_ms,
        45 * 60_000
    );
    world.idle(14);
    assert!(!world.core.status().unwrap().lines[0].is_silent);
    world.idle(1);
    assert!(world.core.status().unwrap().lines[0].is_silent);
    // Its end is durable with the heartbeat.
    heartbeat(&mut world, 1);
    world.crash();
    let status = world.core.status().unwrap();
    assert_eq!(
        (status.lines[0].unheard_ms, status.lines[0].is_silent),
        (0, false)
    );
}

#[test]
fn a_phone_that_stays_silent_is_removed_and_the_others_are_not() {
    let mut world = World::paired();
    let other = world.pair_another();
    world.limit_silence(impatient());
    for number in 1..=4 {
        world.idle(50);
        heartbeat(&mut world, number);
        for channel in Channel::ALL {
            let _taken = world.fetch_on(channel);
        }
    }
    assert_eq!(phones(&mut world), [world.line.pairing]);
    let phone = other.line.pairing;
    assert!(world.notices().contains(&Notice::PhoneRemoved { phone }));
    let dismissals = world.core.dismissals().unwrap().owed;
    assert_eq!(dismissals.len(), 1);
    assert_eq!(dismissals[0].pairing, phone);
    let bytes = world.record_some(1);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
}

/// Rot in what is stored of one phone is not the others' trouble, and its owner gets rid of it.
#[test]
fn a_phone_that_cannot_be_read_stops_no_other_and_is_removed() {
    let mut world = World::paired();
    let rotten = world.pair_another().line;
    world.core.unreadable = Some(rotten.pairing);
    world.core.refresh_lines().unwrap();
    assert_eq!(phones(&mut world), [world.line.pairing]);
    let is_told =
        |notice: &Notice| matches!(notice, Notice::LineBroken { line, .. } if *line == rotten);
    assert!(world.notices().iter().any(is_told));
    let bytes = world.record_some(2);
    assert!(world.core.remove_phone(rotten.pairing, NOW_MS).unwrap());
    assert_eq!(world.core.pairing_ids().unwrap(), [world.line.pairing]);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
}

/// What is in the way of one phone's end keeps no other one.
#[test]
fn a_removal_that_fails_holds_up_no_other_and_is_tried_again() {
    let mut world = World::paired();
    let _others = [8, 9].map(|dice| world.pair_with_dice(dice));
    world.limit_silence(impatient());
    for number in 1..=3 {
        world.idle(50);
        heartbeat(&mut world, number);
        for channel in Channel::ALL {
            let _taken = world.fetch_on(channel);
        }
    }
    world.idle(29);
    assert_eq!(phones(&mut world).len(), 3);
    world.core.no_sync = 1;
    for left in [2, 1] {
        let minute = Duration::from_secs(60);
        world.core.handle_elapsed(minute, NOW_MS).unwrap();
        assert_eq!(phones(&mut world).len(), left);
    }
    assert_eq!(phones(&mut world), [world.line.pairing]);
}

#[test]
fn a_phone_is_removed_in_the_middle_of_a_clip_that_goes_on_for_the_other() {
    let mut world = World::paired();
    let other = world.pair_another();
    let phone = other.line.pairing;
    let mut bytes = world.record_some(2);
    // Staged, and not synced when the phone goes.
    let _ = world.core.handle_pieces(vec![piece(2)], 6).unwrap();
    bytes.extend_from_slice(&piece(2).bytes);
    assert!(world.core.remove_phone(phone, NOW_MS).unwrap());
    assert!(!world.core.remove_phone(phone, NOW_MS).unwrap(), "once");
    assert!(!world.core.heads().unwrap().contains_key(&other.line));
    bytes.extend(world.record_more(3..5));
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    // What still comes from it is nobody's.
    let late = world
        .core
        .handle_envelope(other.line, Seq(1), &[0; 600], NOW_MS)
        .unwrap();
    assert_eq!(late.verdict, Verdict::NotAuthentic);
    world.crash();
    assert_eq!(phones(&mut world), [world.line.pairing]);
    assert_eq!(world.core.dismissals().unwrap().owed.len(), 1);
}

#[test]
fn without_its_last_phone_an_event_ends() {
    let mut world = World::paired();
    let _bytes = world.record_some(2);
    let phone = world.line.pairing;
    assert!(world.core.remove_phone(phone, NOW_MS).unwrap());
    assert!(!world.core.is_recording());
    let why = Notice::NotRecorded(Stop::NoPairing);
    assert!(world.notices().contains(&why));
    let rest = world.core.handle_pieces(vec![piece(7)], 6).unwrap();
    assert_eq!(rest, Recorded::Not(Stop::NoClip));
}

#[test]
fn a_dismissal_stays_until_it_is_told_and_the_phone_can_pair_again() {
    let mut world = World::paired();
    let phone = world.line.pairing;
    assert!(world.core.remove_phone(phone, NOW_MS).unwrap());
    world.crash();
    let dismissals = world.core.dismissals().unwrap().owed;
    assert_eq!(dismissals.len(), 1);
    let guest = dismissals[0].guest.unwrap();
    assert_eq!(guest.invitation, [3; 16]);
    assert_eq!(dismissals[0].relay, "relay");
    assert_eq!(dismissals[0].mailboxes.len(), 2 * Channel::ALL.len());
    let told = world
        .core
        .with_journal(NOW_MS, |journal| journal.dismissal_told(phone));
    drop(told.unwrap());
    world.crash();
    assert!(world.core.dismissals().unwrap().owed.is_empty());
    let again = world.pair_with_dice(9);
    assert_ne!(again.line.pairing, phone);
    assert_eq!(phones(&mut world), [again.line.pairing]);
}

#[test]
fn a_hub_has_at_most_eight_phones_and_one_more_is_refused_until_one_is_removed() {
    let mut world = World::paired();
    let mut others = Vec::new();
    for seed in 1..PHONES_MAX as u64 {
        others.push(world.pair_with_dice(100 + seed));
    }
    assert_eq!(phones(&mut world).len(), PHONES_MAX);
    let offer = |world: &mut World| {
        let now_s = NOW_MS / 1000;
        let step = |hub: &mut Journal| HubPairing::offer(hub, terms(), now_s);
        world.core.with_journal(NOW_MS, step).map(drop)
    };
    let refused = offer(&mut world).unwrap_err();
    assert!(
        matches!(
            refused,
            CoreError::Journal(JournalError::Pairing(PairingError::TooManyPhones))
        ),
        "{refused}"
    );
    // All of them take part in one event, each in keys of its own.
    let bytes = world.record_some(2);
    world.end_event(EventEnd::Completed);
    for phone in &mut others {
        phone.deliver(&mut world.core);
        assert_eq!(phone.clips(), [(AppClipState::Complete, bytes.clone())]);
    }
    let gone = others[3].line.pairing;
    assert!(world.core.remove_phone(gone, NOW_MS).unwrap());
    offer(&mut world).unwrap();
}

/// The way back from a directory that was put back: the phone is removed, though its groups have ended already,
/// and another pairing is made.
#[test]
fn a_phone_that_proved_a_rollback_is_removed_like_any_other() {
    let mut world = World::paired();
    let phone = world.line.pairing;
    let old = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
    let _bytes = world.record_some(2);
    world.deliver();
    world.app_ack();
    world.restart_on(old);
    assert_eq!(world.take_from_app(), [Verdict::RolledBack]);
    assert!(world.core.remove_phone(phone, NOW_MS).unwrap());
    world.crash();
    assert!(phones(&mut world).is_empty());
    assert_eq!(world.core.dismissals().unwrap().owed.len(), 1);
    let again = world.pair_with_dice(9);
    assert_eq!(phones(&mut world), [again.line.pairing]);
}

/// Whatever the disk kept: the phone is there and whole, or it is gone, the relay will be told, and
/// the other one's clip is whole or cut off where it was.
#[test]
fn a_removal_survives_a_crash_at_every_operation() {
    let mut world = World::paired();
    let other = world.pair_another();
    let phone = other.line.pairing;
    let bytes = world.record_some(4);
    world.end_event(EventEnd::Completed);
    world.disk.record_snapshots();
    assert!(world.core.remove_phone(phone, NOW_MS).unwrap());
    world.idle(1);
    let snapshots = world.disk.snapshots();
    let (mut there, mut gone) = (0, 0);
    for (n, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let disk = snapshot.crash_clone(policy, n as u64);
            let seed = 10_000 + 10 * n as u64;
            let limits = SilenceLimits::default();
            let mut core = Core::start(opener(&disk, seed), limits, NOW_MS).unwrap();
            let heads = core.heads().unwrap();
            let lives = Line::all(phone).map(|line| heads.contains_key(&line));
            let tells = core.dismissals().unwrap().owed.len();
            match lives {
                [true, true, true, true, true] => {
                    there += 1;
                    assert_eq!(tells, 0, "state {n} {policy:?}");
                    assert!(core.remove_phone(phone, NOW_MS).unwrap());
                }
                [false, false, false, false, false] => gone += 1,
                half => panic!("state {n} {policy:?}: {half:?}"),
            }
            assert_eq!(core.dismissals().unwrap().owed.len(), 1);
            // What is left of it goes, and nothing of it waits.
            for _ in 0..3 {
                core.handle_timeout(NOW_MS).unwrap();
                core.commit(NOW_MS).unwrap();
            }
            for line in Line::all(phone) {
                assert!(
                    core.next_envelope(line, Seq::NONE, NOW_MS)
                        .unwrap()
                        .is_none()
                );
            }
            let status = core.status().unwrap();
            assert_eq!(status.lines.len(), 1);
            let clip = &status.clips[0];
            assert_eq!((clip.bytes, status.clips.len()), (bytes.len() as u64, 1));
            // The other one goes on.
            let taken = core.handle_event_started(event(), 5).unwrap();
            assert_eq!(taken, Recorded::Taken);
            let taken = core.handle_pieces(vec![piece(1)], 5).unwrap();
            assert_eq!(taken, Recorded::Taken);
            core.commit(5).unwrap();
        }
    }
    assert!(there > 0 && gone > 0, "{there} there, {gone} gone");
}
