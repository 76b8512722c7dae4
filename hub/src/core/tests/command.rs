//! Commands: each once, answered in the transaction that does it, also when it is overtaken, when the disk is
//! full, when two phones disagree, and when the power fails anywhere.

use journal::ids::{Channel, CommandId, Line};
use journal::message::{Command, CommandKind, CommandResult, Refusal, Settings};
use journal::{AppClipState, Taken};
use wal::disk::CrashPolicy;
use wire::ids::Seq;

use super::super::command::{Allowed, obey};
use super::super::*;
use super::world::{NOW_MS, Phone, World, event, opener};
use crate::camera::EventEnd;

/// What the hub answered, oldest first.
fn results(phone: &Phone) -> Vec<CommandResult> {
    phone
        .book()
        .done
        .iter()
        .map(|done| done.result.clone())
        .collect()
}

fn version(core: &Core) -> u64 {
    core.journal.as_ref().unwrap().settings().unwrap().version
}

fn limit(seconds: u32) -> Settings {
    Settings {
        privacy: false,
        event_seconds_max: Some(seconds),
        ..Settings::default()
    }
}

/// The config channel: its epoch, and what it has sent.
fn config_heads(core: &Core, config: Line) -> (u64, Seq) {
    let journal = core.journal.as_ref().unwrap();
    let epoch = journal.epoch_use(config).unwrap();
    let last = journal.outbox_head(config).unwrap().last;
    (epoch.map_or(0, |used| used.epoch().0), last)
}

#[test]
fn a_command_is_done_and_answered_in_one_epoch_with_one_sync() {
    let mut world = World::paired();
    let syncs = world.disk.totals().1;
    let (core, phone) = world.ends();
    let config = phone.config();
    let before = config_heads(core, config);
    phone.order(CommandKind::Privacy { on: true });
    let taken = phone.talk(core);
    assert!(
        matches!(taken[..], [Taken::NewEpoch(_), Taken::CommandDone(_)]),
        "{taken:?}"
    );
    let after = config_heads(core, config);
    assert_eq!(after.1.0, before.1.0 + 2, "the Commit and the answer");
    let used = core.journal.as_ref().unwrap().epoch_use(config).unwrap();
    assert!(matches!(used, Some(journal::EpochUse::Finished { .. })));
    assert!(core.wishes().settings.privacy);
    let told = world.notices();
    assert!(
        told.iter()
            .any(|notice| matches!(notice, Notice::Settings(doc) if doc.version == 1)),
        "{told:?}"
    );
    // The log once, and both images of the vault, for the group's key rotates.
    assert_eq!(world.disk.totals().1, syncs + 3);
}

#[test]
fn two_commands_back_to_back_both_apply() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    phone.order(CommandKind::Privacy { on: true });
    let mut wanted = phone.book().to_change().1;
    assert!(wanted.privacy);
    wanted.event_seconds_max = Some(60);
    phone.set(wanted);
    phone.set(Settings {
        privacy: false,
        ..wanted
    });
    for _ in 0..3 {
        let _taken = phone.talk(core);
    }
    let versions: Vec<u64> = results(phone)
        .iter()
        .map(|result| match result {
            CommandResult::Changed(doc) => doc.version,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(core.wishes().settings, limit(60));
    assert!(phone.book().pending.is_empty());
}

/// The hub opened an epoch before the command came: that envelope is stale, and the same command is encrypted
/// again.
#[test]
fn a_command_that_is_overtaken_is_said_again_and_done_once() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let (core, phone) = world.ends();
    phone.order(CommandKind::Privacy { on: true });
    assert!(phone.say_order());
    other.set(limit(30));
    let _taken = other.talk(core);
    assert_eq!(version(core), 1);
    // The first phone was told of that, in an epoch of its own channel.
    let config = phone.config();
    assert_eq!(phone.send(core, config, NOW_MS), [Verdict::Taken]);
    assert_eq!(version(core), 1, "what was stale has no effect");
    let told = phone.fetch(core, config);
    assert!(
        matches!(told[..], [Taken::NewEpoch(_), Taken::Settings(_)]),
        "{told:?}"
    );
    assert_eq!(phone.book().pending[0].sent, None);
    let _taken = phone.talk(core);
    assert_eq!(version(core), 2);
    assert!(matches!(results(phone)[..], [CommandResult::Changed(_)]));
    assert_eq!(core.wishes().settings.event_seconds_max, Some(30));
    assert!(core.wishes().settings.privacy);
    // And the other one hears of it, when it has acked what it was told before.
    let config = other.config();
    assert!(other.fetch(core, config).is_empty());
    other.ack_config(core);
    core.handle_timeout(NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    let told = other.fetch(core, config);
    assert!(matches!(told.last(), Some(Taken::Settings(doc)) if doc.version == 2));
}

#[test]
fn two_phones_in_conflict_are_told() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let (core, phone) = world.ends();
    phone.set(limit(10));
    other.set(limit(20));
    // Neither has heard of the other.
    let _taken = other.talk(core);
    for _ in 0..2 {
        let _taken = phone.talk(core);
    }
    let [CommandResult::Conflict(doc)] = results(phone)[..] else {
        panic!("{:?}", results(phone));
    };
    assert_eq!((doc.version, doc.settings), (1, limit(20)));
    assert_eq!(version(core), 1);
    assert_eq!(phone.book().settings, doc, "what it starts from next");
    // From what it was told it can start anew.
    phone.set(limit(40));
    let _taken = phone.talk(core);
    assert_eq!(core.wishes().settings, limit(40));
    let results = results(phone);
    assert!(matches!(results.last(), Some(CommandResult::Changed(doc)) if doc.version == 2));
}

