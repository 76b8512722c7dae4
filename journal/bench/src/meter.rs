//! The engine's disk and view with a meter on each: how many writes and syncs, how long, how many bytes.
//!
//! Both hand every call on unchanged. They must never change an order or swallow an error; all they
//! keep is counters, so they cost two clock reads a call.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wal::disk::{Disk, DiskFile, DiskOver, FileOver, PendingSync};
use wal::store::{Store, StoreError, StoreOp};
use wal::{Lsn, disk::RealDisk, store::RocksStore};

use crate::measure::adding;

/// What a file is for, told by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Log,
    Vault,
    Checkpoint,
    Other,
}

impl Area {
    fn of(path: &str) -> Self {
        match path {
            _ if path.starts_with("log/") => Self::Log,
            _ if path.starts_with("vault") => Self::Vault,
            _ if path.starts_with("checkpoint") => Self::Checkpoint,
            _ => Self::Other,
        }
    }
}

/// Work done on one area.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) bytes: u64,
    pub(crate) writes: u64,
    pub(crate) write_time: Duration,
    pub(crate) syncs: u64,
    pub(crate) sync_time: Duration,
}

/// Everything that was counted since the last [`Meter::take`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) log: Work,
    pub(crate) vault: Work,
    pub(crate) checkpoint: Work,
    pub(crate) other: Work,
    pub(crate) directory_syncs: u64,
    pub(crate) store_reads: u64,
    pub(crate) store_read_time: Duration,
    pub(crate) store_apply_time: Duration,
    pub(crate) store_flush_time: Duration,
    /// Bytes that each sync of a log file made durable, in order.
    pub(crate) log_batches: Vec<u64>,
    log_unsynced: u64,
}

impl Counts {
    fn area(&mut self, area: Area) -> &mut Work {
        match area {
            Area::Log => &mut self.log,
            Area::Vault => &mut self.vault,
            Area::Checkpoint => &mut self.checkpoint,
            Area::Other => &mut self.other,
        }
    }

    /// Every sync of a file or directory.
    pub(crate) fn syncs(&self) -> u64 {
        let files = [self.log, self.vault, self.checkpoint, self.other];
        files.iter().map(|work| work.syncs).sum::<u64>() + self.directory_syncs
    }
}

/// Counters shared by a disk, its files and a view.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<Mutex<Counts>>);

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // A panic elsewhere leaves counters that are still numbers.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted since the last call.
    pub(crate) fn take(&self) -> Counts {
        std::mem::take(&mut *self.lock())
    }
}

/// A real disk with a meter.
pub(crate) struct MeteredDisk {
    pub(crate) inner: RealDisk,
    pub(crate) meter: Meter,
}

impl DiskOver for MeteredDisk {
    fn below(&self) -> &dyn Disk {
        &self.inner
    }

    fn opened(&self, path: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MeteredFile {
            inner,
            area: Area::of(path),
            meter: self.meter.clone(),
        })
    }

    fn dir_synced(&self, _dir: &str, _result: &io::Result<()>) {
        self.meter.lock().directory_syncs += 1;
    }
}

struct MeteredFile {
    inner: Arc<dyn DiskFile>,
    area: Area,
    meter: Meter,
}

impl FileOver for MeteredFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.inner
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut time = Duration::ZERO;
        let result = adding(&mut time, || self.inner.write_at(offset, bytes));
        let mut counts = self.meter.lock();
        let work = counts.area(self.area);
        work.writes += 1;
        work.bytes += bytes.len() as u64;
        work.write_time += time;
        if self.area == Area::Log {
            counts.log_unsynced += bytes.len() as u64;
        }
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut time = Duration::ZERO;
        let result = adding(&mut time, || self.inner.sync_data());
        let mut counts = self.meter.lock();
        let work = counts.area(self.area);
        work.syncs += 1;
        work.sync_time += time;
        if self.area == Area::Log {
            let bytes = std::mem::take(&mut counts.log_unsynced);
            counts.log_batches.push(bytes);
        }
        result
    }

    fn start(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        let len = bytes.len() as u64;
        let batch = {
            let mut counts = self.meter.lock();
            let work = counts.area(self.area);
            work.writes += 1;
            work.bytes += len;
            match self.area {
                Area::Log => std::mem::take(&mut counts.log_unsynced) + len,
                _ => 0,
            }
        };
        Box::new(MeteredSync {
            inner: self.inner.start_write(offset, bytes),
            meter: self.meter.clone(),
            area: self.area,
            batch,
            waited: Duration::ZERO,
        })
    }
}

