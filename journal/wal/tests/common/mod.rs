//! What the tests share: small journals, a random workload, and the oracle.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::disk::{Disk, SimDisk};
use wal::store::MemStore;
use wal::{Lsn, Options, RecoveryReport, SeededDice, Txn, Wal, WalError};

/// A log file of 64 KiB makes rotations frequent.
pub(crate) fn small() -> Options {
    Options {
        log_file_bytes: 64 << 10,
        grow_bytes: 16 << 10,
        spare_files_max: 3,
        ballast_bytes: 32 << 10,
    }
}

pub(crate) fn open(disk: &SimDisk, seed: u64) -> Result<(Wal, RecoveryReport), WalError> {
    open_with(disk, seed, small())
}

pub(crate) fn open_with(
    disk: &SimDisk,
    seed: u64,
    options: Options,
) -> Result<(Wal, RecoveryReport), WalError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = MemStore::on_disk(Arc::clone(&disk), "view");
    Wal::open(disk, Box::new(store), Box::new(SeededDice(seed)), options)
}

/// A transaction with one small value and perhaps a payload.
pub(crate) fn put(wal: &mut Wal, key: &str, value: &str) -> Lsn {
    let mut txn = Txn::new();
    txn.put(key, value);
    let staged = wal.stage(txn, ()).unwrap();
    let lsn = staged.lsn();
    drop(wal.commit().unwrap().redeem(staged));
    lsn
}

pub(crate) fn put_payload(wal: &mut Wal, key: &str, bytes: Vec<u8>) -> Lsn {
    let mut txn = Txn::new();
    txn.put_payload(key, bytes);
    let staged = wal.stage(txn, ()).unwrap();
    let lsn = staged.lsn();
    drop(wal.commit().unwrap().redeem(staged));
    lsn
}

pub(crate) fn text(wal: &Wal, key: &str) -> Option<String> {
    wal.get(key.as_bytes())
        .unwrap()
        .map(|value| String::from_utf8(value).unwrap())
}

/// The bytes that a payload key always has in the workload, so that a mix-up is seen.
pub(crate) fn pattern(key: u64, version: u64, len: usize) -> Vec<u8> {
    let mut dice = SeededDice(key << 32 | version);
    let mut bytes = vec![0; len];
    wal::Dice::fill(&mut dice, &mut bytes);
    bytes
}

/// What a journal should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub values: BTreeMap<Vec<u8>, Vec<u8>>,
    pub payloads: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One random transaction, applied to the model as well. Every one counts itself, so that each
/// prefix of the history is a different state.
pub(crate) fn random_txn(dice: &mut SeededDice, number: u64, model: &mut Model) -> Txn {
    let mut txn = Txn::new();
    let count = number.to_le_bytes().to_vec();
    txn.put("count", count.clone());
    model.values.insert(b"count".to_vec(), count);
    for _ in 0..dice.below(4) {
        let key = format!("k{}", dice.below(12)).into_bytes();
        if dice.below(4) == 0 {
            txn.delete(key.clone());
            model.values.remove(&key);
        } else {
            let value = pattern(1, number, 1 + dice.below(300) as usize);
            txn.put(key.clone(), value.clone());
            model.values.insert(key, value);
        }
    }
    for _ in 0..dice.below(3) {
        let n = dice.below(8);
        let key = format!("p{n}").into_bytes();
        if dice.below(3) == 0 {
            txn.delete_payload(key.clone());
            model.payloads.remove(&key);
        } else {
            let bytes = pattern(n, number, dice.below(6000) as usize);
            txn.put_payload(key.clone(), bytes.clone());
            model.payloads.insert(key, bytes);
        }
    }
    txn
}

/// Everything that a journal holds.
pub(crate) fn dump(wal: &Wal) -> Result<Model, WalError> {
    let mut model = Model::default();
    model.values.extend(wal.scan(b"", b"", usize::MAX)?);
    for (key, len) in wal.scan_payloads(b"", b"", usize::MAX)? {
        let bytes = wal.payload(&key)?.expect("a listed payload is there");
        assert_eq!(bytes.len(), len as usize);
        model.payloads.insert(key, bytes);
    }
    Ok(model)
}

/// How many transactions of the history a journal holds.
pub(crate) fn count(model: &Model) -> usize {
    let bytes = model.values.get(b"count".as_slice());
    bytes.map_or(0, |bytes| {
        u64::from_le_bytes(bytes.clone().try_into().unwrap()) as usize
    })
}

/// The oracle: a whole prefix of the history, all that was acknowledged in it.
pub(crate) fn check(wal: &Wal, history: &[Model], acked: u64, context: &str) -> usize {
    let found = dump(wal).unwrap_or_else(|error| panic!("{context}: {error}"));
    let n = count(&found);
    assert!(
        n as u64 >= acked,
        "{context}: {acked} were acknowledged and {n} are there"
    );
    assert_eq!(
        &found, &history[n],
        "{context}: not a prefix of the history"
    );
    n
}
