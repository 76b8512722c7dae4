//! The view: what RocksDB says, and what its table files still hold besides.
//!
//! It is stored without compression, so superseded entries lie in table files as they were written until
//! a compaction drops the file. A block's entry is three varints (bytes shared with the key before, further
//! bytes of the key, bytes of the value), then key and value; the key ends in eight bytes of RocksDB's own.

use std::path::Path;

use rocksdb::{DB, IteratorMode, Options};

use super::{Change, What};
use crate::bytes::Reader;

/// Bytes that RocksDB adds to a key.
const TRAILER_BYTES: usize = 8;
/// Longest key that is believed.
const KEY_BYTES_MAX: usize = 4200;
/// Longest value that is believed.
const VALUE_BYTES_MAX: usize = (1 << 20) + 64;
/// First byte of the keys of small values, and what stands behind it in those that a thief looks for: sealed
/// values, and the rows of scopes with the salts of their keys.
const SMALL: u8 = b's';
const WANTED: [u8; 2] = [b'S', b'C'];
/// The key whose value is the last transaction that is in the view.
const APPLIED: &[u8] = b"a";

/// Everything that lives in it, and through which transaction; `None` if RocksDB does not open it.
pub(super) fn living(dir: &Path) -> Option<(u64, Vec<Change>)> {
    let db = DB::open_for_read_only(&Options::default(), dir, false).ok()?;
    let mut through = 0;
    let mut changes = Vec::new();
    for item in db.iterator(IteratorMode::Start) {
        // Behind a damaged block there may be more, but RocksDB does not go there; the carving does.
        let Ok((key, value)) = item else { break };
        if &*key == APPLIED {
            through = Reader::new(&value).le_u64().unwrap_or(0);
        } else if let Some((&SMALL, key)) = key.split_first() {
            changes.push(Change {
                lsn: 0,
                key: key.to_vec(),
                what: What::Put(value.into_vec()),
            });
        }
    }
    Some((through, changes))
}

/// Every sealed value and every row of a scope in a table file, living or superseded.
pub(super) fn carve(file: &[u8]) -> Vec<Change> {
    let mut found = Vec::new();
    let mut rest = file;
    // A run of entries begins with one that shares nothing.
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        let here = rest.get(at..).unwrap_or_default();
        let mut reader = Reader::new(here);
        let mut key = Vec::new();
        let mut entries = 0;
        let mut ahead = reader;
        while let Some(value) = entry(&mut ahead, &mut key) {
            reader = ahead;
            entries += 1;
            if let Some((&SMALL, key)) = user_key(&key).split_first()
                && key.first().is_some_and(|first| WANTED.contains(first))
            {
                found.push(Change {
                    lsn: 0,
                    key: key.to_vec(),
                    what: What::Put(value.to_vec()),
                });
            }
        }
        rest = match entries {
            0 => here.get(1..).unwrap_or_default(),
            _ => reader.rest(),
        };
    }
    found
}

/// Every sealed value and every row of a scope in RocksDB's own log, which the format says is empty: somebody may have
/// switched it on. What goes over from one block of that log into the next is not put together.
pub(super) fn carve_log(file: &[u8]) -> Vec<Change> {
    let mut found = Vec::new();
    let mut rest = file;
    // What is written is the byte 1, then key and value, each behind its length.
    while let Some(at) = rest.iter().position(|byte| *byte == 1) {
        let behind = rest.get(at + 1..).unwrap_or_default();
        let mut reader = Reader::new(behind);
        rest = match written(&mut reader) {
            Some(change) => {
                found.push(change);
                reader.rest()
            }
            None => behind,
        };
    }
    found
}

fn written(reader: &mut Reader<'_>) -> Option<Change> {
    let (key, value) = (reader.blob()?, reader.blob()?);
    let (&SMALL, key) = key.split_first()? else {
        return None;
    };
    let is_wanted = key.first().is_some_and(|first| WANTED.contains(first));
    is_wanted.then(|| Change {
        lsn: 0,
        key: key.to_vec(),
        what: What::Put(value.to_vec()),
    })
}

/// Whether RocksDB gives its files such names: tables, logs, and what holds numbers, options, and bounds.
pub(super) fn is_known(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((number, "sst" | "log")) => is_number(number),
        Some(("LOG.old", number)) => is_number(number),
        Some((_, ending)) => ending == "dbtmp",
        None => {
            let numbered = ["MANIFEST-", "OPTIONS-"];
            let number = numbered.iter().find_map(|start| name.strip_prefix(start));
            ["CURRENT", "IDENTITY", "LOG"].contains(&name) || number.is_some_and(is_number)
        }
    }
}

