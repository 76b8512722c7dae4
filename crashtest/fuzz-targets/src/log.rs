//! The bytes of log files: file headers, group headers, records and meta sections.

use std::ops::Range;

use wal::SECTOR_BYTES;
use wal::record::{
    Bad, FILE_HEADER_BYTES, FILE_MAGIC, FileHeader, GROUP_HEADER_BYTES, GROUP_MAGIC, GroupHeader,
    RECORD_FRAME_BYTES, Record, crc_from, decode_meta,
};

/// Bytes of a record's kind and length.
const PREFIX_BYTES: usize = 5;

/// As they are, and with checksums that fit: what rot and a torn write cannot do, a stranger can.
pub(crate) fn records(data: &[u8]) {
    file_header(data);
    file_header(&with_checksum::<FILE_HEADER_BYTES>(&FILE_MAGIC, data));
    group(data);
    group(&with_checksum::<GROUP_HEADER_BYTES>(&GROUP_MAGIC, data));
    record(0, data);
    if let Some((kind, body)) = data.split_first() {
        record(7, &framed(7, *kind, body));
    }
}

fn file_header(bytes: &[u8]) {
    if let Ok(header) = FileHeader::decode(bytes) {
        assert_eq!(FileHeader::decode(&header.encode()), Ok(header));
        assert_eq!(
            header.encode()[..FILE_HEADER_BYTES],
            bytes[..FILE_HEADER_BYTES]
        );
    }
}

fn group(bytes: &[u8]) {
    let Ok((header, sum)) = GroupHeader::decode(bytes) else {
        return;
    };
    let again = GroupHeader::decode(&header.encode()).expect("what was decoded encodes");
    assert_eq!(again.0, header);
    assert!(header.synced_through < header.lsn);
    assert!(header.padded_bytes() >= header.content_bytes());
    let meta = &bytes[GROUP_HEADER_BYTES..];
    let length = (header.meta_bytes as usize).min(meta.len());
    match decode_meta(&header, sum, &meta[..length]) {
        Ok((records, _)) => {
            assert_eq!(records.len() as u64, u64::from(header.record_count));
            assert!(records.len() * RECORD_FRAME_BYTES <= length);
        }
        Err(Bad::Magic | Bad::Version(_)) => panic!("that is no error of a record"),
        Err(Bad::Short | Bad::Checksum | Bad::Contents) => {}
    }
}

fn record(seed: u32, bytes: &[u8]) {
    let Ok((record, rest, sum)) = Record::decode(seed, bytes) else {
        return;
    };
    let used = bytes.len() - rest.len();
    assert!(used >= RECORD_FRAME_BYTES);
    let mut spelt = Vec::new();
    let after = record.encode(seed, &mut spelt);
    assert!(spelt.len() <= used);
    let again = Record::decode(seed, &spelt).expect("what was decoded encodes");
    assert_eq!((again.0, again.2), (record, after));
    if spelt.len() == used && spelt == bytes[..used] {
        assert_eq!(sum, after);
    }
}

