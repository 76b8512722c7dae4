//! The engine's one handle. (Skeleton: every call answers `Poisoned` until it is built.)

use std::sync::Arc;

use crate::store::KeyValue;
use crate::{
    Committed, Dice, Disk, Durable, Lsn, Options, PoisonCause, Priority, RecoveryReport, Staged,
    Store, Txn, WalError,
};

/// Figures about one handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Log files that hold something.
    pub files: u64,
    /// Bytes of live payloads.
    pub live_bytes: u64,
    /// Bytes written by this handle: log, checkpoints, zero fill.
    pub bytes_written: u64,
    /// Syncs done by this handle.
    pub syncs: u64,
    /// Checkpoints made by this handle.
    pub checkpoints: u64,
    /// Bytes that a start would have to copy now.
    pub tail_bytes: u64,
}

/// The engine: one owner, one thread at a time.
pub struct Wal {
    cause: PoisonCause,
}

impl Wal {
    fn dead<T>(&self) -> Result<T, WalError> {
        Err(WalError::Poisoned(self.cause.clone()))
    }
    pub fn open(
        _disk: Arc<dyn Disk>,
        _store: Box<dyn Store>,
        _dice: Box<dyn Dice>,
        _options: Options,
    ) -> Result<(Wal, RecoveryReport), WalError> {
        Err(WalError::Locked)
    }
    pub fn get(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, WalError> {
        self.dead()
    }
    pub fn scan(&self, _prefix: &[u8], _from: &[u8], _limit: usize) -> Result<Vec<KeyValue>, WalError> {
        self.dead()
    }
    pub fn scan_last(&self, _prefix: &[u8]) -> Result<Option<KeyValue>, WalError> {
        self.dead()
    }
    pub fn payload(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, WalError> {
        self.dead()
    }
    pub fn scan_payloads(&self, _prefix: &[u8], _from: &[u8], _limit: usize) -> Result<Vec<(Vec<u8>, u32)>, WalError> {
        self.dead()
    }
    pub fn durable_get(&self, _key: &[u8]) -> Result<Option<Durable<Vec<u8>>>, WalError> {
        self.dead()
    }
    pub fn durable_payload(&self, _key: &[u8]) -> Result<Option<Durable<Vec<u8>>>, WalError> {
        self.dead()
    }
    pub fn next_lsn(&self) -> Lsn {
        Lsn::ZERO
    }
    pub fn synced_lsn(&self) -> Lsn {
        Lsn::ZERO
    }
    pub fn stage<T>(&mut self, _txn: Txn, _value: T) -> Result<Staged<T>, WalError> {
        self.dead()
    }
    pub fn commit(&mut self) -> Result<Committed, WalError> {
        self.dead()
    }
    pub fn admit(&self, _bytes: u64, _priority: Priority) -> Result<(), WalError> {
        self.dead()
    }
    pub fn checkpoint(&mut self) -> Result<(), WalError> {
        self.dead()
    }
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
    pub fn staged_bytes(&self) -> u64 {
        0
    }
    pub fn poisoned(&self) -> Option<&PoisonCause> {
        Some(&self.cause)
    }
}
