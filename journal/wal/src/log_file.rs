//! One log file: who it is, and which groups in it are sound.
//!
//! Reading here is total. It reports what is there and never decides what it means: that is the
//! decision table's work in `recover.rs`.

use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::options::SECTOR_BYTES;
use crate::ranges::Ranges;
use crate::record::{
    self, Bad, FileHeader, FileKind, GroupHeader, Identity, Record, Seal, chain_start,
};
use crate::{Lsn, mutant};

/// The directory of all log files.
pub(crate) const LOG_DIR: &str = "log";

/// How much is read at once when whole files are searched.
const SEARCH_BYTES: usize = 256 << 10;
/// How often a read is tried before its error counts.
const READ_TRIES: usize = 3;

/// The path of the file in a slot. Slots never change their names; lives come and go in them.
pub(crate) fn slot_path(slot: u64) -> String {
    format!("{LOG_DIR}/{slot:08}")
}

/// The slot that a file name stands for.
pub(crate) fn slot_of(name: &str) -> Option<u64> {
    let digits = name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok()).flatten()
}

/// A log file that holds something the journal still needs.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    pub(crate) slot: u64,
    pub(crate) identity: Identity,
    pub(crate) first_lsn: Lsn,
    /// The last transaction in it that counts.
    pub(crate) last_lsn: Lsn,
    /// Ordinals of its payloads that are still needed.
    pub(crate) live: Ranges,
    pub(crate) live_bytes: u64,
    /// Bytes of it that were written at least once.
    pub(crate) filled: u64,
}

/// A file that holds nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeFile {
    pub(crate) slot: u64,
    pub(crate) filled: u64,
}

/// What became of a file's first sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderState {
    /// It says in which boot of the machine this life began, 0 if nobody knew.
    Intact { boot: u64 },
    /// Unreadable; the identity comes from the groups.
    Damaged,
}

/// A sound group and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupAt {
    pub(crate) header: GroupHeader,
    pub(crate) offset: u64,
}

/// Everything a scan finds out about one file.
#[derive(Clone, Debug)]
pub(crate) struct FileScan {
    pub(crate) identity: Identity,
    pub(crate) header: HeaderState,
    pub(crate) first_lsn: Lsn,
    /// The unbroken chain from the first sector on.
    pub(crate) groups: Vec<GroupAt>,
    /// Sound group headers of the same life behind the end of the chain: witnesses only.
    pub(crate) strays: Vec<GroupHeader>,
    /// The seal that ends a finished copy.
    pub(crate) seal: Option<Seal>,
}

impl FileScan {
    /// Whether this is a copy that its start finished.
    pub(crate) fn is_sealed_copy(&self) -> bool {
        self.identity.kind == FileKind::Copy && (self.seal.is_some() || believes_every_copy())
    }

    /// Whether this copy's seal is known to be on the disk: something was written behind it, which a
    /// start does only after the seal's sync.
    pub(crate) fn is_witnessed_copy(&self) -> bool {
        let last = self
            .groups
            .last()
            .map_or(Lsn::ZERO, |group| group.header.lsn);
        let witnessed = |seal: Seal| last > Lsn(seal.last_lsn).next();
        self.identity.kind == FileKind::Copy && self.seal.is_some_and(witnessed)
    }

    /// Whether this copy's seal is known to be on the disk because the machine was started since: what
    /// reads back then comes from there, whatever became of its sync.
    pub(crate) fn outlived_its_boot(&self, boot: u64) -> bool {
        let HeaderState::Intact { boot: own } = self.header else {
            return false;
        };
        self.identity.kind == FileKind::Copy
            && self.seal.is_some()
            && own != boot
            && own != 0
            && boot != 0
    }

    /// The highest LSN that this file proves to have been synced.
    pub(crate) fn proof(&self) -> Lsn {
        // A header is written after everything before it was synced. A group that stands in for
        // a damaged header may be the second one of a torn batch and proves less.
        let mut proof = match self.header {
            HeaderState::Intact { .. } => self.first_lsn.prev(),
            HeaderState::Damaged => Lsn::ZERO,
        };
        let headers = self
            .groups
            .iter()
            .map(|group| &group.header)
            .chain(&self.strays);
        for header in headers {
            proof = proof.max(header.synced_through);
        }
        if let Some(seal) = self.seal {
            proof = proof.max(Lsn(seal.last_lsn));
        }
        proof
    }
}

/// A deliberate bug: the newest copy counts, finished or not.
pub(crate) fn believes_every_copy() -> bool {
    mutant!(
        "newest_copy_without_its_seal",
        "C7",
        "a copy owns its transactions although nothing says that it was finished"
    )
}

