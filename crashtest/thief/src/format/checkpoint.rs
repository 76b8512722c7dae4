//! Checkpoints: plain dumps of the small values.

use super::record::{self, Record};
use super::{Change, What};
use crate::bytes::Reader;

const LSN_AT: usize = 26;
const BODY_AT: usize = 8192;

/// The last transaction that it says it holds, its values as far as they can be read, and what lies behind these: the end
/// of a longer one that stood there before.
pub(super) fn read(file: &[u8]) -> (u64, Vec<Change>, &[u8]) {
    let header = file.get(LSN_AT..).unwrap_or_default();
    let through = Reader::new(header).le_u64().unwrap_or(0);
    let mut reader = Reader::new(file.get(BODY_AT..).unwrap_or_default());
    let mut changes = Vec::new();
    loop {
        let here = reader;
        match record::next(&mut reader) {
            Some(Record::Put { key, value }) => changes.push(Change {
                lsn: through,
                key: key.to_vec(),
                what: What::Put(value.to_vec()),
            }),
            Some(Record::End) => return (through, changes, reader.rest()),
            Some(_) => {}
            None => return (through, changes, here.rest()),
        }
    }
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
        let (through, changes, rest) = read(&file);
        assert_eq!((through, changes.len()), (5, 1));
        assert_eq!(record::carve(rest).len(), 1, "of the one before");
        let torn = file.len() - 30;
        let (_, changes, rest) = read(&file[..torn]);
        assert_eq!((changes.len(), rest.is_empty()), (1, false));
        assert_eq!(read(&[]), (0, Vec::new(), [].as_slice()));
    }
}
