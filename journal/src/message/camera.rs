//! What an owner may set at one camera, over what the hub's configuration says.
//!
//! Only what somebody has set is there; everything else is the configuration's. It is small, so that every answer
//! that tells it, and every book that keeps such answers, is. Whether a value can be is the hub's to say, because
//! it hangs on what the configuration has beside it. This room knows no cameras.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{NAME_BYTES_MAX, SettingsBase, encode, short_name};
use crate::ids::CommandId;

/// Most bytes of encoded [`CameraSettings`]: some fifty corners of zones and masks, beside everything else but a long
/// name.
pub const CAMERA_SETTINGS_BYTES_MAX: usize = 256;

/// Where motion counts, as somebody wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneSetting {
    /// Its name.
    pub name: String,
    /// Its corners, from the left and from above, in thousandths of the picture's width and height.
    pub corners: Vec<(u16, u16)>,
}

/// When no event begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum QuietSetting {
    /// At no time: also where the configuration has quiet hours.
    Never,
    /// From one minute of the day until before another, over midnight if that comes first.
    Hours {
        /// The first, since midnight.
        from_minute: u16,
        /// The last, since midnight.
        until_minute: u16,
    },
}

/// What phones have set at a camera. `None`: as the hub's configuration has it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CameraSettings {
    /// Whether what moves is looked for. Where it is not, no event begins.
    pub detects: Option<bool>,
    /// How little a difference counts.
    pub sensitivity: Option<u8>,
    /// How small a thing counts, in thousandths of the picture.
    pub min_area_permille: Option<u16>,
    /// The share of the picture above which a change is one of the light, in percent.
    pub light_switch_percent: Option<u8>,
    /// Where motion counts, instead of the configuration's zones; an empty list: everywhere.
    pub zones: Option<Vec<ZoneSetting>>,
    /// What is not looked at, beside the configuration's masks: those always hold.
    pub masks: Option<Vec<Vec<(u16, u16)>>>,
    /// When no event begins.
    pub quiet: Option<QuietSetting>,
    /// How far the clock of the quiet hours is before UTC, in minutes.
    pub utc_offset_minutes: Option<i16>,
    /// What is recorded from before the motion, in milliseconds.
    pub pre_roll_ms: Option<u32>,
    /// What is recorded after it, in milliseconds.
    pub post_roll_ms: Option<u32>,
    /// The longest event, in milliseconds.
    pub at_most_ms: Option<u32>,
    /// How long after an event none begins, in milliseconds.
    pub cool_down_ms: Option<u32>,
    /// Under which name phones are shown what begins from now on; the configuration's name goes on to be the one by
    /// which it is set. [`CameraSettings::is_name`].
    pub name: Option<String>,
    /// Whether the configuration's program is asked about persons. No phone brings in a program of its own.
    pub persons: Option<bool>,
}

impl CameraSettings {
    /// Whether a camera may be shown under such a name: 1 to [`NAME_BYTES_MAX`] bytes, no control characters, no blank
    /// at either end.
    pub fn is_name(name: &str) -> bool {
        !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && name.trim() == name
            && !name.chars().any(char::is_control)
    }

    /// Whether nothing is set that is about what moves in its pictures.
    pub fn are_of_the_name_alone(&self) -> bool {
        let name = self.name.clone();
        *self
            == Self {
                name,
                ..Self::default()
            }
    }

    /// Whether they fit into a command: [`CAMERA_SETTINGS_BYTES_MAX`].
    pub fn are_small(&self) -> bool {
        encode(self).is_some_and(|bytes| bytes.len() <= CAMERA_SETTINGS_BYTES_MAX)
    }
}

/// The settings of one camera, as the hub has them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CameraDoc {
    /// Its name, as the hub's configuration has it.
    #[serde(deserialize_with = "short_name")]
    pub camera: String,
    /// Rises with each change, from 0: no phone has set anything.
    pub version: u64,
    /// The command that made this version; `None` for version 0.
    pub made_by: Option<CommandId>,
    /// What is set.
    #[serde(deserialize_with = "small_settings")]
    pub settings: CameraSettings,
}

