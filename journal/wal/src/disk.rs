//! The disk as an argument: a small directory tree addressed by relative paths.
//!
//! The engine names every operation whose order matters, so that a simulated disk can lose, tear
//! or refuse it. Nothing above this trait may touch `std::fs`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

mod cause;
mod over;
mod real;
mod sim;
mod sync_thread;

pub use cause::Cause;
pub(crate) use cause::beneath;
pub use over::{DiskOver, FileOver};
pub use real::{RealDisk, make_dir};
pub use sim::{CrashPolicy, Fault, SimDisk, TraceOp};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// It is made if it does not exist.
    Create,
    /// It must not exist yet.
    CreateNew,
}

/// One directory tree. Paths are relative, with `/` between names; the root is the empty path.
pub trait Disk: Send + Sync {
    /// The names of the files and directories in `dir`, in no particular order.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Removes a file. Durable after `sync_dir`.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Renames a file, replacing `to`. Durable after `sync_dir` of both directories.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes a directory; one that exists is fine. Durable after `sync_dir` of its parent.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Whether a file or directory exists.
    fn exists(&self, path: &str) -> io::Result<bool>;
    /// Bytes that this process may still allocate.
    fn available_bytes(&self) -> io::Result<u64>;
    /// Names the present boot of the machine, or rather of its page cache: what was written in another
    /// one and reads back is on the disk. 0 is unknown, and the same as no other.
    fn boot(&self) -> u64 {
        0
    }
    /// Takes the lock file at `path` until the guard is dropped, or fails with `WouldBlock` if
    /// somebody else holds it.
    fn lock(&self, path: &str) -> io::Result<Box<dyn LockGuard>>;
}

/// Holds a lock; dropping it lets go.
pub trait LockGuard: Send + Sync {}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads at most `out.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file if needed. On an error any part of it
    /// may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the contents and the length durable (`fdatasync`). After an error nobody knows what
    /// the disk holds, and it must never be called again to find out.
    fn sync_data(&self) -> io::Result<()>;
    /// Starts to write all of `bytes` at `offset` and then to sync, and returns without waiting,
    /// so that the next batch can be sealed meanwhile. Until [`PendingSync::wait`] has returned,
    /// reads may or may not see the bytes, and nobody else may write there or sync the file.
    fn start_write(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync>;
    /// Sets the length; new bytes read as zero.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Lets go of cached pages that are clean. Only a hint: the kernel accounts (and on some file
    /// systems writes) whole cached folios, which old contents would make larger than our writes.
    fn forget_cache(&self) {}
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A write with its sync that was started.
pub trait PendingSync: Send {
    /// Waits for both and gives their result, which is asked for once. After an error nobody
    /// knows what the disk holds.
    fn wait(self: Box<Self>) -> io::Result<()>;
    /// Waits at most so long; false as long as [`Self::wait`] would still wait. A disk that cannot
    /// tell says true.
    fn wait_at_most(&mut self, _patience: Duration) -> bool {
        true
    }
}

/// True if the error says that the disk is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
