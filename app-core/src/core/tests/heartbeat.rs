//! Heartbeats: one transaction for five lines, mute until the hub's Commit, said again when stale.

use std::collections::BTreeSet;

use bytes::Bytes;
use journal::ids::{Channel, Line};
use journal::message::{self, AppConfigMessage, HeartbeatAnswer, HubReport};
use journal::{Committer, PhoneHeard, Received, Session, Taken, Takes};
use wal::disk::SimDisk;
use wire::Seq;

use super::super::*;
use crate::testing::{Hub, NOW_MS, deliver, open_core, pair_another, paired, tick};
use crate::types::HUB_WAIT_MS;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn beat(core: &mut Core, pairing: PairingId, now_unix_ms: u64) -> BeatSent {
    let level = BTreeSet::from(Line::all(pairing));
    say(core, pairing, &level, now_unix_ms)
}

/// A heartbeat while these lines are level.
fn say(core: &mut Core, pairing: PairingId, level: &BTreeSet<Line>, now_unix_ms: u64) -> BeatSent {
    let staged = core.stage_heartbeat(pairing, level, now_unix_ms).unwrap();
    let committed = core.commit().unwrap();
    committed.redeem(staged).into_inner()
}

/// These lines are level, and the relay has long had all that we said there; of no other is anything known.
fn sight(level: &BTreeSet<Line>) -> Sight {
    Sight {
        level: level.clone(),
        waited: level.clone(),
        ..Sight::default()
    }
}

/// The hub takes what the app has on a line; on config it answers what it heard.
fn hub_takes(hub: &mut Hub, core: &Core, line: Line) -> Vec<Received> {
    let mut all = Vec::new();
    let mut at = hub.journal.inbox_head(line).unwrap().cursor;
    let mut own = Session::<Committer>::new(line);
    while let Some((seq, envelope)) = core.next_envelope(line, at).unwrap() {
        let session = match line.channel {
            Channel::EventVideo => &mut hub.session,
            _ => &mut own,
        };
        let mut txn = hub.journal.begin();
        let takes = Takes::MessagesAndProposals;
        let arrived = session.receive(&mut txn, seq, envelope.as_bytes(), takes);
        let received = arrived.unwrap().received;
        if line.channel == Channel::Config {
            let heard = txn.phone_heard(line.pairing).unwrap();
            match (&received, heard) {
                (Received::Message(bytes), _) => {
                    if let AppConfigMessage::Heartbeat(said) = message::decode(bytes).unwrap() {
                        let (number, unix_ms) = (said.number, NOW_MS);
                        let heard = PhoneHeard { number, unix_ms };
                        txn.put_phone_heard(line.pairing, heard).unwrap();
                    }
                }
                (Received::Healed(_), Some(heard)) => {
                    let answer = HeartbeatAnswer {
                        number: heard.number,
                        answered_unix_ms: NOW_MS,
                        version: "0".into(),
                        epochs: Vec::new(),
                        status: HubReport::default(),
                    };
                    session.answer(&mut txn, &answer).unwrap();
                }
                (Received::Stale, _) => {}
                other => panic!("{other:?}"),
            }
        }
        drop(txn.commit(()).unwrap());
        all.push(received);
        at = seq;
    }
    all
}

/// The app takes what the hub has on a line.
fn app_takes(hub: &Hub, core: &mut Core, line: Line, now_ms: u64) -> Run {
    let mut run = Vec::new();
    let mut at = core.cursor(line).unwrap();
    while let Some((seq, envelope)) = hub.journal.outbox_next(line, at).unwrap() {
        let bytes = Bytes::from(envelope.into_inner().into_bytes());
        run.push(Delivered { seq, bytes });
        at = seq;
    }
    deliver(core, line, &run, now_ms)
}

