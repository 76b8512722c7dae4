//! A cursor over bytes that may be anything: each read gives a value or nothing, and never panics.

/// Reads one field after another.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (now, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(now)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn le_u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn le_u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn be_u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn be_u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn be_u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// An unsigned integer of postcard, and of RocksDB's blocks: seven bits a byte, the lowest first.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A varint that must be a length.
    pub(crate) fn length(&mut self) -> Option<usize> {
        self.varint()?.try_into().ok()
    }

    /// Postcard's byte string: varint length, bytes.
    pub(crate) fn blob(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// A vector of RFC 9420, section 2.1.2: the two highest bits of the first byte say how many bytes its
    /// length has.
    pub(crate) fn vector(&mut self) -> Option<&'a [u8]> {
        let first = self.u8()?;
        let length = match first >> 6 {
            0 => usize::from(first),
            1 => (usize::from(first & 0x3f) << 8) | usize::from(self.u8()?),
            2 => {
                let [a, b, c] = self.array()?;
                u32::from_be_bytes([first & 0x3f, a, b, c])
                    .try_into()
                    .ok()?
            }
            _ => return None,
        };
        self.take(length)
    }
}

/// Writes a vector of RFC 9420; `None` if it is too long for one.
pub(crate) fn put_vector(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let length = u32::try_from(bytes.len()).ok()?;
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend_from_slice(&(length | 0x8000_0000).to_be_bytes()),
        _ => return None,
    }
    out.extend_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_every_class_come_back() {
        for length in [0, 1, 63, 64, 16_383, 16_384, 70_000] {
            let bytes = vec![7; length];
            let mut out = Vec::new();
            put_vector(&mut out, &bytes).unwrap();
            let mut reader = Reader::new(&out);
            assert_eq!(reader.vector().unwrap().len(), length);
            assert!(reader.rest().is_empty());
            assert!(Reader::new(&out[..out.len() - 1]).vector().is_none());
        }
        assert!(Reader::new(&[0xc0; 9]).vector().is_none());
    }

    #[test]
    fn varints_end() {
        assert_eq!(Reader::new(&[0xac, 0x02]).varint(), Some(300));
        assert_eq!(Reader::new(&[0xff; 11]).varint(), None);
        assert_eq!(Reader::new(&[0x80]).varint(), None);
        assert_eq!(Reader::new(&[5, 1, 2]).blob(), None);
    }
}
