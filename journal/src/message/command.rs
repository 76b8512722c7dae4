//! What the owner's app orders, and what the hub answers.
//!
//! A command travels in the config channel, each under an identifier that its app has thrown dice for, so
//! that one which is said twice has its effect once. Its kind is encoded on its own: a hub that does not
//! understand it can still answer. Settings are one small document with a version.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{CameraChange, CameraDoc, NoticeKind, decode, encode, short_name};
use crate::ids::{Channel, CommandId, PairingId};
use crate::pairing::PHONES_MAX;

/// Most bytes of an encoded [`CommandKind`].
pub const COMMAND_BYTES_MAX: usize = 384;

// The settings of a camera, its name, and what they start from.
const _: () = assert!(
    super::CAMERA_SETTINGS_BYTES_MAX + super::NAME_BYTES_MAX + 32 <= COMMAND_BYTES_MAX,
    "a camera's settings fit into a command"
);

/// Shortest and longest limit of an event, in seconds.
pub const EVENT_SECONDS: (u32, u32) = (1, 86_400);
/// For how many days at least and at most a clip may be kept that no phone has got.
pub const CLIP_DAYS: (u32, u32) = (1, 3_650);

/// A command, as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Which. The same each time that it is said.
    pub id: CommandId,
    /// What is ordered: an encoded [`CommandKind`] of at most [`COMMAND_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "short_kind")]
    kind: Vec<u8>,
}

impl Command {
    /// A command of ours; `None` if it does not encode, which our own do.
    pub fn new(id: CommandId, kind: &CommandKind) -> Option<Self> {
        let kind = encode(kind).filter(|kind| kind.len() <= COMMAND_BYTES_MAX)?;
        Some(Self { id, kind })
    }

    /// What is ordered; `None` if this version does not know it.
    pub fn kind(&self) -> Option<CommandKind> {
        decode(&self.kind)
    }
}

/// What an app may order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CommandKind {
    /// Privacy mode on or off, whatever the settings are otherwise: the last word of any phone counts.
    Privacy {
        /// Whether no event may be recorded.
        on: bool,
    },
    /// These settings in the place of those that the app knew.
    SetSettings {
        /// Which those were. If they are not the hub's any more, nothing changes.
        base: SettingsBase,
        /// All of the new ones.
        settings: Settings,
    },
    /// The relay is asked anew what it holds of a channel, and what is missing there is sent again.
    SendAgain {
        /// Which channel.
        channel: Channel,
        /// The first envelope of the hub that is missing at the app.
        from: u64,
    },
    /// The hub's program ends and is to be started again.
    Restart,
    /// Which phones the hub has.
    Phones,
    /// Another phone of this hub is to be removed: its keys and all that is kept for it, at once. A phone cannot
    /// remove itself so, because nobody would be left to be answered.
    Remove {
        /// Its pairing, as the hub names it.
        phone: PairingId,
    },
    /// An offer for one more phone, which this one passes on. The answer only says whether there will be one; the
    /// code follows when the hub has an invitation from the relay ([`super::Invited`]).
    Invite,
    /// What phones have set at a camera.
    Camera {
        /// Its name.
        #[serde(deserialize_with = "short_name")]
        camera: String,
    },
    /// These settings of a camera in the place of those that the app knew.
    SetCamera(CameraChange),
}

/// A phone of a hub, as the hub tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PhoneFacts {
    /// Its pairing.
    pub phone: PairingId,
    /// When it was paired, seconds since 1970 by the hub's clock.
    pub paired_unix_s: u64,
    /// When its last heartbeat came, milliseconds since 1970 by the hub's clock; `None` before the first.
    pub heard_unix_ms: Option<u64>,
}

/// What an owner may set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Privacy mode: no event is recorded.
    pub privacy: bool,
    /// Seconds after which the recording of an event ends, whole; within [`EVENT_SECONDS`]. `None`: as
    /// long as the camera says.
    pub event_seconds_max: Option<u32>,
    /// Days after which a clip goes that no phone has got, within [`CLIP_DAYS`]. `None`: as the hub's configuration
    /// says.
    pub clip_days_max: Option<u32>,
    /// What phones are notified of.
    pub alerts: Alerts,
}

