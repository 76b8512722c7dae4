//! The write-ahead journal: OpenMLS state, outgoing envelopes and received clips in one transaction.
//!
//! Hub and app must step MLS epochs together for ever. If one of them loses a Commit, or sends one
//! that it then forgets, they are parted for good. This crate is the construct in which that cannot
//! happen:
//!
//! - A [`Txn`] buffers everything one step changes: group state, the Commit or chunk itself, cursors,
//!   clips. Dropping it rolls it back.
//! - [`Txn::stage`] hands it to the log ([`wal`]) as one record group; [`Journal::commit`] syncs all
//!   that is staged, once.
//! - Only then does the step's result come out, as a [`Durable`]: the only type a socket takes.
//!
//! It does no network IO, reads no clock and throws no dice of its own: all three are arguments.
//!
//! ```text
//! begin -> advance_epoch -> seal -> seal -> stage --(log, one sync)--> Durable -> outbox -> relay
//!            Commit+merge    chunk   chunk     |                         |
//!            in the overlay, nothing on disk --+   rotation: vault, two images
//! ```
//!
//! The public interface is: [`Journal`], [`Txn`], [`Session`] with its two roles, [`Live`] for what is stored nowhere,
//! [`HubPairing`] and [`AppPairing`], the records they return, and [`JournalError`]. Byte layouts are in
//! `journal/FORMAT.md`.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod aead;
mod ages;
mod alarms;
mod clip;
mod codec;
mod command;
mod device;
mod error;
#[cfg(feature = "crashtest")]
pub mod fuzzing;
mod gone;
mod heartbeat;
pub mod ids;
mod inbox;
mod journal;
mod keys;
mod library;
mod live;
pub mod message;
mod mls_storage;
mod notice;
mod outbox;
pub mod pairing;
mod passed;
mod record;
mod renew;
mod retain;
mod scope;
mod scopes;
mod sealed;
mod session;
mod steps;
#[cfg(feature = "crashtest")]
pub mod thief;
mod txn;
pub mod vault;
mod wrap;

pub use ages::{AgeMark, Ages};
pub use alarms::{AWAY_MAX, AlarmsOwed};
pub use clip::{ACKED_CLIPS_KEPT, ClipOutcome, Closed, HubClip};
pub use command::{
    CAMERAS_SET_MAX, COMMANDS_DONE_KEPT, COMMANDS_PENDING_MAX, CommandBook, DoneCommand,
    OUTCOMES_KEPT, PendingCommand, SettingsSaid,
};
pub use device::{DEVICE_SECRET_BYTES, Device, DeviceSecret};
pub use error::{ErrorKind, JournalError};
pub use gone::GONE_KEPT;
pub use heartbeat::{Answered, Healed, HeartbeatState, LineKeys, Made, PhoneHeard};
pub use inbox::InboxHead;
pub use journal::{FORMAT_VERSION, Journal, OPENMLS_VERSION, Role};
pub use library::{AppClip, AppClipState, NO_COMMAND_WAITS, Taken};
pub use live::{LIVE_FRAMES_MAX, Live, LiveArrival, LivePart, LivePiece, LiveRight};
pub use message::CHUNK_BYTES_MAX;
pub use notice::{AppNotice, NOTICES_KEPT};
pub use outbox::{OutboxBooks, OutboxHead, TRIM_ROWS_MAX, Trim};
pub use pairing::{
    AddedSaid, AppPairing, Dismissal, Dismissals, Dismissed, Guest, HubPairing, Invite,
    InviteAsked, InviteState, Offer, PairingError, PairingMessage, REMOVAL_BYTES_MAX, Readmission,
};
pub use passed::{InviteTaken, PassedCode};
pub use record::{Mailboxes, Pairing, PairingState, Suite};
pub use retain::RetainedClip;
pub use scope::Scope;
pub use sealed::Key;
pub use session::{
    AckEffect, Arrived, Committer, EpochUse, Follower, LineBreak, Received, Rotation, Session,
    Takes,
};
pub use steps::{Trimmed, WantsCommit, or_after_commit};
pub use txn::Txn;
pub use wal::{Committed, Durable, Staged};
pub use wrap::{FULL_ENVELOPE_BYTES, Held};

#[cfg(test)]
mod tests;
