//! What the relay stores: opaque bytes of a bounded length.
//!
//! An envelope is checked against the wire's limit before it becomes durable at its sender, so
//! that nothing can be committed there which the relay would refuse for ever. This room must
//! never look inside.

use alloc::vec::Vec;
use core::fmt;

use crate::error::WireError;
use crate::ids::Digest;
use crate::limits::{ENVELOPE_BYTES_MAX, SMALL_ENVELOPE_BYTES_MAX};

/// One wrapped, padded message: not empty, at most [`ENVELOPE_BYTES_MAX`] long.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope(Vec<u8>);

impl Envelope {
    /// Takes the bytes of an envelope.
    ///
    /// # Errors
    /// [`WireError::TooLong`] above the limit, [`WireError::Truncated`] when empty.
    pub fn new(bytes: Vec<u8>) -> Result<Envelope, WireError> {
        check_envelope_bytes(bytes.len())?;
        Ok(Envelope(bytes))
    }

    /// The bytes as they are stored and sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the bytes away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    /// Which slice of a quota it may use.
    #[must_use]
    pub fn size(&self) -> Size {
        Size::of(self.0.len())
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} bytes)", self.0.len())
    }
}

/// Refuses a length that no envelope has.
///
/// # Errors
/// [`WireError::TooLong`] above [`ENVELOPE_BYTES_MAX`], [`WireError::Truncated`] for zero.
pub fn check_envelope_bytes(bytes: usize) -> Result<(), WireError> {
    if bytes == 0 {
        return Err(WireError::Truncated { what: "envelope" });
    }
    if bytes > ENVELOPE_BYTES_MAX {
        return Err(WireError::TooLong {
            what: "envelope",
            found: bytes,
            limit: ENVELOPE_BYTES_MAX,
        });
    }
    Ok(())
}

/// The two sizes of envelope that quotas tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Size {
    /// At most [`SMALL_ENVELOPE_BYTES_MAX`]: may use the reserved slice.
    Small,
    /// Anything longer.
    Bulk,
}

impl Size {
    /// The size of an envelope of so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Size {
        if bytes <= SMALL_ENVELOPE_BYTES_MAX {
            Size::Small
        } else {
            Size::Bulk
        }
    }
}
