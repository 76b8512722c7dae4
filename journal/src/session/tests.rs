//! What only this room can see: proposals, orphan keys, and the storage calls behind them.

use openmls::prelude::{LeafNodeParameters, MlsMessageIn, ProcessedMessageContent};
use tls_codec::Deserialize as _;
use wal::disk::CrashPolicy;
use wire::envelope::Envelope;

use super::*;
use crate::Role;
use crate::keys::Family;
use crate::tests::harness::{App, Hub, paired, settle};
use crate::wrap::{self, Place};

impl App {
    /// An update proposal as the wire carries it, in a transaction of its own.
    fn propose(&mut self) -> Vec<u8> {
        let (group, client) = self.session.scopes();
        let mut txn = self.journal.begin();
        let handle = self.session.load(&mut txn).unwrap();
        handle.touched = Some(txn.outcome().clone());
        let provider = MlsProvider::new(&mut txn, group, client, Ratchet::Store);
        let proposed = handle.group.propose_self_update(
            &provider,
            &handle.signer,
            LeafNodeParameters::default(),
        );
        let (message, _) = provider.result(proposed).unwrap();
        drop(provider);
        drop(txn.commit(()).unwrap());
        message.tls_serialize_detached().unwrap()
    }

    fn rows(&mut self, family: Family) -> usize {
        let scope = Scope::Group(self.session.line());
        let prefix = keys::secret(scope, family, &[]);
        self.journal.begin().secrets(scope, &prefix).unwrap().len()
    }
}

impl Hub {
    /// Processes and queues a proposal, then commits it, all in one transaction.
    fn commit_proposal(&mut self, bytes: &[u8]) {
        let (group, client) = self.session.scopes();
        let mut txn = self.journal.begin();
        let handle = self.session.load(&mut txn).unwrap();
        handle.touched = Some(txn.outcome().clone());
        let provider = MlsProvider::new(&mut txn, group, client, Ratchet::Store);
        let message = MlsMessageIn::tls_deserialize_exact(bytes).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        let processed = handle.group.process_message(&provider, message);
        let processed = provider.result(processed).unwrap();
        let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() else {
            panic!("not a proposal");
        };
        handle
            .group
            .store_pending_proposal(provider.storage(), *proposal)
            .unwrap();
        drop(provider);
        self.session.advance_epoch(&mut txn).unwrap();
        self.session.finish_empty(&mut txn).unwrap();
        drop(txn.commit(()).unwrap());
    }
}

impl Hub {
    /// A Commit that says it stands at another place than it does, in a good wrap.
    fn commit_misplaced(&mut self) {
        let line = self.session.line();
        let (group, client) = self.session.scopes();
        let mut txn = self.journal.begin();
        let seq = outbox::upcoming(&txn, line).unwrap();
        let handle = self.session.load(&mut txn).unwrap();
        let record = Arc::clone(&handle.record);
        handle.touched = Some(txn.outcome().clone());
        handle.group.set_aad(aad(Seq(seq.0 + 1)));
        let provider = MlsProvider::new(&mut txn, group, client, Ratchet::Store);
        let commit = commit_and_merge(&provider, handle).unwrap();
        drop(provider);
        let (kind, placement) = (Kind::Mls, Placement::Inline);
        outbox::append(&mut txn, line, &record, kind, &commit, placement).unwrap();
        drop(txn.commit(()).unwrap());
    }
}

impl Hub {
    /// What this envelope carries, in a good wrap for another place, its last byte changed if asked.
    fn rewrap(&mut self, envelope: &Envelope, from: Seq, to: Seq, spoil: bool) -> Vec<u8> {
        let mut txn = self.journal.begin();
        let record = txn.pairing_record(self.session.line()).unwrap();
        let mailbox = record.line(self.session.line().channel).unwrap().send;
        let place = |seq| Place {
            mailbox: &mailbox,
            seq,
        };
        let mut body = wrap::unwrap(&record.send_key, place(from), envelope.as_bytes()).unwrap();
        if spoil {
            *body.content.last_mut().unwrap() ^= 1;
        }
        let (keys, dice) = ((&record.send_key, &record.tag_key), txn.dice());
        wrap::wrap(
            keys.0,
            keys.1,
            place(to),
            body.kind,
            body.held,
            &body.content,
            dice,
        )
    }
}

