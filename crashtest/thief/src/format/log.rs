//! Log files: groups wherever a sector begins with their magic, and what lies between them.

use super::record::{self, Record};
use super::{Change, What};
use crate::bytes::Reader;

const SECTOR_BYTES: usize = 4096;
const GROUP_MAGIC: &[u8; 4] = b"SGrp";
const HEADER_BYTES: usize = 80;
/// The checksum of a group header, and what it is about.
const CHECKED_BYTES: usize = 76;

/// What a log file gives.
#[derive(Default)]
pub(super) struct LogFile {
    /// What groups with a sound header say.
    pub(super) changes: Vec<Change>,
    /// What groups say whose header is torn.
    pub(super) torn: Vec<Change>,
    /// Records that lie in no group.
    pub(super) orphans: Vec<Change>,
}

/// Reads a whole log file.
pub(super) fn read(file: &[u8]) -> LogFile {
    let mut out = LogFile::default();
    let mut orphans_from = 0;
    let mut at = 0;
    while let Some(bytes) = file.get(at..).filter(|bytes| !bytes.is_empty()) {
        let Some((used, lsn, changes)) = group(bytes) else {
            at += SECTOR_BYTES;
            continue;
        };
        out.orphans.extend(record::carve(
            file.get(orphans_from..at).unwrap_or_default(),
        ));
        match lsn {
            Some(_) => out.changes.extend(changes),
            None => out.torn.extend(changes),
        }
        // Behind the group's records: its payloads, padding, or another life's bytes. The next group may
        // begin at any sector, also inside of what a torn header claims.
        orphans_from = at + used;
        at += SECTOR_BYTES;
    }
    out.orphans
        .extend(record::carve(file.get(orphans_from..).unwrap_or_default()));
    out
}

/// A group at the beginning of `bytes`: the length of header and records as far as they can be read, its
/// number if the header is sound, and what it says.
fn group(bytes: &[u8]) -> Option<(usize, Option<u64>, Vec<Change>)> {
    let header = bytes.get(..HEADER_BYTES)?;
    if !header.starts_with(GROUP_MAGIC) {
        return None;
    }
    let field = |at: usize| Reader::new(header.get(at..)?).le_u32();
    let sound = Some(crc32fast::hash(header.get(..CHECKED_BYTES)?)) == field(CHECKED_BYTES);
    let lsn = Reader::new(header.get(40..)?).le_u64().filter(|_| sound);
    let meta_bytes = usize::try_from(field(60)?).ok()?;
    let body = bytes.get(HEADER_BYTES..)?;
    let meta = body.get(..meta_bytes.min(body.len()))?;
    let mut payloads = body.get(meta_bytes..).unwrap_or_default();
    let mut reader = Reader::new(meta);
    let mut changes = Vec::new();
    let mut used = HEADER_BYTES;
    while let Some(record) = record::next(&mut reader) {
        used = HEADER_BYTES + meta.len() - reader.rest().len();
        let (key, what) = match record {
            Record::Put { key, value } => (key, What::Put(value.to_vec())),
            Record::Delete { key } => (key, What::Delete),
            Record::Payload { key, bytes } => {
                // One whose end is overwritten opens no more, and neither do those behind it.
                let Some((payload, rest)) = payloads.split_at_checked(bytes) else {
                    payloads = &[];
                    continue;
                };
                payloads = rest;
                (key, What::Payload(payload.to_vec()))
            }
            Record::End | Record::Other => continue,
        };
        changes.push(Change {
            lsn: lsn.unwrap_or(0),
            key: key.to_vec(),
            what,
        });
    }
    Some((used, lsn, changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(lsn: u64, meta: &[u8], payloads: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..4].copy_from_slice(GROUP_MAGIC);
        bytes[40..48].copy_from_slice(&lsn.to_le_bytes());
        bytes[60..64].copy_from_slice(&(meta.len() as u32).to_le_bytes());
        let sum = crc32fast::hash(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&sum.to_le_bytes());
        bytes.extend_from_slice(meta);
        bytes.extend_from_slice(payloads);
        bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
        bytes
    }

    #[test]
    fn living_torn_and_orphaned_records_are_found() {
        let put = |key: &[u8]| record::encode_put(key, b"value");
        let whole = group(7, &put(b"Sone"), b"");
        let mut spoilt = group(8, &put(b"Stwo"), b"");
        spoilt[41] = 1;
        let orphan = [vec![0; 100], put(b"Sthree"), vec![0; 5000]].concat();
        let file = [vec![0; SECTOR_BYTES], whole, spoilt, orphan].concat();
        let LogFile {
            changes,
            torn,
            orphans,
        } = read(&file);
        let keys = |changes: &[Change]| -> Vec<Vec<u8>> {
            changes.iter().map(|change| change.key.clone()).collect()
        };
        assert_eq!(keys(&changes), [b"Sone".to_vec()]);
        assert_eq!(changes[0].lsn, 7);
        assert_eq!(keys(&torn), [b"Stwo".to_vec()]);
        assert_eq!(keys(&orphans), [b"Sthree".to_vec()]);
        for length in 0..file.len().min(9000) {
            let _total = read(&file[..length]);
        }
    }

    #[test]
    fn payloads_stand_in_the_order_of_their_descriptors() {
        let descriptor = |key: &[u8], bytes: u8| {
            let body = [&[key.len() as u8][..], key, &[bytes, 0, 0]].concat();
            let length = (body.len() as u32).to_le_bytes();
            [&[3][..], &length, &body, &[0; 4]].concat()
        };
        let meta = [descriptor(b"La", 3), descriptor(b"Lb", 2)].concat();
        let found = read(&group(1, &meta, b"abcde")).changes;
        assert_eq!(found[0].what, What::Payload(b"abc".to_vec()));
        assert_eq!(found[1].what, What::Payload(b"de".to_vec()));
    }
}
