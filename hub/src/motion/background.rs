//! What the scene looks like when nothing moves: a running average, and how a picture differs from it.
//!
//! It must never allocate after [`Background::new`], and never decide what a difference means.
#![deny(clippy::unwrap_used, clippy::expect_used)]

use super::light::{Light, shown, stretched};
use super::picture::Grid;
use super::stillness::Stillness;

/// The most that the average may be, in 1/256 of a grey value: what was seen once may be brighter than
/// white in the light of now, and is not forgotten.
pub(super) const AVERAGE_MAX: u32 = 1023 << 8;

/// The white of a picture, on the scale of the average.
const WHITE: u32 = 255 << 8;

#[derive(Debug)]
pub(super) struct Background {
    cols: usize,
    /// The blurred picture.
    current: Vec<u8>,
    /// The running average, in 1/256 of a grey value, at most [`AVERAGE_MAX`].
    average: Vec<u32>,
    is_primed: bool,
    /// Half-done filters.
    across: Vec<u16>,
    spread: Vec<u8>,
}

impl Background {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            cols: grid.cols,
            current: vec![0; grid.cells()],
            average: vec![0; grid.cells()],
            is_primed: false,
            across: vec![0; grid.cells()],
            spread: vec![0; grid.cells()],
        }
    }

    /// Whether there is an average.
    pub(super) fn is_primed(&self) -> bool {
        self.is_primed
    }

    /// Makes the current picture the average.
    pub(super) fn prime(&mut self) {
        for (average, cell) in self.average.iter_mut().zip(&self.current) {
            *average = u32::from(*cell) << 8;
        }
        self.is_primed = true;
    }

    /// The next picture becomes the average.
    pub(super) fn forget(&mut self) {
        self.is_primed = false;
    }

    /// Takes the current picture, blurred by the binomial filter 1 2 1 in both directions.
    pub(super) fn take(&mut self, cells: &[u8]) {
        let last = self.cols - 1;
        for (line, sums) in cells
            .chunks_exact(self.cols)
            .zip(self.across.chunks_exact_mut(self.cols))
        {
            for (col, sum) in sums.iter_mut().enumerate() {
                let left = line[col.saturating_sub(1)];
                let right = line[(col + 1).min(last)];
                *sum = u16::from(left) + 2 * u16::from(line[col]) + u16::from(right);
            }
        }
        let across = &self.across;
        for_each_row(across.len(), self.cols, |above, here, below| {
            for col in 0..self.cols {
                let sum = across[above + col] + 2 * across[here + col] + across[below + col];
                self.current[here + col] = ((sum + 8) / 16) as u8;
            }
        });
    }

    /// The blurred picture.
    pub(super) fn picture(&self) -> &[u8] {
        &self.current
    }

    /// Marks in `changed` the cells that differ from the average by more than `threshold` grey values,
    /// both stretched by `table`, and are not masked; answers how many.
    pub(super) fn compare(
        &self,
        (threshold, table): (u8, &[u8; 256]),
        masked: &[bool],
        changed: &mut [u8],
    ) -> u32 {
        let mut count = 0;
        for (((changed, cell), average), masked) in changed
            .iter_mut()
            .zip(&self.current)
            .zip(&self.average)
            .zip(masked)
        {
            let known = stretched(table, shown(*average));
            let difference = stretched(table, *cell).abs_diff(known);
            *changed = u8::from(difference > threshold && !masked);
            count += u32::from(*changed);
        }
        count
    }

    /// Brings the average into the light of the picture; answers that, if it is another.
    pub(super) fn follow_light(&mut self, masked: &[bool]) -> Option<Light> {
        let light = Light::between(&self.average, &self.current, masked)?;
        for average in &mut self.average {
            *average = light.on(*average);
        }
        Some(light)
    }

    /// What has changed and stands still is background from now on, and has not changed.
    pub(super) fn absorb(&mut self, stillness: &Stillness, changed: &mut [u8]) {
        for (((changed, average), cell), is_still) in changed
            .iter_mut()
            .zip(&mut self.average)
            .zip(&self.current)
            .zip(stillness.still())
        {
            if *changed != 0 && is_still {
                *changed = 0;
                *average = u32::from(*cell) << 8;
            }
        }
    }

    /// Grows what is marked by one cell in all directions, so that the parts of one thing meet; not
    /// into masked cells.
    pub(super) fn dilate(&mut self, changed: &mut [u8], masked: &[bool]) {
        let last = self.cols - 1;
        for (line, spread) in changed
            .chunks_exact(self.cols)
            .zip(self.spread.chunks_exact_mut(self.cols))
        {
            for (col, spread) in spread.iter_mut().enumerate() {
                *spread = line[col.saturating_sub(1)] | line[col] | line[(col + 1).min(last)];
            }
        }
        let spread = &self.spread;
        for_each_row(spread.len(), self.cols, |above, here, below| {
            for col in 0..self.cols {
                let any = spread[above + col] | spread[here + col] | spread[below + col];
                changed[here + col] = any & u8::from(!masked[here + col]);
            }
        });
    }

    /// Moves the average towards the current picture by `1 / 2^shift` of the difference.
    pub(super) fn learn(&mut self, shift: u32) {
        for (average, cell) in self.average.iter_mut().zip(&self.current) {
            // A white picture does not say how bright it would be.
            if *cell == u8::MAX && *average > WHITE {
                continue;
            }
            let difference = (i64::from(*cell) << 8) - i64::from(*average);
            // Between two values that fit lies one that fits.
            *average = (i64::from(*average) + (difference >> shift)) as u32;
        }
    }
}

