//! From a recording to every state that a crash could have left, and what a start makes of each.
//!
//! This crate must never judge a state by another code than the one that a real start runs.

pub mod image;
pub mod recording;
pub mod steps;
pub mod strace;
pub mod tree;
