//! The row of a pairing: which key wraps what goes into which mailbox; and the wrap itself.

use zeroize::Zeroizing;

use crate::bytes::Reader;
use crate::crypto::{self, Secret};

/// First byte of our own rows.
const POSTCARD: u8 = 2;
/// Version of envelopes.
const ENVELOPE_VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
/// Sender's tag; what follows it is the kind, then what the sender holds.
const TAG_BYTES: usize = 16;
/// Sequence number and digest of what the sender holds.
const HELD_BYTES: usize = 8 + 32;
const KIND_MLS: u8 = 1;

/// The name under which a mailbox is written.
pub(crate) type Mailbox = [u8; 24];

/// What opens the envelopes of a mailbox.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wrap {
    pub(crate) mailbox: Mailbox,
    pub(crate) key: Secret,
}

/// The wrapping keys in a pairing's row: of what its owner sends, and of what it receives.
pub(crate) fn wraps(row: &[u8]) -> Option<Vec<Wrap>> {
    let mut reader = Reader::new(row.strip_prefix(&[POSTCARD])?);
    let (_state, _suite) = (reader.varint()?, reader.varint()?);
    let (_own, _peer) = (reader.blob()?, reader.blob()?);
    let _device: [u8; 32] = reader.array()?;
    let send_key: Secret = Zeroizing::new(reader.array()?);
    let receive_key: Secret = Zeroizing::new(reader.array()?);
    let _tag_key: [u8; 32] = reader.array()?;
    let lines = reader.length()?;
    let mut wraps = Vec::new();
    for _ in 0..lines {
        let (_channel, _group) = (reader.varint()?, reader.blob()?);
        let send: Mailbox = reader.array()?;
        let receive: Mailbox = reader.array()?;
        let name = crypto::sha256(&[b"secluso mailbox send id v1", &receive]);
        let ways = [(send, &send_key), (*name.first_chunk()?, &receive_key)];
        for (mailbox, key) in ways {
            let key = key.clone();
            wraps.push(Wrap { mailbox, key });
        }
    }
    Some(wraps)
}

/// The MLS message in an envelope; `None` for a statement or cover, and for what this key does not open.
pub(crate) fn unwrap(wrap: &Wrap, seq: u64, envelope: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let rest = envelope.strip_prefix(&[ENVELOPE_VERSION])?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let mut aad = b"secluso envelope v1".to_vec();
    aad.extend_from_slice(&wrap.mailbox);
    aad.extend_from_slice(&seq.to_be_bytes());
    let body = crypto::open_x(&wrap.key, *nonce, &aad, body)?;
    let mut reader = Reader::new(&body);
    reader.take(TAG_BYTES)?;
    let kind = reader.u8()?;
    reader.take(HELD_BYTES)?;
    let length = usize::try_from(reader.be_u32()?).ok()?;
    let content = reader.take(length)?;
    (kind == KIND_MLS).then(|| Zeroizing::new(content.to_vec()))
}

/// The MLS message in a frame of a live session; `None` for what this key does not open.
pub(crate) fn unwrap_live(wrap: &Wrap, frame: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let rest = frame.strip_prefix(&[ENVELOPE_VERSION])?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let key = crypto::live_key(&wrap.key, &wrap.mailbox)?;
    let mut aad = b"secluso live v1".to_vec();
    aad.extend_from_slice(&wrap.mailbox);
    let body = crypto::open_x(&key, *nonce, &aad, body)?;
    let mut reader = Reader::new(&body);
    let length = usize::try_from(reader.be_u32()?).ok()?;
    Some(Zeroizing::new(reader.take(length)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_a_key_for_each_mailbox() {
        let mut row = vec![POSTCARD, 1, 0, 1, 9, 1, 9];
        row.extend([0; 32]);
        for key in [1, 2, 3] {
            row.extend([key; 32]);
        }
        row.extend([1, 4, 2, 5, 5]);
        row.extend([6; 24]);
        row.extend([7; 24]);
        let found = wraps(&row).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].mailbox, *found[0].key), ([6; 24], [1; 32]));
        assert_eq!(*found[1].key, [2; 32]);
        for length in 0..row.len() {
            assert!(wraps(&row[..length]).is_none());
        }
    }
}
