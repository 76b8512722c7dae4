//! A plain file as a yardstick: the same bytes, written and synced, and nothing else.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::Outcome;
use crate::measure::adding;

/// A preallocated file that is overwritten from front to back, again and again.
pub(crate) struct RawFile {
    file: File,
    bytes: u64,
    at: u64,
    buffer: Vec<u8>,
}

impl RawFile {
    /// Fills a file of `bytes` with zeros and syncs it.
    pub(crate) fn create(path: &Path, bytes: u64) -> Outcome<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..bytes).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        forget_cache(&file)?;
        Ok(Self {
            file,
            bytes,
            at: 0,
            buffer: crate::hub::noise(8 << 20),
        })
    }

    /// Writes each batch with one call and syncs it, behind the one before. Before each, `between`
    /// is called; the time of the syncs alone comes back.
    pub(crate) fn write_batches(
        &mut self,
        batches: &[u64],
        mut between: impl FnMut(),
    ) -> Outcome<Duration> {
        let mut syncs = Duration::ZERO;
        for batch in batches {
            between();
            if self.at + batch > self.bytes {
                self.at = 0;
                forget_cache(&self.file)?;
            }
            let bytes = self
                .buffer
                .get(..*batch as usize)
                .ok_or("a batch is larger than the buffer")?;
            self.file.write_all_at(bytes, self.at)?;
            adding(&mut syncs, || self.file.sync_data())?;
            self.at += batch;
        }
        Ok(syncs)
    }
}

/// Lets go of cached pages, as the engine does: else every write would dirty the large pages that
/// the zeros left, and the yardstick would be slower than it need be.
fn forget_cache(file: &File) -> Outcome<()> {
    Ok(rustix::fs::fadvise(
        file,
        0,
        None,
        rustix::fs::Advice::DontNeed,
    )?)
}
