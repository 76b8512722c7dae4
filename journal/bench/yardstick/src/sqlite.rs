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
    /// `journal_mode=WAL` and `secure_delete=ON`: what is deleted is overwritten with zeros.
    SecureDelete,
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
            SqliteMode::WriteAhead | SqliteMode::SecureDelete => "wal",
            SqliteMode::Default => "delete",
        };
        if mode != SqliteMode::Default {
            connection.pragma_update(None, "journal_mode", wanted)?;
        }
        if mode == SqliteMode::SecureDelete {
            connection.pragma_update(None, "secure_delete", "ON")?;
            let found: i64 =
                connection.pragma_query_value(None, "secure_delete", |row| row.get(0))?;
            if found != 1 {
                return Err(format!("SQLite's secure_delete is {found}, not 1").into());
            }
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

    /// The message secrets of the only group, as they are stored.
    pub fn message_secrets(&self) -> Outcome<Vec<u8>> {
        let query = "SELECT group_data FROM openmls_group_data WHERE data_type = 'message_secrets'";
        Ok(self.connection.query_row(query, [], |row| row.get(0))?)
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
