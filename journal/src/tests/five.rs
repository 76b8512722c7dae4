//! Both ends with all five lines of a pairing, over simulated disks.

use wal::disk::SimDisk;
use wire::envelope::Envelope;
use wire::ids::Seq;

use super::harness::{App, End, Hub, NOW_MS, open, paired_with};
use crate::ids::{Channel, ClipId, Epoch, Line, PairingId};
use crate::keys::{self, Family};
use crate::message::{self, AppConfigMessage, AppMessage, HeartbeatAnswer, HubReport};
use crate::scope::Scope;
use crate::{
    AckEffect, Committer, Follower, Journal, PhoneHeard, Received, Role, Session, Suite, Taken,
    Takes,
};

/// One end with a session for each channel.
pub(crate) struct Five<R> {
    pub(crate) disk: SimDisk,
    pub(crate) journal: Journal,
    pub(crate) sessions: [Session<R>; 5],
    pub(crate) pairing: PairingId,
}

pub(crate) type Camera = Five<Committer>;
pub(crate) type Phone = Five<Follower>;

pub(crate) fn index(channel: Channel) -> usize {
    usize::from(channel.number() - 1)
}

impl<R> Five<R> {
    pub(crate) fn of(end: End<R>) -> Self {
        let pairing = end.line().pairing;
        Self {
            disk: end.disk,
            journal: end.journal,
            sessions: Line::all(pairing).map(Session::new),
            pairing,
        }
    }

    pub(crate) fn open(role: Role, disk: SimDisk, pairing: PairingId, seed: u64) -> Self {
        let journal = open(role, &disk, seed).expect("the journal opens");
        Self {
            disk,
            journal,
            sessions: Line::all(pairing).map(Session::new),
            pairing,
        }
    }

    pub(crate) fn line(&self, channel: Channel) -> Line {
        Line::of(self.pairing, channel)
    }

    pub(crate) fn cursor(&self, channel: Channel) -> Seq {
        self.journal.inbox_head(self.line(channel)).unwrap().cursor
    }

    pub(crate) fn outgoing(&self, channel: Channel, after: Seq) -> Vec<(Seq, Envelope)> {
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
    pub(crate) fn state(&mut self) -> Vec<(Epoch, Vec<u8>)> {
        let mut txn = self.journal.begin();
        let sessions = self.sessions.iter_mut();
        let state = sessions.map(|session| {
            let epoch = session.epoch(&mut txn).unwrap();
            (epoch, session.exporter(&mut txn).unwrap())
        });
        state.collect()
    }

    /// How many values of a family the group of a channel has.
    pub(crate) fn rows(&mut self, channel: Channel, family: Family) -> usize {
        let scope = Scope::Group(self.line(channel));
        let prefix = keys::secret(scope, family, &[]);
        self.journal.begin().secrets(scope, &prefix).unwrap().len()
    }
}

impl Camera {
    /// What a start does.
    pub(crate) fn start(disk: SimDisk, pairing: PairingId, seed: u64) -> Self {
        let mut camera = Self::open(Role::Hub, disk, pairing, seed);
        for session in &mut camera.sessions {
            let mut txn = camera.journal.begin();
            session.close_used_epoch(&mut txn, NOW_MS).unwrap();
            drop(txn.commit(()).unwrap());
        }
        camera
    }

    pub(crate) fn start_clip(&mut self) -> ClipId {
        let mut txn = self.journal.begin();
        let clip = self.sessions[0].start_clip(&mut txn, "door", "video/mp4", NOW_MS);
        txn.commit(clip.unwrap()).unwrap().into_inner()
    }

    pub(crate) fn chunk(&mut self, clip: ClipId, bytes: &[u8]) {
        let mut txn = self.journal.begin();
        let sealed = self.sessions[0].append_chunk(&mut txn, clip, bytes, NOW_MS);
        drop(txn.commit(sealed.unwrap()).unwrap());
    }

    pub(crate) fn finish(&mut self, clip: ClipId) {
        let mut txn = self.journal.begin();
        self.sessions[0]
            .finish_clip(&mut txn, clip, NOW_MS)
            .unwrap();
        drop(txn.commit(()).unwrap());
    }

    pub(crate) fn record(&mut self, bytes: &[u8]) -> ClipId {
        let clip = self.start_clip();
        self.chunk(clip, bytes);
        self.finish(clip);
        clip
    }