impl Settings {
    /// Whether every value is within its limits.
    pub fn are_sound(&self) -> bool {
        let within = |value: Option<u32>, (least, most): (u32, u32)| {
            value.is_none_or(|value| (least..=most).contains(&value))
        };
        within(self.event_seconds_max, EVENT_SECONDS) && within(self.clip_days_max, CLIP_DAYS)
    }
}

/// What phones are notified of. Clips and pictures come in any case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Alerts {
    /// That something moves, and the hint that it is a person.
    pub motion: bool,
    /// That the hub's storage is full.
    pub storage_full: bool,
    /// That a camera gives no pictures. Who was told so is told as well when it does again.
    pub camera_away: bool,
}

impl Default for Alerts {
    /// Of everything.
    fn default() -> Self {
        Self {
            motion: true,
            storage_full: true,
            camera_away: true,
        }
    }
}

impl Alerts {
    /// Whether phones are notified of such a thing.
    #[must_use]
    pub fn want(&self, kind: NoticeKind) -> bool {
        match kind {
            NoticeKind::Motion | NoticeKind::Person => self.motion,
            NoticeKind::StorageFull => self.storage_full,
            NoticeKind::CameraAway => self.camera_away,
            // The end of what was told must not be missing.
            NoticeKind::CameraBack => true,
        }
    }
}

/// The settings of a hub. Every phone of it is told of each version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SettingsDoc {
    /// Rises with each change, from 0: nothing was ever set.
    pub version: u64,
    /// The command that made this version; `None` for version 0.
    pub made_by: Option<CommandId>,
    /// What is set.
    pub settings: Settings,
}

/// Which settings a change starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SettingsBase {
    /// This version.
    Version(u64),
    /// The version that this command makes, which was given before and is not answered yet, if it is that number. So
    /// two changes back to back both apply, and neither applies on top of another phone's: one that came
    /// between shows in the number, also where the command applies to any version, as [`CommandKind::Privacy`].
    Command {
        /// Which command.
        id: CommandId,
        /// The version that it makes of what its app knew, if nothing else does.
        version: u64,
    },
}

impl SettingsBase {
    /// Whether `current` is what was meant.
    pub fn is(&self, current: &SettingsDoc) -> bool {
        self.names(current.version, current.made_by)
    }

    /// As [`Self::is`], of the settings of a camera.
    pub fn is_camera(&self, current: &CameraDoc) -> bool {
        self.names(current.version, current.made_by)
    }

    /// The number of the version that is meant.
    pub fn version(&self) -> u64 {
        match self {
            Self::Version(version) | Self::Command { version, .. } => *version,
        }
    }

    fn names(&self, current: u64, made_by: Option<CommandId>) -> bool {
        match self {
            Self::Version(version) => current == *version,
            Self::Command { id, version } => made_by == Some(*id) && current == *version,
        }
    }
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Which command.
    pub id: CommandId,
    /// What came of it.
    pub result: CommandResult,
}

/// What came of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CommandResult {
    /// It is done, or will be: it is stored.
    Done,
    /// The settings are these now.
    Changed(SettingsDoc),
    /// Nothing was changed: another phone has set these since.
    Conflict(SettingsDoc),
    /// Nothing was changed.
    Refused(Refusal),
    /// The phones of the hub, the oldest pairing first; at most [`PHONES_MAX`].
    Phones(#[serde(deserialize_with = "few_phones")] Vec<PhoneFacts>),
    /// What phones have set at the camera that was asked for.
    Camera(CameraDoc),
    /// The camera's settings are these now.
    CameraChanged(CameraDoc),
    /// Nothing was changed: another phone has set these at the camera since.
    CameraConflict(CameraDoc),
}

impl CommandResult {
    /// The hub's settings, if it says them.
    pub fn settings(&self) -> Option<&SettingsDoc> {
        match self {
            Self::Changed(doc) | Self::Conflict(doc) => Some(doc),
            Self::Done
            | Self::Refused(_)
            | Self::Phones(_)
            | Self::Camera(_)
            | Self::CameraChanged(_)
            | Self::CameraConflict(_) => None,
        }
    }

