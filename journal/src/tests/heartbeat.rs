//! The heartbeat and what it heals: five groups, at once, in the middle of a clip, after a crash anywhere
//! (scenarios 8 to 12, promise S4).

use std::collections::BTreeMap;

use openmls::group::MlsGroup;
use openmls::prelude::{GroupId, MlsMessageIn, ProcessedMessageContent};
use openmls_traits::OpenMlsProvider as _;
use tls_codec::Deserialize as _;
use wal::disk::{CrashPolicy, SimDisk};
use wire::envelope::Envelope;
use wire::ids::{Digest, SendId, Seq};

use super::harness::{App, End, Hub, NOW_MS, open, paired, paired_with};
use crate::ids::{Channel, ClipId, Epoch, Line, PairingId};
use crate::keys::{self, Family};
use crate::library::AppClipState;
use crate::message::{self, AppConfigMessage, AppMessage, HeartbeatAnswer};
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::scope::Scope;
use crate::wrap;
use crate::{
    AckEffect, Committer, EpochUse, ErrorKind, Follower, Healed, Journal, JournalError, PhoneHeard,
    Received, Role, Session, Suite, Taken, Takes,
};

/// One end with a session for each channel.
struct Five<R> {
    disk: SimDisk,
    journal: Journal,
    sessions: [Session<R>; 5],
    pairing: PairingId,
}

type Camera = Five<Committer>;
type Phone = Five<Follower>;

fn index(channel: Channel) -> usize {
    usize::from(channel.number() - 1)
}

impl<R> Five<R> {
    fn of(end: End<R>) -> Self {
        let pairing = end.line().pairing;
        Self {
            disk: end.disk,
            journal: end.journal,
            sessions: Line::all(pairing).map(Session::new),
            pairing,
        }
    }

    fn open(role: Role, disk: SimDisk, pairing: PairingId, seed: u64) -> Self {
        let journal = open(role, &disk, seed).expect("the journal opens");
        Self {
            disk,
            journal,
            sessions: Line::all(pairing).map(Session::new),
            pairing,
        }
    }

    fn line(&self, channel: Channel) -> Line {
        Line::of(self.pairing, channel)
    }

    fn cursor(&self, channel: Channel) -> Seq {
        self.journal.inbox_head(self.line(channel)).unwrap().cursor
    }

    fn outgoing(&self, channel: Channel, after: Seq) -> Vec<(Seq, Envelope)> {
        let mut out = Vec::new();
        let mut at = after;
        let line = self.line(channel);
        while let Some((seq, envelope)) = self.journal.outbox_next(line, at).unwrap() {
            out.push((seq, envelope.into_inner()));
            at = seq;
        }
        out
    }

    /// Epoch and exporter of each channel.
    fn state(&mut self) -> Vec<(Epoch, Vec<u8>)> {
        let mut txn = self.journal.begin();
        let sessions = self.sessions.iter_mut();
        let state = sessions.map(|session| {
            let epoch = session.epoch(&mut txn).unwrap();
            (epoch, session.exporter(&mut txn).unwrap())
        });
        state.collect()
    }

    /// How many values of a family the group of a channel has.
    fn rows(&mut self, channel: Channel, family: Family) -> usize {
        let scope = Scope::Group(self.line(channel));
        let prefix = keys::secret(scope, family, &[]);
        self.journal.begin().secrets(scope, &prefix).unwrap().len()
    }
}

impl Camera {
    /// What a start does.
    fn start(disk: SimDisk, pairing: PairingId, seed: u64) -> Self {
        let mut camera = Self::open(Role::Hub, disk, pairing, seed);
        for session in &mut camera.sessions {
            let mut txn = camera.journal.begin();
            session.close_used_epoch(&mut txn, NOW_MS).unwrap();
            drop(txn.commit(()).unwrap());
        }
        camera
    }

    fn start_clip(&mut self) -> ClipId {
        let mut txn = self.journal.begin();
        let clip = self.sessions[0].start_clip(&mut txn, "door", "video/mp4", NOW_MS);
        txn.commit(clip.unwrap()).unwrap().into_inner()
    }

    fn chunk(&mut self, clip: ClipId, bytes: &[u8]) {
        let mut txn = self.journal.begin();
        let sealed = self.sessions[0].append_chunk(&mut txn, clip, bytes, NOW_MS);
        drop(txn.commit(sealed.unwrap()).unwrap());
    }

