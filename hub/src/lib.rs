//! The hub: detects events, records them, and sends them sealed to the owner's phones.
//!
//! It must never let a picture or a key leave in the clear.
//!
//! ```text
//! camera -> segmenter -> recorder -> sealer (one thread: core + journal) -> uplink -> relay
//!      \--> live -------------------^ in memory only ------------------------^
//! ```
//!
//! A camera that does not know itself what an event is has a watcher before it, of rooms that have no IO:
//!
//! ```text
//! stream --+--> detector (decoder, motion) --> sightings --+
//!          +--> ring --------------------------------------+--> events --> notification, thumbnail, clip
//! ```

pub mod camera;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
pub mod detector;
pub mod doctor;
pub mod events;
pub mod exit;
pub mod fmp4;
pub mod live;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod motion;
pub mod moving;
pub mod output;
pub mod pairing;
pub mod person;
pub mod phones;
pub mod picture;
pub mod preflight;
pub mod probe;
pub mod recorder;
pub mod reset;
pub mod retained;
pub mod sealer;
pub mod secret;
pub mod segmenter;
pub mod state;
pub mod status;
pub mod supervisor;
pub mod tally;
pub mod thumbnail;
pub mod traffic;
pub mod uplink;
pub mod watcher;
