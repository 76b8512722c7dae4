//! The envelope wrap: what hides MLS headers from the relay and pads lengths to classes.
//!
//! Layout in FORMAT.md, "Envelopes". The wrap authenticates mailbox and sequence number, so an
//! envelope replayed under another number, or into another mailbox, does not open. It carries the
//! highest envelope that its sender holds from us, and a tag under a key that only its sender has.
//! In a channel whose envelopes all have the full size the outbox holds each without its padding, as a
//! *recipe* from which the wrapping key makes the very bytes that leave. This room knows no storage and no MLS.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use wal::Dice;
use wire::envelope::Envelope;
use wire::ids::{Digest, SendId, Seq};
use wire::limits::ENVELOPE_BYTES_MAX;
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

/// The length of an envelope with a full chunk, in bytes, and of every envelope of a channel whose envelopes
/// all have one length ([`crate::Journal::send_in_full_size`]).
pub const FULL_ENVELOPE_BYTES: usize = 65_024;
/// First byte of a recipe; no envelope begins with it.
const RECIPE: u8 = 0x81;

/// What an envelope holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One MLS message (RFC 9420 `MLSMessage`).
    Mls,
    /// A signed statement about a dropped clip.
    Statement,
    /// Nothing: it is there so that an envelope leaves.
    Cover,
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
pub(crate) const fn size_class(bytes: usize) -> usize {
    const SLACK: usize = 512;
    match bytes {
        ..=512 => 512,
        513..=1024 => 1024,
        1025..=2048 => 2048,
        _ => (bytes + SLACK).next_multiple_of(4096) - SLACK,
    }
}

/// Whether an envelope has a length that a sender may pad to. Any other was not made by us, so it is neither
/// copied nor decrypted.
fn is_size_class(bytes: usize) -> bool {
    bytes <= ENVELOPE_BYTES_MAX && size_class(bytes) == bytes
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
    let body = (kind, held, content);
    wrapped(total, (key, tag_key), place, body, dice)
}

/// As [`wrap`], padded to [`FULL_ENVELOPE_BYTES`] whatever its content is. A longer one is made as ever.
pub(crate) fn wrap_in_full_size(
    key: &Key,
    tag_key: &Key,
    place: Place<'_>,
    kind: Kind,
    held: Held,
    content: &[u8],
    dice: &mut dyn Dice,
) -> Vec<u8> {
    let total = size_class(OVERHEAD_BYTES + content.len()).max(FULL_ENVELOPE_BYTES);
    let body = (kind, held, content);
    wrapped(total, (key, tag_key), place, body, dice)
}

/// Wraps, and pads to so many bytes: at least as many as the content needs.
fn wrapped(
    total: usize,
    (key, tag_key): (&Key, &Key),
    place: Place<'_>,
    (kind, held, content): (Kind, Held, &[u8]),
    dice: &mut dyn Dice,
) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    let mut out = Vec::with_capacity(total);
    out.push(VERSION);
    out.extend_from_slice(&nonce);
    put_body(&mut out, tag_key, place, &nonce, kind, held, content);
    out.resize(total - TAG_BYTES, 0);
    let (_, body) = out.split_at_mut(PREFIX_BYTES);
    let tag = aead::seal_in_place(key, &nonce, &place.aad(), body);
    out.extend_from_slice(&tag);
    out
}

/// Wraps these bytes in place of tag, kind, held, length, content and padding: what only a member could
/// make, and a member may be malicious. Its length is a class only if that of `body` is right ([`padded`]).
/// For tests and fuzz targets.
#[cfg(any(test, feature = "crashtest"))]
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

/// What the other side can make of an envelope that it was given: number, nonce and sender's tag as they were, and
/// something else behind them. For tests.
#[cfg(test)]
pub(crate) fn with_another_content(key: &Key, place: Place<'_>, envelope: &[u8]) -> Vec<u8> {
    let nonce = nonce(envelope).expect("an envelope");
    let mut body = opened(key, place, envelope).expect("an envelope of this place");
    if let Some(last) = body.last_mut() {
        *last ^= 1;
    }
    let tag = aead::seal_in_place(key, nonce, &place.aad(), &mut body);
    [
        [VERSION].as_slice(),
        nonce.as_slice(),
        body.as_slice(),
        tag.as_slice(),
    ]
    .concat()
}

/// These bytes and zeros behind them, so that what [`wrap_body`] makes of them has the length of a class.
#[cfg(any(test, feature = "crashtest"))]
pub(crate) fn padded(body: &[u8]) -> Vec<u8> {
    let around = PREFIX_BYTES + TAG_BYTES;
    let mut body = body.to_vec();
    body.resize(size_class(around + body.len()) - around, 0);
    body
}

