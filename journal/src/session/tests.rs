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