/// RocksDB with a meter.
pub(crate) struct MeteredStore {
    pub(crate) inner: RocksStore,
    pub(crate) meter: Meter,
}

impl MeteredStore {
    fn read<T>(&self, action: impl FnOnce(&RocksStore) -> T) -> T {
        let mut time = Duration::ZERO;
        let value = adding(&mut time, || action(&self.inner));
        let mut counts = self.meter.lock();
        counts.store_reads += 1;
        counts.store_read_time += time;
        value
    }
}

impl Store for MeteredStore {
    fn open(&mut self) -> Result<(), StoreError> {
        self.inner.open()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.get(key))
    }

    fn range(
        &self,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.read(|store| store.range(prefix, from, limit))
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.read(|store| store.last(prefix))
    }

    fn apply(&mut self, ops: &[StoreOp], applied: Lsn) -> Result<(), StoreError> {
        let mut time = Duration::ZERO;
        let result = adding(&mut time, || self.inner.apply(ops, applied));
        self.meter.lock().store_apply_time += time;
        result
    }

    fn applied_lsn(&self) -> Result<Option<Lsn>, StoreError> {
        self.inner.applied_lsn()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let mut time = Duration::ZERO;
        let result = adding(&mut time, || self.inner.flush());
        self.meter.lock().store_flush_time += time;
        result
    }

    fn wipe(&mut self) -> Result<(), StoreError> {
        self.inner.wipe()
    }
}

/// A write with its sync that was started; its time is what was waited for it.
struct MeteredSync {
    inner: Box<dyn PendingSync>,
    meter: Meter,
    area: Area,
    batch: u64,
    waited: Duration,
}

impl PendingSync for MeteredSync {
    fn wait(self: Box<Self>) -> io::Result<()> {
        let Self {
            inner,
            meter,
            area,
            batch,
            waited: mut time,
        } = *self;
        let result = adding(&mut time, || inner.wait());
        let mut counts = meter.lock();
        let work = counts.area(area);
        work.syncs += 1;
        work.sync_time += time;
        if area == Area::Log {
            counts.log_batches.push(batch);
        }
        result
    }

    fn wait_at_most(&mut self, patience: Duration) -> bool {
        let Self { inner, waited, .. } = self;
        adding(waited, || inner.wait_at_most(patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::disk::OpenMode;

    #[test]
    fn writes_are_counted_by_area_and_batched_by_sync() {
        let dir = tempfile::tempdir().unwrap();
        let meter = Meter::default();
        let disk = MeteredDisk {
            inner: RealDisk::new(dir.path()).unwrap(),
            meter: meter.clone(),
        };
        disk.create_dir("log").unwrap();
        let log = disk.open("log/1", OpenMode::Create).unwrap();
        let vault = disk.open("vault", OpenMode::Create).unwrap();
        log.write_at(0, &[1; 10]).unwrap();
        log.write_at(10, &[1; 5]).unwrap();
        log.sync_data().unwrap();
        vault.write_at(0, &[2; 7]).unwrap();
        vault.sync_data().unwrap();
        log.write_at(15, &[1; 3]).unwrap();
        log.sync_data().unwrap();
        disk.sync_dir("log").unwrap();
        let counts = meter.take();
        assert_eq!(counts.log_batches, [15, 3]);
        assert_eq!(
            (counts.log.bytes, counts.vault.bytes, counts.syncs()),
            (18, 7, 4)
        );
        assert_eq!(meter.take().syncs(), 0);
    }
}
