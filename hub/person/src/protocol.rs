//! What the hub and this program say to each other: one JPEG comes, until standard input ends; one number goes, as a
//! line of text.
//!
//! A program is started for each picture, so there is no second. It never reads more than [`JPEG_BYTES_MAX`], and
//! does not look into what it reads.

use std::fmt;
use std::io::Read;

/// The most bytes of a picture. The hub's have 60 KiB; this much is for who tries the program by hand.
pub(crate) const JPEG_BYTES_MAX: usize = 8 << 20;

/// Why there is nothing to look at.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Standard input failed.
    Io(std::io::Error),
    /// It has more than [`JPEG_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the picture cannot be read: {error}"),
            Self::TooLong => write!(f, "a picture of more than {JPEG_BYTES_MAX} bytes"),
        }
    }
}

/// The picture; `None` if standard input ends without one: then nothing was asked.
pub(crate) fn read(input: impl Read) -> Result<Option<Vec<u8>>, ReadError> {
    let mut jpeg = Vec::new();
    // One more, to know.
    let mut input = input.take(JPEG_BYTES_MAX as u64 + 1);
    input.read_to_end(&mut jpeg).map_err(ReadError::Io)?;
    if jpeg.len() > JPEG_BYTES_MAX {
        return Err(ReadError::TooLong);
    }
    Ok((!jpeg.is_empty()).then_some(jpeg))
}

/// The answer, as the hub reads it: a number from 0 to 1.
pub(crate) fn answer(likelihood: f32) -> String {
    format!("{:.3}\n", likelihood.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something to read that fails.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _into: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("a pipe that broke"))
        }
    }

    #[test]
    fn a_picture_is_all_that_comes_and_not_too_much() {
        assert_eq!(read(&b""[..]).unwrap(), None);
        assert_eq!(read(&b"jpeg"[..]).unwrap(), Some(b"jpeg".to_vec()));
        let longest = read(std::io::repeat(7).take(JPEG_BYTES_MAX as u64)).unwrap();
        assert_eq!(longest.map(|jpeg| jpeg.len()), Some(JPEG_BYTES_MAX));
        // It would never end.
        let endless = read(std::io::repeat(7)).unwrap_err();
        assert!(matches!(endless, ReadError::TooLong));
        let broken = read(Broken).unwrap_err();
        assert!(broken.to_string().contains("a pipe that broke"));
    }

    #[test]
    fn an_answer_is_a_number_from_0_to_1() {
        for (likelihood, text) in [
            (0.0, "0.000\n"),
            (0.195_312_5, "0.195\n"),
            (0.996_093_75, "0.996\n"),
            (1.0, "1.000\n"),
            (1.5, "1.000\n"),
            (-0.5, "0.000\n"),
        ] {
            assert_eq!(answer(likelihood), text);
        }
    }
}
