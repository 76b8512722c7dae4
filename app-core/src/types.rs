//! What the app's callers hold: identifiers, clips, status. Plain values, nothing of the rooms below.

use std::fmt;
use std::str::FromStr;

use journal::ids::{Channel as JournalChannel, ClipId as JournalClip, PairingId};
use journal::message::{HubReport, NotRecorded as JournalNotRecorded, NoticeKind};
use journal::{AppClip, AppClipState, AppNotice, HeartbeatState};

use crate::core::{ChannelStatus, OfEvent, Over, Pulse};
use crate::error::AppError;

/// How long a sync that is to end waits for a hub's Commits and its answer, milliseconds since the relay
/// has the whole heartbeat, or the command. A hub that is there takes a second or two; until it has taken
/// the new keys, a copy of this directory holds them as well as we do.
pub const HUB_WAIT_MS: u64 = 5_000;

/// What a person is told of a camera that looks offline. Nobody can tell from here whether it only has no power, or has
/// lost its state and is another hub now: both are silent.
pub const OFFLINE_ADVICE: &str = "it looks offline: check its power and its network. If it was reset, or its disk was replaced, it has lost the keys that it shared with this phone and never answers: run `secluso-hub pair` there, `secluso-app pair` here, then `secluso-app forget` for the lost one";

/// The video of one event. `Display` is the whole of it, for whoever keeps it; what people and programs are told is
/// [`Self::short`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClipId([u8; 16]);

impl ClipId {
    /// Its first digits, by which it is told. The same at hub and app.
    #[must_use]
    pub fn short(self) -> String {
        self.to_journal().short()
    }

    pub(crate) fn from_journal(clip: JournalClip) -> Self {
        Self(clip.0)
    }

    pub(crate) fn to_journal(self) -> JournalClip {
        JournalClip(self.0)
    }
}

impl fmt::Display for ClipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_journal().to_hex())
    }
}

impl fmt::Debug for ClipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_journal(), f)
    }
}

impl FromStr for ClipId {
    type Err = AppError;

    fn from_str(text: &str) -> Result<Self, AppError> {
        JournalClip::from_hex(text)
            .map(Self::from_journal)
            .ok_or(AppError::BadClipId)
    }
}

/// One camera that this app is paired with. `Display` is the whole of it, for whoever keeps it; what people and programs
/// are told is [`Self::short`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubId([u8; 16]);

impl HubId {
    /// Its first digits, by which it is told: those by which the hub tells of this phone.
    #[must_use]
    pub fn short(self) -> String {
        self.to_journal().short()
    }

    pub(crate) fn from_journal(pairing: PairingId) -> Self {
        Self(pairing.0)
    }

    pub(crate) fn to_journal(self) -> PairingId {
        PairingId(self.0)
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&PairingId(self.0).to_hex())
    }
}

impl fmt::Debug for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&PairingId(self.0), f)
    }
}

/// What [`crate::App::pair`] achieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairedHub {
    /// The hub.
    pub hub: HubId,
    /// Whether this call finished the pairing.
    pub news: Pairing,
}

/// Whether a pairing is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pairing {
    /// Finished by this call.
    New,
    /// This app was paired with the hub before.
    Known,
}

/// How long a sync lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncMode {
    /// Until everything that the relay holds now is here and its acks are at the relay. If it sent a
    /// heartbeat or a command, or would call a hub silent, it stays for the hub's word, [`HUB_WAIT_MS`] at most
    /// for each.
    Once,
    /// Until the future is dropped; connects again by itself.
    Follow,
    /// As [`Self::Follow`], for somebody who waits for what comes: that the relay does not admit this device, or that
    /// another has taken its place there, ends it at once.
    Attended,
}

impl SyncMode {
    /// Whether it ends only with the future, or where trying again cannot help.
    pub(crate) fn goes_on(self) -> bool {
        match self {
            Self::Once => false,
            Self::Follow | Self::Attended => true,
        }
    }
}

/// How a clip stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ClipState {
    /// Bytes are coming, or will come.
    Receiving,
    /// Whole, and its SHA-256 is the hub's.
    Complete,
    /// The hub was cut off; what is here is all that the hub had made durable.
    CutOff,
    /// What is here is not what the hub accepted, or the hub lost its bytes.
    Damaged,
    /// The hub gave it up under its disk budget.
    Dropped,
    /// The hub gave it up because it had waited there for as long as its owner wants clips to be kept.
    Expired,
}