#[test]
fn all_five_lines_are_healed_and_acks_wait_for_their_commits() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let event = hub.line();
    assert_eq!(core.lines().unwrap().len(), 5);
    assert_eq!(core.next_heartbeat(NOW_MS).unwrap(), Some(0));
    let syncs = disk.totals().1;
    let sent = beat(&mut core, pairing, NOW_MS);
    assert_eq!(sent.number, 1);
    assert_eq!(disk.totals().1, syncs + 1, "one transaction, one sync");
    // Mute, and said so; what is due waits, and a scheduler has somebody look for the answer.
    let look = core.next_heartbeat(NOW_MS).unwrap();
    assert_eq!(look, Some(NOW_MS + 15 * MINUTE));
    assert!(matches!(
        core.stage_heartbeat(pairing, &BTreeSet::from(Line::all(pairing)), NOW_MS),
        Err(JournalError::AwaitsCommit(_))
    ));
    let clip = hub.start_clip();
    let chunk = hub.chunk(clip, b"chunk");
    // That clip overtook the proposal: the line is free again, and its ack is due with the Commit.
    let run = app_takes(&hub, &mut core, event, 1_000);
    assert!(run.halt.is_none(), "{:?}", run.halt);
    assert!(run.cursor >= chunk && run.ack.is_some());
    for line in Line::all(pairing) {
        let received = hub_takes(&mut hub, &core, line);
        let healed = received
            .iter()
            .any(|received| matches!(received, Received::Healed(_)));
        assert_eq!(healed, line != event, "{line:?}");
        if line != event {
            assert!(tick(&mut core, line, 2_000).ack.is_none());
            let run = app_takes(&hub, &mut core, line, 2_000);
            assert!(run.halt.is_none());
            assert!(run.ack.is_some(), "an ack is due with the Commit");
        }
    }
    let state = core.journal().heartbeat(pairing).unwrap().unwrap();
    assert!(state.is_answered());
    // One line was left out: the whole of it again, in half a minute.
    let pulse = core.pulse(pairing).unwrap();
    assert_eq!((pulse.behind, pulse.mute), (1, false), "{pulse:?}");
    assert_eq!(pulse.waits_since_unix_ms, None);
    let due = core.next_heartbeat(NOW_MS).unwrap();
    assert_eq!(due, Some(NOW_MS + 30_000));
    let again = beat(&mut core, pairing, NOW_MS + 30_000);
    assert_eq!(again.number, 2);
    let received = hub_takes(&mut hub, &core, event);
    assert!(matches!(received.last(), Some(Received::Healed(_))));
    let more = hub.chunk(clip, b"goes on");
    let run = app_takes(&hub, &mut core, event, 40_000);
    assert!(run.cursor >= more);
    assert!(
        run.facts
            .iter()
            .any(|fact| matches!(fact.taken, Taken::Healed(_)))
    );
    let status = core.status().unwrap();
    assert_eq!(status.len(), 1, "a hub is one row");
    assert_eq!(status[0].channels.len(), 5);
    // Since when a channel is healed is when its keys were made, not when their Commit came.
    for keys in &status[0].channels {
        let made = match keys.channel {
            Channel::EventVideo => NOW_MS + 30_000,
            _ => NOW_MS,
        };
        assert_eq!(keys.healed_unix_ms, Some(made), "{:?}", keys.channel);
    }
}

/// What waits is stored: the next process knows that its lines are mute.
#[test]
fn a_start_knows_what_waits_for_the_hub() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let clip = hub.record(&[b"one"]);
    let run = deliver(&mut core, hub.line(), &hub.outgoing(Seq::NONE), 10);
    assert!(run.ack.is_some());
    let _sent = beat(&mut core, pairing, NOW_MS);
    drop(core);
    let mut core = open_core(&disk, 4);
    let pulse = core.pulse(pairing).unwrap();
    assert!(pulse.mute && pulse.waits_since_unix_ms == Some(NOW_MS));
    assert!(
        core.status().unwrap()[0]
            .channels
            .iter()
            .all(|c| c.awaits_commit)
    );
    core.owe_ack(hub.line(), 0).unwrap();
    assert!(tick(&mut core, hub.line(), 60_000).ack.is_none());
    let event = hub.line();
    let received = hub_takes(&mut hub, &core, event);
    assert!(matches!(received.last(), Some(Received::Healed(_))));
    let run = app_takes(&hub, &mut core, event, 61_000);
    assert!(run.ack.is_some());
    assert!(core.clip(clip).is_ok());
}

