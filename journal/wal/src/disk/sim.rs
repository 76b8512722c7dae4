//! A disk in memory that loses power: it knows what a sync has made durable and what not.
//!
//! `crash_clone` gives the disk that a machine could find after a power cut *now*, while the
//! original goes on. Errors can be injected at any operation. It must never be kinder than ext4:
//! an un-synced write may be lost, kept, torn or replaced by garbage, sector by sector.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, LockGuard, OpenMode, PendingSync};
use crate::{Dice, SeededDice};

mod image;
use image::Image;

/// What a crash does to writes and directory entries that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPolicy {
    /// The process dies, the machine lives: the page cache still shows everything, and what was
    /// not synced is still not synced.
    ProcessKill,
    /// Every un-synced write is lost.
    LoseAll,
    /// Every un-synced write made it.
    KeepAll,
    /// Each un-synced write and directory operation is kept or lost by a coin.
    Subset,
    /// A random prefix of all un-synced operations is kept.
    Prefix,
    /// Each sector of this size of each un-synced write is kept or lost by a coin.
    Torn {
        /// 512 or 4096.
        sector_bytes: u64,
    },
    /// Like `Torn` with 4096, but a lost sector is filled with garbage.
    Garbage,
}

impl CrashPolicy {
    /// All the policies, for sweeps.
    pub const ALL: [CrashPolicy; 8] = [
        CrashPolicy::ProcessKill,
        CrashPolicy::LoseAll,
        CrashPolicy::KeepAll,
        CrashPolicy::Subset,
        CrashPolicy::Prefix,
        CrashPolicy::Torn { sector_bytes: 512 },
        CrashPolicy::Torn { sector_bytes: 4096 },
        CrashPolicy::Garbage,
    ];
}

/// An error to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with EIO; a sync that fails so leaves bytes that read back and that no
    /// later sync covers.
    Eio,
    /// The operation fails with ENOSPC.
    Enospc,
    /// Half of a write happens, then it fails with EIO; other operations fail with EIO.
    ShortWrite,
    /// This and every later operation fails: the process is as good as dead.
    Dead,
}

/// One recorded operation that changes durable state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOp {
    /// `write`, `sync`, `set_len`, `create`, `remove`, `rename`, `mkdir` or `sync_dir`.
    pub kind: &'static str,
    /// The path it was given.
    pub path: String,
    /// Offset, for a write.
    pub offset: u64,
    /// Bytes, for a write; the new length for `set_len`.
    pub bytes: u64,
}

type Inode = u64;

