//! A transaction: an overlay in memory in which the last writer wins.
//!
//! Nothing in here touches a disk. Intermediate values never leave it, and dropping it is the
//! rollback. It answers reads through itself, so that code inside a transaction sees its own
//! writes.

use std::collections::BTreeMap;

use crate::store::KeyValue;
use crate::{Wal, WalError};

/// Changes that become durable together or not at all.
#[derive(Default)]
#[must_use = "a transaction does nothing until it is staged; dropping it rolls it back"]
pub struct Txn {
    pub(crate) values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) payloads: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Txn {
    /// An empty transaction.
    pub fn new() -> Self {
        Txn::default()
    }

    /// Sets a small value.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.values.insert(key.into(), Some(value.into()));
    }

    /// Removes a small value.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.values.insert(key.into(), None);
    }

    /// Stores a payload, whose bytes live in the log only. Payload keys are their own key space.
    /// An earlier payload under the same key is freed.
    pub fn put_payload(&mut self, key: impl Into<Vec<u8>>, bytes: impl Into<Vec<u8>>) {
        self.payloads.insert(key.into(), Some(bytes.into()));
    }

    /// Frees a payload.
    pub fn delete_payload(&mut self, key: impl Into<Vec<u8>>) {
        self.payloads.insert(key.into(), None);
    }

    /// The value of a key as this transaction sees it.
    pub fn get(&self, wal: &Wal, key: &[u8]) -> Result<Option<Vec<u8>>, WalError> {
        match self.values.get(key) {
            Some(value) => Ok(value.clone()),
            None => wal.get(key),
        }
    }

    /// A payload as this transaction sees it.
    pub fn payload(&self, wal: &Wal, key: &[u8]) -> Result<Option<Vec<u8>>, WalError> {
        match self.payloads.get(key) {
            Some(bytes) => Ok(bytes.clone()),
            None => wal.payload(key),
        }
    }

    /// At most `limit` pairs, ascending, with `prefix` and not below `from`, as this transaction
    /// sees them.
    pub fn scan(
        &self,
        wal: &Wal,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, WalError> {
        merge_scan(&[&self.values], prefix, from, limit, |from, limit| {
            wal.scan(prefix, from, limit)
        })
    }

    /// Takes out what `wanted` accepts: for the deliberate bugs that split a transaction.
    pub fn split_off(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Self {
        let take = |from: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>| {
            let (taken, kept) = std::mem::take(from)
                .into_iter()
                .partition(|(key, _)| wanted(key));
            *from = kept;
            taken
        };
        Txn {
            values: take(&mut self.values),
            payloads: take(&mut self.payloads),
        }
    }

    /// Bytes of keys, values and payloads that it holds.
    pub fn bytes(&self) -> u64 {
        let maps = self.values.iter().chain(&self.payloads);
        maps.map(|(key, value)| (key.len() + value.as_ref().map_or(0, Vec::len)) as u64)
            .sum()
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.payloads.is_empty()
    }
}

/// An overlay: a value, or a deletion that hides one.
pub(crate) type Overlay<V> = BTreeMap<Vec<u8>, Option<V>>;

/// Merges overlays (the first one wins) over a base that is read page by page.
pub(crate) fn merge_scan<V: Clone, E>(
    overlays: &[&Overlay<V>],
    prefix: &[u8],
    from: &[u8],
    limit: usize,
    mut base: impl FnMut(&[u8], usize) -> Result<Vec<(Vec<u8>, V)>, E>,
) -> Result<Vec<(Vec<u8>, V)>, E> {
    let start = if from > prefix { from } else { prefix };
    let mut merged: Overlay<V> = BTreeMap::new();
    for overlay in overlays.iter().rev() {
        let range = overlay
            .range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Unbounded));
        for (key, value) in range.take_while(|(key, _)| key.starts_with(prefix)) {
            merged.insert(key.clone(), value.clone());
        }
    }
    let mut out = Vec::new();
    let mut next = start.to_vec();
    while out.len() < limit {
        // Each page asks for one more than the hidden keys could swallow.
        let want = (limit - out.len())
            .saturating_add(merged.len().min(1024))
            .min(4096);
        let page = base(&next, want)?;
        let exhausted = page.len() < want;
        let page_end = page.last().map(|(key, _)| key.clone());
        for (key, value) in page {
            merged.entry(key).or_insert(Some(value));
        }
        // Only keys up to the end of the page are final, unless the base has no more.
        while let Some(entry) = merged.first_entry() {
            let beyond = page_end.as_ref().is_none_or(|end| entry.key() > end);
            if out.len() == limit || (beyond && !exhausted) {
                break;
            }
            let (key, value) = entry.remove_entry();
            if let Some(value) = value {
                out.push((key, value));
            }
        }
        if exhausted {
            break;
        }
        if let Some(mut end) = page_end {
            end.push(0);
            next = end;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededDice;

    #[test]
    fn merged_scans_agree_with_one_map() {
        let mut dice = SeededDice(11);
        for _ in 0..2000 {
            let mut base: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
            let mut over: [Overlay<u64>; 2] = Default::default();
            for _ in 0..dice.below(12) {
                base.insert(
                    vec![dice.below(2) as u8, dice.below(8) as u8],
                    dice.next_u64(),
                );
            }
            let mut want = base.clone();
            for layer in [1, 0] {
                for _ in 0..dice.below(6) {
                    let key = vec![dice.below(2) as u8, dice.below(8) as u8];
                    let value = (dice.below(2) == 0).then(|| dice.next_u64());
                    over[layer].insert(key, value);
                }
                for (key, value) in &over[layer] {
                    match value {
                        Some(value) => want.insert(key.clone(), *value),
                        None => want.remove(key),
                    };
                }
            }
            let prefix = [dice.below(2) as u8];
            let from = [dice.below(2) as u8, dice.below(8) as u8];
            let limit = dice.below(6) as usize;
            let select = |map: &BTreeMap<Vec<u8>, u64>, from: &[u8], limit: usize| {
                map.iter()
                    .filter(|(key, _)| key.starts_with(&prefix) && key.as_slice() >= from)
                    .take(limit)
                    .map(|(key, value)| (key.clone(), *value))
                    .collect::<Vec<_>>()
            };
            let got = merge_scan(
                &[&over[0], &over[1]],
                &prefix,
                &from,
                limit,
                |from, limit| Ok::<_, ()>(select(&base, from, limit)),
            );
            assert_eq!(got, Ok(select(&want, &from, limit)));
        }
    }

    #[test]
    fn the_last_writer_wins() {
        let mut txn = Txn::new();
        assert!(txn.is_empty());
        txn.put("k", "1");
        txn.put("k", "22");
        assert_eq!(txn.bytes(), 3);
        txn.delete("k");
        assert_eq!(txn.bytes(), 1);
        assert!(!txn.is_empty());
    }
}
