//! Boxes as bytes (ISO/IEC 14496-12, 4.2).
//!
//! It must never know what a box means.

/// A box: 32-bit size, type, body (4.2).
pub(super) fn put_box(out: &mut Vec<u8>, kind: &[u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_u32(out, 0);
    out.extend_from_slice(kind);
    body(out);
    let size = size_of_box(out.len() - start);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// A box that begins with a version and 24 bits of flags (4.2).
pub(super) fn put_full_box(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    put_box(out, kind, |out| {
        put_u32(out, u32::from(version) << 24 | flags);
        body(out);
    });
}

pub(super) fn put_unity_matrix(out: &mut Vec<u8>) {
    for word in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        put_u32(out, word);
    }
}

/// INVARIANT: holds because of [`super::FRAGMENT_PAYLOAD_BYTES_MAX`] and the limits on codec parameters.
pub(super) fn size_of_box(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("every box is far below 4 GiB")
}

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_zeros(out: &mut Vec<u8>, bytes: usize) {
    out.resize(out.len() + bytes, 0);
}
