//! What only this room can see: proposals, orphan keys, and the storage calls behind them.

use openmls::prelude::LeafNodeParameters;

use super::*;
use crate::keys::Family;
use crate::tests::harness::{App, Hub, paired, settle};

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

/// An authentic Commit at the wrong place is passed, and nothing that OpenMLS wrote for it stays: the
/// group is as it was, to the byte, and the line goes on.
#[test]
fn a_misplaced_commit_leaves_the_group_as_it_was_and_the_line_goes_on() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let stored = |app: &mut App| {
        let scope = Scope::Group(app.session.line());
        let prefix = keys::secret_prefix(scope);
        app.journal.begin().secrets(scope, &prefix).unwrap()
    };
    let before = stored(&mut app);
    let epoch = app.epoch();
    hub.commit_misplaced();
    let sent = hub.outgoing(app.cursor());
    for (seq, envelope) in &sent {
        let taken = app.take(*seq, envelope.as_bytes());
        assert!(matches!(taken, crate::Taken::Nothing(_)), "{taken:?}");
    }
    assert_eq!(
        app.cursor(),
        sent.last().unwrap().0,
        "the line is not wedged"
    );
    assert_eq!(stored(&mut app), before);
    assert_eq!(app.epoch(), epoch);
    // What follows is of an epoch that this phone will never see; it is passed as well.
    hub.record(&[b"two"]);
    for (seq, envelope) in hub.outgoing(app.cursor()) {
        let taken = app.take(seq, envelope.as_bytes());
        assert!(matches!(taken, crate::Taken::Nothing(_)), "{taken:?}");
    }
    app.ack();
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
            crate::Taken::NewEpoch(_)
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
