//! The heartbeat and what it heals: five groups, at once, in the middle of a clip, after a crash anywhere
//! (scenarios 8 to 12).

use std::collections::BTreeMap;

use wal::disk::{CrashPolicy, SimDisk};
use wire::ids::{Digest, SendId, Seq};

use super::five::{Camera, Five, Phone, converge, five, healed, index, settle};
use super::harness::{NOW_MS, paired_with};
use super::odd::Foreign;
use crate::ids::{Channel, Epoch, PairingId};
use crate::keys::{self, Family};
use crate::library::AppClipState;
use crate::message::{self, HeartbeatAnswer, HubReport};
use crate::scope::Scope;
use crate::{
    EpochUse, ErrorKind, Healed, HeartbeatState, JournalError, LineKeys, Made, Received, Role,
    Suite, Taken, Takes,
};

const SUITES: [Suite; 2] = [Suite::Classic, Suite::XWing];

#[test]
fn a_pairing_has_five_groups_and_each_can_be_followed() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        let (at_hub, at_app) = (camera.state(), phone.state());
        assert_eq!(at_hub, at_app);
        for (i, one) in at_hub.iter().enumerate() {
            assert!(at_hub.iter().skip(i + 1).all(|other| other.1 != one.1));
        }
        converge(&mut camera, &mut phone);
        converge(&mut camera, &mut phone);
    }
}

/// One heartbeat: every group has new keys of both ends, and everybody knows.
#[test]
fn a_heartbeat_heals_every_channel_and_is_answered() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        let clip = camera.record(b"before");
        phone.listen(&camera);
        let before = phone.state();
        phone.heartbeat(7);
        let sent = phone.journal.heartbeat(phone.pairing).unwrap().unwrap();
        assert!(!sent.is_answered());
        assert_eq!((sent.number, sent.sent_unix_ms), (7, NOW_MS));
        let made = Made {
            number: 7,
            made_unix_ms: NOW_MS,
        };
        for channel in Channel::ALL {
            let row = phone.journal.line_keys(phone.line(channel)).unwrap();
            let pending = LineKeys {
                pending: Some(made),
                healed: None,
            };
            assert_eq!(row, Some(pending), "made, and of no use yet");
        }
        assert_eq!(phone.awaits(), Channel::ALL);
        assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
        let heard = camera.journal.phone_heard(camera.pairing).unwrap();
        assert_eq!(heard.map(|heard| heard.number), Some(7));
        // The message was an ack of the clip.
        let video = camera.line(Channel::EventVideo);
        let head = camera.journal.outbox_head(video).unwrap();
        assert_eq!(head.acked.next(), head.last, "all but the new Commit");

        let taken = phone.listen(&camera);
        let state = phone.state();
        assert_eq!(state, camera.state());
        for (i, channel) in Channel::ALL.into_iter().enumerate() {
            let epoch = state[i].0;
            assert_eq!(epoch, Epoch(before[i].0.0 + 1));
            assert!(taken.contains(&(channel, Taken::Healed(epoch))));
            let line = phone.line(channel);
            let row = phone.journal.line_keys(line).unwrap().unwrap();
            let of_it = Healed {
                epoch,
                number: 7,
                made_unix_ms: NOW_MS,
                taken_unix_ms: NOW_MS + 1,
            };
            assert_eq!((row.pending, row.healed), (None, Some(of_it)));
            let used = camera.journal.epoch_use(camera.line(channel)).unwrap();
            assert_eq!(used, Some(EpochUse::Finished { epoch }));
            for family in [
                Family::EncryptionKeyPair,
                Family::OwnLeafNode,
                Family::Proposal,
            ] {
                assert_eq!(phone.rows(channel, family), 0, "{family:?}");
                assert_eq!(camera.rows(channel, family), 0, "{family:?}");
            }
            // The Commit says that the proposal is held, so nothing of the phone's waits any more.
            let head = phone.journal.outbox_head(line).unwrap();
            assert_eq!(head.acked, head.last, "{channel:?}");
        }
        assert!(phone.awaits().is_empty());
        let answers = taken.iter().filter_map(|(_, taken)| match taken {
            Taken::Answered(answer) => Some(answer),
            _ => None,
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), 1);
        let epochs: Vec<_> = state.iter().map(|(epoch, _)| epoch.0).collect();
        let said: Vec<_> = answers[0].epochs.iter().map(|(_, epoch)| *epoch).collect();
        assert_eq!(said, epochs);
        let row = phone.journal.heartbeat(phone.pairing).unwrap().unwrap();
        assert!(row.is_answered());
        let answered = row.answered.unwrap();
        assert_eq!(answered.version, "1.2.3");
        assert_eq!(answered.report, answers[0].status);
        assert_eq!(phone.bytes_of(clip), b"before");
        converge(&mut camera, &mut phone);
    }
}

