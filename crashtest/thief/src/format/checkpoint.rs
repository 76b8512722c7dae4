//! Checkpoints: plain dumps of the small values.

use super::record::{self, Record};
use super::{Change, What};
use crate::bytes::Reader;

const LSN_AT: usize = 26;
const BODY_AT: usize = 8192;

/// The last transaction that it says it holds, and its values, as far as they can be read.
pub(super) fn read(file: &[u8]) -> (u64, Vec<Change>) {
    let header = file.get(LSN_AT..).unwrap_or_default();
    let through = Reader::new(header).le_u64().unwrap_or(0);
    let mut reader = Reader::new(file.get(BODY_AT..).unwrap_or_default());
    let mut changes = Vec::new();
    while let Some(record) = record::next(&mut reader) {
        match record {
            Record::Put { key, value } => changes.push(Change {
                lsn: through,
                key: key.to_vec(),
                what: What::Put(value.to_vec()),
            }),
            Record::End => break,
            _ => {}
        }
    }
    (through, changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_behind_two_sectors() {
        let mut file = vec![0; BODY_AT];
        file[LSN_AT] = 5;
        file.extend(record::encode_put(b"Skey", b"value"));
        file.extend([17, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        file.extend(record::encode_put(b"Sold", b"value"));
        let (through, changes) = read(&file);
        assert_eq!((through, changes.len()), (5, 1));
        assert_eq!(read(&[]), (0, Vec::new()));
    }
}
