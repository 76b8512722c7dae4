//! Promise S4: who copied every file of one end, at one time, is shut out by the next keys that are made there and
//! taken by a Commit, with every envelope that was ever sent at hand.

use std::collections::BTreeMap;

use openmls::group::MlsGroup;
use openmls::prelude::{GroupId, MlsMessageIn, ProcessedMessageContent};
use openmls_traits::OpenMlsProvider as _;
use tls_codec::Deserialize as _;
use wal::disk::CrashPolicy;
use wire::ids::Seq;

use super::five::{Camera, Five, Phone, converge, five, healed, settle};
use super::harness::NOW_MS;
use crate::ids::{Channel, Line};
use crate::keys::Family;
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::scope::Scope;
use crate::wrap;
use crate::{Role, Session, Suite};

/// Opens an envelope with a tool of the thief's own: the wrapping key and OpenMLS on the copy's state, and
/// none of the rules of a session. `Ok` if MLS opened it; a Commit is followed.
fn pry<R>(thief: &mut Five<R>, channel: Channel, seq: Seq, bytes: &[u8]) -> Result<(), String> {
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
    match processed.into_content() {
        ProcessedMessageContent::StagedCommitMessage(staged) => {
            let merged = group.merge_staged_commit(&provider, *staged);
            merged.map_err(|error| error.to_string())?;
        }
        ProcessedMessageContent::ApplicationMessage(_)
        | ProcessedMessageContent::ProposalMessage(_) => {}
        other => return Err(format!("{other:?}")),
    }
    drop(provider);
    drop(txn.commit(()).unwrap());
    Ok(())
}

/// What an end has sent, as the relay keeps it for whoever asks: also what was freed since.
#[derive(Default)]
struct Sent(BTreeMap<(Channel, Seq), Vec<u8>>);

impl Sent {
    fn keep<R>(&mut self, end: &Five<R>) {
        for channel in Channel::ALL {
            for (seq, envelope) in end.outgoing(channel, Seq::NONE) {
                self.0.insert((channel, seq), envelope.into_bytes());
            }
        }
    }

    /// How many of them a thief opens, one after the other.
    fn opened_by<R>(&self, thief: &mut Five<R>) -> usize {
        let opens = |((channel, seq), bytes): &(&(Channel, Seq), &Vec<u8>)| {
            pry(thief, *channel, *seq, bytes).is_ok()
        };
        self.0.iter().filter(opens).count()
    }
}

/// A new epoch in each group, and a clip.
fn goes_on(camera: &mut Camera, phone: &mut Phone, sent: &mut Sent) {
    for channel in &Channel::ALL[1..] {
        camera.advance(*channel);
    }
    let secret = camera.record(b"secret");
    sent.keep(camera);
    settle(camera, phone);
    assert_eq!(phone.bytes_of(secret), b"secret");
}

/// A heartbeat at this time, and what the hub sends because of it.
fn heals(camera: &mut Camera, phone: &mut Phone, (number, now_ms): (u64, u64), sent: &mut Sent) {
    phone.heartbeat_at(number, now_ms);
    assert_eq!(healed(&camera.listen(phone)), Channel::ALL);
    sent.keep(camera);
    settle(camera, phone);
}

/// When the copy was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copied {
    /// Before the first heartbeat.
    Before,
    /// Behind the first heartbeat, and before the hub's Commits: it has the new keys.
    Between,
    /// Behind those Commits.
    Behind,
}

