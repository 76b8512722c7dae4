//! The hub: detects events, records them, and sends them sealed to the owner's phones.
//!
//! It must never let a picture or a key leave in the clear.

pub mod camera;
pub mod fmp4;
pub mod segmenter;
