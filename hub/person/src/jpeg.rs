//! The grey picture in a JPEG.
//!
//! zune-jpeg reads it. This room bounds what that may take, and never hands on half a picture.

use std::fmt;

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::crops::Grey;

/// The longest side of a picture, in pixels.
pub(crate) const SIDE_MAX: u16 = 4096;

/// Why there is no picture.
#[derive(Debug)]
pub(crate) enum JpegError {
    /// It cannot be read, is cut off, or has a side longer than [`SIDE_MAX`].
    Unread(DecodeErrors),
    /// What was read is no picture of the size that it says.
    Odd,
}

impl fmt::Display for JpegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(error) => write!(f, "the picture is no good JPEG: {error}"),
            Self::Odd => write!(f, "the JPEG has not as many pixels as it says"),
        }
    }
}

/// The grey picture in it.
pub(crate) fn grey(jpeg: &[u8]) -> Result<Grey, JpegError> {
    let options = DecoderOptions::default()
        .set_max_width(usize::from(SIDE_MAX))
        .set_max_height(usize::from(SIDE_MAX))
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    let pixels = decoder.decode().map_err(JpegError::Unread)?;
    let (width, height) = decoder.dimensions().ok_or(JpegError::Odd)?;
    match pixels.len() == width * height {
        true => Ok(Grey {
            width,
            height,
            pixels,
        }),
        false => Err(JpegError::Odd),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::*;

    /// What the hub makes of a picture with these pixels, or what `set` makes of that.
    fn encoded_with(
        (width, height): (u16, u16),
        quality: u8,
        draw: impl Fn(usize, usize) -> u8,
        set: impl FnOnce(&mut Encoder<&mut Vec<u8>>),
    ) -> Vec<u8> {
        let mut pixels = Vec::new();
        for y in 0..usize::from(height) {
            for x in 0..usize::from(width) {
                pixels.extend([draw(x, y), 90, 150]);
            }
        }
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(&mut jpeg, quality);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        set(&mut encoder);
        encoder
            .encode(&pixels, width, height, ColorType::Ycbcr)
            .expect("a picture");
        jpeg
    }

    /// What the hub makes of a picture with these pixels.
    pub(crate) fn encoded(
        width: u16,
        height: u16,
        quality: u8,
        draw: impl Fn(usize, usize) -> u8,
    ) -> Vec<u8> {
        encoded_with((width, height), quality, draw, |_encoder| ())
    }

    /// Fine stripes in one direction, a slow rise in the other.
    fn stripes(x: usize, y: usize) -> u8 {
        (60 + x % 7 * 8 + y / 2 % 100) as u8
    }

    /// How far the picture is from that at most.
    fn distance(grey: &Grey, draw: impl Fn(usize, usize) -> u8) -> u8 {
        let pixels = grey.pixels.iter().enumerate();
        let distances =
            pixels.map(|(at, pixel)| pixel.abs_diff(draw(at % grey.width, at / grey.width)));
        distances.max().expect("a pixel")
    }

    #[test]
    fn a_picture_of_the_hub_is_what_it_was() {
        for (width, height) in [(640, 360), (97, 50), (16, 16), (8, 24), (1, 1)] {
            let jpeg = encoded(width, height, 100, stripes);
            let grey = grey(&jpeg).expect("a picture");
            let size = (usize::from(width), usize::from(height));
            assert_eq!((grey.width, grey.height), size);
            assert_eq!(grey.pixels.len(), size.0 * size.1);
            let distance = distance(&grey, stripes);
            assert!(distance <= 4, "{width} by {height}: {distance}");
        }
    }

    #[test]
    fn the_worst_quality_of_the_hub_is_read_too() {
        let plain = |_x: usize, y: usize| if y < 48 { 50 } else { 170 };
        for quality in [80, 60, 40, 20, 5] {
            let grey = grey(&encoded(96, 96, quality, plain)).expect("a picture");
            let distance = distance(&grey, plain);
            assert!(distance <= 24, "{quality}: {distance}");
        }
    }

    #[test]
    fn restarts_other_units_and_no_colours_are_read() {
        let sets: [fn(&mut Encoder<&mut Vec<u8>>); 3] = [
            |encoder| encoder.set_restart_interval(3),
            |encoder| encoder.set_sampling_factor(SamplingFactor::R_4_4_4),
            |encoder| encoder.set_sampling_factor(SamplingFactor::R_4_2_2),
        ];
        for set in sets {
            let jpeg = encoded_with((100, 60), 100, stripes, set);
            assert!(distance(&grey(&jpeg).expect("a picture"), stripes) <= 4);
        }
        let pixels: Vec<u8> = (0..100 * 60)
            .map(|at| stripes(at % 100, at / 100))
            .collect();
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, 100)
            .encode(&pixels, 100, 60, ColorType::Luma)
            .expect("a picture");
        assert!(distance(&grey(&jpeg).expect("a picture"), stripes) <= 4);
    }

    #[test]
    fn what_is_too_large_or_no_picture_is_refused() {
        let large = encoded(SIDE_MAX + 1, 1, 80, |_x, _y| 90);
        assert!(grey(&large).is_err());
        assert!(grey(b"BM, a picture").is_err());
        assert!(grey(b"\xFF\xD8").is_err());
        assert!(grey(b"").is_err());
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_an_error_or_a_picture() {
        let jpeg = encoded(32, 32, 80, stripes);
        for length in 0..jpeg.len() {
            let _either = grey(&jpeg[..length]);
        }
        assert!(grey(&jpeg[..jpeg.len() / 2]).is_err());
        for at in 0..jpeg.len() {
            for value in [0, 1, 0x11, 0x7F, 0x80, 0xFE, 0xFF] {
                let mut changed = jpeg.clone();
                changed[at] = value;
                let _either = grey(&changed);
            }
            let mut flipped = jpeg.clone();
            flipped[at] ^= 1 << (at % 8);
            let _either = grey(&flipped);
        }
    }
}