/// Privacy mode applies to any version, also to one of which its phone had not heard; what was given behind it does
/// not, because it was made of what that phone knew.
#[test]
fn a_change_behind_privacy_mode_does_not_undo_another_phones() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let (core, phone) = world.ends();
    // Twice, so that the number counts all that waits.
    phone.order(CommandKind::Privacy { on: false });
    phone.order(CommandKind::Privacy { on: true });
    let wanted = phone.book().to_change().1;
    phone.set(wanted);
    other.set(limit(60));
    let _taken = other.talk(core);
    for _ in 0..4 {
        let _taken = phone.talk(core);
    }
    let results = results(phone);
    assert!(
        matches!(
            results[..],
            [
                CommandResult::Changed(_),
                CommandResult::Changed(_),
                CommandResult::Conflict(_)
            ]
        ),
        "{results:?}"
    );
    let both = Settings {
        privacy: true,
        ..limit(60)
    };
    assert_eq!(core.wishes().settings, both);
    assert_eq!(phone.book().to_change().1, both, "what it starts from next");
}

/// What was given behind a change that lost was meant on top of it.
#[test]
fn what_follows_a_change_that_lost_is_lost_with_it() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let (core, phone) = world.ends();
    phone.set(limit(10));
    phone.set(limit(11));
    other.set(limit(20));
    let _taken = other.talk(core);
    for _ in 0..3 {
        let _taken = phone.talk(core);
    }
    assert!(
        matches!(
            results(phone)[..],
            [CommandResult::Conflict(_), CommandResult::Conflict(_)]
        ),
        "{:?}",
        results(phone)
    );
    assert_eq!(core.wishes().settings, limit(20));
}

#[test]
fn a_command_waits_where_there_is_no_room_for_its_answer_and_nothing_of_it_is_taken() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    let config = phone.config();
    phone.order(CommandKind::Privacy { on: true });
    assert!(phone.say_order());
    let before = config_heads(core, config);
    core.room = Some(false);
    for _ in 0..2 {
        assert_eq!(phone.send(core, config, NOW_MS), [Verdict::Waits]);
        assert_eq!(core.cursor(config).unwrap(), Seq::NONE);
        assert_eq!(config_heads(core, config), before);
        assert_eq!(version(core), 0);
    }
    core.room = None;
    assert_eq!(phone.send(core, config, NOW_MS), [Verdict::Taken]);
    let _taken = phone.fetch(core, config);
    assert!(matches!(results(phone)[..], [CommandResult::Changed(_)]));
}

