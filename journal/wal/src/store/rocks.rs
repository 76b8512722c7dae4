//! The view in RocksDB: every option is explicit, and this is the only file that names it.
//!
//! Its own write-ahead log is off, because ours is the truth. It has one column family, small
//! memtables and one cache, so that a hub with 512 MB stays small. It is never opened with
//! memory-mapped files: their stores escape every recorder.

use std::io;
use std::path::PathBuf;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, ErrorKind, FlushOptions,
    IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::{KeyValue, Store, StoreError, StoreOp, prefix_end};
use crate::Lsn;
use crate::disk::is_full;

/// The key under which the applied LSN is stored; view keys begin with another byte.
const APPLIED_KEY: &[u8] = b"a";

/// Two memtables of this size.
const MEMTABLE_BYTES: usize = 2 << 20;
/// One block cache for everything.
const CACHE_BYTES: usize = 4 << 20;
/// Open table files.
const OPEN_FILES_MAX: i32 = 32;

/// RocksDB in a directory of its own.
pub struct RocksStore {
    dir: PathBuf,
    db: Option<DB>,
}

impl RocksStore {
    /// A view in `dir`, which is created when it is opened. Nothing is touched before that.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        RocksStore {
            dir: dir.into(),
            db: None,
        }
    }

    /// RocksDB writes its options to a file of another name first; one that a kill left behind it never
    /// removes. Nobody has the view open, for the journal's lock is ours.
    fn remove_leavings(&self) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.extension().is_some_and(|ending| ending == "dbtmp") {
                // Rubbish that stays costs a sector or three; the next start tries again.
                let _stays = std::fs::remove_file(path);
            }
        }
    }

    fn db(&self) -> Result<&DB, StoreError> {
        // A failed wipe leaves nothing open; saying "damaged" makes the owner try again.
        self.db.as_ref().ok_or_else(|| StoreError::Corrupt {
            detail: "not open".to_owned(),
        })
    }
}

fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    // Most lookups ask whether a new key is there already, and it is not.
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(2);
    options.set_db_write_buffer_size(2 * MEMTABLE_BYTES);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(2);
    options.set_max_subcompactions(1);
    options.set_compression_type(DBCompressionType::None);
    options.set_allow_mmap_reads(false);
    options.set_allow_mmap_writes(false);
    options.set_max_manifest_file_size(1 << 20);
    options.set_manifest_preallocation_size(64 << 10);
    options.set_keep_log_file_num(1);
    options.set_max_log_file_size(256 << 10);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options.set_target_file_size_base(4 << 20);
    options
}

fn error_of(error: rocksdb::Error) -> StoreError {
    let detail = error.to_string();
    // Its own word for a full disk is in no kind that reaches us, only in the text of the system's error.
    let full = ["No space left", "Disk quota", "File too large"];
    let full = full.iter().any(|words| detail.contains(words));
    match error.kind() {
        _ if full => StoreError::Full,
        // A read that fails inside a file is damage for us: the view is rebuilt elsewhere.
        _ => StoreError::Corrupt { detail },
    }
}

/// Of files that are touched without RocksDB.
fn error_of_files(source: io::Error) -> StoreError {
    match is_full(&source) {
        true => StoreError::Full,
        false => StoreError::Io { source },
    }
}

fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn read_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options
}

impl Store for RocksStore {
    fn open(&mut self) -> Result<(), StoreError> {
        std::fs::create_dir_all(&self.dir).map_err(error_of_files)?;
        self.remove_leavings();
        let db = DB::open(&options(), &self.dir).map_err(|error| {
            let locked = error.kind() == ErrorKind::IOError && error.to_string().contains("lock ");
            match error_of(error) {
                // A lock or an IO error at open is not cured by deleting files.
                StoreError::Corrupt { .. } if locked => StoreError::Io {
                    source: io::ErrorKind::WouldBlock.into(),
                },
                other => other,
            }
        })?;
        self.db = Some(db);
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db()?.get_opt(key, &read_options()).map_err(error_of)
    }

    fn range(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        let start = if from > prefix { from } else { prefix };
        let mode = IteratorMode::From(start, Direction::Forward);
        let mut pairs = Vec::new();
        if limit == 0 {
            return Ok(pairs);
        }
        for item in self.db()?.iterator_opt(mode, read_options()) {
            let (key, value) = item.map_err(error_of)?;
            if !key.starts_with(prefix) {
                break;
            }
            pairs.push((key.into_vec(), value.into_vec()));
            if pairs.len() == limit {
                break;
            }
        }
        Ok(pairs)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<KeyValue>, StoreError> {
        let end = prefix_end(prefix);
        let mut options = read_options();
        let mode = match &end {
            Some(end) => {
                options.set_iterate_upper_bound(end.clone());
                IteratorMode::End
            }
            None => IteratorMode::End,
        };
        match self.db()?.iterator_opt(mode, options).next() {
            Some(item) => {
                let (key, value) = item.map_err(error_of)?;
                let found = key.starts_with(prefix);
                Ok(found.then(|| (key.into_vec(), value.into_vec())))
            }
            None => Ok(None),
        }
    }

    fn apply(&mut self, ops: &[StoreOp], applied: Lsn) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for op in ops {
            match op {
                StoreOp::Put(key, value) => batch.put(key, value),
                StoreOp::Delete(key) => batch.delete(key),
            }
        }
        batch.put(APPLIED_KEY, applied.0.to_le_bytes());
        self.db()?
            .write_opt(batch, &write_options())
            .map_err(error_of)
    }

    fn applied_lsn(&self) -> Result<Option<Lsn>, StoreError> {
        let bytes = self.get(APPLIED_KEY)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| StoreError::Corrupt {
            detail: "applied lsn".to_owned(),
        })?;
        Ok(Some(Lsn(u64::from_le_bytes(bytes))))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db()?.flush_opt(&options).map_err(error_of)
    }

    fn wipe(&mut self) -> Result<(), StoreError> {
        // The handle goes first: its destructor may still write files.
        self.db = None;
        match std::fs::remove_dir_all(&self.dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(error_of_files(source)),
        }
        self.open()
    }
}