/// What the outbox holds of an envelope that was just made, in which there are so many bytes of content: that
/// itself, or its recipe if it was padded to [`FULL_ENVELOPE_BYTES`] beyond the class that it needs.
pub(crate) fn stored(envelope: Vec<u8>, content_bytes: usize) -> Vec<u8> {
    let needed = OVERHEAD_BYTES + content_bytes;
    if envelope.len() != FULL_ENVELOPE_BYTES || size_class(needed) >= FULL_ENVELOPE_BYTES {
        return envelope;
    }
    // A byte of the padding stays where the recipe would else be as long as an envelope may be: then one changed
    // byte, the first, does not make it look like one.
    let kept = needed + usize::from(is_size_class(needed));
    let (head, _) = envelope.split_at(kept - TAG_BYTES);
    let (_, nonce_and_body) = head.split_at(1);
    let (_, tag) = envelope.split_at(FULL_ENVELOPE_BYTES - TAG_BYTES);
    [[RECIPE].as_slice(), nonce_and_body, tag].concat()
}

/// Whether what the outbox holds has the form of an envelope. Everything else is a recipe, or damaged.
pub(crate) fn is_envelope(stored: &[u8]) -> bool {
    stored.first() == Some(&VERSION) && is_size_class(stored.len())
}

/// The envelope of which the outbox holds `stored`: that itself, or what its recipe makes under the wrapping key,
/// the same bytes each time. `None` for what has the form of neither. Whether a recipe was changed is not asked:
/// [`is_authentic`] tells.
fn filled_up(stored: Vec<u8>, key: &[u8; 32]) -> Option<Vec<u8>> {
    if is_envelope(&stored) {
        return Some(stored);
    }
    let (&RECIPE, rest) = stored.split_first()? else {
        return None;
    };
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let (body, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut out = Vec::with_capacity(FULL_ENVELOPE_BYTES);
    out.push(VERSION);
    out.extend_from_slice(nonce);
    out.resize(FULL_ENVELOPE_BYTES - TAG_BYTES, 0);
    let (_, sealed) = out.split_at_mut(PREFIX_BYTES);
    if body.len() > sealed.len() {
        return None;
    }
    aead::ciphertext_of_zeros(key, nonce, sealed);
    // Only that stays of it which lies where the zeros are, in the padding.
    let (before, _) = sealed.split_at_mut(body.len());
    before.copy_from_slice(body);
    out.extend_from_slice(tag);
    Some(out)
}

/// What [`filled_up`] does, checked against the relay's limits.
pub(crate) fn envelope(stored: Vec<u8>, key: &[u8; 32]) -> Option<Envelope> {
    Envelope::new(filled_up(stored, key)?).ok()
}

/// Whether an envelope was sealed under this key for this place and not changed since. Decrypts all of it.
pub(crate) fn is_authentic(key: &Key, place: Place<'_>, envelope: &[u8]) -> bool {
    opened(key, place, envelope).is_some()
}

/// Whether an envelope was made by us for this place: it opens under the key of what we send, and has a tag of
/// ours. The other side has the wrapping key as well, but never a tag for another number or another nonce than we
/// made one for; so one that it made of an envelope of ours has the number and the nonce of that.
pub(crate) fn is_our_own(key: &Key, tag_key: &Key, place: Place<'_>, envelope: &[u8]) -> bool {
    let (Some(nonce), Some(body)) = (nonce(envelope), opened(key, place, envelope)) else {
        return false;
    };
    let own = own_tag(tag_key, place, nonce);
    body.get(..own.len())
        .is_some_and(|tag| own.as_slice().ct_eq(tag).into())
}

/// The nonce of an envelope; `None` if it is too short for one.
pub(crate) fn nonce(envelope: &[u8]) -> Option<&[u8; NONCE_BYTES]> {
    envelope.get(1..)?.first_chunk()
}

/// The envelope of ours of which the outbox holds `stored` for this place: that itself, which is believed as it
/// is, or what its recipe makes. `None` for what is neither, and for a recipe of which a byte is another.
pub(crate) fn on_the_wire(key: &Key, place: Place<'_>, stored: Vec<u8>) -> Option<Vec<u8>> {
    let is_believed = is_envelope(&stored);
    let made = filled_up(stored, key)?;
    (is_believed || is_authentic(key, place, &made)).then_some(made)
}

/// What is encrypted, as far as it is not padding.
fn put_body(
    out: &mut Vec<u8>,
    tag_key: &Key,
    place: Place<'_>,
    nonce: &[u8; NONCE_BYTES],
    kind: Kind,
    held: Held,
    content: &[u8],
) {
    out.extend_from_slice(&own_tag(tag_key, place, nonce));
    out.push(match kind {
        Kind::Mls => 1,
        Kind::Statement => 2,
        Kind::Cover => 3,
    });
    out.extend_from_slice(&held.seq.0.to_be_bytes());
    out.extend_from_slice(&held.digest.0);
    out.extend_from_slice(&(content.len() as u32).to_be_bytes());
    out.extend_from_slice(content);
}

/// Opens an envelope from the other side; `None` if it is not authentic for this place.
pub(crate) fn unwrap(key: &Key, place: Place<'_>, envelope: &[u8]) -> Option<Body> {
    let body = opened(key, place, envelope)?;
    let kind = match body.get(16)? {
        1 => Kind::Mls,
        2 => Kind::Statement,
        3 => Kind::Cover,
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

/// What was encrypted, padding included; `None` if it is not authentic for this place. The length is looked at
/// first, before anything is copied.
fn opened(key: &Key, place: Place<'_>, envelope: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if !is_size_class(envelope.len()) {
        return None;
    }
    let (&VERSION, rest) = envelope.split_first()? else {
        return None;
    };
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let (body, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut body = Zeroizing::new(body.to_vec());
    aead::open_in_place(key, nonce, &place.aad(), &mut body, tag).then_some(body)
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
        assert!(size_class(65_025) < ENVELOPE_BYTES_MAX);
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

    /// Nobody pads to any other length, so what has one is nothing, however well it was sealed.
    #[test]
    fn only_the_lengths_of_classes_are_opened() {
        let (key, mailbox) = (Key::new([1; 32]), SendId([2; 24]));
        let place = Place {
            mailbox: &mailbox,
            seq: Seq(9),
        };
        let sealed = |total: usize| {
            let mut body = vec![0; total - PREFIX_BYTES - TAG_BYTES];
            body[16] = 1;
            wrap_body(&key, place, &body, &mut SeededDice(3))
        };
        let longest = ENVELOPE_BYTES_MAX - 512;
        for class in [512, 1024, 2048, 3584, 7680, 65_024, longest] {
            for (bytes, opens) in [(class - 1, false), (class, true), (class + 1, false)] {
                let envelope = sealed(bytes);
                assert_eq!(envelope.len(), bytes);
                assert_eq!(unwrap(&key, place, &envelope).is_some(), opens, "{bytes}");
            }
        }
        let beyond = size_class(longest + 1);
        assert!(beyond > ENVELOPE_BYTES_MAX);
        assert!(unwrap(&key, place, &sealed(beyond)).is_none());
        for bytes in [0, 1, 60, 480] {
            let padded = padded(&vec![0; bytes]);
            assert!(is_size_class(PREFIX_BYTES + padded.len() + TAG_BYTES));
        }
    }

    /// The same bytes each time, the padding included; and where nothing was to be padded, nothing is.
    #[test]
    fn a_recipe_makes_the_bytes_of_which_it_was_cut() {
        let (key, tag_key, mailbox) = (Key::new([1; 32]), Key::new([8; 32]), SendId([2; 24]));
        let place = Place {
            mailbox: &mailbox,
            seq: Seq(9),
        };
        let full = |kind, content: &[u8]| {
            let mut dice = SeededDice(3);
            wrap_in_full_size(&key, &tag_key, place, kind, HELD, content, &mut dice)
        };
        // With 410 bytes the recipe would have the length of an envelope.
        for (kind, bytes, more) in [
            (Kind::Cover, 0, 0),
            (Kind::Mls, 410, 1),
            (Kind::Mls, 3_000, 0),
            (Kind::Mls, 60_000, 0),
        ] {
            let content = vec![7; bytes];
            let made = full(kind, &content);
            assert_eq!(made.len(), FULL_ENVELOPE_BYTES);
            let body = unwrap(&key, place, &made).unwrap();
            assert_eq!((body.kind, body.held), (kind, HELD));
            assert_eq!(body.content.as_slice(), content);

            let recipe = stored(made.clone(), bytes);
            assert_eq!(recipe.len(), OVERHEAD_BYTES + bytes + more);
            assert!(!is_envelope(&recipe));
            for _ in 0..2 {
                let again = on_the_wire(&key, place, recipe.clone());
                assert_eq!(again.as_ref(), Some(&made));
                let again = envelope(recipe.clone(), &key).unwrap();
                assert_eq!(again.as_bytes(), made);
            }
            assert!(is_authentic(&key, place, &made));
        }
        for bytes in [64_900, 65_024] {
            let made = full(Kind::Mls, &vec![7; bytes]);
            assert!(made.len() >= FULL_ENVELOPE_BYTES);
            let kept = stored(made.clone(), bytes);
            assert_eq!(kept, made);
            assert_eq!(on_the_wire(&key, place, kept), Some(made));
        }
        // What is as long without being padded to it lies there as it is.
        let (key, _, made) = make(&[7; 64_900]);
        assert_eq!(stored(made.clone(), 64_900), made);
        assert_eq!(envelope(made.clone(), &key).unwrap().as_bytes(), made);
    }

    /// Whoever reads it without the wrapping key reads nothing; with another byte, another end, another place or
    /// another key it makes nothing.
    #[test]
    fn a_recipe_holds_nothing_in_the_clear_and_must_be_whole() {
        let (key, tag_key) = (Key::new([1; 32]), Key::new([8; 32]));
        let mailbox = SendId(core::array::from_fn(|i| 100 + i as u8));
        let place = Place {
            mailbox: &mailbox,
            seq: Seq(9),
        };
        for bytes in [0, 100, 410] {
            let content: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
            let (kind, mut dice) = (Kind::Mls, SeededDice(3));
            let made = wrap_in_full_size(&key, &tag_key, place, kind, HELD, &content, &mut dice);
            let recipe = stored(made, bytes);
            let holds = |part: &[u8]| recipe.windows(part.len()).any(|window| window == part);
            assert!(!holds(&mailbox.0) && !holds(&HELD.digest.0));
            assert!(content.windows(8).all(|part| !holds(part)));
            let makes = |key: &Key, place: Place<'_>, bytes: &[u8]| {
                on_the_wire(key, place, bytes.to_vec()).is_some()
            };
            assert!(makes(&key, place, &recipe), "the control");
            for at in 0..recipe.len() {
                for flipped in [0x01, 0x80] {
                    let mut bad = recipe.clone();
                    bad[at] ^= flipped;
                    assert!(!makes(&key, place, &bad), "byte {at}");
                }
                assert!(!makes(&key, place, &recipe[..at]), "prefix {at}");
            }
            let longer = [recipe.as_slice(), &[0]].concat();
            assert!(!makes(&key, place, &longer));
            let seq = Seq(10);
            assert!(!makes(&key, Place { seq, ..place }, &recipe));
            let mailbox = &SendId([3; 24]);
            assert!(!makes(&key, Place { mailbox, ..place }, &recipe));
            assert!(!makes(&tag_key, place, &recipe));
        }
        // Longer than any that is made, and whatever else begins like one.
        let mut long = vec![0; FULL_ENVELOPE_BYTES + 1];
        long[0] = RECIPE;
        assert_eq!(on_the_wire(&key, place, long), None);
        assert_eq!(on_the_wire(&key, place, Vec::new()), None);
        assert_eq!(on_the_wire(&key, place, vec![RECIPE]), None);
        assert_eq!(on_the_wire(&key, place, vec![VERSION; 513]), None);
    }

    /// The other side has the wrapping key. All that it can have taken for ours is one of ours with something else in
    /// it, and that has the nonce of the one that it is made of.
    #[test]
    fn our_own_is_told_by_a_tag_that_nobody_else_can_make() {
        let (key, tag_key, other) = (Key::new([1; 32]), Key::new([8; 32]), Key::new([9; 32]));
        let mailbox = SendId([2; 24]);
        let place = Place {
            mailbox: &mailbox,
            seq: Seq(9),
        };
        let next = Place {
            seq: Seq(10),
            ..place
        };
        let kind = Kind::Mls;
        let dice = || SeededDice(3);
        let made = wrap(&key, &tag_key, place, kind, HELD, b"some", &mut dice());
        let is_ours = |place, envelope: &[u8]| is_our_own(&key, &tag_key, place, envelope);
        assert!(is_ours(place, &made), "the control");
        assert!(!is_ours(next, &made));
        assert!(!is_our_own(&other, &tag_key, place, &made));
        assert!(!is_our_own(&key, &other, place, &made));
        for at in 0..made.len() {
            let mut bad = made.clone();
            bad[at] ^= 0x10;
            assert!(!is_ours(place, &bad), "byte {at}");
            assert!(!is_ours(place, &made[..at]), "prefix {at}");
        }
        let body = opened(&key, place, &made).unwrap();
        let under_another_nonce = wrap_body(&key, place, &body, &mut SeededDice(4));
        assert!(unwrap(&key, place, &under_another_nonce).is_some());
        assert!(!is_ours(place, &under_another_nonce));
        let under_another_number = wrap_body(&key, next, &body, &mut dice());
        assert!(unwrap(&key, next, &under_another_number).is_some());
        assert!(!is_ours(next, &under_another_number));
        let changed = with_another_content(&key, place, &made);
        assert!(is_ours(place, &changed));
        assert_ne!(changed, made);
        assert_eq!(nonce(&changed), nonce(&made));
    }

    #[test]
    fn lengths_say_only_the_class() {
        assert_eq!(make(&[0; 10]).2.len(), make(&[0; 300]).2.len());
    }
}
