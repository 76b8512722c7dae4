//! A transaction of the journal: an overlay of rows, payloads and secret values in which the last
//! writer wins, turned into one record group by [`Txn::stage`].
//!
//! OpenMLS makes thirteen calls to merge one Commit and dying after most of them would part hub and
//! app for good; here they land in the overlay, intermediate values are never encoded, and dropping
//! the transaction is the rollback. Secret values are sealed when the transaction is staged, because
//! only then is it certain under which key version (scenarios 15 and 26).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use wal::{Staged, mutant, note_forget};
use zeroize::Zeroizing;

use crate::codec;
use crate::error::JournalError;
use crate::journal::{Journal, scan_all, value_aad};
use crate::keys::{self, Family};
use crate::scope::Scope;
use crate::scopes::ScopeKey;
use crate::sealed;

/// What became of a transaction, shared with every in-memory MLS handle that took part in it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome(Arc<AtomicU8>);

impl Outcome {
    const OPEN: u8 = 0;
    const STAGED: u8 = 1;
    const DROPPED: u8 = 2;

    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Self::OPEN)))
    }

    /// True once the transaction was staged; false while it is open or after it was dropped.
    pub(crate) fn is_staged(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::STAGED
    }

    /// Whether both name the same transaction.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A secret value to be sealed, or `None` for its deletion.
type Secret = Option<Zeroizing<Vec<u8>>>;

/// Values of a pairing that has ended whose rows one transaction removes: under 16 KiB in the log. A hub
/// keeps one for each clip, and none of them goes while nobody acks.
const ENDED_VALUES_MAX: usize = 128;

/// What [`Txn::secrets_so_far`] remembers.
pub(crate) struct Secrets(BTreeMap<Vec<u8>, (Scope, Secret)>);

/// A transaction. See the module's documentation; made by [`Journal::begin`].
#[must_use = "dropping a transaction rolls it back"]
pub struct Txn<'j> {
    journal: &'j mut Journal,
    rows: wal::Txn,
    secrets: BTreeMap<Vec<u8>, (Scope, Secret)>,
    born: BTreeMap<Scope, Box<ScopeKey>>,
    births: usize,
    rotate: BTreeSet<Scope>,
    ended: BTreeSet<Scope>,
    outcome: Outcome,
}

impl<'j> Txn<'j> {
    pub(crate) fn new(journal: &'j mut Journal) -> Self {
        Self {
            journal,
            rows: wal::Txn::new(),
            secrets: BTreeMap::new(),
            born: BTreeMap::new(),
            births: 0,
            rotate: BTreeSet::new(),
            ended: BTreeSet::new(),
            outcome: Outcome::new(),
        }
    }

    pub(crate) fn journal(&self) -> &Journal {
        self.journal
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Throws the dice of the journal.
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.journal.dice.fill(&mut out);
        out
    }

    pub(crate) fn dice(&mut self) -> &mut dyn wal::Dice {
        &mut *self.journal.dice
    }

