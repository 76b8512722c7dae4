//! The checkpoint: a plain, checksummed dump of the small values outside the view's directory.
//!
//! Two files take turns, so that a torn one always leaves the other. A checkpoint counts as
//! confirmed once the mark in its second sector was written, which happens only after its sync
//! returned Ok; an unconfirmed one may exist in the page cache alone. The other one is overwritten only
//! by a process that knows this one to be on the disk, so of two the older always is, and so is one
//! that is alone with a torn one, whatever became of their marks.

use std::io;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::log_file::read_zeroed;
use crate::options::SECTOR_BYTES;
use crate::record::{Bad, FORMAT_VERSION, FileRow, LifeId, Record, chain_start, crc_from};
use crate::store::KeyValue;
use crate::{Lsn, mutant};

/// FORMAT: first bytes of a checkpoint.
const MAGIC: [u8; 8] = *b"SecluCkp";
/// FORMAT: first bytes of its confirmation.
const CONFIRM_MAGIC: [u8; 8] = *b"SecluYes";
/// Bytes of the header that carry meaning.
const HEADER_BYTES: usize = 78;
/// Where the records begin.
const BODY_OFFSET: u64 = 2 * SECTOR_BYTES;
/// How much is written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CheckpointSlot {
    /// `checkpoint-a`
    A,
    /// `checkpoint-b`
    B,
}

impl CheckpointSlot {
    pub(crate) fn path(self) -> &'static str {
        match self {
            CheckpointSlot::A => "checkpoint-a",
            CheckpointSlot::B => "checkpoint-b",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            CheckpointSlot::A => CheckpointSlot::B,
            CheckpointSlot::B => CheckpointSlot::A,
        }
    }
}

/// What a checkpoint says about the journal as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointHead {
    pub(crate) id: LifeId,
    /// Everything through here is in it.
    pub(crate) lsn: Lsn,
    pub(crate) next_ordinal: u64,
    pub(crate) next_number: u64,
    pub(crate) incarnation: u64,
    pub(crate) body_bytes: u64,
    /// Which checkpoint this is: one more than the one that it was made beside.
    pub(crate) count: u64,
}

impl CheckpointHead {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES as usize);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.id);
        for field in [
            self.lsn.0,
            self.next_ordinal,
            self.next_number,
            self.incarnation,
            self.body_bytes,
            self.count,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let sum = crc_from(0, &out);
        out.extend_from_slice(&sum.to_le_bytes());
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out.resize(SECTOR_BYTES as usize, 0);
        out
    }

    fn decode(sector: &[u8]) -> Result<Self, Bad> {
        let (body, rest) = sector
            .split_at_checked(HEADER_BYTES - 4)
            .ok_or(Bad::Short)?;
        let (magic, fields) = body.split_first_chunk::<8>().ok_or(Bad::Short)?;
        if *magic != MAGIC {
            return Err(Bad::Magic);
        }
        let (sum, _) = rest.split_first_chunk::<4>().ok_or(Bad::Short)?;
        if crc_from(0, body) != u32::from_le_bytes(*sum) {
            return Err(Bad::Checksum);
        }
        let (version, fields) = fields.split_first_chunk::<2>().ok_or(Bad::Short)?;
        let version = u16::from_le_bytes(*version);
        if version != FORMAT_VERSION {
            return Err(Bad::Version(version));
        }
        let (id, fields) = fields.split_first_chunk::<16>().ok_or(Bad::Short)?;
        let mut numbers = fields.chunks_exact(8).map(|chunk| {
            chunk
                .first_chunk::<8>()
                .map_or(0, |bytes| u64::from_le_bytes(*bytes))
        });
        let mut next = || numbers.next().ok_or(Bad::Short);
        Ok(CheckpointHead {
            id: *id,
            lsn: Lsn(next()?),
            next_ordinal: next()?,
            next_number: next()?,
            incarnation: next()?,
            body_bytes: next()?,
            count: next()?,
        })
    }
}

