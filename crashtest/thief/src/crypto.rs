//! The primitives that `journal/FORMAT.md` and RFC 9420 name, from crates that the project does not use
//! for them.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::bytes::put_vector;

/// A 256-bit secret, wiped when it goes.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// What a rotation mixes into the storage key that follows: it lies in the clear, in the scope's row.
pub(crate) type Salt = [u8; 32];

/// Length of an authentication tag in bytes.
pub(crate) const TAG_BYTES: usize = 16;

/// XChaCha20-Poly1305; `sealed` is ciphertext and tag.
pub(crate) fn open_x(
    key: &Secret,
    nonce: [u8; 24],
    aad: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = XChaCha20Poly1305::new(&(**key).into());
    let payload = Payload { msg: sealed, aad };
    cipher
        .decrypt(&XNonce::from(nonce), payload)
        .ok()
        .map(Zeroizing::new)
}

/// ChaCha20-Poly1305 of RFC 8439, the AEAD of both suites.
pub(crate) fn open(
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = ChaCha20Poly1305::new(&(*key).into());
    let payload = Payload { msg: sealed, aad };
    cipher
        .decrypt(&Nonce::from(nonce), payload)
        .ok()
        .map(Zeroizing::new)
}

/// SHA-256 of some parts, one behind the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The storage key that follows `key` in its scope, by the rotation of this salt.
pub(crate) fn next_storage_key(key: &Secret, salt: &Salt) -> Option<Secret> {
    let mut out = Secret::default();
    Hkdf::<Sha256>::new(Some(salt), key.as_slice())
        .expand(b"secluso storage key rotation v1", out.as_mut_slice())
        .ok()?;
    Some(out)
}

/// `HKDF(secret, info)` as `journal/FORMAT.md` has it where it names no salt; the parts of the info stand one behind the
/// other.
pub(crate) fn derived(secret: &[u8], info: &[&[u8]]) -> Option<Secret> {
    let mut out = Secret::default();
    Hkdf::<Sha256>::new(None, secret)
        .expand(&info.concat(), out.as_mut_slice())
        .ok()?;
    Some(out)
}

/// The key that wraps the frames of live sessions, from the one that wraps envelopes for this mailbox.
pub(crate) fn live_key(key: &Secret, mailbox: &[u8; 24]) -> Option<Secret> {
    derived(key.as_slice(), &[b"secluso live wrap v1", mailbox])
}

/// `ExpandWithLabel` of RFC 9420, section 8.
pub(crate) fn expand_with_label<const N: usize>(
    secret: &[u8; 32],
    label: &str,
    context: &[u8],
) -> Option<Zeroizing<[u8; N]>> {
    let mut info = u16::try_from(N).ok()?.to_be_bytes().to_vec();
    put_vector(&mut info, format!("MLS 1.0 {label}").as_bytes())?;
    put_vector(&mut info, context)?;
    let mut out = Zeroizing::new([0_u8; N]);
    Hkdf::<Sha256>::from_prk(secret)
        .ok()?
        .expand(&info, out.as_mut_slice())
        .ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_rfc() {
        // The bytes that section 8 spells out, written by hand.
        let secret = [9; 32];
        let mut by_hand = [0; 12];
        let info = b"\x00\x0c\x0dMLS 1.0 nonce\x04\x00\x00\x00\x07";
        Hkdf::<Sha256>::from_prk(&secret)
            .unwrap()
            .expand(info, &mut by_hand)
            .unwrap();
        let ours = expand_with_label::<12>(&secret, "nonce", &7_u32.to_be_bytes()).unwrap();
        assert_eq!(*ours, by_hand);
    }
}
