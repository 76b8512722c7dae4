//! Both ends over simulated disks: the promises that hold between them, by scenario number.

mod beside;
mod clips;
mod commands;
mod cover;
mod dropping;
mod errors;
mod evidence;
mod five;
mod format;
mod golden;
pub(crate) mod harness;
mod heartbeat;
mod invites;
mod live;
mod memory;
pub(crate) mod odd;
mod pairing;
mod removal;
mod secrets;
mod sweep;
mod thieves;
mod trim;
