//! The bytes of a log file: file header, record groups, records. FORMAT.md mirrors this file.
//!
//! Every reader here is total: any input gives a value or a [`Bad`], never a panic and never an
//! allocation larger than the input. Nothing here does IO.

use serde::{Deserialize, Serialize};

use crate::options::SECTOR_BYTES;
use crate::{Lsn, mutant};

/// FORMAT: version of log files and checkpoints. A change of any layout needs a new one.
pub const FORMAT_VERSION: u16 = 1;
/// FORMAT: first bytes of a log file.
pub const FILE_MAGIC: [u8; 8] = *b"SecluLog";
/// FORMAT: first bytes of a record group.
pub const GROUP_MAGIC: [u8; 4] = *b"SGrp";
/// Bytes of a file header that carry meaning; the rest of its sector is zero.
pub const FILE_HEADER_BYTES: usize = 64;
/// Bytes of a group header; the meta section follows at once.
pub const GROUP_HEADER_BYTES: usize = 80;
/// Bytes that frame a record: kind, length and checksum.
pub const RECORD_FRAME_BYTES: usize = 9;

/// The random name of one life of a log file.
pub type LifeId = [u8; 16];

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// They end too early.
    Short,
    /// They do not begin with the magic.
    Magic,
    /// They are sound but of another version.
    Version(u16),
    /// A checksum is wrong.
    Checksum,
    /// They are sound and say something impossible.
    Contents,
}

/// What a log file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Written by commits.
    Normal,
    /// Written by a start: the copied tail, ended by its seal.
    Copy,
}

impl FileKind {
    fn code(self) -> u8 {
        match self {
            FileKind::Normal => 1,
            FileKind::Copy => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(FileKind::Normal),
            2 => Some(FileKind::Copy),
            _ => None,
        }
    }
}

/// Who a file is in its present life. Every group repeats it, so a damaged header loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Normal or copy.
    pub kind: FileKind,
    /// Random, new at each reuse.
    pub life: LifeId,
    /// Rises with each reuse of any file of the journal.
    pub number: u64,
    /// The start in which it was begun.
    pub incarnation: u64,
}

/// The first sector of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Who the file is.
    pub identity: Identity,
    /// The LSN of its first group.
    pub first_lsn: Lsn,
    /// The boot of the machine in which this life began ([`crate::Disk::boot`]), 0 if nobody knows.
    pub boot: u64,
}

/// The fixed part of a record group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// The file it belongs to.
    pub identity: Identity,
    /// The transaction it holds.
    pub lsn: Lsn,
    /// Everything through here was synced before this group was written.
    pub synced_through: Lsn,
    /// Records in the meta section.
    pub record_count: u32,
    /// Bytes of the meta section.
    pub meta_bytes: u32,
    /// Bytes of all payloads, which follow the meta section.
    pub payload_bytes: u32,
    /// Checksum at the end of the group before, or of the life id for the first group.
    pub previous_chain: u32,
}

/// One record. Bodies are postcard; payload bytes are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A small value is set.
    Put {
        /// Its key.
        key: &'a [u8],
        /// Its new value.
        value: &'a [u8],
    },
    /// A small value is removed.
    Delete {
        /// Its key.
        key: &'a [u8],
    },
    /// A payload of this group; payloads stand in the order of their descriptors.
    PayloadDescriptor {
        /// Its key.
        key: &'a [u8],
        /// Its bytes.
        len: u32,
        /// Their checksum.
        crc: u32,
        /// Its number in the journal's life.
        ordinal: u64,
    },
    /// An earlier payload is no longer needed.
    FreePayload {
        /// Its key.
        key: &'a [u8],
        /// Its number.
        ordinal: u64,
        /// Its bytes.
        len: u32,
    },
    /// Ends a copy: everything before it in this file is what the start found and synced.
    Seal(Seal),
    /// Checkpoint only: a log file that still matters.
    File(FileRow),
    /// Checkpoint only: the last record.
    End {
        /// Values in the checkpoint.
        values: u64,
        /// File records in the checkpoint.
        files: u64,
    },
}

/// The body of a seal record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Number of the last file that was copied from, 0 if there was none.
    pub source_number: u64,
    /// Its life id.
    pub source_life: LifeId,
    /// The last transaction that counts; the source counts only up to it.
    pub last_lsn: u64,
    /// The start that wrote the seal.
    pub incarnation: u64,
}

