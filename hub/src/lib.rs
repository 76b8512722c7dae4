//! The hub: detects events, records them, and sends them sealed to the owner's phones.
//!
//! It must never let a picture or a key leave in the clear.
//!
//! ```text
//! camera -> segmenter -> recorder -> sealer (one thread: core + journal) -> uplink -> relay
//! ```
#![forbid(unsafe_code)]

pub mod camera;
pub mod config;
pub mod core;
pub mod fmp4;
pub mod recorder;
pub mod sealer;
pub mod segmenter;
pub mod uplink;
