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

/// Directories in which a view may lie: it has this name in `journal/FORMAT.md`, and that of its engine in tests.
const VIEWS: [&str; 2] = ["view", "rocksdb"];

/// In which images of the vault something stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Images {
    /// In the first.
    pub a: bool,
    /// In the second.
    pub b: bool,
}

impl Images {
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            a: self.a || other.a,
            b: self.b || other.b,
        }
    }
}

/// A storage key in the vault's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageKey {
    /// Its number.
    pub number: u64,
    /// Its version: how often it was rotated.
    pub version: u64,
    /// The key.
    pub key: Zeroizing<[u8; 32]>,
    /// Where it stands.
    pub images: Images,
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

/// Where changes were found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// Groups of log files whose header is sound: in the order of their transactions they are the journal's history.
    Log,
    /// Groups of log files whose header is torn.
    TornGroup,
    /// Records in log files that lie in no group: of an earlier life of the file.
    NoGroup,
    /// The first checkpoint.
    CheckpointA,
    /// The second.
    CheckpointB,
    /// Records in the files of checkpoints that these do not count.
    Leftover,
    /// The view, as RocksDB reads it.
    View,
    /// Table files of the view, superseded entries included.
    Table,
    /// RocksDB's own log.
    ViewLog,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Log,
        Self::TornGroup,
        Self::NoGroup,
        Self::CheckpointA,
        Self::CheckpointB,
        Self::Leftover,
        Self::View,
        Self::Table,
        Self::ViewLog,
    ];

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::TornGroup => "torn_groups",
            Self::NoGroup => "records_without_group",
            Self::CheckpointA => "checkpoint_a",
            Self::CheckpointB => "checkpoint_b",
            Self::Leftover => "behind_checkpoints",
            Self::View => "view",
            Self::Table => "view_tables",
            Self::ViewLog => "view_log",
        }
    }
}

/// Changes of one origin.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where they were found.
    pub origin: Origin,
    /// All small values as they were at one moment, if this is that: the last transaction that is in it. What else
    /// there is, but for the log, has no order, and nobody counts it.
    pub through: Option<u64>,
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
    /// Files of which `journal/FORMAT.md` does not say what they are, and those that it says hold nothing and that hold
    /// something, by their paths: what may be in them was not looked for.
    pub unknown: Vec<String>,
}

impl Haul {
    /// Reads the copy of a state directory in `dir`. Files that are not there are not missed: a thief
    /// takes what there is.
    ///
    /// # Errors
    /// A file that is there and cannot be read. A view that RocksDB does not open is no error, for its
    /// files are looked through all the same.
    pub fn read(dir: &Path) -> io::Result<Self> {
        // ORDER: before RocksDB is asked, which writes files of its own.
        let mut haul = Self {
            unknown: unknown(dir)?,
            ..Self::default()
        };
        if let Some(bytes) = contents(&dir.join("vault"))? {
            haul.keys = vault::keys(&Zeroizing::new(bytes));
        }
        haul.add_log(&dir.join("log"))?;
        let mut leftovers = Vec::new();
        for (name, origin) in [
            ("checkpoint-a", Origin::CheckpointA),
            ("checkpoint-b", Origin::CheckpointB),
        ] {
            if let Some(bytes) = contents(&dir.join(name))? {
                let (through, changes, rest) = checkpoint::read(&bytes);
                leftovers.extend(record::carve(rest));
                haul.add(origin, Some(through), changes);
            }
        }
        haul.add(Origin::Leftover, None, leftovers);
        for name in VIEWS {
            haul.add_view(&dir.join(name))?;
        }
        Ok(haul)
    }

    fn add_log(&mut self, dir: &Path) -> io::Result<()> {
        let (mut history, mut torn, mut orphans) = (Vec::new(), Vec::new(), Vec::new());
        for path in files(dir)? {
            let Some(bytes) = contents(&path)? else {
                continue;
            };
            let file = log::read(&bytes);
            history.extend(file.changes);
            torn.extend(file.torn);
            orphans.extend(file.orphans);
        }
        // Of one transaction the order stays that of its group.
        history.sort_by_key(|change| change.lsn);
        self.add(Origin::Log, None, history);
        self.add(Origin::TornGroup, None, torn);
        self.add(Origin::NoGroup, None, orphans);
        Ok(())
    }

