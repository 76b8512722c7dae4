//! A disk whose syncs wait until a test lets them through.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use wal::disk::{Disk, DiskFile, DiskOver, FileOver, PendingSync, SimDisk};

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

impl DiskOver for GatedDisk {
    fn below(&self) -> &dyn Disk {
        &self.inner
    }

    fn opened(&self, _path: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GatedFile {
            inner,
            gate: self.gate.clone(),
        })
    }
}

struct GatedFile {
    inner: Arc<dyn DiskFile>,
    gate: Gate,
}

impl FileOver for GatedFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.inner
    }

    fn start(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        Box::new(GatedSync {
            inner: self.inner.start_write(offset, bytes),
            gate: self.gate.clone(),
        })
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