impl ClipState {
    /// The word for programs: `receiving`, `complete`, `cut_off`, `damaged`, `dropped` or `expired`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Complete => "complete",
            Self::CutOff => "cut_off",
            Self::Damaged => "damaged",
            Self::Dropped => "dropped",
            Self::Expired => "expired",
        }
    }
}

/// A clip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Clip {
    /// Which.
    pub clip: ClipId,
    /// From which hub.
    pub hub: HubId,
    /// The name of the camera.
    pub camera: String,
    /// What its bytes are, as a MIME type.
    pub mime: String,
    /// When its event began, milliseconds since 1970 by the hub's clock; 0 if that never arrived.
    pub started_unix_ms: u64,
    /// Bytes that are here.
    pub bytes: u64,
    /// Chunks that are here.
    pub chunks: u32,
    /// How it stands.
    pub state: ClipState,
    /// SHA-256 of the bytes that are here, once it has ended.
    pub sha256: Option<[u8; 32]>,
}

impl Clip {
    pub(crate) fn from_journal(pairing: PairingId, clip: AppClip) -> Self {
        Self::of_hub(HubId::from_journal(pairing), clip)
    }

    pub(crate) fn of_hub(hub: HubId, clip: AppClip) -> Self {
        let state = match clip.state {
            AppClipState::Receiving => ClipState::Receiving,
            AppClipState::Complete => ClipState::Complete,
            AppClipState::CutOff => ClipState::CutOff,
            AppClipState::Mismatch
            | AppClipState::Dropped(journal::message::DropReason::Damaged) => ClipState::Damaged,
            AppClipState::Dropped(journal::message::DropReason::Budget) => ClipState::Dropped,
            AppClipState::Dropped(journal::message::DropReason::Age) => ClipState::Expired,
        };
        Self {
            clip: ClipId::from_journal(clip.clip),
            hub,
            camera: clip.camera,
            mime: clip.mime,
            started_unix_ms: clip.started_unix_ms,
            bytes: clip.bytes,
            chunks: clip.chunks,
            state,
            sha256: clip.sha256,
        }
    }
}

/// The picture of an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thumbnail {
    /// Its own identifier, by which [`crate::App::export`] and [`crate::App::read_clip`] know it.
    pub thumbnail: ClipId,
    /// The clip of its event; none as long as that has not begun here, or if it was deleted.
    pub clip: Option<ClipId>,
    /// From which hub.
    pub hub: HubId,
    /// The name of the camera.
    pub camera: String,
    /// What its bytes are, as a MIME type: `image/jpeg`.
    pub mime: String,
    /// When its event began, milliseconds since 1970 by the hub's clock.
    pub started_unix_ms: u64,
    /// Bytes that are here.
    pub bytes: u64,
    /// How it stands.
    pub state: ClipState,
}

impl Thumbnail {
    pub(crate) fn of(found: OfEvent<AppClip>) -> Self {
        let picture = Clip::from_journal(found.pairing, found.what);
        Self {
            thumbnail: picture.clip,
            clip: found.clip.map(ClipId::from_journal),
            hub: picture.hub,
            camera: picture.camera,
            mime: picture.mime,
            started_unix_ms: picture.started_unix_ms,
            bytes: picture.bytes,
            state: picture.state,
        }
    }
}

/// The hub said that something happens, or that it cannot do its work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// Which hub.
    pub hub: HubId,
    /// The clip of its event; none as long as that has not begun here, if it was deleted, or if this is about no
    /// event.
    pub clip: Option<ClipId>,
    /// The name of the camera; empty where it is about none.
    pub camera: String,
    /// What it is.
    pub kind: NotificationKind,
    /// When the event, or what else it is, began, milliseconds since 1970 by the hub's clock.
    pub started_unix_ms: u64,
    /// When this was received, milliseconds since 1970 by our clock.
    pub received_unix_ms: u64,
}

impl Notification {
    pub(crate) fn of(found: OfEvent<AppNotice>) -> Self {
        Self {
            hub: HubId::from_journal(found.pairing),
            clip: found.clip.map(ClipId::from_journal),
            camera: found.what.camera,
            kind: match found.what.kind {
                NoticeKind::Motion => NotificationKind::Motion,
                NoticeKind::StorageFull => NotificationKind::StorageFull,
                NoticeKind::CameraAway => NotificationKind::CameraAway,
                NoticeKind::CameraBack => NotificationKind::CameraBack,
                NoticeKind::Person => NotificationKind::Person,
            },
            started_unix_ms: found.what.started_unix_ms,
            received_unix_ms: found.what.taken_unix_ms,
        }
    }
}