/// A log file as a checkpoint remembers it; its live payload ranges follow in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// File number.
    pub number: u64,
    /// Life id.
    pub life: LifeId,
    /// Incarnation.
    pub incarnation: u64,
    /// 1 normal, 2 copy.
    pub kind: u8,
    /// First LSN.
    pub first_lsn: u64,
    /// Last LSN that counts.
    pub last_lsn: u64,
    /// Bytes of live payloads.
    pub live_bytes: u64,
    /// First ordinal of one range of live payloads; equal to `live_end` if there is none.
    pub live_start: u64,
    /// The ordinal after that range. A file with several ranges has several rows.
    pub live_end: u64,
}

impl FileRow {
    /// The identity in it, if the kind is one we know.
    pub fn identity(&self) -> Option<Identity> {
        Some(Identity {
            kind: FileKind::from_code(self.kind)?,
            life: self.life,
            number: self.number,
            incarnation: self.incarnation,
        })
    }

    pub(crate) fn kind_code(kind: FileKind) -> u8 {
        kind.code()
    }
}

/// FORMAT: record kinds.
const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;
const KIND_PAYLOAD: u8 = 3;
const KIND_FREE: u8 = 4;
const KIND_SEAL: u8 = 5;
const KIND_FILE: u8 = 16;
const KIND_END: u8 = 17;

/// Reads fixed-width little-endian fields one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (now, rest) = self.0.split_first_chunk::<N>().ok_or(Bad::Short)?;
        self.0 = rest;
        Ok(*now)
    }

    fn u8(&mut self) -> Result<u8, Bad> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn u16(&mut self) -> Result<u16, Bad> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, Bad> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, Bad> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn bytes(&mut self, n: usize) -> Result<&'a [u8], Bad> {
        let (now, rest) = self.0.split_at_checked(n).ok_or(Bad::Short)?;
        self.0 = rest;
        Ok(now)
    }
}

/// CRC-32 of `bytes` that goes on from `seed`, so that a record cannot stand behind another
/// predecessor.
pub fn crc_from(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Where the chain of a life begins.
pub fn chain_start(life: &LifeId) -> u32 {
    crc_from(0, life)
}

fn put_identity(out: &mut Vec<u8>, identity: &Identity) {
    out.push(identity.kind.code());
    out.push(0);
    out.extend_from_slice(&identity.life);
    out.extend_from_slice(&identity.number.to_le_bytes());
    out.extend_from_slice(&identity.incarnation.to_le_bytes());
}

fn take_identity(fields: &mut Fields<'_>) -> Result<Identity, Bad> {
    let kind = FileKind::from_code(fields.u8()?).ok_or(Bad::Contents)?;
    if fields.u8()? != 0 {
        return Err(Bad::Contents);
    }
    Ok(Identity {
        kind,
        life: fields.take()?,
        number: fields.u64()?,
        incarnation: fields.u64()?,
    })
}

/// Checks the last four of `N` bytes against the ones before; the version is read first so that
/// a newer format is told apart from damage only when it is intact.
fn checked<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], Bad> {
    let whole = bytes.first_chunk::<N>().ok_or(Bad::Short)?;
    let (body, sum) = whole.split_last_chunk::<4>().ok_or(Bad::Short)?;
    if crc_from(0, body) != u32::from_le_bytes(*sum) {
        return Err(Bad::Checksum);
    }
    Ok(whole)
}

impl FileHeader {
    /// The header as one sector.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_BYTES as usize);
        out.extend_from_slice(&FILE_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        put_identity(&mut out, &self.identity);
        out.extend_from_slice(&self.first_lsn.0.to_le_bytes());
        out.extend_from_slice(&self.boot.to_le_bytes());
        let sum = crc_from(0, &out);
        out.extend_from_slice(&sum.to_le_bytes());
        debug_assert_eq!(out.len(), FILE_HEADER_BYTES);
        out.resize(SECTOR_BYTES as usize, 0);
        out
    }

    /// Reads a header from the start of a sector.
    pub fn decode(sector: &[u8]) -> Result<Self, Bad> {
        let mut fields = Fields(sector);
        if fields.take::<8>()? != FILE_MAGIC {
            return Err(Bad::Magic);
        }
        checked::<FILE_HEADER_BYTES>(sector)?;
        let version = fields.u16()?;
        if version != FORMAT_VERSION {
            return Err(Bad::Version(version));
        }
        let identity = take_identity(&mut fields)?;
        let first_lsn = Lsn(fields.u64()?);
        if first_lsn == Lsn::ZERO {
            return Err(Bad::Contents);
        }
        Ok(FileHeader {
            identity,
            first_lsn,
            boot: fields.u64()?,
        })
    }
}