    /// The settings of a camera, if it says them.
    pub fn camera(&self) -> Option<&CameraDoc> {
        match self {
            Self::Camera(doc) | Self::CameraChanged(doc) | Self::CameraConflict(doc) => Some(doc),
            Self::Done
            | Self::Changed(_)
            | Self::Conflict(_)
            | Self::Refused(_)
            | Self::Phones(_) => None,
        }
    }
}

/// Why a command had no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// The hub does not know such a command: it is older than the app.
    NotUnderstood,
    /// A value outside its limits, or an envelope that the hub never made.
    OutOfRange,
    /// No other phone of this hub has that name: it may have been removed before.
    NoSuchPhone,
    /// What the hub has stored of it cannot be read any more.
    Unreadable,
    /// The hub's owner allows no phone to pass offers on.
    NotAllowed,
    /// The hub has as many phones as it may have.
    TooManyPhones,
    /// Another phone is passing one on.
    Busy,
    /// No camera of this hub has that name.
    NoSuchCamera,
    /// Nobody looks for what moves in that camera's pictures, so there is nothing to set: its events go by the
    /// clock, as the hub's configuration says.
    NothingDetected,
    /// Another camera of this hub has the name that this one was to have.
    NameTaken,
}

fn short_kind<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let kind = Vec::<u8>::deserialize(from)?;
    match kind.len() <= COMMAND_BYTES_MAX {
        true => Ok(kind),
        false => Err(D::Error::custom("too long a command")),
    }
}

