//! The thread that writes and syncs batches, so that the owner of the log need not wait for either.
//!
//! One per disk, made at the first sync and joined when the disk goes. It never retries, and an
//! answer that cannot be given counts as an error: nobody knows then what the disk holds.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::PendingSync;
use crate::{crash_point, mutant, note};

/// Syncs that may wait for the thread. The engine has one under way at a time.
const QUEUE_MAX: usize = 4;

/// Which file it is, for a note; 0 if nobody knows.
fn inode(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.ino())
}

struct Job {
    file: Arc<File>,
    offset: u64,
    bytes: Arc<Vec<u8>>,
    answer: SyncSender<io::Result<()>>,
}

impl Job {
    fn run(&self) -> io::Result<()> {
        self.file.write_all_at(&self.bytes, self.offset)?;
        note!("wrote {}", inode(&self.file));
        // CRASH(wal.commit.after_write): before: the batch is written and not synced; a start copies
        // what it can read and syncs that before anything is believed | after: it is synced.
        crash_point!("wal.commit.after_write");
        // ORDER: this sync, then Committed, then anything that leaves the process. It is never
        // repeated: after an error the pages may look clean without being on disk.
        if mutant!("skip_the_sync", "C4", "no commit is ever synced") {
            return Ok(());
        }
        note!("syncing {}", inode(&self.file));
        self.file.sync_data()?;
        note!("synced {}", inode(&self.file));
        Ok(())
    }
}

struct Running {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
pub(super) struct SyncThread(Mutex<Option<Running>>);

impl fmt::Debug for SyncThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncThread")
    }
}

impl SyncThread {
    /// Hands a write with its sync over.
    pub(super) fn start(
        &self,
        file: Arc<File>,
        offset: u64,
        bytes: Arc<Vec<u8>>,
    ) -> Box<dyn PendingSync> {
        let (answer, result) = sync_channel(1);
        let started = self.jobs().and_then(|jobs| {
            let gone = |_| io::Error::other("the sync thread is gone");
            let job = Job {
                file,
                offset,
                bytes,
                answer,
            };
            jobs.send(job).map_err(gone)
        });
        Box::new(match started {
            Ok(()) => Started::UnderWay(result),
            Err(error) => Started::Over(Err(error)),
        })
    }

    fn jobs(&self) -> io::Result<SyncSender<Job>> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            return Ok(running.jobs.clone());
        }
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let thread = spawn(queue)?;
        *running = Some(Running {
            jobs: jobs.clone(),
            thread,
        });
        Ok(jobs)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "The disk is a shell; its one thread has a name and is joined."
)]
fn spawn(queue: Receiver<Job>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("secluso-sync".to_owned())
        .spawn(move || {
            for job in queue {
                let result = job.run();
                let Job { answer, bytes, .. } = job;
                // The buffer goes back before the answer, for the owner uses it again.
                drop(bytes);
                // Whoever asked may be gone; then nobody acts on the answer either.
                drop(answer.send(result));
            }
        })
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        let running = self
            .0
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Running { jobs, thread }) = running {
            drop(jobs);
            // A panic in it was already answered by an error to whoever waited.
            drop(thread.join());
        }
    }
}

enum Started {
    UnderWay(Receiver<io::Result<()>>),
    Over(io::Result<()>),
}

fn died() -> io::Error {
    io::Error::other("the sync thread died")
}

impl PendingSync for Started {
    fn wait(self: Box<Self>) -> io::Result<()> {
        match *self {
            Self::UnderWay(result) => result.recv().map_err(|_| died())?,
            Self::Over(result) => result,
        }
    }

    fn wait_at_most(&mut self, patience: Duration) -> bool {
        if let Self::UnderWay(answer) = self {
            *self = Self::Over(match answer.recv_timeout(patience) {
                Ok(result) => result,
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => Err(died()),
            });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any sync of a test.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn who_waited_for_a_while_still_gets_the_result_once() {
        let (answer, result) = sync_channel(1);
        let mut started = Started::UnderWay(result);
        assert!(!started.wait_at_most(Duration::ZERO));
        answer.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert!(started.wait_at_most(LONG));
        assert!(started.wait_at_most(Duration::ZERO));
        let error = Box::new(started).wait().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_thread_that_died_is_an_error_and_no_wait() {
        let (answer, result) = sync_channel::<io::Result<()>>(1);
        drop(answer);
        let mut started = Started::UnderWay(result);
        assert!(started.wait_at_most(LONG));
        assert!(Box::new(started).wait().is_err());
    }
}