/// Whether these are digits and nothing else.
pub(super) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

fn user_key(internal: &[u8]) -> &[u8] {
    let length = internal.len().saturating_sub(TRAILER_BYTES);
    internal.get(..length).unwrap_or_default()
}

/// The next entry of a run; `key` is the one before and becomes this one's. Only entries that could be
/// ours are taken, so that a run does not begin in the middle of a value.
fn entry<'a>(reader: &mut Reader<'a>, key: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (shared, more, value) = (reader.length()?, reader.length()?, reader.length()?);
    let fits = shared <= key.len()
        && (TRAILER_BYTES..=KEY_BYTES_MAX).contains(&shared.checked_add(more)?)
        && value <= VALUE_BYTES_MAX;
    if !fits {
        return None;
    }
    let suffix = reader.take(more)?;
    let mut next = key.get(..shared)?.to_vec();
    next.extend_from_slice(suffix);
    let is_ours = matches!(next.first(), Some(b'a' | b's' | b'p'));
    // The lowest byte of the trailer is the kind of entry: a deletion or a value.
    let kind = next.get(next.len().checked_sub(TRAILER_BYTES)?)?;
    if !is_ours || *kind > 1 {
        return None;
    }
    let value = reader.take(value)?;
    *key = next;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_entries_are_found_between_other_bytes() {
        let trailer = [1, 9, 0, 0, 0, 0, 0, 0];
        let mut block = vec![0, 13, 3];
        block.extend_from_slice(b"sSone");
        block.extend_from_slice(&trailer);
        block.extend_from_slice(b"abc");
        // Shares `sS` with the one before.
        block.extend_from_slice(&[2, 11, 2]);
        block.extend_from_slice(b"two");
        block.extend_from_slice(&trailer);
        block.extend_from_slice(b"de");
        let file = [&[0, 0, 255][..], &block, &[9; 40]].concat();
        let found = carve(&file);
        let told: Vec<(&[u8], &What)> = found
            .iter()
            .map(|change| (change.key.as_slice(), &change.what))
            .collect();
        let (one, two) = (What::Put(b"abc".to_vec()), What::Put(b"de".to_vec()));
        assert_eq!(told, [(&b"Sone"[..], &one), (&b"Stwo"[..], &two)]);
        for length in 0..file.len() {
            let _total = carve(&file[..length]);
        }
    }

    #[test]
    fn superseded_values_of_a_real_view_are_found() {
        let dir = tempfile("view");
        {
            let mut options = Options::default();
            options.create_if_missing(true);
            options.set_compression_type(rocksdb::DBCompressionType::None);
            options.set_disable_auto_compactions(true);
            let db = DB::open(&options, &dir).unwrap();
            for value in [&b"old secret"[..], b"new secret"] {
                db.put(b"sSkey", value).unwrap();
                db.put(b"a", 7_u64.to_le_bytes()).unwrap();
                db.flush().unwrap();
            }
        }
        let (through, living) = living(&dir).unwrap();
        assert_eq!((through, living.len()), (7, 1));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "sst") {
                found.extend(carve(&std::fs::read(path).unwrap()));
            }
        }
        let old = What::Put(b"old secret".to_vec());
        assert!(found.iter().any(|change| change.what == old), "{found:?}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_rocksdbs_own_log_holds_is_found() {
        let dir = tempfile("log");
        let mut options = Options::default();
        options.create_if_missing(true);
        // While it is open: nobody has flushed it into a table.
        let db = DB::open(&options, &dir).unwrap();
        db.put(b"sSkey", b"a secret").unwrap();
        let (mut found, mut tables) = (Vec::new(), 0);
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(is_known(name) || name == "LOCK", "{name}");
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("log") => found.extend(carve_log(&std::fs::read(&path).unwrap())),
                Some("sst") => tables += 1,
                _ => {}
            }
        }
        drop(db);
        std::fs::remove_dir_all(&dir).unwrap();
        let told: Vec<&What> = found.iter().map(|change| &change.what).collect();
        assert_eq!((told, tables), (vec![&What::Put(b"a secret".to_vec())], 0));
        for name in ["", "12", "x.sst", "LOG.new", "MANIFEST-", "keys", "a/1.log"] {
            assert!(!is_known(name), "{name}");
        }
    }

    fn tempfile(name: &str) -> std::path::PathBuf {
        let name = format!("thief-{name}-{}", std::process::id());
        std::env::temp_dir().join(name)
    }
}
