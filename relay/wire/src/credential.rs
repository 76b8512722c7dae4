//! How a device is admitted: an invitation once, a certificate ever after.
//!
//! Both are small statements signed with the Ed25519 identity of the relay. Because that
//! identity is configuration and not data, a relay that lost its disk still recognises them.
//! This room must never hold a signing key: it says which bytes are signed, and asks a
//! [`Verify`] whether the signature fits.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::codec::{Reader, Writer};
use crate::error::WireError;
use crate::ids::{DeviceId, RelayId};
use crate::limits::CREDENTIAL_BYTES_MAX;

const INVITATION_LABEL: &[u8] = b"secluso relay invitation v1";
const CERTIFICATE_LABEL: &[u8] = b"secluso relay certificate v1";
const INVITATION_TEXT_PREFIX: &str = "secluso-invite:";
/// The only layout there is so far.
const CREDENTIAL_VERSION: u8 = 1;

/// The length of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;
/// version, relay, nonce, expiry, class, signature.
pub const INVITATION_BYTES: usize = 1 + 32 + 16 + 8 + 1 + SIGNATURE_BYTES;
/// version, relay, device, issued, class, signature.
pub const CERTIFICATE_BYTES: usize = 1 + 32 + 32 + 8 + 1 + SIGNATURE_BYTES;

const _: () = assert!(INVITATION_BYTES <= CREDENTIAL_BYTES_MAX);
const _: () = assert!(CERTIFICATE_BYTES <= CREDENTIAL_BYTES_MAX);

/// Checks Ed25519 signatures for this crate, which has no cryptography of its own.
pub trait Verify {
    /// True when `signature` over `message` was made by the key whose public half is `key`.
    fn verify(&self, key: &RelayId, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool;
}

/// What a device may do at the relay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// A hub: may send, receive, and ask for invitations for phones.
    Hub,
    /// A phone: may send and receive.
    Phone,
}

impl Class {
    /// The byte on the wire.
    #[must_use]
    pub fn to_u8(self) -> u8 {
        match self {
            Class::Hub => 1,
            Class::Phone => 2,
        }
    }

    /// The class behind a byte.
    ///
    /// # Errors
    /// [`WireError::BadValue`] for a byte that is no class.
    pub fn from_u8(byte: u8) -> Result<Class, WireError> {
        match byte {
            1 => Ok(Class::Hub),
            2 => Ok(Class::Phone),
            found => Err(WireError::BadValue {
                what: "class",
                found: u64::from(found),
            }),
        }
    }

    /// "hub" or "phone".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Hub => "hub",
            Class::Phone => "phone",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Class, WireError> {
        match text {
            "hub" => Ok(Class::Hub),
            "phone" => Ok(Class::Phone),
            _ => Err(WireError::BadText { what: "class" }),
        }
    }
}

