//! OpenMLS's `StorageProvider` over a journal transaction: 53 methods and their version.
//!
//! Nothing here reaches a file. Every write lands in the transaction's overlay, so that the thirteen
//! calls of a merge are one record group or none (scenario 15). OpenMLS hides storage errors behind
//! protocol ones ("Malformed plaintext") and swallows some read errors; the first error is therefore
//! kept and must be asked for ([`MlsProvider::result`]) before any answer of OpenMLS is believed.
//!
//! The trait gives no group id with PSKs, key packages, signature and encryption keys. Which scope
//! they belong to is said when the provider is made.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use openmls_libcrux_crypto::CryptoProvider;
use openmls_traits::OpenMlsProvider;
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::error::JournalError;
use crate::keys::{self, Family};
use crate::scope::Scope;
use crate::txn::Txn;

/// Whether a used ratchet is worth storing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ratchet {
    /// The new `MessageSecrets` go into the transaction.
    Store,
    /// They stay in memory: a hub's chunk needs none on disk, because an epoch is encrypted in only
    /// by the handle that opened it and a restart opens another.
    Discard,
}

/// What OpenMLS sees as an error; the facts are kept by the provider.
#[derive(Debug, thiserror::Error)]
#[error("the journal refused; the provider holds the reason")]
pub(crate) struct StorageRefused;

/// Storage of one group within one transaction.
pub(crate) struct MlsStorage<'t, 'j> {
    txn: RefCell<&'t mut Txn<'j>>,
    group: Scope,
    client: Scope,
    ratchet: Ratchet,
    writes: Cell<u32>,
    first_error: RefCell<Option<JournalError>>,
}

/// Crypto, randomness and storage for one MLS operation.
pub(crate) struct MlsProvider<'t, 'j> {
    crypto: Arc<CryptoProvider>,
    storage: MlsStorage<'t, 'j>,
}

impl<'t, 'j> MlsProvider<'t, 'j> {
    /// Values of the group go to `group`, those that carry no group id to `client`.
    pub(crate) fn new(txn: &'t mut Txn<'j>, group: Scope, client: Scope, ratchet: Ratchet) -> Self {
        Self {
            crypto: Arc::clone(&txn.journal().crypto),
            storage: MlsStorage {
                txn: RefCell::new(txn),
                group,
                client,
                ratchet,
                writes: Cell::new(0),
                first_error: RefCell::new(None),
            },
        }
    }

    /// Turns an answer of OpenMLS into ours: a storage error wins over whatever OpenMLS made of it,
    /// success included.
    pub(crate) fn result<T, E: std::fmt::Display>(
        &self,
        answer: Result<T, E>,
    ) -> Result<T, JournalError> {
        if let Some(error) = self.storage.first_error.borrow_mut().take() {
            return Err(error);
        }
        answer.map_err(|error| JournalError::Mls(error.to_string()))
    }

    /// How many writes the operations so far have made. An error with none changed nothing.
    pub(crate) fn writes(&self) -> u32 {
        self.storage.writes.get()
    }
}

impl<'t, 'j> OpenMlsProvider for MlsProvider<'t, 'j> {
    type CryptoProvider = CryptoProvider;
    type RandProvider = CryptoProvider;
    type StorageProvider = MlsStorage<'t, 'j>;

    fn storage(&self) -> &Self::StorageProvider {
        &self.storage
    }

    fn crypto(&self) -> &Self::CryptoProvider {
        &self.crypto
    }

    fn rand(&self) -> &Self::RandProvider {
        &self.crypto
    }
}

type Answer<T> = Result<T, StorageRefused>;

impl MlsStorage<'_, '_> {
    fn keep<T>(&self, result: Result<T, JournalError>) -> Answer<T> {
        result.map_err(|error| {
            self.first_error.borrow_mut().get_or_insert(error);
            StorageRefused
        })
    }

    fn scope_of(&self, family: Family) -> Scope {
        match family {
            Family::KeyPackage | Family::Psk | Family::SignatureKeyPair => self.client,
            _ => self.group,
        }
    }

    fn key(&self, family: Family, rest: &[u8]) -> Vec<u8> {
        keys::secret(self.scope_of(family), family, rest)
    }

