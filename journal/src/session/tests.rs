//! What only this room can see: proposals, orphan keys, and the storage calls behind them.

use openmls::credentials::NewSignerBundle;
use openmls::prelude::{
    ApplicationIdExtension, BasicCredential, Capabilities, CredentialWithKey, Extension,
    Extensions, LeafNode, LeafNodeParameters, MlsMessageIn, ProcessedMessageContent,
};
use tls_codec::Deserialize as _;
use wal::disk::CrashPolicy;
use wire::envelope::Envelope;
use wire::ids::Digest;

use super::receive::{COMMIT_BYTES_MAX, MLS_BYTES_MAX, PHONE_SAYS_BYTES_MAX, PROPOSAL_BYTES_MAX};
use super::*;
use crate::keys::Family;
use crate::message::{CHUNK_BYTES_MAX, DropReason};
use crate::tests::harness::{App, End, Hub, NOW_MS, paired, paired_with, settle};
use crate::tests::odd::Foreign;
use crate::wrap::{self, Place};
use crate::{Role, Suite};

impl<R> End<R> {
    fn rows(&mut self, family: Family) -> usize {
        let scope = Scope::Group(self.session.line());
        let prefix = keys::secret(scope, family, &[]);
        self.journal.begin().secrets(scope, &prefix).unwrap().len()
    }
}

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

impl App {
    /// What only a hub says, signed with this phone's own key, in a good wrap for the place of `last`.
    fn states(&mut self, first: Seq, last: Seq) -> Vec<u8> {
        let line = self.session.line();
        let mut txn = self.journal.begin();
        let handle = self.session.load(&mut txn).unwrap();
        let record = Arc::clone(&handle.record);
        let statement = Statement {
            channel: line.channel,
            first: first.0,
            last: last.0,
            clip: ClipId([7; 16]),
            reason: DropReason::Budget,
        };
        let signature = handle.signer.sign(&statement.signed_bytes().unwrap());
        let content = message::encode(&SignedStatement {
            statement,
            signature: signature.unwrap(),
        });
        let mailbox = record.line(line.channel).unwrap().send;
        let place = Place {
            mailbox: &mailbox,
            seq: last,
        };
        let held = Held {
            seq: Seq::NONE,
            digest: Digest([0; 32]),
        };
        wrap::wrap(
            &record.send_key,
            &record.tag_key,
            place,
            Kind::Statement,
            held,
            &content.unwrap(),
            txn.dice(),
        )
    }
}

/// A statement is the hub's word. A phone's moves no cursor over a gap, and in its turn it is only taken.
#[test]
fn a_statement_of_a_phone_closes_no_gap() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let line = hub.line();
    let at = hub.journal.inbox_head(line).unwrap().cursor;
    let (next, far) = (at.next(), Seq(at.0 + 9));
    for (seq, cursor) in [(far, at), (next, next)] {
        let envelope = app.states(next, seq);
        let mut txn = hub.journal.begin();
        let takes = Takes::MessagesAndProposals;
        let arrived = hub.session.receive(&mut txn, seq, &envelope, takes);
        drop(txn.commit(()).unwrap());
        let received = arrived.unwrap().received;
        let is_right = match seq == far {
            true => matches!(received, Received::Gap { expected } if expected == next),
            false => matches!(received, Received::Refused(_)),
        };
        assert!(is_right, "{received:?}");
        assert_eq!(hub.journal.inbox_head(line).unwrap().cursor, cursor);
    }
}

impl Session<Follower> {
    /// An envelope with a proposal that MLS lets a member make, in a good wrap: what a phone whose program
    /// is not ours could say.
    pub(crate) fn misbehave(&mut self, txn: &mut Txn<'_>, kind: Foreign) -> Seq {
        let line = self.line;
        let (group_scope, client) = self.scopes();
        let crypto = Arc::clone(&txn.journal().crypto);
        let seq = outbox::upcoming(txn, line).unwrap();
        let handle = self.load(txn).unwrap();
        let record = Arc::clone(&handle.record);
        handle.touched = Some(txn.outcome().clone());
        let place = match kind {
            Foreign::OtherPlace => seq.next(),
            _ => seq,
        };
        handle.group.set_aad(aad(place));
        let provider = MlsProvider::new(txn, group_scope, client, Ratchet::Store);
        let Handle { group, signer, .. } = handle;
        let message = kind.make(group, &provider, crypto, signer);
        let bytes = message.tls_serialize_detached().unwrap();
        drop(provider);
        let (wrapped, inline) = (Kind::Mls, Placement::Inline);
        outbox::append(txn, line, &record, wrapped, &bytes, inline).unwrap()
    }
}