/// A statement of the relay that whoever brings it first may become an account. Single use:
/// the relay records the nonce durably when it is redeemed.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The relay that signed it and will redeem it.
    pub relay: RelayId,
    /// Random: what makes it single.
    pub nonce: [u8; 16],
    /// Seconds since 1970 after which it is worthless.
    pub expires_unix_s: u64,
    /// What the account may do.
    pub class: Class,
    /// Ed25519 over [`Invitation::signed_bytes`].
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Invitation {
    /// The bytes under the signature: a label, then every other field.
    #[must_use]
    pub fn signed_bytes(
        relay: &RelayId,
        nonce: &[u8; 16],
        expires_unix_s: u64,
        class: Class,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(INVITATION_LABEL.len() + INVITATION_BYTES);
        Writer::new(&mut out)
            .bytes(INVITATION_LABEL)
            .u8(CREDENTIAL_VERSION)
            .bytes(relay.as_bytes())
            .bytes(nonce)
            .u64(expires_unix_s)
            .u8(class.to_u8());
        out
    }

    /// Appends the [`INVITATION_BYTES`] of the binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u8(CREDENTIAL_VERSION)
            .bytes(self.relay.as_bytes())
            .bytes(&self.nonce)
            .u64(self.expires_unix_s)
            .u8(self.class.to_u8())
            .bytes(&self.signature);
    }

    /// The binary form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(INVITATION_BYTES);
        self.encode(&mut out);
        out
    }

    /// Reads the binary form; nothing may follow. The signature is not checked here.
    ///
    /// # Errors
    /// A [`WireError`] when the bytes are not exactly one invitation.
    pub fn decode(bytes: &[u8]) -> Result<Invitation, WireError> {
        let mut reader = Reader::new(bytes);
        let invitation = Self::read(&mut reader)?;
        if reader.is_empty() {
            Ok(invitation)
        } else {
            Err(WireError::BadText { what: "invitation" })
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Invitation, WireError> {
        read_version(reader, "invitation")?;
        Ok(Invitation {
            relay: RelayId(reader.array("invitation.relay")?),
            nonce: reader.array("invitation.nonce")?,
            expires_unix_s: reader.u64("invitation.expires")?,
            class: Class::from_u8(reader.u8("invitation.class")?)?,
            signature: reader.array("invitation.signature")?,
        })
    }

    /// Checks the signature of the relay.
    ///
    /// # Errors
    /// [`WireError::BadSignature`] when it does not fit.
    pub fn verify(&self, by: &impl Verify) -> Result<(), WireError> {
        let message = Self::signed_bytes(&self.relay, &self.nonce, self.expires_unix_s, self.class);
        if by.verify(&self.relay, &message, &self.signature) {
            Ok(())
        } else {
            Err(WireError::BadSignature { what: "invitation" })
        }
    }
}

impl fmt::Display for Invitation {
    /// One word that survives being copied: `secluso-invite:` and base64url.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INVITATION_TEXT_PREFIX)?;
        f.write_str(&Base64UrlUnpadded::encode_string(&self.to_bytes()))
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("relay", &self.relay)
            .field("class", &self.class)
            .field("expires_unix_s", &self.expires_unix_s)
            .finish_non_exhaustive()
    }
}

impl FromStr for Invitation {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Invitation, WireError> {
        const BAD: WireError = WireError::BadText { what: "invitation" };
        let encoded = text
            .trim()
            .strip_prefix(INVITATION_TEXT_PREFIX)
            .ok_or(BAD)?;
        if encoded.len() > 2 * CREDENTIAL_BYTES_MAX {
            return Err(BAD);
        }
        let bytes = Base64UrlUnpadded::decode_vec(encoded).map_err(|_| BAD)?;
        Invitation::decode(&bytes)
    }
}