/// What a notification says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotificationKind {
    /// Something moves: an event begins.
    Motion,
    /// The hub's storage is full: new events are not recorded, or the oldest that are not here yet are dropped
    /// for them. To sync helps, if this phone is the one that they wait for.
    StorageFull,
    /// A camera gives no pictures: nothing of it is recorded.
    CameraAway,
    /// A camera that was away is there again.
    CameraBack,
    /// Behind the notification of an event: a person is likely in its picture. A program's guess: that there is none of
    /// these says nothing.
    Person,
}

impl NotificationKind {
    /// The word for programs: `motion`, `storage_full`, `camera_away`, `camera_back` or `person`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Motion => "motion",
            Self::StorageFull => "storage_full",
            Self::CameraAway => "camera_away",
            Self::CameraBack => "camera_back",
            Self::Person => "person",
        }
    }
}

/// What an export wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// Which clip.
    pub clip: ClipId,
    /// How it stands.
    pub state: ClipState,
    /// Bytes written.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

/// What hub and app exchange, each with keys of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Channel {
    /// The videos of events.
    EventVideo,
    /// Pictures of events.
    Thumbnail,
    /// Live video.
    Livestream,
    /// Notifications.
    Notification,
    /// Heartbeats, settings and commands.
    Config,
}

impl Channel {
    pub(crate) fn from_journal(channel: JournalChannel) -> Self {
        match channel {
            JournalChannel::EventVideo => Self::EventVideo,
            JournalChannel::Thumbnail => Self::Thumbnail,
            JournalChannel::Livestream => Self::Livestream,
            JournalChannel::Notification => Self::Notification,
            JournalChannel::Config => Self::Config,
        }
    }

    pub(crate) fn to_journal(self) -> JournalChannel {
        match self {
            Self::EventVideo => JournalChannel::EventVideo,
            Self::Thumbnail => JournalChannel::Thumbnail,
            Self::Livestream => JournalChannel::Livestream,
            Self::Notification => JournalChannel::Notification,
            Self::Config => JournalChannel::Config,
        }
    }

    /// The word for programs: `event_video`, `thumbnail`, `livestream`, `notification` or `config`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventVideo => "event_video",
            Self::Thumbnail => "thumbnail",
            Self::Livestream => "livestream",
            Self::Notification => "notification",
            Self::Config => "config",
        }
    }
}

/// How the keys of one channel stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelKeys {
    /// Which channel.
    pub channel: Channel,
    /// Since when the channel is healed, milliseconds since 1970 by our clock: when those keys of this
    /// phone were made that the hub took last. Whoever copied its directory before reads nothing that was
    /// sealed since the hub took them; a copy made since holds them. None if it took none since pairing.
    pub healed_unix_ms: Option<u64>,
    /// New keys wait for the hub: nothing is sent on this channel before it has taken them.
    pub awaits_commit: bool,
}

impl ChannelKeys {
    pub(crate) fn of(status: &ChannelStatus) -> Self {
        Self {
            channel: Channel::from_journal(status.channel),
            healed_unix_ms: status.healed_unix_ms,
            awaits_commit: status.awaits_commit,
        }
    }
}

/// Why a camera records no events, or did not record the last one whole, as it said itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NotRecorded {
    /// The hub has no camera: it failed, or was taken away.
    Camera,
    /// Privacy mode is on.
    Privacy,
    /// The hub's disk is full.
    Space,
    /// It has not heard of any phone for too long.
    Silent,
    /// Its state directory is older than what left it.
    RolledBack,
}

impl NotRecorded {
    fn of(why: JournalNotRecorded) -> Self {
        match why {
            JournalNotRecorded::Camera => Self::Camera,
            JournalNotRecorded::Privacy => Self::Privacy,
            JournalNotRecorded::Space => Self::Space,
            JournalNotRecorded::Silent => Self::Silent,
            JournalNotRecorded::RolledBack => Self::RolledBack,
        }
    }

    /// The word for programs: `camera_failed`, `privacy`, `disk_full`, `phones_silent` or `rolled_back`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Camera => "camera_failed",
            Self::Privacy => "privacy",
            Self::Space => "disk_full",
            Self::Silent => "phones_silent",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// How a hub was when it last answered a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CameraReport {
    /// It was recording an event.
    pub recording: bool,
    /// Why it recorded none, or the last one not whole; none if all was well.
    pub not_recorded: Option<NotRecorded>,
    /// Envelopes for this phone that it had heard no ack of.
    pub unacked: u64,
}

