//! The engine's one handle: stage, commit, read, checkpoint.
//!
//! One owner, one thread at a time. Every call after a failed write or sync answers `Poisoned`;
//! the handle is then dropped and opened again, which is recovery.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::disk::{Cause, Disk, LockGuard, is_full};
use crate::log::{Flying, Log};
use crate::options::{KEY_BYTES_MAX, SECTOR_BYTES, TXN_RECORDS_MAX, VALUE_BYTES_MAX};
use crate::record::{GROUP_HEADER_BYTES, GroupDraft, RECORD_FRAME_BYTES, Record, pad};
use crate::recover::{replay, run};
use crate::store::StoreError;
use crate::txn::Overlay;
use crate::view::{PAYLOAD, PayloadRow, VALUE, View, raw_key};
use crate::{
    Committed, Dice, Lsn, Options, PoisonCause, Priority, RecoveryReport, Staged, Store, Txn,
    WalError, crash_point, mutant, note, record,
};

/// Bytes that a record's body may add to its keys and values.
const BODY_SLACK_BYTES: u64 = 32;

mod dump;
mod lock;
mod read;
mod witness;

/// Figures about one handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Log files that hold something.
    pub files: u64,
    /// Free files, those held back for recovery included.
    pub free_files: u64,
    /// Bytes of live payloads.
    pub live_bytes: u64,
    /// Bytes written by this handle: log, checkpoints, zero fill.
    pub bytes_written: u64,
    /// Syncs done by this handle.
    pub syncs: u64,
    /// Checkpoints made by this handle.
    pub checkpoints: u64,
    /// Bytes that a start would have to copy now.
    pub tail_bytes: u64,
}

/// What a commit does to the live payloads.
enum LiveChange {
    Add { number: u64, ordinal: u64, len: u32 },
    Free { ordinal: u64, len: u32 },
}

/// A commit whose write and sync are under way.
struct Flight {
    flying: Flying,
    through: Lsn,
    changes: Overlay<Vec<u8>>,
    live: Vec<LiveChange>,
    rotated: bool,
}

/// The engine: one owner, one thread at a time.
pub struct Wal {
    instance: u64,
    poison: OnceCell<PoisonCause>,
    log: Log,
    view: RefCell<View>,
    next_lsn: Lsn,
    synced: Lsn,
    /// Everything through here is said to be synced by something that is synced itself.
    witnessed: Lsn,
    next_ordinal: u64,
    /// Staged and not yet synced, by raw key.
    staged: Overlay<Vec<u8>>,
    staged_live: Vec<LiveChange>,
    /// The commit that was begun and not finished.
    flight: Option<Flight>,
    /// Of `staged`, what came after that commit was begun.
    since_flight: Overlay<Vec<u8>>,
    /// A log file was finished by a commit that has landed, and no checkpoint has been made since.
    rotated: bool,
    base: run::BaseState,
    checkpoints: u64,
    /// A checkpoint or a start found the disk full: bulk data is refused until one succeeds.
    low: bool,
    _lock: Box<dyn LockGuard>,
}

impl Wal {
    /// Opens the journal in `disk`: takes the lock, recovers, and reports what it found.
    ///
    /// Fails with `Locked` if another process holds it, `Corrupt` if something acknowledged is
    /// gone, `Space` if the tail cannot be copied, `Io` or `View` if the disk does not answer.
    pub fn open(
        disk: Arc<dyn Disk>,
        store: Box<dyn Store>,
        dice: Box<dyn Dice>,
        options: Options,
    ) -> Result<(Wal, RecoveryReport), WalError> {
        static INSTANCES: AtomicU64 = AtomicU64::new(1);
        let lock = lock::take(&disk)?;
        let log = Log::new(disk, dice, options.normalised());
        let (recovered, report) = run::recover(log, View::new(store))?;
        note!("opened {}", report.last_lsn.0);
        let mut wal = Wal {
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            poison: OnceCell::new(),
            log: recovered.log,
            view: RefCell::new(recovered.view),
            next_lsn: report.last_lsn.next(),
            synced: report.last_lsn,
            // The seal of the copy is the witness.
            witnessed: report.last_lsn,
            next_ordinal: recovered.next_ordinal,
            staged: Overlay::new(),
            staged_live: Vec::new(),
            flight: None,
            since_flight: Overlay::new(),
            rotated: false,
            base: recovered.base,
            checkpoints: 0,
            low: false,
            _lock: lock,
        };
        wal.settle_in()?;
        Ok((wal, report))
    }