    fn put<T: Serialize>(&self, family: Family, rest: &[u8], value: &T) -> Answer<()> {
        if self.ratchet == Ratchet::Discard && family == Family::MessageSecrets {
            return Ok(());
        }
        self.writes.set(self.writes.get() + 1);
        let encoded =
            codec::to_cbor(value).ok_or(JournalError::Misuse("OpenMLS values must encode as CBOR"));
        let encoded = self.keep(encoded)?;
        let scope = self.scope_of(family);
        self.txn
            .borrow_mut()
            .put_secret(scope, self.key(family, rest), encoded);
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, family: Family, rest: &[u8]) -> Answer<Option<T>> {
        let scope = self.scope_of(family);
        let stored = self.txn.borrow().secret(scope, &self.key(family, rest));
        let Some(bytes) = self.keep(stored)? else {
            return Ok(None);
        };
        self.decode(scope, &bytes).map(Some)
    }

    fn decode<T: DeserializeOwned>(&self, scope: Scope, bytes: &[u8]) -> Answer<T> {
        self.keep(codec::from_cbor(bytes).ok_or(JournalError::ValueDamaged {
            scope,
            what: "MLS value",
        }))
    }

    fn delete(&self, family: Family, rest: &[u8]) -> Answer<()> {
        self.writes.set(self.writes.get() + 1);
        let scope = self.scope_of(family);
        self.txn
            .borrow_mut()
            .delete_secret(scope, self.key(family, rest));
        Ok(())
    }

    /// All values of a family in the order of their keys, decoded.
    fn list<T: DeserializeOwned>(&self, family: Family) -> Answer<Vec<(Vec<u8>, T)>> {
        let scope = self.scope_of(family);
        let stored = self.txn.borrow().secrets(scope, &self.key(family, &[]));
        self.keep(stored)?
            .into_iter()
            .map(|(key, bytes)| Ok((key, self.decode(scope, &bytes)?)))
            .collect()
    }

    /// Deletes by whole key.
    fn delete_keys(&self, family: Family, keys: impl IntoIterator<Item = Vec<u8>>) {
        let scope = self.scope_of(family);
        for key in keys {
            self.writes.set(self.writes.get() + 1);
            self.txn.borrow_mut().delete_secret(scope, key);
        }
    }

    fn delete_family(&self, family: Family) -> Answer<()> {
        let scope = self.scope_of(family);
        let stored = self.txn.borrow().secrets(scope, &self.key(family, &[]));
        let stored = self.keep(stored)?;
        self.delete_keys(family, stored.into_keys());
        Ok(())
    }

    /// Appends to a family that is a list: its keys end in a rising big-endian number.
    fn append<T: Serialize>(&self, family: Family, value: &T) -> Answer<()> {
        let scope = self.scope_of(family);
        let stored = self.txn.borrow().secrets(scope, &self.key(family, &[]));
        let last = self.keep(stored)?.into_keys().next_back();
        let next = last.and_then(|key| {
            let tail = key.last_chunk::<4>().copied()?;
            Some(u32::from_be_bytes(tail) + 1)
        });
        self.put(family, &next.unwrap_or(0).to_be_bytes(), value)
    }

    /// A key of OpenMLS as bytes. Keys are never decoded; the encoding only has to be a function.
    fn name<K: Serialize>(&self, key: &K) -> Answer<Vec<u8>> {
        let encoded =
            codec::to_cbor(key).ok_or(JournalError::Misuse("OpenMLS keys must encode as CBOR"));
        self.keep(encoded).map(|bytes| bytes.to_vec())
    }

    fn epoch_name<K: Serialize>(&self, epoch: &K, leaf_index: u32) -> Answer<Vec<u8>> {
        let mut name = self.name(epoch)?;
        name.extend_from_slice(&leaf_index.to_be_bytes());
        Ok(name)
    }
}

/// The three methods of a value of which each group has one.
macro_rules! one_per_group {
    ($family:expr, $Entity:ident, $write:ident, $read:ident, $delete:ident) => {
        fn $write<
            G: traits::GroupId<CURRENT_VERSION>,
            $Entity: traits::$Entity<CURRENT_VERSION>,
        >(
            &self,
            _group_id: &G,
            value: &$Entity,
        ) -> Answer<()> {
            self.put($family, &[], value)
        }

        fn $read<G: traits::GroupId<CURRENT_VERSION>, $Entity: traits::$Entity<CURRENT_VERSION>>(
            &self,
            _group_id: &G,
        ) -> Answer<Option<$Entity>> {
            self.get($family, &[])
        }

        fn $delete<G: traits::GroupId<CURRENT_VERSION>>(&self, _group_id: &G) -> Answer<()> {
            self.delete($family, &[])
        }
    };
}