    fn finish(&mut self, clip: ClipId) {
        let mut txn = self.journal.begin();
        self.sessions[0]
            .finish_clip(&mut txn, clip, NOW_MS)
            .unwrap();
        drop(txn.commit(()).unwrap());
    }

    fn record(&mut self, bytes: &[u8]) -> ClipId {
        let clip = self.start_clip();
        self.chunk(clip, bytes);
        self.finish(clip);
        clip
    }

    /// Takes one envelope of the phone, as a hub does: what it says, in the same transaction.
    fn take(&mut self, channel: Channel, seq: Seq, envelope: &Envelope) -> Received {
        let pairing = self.pairing;
        let mut txn = self.journal.begin();
        let bytes = envelope.as_bytes();
        let arrived = self.sessions[index(channel)]
            .receive(&mut txn, seq, bytes, Takes::MessagesAndProposals)
            .unwrap();
        let acks: Vec<(Channel, u64)> = match (&arrived.received, channel) {
            (Received::Message(bytes), Channel::Config) => match message::decode(bytes).unwrap() {
                AppConfigMessage::Ack { through, .. } => vec![(channel, through)],
                AppConfigMessage::Command(command) => panic!("nobody gave {command:?}"),
                AppConfigMessage::Heartbeat(heartbeat) => {
                    let heard = PhoneHeard {
                        number: heartbeat.number,
                        unix_ms: NOW_MS,
                    };
                    txn.put_phone_heard(pairing, heard).unwrap();
                    let holds = heartbeat.holds.iter();
                    holds.map(|held| (held.channel, held.through)).collect()
                }
            },
            (Received::Message(bytes), _) => {
                let AppMessage::Ack { through, .. } = message::decode(bytes).unwrap();
                vec![(channel, through)]
            }
            _ => Vec::new(),
        };
        for (channel, through) in acks {
            let effect = self.sessions[index(channel)].take_ack(&mut txn, Seq(through));
            assert_ne!(effect.unwrap(), AckEffect::BeyondOurHead);
        }
        if let (Received::Healed(_), Channel::Config) = (&arrived.received, channel) {
            let heard = txn.phone_heard(pairing).unwrap();
            let number = heard.expect("the message comes first").number;
            let epochs = Channel::ALL.map(|channel| {
                let epoch = self.sessions[index(channel)].epoch(&mut txn).unwrap();
                (channel, epoch.0)
            });
            let answer = HeartbeatAnswer {
                number,
                answered_unix_ms: NOW_MS,
                version: "1.2.3".into(),
                epochs: epochs.to_vec(),
            };
            self.sessions[index(channel)]
                .answer(&mut txn, &answer)
                .unwrap();
        }
        drop(txn.commit(()).unwrap());
        arrived.received
    }

    /// Takes all that the phone has said and this end has not.
    fn listen(&mut self, phone: &Phone) -> Vec<(Channel, Received)> {
        let mut out = Vec::new();
        for channel in Channel::ALL {
            for (seq, envelope) in phone.outgoing(channel, self.cursor(channel)) {
                out.push((channel, self.take(channel, seq, &envelope)));
            }
        }
        out
    }

    /// A Commit on a line that carries no clips.
    fn advance(&mut self, channel: Channel) {
        let mut txn = self.journal.begin();
        let session = &mut self.sessions[index(channel)];
        session.advance_epoch(&mut txn).unwrap();
        session.close(&mut txn).unwrap();
        drop(txn.commit(()).unwrap());
    }
}

impl Phone {
    /// A whole heartbeat in one transaction: the message first, then a proposal in each channel.
    fn heartbeat(&mut self, number: u64) {
        let mut txn = self.journal.begin();
        let config = &mut self.sessions[index(Channel::Config)];
        config.send_heartbeat(&mut txn, number, NOW_MS).unwrap();
        for session in &mut self.sessions {
            session.propose_update(&mut txn).unwrap();
        }
        drop(txn.commit(()).unwrap());
    }

    fn take(&mut self, channel: Channel, seq: Seq, bytes: &[u8]) -> Taken {
        let mut txn = self.journal.begin();
        let taken = self.sessions[index(channel)].take(&mut txn, seq, bytes, NOW_MS + 1);
        txn.commit(taken.unwrap()).unwrap().into_inner()
    }

