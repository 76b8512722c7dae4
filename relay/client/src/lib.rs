//! The shell around `wire` that hub and app share: QUIC, TLS with raw public keys, one
//! connection to one relay.
//!
//! This room moves bytes and nothing else. It must never decide what is sent next (that is
//! `wire::sender`), never keep anything durably, and never hold more than bounded memory: what
//! a caller does not take stays in QUIC's flow control. It depends neither on the journal nor
//! on its engine; callers pass bytes that they know to be durable.
//!
//! The public interface is: [`Identity`], [`RelayAddress`], [`connect()`] and what hangs on the
//! [`Connection`]; [`rpk`] for a direct connection between hub and app (pairing); [`framed`]
//! for reading frames off a stream without losing bytes when a future is dropped.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod address;
mod append;
mod connect;
mod connection;
mod deliver;
mod error;
pub mod framed;
mod identity;
mod live;
pub mod pace;
pub mod rpk;

pub use address::RelayAddress;
pub use append::{AppendEvent, AppendEvents, AppendHandle, Appender};
pub use connect::{Admission, Config, connect};
pub use connection::Connection;
pub use deliver::{Deliveries, Delivery};
pub use error::{ClientError, ErrorKind};
pub use identity::{Ed25519Verify, Identity};
pub use live::{LiveGroup, LiveGroups, LiveSender, LiveStream};
