//! A disk whose syncs wait until a test lets them through.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use wal::disk::{Disk, DiskFile, LockGuard, OpenMode, PendingSync, SimDisk};

/// Open at first.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn close(&self) {
        *self.0.0.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }

    pub(crate) fn before(&self, disk: &SimDisk) -> GatedDisk {
        GatedDisk {
            inner: disk.clone(),
            gate: self.clone(),
        }
    }

    /// Whether it was open within that time.
    fn pass(&self, patience: Duration) -> bool {
        let (closed, changed) = &*self.0;
        let closed = closed.lock().unwrap();
        let waited = changed.wait_timeout_while(closed, patience, |closed| *closed);
        !waited.unwrap().1.timed_out()
    }
}

/// A simulated disk behind a [`Gate`].
pub(crate) struct GatedDisk {
    inner: SimDisk,
    gate: Gate,
}

impl Disk for GatedDisk {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(GatedFile {
            inner,
            gate: self.gate.clone(),
        }))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn available_bytes(&self) -> io::Result<u64> {
        self.inner.available_bytes()
    }

    fn boot(&self) -> u64 {
        self.inner.boot()
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn LockGuard>> {
        self.inner.lock(path)
    }
}

struct GatedFile {
    inner: Arc<dyn DiskFile>,
    gate: Gate,
}

impl DiskFile for GatedFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn start_write(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        Box::new(GatedSync {
            inner: self.inner.start_write(offset, bytes),
            gate: self.gate.clone(),
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

struct GatedSync {
    inner: Box<dyn PendingSync>,
    gate: Gate,
}

impl PendingSync for GatedSync {
    fn wait(self: Box<Self>) -> io::Result<()> {
        // Longer than any test.
        assert!(self.gate.pass(Duration::from_secs(120)));
        self.inner.wait()
    }

    fn wait_at_most(&mut self, patience: Duration) -> bool {
        self.gate.pass(patience)
    }
}
