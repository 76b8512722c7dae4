//! The phone's engine: pairs with hubs, receives their clips through an untrusted relay, keeps them.
//!
//! This is the whole interface for programs and, later, for other languages. It is asynchronous (in
//! a tokio runtime) and **cancellable**: any future may be dropped at any await. Whatever it had
//! begun, the journal thread finishes or rolls back whole, so the state on disk is always right, and
//! the next call goes on from there. The process may be killed at any time just the same.
//!
//! ```no_run
//! # async fn example() -> Result<(), app_core::AppError> {
//! use app_core::{App, AppOptions, SyncMode};
//!
//! let app = App::open("/home/me/.secluso-app", AppOptions::default()).await?;
//! app.pair("SECLUSO1:...").await?;
//! let mut events = app.observe();
//! app.sync(SyncMode::Once).await?;
//! while let Some(event) = events.try_next() {
//!     println!("{event:?}");
//! }
//! for clip in app.clips().await? {
//!     app.export(clip.clip, format!("{}.mp4", clip.clip), |_done, _all| {}).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The public interface is: [`App`] with [`AppOptions`], [`Events`] with [`Event`], the plain values
//! ([`ClipId`], [`Clip`], [`Thumbnail`], [`Status`], [`Command`], ...), and [`AppError`] whose [`AppError::kind`] says what the
//! caller must do. No type of the journal or of the relay is in it. ([`mod@core`] is for the
//! crash tests alone.)
//!
//! This crate must never show a fact before it is durable, never ack what is not, and never read a
//! clock or a socket inside [`mod@core`].
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod app;
mod backoff;
mod clock;
mod command;
#[doc(hidden)]
pub mod core;
mod downlink;
mod engine;
mod error;
mod event;
mod export;
mod invite;
mod live;
mod pairing;
mod relay;
mod state_dir;
#[cfg(test)]
mod testing;
mod types;

/// Notifications that are remembered of each hub.
pub const NOTIFICATIONS_KEPT: usize = journal::NOTICES_KEPT;

pub use app::{App, AppOptions, Creation, OpenedBy};
pub use command::{
    Alerts, CLIP_DAYS, CameraSettings, Command, CommandId, CommandOutcome, CommandState,
    CommandStatus, EVENT_SECONDS, HubSettings, KnownSettings, PairedPhone, PhoneId, QuietSetting,
    ZoneSetting,
};
pub use error::{AppError, ErrorKind};
pub use event::{EVENTS_WAITING_MAX, Event, Events};
pub use export::ClipReader;
pub use invite::{AddedPhone, InviteCode, InviteFailure};
pub use live::{LiveEvent, LiveStop, LiveView};
/// In which network [`App::pair`] and [`App::pair_printed`] look for a hub.
pub use pairing_lan::{Lan, Where as Nearby};
pub use types::{
    CameraReport, Channel, ChannelKeys, Clip, ClipId, ClipState, Exported, HUB_WAIT_MS, Heartbeat,
    HubId, HubStatus, NotRecorded, Notification, NotificationKind, OFFLINE_ADVICE, PairedHub,
    Pairing, Standing, Status, SyncMode, Thumbnail, hex,
};
/// For programs: what keeps a process and its files to itself.
pub use wal::private;
