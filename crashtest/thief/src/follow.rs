//! A whole stolen group goes on: OpenMLS, fed with the Commits that were sent later, until one of them
//! brings a key that was not stolen.

mod storage;

use std::collections::BTreeMap;

use openmls::group::MlsGroup;
use openmls::prelude::{
    GroupId, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProtocolMessage,
};
use openmls_libcrux_crypto::CryptoProvider;
use openmls_traits::OpenMlsProvider;
use tls_codec::Deserialize as _;

use crate::mls::EpochKeys;
use storage::{MESSAGE_SECRETS, Stolen};

/// Epochs that one stolen state is followed through at most.
const EPOCHS_MAX: usize = 10_000;

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
    let mut reached = Vec::new();
    let provider = Provider {
        crypto,
        storage: Stolen::new(values),
    };
    let Ok(Some(mut group)) = MlsGroup::load(provider.storage(), &GroupId::from_slice(line)) else {
        return reached;
    };
    for _ in 0..EPOCHS_MAX {
        let epoch = group.epoch().as_u64();
        let candidates = commits(epoch);
        if !candidates
            .into_iter()
            .any(|commit| take(&mut group, &provider, commit))
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
