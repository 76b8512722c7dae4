//! Replaying the log: live payload sets, and the view from checkpoint and log.
//!
//! Everything that is read here is already known to be the log. A group that cannot be read is
//! therefore lost, and nothing here decides what belongs to the log.

use super::run::BaseState;
use crate::log::Log;
use crate::log_file::{LogFile, read_group};
use crate::options::SECTOR_BYTES;
use crate::record::{GROUP_HEADER_BYTES, Record};
use crate::store::{StoreError, StoreOp};
use crate::view::{PAYLOAD, PayloadRow, VALUE, View, raw_key};
use crate::{Corruption, Lsn, WalError, checkpoint};

/// What a view that is being made anew says it has applied: less than any checkpoint.
const UNFINISHED: Lsn = Lsn::ZERO;

/// Operations that a replay gathers before it hands them over.
const REPLAY_OPS: usize = 1024;

/// One group as a replay sees it.
pub(super) struct Replayed<'a> {
    pub(super) number: u64,
    pub(super) lsn: Lsn,
    pub(super) records: &'a [Record<'a>],
    payload_at: u64,
}

/// Calls `visit` for every group above `from` and through `to`, in order. They are all known to
/// be sound: a group that cannot be read here is lost.
pub(super) fn each_group(
    log: &Log,
    from: Lsn,
    to: Lsn,
    visit: &mut dyn FnMut(&Replayed<'_>) -> Result<(), StoreError>,
) -> Result<(), WalError> {
    for file in log.files.values().filter(|file| file.last_lsn > from) {
        let last = file.last_lsn.min(to);
        visit_file(log, file, from, last, visit)?;
    }
    Ok(())
}

fn visit_file(
    log: &Log,
    file: &LogFile,
    from: Lsn,
    last: Lsn,
    visit: &mut dyn FnMut(&Replayed<'_>) -> Result<(), StoreError>,
) -> Result<(), WalError> {
    let failed = |error| WalError::io("the log files", error);
    let reader = log.reader(file.slot).map_err(failed)?;
    let mut offset = SECTOR_BYTES;
    let mut lsn = file.first_lsn;
    while lsn <= last {
        let lost = || WalError::Corrupt(Corruption::LostGroup { lsn, proven: last });
        let group = read_group(&*reader, &file.identity, offset).map_err(failed)?;
        let group = group.ok_or_else(lost)?;
        let (records, _) = group.records().map_err(|_| lost())?;
        if group.header.lsn != lsn {
            return Err(lost());
        }
        if lsn > from {
            let payload_at =
                offset + GROUP_HEADER_BYTES as u64 + u64::from(group.header.meta_bytes);
            let number = file.identity.number;
            let replayed = Replayed {
                number,
                lsn,
                records: &records,
                payload_at,
            };
            visit(&replayed).map_err(WalError::View)?;
        }
        offset += group.header.padded_bytes();
        lsn = lsn.next();
    }
    Ok(())
}

/// Makes the view anew: the checkpoint's values, the rows of live payloads found by scanning
/// their files, then the log since the checkpoint.
///
/// Until all that lies at or below the checkpoint is in, the view says [`UNFINISHED`]: a rebuild
/// that was cut off, or that failed half way, is behind every checkpoint and is done again.
pub(crate) fn rebuild_view(
    log: &Log,
    view: &mut View,
    base: &BaseState,
    synced: Lsn,
) -> Result<(), WalError> {
    let refused = WalError::View;
    view.forget_waiting();
    match view.store.wipe() {
        Ok(()) => {}
        Err(error) => return Err(refused(error)),
    }
    if let Some(slot) = base.slot {
        let values = checkpoint::values(&*log.disk, slot)
            .map_err(|error| WalError::io("the checkpoints", error))?;
        let Some(values) = values else {
            // It was sound at the start and rotted since: a new start falls back to the other.
            return Err(WalError::Corrupt(Corruption::NoBase));
        };
        let puts = values
            .into_iter()
            .map(|(key, value)| StoreOp::Put(raw_key(VALUE, &key), value));
        into_view(view, puts.collect(), UNFINISHED)?;
    }
    for file in log.files.values().filter(|file| !file.live.is_empty()) {
        let mut rows = Vec::new();
        let through = file.last_lsn.min(base.lsn);
        visit_file(log, file, Lsn::ZERO, through, &mut |at| {
            rows.extend(payload_rows(at).filter_map(|(key, row)| {
                let live = file.live.contains(row.ordinal);
                live.then(|| StoreOp::Put(raw_key(PAYLOAD, key), row.encode()))
            }));
            Ok(())
        })?;
        into_view(view, rows, UNFINISHED)?;
    }
    into_view(view, Vec::new(), base.lsn)?;
    replay_view(log, view, base.lsn, synced)
}

/// Hands changes to the store; what a full disk refuses waits in memory. Once something waits, so
/// does everything after it: the store must never say that it has what it has not.
fn into_view(view: &mut View, ops: Vec<StoreOp>, applied: Lsn) -> Result<(), WalError> {
    if !view.is_waiting() {
        match view.apply_all(ops.iter().cloned(), applied) {
            Ok(()) => return Ok(()),
            Err(StoreError::Full) => view.full = true,
            Err(error) => return Err(WalError::View(error)),
        }
    }
    let waiting = ops.into_iter().map(|op| match op {
        StoreOp::Put(key, value) => (key, Some(value)),
        StoreOp::Delete(key) => (key, None),
    });
    view.enqueue(waiting.collect(), applied);
    Ok(())
}

fn payload_rows<'a>(at: &'a Replayed<'a>) -> impl Iterator<Item = (&'a [u8], PayloadRow)> {
    let mut offset = at.payload_at;
    at.records.iter().filter_map(move |record| {
        let Record::PayloadDescriptor {
            key,
            len,
            crc,
            ordinal,
        } = *record
        else {
            return None;
        };
        let row = PayloadRow {
            file: at.number,
            offset,
            len,
            crc,
            ordinal,
            lsn: at.lsn.0,
        };
        offset += u64::from(len);
        Some((key, row))
    })
}

/// Applies the log above `from` to the view again. Each batch is small; a crash in the middle is
/// cured by the next start, which does it all again.
pub(super) fn replay_view(log: &Log, view: &mut View, from: Lsn, to: Lsn) -> Result<(), WalError> {
    let mut pending: Vec<StoreOp> = Vec::new();
    let mut last = from;
    let mut refused = None;
    each_group(log, from, to, &mut |at| {
        pending.extend(at.records.iter().filter_map(|record| match record {
            Record::Put { key, value } => Some(StoreOp::Put(raw_key(VALUE, key), value.to_vec())),
            Record::Delete { key } => Some(StoreOp::Delete(raw_key(VALUE, key))),
            Record::FreePayload { key, .. } => Some(StoreOp::Delete(raw_key(PAYLOAD, key))),
            _ => None,
        }));
        pending.extend(
            payload_rows(at).map(|(key, row)| StoreOp::Put(raw_key(PAYLOAD, key), row.encode())),
        );
        last = at.lsn;
        if pending.len() >= REPLAY_OPS && refused.is_none() {
            refused = into_view(view, std::mem::take(&mut pending), last).err();
        }
        Ok(())
    })?;
    match refused {
        Some(error) => Err(error),
        None => into_view(view, pending, last.max(from)),
    }
}
