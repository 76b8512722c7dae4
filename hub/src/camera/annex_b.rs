//! H.264 as a byte stream with start codes (ITU-T H.264, annex B): what a program writes to its
//! standard output. Cut into NAL units, and these into access units.
//!
//! It is pure. It must never panic on what comes, never hold more than one access unit and one NAL
//! unit, and never wait for a picture that is complete longer than until the next NAL unit begins.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::{Buf as _, Bytes, BytesMut};

use super::UNIT_BYTES_MAX;

/// The kinds of NAL unit that matter here (ITU-T H.264, table 7-1).
pub(crate) mod nal_kind {
    pub(crate) const SLICE: u8 = 1;
    /// Partition A of a slice; B and C are 3 and 4.
    pub(crate) const SLICE_A: u8 = 2;
    pub(crate) const IDR: u8 = 5;
    pub(crate) const SEI: u8 = 6;
    pub(crate) const SPS: u8 = 7;
    pub(crate) const PPS: u8 = 8;
    pub(crate) const DELIMITER: u8 = 9;
    pub(crate) const RESERVED_FIRST: u8 = 14;
    pub(crate) const RESERVED_LAST: u8 = 18;
}

/// The stream is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnexBError {
    /// No start code within the size of the largest picture.
    #[error("it writes no H.264 with start codes (Annex B)")]
    NoStartCode,
    /// A picture above [`UNIT_BYTES_MAX`].
    #[error("it writes a picture above {UNIT_BYTES_MAX} bytes")]
    TooLarge,
}

/// Cuts a byte stream into NAL units.
#[derive(Debug, Default)]
pub struct NalSplitter {
    buffer: BytesMut,
    /// Bytes at the front of `buffer` that hold no start code.
    searched: usize,
    /// The first start code was seen; `buffer` begins behind one.
    is_inside: bool,
}

impl NalSplitter {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`AnnexBError`]; the stream cannot be used any further.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), AnnexBError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() <= UNIT_BYTES_MAX + bytes.len() {
            return Ok(());
        }
        Err(if self.is_inside {
            AnnexBError::TooLarge
        } else {
            AnnexBError::NoStartCode
        })
    }

    /// The next NAL unit that is complete, without start code and trailing zeros.
    pub fn poll_nal(&mut self) -> Option<Bytes> {
        loop {
            let Some(at) = find_start_code(&self.buffer, self.searched) else {
                // Its first two bytes may be the last two.
                self.searched = self.buffer.len().saturating_sub(2);
                return None;
            };
            let nal = self.buffer.split_to(at).freeze();
            self.buffer.advance(3);
            self.searched = 0;
            let was_inside = std::mem::replace(&mut self.is_inside, true);
            let nal = without_trailing_zeros(nal);
            if was_inside && !nal.is_empty() {
                return Some(nal);
            }
        }
    }

    /// The last NAL unit, when the stream has ended.
    pub fn finish(&mut self) -> Option<Bytes> {
        let nal = without_trailing_zeros(self.buffer.split().freeze());
        (self.is_inside && !nal.is_empty()).then_some(nal)
    }
}

fn find_start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes
        .get(from..)?
        .windows(3)
        .position(|window| window == [0, 0, 1])?;
    Some(from + found)
}

fn without_trailing_zeros(nal: Bytes) -> Bytes {
    let end = nal.iter().rposition(|byte| *byte != 0);
    nal.slice(..end.map_or(0, |end| end + 1))
}

/// The NAL units of one picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picture {
    /// The sequence parameter set that came with it.
    pub sps: Option<Bytes>,
    /// The picture parameter set that came with it.
    pub pps: Option<Bytes>,
    /// Its other NAL units, each behind its length in four bytes.
    pub data: BytesMut,
    /// Whether decoding can begin here.
    pub is_sync: bool,
    has_slice: bool,
}

/// Puts NAL units together to pictures (7.4.1.2.3: which unit begins the next one).
#[derive(Debug, Default)]
pub struct PictureBuilder {
    open: Picture,
}

