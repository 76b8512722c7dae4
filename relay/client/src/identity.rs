//! The Ed25519 key that a device or a relay is known by.
//!
//! This room must never print, clone or leak the seed; it is erased when dropped.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use wire::credential::{SIGNATURE_BYTES, Verify};
use wire::{DeviceId, RelayId};
use zeroize::Zeroizing;

/// The length of the secret half of an identity.
pub(crate) const SEED_BYTES: usize = 32;

/// An Ed25519 key. Used for TLS (RFC 7250) and, by a relay, to sign credentials.
pub struct Identity {
    seed: Zeroizing<[u8; SEED_BYTES]>,
    public: [u8; 32],
}

impl Identity {
    /// A new identity from the caller's dice, which must be fit for keys.
    pub fn generate(mut fill: impl FnMut(&mut [u8])) -> Identity {
        let mut seed = Zeroizing::new([0_u8; SEED_BYTES]);
        fill(seed.as_mut_slice());
        Identity::from_seed(*seed)
    }

    /// The identity with this seed (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: [u8; SEED_BYTES]) -> Identity {
        let seed = Zeroizing::new(seed);
        let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        Identity { seed, public }
    }

    /// The secret, for sealed storage only.
    #[must_use]
    pub fn seed(&self) -> &Zeroizing<[u8; SEED_BYTES]> {
        &self.seed
    }

    /// The public half as the id of a client.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        DeviceId(self.public)
    }

    /// The public half as the id of a relay.
    #[must_use]
    pub fn relay_id(&self) -> RelayId {
        RelayId(self.public)
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        SigningKey::from_bytes(&self.seed).sign(message).to_bytes()
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Identity({:?})", self.device_id())
    }
}

/// Checks signatures for `wire`, which has no cryptography of its own. Strict: weak keys and
/// malleable signatures are refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519Verify;

impl Verify for Ed25519Verify {
    fn verify(&self, key: &RelayId, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        VerifyingKey::from_bytes(key.as_bytes())
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_vector_of_rfc_8032() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec,
            0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03,
            0x1c, 0xae, 0x7f, 0x60,
        ];
        let identity = Identity::from_seed(seed);
        assert_eq!(identity.device_id().short(), "d75a9801");
        let signature = identity.sign(b"");
        assert_eq!(signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert!(Ed25519Verify.verify(&identity.relay_id(), b"", &signature));
        assert!(!Ed25519Verify.verify(&identity.relay_id(), b"x", &signature));
        assert!(!format!("{identity:?}").contains("9d61b19d"));
    }
}