    // Plain rows.

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.rows.put(key.to_vec(), value.to_vec());
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.rows.delete(key.to_vec());
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.rows.get(&self.journal.wal, key)?)
    }

    pub(crate) fn put_row<T: Serialize>(
        &mut self,
        key: &[u8],
        value: &T,
    ) -> Result<(), JournalError> {
        let bytes = codec::to_row(value).ok_or(JournalError::Misuse("our own rows must encode"))?;
        self.rows.put(key.to_vec(), bytes.to_vec());
        Ok(())
    }

    pub(crate) fn row<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, JournalError> {
        let Some(bytes) = self.get(key)? else {
            return Ok(None);
        };
        codec::from_row(&bytes)
            .map(Some)
            .ok_or(JournalError::ValueDamaged {
                scope: Scope::Device,
                what: "row",
            })
    }

    /// The first plain row with this prefix, as the transaction sees it.
    pub(crate) fn first(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        let found = self.rows.scan(&self.journal.wal, prefix, prefix, 1)?;
        Ok(found.into_iter().next().map(|(key, _)| key))
    }

    // Payloads.

    pub(crate) fn put_payload(&mut self, key: &[u8], bytes: Vec<u8>) {
        self.rows.put_payload(key.to_vec(), bytes);
    }

    pub(crate) fn delete_payload(&mut self, key: &[u8]) {
        self.rows.delete_payload(key.to_vec());
    }

    // Secrets.

    /// A new scope, with a key from the pool.
    pub(crate) fn birth(&mut self, scope: Scope) -> Result<(), JournalError> {
        if self.born.contains_key(&scope) || self.journal.scopes.get(scope).is_some() {
            return Err(JournalError::Misuse("a scope is born once"));
        }
        let mut key = self.pooled();
        if matches!(key, Err(JournalError::VaultFull)) && self.journal.owes_vault() {
            // What has ended makes room as soon as the vault has heard of it.
            self.journal.settle()?;
            key = self.pooled();
        }
        if let Err(error @ JournalError::Vault(_)) = &key {
            self.journal.poison(error.cause());
        }
        self.born.insert(scope, key?);
        self.births += 1;
        Ok(())
    }

    fn pooled(&mut self) -> Result<Box<ScopeKey>, JournalError> {
        let Journal { scopes, dice, .. } = &mut *self.journal;
        scopes.pooled(self.births, &mut **dice)
    }

    /// Whether the scope exists, births of this transaction included.
    pub(crate) fn has_scope(&self, scope: Scope) -> bool {
        !self.ended.contains(&scope) && self.scope_key(scope).is_some()
    }

    /// Ends a scope: all its values go, and its key is erased after the sync.
    pub(crate) fn end(&mut self, scope: Scope) {
        self.secrets.retain(|_, (owner, _)| *owner != scope);
        if self.born.remove(&scope).is_none() {
            self.ended.insert(scope);
        }
    }

    /// Removes the rows of the values of a scope that has ended. Of a pairing at most
    /// [`ENDED_VALUES_MAX`] at once, and it is noted whether others remain for [`Txn::trim_ended`]; no
    /// other scope has more than a few.
    pub(crate) fn remove_values(&mut self, scope: Scope) -> Result<(), JournalError> {
        let prefix = keys::secret_prefix(scope);
        if !matches!(scope, Scope::Pairing(_)) {
            for (key, _) in scan_all(&self.journal.wal, &prefix)? {
                self.rows.delete(key);
            }
            return Ok(());
        }
        let limit = ENDED_VALUES_MAX + 1;
        let mut found = self.rows.scan(&self.journal.wal, &prefix, &prefix, limit)?;
        let is_all = found.len() < limit;
        found.truncate(ENDED_VALUES_MAX);
        for (key, _) in found {
            self.rows.delete(key);
        }
        let rest = keys::ended(scope);
        match is_all {
            true if self.get(&rest)?.is_some() => self.delete(&rest),
            true => {}
            false => self.put(&rest, &[]),
        }
        Ok(())
    }

    /// Asks that the scope's key be rotated by this transaction.
    pub(crate) fn rotate(&mut self, scope: Scope) {
        self.rotate.insert(scope);
    }

    pub(crate) fn put_secret(&mut self, scope: Scope, key: Vec<u8>, value: Zeroizing<Vec<u8>>) {
        self.secrets.insert(key, (scope, Some(value)));
    }

    pub(crate) fn delete_secret(&mut self, scope: Scope, key: Vec<u8>) {
        self.secrets.insert(key, (scope, None));
    }

    pub(crate) fn secret(
        &self,
        scope: Scope,
        key: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, JournalError> {
        match self.secrets.get(key) {
            Some((_, value)) => Ok(value.clone()),
            None if self.born.contains_key(&scope) || self.ended.contains(&scope) => Ok(None),
            None => self.journal.secret(scope, key),
        }
    }

    /// The secret values that the transaction holds so far, for [`Self::restore_secrets`].
    pub(crate) fn secrets_so_far(&self) -> Secrets {
        Secrets(self.secrets.clone())
    }

    /// Forgets every secret value that was put or deleted since.
    pub(crate) fn restore_secrets(&mut self, then: Secrets) {
        self.secrets = then.0;
    }

    /// The scope's values whose keys start with `prefix`, ascending.
    pub(crate) fn secrets(
        &self,
        scope: Scope,
        prefix: &[u8],
    ) -> Result<BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>, JournalError> {
        let mut out = BTreeMap::new();
        if !self.born.contains_key(&scope) && !self.ended.contains(&scope) {
            for (key, sealed) in scan_all(&self.journal.wal, prefix)? {
                let value = self.journal.open_value(scope, &key, &sealed)?;
                out.insert(key, value);
            }
        }
        for (key, (owner, value)) in self.secrets.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) {
                break;
            }
            match value {
                Some(value) if *owner == scope => drop(out.insert(key.clone(), value.clone())),
                _ => drop(out.remove(key)),
            }
        }
        Ok(out)
    }

    pub(crate) fn put_secret_row<T: Serialize>(
        &mut self,
        scope: Scope,
        family: Family,
        rest: &[u8],
        value: &T,
    ) -> Result<(), JournalError> {
        let bytes = codec::to_row(value).ok_or(JournalError::Misuse("our own rows must encode"))?;
        self.put_secret(scope, keys::secret(scope, family, rest), bytes);
        Ok(())
    }

    pub(crate) fn secret_row<T: DeserializeOwned>(
        &self,
        scope: Scope,
        family: Family,
        rest: &[u8],
    ) -> Result<Option<T>, JournalError> {
        let Some(bytes) = self.secret(scope, &keys::secret(scope, family, rest))? else {
            return Ok(None);
        };
        codec::from_row(&bytes)
            .map(Some)
            .ok_or(JournalError::ValueDamaged {
                scope,
                what: "secret row",
            })
    }

    /// The key under which this transaction will seal values of `scope`.
    fn scope_key(&self, scope: Scope) -> Option<&ScopeKey> {
        let born = self.born.get(&scope).map(Box::as_ref);
        born.or_else(|| self.journal.scopes.get(scope))
    }

    /// Seals bytes that are no row of the view but belong to a scope: a clip's stored chunks.
    /// The scope must not rotate while such bytes live.
    pub(crate) fn seal_payload(
        &mut self,
        scope: Scope,
        key: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, JournalError> {
        let scope_key = self
            .scope_key(scope)
            .cloned()
            .ok_or(JournalError::Misuse("the scope of a payload must exist"))?;
        let aad = value_aad(scope, scope_key.version, key);
        Ok(sealed::seal(
            &scope_key.key,
            &aad,
            plaintext,
            &mut *self.journal.dice,
        ))
    }

    /// A payload of a scope, as earlier transactions left it.
    pub(crate) fn open_payload(
        &self,
        scope: Scope,
        key: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, JournalError> {
        let Some(sealed) = self.journal.payload(key)? else {
            return Ok(None);
        };
        let damaged = JournalError::ValueDamaged {
            scope,
            what: "payload",
        };
        let Some(scope_key) = self.scope_key(scope) else {
            return Err(damaged);
        };
        let aad = value_aad(scope, scope_key.version, key);
        sealed::open(&scope_key.key, &aad, &sealed)
            .map(Some)
            .ok_or(damaged)
    }

    /// Hands the transaction to the log. It is visible to later transactions at once and becomes
    /// durable, all at once, by the next [`Journal::commit`]; only then does `value` come out again.
    ///
    /// # Errors
    /// Nothing of the transaction remains; MLS handles that took part are invalid.
    pub fn stage<T>(mut self, value: T) -> Result<Staged<T>, JournalError> {
        self.stage_inner(value)
    }

    /// Whether a scope that it rotates or ends has a change of which the vault has not heard.
    fn waits_for_vault(&self) -> bool {
        mutant!("second_rotation_at_once", "C7", "a key is rotated again before the vault has heard of the first time" => {
            return false;
        });
        let changing = self.rotate.iter().chain(&self.ended);
        changing
            .copied()
            .any(|scope| self.journal.scopes.owes(scope))
    }

    fn stage_inner<T>(&mut self, value: T) -> Result<Staged<T>, JournalError> {
        self.journal.alive()?;
        // INVARIANT: no second rotation or end of a scope before both images hold the first.
        if self.waits_for_vault() {
            self.journal.settle()?;
            // The first is not durable yet.
            if self.waits_for_vault() {
                drop(self.journal.commit()?);
            }
        }
        for scope in self.ended.clone() {
            self.remove_values(scope)?;
        }
        let mut rows = core::mem::take(&mut self.rows);
        let mut rotated = BTreeMap::new();
        for scope in core::mem::take(&mut self.rotate) {
            if self.born.contains_key(&scope) || self.ended.contains(&scope) {
                continue;
            }
            let Some(current) = self.journal.scopes.get(scope) else {
                return Err(JournalError::Misuse("only a living scope can be rotated"));
            };
            let next = current.rotated(&mut *self.journal.dice);
            // Everything that lives is sealed again, not only what this transaction touches.
            for (key, value) in self.secrets(scope, &keys::secret_prefix(scope))? {
                self.secrets.entry(key).or_insert((scope, Some(value)));
            }
            rows.put(keys::scope_row(scope), encode_row(&next.row())?);
            rotated.insert(scope, next);
        }
        for scope in &self.ended {
            rows.delete(keys::scope_row(*scope));
        }
        if let Some(last) = self.born.values().map(|key| key.id.0).max() {
            let next: u64 = self.journal.row(keys::NEXT_KEY)?.unwrap_or(1);
            rows.put(keys::NEXT_KEY.to_vec(), encode_row(&next.max(last + 1))?);
        }
        for (scope, key) in &self.born {
            rows.put(keys::scope_row(*scope), encode_row(&key.row())?);
        }
        for (key, (scope, value)) in core::mem::take(&mut self.secrets) {
            let Some(value) = value else {
                rows.delete(key);
                continue;
            };
            let next = rotated.get(&scope).map(Box::as_ref);
            let Some(scope_key) = next.or_else(|| self.scope_key(scope)).cloned() else {
                return Err(JournalError::Misuse("a secret value needs a living scope"));
            };
            let aad = value_aad(scope, scope_key.version, &key);
            let sealed = sealed::seal(&scope_key.key, &aad, &value, &mut *self.journal.dice);
            rows.put(key, sealed);
        }
        mutant!("merge_before_persist", "C1", "a merged Commit becomes durable before its envelope" => {
            rows = self.split(rows, |key| matches!(key.first(), Some(b'O' | b'H')))?;
        });
        mutant!("cursor_apart", "C5", "what an envelope does becomes durable before the cursor" => {
            rows = self.split(rows, |key| key.first() == Some(&b'I'))?;
        });
        mutant!("outcome_apart", "C2", "what a command sets becomes durable before its outcome and the cursor" => {
            let settings = rows.split_off(|key| key == keys::SETTINGS);
            if !settings.is_empty() {
                let _first = self.journal.wal.stage(settings, ())?;
                drop(self.journal.wal.commit()?);
            }
        });
        mutant!("cursor_first", "C1", "the cursor becomes durable before what the envelope does" => {
            rows = self.split(rows, |key| key.first() != Some(&b'I'))?;
        });
        let staged = self.journal.wal.stage(rows, value)?;
        self.journal
            .scopes
            .staged(&self.born, &rotated, &self.ended, staged.lsn());
        for scope in rotated.keys().chain(&self.ended) {
            self.journal.unrenewed.remove(scope);
        }
        mutant!("vault_before_the_log", "C7", "a rotation reaches the vault before the log" => {
            let Journal { scopes, dice, .. } = &mut *self.journal;
            scopes.settle(wal::Lsn(u64::MAX), &mut **dice)?;
        });
        self.outcome.0.store(Outcome::STAGED, Ordering::Release);
        Ok(staged)
    }

    /// For deliberate bugs: what `later` does not name becomes durable now, the rest comes back.
    #[allow(dead_code, reason = "Only a build with crash points calls it.")]
    fn split(
        &mut self,
        mut rows: wal::Txn,
        later: impl Fn(&[u8]) -> bool,
    ) -> Result<wal::Txn, JournalError> {
        let rest = rows.split_off(later);
        if rest.is_empty() {
            return Ok(rows);
        }
        let _first = self.journal.wal.stage(rows, ())?;
        drop(self.journal.wal.commit()?);
        Ok(rest)
    }

    /// [`Self::stage`] and [`Journal::commit`] in one: for a step that has nothing to share its sync with.
    ///
    /// # Errors
    /// As the two.
    pub fn commit<T>(mut self, value: T) -> Result<wal::Durable<T>, JournalError> {
        let staged = self.stage_inner(value)?;
        Ok(self.journal.commit()?.redeem(staged))
    }
}

fn encode_row<T: Serialize>(value: &T) -> Result<Vec<u8>, JournalError> {
    let row = codec::to_row(value).ok_or(JournalError::Misuse("our own rows must encode"))?;
    Ok(row.to_vec())
}

impl Drop for Txn<'_> {
    fn drop(&mut self) {
        let was = self.outcome.0.compare_exchange(
            Outcome::OPEN,
            Outcome::DROPPED,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if was.is_ok() {
            note_forget!();
        }
    }
}
