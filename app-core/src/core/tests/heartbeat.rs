//! Heartbeats: one transaction for five lines, mute until the hub's Commit, said again when stale.

use bytes::Bytes;
use journal::ids::{Channel, Line};
use journal::message::HeartbeatAnswer;
use journal::{Committer, PhoneHeard, Received, Session, Taken, Takes};
use wire::Seq;

use super::super::*;
use crate::testing::{Hub, NOW_MS, deliver, open_core, paired, tick};

fn beat(core: &mut Core, pairing: PairingId, now_unix_ms: u64) -> BeatSent {
    let staged = core.stage_heartbeat(pairing, now_unix_ms).unwrap();
    let committed = core.commit().unwrap();
    committed.redeem(staged).into_inner()
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
                (Received::Message(_), _) => {
                    let (number, unix_ms) = (1, NOW_MS);
                    let heard = PhoneHeard { number, unix_ms };
                    txn.put_phone_heard(line.pairing, heard).unwrap();
                }
                (Received::Healed(_), Some(heard)) => {
                    let answer = HeartbeatAnswer {
                        number: heard.number,
                        answered_unix_ms: NOW_MS,
                        version: "0".into(),
                        epochs: Vec::new(),
                    };
                    session.answer(&mut txn, &answer).unwrap();
                }
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
    assert_eq!(core.next_heartbeat(Rhythm::Running, 0).unwrap(), Some(0));
    let syncs = disk.totals().1;
    let sent = beat(&mut core, pairing, NOW_MS);
    assert_eq!(sent.number, 1);
    assert_eq!(disk.totals().1, syncs + 1, "one transaction, one sync");
    // Mute, and said so; what is due waits.
    assert_eq!(core.next_heartbeat(Rhythm::Running, 0).unwrap(), None);
    assert!(matches!(
        core.stage_heartbeat(pairing, NOW_MS),
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
    assert!(pulse.stale && !pulse.awaits_commit, "{pulse:?}");
    let due = core.next_heartbeat(Rhythm::Running, 0).unwrap();
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
    assert!(
        status[0]
            .channels
            .iter()
            .all(|keys| keys.healed_unix_ms.is_some())
    );
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
    assert!(core.pulse(pairing).unwrap().awaits_commit);
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
