//! The light: by which factor, and by how many grey values, a whole picture is brighter or darker than
//! what is known of the scene.
//!
//! A camera that opens its iris multiplies every pixel, a lamp adds to it, and neither is a thing that
//! moves. Both are one straight line from old grey values to new ones, and it is found from the cells
//! themselves: the median of their ratios says which cells follow the light and not somebody who walks,
//! a regression over those says exactly how. Less than half of the cells may do anything else.
//!
//! It must never be found from what moves, and never be guessed where too few cells tell of it: then the
//! light is what it was.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// A factor of one.
const ONE: i64 = 1 << 16;

/// Darker than this a cell says nothing of a factor.
const DIM: i64 = 8 << 8;

/// From this grey value on a cell of a picture is white, and what is white says nothing.
const WHITE: u8 = 250;

/// Ratios are counted in steps of 1/64, below four.
const RATIO_STEPS: i64 = 64;
const RATIOS: usize = 4 * RATIO_STEPS as usize;

/// How far from the line a cell may lie in the first and in the second regression, in grey values.
const BANDS: [i64; 2] = [24, 10];

/// Cells that lie closer together than this (standard deviation, in 1/16 of a grey value) tell no factor.
const SPREAD_MIN: i64 = 4 * 16;

/// A light whose line is nowhere farther than this from the old one is the old one, in 1/256 of a grey
/// value. What noise does to the line would otherwise wear the background down.
const SAME: u32 = 2 << 8;

/// How a value on the scale of the average looks in a picture: what is brighter than white is white.
pub(super) fn shown(average: u32) -> u8 {
    u8::try_from((average + 128) >> 8).unwrap_or(u8::MAX)
}

/// What becomes of a grey value.
pub(super) fn stretched(table: &[u8; 256], grey: u8) -> u8 {
    // An index of eight bits is in a table of 256.
    table.get(usize::from(grey)).copied().unwrap_or(grey)
}

/// A straight line from the grey values of the background to those of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Light {
    /// In 1/65,536: a quarter to four.
    factor: i64,
    /// In 1/256 of a grey value.
    offset: i64,
}

impl Light {
    /// The picture's light, if it is another than that of the background, whose `average` is in 1/256 of a
    /// grey value. `None` if it is the same, or if nothing can be said.
    pub(super) fn between(average: &[u32], picture: &[u8], masked: &[bool]) -> Option<Self> {
        let cells = || {
            average
                .iter()
                .zip(picture)
                .zip(masked)
                .filter(|((_, cell), masked)| !**masked && (1..WHITE).contains(*cell))
                .map(|((average, cell), _)| (i64::from(*average), i64::from(*cell) << 8))
        };
        let open = masked.iter().filter(|masked| !**masked).count();
        let telling = cells().count();
        if telling == 0 || telling * 4 < open {
            return None;
        }
        let mut light = Self {
            factor: median_ratio(cells(), telling),
            offset: 0,
        };
        for band in BANDS {
            light = light.fitted(cells(), telling, band << 8)?;
        }
        light.is_other().then_some(light)
    }

    /// The background's value, in 1/256 of a grey value, in this light: at most [`super::background::AVERAGE_MAX`].
    pub(super) fn on(self, average: u32) -> u32 {
        let lit = ((i64::from(average) * self.factor) >> 16) + self.offset;
        u32::try_from(lit.max(0)).map_or(super::background::AVERAGE_MAX, |lit| {
            lit.min(super::background::AVERAGE_MAX)
        })
    }

    fn is_other(self) -> bool {
        [32_u32 << 8, 224 << 8]
            .iter()
            .any(|grey| self.on(*grey).abs_diff(*grey) > SAME)
    }

    /// The regression over the cells that lie within `band` of this line; `None` if those are too few, or
    /// if the light is none that a camera has.
    fn fitted(
        self,
        cells: impl Iterator<Item = (i64, i64)>,
        telling: usize,
        band: i64,
    ) -> Option<Self> {
        let (mut count, mut sum_x, mut sum_y, mut sum_xx, mut sum_xy) = (0_i64, 0, 0, 0, 0);
        for (average, cell) in cells {
            let lit = ((average * self.factor) >> 16) + self.offset;
            if (cell - lit).abs() <= band {
                // In 1/16 of a grey value: at most 2^14, and 2^15 cells of them squared are 2^43.
                let (x, y) = (average >> 4, cell >> 4);
                count += 1;
                sum_x += x;
                sum_y += y;
                sum_xx += x * x;
                sum_xy += x * y;
            }
        }
        if usize::try_from(count).ok()? * 2 < telling {
            return None;
        }
        let spread = count * sum_xx - sum_x * sum_x;
        let factor = if spread >= count * count * SPREAD_MIN * SPREAD_MIN {
            let together = i128::from(count * sum_xy - sum_x * sum_y);
            i64::try_from((together << 16) / i128::from(spread)).ok()?
        } else {
            // A flat picture: whatever happens to it can be had by an offset.
            ONE
        };
        if !(ONE / 4..=ONE * 4).contains(&factor) {
            return None;
        }
        Some(Self {
            factor,
            // From 1/16 of a grey value times 65,536 to 1/256.
            offset: (((sum_y << 16) - factor * sum_x) / count) >> 12,
        })
    }
}