/// An authentic Commit at the wrong place is not passed, and nothing that OpenMLS wrote for it stays:
/// the group is as it was, to the byte, and the line is over.
#[test]
fn a_misplaced_commit_leaves_the_group_as_it_was_and_breaks_the_line() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let stored = |app: &mut App| {
        let scope = Scope::Group(app.session.line());
        let prefix = keys::secret_prefix(scope);
        app.journal.begin().secrets(scope, &prefix).unwrap()
    };
    let before = stored(&mut app);
    let (epoch, cursor) = (app.epoch(), app.cursor());
    hub.commit_misplaced();
    // What follows is of an epoch that this phone will never see.
    hub.record(&[b"two"]);
    for (seq, envelope) in hub.outgoing(cursor) {
        let taken = app.take(seq, envelope.as_bytes());
        assert_eq!(taken, crate::Taken::LineBroken);
    }
    assert_eq!(app.cursor(), cursor);
    assert_eq!(stored(&mut app), before);
    assert_eq!(app.epoch(), epoch);
}

/// A phone that cannot follow says so, durably, and stops before the envelope. To pass it and to ack it
/// would make the hub throw away what nobody has read.
#[test]
fn who_can_follow_no_more_says_so_and_takes_and_sends_nothing() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    let first = hub.outgoing(Seq::NONE);
    settle(&mut hub, &mut app);
    let (line, at) = (app.line(), app.cursor().next());
    let ours = app.epoch();
    hub.record(&[b"two"]);
    hub.record(&[b"three"]);
    let sent = hub.outgoing(app.cursor());
    let next = Epoch(ours.0 + 1);
    // Clips of one chunk: Commit, header, chunk, trailer.
    let table = [
        ("a later epoch's Commit", &sent[4], false, Some(next)),
        ("a later epoch's message", &sent[1], false, Some(next)),
        (
            "a Commit that MLS does not accept",
            &sent[0],
            true,
            Some(ours),
        ),
        ("a Commit of a past epoch", &first[0], false, None),
        ("a message that was taken before", &first[2], false, None),
        ("a message that MLS does not accept", &first[2], true, None),
    ];
    for (what, (from, envelope), spoil, theirs) in table {
        let bytes = hub.rewrap(envelope, *from, at, spoil);
        let disk = app.disk.crash_clone(CrashPolicy::KeepAll, 0);
        let mut phone = App::open(Role::App, disk, line, 50);
        // Nobody without the pairing's key can say it.
        for spoilt in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut forged = bytes.clone();
            forged[spoilt] ^= 1;
            assert_eq!(phone.take(at, &forged), crate::Taken::NotAuthentic);
        }
        assert_eq!(phone.take(at.next(), &bytes), crate::Taken::NotAuthentic);
        assert_eq!(phone.journal.line_break(line).unwrap(), None);
        let taken = phone.take(at, &bytes);
        let Some(theirs) = theirs else {
            assert!(
                matches!(taken, crate::Taken::Nothing(_)),
                "{what}: {taken:?}"
            );
            assert_eq!(phone.cursor(), at, "{what}: it is passed");
            assert_eq!(phone.journal.line_break(line).unwrap(), None);
            continue;
        };
        assert_eq!(taken, crate::Taken::LineBroken, "{what}");
        let found = LineBreak {
            seq: at,
            ours,
            theirs,
        };
        for start in 0..2 {
            assert_eq!(
                phone.journal.line_break(line).unwrap(),
                Some(found),
                "{what}"
            );
            assert_eq!(
                phone.cursor().next(),
                at,
                "{what}: the cursor stays before it"
            );
            let outbox = phone.journal.outbox_head(line).unwrap();
            for (seq, envelope) in &sent {
                assert_eq!(
                    phone.take(*seq, envelope.as_bytes()),
                    crate::Taken::LineBroken
                );
            }
            let mut txn = phone.journal.begin();
            let ack = phone.session.send_ack(&mut txn);
            assert!(matches!(ack, Err(JournalError::LineBroken(_))), "{ack:?}");
            drop(txn);
            assert_eq!(phone.journal.outbox_head(line).unwrap(), outbox);
            let disk = phone.disk.crash_clone(CrashPolicy::LoseAll, start);
            phone = phone.restart(disk, 60 + start);
        }
    }
    // The honest one follows.
    settle(&mut hub, &mut app);
}

/// What the crash tests believe about generations is what OpenMLS stores: after messages, after a new
/// epoch, and after the group was loaded again.
#[test]
fn the_generation_that_is_noted_is_the_one_that_is_stored() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    for messages in 0..3 {
        hub.record(&[b"more"]);
        settle(&mut hub, &mut app);
        for _message in 0..messages {
            app.ack();
        }
        let scope = Scope::Group(app.session.line());
        let mut txn = app.journal.begin();
        let handle = app.session.load(&mut txn).unwrap();
        let noted = handle.generation;
        assert!(noted >= messages, "{noted} after {messages}");
        let stored = notes::stored_generation(&txn, scope, &handle.group);
        assert_eq!(noted, stored);
    }
}