/// The three methods of a value that is found by a key of its own.
macro_rules! one_per_key {
    ($family:expr, $Key:ident, $Entity:ident, $write:ident, $read:ident, $delete:ident) => {
        fn $write<K: traits::$Key<CURRENT_VERSION>, $Entity: traits::$Entity<CURRENT_VERSION>>(
            &self,
            key: &K,
            value: &$Entity,
        ) -> Answer<()> {
            let name = self.name(key)?;
            self.put($family, &name, value)
        }

        fn $delete<K: traits::$Key<CURRENT_VERSION>>(&self, key: &K) -> Answer<()> {
            let name = self.name(key)?;
            self.delete($family, &name)
        }
    };
}

impl StorageProvider<CURRENT_VERSION> for MlsStorage<'_, '_> {
    type Error = StorageRefused;

    one_per_group!(Family::Tree, TreeSync, write_tree, tree, delete_tree);
    one_per_group!(
        Family::Context,
        GroupContext,
        write_context,
        group_context,
        delete_context
    );
    one_per_group!(
        Family::InterimTranscriptHash,
        InterimTranscriptHash,
        write_interim_transcript_hash,
        interim_transcript_hash,
        delete_interim_transcript_hash
    );
    one_per_group!(
        Family::ConfirmationTag,
        ConfirmationTag,
        write_confirmation_tag,
        confirmation_tag,
        delete_confirmation_tag
    );
    one_per_group!(
        Family::MessageSecrets,
        MessageSecrets,
        write_message_secrets,
        message_secrets,
        delete_message_secrets
    );
    one_per_group!(
        Family::ResumptionPsks,
        ResumptionPskStore,
        write_resumption_psk_store,
        resumption_psk_store,
        delete_all_resumption_psk_secrets
    );
    one_per_group!(
        Family::OwnLeafIndex,
        LeafNodeIndex,
        write_own_leaf_index,
        own_leaf_index,
        delete_own_leaf_index
    );
    one_per_group!(
        Family::EpochSecrets,
        GroupEpochSecrets,
        write_group_epoch_secrets,
        group_epoch_secrets,
        delete_group_epoch_secrets
    );
    one_per_group!(
        Family::JoinConfig,
        MlsGroupJoinConfig,
        write_mls_join_config,
        mls_group_join_config,
        delete_group_config
    );

