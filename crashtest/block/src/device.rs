//! The drive: a FUSE file system of files that are disks.
//!
//! A loop device sits on such a file, a file system on the loop device. Whatever the kernel tells the
//! loop device arrives here as READ, WRITE, FSYNC or FALLOCATE, past every cache: the file is opened
//! for direct IO. One disk may be recorded; the others are states that a crash left, shown as copies
//! that share all that is not written. This room must never answer before the log says so, and what
//! it does not understand it remembers as strange.
#![expect(
    clippy::disallowed_methods,
    reason = "A drive takes its time: answers come from threads of their own, by the clock."
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crashtest_replay::image::Image;
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::time::{ClockId, clock_gettime};

use crate::log::{Act, Log, Record};

/// What a recorded write takes. A flush that does not wait for a write is seen to begin before its
/// end; without this every write would have ended before anything else could begin.
const WRITE_TAKES: Duration = Duration::from_micros(200);
/// What a recorded flush takes: long enough that writes come meanwhile.
const FLUSH_TAKES: Duration = Duration::from_millis(1);
/// Requests that wait for their time; the kernel sends fewer at once.
const UNDER_WAY_MAX: usize = 4_096;
/// Strange requests that are remembered.
const STRANGE_MAX: usize = 20;
/// Names and sizes are asked for each time: files come and go.
const NO_TIME: Duration = Duration::ZERO;
/// The first inode number behind that of the directory.
const FIRST_INODE: u64 = 2;
/// Inside of one `fallocate`: the length stays, bytes are punched out or made zero.
const PUNCH_HOLE: i32 = 2;
const ZERO_RANGE: i32 = 16;

/// How often a disk was read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests to read.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
}

struct Disk {
    inode: u64,
    image: Image,
    traffic: Traffic,
    /// What it was told, if that is recorded.
    log: Option<Log>,
}

#[derive(Default)]
struct Disks {
    all: BTreeMap<String, Disk>,
    inodes: u64,
    /// Beginnings and ends so far.
    order: u64,
    strange: Vec<String>,
}

impl Disks {
    fn of(&mut self, inode: INodeNo) -> Option<&mut Disk> {
        self.all.values_mut().find(|disk| disk.inode == inode.0)
    }

    fn strange(&mut self, what: String) {
        if self.strange.len() < STRANGE_MAX {
            self.strange.push(what);
        }
    }

    /// The next place in the order, and the time.
    fn now(&mut self) -> (u64, u64) {
        self.order += 1;
        // The clock of the recorder's marks. It cannot fail where there is one at all.
        let nanos = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
            let (seconds, nanos) = (time.tv_sec() as u64, time.tv_nsec() as u64);
            seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
        });
        (self.order, nanos)
    }

    /// Notes that something begins; its number in the log of a recorded disk.
    fn begin(&mut self, inode: INodeNo, act: impl FnOnce() -> Act) -> Option<usize> {
        let (began, began_nanos) = self.now();
        let log = self.of(inode)?.log.as_mut()?;
        log.records.push(Record {
            act: act(),
            began,
            ended: u64::MAX,
            began_nanos,
            ended_nanos: u64::MAX,
        });
        Some(log.records.len() - 1)
    }

    fn end(&mut self, inode: INodeNo, number: usize) {
        let (ended, ended_nanos) = self.now();
        let log = self.of(inode).and_then(|disk| disk.log.as_mut());
        if let Some(record) = log.and_then(|log| log.records.get_mut(number)) {
            record.ended = ended;
            record.ended_nanos = ended_nanos;
        }
    }
}

/// All disks of one drive, for whoever shows and records them.
#[derive(Clone, Default)]
pub struct Shelf {
    disks: Arc<Mutex<Disks>>,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Disks> {
        // A handler that panicked has left a request without an answer, not a half-written disk.
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a disk under a name that was never used before, so that no cache knows it.
    pub fn show(&self, name: &str, image: Image) {
        let mut disks = self.lock();
        let inode = FIRST_INODE + disks.inodes;
        disks.inodes += 1;
        let disk = Disk {
            inode,
            image,
            traffic: Traffic::default(),
            log: None,
        };
        disks.all.insert(name.to_owned(), disk);
    }

    /// Shows it no more; how much it was used.
    #[must_use]
    pub fn hide(&self, name: &str) -> Option<Traffic> {
        self.lock().all.remove(name).map(|disk| disk.traffic)
    }

    /// Begins to record a disk: what is on it is durable, what comes is logged.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<()> {
        let mut disks = self.lock();
        let disk = disks.all.get_mut(name)?;
        disk.log = Some(Log {
            before: disk.image.clone(),
            records: Vec::new(),
        });
        Some(())
    }

    /// What was recorded so far.
    #[must_use]
    pub fn log(&self, name: &str) -> Option<Log> {
        self.lock().all.get(name)?.log.clone()
    }

    /// The disk as it stands.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<Image> {
        Some(self.lock().all.get(name)?.image.clone())
    }

    /// Requests that nobody understood: with any of them the log is not all that happened.
    #[must_use]
    pub fn strange(&self) -> Vec<String> {
        self.lock().strange.clone()
    }
}

struct Waiting<Answer> {
    until: Instant,
    inode: INodeNo,
    number: usize,
    answer: Answer,
}

/// A thread that answers in the order of the requests, each at its time.
struct Pace<Answer> {
    sender: SyncSender<Waiting<Answer>>,
    takes: Duration,
    _thread: JoinHandle<()>,
}