/// All that a heartbeat needs of the hub, on these lines.
fn heard_on(hub: &mut Hub, core: &mut Core, lines: &[Line], now_ms: u64) {
    for line in lines {
        let received = hub_takes(hub, core, *line);
        let healed = received
            .iter()
            .any(|one| matches!(one, Received::Healed(_)));
        assert!(healed, "{line:?}: {received:?}");
        let run = app_takes(hub, core, *line, now_ms);
        assert!(run.halt.is_none() && !run.waits_for_hub, "{run:?}");
    }
}

fn note_level(core: &mut Core, pairing: PairingId, now_unix_ms: u64) {
    let staged = core.stage_level(pairing, now_unix_ms).unwrap();
    let committed = core.commit().unwrap();
    committed.redeem(staged).into_inner();
}

/// A hub whose one line is in trouble, or a thief who cut the power before its last Commit left.
#[test]
fn a_line_whose_commit_never_comes_is_noticed_and_does_not_hold_up_the_others() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let stuck = Line::of(pairing, Channel::Thumbnail);
    let others: Vec<Line> = Line::all(pairing)
        .into_iter()
        .filter(|line| *line != stuck)
        .collect();
    beat(&mut core, pairing, NOW_MS);
    heard_on(&mut hub, &mut core, &others, 1_000);
    let pulse = core.pulse(pairing).unwrap();
    assert!(!pulse.mute && pulse.behind == 0, "{pulse:?}");
    assert_eq!(pulse.waits_since_unix_ms, Some(NOW_MS));
    // Answered, and yet an alarm: one channel has the old keys.
    let quarter = NOW_MS + 15 * MINUTE;
    assert!(!pulse.looks_offline(quarter));
    note_level(&mut core, pairing, quarter);
    assert!(core.pulse(pairing).unwrap().looks_offline(quarter));
    let later = NOW_MS + 6 * HOUR;
    let level = BTreeSet::from(Line::all(pairing));
    let look = core
        .look(&sight(&level), &Launch::ByScheduler, later)
        .unwrap();
    assert_eq!((look.due, look.silent), (vec![pairing], vec![pairing]));
    let again = beat(&mut core, pairing, later);
    assert_eq!(again.number, 2);
    heard_on(&mut hub, &mut core, &others, 6 * HOUR);
    for keys in &core.status().unwrap()[0].channels {
        let is_stuck = keys.channel == stuck.channel;
        assert_eq!(keys.awaits_commit, is_stuck);
        assert_eq!(keys.healed_unix_ms, (!is_stuck).then_some(later));
    }
    // Its Commit comes at last, for the keys that were made first: the whole of it is said once more.
    heard_on(&mut hub, &mut core, &[stuck], 7 * HOUR);
    let pulse = core.pulse(pairing).unwrap();
    assert_eq!((pulse.behind, pulse.waits_since_unix_ms), (1, None));
    assert_eq!(
        pulse.heartbeat_unix_ms(Rhythm::Running, later),
        Some(later + 30_000)
    );
}

#[test]
fn a_broken_line_is_left_out_and_a_rolled_back_directory_says_nothing() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let broken = Line::of(pairing, Channel::Livestream);
    let others: Vec<Line> = Line::all(pairing)
        .into_iter()
        .filter(|line| *line != broken)
        .collect();
    core.follow(broken).unwrap().over = Some(Over::Broken);
    assert_eq!(core.status().unwrap()[0].over, Some(Over::Broken));
    let level: BTreeSet<Line> = others.iter().copied().collect();
    let launch = Launch::ByScheduler;
    let look = core.look(&sight(&level), &launch, NOW_MS).unwrap();
    assert_eq!(look.due, [pairing], "nobody waits for a line that is over");
    let before = core.outbox(broken).unwrap();
    beat(&mut core, pairing, NOW_MS);
    assert_eq!(core.outbox(broken).unwrap(), before);
    heard_on(&mut hub, &mut core, &others, 1_000);
    assert!(core.pulse(pairing).unwrap().is_settled());
    // A directory rolls back whole, whichever line has proved it.
    core.follow(broken).unwrap().over = Some(Over::RolledBack);
    let late = NOW_MS + 24 * HOUR;
    assert_eq!(
        core.look(&sight(&level), &launch, late).unwrap(),
        Look::default()
    );
    assert_eq!(core.next_heartbeat(late).unwrap(), None);
    assert!(matches!(
        core.stage_heartbeat(pairing, &level, late),
        Err(JournalError::RolledBack(line)) if line == broken
    ));
}

