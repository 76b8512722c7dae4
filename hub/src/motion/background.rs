//! What the scene looks like when nothing moves: a running average, and how a picture differs from it.
//!
//! It must never allocate after [`Background::new`], and never decide what a difference means.
#![deny(clippy::unwrap_used, clippy::expect_used)]

use super::picture::Grid;

#[derive(Debug)]
pub(super) struct Background {
    cols: usize,
    /// The blurred picture.
    current: Vec<u8>,
    /// The running average, in 1/256 of a grey value.
    average: Vec<u16>,
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
            *average = u16::from(*cell) << 8;
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

    /// Marks in `changed` the cells that differ from the average by more than `threshold` grey values
    /// and are not masked; answers how many.
    pub(super) fn compare(&self, threshold: u8, masked: &[bool], changed: &mut [u8]) -> u32 {
        let threshold = u16::from(threshold) << 8;
        let mut count = 0;
        for (((changed, cell), average), masked) in changed
            .iter_mut()
            .zip(&self.current)
            .zip(&self.average)
            .zip(masked)
        {
            let difference = (u16::from(*cell) << 8).abs_diff(*average);
            *changed = u8::from(difference > threshold && !masked);
            count += u32::from(*changed);
        }
        count
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
            let difference = (i32::from(*cell) << 8) - i32::from(*average);
            // Between two values of 16 bits lies a value of 16 bits.
            *average = (i32::from(*average) + (difference >> shift)) as u16;
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
        assert_eq!(background.compare(30, &OPEN, &mut changed), 0);
        assert_eq!(changed, [0; 256]);
        assert_eq!(background.compare(29, &OPEN, &mut changed), 256);
        let mut masked = OPEN;
        masked[7] = true;
        assert_eq!(background.compare(29, &masked, &mut changed), 255);
        assert_eq!(changed[7], 0);
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
                let off = background.average[9].abs_diff(u16::from(to) << 8);
                assert!(off <= 128, "{from} to {to} by {shift}: {off}/256");
            }
        }
    }
}