#[derive(Clone)]
enum Pending {
    Write {
        inode: Inode,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    SetLen {
        inode: Inode,
        len: u64,
    },
    Link {
        path: String,
        inode: Inode,
    },
    Unlink {
        path: String,
    },
    /// Whole or not at all, as on every journaling file system.
    Rename {
        inode: Inode,
        from: String,
        to: String,
    },
}

#[derive(Clone, Default)]
struct State {
    next_inode: Inode,
    live: BTreeMap<Inode, Image>,
    durable: BTreeMap<Inode, Image>,
    names: BTreeMap<String, Inode>,
    durable_names: BTreeMap<String, Inode>,
    dirs: Vec<String>,
    /// Changes that the page cache has and the disk perhaps not, oldest first.
    pending: Vec<Pending>,
    ops: u64,
    faults: BTreeMap<u64, Fault>,
    fault_from: Option<(u64, Fault)>,
    /// Syncs until the process dies in one, this one included.
    dead_at_sync: Option<u64>,
    dead: bool,
    capacity: Option<u64>,
    late_writes: bool,
    /// Ranges that answer EIO, with how often they still do.
    unreadable: Vec<(Inode, std::ops::Range<u64>, u32)>,
    trace: Option<Vec<TraceOp>>,
    snapshots: Option<Vec<State>>,
    mark: u64,
    boot: u64,
    written: u64,
    syncs: u64,
}

/// A disk in memory with page-cache and power-cut semantics. Clones share one disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    locks: Arc<Mutex<Vec<String>>>,
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl SimDisk {
    /// An empty disk without a size limit.
    pub fn new() -> Self {
        SimDisk::from_state(State {
            next_inode: 1,
            boot: 1,
            dirs: vec![String::new()],
            ..State::default()
        })
    }

    fn from_state(state: State) -> Self {
        SimDisk {
            state: Arc::new(Mutex::new(state)),
            locks: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how many bytes of files fit, in whole 4 KiB pages; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Bytes that the files occupy.
    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    /// Operations that changed or synced anything so far; the next one has this index.
    pub fn op_count(&self) -> u64 {
        self.state().ops
    }

    /// Bytes written and syncs done so far.
    pub fn totals(&self) -> (u64, u64) {
        let state = self.state();
        (state.written, state.syncs)
    }

    /// Makes the operation with this index fail.
    pub fn inject(&self, op_index: u64, fault: Fault) {
        self.state().faults.insert(op_index, fault);
    }

    /// From now on a write that was started happens when it is waited for, not at once.
    pub fn delay_started_writes(&self) {
        self.state().late_writes = true;
    }

    /// Makes every operation from this index on fail.
    pub fn inject_from(&self, op_index: u64, fault: Fault) {
        self.state().fault_from = Some((op_index, fault));
    }

    /// The process dies in its n-th sync from now on, counted from 1: what that sync was to cover is
    /// written and not durable. Few operations are syncs, and a death between two of them leaves
    /// nothing that a death in one does not.
    pub fn die_at_sync(&self, n: u64) {
        self.state().dead_at_sync = Some(n);
    }

    /// From now on nobody can tell one boot of this machine from another.
    pub fn hide_boot(&self) {
        self.state().boot = 0;
    }

    /// Takes all injected errors back.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.fault_from = None;
        state.dead_at_sync = None;
        state.dead = false;
    }

    /// Whether a [`Fault::Dead`] has struck.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Starts recording operations.
    pub fn record_trace(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// The operations recorded so far.
    pub fn trace(&self) -> Vec<TraceOp> {
        self.state().trace.clone().unwrap_or_default()
    }

    /// Starts keeping a snapshot before every operation, for crashes at every one of them.
    pub fn record_snapshots(&self) {
        self.state().snapshots = Some(Vec::new());
    }

    /// Remembers how far the outside has been told; a snapshot carries it.
    pub fn set_mark(&self, mark: u64) {
        self.state().mark = mark;
    }

    /// The mark set last.
    pub fn mark(&self) -> u64 {
        self.state().mark
    }

    /// One disk for each recorded operation, as it was just before it, and the present one.
    pub fn snapshots(&self) -> Vec<SimDisk> {
        let state = self.state();
        let mut now = state.clone();
        now.snapshots = None;
        let past = state.snapshots.clone().unwrap_or_default();
        past.into_iter()
            .chain([now])
            .map(SimDisk::from_state)
            .collect()
    }

    /// The disk that a crash now could leave. It has no locks, faults or recordings.
    pub fn crash_clone(&self, policy: CrashPolicy, seed: u64) -> SimDisk {
        let state = self.state();
        let mut after = State {
            next_inode: state.next_inode,
            dirs: state.dirs.clone(),
            capacity: state.capacity,
            mark: state.mark,
            boot: state.boot,
            ..State::default()
        };
        if policy == CrashPolicy::ProcessKill {
            after.live = state.live.clone();
            after.durable = state.durable.clone();
            after.names = state.names.clone();
            after.durable_names = state.durable_names.clone();
            after.pending = state.pending.clone();
            return SimDisk::from_state(after);
        }
        // Every other crash takes the page cache with it: the machine starts again.
        after.boot += u64::from(after.boot != 0);
        let mut dice = SeededDice(seed);
        after.durable = state.durable.clone();
        after.durable_names = state.durable_names.clone();
        let keep = match policy {
            CrashPolicy::Prefix => dice.below(state.pending.len() as u64 + 1) as usize,
            _ => state.pending.len(),
        };
        for change in state.pending.iter().take(keep) {
            let whole = match policy {
                CrashPolicy::LoseAll => false,
                CrashPolicy::Subset => dice.below(2) == 0,
                _ => true,
            };
            match (change, policy) {
                (
                    Pending::Write {
                        inode,
                        offset,
                        bytes,
                    },
                    CrashPolicy::Torn { sector_bytes },
                ) => {
                    after.tear(*inode, *offset, bytes, sector_bytes, None, &mut dice);
                }
                (
                    Pending::Write {
                        inode,
                        offset,
                        bytes,
                    },
                    CrashPolicy::Garbage,
                ) => {
                    let mut junk = SeededDice(dice.next_u64());
                    after.tear(*inode, *offset, bytes, 4096, Some(&mut junk), &mut dice);
                }
                (change, CrashPolicy::Torn { .. } | CrashPolicy::Garbage) if dice.below(2) == 0 => {
                    after.settle(change);
                }
                (_, CrashPolicy::Torn { .. } | CrashPolicy::Garbage) => {}
                (change, _) if whole => after.settle(change),
                _ => {}
            }
        }
        after.live = after.durable.clone();
        after.names = after.durable_names.clone();
        SimDisk::from_state(after)
    }

    /// Overwrites bytes of a file behind everybody's back, as rot would. Durable at once.
    pub fn damage(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(path)?;
        for images in [true, false] {
            let map = if images {
                &mut state.live
            } else {
                &mut state.durable
            };
            map.entry(inode).or_default().write(offset, bytes);
        }
        Ok(())
    }

    /// Makes reads that touch these bytes of a file fail with EIO, `times` times.
    pub fn refuse_reads(
        &self,
        path: &str,
        bytes: std::ops::Range<u64>,
        times: u32,
    ) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(path)?;
        state.unreadable.push((inode, bytes, times));
        Ok(())
    }

    /// The whole content of a file as a program would read it.
    pub fn contents(&self, path: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let inode = state.inode(path)?;
        Ok(state
            .live
            .get(&inode)
            .map(Image::to_vec)
            .unwrap_or_default())
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }
}

impl State {
    fn inode(&self, path: &str) -> io::Result<Inode> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|inode| self.live.get(inode))
            .map(Image::pages_bytes)
            .sum()
    }

