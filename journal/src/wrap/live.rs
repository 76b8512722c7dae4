//! The wrap of a live frame: another key, and no number or tag of its sender's.
//!
//! What is stored nowhere proves nothing about what was stored: whatever a relay does with a frame, it must never
//! count as an envelope, and no envelope as a frame (scenario 20). So the key is another, and what the frame is
//! for stands inside, sealed by MLS as well.

use wal::Dice;
use wire::ids::SendId;
use zeroize::Zeroizing;

use super::{PREFIX_BYTES, VERSION, size_class};
use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::sealed::{self, Key};

/// Length of the content.
const HEADER_BYTES: usize = 4;
/// What this wrap adds to a content before padding.
pub(crate) const OVERHEAD_BYTES: usize = PREFIX_BYTES + HEADER_BYTES + TAG_BYTES;

/// The key of the frames that go into this mailbox's place, from the key that wraps its envelopes.
fn live_key(wrap_key: &Key, mailbox: &SendId) -> Key {
    sealed::derive(wrap_key.as_slice(), &[b"secluso live wrap v1", &mailbox.0])
}

fn aad(mailbox: &SendId) -> Vec<u8> {
    [b"secluso live v1".as_slice(), &mailbox.0].concat()
}

/// Wraps and pads one frame. `wrap_key` is that of the envelopes that we send.
pub(crate) fn wrap(
    wrap_key: &Key,
    mailbox: &SendId,
    content: &[u8],
    dice: &mut dyn Dice,
) -> Vec<u8> {
    let total = size_class(OVERHEAD_BYTES + content.len());
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    let mut out = Vec::with_capacity(total);
    out.push(VERSION);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&(content.len() as u32).to_be_bytes());
    out.extend_from_slice(content);
    out.resize(total - TAG_BYTES, 0);
    let (_, body) = out.split_at_mut(PREFIX_BYTES);
    let key = live_key(wrap_key, mailbox);
    let tag = aead::seal_in_place(&key, &nonce, &aad(mailbox), body);
    out.extend_from_slice(&tag);
    out
}

/// Opens one frame of the other side; `None` if it is none of this mailbox's.
pub(crate) fn unwrap(wrap_key: &Key, mailbox: &SendId, frame: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (&VERSION, rest) = frame.split_first()? else {
        return None;
    };
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let (body, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut body = Zeroizing::new(body.to_vec());
    let key = live_key(wrap_key, mailbox);
    if !aead::open_in_place(&key, nonce, &aad(mailbox), &mut body, tag) {
        return None;
    }
    let (length, rest) = body.split_first_chunk::<HEADER_BYTES>()?;
    let content = rest.get(..u32::from_be_bytes(*length) as usize)?;
    Some(Zeroizing::new(content.to_vec()))
}

#[cfg(test)]
mod tests {
    use wal::SeededDice;
    use wire::ids::{Digest, Seq};

    use super::*;
    use crate::wrap::{self as stored, Held, Kind, Place};

    #[test]
    fn a_frame_opens_in_its_mailbox_and_untouched_only() {
        let (key, mailbox) = (Key::new([1; 32]), SendId([2; 24]));
        let frame = wrap(&key, &mailbox, b"content", &mut SeededDice(3));
        assert_eq!(frame.len(), 512);
        let opened = unwrap(&key, &mailbox, &frame).unwrap();
        assert_eq!(opened.as_slice(), b"content");
        assert!(unwrap(&key, &SendId([3; 24]), &frame).is_none());
        assert!(unwrap(&Key::new([4; 32]), &mailbox, &frame).is_none());
        for i in 0..frame.len() {
            let mut bad = frame.clone();
            bad[i] ^= 0x40;
            assert!(unwrap(&key, &mailbox, &bad).is_none(), "byte {i}");
            assert!(unwrap(&key, &mailbox, &frame[..i]).is_none(), "prefix {i}");
        }
    }

    #[test]
    fn no_frame_is_an_envelope_and_no_envelope_a_frame() {
        let (key, mailbox) = (Key::new([1; 32]), SendId([2; 24]));
        let frame = wrap(&key, &mailbox, b"content", &mut SeededDice(3));
        let held = Held {
            seq: Seq(0),
            digest: Digest([0; 32]),
        };
        for seq in 0..4 {
            let place = Place {
                mailbox: &mailbox,
                seq: Seq(seq),
            };
            assert!(stored::unwrap(&key, place, &frame).is_none());
            let tag_key = Key::new([8; 32]);
            let mut dice = SeededDice(5);
            let envelope = stored::wrap(
                &key,
                &tag_key,
                place,
                Kind::Mls,
                held,
                b"content",
                &mut dice,
            );
            assert!(unwrap(&key, &mailbox, &envelope).is_none());
        }
    }
}