/// A statement of the relay that a device is admitted. The client keeps it and presents it on
/// every connect; the relay keeps no copy.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The relay that signed it.
    pub relay: RelayId,
    /// The device that it is about.
    pub device: DeviceId,
    /// Seconds since 1970 when it was made.
    pub issued_unix_s: u64,
    /// What the device may do.
    pub class: Class,
    /// Ed25519 over [`Certificate::signed_bytes`].
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Certificate {
    /// The bytes under the signature: a label, then every other field.
    #[must_use]
    pub fn signed_bytes(
        relay: &RelayId,
        device: &DeviceId,
        issued_unix_s: u64,
        class: Class,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(CERTIFICATE_LABEL.len() + CERTIFICATE_BYTES);
        Writer::new(&mut out)
            .bytes(CERTIFICATE_LABEL)
            .u8(CREDENTIAL_VERSION)
            .bytes(relay.as_bytes())
            .bytes(device.as_bytes())
            .u64(issued_unix_s)
            .u8(class.to_u8());
        out
    }

    /// Appends the [`CERTIFICATE_BYTES`] of the binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u8(CREDENTIAL_VERSION)
            .bytes(self.relay.as_bytes())
            .bytes(self.device.as_bytes())
            .u64(self.issued_unix_s)
            .u8(self.class.to_u8())
            .bytes(&self.signature);
    }

    /// The binary form, as a client stores it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CERTIFICATE_BYTES);
        self.encode(&mut out);
        out
    }

    /// Reads the binary form; nothing may follow. The signature is not checked here.
    ///
    /// # Errors
    /// A [`WireError`] when the bytes are not exactly one certificate.
    pub fn decode(bytes: &[u8]) -> Result<Certificate, WireError> {
        let mut reader = Reader::new(bytes);
        let certificate = Self::read(&mut reader)?;
        if reader.is_empty() {
            Ok(certificate)
        } else {
            Err(WireError::BadText {
                what: "certificate",
            })
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Certificate, WireError> {
        read_version(reader, "certificate")?;
        Ok(Certificate {
            relay: RelayId(reader.array("certificate.relay")?),
            device: DeviceId(reader.array("certificate.device")?),
            issued_unix_s: reader.u64("certificate.issued")?,
            class: Class::from_u8(reader.u8("certificate.class")?)?,
            signature: reader.array("certificate.signature")?,
        })
    }

    /// Checks the signature of the relay.
    ///
    /// # Errors
    /// [`WireError::BadSignature`] when it does not fit.
    pub fn verify(&self, by: &impl Verify) -> Result<(), WireError> {
        let message = Self::signed_bytes(&self.relay, &self.device, self.issued_unix_s, self.class);
        if by.verify(&self.relay, &message, &self.signature) {
            Ok(())
        } else {
            Err(WireError::BadSignature {
                what: "certificate",
            })
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("relay", &self.relay)
            .field("device", &self.device)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}

fn read_version(reader: &mut Reader<'_>, what: &'static str) -> Result<(), WireError> {
    match reader.u8(what)? {
        CREDENTIAL_VERSION => Ok(()),
        found => Err(WireError::BadValue {
            what,
            found: u64::from(found),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn invitation() -> Invitation {
        Invitation {
            relay: RelayId([1; 32]),
            nonce: [2; 16],
            expires_unix_s: 3,
            class: Class::Phone,
            signature: [4; 64],
        }
    }

    #[test]
    fn an_invitation_survives_its_text() {
        let text = invitation().to_string();
        assert!(text.starts_with("secluso-invite:"));
        assert_eq!(text.parse::<Invitation>(), Ok(invitation()));
        assert_eq!(
            alloc::format!(" {text}\n").parse::<Invitation>(),
            Ok(invitation())
        );
    }

    #[test]
    fn every_shortened_or_changed_text_is_an_error_and_no_panic() {
        let text = invitation().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Invitation>().is_err(), "{end}");
        }
        assert!(alloc::format!("{text}AAAA").parse::<Invitation>().is_err());
        assert!("secluso-invite:".parse::<Invitation>().is_err());
    }

    #[test]
    fn the_two_credentials_sign_different_bytes() {
        let a = Invitation::signed_bytes(&RelayId([1; 32]), &[0; 16], 5, Class::Hub);
        let b = Certificate::signed_bytes(&RelayId([1; 32]), &DeviceId([0; 32]), 5, Class::Hub);
        assert!(!b.starts_with(&a) && !a.starts_with(&b));
    }

    #[test]
    fn every_field_is_under_the_signature() {
        struct Exactly(Vec<u8>);
        impl Verify for Exactly {
            fn verify(&self, _: &RelayId, message: &[u8], _: &[u8; 64]) -> bool {
                message == self.0
            }
        }
        let whole = invitation();
        let by = Exactly(Invitation::signed_bytes(
            &whole.relay,
            &whole.nonce,
            3,
            whole.class,
        ));
        assert_eq!(whole.verify(&by), Ok(()));
        let changed = [
            Invitation {
                relay: RelayId([9; 32]),
                ..whole.clone()
            },
            Invitation {
                nonce: [9; 16],
                ..whole.clone()
            },
            Invitation {
                expires_unix_s: 9,
                ..whole.clone()
            },
            Invitation {
                class: Class::Hub,
                ..whole.clone()
            },
        ];
        for other in changed {
            assert!(other.verify(&by).is_err(), "{other:?}");
        }
    }
}
