//! The storage engine: a write-ahead log that is the truth, and a materialised view of it.
//!
//! Three promises carry everything built on top:
//!
//! 1. A [`Txn`] is in the log whole or not at all, and one `fdatasync` per [`Wal::commit`] makes
//!    every staged transaction durable.
//! 2. Only that commit turns a [`Staged`] value into a [`Durable`] one. Sockets take `Durable`.
//! 3. Every start copies the tail of the log into a fresh file and syncs it before the first
//!    `Durable` exists, so bytes that only the page cache knew are never believed.
//!
//! The byte layout, the validity rules and the recovery table are in `journal/FORMAT.md`.
//! This crate never names MLS, keys or clips, has no clock, and takes its dice as an argument.
//!
//! The public interface is: [`Wal`], [`Txn`], [`Staged`], [`Committed`], [`Durable`], the traits
//! [`disk::Disk`] and [`store::Store`] with their implementations, and [`crash_point!`].
//!
//! Nothing outside can make a `Durable`:
//!
//! ```compile_fail,E0451
//! let forged = wal::Durable { value: 7 };
//! ```
//! ```compile_fail,E0599
//! let forged: wal::Durable<u32> = wal::Durable::new(7);
//! ```
//! ```compile_fail,E0277
//! let forged: wal::Durable<u32> = 7u32.into();
//! ```
//! ```compile_fail,E0308
//! // A map takes a plain function pointer, so no un-durable value can be smuggled in.
//! fn smuggle(durable: wal::Durable<u32>, other: u32) -> wal::Durable<u32> {
//!     durable.map(move |_| other)
//! }
//! ```
//! ```compile_fail,E0308
//! // Nor beside the 32 bytes that a map may have.
//! fn smuggle(
//!     durable: wal::Durable<u32>,
//!     secret: &[u8; 32],
//!     other: u32,
//! ) -> Result<wal::Durable<u32>, ()> {
//!     durable.try_map_with(secret, move |_, _| Ok(other))
//! }
//! ```
//! ```compile_fail,E0614
//! // A staged value cannot be read before its commit.
//! fn peek(staged: &wal::Staged<u32>) -> u32 { **staged }
//! ```
//! ```compile_fail,E0616
//! // A staged value has no public payload.
//! fn take(staged: wal::Staged<u32>) -> u32 { staged.value }
//! ```
//! ```compile_fail,E0451
//! // A commit cannot be invented either.
//! let forged = wal::Committed { instance: 1, through: wal::Lsn(9) };
//! ```
//!
//! What is allowed, each the twin of one above, so that none of those fails for a name that is gone:
//!
//! ```
//! // Where a Durable, its value or its type is named.
//! fn keep(durable: wal::Durable<u32>) -> u32 {
//!     let kept: wal::Durable<u32> = durable;
//!     *kept
//! }
//! ```
//! ```
//! // A map without a capture.
//! fn length(durable: wal::Durable<Vec<u8>>) -> wal::Durable<usize> {
//!     durable.map(|bytes| bytes.len())
//! }
//! fn next(durable: wal::Durable<u32>) -> wal::Durable<u32> {
//!     durable.map(|value| value + 1)
//! }
//! fn mask(durable: wal::Durable<u32>, secret: &[u8; 32]) -> Result<wal::Durable<u32>, ()> {
//!     durable.try_map_with(secret, |value, secret| Ok(value ^ u32::from(secret[0])))
//! }
//! ```
//! ```
//! // A staged value is read, or taken, behind the commit that covers it.
//! fn peek(committed: &wal::Committed, staged: wal::Staged<u32>) -> u32 {
//!     *committed.redeem(staged)
//! }
//! fn take(committed: &wal::Committed, staged: wal::Staged<u32>) -> u32 {
//!     committed.redeem(staged).into_inner()
//! }
//! ```
//! ```
//! // A commit comes from the engine.
//! fn through(wal: &mut wal::Wal) -> Result<wal::Lsn, wal::WalError> {
//!     let committed: wal::Committed = wal.commit()?;
//!     Ok(committed.through_lsn())
//! }
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![warn(missing_docs)]

mod ballast;
mod checkpoint;
pub mod crash_point;
mod dice;
pub mod disk;
mod durable;
mod error;
mod log;
mod log_file;
mod lsn;
pub mod mutant;
pub mod note;
mod options;
mod poison;
pub mod private;
mod ranges;
pub mod record;
pub mod recover;
pub mod service;
pub mod store;
mod txn;
mod view;
mod wal;

pub use dice::{Dice, OsDice, SeededDice};
pub use disk::{Disk, DiskFile};
pub use durable::{Committed, Durable, Staged};
pub use error::{Corruption, ErrorKind, WalError};
pub use lsn::Lsn;
pub use options::{
    KEY_BYTES_MAX, LOG_FILE_BYTES_MAX, LOG_FILE_BYTES_MIN, Options, Priority, SECTOR_BYTES,
    TXN_RECORDS_MAX, VALUE_BYTES_MAX, asked_by_crash_test,
};
pub use poison::PoisonCause;
pub use recover::{DamagedPayload, RecoveryReport, ViewOutcome};
pub use store::{Store, StoreError};
pub use txn::Txn;
pub use wal::{Stats, Wal};

#[doc(hidden)]
#[cfg(feature = "crashtest")]
pub use linkme;
