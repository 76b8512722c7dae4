//! Commands as the app's callers hold them. Plain values, nothing of the rooms below but what phones set at a camera,
//! which is as plain there.

use std::fmt;

use journal::ids::{CommandId as JournalCommand, PairingId};
pub use journal::message::{Alerts, CameraSettings, QuietSetting, ZoneSetting};
use journal::message::{
    CameraDoc, CommandKind, CommandResult, NAME_BYTES_MAX, PhoneFacts, Refusal, Settings,
    SettingsDoc,
};
use journal::{CommandBook, DoneCommand, PendingCommand};

use crate::core::Order;
use crate::error::AppError;
use crate::types::{Channel, HubId};

/// Shortest and longest limit of an event that a hub takes, in seconds.
pub const EVENT_SECONDS: (u32, u32) = journal::message::EVENT_SECONDS;
/// For how many days at least and at most a hub may be told to keep a clip that no phone has got.
pub const CLIP_DAYS: (u32, u32) = journal::message::CLIP_DAYS;

/// One command, from the moment in which it was given until it was answered, and for a while after. `Display` is the
/// whole of its name, for whoever keeps it; what people and programs are told is [`Self::short`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId([u8; 16]);

impl CommandId {
    /// Its first digits, by which it is told.
    #[must_use]
    pub fn short(self) -> String {
        self.to_journal().short()
    }

    pub(crate) fn from_journal(id: JournalCommand) -> Self {
        Self(id.0)
    }

    pub(crate) fn to_journal(self) -> JournalCommand {
        JournalCommand(self.0)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&JournalCommand(self.0).to_hex())
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&JournalCommand(self.0), f)
    }
}

/// A phone that is paired with a hub, as that hub names it. `Display` is the whole of its name, for whoever keeps it; what
/// people and programs are told is [`Self::short`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneId([u8; 16]);

impl PhoneId {
    /// Its first digits, by which it is told. The same at the hub.
    #[must_use]
    pub fn short(self) -> String {
        self.to_journal().short()
    }

    pub(crate) fn from_journal(id: PairingId) -> Self {
        Self(id.0)
    }

    fn to_journal(self) -> PairingId {
        PairingId(self.0)
    }
}

impl fmt::Display for PhoneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_journal().to_hex())
    }
}

impl fmt::Debug for PhoneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_journal(), f)
    }
}

/// A phone of a hub, as the hub told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairedPhone {
    /// Which.
    pub phone: PhoneId,
    /// It is this one.
    pub is_this: bool,
    /// When it was paired, seconds since 1970 by the hub's clock.
    pub paired_unix_s: u64,
    /// When the hub heard of it last, milliseconds since 1970 by the hub's clock; none before its first
    /// heartbeat.
    pub heard_unix_ms: Option<u64>,
}

impl PairedPhone {
    fn of(hub: HubId, facts: &PhoneFacts) -> Self {
        Self {
            phone: PhoneId::from_journal(facts.phone),
            is_this: facts.phone == hub.to_journal(),
            paired_unix_s: facts.paired_unix_s,
            heard_unix_ms: facts.heard_unix_ms,
        }
    }
}

/// What an owner may set at a hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HubSettings {
    /// Privacy mode: no event is recorded.
    pub privacy: bool,
    /// Seconds after which the recording of an event ends, within [`EVENT_SECONDS`]; none: as long as the
    /// camera says.
    pub event_seconds_max: Option<u32>,
    /// Days, in which the hub runs, after which a clip goes that no phone has got, within [`CLIP_DAYS`]; none: as the
    /// hub's configuration says.
    pub clip_days_max: Option<u32>,
    /// What phones are notified of.
    pub alerts: Alerts,
}

impl HubSettings {
    fn of(settings: &Settings) -> Self {
        Self {
            privacy: settings.privacy,
            event_seconds_max: settings.event_seconds_max,
            clip_days_max: settings.clip_days_max,
            alerts: settings.alerts,
        }
    }

    fn to_journal(self) -> Settings {
        Settings {
            privacy: self.privacy,
            event_seconds_max: self.event_seconds_max,
            clip_days_max: self.clip_days_max,
            alerts: self.alerts,
        }
    }
}

/// What an owner may order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Privacy mode on or off, whatever another phone has set since.
    Privacy {
        /// Whether no event may be recorded.
        on: bool,
    },
    /// These settings in the place of [`KnownSettings::wanted`]. If another phone has changed them since,
    /// nothing changes and the answer says what they are.
    Settings(HubSettings),
    /// Whatever of this channel is missing here: the hub asks the relay anew what it holds.
    SendAgain(Channel),
    /// The hub's program is to start again.
    Restart,
    /// Which phones the hub has.
    Phones,
    /// This other phone of the hub is to be removed, with all that is kept for it. This one cannot remove itself.
    Remove(PhoneId),
    /// A code by which one more phone can pair, for this one to pass on ([`crate::App::invite_code`]). The answer only
    /// says whether there will be one.
    Invite,
    /// What phones have set at this camera, by its name.
    Camera(String),
    /// These settings of a camera in the place of what is known here of it ([`crate::App::camera_settings`]). If another
    /// phone has changed them since, nothing changes and the answer says what they are.
    SetCamera {
        /// Its name.
        camera: String,
        /// All that is to be set.
        settings: CameraSettings,
    },
}