/// What is stored of a line's group is gone, as if it had rotted, and the process starts again.
fn lose_group(mut core: Core, disk: &SimDisk, line: Line, seed: u64) -> Core {
    let mut session = Session::<Committer>::new(line);
    let mut txn = core.journal().begin();
    assert!(session.abandon(&mut txn).unwrap().is_empty());
    drop(txn.commit(()).unwrap());
    drop(core);
    open_core(disk, seed)
}

/// What has rotted of one idle group concerns that line alone, and another hub not at all.
#[test]
fn a_damaged_idle_group_is_left_out_and_everything_else_goes_on() {
    let (mut hub, disk) = paired();
    let mut second = pair_another(&disk);
    let (pairing, other) = (hub.line().pairing, second.line().pairing);
    let mut both = vec![pairing, other];
    both.sort_unstable();
    let lost = Line::of(pairing, Channel::Livestream);
    let mut core = lose_group(open_core(&disk, 3), &disk, lost, 4);
    assert_eq!(core.next_heartbeat(NOW_MS).unwrap(), Some(0));
    // Nobody waits for what cannot be read.
    let lines = Line::all(pairing).into_iter().chain(Line::all(other));
    let level: BTreeSet<Line> = lines.filter(|line| *line != lost).collect();
    let launch = Launch::ByScheduler;
    let mut look = core.look(&sight(&level), &launch, NOW_MS).unwrap();
    look.due.sort_unstable();
    assert_eq!(look.due, both);
    beat(&mut core, pairing, NOW_MS);
    beat(&mut core, other, NOW_MS);
    let whole: Vec<Line> = Line::all(pairing)
        .into_iter()
        .filter(|line| *line != lost)
        .collect();
    heard_on(&mut hub, &mut core, &whole, 1_000);
    heard_on(&mut second, &mut core, &Line::all(other), 1_000);
    assert!(core.pulse(pairing).unwrap().is_settled());
    // It is said, and the status of everything else is there.
    let over = |core: &mut Core| {
        let status = core.status().unwrap();
        let mut over: Vec<_> = status.iter().map(|hub| (hub.line, hub.over)).collect();
        over.sort_unstable_by_key(|(line, _)| *line == event_line(other));
        over
    };
    let expected = [
        (event_line(pairing), Some(Over::Broken)),
        (event_line(other), None),
    ];
    assert_eq!(over(&mut core), expected);
    // Without its config line a hub is told nothing, and without that of its videos it has no epoch.
    let core = lose_group(core, &disk, Line::of(pairing, Channel::Config), 5);
    let mut core = lose_group(core, &disk, event_line(pairing), 6);
    assert_eq!(over(&mut core), expected);
    let status = core.status().unwrap();
    let of_first = status.iter().find(|hub| hub.line == event_line(pairing));
    assert_eq!(of_first.unwrap().epoch, 0);
    let late = NOW_MS + 6 * HOUR;
    let look = core.look(&sight(&level), &launch, late).unwrap();
    assert_eq!(look.due, [other]);
    assert!(
        core.next_heartbeat(late)
            .unwrap()
            .is_some_and(|at| at <= late)
    );
    assert!(core.stage_heartbeat(pairing, &level, late).is_err());
    beat(&mut core, other, late);
    heard_on(&mut second, &mut core, &Line::all(other), 6 * HOUR);
}

