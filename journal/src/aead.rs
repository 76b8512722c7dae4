//! XChaCha20-Poly1305 in place (draft-irtf-cfrg-xchacha-03): what wraps envelopes and seals values.
//!
//! HChaCha20 turns key and the first 16 bytes of the nonce into a key of its own, and AWS-LC's
//! ChaCha20-Poly1305, which the transport links anyway, does the rest: every chunk passes through it, and
//! it takes about half the time of the portable one. This room knows keys and bytes and nothing else.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20::hchacha;
use zeroize::{Zeroize, Zeroizing};

use crate::sealed::Key;

/// Length of a nonce in bytes.
pub(crate) const NONCE_BYTES: usize = 24;
/// Length of an authentication tag in bytes.
pub(crate) const TAG_BYTES: usize = 16;

/// Encrypts `body` where it is; the tag is for `aad` and it.
pub(crate) fn seal_in_place(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    body: &mut [u8],
) -> [u8; TAG_BYTES] {
    let (cipher, nonce) = cipher(key, nonce);
    let tag = cipher
        .seal_in_place_separate_tag(nonce, Aad::from(aad), body)
        .unwrap_or_else(|_| unreachable!("bodies are far below the cipher's 256 GiB limit"));
    tag.as_ref()
        .try_into()
        .unwrap_or_else(|_| unreachable!("a tag of Poly1305 has 16 bytes"))
}

/// Fills `out` with what the cipher makes of zeros under this nonce. It opens whatever was sealed under it, so
/// only what lies where that had zeros may be kept: there it is the very ciphertext.
pub(crate) fn ciphertext_of_zeros(key: &[u8; 32], nonce: &[u8; NONCE_BYTES], out: &mut [u8]) {
    out.fill(0);
    // Nobody has use for the tag of so many zeros, and nobody may see it.
    let _tag = seal_in_place(key, nonce, &[], out);
}

/// Decrypts `body` where it is. False if a byte of it, of the tag or of `aad`, or the key, is another:
/// `body` is then worthless.
#[must_use]
pub(crate) fn open_in_place(
    key: &Key,
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    body: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> bool {
    let (cipher, nonce) = cipher(key, nonce);
    cipher
        .open_in_place_separate_tag(nonce, Aad::from(aad), tag, body)
        .is_ok()
}

/// The cipher of one nonce. AWS-LC wipes its copy of the key when it is freed; HChaCha20's own state on the stack
/// is not wiped by its library.
fn cipher(key: &[u8; 32], nonce: &[u8; NONCE_BYTES]) -> (LessSafeKey, Nonce) {
    let (prefix, rest) = nonce.split_at(16);
    let prefix: &[u8; 16] = prefix
        .try_into()
        .unwrap_or_else(|_| unreachable!("it was split at 16"));
    let mut derived = hchacha::<chacha20::R20>(key.into(), prefix.into());
    let subkey = Zeroizing::new(<[u8; 32]>::from(derived));
    derived.as_mut_slice().zeroize();
    let cipher = UnboundKey::new(&CHACHA20_POLY1305, &*subkey)
        .unwrap_or_else(|_| unreachable!("the key has the 32 bytes that it must have"));
    let mut short = [0; 12];
    short[4..].copy_from_slice(rest);
    (
        LessSafeKey::new(cipher),
        Nonce::assume_unique_for_key(short),
    )
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
    use chacha20poly1305::{XChaCha20Poly1305, XNonce};
    use proptest::prelude::*;

    use super::*;

    fn sealed(key: [u8; 32], nonce: [u8; 24], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut out = plaintext.to_vec();
        let tag = seal_in_place(&Key::new(key), &nonce, aad, &mut out);
        out.extend_from_slice(&tag);
        out
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits
            .chunks(2)
            .map(|digits| pair(digits).unwrap())
            .collect()
    }

    /// The draft's own example (appendix A.3.1).
    #[test]
    fn it_is_the_cipher_of_the_draft() {
        let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
            tip for the future, sunscreen would be it.";
        let aad = hex("50515253c0c1c2c3c4c5c6c7");
        let key: Vec<u8> = (0x80..0xa0).collect();
        let nonce: Vec<u8> = (0x40..0x58).collect();
        let expected = hex(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb
             731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452
             2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9
             21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780a
             cf49",
        );
        let out = sealed(
            key.try_into().unwrap(),
            nonce.try_into().unwrap(),
            &aad,
            plaintext,
        );
        assert_eq!(out, expected);
    }

    /// Behind what was sealed, where it had zeros, it is the same; before that it is not.
    #[test]
    fn zeros_have_the_ciphertext_that_they_have_behind_something() {
        let (key, nonce) = ([1; 32], [2; 24]);
        let mut plaintext = vec![7_u8; 100];
        plaintext.resize(300, 0);
        let whole = sealed(key, nonce, b"bound", &plaintext);
        let mut zeros = vec![9_u8; 300];
        ciphertext_of_zeros(&key, &nonce, &mut zeros);
        assert_eq!(zeros[100..], whole[100..300]);
        for at in 0..100 {
            assert_eq!(zeros[at] ^ 7, whole[at], "{at}");
        }
    }

    proptest! {
        /// Another implementation makes the same bytes, of any length, and reads ours.
        #[test]
        fn another_implementation_agrees(
            key: [u8; 32],
            nonce: [u8; 24],
            aad in proptest::collection::vec(any::<u8>(), 0..80),
            plaintext in proptest::collection::vec(any::<u8>(), 0..5000),
        ) {
            let ours = sealed(key, nonce, &aad, &plaintext);
            let other = XChaCha20Poly1305::new(&key.into());
            let payload = Payload { msg: &plaintext, aad: &aad };
            prop_assert_eq!(&ours, &other.encrypt(&XNonce::from(nonce), payload).unwrap());
            let (body, tag) = ours.split_last_chunk::<TAG_BYTES>().unwrap();
            let mut opened = body.to_vec();
            prop_assert!(open_in_place(&Key::new(key), &nonce, &aad, &mut opened, tag));
            prop_assert_eq!(opened, plaintext);
        }
    }
}
