//! Reads the one H.264 track out of an MP4 file (ISO/IEC 14496-12 and -15), plain or fragmented,
//! and answers where each sample lies and when it is shown.
//!
//! It must never believe a number in the file before checking it against the file's size or a
//! named limit, never read sample data into memory, and never panic or loop on garbage: whatever
//! the bytes are, the answer is a [`Clip`] or one [`ClipError`]. That is also why it is our own: with
//! the general reader we tried, one damaged byte in a box size was enough to loop for ever. (In the
//! tests it is the independent opinion on sound files.)
//!
//! Audio and other tracks are ignored, and so are edit lists: the clip starts at its first key
//! frame.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod boxes;
mod error;
mod fragments;
mod movie;
mod table;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::VideoTrack;
use boxes::Fields;
pub use boxes::FourCc;
pub use error::ClipError;
use fragments::FragmentReader;

/// Most samples of a clip: 2.4 hours at 30 pictures a second, 6 MiB of table.
pub const SAMPLES_MAX: usize = 1 << 18;
/// Largest `moov` box in bytes; it is the only large thing that is held in memory, and only while
/// the file is opened.
pub const MOOV_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Largest `moof` box in bytes, held in memory one at a time.
pub const MOOF_BYTES_MAX: u64 = 1024 * 1024;
/// Most boxes at the top level of a file: a `moof` and an `mdat` for each sample, and some more.
pub const TOP_LEVEL_BOXES_MAX: u64 = 2 * SAMPLES_MAX as u64 + 1024;

/// Bytes that can be read at any place: a file, or memory in a test.
pub trait ByteSource {
    /// How many bytes there are.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on, or fails.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ByteSource for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ByteSource for [u8] {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..)?.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

/// Where one sample lies and when it is shown. All times in ticks of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleEntry {
    /// Where its bytes begin in the file. The whole sample is known to lie inside the file.
    pub offset: u64,
    /// How many bytes it has: 1 to [`super::UNIT_BYTES_MAX`].
    pub bytes: u32,
    /// How long it is shown.
    pub duration: u32,
    /// Presentation time minus decode time.
    pub composition_offset: i32,
    /// Whether decoding can begin here.
    pub is_sync: bool,
}

/// The H.264 track of an MP4 file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// The codec parameters.
    pub track: VideoTrack,
    /// At least one sample, in decode order, the first one a sync sample. The decode time of a
    /// sample is the sum of the durations before it.
    pub samples: Vec<SampleEntry>,
}

impl Clip {
    /// Reads the tables of a file; blocking, and bounded by the limits of this module.
    pub fn read<S: ByteSource + ?Sized>(source: &S) -> Result<Self, ClipError> {
        let bytes = source.bytes().map_err(ClipError::unreadable)?;
        if bytes == 0 {
            return Err(ClipError::Empty);
        }
        let reader = Reader { source, bytes };
        // First the walk alone, so that a file that is cut off is called that, and not damaged.
        reader.walk(|_| Ok(()))?;
        let (movie, mut samples) = reader.read_movie()?.into_parts();
        if samples.is_empty() {
            return Err(ClipError::NoSamples);
        }
        let first_sync = samples
            .iter()
            .position(|sample| sample.is_sync)
            .ok_or(ClipError::NoKeyFrame)?;
        samples.drain(..first_sync);
        Ok(Self {
            track: movie.track,
            samples,
        })
    }

    /// The sum of all durations, in ticks.
    pub fn duration_ticks(&self) -> u64 {
        // SAMPLES_MAX durations of at most 31 bits cannot overflow.
        self.samples
            .iter()
            .map(|sample| u64::from(sample.duration))
            .sum()
    }
}

/// The boxes that may open a file. Anything else is not an MP4 file at all, which is worth its own
/// message: people point the hub at an MKV or a text file.
const FIRST_BOXES: [&[u8; 4]; 9] = [
    b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"pnot",
];

struct Reader<'a, S: ?Sized> {
    source: &'a S,
    bytes: u64,
}

/// The place of one top-level box in the file.
struct TopLevelBox {
    kind: FourCc,
    start: u64,
    header_bytes: u64,
    end: u64,
}

