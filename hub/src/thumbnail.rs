//! The picture that stands for an event: kept small, made a JPEG when it is sent.
//!
//! It must never hold a picture in full size, and never make one that does not fit a message.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};

use crate::picture::{Picture, Plane};

/// The longest side of a thumbnail, in pixels.
pub const SIDE_MAX: usize = 640;

/// The most bytes of a thumbnail. With its framing it fits one message.
pub const BYTES_MAX: usize = 60 * 1024;

const _: () = assert!(BYTES_MAX <= journal::CHUNK_BYTES_MAX);

/// The qualities that are tried, best first. The last makes any picture of [`SIDE_MAX`] small enough but for
/// one of noise.
const QUALITIES: [u8; 5] = [80, 60, 40, 20, 5];

/// A picture that may become a thumbnail. Its room is used again for the next.
#[derive(Debug, Default)]
pub struct Thumbnail {
    luma: Small,
    blue: Small,
    red: Small,
}

/// A plane that was made small.
#[derive(Debug, Default)]
struct Small {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

/// Why there is no thumbnail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThumbnailError {
    /// No picture was kept.
    #[error("no picture was kept")]
    Nothing,
    /// It is larger than [`BYTES_MAX`] at the lowest quality.
    #[error("a picture of {bytes} bytes; at most {BYTES_MAX} are supported")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl Thumbnail {
    /// Keeps a picture instead of the one before it, averaged over squares of pixels so that no side is
    /// longer than [`SIDE_MAX`].
    pub fn keep(&mut self, picture: &Picture<'_>) {
        let longest = picture.luma.width().max(picture.luma.height());
        let block = longest.div_ceil(SIDE_MAX).max(1);
        self.luma.take(picture.luma, block);
        self.blue.take(picture.blue, block);
        self.red.take(picture.red, block);
    }

    /// Forgets what is kept.
    pub fn clear(&mut self) {
        self.luma.width = 0;
    }

    /// The kept picture as a JPEG of at most [`BYTES_MAX`] bytes, without any metadata.
    ///
    /// # Errors
    /// [`ThumbnailError`]: the event has no thumbnail then.
    pub fn jpeg(&self) -> Result<Vec<u8>, ThumbnailError> {
        if self.luma.width == 0 {
            return Err(ThumbnailError::Nothing);
        }
        let mut bytes = 0;
        for quality in QUALITIES {
            let mut jpeg = Vec::with_capacity(BYTES_MAX);
            let mut encoder = Encoder::new(&mut jpeg, quality);
            encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
            // It fails only where the writer does, or the picture has no size.
            if encoder.encode_image(self).is_err() {
                return Err(ThumbnailError::Nothing);
            }
            bytes = jpeg.len();
            if bytes <= BYTES_MAX {
                return Ok(jpeg);
            }
        }
        Err(ThumbnailError::TooLarge { bytes })
    }
}

impl Small {
    fn take(&mut self, plane: Plane<'_>, block: usize) {
        self.width = (plane.width() / block).max(1);
        self.height = (plane.height() / block).max(1);
        self.data.clear();
        for row in 0..self.height {
            for col in 0..self.width {
                let (mut sum, mut count) = (0_u32, 0_u32);
                for y in row * block..(row + 1) * block {
                    let line = plane.line(y);
                    for pixel in line.iter().skip(col * block).take(block) {
                        sum += u32::from(*pixel);
                        count += 1;
                    }
                }
                // A mean of bytes is a byte.
                self.data.push((sum / count.max(1)) as u8);
            }
        }
    }

    /// The pixel that stands for one of a picture of another size.
    fn at(&self, x: usize, y: usize, of: &Small) -> u8 {
        let col = x * self.width / of.width.max(1);
        let row = y * self.height / of.height.max(1);
        self.data
            .get(row * self.width + col)
            .copied()
            .unwrap_or(128)
    }
}

/// From the values of video, 16 to 235, to those of a JPEG, 0 to 255.
fn full_range(value: u8) -> u8 {
    let above = (i32::from(value) - 16) * 255 / 219;
    above.clamp(0, 255) as u8
}

/// The same for a colour, 16 to 240 around 128.
fn full_range_colour(value: u8) -> u8 {
    let off = (i32::from(value) - 128) * 255 / 224;
    (128 + off).clamp(0, 255) as u8
}

impl ImageBuffer for &Thumbnail {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        u16::try_from(self.luma.width).unwrap_or(0)
    }

    fn height(&self) -> u16 {
        u16::try_from(self.luma.height).unwrap_or(0)
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let y = usize::from(y);
        let [luma, blue, red, _] = buffers;
        for x in 0..self.luma.width {
            luma.push(full_range(self.luma.at(x, y, &self.luma)));
            blue.push(full_range_colour(self.blue.at(x, y, &self.luma)));
            red.push(full_range_colour(self.red.at(x, y, &self.luma)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of one value a plane, but for what `draw` does to the luma.
    fn jpeg(width: usize, height: usize, draw: impl Fn(usize) -> u8) -> Vec<u8> {
        let luma: Vec<u8> = (0..width * height).map(draw).collect();
        let colour = vec![128; width * height / 4];
        let (half_width, half_height) = (width / 2, height / 2);
        let mut thumbnail = Thumbnail::default();
        assert_eq!(thumbnail.jpeg(), Err(ThumbnailError::Nothing));
        thumbnail.keep(&Picture {
            luma: Plane::new(width, height, width, &luma).unwrap(),
            blue: Plane::new(half_width, half_height, half_width, &colour).unwrap(),
            red: Plane::new(half_width, half_height, half_width, &colour).unwrap(),
        });
        let jpeg = thumbnail.jpeg().expect("small enough");
        thumbnail.clear();
        assert_eq!(thumbnail.jpeg(), Err(ThumbnailError::Nothing));
        jpeg
    }

    /// Height and width, as the frame header says (ITU-T T.81, B.2.2).
    fn size(jpeg: &[u8]) -> (u16, u16) {
        let at = jpeg
            .windows(2)
            .position(|two| two == [0xFF, 0xC0])
            .expect("a baseline frame");
        let number = |at: usize| u16::from_be_bytes([jpeg[at], jpeg[at + 1]]);
        (number(at + 7), number(at + 5))
    }

    #[test]
    fn a_thumbnail_is_a_small_baseline_jpeg() {
        for (width, height, want) in [
            (640, 480, (640, 480)),
            (768, 576, (384, 288)),
            (1920, 1080, (640, 360)),
            (16, 16, (16, 16)),
        ] {
            let found = jpeg(width, height, |index| (index % 200) as u8);
            assert!(found.starts_with(&[0xFF, 0xD8]) && found.ends_with(&[0xFF, 0xD9]));
            assert_eq!(size(&found), want);
        }
    }

    #[test]
    fn a_picture_of_noise_still_fits() {
        let mut state = 1_u32;
        let mut noise = Vec::new();
        for _ in 0..640 * 360 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.push((state >> 24) as u8);
        }
        let found = jpeg(640, 360, |index| noise[index]);
        assert!(found.len() <= BYTES_MAX, "{}", found.len());
    }

    #[test]
    fn the_range_of_video_becomes_that_of_a_jpeg() {
        let luma: Vec<u8> = [0, 16, 126, 235, 255].map(full_range).to_vec();
        assert_eq!(luma, [0, 0, 128, 255, 255]);
        let colour: Vec<u8> = [16, 128, 240, 255].map(full_range_colour).to_vec();
        assert_eq!(colour, [1, 128, 255, 255]);
    }
}