impl CameraDoc {
    /// A camera at which no phone has set anything.
    pub fn unset(camera: &str) -> Self {
        Self {
            camera: camera.to_owned(),
            version: 0,
            made_by: None,
            settings: CameraSettings::default(),
        }
    }
}

/// A wish to set a camera.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CameraChange {
    /// Its name.
    #[serde(deserialize_with = "short_name")]
    pub camera: String,
    /// What the change starts from. If those are not its settings any more, nothing changes.
    pub base: SettingsBase,
    /// All of the new ones.
    #[serde(deserialize_with = "small_settings")]
    pub settings: CameraSettings,
}

fn small_settings<'de, D: Deserializer<'de>>(from: D) -> Result<CameraSettings, D::Error> {
    let settings = CameraSettings::deserialize(from)?;
    match settings.are_small() {
        true => Ok(settings),
        false => Err(D::Error::custom("too many settings of a camera")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    fn mask(corners: usize) -> CameraSettings {
        CameraSettings {
            masks: Some(vec![vec![(1000, 1000); corners]]),
            ..CameraSettings::default()
        }
    }

    #[test]
    fn settings_are_read_back_and_too_many_are_refused() {
        let doc = |settings| CameraDoc {
            version: 3,
            made_by: Some(CommandId([4; 16])),
            settings,
            ..CameraDoc::unset("door")
        };
        let full = CameraSettings {
            detects: Some(true),
            sensitivity: Some(70),
            min_area_permille: Some(4),
            light_switch_percent: Some(100),
            zones: Some(vec![ZoneSetting {
                name: "drive".into(),
                corners: vec![(0, 500), (1000, 500), (1000, 1000)],
            }]),
            masks: Some(Vec::new()),
            quiet: Some(QuietSetting::Hours {
                from_minute: 1320,
                until_minute: 390,
            }),
            utc_offset_minutes: Some(-60),
            pre_roll_ms: Some(2_500),
            post_roll_ms: Some(10_000),
            at_most_ms: Some(60_000),
            cool_down_ms: Some(0),
            name: Some("Front door".into()),
            persons: Some(false),
        };
        assert!(full.are_small() && !full.are_of_the_name_alone());
        let bytes = encode(&doc(full.clone())).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(decode::<CameraDoc>(&bytes[..length]), None);
        }
        assert_eq!(decode(&bytes), Some(doc(full)));
        // Fifty corners fit, and the first number that does not is refused on both ways.
        assert!(mask(50).are_small());
        let many = (51..200).find(|corners| !mask(*corners).are_small());
        let large = mask(many.unwrap());
        let change = CameraChange {
            camera: "door".into(),
            base: SettingsBase::Version(0),
            settings: large.clone(),
        };
        assert_eq!(decode::<CameraDoc>(&encode(&doc(large)).unwrap()), None);
        assert_eq!(decode::<CameraChange>(&encode(&change).unwrap()), None);
    }

    #[test]
    fn a_name_is_short_and_can_be_read() {
        for good in ["a", "Front door", "Haustür", &"x".repeat(NAME_BYTES_MAX)] {
            assert!(CameraSettings::is_name(good), "{good:?}");
        }
        let long = "ü".repeat(NAME_BYTES_MAX / 2 + 1);
        for bad in [
            "",
            " ",
            "door ",
            "\u{a0}door",
            "do\nor",
            "do\u{1b}[2Jor",
            &long,
        ] {
            assert!(!CameraSettings::is_name(bad), "{bad:?}");
        }
        let named = CameraSettings {
            name: Some("x".repeat(NAME_BYTES_MAX)),
            ..CameraSettings::default()
        };
        assert!(named.are_small() && named.are_of_the_name_alone());
        let both = CameraSettings {
            detects: Some(true),
            ..named.clone()
        };
        let hinted = CameraSettings {
            persons: Some(false),
            ..named
        };
        assert!(!both.are_of_the_name_alone() && !hinted.are_of_the_name_alone());
    }
}
