//! Both ends over simulated disks: the promises that hold between them, by scenario number.

mod clips;
mod harness;
mod pairing;
mod secrets;
mod sweep;
