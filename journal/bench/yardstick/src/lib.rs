//! What the journal is measured against: the same MLS work in memory, and over SQLite.
//!
//! Each yardstick does less than we do, never more: no outbox row, no wrap, no digest, no vault.
//! This crate must never link the engine: with SQLite's dependencies beside it, cargo would build
//! RocksDB a second time.

use openmls::group::{MlsGroup, MlsGroupCreateConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY};
use openmls::prelude::{BasicCredential, Capabilities, Ciphersuite, CredentialWithKey, KeyPackage};
use openmls_basic_credential::SignatureKeyPair;
use openmls_libcrux_crypto::Provider;
use openmls_traits::OpenMlsProvider;
use tls_codec::Serialize as _;

#[cfg(feature = "sqlite")]
pub mod sqlite;

/// An error is only ever shown.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// One end of a two-member group with our suite and settings, over any storage.
pub struct Member<P> {
    /// Its storage and crypto.
    pub provider: P,
    group: MlsGroup,
    signer: SignatureKeyPair,
    seq: u64,
}

fn identity(name: &str, scheme: SignatureKeyPair) -> (SignatureKeyPair, CredentialWithKey) {
    let credential = CredentialWithKey {
        credential: BasicCredential::new(name.as_bytes().to_vec()).into(),
        signature_key: scheme.to_public_vec().into(),
    };
    (scheme, credential)
}

impl<P: OpenMlsProvider> Member<P> {
    /// A group in `suite` with another member, who is thrown away.
    pub fn new(provider: P, suite: Ciphersuite) -> Outcome<Self> {
        let capabilities = || Capabilities::builder().ciphersuites(vec![suite]).build();
        let (signer, credential) =
            identity("hub", SignatureKeyPair::new(suite.signature_algorithm())?);
        signer
            .store(provider.storage())
            .map_err(|error| error.to_string())?;
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(suite)
            .capabilities(capabilities())
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .max_past_epochs(0)
            .use_ratchet_tree_extension(true)
            .build();
        let mut group = MlsGroup::new(&provider, &signer, &config, credential)
            .map_err(|error| error.to_string())?;
        let app = Provider::new()?;
        let (app_signer, credential) =
            identity("app", SignatureKeyPair::new(suite.signature_algorithm())?);
        let package = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .build(suite, &app, &app_signer, credential)?;
        group
            .add_members(&provider, &signer, &[package.key_package().clone()])
            .map_err(|error| error.to_string())?;
        group
            .merge_pending_commit(&provider)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            provider,
            group,
            signer,
            seq: 0,
        })
    }

    fn next_aad(&mut self) {
        self.seq += 1;
        self.group.set_aad(self.seq.to_be_bytes().to_vec());
    }

    /// A Commit with a new path and its merge; the bytes that would be sent.
    pub fn advance_epoch(&mut self) -> Outcome<Vec<u8>> {
        self.next_aad();
        let Self {
            provider,
            group,
            signer,
            ..
        } = self;
        let bundle = group
            .commit_builder()
            .force_self_update(true)
            .load_psks(provider.storage())?
            .create_group_info(false)
            .build(provider.rand(), provider.crypto(), signer, |_| true)?
            .stage_commit(provider)
            .map_err(|error| error.to_string())?;
        let bytes = bundle.into_commit().tls_serialize_detached()?;
        group
            .merge_pending_commit(provider)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// One application message; the bytes that would be sent.
    pub fn seal(&mut self, plaintext: &[u8]) -> Outcome<Vec<u8>> {
        self.next_aad();
        let message = self
            .group
            .create_message(&self.provider, &self.signer, plaintext)?;
        Ok(message.tls_serialize_detached()?)
    }

    /// The MLS work of one clip: Commit, header, chunks, trailer. Gives the bytes sealed, so that
    /// nothing of it can be left out.
    pub fn seal_clip<'a>(&mut self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome<usize> {
        let mut sealed = self.advance_epoch()?.len();
        sealed += self.seal(&[0; 64])?.len();
        for chunk in chunks {
            sealed += self.seal(chunk)?.len();
        }
        sealed += self.seal(&[0; 80])?.len();
        Ok(sealed)
    }
}

/// OpenMLS with its own memory storage.
pub fn in_memory(suite: Ciphersuite) -> Outcome<Member<Provider>> {
    Member::new(Provider::new()?, suite)
}