/// A relay that withholds an idle line, or has no room for its mailbox, must not end the heartbeats of the
/// others, nor hide that the hub is silent.
#[test]
fn a_line_that_never_becomes_level_is_left_out_and_does_not_hold_up_the_others() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let config = Line::of(pairing, Channel::Config);
    let away = Line::of(pairing, Channel::Notification);
    let others: Vec<Line> = Line::all(pairing)
        .into_iter()
        .filter(|line| *line != away)
        .collect();
    let launch = Launch::ByScheduler;
    let mut sight = sight(&others.iter().copied().collect());
    // As long as nobody knows: it may show that this directory is old.
    let look = core.look(&sight, &launch, NOW_MS).unwrap();
    assert_eq!(look, Look::default());
    sight.away.insert(away);
    let look = core.look(&sight, &launch, NOW_MS).unwrap();
    assert_eq!(look.due, [pairing]);
    let before = core.outbox(away).unwrap();
    say(&mut core, pairing, &sight.level, NOW_MS);
    assert_eq!(core.outbox(away).unwrap(), before);
    heard_on(&mut hub, &mut core, &others, 1_000);
    // It has its old keys, which is said, and everything else goes on.
    for keys in &core.status().unwrap()[0].channels {
        let healed = (keys.channel != away.channel).then_some(NOW_MS);
        assert_eq!((keys.healed_unix_ms, keys.awaits_commit), (healed, false));
    }
    let pulse = core.pulse(pairing).unwrap();
    assert_eq!((pulse.behind, pulse.waits_since_unix_ms), (1, None));
    let again = NOW_MS + 30_000;
    let look = core.look(&sight, &launch, again).unwrap();
    assert_eq!(look.due, [pairing]);
    say(&mut core, pairing, &sight.level, again);
    let quarter = again + 15 * MINUTE;
    let look = core.look(&sight, &launch, quarter).unwrap();
    assert_eq!((look.due, look.silent), (vec![], vec![pairing]));
    // Messages and answers have one line only.
    sight.level.remove(&config);
    sight.away.insert(config);
    let look = core.look(&sight, &launch, quarter).unwrap();
    assert_eq!(look, Look::default());
}

/// Scenario 9: a phone that is two hundred clips behind proposes once, when it has all of them, and not in each of the
/// epochs that it passes through.
#[test]
fn scenario_09_a_phone_that_is_two_hundred_clips_behind_proposes_once() {
    const CLIPS: usize = 200;
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let pairing = line.pairing;
    for _ in 0..CLIPS {
        hub.record(&[b"missed"]);
    }
    let mut level = BTreeSet::from(Line::all(pairing));
    level.remove(&line);
    let launch = Launch::ByPerson(BTreeSet::new());
    let waiting = hub.outgoing(Seq::NONE);
    assert_eq!(waiting.len(), 4 * CLIPS);
    for run in waiting.chunks(RUN_ENVELOPES_MAX) {
        let look = core.look(&sight(&level), &launch, NOW_MS).unwrap();
        assert!(look.due.is_empty(), "it has yet to catch up");
        let run = deliver(&mut core, line, run, 10);
        assert!(run.halt.is_none(), "{:?}", run.halt);
    }
    level.insert(line);
    let look = core.look(&sight(&level), &launch, NOW_MS).unwrap();
    assert_eq!(look.due, [pairing]);
    beat(&mut core, pairing, NOW_MS);
    let received = hub_takes(&mut hub, &core, line);
    let of = |kind: fn(&Received) -> bool| received.iter().filter(|one| kind(one)).count();
    assert_eq!(of(|one| matches!(one, Received::Healed(_))), 1);
    assert_eq!(of(|one| matches!(one, Received::NotHealed(_))), 0);
    // What it had acked on its way was of epochs that are over, and harmed nobody.
    assert!(of(|one| matches!(one, Received::Stale)) > 0, "{received:?}");
    let run = app_takes(&hub, &mut core, line, 20);
    assert!(matches!(
        run.facts[..],
        [Fact {
            taken: Taken::Healed(_),
            ..
        }]
    ));
    assert_eq!(core.clips().unwrap().len(), CLIPS);
}

