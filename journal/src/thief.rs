//! What somebody reads who has copied every file: for crash tests, and for nothing else.
//!
//! The keys are taken from the raw bytes of the vault, both images, whatever their checksums say; the
//! sealed values from wherever they were found. Only in a build with `crashtest`.

use std::collections::BTreeSet;

use crate::error::JournalError;
use crate::journal::{Journal, value_aad};
use crate::keys::{self, Family};
use crate::scope::Scope;
use crate::scopes::ScopeRow;
use crate::sealed::{self, Key, Salt, next_key};
use crate::session::EpochUse;
use crate::vault::file::{SECTOR_BYTES, raw_entries};

/// A small value that some file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The transaction that stored it, if it lies in the log.
    pub lsn: Option<u64>,
    /// Its key.
    pub key: Vec<u8>,
    /// Its bytes: sealed, if it is a secret.
    pub value: Vec<u8>,
}

/// A value of a group's scope that opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loot {
    /// The transaction that stored it, if it lies in the log.
    pub lsn: Option<u64>,
    /// Whether the journal says otherwise now.
    pub superseded: bool,
    /// Whether it is the secrets of an epoch, and not of its messages or of our own.
    pub epoch_secrets: bool,
    /// Its key's bytes behind the scope, in hex: family and rest.
    pub what: String,
}

/// The storage keys in the bytes of a `vault`, both images, whatever their checksums say: what no log, error
/// or note may hold.
#[must_use]
pub fn keys_in(vault: &[u8]) -> Vec<Vec<u8>> {
    let entries = vault.chunks(SECTOR_BYTES).flat_map(raw_entries);
    let keys = entries.map(|(_, _, key)| key.as_slice().to_vec());
    keys.filter(|key| key.iter().any(|byte| *byte != 0))
        .collect()
}

/// The newest transaction that finished an epoch (hub): with it the group's key was rotated.
#[must_use]
pub fn finished_at(found: &[Found]) -> Option<u64> {
    let rows = found
        .iter()
        .filter(|found| found.key.first() == Some(&b'E'));
    let finished = rows.filter(|found| {
        matches!(
            crate::codec::from_row(&found.value),
            Some(EpochUse::Finished { .. })
        )
    });
    finished.filter_map(|found| found.lsn).max()
}

/// Which sealed values of the groups' scopes in `found` open with a key in the bytes of the `vault`,
/// or with one derived from it.
///
/// # Errors
/// If the journal cannot be read.
pub fn loot(journal: &Journal, vault: &[u8], found: &[Found]) -> Result<Vec<Loot>, JournalError> {
    let mut out = Vec::new();
    let entries: Vec<(u64, u64, Key)> = vault.chunks(SECTOR_BYTES).flat_map(raw_entries).collect();
    let groups = journal.scopes.iter();
    for scope in groups.filter(|scope| matches!(scope, Scope::Group(_))) {
        let Some(current) = journal.scopes.get(scope) else {
            continue;
        };
        let salts = salts(found, current.row(), &keys::scope_row(scope));
        let mut keys: Vec<(u64, Key)> = Vec::new();
        for (_, version, key) in entries.iter().filter(|(id, _, _)| *id == current.id.0) {
            keys.push((*version, key.clone()));
            let next = salts.iter().filter(|(of, _)| *of == version + 1);
            keys.extend(next.map(|(of, salt)| (*of, next_key(key, salt))));
        }
        let prefix = keys::secret_prefix(scope);
        for Found { lsn, key, value } in found.iter().filter(|one| one.key.starts_with(&prefix)) {
            let opened = keys.iter().find_map(|(version, secret)| {
                sealed::open(secret, &value_aad(scope, *version, key), value)
            });
            let Some(opened) = opened else { continue };
            let now = journal.secret(scope, key)?;
            let rest = key.get(prefix.len()..).unwrap_or_default();
            out.push(Loot {
                lsn: *lsn,
                superseded: now.is_none_or(|now| *now != *opened),
                epoch_secrets: rest.first() == Some(&(Family::EpochSecrets as u8)),
                what: wal::note::Hex(rest).to_string(),
            });
        }
    }
    Ok(out)
}

/// What every rotation of a scope mixed in that any row tells of, also one that a power cut took back: the
/// version that it led to, and its salt.
fn salts(found: &[Found], now: ScopeRow, key: &[u8]) -> BTreeSet<(u64, Salt)> {
    let rows = found.iter().filter(|one| one.key == key);
    let rows = rows.filter_map(|one| crate::codec::from_row::<ScopeRow>(&one.value));
    rows.chain([now])
        .map(|row| (row.version, row.salt))
        .collect()
}