    /// After recovery: shorten a long tail, hold files back, make the ballast. A full disk is no
    /// reason not to start; it only refuses bulk data.
    fn settle_in(&mut self) -> Result<(), WalError> {
        if self.log.tail_bytes > self.log.options.log_file_bytes / 8 {
            match self.checkpoint() {
                Ok(()) | Err(WalError::Space { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let tail = self.log.tail_bytes;
        let held = self
            .log
            .ensure_reserve(tail)
            .and_then(|()| self.log.restore_ballast());
        match held {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => {
                self.low = true;
                Ok(())
            }
            Err(error) => Err(WalError::io("the files held back for recovery", error)),
        }
    }

    /// Sixteen bytes of the engine's dice.
    pub fn random_bytes(&mut self) -> [u8; 16] {
        self.log.random_id()
    }

    /// The number that the next staged transaction gets.
    pub fn next_lsn(&self) -> Lsn {
        self.next_lsn
    }

    /// Everything through here survives a power cut.
    pub fn synced_lsn(&self) -> Lsn {
        self.synced
    }

    /// Bytes that are staged and not committed.
    pub fn staged_bytes(&self) -> u64 {
        self.log.staged_bytes()
    }

    /// The sizes this journal works with.
    pub fn options(&self) -> &Options {
        &self.log.options
    }

    /// Why the handle is dead, if it is.
    pub fn poisoned(&self) -> Option<&PoisonCause> {
        self.poison.get()
    }

    /// Figures about this handle.
    pub fn stats(&self) -> Stats {
        Stats {
            files: self.log.files.len() as u64,
            free_files: (self.log.free.len() + self.log.reserve.len()) as u64,
            live_bytes: self.log.files.values().map(|file| file.live_bytes).sum(),
            bytes_written: self.log.written,
            syncs: self.log.syncs,
            checkpoints: self.checkpoints,
            tail_bytes: self.log.tail_bytes,
        }
    }

    /// Whether `bytes` more can be stored, asked before a Commit is built or a message encrypted.
    ///
    /// `Space` refuses; nothing was changed. It names what the disk must have left, which for bulk data is also what
    /// a full disk has taken and must be given back first: bulk data is refused while the ballast is needed.
    pub fn admit(&self, bytes: u64, priority: Priority) -> Result<(), WalError> {
        self.check_alive()?;
        let needed = pad(bytes + SECTOR_BYTES);
        let available = self
            .log
            .disk
            .available_bytes()
            .map_err(|error| WalError::io("the free space", error))?;
        // What is not prepared grows by whole steps, and the files held back grow with the tail.
        let own = match self.log.prepared_bytes() >= needed {
            true => 0,
            false => needed.next_multiple_of(self.log.options.grow_bytes),
        };
        let tail = self.log.tail_bytes + self.log.staged_bytes() + needed;
        let growth = own + self.log.reserve_shortfall(tail);
        let refuse = |needed| Err(WalError::Space { needed, available });
        match priority {
            Priority::Bulk => {
                if self.low || self.view.borrow().full || !self.log.ballast {
                    return refuse(growth + 2 * self.log.options.ballast_bytes);
                }
                if available >= growth {
                    Ok(())
                } else {
                    refuse(growth)
                }
            }
            Priority::Epoch => {
                let ballast = if self.log.ballast {
                    self.log.options.ballast_bytes
                } else {
                    0
                };
                if available.saturating_add(ballast) >= growth {
                    Ok(())
                } else {
                    refuse(growth)
                }
            }
        }
    }

    /// Takes a transaction in: it gets its number, is encoded, and is visible to reads at once.
    /// `value` becomes readable only as a [`crate::Durable`] after the commit that covers it.
    ///
    /// `Space`, `TooLarge` and `BatchFull` change nothing and use no number.
    pub fn stage<T>(&mut self, txn: Txn, value: T) -> Result<Staged<T>, WalError> {
        self.check_alive()?;
        if txn.is_empty() {
            let lsn = self.next_lsn.prev();
            return Ok(Staged {
                value,
                lsn,
                instance: self.instance,
            });
        }
        check_limits(&txn)?;
        #[allow(unused_mut, reason = "Only a deliberate bug changes it.")]
        let mut txn = txn;
        mutant!("two_batches_instead_of_one", "C5", "half of a transaction is a group of its own" => {
            let rest = txn.split_off(|key| key.last().is_some_and(|byte| byte % 2 == 0));
            if txn.is_empty() {
                txn = rest;
            } else if !rest.is_empty() {
                drop(self.stage(rest, ())?);
            }
        });
        let frees = self.freed_by(&txn)?;
        let bytes = self.padded_bytes_bound(&txn, &frees)?;
        let next = self.next_lsn;
        self.make_room(bytes, next)?;
        let lsn = self.next_lsn;
        self.next_lsn = lsn.next();
        #[cfg(feature = "crashtest")]
        note::staged(&txn, lsn);
        self.encode(txn, &frees, lsn);
        // CRASH(wal.stage.encoded): before: nothing of the group, which is in memory only | after: it
        // is synced with its batch.
        crash_point!("wal.stage.encoded");
        Ok(Staged {
            value,
            lsn,
            instance: self.instance,
        })
    }

    /// Makes everything staged durable: one write and one `fdatasync` (two where a log file ends
    /// in the middle), then the view, then a checkpoint if a log file was finished.
    ///
    /// An error is poison: what was staged may or may not survive, and the handle is dead.
    pub fn commit(&mut self) -> Result<Committed, WalError> {
        self.begin_commit()?;
        self.finish_commit()
    }

    /// The first half of [`Self::commit`]: starts to write and sync what is staged, so that the
    /// next batch can be staged while the disk works. An earlier commit that was begun is finished
    /// first; its proof is within that of this one. Nothing is durable before
    /// [`Self::finish_commit`] says so.
    pub fn begin_commit(&mut self) -> Result<(), WalError> {
        self.check_alive()?;
        self.land()?;
        if self.log.parts.is_empty() {
            return Ok(());
        }
        mutant!("view_before_the_sync", "C7", "the view is told, and flushed, before the log" => {
            let mut view = self.view.borrow_mut();
            view.enqueue_commit(self.staged.clone(), self.next_lsn.prev());
            let told = view.apply().and_then(|()| view.flush());
            told.map_err(WalError::View)?;
        });
        // CRASH(wal.commit.before_write): before: nothing of the batch; it never happened | after: the
        // batch is written and not synced.
        crash_point!("wal.commit.before_write");
        let flying = match self.log.write_parts() {
            Ok(flying) => flying,
            Err((operation, error)) => return Err(self.poison(operation, &error)),
        };
        self.flight = Some(Flight {
            flying,
            through: self.next_lsn.prev(),
            changes: self.staged.clone(),
            live: std::mem::take(&mut self.staged_live),
            rotated: std::mem::take(&mut self.log.rotations) > 0,
        });
        self.since_flight.clear();
        Ok(())
    }

    /// The second half of [`Self::commit`]: waits for the sync that was started. Without one it
    /// proves what was synced before.
    pub fn finish_commit(&mut self) -> Result<Committed, WalError> {
        self.check_alive()?;
        mutant!("told_before_the_sync", "C4", "a commit is told while its sync is under way" => {
            return Ok(self.believed());
        });
        self.land()?;
        if self.checkpoint_is_due() {
            // Asked for once a rotation: on a full disk every commit would try in vain.
            self.rotated = false;
            // The batch is durable whatever happens now: a full disk is remembered in `low`, and
            // poison answers the next call, or whoever asks for it (`poisoned`).
            match self.checkpoint() {
                Ok(()) | Err(WalError::Poisoned(_)) => {}
                Err(error) => {
                    // Without checkpoints the tail grows: no more video until one succeeds.
                    tracing::warn!(%error, "a checkpoint could not be made");
                    self.low = true;
                }
            }
        }
        Ok(Committed {
            instance: self.instance,
            through: self.synced,
        })
    }

    /// Waits at most so long for a commit that was begun. False as long as
    /// [`Self::finish_commit`] would still wait for its sync: there is time to stage more. It says
    /// nothing about how the sync went.
    pub fn wait_for_sync(&mut self, patience: Duration) -> bool {
        self.flight
            .as_mut()
            .is_none_or(|flight| flight.flying.wait_at_most(patience))
    }

    /// A proof of what is only under way: what deliberate bugs believe, and nobody else may.
    #[cfg(feature = "crashtest")]
    #[doc(hidden)]
    pub fn believed(&self) -> Committed {
        Committed {
            instance: self.instance,
            through: self.synced_at_next_write(),
        }
    }

    /// Waits for the commit that is under way, if one is, and applies it.
    fn land(&mut self) -> Result<(), WalError> {
        let Some(flight) = self.flight.take() else {
            return Ok(());
        };
        match flight.flying.land() {
            Ok(buffer) => self.log.reuse(buffer),
            Err(error) => return Err(self.poison("log write or sync", &error)),
        }
        // Nothing leaves here, but from now on something may: no crash takes this batch back.
        crate::leaves!("durable {}", flight.through.0);
        self.synced = flight.through;
        // CRASH(wal.commit.after_sync): before: the batch is synced, the view is without it; a start
        // copies and applies it | after: it is synced and in the view.
        crash_point!("wal.commit.after_sync");
        for change in flight.live {
            match change {
                LiveChange::Add {
                    number,
                    ordinal,
                    len,
                } => self.log.add_live(number, ordinal, len),
                LiveChange::Free { ordinal, len } => self.log.free_live(ordinal, len),
            }
        }
        self.staged = std::mem::take(&mut self.since_flight);
        self.view
            .borrow_mut()
            .enqueue_commit(flight.changes, flight.through);
        self.apply_view()?;
        // CRASH(wal.commit.after_apply): before: the batch is synced and in the view, nobody was told |
        // after: the same, and what it holds may leave.
        crash_point!("wal.commit.after_apply");
        self.rotated |= flight.rotated;
        Ok(())
    }

    /// Lays a staged change over the view.
    fn note(&mut self, raw: Vec<u8>, value: Option<Vec<u8>>) {
        if self.flight.is_some() {
            self.since_flight.insert(raw.clone(), value.clone());
        }
        self.staged.insert(raw, value);
    }

    /// What will be synced when anything staged from now on is written: the next write comes after
    /// the sync that is under way, or never.
    fn synced_at_next_write(&self) -> Lsn {
        self.flight
            .as_ref()
            .map_or(self.synced, |flight| flight.through)
    }

    fn check_alive(&self) -> Result<(), WalError> {
        match self.poison.get() {
            Some(cause) => Err(WalError::Poisoned(cause.clone())),
            None => Ok(()),
        }
    }

    fn poison(&self, operation: &'static str, error: &io::Error) -> WalError {
        let cause = self
            .poison
            .get_or_init(|| PoisonCause::new(operation, error));
        tracing::error!(operation, %error, "the journal stopped and must be opened again");
        WalError::Poisoned(cause.clone())
    }

    /// Reads the view; damage is cured by a rebuild, once.
    fn read_view<T>(&self, read: impl Fn(&View) -> Result<T, StoreError>) -> Result<T, WalError> {
        self.check_alive()?;
        let result = read(&self.view.borrow());
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                self.cure(&mut self.view.borrow_mut(), error)?;
                read(&self.view.borrow()).map_err(WalError::View)
            }
        }
    }

    /// Rebuilds a damaged view; other errors are passed on.
    fn cure(&self, view: &mut View, error: StoreError) -> Result<(), WalError> {
        match error {
            StoreError::Corrupt { detail } => {
                tracing::warn!(detail, "the view is damaged and is rebuilt from the log");
                self.rebuild(view)
            }
            error => Err(WalError::View(error)),
        }
    }

    /// Makes the view anew. Half a view would answer wrongly, so a failure here is the end of
    /// this handle.
    fn rebuild(&self, view: &mut View) -> Result<(), WalError> {
        replay::rebuild_view(&self.log, view, &self.base, self.synced).map_err(|error| {
            tracing::error!(%error, "the view could not be rebuilt");
            // A full disk is said to be one, whoever found it so.
            let kind = match error.cause() {
                Some(Cause::Space) => io::ErrorKind::StorageFull,
                _ => io::ErrorKind::InvalidData,
            };
            self.poison("rebuilding the view", &kind.into())
        })
    }

    /// Applies what waits. Only damage that a rebuild does not cure, or a backlog without end,
    /// stops the engine.
    fn apply_view(&mut self) -> Result<(), WalError> {
        let mut view = self.view.borrow_mut();
        if let Err(error) = view.apply() {
            match error {
                StoreError::Corrupt { .. } => self.cure(&mut view, error)?,
                // Kept in memory and tried again at the next commit.
                _ => view.full = true,
            }
        }
        if view.is_overdue() {
            let error = io::Error::from(io::ErrorKind::StorageFull);
            return Err(self.poison("applying to the view", &error));
        }
        Ok(())
    }

    /// A view that once met a full disk may refuse for ever; when there is room again it is made
    /// anew, because reopening it would lose what it never flushed.
    pub(super) fn revive_view(&self) -> Result<(), WalError> {
        let mut view = self.view.borrow_mut();
        let room = self.log.disk.available_bytes().unwrap_or(0);
        if !view.full || room < 2 * self.log.options.ballast_bytes {
            return Ok(());
        }
        view.full = false;
        self.rebuild(&mut view)
    }

    /// Makes room for a group: in what is prepared, else from the disk, else from the ballast,
    /// else by a checkpoint that frees files.
    fn make_room(&mut self, bytes: u64, next: Lsn) -> Result<(), WalError> {
        let mut result = self.log.with_ballast(|log| log.make_room(bytes, next));
        if result.as_ref().is_err_and(is_full) {
            match self.checkpoint() {
                Ok(()) | Err(WalError::Space { .. }) => {}
                Err(error) => return Err(error),
            }
            result = self.log.make_room(bytes, next);
        }
        match result {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => {
                let available = self.log.disk.available_bytes().unwrap_or(0);
                Err(WalError::Space {
                    needed: bytes,
                    available,
                })
            }
            Err(error) => Err(self.poison("log preparation", &error)),
        }
    }

    /// Whether the commit that just ended owes a checkpoint.
    fn checkpoint_is_due(&self) -> bool {
        // Without the ballast, files must come free before they are asked for.
        let pressed = !self.log.ballast && self.log.prepared_bytes() < self.log.options.grow_bytes;
        self.rotated || pressed || self.log.tail_bytes >= self.log.options.log_file_bytes
    }

    /// The payloads that a transaction replaces or deletes.
    fn freed_by(&self, txn: &Txn) -> Result<Vec<(Vec<u8>, PayloadRow)>, WalError> {
        let mut frees = Vec::new();
        for key in txn.payloads.keys() {
            if let Some(row) = self.read_row(Some(&self.staged), &raw_key(PAYLOAD, key))? {
                frees.push((key.clone(), row));
            }
        }
        Ok(frees)
    }

    /// An upper bound of the group's size, checked against the limits.
    fn padded_bytes_bound(
        &self,
        txn: &Txn,
        frees: &[(Vec<u8>, PayloadRow)],
    ) -> Result<u64, WalError> {
        let records = txn.values.len() + txn.payloads.len() + frees.len();
        let keys: usize = frees.iter().map(|(key, _)| key.len()).sum();
        let per_record = RECORD_FRAME_BYTES as u64 + BODY_SLACK_BYTES;
        let content =
            GROUP_HEADER_BYTES as u64 + txn.bytes() + keys as u64 + records as u64 * per_record;
        let bytes = pad(content);
        let max = self.log.options.txn_bytes_max();
        if bytes > max {
            return Err(WalError::TooLarge {
                what: "a transaction",
                bytes,
                max,
            });
        }
        let (staged, max) = (self.log.staged_bytes(), self.log.options.batch_bytes_max());
        if staged + bytes > max {
            return Err(WalError::BatchFull { staged, max });
        }
        Ok(bytes)
    }

    /// Encodes a transaction into the current part and lays it over the view.
    fn encode(&mut self, txn: Txn, frees: &[(Vec<u8>, PayloadRow)], lsn: Lsn) {
        let mut records = Vec::with_capacity(txn.values.len() + txn.payloads.len() + frees.len());
        for (key, value) in &txn.values {
            records.push(match value {
                Some(value) => Record::Put { key, value },
                None => Record::Delete { key },
            });
        }
        for (key, row) in frees {
            let (ordinal, len) = (row.ordinal, row.len);
            records.push(Record::FreePayload { key, ordinal, len });
            self.staged_live.push(LiveChange::Free { ordinal, len });
        }
        let mut payloads = Vec::new();
        let mut rows = Vec::new();
        for (key, bytes) in &txn.payloads {
            let Some(bytes) = bytes else {
                rows.push((raw_key(PAYLOAD, key), None));
                continue;
            };
            let (len, crc) = (bytes.len() as u32, record::crc_from(0, bytes));
            let ordinal = self.next_ordinal;
            self.next_ordinal += 1;
            records.push(Record::PayloadDescriptor {
                key,
                len,
                crc,
                ordinal,
            });
            payloads.push(bytes.as_slice());
            let row = PayloadRow {
                file: 0,
                offset: 0,
                len,
                crc,
                ordinal,
                lsn: lsn.0,
            };
            rows.push((raw_key(PAYLOAD, key), Some(row)));
        }
        let draft = GroupDraft {
            lsn,
            synced_through: self.synced_at_next_write(),
            records: &records,
        };
        let (number, mut offset) = self.log.append(&draft, &payloads);
        for (raw, row) in rows {
            let encoded = row.map(|row| {
                let row = PayloadRow {
                    file: number,
                    offset,
                    ..row
                };
                offset += u64::from(row.len);
                let (ordinal, len) = (row.ordinal, row.len);
                self.staged_live.push(LiveChange::Add {
                    number,
                    ordinal,
                    len,
                });
                row.encode()
            });
            self.note(raw, encoded);
        }
        for (key, value) in txn.values {
            self.note(raw_key(VALUE, &key), value);
        }
    }
}

fn check_limits(txn: &Txn) -> Result<(), WalError> {
    let too_large = |what, bytes: usize, max: usize| {
        Err(WalError::TooLarge {
            what,
            bytes: bytes as u64,
            max: max as u64,
        })
    };
    let records = txn.values.len() + 2 * txn.payloads.len();
    if records > TXN_RECORDS_MAX {
        return too_large("the number of records", records, TXN_RECORDS_MAX);
    }
    let keys = txn.values.keys().chain(txn.payloads.keys());
    if let Some(key) = keys.into_iter().find(|key| key.len() > KEY_BYTES_MAX) {
        return too_large("a key", key.len(), KEY_BYTES_MAX);
    }
    let long = txn
        .values
        .values()
        .flatten()
        .find(|value| value.len() > VALUE_BYTES_MAX);
    if let Some(value) = long {
        return too_large("a value", value.len(), VALUE_BYTES_MAX);
    }
    Ok(())
}

impl Drop for Wal {
    fn drop(&mut self) {
        // A write that is under way must not outlive the lock: whoever opens next may give its file
        // to others. What becomes of it is what recovery will find; nobody is told.
        if let Some(flight) = self.flight.take() {
            drop(flight.flying.land());
        }
    }
}

// A storage thread takes the handle with it; this line keeps that possible.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Wal>();
};