/// The keys that the hub encrypts to when it commits.
fn leaf_of_the_phone(hub: &mut Hub) -> LeafNode {
    let mut txn = hub.journal.begin();
    let group = &hub.session.load(&mut txn).unwrap().group;
    let phone = group
        .members()
        .find(|member| member.index != group.own_leaf_index())
        .unwrap();
    group.public_group().leaf(phone.index).unwrap().clone()
}

/// Whatever else a member may propose: refused, with nothing of it durable. It costs a Commit that takes nothing,
/// behind which the clip goes on; the phone can follow that, speak and be healed.
#[test]
fn a_proposal_that_no_phone_makes_changes_nothing_but_the_epoch() {
    for suite in [Suite::Classic, Suite::XWing] {
        let (mut hub, mut app) = paired_with(suite);
        hub.record(&[b"one"]);
        settle(&mut hub, &mut app);
        let line = hub.line();
        for kind in Foreign::all(key_bytes(&mut hub)) {
            let disk = app.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let mut phone = App::open(Role::App, disk, line, 70);
            let disk = hub.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let (mut camera, _) = Hub::start(disk, line, 71);
            let clip = camera.start_clip();
            camera.chunk(clip, b"one ");
            for (seq, envelope) in camera.outgoing(phone.cursor()) {
                phone.take(seq, envelope.as_bytes());
            }
            let leaf = leaf_of_the_phone(&mut camera);
            let outbox = camera.journal.outbox_head(line).unwrap();
            let epoch = camera.epoch();
            let mut txn = phone.journal.begin();
            let seq = phone.session.misbehave(&mut txn, kind);
            drop(txn.commit(()).unwrap());
            let envelope = phone.outgoing(Seq(seq.0 - 1)).remove(0).1;
            let received = camera.take(seq, &envelope);
            assert!(
                matches!(received, Received::NotHealed(_)),
                "{suite:?} {kind:?}: {received:?}"
            );
            assert!(matches!(camera.take(seq, &envelope), Received::Duplicate));
            assert_eq!(leaf_of_the_phone(&mut camera), leaf, "{suite:?} {kind:?}");
            for family in [Family::Proposal, Family::OwnLeafNode] {
                assert_eq!(camera.rows(family), 0, "{kind:?} {family:?}");
            }
            let last = camera.journal.outbox_head(line).unwrap().last;
            assert_eq!(last, outbox.last.next(), "one Commit");
            assert_eq!(camera.epoch(), Epoch(epoch.0 + 1));
            assert_eq!(camera.journal.unacked_heals(line).unwrap(), 1);
            // The new epoch is this handle's, and carries the clip.
            let clip_of_it = Some(clip);
            let used = EpochUse::InUse {
                epoch: Epoch(epoch.0 + 1),
                clip: clip_of_it,
            };
            assert_eq!(camera.journal.epoch_use(line).unwrap(), Some(used));
            camera.chunk(clip, b"two");
            assert_eq!(camera.epoch(), Epoch(epoch.0 + 1), "{kind:?}");
            camera.finish(clip);
            settle(&mut camera, &mut phone);
            assert_eq!(phone.bytes_of(clip), b"one two");
            assert_eq!(camera.journal.unacked_heals(line).unwrap(), 0);
            let mut txn = phone.journal.begin();
            let seq = phone.session.propose_update(&mut txn, 1, NOW_MS).unwrap();
            drop(txn.commit(()).unwrap());
            let sent = phone.outgoing(Seq(seq.0 - 1)).remove(0).1;
            let received = camera.take(seq, &sent);
            assert!(matches!(received, Received::Healed(_)), "{kind:?}");
            crate::tests::harness::converge(&mut camera, &mut phone);
        }
    }
}

