//! The view with what is not in it yet laid over it.
//!
//! Keys of small values and rows of payloads share the store under different first bytes. What is
//! synced and could not be applied yet (a full disk) waits here, bounded by name; it is never
//! forgotten and never hides an error.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::store::{KeyValue, Store, StoreError, StoreOp};
use crate::txn::{Overlay, merge_scan};
use crate::{Lsn, mutant};

/// First byte of a small value's key in the store.
pub(crate) const VALUE: u8 = b's';
/// First byte of a payload row's key in the store.
pub(crate) const PAYLOAD: u8 = b'p';

/// Most bytes that commits may add while the store cannot take them.
pub(crate) const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// Operations in one batch when much is applied at once.
const BATCH_OPS: usize = 512;

/// Where a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayloadRow {
    pub(crate) file: u64,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
    pub(crate) ordinal: u64,
    pub(crate) lsn: u64,
}

impl PayloadRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match postcard::to_allocvec(self) {
            Ok(bytes) => bytes,
            Err(error) => panic!("a payload row could not be encoded: {error}"),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        postcard::from_bytes(bytes).map_err(|_| StoreError::Corrupt {
            detail: "payload row".to_owned(),
        })
    }
}

/// A key in the store.
pub(crate) fn raw_key(space: u8, key: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(key.len() + 1);
    raw.push(space);
    raw.extend_from_slice(key);
    raw
}

/// The store and what is synced but not yet in it.
pub(crate) struct View {
    pub(crate) store: Box<dyn Store>,
    waiting: Overlay<Vec<u8>>,
    /// Of what waits, the bytes that commits have added.
    committed_bytes: usize,
    /// What the store may say once it has taken what waits; `None` if nothing does.
    waiting_lsn: Option<Lsn>,
    /// The store found the disk full: bulk data is refused until it takes things again.
    pub(crate) full: bool,
}

impl View {
    pub(crate) fn new(store: Box<dyn Store>) -> Self {
        View {
            store,
            waiting: Overlay::new(),
            committed_bytes: 0,
            waiting_lsn: None,
            full: false,
        }
    }

    /// Adds what a start or a rebuild found in checkpoint and log. It is no more than was stored
    /// before, and counts for no backlog: a disk that is full is no reason to call it broken.
    pub(crate) fn enqueue(&mut self, changes: Overlay<Vec<u8>>, through: Lsn) {
        self.waiting.extend(changes);
        self.waiting_lsn = Some(through);
    }

    /// Adds what one commit made durable, and counts it: this can grow without end.
    pub(crate) fn enqueue_commit(&mut self, changes: Overlay<Vec<u8>>, through: Lsn) {
        let bytes = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
            key.len() + value.as_ref().map_or(0, Vec::len)
        };
        self.committed_bytes += changes.iter().map(bytes).sum::<usize>();
        self.enqueue(changes, through);
    }

    /// Whether something waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting_lsn.is_some()
    }

    /// Whether commits have added too much that waits.
    pub(crate) fn is_overdue(&self) -> bool {
        self.committed_bytes > BACKLOG_BYTES_MAX
    }

    /// Hands everything that waits to the store. A full disk is remembered and not an error.
    pub(crate) fn apply(&mut self) -> Result<(), StoreError> {
        let Some(through) = self.waiting_lsn else {
            return Ok(());
        };
        let ops: Vec<StoreOp> = self.waiting.iter().map(op_of).collect();
        let through = match mutant!("applied_lsn_wrong", "C7", "the view says more than it has") {
            true => through.next(),
            false => through,
        };
        match self.store.apply(&ops, through) {
            Ok(()) => {
                self.forget_waiting();
                self.full = false;
                Ok(())
            }
            Err(StoreError::Full) => {
                self.full = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the store durable; a full disk is remembered and not an error.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        match self.store.flush() {
            Err(StoreError::Full) => {
                self.full = true;
                Ok(())
            }
            result => result,
        }
    }

    pub(crate) fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.committed_bytes = 0;
        self.waiting_lsn = None;
    }

    /// Applies many changes in batches.
    pub(crate) fn apply_all(
        &mut self,
        changes: impl IntoIterator<Item = StoreOp>,
        applied: Lsn,
    ) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(BATCH_OPS);
        for change in changes {
            batch.push(change);
            if batch.len() == BATCH_OPS {
                self.store.apply(&batch, applied)?;
                batch.clear();
            }
        }
        self.store.apply(&batch, applied)
    }

    /// A raw value: from `over` (newest), then from what waits, then from the store.
    pub(crate) fn get(
        &self,
        over: Option<&Overlay<Vec<u8>>>,
        raw: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = over
            .and_then(|over| over.get(raw))
            .or_else(|| self.waiting.get(raw))
        {
            return Ok(value.clone());
        }
        self.store.get(raw)
    }

    /// Raw pairs, ascending.
    pub(crate) fn scan(
        &self,
        over: Option<&Overlay<Vec<u8>>>,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        let store = |from: &[u8], limit| self.store.range(prefix, from, limit);
        match over {
            Some(over) => merge_scan(&[over, &self.waiting], prefix, from, limit, store),
            None => merge_scan(&[&self.waiting], prefix, from, limit, store),
        }
    }

    /// The last raw pair with a prefix.
    pub(crate) fn last(
        &self,
        over: Option<&Overlay<Vec<u8>>>,
        prefix: &[u8],
    ) -> Result<Option<KeyValue>, StoreError> {
        let stored = self.store.last(prefix)?;
        let hidden = |key: &[u8]| {
            let value = over
                .and_then(|over| over.get(key))
                .or_else(|| self.waiting.get(key));
            matches!(value, Some(None))
        };
        if stored.as_ref().is_some_and(|(key, _)| hidden(key)) {
            // The stored last one is deleted above it: rare, so a plain scan is good enough.
            return Ok(self.scan(over, prefix, prefix, usize::MAX)?.pop());
        }
        let mut best = stored;
        for layer in [Some(&self.waiting), over].into_iter().flatten() {
            let range = layer.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
            let live = range
                .take_while(|(key, _)| key.starts_with(prefix))
                .filter(|(key, value)| value.is_some() && !hidden(key))
                .last();
            if let Some((key, Some(value))) = live
                && best.as_ref().is_none_or(|(found, _)| key >= found)
            {
                best = Some((key.clone(), value.clone()));
            }
        }
        Ok(best)
    }
}

pub(crate) fn op_of((key, value): (&Vec<u8>, &Option<Vec<u8>>)) -> StoreOp {
    match value {
        Some(value) => StoreOp::Put(key.clone(), value.clone()),
        None => StoreOp::Delete(key.clone()),
    }
}
