//! The journal: one log, one view, one vault, one group commit for a whole process.
//!
//! Everything above speaks to storage through [`Journal::begin`], [`Txn::stage`] and
//! [`Journal::commit`]; everything that leaves is a [`Durable`]. This room knows no MLS.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openmls_libcrux_crypto::CryptoProvider;
use serde::{Deserialize, Serialize};
use wal::disk::Cause;
use wal::{Committed, Dice, Disk, Durable, Lsn, Options, Priority, RecoveryReport, Store, Wal};
use zeroize::Zeroizing;

use crate::codec;
use crate::error::JournalError;
use crate::ids::{Channel, PairingId};
use crate::keys::{self, Family};
use crate::scope::Scope;
use crate::scopes::{ScopeRow, Scopes};
use crate::sealed;
use crate::txn::Txn;
use crate::vault::Vault;

/// Version of keys and values (FORMAT.md). Rises with every change that an older program would misread.
pub const FORMAT_VERSION: u32 = 3;

/// The OpenMLS release whose stored state this program reads.
pub const OPENMLS_VERSION: &str = "0.9.2";

/// Which end a journal belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// The camera's side: the only committer.
    Hub,
    /// The phone's side: follows.
    App,
}

#[derive(Serialize, Deserialize)]
struct Meta {
    format: u32,
    openmls: String,
    role: Role,
}

/// The write-ahead journal of one process. One owner, one thread at a time.
pub struct Journal {
    pub(crate) wal: Wal,
    pub(crate) scopes: Scopes,
    pub(crate) dice: Box<dyn Dice>,
    pub(crate) crypto: Arc<CryptoProvider>,
    role: Role,
    poisoned: bool,
    /// What the failure that poisoned it asks of a person, if that is known.
    poison_cause: Option<Cause>,
    /// The log is synced through here: so far the vault may be told.
    synced: Lsn,
    /// Groups that go on under a key of the last process.
    pub(crate) unrenewed: BTreeSet<Scope>,
    /// The channel whose envelopes all have the full size, if there is one.
    full_size: Option<Channel>,
}

impl Journal {
    /// Opens the journal of `role`, recovering whatever the last process left.
    ///
    /// # Errors
    /// Typed, and each names the way out (promise C7); see [`JournalError::kind`].
    pub fn open(
        role: Role,
        disk: Arc<dyn Disk>,
        store: Box<dyn Store>,
        vault: Box<dyn Vault>,
        dice: Box<dyn Dice>,
        options: Options,
    ) -> Result<(Self, RecoveryReport), JournalError> {
        let mut dice = SharedDice(Arc::new(Mutex::new(dice)));
        let (mut wal, report) = Wal::open(disk, store, Box::new(dice.clone()), options)?;
        Self::check_meta(&mut wal, role)?;
        let mut rows = Vec::new();
        for (key, value) in scan_all(&wal, keys::SCOPES)? {
            let scope = key.get(1..).and_then(Scope::decode);
            let row: Option<ScopeRow> = codec::from_row(&value);
            match (scope, row) {
                (Some(scope), Some(row)) => rows.push((scope, row)),
                _ => {
                    return Err(JournalError::ValueDamaged {
                        scope: Scope::Device,
                        what: "scope row",
                    });
                }
            }
        }
        let next_key = wal
            .get(keys::NEXT_KEY)?
            .and_then(|bytes| codec::from_row(&bytes))
            .unwrap_or(1);
        let scopes = Scopes::open(vault, &rows, next_key, &mut dice)?;
        let crypto = CryptoProvider::new().map_err(|e| JournalError::Mls(e.to_string()))?;
        let mut journal = Self {
            wal,
            scopes,
            dice: Box::new(dice),
            crypto: Arc::new(crypto),
            role,
            poisoned: false,
            poison_cause: None,
            synced: Lsn(0),
            unrenewed: BTreeSet::new(),
            full_size: None,
        };
        journal.renew_group_keys()?;
        Ok((journal, report))
    }

    fn check_meta(wal: &mut Wal, role: Role) -> Result<(), JournalError> {
        let Some(bytes) = wal.get(keys::META)? else {
            let meta = Meta {
                format: FORMAT_VERSION,
                openmls: OPENMLS_VERSION.to_owned(),
                role,
            };
            let mut txn = wal::Txn::new();
            let row =
                codec::to_row(&meta).ok_or(JournalError::Misuse("the meta row must encode"))?;
            txn.put(keys::META.to_vec(), row.to_vec());
            let _staged = wal.stage(txn, ())?;
            drop(wal.commit()?);
            return Ok(());
        };
        let meta: Meta = codec::from_row(&bytes).ok_or(JournalError::ValueDamaged {
            scope: Scope::Device,
            what: "meta row",
        })?;
        if meta.format != FORMAT_VERSION {
            return Err(JournalError::FormatVersion {
                found: meta.format,
                expected: FORMAT_VERSION,
            });
        }
        if meta.openmls != OPENMLS_VERSION {
            return Err(JournalError::OpenMlsVersion {
                found: meta.openmls,
                expected: OPENMLS_VERSION,
            });
        }
        if meta.role != role {
            return Err(JournalError::WrongRole {
                found: format!("{:?}", meta.role).to_lowercase(),
                expected: format!("{role:?}").to_lowercase(),
            });
        }
        Ok(())
    }

