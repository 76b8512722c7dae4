//! What an owner can set about motion, checked once.
//!
//! It must never hold a value that the detector would have to correct.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::zones::{MASKS_MAX, Polygon, ZONE_NAME_BYTES_MAX, ZONES_MAX, Zone};

/// Least and most sensitivity.
pub const SENSITIVITY: (u8, u8) = (1, 100);

/// Smallest and largest minimum area, in thousandths of the picture.
pub const MIN_AREA_PERMILLE: (u16, u16) = (1, 500);

/// Smallest and largest share of the picture, in percent, above which a change is one of the light.
pub const LIGHT_SWITCH_PERCENT: (u8, u8) = (30, 100);

/// Values as somebody wrote them. [`Default`] is what a camera has of which nothing is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MotionValues {
    /// How little a difference counts, [`SENSITIVITY`]; 50 is a difference of 30 of 255 grey values after
    /// the contrast was stretched, each step more is 0.4 less.
    pub sensitivity: u8,
    /// How small a thing counts, in thousandths of the picture, [`MIN_AREA_PERMILLE`]; it is measured with
    /// the one cell by which things are grown on every side.
    pub min_area_permille: u16,
    /// If more than this share of the picture changes at once, in percent, [`LIGHT_SWITCH_PERCENT`], it was the
    /// light; 100 turns that off.
    pub light_switch_percent: u8,
    /// Where motion counts; if there are none, everywhere. At most [`ZONES_MAX`].
    pub zones: Vec<Zone>,
    /// What is not looked at, whatever the zones are. At most [`MASKS_MAX`].
    pub masks: Vec<Polygon>,
}

impl Default for MotionValues {
    fn default() -> Self {
        Self {
            sensitivity: 50,
            min_area_permille: 2,
            light_switch_percent: 60,
            zones: Vec::new(),
            masks: Vec::new(),
        }
    }
}

/// Values that can be. INVARIANT: the defaults are within the limits; a test takes them through `new`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MotionSettings(MotionValues);

/// Which value cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MotionSettingsError {
    /// The sensitivity.
    #[error("a sensitivity of {found}; {} to {} are supported", SENSITIVITY.0, SENSITIVITY.1)]
    Sensitivity {
        /// What it is.
        found: u8,
    },
    /// The minimum area.
    #[error(
        "a minimum area of {found} thousandths; {} to {} are supported",
        MIN_AREA_PERMILLE.0,
        MIN_AREA_PERMILLE.1
    )]
    MinArea {
        /// What it is, in thousandths of the picture.
        found: u16,
    },
    /// The share above which a change is one of the light.
    #[error(
        "a share of {found} percent; {} to {} are supported",
        LIGHT_SWITCH_PERCENT.0,
        LIGHT_SWITCH_PERCENT.1
    )]
    LightSwitch {
        /// What it is, in percent.
        found: u8,
    },
    /// Too many zones.
    #[error("{found} zones; at most {ZONES_MAX} are supported")]
    Zones {
        /// How many there are.
        found: usize,
    },
    /// Too many masks.
    #[error("{found} masks; at most {MASKS_MAX} are supported")]
    Masks {
        /// How many there are.
        found: usize,
    },
    /// A zone's name is empty or too long.
    #[error("a zone's name has {bytes} bytes; 1 to {ZONE_NAME_BYTES_MAX} are supported")]
    ZoneName {
        /// Its length.
        bytes: usize,
    },
}

