//! The table of scopes in memory: which key each has now, and what the vault must still be told.
//!
//! The log says which scopes exist and at which version; the vault has the keys. This room brings
//! the two together at open and keeps them together after each commit. It never writes the log.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wal::{Dice, Lsn, mutant};

use crate::error::JournalError;
use crate::scope::Scope;
use crate::sealed::{Key, Salt, next_key};
use crate::vault::{Change, KeyId, Vault, VaultKey};

/// How many unused keys the vault is filled up to.
const POOL_KEYS: usize = 48;
/// Below this many unused keys the next vault write tops the pool up.
const POOL_LOW: usize = 16;

/// A scope's row in the journal: plain, because neither a version nor a salt is a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ScopeRow {
    pub(crate) key: u64,
    pub(crate) version: u64,
    /// Of the rotation that led to this version; zero at version 0.
    pub(crate) salt: Salt,
}

/// A scope's key as it is now.
#[derive(Clone)]
pub(crate) struct ScopeKey {
    pub(crate) id: KeyId,
    pub(crate) version: u64,
    pub(crate) salt: Salt,
    pub(crate) key: Key,
}

impl ScopeKey {
    pub(crate) fn row(&self) -> ScopeRow {
        ScopeRow {
            key: self.id.0,
            version: self.version,
            salt: self.salt,
        }
    }

    /// A scope's first key.
    fn born(id: KeyId, key: &Key) -> Box<Self> {
        Box::new(Self {
            id,
            version: 0,
            salt: Salt::default(),
            key: key.clone(),
        })
    }

    /// The key after one more rotation, another one each time that this is asked for.
    pub(crate) fn rotated(&self, dice: &mut dyn Dice) -> Box<Self> {
        let mut salt = Salt::default();
        if !mutant!(
            "rotation_without_salt",
            "S3",
            "each rotation of a key leads to the same one: what one that was taken back had sealed opens with the next"
        ) {
            dice.fill(&mut salt);
        }
        Box::new(Self {
            id: self.id,
            version: self.version + 1,
            salt,
            key: next_key(&self.key, &salt),
        })
    }

    /// As the vault has it.
    fn in_vault(&self) -> VaultKey {
        VaultKey {
            version: self.version,
            key: self.key.clone(),
        }
    }
}

/// An unused key.
type Fresh = (KeyId, Box<Key>);

/// Each key in it has a place of its own, which is wiped when it goes: a map moves its values about, and leaves copies of
/// them behind in memory. So does a list that grows: those of changes get their room when they are made.
pub(crate) struct Scopes {
    live: BTreeMap<Scope, Box<ScopeKey>>,
    /// Unused keys, ascending; all at or above the journal's next-key row.
    pool: BTreeMap<KeyId, Box<Key>>,
    next_pool: u64,
    /// What the vault must be told once the log is synced through the number beside it.
    owed: BTreeMap<KeyId, (Lsn, Option<Box<VaultKey>>)>,
    vault: Box<dyn Vault>,
}

