//! The raw bytes of a state directory: what a thief copies, and where rot sets in.
//!
//! It reads the layouts of journal/FORMAT.md without the engine, and finds what the engine no longer
//! counts. It must never ask a journal what is in a file, and it changes nothing.

use std::collections::BTreeMap;
use std::io;

use journal::thief::Found;
use wal::SECTOR_BYTES;
use wal::disk::{Disk, OpenMode};
use wal::record::{GROUP_HEADER_BYTES, GroupHeader, Record, chain_start, decode_meta};

/// Where records begin in a checkpoint, and where its id is.
const CHECKPOINT_BODY: usize = 2 * SECTOR_BYTES as usize;
const CHECKPOINT_ID: std::ops::Range<usize> = 10..26;
/// The directory of log files.
const LOG_DIR: &str = "log";

/// A payload in a log file.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The transaction that stored it.
    pub lsn: u64,
    /// Its key.
    pub key: Vec<u8>,
    /// Its file.
    pub path: String,
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
}

/// A group of records in a log file.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its transaction.
    pub lsn: u64,
    /// Its file.
    pub path: String,
    /// Its first byte.
    pub offset: u64,
}

/// Every small value that any log file still holds, dead or alive.
///
/// # Errors
/// The disk's.
pub fn puts(disk: &dyn Disk) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    each_group(disk, &mut |_, (_, header), records| {
        for record in records {
            found.extend(put(Some(header.lsn.0), record));
        }
    })?;
    Ok(found)
}

/// Every small value of each checkpoint, dead or alive; these have no number of their own.
///
/// # Errors
/// The disk's.
pub fn checkpoints(disk: &dyn Disk) -> io::Result<Vec<Vec<Found>>> {
    let mut all = Vec::new();
    for name in disk.list("")? {
        if !name.starts_with("checkpoint-") {
            continue;
        }
        let mut found = Vec::new();
        let bytes = contents(disk, &name)?;
        let id = bytes.get(CHECKPOINT_ID).and_then(|id| id.try_into().ok());
        let Some(id) = id else { continue };
        let mut sum = chain_start(&id);
        let mut rest = bytes.get(CHECKPOINT_BODY..).unwrap_or_default();
        while let Ok((record, after, next)) = Record::decode(sum, rest) {
            found.extend(put(None, &record));
            (rest, sum) = (after, next);
        }
        all.push(found);
    }
    Ok(all)
}

fn put(lsn: Option<u64>, record: &Record<'_>) -> Option<Found> {
    let Record::Put { key, value } = record else {
        return None;
    };
    Some(Found {
        lsn,
        key: key.to_vec(),
        value: value.to_vec(),
    })
}

/// Every payload that any log file still holds, dead or alive.
///
/// # Errors
/// The disk's.
pub fn payloads(disk: &dyn Disk) -> io::Result<Vec<Payload>> {
    let mut found = Vec::new();
    each_group(disk, &mut |path, (at, header), records| {
        let mut offset = at + GROUP_HEADER_BYTES as u64 + u64::from(header.meta_bytes);
        for record in records {
            if let Record::PayloadDescriptor { key, len, .. } = record {
                found.push(Payload {
                    lsn: header.lsn.0,
                    key: key.to_vec(),
                    path: path.to_owned(),
                    offset,
                    len: *len,
                });
                offset += u64::from(*len);
            }
        }
    })?;
    Ok(found)
}

/// Every stored chunk of a clip (journal/FORMAT.md, `L`) that any log file still holds, dead or alive.
///
/// # Errors
/// The disk's.
pub fn stored_chunks(disk: &dyn Disk) -> io::Result<Vec<Found>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut found = Vec::new();
    for payload in payloads(disk)? {
        if !payload.key.starts_with(b"L") {
            continue;
        }
        if !files.contains_key(&payload.path) {
            let bytes = contents(disk, &payload.path)?;
            files.insert(payload.path.clone(), bytes);
        }
        let rest = files.get(&payload.path).and_then(|bytes| {
            let at = usize::try_from(payload.offset).ok()?;
            bytes.get(at..)?.get(..payload.len as usize)
        });
        found.extend(rest.map(|value| Found {
            lsn: Some(payload.lsn),
            key: payload.key.clone(),
            value: value.to_vec(),
        }));
    }
    Ok(found)
}

/// Where every group is that any log file still holds, dead or alive.
///
/// # Errors
/// The disk's.
pub fn groups(disk: &dyn Disk) -> io::Result<Vec<Group>> {
    let mut found = Vec::new();
    each_group(disk, &mut |path, (offset, header), _| {
        found.push(Group {
            lsn: header.lsn.0,
            path: path.to_owned(),
            offset,
        });
    })?;
    Ok(found)
}

/// All bytes of a file.
///
/// # Errors
/// The disk's.
pub fn contents(disk: &dyn Disk, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Existing)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Every sound group in every sector of every log file.
fn each_group(
    disk: &dyn Disk,
    visit: &mut impl FnMut(&str, (u64, GroupHeader), &[Record<'_>]),
) -> io::Result<()> {
    if !disk.exists(LOG_DIR)? {
        return Ok(());
    }
    for name in disk.list(LOG_DIR)? {
        let path = format!("{LOG_DIR}/{name}");
        let bytes = contents(disk, &path)?;
        for at in (0..bytes.len()).step_by(SECTOR_BYTES as usize) {
            let group = bytes.get(at..).unwrap_or_default();
            let Ok((header, sum)) = GroupHeader::decode(group) else {
                continue;
            };
            let end = GROUP_HEADER_BYTES + header.meta_bytes as usize;
            let Some(meta) = group.get(GROUP_HEADER_BYTES..end) else {
                continue;
            };
            if let Ok((records, _)) = decode_meta(&header, sum, meta) {
                visit(&path, (at as u64, header), &records);
            }
        }
    }
    Ok(())
}