impl<Answer: Send + 'static> Pace<Answer> {
    fn new(shelf: &Shelf, takes: Duration, answer: impl Fn(Answer) + Send + 'static) -> Self {
        let (sender, receiver): (_, Receiver<Waiting<Answer>>) = sync_channel(UNDER_WAY_MAX);
        let shelf = shelf.clone();
        let thread = std::thread::spawn(move || {
            // It ends with the drive.
            for waiting in receiver {
                std::thread::sleep(waiting.until.saturating_duration_since(Instant::now()));
                // ORDER: the end is in the log before the kernel, and so anybody, can act on it.
                shelf.lock().end(waiting.inode, waiting.number);
                answer(waiting.answer);
            }
        });
        Self {
            sender,
            takes,
            _thread: thread,
        }
    }

    fn later(&self, inode: INodeNo, number: usize, answer: Answer) {
        let waiting = Waiting {
            until: Instant::now() + self.takes,
            inode,
            number,
            answer,
        };
        // An answer that nobody takes any more is an error to the kernel, given when it is dropped.
        let _ = self.sender.send(waiting);
    }
}

/// The file system.
pub struct Device {
    shelf: Shelf,
    writes: Pace<(ReplyWrite, u32)>,
    flushes: Pace<ReplyEmpty>,
}

impl Device {
    /// A file system of these disks.
    #[must_use]
    pub fn new(shelf: &Shelf) -> Self {
        Self {
            shelf: shelf.clone(),
            writes: Pace::new(shelf, WRITE_TAKES, |(reply, size): (ReplyWrite, u32)| {
                reply.written(size);
            }),
            flushes: Pace::new(shelf, FLUSH_TAKES, ReplyEmpty::ok),
        }
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, size) = if inode == INodeNo::ROOT {
            (FileType::Directory, 0)
        } else {
            let size = self.shelf.lock().of(inode)?.image.length();
            (FileType::RegularFile, size)
        };
        Some(attributes(inode, kind, size))
    }
}

fn attributes(ino: INodeNo, kind: FileType, size: u64) -> FileAttr {
    let directory = kind == FileType::Directory;
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: if directory { 0o700 } else { 0o600 },
        nlink: if directory { 2 } else { 1 },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Device {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // So that the loop device has several requests under way, as it would with a drive.
        if config.add_capabilities(InitFlags::FUSE_ASYNC_DIO).is_err() {
            self.shelf
                .lock()
                .strange("no asynchronous direct IO".to_owned());
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = {
            let disks = self.shelf.lock();
            let disk = name.to_str().and_then(|name| disks.all.get(name));
            disk.map(|disk| (INodeNo(disk.inode), disk.image.length()))
        };
        match found {
            Some((inode, size)) => {
                let attributes = attributes(inode, FileType::RegularFile, size);
                reply.entry(&NO_TIME, &attributes, Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&NO_TIME, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.attributes(inode) {
            // Owner and times are nobody's business here; another length is no drive's.
            Some(attributes) if size.is_none_or(|size| size == attributes.size) => {
                reply.attr(&NO_TIME, &attributes);
            }
            _ => {
                self.shelf
                    .lock()
                    .strange(format!("a disk's size: {size:?}"));
                reply.error(Errno::EPERM);
            }
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let direct = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(0), direct);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; size as usize];
        let image = {
            let mut disks = self.shelf.lock();
            disks.of(inode).map(|disk| {
                disk.traffic.reads += 1;
                disk.image.clone()
            })
        };
        match image {
            Some(image) => {
                let there = image.read(offset, &mut bytes);
                reply.data(bytes.get(..there).unwrap_or_default());
            }
            None => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let size = data.len() as u32;
        let number = {
            let mut disks = self.shelf.lock();
            let number = disks.begin(inode, || Act::Write {
                offset,
                bytes: data.to_vec(),
            });
            let Some(disk) = disks.of(inode) else {
                return reply.error(Errno::EIO);
            };
            if offset.saturating_add(data.len() as u64) > disk.image.length() {
                disks.strange(format!("a write of {size} bytes at {offset}"));
                return reply.error(Errno::EIO);
            }
            disk.traffic.writes += 1;
            disk.image.write(offset, data);
            number
        };
        match number {
            Some(number) => self.writes.later(inode, number, (reply, size)),
            None => reply.written(size),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A `close`, which promises nothing.
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let number = self.shelf.lock().begin(inode, || Act::Flush);
        match number {
            Some(number) => self.flushes.later(inode, number, reply),
            None => reply.ok(),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut disks = self.shelf.lock();
        let end = offset.saturating_add(length);
        let fits = disks
            .of(inode)
            .is_some_and(|disk| end <= disk.image.length());
        if mode & (PUNCH_HOLE | ZERO_RANGE) == 0 || !fits {
            disks.strange(format!(
                "fallocate of mode {mode}, {length} bytes at {offset}"
            ));
            return reply.error(Errno::EOPNOTSUPP);
        }
        let number = disks.begin(inode, || Act::Zero { offset, length });
        if let Some(disk) = disks.of(inode) {
            disk.traffic.writes += 1;
            disk.image.zero(offset, length);
        }
        // Rare and never timed: it begins and ends at once.
        if let Some(number) = number {
            disks.end(inode, number);
        }
        drop(disks);
        reply.ok();
    }
}