/// Scenario 8: the owner opens the app while an event is recorded.
#[test]
fn scenario_08_a_heartbeat_in_the_middle_of_a_clip_costs_it_nothing() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        let clip = camera.start_clip();
        camera.chunk(clip, b"one ");
        phone.listen(&camera);
        for round in 0..3_u64 {
            phone.heartbeat(round + 1);
            // Staged, and not yet synced, when the proposal comes.
            let mut txn = camera.journal.begin();
            camera.sessions[0]
                .append_chunk(&mut txn, clip, b"two ", NOW_MS)
                .unwrap();
            let staged = txn.stage(()).unwrap();
            assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
            drop(staged);
            let epoch = camera.state()[0].0;
            let line = camera.line(Channel::EventVideo);
            let used = camera.journal.epoch_use(line).unwrap();
            let clip_of_it = Some(clip);
            assert_eq!(
                used,
                Some(EpochUse::InUse {
                    epoch,
                    clip: clip_of_it
                })
            );
            camera.chunk(clip, b"three ");
            assert_eq!(camera.state()[0].0, epoch, "no second Commit");
            let taken = phone.listen(&camera);
            assert!(taken.contains(&(Channel::EventVideo, Taken::Healed(epoch))));
            settle(&mut camera, &mut phone);
        }
        camera.finish(clip);
        settle(&mut camera, &mut phone);
        let known = phone.journal.app_clip(clip).unwrap();
        assert_eq!(known.state, AppClipState::Complete);
        assert_eq!(phone.bytes_of(clip), b"one two three two three two three ");
        converge(&mut camera, &mut phone);
    }
}

/// After a restart in the middle of a clip, before the start has closed its epoch: the Commit is allowed,
/// because it opens an epoch that is this handle's, and the clip is still owed its notice.
#[test]
fn a_proposal_that_comes_before_a_start_has_closed_its_epoch_is_taken() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        let clip = camera.start_clip();
        camera.chunk(clip, b"cut");
        phone.listen(&camera);
        phone.heartbeat(1);
        let disk = camera.disk.crash_clone(CrashPolicy::KeepAll, 1);
        let mut camera = Camera::open(Role::Hub, disk, camera.pairing, 7);
        assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
        let disk = camera.disk.clone();
        let pairing = camera.pairing;
        drop(camera);
        let mut camera = Camera::start(disk, pairing, 8);
        settle(&mut camera, &mut phone);
        let known = phone.journal.app_clip(clip).unwrap();
        assert_eq!(known.state, AppClipState::CutOff);
        assert_eq!(phone.bytes_of(clip), b"cut");
        converge(&mut camera, &mut phone);
    }
}

/// Scenarios 9 and 12: an event comes between the phone's proposal and the hub. The proposal is of an epoch
/// that is over: consumed, and it costs the hub's handle nothing. The Commit frees the phone to speak.
#[test]
fn scenario_09_a_stale_proposal_is_consumed_and_the_hub_records_on() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        settle(&mut camera, &mut phone);
        phone.heartbeat(1);
        let clip = camera.start_clip();
        camera.chunk(clip, b"one ");
        let epoch = camera.state()[0].0;
        let found = camera.listen(&phone);
        assert!(matches!(&found[0], (Channel::EventVideo, Received::Stale)));
        assert_eq!(healed(&found), Channel::ALL[1..]);
        {
            let txn = camera.journal.begin();
            assert!(camera.sessions[0].may_encrypt(&txn));
        }
        camera.chunk(clip, b"two");
        assert_eq!(camera.state()[0].0, epoch);
        camera.finish(clip);

        for reload in [false, true] {
            let disk = phone.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let mut phone = Phone::open(Role::App, disk, phone.pairing, 40);
            assert_eq!(phone.awaits(), Channel::ALL);
            let camera_disk = camera.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let mut camera = Camera::start(camera_disk, camera.pairing, 41);
            let taken = phone.listen(&camera);
            assert!(taken.contains(&(Channel::EventVideo, Taken::NewEpoch(epoch))));
            if reload {
                let disk = phone.disk.clone();
                let pairing = phone.pairing;
                drop(phone);
                phone = Phone::open(Role::App, disk, pairing, 42);
            }
            // Nothing is pending, nothing is left of what was not taken, and it can be said again.
            assert!(phone.awaits().is_empty());
            let line = phone.line(Channel::EventVideo);
            assert_eq!(
                phone.journal.line_keys(line).unwrap(),
                Some(LineKeys::default())
            );
            for family in [
                Family::EncryptionKeyPair,
                Family::OwnLeafNode,
                Family::Proposal,
            ] {
                assert_eq!(phone.rows(Channel::EventVideo, family), 0, "{family:?}");
            }
            settle(&mut camera, &mut phone);
            assert_eq!(phone.bytes_of(clip), b"one two");
            phone.heartbeat(2);
            assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
            phone.listen(&camera);
            let row = phone.journal.line_keys(line).unwrap().unwrap();
            assert_eq!(row.healed.map(|healed| healed.number), Some(2));
            converge(&mut camera, &mut phone);
        }
    }
}