#[test]
fn a_heartbeat_waits_until_every_line_is_level_and_a_launch_is_over_with_its_own() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let lines = Line::all(pairing);
    let mut launch = Launch::ByPerson(BTreeSet::new());
    let mut level = BTreeSet::new();
    for line in lines {
        let look = core.look(&sight(&level), &launch, NOW_MS).unwrap();
        assert_eq!(look, Look::default(), "{line:?} is not level");
        level.insert(line);
    }
    let look = core.look(&sight(&level), &launch, NOW_MS).unwrap();
    assert_eq!((look.due, look.idle), (vec![pairing], vec![]));
    assert_eq!(look.again_unix_ms, Some(NOW_MS + 30_000));
    beat(&mut core, pairing, NOW_MS);
    heard_on(&mut hub, &mut core, &lines, 1_000);
    // A launch an hour later owes one; a scheduler's does not, and neither does this one from then on.
    let hour = NOW_MS + HOUR;
    let next = core.next_heartbeat(hour).unwrap().unwrap();
    assert!((NOW_MS + 5 * HOUR + 30 * MINUTE..=NOW_MS + 6 * HOUR).contains(&next));
    let look = core
        .look(&sight(&level), &Launch::ByScheduler, hour)
        .unwrap();
    assert_eq!((look.due, look.idle), (vec![], vec![pairing]));
    assert_eq!(look.again_unix_ms, Some(next));
    let look = core.look(&sight(&level), &launch, hour).unwrap();
    assert_eq!(look.due, [pairing]);
    launch.is_over(pairing);
    let look = core.look(&sight(&level), &launch, hour).unwrap();
    assert_eq!((look.due, look.again_unix_ms), (vec![], Some(next)));
    // The same at every look, also by the next process: no die is thrown.
    drop(core);
    let mut core = open_core(&disk, 4);
    assert_eq!(core.next_heartbeat(hour).unwrap(), Some(next));
}

/// A sync that ends looks when it is called; the answer of a hub that is well lies at the relay meanwhile.
#[test]
fn the_camera_looks_offline_when_a_look_found_no_answer_and_the_next_process_knows() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let level = BTreeSet::from(Line::all(pairing));
    beat(&mut core, pairing, NOW_MS);
    let (soon, hour) = (NOW_MS + MINUTE, NOW_MS + HOUR);
    let launch = Launch::ByScheduler;
    let look = core.look(&sight(&level), &launch, soon).unwrap();
    assert_eq!((look.due, look.silent), (vec![], vec![]));
    assert!(!core.pulse(pairing).unwrap().looks_offline(hour));
    // An hour later it is not there.
    let look = core.look(&sight(&level), &launch, hour).unwrap();
    assert_eq!((look.due, look.silent), (vec![], vec![pairing]));
    assert_eq!((look.offline, look.online), (vec![], vec![pairing]));
    note_level(&mut core, pairing, hour);
    drop(core);
    let mut core = open_core(&disk, 4);
    assert!(core.pulse(pairing).unwrap().looks_offline(hour));
    let next = core.next_heartbeat(hour).unwrap();
    assert_eq!(next, Some(hour + HOUR), "as long again");
    let look = core.look(&sight(&level), &launch, hour).unwrap();
    assert_eq!((look.silent, look.again_unix_ms), (vec![], next));
    assert_eq!(
        (look.offline, look.online),
        (vec![(pairing, NOW_MS)], vec![])
    );
    heard_on(&mut hub, &mut core, &Line::all(pairing), HOUR);
    let pulse = core.pulse(pairing).unwrap();
    assert!(pulse.is_settled() && !pulse.looks_offline(hour));
    let look = core.look(&sight(&level), &launch, hour).unwrap();
    assert_eq!((look.offline, look.online), (vec![], vec![pairing]));
}

