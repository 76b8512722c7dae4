//! A decoded picture, as a decoder lends it: three planes, the colours at half the size.
//!
//! It must never own pixels, and never believe a size that the bytes do not bear out.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// One plane of a picture.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    width: usize,
    height: usize,
    stride: usize,
    data: &'a [u8],
}

impl<'a> Plane<'a> {
    /// `height` lines of `width` bytes, each `stride` bytes behind the one before it; `None` if a side is
    /// zero, the lines overlap, or there are fewer bytes.
    pub fn new(width: usize, height: usize, stride: usize, data: &'a [u8]) -> Option<Self> {
        let bytes = stride
            .checked_mul(height.checked_sub(1)?)?
            .checked_add(width)?;
        (width > 0 && stride >= width && bytes <= data.len()).then_some(Self {
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

    /// Distance of two lines in bytes.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The bytes, the last line's stride not necessarily whole.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// A line from above; empty below the last.
    pub fn line(&self, y: usize) -> &'a [u8] {
        let start = y.saturating_mul(self.stride);
        self.data
            .get(start..)
            .and_then(|rest| rest.get(..self.width))
            .filter(|_| y < self.height)
            .unwrap_or(&[])
    }
}

/// A picture in YCbCr 4:2:0 with values from 16 to 235, as cameras have them (ITU-R BT.601 or BT.709).
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Brightness.
    pub luma: Plane<'a>,
    /// Blue.
    pub blue: Plane<'a>,
    /// Red.
    pub red: Plane<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_has_the_lines_that_its_bytes_bear_out() {
        let data: Vec<u8> = (0..11).collect();
        let plane = Plane::new(3, 3, 4, &data).expect("4 + 4 + 3");
        assert_eq!(plane.line(2), [8, 9, 10]);
        assert!(plane.line(3).is_empty());
        assert!(Plane::new(3, 3, 4, &data[1..]).is_none());
        for (width, height, stride) in [(0, 1, 1), (1, 0, 1), (3, 1, 2), (1, 2, usize::MAX)] {
            assert!(Plane::new(width, height, stride, &data).is_none());
        }
    }
}