/// Scenario 11: while an update is pending the phone says nothing on that line, and says so: nothing is
/// encrypted and nothing is written, in this process and the next.
#[test]
fn scenario_11_a_line_with_a_pending_update_is_mute_and_says_so() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        camera.record(b"one");
        phone.listen(&camera);
        phone.heartbeat(1);
        for start in 0..2 {
            for channel in Channel::ALL {
                let line = phone.line(channel);
                let before = phone.journal.outbox_head(line).unwrap();
                let scope = Scope::Group(line);
                let prefix = keys::secret_prefix(scope);
                let stored = phone.journal.begin().secrets(scope, &prefix).unwrap();
                let acked = phone.journal.ack_sent(line).unwrap();
                let mut txn = phone.journal.begin();
                let session = &mut phone.sessions[index(channel)];
                let refused = [
                    session.send_ack(&mut txn),
                    session.propose_update(&mut txn, 2, NOW_MS),
                ];
                let refused = refused.into_iter().chain(
                    (channel == Channel::Config)
                        .then(|| session.send_heartbeat(&mut txn, 2, NOW_MS)),
                );
                for refused in refused {
                    let error = refused.expect_err("it is mute");
                    assert!(matches!(error, JournalError::AwaitsCommit(l) if l == line));
                    assert_eq!(error.kind(), ErrorKind::Wait);
                }
                drop(txn.commit(()).unwrap());
                assert_eq!(phone.journal.outbox_head(line).unwrap(), before);
                assert_eq!(phone.journal.ack_sent(line).unwrap(), acked);
                let now = phone.journal.begin().secrets(scope, &prefix).unwrap();
                assert_eq!(now, stored);
            }
            let state = phone.journal.heartbeat(phone.pairing).unwrap().unwrap();
            assert_eq!(state.number, 1);
            let (disk, pairing) = (phone.disk.clone(), phone.pairing);
            drop(phone);
            phone = Phone::open(Role::App, disk, pairing, 20 + start);
            assert_eq!(phone.awaits(), Channel::ALL);
        }
        settle(&mut camera, &mut phone);
        converge(&mut camera, &mut phone);
    }
}

/// Scenario 9's other half: a phone whose proposals always come too late. Nothing of them stays.
#[test]
fn fifty_heartbeats_that_nobody_takes_leave_no_keys_behind() {
    let (mut camera, mut phone) = five(Suite::Classic);
    for number in 1..=50 {
        phone.heartbeat(number);
        for channel in Channel::ALL {
            assert_eq!(phone.rows(channel, Family::EncryptionKeyPair), 1);
            assert_eq!(phone.rows(channel, Family::OwnLeafNode), 1);
            assert_eq!(phone.rows(channel, Family::Proposal), 1);
        }
        camera.record(b"clip");
        for channel in &Channel::ALL[1..] {
            camera.advance(*channel);
        }
        let found = camera.listen(&phone);
        assert!(found.iter().all(|(_, one)| matches!(one, Received::Stale)));
        phone.listen(&camera);
        for channel in Channel::ALL {
            assert_eq!(phone.rows(channel, Family::EncryptionKeyPair), 0);
            assert_eq!(phone.rows(channel, Family::OwnLeafNode), 0);
            assert_eq!(phone.rows(channel, Family::Proposal), 0);
        }
        phone.ack();
        camera.listen(&phone);
    }
    let state = phone.journal.heartbeat(phone.pairing).unwrap().unwrap();
    assert!(!state.is_answered());
    converge(&mut camera, &mut phone);
}

