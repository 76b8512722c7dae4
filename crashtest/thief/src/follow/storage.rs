//! OpenMLS's storage over what opened: families and names as `journal/FORMAT.md` has them, in memory.
//!
//! One group and nothing else: whose a value is was settled when its state was put together. Signature keys, which a
//! thief never uses, are neither given nor taken; a key package and a PSK are what a group is joined with.

use std::cell::RefCell;
use std::collections::BTreeMap;

use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

const CBOR: u8 = 1;

const TREE: u8 = 0x01;
const CONFIRMATION_TAG: u8 = 0x02;
const CONTEXT: u8 = 0x03;
const INTERIM_TRANSCRIPT_HASH: u8 = 0x04;
const EPOCH_SECRETS: u8 = 0x05;
const OWN_LEAF_INDEX: u8 = 0x06;
pub(super) const MESSAGE_SECRETS: u8 = 0x07;
const RESUMPTION_PSKS: u8 = 0x08;
const JOIN_CONFIG: u8 = 0x09;
const GROUP_STATE: u8 = 0x0a;
const OWN_LEAF_NODE: u8 = 0x20;
const PROPOSAL: u8 = 0x21;
const EPOCH_KEY_PAIRS: u8 = 0x22;
const ENCRYPTION_KEY_PAIR: u8 = 0x23;
const KEY_PACKAGE: u8 = 0x30;
const PSK: u8 = 0x31;

/// A value does not encode, or does not decode.
#[derive(Debug, thiserror::Error)]
#[error("a stored value is not what it should be")]
pub(super) struct Unreadable;

type Answer<T> = Result<T, Unreadable>;

