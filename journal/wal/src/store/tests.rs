//! Both views must behave alike: the engine cannot tell them apart.

use super::*;
use crate::SeededDice;
use std::collections::BTreeMap;

fn check(store: &mut dyn Store) {
    store.open().unwrap();
    assert_eq!(store.applied_lsn().unwrap(), None);
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut dice = SeededDice(3);
    for lsn in 1..200u64 {
        let mut ops = Vec::new();
        for _ in 0..3 {
            let key = vec![b's', dice.below(4) as u8, dice.below(6) as u8];
            if dice.below(3) == 0 {
                model.remove(&key);
                ops.push(StoreOp::Delete(key));
            } else {
                model.insert(key.clone(), vec![lsn as u8]);
                ops.push(StoreOp::Put(key, vec![lsn as u8]));
            }
        }
        store.apply(&ops, Lsn(lsn)).unwrap();
        let prefix = [b's', dice.below(4) as u8];
        let from = [b's', dice.below(4) as u8, dice.below(6) as u8];
        let want: Vec<_> = model
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix) && key.as_slice() >= &from[..])
            .take(2)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(store.range(&prefix, &from, 2).unwrap(), want);
        let want = model.iter().rfind(|(key, _)| key.starts_with(&prefix));
        let want = want.map(|(key, value)| (key.clone(), value.clone()));
        assert_eq!(store.last(&prefix).unwrap(), want);
    }
    store.flush().unwrap();
    assert_eq!(store.applied_lsn().unwrap(), Some(Lsn(199)));
    assert_eq!(
        store.range(b"s", b"", usize::MAX).unwrap().len(),
        model.len()
    );
    store.wipe().unwrap();
    assert_eq!(store.applied_lsn().unwrap(), None);
    assert_eq!(store.range(b"", b"", 9).unwrap(), vec![]);
}

#[test]
fn the_memory_view_keeps_its_contract() {
    check(&mut MemStore::new());
}

#[test]
fn the_rocks_view_keeps_its_contract() {
    let dir = tempfile::tempdir().unwrap();
    check(&mut RocksStore::new(dir.path().join("view")));
}

/// RocksDB keeps what a kill left of a file that it had not yet renamed: one more for each such kill.
#[test]
fn what_a_kill_left_in_the_rocks_view_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let view = dir.path().join("view");
    let mut store = RocksStore::new(&view);
    store.open().unwrap();
    let put = StoreOp::Put(b"sk".to_vec(), b"v".to_vec());
    store.apply(&[put], Lsn(1)).unwrap();
    store.flush().unwrap();
    drop(store);
    let leaving = |number: u32| view.join(format!("OPTIONS-{number:06}.dbtmp"));
    for number in [7, 8_000] {
        std::fs::write(leaving(number), b"half of it").unwrap();
    }
    let mut store = RocksStore::new(&view);
    store.open().unwrap();
    assert_eq!(store.get(b"sk").unwrap(), Some(b"v".to_vec()));
    assert!(!leaving(7).exists() && !leaving(8_000).exists());
}

#[test]
fn a_prefix_ends_where_the_next_begins() {
    assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(prefix_end(&[1, 0xff]), Some(vec![2]));
    assert_eq!(prefix_end(&[0xff, 0xff]), None);
    assert_eq!(prefix_end(b""), None);
}
