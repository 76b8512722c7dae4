//! The wrap of a live frame: another key, and no number or tag of its sender's.
//!
//! What is stored nowhere proves nothing about what was stored: whatever a relay does with a frame, it must never
//! count as an envelope, and no envelope as a frame (scenario 20). So the key is another, and what the frame is
//! for stands inside, sealed by MLS as well.

use wal::Dice;
use wire::ids::SendId;
use zeroize::Zeroizing;

use super::{PREFIX_BYTES, VERSION, is_size_class, size_class};
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

/// Opens one frame of the other side; `None` if it is none of this mailbox's. The length is looked at first, before
/// anything is copied.
pub(crate) fn unwrap(wrap_key: &Key, mailbox: &SendId, frame: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if !is_size_class(frame.len()) {
        return None;
    }
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
    use wire::limits::ENVELOPE_BYTES_MAX;

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

    /// Nobody pads to any other length, so what has one is nothing, however well it was sealed.
    #[test]
    fn only_the_lengths_of_classes_are_opened() {
        let (wrap_key, mailbox) = (Key::new([1; 32]), SendId([2; 24]));
        let sealed = |total: usize| {
            let nonce = [3; NONCE_BYTES];
            let mut body = vec![0; total - PREFIX_BYTES - TAG_BYTES];
            let key = live_key(&wrap_key, &mailbox);
            let tag = aead::seal_in_place(&key, &nonce, &aad(&mailbox), &mut body);
            [
                [VERSION].as_slice(),
                nonce.as_slice(),
                body.as_slice(),
                tag.as_slice(),
            ]
            .concat()
        };
        let longest = ENVELOPE_BYTES_MAX - 512;
        for class in [512, 1024, 2048, 3584, 7680, 65_024, longest] {
            for (bytes, opens) in [(class - 1, false), (class, true), (class + 1, false)] {
                let frame = sealed(bytes);
                assert_eq!(frame.len(), bytes);
                let opened = unwrap(&wrap_key, &mailbox, &frame);
                assert_eq!(opened.is_some(), opens, "{bytes}");
            }
        }
        let beyond = size_class(longest + 1);
        assert!(beyond > ENVELOPE_BYTES_MAX);
        assert!(unwrap(&wrap_key, &mailbox, &sealed(beyond)).is_none());
        // Whatever is said in one, a frame has one of them.
        for bytes in [0, 1, 467, 468, 3_000, 60_000] {
            let frame = wrap(&wrap_key, &mailbox, &vec![7; bytes], &mut SeededDice(3));
            let opened = unwrap(&wrap_key, &mailbox, &frame);
            assert_eq!(opened.map(|content| content.len()), Some(bytes));
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