/// The values of one group, by family and name.
#[derive(Default)]
pub(super) struct Stolen {
    values: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Stolen {
    pub(super) fn new(values: BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        Self {
            values: RefCell::new(values),
        }
    }

    /// A stored value as it is.
    pub(super) fn raw(&self, family: u8) -> Option<Vec<u8>> {
        self.values.borrow().get([family].as_slice()).cloned()
    }

    fn put<T: Serialize>(&self, key: Vec<u8>, value: &T) -> Answer<()> {
        self.values.borrow_mut().insert(key, cbor(value)?);
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Answer<Option<T>> {
        match self.values.borrow().get(key) {
            Some(bytes) => parse(bytes).map(Some),
            None => Ok(None),
        }
    }

    fn remove(&self, key: &[u8]) -> Answer<()> {
        self.values.borrow_mut().remove(key);
        Ok(())
    }

    /// What a list holds, in the order of its numbers.
    fn list<T: DeserializeOwned>(&self, family: u8) -> Answer<Vec<(Vec<u8>, T)>> {
        let values = self.values.borrow();
        let of_family = values
            .iter()
            .filter(|(key, _)| key.first() == Some(&family));
        of_family
            .map(|(key, bytes)| Ok((key.clone(), parse(bytes)?)))
            .collect()
    }

    fn push<T: Serialize>(&self, family: u8, value: &T) -> Answer<()> {
        let last = self
            .values
            .borrow()
            .keys()
            .filter(|key| key.first() == Some(&family))
            .filter_map(|key| key.last_chunk::<4>().copied())
            .map(u32::from_be_bytes)
            .max();
        let number = last.map_or(0, |last| last.wrapping_add(1));
        self.put(named(family, &number.to_be_bytes()), value)
    }

    fn clear(&self, family: u8) -> Answer<()> {
        self.values
            .borrow_mut()
            .retain(|key, _| key.first() != Some(&family));
        Ok(())
    }
}

fn cbor<T: Serialize>(value: &T) -> Answer<Vec<u8>> {
    let mut bytes = vec![CBOR];
    ciborium::into_writer(value, &mut bytes).map_err(|_| Unreadable)?;
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let body = bytes.strip_prefix(&[CBOR]).ok_or(Unreadable)?;
    ciborium::from_reader(body).map_err(|_| Unreadable)
}

fn named(family: u8, name: &[u8]) -> Vec<u8> {
    [[family].as_slice(), name].concat()
}

/// The key of an epoch's key pairs: the epoch's own encoding, then our leaf.
fn of_epoch<K: Serialize>(epoch: &K, leaf: u32) -> Answer<Vec<u8>> {
    let name = [cbor(epoch)?, leaf.to_be_bytes().to_vec()].concat();
    Ok(named(EPOCH_KEY_PAIRS, &name))
}

/// Write, read and delete one value of a group.
macro_rules! single {
    ($family:ident, $Value:ident, $write:ident, $read:ident, $delete:ident) => {
        fn $write<G: traits::GroupId<CURRENT_VERSION>, $Value: traits::$Value<CURRENT_VERSION>>(
            &self,
            _: &G,
            value: &$Value,
        ) -> Answer<()> {
            self.put(vec![$family], value)
        }

        fn $read<G: traits::GroupId<CURRENT_VERSION>, $Value: traits::$Value<CURRENT_VERSION>>(
            &self,
            _: &G,
        ) -> Answer<Option<$Value>> {
            self.get(&[$family])
        }

        fn $delete<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Answer<()> {
            self.remove(&[$family])
        }
    };
}

/// Write, read and delete what is never kept.
macro_rules! absent {
    ($Key:ident, $Value:ident, $write:ident, $delete:ident) => {
        fn $write<K: traits::$Key<CURRENT_VERSION>, V: traits::$Value<CURRENT_VERSION>>(
            &self,
            _: &K,
            _: &V,
        ) -> Answer<()> {
            Ok(())
        }

        fn $delete<K: traits::$Key<CURRENT_VERSION>>(&self, _: &K) -> Answer<()> {
            Ok(())
        }
    };
}

impl StorageProvider<CURRENT_VERSION> for Stolen {
    type Error = Unreadable;

    single!(TREE, TreeSync, write_tree, tree, delete_tree);
    single!(
        CONTEXT,
        GroupContext,
        write_context,
        group_context,
        delete_context
    );
    single!(
        INTERIM_TRANSCRIPT_HASH,
        InterimTranscriptHash,
        write_interim_transcript_hash,
        interim_transcript_hash,
        delete_interim_transcript_hash
    );
    single!(
        CONFIRMATION_TAG,
        ConfirmationTag,
        write_confirmation_tag,
        confirmation_tag,
        delete_confirmation_tag
    );
    single!(
        MESSAGE_SECRETS,
        MessageSecrets,
        write_message_secrets,
        message_secrets,
        delete_message_secrets
    );
    single!(
        RESUMPTION_PSKS,
        ResumptionPskStore,
        write_resumption_psk_store,
        resumption_psk_store,
        delete_all_resumption_psk_secrets
    );
    single!(
        OWN_LEAF_INDEX,
        LeafNodeIndex,
        write_own_leaf_index,
        own_leaf_index,
        delete_own_leaf_index
    );
    single!(
        EPOCH_SECRETS,
        GroupEpochSecrets,
        write_group_epoch_secrets,
        group_epoch_secrets,
        delete_group_epoch_secrets
    );
    single!(
        JOIN_CONFIG,
        MlsGroupJoinConfig,
        write_mls_join_config,
        mls_group_join_config,
        delete_group_config
    );

    fn write_group_state<
        S: traits::GroupState<CURRENT_VERSION>,
        G: traits::GroupId<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        value: &S,
    ) -> Answer<()> {
        self.put(vec![GROUP_STATE], value)
    }

    fn group_state<S: traits::GroupState<CURRENT_VERSION>, G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Answer<Option<S>> {
        self.get(&[GROUP_STATE])
    }

    fn delete_group_state<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Answer<()> {
        self.remove(&[GROUP_STATE])
    }

    fn append_own_leaf_node<
        G: traits::GroupId<CURRENT_VERSION>,
        L: traits::LeafNode<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        leaf_node: &L,
    ) -> Answer<()> {
        self.push(OWN_LEAF_NODE, leaf_node)
    }

    fn own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>, L: traits::LeafNode<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Answer<Vec<L>> {
        let list = self.list(OWN_LEAF_NODE)?;
        Ok(list.into_iter().map(|(_, node)| node).collect())
    }

