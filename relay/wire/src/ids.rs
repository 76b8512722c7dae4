//! The names that a relay may know.
//!
//! Ids are opaque bytes; a [`Seq`] knows `next` and no other arithmetic. This room must never
//! print a whole id: a mailbox id is a capability, and a log is read by more people than a key.

use core::fmt;
use core::str::FromStr;

use alloc::string::String;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::WireError;

/// What is hashed in front of a [`ReceiveId`] to make its [`SendId`].
const SEND_ID_LABEL: &[u8] = b"secluso mailbox send id v1";

/// Writes the first four bytes of an id in hex; the rest stays out of every log.
fn write_short(f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]) -> fmt::Result {
    write!(f, "{name}(")?;
    for byte in bytes.iter().take(4) {
        write!(f, "{byte:02x}")?;
    }
    f.write_str("..)")
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The length of this id in bytes.
            pub const BYTES: usize = $bytes;

            /// The bytes of this id.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The whole id as base64url without padding: for addresses and configuration,
            /// never for logs.
            #[must_use]
            pub fn to_text(&self) -> String {
                Base64UrlUnpadded::encode_string(&self.0)
            }

            /// The first four bytes in hex: enough to tell two ids apart in a log.
            #[must_use]
            pub fn short(&self) -> String {
                alloc::format!("{:02x}{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2], self.0[3])
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_short(f, stringify!($name), &self.0)
            }
        }

        impl FromStr for $name {
            type Err = WireError;

            /// Parses what `to_text` wrote.
            ///
            /// # Errors
            /// [`WireError::BadText`] when the text is not base64url of exactly this length.
            fn from_str(text: &str) -> Result<Self, WireError> {
                let mut bytes = [0_u8; $bytes];
                match Base64UrlUnpadded::decode(text.as_bytes(), &mut bytes) {
                    Ok(decoded) if decoded.len() == $bytes => Ok(Self(bytes)),
                    _ => Err(WireError::BadText { what: stringify!($name) }),
                }
            }
        }
    };
}

opaque_id!(
    /// A client of the relay: the Ed25519 public key of its TLS identity (RFC 7250 raw key).
    DeviceId,
    32
);
opaque_id!(
    /// A relay: the Ed25519 public key of its TLS identity, pinned by its clients.
    RelayId,
    32
);
opaque_id!(
    /// The right to read and trim a mailbox: 24 random bytes chosen by the receiver.
    ReceiveId,
    24
);
opaque_id!(
    /// The right to append to a mailbox, and the name under which the relay stores it:
    /// `SHA-256("secluso mailbox send id v1" || ReceiveId)[..24]`.
    SendId,
    24
);
opaque_id!(
    /// SHA-256 of the bytes of an envelope.
    Digest,
    32
);

impl ReceiveId {
    /// The id that appends to this mailbox. One way only: a writer cannot read.
    #[must_use]
    pub fn send_id(&self) -> SendId {
        let mut hasher = Sha256::new();
        hasher.update(SEND_ID_LABEL);
        hasher.update(self.0);
        let hash: [u8; 32] = hasher.finalize().into();
        let mut id = [0_u8; SendId::BYTES];
        for (out, byte) in id.iter_mut().zip(hash) {
            *out = byte;
        }
        SendId(id)
    }
}

impl Digest {
    /// The digest of an envelope's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

/// The order that the sender gave an envelope within one mailbox. The first is 1, the last that
/// can be [`Seq::LAST`].
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first envelope: the cursor of a reader that holds nothing.
    pub const NONE: Seq = Seq(0);
    /// The first envelope of a mailbox.
    pub const FIRST: Seq = Seq(1);

    /// The highest number that an envelope can have. The one above it is refused wherever bytes
    /// are read, so that each number that a peer can say has one after it.
    pub const LAST: Seq = Seq(u64::MAX - 1);

    /// The one after this; behind [`Seq::LAST`] there is only one, which no envelope has. It never
    /// panics: numbers come from peers.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// True for a number that an envelope can have.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Seq::NONE && self <= Seq::LAST
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The last envelope of a mailbox: its number and the digest of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The number of the envelope.
    pub seq: Seq,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// The number that a client gives to an attached mailbox for the life of one connection, so
/// that frames need not repeat ids. A client never uses a slot twice in one connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Slot(pub u32);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn the_send_id_is_this_hash_and_cannot_change() {
        let id = ReceiveId([7; 24]).send_id();
        assert_eq!(id.to_text(), "YmV5G8HbvS4fVwXL1XAeGlzvTTPEEAPw");
    }

    #[test]
    fn debug_shows_four_bytes_only() {
        let id = ReceiveId([0xab; 24]);
        assert_eq!(format!("{id:?}"), "ReceiveId(abababab..)");
        assert_eq!(id.short(), "abababab");
    }

    #[test]
    fn text_comes_back_and_other_lengths_are_refused() {
        let id = RelayId([0x5a; 32]);
        assert_eq!(id.to_text().parse::<RelayId>(), Ok(id));
        for text in ["", "AAAA", "not base64!", &"A".repeat(44), &"A".repeat(200)] {
            assert!(text.parse::<RelayId>().is_err(), "{text}");
        }
    }
}
