//! Both ends over simulated disks: the promises that hold between them, by scenario number.

mod clips;
mod commands;
mod cover;
mod errors;
mod evidence;
mod five;
mod format;
mod golden;
pub(crate) mod harness;
mod heartbeat;
mod invites;
mod memory;
pub(crate) mod odd;
mod pairing;
mod removal;
mod secrets;
mod sweep;
mod thieves;
mod trim;
