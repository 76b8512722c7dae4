//! A view in memory that forgets everything after its last flush, as a crash would make it.
//!
//! With a disk its flush is one checksummed file, so that simulated power cuts hit the view too.
//! It is for tests and simulations; a hub never uses it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{KeyValue, Store, StoreError, StoreOp, prefix_end};
use crate::Lsn;
use crate::disk::{Disk, OpenMode};

const HEALTHY: u8 = 0;
const CORRUPT_READS: u8 = 1;
const FULL_WRITES: u8 = 2;

/// Lets a test make a view fail while a `Wal` owns it.
#[derive(Clone, Debug, Default)]
pub struct MemControl(Arc<AtomicU8>);

impl MemControl {
    /// Every read reports corruption until the view is wiped.
    pub fn corrupt_reads(&self) {
        self.0.store(CORRUPT_READS, Ordering::SeqCst);
    }

    /// Every apply and flush reports a full disk until `heal`.
    pub fn full_writes(&self) {
        self.0.store(FULL_WRITES, Ordering::SeqCst);
    }

    /// Everything works again.
    pub fn heal(&self) {
        self.0.store(HEALTHY, Ordering::SeqCst);
    }
}

/// The view in memory.
#[derive(Default)]
pub struct MemStore {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    applied: Option<Lsn>,
    file: Option<(Arc<dyn Disk>, String)>,
    control: MemControl,
    /// Applied batches after which it writes itself out, as an LSM tree does when its memtable is
    /// full; 0 for never.
    spills_after: u32,
    applied_since: u32,
}

impl MemStore {
    /// A view that forgets everything when it is dropped.
    pub fn new() -> Self {
        MemStore::default()
    }

    /// A view whose flush writes everything to the file `name` of `disk`.
    pub fn on_disk(disk: Arc<dyn Disk>, name: &str) -> Self {
        MemStore {
            file: Some((disk, name.to_owned())),
            ..MemStore::default()
        }
    }

    /// Writes itself out after so many applied batches without being asked, as an LSM tree does.
    #[must_use]
    pub fn spilling(mut self, batches: u32) -> Self {
        self.spills_after = batches;
        self
    }

    /// The handle by which a test makes it fail.
    pub fn control(&self) -> MemControl {
        self.control.clone()
    }

    fn check_read(&self) -> Result<(), StoreError> {
        if self.control.0.load(Ordering::SeqCst) == CORRUPT_READS {
            return Err(corrupt("injected"));
        }
        Ok(())
    }

    fn check_write(&self) -> Result<(), StoreError> {
        match self.control.0.load(Ordering::SeqCst) {
            CORRUPT_READS => Err(corrupt("injected")),
            FULL_WRITES => Err(StoreError::Full),
            _ => Ok(()),
        }
    }
}

fn corrupt(detail: &str) -> StoreError {
    StoreError::Corrupt {
        detail: detail.to_owned(),
    }
}

fn io_error(source: std::io::Error) -> StoreError {
    if crate::disk::is_full(&source) {
        StoreError::Full
    } else {
        StoreError::Io { source }
    }
}

type Dump = (u64, Vec<KeyValue>);

impl Store for MemStore {
    fn open(&mut self) -> Result<(), StoreError> {
        let Some((disk, name)) = &self.file else {
            return Ok(());
        };
        if !disk.exists(name).map_err(io_error)? {
            return Ok(());
        }
        let file = disk.open(name, OpenMode::Existing).map_err(io_error)?;
        let mut bytes = vec![0; file.len().map_err(io_error)? as usize];
        file.read_at(0, &mut bytes).map_err(io_error)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let (sum, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| corrupt("short"))?;
        let [a, b, c, d, l0, l1, l2, l3] = *sum;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let body = rest.get(..len).ok_or_else(|| corrupt("length"))?;
        if crc32fast::hash(body) != u32::from_le_bytes([a, b, c, d]) {
            return Err(corrupt("checksum"));
        }
        let (applied, pairs): Dump = postcard::from_bytes(body).map_err(|_| corrupt("encoding"))?;
        self.map = pairs.into_iter().collect();
        self.applied = Some(Lsn(applied));
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_read()?;
        Ok(self.map.get(key).cloned())
    }

    fn range(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        self.check_read()?;
        let start = if from > prefix { from } else { prefix };
        let pairs = self
            .map
            .range::<[u8], _>((Bound::Included(start), Bound::Unbounded));
        let pairs = pairs
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit);
        Ok(pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        self.check_read()?;
        let end = prefix_end(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut pairs = self.map.range::<[u8], _>((Bound::Included(prefix), end));
        Ok(pairs
            .next_back()
            .map(|(key, value)| (key.clone(), value.clone())))
    }

    fn apply(&mut self, ops: &[StoreOp], applied: Lsn) -> Result<(), StoreError> {
        self.check_write()?;
        for op in ops {
            match op {
                StoreOp::Put(key, value) => {
                    self.map.insert(key.clone(), value.clone());
                }
                StoreOp::Delete(key) => {
                    self.map.remove(key);
                }
            }
        }
        self.applied = Some(applied);
        self.applied_since += 1;
        if self.spills_after > 0 && self.applied_since >= self.spills_after {
            self.applied_since = 0;
            // What could not be written out stays in memory.
            match self.flush() {
                Ok(()) | Err(StoreError::Full | StoreError::Io { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn applied_lsn(&self) -> Result<Option<Lsn>, StoreError> {
        self.check_read()?;
        Ok(self.applied)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.check_write()?;
        let (Some((disk, name)), Some(applied)) = (&self.file, self.applied) else {
            return Ok(());
        };
        let pairs = self
            .map
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let dump: Dump = (applied.0, pairs);
        let body = postcard::to_allocvec(&dump).map_err(|_| corrupt("encoding"))?;
        let mut bytes = crc32fast::hash(&body).to_le_bytes().to_vec();
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        let file = disk.open(name, OpenMode::Create).map_err(io_error)?;
        file.write_at(0, &bytes).map_err(io_error)?;
        file.sync_data().map_err(io_error)?;
        disk.sync_dir("").map_err(io_error)
    }

    fn wipe(&mut self) -> Result<(), StoreError> {
        self.map.clear();
        self.applied = None;
        // New files are not damaged; a full disk stays full.
        if self.control.0.load(Ordering::SeqCst) == CORRUPT_READS {
            self.control.heal();
        }
        if let Some((disk, name)) = &self.file
            && disk.exists(name).map_err(io_error)?
        {
            disk.remove(name).map_err(io_error)?;
        }
        Ok(())
    }
}
