//! The vault: where storage keys live, move forward and are erased.
//!
//! Neither log nor LSM tree ever deletes, so old secrets are made unreadable by losing their keys
//! here. A vault holds numbered keys, each with a version that counts its rotations; what a key
//! is for is written in the journal ([`crate::Scope`]). Numbers at and above the journal's
//! `next key` row form the **pool**: random keys made in advance, so that the birth of a scope
//! costs no sync on the way to a first byte.
//!
//! Rules (DESIGN section 3): for a rotation or an end the log comes first and recovery derives
//! forward; for a birth the vault comes first, which the pool gives for nothing.

pub mod file;

use std::collections::BTreeMap;
use std::io;

use crate::error::JournalError;
use crate::sealed::Key;

/// Number of a key in the vault; from 1, never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub u64);

/// A key and how often it has been rotated.
#[derive(Clone)]
pub struct VaultKey {
    /// Rotations since birth, from 0.
    pub version: u64,
    /// The key itself.
    pub key: Key,
}

/// One change: `None` erases the key.
pub type Change = (KeyId, Option<VaultKey>);

/// For how many more keys there is room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Without growing.
    pub in_place: usize,
    /// At most; whether the disk has room for that is another question.
    pub at_most: usize,
}

/// Where keys are kept: a file here, a phone's key store or a TPM elsewhere.
///
/// After `store` returns Ok, the keys that it replaced or erased must not be readable from any file
/// that this vault wrote. After an error the outcome is unknown and the journal is opened again.
pub trait Vault: Send {
    /// Reads all keys, after repairing whatever an interrupted `store` left. Each is in a place of its own, which is wiped
    /// when it goes: a map moves its values about.
    ///
    /// # Errors
    /// [`JournalError::VaultDamaged`] if keys are lost for good, [`JournalError::Vault`] for IO.
    fn load(&mut self) -> Result<BTreeMap<KeyId, Box<VaultKey>>, JournalError>;

    /// How many more keys fit in place, and how many if the vault grows as far as it may.
    fn room(&self) -> Room;

    /// Applies `changes` durably; each key is either as before or as asked, never in between.
    ///
    /// # Errors
    /// Any IO error; the caller poisons itself. Where all of `changes` are new keys that do not fit in place,
    /// one of kind `StorageFull` says that the vault is as it was.
    fn store(&mut self, changes: &[Change]) -> io::Result<()>;
}
