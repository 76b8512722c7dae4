//! Hub, relay and app in one thread, on a simulated clock, network and disk.
//!
//! The very cores that the programs run (`hub::core`, `relay::store`, `app_core::core`, the sender
//! of `wire`), real OpenMLS and the real journal, driven by a plan that a seed stands for: events
//! recorded, processes killed at any disk operation with any crash policy, also in the middle of
//! recovery, disk errors, a full disk, a broken network, a relay that forgets or lies, clocks that
//! jump. After the plan everything is healed, and the oracle asks whether both ends are in step and
//! every accepted byte arrived once.
//!
//! A seed repeats its plan, its schedule and its verdict, not its bytes: OpenMLS throws its own
//! dice. Shells are not simulated: what `hub::uplink` and `app_core::downlink` do around the cores
//! is done here by a shorter shell of the same shape, and tested for itself with real processes.
//!
//! ```text
//! plan (seed) -> world: queue of (time, what) -> nodes -> network -> nodes ... -> heal -> oracle
//! ```

// One object of figures has more entries than `json!` takes in one go by default.
#![recursion_limit = "256"]

pub mod app;
pub mod cut;
pub mod door;
pub mod engine;
pub mod errors;
pub mod files;
pub mod hub;
pub mod mutants;
pub mod net;
pub mod node;
pub mod oracle;
pub mod plan;
pub mod relay;
pub mod rot;
pub mod run;
pub mod script;
pub mod seeds;
pub mod start_up;
pub mod theft;
pub mod watch;
pub mod world;

pub use oracle::Broken;
pub use plan::Plan;
pub use run::{Outcome, repeat, shrink};