/// A sync that was killed before it sent its heartbeat leaves that in the outbox. When the next one sends it, an
/// hour later, a hub that is well has had no time to answer.
#[test]
fn a_hub_is_silent_only_once_the_relay_has_had_the_heartbeat_for_a_while() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let lines = Line::all(pairing);
    beat(&mut core, pairing, NOW_MS);
    drop(core);
    let mut core = open_core(&disk, 4);
    let launch = Launch::ByScheduler;
    let hour = NOW_MS + HOUR;
    let mut sight = sight(&BTreeSet::from(lines));
    // The relay has it, but no line's, or all but one line's, for so long.
    for fresh in [&lines[..], &lines[..1], &lines[4..]] {
        let waited = lines.iter().filter(|line| !fresh.contains(line));
        sight.waited = waited.copied().collect();
        let look = core.look(&sight, &launch, hour).unwrap();
        assert_eq!((look.due, look.silent), (vec![], vec![]), "{fresh:?}");
        assert_eq!(look.unsure, [pairing]);
        assert_eq!(look.again_unix_ms, Some(hour + HUB_WAIT_MS));
    }
    sight.waited = BTreeSet::from(lines);
    let look = core.look(&sight, &launch, hour).unwrap();
    assert_eq!((look.silent, look.unsure), (vec![pairing], vec![]));
    // It takes time only where something is waited for.
    heard_on(&mut hub, &mut core, &lines[1..], 1_000);
    sight.waited = BTreeSet::from([lines[0]]);
    let look = core.look(&sight, &launch, hour).unwrap();
    assert_eq!((look.silent, look.unsure), (vec![pairing], vec![]));
    // Nobody can say when a line that cannot be reached has waited long enough.
    sight.waited.clear();
    let look = core.look(&sight, &launch, hour).unwrap();
    assert_eq!((look.silent, look.unsure), (vec![], vec![pairing]));
    sight.level.remove(&lines[0]);
    sight.away.insert(lines[0]);
    let look = core.look(&sight, &launch, hour).unwrap();
    assert_eq!((look.silent, look.unsure), (vec![pairing], vec![]));
    // Before its time nothing is asked.
    let look = core.look(&sight, &launch, NOW_MS + MINUTE).unwrap();
    assert_eq!((look.silent, look.unsure), (vec![], vec![]));
}

/// What a sync that ends cannot send any more must not be made: the lines would be mute until the next one.
#[test]
fn a_sync_that_ends_is_told_to_say_one_heartbeat_and_no_second() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let lines = Line::all(pairing);
    let launch = Launch::ByPerson(BTreeSet::new());
    let mut sight = sight(&BTreeSet::from(lines));
    let look = core.look(&sight, &launch, NOW_MS).unwrap();
    assert_eq!((look.due, look.idle), (vec![pairing], vec![]));
    // Taken, but for one line that a clip has overtaken; and listened to for long.
    let clip = hub.start_clip();
    beat(&mut core, pairing, NOW_MS);
    app_takes(&hub, &mut core, lines[0], 1_000);
    heard_on(&mut hub, &mut core, &lines[1..], 1_000);
    let later = NOW_MS + MINUTE;
    sight.said.insert(pairing);
    let look = core.look(&sight, &launch, later).unwrap();
    assert_eq!((look.due, look.idle), (vec![], vec![]));
    assert!(look.again_unix_ms > Some(later));
    // The next sync says it.
    sight.said.clear();
    let look = core.look(&sight, &launch, later).unwrap();
    assert_eq!(look.due, [pairing]);
    // That its hub is silent is written down all the same.
    sight.said.insert(pairing);
    hub.finish(clip);
    beat(&mut core, pairing, later);
    let look = core.look(&sight, &launch, later + HOUR).unwrap();
    assert_eq!((look.due, look.silent), (vec![], vec![pairing]));
}

#[test]
fn a_clock_that_was_a_year_ahead_does_not_silence_the_phone() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let pairing = hub.line().pairing;
    let level = BTreeSet::from(Line::all(pairing));
    let launch = Launch::ByScheduler;
    let year = 365 * 24 * HOUR;
    beat(&mut core, pairing, NOW_MS + year);
    assert_eq!(core.next_heartbeat(NOW_MS).unwrap(), Some(NOW_MS));
    let look = core.look(&sight(&level), &launch, NOW_MS).unwrap();
    assert_eq!((look.due, look.silent), (vec![], vec![pairing]));
    note_level(&mut core, pairing, NOW_MS);
    // Counted anew from here, and not before.
    let quarter = NOW_MS + 15 * MINUTE;
    assert_eq!(core.next_heartbeat(NOW_MS).unwrap(), Some(quarter));
    assert!(!core.pulse(pairing).unwrap().looks_offline(NOW_MS));
    note_level(&mut core, pairing, quarter);
    assert!(core.pulse(pairing).unwrap().looks_offline(quarter));
    heard_on(&mut hub, &mut core, &Line::all(pairing), HOUR);
    assert_eq!(core.next_heartbeat(NOW_MS).unwrap(), Some(NOW_MS));
    let look = core.look(&sight(&level), &launch, NOW_MS).unwrap();
    assert_eq!(look.due, [pairing]);
}