/// Bytes of an encryption key of the suite.
fn key_bytes(hub: &mut Hub) -> usize {
    let mut txn = hub.journal.begin();
    let group = &hub.session.load(&mut txn).unwrap().group;
    let mut members = group.members();
    members.next().unwrap().encryption_key.len()
}

impl App {
    /// An envelope with a Commit of the phone, in a good wrap; nothing of it stays here.
    fn commit_alone(&mut self) -> (Seq, Envelope) {
        let line = self.session.line();
        let (group, client) = self.session.scopes();
        let mut txn = self.journal.begin();
        let seq = outbox::upcoming(&txn, line).unwrap();
        let handle = self.session.load(&mut txn).unwrap();
        let record = Arc::clone(&handle.record);
        handle.touched = Some(txn.outcome().clone());
        handle.group.set_aad(aad(seq));
        let provider = MlsProvider::new(&mut txn, group, client, Ratchet::Store);
        let commit = commit_and_merge(&provider, handle).unwrap();
        drop(provider);
        let (kind, placement) = (Kind::Mls, Placement::Inline);
        outbox::append(&mut txn, line, &record, kind, &commit, placement).unwrap();
        let bytes = txn.get(&keys::outbox(line, seq)).unwrap().unwrap();
        (seq, Envelope::new(bytes).unwrap())
    }
}

/// Only a hub commits: what MLS lets the other member make as well is taken without effect.
#[test]
fn a_commit_of_the_phone_moves_nobody() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let before = (hub.epoch(), hub.exporter());
    let (seq, commit) = app.commit_alone();
    let mut txn = hub.journal.begin();
    let takes = Takes::MessagesAndProposals;
    let arrived = hub.session.receive(&mut txn, seq, commit.as_bytes(), takes);
    let received = arrived.unwrap().received;
    assert!(matches!(received, Received::Refused(_)), "{received:?}");
    let epoch = hub.session.epoch(&mut txn).unwrap();
    let exporter = hub.session.exporter(&mut txn).unwrap();
    assert_eq!((epoch, exporter), before);
    drop(txn);
    crate::tests::harness::converge(&mut hub, &mut app);
}

/// A proposal that the wrap or MLS finds spoilt is nothing at all, and nobody without the pairing's keys can
/// make one.
#[test]
fn a_spoilt_proposal_changes_nothing() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let mut txn = app.journal.begin();
    let seq = app.session.propose_update(&mut txn, 1, NOW_MS).unwrap();
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

/// What is wrong with the leaf that a Commit puts in its committer's place. MLS lets a member do all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OddLeaf {
    /// Another signature key, which would be the hub's from then on.
    Signer,
    /// Another name.
    Credential,
    /// It says that the hub can do something else than before.
    Capabilities,
    /// Something is put into it.
    Extension,
}

impl OddLeaf {
    const ALL: [Self; 4] = [
        Self::Signer,
        Self::Credential,
        Self::Capabilities,
        Self::Extension,
    ];

