//! The trace of a recorded process: its byte layout, an encoder and a reader.
//!
//! The recorder writes what this crate encodes; everything that replays or compares reads with
//! it. The layout is described in `crashtest/record/README.md`. This room does no IO and never
//! panics on bytes, whatever they are.
//!
//! The public interface is: [`Head`] (what the recorder fills in), [`Record`] and [`Event`] (what
//! a reader gets), [`read`], and [`TraceError`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![warn(missing_docs)]

mod reader;

pub use reader::{Content, Event, Record, TraceError, read};

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 64;
/// Longest payload of a frame, in bytes; nothing that we record writes more in one call.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;
/// The first four bytes of each frame; the last of them is the version of the layout.
pub const MAGIC: [u8; 4] = *b"SRT\x01";
/// Where the checksum stands in the header.
pub(crate) const CRC_AT: usize = 12;

/// What a frame is about. The numbers are those of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A process begins to be recorded.
    Start = 1,
    /// A file or directory was opened, and perhaps made.
    Open = 2,
    /// Bytes were written.
    Write = 3,
    /// A file's length was set.
    SetLen = 4,
    /// Space was allocated or punched out (`fallocate`).
    Allocate = 5,
    /// A name was moved.
    Rename = 6,
    /// A file got another name.
    Link = 7,
    /// A name was removed.
    Unlink = 8,
    /// A directory was made.
    MakeDir = 9,
    /// A directory was removed.
    RemoveDir = 10,
    /// A sync was called.
    SyncBegin = 11,
    /// It returned.
    SyncEnd = 12,
    /// `sync_file_range`: never a barrier.
    RangeSync = 13,
    /// The process says that something is about to leave it.
    Mark = 14,
    /// A datagram or message is about to be sent.
    Send = 15,
    /// A file was mapped shared and writable: its stores cannot be seen.
    Mapped = 16,
    /// An error was injected.
    Fault = 17,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Start,
        Self::Open,
        Self::Write,
        Self::SetLen,
        Self::Allocate,
        Self::Rename,
        Self::Link,
        Self::Unlink,
        Self::MakeDir,
        Self::RemoveDir,
        Self::SyncBegin,
        Self::SyncEnd,
        Self::RangeSync,
        Self::Mark,
        Self::Send,
        Self::Mapped,
        Self::Fault,
    ];

    pub(crate) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// [`Kind::Open`]: the file did not exist before.
pub const OPEN_CREATED: u8 = 1;
/// [`Kind::Open`]: it is a directory.
pub const OPEN_DIRECTORY: u8 = 2;
/// [`Kind::Open`]: it may be written to.
pub const OPEN_WRITABLE: u8 = 4;
/// [`Kind::Write`]: all bytes are zero, and the payload is left out.
pub const WRITE_ZEROS: u8 = 1;
/// [`Kind::SyncBegin`]: `fdatasync`, not `fsync`.
pub const SYNC_DATA: u8 = 1;
/// [`Kind::Allocate`]: the length stays (the flag of `fallocate`).
pub const ALLOCATE_KEEP_SIZE: u8 = 1;
/// [`Kind::Allocate`]: bytes become zero (the flag of `fallocate`).
pub const ALLOCATE_PUNCH_HOLE: u8 = 2;

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is about.
    pub kind: Kind,
    /// Depends on the kind.
    pub flags: u8,
    /// The number of the frame within its process, from 0.
    pub seq: u64,
    /// `CLOCK_MONOTONIC`, in nanoseconds: one clock for all processes of a machine.
    pub nanos: u64,
    /// The process.
    pub process: u32,
    /// The thread.
    pub thread: u32,
    /// The inode that it is about, or 0.
    pub file: u64,
    /// Depends on the kind: an offset, a length, flags, the number of another frame.
    pub a: u64,
    /// Depends on the kind: a length or an error number.
    pub b: u64,
}

impl Head {
    /// The 64 bytes before a payload that is given in parts.
    #[must_use]
    pub fn encode(&self, payload: &[&[u8]]) -> [u8; HEADER_BYTES] {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        // A payload above the limit is refused by the reader, not cut here.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let mut fields = Vec::with_capacity(HEADER_BYTES);
        fields.extend_from_slice(&MAGIC);
        fields.extend_from_slice(&[self.kind as u8, self.flags, 0, 0]);
        fields.extend_from_slice(&length.to_le_bytes());
        fields.extend_from_slice(&[0; 4]);
        for number in [self.seq, self.nanos] {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.process, self.thread] {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.file, self.a, self.b] {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        let mut out = [0; HEADER_BYTES];
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out);
        for part in payload {
            crc.update(part);
        }
        let crc = crc.finalize().to_le_bytes();
        for (to, from) in out.iter_mut().skip(CRC_AT).zip(crc) {
            *to = from;
        }
        out
    }
}

#[cfg(test)]
mod tests;
