//! How values are encoded: CBOR for what OpenMLS stores, postcard for our own rows.
//!
//! OpenMLS 0.9 state cannot be read back from postcard or any other format that does not describe
//! itself (`MlsGroupJoinConfig` is `#[serde(untagged)]` inside), so its values are CBOR (RFC 8949).
//! The first byte of every sealed plaintext says which.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

const CBOR: u8 = 1;
const POSTCARD: u8 = 2;

/// Encodes one of OpenMLS's values.
pub(crate) fn to_cbor<T: Serialize>(value: &T) -> Option<Zeroizing<Vec<u8>>> {
    // Room for the largest value of a two-member group with X-Wing, so that growing the vector does
    // not leave copies of secrets behind in freed memory.
    let mut out = Zeroizing::new(Vec::with_capacity(32 * 1024));
    out.push(CBOR);
    ciborium::into_writer(value, &mut *out).ok()?;
    Some(out)
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
    let mut out = Zeroizing::new(Vec::with_capacity(4 * 1024));
    out.push(POSTCARD);
    let body = Zeroizing::new(postcard::to_allocvec(value).ok()?);
    out.extend_from_slice(&body);
    Some(out)
}

/// Reads what [`to_row`] wrote; trailing bytes are an error.
pub(crate) fn from_row<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&POSTCARD, body) = bytes.split_first()? else {
        return None;
    };
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}