/// A hub without room for an epoch leaves a proposal where it is, and everything else is taken.
#[test]
fn a_hub_without_room_lets_a_proposal_wait() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        camera.record(b"one");
        phone.listen(&camera);
        phone.heartbeat(1);
        let channel = Channel::EventVideo;
        let (seq, envelope) = phone.outgoing(channel, Seq::NONE).remove(0);
        let lsn = camera.journal.wal.next_lsn();
        for _ in 0..2 {
            let before = camera.cursor(channel);
            let mut txn = camera.journal.begin();
            let arrived = camera.sessions[0]
                .receive(&mut txn, seq, envelope.as_bytes(), Takes::Messages)
                .unwrap();
            assert!(matches!(arrived.received, Received::Waits));
            drop(txn);
            assert_eq!(camera.cursor(channel), before);
        }
        assert_eq!(camera.journal.wal.next_lsn(), lsn);
        // An ack is taken all the same, on a line that has not proposed.
        let (seq, heartbeat) = phone.outgoing(Channel::Config, Seq::NONE).remove(0);
        let mut txn = camera.journal.begin();
        let arrived = camera.sessions[index(Channel::Config)]
            .receive(&mut txn, seq, heartbeat.as_bytes(), Takes::Messages)
            .unwrap();
        assert!(matches!(arrived.received, Received::Message(_)));
        drop(txn);
        assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
        converge(&mut camera, &mut phone);
    }
}

/// The config channel's epoch that has no answer is closed; if even that is forgotten, a start does it.
#[test]
fn an_epoch_without_an_answer_is_closed() {
    for suite in SUITES {
        let (camera, mut phone) = five(suite);
        let channel = Channel::Config;
        let mut txn = phone.journal.begin();
        phone.sessions[index(channel)]
            .propose_update(&mut txn, 1, NOW_MS)
            .unwrap();
        drop(txn.commit(()).unwrap());
        for closes in [true, false] {
            let disk = camera.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let mut camera = Camera::open(Role::Hub, disk, camera.pairing, 9);
            let phone_disk = phone.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let mut phone = Phone::open(Role::App, phone_disk, phone.pairing, 10);
            let (seq, envelope) = phone.outgoing(channel, Seq::NONE).remove(0);
            let mut txn = camera.journal.begin();
            let session = &mut camera.sessions[index(channel)];
            let arrived = session
                .receive(
                    &mut txn,
                    seq,
                    envelope.as_bytes(),
                    Takes::MessagesAndProposals,
                )
                .unwrap();
            assert!(matches!(arrived.received, Received::Healed(_)));
            if closes {
                session.close(&mut txn).unwrap();
                let twice = session.close(&mut txn);
                assert!(matches!(twice, Err(JournalError::NoRightToEncrypt(_))));
            }
            drop(txn.commit(()).unwrap());
            let used = camera.journal.epoch_use(camera.line(channel)).unwrap();
            let finished = matches!(used, Some(EpochUse::Finished { .. }));
            assert_eq!(finished, closes);
            let (disk, pairing) = (camera.disk.clone(), camera.pairing);
            drop(camera);
            let mut camera = Camera::start(disk, pairing, 11);
            let used = camera.journal.epoch_use(camera.line(channel)).unwrap();
            assert!(matches!(used, Some(EpochUse::Finished { .. })));
            converge(&mut camera, &mut phone);
        }
    }
}