    fn delete_own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Answer<()> {
        // The private keys of proposals stay: a thief throws nothing away.
        self.clear(OWN_LEAF_NODE)
    }

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        Q: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        proposal_ref: &R,
        proposal: &Q,
    ) -> Answer<()> {
        self.push(PROPOSAL, &(proposal_ref, proposal))
    }

    fn queued_proposal_refs<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Answer<Vec<R>> {
        let list = self.list::<(R, IgnoredAny)>(PROPOSAL)?;
        Ok(list.into_iter().map(|(_, (name, _))| name).collect())
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        Q: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Answer<Vec<(R, Q)>> {
        let list = self.list(PROPOSAL)?;
        Ok(list.into_iter().map(|(_, row)| row).collect())
    }

    fn remove_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        proposal_ref: &R,
    ) -> Answer<()> {
        let wanted = cbor(proposal_ref)?;
        for (key, (name, _)) in self.list::<(R, IgnoredAny)>(PROPOSAL)? {
            if cbor(&name)? == wanted {
                self.remove(&key)?;
            }
        }
        Ok(())
    }

    fn clear_proposal_queue<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Answer<()> {
        self.clear(PROPOSAL)
    }

    fn write_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        H: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
        key_pairs: &[H],
    ) -> Answer<()> {
        self.put(of_epoch(epoch, leaf_index)?, &key_pairs)
    }

    fn encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        H: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Answer<Vec<H>> {
        let found = self.get(&of_epoch(epoch, leaf_index)?)?;
        Ok(found.unwrap_or_default())
    }

    fn delete_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Answer<()> {
        self.remove(&of_epoch(epoch, leaf_index)?)
    }

    fn write_encryption_key_pair<
        K: traits::EncryptionKey<CURRENT_VERSION>,
        H: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        public_key: &K,
        key_pair: &H,
    ) -> Answer<()> {
        self.put(named(ENCRYPTION_KEY_PAIR, &cbor(public_key)?), key_pair)
    }

    fn encryption_key_pair<
        H: traits::HpkeKeyPair<CURRENT_VERSION>,
        K: traits::EncryptionKey<CURRENT_VERSION>,
    >(
        &self,
        public_key: &K,
    ) -> Answer<Option<H>> {
        self.get(&named(ENCRYPTION_KEY_PAIR, &cbor(public_key)?))
    }

    fn delete_encryption_key_pair<K: traits::EncryptionKey<CURRENT_VERSION>>(
        &self,
        public_key: &K,
    ) -> Answer<()> {
        self.remove(&named(ENCRYPTION_KEY_PAIR, &cbor(public_key)?))
    }

    absent!(
        SignaturePublicKey,
        SignatureKeyPair,
        write_signature_key_pair,
        delete_signature_key_pair
    );
    absent!(
        HashReference,
        KeyPackage,
        write_key_package,
        delete_key_package
    );

    fn write_psk<I: traits::PskId<CURRENT_VERSION>, B: traits::PskBundle<CURRENT_VERSION>>(
        &self,
        psk_id: &I,
        psk: &B,
    ) -> Answer<()> {
        self.put(named(PSK, &cbor(psk_id)?), psk)
    }

    fn delete_psk<I: traits::PskId<CURRENT_VERSION>>(&self, psk_id: &I) -> Answer<()> {
        self.remove(&named(PSK, &cbor(psk_id)?))
    }

    fn signature_key_pair<
        K: traits::SignaturePublicKey<CURRENT_VERSION>,
        S: traits::SignatureKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &K,
    ) -> Answer<Option<S>> {
        Ok(None)
    }

    fn key_package<
        R: traits::HashReference<CURRENT_VERSION>,
        K: traits::KeyPackage<CURRENT_VERSION>,
    >(
        &self,
        hash_ref: &R,
    ) -> Answer<Option<K>> {
        self.get(&named(KEY_PACKAGE, &cbor(hash_ref)?))
    }

    fn psk<B: traits::PskBundle<CURRENT_VERSION>, P: traits::PskId<CURRENT_VERSION>>(
        &self,
        psk_id: &P,
    ) -> Answer<Option<B>> {
        self.get(&named(PSK, &cbor(psk_id)?))
    }
}
