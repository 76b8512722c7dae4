//! Both ends over simulated disks: the promises that hold between them, by scenario number.

mod clips;
mod commands;
mod errors;
mod evidence;
mod format;
mod golden;
pub(crate) mod harness;
mod heartbeat;
mod pairing;
mod secrets;
mod sweep;
mod trim;