    /// Which end this journal belongs to.
    pub fn role(&self) -> Role {
        self.role
    }

    /// From now on every new envelope of this channel has [`crate::FULL_ENVELOPE_BYTES`] on the wire, whatever is
    /// in it; of another channel none has for that reason. It is no state: say it after each opening. What lies
    /// in the outbox already leaves as it was made.
    pub fn send_in_full_size(&mut self, channel: Channel) {
        self.full_size = Some(channel);
    }

    /// Whether [`Self::send_in_full_size`] was said of this channel.
    pub fn sends_in_full_size(&self, channel: Channel) -> bool {
        self.full_size == Some(channel)
    }

    /// Starts a transaction. Dropping it rolls it back.
    pub fn begin(&mut self) -> Txn<'_> {
        Txn::new(self)
    }

    /// Makes every staged transaction durable with one sync, then brings the vault up to date.
    ///
    /// # Errors
    /// Any error means: outcome unknown. Drop everything in memory and open again.
    pub fn commit(&mut self) -> Result<Committed, JournalError> {
        self.begin_commit()?;
        let committed = self.finish_commit()?;
        self.settle()?;
        Ok(committed)
    }

    /// The first half of [`Self::commit`]: writes what is staged and starts its sync, so that the
    /// next messages can be sealed while the disk works. Nothing is durable before
    /// [`Self::finish_commit`] says so.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn begin_commit(&mut self) -> Result<(), JournalError> {
        self.alive()?;
        let result = self.wal.begin_commit().map_err(JournalError::from);
        self.poison_if_failed(result)
    }

    /// The second half of [`Self::commit`], without the vault: what was staged is durable, and keys that it gave
    /// up are still there until [`Self::settle`].
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn finish_commit(&mut self) -> Result<Committed, JournalError> {
        self.alive()?;
        let result = self.wal.finish_commit().map_err(JournalError::from);
        let committed = self.poison_if_failed(result)?;
        // What was staged after the commit began is not in it.
        self.synced = committed.through_lsn();
        Ok(committed)
    }

    /// Brings the vault up to date with what is durable: two syncs, or nothing if it is. It may wait until nothing
    /// else does, because an opening would do the same; whatever needs it done asks for it itself.
    ///
    /// # Errors
    /// As [`Self::commit`]; what is durable is so all the same.
    pub fn settle(&mut self) -> Result<(), JournalError> {
        self.alive()?;
        // ORDER: log first, vault second. A vault ahead of the log could not open what the log still says.
        let result = self.scopes.settle(self.synced, &mut *self.dice);
        self.poison_if_failed(result)
    }

    /// Whether [`Self::settle`] has anything to do.
    #[must_use]
    pub fn owes_vault(&self) -> bool {
        self.scopes.owes_through(self.synced)
    }

    /// Waits at most so long for a commit that was begun. False as long as
    /// [`Self::finish_commit`] would still wait for its sync: there is time to stage more. It says
    /// nothing about how the sync went.
    pub fn wait_for_sync(&mut self, patience: Duration) -> bool {
        self.wal.wait_for_sync(patience)
    }

    fn poison_if_failed<T>(&mut self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        if let Err(error) = &result {
            self.poison(error.cause());
        }
        wal::mutant!("panic_instead_of_poison", "C7", "a failed write or sync unwinds the thread that keeps the journal" => {
            if let Err(error) = &result {
                std::panic::panic_any(error.to_string());
            }
        });
        result
    }

    /// Refuses before anything is built, so that a refusal burns no epoch and no generation.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Space`] when `bytes` more would not fit.
    pub fn admit(&mut self, bytes: u64, priority: Priority) -> Result<(), JournalError> {
        self.alive()?;
        Ok(self.wal.admit_or_relieve(bytes, priority)?)
    }

    /// Whether an earlier failure forbids all further work with this handle.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned || self.wal.poisoned().is_some()
    }

    /// The error of a handle that [`Self::is_poisoned`]: it knows what the failure asks of a person.
    #[must_use]
    pub fn poisoning(&self) -> JournalError {
        let of_log = || self.wal.poisoned().map(wal::PoisonCause::cause);
        JournalError::Poisoned(self.poison_cause.or_else(of_log))
    }

    /// The most bytes that one transaction may take in the log.
    pub fn txn_bytes_max(&self) -> u64 {
        self.wal.options().txn_bytes_max()
    }

    /// The engine's counters.
    pub fn stats(&self) -> wal::Stats {
        self.wal.stats()
    }

    /// Dumps the small values now instead of at the next rotation of the log.
    ///
    /// # Errors
    /// Poisons on failure, as [`Self::commit`] does.
    pub fn checkpoint(&mut self) -> Result<(), JournalError> {
        self.alive()?;
        Ok(self.wal.checkpoint()?)
    }

    /// To be called when nothing has happened for a moment: writes down that the newest
    /// transaction was synced, so that a start can tell its damage from a torn write (FORMAT.md,
    /// "Why synced-through"). Does nothing when that is written already.
    ///
    /// # Errors
    /// As [`Self::commit`]; a full disk changes nothing and is no error.
    pub fn rest(&mut self) -> Result<(), JournalError> {
        self.alive()?;
        match self.wal.witness() {
            Ok(()) | Err(wal::WalError::Space { .. }) => Ok(()),
            Err(error) => self.poison_if_failed(Err(error.into())),
        }
    }

    /// All pairings, in no particular order.
    pub fn pairing_ids(&self) -> Vec<PairingId> {
        let pairing = |scope| match scope {
            Scope::Pairing(id) => Some(id),
            _ => None,
        };
        self.scopes.iter().filter_map(pairing).collect()
    }

    pub(crate) fn alive(&self) -> Result<(), JournalError> {
        if self.poisoned {
            Err(self.poisoning())
        } else {
            Ok(())
        }
    }

    /// Forbids all further work. The first failure is the one that is told.
    pub(crate) fn poison(&mut self, cause: Option<Cause>) {
        if !self.poisoned {
            self.poison_cause = cause;
        }
        self.poisoned = true;
    }

    /// A secret value as it stands, staged transactions included.
    pub(crate) fn secret(
        &self,
        scope: Scope,
        key: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, JournalError> {
        let Some(sealed) = self.wal.get(key)? else {
            return Ok(None);
        };
        self.open_value(scope, key, &sealed).map(Some)
    }

    pub(crate) fn open_value(
        &self,
        scope: Scope,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, JournalError> {
        let damaged = JournalError::ValueDamaged {
            scope,
            what: "sealed value",
        };
        let Some(current) = self.scopes.get(scope) else {
            return Err(damaged);
        };
        let aad = value_aad(scope, current.version, key);
        sealed::open(&current.key, &aad, sealed).ok_or(damaged)
    }

    /// Reads one of our own secret rows.
    pub(crate) fn secret_row<T: serde::de::DeserializeOwned>(
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

    /// Reads a plain row of ours.
    pub(crate) fn row<T: serde::de::DeserializeOwned>(
        &self,
        key: &[u8],
    ) -> Result<Option<T>, JournalError> {
        let Some(bytes) = self.wal.get(key)? else {
            return Ok(None);
        };
        codec::from_row(&bytes)
            .map(Some)
            .ok_or(JournalError::ValueDamaged {
                scope: Scope::Device,
                what: "row",
            })
    }

    /// A payload's bytes, for what is not an envelope.
    pub(crate) fn payload(&self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.wal.payload(key)?)
    }

    pub(crate) fn durable_small(
        &self,
        key: &[u8],
    ) -> Result<Option<Durable<Vec<u8>>>, JournalError> {
        Ok(self.wal.durable_get(key)?)
    }
}

/// Associated data of a sealed value: what it is bound to (FORMAT.md, "Sealed values").
pub(crate) fn value_aad(scope: Scope, version: u64, key: &[u8]) -> Vec<u8> {
    let mut aad = b"secluso value v1".to_vec();
    aad.extend_from_slice(&scope.encode());
    aad.extend_from_slice(&version.to_be_bytes());
    aad.extend_from_slice(key);
    aad
}

/// Says in the meta row that another version, or another role, wrote this journal.
#[cfg(test)]
pub(crate) fn spoil_meta(journal: &mut Journal, format: u32, openmls: &str, role: Role) {
    let meta = Meta {
        format,
        openmls: openmls.to_owned(),
        role,
    };
    let mut txn = journal.begin();
    txn.put_row(keys::META, &meta).unwrap();
    drop(txn.commit(()).unwrap());
}

/// Key and value.
type Row = (Vec<u8>, Vec<u8>);

/// Everything under a prefix, page by page.
pub(crate) fn scan_all(wal: &Wal, prefix: &[u8]) -> Result<Vec<Row>, JournalError> {
    const PAGE: usize = 256;
    let mut out: Vec<Row> = Vec::new();
    let mut from = prefix.to_vec();
    loop {
        let page = wal.scan(prefix, &from, PAGE)?;
        let last = page.len() < PAGE;
        out.extend(page);
        match out.last() {
            Some((key, _)) if !last => {
                from.clone_from(key);
                from.push(0);
            }
            _ => return Ok(out),
        }
    }
}

/// One source of dice for engine and journal, so that a simulation can replay both.
#[derive(Clone)]
struct SharedDice(Arc<Mutex<Box<dyn Dice>>>);

impl Dice for SharedDice {
    fn fill(&mut self, out: &mut [u8]) {
        // A poisoned lock only says that another thread panicked while it held it; dice have no
        // state that this could have broken.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill(out);
    }
}