/// What the hub says in config is said nowhere else, and nothing else is said there.
#[test]
fn a_message_of_another_channel_is_none_here() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let answer = HeartbeatAnswer {
        number: 1,
        answered_unix_ms: NOW_MS,
        version: String::new(),
        epochs: Vec::new(),
        status: HubReport::default(),
    };
    // An answer to what was never asked, and one on a line that has none.
    let bytes = message::encode(&message::HubConfigMessage::Answer(answer.clone())).unwrap();
    for channel in Channel::ALL {
        let mut txn = camera.journal.begin();
        let session = &mut camera.sessions[index(channel)];
        session.advance_epoch(&mut txn).unwrap();
        session.finish(&mut txn, &bytes).unwrap();
        drop(txn.commit(()).unwrap());
    }
    let taken = phone.listen(&camera);
    let nothing = taken
        .iter()
        .filter(|(_, taken)| matches!(taken, Taken::Nothing(_)));
    assert_eq!(nothing.count(), Channel::ALL.len(), "{taken:?}");
    assert_eq!(phone.journal.heartbeat(phone.pairing).unwrap(), None);
    let mut txn = camera.journal.begin();
    let video = &mut camera.sessions[0];
    assert!(matches!(
        video.answer(&mut txn, &answer),
        Err(JournalError::Misuse(_))
    ));
    drop(txn);
    let mut txn = camera.journal.begin();
    let config = &mut camera.sessions[index(Channel::Config)];
    let clip = config.start_clip(&mut txn, "door", "video/mp4", NOW_MS);
    assert!(matches!(clip, Err(JournalError::Misuse(_))));
    drop(txn);
    let mut txn = phone.journal.begin();
    let video = &mut phone.sessions[0];
    let sent = video.send_heartbeat(&mut txn, 1, NOW_MS);
    assert!(matches!(sent, Err(JournalError::Misuse(_))));
    drop(txn);
    converge(&mut camera, &mut phone);
}

/// The same copy put back in the place of the phone: its own journal sees that it is one (C8) and goes no
/// further, whatever its keys would open.
#[test]
fn scenario_21_a_copy_of_the_phone_from_before_a_heartbeat_refuses_to_go_on() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        settle(&mut camera, &mut phone);
        let old = phone.disk.crash_clone(CrashPolicy::KeepAll, 0);
        phone.heartbeat(1);
        camera.listen(&phone);
        let mut copy = Phone::open(Role::App, old, phone.pairing, 67);
        for (channel, taken) in copy.listen(&camera) {
            assert_eq!(taken, Taken::RolledBack, "{channel:?}");
        }
        for session in &mut copy.sessions {
            let mut txn = copy.journal.begin();
            let refused = session.propose_update(&mut txn, 2, NOW_MS);
            assert!(matches!(refused, Err(JournalError::RolledBack(_))));
        }
        converge(&mut camera, &mut phone);
    }
}

/// Everything that ever left either end: under one number of one mailbox there is one content.
#[derive(Default, Clone)]
struct Relay(BTreeMap<(SendId, Seq), Digest>);

impl Relay {
    fn store<R>(&mut self, end: &Five<R>) {
        for channel in Channel::ALL {
            let mailbox = end.journal.mailboxes(end.line(channel)).unwrap().send;
            for (seq, envelope) in end.outgoing(channel, Seq::NONE) {
                let digest = Digest::of(envelope.as_bytes());
                let known = *self.0.entry((mailbox, seq)).or_insert(digest);
                assert_eq!(known, digest, "{channel:?} {seq:?} has two contents");
            }
        }
    }
}

/// A crash at every disk operation of a heartbeat and what it sets off, at the end that is at work, in the
/// middle of a clip and outside of one: the two ends heal all the same and can be followed.
#[test]
fn a_heartbeat_survives_a_crash_at_every_operation() {
    let mut states = 0;
    for (mid_clip, suite) in [(false, Suite::XWing), (true, Suite::Classic)] {
        let (mut camera, mut phone) = five(suite);
        camera.record(b"whole");
        settle(&mut camera, &mut phone);
        if mid_clip {
            let clip = camera.start_clip();
            camera.chunk(clip, b"part");
            phone.listen(&camera);
        }
        let mut relay = Relay::default();
        relay.store(&camera);
        phone.disk.record_snapshots();
        phone.heartbeat(1);
        states += sweep(Role::App, &phone.disk, &camera.disk, phone.pairing, &relay);
        relay.store(&phone);
        camera.disk.record_snapshots();
        camera.listen(&phone);
        states += sweep(Role::Hub, &camera.disk, &phone.disk, phone.pairing, &relay);
        relay.store(&camera);
        phone.disk.record_snapshots();
        phone.listen(&camera);
        phone.ack();
        states += sweep(Role::App, &phone.disk, &camera.disk, phone.pairing, &relay);
    }
    assert!(states > 500, "only {states} states");
}