/// Under the same identifier there is one effect, whatever comes: as long as no ack covers the answer it is
/// remembered, and after that nobody asks.
#[test]
fn the_same_command_again_has_its_answer_again_and_no_second_effect() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    let config = phone.config();
    let id = CommandId([5; 16]);
    let command = Command::new(id, &CommandKind::Privacy { on: true }).unwrap();
    let detections = Detections::new();
    let allowed = Allowed {
        detections: &detections,
        restart: true,
        invite: MayInvite::Yes,
    };
    for _ in 0..3 {
        let Core { journal, lines, .. } = &mut *core;
        let mut txn = journal.as_mut().unwrap().begin();
        obey(lines, &mut txn, config, (&command, allowed)).unwrap();
        drop(txn.stage(()).unwrap());
        core.commit(NOW_MS).unwrap();
        assert_eq!(version(core), 1);
    }
    let taken = phone.fetch(core, config);
    let epochs = taken
        .iter()
        .filter(|taken| matches!(taken, Taken::NewEpoch(_)));
    assert_eq!(epochs.count(), 3, "{taken:?}");
    assert_eq!(phone.book().settings.version, 1);
    let remembered = |core: &mut Core| {
        let journal = core.journal.as_mut().unwrap();
        let txn = journal.begin();
        txn.remembered_outcome(config.pairing, id).unwrap()
    };
    assert!(remembered(core).is_some());
    phone.ack_config(core);
    assert_eq!(remembered(core), None);
}

#[test]
fn privacy_mode_ends_the_clip_and_is_kept_by_a_start() {
    let mut world = World::paired();
    let _bytes = world.record_some(2);
    let (core, phone) = world.ends();
    phone.order(CommandKind::Privacy { on: true });
    let _taken = phone.talk(core);
    core.commit(NOW_MS).unwrap();
    assert!(!core.is_recording());
    let finished = world.finished();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].state, ClipState::CutOff);
    let private = Recorded::Not(Stop::Privacy);
    let begun = world.core.handle_event_started(event(), 8).unwrap();
    assert_eq!(begun, private);
    world.crash();
    assert!(world.core.wishes().settings.privacy);
    let begun = world.core.handle_event_started(event(), 9).unwrap();
    assert_eq!(begun, private);
    assert_eq!(
        world.core.status().unwrap().settings.settings,
        world.core.wishes().settings
    );
    let (core, phone) = world.ends();
    phone.order(CommandKind::Privacy { on: false });
    let _taken = phone.talk(core);
    let _bytes = world.record_some(1);
}

#[test]
fn a_restart_is_wanted_until_the_next_start_and_never_by_two() {
    let mut world = World::paired();
    world.pass(10);
    let (core, phone) = world.ends();
    phone.order(CommandKind::Restart);
    let _taken = phone.talk(core);
    assert_eq!(results(phone), [CommandResult::Done]);
    assert!(core.wishes().restart);
    for _ in 0..2 {
        world.crash();
        assert!(!world.core.wishes().restart);
        let stored = world.core.journal.as_ref().unwrap().restart_wanted();
        assert_eq!(stored.unwrap(), None);
    }
    // Asked for again, it is wanted again.
    world.pass(10);
    let (core, phone) = world.ends();
    phone.order(CommandKind::Restart);
    let _taken = phone.talk(core);
    assert!(core.wishes().restart);
}

/// Who orders restarts one after the other keeps no hub down: one that has just come up has restarted.
#[test]
fn a_restart_soon_after_a_start_is_past_already() {
    let mut world = World::paired();
    let restart = |world: &mut World| {
        let (core, phone) = world.ends();
        phone.order(CommandKind::Restart);
        let _taken = phone.talk(core);
        assert_eq!(results(phone).last(), Some(&CommandResult::Done));
        let stored = core.journal.as_ref().unwrap().restart_wanted().unwrap();
        assert_eq!(stored.is_some(), core.wishes().restart);
        core.wishes().restart
    };
    assert!(!restart(&mut world));
    world.pass(9);
    assert!(!restart(&mut world));
    world.pass(1);
    assert!(restart(&mut world));
    world.crash();
    assert!(!restart(&mut world), "that is the restart");
}

#[test]
fn a_phone_that_misses_something_has_the_relay_asked_anew_and_only_for_what_can_be_missing() {
    let mut world = World::paired();
    let _bytes = world.record_some(2);
    let line = world.line;
    let again = |core: &Core| core.heads().unwrap()[&line].asked_again;
    let last = world.core.heads().unwrap()[&line].last;
    let (core, phone) = world.ends();
    let ask = |from| CommandKind::SendAgain {
        channel: Channel::EventVideo,
        from,
    };
    for (from, times) in [(last.0, 1), (1, 2), (last.0 + 1, 2)] {
        phone.order(ask(from));
        let _taken = phone.talk(core);
        assert_eq!(results(phone).last(), Some(&CommandResult::Done));
        assert_eq!(again(core), times, "{from}");
    }
    for from in [0, last.0 + 2, u64::MAX] {
        phone.order(ask(from));
        let _taken = phone.talk(core);
        let refused = CommandResult::Refused(Refusal::OutOfRange);
        assert_eq!(results(phone).last(), Some(&refused), "{from}");
    }
    assert_eq!(again(core), 2);
}

