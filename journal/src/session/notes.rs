//! What a session notes down for the crash tests: its place in the ratchets and a digest of an
//! exporter secret.
//!
//! Nothing of it is called in a build without the feature `crashtest`. No secret leaves: an
//! exporter secret under a label of its own is hashed before anybody sees it. This room must never
//! change a group.

use openmls::group::MlsGroup;
use openmls_libcrux_crypto::CryptoProvider;
use serde::Deserialize;
use serde::de::IgnoredAny;
use wal::note::Hex;
use wire::ids::Digest;

use crate::codec;
use crate::ids::Line;
use crate::keys::{self, Family};
use crate::scope::Scope;
use crate::txn::Txn;

/// `group epoch leaf` of the next message of ours.
pub(super) fn sender(group: &MlsGroup) -> String {
    let id = Hex(group.group_id().as_slice());
    let (epoch, leaf) = (group.epoch().as_u64(), group.own_leaf_index().u32());
    format!("{id} {epoch} {leaf}")
}

/// `group epoch exporter-digest`: equal at two ends if and only if they are in the same state.
pub(super) fn epoch(group: &MlsGroup, crypto: &CryptoProvider) -> String {
    let id = Hex(group.group_id().as_slice());
    let epoch = group.epoch().as_u64();
    let secret = group.export_secret(crypto, "secluso crash test", &[], 32);
    // An error is shown as such: it equals nothing that the other end says.
    let digest = secret.map_or_else(
        |error| format!("{error:?}").replace(' ', "-"),
        |secret| Digest::of(&secret).to_text(),
    );
    format!("{id} {epoch} {digest}")
}

/// The mailbox that we read, under the name that its sender has for it.
pub(crate) fn inbox(txn: &Txn<'_>, line: Line) -> String {
    let record = txn.pairing_record(line).ok();
    let mailbox = record.and_then(|record| Some(record.line(line.channel)?.receive.send_id()));
    mailbox.map_or_else(String::new, |mailbox| mailbox.to_text())
}

/// The generation of our next application message as the stored ratchet says. OpenMLS does not
/// tell, so its stored value is read; what is not understood counts as 0.
pub(super) fn stored_generation(txn: &Txn<'_>, scope: Scope, group: &MlsGroup) -> u32 {
    let key = keys::secret(scope, Family::MessageSecrets, &[]);
    let stored = txn.secret(scope, &key).ok().flatten();
    let store: Option<Store> = stored.and_then(|bytes| codec::from_cbor(&bytes));
    let leaf = group.own_leaf_index().usize();
    let mut store = store.unwrap_or_default();
    let ratchets = &mut store
        .message_secrets
        .secret_tree
        .application_sender_ratchets;
    match ratchets.get_mut(leaf).and_then(Option::take) {
        Some(Ratchet::EncryptionRatchet(ratchet)) => ratchet.generation,
        _ => 0,
    }
}

// The few fields of OpenMLS 0.9.2's stored `MessageSecretsStore` that say a generation.

#[derive(Default, Deserialize)]
struct Store {
    message_secrets: Secrets,
}

#[derive(Default, Deserialize)]
struct Secrets {
    secret_tree: Tree,
}

#[derive(Default, Deserialize)]
struct Tree {
    application_sender_ratchets: Vec<Option<Ratchet>>,
}

#[derive(Deserialize)]
enum Ratchet {
    EncryptionRatchet(Encryption),
    DecryptionRatchet(IgnoredAny),
}

#[derive(Deserialize)]
struct Encryption {
    generation: u32,
}