impl MotionSettings {
    /// Checks values.
    ///
    /// # Errors
    /// [`MotionSettingsError`], for the first that cannot be.
    pub fn new(values: MotionValues) -> Result<Self, MotionSettingsError> {
        let MotionValues {
            sensitivity,
            min_area_permille,
            light_switch_percent,
            zones,
            masks,
        } = &values;
        if !(SENSITIVITY.0..=SENSITIVITY.1).contains(sensitivity) {
            return Err(MotionSettingsError::Sensitivity {
                found: *sensitivity,
            });
        }
        if !(MIN_AREA_PERMILLE.0..=MIN_AREA_PERMILLE.1).contains(min_area_permille) {
            return Err(MotionSettingsError::MinArea {
                found: *min_area_permille,
            });
        }
        if !(LIGHT_SWITCH_PERCENT.0..=LIGHT_SWITCH_PERCENT.1).contains(light_switch_percent) {
            return Err(MotionSettingsError::LightSwitch {
                found: *light_switch_percent,
            });
        }
        if zones.len() > ZONES_MAX {
            return Err(MotionSettingsError::Zones { found: zones.len() });
        }
        if masks.len() > MASKS_MAX {
            return Err(MotionSettingsError::Masks { found: masks.len() });
        }
        let names = 1..=ZONE_NAME_BYTES_MAX;
        if let Some(zone) = zones.iter().find(|zone| !names.contains(&zone.name.len())) {
            return Err(MotionSettingsError::ZoneName {
                bytes: zone.name.len(),
            });
        }
        Ok(Self(values))
    }

    /// The values themselves.
    pub fn values(&self) -> &MotionValues {
        &self.0
    }

    /// By how many grey values a cell must differ from the background to have changed: 10 to 50.
    pub(super) fn threshold(&self) -> u8 {
        // At most 40 is taken off.
        50 - (u16::from(self.0.sensitivity) * 2 / 5) as u8
    }

    pub(super) fn min_area_permille(&self) -> u16 {
        self.0.min_area_permille
    }

    pub(super) fn light_switch_percent(&self) -> u8 {
        self.0.light_switch_percent
    }

    /// Where motion counts.
    pub fn zones(&self) -> &[Zone] {
        &self.0.zones
    }

    /// What is not looked at.
    pub fn masks(&self) -> &[Polygon] {
        &self.0.masks
    }
}

#[cfg(test)]
mod tests {
    use super::super::zones::Point;
    use super::*;

    #[test]
    fn the_defaults_can_be_and_the_threshold_falls_with_sensitivity() {
        let settings = MotionSettings::new(MotionValues::default()).unwrap();
        assert_eq!(settings, MotionSettings::default());
        assert_eq!(settings.threshold(), 30);
        for (sensitivity, want) in [(1, 50), (100, 10)] {
            let values = MotionValues {
                sensitivity,
                ..MotionValues::default()
            };
            assert_eq!(MotionSettings::new(values).unwrap().threshold(), want);
        }
    }

    #[test]
    fn each_value_has_its_limits() {
        let corner = |x, y| Point { x, y };
        let polygon =
            Polygon::new(vec![corner(0, 0), corner(9, 0), corner(0, 9)]).expect("a triangle");
        let zone = |name: String| Zone {
            name,
            polygon: polygon.clone(),
        };
        let values = MotionValues::default;
        let table = [
            (
                MotionValues {
                    sensitivity: 0,
                    ..values()
                },
                MotionSettingsError::Sensitivity { found: 0 },
            ),
            (
                MotionValues {
                    sensitivity: 101,
                    ..values()
                },
                MotionSettingsError::Sensitivity { found: 101 },
            ),
            (
                MotionValues {
                    min_area_permille: 0,
                    ..values()
                },
                MotionSettingsError::MinArea { found: 0 },
            ),
            (
                MotionValues {
                    light_switch_percent: 29,
                    ..values()
                },
                MotionSettingsError::LightSwitch { found: 29 },
            ),
            (
                MotionValues {
                    zones: vec![zone("z".into()); 9],
                    ..values()
                },
                MotionSettingsError::Zones { found: 9 },
            ),
            (
                MotionValues {
                    masks: vec![polygon.clone(); 17],
                    ..values()
                },
                MotionSettingsError::Masks { found: 17 },
            ),
            (
                MotionValues {
                    zones: vec![zone(String::new())],
                    ..values()
                },
                MotionSettingsError::ZoneName { bytes: 0 },
            ),
        ];
        for (values, want) in table {
            assert_eq!(MotionSettings::new(values), Err(want));
        }
    }
}