impl PictureBuilder {
    /// Takes the next NAL unit; answers the picture that was complete before it.
    ///
    /// # Errors
    /// [`AnnexBError::TooLarge`].
    pub fn handle_nal(&mut self, nal: &Bytes) -> Result<Option<Picture>, AnnexBError> {
        let Some((&header, payload)) = nal.split_first() else {
            return Ok(None);
        };
        let kind = header & 0b1_1111;
        let is_slice = (nal_kind::SLICE..=nal_kind::IDR).contains(&kind);
        // `first_mb_in_slice` is coded so that zero is a single bit 1. Partitions B and C have none.
        let is_first_slice = matches!(kind, nal_kind::SLICE | nal_kind::SLICE_A | nal_kind::IDR)
            && payload.first().is_some_and(|byte| byte & 0x80 != 0);
        let begins = is_first_slice
            || matches!(
                kind,
                nal_kind::SEI
                    | nal_kind::SPS
                    | nal_kind::PPS
                    | nal_kind::DELIMITER
                    | nal_kind::RESERVED_FIRST..=nal_kind::RESERVED_LAST
            );
        let done = (begins && self.open.has_slice).then(|| std::mem::take(&mut self.open));
        match kind {
            nal_kind::SPS => self.open.sps = Some(nal.clone()),
            nal_kind::PPS => self.open.pps = Some(nal.clone()),
            nal_kind::DELIMITER => {}
            _ => {
                if self.open.data.len() + nal.len() + 4 > UNIT_BYTES_MAX {
                    return Err(AnnexBError::TooLarge);
                }
                // Not above UNIT_BYTES_MAX, which 32 bits hold.
                self.open
                    .data
                    .extend_from_slice(&(nal.len() as u32).to_be_bytes());
                self.open.data.extend_from_slice(nal);
                self.open.has_slice |= is_slice;
                self.open.is_sync |= kind == nal_kind::IDR;
            }
        }
        Ok(done)
    }

    /// The last picture, when the stream has ended.
    pub fn finish(&mut self) -> Option<Picture> {
        let open = std::mem::take(&mut self.open);
        open.has_slice.then_some(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameter sets, a key frame of two slices, an information unit, a picture.
    const STREAM: &[u8] = &[
        0, 0, 0, 1, 9, 0xF0, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 0x80, 7, 0,
        0, 1, 0x65, 0x40, 8, 0, 0, 0, 0, 1, 0x06, 5, 0, 0, 1, 0x41, 0x9A, 0, 0, 3, 1, 9,
    ];

    fn pictures(stream: &[u8], piece: usize) -> Vec<Picture> {
        let (mut splitter, mut builder) = (NalSplitter::default(), PictureBuilder::default());
        let mut pictures = Vec::new();
        for bytes in stream.chunks(piece) {
            splitter.handle_bytes(bytes).unwrap();
            while let Some(nal) = splitter.poll_nal() {
                pictures.extend(builder.handle_nal(&nal).unwrap());
            }
        }
        if let Some(nal) = splitter.finish() {
            pictures.extend(builder.handle_nal(&nal).unwrap());
        }
        pictures.extend(builder.finish());
        pictures
    }

    #[test]
    fn pictures_are_the_same_however_the_bytes_come() {
        let whole = pictures(STREAM, STREAM.len());
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0].sps.as_deref(), Some(&[0x67, 1, 2][..]));
        assert_eq!(whole[0].pps.as_deref(), Some(&[0x68, 3][..]));
        assert!(whole[0].is_sync && !whole[1].is_sync);
        let key = [0, 0, 0, 3, 0x65, 0x80, 7, 0, 0, 0, 3, 0x65, 0x40, 8];
        assert_eq!(whole[0].data[..], key);
        let next = [0, 0, 0, 2, 6, 5, 0, 0, 0, 7, 0x41, 0x9A, 0, 0, 3, 1, 9];
        assert_eq!(whole[1].data[..], next);
        for piece in 1..STREAM.len() {
            assert_eq!(pictures(STREAM, piece), whole, "pieces of {piece} bytes");
        }
    }

    #[test]
    fn what_is_no_stream_is_refused_and_not_kept() {
        let mut splitter = NalSplitter::default();
        let text = vec![b'x'; 1 << 20];
        let mut refused = None;
        for _ in 0..10 {
            refused = splitter.handle_bytes(&text).err();
            assert_eq!(splitter.poll_nal(), None);
        }
        assert_eq!(refused, Some(AnnexBError::NoStartCode));
    }

    #[test]
    fn a_picture_without_end_is_refused() {
        let mut builder = PictureBuilder::default();
        let mut slice = vec![0x41, 0x40];
        slice.resize(1 << 20, 1);
        let slice = Bytes::from(slice);
        let refused = (0..9).find_map(|_| builder.handle_nal(&slice).err());
        assert_eq!(refused, Some(AnnexBError::TooLarge));
    }
}
