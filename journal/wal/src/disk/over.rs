//! Disks over disks: for a meter, a watcher or a gate that changes a few calls and hands on the rest.
//!
//! This room must hand on **every** call that it does not name, those with a default included: a layer
//! that answered `boot` or `wait_at_most` by itself would speak of a disk that it knows nothing of.

use std::io;
use std::sync::Arc;

use super::{Disk, DiskFile, LockGuard, OpenMode, PendingSync};

/// A disk over another one; what it does not say, that one does.
pub trait DiskOver: Send + Sync {
    /// The disk below.
    fn below(&self) -> &dyn Disk;
    /// What is handed out for a file that was opened below.
    fn opened(&self, path: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile>;
    /// Told how each sync of a directory ended.
    fn dir_synced(&self, _dir: &str, _result: &io::Result<()>) {}
}

impl<D: DiskOver> Disk for D {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.below().list(dir)
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.below().open(path, mode)?;
        Ok(self.opened(path, file))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.below().remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below().rename(from, to)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.below().create_dir(path)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let result = self.below().sync_dir(dir);
        self.dir_synced(dir, &result);
        result
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.below().exists(path)
    }

    fn available_bytes(&self) -> io::Result<u64> {
        self.below().available_bytes()
    }

    fn boot(&self) -> u64 {
        self.below().boot()
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn LockGuard>> {
        self.below().lock(path)
    }
}

/// A file of a [`DiskOver`].
pub trait FileOver: Send + Sync {
    /// The file below.
    fn below(&self) -> &dyn DiskFile;

    /// See [`DiskFile::write_at`].
    ///
    /// # Errors
    /// Those of the file below.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.below().write_at(offset, bytes)
    }

    /// See [`DiskFile::sync_data`].
    ///
    /// # Errors
    /// Those of the file below.
    fn sync(&self) -> io::Result<()> {
        self.below().sync_data()
    }

    /// See [`DiskFile::start_write`].
    fn start(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        self.below().start_write(offset, bytes)
    }
}

impl<F: FileOver> DiskFile for F {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.below().read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn start_write(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        self.start(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below().set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.below().len()
    }

    fn forget_cache(&self) {
        self.below().forget_cache();
    }
}
