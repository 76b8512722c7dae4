//! The protocol as a model, every state of it within bounds, and what each promise says about it.
//!
//! `README.md` beside this file says what the model covers, what it settles and what it cannot
//! say. Three rooms hold the model: [`channel`] (hub, relay, app, one mailbox each way),
//! [`pairing`] (the handshake) and [`scope`] (which faults, how many). [`bugs`] plants mistakes
//! of design, each to be found by the promise that it breaks.
//!
//! This crate must never depend on the programs: it is what they are compared with.

pub mod bugs;
pub mod channel;
pub mod check;
pub mod pairing;
pub mod replay;
pub mod scope;
