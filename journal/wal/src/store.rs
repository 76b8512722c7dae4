//! The materialised view as a trait: small values by key, replaceable at any time.
//!
//! The view is never the truth. It may lose everything after its last flush and it may report
//! corruption at any call; then it is wiped and rebuilt from the checkpoint and the log.

use std::io;

use crate::Lsn;

mod mem;
mod rocks;

pub use mem::{MemControl, MemStore};
pub use rocks::RocksStore;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// One change of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Sets a value.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key; removing what is not there is fine.
    Delete(Vec<u8>),
}

/// What a view can report.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its files are damaged: wipe and rebuild.
    #[error("the view is damaged: {detail}")]
    Corrupt {
        /// What the view said, for the log.
        detail: String,
    },
    /// There is no space. The caller refuses bulk data and goes on.
    #[error("the view found the disk full")]
    Full,
    /// Another IO error.
    #[error("the view could not use its files: {source}")]
    Io {
        /// The underlying error.
        source: io::Error,
    },
}

/// A view of the small values. Single owner; every call is about whole keys and values.
pub trait Store: Send {
    /// Opens or creates it. Called once, after the journal's lock is held.
    fn open(&mut self) -> Result<(), StoreError>;
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// At most `limit` pairs in ascending order whose key begins with `prefix` and is not below
    /// `from`.
    fn range(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<KeyValue>, StoreError>;
    /// The last pair whose key begins with `prefix`.
    fn last(&self, prefix: &[u8]) -> Result<Option<KeyValue>, StoreError>;
    /// Applies all of `ops` and remembers `applied`, or nothing of it.
    fn apply(&mut self, ops: &[StoreOp], applied: Lsn) -> Result<(), StoreError>;
    /// What the last surviving `apply` said.
    fn applied_lsn(&self) -> Result<Option<Lsn>, StoreError>;
    /// Makes everything applied so far survive a crash.
    fn flush(&mut self) -> Result<(), StoreError>;
    /// Deletes everything and opens an empty view.
    fn wipe(&mut self) -> Result<(), StoreError>;
}

/// The first key after all keys that begin with `prefix`; `None` if there is no such key.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests;