/// Calls `row` with the first indices of the row above, of the row, and of the row below; at the
/// edges the row itself stands for the missing one.
fn for_each_row(cells: usize, cols: usize, mut row: impl FnMut(usize, usize, usize)) {
    let last = cells - cols;
    let mut here = 0;
    while here <= last {
        row(here.saturating_sub(cols), here, (here + cols).min(last));
        here += cols;
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Luma;
    use super::*;

    /// 16 x 16 cells.
    fn background() -> Background {
        let data = [0; 256];
        Background::new(Grid::of(Luma::new(16, 16, 16, &data).unwrap()))
    }

    fn with(cells: &[(usize, u8)]) -> Vec<u8> {
        let mut picture = vec![0; 256];
        for (at, value) in cells {
            picture[*at] = *value;
        }
        picture
    }

    const OPEN: [bool; 256] = [false; 256];

    /// A table that stretches nothing.
    fn as_it_is() -> [u8; 256] {
        std::array::from_fn(|grey| grey as u8)
    }

    #[test]
    fn a_blur_spreads_a_cell_over_nine_and_keeps_a_flat_picture() {
        let mut background = background();
        background.take(&with(&[(5 * 16 + 5, 160)]));
        let found: Vec<u8> = [4_usize, 5, 6]
            .iter()
            .flat_map(|row| background.current[row * 16 + 4..row * 16 + 7].to_vec())
            .collect();
        assert_eq!(found, [10, 20, 10, 20, 40, 20, 10, 20, 10]);
        assert_eq!(background.current.iter().filter(|c| **c > 0).count(), 9);
        background.take(&[255; 256]);
        assert!(background.current.iter().all(|cell| *cell == 255));
    }

    #[test]
    fn what_differs_by_more_than_the_threshold_and_is_not_masked_has_changed() {
        let mut background = background();
        background.take(&[100; 256]);
        background.prime();
        background.take(&[130; 256]);
        let mut changed = [9; 256];
        let table = as_it_is();
        assert_eq!(background.compare((30, &table), &OPEN, &mut changed), 0);
        assert_eq!(changed, [0; 256]);
        assert_eq!(background.compare((29, &table), &OPEN, &mut changed), 256);
        let mut masked = OPEN;
        masked[7] = true;
        assert_eq!(background.compare((29, &table), &masked, &mut changed), 255);
        assert_eq!(changed[7], 0);
    }

    #[test]
    fn a_background_that_was_brighter_than_white_comes_back() {
        let mut background = background();
        // Four stripes of 60 to 180, the brightest of which is beyond white at 150 percent.
        let scene = |percent: u32| -> Vec<u8> {
            let stripes = (0..256_u32).map(|cell| 60 + 40 * (cell % 16 / 4));
            stripes
                .map(|grey| (grey * percent / 100).min(255) as u8)
                .collect()
        };
        background.take(&scene(100));
        background.prime();
        let (table, mut changed) = (as_it_is(), [0; 256]);
        for percent in [150, 100] {
            background.take(&scene(percent));
            for _ in 0..50 {
                background.follow_light(&OPEN);
                let found = background.compare((20, &table), &OPEN, &mut changed);
                assert_eq!(found, 0, "{percent}");
                background.learn(7);
            }
        }
    }

    #[test]
    fn what_stands_still_becomes_background_where_it_has_changed() {
        let mut background = background();
        background.take(&[100; 256]);
        background.prime();
        let mut picture = vec![100; 256];
        picture[..128].fill(150);
        let (table, mut changed) = (as_it_is(), [0; 256]);
        let mut stillness = Stillness::new(256);
        stillness.restart(background.picture());
        background.take(&picture);
        let mut found = Vec::new();
        for _ in 0..12 {
            background.compare((20, &table), &OPEN, &mut changed);
            stillness.take(background.picture(), (10, &table), 200);
            background.absorb(&stillness, &mut changed);
            found.push(changed.iter().any(|cell| *cell != 0));
        }
        assert_eq!(found[..10], [true; 10]);
        assert_eq!(found[10..], [false; 2]);
        assert_eq!(background.compare((20, &table), &OPEN, &mut changed), 0);
    }

    #[test]
    fn dilation_grows_by_one_cell_within_the_picture_and_not_into_a_mask() {
        let mut background = background();
        let mut changed = with(&[(0, 1), (5 * 16 + 5, 1)]);
        let mut masked = OPEN;
        masked[4 * 16 + 4] = true;
        background.dilate(&mut changed, &masked);
        let found: usize = changed.iter().map(|c| usize::from(*c)).sum();
        assert_eq!(found, 4 + 8);
        assert_eq!(changed[15] + changed[16 + 15] + changed[4 * 16 + 4], 0);
    }

    #[test]
    fn the_average_goes_where_the_picture_is_and_stays_there() {
        for (shift, pictures) in [(2, 40), (7, 1500)] {
            for (from, to) in [(0, 255), (255, 0), (100, 101)] {
                let mut background = background();
                background.take(&[from; 256]);
                background.prime();
                background.take(&[to; 256]);
                for _ in 0..pictures {
                    background.learn(shift);
                }
                let off = background.average[9].abs_diff(u32::from(to) << 8);
                assert!(off <= 128, "{from} to {to} by {shift}: {off}/256");
            }
        }
    }
}
