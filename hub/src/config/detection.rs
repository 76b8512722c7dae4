//! The part of a camera's table that is about events: what moves, where, and what is recorded of it.
//!
//! Every value that cannot be names its key. This room must never have a default of its own: those are
//! the ones of [`MotionValues`] and [`EventValues`].
//!
//! ```toml
//! [camera.detection]
//! sensitivity = 50              # 1 to 100
//! min_area_permille = 2         # of the picture: 1 to 500
//! light_switch_percent = 60     # more of the picture at once is the light: 30 to 100
//! masks = [[[0, 0], [1000, 0], [1000, 120], [0, 120]]]   # thousandths of width and height
//! quiet = "22:00-06:30"         # no event begins in these hours
//! time_zone = "Europe/Berlin"   # of the clock that they are of, with its summer time; or, for one that knows none,
//! # utc_offset_minutes = 60     # how far that is before UTC: -720 to 840
//! pre_roll_seconds = 5.0        # 0 to 30
//! post_roll_seconds = 5.0       # 1 to 120; motion within it is the same event
//! at_most_seconds = 120.0       # 10 to 600
//! cool_down_seconds = 5.0       # 0 to 3600
//! ring_mib = 16                 # memory for the pre-roll: 1 to 64
//! cpu_percent = 25              # of one core, for this camera, by the clock; beyond it only key frames are decoded
//! person_program = "/usr/local/bin/is-person"   # a JPEG on stdin, from 0 to 1 on stdout; none: nobody is asked
//! person_arguments = []
//! person_percent = 70           # from which score on a person is likely: 1 to 100
//!
//! [[camera.detection.zones]]    # without zones, motion counts everywhere
//! name = "drive"
//! polygon = [[0, 500], [1000, 500], [1000, 1000], [0, 1000]]
//! ```

mod set;

use std::path::PathBuf;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::Deserialize;

use crate::detector::{CPU_PERCENT, CPU_PERCENT_DEFAULT};
use crate::events::{EventSettings, EventSettingsError, EventValues, RING_BYTES};
use crate::motion::{
    MotionSettings, MotionSettingsError, MotionValues, Point, Polygon, PolygonError, QuietHours,
    WallClock, Zone,
};
use crate::person::{PersonProgram, Score};

/// From which score on a person is likely, in percent, if the file does not say.
const PERSON_PERCENT_DEFAULT: u8 = 70;
/// The most arguments of the program that is asked.
const PERSON_ARGUMENTS_MAX: usize = 64;

/// What a camera's detection was told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    /// What is motion.
    pub motion: MotionSettings,
    /// What is recorded of it.
    pub events: EventSettings,
    /// The share of one core for decoding and looking at this camera, in percent: of the time that passes while one
    /// thread is at it, not of the CPU time that the system counts.
    pub cpu_percent: u32,
    /// The clock of the quiet hours; a fixed one is before UTC by [`UTC_OFFSET_MINUTES`].
    pub wall_clock: WallClock,
    /// Who says whether a person is in the picture of an event; none: nobody.
    pub person: Option<PersonProgram>,
    /// Whether what moves is looked for now. Always so in the file; a phone can turn it off.
    pub detects: bool,
}

/// The clocks there are, in minutes before UTC.
pub const UTC_OFFSET_MINUTES: (i16, i16) = (-720, 840);

impl Default for Detection {
    fn default() -> Self {
        Self {
            motion: MotionSettings::default(),
            events: EventSettings::default(),
            cpu_percent: CPU_PERCENT_DEFAULT,
            wall_clock: WallClock::Fixed(0),
            person: None,
            detects: true,
        }
    }
}

/// Which key has a value that cannot be, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {what}")]
pub struct DetectionError {
    /// Which key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub what: String,
}

/// The table as it stands in the file; what is not there has its default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionTable {
    cpu_percent: Option<u32>,
    sensitivity: Option<u8>,
    min_area_permille: Option<u16>,
    light_switch_percent: Option<u8>,
    #[serde(default)]
    zones: Vec<ZoneTable>,
    #[serde(default)]
    masks: Vec<Vec<[u16; 2]>>,
    quiet: Option<String>,
    time_zone: Option<String>,
    utc_offset_minutes: Option<i16>,
    pre_roll_seconds: Option<f64>,
    post_roll_seconds: Option<f64>,
    at_most_seconds: Option<f64>,
    cool_down_seconds: Option<f64>,
    ring_mib: Option<usize>,
    person_program: Option<PathBuf>,
    person_arguments: Option<Vec<String>>,
    person_percent: Option<u8>,
}