/// OpenMLS keeps the private key of every update proposal that no Commit took, for ever. The journal
/// does not: the next merge deletes them all.
#[test]
fn keys_of_ignored_proposals_go_with_the_next_merge() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let _ignored = app.propose();
    let taken = app.propose();
    assert_eq!(app.rows(Family::EncryptionKeyPair), 2);
    assert_eq!(app.rows(Family::OwnLeafNode), 2);
    assert_eq!(app.rows(Family::Proposal), 2);
    hub.commit_proposal(&taken);
    for (seq, envelope) in hub.outgoing(app.cursor()) {
        assert!(matches!(
            app.take(seq, envelope.as_bytes()),
            crate::Taken::Healed(_)
        ));
    }
    for family in [
        Family::EncryptionKeyPair,
        Family::OwnLeafNode,
        Family::Proposal,
    ] {
        assert_eq!(app.rows(family), 0, "{family:?}");
    }
    assert_eq!(app.rows(Family::EpochKeyPairs), 1);
    assert_eq!(hub.exporter(), app.exporter());
}

/// A kind of proposal that no phone makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Foreign {
    AddMember,
    RemoveHub,
    Psk,
    GroupExtensions,
    /// Signed with another key, which would be the phone's from then on.
    OtherSigner,
    /// A good update that says it stands elsewhere.
    OtherPlace,
}

impl App {
    /// An envelope with a proposal that MLS lets a member make, in a good wrap: what a phone whose program
    /// is not ours could say.
    fn misbehave(&mut self, kind: Foreign) -> (Seq, Vec<u8>) {
        use openmls::credentials::NewSignerBundle;
        use openmls::prelude::{
            BasicCredential, Capabilities, CredentialWithKey, Extensions, KeyPackage, LeafNodeIndex,
        };
        use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};

        let line = self.session.line();
        let (group_scope, client) = self.session.scopes();
        let mut txn = self.journal.begin();
        let seq = outbox::upcoming(&txn, line).unwrap();
        let handle = self.session.load(&mut txn).unwrap();
        let record = Arc::clone(&handle.record);
        handle.touched = Some(txn.outcome().clone());
        let place = match kind {
            Foreign::OtherPlace => seq.next(),
            _ => seq,
        };
        handle.group.set_aad(aad(place));
        let provider = MlsProvider::new(&mut txn, group_scope, client, Ratchet::Store);
        let suite = record.suite.ciphersuite();
        let Handle { group, signer, .. } = handle;
        let other = SignatureKeyPair::new(suite.signature_algorithm()).unwrap();
        let credential = |name: &[u8]| CredentialWithKey {
            credential: BasicCredential::new(name.to_vec()).into(),
            signature_key: other.public().into(),
        };
        let message = match kind {
            Foreign::AddMember => {
                let capabilities = Capabilities::new(None, Some(&[suite]), None, None, None);
                let package = KeyPackage::builder()
                    .leaf_node_capabilities(capabilities)
                    .build(suite, &provider, &other, credential(b"a third one"))
                    .unwrap();
                group
                    .propose_add_member(&provider, signer, package.key_package())
                    .unwrap()
                    .0
            }
            Foreign::RemoveHub => {
                let hub = LeafNodeIndex::new(0);
                assert_ne!(group.own_leaf_index(), hub);
                group
                    .propose_remove_member(&provider, signer, hub)
                    .unwrap()
                    .0
            }
            Foreign::Psk => {
                let name = Psk::External(ExternalPsk::new(b"mine".to_vec()));
                let psk = PreSharedKeyId::new(suite, provider.rand(), name).unwrap();
                psk.store(&provider, &[1; 32]).unwrap();
                group
                    .propose_pre_shared_key(&provider, signer, psk)
                    .unwrap()
                    .0
            }
            Foreign::GroupExtensions => {
                group
                    .propose_group_context_extensions(&provider, Extensions::empty(), signer)
                    .unwrap()
                    .0
            }
            Foreign::OtherSigner => {
                let own = group.own_leaf_node().unwrap().credential().clone();
                let credential_with_key = CredentialWithKey {
                    credential: own,
                    signature_key: other.public().into(),
                };
                let bundle = NewSignerBundle {
                    signer: &other,
                    credential_with_key,
                };
                group
                    .propose_self_update_with_new_signer(
                        &provider,
                        signer,
                        bundle,
                        LeafNodeParameters::default(),
                    )
                    .unwrap()
                    .0
            }
            Foreign::OtherPlace => {
                group
                    .propose_self_update(&provider, signer, LeafNodeParameters::default())
                    .unwrap()
                    .0
            }
        };
        let bytes = message.tls_serialize_detached().unwrap();
        drop(provider);
        let (wrapped, inline) = (Kind::Mls, Placement::Inline);
        outbox::append(&mut txn, line, &record, wrapped, &bytes, inline).unwrap();
        drop(txn.commit(()).unwrap());
        let sent = self.outgoing(Seq(seq.0 - 1)).remove(0).1;
        (seq, sent.into_bytes())
    }
}

