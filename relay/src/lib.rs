//! The relay: stores ciphertext in mailboxes and hands it on, knowing as little as it can.
//!
//! One QUIC endpoint, one task per connection, one storage thread. This crate must never link
//! the journal or an MLS library, never hold a key but its own identity, never write an address
//! of a client to disk, and never give a receipt for what it has not synced.
//!
//! The public interface is: [`config`], [`server`] to run one in a process (tests and the
//! simulation do), [`cli`] for the program, and [`store`], which is the mailbox store alone.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

pub mod admission;
pub mod bucket;
pub mod cli;
pub mod config;
mod control;
mod disk_use;
mod downlink;
pub mod keyfile;
mod live;
mod logging;
mod metrics;
mod registry;
mod reload;
pub mod server;
mod session;
pub mod storage;
pub mod store;
mod uplink;
pub mod watchers;