impl Scopes {
    /// Joins the journal's rows with the vault: derives forward what was rotated, erases what
    /// ended, makes the pool anew. When it returns, both images of the vault are equal and current.
    pub(crate) fn open(
        mut vault: Box<dyn Vault>,
        rows: &[(Scope, ScopeRow)],
        next_key_row: u64,
        dice: &mut dyn Dice,
    ) -> Result<Self, JournalError> {
        let mut keys = vault.load()?;
        let mut changes = list_of(keys.len());
        let mut live = BTreeMap::new();
        for &(scope, row) in rows {
            let id = KeyId(row.key);
            let mismatch = |vault| JournalError::VaultMismatch {
                scope,
                log: row.version,
                vault,
            };
            let Some(mut entry) = keys.remove(&id) else {
                return Err(mismatch(None));
            };
            // INVARIANT: at most one rotation is ahead of the vault, because a second one of the
            // same scope waits until both images hold the first. A vault ahead of the log means
            // that the log is an older copy.
            match row.version.checked_sub(entry.version) {
                Some(0) => {}
                Some(1) => {
                    entry.key = next_key(&entry.key, &row.salt);
                    entry.version = row.version;
                    changes.push((id, Some(VaultKey::clone(&entry))));
                }
                _ => return Err(mismatch(Some(entry.version))),
            }
            live.insert(
                scope,
                Box::new(ScopeKey {
                    id,
                    version: entry.version,
                    salt: row.salt,
                    // Not moved: what is left of it where it was would not be wiped.
                    key: entry.key.clone(),
                }),
            );
        }
        let mut pool = BTreeMap::new();
        let mut next_pool = next_key_row.max(1);
        for (id, entry) in keys {
            if id.0 >= next_key_row {
                // A birth that a power cut took back may have sealed under the old key, and its group lies
                // in the log until the file is used again: nothing that is born from now on shares that key.
                next_pool = next_pool.max(id.0 + 1);
                let key = match mutant!(
                    "pool_kept",
                    "S3",
                    "a key of the pool under which a birth sealed that was taken back is given away once more"
                ) {
                    true => Box::new(entry.key.clone()),
                    false => random_key(dice),
                };
                changes.push(given(id, &key));
                pool.insert(id, key);
            } else {
                // Its scope ended, and the end was durable before this key could be erased.
                changes.push((id, None));
            }
        }
        let mut scopes = Self {
            live,
            pool,
            next_pool,
            owed: BTreeMap::new(),
            vault,
        };
        scopes.store(changes, POOL_KEYS, dice)?;
        Ok(scopes)
    }

    pub(crate) fn get(&self, scope: Scope) -> Option<&ScopeKey> {
        self.live.get(&scope).map(Box::as_ref)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.live.keys().copied()
    }

    /// Whether a rotation of this scope is not yet in both images, so that another must wait.
    pub(crate) fn owes(&self, scope: Scope) -> bool {
        self.live
            .get(&scope)
            .is_some_and(|key| self.owed.contains_key(&key.id))
    }

    /// Whether the vault is to be told something of what the log holds `through` this.
    pub(crate) fn owes_through(&self, through: Lsn) -> bool {
        self.owed.values().any(|(lsn, _)| *lsn <= through)
    }

    /// The `n`-th unused key, as the first key of a new scope.
    ///
    /// # Errors
    /// If the pool is empty it is filled first, which costs two syncs. [`JournalError::VaultFull`] if
    /// that is not possible: nothing is wrong, and keys come free when scopes end.
    pub(crate) fn pooled(
        &mut self,
        n: usize,
        dice: &mut dyn Dice,
    ) -> Result<Box<ScopeKey>, JournalError> {
        if self.pool.len() <= n {
            self.store(Vec::new(), POOL_KEYS, dice)?;
        }
        mutant!("birth_after_the_log", "C7", "a new key is made on the spot, unknown to the vault" => {
            let id = KeyId(self.next_pool);
            self.next_pool += 1;
            return Ok(ScopeKey::born(id, &random_key(dice)));
        });
        let Some((id, key)) = self.pool.iter().nth(n) else {
            return Err(match n < POOL_KEYS {
                true => JournalError::VaultFull,
                false => {
                    JournalError::Misuse("more scopes born in one transaction than the pool holds")
                }
            });
        };
        Ok(ScopeKey::born(*id, key))
    }

    /// The staged transaction holds these changes; the vault hears of them after the sync.
    pub(crate) fn staged(
        &mut self,
        born: &BTreeMap<Scope, Box<ScopeKey>>,
        rotated: &BTreeMap<Scope, Box<ScopeKey>>,
        ended: &BTreeSet<Scope>,
        lsn: Lsn,
    ) {
        for (scope, key) in born {
            self.pool.remove(&key.id);
            mutant!("birth_after_the_log", "C7", "and reaches the vault after the log" => {
                self.owed.insert(key.id, (lsn, Some(Box::new(key.in_vault()))));
            });
            self.live.insert(*scope, key.clone());
        }
        for (scope, key) in rotated {
            let change = Some(Box::new(key.in_vault()));
            self.owed.insert(key.id, (lsn, change));
            self.live.insert(*scope, key.clone());
        }
        for scope in ended {
            if let Some(key) = self.live.remove(scope) {
                mutant!("copy_outlives_ack", "S3", "the key of a clip that has ended stays in the vault" => {
                    if matches!(scope, Scope::Clip(_)) {
                        continue;
                    }
                });
                self.owed.insert(key.id, (lsn, None));
            }
        }
    }

