//! The deliberate bugs of writing and syncing a batch, beside the one right way.
//!
//! Only in a build with `crashtest`; without a living bug it does what the log does without it.

use std::io;
use std::sync::Arc;

use super::Part;
use crate::disk::{DiskFile, PendingSync, is_full};
use crate::mutant;
use crate::options::SECTOR_BYTES;

/// A write whose outcome is known, or believed.
struct Done(io::Result<()>);

impl PendingSync for Done {
    fn wait(self: Box<Self>) -> io::Result<()> {
        self.0
    }
}

/// A write and sync whose error is judged in another way.
struct Judged {
    inner: Box<dyn PendingSync>,
    judge: fn(io::Error, &dyn DiskFile) -> io::Result<()>,
    file: Arc<dyn DiskFile>,
}

impl PendingSync for Judged {
    fn wait(self: Box<Self>) -> io::Result<()> {
        let Judged { inner, judge, file } = *self;
        inner.wait().or_else(|error| judge(error, &*file))
    }
}

/// Starts to write and sync, rightly or as a living bug does. `other` opens another file.
pub(super) fn start_write(
    file: &Arc<dyn DiskFile>,
    offset: u64,
    bytes: &Arc<Vec<u8>>,
    other: impl FnOnce() -> io::Result<Arc<dyn DiskFile>>,
) -> Box<dyn PendingSync> {
    mutant!("batch_not_synced", "C4", "a batch is written and not synced" => {
        return Box::new(Done(file.write_at(offset, bytes)));
    });
    mutant!("another_file_synced", "C4", "a batch is written, and another file is synced" => {
        let done = file.write_at(offset, bytes).and_then(|()| other()?.sync_data());
        return Box::new(Done(done));
    });
    let inner = file.start_write(offset, Arc::clone(bytes));
    let judge: fn(io::Error, &dyn DiskFile) -> io::Result<()> = if mutant!(
        "sync_error_ignored",
        "C4",
        "a failed write or sync of a batch counts as done"
    ) {
        |_, _| Ok(())
    } else if mutant!(
        "sync_retried",
        "C4",
        "a failed sync is tried again, and believed then"
    ) {
        |_, file| file.sync_data()
    } else if mutant!(
        "enospc_swallowed",
        "C4",
        "a batch that found no room counts as stored"
    ) {
        |error, _| if is_full(&error) { Ok(()) } else { Err(error) }
    } else {
        return inner;
    };
    Box::new(Judged {
        inner,
        judge,
        file: Arc::clone(file),
    })
}

/// Remembers the last sector of what was appended to a part.
pub(super) fn last_sector(buffer: &[u8], last: &mut Vec<u8>) {
    last.clear();
    let from = buffer.len().saturating_sub(SECTOR_BYTES as usize);
    last.extend_from_slice(buffer.get(from..).unwrap_or_default());
}

/// What a log without padding does: the sector in which acknowledged data ends is written once more.
pub(super) fn begin_in_the_sector_before(part: &mut Part, last: &[u8]) {
    mutant!("group_not_padded", "C4", "a batch is written with the last sector of the one before" => {
        if last.len() as u64 == SECTOR_BYTES {
            part.offset -= SECTOR_BYTES;
            part.buffer.extend_from_slice(last);
        }
    });
}
