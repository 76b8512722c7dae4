//! What somebody reads who has copied every file: for crash tests, and for nothing else.
//!
//! The keys are taken from the raw bytes of the vault, both images, whatever their checksums say; the
//! sealed values from wherever they were found. Only in a build with `crashtest`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use ciborium::Value;

use crate::error::JournalError;
use crate::ids::{ClipId, PairingId};
use crate::journal::{Journal, Role, scan_all, value_aad};
use crate::keys::{self, Family};
use crate::pairing::{Offer, Request, secrets_of};
use crate::record::PairingRecord;
use crate::scope::{SCOPE_BYTES, Scope};
use crate::scopes::ScopeRow;
use crate::sealed::{self, Key, Salt, next_key};
use crate::session::EpochUse;
use crate::vault::file::{SECTOR_BYTES, raw_entries};

/// Families whose values hold secrets of MLS.
const MLS_FAMILIES: [Family; 8] = [
    Family::EpochSecrets,
    Family::MessageSecrets,
    Family::ResumptionPsks,
    Family::EpochKeyPairs,
    Family::EncryptionKeyPair,
    Family::KeyPackage,
    Family::Psk,
    Family::SignatureKeyPair,
];
/// What is below a field of OpenMLS's with one of these in its name is secret.
const MLS_SECRET_WORDS: [&str; 5] = [
    "secret",
    "psk",
    "private",
    "membership_key",
    "confirmation_key",
];
/// A shorter one is a nonce or a number.
const MLS_SECRET_BYTES_MIN: usize = 16;
/// Nesting that is followed.
const MLS_DEPTH_MAX: usize = 64;
/// The newest clips, and pictures, of a pairing whose names are sought.
const CLIP_NAMES_MAX: usize = 32;

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

/// A value that opens, of a group's scope, of a scope that lives no more, or of a clip under another key than its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loot {
    /// Whose: the key of the group's line (FORMAT.md, "Keys"); nothing of another scope.
    pub line: Vec<u8>,
    /// The transaction that stored it, if it lies in the log.
    pub lsn: Option<u64>,
    /// Whether the journal says otherwise now.
    pub superseded: bool,
    /// Whether it is the secrets of an epoch, and not of its messages or of our own.
    pub epoch_secrets: bool,
    /// Whether it is the ratchets of an epoch's messages.
    pub message_secrets: bool,
    /// Whether it belongs to nothing that lives: to a clip that was deleted (app), a copy that was released (hub), a
    /// pairing that has ended, or to a birth that was taken back.
    pub is_of_nobody: bool,
    /// Its key's bytes behind the scope, in hex: family and rest.
    pub what: String,
}

/// Who may know something that a journal keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// Nobody: it is sealed, and must stand in the clear nowhere.
    ToNobody,
    /// The relay, to which its owner shows it: mailboxes, names, admissions.
    ToRelay,
    /// The ends, which keep it in their state. The relay learns nothing of it, and people and programs are told no more
    /// than its first digits.
    ToEnds,
}

/// Something that a journal keeps, and that must not stand everywhere.
#[derive(Clone)]
pub struct Secret {
    /// What it is, for people.
    pub what: &'static str,
    /// Itself.
    pub bytes: Vec<u8>,
    /// Who may know it.
    pub shown: Shown,
}

impl Secret {
    fn kept(what: &'static str, bytes: &[u8]) -> Self {
        Self {
            what,
            bytes: bytes.to_vec(),
            shown: Shown::ToNobody,
        }
    }

    fn shown(what: &'static str, bytes: &[u8]) -> Self {
        Self {
            shown: Shown::ToRelay,
            ..Self::kept(what, bytes)
        }
    }

    fn named(what: &'static str, bytes: &[u8]) -> Self {
        Self {
            shown: Shown::ToEnds,
            ..Self::kept(what, bytes)
        }
    }
}

/// What a journal at rest knows and must have written nowhere as it is: its own and its pairings' secrets, those of
/// MLS in its groups (of the epochs they are in, the exporter's among them, and private keys), and the whole names by
/// which the relay knows it and its peers; and the names of its pairings and groups, by which the relay would know MLS's
/// own messages, and of its newest clips. Storage keys are in [`keys_in`].
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
        // A group's identifier begins with it, and stands in the header of each message of MLS.
        out.push(Secret::named("a pairing's name", &pairing.0));
        let clips = clip_names(journal, pairing);
        out.extend(clips.map(|clip| Secret::named("a clip's name", &clip.0)));
        let scope = Scope::Pairing(pairing);
        let record: Option<PairingRecord> = journal.secret_row(scope, Family::Pairing, &[])?;
        let Some(record) = record else { continue };
        out.push(Secret::kept("a wrapping key", record.send_key.as_slice()));
        let receive_key = record.receive_key.as_slice();
        out.push(Secret::kept("a wrapping key", receive_key));
        out.push(Secret::kept("a tag key", record.tag_key.as_slice()));
        out.push(Secret::shown("a device's name", &record.peer_device.0));
        for line in &record.lines {
            out.push(Secret::named("a group's name", &line.group_id));
            out.push(Secret::shown("the right to read", &line.receive.0));
            out.push(Secret::shown("the right to append", &line.send.0));
        }
    }
    out.extend(secrets_of_mls(journal)?);
    Ok(out)
}

