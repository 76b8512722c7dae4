//! From bytes to events. Whatever the bytes are, the answer is events or an error with a place.

use std::sync::Arc;

use crate::{
    ALLOCATE_KEEP_SIZE, ALLOCATE_PUNCH_HOLE, CRC_AT, HEADER_BYTES, Kind, MAGIC, OPEN_CREATED,
    OPEN_DIRECTORY, OPEN_WRITABLE, PAYLOAD_BYTES_MAX, SYNC_DATA, WRITE_ZEROS,
};

/// One frame, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The process.
    pub process: u32,
    /// The thread.
    pub thread: u32,
    /// Number within the process, from 0.
    pub seq: u64,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub nanos: u64,
    /// What happened.
    pub event: Event,
}

/// The bytes of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// So many zeros.
    Zeros(u64),
    /// These.
    Bytes(Arc<[u8]>),
}

impl Content {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Zeros(length) => *length,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a frame says. Paths are relative to the recorded directory; the directory itself is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "The fields are what the calls of the same name take."
)]
pub enum Event {
    /// The process begins to be recorded.
    Start { root: String, program: String },
    /// A file or directory was opened.
    Open {
        file: u64,
        path: String,
        created: bool,
        directory: bool,
        writable: bool,
    },
    /// Bytes were written.
    Write {
        file: u64,
        offset: u64,
        content: Content,
    },
    /// The length was set.
    SetLen { file: u64, length: u64 },
    /// Space was allocated, or punched out.
    Allocate {
        file: u64,
        offset: u64,
        length: u64,
        keep_size: bool,
        punch_hole: bool,
    },
    /// A name was moved, replacing what stood at `to`.
    Rename { from: String, to: String },
    /// A file got another name.
    Link { file: u64, path: String },
    /// A name was removed.
    Unlink { path: String },
    /// A directory was made.
    MakeDir { file: u64, path: String },
    /// A directory was removed.
    RemoveDir { path: String },
    /// A sync was called: it covers what came before this frame.
    SyncBegin { file: u64, data_only: bool },
    /// The sync whose beginning has the number `begin` returned.
    SyncEnd { file: u64, begin: u64, errno: u32 },
    /// `sync_file_range`: never a barrier.
    RangeSync { file: u64, offset: u64, length: u64 },
    /// Something is about to leave the process; the text is the process's own.
    Mark { text: String },
    /// So many bytes with this CRC-32 are about to be sent.
    Send { length: u64, crc: u32 },
    /// A shared writable mapping: its stores cannot be seen.
    Mapped { file: u64, offset: u64, length: u64 },
    /// An error was injected.
    Fault { what: String },
}