impl CameraReport {
    fn of(report: HubReport) -> Self {
        Self {
            recording: report.recording,
            not_recorded: report.not_recorded.map(NotRecorded::of),
            unacked: report.unacked,
        }
    }
}

/// The last heartbeat to a hub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Its number.
    pub number: u64,
    /// When it was sent last, milliseconds since 1970 by our clock.
    pub sent_unix_ms: u64,
    /// When the last answer came, to this or an earlier one.
    pub answered_unix_ms: Option<u64>,
    /// The hub's program, as that answer had it.
    pub hub_version: Option<String>,
    /// How the hub was when it made that answer.
    pub report: Option<CameraReport>,
    /// An answer, or one of the Commits that take the new keys, is missing for more than 15 minutes
    /// ([`crate::AppOptions::offline_after`]), and it was not at the relay when we looked there after that time and [`HUB_WAIT_MS`] after the relay had
    /// the heartbeat: the camera has no power or no network, or lost its state ([`OFFLINE_ADVICE`]). A sync that cannot reach the relay ends with an
    /// error instead.
    pub looks_offline: bool,
}

impl Heartbeat {
    pub(crate) fn of(state: HeartbeatState, pulse: &Pulse, now_unix_ms: u64) -> Self {
        Self {
            number: state.number,
            sent_unix_ms: state.sent_unix_ms,
            looks_offline: pulse.looks_offline(now_unix_ms),
            answered_unix_ms: state.answered.as_ref().map(|answered| answered.unix_ms),
            report: state
                .answered
                .as_ref()
                .map(|answered| CameraReport::of(answered.report)),
            hub_version: state.answered.map(|answered| answered.version),
        }
    }
}

/// How one pairing stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HubStatus {
    /// Which hub.
    pub hub: HubId,
    /// The relay, as `host:port`.
    pub relay: String,
    /// Epoch of the event video group; 0 if what is stored of that is damaged.
    pub epoch: u64,
    /// The last envelope taken from the hub.
    pub cursor: u64,
    /// What the last ack of this process said; 0 if it has sent none.
    pub acked: u64,
    /// Envelopes of ours that the hub does not hold yet, as far as it has told.
    pub waiting: u64,
    /// Number of clips.
    pub clips: u64,
    /// When it was paired, seconds since 1970 by this device's clock.
    pub paired_unix_s: u64,
    /// Whether anything is taken and sent.
    pub standing: Standing,
    /// The keys of all channels.
    pub channels: Vec<ChannelKeys>,
    /// The last heartbeat; none before the first.
    pub heartbeat: Option<Heartbeat>,
}

impl HubStatus {
    /// Since when every channel is healed, milliseconds since 1970: the oldest of theirs
    /// ([`ChannelKeys::healed_unix_ms`]). None while one never was since pairing.
    #[must_use]
    pub fn healed_unix_ms(&self) -> Option<u64> {
        let healed = self.channels.iter().map(|keys| keys.healed_unix_ms);
        healed.min().flatten()
    }
}

/// Whether an app may go on with a hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// Yes.
    Good,
    /// It is proved, by the hub or by what the relay holds, that this directory is an older copy of what it was:
    /// nothing is taken from the hub or sent to it any more ([`crate::AppError::OlderCopy`]).
    RolledBack,
    /// The hub goes on in keys that this directory does not have, or not any more because they are damaged:
    /// nothing is taken from it or sent to it on that channel ([`crate::AppError::LineBroken`]).
    LineBroken,
}

impl Standing {
    pub(crate) fn of(over: Option<Over>) -> Self {
        match over {
            None => Self::Good,
            Some(Over::RolledBack) => Self::RolledBack,
            Some(Over::Broken) => Self::LineBroken,
        }
    }

    /// What is wrong and what to do about it, if anything is.
    #[must_use]
    pub fn trouble(self) -> Option<AppError> {
        match self {
            Self::Good => None,
            Self::RolledBack => Some(AppError::OlderCopy),
            Self::LineBroken => Some(AppError::LineBroken),
        }
    }

    /// The word for programs: `good`, `rolled_back` or `line_broken`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::RolledBack => "rolled_back",
            Self::LineBroken => "line_broken",
        }
    }
}

/// How the app stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// One for each hub.
    pub hubs: Vec<HubStatus>,
    /// When this was read, milliseconds since 1970 by our clock.
    pub read_unix_ms: u64,
}

/// Lower-case hex, for digests.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