    /// Takes all that the camera has said and this end has not.
    fn listen(&mut self, camera: &Camera) -> Vec<(Channel, Taken)> {
        let mut out = Vec::new();
        for channel in Channel::ALL {
            for (seq, envelope) in camera.outgoing(channel, self.cursor(channel)) {
                out.push((channel, self.take(channel, seq, envelope.as_bytes())));
            }
        }
        out
    }

    fn awaits(&mut self) -> Vec<Channel> {
        let mut txn = self.journal.begin();
        let sessions = self.sessions.iter_mut();
        let waiting = sessions.filter_map(|session| {
            let waits = session.awaits_commit(&mut txn).unwrap();
            waits.then_some(session.line().channel)
        });
        waiting.collect()
    }

    /// An ack on each line that owes one and may send.
    fn ack(&mut self) {
        let mute = self.awaits();
        for channel in Channel::ALL {
            let line = self.line(channel);
            let owed = self.journal.ack_sent(line).unwrap() < self.cursor(channel);
            if !owed || mute.contains(&channel) {
                continue;
            }
            let mut txn = self.journal.begin();
            let session = &mut self.sessions[index(channel)];
            session.send_ack(&mut txn).unwrap();
            drop(txn.commit(()).unwrap());
        }
    }

    fn bytes_of(&self, clip: ClipId) -> Vec<u8> {
        let chunks = self.journal.app_clip(clip).unwrap().chunks;
        let chunk = |i| self.journal.app_chunk(clip, i).unwrap().to_vec();
        (0..chunks).flat_map(chunk).collect()
    }
}

fn five(suite: Suite) -> (Camera, Phone) {
    let (hub, app): (Hub, App) = paired_with(suite);
    (Five::of(hub), Five::of(app))
}

/// Both ways until nothing is left to say.
fn settle(camera: &mut Camera, phone: &mut Phone) {
    for _ in 0..6 {
        phone.listen(camera);
        phone.ack();
        camera.listen(phone);
        let rests = Line::all(camera.pairing).iter().all(|line| {
            let head = camera.journal.outbox_head(*line).unwrap();
            head.acked == head.last
        });
        if rests && phone.awaits().is_empty() {
            return;
        }
    }
    panic!("the two ends do not settle");
}

/// By a further Commit in each group, which the phone follows (scenario 16), and a clip.
fn converge(camera: &mut Camera, phone: &mut Phone) {
    settle(camera, phone);
    for channel in &Channel::ALL[1..] {
        camera.advance(*channel);
    }
    let clip = camera.record(b"afterwards");
    settle(camera, phone);
    assert_eq!(phone.bytes_of(clip), b"afterwards");
    assert_eq!(camera.state(), phone.state());
}

fn healed(found: &[(Channel, Received)]) -> Vec<Channel> {
    let healed = found
        .iter()
        .filter(|(_, received)| matches!(received, Received::Healed(_)));
    healed.map(|(channel, _)| *channel).collect()
}

