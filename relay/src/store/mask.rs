//! The mask: what a stranger sent never stands on the disk as it came.
//!
//! The engine finds groups by their headers where a file's own header is lost. Whoever can choose the
//! bytes of a payload could write such headers into it, and a single lost sector would let them pass for
//! the log's own. So each envelope is stored under a mask that nobody outside knows and that is never
//! sent. It hides nothing from somebody who has the disk; envelopes are ciphertext anyway.

use wal::{Txn, Wal, WalError};

/// The row that holds it.
const KEY: &[u8] = b"K";

/// Sixteen random bytes, repeated over an envelope.
#[derive(Clone, Copy)]
pub(super) struct Mask([u8; Mask::BYTES]);

impl Mask {
    const BYTES: usize = 16;

    /// The mask of this store; made at its first start, in the transaction before any envelope.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub(super) fn of(wal: &mut Wal) -> Result<Mask, WalError> {
        let stored = wal.get(KEY)?;
        if let Some(bytes) = stored.and_then(|bytes| bytes.try_into().ok()) {
            return Ok(Mask(bytes));
        }
        let fresh = wal.random_bytes();
        let mut txn = Txn::new();
        txn.put(KEY, fresh.to_vec());
        let _staged = wal.stage(txn, ())?;
        Ok(Mask(fresh))
    }

    /// Masks bytes, or takes the mask off.
    pub(super) fn turn(self, mut bytes: Vec<u8>) -> Vec<u8> {
        for chunk in bytes.chunks_mut(Mask::BYTES) {
            for (byte, mask) in chunk.iter_mut().zip(self.0) {
                *byte ^= mask;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_goes_off_as_it_goes_on() {
        let mask = Mask(*b"0123456789abcdef");
        for len in [0, 1, 15, 16, 17, 70] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let masked = mask.turn(bytes.clone());
            assert!(len == 0 || masked != bytes);
            assert_eq!(mask.turn(masked), bytes);
        }
    }
}
