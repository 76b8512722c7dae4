//! A whole stolen group goes on: OpenMLS, fed with the Commits that were sent later, until one of them
//! brings a key that was not stolen. A group is stolen as it was stored, or joined by a welcome that was heard, with the
//! keys that it was encrypted to.

mod storage;

use std::collections::BTreeMap;

use openmls::group::{
    MlsGroup, MlsGroupJoinConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, StagedWelcome,
};
use openmls::prelude::{
    GroupId, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProtocolMessage,
};
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_libcrux_crypto::CryptoProvider;
use openmls_traits::OpenMlsProvider;
use openmls_traits::types::Ciphersuite;
use tls_codec::Deserialize as _;

use crate::mls::EpochKeys;
use crate::pairing::OfferId;
use storage::{MESSAGE_SECRETS, Stolen};

/// Epochs that one stolen state is followed through at most.
const EPOCHS_MAX: usize = 10_000;
/// Of the two suites, which have one hash: only the length of a nonce comes of it.
const SUITE: Ciphersuite = Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519;

/// Crypto that is shared, storage of one group.
struct Provider<'c> {
    crypto: &'c CryptoProvider,
    storage: Stolen,
}

impl OpenMlsProvider for Provider<'_> {
    type CryptoProvider = CryptoProvider;
    type RandProvider = CryptoProvider;
    type StorageProvider = Stolen;

    fn storage(&self) -> &Stolen {
        &self.storage
    }

    fn crypto(&self) -> &CryptoProvider {
        self.crypto
    }

    fn rand(&self) -> &CryptoProvider {
        self.crypto
    }
}

/// Loads the group of this line from its opened values and takes, epoch by epoch, whichever of the
/// `commits` of that epoch it accepts. Gives the secrets of every epoch that it came to.
pub(crate) fn forward<'m>(
    crypto: &CryptoProvider,
    line: &[u8],
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    commits: impl Fn(u64) -> Vec<&'m [u8]>,
) -> Vec<EpochKeys> {
    let provider = Provider {
        crypto,
        storage: Stolen::new(values),
    };
    match MlsGroup::load(provider.storage(), &GroupId::from_slice(line)) {
        Ok(Some(group)) => goes_on(group, &provider, commits),
        _ => Vec::new(),
    }
}

/// Joins a group by a welcome into it: `values` are what was stolen for that, by family and name, a key package with
/// its private keys among them; `psk` is the external PSK, by the offer that it belongs to, unless it is one of these.
/// Then it goes on as [`forward`] does. `None` if the welcome does not open.
pub(crate) fn join<'m>(
    crypto: &CryptoProvider,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    psk: Option<(&OfferId, &[u8; 32])>,
    welcome: &[u8],
    commits: impl Fn(u64) -> Vec<&'m [u8]>,
) -> Option<Vec<EpochKeys>> {
    let provider = Provider {
        crypto,
        storage: Stolen::new(values),
    };
    if let Some((offer, psk)) = psk {
        let name = Psk::External(ExternalPsk::new(offer.to_vec()));
        let id = PreSharedKeyId::new(SUITE, provider.rand(), name).ok()?;
        id.store(&provider, psk).ok()?;
    }
    let message = MlsMessageIn::tls_deserialize_exact(welcome).ok()?;
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
        return None;
    };
    let config = MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .build();
    let opened = StagedWelcome::build_from_welcome(&provider, &config, welcome).ok()?;
    let staged = opened.skip_lifetime_validation().build().ok()?;
    let group = staged.into_group(&provider).ok()?;
    let secrets = provider.storage.raw(MESSAGE_SECRETS).unwrap_or_default();
    let mut reached = EpochKeys::all_in(&secrets);
    reached.extend(goes_on(group, &provider, commits));
    Some(reached)
}

/// Takes Commits until there is none that it accepts. Gives the secrets of every epoch that it came to.
fn goes_on<'m>(
    mut group: MlsGroup,
    provider: &Provider<'_>,
    commits: impl Fn(u64) -> Vec<&'m [u8]>,
) -> Vec<EpochKeys> {
    let mut reached = Vec::new();
    for _ in 0..EPOCHS_MAX {
        let epoch = group.epoch().as_u64();
        let candidates = commits(epoch);
        if !candidates
            .into_iter()
            .any(|commit| take(&mut group, provider, commit))
        {
            break;
        }
        if let Some(secrets) = provider.storage.raw(MESSAGE_SECRETS) {
            reached.extend(EpochKeys::all_in(&secrets));
        }
    }
    reached
}

/// Whether the group went on by this message.
fn take(group: &mut MlsGroup, provider: &Provider<'_>, message: &[u8]) -> bool {
    let Ok(message) = MlsMessageIn::tls_deserialize_exact(message) else {
        return false;
    };
    let MlsMessageBodyIn::PrivateMessage(message) = message.extract() else {
        return false;
    };
    let Ok(processed) = group.process_message(provider, ProtocolMessage::from(message)) else {
        return false;
    };
    match processed.into_content() {
        ProcessedMessageContent::StagedCommitMessage(staged) => {
            group.merge_staged_commit(provider, *staged).is_ok()
        }
        _ => false,
    }
}
