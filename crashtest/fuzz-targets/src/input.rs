//! Reads choices off a fuzzer's bytes, and damages bytes as they say.
//!
//! Whatever the bytes are, every answer is within its limits, and an input that has ended says zero. So an
//! input is a short program that a fuzzer can change anywhere.

/// Most changes of one input.
const EDITS_MAX: usize = 64;

/// The bytes that are left.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn word(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    pub(crate) fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// A number below `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.word() % limit
    }

    /// A length of two bytes, then that many bytes, or what is left of them.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let wanted = self.word();
        let (taken, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Changes `bytes` as the rest of the input says; nothing is left of the input.
    pub(crate) fn edit(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..EDITS_MAX {
            if self.is_empty() {
                return;
            }
            self.edit_once(bytes);
        }
        self.0 = &[];
    }

    fn edit_once(&mut self, bytes: &mut Vec<u8>) {
        let what = self.byte() % 6;
        let at = self.below(bytes.len() + 1);
        match what {
            0 => {
                let value = self.byte();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            1 => {
                let flip = self.byte();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= flip;
                }
            }
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, self.bytes().iter().copied())),
            4 => {
                let end = (at + self.word()).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + self.word()).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.extend_from_slice(&copy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_has_ended_says_zero() {
        let mut input = Input::new(&[1]);
        assert_eq!(input.word(), 0x100);
        assert_eq!((input.byte(), input.number(), input.below(7)), (0, 0, 0));
        assert!(input.bytes().is_empty() && input.rest().is_empty() && input.is_empty());
    }

    #[test]
    fn every_edit_is_possible_and_none_reaches_beyond_the_bytes() {
        let edited = |script: &[u8]| {
            let mut bytes = b"abcd".to_vec();
            Input::new(script).edit(&mut bytes);
            bytes
        };
        assert_eq!(edited(&[]), b"abcd");
        assert_eq!(edited(&[0, 0, 1, b'x']), b"axcd");
        assert_eq!(edited(&[1, 0, 0, 0x20]), b"Abcd");
        assert_eq!(edited(&[2, 0, 1]), b"a");
        assert_eq!(edited(&[3, 0, 1, 0, 2, b'y', b'z']), b"ayzbcd");
        assert_eq!(edited(&[4, 0, 1, 0, 2]), b"ad");
        assert_eq!(edited(&[5, 0, 1, 0, 2]), b"abcdbc");
        for script in [[0xff; 3], [4, 0xff, 0xff], [5, 0, 4]] {
            assert!(edited(&script).len() <= 8);
        }
    }
}
