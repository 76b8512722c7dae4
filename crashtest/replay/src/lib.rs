//! From a recording to every state that a crash could have left, and what a start makes of each.
//!
//! ```text
//! recording -> steps -> states -> disk or files -> check
//!  (trace)    (story)  (trees)    (a real start)   (what had been sent by then)
//! ```
//!
//! A recording is made once; all crashes happen here, in memory, thousands of times a second. This
//! crate must never judge a state by another code than the one that a real start runs, and never
//! skip a state silently.
//!
//! The public interface is: [`recording`] and [`conversation`] (real programs, recorded), [`steps`] (a trace as a
//! story), [`states`] (moments and fates), [`check`] (a start, and what it must explain), [`command`]
//! and [`any`] (the same for somebody else's program), [`ends`] (both ends after a crash of one), [`heads`]
//! (what all states must have in common), [`sweep`] (all of it, with a report), [`strace`] (whether the
//! recorder missed anything), and [`words`] (for which of them a sync matters).

pub mod any;
pub mod check;
pub mod command;
pub mod conversation;
pub mod disk;
pub mod ends;
pub mod heads;
pub mod image;
pub mod progress;
mod quiet;
pub mod recording;
pub mod report;
pub mod states;
pub mod steps;
pub mod strace;
pub mod sweep;
pub mod tree;
pub mod words;
