//! What somebody reads who has copied every file: for crash tests, and for nothing else.
//!
//! The keys are taken from the raw bytes of the vault, both images, whatever their checksums say; the
//! sealed values from wherever they were found. Only in a build with `crashtest`.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::JournalError;
use crate::journal::{Journal, value_aad};
use crate::keys::{self, Family};
use crate::pairing::Offer;
use crate::record::PairingRecord;
use crate::scope::{SCOPE_BYTES, Scope};
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

/// A value of a group's scope that opens, or of a clip's that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loot {
    /// Whose: the key of the group's line (FORMAT.md, "Keys"); nothing of a clip.
    pub line: Vec<u8>,
    /// The transaction that stored it, if it lies in the log.
    pub lsn: Option<u64>,
    /// Whether the journal says otherwise now.
    pub superseded: bool,
    /// Whether it is the secrets of an epoch, and not of its messages or of our own.
    pub epoch_secrets: bool,
    /// Whether it is of a clip that was deleted (app), or of a copy that was released (hub).
    pub is_of_ended_clip: bool,
    /// Its key's bytes behind the scope, in hex: family and rest.
    pub what: String,
}

/// Something that a journal keeps sealed, and that must stand in the clear nowhere.
#[derive(Clone)]
pub struct Secret {
    /// What it is, for people.
    pub what: &'static str,
    /// Itself.
    pub bytes: Vec<u8>,
    /// Whether its owner shows it to the relay, which may then know it: mailboxes, names, admissions.
    pub is_shown_to_relay: bool,
}

impl Secret {
    fn kept(what: &'static str, bytes: &[u8]) -> Self {
        Self {
            what,
            bytes: bytes.to_vec(),
            is_shown_to_relay: false,
        }
    }

    fn shown(what: &'static str, bytes: &[u8]) -> Self {
        Self {
            is_shown_to_relay: true,
            ..Self::kept(what, bytes)
        }
    }
}

/// What a journal at rest knows and must have written nowhere as it is: its own and its pairings' secrets,
/// and the whole names by which the relay knows it and its peers. Storage keys are in [`keys_in`].
///
/// # Errors
/// If the journal cannot be read.
pub fn secrets(journal: &Journal) -> Result<Vec<Secret>, JournalError> {
    let mut out = Vec::new();
    if let Some(device) = journal.known_device()? {
        out.push(Secret::kept("a device secret", &device.secret));
        let seed = device.identity_seed.as_slice();
        out.push(Secret::kept("a device's identity key", seed));
        let certificate = device.certificate.as_deref().unwrap_or_default();
        out.push(Secret::shown("a certificate of the relay", certificate));
    }
    for (_, passed) in crate::passed::passed(journal)? {
        let text = passed.as_ref().map_or("", |passed| passed.code.text());
        out.extend(secrets_of_code(text));
    }
    for pairing in journal.pairing_ids() {
        let scope = Scope::Pairing(pairing);
        let record: Option<PairingRecord> = journal.secret_row(scope, Family::Pairing, &[])?;
        let Some(record) = record else { continue };
        out.push(Secret::kept("a wrapping key", record.send_key.as_slice()));
        let receive_key = record.receive_key.as_slice();
        out.push(Secret::kept("a wrapping key", receive_key));
        out.push(Secret::kept("a tag key", record.tag_key.as_slice()));
        out.push(Secret::shown("a device's name", &record.peer_device.0));
        for line in &record.lines {
            out.push(Secret::shown("the right to read", &line.receive.0));
            out.push(Secret::shown("the right to append", &line.send.0));
        }
    }
    Ok(out)
}

/// What the text of a pairing code is worth. Nothing, if it is none.
#[must_use]
pub fn secrets_of_code(text: &str) -> Vec<Secret> {
    let Ok(offer) = Offer::from_text(text) else {
        return Vec::new();
    };
    vec![
        Secret::kept("a code's secret", offer.secret().as_slice()),
        Secret::shown("a phone's invitation", &offer.invitation),
    ]
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

/// The newest transaction that finished an epoch of each line (hub), or took something in one that was finished, by
/// the line's key: what was stored before it is sealed under keys that a hub at rest has rotated away.
#[must_use]
pub fn finished_at(found: &[Found]) -> BTreeMap<Vec<u8>, u64> {
    let mut newest = BTreeMap::new();
    for Found { lsn, key, value } in found {
        let (Some(line), Some(lsn)) = (key.strip_prefix(b"E"), lsn) else {
            continue;
        };
        if let Some(EpochUse::Finished { .. } | EpochUse::Stirred { .. }) =
            crate::codec::from_row(value)
        {
            let of_line = newest.entry(line.to_vec()).or_default();
            *of_line = u64::max(*of_line, *lsn);
        }
    }
    newest
}

/// Which sealed values of the groups' scopes in `found` open with a key in the bytes of the `vault`,
/// or with one derived from it; and which of clips that have ended, under a key that is nobody's any more.
///
/// # Errors
/// If the journal cannot be read.
pub fn loot(journal: &Journal, vault: &[u8], found: &[Found]) -> Result<Vec<Loot>, JournalError> {
    let mut out = Vec::new();
    let entries: Vec<(u64, u64, Key)> = vault.chunks(SECTOR_BYTES).flat_map(raw_entries).collect();
    for scope in journal.scopes.iter() {
        let Scope::Group(line) = scope else {
            continue;
        };
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
                line: line.key().to_vec(),
                lsn: *lsn,
                superseded: now.is_none_or(|now| *now != *opened),
                epoch_secrets: rest.first() == Some(&(Family::EpochSecrets as u8)),
                is_of_ended_clip: false,
                what: wal::note::Hex(rest).to_string(),
            });
        }
    }
    out.extend(of_ended_clips(journal, &entries, found)?);
    Ok(out)
}

/// A key that was given and belongs to no scope should be in no image. One that was not given yet is another
/// clip's to come: a transaction that was never synced may have sealed under it, and went no further.
fn of_ended_clips(
    journal: &Journal,
    entries: &[(u64, u64, Key)],
    found: &[Found],
) -> Result<Vec<Loot>, JournalError> {
    let unused: u64 = journal.row(keys::NEXT_KEY)?.unwrap_or(1);
    let scopes = journal.scopes.iter();
    let living: Vec<u64> = scopes
        .filter_map(|scope| Some(journal.scopes.get(scope)?.id.0))
        .collect();
    let left: Vec<_> = entries
        .iter()
        .filter(|(id, _, _)| *id < unused && !living.contains(id))
        .collect();
    let mut out = Vec::new();
    for Found { lsn, key, value } in found {
        let Some(scope) = ended_clip(journal, key) else {
            continue;
        };
        let opens = |(_, version, secret): &&(u64, u64, Key)| {
            sealed::open(secret, &value_aad(scope, *version, key), value).is_some()
        };
        if left.iter().any(opens) {
            out.push(Loot {
                line: Vec::new(),
                lsn: *lsn,
                superseded: true,
                epoch_secrets: false,
                is_of_ended_clip: true,
                what: wal::note::Hex(key).to_string(),
            });
        }
    }
    Ok(out)
}

/// The scope of a sealed value, if it is a clip's that lives no more.
fn ended_clip(journal: &Journal, key: &[u8]) -> Option<Scope> {
    let (namespace, rest) = key.split_first()?;
    let scope = Scope::decode(rest.get(..SCOPE_BYTES)?)?;
    let is_clip = *namespace == b'S' && matches!(scope, Scope::Clip(_));
    (is_clip && journal.scopes.get(scope).is_none()).then_some(scope)
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