    // The trait names this one's type parameters the other way round.
    fn write_group_state<
        GroupState: traits::GroupState<CURRENT_VERSION>,
        G: traits::GroupId<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
        value: &GroupState,
    ) -> Answer<()> {
        self.put(Family::GroupState, &[], value)
    }

    fn group_state<
        GroupState: traits::GroupState<CURRENT_VERSION>,
        G: traits::GroupId<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
    ) -> Answer<Option<GroupState>> {
        self.get(Family::GroupState, &[])
    }

    fn delete_group_state<G: traits::GroupId<CURRENT_VERSION>>(&self, _group_id: &G) -> Answer<()> {
        self.delete(Family::GroupState, &[])
    }

    // Own leaf nodes: a list, one per update proposal of ours that is not yet committed.

    fn append_own_leaf_node<
        G: traits::GroupId<CURRENT_VERSION>,
        LeafNode: traits::LeafNode<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
        leaf_node: &LeafNode,
    ) -> Answer<()> {
        self.append(Family::OwnLeafNode, leaf_node)
    }

    fn own_leaf_nodes<
        G: traits::GroupId<CURRENT_VERSION>,
        LeafNode: traits::LeafNode<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
    ) -> Answer<Vec<LeafNode>> {
        Ok(self
            .list(Family::OwnLeafNode)?
            .into_iter()
            .map(|(_, node)| node)
            .collect())
    }

    /// A merge calls this last of all. Whatever update keys remain then belong to proposals that no
    /// Commit took, and OpenMLS would keep them for ever; they go here.
    fn delete_own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        _group_id: &G,
    ) -> Answer<()> {
        self.delete_family(Family::EncryptionKeyPair)?;
        self.delete_family(Family::OwnLeafNode)
    }

    // Queued proposals, in the order in which they came.

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        ProposalRef: traits::ProposalRef<CURRENT_VERSION>,
        QueuedProposal: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
        proposal_ref: &ProposalRef,
        proposal: &QueuedProposal,
    ) -> Answer<()> {
        self.append(Family::Proposal, &(proposal_ref, proposal))
    }

    fn queued_proposal_refs<
        G: traits::GroupId<CURRENT_VERSION>,
        ProposalRef: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
    ) -> Answer<Vec<ProposalRef>> {
        let rows = self.list::<(ProposalRef, serde::de::IgnoredAny)>(Family::Proposal)?;
        Ok(rows
            .into_iter()
            .map(|(_, (reference, _))| reference)
            .collect())
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        ProposalRef: traits::ProposalRef<CURRENT_VERSION>,
        QueuedProposal: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
    ) -> Answer<Vec<(ProposalRef, QueuedProposal)>> {
        Ok(self
            .list(Family::Proposal)?
            .into_iter()
            .map(|(_, row)| row)
            .collect())
    }

    fn remove_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        ProposalRef: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
        proposal_ref: &ProposalRef,
    ) -> Answer<()> {
        let wanted = self.name(proposal_ref)?;
        let rows = self.list::<(ProposalRef, serde::de::IgnoredAny)>(Family::Proposal)?;
        for (key, (reference, _)) in rows {
            if self.name(&reference)? == wanted {
                self.delete_keys(Family::Proposal, [key]);
            }
        }
        Ok(())
    }

    fn clear_proposal_queue<
        G: traits::GroupId<CURRENT_VERSION>,
        ProposalRef: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
    ) -> Answer<()> {
        self.delete_family(Family::Proposal)
    }

    // Key pairs of an epoch, by epoch and leaf.

    fn write_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        EpochKey: traits::EpochKey<CURRENT_VERSION>,
        HpkeKeyPair: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
        epoch: &EpochKey,
        leaf_index: u32,
        key_pairs: &[HpkeKeyPair],
    ) -> Answer<()> {
        let name = self.epoch_name(epoch, leaf_index)?;
        self.put(Family::EpochKeyPairs, &name, &key_pairs)
    }

    fn encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        EpochKey: traits::EpochKey<CURRENT_VERSION>,
        HpkeKeyPair: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
        epoch: &EpochKey,
        leaf_index: u32,
    ) -> Answer<Vec<HpkeKeyPair>> {
        let name = self.epoch_name(epoch, leaf_index)?;
        Ok(self.get(Family::EpochKeyPairs, &name)?.unwrap_or_default())
    }

    fn delete_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        EpochKey: traits::EpochKey<CURRENT_VERSION>,
    >(
        &self,
        _group_id: &G,
        epoch: &EpochKey,
        leaf_index: u32,
    ) -> Answer<()> {
        let name = self.epoch_name(epoch, leaf_index)?;
        self.delete(Family::EpochKeyPairs, &name)
    }

    // Values that are found by a key of their own.

    one_per_key!(
        Family::SignatureKeyPair,
        SignaturePublicKey,
        SignatureKeyPair,
        write_signature_key_pair,
        signature_key_pair,
        delete_signature_key_pair
    );
    one_per_key!(
        Family::EncryptionKeyPair,
        EncryptionKey,
        HpkeKeyPair,
        write_encryption_key_pair,
        encryption_key_pair,
        delete_encryption_key_pair
    );
    one_per_key!(
        Family::KeyPackage,
        HashReference,
        KeyPackage,
        write_key_package,
        key_package,
        delete_key_package
    );
    one_per_key!(Family::Psk, PskId, PskBundle, write_psk, psk, delete_psk);

    fn signature_key_pair<
        SignaturePublicKey: traits::SignaturePublicKey<CURRENT_VERSION>,
        SignatureKeyPair: traits::SignatureKeyPair<CURRENT_VERSION>,
    >(
        &self,
        public_key: &SignaturePublicKey,
    ) -> Answer<Option<SignatureKeyPair>> {
        self.get(Family::SignatureKeyPair, &self.name(public_key)?)
    }

    fn encryption_key_pair<
        HpkeKeyPair: traits::HpkeKeyPair<CURRENT_VERSION>,
        EncryptionKey: traits::EncryptionKey<CURRENT_VERSION>,
    >(
        &self,
        public_key: &EncryptionKey,
    ) -> Answer<Option<HpkeKeyPair>> {
        self.get(Family::EncryptionKeyPair, &self.name(public_key)?)
    }

    fn key_package<
        KeyPackageRef: traits::HashReference<CURRENT_VERSION>,
        KeyPackage: traits::KeyPackage<CURRENT_VERSION>,
    >(
        &self,
        hash_ref: &KeyPackageRef,
    ) -> Answer<Option<KeyPackage>> {
        self.get(Family::KeyPackage, &self.name(hash_ref)?)
    }

    fn psk<PskBundle: traits::PskBundle<CURRENT_VERSION>, PskId: traits::PskId<CURRENT_VERSION>>(
        &self,
        psk_id: &PskId,
    ) -> Answer<Option<PskBundle>> {
        self.get(Family::Psk, &self.name(psk_id)?)
    }
}
