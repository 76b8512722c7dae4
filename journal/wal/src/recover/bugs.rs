//! What recovery must never do, done: only in a build with `crashtest`, and only by a living bug.

use std::sync::Arc;

use super::super::walk::Walk;
use super::Copied;
use crate::WalError;
use crate::disk::OpenMode;
use crate::log::Log;
use crate::log_file::{FileScan, LogFile, WriteHead, read_group, slot_path};
use crate::ranges::Ranges;

/// Leaves the tail where it is, believes it, and makes its last file the one that is written.
pub(super) fn write_on(
    log: &mut Log,
    kept: &mut Vec<LogFile>,
    slots: &[u64],
    scans: &[FileScan],
    found: &Walk,
) -> Result<Copied, WalError> {
    let failed = |error| WalError::io("the recovered file", error);
    let mut head = None;
    let mut bytes = 0;
    for taken in &found.groups {
        let (Some(&slot), Some(scan)) = (slots.get(taken.scan), scans.get(taken.scan)) else {
            panic!("a scan that was never made was asked for");
        };
        let header = taken.group.header;
        bytes += header.padded_bytes();
        let file = log
            .disk
            .open(&slot_path(slot), OpenMode::Existing)
            .map_err(failed)?;
        let filled = file.len().map_err(failed)?;
        match kept.iter_mut().find(|kept| kept.identity == scan.identity) {
            Some(kept) => kept.last_lsn = header.lsn,
            None => kept.push(LogFile {
                slot,
                identity: scan.identity,
                first_lsn: scan.first_lsn,
                last_lsn: header.lsn,
                live: Ranges::new(),
                live_bytes: 0,
                filled,
            }),
        }
        let group = read_group(&*file, &scan.identity, taken.group.offset).map_err(failed)?;
        let chain = group.and_then(|group| group.records().ok().map(|(_, chain)| chain));
        log.incarnation = scan.identity.incarnation;
        head = Some(WriteHead {
            slot,
            file: Arc::clone(&file),
            identity: scan.identity,
            first_lsn: scan.first_lsn,
            filled,
            end: taken.group.offset + header.padded_bytes(),
            chain: chain.unwrap_or_default(),
        });
    }
    let number = head.as_ref().map(|head| head.identity.number);
    log.head = head;
    let last = kept
        .iter()
        .position(|kept| Some(kept.identity.number) == number);
    match last.map(|index| kept.swap_remove(index)) {
        Some(file) => Ok(Copied { file, bytes }),
        None => Err(WalError::io(
            "the recovered file",
            std::io::ErrorKind::NotFound.into(),
        )),
    }
}
