//! The envelope wrap: what hides MLS headers from the relay and pads lengths to classes.
//!
//! Layout in FORMAT.md, "Envelopes". The wrap authenticates mailbox and sequence number, so an
//! envelope replayed under another number, or into another mailbox, does not open. It carries the
//! highest envelope that its sender holds from us, and a tag under a key that only its sender has.
//! This room knows no storage and no MLS.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wal::Dice;
use wire::ids::{Digest, SendId, Seq};
use zeroize::Zeroizing;

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::sealed::Key;

pub(crate) mod live;

const VERSION: u8 = 1;
const PREFIX_BYTES: usize = 1 + NONCE_BYTES;
/// Sender's tag, kind, held (seq, digest), length of the content.
const HEADER_BYTES: usize = 16 + 1 + 8 + 32 + 4;
/// What wrap and header add to a content before padding.
pub(crate) const OVERHEAD_BYTES: usize = PREFIX_BYTES + HEADER_BYTES + TAG_BYTES;

/// What an envelope holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One MLS message (RFC 9420 `MLSMessage`).
    Mls,
    /// A signed statement about a dropped clip.
    Statement,
}

/// The highest envelope that the sender held from us, durably, when it made this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its sequence number; 0 if none.
    pub seq: Seq,
    /// Its digest; zero if none.
    pub digest: Digest,
}

/// An unwrapped envelope. Authentic: made by the other side of this pairing for this place.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) kind: Kind,
    pub(crate) held: Held,
    pub(crate) content: Zeroizing<Vec<u8>>,
}

/// Where an envelope belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) mailbox: &'a SendId,
    pub(crate) seq: Seq,
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        let mut aad = b"secluso envelope v1".to_vec();
        aad.extend_from_slice(&self.mailbox.0);
        aad.extend_from_slice(&self.seq.0.to_be_bytes());
        aad
    }
}

/// The length class of an envelope that needs `bytes`: 512, 1024, 2048, then 512 short of a
/// multiple of 4096, so that envelope and record group share their last sector.
pub(crate) fn size_class(bytes: usize) -> usize {
    const SLACK: usize = 512;
    for class in [512, 1024, 2048] {
        if bytes <= class {
            return class;
        }
    }
    (bytes + SLACK).next_multiple_of(4096) - SLACK
}

/// Wraps and pads. `tag_key` is the sender's own.
pub(crate) fn wrap(
    key: &Key,
    tag_key: &Key,
    place: Place<'_>,
    kind: Kind,
    held: Held,
    content: &[u8],
    dice: &mut dyn Dice,
) -> Vec<u8> {
    let total = size_class(OVERHEAD_BYTES + content.len());
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    let mut out = Vec::with_capacity(total);
    out.push(VERSION);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&own_tag(tag_key, place, &nonce));
    out.push(match kind {
        Kind::Mls => 1,
        Kind::Statement => 2,
    });
    out.extend_from_slice(&held.seq.0.to_be_bytes());
    out.extend_from_slice(&held.digest.0);
    out.extend_from_slice(&(content.len() as u32).to_be_bytes());
    out.extend_from_slice(content);
    out.resize(total - TAG_BYTES, 0);
    let (_, body) = out.split_at_mut(PREFIX_BYTES);
    let tag = aead::seal_in_place(key, &nonce, &place.aad(), body);
    out.extend_from_slice(&tag);
    out
}

/// Wraps these bytes in place of tag, kind, held, length, content and padding: what only a member could
/// make, and a member may be malicious. For [`crate::fuzzing`].
#[cfg(feature = "crashtest")]
pub(crate) fn wrap_body(key: &Key, place: Place<'_>, body: &[u8], dice: &mut dyn Dice) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    let mut body = body.to_vec();
    let tag = aead::seal_in_place(key, &nonce, &place.aad(), &mut body);
    [
        [VERSION].as_slice(),
        nonce.as_slice(),
        body.as_slice(),
        tag.as_slice(),
    ]
    .concat()
}

/// Opens an envelope from the other side; `None` if it is not authentic for this place.
pub(crate) fn unwrap(key: &Key, place: Place<'_>, envelope: &[u8]) -> Option<Body> {
    let (&VERSION, rest) = envelope.split_first()? else {
        return None;
    };
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let (body, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut body = Zeroizing::new(body.to_vec());
    if !aead::open_in_place(key, nonce, &place.aad(), &mut body, tag) {
        return None;
    }
    let kind = match body.get(16)? {
        1 => Kind::Mls,
        2 => Kind::Statement,
        _ => return None,
    };
    let seq = Seq(u64::from_be_bytes(body.get(17..25)?.try_into().ok()?));
    let digest = Digest(body.get(25..57)?.try_into().ok()?);
    let length = u32::from_be_bytes(body.get(57..HEADER_BYTES)?.try_into().ok()?) as usize;
    let content = body.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
    Some(Body {
        kind,
        held: Held { seq, digest },
        content: Zeroizing::new(content.to_vec()),
    })
}

/// Sixteen bytes that only the sender can make for this envelope. The nonce stands for the rest:
/// whoever lacks the wrapping key cannot put another content behind it.
fn own_tag(tag_key: &Key, place: Place<'_>, nonce: &[u8; NONCE_BYTES]) -> [u8; 16] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(tag_key.as_slice())
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(&place.aad());
    mac.update(nonce);
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut tag = [0; 16];
    tag.copy_from_slice(&full[..16]);
    tag
}

#[cfg(test)]
mod tests {
    use wal::SeededDice;

    use super::*;

    const HELD: Held = Held {
        seq: Seq(4),
        digest: Digest([5; 32]),
    };

    fn make(content: &[u8]) -> (Key, SendId, Vec<u8>) {
        let (key, mailbox) = (Key::new([1; 32]), SendId([2; 24]));
        let place = Place {
            mailbox: &mailbox,
            seq: Seq(9),
        };
        let mut dice = SeededDice(3);
        let bytes = wrap(
            &key,
            &Key::new([8; 32]),
            place,
            Kind::Mls,
            HELD,
            content,
            &mut dice,
        );
        (key, mailbox, bytes)
    }

    #[test]
    fn classes_are_the_documented_ones() {
        let table = [
            (1, 512),
            (512, 512),
            (513, 1024),
            (2048, 2048),
            (2049, 3584),
            (3585, 7680),
            (65_024, 65_024),
            (65_025, 69_120),
        ];
        for (bytes, class) in table {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
        assert!(size_class(65_025) < wire::limits::ENVELOPE_BYTES_MAX);
    }

    #[test]
    fn an_envelope_opens_only_in_its_place_and_untouched() {
        let (key, mailbox, bytes) = make(b"content");
        let place = |seq| Place {
            mailbox: &mailbox,
            seq: Seq(seq),
        };
        let body = unwrap(&key, place(9), &bytes).unwrap();
        assert_eq!(
            (body.content.as_slice(), body.held),
            (b"content".as_slice(), HELD)
        );
        assert!(unwrap(&key, place(10), &bytes).is_none(), "another number");
        let other = SendId([3; 24]);
        let elsewhere = Place {
            mailbox: &other,
            seq: Seq(9),
        };
        assert!(unwrap(&key, elsewhere, &bytes).is_none(), "another mailbox");
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 0x40;
            assert!(unwrap(&key, place(9), &bad).is_none(), "byte {i}");
            assert!(unwrap(&key, place(9), &bytes[..i]).is_none(), "prefix {i}");
        }
    }

    #[test]
    fn lengths_say_only_the_class() {
        assert_eq!(make(&[0; 10]).2.len(), make(&[0; 300]).2.len());
    }
}
