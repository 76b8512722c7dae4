//! The row of a pairing: which key wraps what goes into which mailbox; the wrap itself; and what phone and hub say to each
//! other to pair, with what the PSK of their groups is made of.

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

/// First byte of what is said to pair.
const MESSAGE_VERSION: u8 = 1;
/// Groups of a pairing: as many mailboxes, key packages and welcomes.
const CHANNELS: usize = 5;
const DEVICE_BYTES: usize = 32;

/// The name under which a mailbox is written.
pub(crate) type Mailbox = [u8; 24];

/// The identifier of an offer.
pub(crate) type OfferId = [u8; 16];

/// What a phone says first to pair, as far as it matters for the PSK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) offer: OfferId,
    nonce: [u8; 32],
}

/// Something that was said to pair, by the identifier of the pairing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// The phone asks.
    Asked([u8; 16], Asked),
    /// The hub answers: a welcome into each group, in the order of the channels.
    Answered([u8; 16], Vec<Vec<u8>>),
}

/// What opens the envelopes of a mailbox.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wrap {
    pub(crate) mailbox: Mailbox,
    pub(crate) key: Secret,
}

/// Reads a message of a pairing; `None` for one in which there is nothing for a thief.
pub(crate) fn heard(message: &[u8]) -> Option<Heard> {
    let mut reader = Reader::new(message.strip_prefix(&[MESSAGE_VERSION])?);
    let places = CHANNELS * size_of::<Mailbox>();
    match reader.varint()? {
        0 => {
            let (offer, pairing, nonce) = (reader.array()?, reader.array()?, reader.array()?);
            Some(Heard::Asked(pairing, Asked { offer, nonce }))
        }
        1 => {
            let pairing = reader.array()?;
            reader.take(DEVICE_BYTES + places)?;
            let welcomes: Option<Vec<Vec<u8>>> = (0..CHANNELS)
                .map(|_| reader.blob().map(<[u8]>::to_vec))
                .collect();
            Some(Heard::Answered(pairing, welcomes?))
        }
        _ => None,
    }
}

/// The offer in a stored row of one, the hub's or the phone's, and its secret.
pub(crate) fn offer(row: &[u8]) -> Option<(OfferId, Secret)> {
    let mut reader = Reader::new(row.strip_prefix(&[POSTCARD])?);
    let offer = reader.array()?;
    Some((offer, Zeroizing::new(reader.array()?)))
}

/// The secret of an offer, from the row of the device that makes it.
pub(crate) fn offer_of_device(row: &[u8], offer: &OfferId) -> Option<Secret> {
    let mut reader = Reader::new(row.strip_prefix(&[POSTCARD])?);
    crypto::derived(reader.blob()?, &[b"secluso offer v1", offer])
}

/// The external PSK of the groups of a pairing.
pub(crate) fn psk(secret: &Secret, asked: &Asked) -> Option<Secret> {
    let info: [&[u8]; 3] = [b"secluso pairing psk v1", &asked.offer, &asked.nonce];
    crypto::derived(secret.as_slice(), &info)
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

    #[test]
    fn what_is_said_to_pair_is_read_as_far_as_it_matters() {
        let mut request = vec![MESSAGE_VERSION, 0];
        request.extend([[1; 16], [2; 16], [3; 16], [3; 16]].concat());
        let asked = Asked {
            offer: [1; 16],
            nonce: [3; 32],
        };
        assert_eq!(heard(&request), Some(Heard::Asked([2; 16], asked)));
        assert!(heard(&request[..request.len() - 1]).is_none());
        let mut answer = vec![MESSAGE_VERSION, 1];
        answer.extend([2; 16]);
        answer.extend([9; DEVICE_BYTES + CHANNELS * 24]);
        for welcome in 0..CHANNELS as u8 {
            answer.extend([2, welcome, welcome]);
        }
        let welcomes = (0..CHANNELS as u8).map(|byte| vec![byte; 2]).collect();
        assert_eq!(heard(&answer), Some(Heard::Answered([2; 16], welcomes)));
        for length in 0..answer.len() {
            assert!(heard(&answer[..length]).is_none());
        }
        assert!(heard(&[MESSAGE_VERSION, 2, 0]).is_none());
    }

    #[test]
    fn a_psk_comes_of_an_offers_row_and_of_the_devices_alike() {
        let device = [&[POSTCARD, 3][..], b"key"].concat();
        let secret = offer_of_device(&device, &[1; 16]).unwrap();
        let row = [&[POSTCARD][..], &[1; 16], secret.as_slice(), b"rest"].concat();
        let (named, stored) = offer(&row).unwrap();
        assert_eq!((named, &stored), ([1; 16], &secret));
        let asked = |nonce| Asked {
            offer: [1; 16],
            nonce: [nonce; 32],
        };
        let of = |nonce| psk(&stored, &asked(nonce)).unwrap();
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        assert!(offer(&row[..40]).is_none());
    }
}