impl Command {
    pub(crate) fn into_order(self) -> Result<Order, AppError> {
        Ok(match self {
            Self::Privacy { on } => Order::Privacy { on },
            Self::Settings(settings) => {
                let settings = settings.to_journal();
                if !settings.are_sound() {
                    return Err(AppError::BadSetting);
                }
                Order::Settings(settings)
            }
            Self::SendAgain(channel) => Order::SendAgain(channel.to_journal()),
            Self::Restart => Order::Restart,
            Self::Phones => Order::Phones,
            Self::Remove(phone) => Order::Remove(phone.to_journal()),
            Self::Invite => Order::Invite,
            Self::Camera(camera) if camera.len() > NAME_BYTES_MAX => {
                return Err(AppError::TooManySettings);
            }
            Self::Camera(camera) => Order::Camera(camera),
            Self::SetCamera { camera, settings } => {
                if camera.len() > NAME_BYTES_MAX || !settings.are_small() {
                    return Err(AppError::TooManySettings);
                }
                Order::SetCamera { camera, settings }
            }
        })
    }
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CommandOutcome {
    /// It is done, or stored to be done.
    Done,
    /// The hub's settings are these now.
    Changed {
        /// Their version.
        version: u64,
        /// All of them.
        settings: HubSettings,
    },
    /// Nothing was changed: another phone has set these since.
    Conflict {
        /// Their version.
        version: u64,
        /// All of them.
        settings: HubSettings,
    },
    /// Nothing was changed: the hub does not know such a command.
    NotUnderstood,
    /// Nothing was changed: a value is outside its limits, or cannot be beside the hub's configuration.
    OutOfRange,
    /// Nothing was changed: no other phone of the hub has that name. It may have been removed before.
    NoSuchPhone,
    /// Nothing was changed: what the hub has stored of it cannot be read any more.
    Unreadable,
    /// The phones of the hub, the oldest pairing first.
    Phones(Vec<PairedPhone>),
    /// There will be no code: the hub's owner allows no phone to pass one on.
    NotAllowed,
    /// There will be no code: the hub has as many phones as it may have.
    TooManyPhones,
    /// There will be no code now: another phone is passing one on.
    Busy,
    /// What phones have set at a camera, as it was asked for.
    Camera {
        /// Its name.
        camera: String,
        /// The version of it; 0 if nothing was ever set.
        version: u64,
        /// What is set.
        settings: CameraSettings,
    },
    /// The settings of a camera are these now.
    CameraChanged {
        /// Its name.
        camera: String,
        /// Their version.
        version: u64,
        /// All of them.
        settings: CameraSettings,
    },
    /// Nothing was changed: another phone has set these at the camera since.
    CameraConflict {
        /// Its name.
        camera: String,
        /// Their version.
        version: u64,
        /// All of them.
        settings: CameraSettings,
    },
    /// Nothing was changed: no camera of the hub has that name.
    NoSuchCamera,
    /// Nothing was changed: that camera's events go by the clock, so there is nothing to set but its name.
    NothingDetected,
    /// Nothing was changed: another camera of the hub has that name.
    NameTaken,
}

impl CommandOutcome {
    pub(crate) fn of(hub: HubId, result: &CommandResult) -> Self {
        let parts = |doc: &SettingsDoc| (doc.version, HubSettings::of(&doc.settings));
        let of_camera = |doc: &CameraDoc| (doc.camera.clone(), doc.version, doc.settings.clone());
        match result {
            CommandResult::Done => Self::Done,
            CommandResult::Changed(doc) => {
                let (version, settings) = parts(doc);
                Self::Changed { version, settings }
            }
            CommandResult::Conflict(doc) => {
                let (version, settings) = parts(doc);
                Self::Conflict { version, settings }
            }
            CommandResult::Refused(Refusal::NotUnderstood) => Self::NotUnderstood,
            CommandResult::Refused(Refusal::OutOfRange) => Self::OutOfRange,
            CommandResult::Refused(Refusal::NoSuchPhone) => Self::NoSuchPhone,
            CommandResult::Refused(Refusal::Unreadable) => Self::Unreadable,
            CommandResult::Refused(Refusal::NotAllowed) => Self::NotAllowed,
            CommandResult::Refused(Refusal::TooManyPhones) => Self::TooManyPhones,
            CommandResult::Refused(Refusal::Busy) => Self::Busy,
            CommandResult::Refused(Refusal::NoSuchCamera) => Self::NoSuchCamera,
            CommandResult::Refused(Refusal::NothingDetected) => Self::NothingDetected,
            CommandResult::Refused(Refusal::NameTaken) => Self::NameTaken,
            CommandResult::Camera(doc) => {
                let (camera, version, settings) = of_camera(doc);
                Self::Camera {
                    camera,
                    version,
                    settings,
                }
            }
            CommandResult::CameraChanged(doc) => {
                let (camera, version, settings) = of_camera(doc);
                Self::CameraChanged {
                    camera,
                    version,
                    settings,
                }
            }
            CommandResult::CameraConflict(doc) => {
                let (camera, version, settings) = of_camera(doc);
                Self::CameraConflict {
                    camera,
                    version,
                    settings,
                }
            }
            CommandResult::Phones(phones) => Self::Phones(
                phones
                    .iter()
                    .map(|facts| PairedPhone::of(hub, facts))
                    .collect(),
            ),
        }
    }

