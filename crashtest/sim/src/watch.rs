//! A disk that is watched: has a write or a sync of log or vault failed since it was opened?
//!
//! From then on the journal's handle is dead, and nothing may leave that had not left before until
//! somebody opens it again. The books ask here, because the journal's own word for it is what is
//! being tested. This room must never change what an operation does.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wal::disk::{Disk, DiskFile, DiskOver, FileOver, PendingSync, is_full};

/// Where the log's files lie.
const LOG_DIR: &str = "log";
/// The vault's file.
const VAULT: &str = "vault";

#[derive(Default)]
struct Seen {
    /// Which opening the newest handle belongs to; what an older one still meets is its own affair.
    opening: u64,
    failure: Option<String>,
}

/// What was seen of one machine's disk. Clones share it.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What failed since the newest opening, in words.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.seen().failure.clone()
    }

    /// The disk is opened, or opened again: what failed before is over.
    #[must_use]
    pub fn opened(&self, disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
        let mut seen = self.seen();
        seen.opening += 1;
        seen.failure = None;
        Arc::new(Watched {
            disk,
            told: Told {
                watch: self.clone(),
                opening: seen.opening,
            },
        })
    }
}

/// Who is told of a failure, and by which opening.
#[derive(Clone)]
struct Told {
    watch: Watch,
    opening: u64,
}

impl Told {
    fn note<T>(&self, what: &str, path: &str, result: &io::Result<T>) {
        if let Err(error) = result {
            let mut seen = self.watch.seen();
            if seen.opening == self.opening {
                let text = || format!("{what} of {path} failed ({error})");
                seen.failure.get_or_insert_with(text);
            }
        }
    }

    /// Room is made in steps that may find the disk full, and nothing is lost by that.
    fn note_unless_full<T>(&self, what: &str, path: &str, result: &io::Result<T>) {
        if !result.as_ref().is_err_and(is_full) {
            self.note(what, path, result);
        }
    }
}

/// Whether an error in this file kills its journal.
fn is_kept(path: &str) -> bool {
    path == VAULT
        || path
            .strip_prefix(LOG_DIR)
            .is_some_and(|rest| rest.starts_with('/'))
}

struct Watched {
    disk: Arc<dyn Disk>,
    told: Told,
}

impl DiskOver for Watched {
    fn below(&self) -> &dyn Disk {
        &*self.disk
    }

    fn opened(&self, path: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        if !is_kept(path) {
            return file;
        }
        Arc::new(WatchedFile {
            file,
            path: path.to_owned(),
            told: self.told.clone(),
        })
    }

    fn dir_synced(&self, dir: &str, result: &io::Result<()>) {
        if dir == LOG_DIR {
            self.told.note("a sync", dir, result);
        }
    }
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    path: String,
    told: Told,
}

impl FileOver for WatchedFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.file.write_at(offset, bytes);
        self.told.note_unless_full("a write", &self.path, &result);
        result
    }

    fn sync(&self) -> io::Result<()> {
        let result = self.file.sync_data();
        self.told.note_unless_full("a sync", &self.path, &result);
        result
    }

    fn start(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        Box::new(WatchedSync {
            pending: self.file.start_write(offset, bytes),
            path: self.path.clone(),
            told: self.told.clone(),
        })
    }
}

struct WatchedSync {
    pending: Box<dyn PendingSync>,
    path: String,
    told: Told,
}

impl PendingSync for WatchedSync {
    fn wait(self: Box<Self>) -> io::Result<()> {
        let result = self.pending.wait();
        self.told
            .note("a batch's write and sync", &self.path, &result);
        result
    }

    fn wait_at_most(&mut self, patience: std::time::Duration) -> bool {
        self.pending.wait_at_most(patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal::disk::{Fault, OpenMode, SimDisk};

    #[test]
    fn a_failure_of_log_or_vault_stands_until_the_next_opening() {
        let (disk, watch) = (SimDisk::new(), Watch::default());
        let opened = watch.opened(Arc::new(disk.clone()));
        opened.create_dir(LOG_DIR).unwrap();
        for (path, counts) in [("log/1", true), (VAULT, true), ("ballast", false)] {
            let opened = watch.opened(Arc::new(disk.clone()));
            let file = opened.open(path, OpenMode::Create).unwrap();
            file.write_at(0, b"one").unwrap();
            file.sync_data().unwrap();
            assert_eq!(watch.failure(), None, "{path}");
            disk.inject(disk.op_count(), Fault::Enospc);
            file.write_at(0, b"two").unwrap_err();
            assert_eq!(watch.failure(), None, "a full disk is no failed write");
            disk.inject(disk.op_count(), Fault::Eio);
            file.sync_data().unwrap_err();
            assert_eq!(watch.failure().is_some(), counts, "{path}");
            file.write_at(0, b"three").unwrap();
            assert_eq!(
                watch.failure().is_some(),
                counts,
                "{path}: a later success heals nothing"
            );
            let again = watch.opened(Arc::new(disk.clone()));
            assert_eq!(watch.failure(), None, "{path}");
            disk.inject(disk.op_count(), Fault::Eio);
            file.write_at(0, b"four").unwrap_err();
            assert_eq!(watch.failure(), None, "{path}: the old handle is gone");
            drop(again);
        }
        let opened = watch.opened(Arc::new(disk.clone()));
        let file = opened.open("log/1", OpenMode::Existing).unwrap();
        disk.inject(disk.op_count(), Fault::Enospc);
        let started = file.start_write(0, Arc::new(b"batch".to_vec()));
        assert!(started.wait().is_err() && watch.failure().is_some());
    }
}
