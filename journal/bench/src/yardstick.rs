//! What we are measured against: OpenMLS in memory, OpenMLS over SQLite, and a plain file.
//!
//! Each yardstick does less than we do, never more: no outbox row, no wrap, no digest, no vault.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use openmls::group::{MlsGroup, MlsGroupCreateConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY};
use openmls::prelude::{BasicCredential, Capabilities, CredentialWithKey, KeyPackage};
use openmls_basic_credential::SignatureKeyPair;
use openmls_libcrux_crypto::{CryptoProvider, Provider};
use openmls_sqlite_storage::{Codec, Connection, SqliteStorageProvider};
use openmls_traits::OpenMlsProvider;
use tls_codec::Serialize as _;

use crate::Outcome;
use crate::measure::adding;

/// One end of a two-member group with our suite and settings, over any storage.
pub(crate) struct Member<P> {
    pub(crate) provider: P,
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
    pub(crate) fn new(provider: P) -> Outcome<Self> {
        let suite = journal::Suite::XWing.ciphersuite();
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
    pub(crate) fn advance_epoch(&mut self) -> Outcome<Vec<u8>> {
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
    pub(crate) fn seal(&mut self, plaintext: &[u8]) -> Outcome<Vec<u8>> {
        self.next_aad();
        let message = self
            .group
            .create_message(&self.provider, &self.signer, plaintext)?;
        Ok(message.tls_serialize_detached()?)
    }

    /// The MLS work of one clip: Commit, header, chunks, trailer. Gives the bytes sealed, so that
    /// nothing of it can be left out.
    pub(crate) fn seal_clip(&mut self, clip: &[u8], chunk_bytes: usize) -> Outcome<usize> {
        let mut sealed = self.advance_epoch()?.len();
        sealed += self.seal(&[0; 64])?.len();
        for chunk in clip.chunks(chunk_bytes) {
            sealed += self.seal(chunk)?.len();
        }
        sealed += self.seal(&[0; 80])?.len();
        Ok(sealed)
    }
}

/// OpenMLS with its own memory storage.
pub(crate) fn in_memory() -> Outcome<Member<Provider>> {
    Member::new(Provider::new()?)
}

/// How SQLite is told to keep its promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SqliteMode {
    /// `journal_mode=WAL`.
    WriteAhead,
    /// What SQLite does if it is told nothing: a rollback journal.
    Default,
}

/// CBOR, the codec of our own journal.
#[derive(Default)]
pub(crate) struct Cbor;

/// CBOR could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("CBOR: {0}")]
pub(crate) struct CborError(String);

impl Codec for Cbor {
    type Error = CborError;

    fn to_vec<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, CborError> {
        let mut out = Vec::new();
        ciborium::into_writer(value, &mut out).map_err(|error| CborError(error.to_string()))?;
        Ok(out)
    }

    fn from_slice<T: serde::de::DeserializeOwned>(slice: &[u8]) -> Result<T, CborError> {
        ciborium::from_reader(slice).map_err(|error| CborError(error.to_string()))
    }
}

/// OpenMLS over `openmls_sqlite_storage` in a file, `synchronous=FULL`.
pub(crate) struct SqliteProvider {
    crypto: CryptoProvider,
    connection: Rc<Connection>,
    storage: SqliteStorageProvider<Cbor, Rc<Connection>>,
}

impl SqliteProvider {
    pub(crate) fn open(path: &Path, mode: SqliteMode) -> Outcome<Self> {
        let mut connection = Connection::open(path)?;
        let wanted = match mode {
            SqliteMode::WriteAhead => "wal",
            SqliteMode::Default => "delete",
        };
        if mode == SqliteMode::WriteAhead {
            connection.pragma_update(None, "journal_mode", wanted)?;
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        let found: String =
            connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let synchronous: i64 =
            connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        if found != wanted || synchronous != 2 {
            return Err(format!("SQLite runs as {found}/{synchronous}, not as {wanted}/2").into());
        }
        SqliteStorageProvider::<Cbor, _>::new(&mut connection).run_migrations()?;
        let connection = Rc::new(connection);
        let storage = SqliteStorageProvider::new(Rc::clone(&connection));
        Ok(Self {
            crypto: CryptoProvider::new()?,
            connection,
            storage,
        })
    }

    /// Runs a statement on the provider's own connection: BEGIN and COMMIT.
    pub(crate) fn sql(&self, statement: &str) -> Outcome<()> {
        Ok(self.connection.execute_batch(statement)?)
    }
}

impl OpenMlsProvider for SqliteProvider {
    type CryptoProvider = CryptoProvider;
    type RandProvider = CryptoProvider;
    type StorageProvider = SqliteStorageProvider<Cbor, Rc<Connection>>;

    fn storage(&self) -> &Self::StorageProvider {
        &self.storage
    }

    fn crypto(&self) -> &CryptoProvider {
        &self.crypto
    }

    fn rand(&self) -> &CryptoProvider {
        &self.crypto
    }
}

/// A preallocated file that is overwritten from front to back, again and again.
pub(crate) struct RawFile {
    file: File,
    bytes: u64,
    at: u64,
    buffer: Vec<u8>,
}

impl RawFile {
    /// Fills a file of `bytes` with zeros and syncs it.
    pub(crate) fn create(path: &Path, bytes: u64) -> Outcome<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..bytes).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        forget_cache(&file)?;
        Ok(Self {
            file,
            bytes,
            at: 0,
            buffer: crate::hub::noise(8 << 20),
        })
    }

    /// Writes each batch with one call and syncs it, behind the one before. Before each, `between`
    /// is called; the time of the syncs alone comes back.
    pub(crate) fn write_batches(
        &mut self,
        batches: &[u64],
        mut between: impl FnMut(),
    ) -> Outcome<Duration> {
        let mut syncs = Duration::ZERO;
        for batch in batches {
            between();
            if self.at + batch > self.bytes {
                self.at = 0;
                forget_cache(&self.file)?;
            }
            let bytes = self
                .buffer
                .get(..*batch as usize)
                .ok_or("a batch is larger than the buffer")?;
            self.file.write_all_at(bytes, self.at)?;
            adding(&mut syncs, || self.file.sync_data())?;
            self.at += batch;
        }
        Ok(syncs)
    }
}

/// Lets go of cached pages, as the engine does: else every write would dirty the large pages that
/// the zeros left, and the yardstick would be slower than it need be.
fn forget_cache(file: &File) -> Outcome<()> {
    Ok(rustix::fs::fadvise(
        file,
        0,
        None,
        rustix::fs::Advice::DontNeed,
    )?)
}