impl<S: ByteSource + ?Sized> Reader<'_, S> {
    /// Shows each top-level box to `visit`.
    fn walk(
        &self,
        mut visit: impl FnMut(&TopLevelBox) -> Result<(), ClipError>,
    ) -> Result<(), ClipError> {
        let mut at = 0;
        let mut boxes_left = TOP_LEVEL_BOXES_MAX;
        while at < self.bytes {
            boxes_left = boxes_left.checked_sub(1).ok_or(ClipError::TooLarge {
                what: "number of boxes",
                found: TOP_LEVEL_BOXES_MAX + 1,
                limit: TOP_LEVEL_BOXES_MAX,
            })?;
            let found = self.top_level_box(at)?;
            visit(&found)?;
            at = found.end;
        }
        Ok(())
    }

    fn read_movie(&self) -> Result<FragmentReader, ClipError> {
        let mut movie: Option<FragmentReader> = None;
        self.walk(|found| {
            match &found.kind.0 {
                b"moov" if movie.is_some() => {
                    return Err(ClipError::malformed(found.kind, "it comes twice"));
                }
                b"moov" => {
                    let body = self.body(found, "moov box", MOOV_BYTES_MAX)?;
                    let (track, samples) = movie::read(Fields::new(found.kind, &body), self.bytes)?;
                    movie = Some(FragmentReader::new(track, samples));
                }
                b"moof" => {
                    let body = self.body(found, "moof box", MOOF_BYTES_MAX)?;
                    let Some(movie) = &mut movie else {
                        return Err(ClipError::malformed(found.kind, "it comes before moov"));
                    };
                    movie.read(Fields::new(found.kind, &body), found.start)?;
                }
                _ => {}
            }
            Ok(())
        })?;
        movie.ok_or(ClipError::BoxMissing {
            missing: FourCc(*b"moov"),
            inside: None,
        })
    }

    /// Reads a box header (14496-12, 4.2): 32-bit size and type, with size 1 a 64-bit size
    /// follows, with size 0 the box ends with the file.
    fn top_level_box(&self, start: u64) -> Result<TopLevelBox, ClipError> {
        let mut header = [0; 16];
        let at_hand = (self.bytes - start).min(16) as usize;
        let (readable, _) = header.split_at_mut(at_hand);
        self.source
            .read_exact_at(readable, start)
            .map_err(ClipError::unreadable)?;
        let [a, b, c, d, kind @ .., _, _, _, _, _, _, _, _] = header;
        let kind = FourCc(kind);
        if start == 0 && !FIRST_BOXES.contains(&&kind.0) {
            return Err(ClipError::NotMp4);
        }
        let truncated = ClipError::Truncated {
            inside: kind,
            start,
            file_bytes: self.bytes,
        };
        if at_hand < 8 {
            return Err(truncated);
        }
        let (header_bytes, size) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (8, self.bytes - start),
            1 if at_hand < 16 => return Err(truncated),
            1 => {
                let [.., e, f, g, h, i, j, k, l] = header;
                (16, u64::from_be_bytes([e, f, g, h, i, j, k, l]))
            }
            size => (8, u64::from(size)),
        };
        if size < header_bytes {
            return Err(ClipError::malformed(
                kind,
                "its size is less than its header",
            ));
        }
        match start.checked_add(size) {
            Some(end) if end <= self.bytes => Ok(TopLevelBox {
                kind,
                start,
                header_bytes,
                end,
            }),
            _ => Err(truncated),
        }
    }

    /// The body of a box, if it is not larger than `limit`.
    fn body(
        &self,
        found: &TopLevelBox,
        what: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, ClipError> {
        let start = found.start + found.header_bytes;
        let bytes = found.end - start;
        if bytes > limit {
            return Err(ClipError::TooLarge {
                what,
                found: bytes,
                limit,
            });
        }
        let mut body = vec![0; bytes as usize];
        self.source
            .read_exact_at(&mut body, start)
            .map_err(ClipError::unreadable)?;
        Ok(body)
    }
}