    fn add_view(&mut self, dir: &Path) -> io::Result<()> {
        if !dir.is_dir() {
            return Ok(());
        }
        if let Some((through, changes)) = view::living(dir) {
            self.add(Origin::View, Some(through), changes);
        }
        let (mut tables, mut logs) = (Vec::new(), Vec::new());
        for path in files(dir)? {
            let ending = path.extension().and_then(|ending| ending.to_str());
            let Some(bytes) = contents(&path)? else {
                continue;
            };
            match ending {
                Some("sst") => tables.extend(view::carve(&bytes)),
                Some("log") => logs.extend(view::carve_log(&bytes)),
                // Numbers, options and the bounds of table files, and no value.
                _ => {}
            }
        }
        self.add(Origin::Table, None, tables);
        self.add(Origin::ViewLog, None, logs);
        Ok(())
    }

    fn add(&mut self, origin: Origin, through: Option<u64>, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.sources.push(Source {
                origin,
                through,
                changes,
            });
        }
    }
}

/// The files below `dir` that nobody reads here, by their paths: see [`Haul::unknown`].
fn unknown(dir: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    look(dir, "", &mut found)?;
    found.sort();
    Ok(found)
}

fn look(dir: &Path, below: &str, found: &mut Vec<String>) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir.join(below)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = match below.is_empty() {
            true => name,
            false => format!("{below}/{name}"),
        };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            look(dir, &path, found)?;
        } else if !kind.is_file() || !is_known(dir, &path)? {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether what the format says of this file is all that is to be known of it.
fn is_known(dir: &Path, path: &str) -> io::Result<bool> {
    let holds_nothing = || -> io::Result<bool> {
        let bytes = contents(&dir.join(path))?.unwrap_or_default();
        Ok(bytes.iter().all(|byte| *byte == 0))
    };
    match path.split_once('/') {
        None => match path {
            "vault" | "checkpoint-a" | "checkpoint-b" => Ok(true),
            "lock" | "ballast" => holds_nothing(),
            _ => Ok(false),
        },
        Some(("log", name)) => Ok(name.len() == 8 && view::is_number(name)),
        Some((place, "LOCK")) if VIEWS.contains(&place) => holds_nothing(),
        Some((place, name)) => Ok(VIEWS.contains(&place) && view::is_known(name)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_the_format_does_not_know_is_said_and_so_is_one_that_should_be_empty() {
        let dir = std::env::temp_dir().join(format!("thief-format-{}", std::process::id()));
        for below in ["log", "rocksdb", "other"] {
            std::fs::create_dir_all(dir.join(below)).unwrap();
        }
        let known: [(&str, &[u8]); 8] = [
            ("lock", b""),
            ("ballast", &[0; 9]),
            ("vault", b"sectors"),
            ("checkpoint-b", b"dump"),
            ("log/00000012", b"groups"),
            ("rocksdb/LOCK", b""),
            ("rocksdb/000007.sst", b"table"),
            ("rocksdb/MANIFEST-000005", b"numbers"),
        ];
        for (path, bytes) in known {
            std::fs::write(dir.join(path), bytes).unwrap();
        }
        assert!(Haul::read(&dir).unwrap().unknown.is_empty());
        let strange = [
            "keys",
            "log/00000012.old",
            "log/1",
            "other/vault",
            "rocksdb/notes",
        ];
        for path in strange {
            std::fs::write(dir.join(path), b"").unwrap();
        }
        for path in ["lock", "ballast"] {
            std::fs::write(dir.join(path), b"a secret").unwrap();
        }
        let unknown = Haul::read(&dir).unwrap().unknown;
        std::fs::remove_dir_all(&dir).unwrap();
        let wanted = [&["ballast", "keys", "lock"][..], &strange[1..]].concat();
        assert_eq!(unknown, wanted);
    }
}