    /// The word for programs: `done`, `changed`, `conflict`, `not_understood`, `out_of_range`,
    /// `no_such_phone`, `unreadable`, `phones`, `not_allowed`, `too_many_phones`, `busy`, `camera`, `camera_changed`,
    /// `camera_conflict`, `no_such_camera`, `nothing_detected` or `name_taken`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Changed { .. } => "changed",
            Self::Conflict { .. } => "conflict",
            Self::NotUnderstood => "not_understood",
            Self::OutOfRange => "out_of_range",
            Self::NoSuchPhone => "no_such_phone",
            Self::Unreadable => "unreadable",
            Self::Phones(_) => "phones",
            Self::NotAllowed => "not_allowed",
            Self::TooManyPhones => "too_many_phones",
            Self::Busy => "busy",
            Self::Camera { .. } => "camera",
            Self::CameraChanged { .. } => "camera_changed",
            Self::CameraConflict { .. } => "camera_conflict",
            Self::NoSuchCamera => "no_such_camera",
            Self::NothingDetected => "nothing_detected",
            Self::NameTaken => "name_taken",
        }
    }
}

/// How far a command has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandState {
    /// It waits for its turn, or for the next sync.
    Waiting,
    /// It is on its way to the hub.
    Sent,
    /// The hub has answered.
    Answered(CommandOutcome),
}

/// One command and how it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandStatus {
    /// Which.
    pub id: CommandId,
    /// To which hub.
    pub hub: HubId,
    /// The word for what is ordered: `privacy`, `settings`, `send_again`, `restart`, `phones`, `remove`, `invite`,
    /// `camera` or `set_camera`.
    pub what: &'static str,
    /// When it was given, or, once it is answered, when the answer came; milliseconds since 1970 by our
    /// clock.
    pub unix_ms: u64,
    /// How far it has come.
    pub state: CommandState,
}

/// What is known here of a hub's settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownSettings {
    /// Of which hub.
    pub hub: HubId,
    /// Their version, as the hub told it last; 0 if nothing was ever set.
    pub version: u64,
    /// What they are.
    pub settings: HubSettings,
    /// What they will be once every command that waits is done: what a change starts from.
    pub wanted: HubSettings,
}

impl KnownSettings {
    pub(crate) fn of(hub: HubId, book: &CommandBook) -> Self {
        let (_base, wanted) = book.to_change();
        Self {
            hub,
            version: book.settings.version,
            settings: HubSettings::of(&book.settings.settings),
            wanted: HubSettings::of(&wanted),
        }
    }
}

/// All of a hub's commands, those that were answered first.
pub(crate) fn of_book(hub: HubId, book: &CommandBook) -> Vec<CommandStatus> {
    let done = |one: &DoneCommand| CommandStatus {
        id: CommandId::from_journal(one.id),
        hub,
        what: word(&one.kind),
        unix_ms: one.unix_ms,
        state: CommandState::Answered(CommandOutcome::of(hub, &one.result)),
    };
    let pending = |one: &PendingCommand| CommandStatus {
        id: CommandId::from_journal(one.id),
        hub,
        what: word(&one.kind),
        unix_ms: one.made_unix_ms,
        state: match one.sent {
            Some(_) => CommandState::Sent,
            None => CommandState::Waiting,
        },
    };
    let done = book.done.iter().map(done);
    done.chain(book.pending.iter().map(pending)).collect()
}

/// The settings that a hub told.
pub(crate) fn told(doc: &SettingsDoc) -> (u64, HubSettings) {
    (doc.version, HubSettings::of(&doc.settings))
}

fn word(kind: &CommandKind) -> &'static str {
    match kind {
        CommandKind::Privacy { .. } => "privacy",
        CommandKind::SetSettings { .. } => "settings",
        CommandKind::SendAgain { .. } => "send_again",
        CommandKind::Restart => "restart",
        CommandKind::Phones => "phones",
        CommandKind::Remove { .. } => "remove",
        CommandKind::Invite => "invite",
        CommandKind::Camera { .. } => "camera",
        CommandKind::SetCamera(_) => "set_camera",
    }
}
