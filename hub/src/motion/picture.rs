//! The grey picture as a decoder gives it, and the small grid that everything else works on.
//!
//! It must never copy a picture, and never believe a size that the bytes do not bear out.
#![deny(clippy::unwrap_used, clippy::expect_used)]

use crate::picture::Plane;

/// The shortest side of a picture that motion is sought in, in pixels.
pub const SIDE_MIN: usize = 16;

/// The longest side, in pixels. Above what H.264 knows, and low enough that the sums of
/// pixels fit 16 bits.
pub const SIDE_MAX: usize = 16_384;

/// Most rows of the grid. 576 lines become 96, 1080 become 108.
pub const GRID_ROWS_MAX: usize = 108;

/// Most columns of the grid: bounds it for pictures that are very wide.
pub const GRID_COLS_MAX: usize = 256;

/// Most lines of a picture in one row of the grid.
const BLOCK_MAX: usize = SIDE_MAX.div_ceil(GRID_ROWS_MAX);
const _: () = assert!(BLOCK_MAX * 255 <= u16::MAX as usize);

/// The luma plane of one picture, borrowed from the decoder.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    width: usize,
    height: usize,
    stride: usize,
    data: &'a [u8],
}

/// Why bytes are not a luma plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LumaError {
    /// A side is outside [`SIDE_MIN`] to [`SIDE_MAX`].
    #[error("a picture of {width} x {height}; sides of {SIDE_MIN} to {SIDE_MAX} are supported")]
    Size {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The lines overlap, or there are fewer bytes than lines.
    #[error("{bytes} bytes are no {height} lines at a distance of {stride}")]
    Bytes {
        /// How many bytes there are.
        bytes: usize,
        /// Distance of two lines in bytes.
        stride: usize,
        /// Lines.
        height: usize,
    },
}

impl<'a> Luma<'a> {
    /// A plane of `height` lines of `width` bytes, each `stride` bytes behind the one before it.
    ///
    /// # Errors
    /// [`LumaError`].
    pub fn new(
        width: usize,
        height: usize,
        stride: usize,
        data: &'a [u8],
    ) -> Result<Self, LumaError> {
        let sides = SIDE_MIN..=SIDE_MAX;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(LumaError::Size { width, height });
        }
        let bytes = stride
            .checked_mul(height - 1)
            .and_then(|bytes| bytes.checked_add(width));
        if stride < width || bytes.is_none_or(|bytes| bytes > data.len()) {
            return Err(LumaError::Bytes {
                bytes: data.len(),
                stride,
                height,
            });
        }
        Ok(Self {
            width,
            height,
            stride,
            data,
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels of a line. INVARIANT: `y` is below the height, which [`Luma::new`] has compared with
    /// the bytes.
    fn line(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.stride..][..self.width]
    }
}

impl<'a> TryFrom<Plane<'a>> for Luma<'a> {
    type Error = LumaError;

    fn try_from(plane: Plane<'a>) -> Result<Self, LumaError> {
        Self::new(plane.width(), plane.height(), plane.stride(), plane.data())
    }
}

/// How a picture is divided into cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Cells in a row.
    pub cols: usize,
    /// Rows.
    pub rows: usize,
    block_width: usize,
    block_height: usize,
}

impl Grid {
    /// The grid of pictures of this size: square cells, as few pixels each as the limits allow. A rest of
    /// pixels at the right and lower edge, less than a cell, is not looked at.
    pub fn of(luma: Luma<'_>) -> Self {
        let block = luma
            .height
            .div_ceil(GRID_ROWS_MAX)
            .max(luma.width.div_ceil(GRID_COLS_MAX));
        let block_width = block.min(luma.width);
        let block_height = block.min(luma.height);
        Self {
            cols: luma.width / block_width,
            rows: luma.height / block_height,
            block_width,
            block_height,
        }
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.cols * self.rows
    }
}

/// Averages the pixels of each cell.
#[derive(Debug)]
pub(super) struct Shrinker {
    grid: Grid,
    /// The sum of each column of pixels over the lines of one row of cells. Adding whole lines first is
    /// what a compiler makes vector instructions of.
    sums: Vec<u16>,
}

impl Shrinker {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            grid,
            sums: vec![0; grid.cols * grid.block_width],
        }
    }

    /// Writes the mean of each cell. `luma` has the size that the grid was made for.
    pub(super) fn shrink(&mut self, luma: Luma<'_>, cells: &mut [u8]) {
        let grid = self.grid;
        let pixels = (grid.block_width * grid.block_height) as u32;
        for (row, cells) in cells.chunks_exact_mut(grid.cols).enumerate() {
            self.sums.fill(0);
            for line in 0..grid.block_height {
                let line = luma.line(row * grid.block_height + line);
                for (sum, pixel) in self.sums.iter_mut().zip(line) {
                    *sum += u16::from(*pixel);
                }
            }
            for (cell, sums) in cells
                .iter_mut()
                .zip(self.sums.chunks_exact(grid.block_width))
            {
                let sum: u32 = sums.iter().map(|sum| u32::from(*sum)).sum();
                // A mean of bytes is a byte.
                *cell = (sum / pixels) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_refused_unless_its_bytes_are_there() {
        let data = vec![7; 20 * 15 + 16];
        assert!(Luma::new(16, 16, 20, &data).is_ok());
        let short = &data[1..];
        assert!(matches!(
            Luma::new(16, 16, 20, short),
            Err(LumaError::Bytes { .. })
        ));
        assert!(Luma::new(16, 16, 15, &data).is_err());
        assert!(Luma::new(16, 16, usize::MAX, &data).is_err());
        assert!(Luma::new(15, 16, 20, &data).is_err());
        assert!(Luma::new(16, SIDE_MAX + 1, 16, &data).is_err());
    }

    #[test]
    fn every_size_has_a_grid_within_its_limits() {
        let data = vec![0; SIDE_MAX * SIDE_MIN];
        // (width, height, columns, rows)
        let table = [
            (768, 16, 256, 5),
            (SIDE_MAX, SIDE_MIN, 256, 1),
            // Cells would be 152 pixels wide and high; the picture has 16.
            (SIDE_MIN, SIDE_MAX, 1, 107),
            (100, 100, 100, 100),
        ];
        for (width, height, cols, rows) in table {
            let luma = Luma::new(width, height, width, &data).unwrap();
            let grid = Grid::of(luma);
            assert_eq!((grid.cols, grid.rows), (cols, rows), "{width} x {height}");
            assert!(grid.cols <= GRID_COLS_MAX && grid.rows <= GRID_ROWS_MAX);
        }
    }

    #[test]
    fn a_cell_is_the_mean_of_its_pixels() {
        // 216 lines: cells of 2 x 2.
        let (width, height) = (32, 216);
        let mut data = vec![0; width * height];
        data[2] = 10;
        data[3] = 20;
        data[width + 2] = 31;
        data[width + 3] = 40;
        let luma = Luma::new(width, height, width, &data).unwrap();
        let grid = Grid::of(luma);
        assert_eq!((grid.cols, grid.rows), (16, 108));
        let mut cells = vec![9; grid.cells()];
        Shrinker::new(grid).shrink(luma, &mut cells);
        assert_eq!(&cells[..3], [0, 25, 0]);
        assert!(cells[3..].iter().all(|cell| *cell == 0));
        let white = vec![255; width * height];
        let luma = Luma::new(width, height, width, &white).unwrap();
        Shrinker::new(grid).shrink(luma, &mut cells);
        assert!(cells.iter().all(|cell| *cell == 255));
    }
}
