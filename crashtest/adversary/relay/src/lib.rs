//! Whoever owns the relay, as a program: a QUIC server that speaks the relay's protocol and lies as it is told.
//!
//! It has what such an owner has: the relay's own code and key, and whatever two admitted devices send. So it
//! links neither `journal` nor `hub` nor `app-core`, and the program must never know a key of either end; who judges
//! what its lies do is another crate. [`wrap`] alone is for an attacker who was handed a key, and knows of the
//! journal what FORMAT.md says. The program leaves no process behind.

mod dice;
pub mod evil;
pub mod fault;
pub mod orders;
pub mod vice;
pub mod wrap;