    /// Counts an operation, records it and decides whether it fails.
    fn begin(&mut self, kind: &'static str, path: &str, offset: u64, bytes: u64) -> Option<Fault> {
        if let Some(mut snapshots) = self.snapshots.take() {
            let trace = self.trace.take();
            snapshots.push(self.clone());
            self.trace = trace;
            self.snapshots = Some(snapshots);
        }
        let index = self.ops;
        self.ops += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(TraceOp {
                kind,
                path: path.to_owned(),
                offset,
                bytes,
            });
        }
        if self.dead {
            return Some(Fault::Dead);
        }
        let ranged = self
            .fault_from
            .filter(|(from, _)| index >= *from)
            .map(|(_, fault)| fault);
        let mut fault = self.faults.get(&index).copied().or(ranged);
        if kind.starts_with("sync")
            && let Some(left) = &mut self.dead_at_sync
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                fault = Some(Fault::Dead);
            }
        }
        if fault == Some(Fault::Dead) {
            self.dead = true;
        }
        fault
    }

    fn settle(&mut self, change: &Pending) {
        match change {
            Pending::Write {
                inode,
                offset,
                bytes,
            } => {
                self.durable
                    .entry(*inode)
                    .or_default()
                    .write(*offset, bytes);
            }
            Pending::SetLen { inode, len } => {
                self.durable.entry(*inode).or_default().set_len(*len);
            }
            Pending::Link { path, inode } => {
                self.durable_names.insert(path.clone(), *inode);
                self.durable.entry(*inode).or_default();
            }
            Pending::Unlink { path } => {
                self.durable_names.remove(path);
            }
            Pending::Rename { inode, to, .. } => {
                // Whatever became of renames before it: a file has one name.
                self.durable_names.retain(|_, named| named != inode);
                self.durable_names.insert(to.clone(), *inode);
                self.durable.entry(*inode).or_default();
            }
        }
    }

    fn tear(
        &mut self,
        inode: Inode,
        offset: u64,
        bytes: &[u8],
        sector: u64,
        mut junk: Option<&mut SeededDice>,
        dice: &mut SeededDice,
    ) {
        let image = self.durable.entry(inode).or_default();
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = (sector - at % sector) as usize;
            let (now, later) = rest.split_at(room.min(rest.len()));
            if dice.below(2) == 0 {
                image.write(at, now);
            } else if let Some(junk) = junk.as_deref_mut().filter(|_| dice.below(2) == 0) {
                let mut garbage = vec![0; now.len()];
                junk.fill(&mut garbage);
                image.write(at, &garbage);
            }
            at += now.len() as u64;
            rest = later;
        }
    }

    fn settle_where(&mut self, belongs: impl Fn(&Pending) -> bool) {
        let (now, later): (Vec<Pending>, Vec<Pending>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(belongs);
        self.pending = later;
        for change in &now {
            self.settle(change);
        }
    }

    /// A sync that failed: of what it was to cover, every other change had reached the disk before,
    /// the rest never will. The page cache goes on showing all of it.
    fn abandon_where(&mut self, belongs: impl Fn(&Pending) -> bool) {
        let (gone, later): (Vec<Pending>, Vec<Pending>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(belongs);
        self.pending = later;
        for change in gone.iter().skip(1).step_by(2) {
            self.settle(change);
        }
    }
}

fn of_inode(change: &Pending, wanted: Inode) -> bool {
    match change {
        Pending::Write { inode, .. } | Pending::SetLen { inode, .. } => *inode == wanted,
        Pending::Link { .. } | Pending::Unlink { .. } | Pending::Rename { .. } => false,
    }
}

fn of_dir(change: &Pending, dir: &str) -> bool {
    match change {
        Pending::Link { path, .. } | Pending::Unlink { path } => parent(path) == dir,
        Pending::Rename { from, to, .. } => parent(from) == dir || parent(to) == dir,
        Pending::Write { .. } | Pending::SetLen { .. } => false,
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Enospc => enospc(),
        Fault::Eio | Fault::ShortWrite | Fault::Dead => eio(),
    }
}

impl Disk for SimDisk {
    fn boot(&self) -> u64 {
        self.state().boot
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.dirs.iter().any(|known| known == dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names = state.names.keys().filter(|path| parent(path) == dir);
        Ok(names
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            .collect())
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        if state.dead {
            return Err(eio());
        }
        let inode = match (state.names.get(path).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => inode,
            (None, OpenMode::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                if !state.dirs.iter().any(|known| known == parent(path)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                if let Some(fault) = state.begin("create", path, 0, 0) {
                    return Err(error_of(fault));
                }
                let inode = state.next_inode;
                state.next_inode += 1;
                state.names.insert(path.to_owned(), inode);
                state.live.insert(inode, Image::default());
                let change = Pending::Link {
                    path: path.to_owned(),
                    inode,
                };
                state.pending.push(change);
                inode
            }
        };
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
            path: path.to_owned(),
        }))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.inode(path)?;
        if let Some(fault) = state.begin("remove", path, 0, 0) {
            return Err(error_of(fault));
        }
        state.names.remove(path);
        let change = Pending::Unlink {
            path: path.to_owned(),
        };
        state.pending.push(change);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(from)?;
        if let Some(fault) = state.begin("rename", from, 0, 0) {
            return Err(error_of(fault));
        }
        state.names.remove(from);
        state.names.insert(to.to_owned(), inode);
        state.pending.push(Pending::Rename {
            inode,
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        // Directories are durable at once: losing a whole directory is the owner's first start.
        let mut state = self.state();
        if state.dirs.iter().any(|known| known == path) {
            return Ok(());
        }
        if let Some(fault) = state.begin("mkdir", path, 0, 0) {
            return Err(error_of(fault));
        }
        state.dirs.push(path.to_owned());
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = state.begin("sync_dir", dir, 0, 0) {
            if fault != Fault::Dead {
                state.abandon_where(|change| of_dir(change, dir));
            }
            return Err(error_of(fault));
        }
        state.syncs += 1;
        state.settle_where(|change| of_dir(change, dir));
        Ok(())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        let state = self.state();
        Ok(state.names.contains_key(path) || state.dirs.iter().any(|known| known == path))
    }

    fn available_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.map_or(u64::MAX / 2, |capacity| {
            capacity.saturating_sub(state.used())
        }))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn LockGuard>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.iter().any(|held| held == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        locks.push(path.to_owned());
        Ok(Box::new(SimLock {
            locks: Arc::clone(&self.locks),
            path: path.to_owned(),
        }))
    }
}

struct SimLock {
    locks: Arc<Mutex<Vec<String>>>,
    path: String,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|held| *held != self.path);
    }
}