/// The newest clips of a pairing and pictures of its events. A list that cannot be read has none: what else there is is
/// sought all the same.
fn clip_names(journal: &Journal, pairing: PairingId) -> impl Iterator<Item = ClipId> {
    let lists: [Vec<ClipId>; 2] = match journal.role() {
        Role::Hub => [journal.hub_clips(pairing), journal.hub_thumbnails(pairing)]
            .map(|list| list.into_iter().flatten().map(|clip| clip.clip).collect()),
        Role::App => [journal.app_clips(pairing), journal.app_thumbnails(pairing)]
            .map(|list| list.into_iter().flatten().map(|clip| clip.clip).collect()),
    };
    let newest = |list: Vec<ClipId>| list.into_iter().rev().take(CLIP_NAMES_MAX);
    lists.into_iter().flat_map(newest)
}

/// What the welcomes of a pairing are encrypted to: the private keys of the key packages of a phone that is in the middle
/// of one. One that is in the middle of none has none.
///
/// # Errors
/// If the journal cannot be read.
pub fn init_keys(journal: &Journal) -> Result<Vec<Vec<u8>>, JournalError> {
    let mut found = Vec::new();
    for (key, _sealed) in scan_all(&journal.wal, b"S")? {
        let Some((scope, rest)) = scope_of(&key) else {
            continue;
        };
        if rest.first() != Some(&(Family::KeyPackage as u8)) {
            continue;
        }
        let Some(bytes) = journal.secret(scope, &key)? else {
            continue;
        };
        let Some(Value::Map(fields)) = crate::codec::from_cbor::<Value>(&bytes) else {
            continue;
        };
        for (name, value) in &fields {
            if name.as_text() == Some("private_init_key") {
                below_secret(value, true, MLS_DEPTH_MAX, &mut found);
            }
        }
    }
    Ok(found)
}

/// The pairing that a phone asks for.
#[must_use]
pub fn asked_for(request: &Request) -> PairingId {
    request.pairing()
}

/// The secret of an offer, and the PSK that comes of it and of a request by it.
#[must_use]
pub fn pairing_secrets(offer: &Offer, request: &Request) -> [Key; 2] {
    secrets_of(offer, request)
}

/// What OpenMLS has stored that is secret. A value that does not open any more is nobody's.
fn secrets_of_mls(journal: &Journal) -> Result<Vec<Secret>, JournalError> {
    let mut found = Vec::new();
    for (key, _sealed) in scan_all(&journal.wal, b"S")? {
        let Some((scope, rest)) = scope_of(&key) else {
            continue;
        };
        let of_mls = |family: &Family| rest.first() == Some(&(*family as u8));
        if !MLS_FAMILIES.iter().any(of_mls) {
            continue;
        }
        let Ok(Some(bytes)) = journal.secret(scope, &key) else {
            continue;
        };
        if let Some(value) = crate::codec::from_cbor::<Value>(&bytes) {
            below_secret(&value, false, MLS_DEPTH_MAX, &mut found);
        }
    }
    let secret = |bytes: &Vec<u8>| Secret::kept("a secret of MLS", bytes);
    Ok(found.iter().map(secret).collect())
}

/// The bytes in a stored value that are or lie below something secret.
fn below_secret(value: &Value, is_secret: bool, depth: usize, found: &mut Vec<Vec<u8>>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    if let Some(bytes) = bytes_of(value) {
        if is_secret && bytes.len() >= MLS_SECRET_BYTES_MIN {
            found.push(bytes);
        }
        return;
    }
    match value {
        Value::Map(entries) => {
            for (name, inner) in entries {
                let name = name.as_text().unwrap_or_default();
                let is_named = MLS_SECRET_WORDS.iter().any(|word| name.contains(word));
                below_secret(inner, is_secret || is_named, depth, found);
            }
        }
        Value::Array(items) => {
            for inner in items {
                below_secret(inner, is_secret, depth, found);
            }
        }
        Value::Tag(_, inner) => below_secret(inner, is_secret, depth, found),
        _ => {}
    }
}

