//! The whole system under test: real relay, hub and app processes on a loopback network, killed,
//! damaged, starved and judged.
//!
//! This crate must never know more of the programs than their owner does (command lines, JSON
//! lines, files on disk), must never change a program to make it easier to test, and must never
//! leave a process behind.
//!
//! The public interface is: [`system`] (a relay, a hub and an app in a temporary directory),
//! [`oracle`] (the promises as code, with [`notes`] for what only a program itself can note),
//! [`workload`] (the conversations), [`sweep`] (one run for each crash), [`workers`] (some of them at a time), [`progress`]
//! (what was done before this process), [`steps`] (the table of every step with its points, workloads and bugs), [`shard`] (what is done by another machine), [`mutants`] (deliberate
//! bugs, each to be caught), [`thief`] and [`raw`] (what the files give away), [`canary`] (secrets that must be found nowhere; a crate of its own), [`report`] (tables of one sweep), [`summary`] (the document about all
//! kinds of crash tests), [`cycles`] (a thousand kills of
//! one installation), [`daemon_errors`] (one operation of a running program fails; [`fault`] says how),
//! [`damage`] (bytes flipped on disk) and
//! [`trouble`] (what can go wrong in the harness itself).

pub mod cycles;
pub mod daemon_errors;
pub mod damage;
pub mod fault;
pub mod mutants;
pub mod notes;
pub mod oracle;
pub mod process;
pub mod progress;
pub mod raw;
pub mod report;
pub mod shard;
pub mod steps;
pub mod summary;
pub mod sweep;
pub mod system;
pub mod thief;
pub mod trouble;
pub mod workers;
pub mod workload;

pub use crashtest_canary as canary;