/// Whatever else a member may propose: refused, with nothing of it durable but the cursor, and without
/// costing the hub's handle its epoch. The next good one is taken.
#[test]
fn a_proposal_that_no_phone_makes_changes_nothing() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let line = hub.line();
    for kind in [
        Foreign::AddMember,
        Foreign::RemoveHub,
        Foreign::Psk,
        Foreign::GroupExtensions,
        Foreign::OtherSigner,
        Foreign::OtherPlace,
    ] {
        let disk = app.disk.crash_clone(CrashPolicy::KeepAll, 0);
        let mut phone = App::open(Role::App, disk, line, 70);
        let disk = hub.disk.crash_clone(CrashPolicy::KeepAll, 0);
        let (mut camera, _) = Hub::start(disk, line, 71);
        let clip = camera.start_clip();
        camera.chunk(clip, b"one ");
        for (seq, envelope) in camera.outgoing(phone.cursor()) {
            phone.take(seq, envelope.as_bytes());
        }
        let scope = Scope::Group(line);
        let prefix = keys::secret_prefix(scope);
        let stored = |hub: &mut Hub| hub.journal.begin().secrets(scope, &prefix).unwrap();
        let before = stored(&mut camera);
        let outbox = camera.journal.outbox_head(line).unwrap();
        let epoch = camera.epoch();
        let (seq, bytes) = phone.misbehave(kind);
        let envelope = Envelope::new(bytes).unwrap();
        let received = camera.take(seq, &envelope);
        assert!(
            matches!(received, Received::Refused(_)),
            "{kind:?}: {received:?}"
        );
        assert_eq!(stored(&mut camera), before, "{kind:?}");
        assert_eq!(camera.journal.outbox_head(line).unwrap(), outbox);
        assert!(matches!(camera.take(seq, &envelope), Received::Duplicate));
        // The epoch is still this handle's, and goes on where it was.
        camera.chunk(clip, b"two");
        assert_eq!(camera.epoch(), epoch, "{kind:?}");
        camera.finish(clip);
        // What the phone had pending goes with the next Commit, and then it can follow and be healed.
        camera.record(&[b"more"]);
        settle(&mut camera, &mut phone);
        assert_eq!(phone.bytes_of(clip), b"one two");
        let mut txn = phone.journal.begin();
        let seq = phone.session.propose_update(&mut txn).unwrap();
        drop(txn.commit(()).unwrap());
        let sent = phone.outgoing(Seq(seq.0 - 1)).remove(0).1;
        let received = camera.take(seq, &sent);
        assert!(matches!(received, Received::Healed(_)), "{kind:?}");
        crate::tests::harness::converge(&mut camera, &mut phone);
    }
}

/// A proposal that the wrap or MLS finds spoilt is nothing at all, and nobody without the pairing's keys can
/// make one.
#[test]
fn a_spoilt_proposal_changes_nothing() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let mut txn = app.journal.begin();
    let seq = app.session.propose_update(&mut txn).unwrap();
    drop(txn.commit(()).unwrap());
    let sent = app.outgoing(Seq(seq.0 - 1)).remove(0).1.into_bytes();
    let lsn = hub.journal.wal.next_lsn();
    let takes = Takes::MessagesAndProposals;
    for at in (0..sent.len()).step_by(7) {
        let mut bad = sent.clone();
        bad[at] ^= 1;
        let mut txn = hub.journal.begin();
        let arrived = hub.session.receive(&mut txn, seq, &bad, takes).unwrap();
        assert!(matches!(arrived.received, Received::NotAuthentic));
    }
    assert_eq!(hub.journal.wal.next_lsn(), lsn);
    let good = Envelope::new(sent).unwrap();
    assert!(matches!(hub.take(seq, &good), Received::Healed(_)));
    crate::tests::harness::converge(&mut hub, &mut app);
}