/// Bytes, written as such or as a list of numbers.
fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| u8::try_from(item.as_integer()?).ok())
            .collect(),
        _ => None,
    }
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
/// the line's key: what was stored before it is sealed under keys that a hub at rest has rotated away. Only of the epoch
/// that the journal is in: a transaction that was taken back may have finished another one.
///
/// # Errors
/// If the journal cannot be read.
pub fn finished_at(
    journal: &Journal,
    found: &[Found],
) -> Result<BTreeMap<Vec<u8>, u64>, JournalError> {
    let mut newest = BTreeMap::new();
    for Found { lsn, key, value } in found {
        let (Some(line), Some(lsn)) = (key.strip_prefix(b"E"), lsn) else {
            continue;
        };
        let now: Option<EpochUse> = journal.row(key)?;
        let is_over = |used: &EpochUse| !matches!(used, EpochUse::InUse { .. });
        let then: Option<EpochUse> = crate::codec::from_row(value);
        let (Some(then), Some(now)) = (then.filter(is_over), now.filter(is_over)) else {
            continue;
        };
        if then.epoch() == now.epoch() {
            let of_line = newest.entry(line.to_vec()).or_default();
            *of_line = u64::max(*of_line, *lsn);
        }
    }
    Ok(newest)
}

/// What the journal says now of a line's epoch, by the line's key.
///
/// # Errors
/// If the journal cannot be read.
pub fn epoch_row(journal: &Journal, line: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
    Ok(journal.wal.get(&[&b"E"[..], line].concat())?)
}

/// Which sealed values in `found`, small ones and stored chunks, open with one of the `keys` and should not, or only at
/// times: see [`Loot`]. Whose a value is, is asked when it is open.
///
/// # Errors
/// If the journal cannot be read.
pub fn loot(journal: &Journal, keys: &Keys, found: &[Found]) -> Result<Vec<Loot>, JournalError> {
    let mut out = Vec::new();
    let listed = listed_clips(journal)?;
    // What a phone has in no list is deleted, whatever became of its key.
    let is_listed = |scope| match scope {
        Scope::Clip(clip) => journal.role() == Role::Hub || listed.contains(&clip),
        _ => true,
    };
    for Found { lsn, key, value } in found {
        let Some((scope, rest)) = scope_of(key) else {
            continue;
        };
        let Some((opened, is_its_own)) = keys.open(journal, scope, key, value) else {
            continue;
        };
        let lives = journal.scopes.get(scope).is_some() && is_listed(scope);
        let line = match scope {
            Scope::Group(line) if lives => Some(line),
            // What lives under its own key is no loot.
            Scope::Clip(_) if lives && !is_its_own => None,
            _ if lives => continue,
            _ => None,
        };
        let superseded = match line {
            Some(_) => journal
                .secret(scope, key)?
                .is_none_or(|now| *now != *opened),
            None => true,
        };
        let family = rest.first().copied();
        out.push(Loot {
            line: line.map_or_else(Vec::new, |line| line.key().to_vec()),
            lsn: *lsn,
            superseded,
            epoch_secrets: family == Some(Family::EpochSecrets as u8),
            message_secrets: family == Some(Family::MessageSecrets as u8),
            is_of_nobody: line.is_none(),
            what: wal::note::Hex(rest).to_string(),
        });
    }
    Ok(out)
}

/// The clips and pictures that a phone shows its owner.
fn listed_clips(journal: &Journal) -> Result<BTreeSet<ClipId>, JournalError> {
    let mut listed = BTreeSet::new();
    for pairing in journal.pairing_ids() {
        for list in [
            keys::clip_order_prefix(pairing),
            keys::thumbnail_order_prefix(pairing),
        ] {
            let rows = scan_all(&journal.wal, &list)?.into_iter();
            listed.extend(rows.filter_map(|(_, id)| Some(ClipId(id.as_slice().try_into().ok()?))));
        }
    }
    Ok(listed)
}

/// The keys that a thief has.
pub struct Keys {
    /// Number, version, key: what any sector of the vault holds, and what each rotation leads to from there that any row
    /// tells of, also one that a power cut took back.
    all: Vec<(u64, u64, Key)>,
    /// The first number that is not given yet.
    unused: u64,
    /// Values that no key opens, with the keys that they lie under: recoveries and checkpoints copy them, and each of
    /// them has been tried with every key.
    closed: RefCell<BTreeSet<(Vec<u8>, Vec<u8>)>>,
}

