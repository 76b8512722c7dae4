//! Whoever owns the relay, as an attacker, judged: a relay that lies to the real hub and app, old copies of their
//! directories, and every byte of what they say to each other changed.
//!
//! Four attacks, each judged by what the crash tests judge with:
//!
//! * [`campaign`]: real hub and app processes admitted to `crashtest-evil-relay`, a QUIC server of its own that
//!   speaks the relay's protocol and has a vice; then it behaves, and every promise must hold.
//! * [`rollback`]: the same processes started on an old copy of their directory; what leaves them before they
//!   notice is counted by the relay that sees it.
//! * [`traffic`]: the same processes, with bytes of their traffic changed beneath TLS.
//! * [`mutated`]: the cores of both in one process, and each envelope and frame between them, and each byte that
//!   lies under the wrap, changed before the honest one comes.
//!
//! What attacks from the relay is a crate of its own and knows no key; this one judges, and so links both ends. It
//! leaves no process behind, and never calls a run in which it told no lie a pass.

pub mod campaign;
pub mod mutated;
pub mod rollback;
pub mod traffic;
