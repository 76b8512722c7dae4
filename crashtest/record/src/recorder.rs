//! What is recorded: the trace, its lock and its frames. No `unsafe` here.
//!
//! The lock is held over each call that changes something and over the frame that says so, so the
//! order of frames is the order of effects. It is not held while a sync runs: a sync has a frame
//! at its beginning and one at its end, and what lies between is not covered by it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crashtest_trace::{Head, Kind, PAYLOAD_BYTES_MAX, SYNC_DATA, WRITE_ZEROS};

use crate::fault::{Error, Faults, Plan, Sort};
use crate::sys;

/// The directory that is recorded: absolute, without links.
const ROOT: &str = "SECLUSO_RECORD_ROOT";
/// The file that the trace is appended to, outside of the directory.
const TRACE: &str = "SECLUSO_RECORD_TRACE";
/// The file to which the program writes what is about to leave it.
const MARKS: &str = "SECLUSO_RECORD_MARKS";
/// Which operation fails.
const FAULT: &str = "SECLUSO_RECORD_FAULT";

/// The one recorder of a process.
pub(crate) struct Recorder {
    root: Vec<u8>,
    marks: Option<Vec<u8>>,
    trace: CString,
    log: Mutex<Log>,
}

/// The trace as far as it is written.
pub(crate) struct Log {
    trace: Option<c_int>,
    process: u32,
    next: u64,
    faults: Faults,
    undo: BTreeMap<u64, Vec<Undo>>,
}

/// How a file looked before a change that no sync has covered.
struct Undo {
    frame: u64,
    length: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// The recorder, if the environment asks for one.
pub(crate) fn recorder() -> Option<&'static Recorder> {
    static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();
    RECORDER.get_or_init(Recorder::from_environment).as_ref()
}

fn bytes_of(name: &str) -> Option<Vec<u8>> {
    let value = std::env::var_os(name)?;
    let bytes = OsStr::as_bytes(&value).to_vec();
    (!bytes.is_empty()).then_some(bytes)
}

/// The trace, held by one thread.
pub(crate) struct Held<'a> {
    // ORDER: given back before signals are handled again.
    log: MutexGuard<'a, Log>,
    _masked: sys::Masked,
}

impl std::ops::Deref for Held<'_> {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.log
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Log {
        &mut self.log
    }
}

impl Recorder {
    fn from_environment() -> Option<Self> {
        let root = bytes_of(ROOT)?;
        let trace = bytes_of(TRACE).and_then(|path| CString::new(path).ok())?;
        let plan = bytes_of(FAULT).map(|text| {
            let plan = std::str::from_utf8(&text).ok().and_then(Plan::parse);
            plan.unwrap_or_else(|| sys::die("SECLUSO_RECORD_FAULT is not understood"))
        });
        if !root.starts_with(b"/") {
            sys::die("SECLUSO_RECORD_ROOT is not absolute");
        }
        Some(Self {
            root: root.strip_suffix(b"/").unwrap_or(&root).to_vec(),
            marks: bytes_of(MARKS),
            trace,
            log: Mutex::new(Log {
                trace: None,
                process: 0,
                next: 0,
                faults: Faults::new(plan),
                undo: BTreeMap::new(),
            }),
        })
    }

    /// Takes the lock, and opens the trace if this process has not yet. No signal is handled on this
    /// thread meanwhile: a handler that sends (as tokio's does) would wait here for itself.
    pub(crate) fn log(&self) -> Held<'_> {
        let masked = sys::Masked::all();
        // Nothing panics while it holds the lock; should it, each frame is whole all the same.
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let (process, _) = sys::who();
        if log.process != process {
            self.begin(&mut log, process);
        }
        Held {
            log,
            _masked: masked,
        }
    }

    /// The first frame of a process, be it new or forked.
    fn begin(&self, log: &mut Log, process: u32) {
        if log.trace.is_none() {
            log.trace = sys::open_trace(&self.trace);
        }
        if log.trace.is_none() {
            sys::die("the trace cannot be opened");
        }
        log.process = process;
        log.next = 0;
        let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        let payload: [&[u8]; 3] = [&self.root, b"\0", program.as_os_str().as_bytes()];
        log.put(Kind::Start, 0, [0; 3], &payload);
    }

    /// The part of an absolute path below the directory; empty for the directory itself.
    pub(crate) fn relative<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(self.root.as_slice())?;
        if rest.is_empty() {
            return Some(rest);
        }
        rest.strip_prefix(b"/")
    }

    /// Whether this is the file of marks.
    pub(crate) fn is_marks(&self, path: &[u8]) -> bool {
        self.marks.as_deref() == Some(path)
    }

    /// Where a name lies, relative to the directory; `None` if it is not beneath it. Links in the
    /// directories before the name are followed, the name itself is not.
    pub(crate) fn place(&self, dir: c_int, path: &CStr) -> Option<Vec<u8>> {
        let mut bytes = path.to_bytes();
        while bytes.len() > 1
            && let Some(shorter) = bytes.strip_suffix(b"/")
        {
            bytes = shorter;
        }
        let cut = bytes.iter().rposition(|byte| *byte == b'/');
        let (parent, name): (&[u8], &[u8]) = match cut {
            None => (b".", bytes),
            Some(0) => (b"/", bytes.get(1..)?),
            Some(cut) => (bytes.get(..cut)?, bytes.get(cut + 1..)?),
        };
        let parent = sys::directory_path(dir, &CString::new(parent).ok()?)?;
        let parent = self.relative(&parent)?;
        let mut place = parent.to_vec();
        if !place.is_empty() {
            place.push(b'/');
        }
        place.extend_from_slice(name);
        Some(place)
    }
}