impl DetectionTable {
    /// One more mask, of a part of the picture that the hub draws itself.
    pub(super) fn add_mask(&mut self, corners: Vec<[u16; 2]>) {
        self.masks.push(corners);
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneTable {
    name: String,
    polygon: Vec<[u16; 2]>,
}

impl Detection {
    /// Checks a table.
    ///
    /// # Errors
    /// [`DetectionError`], for the first value that cannot be.
    pub fn new(table: DetectionTable) -> Result<Self, DetectionError> {
        let cpu_percent = table.cpu_percent.unwrap_or(CPU_PERCENT_DEFAULT);
        let (min, max) = CPU_PERCENT;
        if !(min..=max).contains(&cpu_percent) {
            return Err(DetectionError {
                key: "cpu_percent",
                what: format!("{cpu_percent} is outside {min} to {max}"),
            });
        }
        let wall_clock = wall_clock(&table)?;
        Ok(Self {
            person: person(&table)?,
            events: events(&table)?,
            motion: motion(table)?,
            cpu_percent,
            wall_clock,
            detects: true,
        })
    }
}

fn person(table: &DetectionTable) -> Result<Option<PersonProgram>, DetectionError> {
    let bad = |key, what: &str| DetectionError {
        key,
        what: what.to_owned(),
    };
    let Some(program) = &table.person_program else {
        let nobody = "nobody is asked; set person_program too, or remove it";
        return match (&table.person_arguments, table.person_percent) {
            (Some(_), _) => Err(bad("person_arguments", nobody)),
            (None, Some(_)) => Err(bad("person_percent", nobody)),
            (None, None) => Ok(None),
        };
    };
    // A name is looked for in PATH. Any other would be of wherever the hub was started.
    if program.components().count() != 1 && !program.is_absolute() {
        return Err(bad(
            "person_program",
            "not a name, nor a path from the root; for example /usr/local/bin/is-person",
        ));
    }
    let arguments = table.person_arguments.clone().unwrap_or_default();
    if arguments.len() > PERSON_ARGUMENTS_MAX {
        return Err(bad("person_arguments", "at most 64 are supported"));
    }
    let percent = table.person_percent.unwrap_or(PERSON_PERCENT_DEFAULT);
    let at_least = Score::new(percent)
        .filter(|score| *score > Score::NONE)
        .ok_or_else(|| bad("person_percent", "it is outside 1 to 100"))?;
    Ok(Some(PersonProgram {
        program: program.clone(),
        arguments,
        at_least,
    }))
}

fn wall_clock(table: &DetectionTable) -> Result<WallClock, DetectionError> {
    match (&table.time_zone, table.utc_offset_minutes) {
        (None, minutes) => utc_offset(minutes.unwrap_or(0)).map(WallClock::Fixed),
        (Some(name), None) => time_zone(name).map(WallClock::Zone),
        (Some(_), Some(_)) => Err(DetectionError {
            key: "utc_offset_minutes",
            what: "time_zone says it already, summer time included; take utc_offset_minutes out"
                .into(),
        }),
    }
}

/// What the system knows of a zone, which is newer than what is linked; that, where the system knows nothing.
fn time_zone(name: &str) -> Result<TimeZone, DetectionError> {
    let linked = |_unknown| TimeZoneDatabase::bundled().get(name);
    let found = TimeZone::get(name).or_else(linked).ok();
    // A zone of that name is one of which nothing is known.
    let found = found.filter(|zone| !zone.is_unknown());
    found.ok_or_else(|| DetectionError {
        key: "time_zone",
        what: format!("{name:?} is no time zone; for example \"Europe/Berlin\""),
    })
}

fn utc_offset(minutes: i16) -> Result<i16, DetectionError> {
    let (west, east) = UTC_OFFSET_MINUTES;
    match (west..=east).contains(&minutes) {
        true => Ok(minutes),
        false => Err(DetectionError {
            key: "utc_offset_minutes",
            what: format!("{minutes} is outside {west} to {east}"),
        }),
    }
}

fn motion(table: DetectionTable) -> Result<MotionSettings, DetectionError> {
    let default = MotionValues::default();
    let zones = table
        .zones
        .into_iter()
        .map(|zone| {
            Ok(Zone {
                name: zone.name,
                polygon: polygon("polygon", places(&zone.polygon))?,
            })
        })
        .collect::<Result<_, DetectionError>>()?;
    let masks = table
        .masks
        .iter()
        .map(|corners| polygon("masks", places(corners)))
        .collect::<Result<_, DetectionError>>()?;
    let values = MotionValues {
        sensitivity: table.sensitivity.unwrap_or(default.sensitivity),
        min_area_permille: table.min_area_permille.unwrap_or(default.min_area_permille),
        light_switch_percent: table
            .light_switch_percent
            .unwrap_or(default.light_switch_percent),
        zones,
        masks,
    };
    checked_motion(values)
}

fn checked_motion(values: MotionValues) -> Result<MotionSettings, DetectionError> {
    MotionSettings::new(values).map_err(|error| DetectionError {
        key: match error {
            MotionSettingsError::Sensitivity { .. } => "sensitivity",
            MotionSettingsError::MinArea { .. } => "min_area_permille",
            MotionSettingsError::LightSwitch { .. } => "light_switch_percent",
            MotionSettingsError::Zones { .. } => "zones",
            MotionSettingsError::Masks { .. } => "masks",
            MotionSettingsError::ZoneName { .. } => "name",
        },
        what: error.to_string(),
    })
}

fn places(corners: &[[u16; 2]]) -> Vec<Point> {
    let points = corners.iter().map(|[x, y]| Point { x: *x, y: *y });
    points.collect()
}

fn polygon(key: &'static str, corners: Vec<Point>) -> Result<Polygon, DetectionError> {
    Polygon::new(corners).map_err(|error: PolygonError| DetectionError {
        key,
        what: error.to_string(),
    })
}

fn events(table: &DetectionTable) -> Result<EventSettings, DetectionError> {
    let default = EventValues::default();
    let quiet = table
        .quiet
        .as_deref()
        .map(|text| text.parse::<QuietHours>())
        .transpose()
        .map_err(|error| DetectionError {
            key: "quiet",
            what: error.to_string(),
        })?;
    let ring_bytes_max = match table.ring_mib {
        None => default.ring_bytes_max,
        Some(mib) => mib.saturating_mul(1 << 20),
    };
    let values = EventValues {
        pre_roll_seconds: table.pre_roll_seconds.unwrap_or(default.pre_roll_seconds),
        post_roll_seconds: table.post_roll_seconds.unwrap_or(default.post_roll_seconds),
        at_most_seconds: table.at_most_seconds.unwrap_or(default.at_most_seconds),
        cool_down_seconds: table.cool_down_seconds.unwrap_or(default.cool_down_seconds),
        ring_bytes_max,
        quiet,
    };
    checked_events(values)
}

fn checked_events(values: EventValues) -> Result<EventSettings, DetectionError> {
    EventSettings::new(values).map_err(|error| match error {
        EventSettingsError::Seconds { name, min, max, .. } => DetectionError {
            key: name,
            what: format!("{min} to {max} seconds are supported"),
        },
        EventSettingsError::RingBytes { .. } => DetectionError {
            key: "ring_mib",
            what: format!(
                "{} to {} are supported",
                RING_BYTES.0 >> 20,
                RING_BYTES.1 >> 20
            ),
        },
        EventSettingsError::AllPostRoll => DetectionError {
            key: "at_most_seconds",
            what: "it is not more than post_roll_seconds; an event would be all post-roll".into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::MinuteOfDay;

    fn read(text: &str) -> Result<Detection, DetectionError> {
        Detection::new(toml::from_str(text).expect("a table"))
    }

    #[test]
    fn nothing_is_enough_and_everything_is_taken() {
        let plain = read("").unwrap();
        assert_eq!(plain.motion, MotionSettings::default());
        assert_eq!(plain, Detection::default());
        let full = read(
            "sensitivity = 70\nmin_area_permille = 5\nlight_switch_percent = 100\n\
             masks = [[[0, 0], [1000, 0], [1000, 120]]]\nquiet = \"22:00-06:30\"\n\
             pre_roll_seconds = 2.5\npost_roll_seconds = 10\nat_most_seconds = 60\n\
             cool_down_seconds = 0\nring_mib = 4\ncpu_percent = 10\nutc_offset_minutes = -60\n\
             person_program = \"/bin/guess\"\nperson_arguments = [\"-q\"]\nperson_percent = 40\n\
             [[zones]]\nname = \"drive\"\npolygon = [[0, 500], [1000, 500], [1000, 1000]]\n",
        )
        .unwrap();
        assert_eq!(full.motion.zones()[0].name, "drive");
        assert_eq!(
            full.motion.masks()[0].points()[2],
            Point { x: 1000, y: 120 }
        );
        assert_eq!(full.events.pre_roll().as_millis(), 2500);
        assert_eq!(full.events.ring_bytes_max(), 4 << 20);
        let midnight = MinuteOfDay::new(0).unwrap();
        assert!(full.events.quiet().unwrap().contains(midnight));
        assert_eq!(full.cpu_percent, 10);
        assert_eq!(full.wall_clock, WallClock::Fixed(-60));
        let asked = PersonProgram {
            program: "/bin/guess".into(),
            arguments: vec!["-q".into()],
            at_least: Score::new(40).unwrap(),
        };
        assert_eq!(full.person, Some(asked));
    }

    #[test]
    fn a_time_zone_is_known_by_its_name_also_where_the_system_has_none() {
        let detection = read("time_zone = \"Europe/Berlin\"").unwrap();
        let WallClock::Zone(zone) = detection.wall_clock else {
            panic!("a zone is no fixed offset");
        };
        let linked = TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap();
        for zone in [zone, linked] {
            assert_eq!(zone.iana_name(), Some("Europe/Berlin"));
            let clock = WallClock::Zone(zone);
            // Noon by UTC, in January and July of 2026.
            for (noon_s, want) in [(1_768_478_400, "13:00"), (1_784_116_800, "14:00")] {
                let minute = MinuteOfDay::at(noon_s * 1000, &clock);
                assert_eq!(minute.to_string(), want);
            }
        }
        let both = "time_zone = \"Europe/Berlin\"\nutc_offset_minutes = 60";
        let error = read(both).unwrap_err().to_string();
        assert!(error.contains("take utc_offset_minutes out"), "{error}");
    }

    #[test]
    fn each_mistake_names_its_key() {
        for (text, key) in [
            ("sensitivity = 0", "sensitivity"),
            ("min_area_permille = 501", "min_area_permille"),
            ("light_switch_percent = 5", "light_switch_percent"),
            ("masks = [[[0, 0], [1, 1]]]", "masks"),
            ("quiet = \"at night\"", "quiet"),
            ("pre_roll_seconds = 31", "pre_roll_seconds"),
            ("post_roll_seconds = 0", "post_roll_seconds"),
            ("at_most_seconds = 5", "at_most_seconds"),
            (
                "at_most_seconds = 10\npost_roll_seconds = 10",
                "at_most_seconds",
            ),
            ("cool_down_seconds = nan", "cool_down_seconds"),
            ("ring_mib = 65", "ring_mib"),
            ("cpu_percent = 101", "cpu_percent"),
            ("utc_offset_minutes = 841", "utc_offset_minutes"),
            ("time_zone = \"Europe/Berlim\"", "time_zone"),
            ("time_zone = \"Etc/Unknown\"", "time_zone"),
            ("time_zone = \"\"", "time_zone"),
            (
                "time_zone = \"Europe/Berlin\"\nutc_offset_minutes = 60",
                "utc_offset_minutes",
            ),
            ("person_program = \"bin/guess\"", "person_program"),
            ("person_percent = 50", "person_percent"),
            (
                "person_program = \"guess\"\nperson_percent = 0",
                "person_percent",
            ),
            (
                "[[zones]]\nname = \"\"\npolygon = [[0, 0], [9, 0], [0, 9]]",
                "name",
            ),
            (
                "[[zones]]\nname = \"z\"\npolygon = [[0, 0], [1001, 0], [0, 9]]",
                "polygon",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.key, key, "{text}: {error}");
        }
        assert!(toml::from_str::<DetectionTable>("sensitivty = 5").is_err());
    }
}
