//! What the scenarios share: the groups as they lie in the files, and a journal that makes no checkpoint of its own.
//!
//! It reads what recovery reads and decides nothing: what a damage may cost is in the scenarios.

use wal::disk::SimDisk;
use wal::record::{FileHeader, GroupHeader};
use wal::{Lsn, Options, Wal, WalError};

use crate::common::{open_with, small};

pub(crate) const SECTOR: usize = 4096;

/// Offsets of all sound group headers in a file, with their headers.
pub(crate) fn groups(disk: &SimDisk, path: &str) -> Vec<(u64, GroupHeader)> {
    let bytes = disk.contents(path).unwrap();
    let sectors = bytes.chunks(SECTOR).enumerate();
    sectors
        .filter_map(|(n, sector)| {
            let (header, _) = GroupHeader::decode(sector).ok()?;
            Some(((n * SECTOR) as u64, header))
        })
        .collect()
}

/// Where the group with this LSN stands in the newest file that has it.
pub(crate) fn find(disk: &SimDisk, lsn: Lsn) -> (String, u64, GroupHeader) {
    let files = disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("log/"));
    let all = files.flat_map(|path| {
        groups(disk, &path)
            .into_iter()
            .map(move |(at, header)| (path.clone(), at, header))
    });
    all.filter(|(_, _, header)| header.lsn == lsn)
        .max_by_key(|(_, _, header)| header.identity.number)
        .unwrap()
}

/// Sizes with which a handful of transactions never makes a checkpoint of their own.
pub(crate) fn calm(disk: &SimDisk, seed: u64) -> Result<(Wal, wal::RecoveryReport), WalError> {
    open_with(
        disk,
        seed,
        Options {
            log_file_bytes: 512 << 10,
            ..small()
        },
    )
}

pub(crate) fn header_of(disk: &SimDisk, path: &str) -> Option<FileHeader> {
    FileHeader::decode(&disk.contents(path).unwrap()).ok()
}