fn few_phones<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PhoneFacts>, D::Error> {
    let phones = Vec::<PhoneFacts>::deserialize(from)?;
    match phones.len() <= PHONES_MAX {
        true => Ok(phones),
        false => Err(D::Error::custom("more phones than a hub may have")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AppConfigMessage, CameraSettings, HubConfigMessage, NAME_BYTES_MAX};
    use super::*;

    const ID: CommandId = CommandId([7; 16]);

    fn doc() -> SettingsDoc {
        SettingsDoc {
            version: 300,
            made_by: Some(ID),
            settings: Settings {
                privacy: true,
                event_seconds_max: Some(60),
                clip_days_max: Some(30),
                alerts: Alerts {
                    motion: false,
                    ..Alerts::default()
                },
            },
        }
    }

    fn phone() -> PhoneFacts {
        PhoneFacts {
            phone: PairingId([6; 16]),
            paired_unix_s: 5,
            heard_unix_ms: Some(6_000),
        }
    }

    fn kinds() -> [CommandKind; 10] {
        let settings = doc().settings;
        [
            CommandKind::Privacy { on: true },
            CommandKind::SetSettings {
                base: SettingsBase::Version(3),
                settings,
            },
            CommandKind::SetSettings {
                base: SettingsBase::Command {
                    id: ID,
                    version: u64::MAX,
                },
                settings,
            },
            CommandKind::SendAgain {
                channel: Channel::EventVideo,
                from: u64::MAX,
            },
            CommandKind::Restart,
            CommandKind::Phones,
            CommandKind::Remove {
                phone: phone().phone,
            },
            CommandKind::Invite,
            CommandKind::Camera {
                camera: "door".into(),
            },
            CommandKind::SetCamera(CameraChange {
                camera: "n".repeat(NAME_BYTES_MAX),
                base: SettingsBase::Command {
                    id: ID,
                    version: u64::MAX,
                },
                settings: largest(),
            }),
        ]
    }

    /// As many corners of masks as fit.
    fn largest() -> CameraSettings {
        let mask = |corners| CameraSettings {
            masks: Some(vec![vec![(1000, 1000); corners]]),
            ..CameraSettings::default()
        };
        let fits = (3..100).rev().map(mask).find(CameraSettings::are_small);
        fits.unwrap()
    }

    fn camera() -> CameraDoc {
        CameraDoc {
            version: 2,
            made_by: Some(ID),
            settings: largest(),
            ..CameraDoc::unset("door")
        }
    }

    #[test]
    fn commands_and_outcomes_of_any_other_length_are_refused() {
        for kind in kinds() {
            let message = AppConfigMessage::Command(Command::new(ID, &kind).unwrap());
            let bytes = encode(&message).unwrap();
            let back = decode(&bytes);
            assert_eq!(back, Some(message));
            let Some(AppConfigMessage::Command(command)) = back else {
                panic!("it was one");
            };
            assert_eq!(command.kind(), Some(kind));
            for length in 0..bytes.len() {
                assert_eq!(decode::<AppConfigMessage>(&bytes[..length]), None);
            }
        }
        let results = [
            CommandResult::Done,
            CommandResult::Changed(doc()),
            CommandResult::Conflict(doc()),
            CommandResult::Refused(Refusal::OutOfRange),
            CommandResult::Phones(vec![phone(); PHONES_MAX]),
            CommandResult::Camera(camera()),
            CommandResult::CameraChanged(camera()),
            CommandResult::CameraConflict(camera()),
            CommandResult::Refused(Refusal::NothingDetected),
            CommandResult::Refused(Refusal::NameTaken),
        ];
        let said = results.map(|result| HubConfigMessage::Outcome(Outcome { id: ID, result }));
        for message in said.into_iter().chain([HubConfigMessage::Settings(doc())]) {
            let bytes = encode(&message).unwrap();
            for length in 0..bytes.len() {
                assert_eq!(decode::<HubConfigMessage>(&bytes[..length]), None);
            }
            assert_eq!(decode(&bytes), Some(message));
        }
    }

    /// A newer app's command has an identifier all the same, by which it can be answered.
    #[test]
    fn a_kind_that_is_not_known_leaves_the_identifier_readable() {
        let unknown = Command {
            id: ID,
            kind: vec![1, 200],
        };
        let bytes = encode(&AppConfigMessage::Command(unknown)).unwrap();
        let Some(AppConfigMessage::Command(read)) = decode(&bytes) else {
            panic!("the command itself can be read");
        };
        assert_eq!((read.id, read.kind()), (ID, None));
        let long = Command {
            id: ID,
            kind: vec![0; COMMAND_BYTES_MAX + 1],
        };
        let bytes = encode(&AppConfigMessage::Command(long)).unwrap();
        assert_eq!(decode::<AppConfigMessage>(&bytes), None);
    }

    #[test]
    fn an_answer_names_no_more_phones_than_a_hub_may_have() {
        let result = CommandResult::Phones(vec![phone(); PHONES_MAX + 1]);
        let bytes = encode(&HubConfigMessage::Outcome(Outcome { id: ID, result })).unwrap();
        assert_eq!(decode::<HubConfigMessage>(&bytes), None);
    }

    #[test]
    fn a_change_starts_from_what_it_names_and_from_nothing_else() {
        assert!(SettingsBase::Version(300).is(&doc()));
        assert!(!SettingsBase::Version(301).is(&doc()));
        let made_by = |id, version| SettingsBase::Command { id, version };
        assert!(made_by(ID, 300).is(&doc()));
        assert!(!made_by(ID, 299).is(&doc()), "over another phone's");
        assert!(!made_by(CommandId([8; 16]), 300).is(&doc()));
        assert!(SettingsBase::Version(0).is(&SettingsDoc::default()));
        assert!(SettingsBase::Version(2).is_camera(&camera()));
        assert!(!SettingsBase::Version(1).is_camera(&camera()));
        assert!(made_by(ID, 2).is_camera(&camera()));
        assert!(!made_by(ID, 1).is_camera(&camera()), "over another phone's");
        assert!(!made_by(ID, 0).is_camera(&CameraDoc::unset("door")));
        let seconds = |seconds| Settings {
            event_seconds_max: Some(seconds),
            ..Settings::default()
        };
        assert!(Settings::default().are_sound() && seconds(1).are_sound());
        assert!(!seconds(0).are_sound() && !seconds(86_401).are_sound());
        let days = |days| Settings {
            clip_days_max: Some(days),
            ..Settings::default()
        };
        assert!(days(1).are_sound() && days(3_650).are_sound());
        assert!(!days(0).are_sound() && !days(3_651).are_sound());
    }
}
