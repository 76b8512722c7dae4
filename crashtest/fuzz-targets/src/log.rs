//! The bytes of log files: file headers, group headers, records and meta sections.

use wal::record::{
    Bad, FILE_HEADER_BYTES, FILE_MAGIC, FileHeader, GROUP_HEADER_BYTES, GROUP_MAGIC,
    GroupHeader, RECORD_FRAME_BYTES, Record, crc_from, decode_meta,
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
        assert_eq!(header.encode()[..FILE_HEADER_BYTES], bytes[..FILE_HEADER_BYTES]);
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

/// Makes the checksums of the group or the file header in this sector fit again, so far as its records
/// lie in it.
pub(crate) fn repair(sector: &mut [u8]) {
    if sector.starts_with(&FILE_MAGIC) && sector.len() >= FILE_HEADER_BYTES {
        seal(&mut sector[..FILE_HEADER_BYTES], 0);
        return;
    }
    if !sector.starts_with(&GROUP_MAGIC) || sector.len() < GROUP_HEADER_BYTES {
        return;
    }
    let mut sum = seal(&mut sector[..GROUP_HEADER_BYTES], 0);
    let mut rest = &mut sector[GROUP_HEADER_BYTES..];
    while let Some(length) = rest.get(1..PREFIX_BYTES).and_then(|four| four.try_into().ok()) {
        let length = u32::from_le_bytes(length) as usize;
        let Some(whole) = length.checked_add(RECORD_FRAME_BYTES) else {
            return;
        };
        // Zeros behind the last record are no record.
        if whole > rest.len() || rest[0] == 0 {
            return;
        }
        let (record, after) = std::mem::take(&mut rest).split_at_mut(whole);
        sum = seal(record, sum);
        rest = after;
    }
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
    use wal::record::{FileKind, GroupDraft, Identity, encode_group};
    use wal::Lsn;

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
