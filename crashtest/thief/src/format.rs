//! A copied state directory as bytes: all that any of its files holds, whoever still counts it.
//!
//! The layouts are those of `journal/FORMAT.md`. No checksum is believed and none is needed: what a thief
//! cares for authenticates itself when it opens. So torn groups, dead records, superseded images and what
//! a recycled file still holds behind its new life are all read.

mod checkpoint;
mod log;
mod record;
mod vault;
mod view;

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

/// A storage key in the vault's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageKey {
    /// Its number.
    pub number: u64,
    /// Its version: how often it was rotated.
    pub version: u64,
    /// The key.
    pub key: Zeroizing<[u8; 32]>,
}

/// What some record, row or remnant says about a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A small value is set.
    Put(Vec<u8>),
    /// A small value is removed.
    Delete,
    /// The bytes of a payload.
    Payload(Vec<u8>),
}

/// Something said about a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The transaction that said it; 0 if that is not known.
    pub lsn: u64,
    /// The key.
    pub key: Vec<u8>,
    /// What was said.
    pub what: What,
}

/// Where changes were found, and in which sense they belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// All log files: their changes, in the order of their transactions, are the journal's history.
    Log,
    /// A checkpoint or the view: all small values as they were at one moment.
    Picture {
        /// The last transaction that is in it.
        through: u64,
    },
    /// Remnants: no order, and nobody counts them.
    Remnants,
}

/// Changes of one origin.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where they were found.
    pub origin: Origin,
    /// The changes.
    pub changes: Vec<Change>,
}

/// All that a copied directory holds.
#[derive(Default)]
pub struct Haul {
    /// Keys of the vault: both images of each sector, whatever their checksums say.
    pub keys: Vec<StorageKey>,
    /// Everything else.
    pub sources: Vec<Source>,
}

impl Haul {
    /// Reads the copy of a state directory in `dir`. Files that are not there are not missed: a thief
    /// takes what there is.
    ///
    /// # Errors
    /// A file that is there and cannot be read. A view that RocksDB does not open is no error, for its
    /// files are looked through all the same.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let mut haul = Self::default();
        if let Some(bytes) = contents(&dir.join("vault"))? {
            haul.keys = vault::keys(&Zeroizing::new(bytes));
        }
        let mut history = Vec::new();
        let mut remnants = Vec::new();
        for path in files(&dir.join("log"))? {
            let Some(bytes) = contents(&path)? else {
                continue;
            };
            let file = log::read(&bytes);
            history.extend(file.changes);
            remnants.extend(file.remnants);
        }
        // Of one transaction the order stays that of its group.
        history.sort_by_key(|change| change.lsn);
        haul.add(Origin::Log, history);
        for name in ["checkpoint-a", "checkpoint-b"] {
            if let Some(bytes) = contents(&dir.join(name))? {
                let (through, changes) = checkpoint::read(&bytes);
                haul.add(Origin::Picture { through }, changes);
                remnants.extend(record::carve(&bytes));
            }
        }
        for name in ["view", "rocksdb"] {
            let view = dir.join(name);
            if !view.is_dir() {
                continue;
            }
            if let Some((through, changes)) = view::living(&view) {
                haul.add(Origin::Picture { through }, changes);
            }
            for path in files(&view)? {
                if path.extension().is_some_and(|ending| ending == "sst")
                    && let Some(bytes) = contents(&path)?
                {
                    remnants.extend(view::carve(&bytes));
                }
            }
        }
        haul.add(Origin::Remnants, remnants);
        Ok(haul)
    }

    fn add(&mut self, origin: Origin, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.sources.push(Source { origin, changes });
        }
    }
}

/// The bytes of a file, `None` if there is none.
fn contents(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The files of a directory in the order of their names; none if there is no directory.
fn files(dir: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
