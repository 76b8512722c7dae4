//! Damage on the disk of a stopped program: flipped bytes, cut files, envelopes changed under
//! the relay's nose.
//!
//! This room must never touch a directory whose program runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wal::disk::RealDisk;
use wal::store::RocksStore;
use wal::{Options, OsDice, Txn, Wal};

use crate::trouble::{Outcome, Trouble};

/// Where a group begins in a log file.
const SECTOR_BYTES: usize = 4096;
/// What a group begins with (journal/FORMAT.md).
const GROUP_MAGIC: &[u8; 4] = b"SGrp";
/// What a log file begins with.
const FILE_MAGIC: &[u8; 8] = b"SecluLog";
/// Bytes of its header.
const GROUP_HEADER_BYTES: usize = 80;
/// Envelopes that one damaged relay holds at most.
const ENVELOPES_MAX: usize = 10_000;
/// The prefix of the relay's envelope rows.
const ENVELOPE_PREFIX: &[u8] = b"e";

/// How envelopes are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One bit in the middle.
    FlipBit,
    /// The second half is gone.
    Truncate,
    /// What the previous envelope held: a replay under another number.
    ReplayPrevious,
}

/// All files of a directory, sorted by name; not those of directories in it.
///
/// # Errors
/// The machine.
pub fn files(directory: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(directory).map_err(Trouble::machine(directory.display().to_string()))?
    {
        let entry = entry.map_err(Trouble::machine("a directory entry"))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Changes a file in place.
///
/// # Errors
/// The machine.
pub fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Outcome<()> {
    let name = file.display().to_string();
    let mut bytes = std::fs::read(file).map_err(Trouble::machine(name.clone()))?;
    change(&mut bytes);
    std::fs::write(file, bytes).map_err(Trouble::machine(name))
}

/// A record group in a log file (journal/FORMAT.md, "Record group").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// In which file.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: usize,
    /// Bytes of its header and records.
    pub meta_bytes: usize,
    /// Bytes of its payloads, which follow them.
    pub payload_bytes: usize,
}

/// All groups in the log files of a journal directory, in the order of files and offsets.
///
/// # Errors
/// The machine.
pub fn groups(journal: &Path) -> Outcome<Vec<Group>> {
    let mut all = Vec::new();
    for file in files(&journal.join("log"))? {
        let bytes = std::fs::read(&file).map_err(Trouble::machine(file.display().to_string()))?;
        if !bytes.starts_with(FILE_MAGIC) {
            continue;
        }
        let groups = (0..bytes.len()).step_by(SECTOR_BYTES).filter_map(|offset| {
            let header = bytes[offset..].strip_prefix(GROUP_MAGIC)?;
            // Offsets 60 and 64 of the header, behind its magic.
            let number =
                |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?) as usize);
            Some(Group {
                file: file.clone(),
                offset,
                meta_bytes: GROUP_HEADER_BYTES + number(56)?,
                payload_bytes: number(60)?,
            })
        });
        all.extend(groups);
    }
    Ok(all)
}

/// The log file with the most bytes in groups: the one that holds what was just recorded.
///
/// # Errors
/// The machine, or there is none.
pub fn fullest_log_file(journal: &Path) -> Outcome<PathBuf> {
    let groups = groups(journal)?;
    let weight = |file: &Path| -> usize {
        groups
            .iter()
            .filter(|group| group.file == file)
            .map(|group| group.meta_bytes + group.payload_bytes)
            .sum()
    };
    let fullest = groups
        .iter()
        .map(|group| group.file.clone())
        .max_by_key(|file| weight(file));
    fullest.ok_or_else(|| Trouble::Broken("no log file holds a group".into()))
}

/// Flips bytes in the middle of a group's payloads.
///
/// # Errors
/// The machine.
pub fn flip_payload(group: &Group) -> Outcome<()> {
    edit(&group.file, |bytes| {
        let from = group.offset + group.meta_bytes + group.payload_bytes / 2;
        for byte in bytes.iter_mut().skip(from).take(16) {
            *byte ^= 0x55;
        }
    })
}

/// Turns bytes of a file into others, from an offset on.
///
/// # Errors
/// The machine.
pub fn flip(file: &Path, from: usize, count: usize) -> Outcome<()> {
    edit(file, |bytes| {
        for byte in bytes.iter_mut().skip(from).take(count) {
            *byte ^= 0xa5;
        }
    })
}

/// Changes envelopes in a stopped relay's store, the large ones only if `at_least` says so. All
/// checksums are right afterwards, so the relay knows nothing of it: to the clients it is a relay
/// that lies. Says how many were changed.
///
/// # Errors
/// The machine, or the store does not open.
pub fn change_envelopes(data: &Path, at_least: usize, change: Change) -> Outcome<usize> {
    let broken = |error: wal::WalError| Trouble::Broken(format!("the relay's store: {error}"));
    let disk = RealDisk::new(data).map_err(Trouble::machine("the relay's data"))?;
    let store = RocksStore::new(data.join("view"));
    let options = Options {
        log_file_bytes: 4 << 20,
        ..Options::default()
    };
    let (mut wal, _report) =
        Wal::open(Arc::new(disk), Box::new(store), Box::new(OsDice), options).map_err(broken)?;
    let rows = wal
        .scan_payloads(ENVELOPE_PREFIX, &[], ENVELOPES_MAX)
        .map_err(broken)?;
    let mut changed = 0;
    let mut previous: Option<Vec<u8>> = None;
    for (key, _bytes) in rows {
        let Some(original) = wal.payload(&key).map_err(broken)? else {
            continue;
        };
        let mut bytes = original.clone();
        if bytes.len() < at_least {
            previous = Some(original);
            continue;
        }
        match change {
            Change::FlipBit => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Change::Truncate => bytes.truncate(bytes.len() / 2),
            Change::ReplayPrevious => {
                if let Some(previous) = &previous {
                    bytes.clone_from(previous);
                }
            }
        }
        changed += usize::from(bytes != original);
        previous = Some(original);
        let mut txn = Txn::new();
        txn.put_payload(key, bytes);
        drop(wal.stage(txn, ()).map_err(broken)?);
        drop(wal.commit().map_err(broken)?);
    }
    Ok(changed)
}