#[test]
fn a_setting_outside_its_limits_changes_nothing() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    phone.set(limit(0));
    let _taken = phone.talk(core);
    let refused = CommandResult::Refused(Refusal::OutOfRange);
    assert_eq!(results(phone), [refused]);
    assert_eq!(version(core), 0);
}

/// A phone that pairs later knows nothing of what was set before: it is told at the next tick that finds room
/// for that, once.
#[test]
fn every_phone_is_told_of_the_settings_when_there_is_room() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    phone.set(limit(30));
    let _taken = phone.talk(core);
    let mut late = world.pair_another();
    let config = late.config();
    let core = &mut world.core;
    core.room = Some(false);
    core.handle_timeout(NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    assert!(late.fetch(core, config).is_empty());
    core.room = None;
    for news in [2, 0] {
        core.handle_timeout(NOW_MS).unwrap();
        core.commit(NOW_MS).unwrap();
        assert_eq!(late.fetch(core, config).len(), news);
    }
    assert_eq!(late.book().settings.settings, limit(30));
    // On what it was told it can build.
    late.set(limit(31));
    let _taken = late.talk(core);
    assert!(matches!(results(&late)[..], [CommandResult::Changed(_)]));
}

/// A Commit more would cost a sync, and an epoch for nothing.
#[test]
fn due_settings_share_the_epoch_of_a_heartbeats_answer() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    phone.set(limit(30));
    let _taken = phone.talk(core);
    let mut late = world.pair_another();
    let config = late.config();
    late.beat(1);
    let core = &mut world.core;
    let verdicts = late.send(core, config, NOW_MS);
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Taken));
    core.handle_timeout(NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    let taken = late.fetch(core, config);
    assert!(
        matches!(
            taken[..],
            [Taken::Healed(_), Taken::Settings(_), Taken::Answered(_)]
        ),
        "{taken:?}"
    );
}

/// A power cut at every disk operation of taking a command, while an event is recorded: it is done once, and
/// its phone hears so.
#[test]
fn a_command_survives_a_crash_at_every_operation() {
    let mut states = 0;
    for kind in [CommandKind::Privacy { on: true }, CommandKind::Restart] {
        let mut world = World::paired();
        world.pass(10);
        let _bytes = world.record_some(1);
        world.disk.record_snapshots();
        let (core, phone) = world.ends();
        phone.order(kind.clone());
        assert!(phone.say_order());
        let config = phone.config();
        assert_eq!(phone.send(core, config, NOW_MS), [Verdict::Taken]);
        let snapshots = world.disk.snapshots();
        for (i, snapshot) in snapshots.iter().enumerate() {
            for policy in CrashPolicy::ALL {
                let seed = i as u64;
                let disk = snapshot.crash_clone(policy, seed);
                let limits = SilenceLimits::default();
                let mut core = Core::start(opener(&disk, 9_000 + seed), limits, NOW_MS).unwrap();
                let (_old, phone) = world.ends();
                let mut phone = phone.twin(seed);
                for _ in 0..3 {
                    let _taken = phone.talk(&mut core);
                }
                let book = phone.book();
                assert!(book.pending.is_empty(), "{i} {policy:?}: {book:?}");
                assert_eq!(book.done.len(), 1, "{i} {policy:?}");
                let expected = u64::from(kind != CommandKind::Restart);
                assert_eq!(version(&core), expected, "{i} {policy:?}");
                phone.ack_config(&mut core);
                // Both ends go on together.
                let privacy = kind != CommandKind::Restart;
                assert_eq!(core.wishes().settings.privacy, privacy);
                phone.order(CommandKind::Privacy { on: false });
                for _ in 0..2 {
                    let _taken = phone.talk(&mut core);
                }
                assert!(!core.wishes().settings.privacy, "{i} {policy:?}");
                states += 1;
            }
        }
    }
    assert!(states > 20, "only {states} states");
}