/// Why a trace cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// The last frame is not whole: the process was killed while it was written.
    #[error("the trace ends inside the frame at byte {at}; what comes before it is good")]
    CutOff {
        /// Where that frame begins.
        at: u64,
    },
    /// Not a trace, or a damaged one.
    #[error("no frame of a trace at byte {at}: {what}; record again")]
    Malformed {
        /// Where the frame begins.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// All frames of a trace, up to its end or its first error.
#[must_use]
pub fn read(bytes: &[u8]) -> (Vec<Record>, Option<TraceError>) {
    let mut records = Vec::new();
    let mut rest = bytes;
    loop {
        let at = (bytes.len() - rest.len()) as u64;
        match frame(rest, at) {
            Ok(Some((record, behind))) => {
                records.push(record);
                rest = behind;
            }
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

/// The first frame, and what lies behind it.
fn frame(bytes: &[u8], at: u64) -> Result<Option<(Record, &[u8])>, TraceError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let malformed = |what| TraceError::Malformed { at, what };
    if !bytes.iter().zip(&MAGIC).all(|(is, must)| is == must) {
        return Err(malformed("its first bytes are others"));
    }
    let Some((header, behind)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(TraceError::CutOff { at });
    };
    let fields = Fields(header);
    let length = fields.u32(8) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return Err(malformed("its payload is longer than any"));
    }
    let Some((payload, behind)) = behind.split_at_checked(length) else {
        return Err(TraceError::CutOff { at });
    };
    let mut blank = *header;
    for byte in blank.iter_mut().skip(CRC_AT).take(4) {
        *byte = 0;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&blank);
    crc.update(payload);
    if crc.finalize() != fields.u32(CRC_AT) {
        return Err(malformed("its checksum is wrong"));
    }
    let kind = Kind::of(fields.u8(4)).ok_or(malformed("its kind is unknown"))?;
    let event = event(kind, &fields, payload).ok_or(malformed("its payload has another shape"))?;
    let record = Record {
        process: fields.u32(32),
        thread: fields.u32(36),
        seq: fields.u64(16),
        nanos: fields.u64(24),
        event,
    };
    Ok(Some((record, behind)))
}

/// The header's numbers.
struct Fields<'a>(&'a [u8; HEADER_BYTES]);

impl Fields<'_> {
    fn u8(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    fn u32(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&self, at: usize) -> u64 {
        let bytes = self.0.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

fn event(kind: Kind, fields: &Fields<'_>, payload: &[u8]) -> Option<Event> {
    let (flags, file) = (fields.u8(5), fields.u64(40));
    let (a, b) = (fields.u64(48), fields.u64(56));
    Some(match kind {
        Kind::Start => {
            let (root, program) = two(payload)?;
            Event::Start { root, program }
        }
        Kind::Open => Event::Open {
            file,
            path: text(payload)?,
            created: flags & OPEN_CREATED != 0,
            directory: flags & OPEN_DIRECTORY != 0,
            writable: flags & OPEN_WRITABLE != 0,
        },
        Kind::Write => {
            let content = if flags & WRITE_ZEROS == 0 {
                Content::Bytes(Arc::from(payload))
            } else {
                Content::Zeros(b)
            };
            // An offset and a length that a file cannot have would overflow whoever adds them.
            a.checked_add(content.len())
                .filter(|end| *end <= i64::MAX as u64)?;
            Event::Write {
                file,
                offset: a,
                content,
            }
        }
        Kind::SetLen => Event::SetLen { file, length: a },
        Kind::Allocate => {
            a.checked_add(b).filter(|end| *end <= i64::MAX as u64)?;
            Event::Allocate {
                file,
                offset: a,
                length: b,
                keep_size: flags & ALLOCATE_KEEP_SIZE != 0,
                punch_hole: flags & ALLOCATE_PUNCH_HOLE != 0,
            }
        }
        Kind::Rename => {
            let (from, to) = two(payload)?;
            Event::Rename { from, to }
        }
        Kind::Link => Event::Link {
            file,
            path: text(payload)?,
        },
        Kind::Unlink => Event::Unlink {
            path: text(payload)?,
        },
        Kind::MakeDir => Event::MakeDir {
            file,
            path: text(payload)?,
        },
        Kind::RemoveDir => Event::RemoveDir {
            path: text(payload)?,
        },
        Kind::SyncBegin => Event::SyncBegin {
            file,
            data_only: flags & SYNC_DATA != 0,
        },
        Kind::SyncEnd => Event::SyncEnd {
            file,
            begin: a,
            errno: u32::try_from(b).ok()?,
        },
        Kind::RangeSync => Event::RangeSync {
            file,
            offset: a,
            length: b,
        },
        Kind::Mark => Event::Mark {
            text: text(payload)?,
        },
        Kind::Send => Event::Send {
            length: a,
            crc: u32::try_from(b).ok()?,
        },
        Kind::Mapped => Event::Mapped {
            file,
            offset: a,
            length: b,
        },
        Kind::Fault => Event::Fault {
            what: text(payload)?,
        },
    })
}

fn text(bytes: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(bytes).ok()?.to_owned())
}

/// Two texts with a zero byte between them.
fn two(bytes: &[u8]) -> Option<(String, String)> {
    let place = bytes.iter().position(|byte| *byte == 0)?;
    Some((text(bytes.get(..place)?)?, text(bytes.get(place + 1..)?)?))
}
