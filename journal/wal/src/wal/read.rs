//! What is stored, as it is staged or as it is synced.
//!
//! This room must never let a value out as [`Durable`] that a sync does not cover.

use super::Wal;
use crate::log_file::read_patiently;
use crate::store::KeyValue;
use crate::txn::Overlay;
use crate::view::{PAYLOAD, PayloadRow, VALUE, raw_key};
use crate::{Durable, Lsn, WalError, mutant, record};

impl Wal {
    /// The value of a key, staged transactions included.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, WalError> {
        let raw = raw_key(VALUE, key);
        self.read_view(|view| view.get(Some(&self.staged), &raw))
    }

    /// At most `limit` pairs in ascending order whose key begins with `prefix` and is not below
    /// `from`, staged transactions included.
    pub fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, WalError> {
        let (raw_prefix, raw_from) = (raw_key(VALUE, prefix), raw_key(VALUE, from));
        let pairs =
            self.read_view(|view| view.scan(Some(&self.staged), &raw_prefix, &raw_from, limit))?;
        Ok(pairs.into_iter().map(strip_pair).collect())
    }

    /// The last pair whose key begins with `prefix`.
    pub fn scan_last(&self, prefix: &[u8]) -> Result<Option<KeyValue>, WalError> {
        let raw = raw_key(VALUE, prefix);
        let pair = self.read_view(|view| view.last(Some(&self.staged), &raw))?;
        Ok(pair.map(strip_pair))
    }

    /// The bytes of a payload, staged transactions included. `PayloadDamaged` if the disk does
    /// not give back what was stored.
    pub fn payload(&self, key: &[u8]) -> Result<Option<Vec<u8>>, WalError> {
        let raw = raw_key(PAYLOAD, key);
        let Some(row) = self.read_row(Some(&self.staged), &raw)? else {
            return Ok(None);
        };
        self.payload_of(key, &row).map(Some)
    }

    /// Keys and lengths of payloads, in the manner of [`Self::scan`].
    pub fn scan_payloads(
        &self,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u32)>, WalError> {
        let (raw_prefix, raw_from) = (raw_key(PAYLOAD, prefix), raw_key(PAYLOAD, from));
        self.read_view(|view| {
            let pairs = view.scan(Some(&self.staged), &raw_prefix, &raw_from, limit)?;
            let rows = pairs.into_iter().map(|pair| {
                let (key, value) = strip_pair(pair);
                Ok((key, PayloadRow::decode(&value)?.len))
            });
            rows.collect()
        })
    }

    /// The value of a key as far as it is synced.
    pub fn durable_get(&self, key: &[u8]) -> Result<Option<Durable<Vec<u8>>>, WalError> {
        let raw = raw_key(VALUE, key);
        let value = self.read_view(|view| view.get(self.durable_over(), &raw))?;
        Ok(value.map(Durable::from_synced))
    }

    /// A payload as far as it is synced.
    pub fn durable_payload(&self, key: &[u8]) -> Result<Option<Durable<Vec<u8>>>, WalError> {
        let raw = raw_key(PAYLOAD, key);
        let Some(row) = self.read_row(self.durable_over(), &raw)? else {
            return Ok(None);
        };
        self.payload_of(key, &row)
            .map(|bytes| Some(Durable::from_synced(bytes)))
    }

    /// What lies over the view where only what is synced may be seen: nothing.
    fn durable_over(&self) -> Option<&Overlay<Vec<u8>>> {
        let blind = mutant!(
            "send_before_sync",
            "C4",
            "what is staged is read as if it were synced"
        );
        blind.then_some(&self.staged)
    }

    pub(super) fn read_row(
        &self,
        over: Option<&Overlay<Vec<u8>>>,
        raw: &[u8],
    ) -> Result<Option<PayloadRow>, WalError> {
        self.read_view(|view| match view.get(over, raw)? {
            Some(bytes) => PayloadRow::decode(&bytes).map(Some),
            None => Ok(None),
        })
    }

    fn payload_of(&self, key: &[u8], row: &PayloadRow) -> Result<Vec<u8>, WalError> {
        let len = row.len as usize;
        if let Some(bytes) = self.log.staged_bytes_of(row.file, row.offset, len) {
            return Ok(bytes.to_vec());
        }
        let flying = self.flight.as_ref().map(|flight| &flight.flying);
        if let Some(bytes) = flying.and_then(|f| f.bytes_of(row.file, row.offset, len)) {
            return Ok(bytes.to_vec());
        }
        let damaged = || WalError::PayloadDamaged {
            key: key.to_vec(),
            lsn: Lsn(row.lsn),
        };
        let file = self.log.files.get(&row.file).ok_or_else(damaged)?;
        let file = self.log.reader(file.slot).map_err(|_| damaged())?;
        let mut bytes = vec![0; len];
        let read = read_patiently(&*file, row.offset, &mut bytes).map_err(|_| damaged())?;
        let sound = read == len && record::crc_from(0, &bytes) == row.crc;
        if sound { Ok(bytes) } else { Err(damaged()) }
    }
}

fn strip_pair((mut raw, value): KeyValue) -> KeyValue {
    if !raw.is_empty() {
        raw.remove(0);
    }
    (raw, value)
}
