//! Reading fields and child boxes out of a box that is in memory.
//!
//! It must never read past the box it was given, and never recurse: the depth is that of the code.

use std::fmt;

use super::ClipError;

/// A box type: four characters (ISO/IEC 14496-12, 4.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    /// Bytes that a terminal could misunderstand are shown as dots.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            let shown = if byte.is_ascii_graphic() || byte == b' ' {
                char::from(byte)
            } else {
                '.'
            };
            write!(f, "{shown}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FourCc({self})")
    }
}

/// The rest of a box's body.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    inside: FourCc,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(inside: FourCc, body: &'a [u8]) -> Self {
        Self { inside, rest: body }
    }

    pub(super) fn inside(&self) -> FourCc {
        self.inside
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ClipError> {
        let (found, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(self.malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*found)
    }

    pub(super) fn skip(&mut self, bytes: usize) -> Result<(), ClipError> {
        self.rest = self
            .rest
            .get(bytes..)
            .ok_or(self.malformed("it ends too early"))?;
        Ok(())
    }

    pub(super) fn u16(&mut self) -> Result<u16, ClipError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ClipError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, ClipError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ClipError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Version and flags of a full box (14496-12, 4.2).
    pub(super) fn version_and_flags(&mut self) -> Result<(u8, u32), ClipError> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00FF_FFFF))
    }

    /// An entry count, checked against the bytes that are there: `count * entry_bytes` fit.
    pub(super) fn entry_count(&mut self, entry_bytes: usize) -> Result<usize, ClipError> {
        let count = self.u32()? as usize;
        if count > self.rest.len() / entry_bytes {
            return Err(self.malformed("it promises more entries than it holds"));
        }
        Ok(count)
    }

    /// The next child box, `None` at the end. Fewer bytes than a header at the end are padding,
    /// which some writers leave.
    pub(super) fn child(&mut self) -> Result<Option<Fields<'a>>, ClipError> {
        let Some((&[a, b, c, d, kind @ ..], after)) = self.rest.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let inside = FourCc(kind);
        let whole = self.rest.len();
        let (header_bytes, size) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (8, whole),
            1 => {
                let (size, _) = after
                    .split_first_chunk::<8>()
                    .ok_or(ClipError::malformed(inside, "it ends too early"))?;
                (
                    16,
                    usize::try_from(u64::from_be_bytes(*size)).unwrap_or(usize::MAX),
                )
            }
            size => (8, size as usize),
        };
        let body = self
            .rest
            .get(header_bytes..size)
            .ok_or(ClipError::malformed(inside, "its size is impossible"))?;
        self.rest = self.rest.get(size..).unwrap_or_default();
        Ok(Some(Self { inside, rest: body }))
    }

    /// The first child of this type. Does not move on.
    pub(super) fn find(mut self, kind: &[u8; 4]) -> Result<Option<Fields<'a>>, ClipError> {
        while let Some(child) = self.child()? {
            if child.inside.0 == *kind {
                return Ok(Some(child));
            }
        }
        Ok(None)
    }

    /// The first child of this type, which must be there.
    pub(super) fn need(self, kind: &[u8; 4]) -> Result<Fields<'a>, ClipError> {
        let inside = self.inside;
        self.find(kind)?.ok_or(ClipError::BoxMissing {
            missing: FourCc(*kind),
            inside: Some(inside),
        })
    }

    pub(super) fn malformed(&self, what: &'static str) -> ClipError {
        ClipError::malformed(self.inside, what)
    }
}