#[test]
fn a_pairing_has_five_groups_and_each_can_be_followed() {
    for suite in [Suite::Classic, Suite::XWing] {
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
    for suite in [Suite::Classic, Suite::XWing] {
        let (mut camera, mut phone) = five(suite);
        let clip = camera.record(b"before");
        phone.listen(&camera);
        let before = phone.state();
        phone.heartbeat(7);
        let sent = phone.journal.heartbeat(phone.pairing).unwrap().unwrap();
        assert!(!sent.is_answered());
        assert_eq!((sent.number, sent.sent_unix_ms), (7, NOW_MS));
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
            let unix_ms = NOW_MS + 1;
            let line = phone.line(channel);
            let row = phone.journal.healed(line).unwrap();
            assert_eq!(row, Some(Healed { epoch, unix_ms }));
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
        assert_eq!(row.answered.unwrap().version, "1.2.3");
        assert_eq!(phone.bytes_of(clip), b"before");
        converge(&mut camera, &mut phone);
    }
}

/// Scenario 8: the owner opens the app while an event is recorded.
#[test]
fn scenario_8_a_heartbeat_in_the_middle_of_a_clip_costs_it_nothing() {
    let (mut camera, mut phone) = five(Suite::Classic);
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

/// After a restart in the middle of a clip, before the start has closed its epoch: the Commit is allowed,
/// because it opens an epoch that is this handle's, and the clip is still owed its notice.
#[test]
fn a_proposal_that_comes_before_a_start_has_closed_its_epoch_is_taken() {
    let (mut camera, mut phone) = five(Suite::Classic);
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

/// Scenarios 9 and 12: an event comes between the phone's proposal and the hub. The proposal is of an epoch
/// that is over: consumed, and it costs the hub's handle nothing. The Commit frees the phone to speak.
#[test]
fn scenario_9_a_stale_proposal_is_consumed_and_the_hub_records_on() {
    let (mut camera, mut phone) = five(Suite::Classic);
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
        assert_eq!(phone.journal.healed(line).unwrap(), None);
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
        assert!(phone.journal.healed(line).unwrap().is_some());
        converge(&mut camera, &mut phone);
    }
}

/// Scenario 11: while an update is pending the phone says nothing on that line, and says so: nothing is
/// encrypted and nothing is written, in this process and the next.
#[test]
fn scenario_11_a_line_with_a_pending_update_is_mute_and_says_so() {
    let (mut camera, mut phone) = five(Suite::Classic);
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
            let refused = [session.send_ack(&mut txn), session.propose_update(&mut txn)];
            let refused = refused.into_iter().chain(
                (channel == Channel::Config).then(|| session.send_heartbeat(&mut txn, 2, NOW_MS)),
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
    let (mut camera, mut phone) = five(Suite::Classic);
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

/// The config channel's epoch that has no answer is closed; if even that is forgotten, a start does it.
#[test]
fn an_epoch_without_an_answer_is_closed() {
    let (camera, mut phone) = five(Suite::Classic);
    let channel = Channel::Config;
    let mut txn = phone.journal.begin();
    phone.sessions[index(channel)]
        .propose_update(&mut txn)
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

/// What the hub says in config is said nowhere else, and nothing else is said there.
#[test]
fn a_message_of_another_channel_is_none_here() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let answer = HeartbeatAnswer {
        number: 1,
        answered_unix_ms: NOW_MS,
        version: String::new(),
        epochs: Vec::new(),
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

/// What the thief is, who has a copy of every file of the phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Thief {
    /// The control: the phone's keys are never renewed.
    NoHeartbeat,
    /// The copy was made before the heartbeat.
    Before,
    /// As [`Self::Before`], and has worked out everything about the proposals that goes over the wire:
    /// only the private keys, which never do, are missing.
    KnowsProposals,
}

/// Opens an envelope with a tool of the thief's own: the wrapping key and OpenMLS on the copy's state, and
/// none of the rules of a session. `Ok` if MLS opened it.
fn pry(thief: &mut Phone, channel: Channel, seq: Seq, bytes: &[u8]) -> Result<(), String> {
    let line = thief.line(channel);
    let mut txn = thief.journal.begin();
    let record = txn.pairing_record(line).unwrap();
    let mailbox = record.line(channel).unwrap().receive.send_id();
    let mailbox = &mailbox;
    let place = wrap::Place { mailbox, seq };
    let body = wrap::unwrap(&record.receive_key, place, bytes).ok_or("the wrap")?;
    let message = MlsMessageIn::tls_deserialize_exact(body.content.as_slice());
    let message = message.unwrap().try_into_protocol_message().unwrap();
    let (group, client) = (Scope::Group(line), Scope::Pairing(line.pairing));
    let provider = MlsProvider::new(&mut txn, group, client, Ratchet::Store);
    let id = GroupId::from_slice(&line.key());
    let mut group = MlsGroup::load(provider.storage(), &id).unwrap().unwrap();
    let processed = group.process_message(&provider, message);
    let processed = processed.map_err(|error| error.to_string())?;
    if let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() {
        let merged = group.merge_staged_commit(&provider, *staged);
        merged.map_err(|error| error.to_string())?;
    }
    drop(provider);
    drop(txn.commit(()).unwrap());
    Ok(())
}

/// S4: who has copied every file of the phone reads what comes before the next heartbeat, and nothing of
/// any channel that is sealed behind its Commit, with every envelope of the hub at hand.
#[test]
fn s4_a_copy_of_the_phone_opens_nothing_behind_its_next_heartbeat() {
    for kind in [Thief::NoHeartbeat, Thief::Before, Thief::KnowsProposals] {
        let (mut camera, mut phone) = five(Suite::Classic);
        camera.record(b"before");
        settle(&mut camera, &mut phone);
        let mut stolen = phone.disk.crash_clone(CrashPolicy::KeepAll, 0);
        // The relay's copy: what was freed since can still be had there.
        let mut sent: BTreeMap<(Channel, Seq), Vec<u8>> = BTreeMap::new();
        let mut keep = |camera: &Camera| {
            for channel in Channel::ALL {
                for (seq, envelope) in camera.outgoing(channel, Seq::NONE) {
                    sent.insert((channel, seq), envelope.into_bytes());
                }
            }
        };
        let heals = kind != Thief::NoHeartbeat;
        if heals {
            phone.heartbeat(1);
            if kind == Thief::KnowsProposals {
                stolen = phone.disk.crash_clone(CrashPolicy::KeepAll, 0);
            }
            assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
            keep(&camera);
            settle(&mut camera, &mut phone);
        }
        for channel in &Channel::ALL[1..] {
            camera.advance(*channel);
        }
        let secret = camera.record(b"secret");
        keep(&camera);
        settle(&mut camera, &mut phone);
        assert_eq!(phone.bytes_of(secret), b"secret");

        let mut thief = Phone::open(Role::App, stolen, phone.pairing, 66);
        for channel in Channel::ALL {
            let keys = thief.rows(channel, Family::EncryptionKeyPair);
            assert_eq!(keys, usize::from(kind == Thief::KnowsProposals));
            let scope = Scope::Group(thief.line(channel));
            let prefix = keys::secret(scope, Family::EncryptionKeyPair, &[]);
            let mut txn = thief.journal.begin();
            for key in txn.secrets(scope, &prefix).unwrap().into_keys() {
                txn.delete_secret(scope, key);
            }
            drop(txn.commit(()).unwrap());
        }
        let mut opened = 0;
        for ((channel, seq), bytes) in &sent {
            match pry(&mut thief, *channel, *seq, bytes) {
                Ok(()) => opened += 1,
                Err(error) => assert!(heals, "the control must open it: {error}"),
            }
        }
        let expected = if heals { 0 } else { sent.len() };
        assert_eq!(opened, expected, "{kind:?}");
        assert!(sent.len() >= 8);
        thief.sessions = Line::all(thief.pairing).map(Session::new);
        for (theirs, ours) in thief.state().iter().zip(&phone.state()) {
            assert_eq!(theirs.1 == ours.1, !heals, "{kind:?}");
        }
    }
}

/// The same copy put back in the place of the phone: its own journal sees that it is one (C8) and goes no
/// further, whatever its keys would open.
#[test]
fn a_copy_of_the_phone_from_before_a_heartbeat_refuses_to_go_on() {
    let (mut camera, mut phone) = five(Suite::Classic);
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
        let refused = session.propose_update(&mut txn);
        assert!(matches!(refused, Err(JournalError::RolledBack(_))));
    }
    converge(&mut camera, &mut phone);
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
    for mid_clip in [false, true] {
        let (mut camera, mut phone) = five(Suite::Classic);
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
    let (hub, app) = paired();
    let (mut camera, mut phone) = (Five::of(hub), Five::of(app));
    let before = phone.state();
    for _ in 0..3 {
        let mut txn = phone.journal.begin();
        let config = &mut phone.sessions[index(Channel::Config)];
        config.send_heartbeat(&mut txn, 1, NOW_MS).unwrap();
        for session in &mut phone.sessions {
            session.propose_update(&mut txn).unwrap();
            assert!(session.awaits_commit(&mut txn).unwrap());
        }
        drop(txn);
        assert!(phone.awaits().is_empty());
        assert_eq!(phone.state(), before);
        assert_eq!(phone.journal.heartbeat(phone.pairing).unwrap(), None);
    }
    for channel in Channel::ALL {
        assert_eq!(phone.rows(channel, Family::EncryptionKeyPair), 0);
        assert!(phone.outgoing(channel, Seq::NONE).is_empty());
    }
    phone.heartbeat(1);
    assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
    converge(&mut camera, &mut phone);
}