/// The phone's whole state is copied, keys that are proposed included. What the hub seals opens to the thief until a
/// Commit takes keys that were made after the copy, and then nothing does: just what "healed since" says.
#[test]
fn s4_a_copy_of_the_phone_opens_nothing_behind_keys_that_were_made_after_it() {
    let (first, second) = (NOW_MS + 1_000, NOW_MS + 2_000);
    for suite in [Suite::Classic, Suite::XWing] {
        for copied in [Copied::Before, Copied::Between, Copied::Behind] {
            let (mut camera, mut phone) = five(suite);
            camera.record(b"before");
            settle(&mut camera, &mut phone);
            let copy = |phone: &Phone| phone.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let mut stolen = copy(&phone);
            let mut copied_ms = NOW_MS;
            let mut sent = Sent::default();
            phone.heartbeat_at(1, first);
            if copied == Copied::Between {
                (stolen, copied_ms) = (copy(&phone), first);
            }
            assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
            sent.keep(&camera);
            settle(&mut camera, &mut phone);
            if copied == Copied::Behind {
                (stolen, copied_ms) = (copy(&phone), first + 1);
                sent = Sent::default();
            }
            goes_on(&mut camera, &mut phone, &mut sent);

            let mut thief = Phone::open(Role::App, stolen, phone.pairing, 66);
            for channel in Channel::ALL {
                let kept = thief.rows(channel, Family::EncryptionKeyPair);
                assert_eq!(kept, usize::from(copied == Copied::Between));
            }
            let since = |phone: &Phone| {
                let keys = |line| phone.journal.line_keys(line).unwrap().unwrap();
                Line::all(phone.pairing).map(|line| keys(line).healed.unwrap().made_unix_ms)
            };
            assert_eq!(since(&phone), [first; 5]);
            let opened = sent.opened_by(&mut thief);
            let shut_out = first > copied_ms;
            let expected = if shut_out { 0 } else { sent.0.len() };
            assert_eq!(opened, expected, "{suite:?} {copied:?}");
            assert!(sent.0.len() >= 8);
            thief.sessions = Line::all(thief.pairing).map(Session::new);
            for (theirs, ours) in thief.state().iter().zip(&phone.state()) {
                assert_eq!(theirs.1 == ours.1, !shut_out, "{suite:?} {copied:?}");
            }

            let mut sent = Sent::default();
            heals(&mut camera, &mut phone, (2, second), &mut sent);
            goes_on(&mut camera, &mut phone, &mut sent);
            assert_eq!(since(&phone), [second; 5]);
            assert_eq!(sent.opened_by(&mut thief), 0, "{suite:?} {copied:?}");
            assert!(sent.0.len() >= 8);
            converge(&mut camera, &mut phone);
        }
    }
}

/// The control: without a heartbeat everything opens, whatever the hub commits.
#[test]
fn s4_a_copy_of_the_phone_opens_everything_until_then() {
    let (mut camera, mut phone) = five(Suite::Classic);
    settle(&mut camera, &mut phone);
    let stolen = phone.disk.crash_clone(CrashPolicy::KeepAll, 0);
    let mut sent = Sent::default();
    for _ in 0..3 {
        goes_on(&mut camera, &mut phone, &mut sent);
    }
    let mut thief = Phone::open(Role::App, stolen, phone.pairing, 66);
    assert_eq!(sent.opened_by(&mut thief), sent.0.len());
}

/// A copy of the hub's files opens what the phone says in the epochs that it has. The hub's next Commit, which every
/// heartbeat brings to every group, makes new keys of the hub: behind it the copy opens nothing.
#[test]
fn s4_a_copy_of_the_hub_opens_nothing_behind_its_next_commit() {
    for suite in [Suite::Classic, Suite::XWing] {
        let (mut camera, mut phone) = five(suite);
        let mut ours = Sent::default();
        goes_on(&mut camera, &mut phone, &mut ours);
        for channel in &Channel::ALL[1..] {
            camera.advance(*channel);
        }
        camera.record(b"one");
        let stolen = camera.disk.crash_clone(CrashPolicy::KeepAll, 0);
        // In the epochs of the copy: acks, the heartbeat's message and its proposals.
        phone.listen(&camera);
        phone.ack();
        phone.heartbeat_at(1, NOW_MS);
        let heard: Vec<Seq> = Channel::ALL.map(|channel| camera.cursor(channel)).to_vec();
        let since = |phone: &Phone, from: &[Seq]| {
            let mut sent = Sent::default();
            for (channel, from) in Channel::ALL.into_iter().zip(from) {
                for (seq, envelope) in phone.outgoing(channel, *from) {
                    sent.0.insert((channel, seq), envelope.into_bytes());
                }
            }
            sent
        };
        let before = since(&phone, &heard);
        let mut thief = Camera::open(Role::Hub, stolen, camera.pairing, 67);
        assert_eq!(before.0.len(), 5 + 1 + 5);
        assert_eq!(before.opened_by(&mut thief), before.0.len(), "the control");

        let theirs = thief.state();
        assert_eq!(theirs, camera.state());
        assert_eq!(healed(&camera.listen(&phone)), Channel::ALL);
        let heard: Vec<Seq> = Channel::ALL.map(|channel| camera.cursor(channel)).to_vec();
        phone.listen(&camera);
        phone.ack();
        let behind = since(&phone, &heard);
        assert_eq!(behind.0.len(), 5, "an ack of each Commit");
        assert_eq!(behind.opened_by(&mut thief), 0, "{suite:?}");
        for (theirs, ours) in thief.state().iter().zip(&camera.state()) {
            assert_ne!(theirs.1, ours.1);
        }
        converge(&mut camera, &mut phone);
    }
}