/// Reads `bytes` bytes at `offset`; what lies behind the end of the file reads as zero.
pub(crate) fn read_zeroed(file: &dyn DiskFile, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut out = vec![0; bytes];
    read_patiently(file, offset, &mut out)?;
    Ok(out)
}

/// What the first sector, or failing that the groups, say about a file.
pub(crate) enum Identified {
    /// Never used, or nothing readable in it.
    Blank,
    /// It says who it is.
    Known {
        identity: Identity,
        header: HeaderState,
        first_lsn: Lsn,
    },
    /// It is of another version of the format.
    Foreign(u16),
}

/// Finds out who a file is.
pub(crate) fn identify(file: &dyn DiskFile) -> io::Result<Identified> {
    let sector = read_zeroed(file, 0, SECTOR_BYTES as usize)?;
    match FileHeader::decode(&sector) {
        Ok(header) => {
            return Ok(Identified::Known {
                identity: header.identity,
                header: HeaderState::Intact { boot: header.boot },
                first_lsn: header.first_lsn,
            });
        }
        Err(Bad::Version(found)) => return Ok(Identified::Foreign(found)),
        Err(_) => {}
    }
    // The newest life in the file is the one that counts: older ones are what it overwrote.
    let mut newest: Option<GroupHeader> = None;
    search_groups(file, SECTOR_BYTES, |header| {
        let better = newest.is_none_or(|best| {
            (header.identity.number, std::cmp::Reverse(header.lsn))
                > (best.identity.number, std::cmp::Reverse(best.lsn))
        });
        if better {
            newest = Some(header);
        }
    })?;
    Ok(match newest {
        None => Identified::Blank,
        Some(group) => Identified::Known {
            identity: group.identity,
            header: HeaderState::Damaged,
            first_lsn: group.lsn,
        },
    })
}

/// Calls `found` for every sector from `offset` on that begins with a sound group header.
fn search_groups(
    file: &dyn DiskFile,
    mut offset: u64,
    mut found: impl FnMut(GroupHeader),
) -> io::Result<()> {
    let len = file.len()?;
    let mut block = vec![0; SEARCH_BYTES];
    while offset < len {
        let read = read_patiently(file, offset, &mut block)?;
        if read == 0 {
            break;
        }
        let sectors = block
            .get(..read)
            .unwrap_or_default()
            .chunks(SECTOR_BYTES as usize);
        for sector in sectors {
            if let Ok((header, _)) = GroupHeader::decode(sector) {
                found(header);
            }
        }
        offset += SEARCH_BYTES as u64;
    }
    Ok(())
}

/// A group's meta section, verified: header, checksum of the header, and the section's bytes.
pub(crate) struct GroupMeta {
    pub(crate) header: GroupHeader,
    sum: u32,
    meta: Vec<u8>,
}

impl GroupMeta {
    /// Its records, and the checksum that the next group continues.
    pub(crate) fn records(&self) -> Result<(Vec<Record<'_>>, u32), Bad> {
        record::decode_meta(&self.header, self.sum, &self.meta)
    }
}

/// Reads the group at `offset` if its header is sound and of this life.
pub(crate) fn read_group(
    file: &dyn DiskFile,
    identity: &Identity,
    offset: u64,
) -> io::Result<Option<GroupMeta>> {
    let sector = read_zeroed(file, offset, SECTOR_BYTES as usize)?;
    let Ok((header, sum)) = GroupHeader::decode(&sector) else {
        return Ok(None);
    };
    let end = offset.saturating_add(header.padded_bytes());
    if header.identity != *identity || end > file.len()?.next_multiple_of(SECTOR_BYTES) {
        return Ok(None);
    }
    let start = record::GROUP_HEADER_BYTES;
    let meta = match sector.get(start..start + header.meta_bytes as usize) {
        Some(meta) => meta.to_vec(),
        None => read_zeroed(file, offset + start as u64, header.meta_bytes as usize)?,
    };
    Ok(Some(GroupMeta { header, sum, meta }))
}

