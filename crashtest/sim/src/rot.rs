//! What a failing disk does to a directory behind everybody's back.

use std::io;

use crashtest::raw;
use wal::SeededDice;
use wal::disk::SimDisk;
use wal::record::GROUP_HEADER_BYTES;

/// Transactions that a truncation takes.
const TRUNCATED: u64 = 8;
/// The newest payloads of an outbox, one of which rots.
const NEWEST: usize = 3;
/// The first byte of the keys under which the outbox stores envelopes.
const OUTBOX: u8 = b'O';

/// Overwrites the last transactions with zeros.
///
/// # Errors
/// A file that is gone.
pub fn truncate(disk: &SimDisk) -> io::Result<()> {
    let groups = raw::groups(disk)?;
    let last = groups.iter().map(|group| group.lsn).max();
    let newest = groups
        .iter()
        .filter(|group| Some(group.lsn + TRUNCATED) > last);
    for group in newest {
        disk.damage(&group.path, group.offset, &[0; GROUP_HEADER_BYTES])?;
    }
    Ok(())
}

/// Damages one of the newest envelopes.
///
/// # Errors
/// A file that is gone.
pub fn payload(disk: &SimDisk, dice: &mut SeededDice) -> io::Result<()> {
    let mut payloads = raw::payloads(disk)?;
    payloads.retain(|payload| payload.key.first() == Some(&OUTBOX));
    payloads.sort_by_key(|payload| std::cmp::Reverse(payload.lsn));
    payloads.truncate(NEWEST);
    let chosen = dice.below(payloads.len().max(1) as u64) as usize;
    match payloads.get(chosen) {
        Some(payload) => disk.damage(&payload.path, payload.offset + 8, &[0x5a; 16]),
        None => Ok(()),
    }
}
