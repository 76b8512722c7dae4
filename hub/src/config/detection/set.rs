//! What phones have set at a camera, over what the file says.
//!
//! A value that a phone has set wins over the file's; where none is set the file's holds. Only masks add up: what the
//! file hides stays hidden, whatever phones say. The hub's own means, memory, processor and programs, are the file's
//! alone. This room must never leave a camera without settings: whoever gets an error goes on with the file's.

use journal::message::{CameraSettings, QuietSetting};

use super::{Detection, DetectionError, checked_events, checked_motion, polygon, utc_offset};
use crate::events::EventSettings;
use crate::motion::{MinuteOfDay, MotionSettings, Point, QuietHours, WallClock, Zone};

impl Detection {
    /// Whether a phone may set this now: as [`Self::with`], and persons only where there is somebody to ask. A file
    /// that names nobody any more costs a camera that and no other setting, its masks least of all.
    ///
    /// # Errors
    /// [`DetectionError`], for the first value that cannot be, by itself or beside the file's others.
    pub fn judge(&self, settings: &CameraSettings) -> Result<(), DetectionError> {
        if settings.persons == Some(true) && self.person.is_none() {
            return Err(DetectionError {
                key: "person_program",
                what: "the file names none, so nobody can be asked about persons".into(),
            });
        }
        self.with(settings).map(|_fits| ())
    }

    /// The file's word with what phones have set over it.
    ///
    /// # Errors
    /// [`DetectionError`], for the first value that cannot be, by itself or beside the file's others.
    pub fn with(&self, settings: &CameraSettings) -> Result<Self, DetectionError> {
        Ok(Self {
            motion: self.motion_with(settings)?,
            events: self.events_with(settings)?,
            cpu_percent: self.cpu_percent,
            person: match settings.persons {
                Some(false) => None,
                Some(true) | None => self.person.clone(),
            },
            wall_clock: match settings.utc_offset_minutes {
                Some(minutes) => WallClock::Fixed(utc_offset(minutes)?),
                None => self.wall_clock.clone(),
            },
            detects: settings.detects.unwrap_or(self.detects),
        })
    }

    fn motion_with(&self, settings: &CameraSettings) -> Result<MotionSettings, DetectionError> {
        let mut values = self.motion.values().clone();
        let over = |known: &mut u8, set: Option<u8>| *known = set.unwrap_or(*known);
        over(&mut values.sensitivity, settings.sensitivity);
        over(
            &mut values.light_switch_percent,
            settings.light_switch_percent,
        );
        if let Some(permille) = settings.min_area_permille {
            values.min_area_permille = permille;
        }
        if let Some(zones) = &settings.zones {
            let zone = |zone: &journal::message::ZoneSetting| {
                Ok(Zone {
                    name: zone.name.clone(),
                    polygon: polygon("polygon", places(&zone.corners))?,
                })
            };
            let zones: Result<_, DetectionError> = zones.iter().map(zone).collect();
            values.zones = zones?;
        }
        for mask in settings.masks.iter().flatten() {
            values.masks.push(polygon("masks", places(mask))?);
        }
        checked_motion(values)
    }

    fn events_with(&self, settings: &CameraSettings) -> Result<EventSettings, DetectionError> {
        let mut values = self.events.values();
        let over = |known: &mut f64, set: Option<u32>| {
            *known = set.map_or(*known, |ms| f64::from(ms) / 1000.0);
        };
        over(&mut values.pre_roll_seconds, settings.pre_roll_ms);
        over(&mut values.post_roll_seconds, settings.post_roll_ms);
        over(&mut values.at_most_seconds, settings.at_most_ms);
        over(&mut values.cool_down_seconds, settings.cool_down_ms);
        match settings.quiet {
            None => {}
            Some(QuietSetting::Never) => values.quiet = None,
            Some(QuietSetting::Hours {
                from_minute,
                until_minute,
            }) => values.quiet = Some(quiet(from_minute, until_minute)?),
        }
        checked_events(values)
    }
}

fn places(corners: &[(u16, u16)]) -> Vec<Point> {
    let points = corners.iter().map(|(x, y)| Point { x: *x, y: *y });
    points.collect()
}

