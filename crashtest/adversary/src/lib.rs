//! Whoever owns the relay, as an attacker: a relay that lies to the real hub and app, old copies of their
//! directories, and every byte of what they say to each other changed.
//!
//! Three attacks, each judged by what the crash tests judge with:
//!
//! * [`campaign`]: real hub and app processes admitted to [`evil`], a QUIC server of its own that speaks the
//!   relay's protocol and has a [`vice`]; then it behaves, and every promise must hold.
//! * [`rollback`]: the same processes started on an old copy of their directory; what leaves them before they
//!   notice is counted by the relay that sees it.
//! * [`mutated`]: the cores of both in one process, and each envelope and frame between them changed at each
//!   of its bytes before the honest one comes.
//!
//! This crate must never know a key of hub or app: what it does, an attacker can do. It leaves no process
//! behind, and never calls a run in which it told no lie a pass.

pub mod campaign;
pub mod evil;
pub mod mutated;
pub mod orders;
pub mod rollback;
pub mod vice;