/// The median of picture to background over the cells that are bright enough; one, if too few are.
fn median_ratio(cells: impl Iterator<Item = (i64, i64)>, telling: usize) -> i64 {
    let mut counts = [0_usize; RATIOS];
    let mut bright = 0;
    for (average, cell) in cells {
        if average >= DIM {
            let ratio = usize::try_from(cell * RATIO_STEPS / average).unwrap_or(0);
            if let Some(count) = counts.get_mut(ratio.min(RATIOS - 1)) {
                *count += 1;
            }
            bright += 1;
        }
    }
    if bright * 4 < telling {
        return ONE;
    }
    let mut below = 0;
    for (ratio, count) in (0_i64..).zip(counts) {
        below += count;
        if below * 2 >= bright {
            // The middle of its step.
            return (2 * ratio + 1) * ONE / (2 * RATIO_STEPS);
        }
    }
    ONE
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: [bool; 1000] = [false; 1000];

    /// A thousand cells of 40 to 139.
    fn scene() -> Vec<u32> {
        (0..1000).map(|cell| (40 + cell * 7 % 100) << 8).collect()
    }

    fn lit(factor_percent: u32, offset: i32) -> Vec<u8> {
        let light = |average: &u32| (average >> 8) as i32 * factor_percent as i32 / 100 + offset;
        let cells = scene();
        cells
            .iter()
            .map(|average| light(average).clamp(0, 255) as u8)
            .collect()
    }

    /// The largest error over the scene, in grey values.
    fn error(light: Light, picture: &[u8]) -> u32 {
        let cells = scene();
        let off = cells.iter().zip(picture).map(|(average, cell)| {
            // What is white is white in any stronger light.
            light
                .on(*average)
                .min(255 << 8)
                .abs_diff(u32::from(*cell) << 8)
        });
        off.max().unwrap() >> 8
    }

    #[test]
    fn a_factor_and_an_offset_are_found_and_so_are_both() {
        for (percent, offset) in [
            (50, 0),
            (80, 0),
            (130, 0),
            (170, 0),
            (100, 60),
            (100, -30),
            (70, 40),
        ] {
            let picture = lit(percent, offset);
            let light = Light::between(&scene(), &picture, &OPEN).unwrap();
            assert!(error(light, &picture) <= 1, "{percent} {offset} {light:?}");
        }
        // Beyond white nothing is known, and nothing is spoilt by it.
        let picture = lit(240, 0);
        let light = Light::between(&scene(), &picture, &OPEN).unwrap();
        assert!(error(light, &picture) <= 2, "{light:?}");
    }

    #[test]
    fn what_moves_has_no_say_and_neither_has_a_mask() {
        let mut picture = lit(130, 0);
        for cell in &mut picture[..300] {
            *cell = 5;
        }
        let light = Light::between(&scene(), &picture, &OPEN).unwrap();
        assert!(error(light, &lit(130, 0)) <= 1, "{light:?}");
        let mut masked = OPEN;
        masked[..600].fill(true);
        for cell in &mut picture[..600] {
            *cell = 0;
        }
        let light = Light::between(&scene(), &picture, &masked).unwrap();
        assert!(error(light, &lit(130, 0)) <= 1, "{light:?}");
    }

    #[test]
    fn the_same_light_is_none_and_so_is_what_is_no_light() {
        let same = lit(100, 0);
        assert_eq!(Light::between(&scene(), &same, &OPEN), None);
        let mut somebody = same.clone();
        somebody[..400].fill(200);
        assert_eq!(Light::between(&scene(), &somebody, &OPEN), None);
        // Another scene.
        let other: Vec<u8> = (0..1000_u32).map(|cell| (cell * 131 % 251) as u8).collect();
        assert_eq!(Light::between(&scene(), &other, &OPEN), None);
        for all in [0, 255] {
            assert_eq!(Light::between(&scene(), &[all; 1000], &OPEN), None);
        }
        assert_eq!(Light::between(&scene(), &same, &[true; 1000]), None);
    }

    #[test]
    fn a_flat_picture_has_an_offset() {
        let flat = [100 << 8; 1000];
        let light = Light::between(&flat, &[110; 1000], &OPEN).unwrap();
        assert_eq!(light.on(100 << 8), 110 << 8);
    }
}