    /// A Commit that takes nothing, merged.
    fn commit(
        self,
        group: &mut MlsGroup,
        provider: &MlsProvider<'_, '_>,
        signer: &SignatureKeyPair,
    ) -> Vec<u8> {
        let other = SignatureKeyPair::new(group.ciphersuite().signature_algorithm()).unwrap();
        let own = group.own_leaf_node().unwrap().credential().clone();
        let leaf = LeafNodeParameters::builder();
        let leaf = match self {
            Self::Signer => leaf,
            Self::Credential => leaf.with_credential_with_key(CredentialWithKey {
                credential: BasicCredential::new(b"another hub".to_vec()).into(),
                signature_key: signer.public().into(),
            }),
            Self::Capabilities => {
                let suites = [Suite::Classic.ciphersuite(), Suite::XWing.ciphersuite()];
                leaf.with_capabilities(Capabilities::new(None, Some(&suites), None, None, None))
            }
            Self::Extension => {
                let id = Extension::ApplicationId(ApplicationIdExtension::new(b"me"));
                leaf.with_extensions(Extensions::<LeafNode>::single(id).unwrap())
            }
        };
        let builder = group
            .commit_builder()
            .force_self_update(true)
            .leaf_node_parameters(leaf.build())
            .load_psks(provider.storage())
            .unwrap()
            .create_group_info(false);
        let (rand, crypto) = (provider.rand(), provider.crypto());
        let built = match self {
            Self::Signer => {
                let bundle = NewSignerBundle {
                    signer: &other,
                    credential_with_key: CredentialWithKey {
                        credential: own,
                        signature_key: other.public().into(),
                    },
                };
                builder.build_with_new_signer(rand, crypto, signer, bundle, |_| true)
            }
            _ => builder.build(rand, crypto, signer, |_| true),
        };
        let staged = built.unwrap().stage_commit(provider).unwrap();
        let commit = staged.into_commit().tls_serialize_detached().unwrap();
        group.merge_pending_commit(provider).unwrap();
        commit
    }
}

impl Hub {
    /// A Commit with such a leaf, in a good wrap and in its place.
    fn commit_with_leaf(&mut self, odd: OddLeaf) {
        let line = self.session.line();
        let (group, client) = self.session.scopes();
        let mut txn = self.journal.begin();
        let seq = outbox::upcoming(&txn, line).unwrap();
        let handle = self.session.load(&mut txn).unwrap();
        let record = Arc::clone(&handle.record);
        handle.touched = Some(txn.outcome().clone());
        handle.group.set_aad(aad(seq));
        let provider = MlsProvider::new(&mut txn, group, client, Ratchet::Store);
        let Handle { group, signer, .. } = handle;
        let commit = odd.commit(group, &provider, signer);
        drop(provider);
        let (kind, placement) = (Kind::Mls, Placement::Inline);
        outbox::append(&mut txn, line, &record, kind, &commit, placement).unwrap();
        drop(txn.commit(()).unwrap());
    }
}

/// Who the hub is was settled when it was paired. A Commit that changes that is authentic and MLS accepts it, so
/// the phone must look itself: it stays where it was, to the byte, and says that the two have parted.
#[test]
fn a_commit_that_changes_who_its_hub_is_breaks_the_line() {
    for suite in [Suite::Classic, Suite::XWing] {
        let (mut hub, mut app) = paired_with(suite);
        hub.record(&[b"one"]);
        settle(&mut hub, &mut app);
        let line = hub.line();
        for odd in OddLeaf::ALL {
            let disk = app.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let mut phone = App::open(Role::App, disk, line, 80);
            let disk = hub.disk.crash_clone(CrashPolicy::KeepAll, 0);
            let mut camera = Hub::open(Role::Hub, disk, line, 81);
            let before = (phone.epoch(), phone.exporter(), phone.cursor());
            camera.commit_with_leaf(odd);
            let (seq, commit) = camera.outgoing(before.2).remove(0);
            let taken = phone.take(seq, commit.as_bytes());
            assert_eq!(taken, crate::Taken::LineBroken, "{suite:?} {odd:?}");
            let after = (phone.epoch(), phone.exporter(), phone.cursor());
            assert_eq!(after, before, "{suite:?} {odd:?}");
            let found = phone.journal.line_break(line).unwrap().unwrap();
            assert_eq!(
                (found.seq, found.ours, found.theirs),
                (seq, before.0, before.0)
            );
        }
        // A Commit that leaves all of it as it was is followed.
        crate::tests::harness::converge(&mut hub, &mut app);
    }
}

impl<R> End<R> {
    /// Bytes of the MLS message in an envelope of ours.
    fn content_bytes(&mut self, seq: Seq, envelope: &Envelope) -> usize {
        let line = self.session.line();
        let record = self.journal.begin().pairing_record(line).unwrap();
        let mailbox = record.line(line.channel).unwrap().send;
        let place = Place {
            mailbox: &mailbox,
            seq,
        };
        let body = wrap::unwrap(&record.send_key, place, envelope.as_bytes());
        body.unwrap().content.len()
    }
}

