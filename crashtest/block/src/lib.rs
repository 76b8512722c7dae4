//! Power cuts on a real file system: ext4 on a loop device over a drive of our own, which logs every
//! write and flush, and every disk that such a log allows mounted by the kernel and opened by the real
//! recovery.
//!
//! ```text
//! programs -> ext4 -> loop device -> drive (FUSE, logged)          once
//! log -> epochs -> states -> drive -> loop device -> ext4 -> a real start -> what had been told
//! ```
//!
//! It needs root, FUSE and loop devices; where one of them is missing it says so and counts as not
//! covered. It must never stand in for what it tests: the file system, its journal's replay, RocksDB
//! and our recovery are the real ones.
//!
//! The public interface is: [`machine`] (whether this can run here), [`session`] (the recording),
//! [`log`], [`epochs`] and [`states`] (from a log to disks; no IO), [`device`] and [`serve`] (the
//! drive), [`mounts`], [`opener`] (one state), [`sweep`] (all of them), [`vacuity`] (that it can fail),
//! [`report`], [`progress`] and [`keep`].

#![deny(clippy::unwrap_used, clippy::expect_used)]
#![warn(missing_docs)]

pub mod device;
pub mod epochs;
pub mod keep;
pub mod log;
pub mod machine;
pub mod mounts;
pub mod opener;
pub mod progress;
pub mod report;
pub mod serve;
pub mod session;
pub mod states;
pub mod sweep;
pub mod vacuity;