fn quiet(from_minute: u16, until_minute: u16) -> Result<QuietHours, DetectionError> {
    let bad = |what: String| DetectionError { key: "quiet", what };
    let minute = |minute| {
        let what = format!("{minute} is no minute of a day");
        MinuteOfDay::new(minute).ok_or_else(|| bad(what))
    };
    QuietHours::new(minute(from_minute)?, minute(until_minute)?)
        .map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use journal::message::ZoneSetting;

    use super::super::DetectionTable;
    use super::*;

    fn file() -> Detection {
        let text = "sensitivity = 60\nquiet = \"22:00-06:30\"\npost_roll_seconds = 20\n\
                    masks = [[[0, 0], [1000, 0], [1000, 120]]]\ncpu_percent = 10\n\
                    [[zones]]\nname = \"drive\"\npolygon = [[0, 500], [1000, 500], [1000, 1000]]\n";
        let table: DetectionTable = toml::from_str(text).unwrap();
        Detection::new(table).unwrap()
    }

    const TRIANGLE: [(u16, u16); 3] = [(0, 0), (300, 0), (0, 300)];

    #[test]
    fn what_is_set_wins_and_everything_else_is_the_files() {
        let file = file();
        assert_eq!(file.with(&CameraSettings::default()), Ok(file.clone()));
        let set = CameraSettings {
            detects: Some(false),
            sensitivity: Some(80),
            zones: Some(Vec::new()),
            masks: Some(vec![TRIANGLE.to_vec()]),
            quiet: Some(QuietSetting::Never),
            utc_offset_minutes: Some(60),
            at_most_ms: Some(30_500),
            ..CameraSettings::default()
        };
        let both = file.with(&set).unwrap();
        assert!(!both.detects);
        assert_eq!(both.wall_clock, WallClock::Fixed(60));
        assert_eq!(both.motion.values().sensitivity, 80);
        assert!(both.motion.zones().is_empty(), "a phone's zones replace");
        // The file's mask holds whatever a phone says.
        assert_eq!(both.motion.masks().len(), 2);
        assert_eq!(both.motion.masks()[0], file.motion.masks()[0]);
        assert_eq!(both.events.quiet(), None);
        assert_eq!(both.events.at_most().as_millis(), 30_500);
        assert_eq!(both.events.post_roll(), file.events.post_roll());
        assert_eq!(both.cpu_percent, 10);
        let unmasked = CameraSettings {
            masks: Some(Vec::new()),
            ..CameraSettings::default()
        };
        assert_eq!(file.with(&unmasked), Ok(file.clone()));
    }

    /// A phone knows of no zones.
    #[test]
    fn what_a_phone_sets_of_the_clock_wins_over_the_files_time_zone() {
        let table: DetectionTable = toml::from_str("time_zone = \"Europe/Berlin\"").unwrap();
        let file = Detection::new(table).unwrap();
        assert!(matches!(file.wall_clock, WallClock::Zone(_)));
        let offset = |utc_offset_minutes| CameraSettings {
            utc_offset_minutes,
            ..CameraSettings::default()
        };
        let set = file.with(&offset(Some(-60))).unwrap();
        assert_eq!(set.wall_clock, WallClock::Fixed(-60));
        let given_back = file.with(&offset(None)).unwrap();
        assert_eq!(given_back.wall_clock, file.wall_clock);
    }

    /// A phone says whether, and never whom.
    #[test]
    fn persons_are_asked_about_as_a_phone_says_where_the_file_names_whom_to_ask() {
        let table: DetectionTable = toml::from_str("person_program = \"guess\"").unwrap();
        let asks = Detection::new(table).unwrap();
        assert!(asks.person.is_some());
        let persons = |persons| CameraSettings {
            persons,
            ..CameraSettings::default()
        };
        for (set, person) in [
            (None, &asks.person),
            (Some(true), &asks.person),
            (Some(false), &None),
        ] {
            assert_eq!(asks.judge(&persons(set)), Ok(()));
            assert_eq!(&asks.with(&persons(set)).unwrap().person, person);
        }
        let nobody = file();
        assert_eq!(nobody.judge(&persons(Some(false))), Ok(()));
        let error = nobody.judge(&persons(Some(true))).unwrap_err();
        assert_eq!(error.key, "person_program");
        // What was set while there was somebody holds otherwise.
        let masked = CameraSettings {
            masks: Some(vec![TRIANGLE.to_vec()]),
            ..persons(Some(true))
        };
        let masked = nobody.with(&masked).unwrap();
        assert_eq!((masked.motion.masks().len(), masked.person), (2, None));
    }

    #[test]
    fn what_cannot_be_is_named_also_where_only_the_file_forbids_it() {
        let nothing = CameraSettings::default;
        let zone = |name: &str, corners: &[(u16, u16)]| ZoneSetting {
            name: name.into(),
            corners: corners.to_vec(),
        };
        let hours = |from_minute, until_minute| {
            Some(QuietSetting::Hours {
                from_minute,
                until_minute,
            })
        };
        let table = [
            (
                CameraSettings {
                    sensitivity: Some(0),
                    ..nothing()
                },
                "sensitivity",
            ),
            (
                CameraSettings {
                    min_area_permille: Some(501),
                    ..nothing()
                },
                "min_area_permille",
            ),
            (
                CameraSettings {
                    zones: Some(vec![zone("", &TRIANGLE)]),
                    ..nothing()
                },
                "name",
            ),
            (
                CameraSettings {
                    zones: Some(vec![zone("z", &TRIANGLE[..2])]),
                    ..nothing()
                },
                "polygon",
            ),
            (
                // Fifteen more than the file's one fit, and no more.
                CameraSettings {
                    masks: Some(vec![TRIANGLE.to_vec(); 16]),
                    ..nothing()
                },
                "masks",
            ),
            (
                CameraSettings {
                    quiet: hours(0, 1440),
                    ..nothing()
                },
                "quiet",
            ),
            (
                CameraSettings {
                    quiet: hours(60, 60),
                    ..nothing()
                },
                "quiet",
            ),
            (
                CameraSettings {
                    utc_offset_minutes: Some(841),
                    ..nothing()
                },
                "utc_offset_minutes",
            ),
            (
                // The file's post-roll is as long.
                CameraSettings {
                    at_most_ms: Some(20_000),
                    ..nothing()
                },
                "at_most_seconds",
            ),
            (
                CameraSettings {
                    pre_roll_ms: Some(u32::MAX),
                    ..nothing()
                },
                "pre_roll_seconds",
            ),
        ];
        for (settings, key) in table {
            let error = file().with(&settings).unwrap_err();
            assert_eq!(error.key, key, "{settings:?}: {error}");
        }
        let fits = CameraSettings {
            masks: Some(vec![TRIANGLE.to_vec(); 15]),
            ..nothing()
        };
        assert!(file().with(&fits).is_ok());
    }
}
