//! The device secret by itself: as bytes in a file that provisions a device, and as the text that a
//! person may print on it. This room must never log either.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::DEVICE_SECRET_BYTES;
use crate::pairing::{CHECKSUM_BYTES, PairingError, checksum};

/// Fewer different bytes than this are no [`DEVICE_SECRET_BYTES`] throws of dice: those have 63 on average, and
/// so few less than once in 10^18 times. A text that a person typed has fewer letters.
const VARIETY_MIN: usize = 32;

const PREFIX: &str = "SECLUSODEVICE1:";
/// A longer text is none of ours.
const TEXT_BYTES_MAX: usize = 256;

/// The secret that every pairing code of a device is derived from. It has no `Debug`, and is wiped
/// when dropped.
#[derive(Clone)]
pub struct DeviceSecret(Zeroizing<[u8; DEVICE_SECRET_BYTES]>);

impl DeviceSecret {
    /// Takes exactly [`DEVICE_SECRET_BYTES`] random bytes. `None` if there are more or fewer, or if fewer than 32
    /// of them differ, which no dice throw. That is no proof: who asks a hub for its code may try secrets on
    /// the answer at home, for as long as they like, so whatever can be guessed is no secret.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut secret = Zeroizing::new([0_u8; DEVICE_SECRET_BYTES]);
        if bytes.len() != secret.len() {
            return None;
        }
        secret.copy_from_slice(bytes);
        let is_in = |byte: u8| secret.contains(&byte);
        let variety = (0..=u8::MAX).filter(|byte| is_in(*byte)).count();
        (variety >= VARIETY_MIN).then_some(Self(secret))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The text of the QR code that may be printed on the device: prefix, then secret and checksum as
    /// base64url without padding.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(DEVICE_SECRET_BYTES + CHECKSUM_BYTES));
        bytes.extend_from_slice(self.as_bytes());
        bytes.extend_from_slice(&checksum(self.as_bytes()));
        let body = Zeroizing::new(Base64UrlUnpadded::encode_string(&bytes));
        // With its whole room from the beginning: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + body.len()));
        text.push_str(PREFIX);
        text.push_str(&body);
        text
    }

    /// Reads what [`Self::to_text`] wrote; white space around it does not matter.
    ///
    /// # Errors
    /// [`PairingError::NotAnOffer`].
    pub fn from_text(text: &str) -> Result<Self, PairingError> {
        let body = text.trim().strip_prefix(PREFIX);
        let body = body.filter(|body| body.len() <= TEXT_BYTES_MAX);
        let body = body.ok_or(PairingError::NotAnOffer)?;
        let bytes = Base64UrlUnpadded::decode_vec(body).map_err(|_| PairingError::NotAnOffer)?;
        let bytes = Zeroizing::new(bytes);
        match bytes.split_last_chunk::<CHECKSUM_BYTES>() {
            Some((secret, sum)) if checksum(secret) == *sum => {
                Self::from_bytes(secret).ok_or(PairingError::NotAnOffer)
            }
            _ => Err(PairingError::NotAnOffer),
        }
    }
}

impl PartialEq for DeviceSecret {
    /// In a time that says nothing about where they differ.
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for DeviceSecret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_text_and_exactly_its_bytes_are_taken() {
        let bytes: Vec<u8> = (0..DEVICE_SECRET_BYTES as u8).collect();
        let secret = DeviceSecret::from_bytes(&bytes).unwrap();
        let text = secret.to_text();
        assert!(DeviceSecret::from_text(&format!(" {}\n", *text)).unwrap() == secret);
        for at in 0..text.len() {
            let mut bad = text.as_bytes().to_vec();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bad).unwrap();
            assert!(DeviceSecret::from_text(&bad).is_err(), "character {at}");
            assert!(DeviceSecret::from_text(&text[..at]).is_err(), "first {at}");
        }
        assert!(DeviceSecret::from_bytes(&bytes[1..]).is_none());
        assert!(DeviceSecret::from_bytes(&[bytes.as_slice(), &[1]].concat()).is_none());
        assert!(DeviceSecret::from_bytes(&[0; DEVICE_SECRET_BYTES]).is_none());
        let of = |variety: u8| -> Vec<u8> { (0..72).map(|n| n % variety).collect() };
        assert!(DeviceSecret::from_bytes(&of(31)).is_none());
        assert!(DeviceSecret::from_bytes(&of(32)).is_some());
        let mut other = bytes.clone();
        other[71] ^= 1;
        assert!(DeviceSecret::from_bytes(&other).unwrap() != secret);
    }
}