impl Log {
    /// Appends a frame; its number.
    pub(crate) fn put(
        &mut self,
        kind: Kind,
        flags: u8,
        numbers: [u64; 3],
        payload: &[&[u8]],
    ) -> u64 {
        let seq = self.next;
        self.next += 1;
        let (process, thread) = sys::who();
        let [file, a, b] = numbers;
        let head = Head {
            kind,
            flags,
            seq,
            nanos: sys::nanos(),
            process,
            thread,
            file,
            a,
            b,
        };
        if payload.iter().map(|part| part.len()).sum::<usize>() > PAYLOAD_BYTES_MAX {
            sys::die("a write is longer than a frame");
        }
        let header = head.encode(payload);
        let mut parts: Vec<&[u8]> = vec![&header];
        parts.extend(payload.iter().filter(|part| !part.is_empty()));
        if !self.trace.is_some_and(|trace| sys::append(trace, &parts)) {
            sys::die("the trace cannot be written");
        }
        seq
    }

    /// Counts an operation that needs no new space. If it is to fail, that is recorded first.
    pub(crate) fn fault(&mut self, sort: Sort) -> Option<Error> {
        self.fault_of(sort, false)
    }

    /// Counts an operation. If it is to fail, that is recorded first.
    pub(crate) fn fault_of(&mut self, sort: Sort, needs_space: bool) -> Option<Error> {
        let error = self.faults.next(sort, needs_space)?;
        let what = format!("{sort:?} {error:?}");
        self.put(Kind::Fault, 0, [0; 3], &[what.as_bytes()]);
        (error != Error::Nothing).then_some(error)
    }

    /// Notes that `length` bytes of `parts` were written at `offset`.
    pub(crate) fn wrote(&mut self, inode: u64, offset: u64, length: usize, parts: &[&[u8]]) {
        let mut left = length;
        let mut payload: Vec<&[u8]> = Vec::with_capacity(parts.len());
        for part in parts {
            let taken = part.len().min(left);
            payload.extend(part.get(..taken));
            left -= taken;
        }
        let numbers = [inode, offset, length as u64];
        let zeros = payload
            .iter()
            .all(|part| part.iter().all(|byte| *byte == 0));
        if zeros {
            self.put(Kind::Write, WRITE_ZEROS, numbers, &[]);
        } else {
            self.put(Kind::Write, 0, numbers, &payload);
        }
    }

    /// The program's own words about what is about to leave it.
    pub(crate) fn mark(&mut self, parts: &[&[u8]]) {
        self.put(Kind::Mark, 0, [0; 3], parts);
    }

    /// A write that is a sync by the flags of its descriptor.
    pub(crate) fn synced(&mut self, inode: u64) {
        let begin = self.put(Kind::SyncBegin, SYNC_DATA, [inode, 0, 0], &[]);
        self.put(Kind::SyncEnd, 0, [inode, begin, 0], &[]);
    }

    /// Keeps what a change of `fd` is about to replace, if a sync may have to lose it.
    pub(crate) fn remember(&mut self, fd: c_int, inode: u64, offset: u64, length: u64) {
        if !self.faults.loses() {
            return;
        }
        let Some(facts) = sys::facts(fd) else { return };
        let bytes = usize::try_from(length.min(facts.length.saturating_sub(offset)));
        let Some(bytes) = bytes
            .ok()
            .and_then(|length| sys::with_reopened(fd, |fd| sys::read_at(fd, offset, length)))
        else {
            sys::die("what a write replaces cannot be read");
        };
        self.undo.entry(inode).or_default().push(Undo {
            frame: self.next,
            length: facts.length,
            offset,
            bytes,
        });
    }

    /// A sync that began with this frame covered all changes before it.
    pub(crate) fn forget(&mut self, inode: u64, begin: u64) {
        if let Some(undo) = self.undo.get_mut(&inode) {
            undo.retain(|undo| undo.frame > begin);
        }
    }

    /// Puts back everything of a file that no sync has covered, newest first.
    pub(crate) fn lose(&mut self, fd: c_int, inode: u64) {
        for undo in self
            .undo
            .remove(&inode)
            .unwrap_or_default()
            .into_iter()
            .rev()
        {
            let done = sys::with_reopened(fd, |fd| {
                let done = undo.bytes.is_empty() || sys::write_at(fd, undo.offset, &undo.bytes);
                (done && sys::set_length(fd, undo.length)).then_some(())
            });
            if done.is_none() {
                sys::die("a write cannot be taken back");
            }
            if !undo.bytes.is_empty() {
                self.wrote(inode, undo.offset, undo.bytes.len(), &[&undo.bytes]);
            }
            self.put(Kind::SetLen, 0, [inode, undo.length, 0], &[]);
        }
    }
}