/// The bounds are above whatever an honest end makes, of either suite, and not far above.
#[test]
fn what_an_honest_end_says_is_within_the_bounds_of_its_kind() {
    for suite in [Suite::Classic, Suite::XWing] {
        let (mut hub, mut app) = paired_with(suite);
        let clip = hub.start_clip();
        let chunk = hub.chunk(clip, &vec![1; CHUNK_BYTES_MAX]);
        hub.finish(clip);
        settle(&mut hub, &mut app);
        let mut txn = app.journal.begin();
        let seq = app.session.propose_update(&mut txn, 1, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
        let update = app.outgoing(Seq(seq.0 - 1)).remove(0).1;
        let bytes = app.content_bytes(seq, &update);
        assert!(
            bytes <= PROPOSAL_BYTES_MAX,
            "{suite:?}: an update of {bytes}"
        );
        let before = hub.journal.outbox_head(hub.line()).unwrap().last;
        assert!(matches!(hub.take(seq, &update), Received::Healed(_)));
        let (seq, commit) = hub.outgoing(before).remove(0);
        let bytes = hub.content_bytes(seq, &commit);
        assert!(bytes <= 8 * 1024, "{suite:?}: a Commit of {bytes}");
        assert!(bytes <= COMMIT_BYTES_MAX);
        settle(&mut hub, &mut app);
        // A chunk is gone with its ack; the next is as long.
        let clip = hub.start_clip();
        let next = hub.chunk(clip, &vec![1; CHUNK_BYTES_MAX]);
        assert!(next > chunk);
        let (seq, full) = hub.outgoing(Seq(next.0 - 1)).remove(0);
        let bytes = hub.content_bytes(seq, &full);
        assert!(bytes <= MLS_BYTES_MAX, "{suite:?}: a chunk of {bytes}");
        assert!(bytes + 512 > MLS_BYTES_MAX, "{suite:?}: a chunk of {bytes}");
    }
}

/// What a phone says is judged by its length before MLS decrypts it: the longest that it may have passes, one
/// byte more is taken without effect.
#[test]
fn a_message_of_one_byte_too_many_is_not_decrypted() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let say = |app: &mut App, bytes: usize| {
        let mut txn = app.journal.begin();
        let seq = app.session.send(&mut txn, &vec![7; bytes]).unwrap();
        drop(txn.commit(()).unwrap());
        let envelope = app.outgoing(Seq(seq.0 - 1)).remove(0).1;
        (seq, app.content_bytes(seq, &envelope), envelope)
    };
    let takes = Takes::MessagesAndProposals;
    let mut hear = |seq, envelope: &Envelope| {
        let mut txn = hub.journal.begin();
        let arrived = hub
            .session
            .receive(&mut txn, seq, envelope.as_bytes(), takes);
        drop(txn.commit(()).unwrap());
        arrived.unwrap().received
    };
    let almost = PHONE_SAYS_BYTES_MAX - 400;
    let (seq, bytes, envelope) = say(&mut app, almost);
    assert!(matches!(hear(seq, &envelope), Received::Message(_)));
    // Around a plaintext of about this length stands as much as around another.
    let longest = almost + (PHONE_SAYS_BYTES_MAX - bytes);
    let (seq, bytes, envelope) = say(&mut app, longest);
    assert_eq!(bytes, PHONE_SAYS_BYTES_MAX);
    assert!(matches!(hear(seq, &envelope), Received::Message(_)));
    let (seq, bytes, envelope) = say(&mut app, longest + 1);
    assert_eq!(bytes, PHONE_SAYS_BYTES_MAX + 1);
    let received = hear(seq, &envelope);
    assert!(matches!(received, Received::Refused(why) if why.contains("more bytes")));
    // It was passed, and the next is heard.
    let (seq, _, envelope) = say(&mut app, 10);
    assert!(matches!(hear(seq, &envelope), Received::Message(_)));
}