    /// Takes one envelope of the phone, as a hub does: what it says, in the same transaction.
    pub(crate) fn take(&mut self, channel: Channel, seq: Seq, envelope: &Envelope) -> Received {
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
                status: HubReport {
                    recording: false,
                    not_recorded: None,
                    unacked: number,
                },
            };
            self.sessions[index(channel)]
                .answer(&mut txn, &answer)
                .unwrap();
        }
        drop(txn.commit(()).unwrap());
        arrived.received
    }

    /// Takes all that the phone has said and this end has not.
    pub(crate) fn listen(&mut self, phone: &Phone) -> Vec<(Channel, Received)> {
        let mut out = Vec::new();
        for channel in Channel::ALL {
            for (seq, envelope) in phone.outgoing(channel, self.cursor(channel)) {
                out.push((channel, self.take(channel, seq, &envelope)));
            }
        }
        out
    }

    /// A Commit on a line that carries no clips.
    pub(crate) fn advance(&mut self, channel: Channel) {
        let mut txn = self.journal.begin();
        let session = &mut self.sessions[index(channel)];
        session.advance_epoch(&mut txn).unwrap();
        session.close(&mut txn).unwrap();
        drop(txn.commit(()).unwrap());
    }
}

impl Phone {
    /// A whole heartbeat in one transaction: the message first, then a proposal in each channel.
    pub(crate) fn heartbeat(&mut self, number: u64) {
        self.heartbeat_at(number, NOW_MS);
    }

    /// The same at another time.
    pub(crate) fn heartbeat_at(&mut self, number: u64, now_ms: u64) {
        let mut txn = self.journal.begin();
        let config = &mut self.sessions[index(Channel::Config)];
        config.send_heartbeat(&mut txn, number, now_ms).unwrap();
        for session in &mut self.sessions {
            session.propose_update(&mut txn, number, now_ms).unwrap();
        }
        drop(txn.commit(()).unwrap());
    }

    pub(crate) fn take(&mut self, channel: Channel, seq: Seq, bytes: &[u8]) -> Taken {
        let mut txn = self.journal.begin();
        let taken = self.sessions[index(channel)].take(&mut txn, seq, bytes, NOW_MS + 1);
        txn.commit(taken.unwrap()).unwrap().into_inner()
    }

    /// Takes all that the camera has said and this end has not.
    pub(crate) fn listen(&mut self, camera: &Camera) -> Vec<(Channel, Taken)> {
        let mut out = Vec::new();
        for channel in Channel::ALL {
            for (seq, envelope) in camera.outgoing(channel, self.cursor(channel)) {
                out.push((channel, self.take(channel, seq, envelope.as_bytes())));
            }
        }
        out
    }

    pub(crate) fn awaits(&mut self) -> Vec<Channel> {
        let mut txn = self.journal.begin();
        let sessions = self.sessions.iter_mut();
        let waiting = sessions.filter_map(|session| {
            let waits = session.awaits_commit(&mut txn).unwrap();
            waits.then_some(session.line().channel)
        });
        waiting.collect()
    }

    /// An ack on each line that owes one and may send.
    pub(crate) fn ack(&mut self) {
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

    pub(crate) fn bytes_of(&self, clip: ClipId) -> Vec<u8> {
        let chunks = self.journal.app_clip(clip).unwrap().chunks;
        let chunk = |i| self.journal.app_chunk(clip, i).unwrap().to_vec();
        (0..chunks).flat_map(chunk).collect()
    }
}

pub(crate) fn five(suite: Suite) -> (Camera, Phone) {
    let (hub, app): (Hub, App) = paired_with(suite);
    (Five::of(hub), Five::of(app))
}

/// Both ways until nothing is left to say.
pub(crate) fn settle(camera: &mut Camera, phone: &mut Phone) {
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
pub(crate) fn converge(camera: &mut Camera, phone: &mut Phone) {
    settle(camera, phone);
    for channel in &Channel::ALL[1..] {
        camera.advance(*channel);
    }
    let clip = camera.record(b"afterwards");
    settle(camera, phone);
    assert_eq!(phone.bytes_of(clip), b"afterwards");
    assert_eq!(camera.state(), phone.state());
}

pub(crate) fn healed(found: &[(Channel, Received)]) -> Vec<Channel> {
    let healed = found
        .iter()
        .filter(|(_, received)| matches!(received, Received::Healed(_)));
    healed.map(|(channel, _)| *channel).collect()
}