/// A record of this kind and body, with the checksum behind `seed`.
fn framed(seed: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    let sum = crc_from(seed, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// `data` behind a magic, with a checksum at the end of its first `N` bytes.
fn with_checksum<const N: usize>(magic: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = [magic, data].concat();
    bytes.resize(bytes.len().max(N), 0);
    let sum = crc_from(0, &bytes[..N - 4]);
    bytes[N - 4..N].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// First bytes of a checkpoint, and of a sector of the vault (FORMAT.md).
const CHECKPOINT_MAGIC: &[u8] = b"SecluCkp";
const VAULT_MAGIC: &[u8] = b"SCLSVLT1";
/// Where a checkpoint's records begin, and where its name is.
const CHECKPOINT_BODY: usize = 2 * SECTOR_BYTES as usize;
const CHECKPOINT_ID: Range<usize> = 10..26;
/// Bytes of a checkpoint's header, its checksum at the end.
const CHECKPOINT_HEADER_BYTES: usize = 78;
/// Where the checksum of a vault's sector is.
const VAULT_SUM: Range<usize> = 12..16;
/// Where a group's header says how long its meta section is.
const META_BYTES: Range<usize> = 60..64;

/// Makes all checksums of a file fit again: of log files, checkpoints and the vault.
pub(crate) fn repair(file: &mut [u8]) {
    if file.starts_with(CHECKPOINT_MAGIC) && file.len() >= CHECKPOINT_BODY {
        seal(&mut file[..CHECKPOINT_HEADER_BYTES], 0);
        let chain = crc_from(0, &file[CHECKPOINT_ID]);
        chain_records(&mut file[CHECKPOINT_BODY..], chain);
        return;
    }
    for start in (0..file.len()).step_by(SECTOR_BYTES as usize) {
        repair_sector(&mut file[start..]);
    }
}

/// What begins with this sector.
fn repair_sector(bytes: &mut [u8]) {
    if bytes.starts_with(&FILE_MAGIC) && bytes.len() >= FILE_HEADER_BYTES {
        seal(&mut bytes[..FILE_HEADER_BYTES], 0);
    } else if bytes.starts_with(&GROUP_MAGIC) && bytes.len() >= GROUP_HEADER_BYTES {
        let sum = seal(&mut bytes[..GROUP_HEADER_BYTES], 0);
        let length = number(&bytes[META_BYTES]);
        let meta = &mut bytes[GROUP_HEADER_BYTES..];
        let length = length.min(meta.len());
        chain_records(&mut meta[..length], sum);
    } else if bytes.starts_with(VAULT_MAGIC) && bytes.len() >= SECTOR_BYTES as usize {
        let sector = &mut bytes[..SECTOR_BYTES as usize];
        sector[VAULT_SUM].fill(0);
        let sum = crc_from(0, sector);
        sector[VAULT_SUM].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Writes the checksum of each record behind that of the one before it.
fn chain_records(mut rest: &mut [u8], mut sum: u32) {
    while rest.len() >= RECORD_FRAME_BYTES {
        let whole = number(&rest[1..PREFIX_BYTES]).saturating_add(RECORD_FRAME_BYTES);
        if whole > rest.len() {
            return;
        }
        let (record, after) = std::mem::take(&mut rest).split_at_mut(whole);
        sum = seal(record, sum);
        rest = after;
    }
}

/// Four bytes, little end first.
fn number(four: &[u8]) -> usize {
    four.iter()
        .rev()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Writes the checksum behind `seed` into the last four bytes.
fn seal(bytes: &mut [u8], seed: u32) -> u32 {
    let (body, end) = bytes.split_at_mut(bytes.len() - 4);
    let sum = crc_from(seed, body);
    end.copy_from_slice(&sum.to_le_bytes());
    sum
}

#[cfg(test)]
mod tests {
    use wal::Lsn;
    use wal::record::{FileKind, GroupDraft, Identity, encode_group};

    use super::*;

    #[test]
    fn a_damaged_group_is_sound_again_with_its_checksums_repaired() {
        let identity = Identity {
            kind: FileKind::Normal,
            life: [9; 16],
            number: 1,
            incarnation: 1,
        };
        let draft = GroupDraft {
            lsn: Lsn(2),
            synced_through: Lsn(1),
            records: &[Record::Put {
                key: b"key",
                value: b"value",
            }],
        };
        let mut sector = Vec::new();
        encode_group(&draft, &identity, 0, &mut sector);
        sector.resize(4096, 0);
        let at = sector.windows(5).position(|w| w == b"value").unwrap();
        sector[at] = b'V';
        let (header, sum) = GroupHeader::decode(&sector).unwrap();
        let meta = GROUP_HEADER_BYTES..GROUP_HEADER_BYTES + header.meta_bytes as usize;
        assert!(decode_meta(&header, sum, &sector[meta.clone()]).is_err());
        repair(&mut sector);
        let (records, _) = decode_meta(&header, sum, &sector[meta]).unwrap();
        assert_eq!(records.len(), 1);
    }
}
