//! Sealing of single values: XChaCha20-Poly1305 with a random 192-bit nonce.
//!
//! Nonces are random, and so is the salt of each rotation: a crash and a redo seal other values under the
//! same version (scenario 26), and what a crash cut off must not open with the keys of what happened
//! instead. This room knows no storage and no scope rows; keys and dice are arguments.

use hkdf::Hkdf;
use sha2::Sha256;
use wal::{Dice, mutant};
use zeroize::Zeroizing;

use crate::aead::{self, NONCE_BYTES, TAG_BYTES};

/// The tag of a value that the deliberate bug `nothing_is_sealed` has stored.
#[cfg(feature = "crashtest")]
const CLEAR_TAG: [u8; TAG_BYTES] = [0; TAG_BYTES];

/// A 256-bit key, wiped when dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// What a rotation mixes into the key that follows: random, and no secret.
pub(crate) type Salt = [u8; 32];

/// Seals `plaintext`: nonce, ciphertext, tag.
pub(crate) fn seal(key: &Key, aad: &[u8], plaintext: &[u8], dice: &mut dyn Dice) -> Vec<u8> {
    let mut out = Vec::with_capacity(NONCE_BYTES + plaintext.len() + TAG_BYTES);
    let mut nonce = [0; NONCE_BYTES];
    dice.fill(&mut nonce);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plaintext);
    // What a thief finds then is what sealing keeps from him; `cargo xtask thief` counts it.
    mutant!("nothing_is_sealed", "S3", "values are stored in the clear, their tags zero" => {
        out.extend_from_slice(&CLEAR_TAG);
        return out;
    });
    let (_, body) = out.split_at_mut(NONCE_BYTES);
    let tag = aead::seal_in_place(key, &nonce, aad, body);
    out.extend_from_slice(&tag);
    out
}

/// Opens what [`seal`] made; `None` if a byte of it, the key or `aad` differs.
pub(crate) fn open(key: &Key, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let (body, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut plaintext = Zeroizing::new(body.to_vec());
    mutant!("nothing_is_sealed", "S3", "and are read without their keys" => {
        if *tag == CLEAR_TAG {
            return Some(plaintext);
        }
    });
    aead::open_in_place(key, nonce, aad, &mut plaintext, tag).then_some(plaintext)
}

/// `HKDF-SHA256(ikm, salt = none, info)`, 32 bytes (RFC 5869).
pub(crate) fn derive(ikm: &[u8], info: &[&[u8]]) -> Key {
    derive_salted(None, ikm, info)
}

fn derive_salted(salt: Option<&[u8]>, ikm: &[u8], info: &[&[u8]]) -> Key {
    let mut out = Key::default();
    Hkdf::<Sha256>::new(salt, ikm)
        .expand_multi_info(info, out.as_mut_slice())
        .unwrap_or_else(|_| unreachable!("32 bytes is a valid HKDF-SHA256 length"));
    out
}

/// The storage key that follows `key` in its scope. One way: the old key cannot be had from it.
///
/// The salt is the rotation's own. Without it, a rotation that a power cut took back and the one that was
/// made instead would end at the same key; and what the first had sealed lies in the log until its file is
/// used again.
pub(crate) fn next_key(key: &Key, salt: &Salt) -> Key {
    let info: &[u8] = b"secluso storage key rotation v1";
    derive_salted(Some(salt), key.as_slice(), &[info])
}

#[cfg(test)]
mod tests {
    use wal::SeededDice;

    use super::*;

    #[test]
    fn a_changed_byte_anywhere_does_not_open() {
        let key = Key::new([7; 32]);
        let sealed = seal(&key, b"aad", b"plaintext", &mut SeededDice(1));
        assert_eq!(
            open(&key, b"aad", &sealed).unwrap().as_slice(),
            b"plaintext"
        );
        assert!(open(&key, b"other", &sealed).is_none());
        assert!(open(&next_key(&key, &[1; 32]), b"aad", &sealed).is_none());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(open(&key, b"aad", &bad).is_none(), "byte {i}");
            assert!(open(&key, b"aad", &sealed[..i]).is_none(), "prefix {i}");
        }
    }

    /// Scenario 26: even where a crash and a redo seal under the same key and version, the nonce
    /// differs.
    #[test]
    fn scenario_26_a_redo_never_repeats_a_nonce() {
        let key = next_key(&Key::new([7; 32]), &[1; 32]);
        let a = seal(&key, b"", b"first attempt", &mut SeededDice(1));
        let b = seal(&key, b"", b"second attempt", &mut SeededDice(2));
        assert_ne!(a[..NONCE_BYTES], b[..NONCE_BYTES]);
    }

    #[test]
    fn rotations_with_different_salts_part_for_good() {
        let key = Key::new([7; 32]);
        let (a, b) = (next_key(&key, &[1; 32]), next_key(&key, &[2; 32]));
        assert_ne!(*a, *b);
        assert_ne!(*next_key(&a, &[3; 32]), *next_key(&b, &[3; 32]));
    }
}
