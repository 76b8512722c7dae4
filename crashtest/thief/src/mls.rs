//! As much of RFC 9420 as it takes to read messages with stolen secrets: framing, the secret tree of two
//! members, ratchets that only go forward. Both suites have the same KDF, hash and AEAD.

mod epoch;
mod message;

pub(crate) use epoch::EpochKeys;
pub(crate) use message::{APPLICATION, COMMIT, PrivateMessage};