    /// After the log was synced `through`: brings the vault up to date, both images.
    pub(crate) fn settle(&mut self, through: Lsn, dice: &mut dyn Dice) -> Result<(), JournalError> {
        let (due, later): (BTreeMap<_, _>, BTreeMap<_, _>) = core::mem::take(&mut self.owed)
            .into_iter()
            .partition(|(_, (lsn, _))| *lsn <= through);
        self.owed = later;
        if due.is_empty() {
            return Ok(());
        }
        let mut changes = list_of(due.len());
        for (id, (_, change)) in due {
            changes.push((id, change.as_deref().cloned()));
        }
        self.store(changes, POOL_LOW, dice)
    }

    /// Stores what the vault owes, and fills the pool if it holds less than `low`.
    ///
    /// New keys that fit in place share the writes of `changes`. Where the vault must grow for them,
    /// they come after these, because growing may find the disk full, and that is nobody's error: a
    /// smaller pool is as good.
    fn store(
        &mut self,
        mut changes: Vec<Change>,
        low: usize,
        dice: &mut dyn Dice,
    ) -> Result<(), JournalError> {
        let room = self.vault.room();
        // What is erased makes room at once.
        let erased = changes.iter().filter(|(_, key)| key.is_none()).count();
        let wanted = match self.pool.len() < low {
            true => POOL_KEYS.saturating_sub(self.pool.len()),
            false => 0,
        };
        let mut fresh = self.make_keys(wanted.min(room.at_most + erased), dice);
        let in_place = (room.in_place + erased).min(fresh.len());
        let growing = fresh.split_off(in_place);
        changes.extend(fresh.iter().map(|(id, key)| given(*id, key)));
        if !changes.is_empty() {
            self.vault.store(&changes).map_err(JournalError::Vault)?;
            self.pool.extend(fresh);
        }
        if growing.is_empty() {
            return Ok(());
        }
        let changes = growing.iter().map(|(id, key)| given(*id, key));
        let changes: Vec<Change> = changes.collect();
        match self.vault.store(&changes) {
            Ok(()) => {
                self.pool.extend(growing);
                Ok(())
            }
            Err(error) if wal::disk::is_full(&error) => {
                tracing::debug!("no room for more keys in the vault");
                Ok(())
            }
            Err(error) => Err(JournalError::Vault(error)),
        }
    }

    fn make_keys(&mut self, count: usize, dice: &mut dyn Dice) -> Vec<Fresh> {
        let make = |_| {
            let id = KeyId(self.next_pool);
            self.next_pool += 1;
            (id, random_key(dice))
        };
        (0..count).map(make).collect()
    }

    /// The key that the next birth is given.
    #[cfg(test)]
    pub(crate) fn next_in_pool(&self) -> Option<&Key> {
        self.pool.values().next().map(Box::as_ref)
    }
}

/// An empty list of changes with room for so many, and for all new keys that may come behind them.
fn list_of(changes: usize) -> Vec<Change> {
    Vec::with_capacity(changes + POOL_KEYS)
}

/// What the vault is told of a new key.
fn given(id: KeyId, key: &Key) -> Change {
    let key = key.clone();
    (id, Some(VaultKey { version: 0, key }))
}

/// Made where it stays.
fn random_key(dice: &mut dyn Dice) -> Box<Key> {
    let mut key = Box::<Key>::default();
    dice.fill(key.as_mut_slice());
    key
}
