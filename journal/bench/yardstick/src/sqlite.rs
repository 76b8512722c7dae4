//! OpenMLS over `openmls_sqlite_storage`: files, `synchronous=FULL`.

use std::path::Path;
use std::rc::Rc;

use openmls_libcrux_crypto::CryptoProvider;
use openmls_sqlite_storage::{Codec, Connection, SqliteStorageProvider};
use openmls_traits::OpenMlsProvider;

use crate::Outcome;

/// How SQLite is told to keep its promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SqliteMode {
    /// `journal_mode=WAL`.
    WriteAhead,
    /// What SQLite does if it is told nothing: a rollback journal.
    Default,
}

/// CBOR, the codec of our own journal.
#[derive(Default)]
pub struct Cbor;

/// CBOR could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("CBOR: {0}")]
pub struct CborError(String);

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
pub struct SqliteProvider {
    crypto: CryptoProvider,
    connection: Rc<Connection>,
    storage: SqliteStorageProvider<Cbor, Rc<Connection>>,
}

impl SqliteProvider {
    pub fn open(path: &Path, mode: SqliteMode) -> Outcome<Self> {
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
    pub fn sql(&self, statement: &str) -> Outcome<()> {
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
