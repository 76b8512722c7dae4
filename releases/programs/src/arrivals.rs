//! When each piece of a fragmented MP4 that comes as a stream was whole.
//!
//! ```text
//! ftyp moov | moof mdat | moof mdat | ...     a piece is whole with the last byte of its `mdat`
//! ```
//!
//! Pure: bytes and times in, places and times out. It must never panic on what comes, nor keep what it has read.

/// The longest head of a box: size and kind, and a large size behind them (ISO/IEC 14496-12, 4.2).
const HEAD_BYTES_MAX: usize = 16;

/// A stream that comes.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// Bytes that came.
    bytes: u64,
    /// Where the box ends that is being read, once its head has come.
    end: Option<u64>,
    is_media: bool,
    head: Vec<u8>,
    /// Where a piece ends, and when its last byte came; ascending.
    pieces: Vec<(u64, u64)>,
    is_broken: bool,
}

impl Arrivals {
    /// The next bytes of the stream, which came at this time.
    pub fn handle_bytes(&mut self, bytes: &[u8], at_ms: u64) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_broken {
            match self.end {
                None => {
                    let (first, behind) = rest.split_at(1);
                    self.head.extend_from_slice(first);
                    self.bytes += 1;
                    rest = behind;
                    self.read_head();
                }
                Some(end) => {
                    let wanted = end.saturating_sub(self.bytes);
                    let taken = usize::try_from(wanted).map_or(rest.len(), |w| w.min(rest.len()));
                    self.bytes += taken as u64;
                    rest = &rest[taken..];
                }
            }
            if self.end == Some(self.bytes) {
                if self.is_media {
                    self.pieces.push((self.bytes, at_ms));
                }
                self.end = None;
            }
        }
    }

    /// When the byte at this place came together with the rest of its piece; `None` if its piece is not whole.
    pub fn at_ms(&self, offset: u64) -> Option<u64> {
        let index = self.pieces.partition_point(|(end, _)| *end <= offset);
        self.pieces.get(index).map(|(_, at_ms)| *at_ms)
    }

    /// When the first piece was whole.
    pub fn first_ms(&self) -> Option<u64> {
        self.pieces.first().map(|(_, at_ms)| *at_ms)
    }

    /// How many pieces are whole.
    pub fn count(&self) -> usize {
        self.pieces.len()
    }

    /// Where the last whole piece ends: so many bytes can be read as a file.
    pub fn whole_bytes(&self) -> u64 {
        self.pieces.last().map_or(0, |(end, _)| *end)
    }

    /// Whether what came is no MP4, or one of which no piece ever ends.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn read_head(&mut self) {
        let Some((size, kind)) = size_and_kind(&self.head) else {
            self.is_broken = self.head.len() >= HEAD_BYTES_MAX;
            return;
        };
        let head = self.head.len() as u64;
        if size < head {
            // Zero means "until the end of the file", which a stream has not.
            self.is_broken = true;
            return;
        }
        self.is_media = kind == *b"mdat";
        self.end = self.bytes.checked_add(size - head);
        self.is_broken = self.end.is_none();
        self.head.clear();
    }
}

/// What a whole head says; `None` while bytes of it are missing.
fn size_and_kind(head: &[u8]) -> Option<(u64, [u8; 4])> {
    let (size, behind) = head.split_first_chunk::<4>()?;
    let (kind, behind) = behind.split_first_chunk::<4>()?;
    let size = match u32::from_be_bytes(*size) {
        1 => u64::from_be_bytes(*behind.first_chunk::<8>()?),
        size => u64::from(size),
    };
    Some((size, *kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], payload: usize) -> Vec<u8> {
        let size = u32::try_from(8 + payload).unwrap();
        [&size.to_be_bytes()[..], kind, &vec![7; payload]].concat()
    }

    #[test]
    fn a_piece_has_come_when_its_last_byte_has() {
        let begin = [boxed(b"ftyp", 8), boxed(b"moov", 30)].concat();
        let piece = [boxed(b"moof", 20), boxed(b"mdat", 50)].concat();
        let all = [&begin[..], &piece, &piece].concat();
        for step in [1, 3, 7, all.len()] {
            let mut arrivals = Arrivals::default();
            let mut last = 0;
            for (number, bytes) in all.chunks(step).enumerate() {
                last = 1_000 + number as u64;
                arrivals.handle_bytes(bytes, last);
            }
            assert!(!arrivals.is_broken());
            assert_eq!(arrivals.count(), 2);
            assert_eq!(arrivals.whole_bytes(), all.len() as u64);
            let first_end = begin.len() + piece.len();
            let first = 1_000 + ((first_end - 1) / step) as u64;
            assert_eq!(arrivals.first_ms(), Some(first));
            assert_eq!(arrivals.at_ms(begin.len() as u64), Some(first));
            assert_eq!(arrivals.at_ms(first_end as u64 - 1), Some(first));
            assert_eq!(arrivals.at_ms(first_end as u64), Some(last));
            assert_eq!(arrivals.at_ms(all.len() as u64), None);
        }
    }

    #[test]
    fn an_unfinished_piece_has_no_time() {
        let mut arrivals = Arrivals::default();
        let piece = boxed(b"mdat", 50);
        arrivals.handle_bytes(&piece[..57], 5);
        assert_eq!((arrivals.at_ms(20), arrivals.count()), (None, 0));
        arrivals.handle_bytes(&piece[57..], 6);
        assert_eq!(arrivals.at_ms(20), Some(6));
        // A large size stands behind the kind.
        let large = [
            &1_u32.to_be_bytes()[..],
            b"mdat",
            &20_u64.to_be_bytes(),
            &[0; 4],
        ]
        .concat();
        arrivals.handle_bytes(&large, 7);
        assert_eq!(arrivals.at_ms(60), Some(7));
    }

    #[test]
    fn what_is_no_mp4_is_broken_and_does_no_harm() {
        for bytes in [
            &b"\0\0\0\0mdat"[..],
            b"\0\0\0\x07mdat",
            b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x0f",
            b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let mut arrivals = Arrivals::default();
            arrivals.handle_bytes(bytes, 1);
            arrivals.handle_bytes(&[0; 100], 2);
            assert_eq!(arrivals.count(), 0);
        }
    }
}
