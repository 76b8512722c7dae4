//! The raw bytes of a simulated disk: what a thief copies, and where rot sets in.
//!
//! It reads the layouts of journal/FORMAT.md without the engine, and finds what the engine no longer
//! counts. It must never ask a journal what is in a file.

use journal::thief::Found;
use wal::SECTOR_BYTES;
use wal::disk::SimDisk;
use wal::record::{GROUP_HEADER_BYTES, GroupHeader, Record, chain_start, decode_meta};

/// Where records begin in a checkpoint, and where its id is.
const CHECKPOINT_BODY: usize = 2 * SECTOR_BYTES as usize;
const CHECKPOINT_ID: std::ops::Range<usize> = 10..26;

/// Transactions that a truncation takes.
const TRUNCATED: u64 = 8;

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
}

/// Every small value that any log file or checkpoint still holds, dead or alive.
#[must_use]
pub fn puts(disk: &SimDisk) -> Vec<Found> {
    let mut found = Vec::new();
    let mut take = |lsn, record: &Record<'_>| {
        if let Record::Put { key, value } = record {
            found.push(Found {
                lsn,
                key: key.to_vec(),
                value: value.to_vec(),
            });
        }
    };
    each_group(disk, &mut |_, (_, header), records| {
        for record in records {
            take(Some(header.lsn.0), record);
        }
    });
    for path in disk.paths() {
        let bytes = disk.contents(&path).unwrap_or_default();
        let id = bytes.get(CHECKPOINT_ID).and_then(|id| id.try_into().ok());
        let (Some(id), true) = (id, path.starts_with("checkpoint-")) else {
            continue;
        };
        let mut sum = chain_start(&id);
        let mut rest = bytes.get(CHECKPOINT_BODY..).unwrap_or_default();
        while let Ok((record, after, next)) = Record::decode(sum, rest) {
            take(None, &record);
            (rest, sum) = (after, next);
        }
    }
    found
}

/// Every payload that any log file still holds, dead or alive.
#[must_use]
pub fn payloads(disk: &SimDisk) -> Vec<Payload> {
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
                });
                offset += u64::from(*len);
            }
        }
    });
    found
}

/// Overwrites the last transactions with zeros.
///
/// # Errors
/// A file that is gone.
pub fn truncate(disk: &SimDisk) -> std::io::Result<()> {
    let mut groups = Vec::new();
    each_group(disk, &mut |path, (at, header), _| {
        groups.push((header.lsn.0, path.to_owned(), at));
    });
    let last = groups.iter().map(|group| group.0).max().unwrap_or_default();
    let newest = groups.iter().filter(|group| group.0 + TRUNCATED > last);
    for (_, path, at) in newest {
        disk.damage(path, *at, &[0; GROUP_HEADER_BYTES])?;
    }
    Ok(())
}

/// Every sound group in every sector of every log file.
fn each_group(disk: &SimDisk, visit: &mut impl FnMut(&str, (u64, GroupHeader), &[Record<'_>])) {
    let paths = disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("log/"));
    for path in paths {
        let bytes = disk.contents(&path).unwrap_or_default();
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
}
