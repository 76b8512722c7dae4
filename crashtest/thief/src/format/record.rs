//! Records: in a chain, or wherever in some bytes one seems to stand.

use super::{Change, What};
use crate::bytes::Reader;

/// Longest body that is believed: a key and a small value of the longest, and their lengths.
const BODY_BYTES_MAX: usize = (1 << 20) + 8192;
/// Namespaces that a thief looks for: sealed values, and the rows of scopes with the salts of their keys.
const WANTED: [u8; 3] = [b'S', b'L', b'C'];

/// A record as it stands, its checksum not looked at.
pub(super) enum Record<'a> {
    Put { key: &'a [u8], value: &'a [u8] },
    Delete { key: &'a [u8] },
    Payload { key: &'a [u8], bytes: usize },
    End,
    Other,
}

/// The next record of a chain; `None` where it ends, or where there never was one.
pub(super) fn next<'a>(reader: &mut Reader<'a>) -> Option<Record<'a>> {
    let kind = reader.u8()?;
    let length = usize::try_from(reader.le_u32()?).ok()?;
    if length > BODY_BYTES_MAX {
        return None;
    }
    let mut body = Reader::new(reader.take(length)?);
    let _checksum = reader.le_u32()?;
    Some(match kind {
        1 => Record::Put {
            key: body.blob()?,
            value: body.blob()?,
        },
        2 => Record::Delete { key: body.blob()? },
        3 => Record::Payload {
            key: body.blob()?,
            bytes: body.length()?,
        },
        4 | 5 | 16 => Record::Other,
        17 => Record::End,
        _ => return None,
    })
}

/// Every record of a sealed value or of a scope's row that stands anywhere in `bytes`: remnants of groups whose header is
/// gone. A record is one if its lengths agree with each other.
pub(super) fn carve(bytes: &[u8]) -> Vec<Change> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == 1) {
        let here = rest.get(at..).unwrap_or_default();
        let mut reader = Reader::new(here);
        rest = match put(&mut reader) {
            Some((key, value)) => {
                found.push(Change {
                    lsn: 0,
                    key: key.to_vec(),
                    what: What::Put(value.to_vec()),
                });
                reader.rest()
            }
            None => here.get(1..).unwrap_or_default(),
        };
    }
    found
}

fn put<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let kind = reader.u8()?;
    let length = usize::try_from(reader.le_u32()?).ok()?;
    if kind != 1 || length > BODY_BYTES_MAX {
        return None;
    }
    let mut body = Reader::new(reader.take(length)?);
    let (key, value) = (body.blob()?, body.blob()?);
    let is_wanted = key.first().is_some_and(|first| WANTED.contains(first));
    (is_wanted && body.rest().is_empty()).then_some((key, value))
}

#[cfg(test)]
pub(super) fn encode_put(key: &[u8], value: &[u8]) -> Vec<u8> {
    // Lengths below 128 are varints of one byte.
    let body = [&[key.len() as u8][..], key, &[value.len() as u8], value].concat();
    let mut out = vec![1];
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(&[0; 4]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_its_group_is_found_and_a_cut_off_one_is_not() {
        let put = encode_put(b"Skey", b"value");
        let bytes = [&[1, 1, 0, 9][..], &put, &[1; 7], &put[..put.len() - 6]].concat();
        let found = carve(&bytes);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key, b"Skey");
        assert_eq!(found[0].what, What::Put(b"value".to_vec()));
        assert_eq!(carve(&encode_put(b"Cscope", b"value")).len(), 1);
        assert!(carve(&encode_put(b"Hrow", b"value")).is_empty());
    }
}