/// However often the settings change: who is away is told once, and of the newest when that is acked.
#[test]
fn changes_do_not_pile_up_for_a_phone_that_is_away() {
    let mut world = World::paired();
    let mut away = world.pair_another();
    let config = away.config();
    let (core, phone) = world.ends();
    let mut said = Vec::new();
    for seconds in 1..=6 {
        phone.set(limit(seconds));
        let _taken = phone.talk(core);
        said.push(config_heads(core, config).1);
    }
    assert_eq!(said, [said[0]; 6]);
    assert_eq!(away.fetch(core, config).len(), 2);
    away.ack_config(core);
    core.handle_timeout(NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    let told = away.fetch(core, config);
    assert!(matches!(told.last(), Some(Taken::Settings(doc)) if doc.version == 6));
}

/// A command costs a Commit, as new keys do, and has its bound with them.
#[test]
fn commands_without_end_wait_as_proposals_do() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    let config = phone.config();
    for _ in 0..pace::BURST {
        phone.order(CommandKind::Phones);
        let _taken = phone.talk(core);
        phone.ack_config(core);
    }
    phone.order(CommandKind::Phones);
    assert!(phone.say_order());
    assert_eq!(phone.send(core, config, NOW_MS), [Verdict::Waits]);
    let later = NOW_MS + pace::REFILL_MS;
    assert_eq!(phone.send(core, config, later), [Verdict::Taken]);
}

#[test]
fn a_phone_removes_another_one_in_the_transaction_that_answers() {
    let mut world = World::paired();
    let other = world.pair_another();
    let (gone, stays) = (other.line.pairing, world.line.pairing);
    let mut bytes = world.record_some(2);
    let (core, phone) = world.ends();
    phone.order(CommandKind::Phones);
    let _taken = phone.talk(core);
    let Some(CommandResult::Phones(facts)) = results(phone).pop() else {
        panic!("{:?}", results(phone));
    };
    let named: Vec<_> = facts.iter().map(|facts| facts.phone).collect();
    assert_eq!(named, [stays, gone]);
    phone.order(CommandKind::Remove { phone: gone });
    let _taken = phone.talk(core);
    assert_eq!(results(phone).last(), Some(&CommandResult::Done));
    assert!(!core.heads().unwrap().contains_key(&other.line));
    assert_eq!(core.dismissals().unwrap().owed.len(), 1);
    // Once; and nobody removes itself.
    for nobody in [gone, stays] {
        phone.order(CommandKind::Remove { phone: nobody });
        let _taken = phone.talk(core);
        let refused = CommandResult::Refused(Refusal::NoSuchPhone);
        assert_eq!(results(phone).last(), Some(&refused));
    }
    let removed = Notice::PhoneRemoved { phone: gone };
    let told = world.notices();
    assert_eq!(told.iter().filter(|notice| **notice == removed).count(), 1);
    // The event goes on for who stays.
    bytes.extend(world.record_more(2..4));
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    world.crash();
    assert_eq!(world.core.status().unwrap().lines.len(), 1);
}

/// Whatever a crash keeps: the other phone is there and the command comes again, or it is gone, the relay will
/// be told, and the answer is stored.
#[test]
fn a_removal_by_command_survives_a_crash_at_every_operation() {
    let mut world = World::paired();
    let other = world.pair_another();
    world.disk.record_snapshots();
    let (core, phone) = world.ends();
    phone.order(CommandKind::Remove {
        phone: other.line.pairing,
    });
    assert!(phone.say_order());
    let config = phone.config();
    assert_eq!(phone.send(core, config, NOW_MS), [Verdict::Taken]);
    let snapshots = world.disk.snapshots();
    let (mut there, mut gone) = (0, 0);
    for (i, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let seed = i as u64;
            let disk = snapshot.crash_clone(policy, seed);
            let limits = SilenceLimits::default();
            let mut core = Core::start(opener(&disk, 9_000 + seed), limits, NOW_MS).unwrap();
            let lives = core.heads().unwrap().contains_key(&other.line);
            assert_eq!(core.dismissals().unwrap().owed.is_empty(), lives);
            match lives {
                true => there += 1,
                false => gone += 1,
            }
            let (_old, phone) = world.ends();
            let mut phone = phone.twin(seed);
            for _ in 0..3 {
                let _taken = phone.talk(&mut core);
            }
            assert_eq!(results(&phone), [CommandResult::Done], "{i} {policy:?}");
            assert!(!core.heads().unwrap().contains_key(&other.line));
            assert_eq!(core.dismissals().unwrap().owed.len(), 1, "{i} {policy:?}");
        }
    }
    assert!(there > 0 && gone > 0, "{there} there, {gone} gone");
}