/// Crashes `victim` in every state that its disk passed through, the other end as it stands.
fn sweep(
    victim: Role,
    watched: &SimDisk,
    other: &SimDisk,
    pairing: PairingId,
    relay: &Relay,
) -> usize {
    let mut states = 0;
    for (i, snapshot) in watched.snapshots().iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let seed = i as u64;
            let crashed = snapshot.crash_clone(policy, seed);
            let other = other.crash_clone(CrashPolicy::KeepAll, 0);
            let (hub_disk, app_disk) = match victim {
                Role::Hub => (crashed, other),
                Role::App => (other, crashed),
            };
            let mut camera = Camera::start(hub_disk, pairing, 100 + seed);
            let mut phone = Phone::open(Role::App, app_disk, pairing, 200 + seed);
            let mut relay = relay.clone();
            relay.store(&camera);
            relay.store(&phone);
            settle(&mut camera, &mut phone);
            let number = phone.journal.heartbeat(pairing).unwrap();
            phone.heartbeat(number.map_or(0, |last| last.number) + 1);
            relay.store(&phone);
            let found = camera.listen(&phone);
            assert_eq!(healed(&found), Channel::ALL, "{victim:?} {i} {policy:?}");
            relay.store(&camera);
            phone.listen(&camera);
            let state = phone.journal.heartbeat(pairing).unwrap().unwrap();
            assert!(state.is_answered());
            converge(&mut camera, &mut phone);
            states += 1;
        }
    }
    states
}

/// Nothing of a heartbeat that was never staged stays, whatever was made for it.
#[test]
fn a_heartbeat_that_is_dropped_never_was() {
    let (hub, app) = paired_with(Suite::XWing);
    let (mut camera, mut phone) = (Five::of(hub), Five::of(app));
    let before = phone.state();
    for _ in 0..3 {
        let mut txn = phone.journal.begin();
        let config = &mut phone.sessions[index(Channel::Config)];
        config.send_heartbeat(&mut txn, 1, NOW_MS).unwrap();
        for session in &mut phone.sessions {
            session.propose_update(&mut txn, 1, NOW_MS).unwrap();
            assert!(session.awaits_commit(&mut txn).unwrap());
        }
        drop(txn);
        assert!(phone.awaits().is_empty());
        assert_eq!(phone.state(), before);
        assert_eq!(phone.journal.heartbeat(phone.pairing).unwrap(), None);
        let line = phone.line(Channel::Config);
        assert_eq!(phone.journal.line_keys(line).unwrap(), None);
    }
    for channel in Channel::ALL {
        assert_eq!(phone.rows(channel, Family::EncryptionKeyPair), 0);
        assert!(phone.outgoing(channel, Seq::NONE).is_empty());
    }
    phone.heartbeat(1);
    assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
    converge(&mut camera, &mut phone);
}

/// On a line that carries no clips no other Commit comes: a proposal that is refused must not leave its phone mute
/// there for good, and what it says next is taken.
#[test]
fn a_phone_whose_proposals_are_refused_on_idle_lines_is_not_mute_for_good() {
    for suite in SUITES {
        let (mut camera, mut phone) = five(suite);
        settle(&mut camera, &mut phone);
        let before = camera.state();
        let mut txn = phone.journal.begin();
        for session in &mut phone.sessions {
            session.misbehave(&mut txn, Foreign::OtherPlace);
        }
        drop(txn.commit(()).unwrap());
        assert_eq!(phone.awaits(), Channel::ALL);
        let found = camera.listen(&phone);
        assert_eq!(found.len(), Channel::ALL.len());
        for (channel, received) in &found {
            assert!(
                matches!(received, Received::NotHealed(_)),
                "{channel:?}: {received:?}"
            );
        }
        for (i, (epoch, _)) in camera.state().into_iter().enumerate() {
            assert_eq!(epoch, Epoch(before[i].0.0 + 1));
            // Closed, the config channel's too: nobody will answer in it.
            let used = camera
                .journal
                .epoch_use(camera.line(Channel::ALL[i]))
                .unwrap();
            assert_eq!(used, Some(EpochUse::Finished { epoch }));
        }
        phone.listen(&camera);
        assert!(phone.awaits().is_empty());
        settle(&mut camera, &mut phone);
        phone.heartbeat(1);
        assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
        phone.listen(&camera);
        let state = phone.journal.heartbeat(phone.pairing).unwrap().unwrap();
        assert!(state.is_answered());
        converge(&mut camera, &mut phone);
    }
}

