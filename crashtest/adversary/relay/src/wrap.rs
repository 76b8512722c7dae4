//! The wrap of envelopes as `journal/FORMAT.md` has it ("Envelopes"), written down a second time: for an attacker who
//! came by a pairing's wrapping key, which no relay has.
//!
//! Whoever holds that key and no other opens an envelope, changes what lies there and wraps it again under the same
//! nonce, for which the sender's own tag stays good. This room must never read what MLS sealed.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use wire::{SendId, Seq};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
/// Where each part of the plaintext begins.
const KIND_AT: usize = 16;
const HELD_AT: usize = 17;
const LENGTH_AT: usize = 57;
const CONTENT_AT: usize = 61;

/// A wrapping key and the mailbox in which it is used.
pub struct Wrap {
    cipher: XChaCha20Poly1305,
    mailbox: SendId,
}

/// What lies under a wrap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    nonce: [u8; NONCE_BYTES],
    /// All of it: the sender's tag, kind, what it holds, length, content, padding.
    pub plaintext: Vec<u8>,
}

/// A part of what lies under a wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// What only the sender can make, and only the sender checks.
    OwnTag,
    /// MLS message, statement or cover.
    Kind,
    /// Number and digest of what the sender holds.
    Held,
    /// The length of the content.
    Length,
    /// The content.
    Content,
    /// What nobody reads.
    Padding,
}

impl Wrap {
    /// The wrap of envelopes in this mailbox.
    #[must_use]
    pub fn new(key: &[u8; 32], mailbox: SendId) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(&(*key).into()),
            mailbox,
        }
    }

    fn associated(&self, seq: Seq) -> Vec<u8> {
        let mut bytes = b"secluso envelope v1".to_vec();
        bytes.extend_from_slice(self.mailbox.as_bytes());
        bytes.extend_from_slice(&seq.0.to_be_bytes());
        bytes
    }

    /// Opens an envelope; `None` if it is none of this key, mailbox and number.
    #[must_use]
    pub fn open(&self, seq: Seq, envelope: &[u8]) -> Option<Opened> {
        let (&VERSION, rest) = envelope.split_first()? else {
            return None;
        };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let aad = self.associated(seq);
        let payload = Payload {
            msg: sealed,
            aad: &aad,
        };
        let plaintext = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(Opened {
            nonce: *nonce,
            plaintext,
        })
    }

    /// Wraps it again, whatever it has become; `None` if it is longer than any cipher takes.
    #[must_use]
    pub fn seal(&self, seq: Seq, opened: &Opened) -> Option<Vec<u8>> {
        let aad = self.associated(seq);
        let payload = Payload {
            msg: &opened.plaintext,
            aad: &aad,
        };
        let nonce = XNonce::from(opened.nonce);
        let sealed = self.cipher.encrypt(&nonce, payload).ok()?;
        Some([[VERSION].as_slice(), &opened.nonce, &sealed].concat())
    }
}

impl Opened {
    /// Bytes of the content, as its length says.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        let length = self.plaintext.get(LENGTH_AT..CONTENT_AT);
        let length = length.and_then(|four| <[u8; 4]>::try_from(four).ok());
        length.map_or(0, |four| u32::from_be_bytes(four) as usize)
    }

    /// Bytes through the end of the content; padding lies behind them.
    #[must_use]
    pub fn said_bytes(&self) -> usize {
        (CONTENT_AT + self.content_bytes()).min(self.plaintext.len())
    }

    /// What the byte at this place belongs to.
    #[must_use]
    pub fn part(&self, place: usize) -> Part {
        match place {
            0..KIND_AT => Part::OwnTag,
            KIND_AT..HELD_AT => Part::Kind,
            HELD_AT..LENGTH_AT => Part::Held,
            LENGTH_AT..CONTENT_AT => Part::Length,
            _ if place - CONTENT_AT < self.content_bytes() => Part::Content,
            _ => Part::Padding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_is_wrapped_again_and_opens_in_its_place_only() {
        let (key, mailbox) = ([7; 32], SendId([2; 24]));
        let wrap = Wrap::new(&key, mailbox);
        let mut plaintext = vec![0; 100];
        plaintext[KIND_AT] = 1;
        plaintext[LENGTH_AT + 3] = 5;
        let opened = Opened {
            nonce: [3; NONCE_BYTES],
            plaintext,
        };
        let envelope = wrap.seal(Seq(9), &opened).unwrap();
        assert_eq!(envelope.len(), 1 + NONCE_BYTES + 100 + 16);
        assert_eq!(wrap.open(Seq(9), &envelope), Some(opened.clone()));
        assert_eq!(wrap.open(Seq(8), &envelope), None);
        let elsewhere = Wrap::new(&key, SendId([4; 24]));
        assert_eq!(elsewhere.open(Seq(9), &envelope), None);
        let parts = [0, 16, 17, 56, 57, 61, 65, 66].map(|place| opened.part(place));
        let wanted = [
            Part::OwnTag,
            Part::Kind,
            Part::Held,
            Part::Held,
            Part::Length,
            Part::Content,
            Part::Content,
            Part::Padding,
        ];
        assert_eq!(parts, wanted);
        assert_eq!((opened.content_bytes(), opened.said_bytes()), (5, 66));
    }
}