impl GroupHeader {
    /// The header's bytes; the last four are its checksum, which seeds the first record's.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(GROUP_HEADER_BYTES);
        out.extend_from_slice(&GROUP_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        put_identity(&mut out, &self.identity);
        out.extend_from_slice(&self.lsn.0.to_le_bytes());
        out.extend_from_slice(&self.synced_through.0.to_le_bytes());
        out.extend_from_slice(&self.record_count.to_le_bytes());
        out.extend_from_slice(&self.meta_bytes.to_le_bytes());
        out.extend_from_slice(&self.payload_bytes.to_le_bytes());
        out.extend_from_slice(&self.previous_chain.to_le_bytes());
        let reserved = GROUP_HEADER_BYTES - 4 - out.len();
        out.extend(std::iter::repeat_n(0, reserved));
        let sum = crc_from(0, &out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a header and its checksum from the start of a sector.
    pub fn decode(sector: &[u8]) -> Result<(Self, u32), Bad> {
        let mut fields = Fields(sector);
        if fields.take::<4>()? != GROUP_MAGIC {
            return Err(Bad::Magic);
        }
        let whole = checked::<GROUP_HEADER_BYTES>(sector)?;
        let version = fields.u16()?;
        if version != FORMAT_VERSION {
            return Err(Bad::Version(version));
        }
        let header = GroupHeader {
            identity: take_identity(&mut fields)?,
            lsn: Lsn(fields.u64()?),
            synced_through: Lsn(fields.u64()?),
            record_count: fields.u32()?,
            meta_bytes: fields.u32()?,
            payload_bytes: fields.u32()?,
            previous_chain: fields.u32()?,
        };
        if header.synced_through >= header.lsn {
            return Err(Bad::Contents);
        }
        let sum = whole.last_chunk::<4>().ok_or(Bad::Short)?;
        Ok((header, u32::from_le_bytes(*sum)))
    }

    /// Bytes of header, meta section and payloads, without padding.
    pub fn content_bytes(&self) -> u64 {
        GROUP_HEADER_BYTES as u64 + u64::from(self.meta_bytes) + u64::from(self.payload_bytes)
    }

    /// Bytes that the group occupies in its file.
    pub fn padded_bytes(&self) -> u64 {
        pad(self.content_bytes())
    }
}

/// Rounds up to whole sectors.
pub fn pad(bytes: u64) -> u64 {
    bytes.div_ceil(SECTOR_BYTES) * SECTOR_BYTES
}

fn body<T: Serialize>(value: &T) -> Vec<u8> {
    match postcard::to_allocvec(value) {
        Ok(bytes) => bytes,
        // Our own plain structs always encode; anything else is a bug.
        Err(error) => panic!("a record could not be encoded: {error}"),
    }
}

/// Bytes that are written at once. serde takes a slice for a sequence and hands it over byte by byte; what postcard makes
/// of both is the same.
struct Whole<'a>(&'a [u8]);

impl Serialize for Whole<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Bad> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Bad::Contents),
    }
}

