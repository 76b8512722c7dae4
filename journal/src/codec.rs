//! How values are encoded: CBOR for what OpenMLS stores, postcard for our own rows.
//!
//! OpenMLS 0.9 state cannot be read back from postcard or any other format that does not describe
//! itself (`MlsGroupJoinConfig` is `#[serde(untagged)]` inside), so its values are CBOR (RFC 8949).
//! The first byte of every sealed plaintext says which.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize as _, Zeroizing};

const CBOR: u8 = 1;
const POSTCARD: u8 = 2;

/// Room for the largest value of a two-member group with X-Wing, so that growing the vector does
/// not leave copies of secrets behind in freed memory.
const SCRATCH_BYTES: usize = 32 * 1024;

thread_local! {
    /// Wiping is paid by the byte, so it is the used part of one buffer that is wiped, not the
    /// whole of a new one for every value.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(SCRATCH_BYTES));
}

/// Lets `write` fill the scratch behind `tag`; what it wrote comes back in a vector of its size.
fn encode(tag: u8, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<Zeroizing<Vec<u8>>> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.push(tag);
        let out = write(scratch).map(|()| Zeroizing::new(scratch.as_slice().to_vec()));
        scratch.as_mut_slice().zeroize();
        scratch.clear();
        out
    })
}

/// Encodes one of OpenMLS's values.
pub(crate) fn to_cbor<T: Serialize>(value: &T) -> Option<Zeroizing<Vec<u8>>> {
    encode(CBOR, |out| ciborium::into_writer(value, out).ok())
}

/// Reads what [`to_cbor`] wrote.
pub(crate) fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&CBOR, body) = bytes.split_first()? else {
        return None;
    };
    ciborium::from_reader(body).ok()
}

/// Encodes one of our own rows.
pub(crate) fn to_row<T: Serialize>(value: &T) -> Option<Zeroizing<Vec<u8>>> {
    encode(POSTCARD, |out| {
        let start = core::mem::take(out);
        *out = postcard::to_extend(value, start).ok()?;
        Some(())
    })
}

/// Reads what [`to_row`] wrote; trailing bytes are an error.
pub(crate) fn from_row<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&POSTCARD, body) = bytes.split_first()? else {
        return None;
    };
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}
