//! The real programs at work, for demo and benchmarks: started with a configuration as their owner would write it,
//! listened to, asked, measured and ended.
//!
//! ```text
//! home      a directory with a relay, a hub and a phone in it; their command lines and configurations
//! process   one running program
//! viewer    one that writes live pictures to us; arrivals: when each piece of them was whole
//! narrow    a link to the relay that takes so many bits a second and no more
//! kernel    what the kernel says about a process
//! samples   many values of one quantity
//! failure   why a step failed, in one sentence
//! ```
//!
//! It must stay light, because a fresh clone's first command waits for it, and must never link what it runs: it
//! uses the programs by their command lines alone. It ends only processes that it started.

#![expect(
    clippy::disallowed_methods,
    reason = "Whoever runs programs is a shell: it times them, listens in threads, and waits."
)]

pub mod arrivals;
pub mod failure;
pub mod home;
pub mod kernel;
pub mod narrow;
pub mod process;
pub mod samples;
pub mod viewer;