impl<'a> Record<'a> {
    /// Appends the record to `out`; `seed` is the checksum before it, the result the one after.
    pub fn encode(&self, seed: u32, out: &mut Vec<u8>) -> u32 {
        let (kind, body) = match self {
            Record::Put { key, value } => (KIND_PUT, body(&(Whole(key), Whole(value)))),
            Record::Delete { key } => (KIND_DELETE, body(key)),
            Record::PayloadDescriptor {
                key,
                len,
                crc,
                ordinal,
            } => (KIND_PAYLOAD, body(&(key, len, crc, ordinal))),
            Record::FreePayload { key, ordinal, len } => (KIND_FREE, body(&(key, ordinal, len))),
            Record::Seal(seal) => (KIND_SEAL, body(seal)),
            Record::File(row) => (KIND_FILE, body(row)),
            Record::End { values, files } => (KIND_END, body(&(values, files))),
        };
        let start = out.len();
        out.push(kind);
        // A record is bounded by the limits of `Txn`, far below 2^32.
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&body);
        let sum = crc_from(seed, out.get(start..).unwrap_or_default());
        out.extend_from_slice(&sum.to_le_bytes());
        sum
    }

    /// Reads one record from the start of `bytes`; gives it, the rest and the checksum after it.
    pub fn decode(seed: u32, bytes: &'a [u8]) -> Result<(Self, &'a [u8], u32), Bad> {
        let mut fields = Fields(bytes);
        let kind = fields.u8()?;
        let len = fields.u32()? as usize;
        let text = fields.bytes(len)?;
        let framed = bytes.get(..5 + len).ok_or(Bad::Short)?;
        let sum = fields.u32()?;
        if crc_from(seed, framed) != sum
            && !mutant!(
                "bad_crc_accepted",
                "C5",
                "a record's checksum is not looked at"
            )
        {
            return Err(Bad::Checksum);
        }
        let record = match kind {
            KIND_PUT => {
                let (key, value) = parse(text)?;
                Record::Put { key, value }
            }
            KIND_DELETE => Record::Delete { key: parse(text)? },
            KIND_PAYLOAD => {
                let (key, len, crc, ordinal) = parse(text)?;
                Record::PayloadDescriptor {
                    key,
                    len,
                    crc,
                    ordinal,
                }
            }
            KIND_FREE => {
                let (key, ordinal, len) = parse(text)?;
                Record::FreePayload { key, ordinal, len }
            }
            KIND_SEAL => Record::Seal(parse(text)?),
            KIND_FILE => Record::File(parse(text)?),
            KIND_END => {
                let (values, files) = parse(text)?;
                Record::End { values, files }
            }
            _ => return Err(Bad::Contents),
        };
        Ok((record, fields.0, sum))
    }
}

/// Reads the meta section of a group; gives its records and the checksum that the next group
/// continues. The descriptors' lengths must add up to the group's payload bytes.
pub fn decode_meta<'a>(
    header: &GroupHeader,
    header_sum: u32,
    meta: &'a [u8],
) -> Result<(Vec<Record<'a>>, u32), Bad> {
    if meta.len() != header.meta_bytes as usize {
        return Err(Bad::Short);
    }
    let mut rest = meta;
    let mut sum = header_sum;
    let mut records = Vec::new();
    let mut payload = 0u64;
    while !rest.is_empty() {
        let (record, after, next) = Record::decode(sum, rest)?;
        if let Record::PayloadDescriptor { len, .. } = record {
            payload += u64::from(len);
        }
        records.push(record);
        (rest, sum) = (after, next);
    }
    let counted = records.len() as u64 == u64::from(header.record_count);
    if !counted || payload != u64::from(header.payload_bytes) {
        return Err(Bad::Contents);
    }
    Ok((records, sum))
}

/// A group without its place: the same records get other checksums in another file.
#[derive(Clone, Copy, Debug)]
pub struct GroupDraft<'a> {
    /// The transaction.
    pub lsn: Lsn,
    /// What is synced when it is written.
    pub synced_through: Lsn,
    /// Its records.
    pub records: &'a [Record<'a>],
}

/// Appends the header and the meta section of a group to `out`; gives the checksum that the next
/// group continues. The payload bytes and the padding are the caller's.
pub fn encode_group(
    draft: &GroupDraft<'_>,
    identity: &Identity,
    previous_chain: u32,
    out: &mut Vec<u8>,
) -> (GroupHeader, u32) {
    // Lengths are needed before checksums, and bodies do not depend on the seed.
    let mut scratch = Vec::new();
    let mut payload_bytes = 0u32;
    for record in draft.records {
        record.encode(0, &mut scratch);
        if let Record::PayloadDescriptor { len, .. } = record {
            payload_bytes += len;
        }
    }
    let header = GroupHeader {
        identity: *identity,
        lsn: draft.lsn,
        synced_through: draft.synced_through,
        record_count: draft.records.len() as u32,
        meta_bytes: scratch.len() as u32,
        payload_bytes,
        previous_chain,
    };
    let bytes = header.encode();
    let mut sum = bytes
        .last_chunk::<4>()
        .map_or(0, |sum| u32::from_le_bytes(*sum));
    out.extend_from_slice(&bytes);
    for record in draft.records {
        sum = record.encode(sum, out);
    }
    (header, sum)
}

#[cfg(test)]
mod tests;