/// It says what is durable on every line, so no ack is owed beside it, not even by the next process.
#[test]
fn a_heartbeat_acks_every_line_and_one_that_was_overtaken_does_not() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let (event, pairing) = (hub.line(), hub.line().pairing);
    let config = Line::of(pairing, Channel::Config);
    let clip = hub.start_clip();
    let run = deliver(&mut core, event, &hub.outgoing(Seq::NONE), 10);
    hub.take_all(&core);
    let seq = hub.chunk(clip, b"taken and not acked");
    let run = deliver(&mut core, event, &hub.outgoing(run.cursor), 20);
    assert!(run.ack.is_none() && run.cursor == seq);
    assert!(core.follow(event).unwrap().owed_since_ms.is_some());
    beat(&mut core, pairing, NOW_MS);
    assert!(core.follow(event).unwrap().owed_since_ms.is_none());
    assert_eq!(core.journal().ack_sent(event).unwrap(), seq);
    // The hub has begun a new epoch of the config channel before that came.
    let mut own = Session::<Committer>::new(config);
    let mut txn = hub.journal.begin();
    own.advance_epoch(&mut txn).unwrap();
    own.close(&mut txn).unwrap();
    drop(txn.commit(()).unwrap());
    let run = app_takes(&hub, &mut core, config, 30);
    assert!(matches!(
        run.facts.as_slice(),
        [Fact {
            taken: Taken::NewEpoch(_),
            ..
        }]
    ));
    assert!(run.waits_for_hub, "the heartbeat has no answer");
    assert!(core.follow(event).unwrap().owed_since_ms.is_some());
    let received = hub_takes(&mut hub, &core, config);
    assert!(matches!(received[0], Received::Stale), "{received:?}");
    // It is said again, by its number.
    let pulse = core.pulse(pairing).unwrap();
    assert_eq!((pulse.mute, pulse.behind), (false, 1));
    let level = BTreeSet::from(Line::all(pairing));
    let half_minute = NOW_MS + 30_000;
    let launch = Launch::ByScheduler;
    let look = core.look(&sight(&level), &launch, half_minute - 1).unwrap();
    assert_eq!(look.due, []);
    let look = core.look(&sight(&level), &launch, half_minute).unwrap();
    assert_eq!(look.due, [pairing]);
    assert_eq!(beat(&mut core, pairing, half_minute).number, 1);
    let said = core.pulse(pairing).unwrap().said.unwrap();
    assert_eq!((said.first_unix_ms, said.attempts), (NOW_MS, 2));
    let received = hub_takes(&mut hub, &core, config);
    assert!(
        matches!(received.last(), Some(Received::Healed(_))),
        "{received:?}"
    );
}

/// Nothing comes in on the other lines: whoever follows them sleeps until told that their acks are owed again.
#[test]
fn an_overtaken_heartbeat_stirs_the_other_lines() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let (event, pairing) = (hub.line(), hub.line().pairing);
    let config = Line::of(pairing, Channel::Config);
    hub.record(&[b"one"]);
    deliver(&mut core, event, &hub.outgoing(Seq::NONE), 10);
    hub.take_all(&core);
    beat(&mut core, pairing, NOW_MS);
    let received = hub_takes(&mut hub, &core, event);
    assert!(
        matches!(received[..], [Received::Healed(_)]),
        "{received:?}"
    );
    let run = app_takes(&hub, &mut core, event, 1_000);
    assert!(run.ack.is_some() && !run.stirs_others);
    assert_eq!(tick(&mut core, event, 2_000).due_in_ms, None);
    assert_eq!(core.due_in_ms(event, 2_000).unwrap(), None);
    let mut own = Session::<Committer>::new(config);
    let mut txn = hub.journal.begin();
    own.advance_epoch(&mut txn).unwrap();
    own.close(&mut txn).unwrap();
    drop(txn.commit(()).unwrap());
    let run = app_takes(&hub, &mut core, config, 3_000);
    assert!(run.stirs_others);
    assert_eq!(core.due_in_ms(event, 3_000).unwrap(), Some(0));
    let ack = tick(&mut core, event, 3_000).ack;
    assert_eq!(
        ack.map(|ack| ack.through),
        Some(core.cursor(event).unwrap())
    );
    assert_eq!(core.due_in_ms(event, 3_000).unwrap(), None);
}
