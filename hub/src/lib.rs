//! The hub: detects events, records them, and sends them sealed to the owner's phones.
//!
//! It must never let a picture or a key leave in the clear.
//!
//! ```text
//! camera -> segmenter -> recorder -> sealer (one thread: core + journal) -> uplink -> relay
//! ```

pub mod camera;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
pub mod doctor;
pub mod exit;
pub mod fmp4;
pub mod output;
pub mod pairing;
pub mod phones;
pub mod recorder;
pub mod reset;
pub mod retained;
pub mod sealer;
pub mod secret;
pub mod segmenter;
pub mod state;
pub mod status;
pub mod supervisor;
pub mod traffic;
pub mod uplink;