impl Keys {
    /// Those in the bytes of a `vault`, both images, whatever their checksums say, and all that follow from them by
    /// what the rows in `found` tell.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn of<'a>(
        journal: &Journal,
        vault: &[u8],
        found: impl Iterator<Item = &'a Found>,
    ) -> Result<Self, JournalError> {
        let salts = salts(journal, found);
        let stored = vault.chunks(SECTOR_BYTES).flat_map(raw_entries);
        let stored: BTreeSet<(u64, u64, [u8; 32])> = stored
            .map(|(id, version, key)| (id, version, *key))
            .collect();
        let mut all = Vec::new();
        for (id, version, key) in stored {
            let key = Key::new(key);
            let then = version.wrapping_add(1);
            for salt in salts.get(&(id, then)).into_iter().flatten() {
                all.push((id, then, next_key(&key, salt)));
            }
            all.push((id, version, key));
        }
        let unused = journal.row(keys::NEXT_KEY)?.unwrap_or(1);
        Ok(Self {
            all,
            unused,
            closed: RefCell::default(),
        })
    }

    /// A value's bytes, and whether a key of the number that its scope has opened it.
    fn open(
        &self,
        journal: &Journal,
        scope: Scope,
        key: &[u8],
        value: &[u8],
    ) -> Option<(zeroize::Zeroizing<Vec<u8>>, bool)> {
        let place = (key.to_vec(), value.to_vec());
        if self.closed.borrow().contains(&place) {
            return None;
        }
        let own = journal.scopes.get(scope).map(|current| current.id.0);
        // A group is named at random, so no birth that was taken back was another one's of the same name: of keys
        // that are not given, none can be its. They are most of a vault, and groups' values are most of a log.
        let may_open = |id: u64| match (scope, own) {
            (Scope::Group(_), Some(_)) => id < self.unused,
            _ => true,
        };
        let try_one = |(id, version, secret): &(u64, u64, Key)| {
            let opened = sealed::open(secret, &value_aad(scope, *version, key), value)?;
            Some((opened, own == Some(*id)))
        };
        let (mine, others): (Vec<_>, Vec<_>) =
            self.all.iter().partition(|(id, _, _)| own == Some(*id));
        let others = others.into_iter().filter(|(id, _, _)| may_open(*id));
        let opened = mine.into_iter().chain(others).find_map(try_one);
        if opened.is_none() {
            self.closed.borrow_mut().insert(place);
        }
        opened
    }
}

/// The scope of a sealed value, small or a stored chunk, and what of its key stands behind that.
fn scope_of(key: &[u8]) -> Option<(Scope, &[u8])> {
    let (namespace, rest) = key.split_first()?;
    match namespace {
        b'S' => {
            let (scope, rest) = rest.split_at_checked(SCOPE_BYTES)?;
            Some((Scope::decode(scope)?, rest))
        }
        b'L' => {
            let (clip, index) = rest.split_first_chunk()?;
            Some((Scope::Clip(ClipId(*clip)), index))
        }
        _ => None,
    }
}

/// What every rotation mixed in that any row tells of, also one that a power cut took back, by the key's number and the
/// version that it led to.
fn salts<'a>(
    journal: &Journal,
    found: impl Iterator<Item = &'a Found>,
) -> BTreeMap<(u64, u64), BTreeSet<Salt>> {
    let rows = found.filter(|one| one.key.starts_with(keys::SCOPES));
    let rows = rows.filter_map(|one| crate::codec::from_row::<ScopeRow>(&one.value));
    let living = journal.scopes.iter();
    let living = living.filter_map(|scope| Some(journal.scopes.get(scope)?.row()));
    let mut salts: BTreeMap<_, BTreeSet<Salt>> = BTreeMap::new();
    for row in rows.chain(living) {
        let led_to = (row.key, row.version);
        salts.entry(led_to).or_default().insert(row.salt);
    }
    salts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_openmls_stores_the_secret_bytes_are_found_and_no_others() {
        let text = |name: &str| Value::Text(name.to_owned());
        let list = |byte: u8| Value::Array(vec![Value::from(byte); 32]);
        let vec = |byte| Value::Map(vec![(text("vec"), list(byte))]);
        let stored = Value::Map(vec![
            (text("public_key"), vec(1)),
            (text("private_key"), Value::Map(vec![(text("key"), vec(2))])),
            (text("serialized_context"), Value::Bytes(vec![3; 32])),
            (
                text("secret_tree"),
                Value::Map(vec![
                    (text("own_index"), Value::from(7)),
                    (
                        text("leaf_nodes"),
                        Value::Array(vec![
                            Value::Null,
                            Value::Map(vec![(text("secret"), vec(4))]),
                        ]),
                    ),
                ]),
            ),
            // A nonce.
            (text("nonce_secret"), Value::Bytes(vec![5; 12])),
        ]);
        let mut found = Vec::new();
        below_secret(&stored, false, MLS_DEPTH_MAX, &mut found);
        assert_eq!(found, [vec![2; 32], vec![4; 32]]);
    }
}