#[derive(Clone)]
struct SimFile {
    disk: SimDisk,
    inode: Inode,
    path: String,
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let end = offset + out.len() as u64;
        let refused = state.unreadable.iter_mut().find(|(inode, bytes, times)| {
            *inode == self.inode && *times > 0 && bytes.start < end && offset < bytes.end
        });
        if let Some((_, _, times)) = refused {
            *times -= 1;
            return Err(eio());
        }
        if state.dead {
            return Err(eio());
        }
        Ok(state
            .live
            .get(&self.inode)
            .map_or(0, |image| image.read(offset, out)))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.begin("write", &self.path, offset, bytes.len() as u64);
        let wanted = match fault {
            None => bytes,
            Some(Fault::ShortWrite) => bytes.get(..bytes.len() / 2).unwrap_or_default(),
            Some(fault) => return Err(error_of(fault)),
        };
        let image = state.live.entry(self.inode).or_default();
        let growth = image.growth_bytes(offset, wanted.len() as u64);
        if state
            .capacity
            .is_some_and(|capacity| state.used() + growth > capacity)
        {
            return Err(enospc());
        }
        state
            .live
            .entry(self.inode)
            .or_default()
            .write(offset, wanted);
        state.written += wanted.len() as u64;
        let change = Pending::Write {
            inode: self.inode,
            offset,
            bytes: Arc::from(wanted),
        };
        state.pending.push(change);
        match fault {
            None => Ok(()),
            Some(fault) => Err(error_of(fault)),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let inode = self.inode;
        if let Some(fault) = state.begin("sync", &self.path, 0, 0) {
            if fault != Fault::Dead {
                state.abandon_where(|change| of_inode(change, inode));
            }
            return Err(error_of(fault));
        }
        state.syncs += 1;
        state.settle_where(|change| of_inode(change, inode));
        Ok(())
    }

    /// The sync happens as late as it may: when it is waited for. So every state between its
    /// start and its end is one that a crash can find. The write happens at once, or as late too.
    fn start_write(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        let late = self.disk.state().late_writes;
        Box::new(SimWrite {
            file: self.clone(),
            write: match late {
                true => Err((offset, bytes)),
                false => Ok(self.write_at(offset, &bytes)),
            },
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Some(fault) = state.begin("set_len", &self.path, 0, len) {
            return Err(error_of(fault));
        }
        state.live.entry(self.inode).or_default().set_len(len);
        let change = Pending::SetLen {
            inode: self.inode,
            len,
        };
        state.pending.push(change);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state.live.get(&self.inode).map_or(0, Image::len))
    }
}

struct SimWrite {
    file: SimFile,
    /// The result of the write, or what is still to be written.
    write: Result<io::Result<()>, (u64, Arc<Vec<u8>>)>,
}

impl PendingSync for SimWrite {
    fn wait(self: Box<Self>) -> io::Result<()> {
        match self.write {
            Ok(done) => done?,
            Err((offset, bytes)) => self.file.write_at(offset, &bytes)?,
        }
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests;