/// Follows the chain of a file from its first sector and looks for witnesses behind its end.
pub(crate) fn scan(
    file: &dyn DiskFile,
    identity: Identity,
    header: HeaderState,
    first_lsn: Lsn,
) -> io::Result<FileScan> {
    let mut scan = FileScan {
        identity,
        header,
        first_lsn,
        groups: Vec::new(),
        strays: Vec::new(),
        seal: None,
    };
    let mut offset = SECTOR_BYTES;
    let mut chain = chain_start(&identity.life);
    let mut expected = first_lsn;
    loop {
        let group = read_group(file, &identity, offset)?;
        let follows = |group: &GroupMeta| {
            group.header.lsn == expected
                && (group.header.previous_chain == chain
                    || mutant!(
                        "write_on_in_a_recovered_file",
                        "C5",
                        "and a group need not follow the one before it"
                    ))
        };
        let sound = |group: &GroupMeta| follows(group) && group.records().is_ok();
        let Some(group) = group.filter(sound) else {
            mutant!("torn_tail_read_over", "C7", "what lies behind a torn group counts" => {
                if let Some((at, header)) = behind_the_tear(file, &identity, offset, expected)? {
                    (offset, expected, chain) = (at, header.lsn, header.previous_chain);
                    continue;
                }
            });
            break;
        };
        let Ok((records, next)) = group.records() else {
            break;
        };
        if let [Record::Seal(seal)] = records.as_slice()
            && seal.incarnation == identity.incarnation
        {
            scan.seal = Some(*seal);
        }
        scan.groups.push(GroupAt {
            header: group.header,
            offset,
        });
        offset += group.header.padded_bytes();
        chain = next;
        expected = expected.next();
    }
    search_groups(file, offset, |header| {
        if header.identity == identity {
            scan.strays.push(header);
        }
    })?;
    Ok(scan)
}

/// The next sound group of a file behind a torn one: what no start may look for.
#[cfg(feature = "crashtest")]
fn behind_the_tear(
    file: &dyn DiskFile,
    identity: &Identity,
    mut offset: u64,
    expected: Lsn,
) -> io::Result<Option<(u64, GroupHeader)>> {
    while offset < file.len()? {
        offset += SECTOR_BYTES;
        if let Some(group) = read_group(file, identity, offset)?
            && group.header.lsn >= expected
            && group.records().is_ok()
        {
            return Ok(Some((offset, group.header)));
        }
    }
    Ok(None)
}

/// What a look at a group's payloads found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PayloadCheck {
    /// Keys of the payloads whose bytes are not what was stored, the unread ones included.
    pub(crate) damaged: Vec<Vec<u8>>,
    /// Whether the disk refused to read some of them at all.
    pub(crate) unreadable: bool,
}

/// Whether every payload of a group has the checksum that its descriptor says.
pub(crate) fn check_payloads(
    file: &dyn DiskFile,
    offset: u64,
    header: &GroupHeader,
    records: &[Record<'_>],
) -> PayloadCheck {
    let mut at = offset + record::GROUP_HEADER_BYTES as u64 + u64::from(header.meta_bytes);
    let mut check = PayloadCheck::default();
    for record in records {
        if let Record::PayloadDescriptor { key, len, crc, .. } = record {
            let mut bytes = vec![0; *len as usize];
            let read = read_patiently(file, at, &mut bytes);
            check.unreadable |= read.is_err();
            if read.is_err() || record::crc_from(0, &bytes) != *crc {
                check.damaged.push(key.to_vec());
            }
            at += u64::from(*len);
        }
    }
    check
}

/// Reads into `out`, again after an error: reading changes nothing, and a card that is busy with
/// itself may answer at the second try. Gives the number of bytes before the end of the file.
pub(crate) fn read_patiently(
    file: &dyn DiskFile,
    offset: u64,
    out: &mut [u8],
) -> io::Result<usize> {
    let mut result = file.read_at(offset, out);
    for _ in 1..READ_TRIES {
        if result.is_ok() {
            break;
        }
        result = file.read_at(offset, out);
    }
    result
}

/// Reads what can be read; sectors that the disk refuses are zeros.
pub(crate) fn read_salvaging(file: &dyn DiskFile, offset: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    if read_patiently(file, offset, &mut out).is_ok() {
        return out;
    }
    out.fill(0);
    let mut at = 0;
    while at < bytes {
        let absolute = offset + at as u64;
        let to_boundary = (absolute / SECTOR_BYTES + 1) * SECTOR_BYTES - absolute;
        let end = bytes.min(at + to_boundary as usize);
        if let Some(part) = out.get_mut(at..end)
            && read_patiently(file, absolute, part).is_err()
        {
            part.fill(0);
        }
        at = end;
    }
    out
}

/// An open file that is being written: where the next group goes and what it continues.
pub(crate) struct WriteHead {
    pub(crate) slot: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) identity: Identity,
    pub(crate) first_lsn: Lsn,
    pub(crate) filled: u64,
    pub(crate) end: u64,
    pub(crate) chain: u32,
}

#[cfg(test)]
mod tests;