/// A heartbeat acks every line. One that a Commit of the config channel overtakes is consumed unread, and then its
/// acks are owed again.
#[test]
fn the_acks_of_a_heartbeat_that_was_overtaken_are_owed_again() {
    for overtaken in [false, true] {
        let (mut camera, mut phone) = five(Suite::Classic);
        camera.record(b"one");
        phone.listen(&camera);
        let video = phone.line(Channel::EventVideo);
        let cursor = phone.cursor(Channel::EventVideo);
        assert_eq!(phone.journal.ack_sent(video).unwrap(), Seq::NONE);
        let mut txn = phone.journal.begin();
        let config = &mut phone.sessions[index(Channel::Config)];
        config.send_heartbeat(&mut txn, 1, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
        assert_eq!(phone.journal.ack_sent(video).unwrap(), cursor);
        if overtaken {
            camera.advance(Channel::Config);
        }
        camera.listen(&phone);
        let acked = camera.journal.outbox_head(video).unwrap().acked;
        assert_eq!(acked == cursor, !overtaken);
        phone.listen(&camera);
        let owes = phone.journal.ack_sent(video).unwrap() < cursor;
        assert_eq!(owes, overtaken);
        settle(&mut camera, &mut phone);
        let acked = camera.journal.outbox_head(video).unwrap().acked;
        assert_eq!(acked, cursor);
        converge(&mut camera, &mut phone);
    }
}

/// What the phone remembers of a heartbeat that it says again: since when it waits, how often it was said, and
/// when it last had everything.
#[test]
fn a_heartbeat_that_is_said_again_is_remembered_from_its_first_time() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let pairing = phone.pairing;
    let caught_up = |phone: &mut Phone, unix_ms| {
        let mut txn = phone.journal.begin();
        txn.put_caught_up(pairing, unix_ms).unwrap();
        drop(txn.commit(()).unwrap());
    };
    // Before the first there is nothing to remember it for.
    caught_up(&mut phone, NOW_MS);
    assert_eq!(phone.journal.heartbeat(pairing).unwrap(), None);
    let mut expected = HeartbeatState {
        number: 1,
        first_sent_unix_ms: NOW_MS,
        sent_unix_ms: NOW_MS,
        attempts: 0,
        caught_up_unix_ms: None,
        answered: None,
    };
    for attempt in 1..=3 {
        let now_ms = NOW_MS + 60_000 * u64::from(attempt - 1);
        phone.heartbeat_at(1, now_ms);
        expected.attempts = attempt;
        expected.sent_unix_ms = now_ms;
        let state = phone.journal.heartbeat(pairing).unwrap();
        assert_eq!(state.as_ref(), Some(&expected));
        caught_up(&mut phone, now_ms + 5);
        expected.caught_up_unix_ms = Some(now_ms + 5);
        // Stale on every line.
        camera.record(b"clip");
        for channel in &Channel::ALL[1..] {
            camera.advance(*channel);
        }
        phone.listen(&camera);
    }
    phone.heartbeat_at(2, NOW_MS + 400_000);
    let state = phone.journal.heartbeat(pairing).unwrap().unwrap();
    assert_eq!((state.number, state.attempts), (2, 1));
    assert_eq!(state.first_sent_unix_ms, NOW_MS + 400_000);
    assert_eq!(state.caught_up_unix_ms, None);
    settle(&mut camera, &mut phone);
    let state = phone.journal.heartbeat(pairing).unwrap().unwrap();
    assert!(state.is_answered());
    assert_eq!((state.number, state.attempts), (2, 1));
    converge(&mut camera, &mut phone);
}

/// Commits that proposals cost are counted until they are acked, by the next process too.
#[test]
fn commits_that_nobody_acks_are_counted() {
    let (mut camera, mut phone) = five(Suite::Classic);
    settle(&mut camera, &mut phone);
    let line = camera.line(Channel::Thumbnail);
    for round in 1..=4 {
        let mut txn = phone.journal.begin();
        let session = &mut phone.sessions[index(Channel::Thumbnail)];
        session.propose_update(&mut txn, round, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
        assert_eq!(healed(&camera.listen(&phone)), [Channel::Thumbnail]);
        phone.listen(&camera);
        assert_eq!(camera.journal.unacked_heals(line).unwrap(), round);
    }
    let disk = camera.disk.crash_clone(CrashPolicy::KeepAll, 0);
    let mut camera = Camera::start(disk, camera.pairing, 44);
    assert_eq!(camera.journal.unacked_heals(line).unwrap(), 4);
    settle(&mut camera, &mut phone);
    assert_eq!(camera.journal.unacked_heals(line).unwrap(), 0);
    converge(&mut camera, &mut phone);
}
