//! Contrast stretch: the same thing should look as different from what is behind it at dusk as it does
//! at noon.
//!
//! It must never jump with one picture: the ends are means over the last [`PICTURES`], unless somebody
//! calls [`Contrast::restart`] because the light did.
#![deny(clippy::unwrap_used, clippy::expect_used)]

/// Over how many pictures the ends are averaged.
const PICTURES: usize = 50;

/// Which percentiles become black and white.
const LOW_PERCENT: u32 = 4;
const HIGH_PERCENT: u32 = 96;

/// The ends are at least this many grey values apart, so that a dark night's noise is amplified four
/// times at most.
const SPAN_MIN: u32 = 64;

#[derive(Debug)]
pub(super) struct Contrast {
    /// Low and high end of the last pictures, in a ring.
    recent: [(u8, u8); PICTURES],
    next: usize,
    filled: usize,
    /// What becomes of each grey value.
    table: [u8; 256],
}

impl Contrast {
    pub(super) fn new() -> Self {
        Self {
            recent: [(0, 0); PICTURES],
            next: 0,
            filled: 0,
            table: [0; 256],
        }
    }

    /// Forgets the last pictures.
    pub(super) fn restart(&mut self) {
        self.next = 0;
        self.filled = 0;
    }

    /// Takes the ends of the next picture. Masked cells have no say.
    pub(super) fn take(&mut self, cells: &[u8], masked: &[bool]) {
        self.recent[self.next] = ends(cells, masked);
        self.next = (self.next + 1) % PICTURES;
        self.filled = (self.filled + 1).min(PICTURES);
        let (low, span) = self.window();
        for (value, stretched) in self.table.iter_mut().enumerate() {
            let above = (value as u32).saturating_sub(low).min(span);
            *stretched = (above * 255 / span) as u8;
        }
    }

    /// What becomes of each grey value.
    pub(super) fn table(&self) -> &[u8; 256] {
        &self.table
    }

    /// The value that becomes black, and how far above it white is.
    fn window(&self) -> (u32, u32) {
        let recent = &self.recent[..self.filled];
        let count = (self.filled as u32).max(1);
        let low = recent.iter().map(|(low, _)| u32::from(*low)).sum::<u32>() / count;
        let high = recent.iter().map(|(_, high)| u32::from(*high)).sum::<u32>() / count;
        let span = high.saturating_sub(low);
        if span >= SPAN_MIN {
            return (low, span);
        }
        let middle = low + span / 2;
        (
            middle.saturating_sub(SPAN_MIN / 2).min(255 - SPAN_MIN),
            SPAN_MIN,
        )
    }
}

/// The percentiles of one picture; black and white if all of it is masked.
fn ends(cells: &[u8], masked: &[bool]) -> (u8, u8) {
    let mut histogram = [0_u32; 256];
    let mut total = 0;
    for (cell, masked) in cells.iter().zip(masked) {
        if !masked {
            histogram[usize::from(*cell)] += 1;
            total += 1;
        }
    }
    let at = |percent: u32, otherwise: u8| {
        let mut below = 0;
        for (value, count) in histogram.iter().enumerate() {
            below += count;
            // At most 27,648 cells: no overflow.
            if total > 0 && below * 100 >= percent * total {
                return value as u8;
            }
        }
        otherwise
    };
    (at(LOW_PERCENT, 0), at(HIGH_PERCENT, 255))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Vec<u8> {
        (0..100).map(|value| 50 + value).collect()
    }

    fn stretch(contrast: &mut Contrast, cells: &mut [u8], masked: &[bool]) {
        contrast.take(cells, masked);
        for cell in cells {
            *cell = contrast.table()[usize::from(*cell)];
        }
    }

    #[test]
    fn percentiles_become_black_and_white() {
        let mut cells = ramp();
        stretch(&mut Contrast::new(), &mut cells, &[false; 100]);
        // The fourth of a hundred cells has 53, the ninety-sixth 145.
        assert_eq!(&cells[..4], [0, 0, 0, 0]);
        assert_eq!(&cells[95..], [255; 5]);
        assert!(cells.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(cells[49], ((99 - 53) * 255 / 92) as u8);
    }

    #[test]
    fn masked_cells_have_no_say() {
        let mut cells = ramp();
        cells.extend([255; 50]);
        let mut masked = vec![false; 100];
        masked.extend([true; 50]);
        stretch(&mut Contrast::new(), &mut cells, &masked);
        let mut without = ramp();
        stretch(&mut Contrast::new(), &mut without, &[false; 100]);
        assert_eq!(cells[..100], without);
    }

    #[test]
    fn a_flat_picture_is_not_blown_up() {
        for value in [0_u8, 1, 100, 254, 255] {
            let mut cells = vec![value; 50];
            cells.push(value.saturating_sub(1));
            stretch(&mut Contrast::new(), &mut cells, &[false; 51]);
            // Four times at most.
            let step = cells[0].abs_diff(cells[50]);
            assert!(step <= 4, "{value}: {step}");
        }
        let mut nothing = vec![9; 4];
        stretch(&mut Contrast::new(), &mut nothing, &[true; 4]);
    }

    #[test]
    fn one_picture_moves_the_ends_by_a_fiftieth_and_a_restart_at_once() {
        let mut contrast = Contrast::new();
        for _ in 0..PICTURES {
            stretch(&mut contrast, &mut ramp(), &[false; 100]);
        }
        let before = contrast.window();
        let mut brighter: Vec<u8> = ramp().iter().map(|value| value + 100).collect();
        stretch(&mut contrast, &mut brighter, &[false; 100]);
        assert_eq!(contrast.window(), (before.0 + 2, before.1));
        contrast.restart();
        let mut brighter: Vec<u8> = ramp().iter().map(|value| value + 100).collect();
        stretch(&mut contrast, &mut brighter, &[false; 100]);
        assert_eq!(contrast.window(), (before.0 + 100, before.1));
    }
}
