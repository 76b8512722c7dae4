//! A thief who has copied every file of a hub or of a phone, and every ciphertext that was ever sent.
//!
//! All that this crate knows of the project is `journal/FORMAT.md` and RFC 9420: it links neither the
//! engine nor the journal, so that a mistake in their code cannot hide from it. What it has more than a
//! real thief is patience: it keeps what every earlier copy gave away.
//!
//! ```text
//! format   bytes of a directory -> storage keys, and every value, living, dead, torn or left in a recycled file
//! open     each key, and those derived from it, tried on each sealed value -> what is in the clear
//! mls      secrets of an epoch among that -> messages of that epoch (RFC 9420, sections 6.3 and 9)
//! follow   a whole group among that, or a welcome and its keys -> OpenMLS takes the Commits that came later -> more epochs
//! attack   all of it against all ciphertext -> which envelopes, clips and stored chunks open
//! ```
//!
//! It never writes into what it was given, except that RocksDB, which is asked to read the view, keeps a
//! diary beside it: give it a copy. It must never ask anybody what a file means.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

pub mod attack;
mod bytes;
mod crypto;
mod follow;
pub mod format;
mod mls;
pub mod open;
mod pairing;

pub use attack::{Attack, Captured, ClipId, FRAME, Header, LineId, Notice, Said, Spoils};
pub use format::{Haul, Origin};
pub use open::{Loot, Opener, Tried};