fn confirmation(id: &LifeId) -> Vec<u8> {
    let mut out = CONFIRM_MAGIC.to_vec();
    out.extend_from_slice(id);
    let sum = crc_from(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out.resize(SECTOR_BYTES as usize, 0);
    out
}

/// Writes a checkpoint piece by piece. Values come first, then the file table.
pub(crate) struct Writer<'a> {
    file: &'a dyn DiskFile,
    buffer: Vec<u8>,
    at: u64,
    sum: u32,
    values: u64,
    files: u64,
    /// Bytes written so far, for the figures.
    pub(crate) written: u64,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, id: &LifeId) -> Self {
        Writer {
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            at: BODY_OFFSET,
            sum: chain_start(id),
            values: 0,
            files: 0,
            written: 0,
        }
    }

    fn push(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.sum = record.encode(self.sum, &mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES {
            self.drain()
        } else {
            Ok(())
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        self.file.write_at(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn value(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.values += 1;
        self.push(&Record::Put { key, value })
    }

    pub(crate) fn file_row(&mut self, row: FileRow) -> io::Result<()> {
        self.files += 1;
        self.push(&Record::File(row))
    }

    /// Ends the body and writes the header; nothing is synced yet. The old confirmation must be
    /// gone by then, or it would speak for bytes it has not seen: it names another id.
    pub(crate) fn finish(mut self, mut head: CheckpointHead) -> io::Result<u64> {
        let end = Record::End {
            values: self.values,
            files: self.files,
        };
        self.push(&end)?;
        self.drain()?;
        head.body_bytes = self.at - BODY_OFFSET;
        self.file.write_at(0, &head.encode())?;
        Ok(self.written + SECTOR_BYTES)
    }
}

/// Says, after its sync returned Ok, that a checkpoint is really on the disk.
pub(crate) fn confirm(file: &dyn DiskFile, id: &LifeId) -> io::Result<()> {
    file.write_at(SECTOR_BYTES, &confirmation(id))
}

/// What one of the two files holds.
pub(crate) enum Read {
    Absent,
    Bad,
    Foreign(u16),
    Sound {
        head: CheckpointHead,
        confirmed: bool,
        files: Vec<FileRow>,
    },
}

/// Removes checkpoint files that were made and never written: the directory sync that was to make
/// their names durable may have failed. The next checkpoint makes them anew.
pub(crate) fn drop_unborn(disk: &dyn Disk) -> io::Result<()> {
    for slot in [CheckpointSlot::A, CheckpointSlot::B] {
        let path = slot.path();
        if disk.exists(path)? && disk.open(path, OpenMode::Existing)?.is_empty()? {
            disk.remove(path)?;
        }
    }
    Ok(())
}

/// Reads and verifies a whole checkpoint, handing each small value to `value`.
pub(crate) fn read(
    disk: &dyn Disk,
    slot: CheckpointSlot,
    value: &mut dyn FnMut(&[u8], &[u8]),
) -> io::Result<Read> {
    if !disk.exists(slot.path())? {
        return Ok(Read::Absent);
    }
    let file = disk.open(slot.path(), OpenMode::Existing)?;
    let len = file.len()?;
    if len == 0 {
        // Created and never written: its first write has not happened.
        return Ok(Read::Absent);
    }
    let head = match CheckpointHead::decode(&read_zeroed(&*file, 0, SECTOR_BYTES as usize)?) {
        Ok(head) => head,
        Err(Bad::Version(found)) => return Ok(Read::Foreign(found)),
        Err(_) => return Ok(Read::Bad),
    };
    if BODY_OFFSET.saturating_add(head.body_bytes) > len {
        return Ok(Read::Bad);
    }
    let mark = read_zeroed(&*file, SECTOR_BYTES, SECTOR_BYTES as usize)?;
    let confirmed = mark == confirmation(&head.id) || unverified();
    // The whole body at once: it is bounded by what the view held, which fits in memory, and a
    // half-verified checkpoint must hand out nothing.
    let body = read_zeroed(&*file, BODY_OFFSET, head.body_bytes as usize)?;
    let Some(files) = verify(&head, &body) else {
        return Ok(Read::Bad);
    };
    let mut rest = body.as_slice();
    let mut sum = chain_start(&head.id);
    while let Ok((record, after, next)) = Record::decode(sum, rest) {
        if let Record::Put { key, value: bytes } = record {
            value(key, bytes);
        }
        (rest, sum) = (after, next);
    }
    Ok(Read::Sound {
        head,
        confirmed,
        files,
    })
}

/// A deliberate bug: whatever can be read of a checkpoint is the checkpoint.
fn unverified() -> bool {
    mutant!(
        "checkpoint_unverified",
        "C4",
        "a checkpoint counts without its checksums and its confirmation"
    )
}

fn verify(head: &CheckpointHead, body: &[u8]) -> Option<Vec<FileRow>> {
    let mut rest = body;
    let mut sum = chain_start(&head.id);
    let mut counted = 0;
    let mut rows = Vec::new();
    loop {
        let Ok((record, after, next)) = Record::decode(sum, rest) else {
            return unverified().then_some(rows);
        };
        (rest, sum) = (after, next);
        match record {
            Record::Put { .. } => counted += 1,
            Record::File(row) => {
                row.identity()?;
                rows.push(row);
            }
            Record::End { values, files } => {
                let whole = values == counted && files == rows.len() as u64 && rest.is_empty();
                return whole.then_some(rows);
            }
            _ => return None,
        }
    }
}

/// All the values of a checkpoint, for a rebuild of the view.
pub(crate) fn values(disk: &dyn Disk, slot: CheckpointSlot) -> io::Result<Option<Vec<KeyValue>>> {
    let mut pairs = Vec::new();
    let found = read(disk, slot, &mut |key, value| {
        pairs.push((key.to_vec(), value.to_vec()))
    })?;
    Ok(matches!(found, Read::Sound { .. }).then_some(pairs))
}

#[cfg(test)]
mod tests;
