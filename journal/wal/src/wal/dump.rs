//! Making a checkpoint: dump, sync, confirm, and only then free what it replaces.
//!
//! A full disk leaves everything as it was; a failed write or sync of a checkpoint is poison. It
//! never includes what is staged.

use std::io;

use super::Wal;
use crate::checkpoint::{self, CheckpointHead, CheckpointSlot};
use crate::disk::{DiskFile, OpenMode, is_full};
use crate::log_file::LogFile;
use crate::options::SECTOR_BYTES;
use crate::record::{FileRow, LifeId};
use crate::recover::run;
use crate::store::StoreError;
use crate::view::VALUE;
use crate::{Priority, WalError, crash_point, mutant};

/// Small values read at once for a checkpoint.
const DUMP_PAGE: usize = 256;

impl Wal {
    /// Dumps the small values, then frees log files that nobody needs. Staged transactions are
    /// not part of it. `Space` leaves everything as it was.
    pub fn checkpoint(&mut self) -> Result<(), WalError> {
        self.check_alive()?;
        self.land()?;
        {
            let mut view = self.view.borrow_mut();
            // What the store cannot take is still dumped from memory.
            let flushed = view.apply().and_then(|()| view.flush());
            if let Err(error) = flushed {
                self.cure(&mut view, error)?;
            }
        }
        mutant!("recycle_above_the_checkpoint", "C7", "log files go before the checkpoint is made" => {
            self.log
                .recycle(crate::Lsn(u64::MAX))
                .map_err(|error| self.dump_error(error))?;
        });
        let slot = match self.base.slot {
            None => CheckpointSlot::A,
            Some(slot) => {
                // ORDER: the other one is overwritten, so that one whole is always there. That ours is on
                // the disk is known, by our own sync or by how the start chose it: a mark that reads back,
                // from the page cache even, was written after the sync of what it confirms.
                match mutant!(
                    "checkpoint_in_place",
                    "C7",
                    "the only checkpoint goes before its successor is durable"
                ) {
                    true => slot,
                    false => slot.other(),
                }
            }
        };
        let created = !self
            .log
            .disk
            .exists(slot.path())
            .map_err(|error| self.dump_error(error))?;
        let opened = self
            .log
            .with_ballast(|log| log.disk.open(slot.path(), OpenMode::Create));
        let file = opened.map_err(|error| self.dump_error(error))?;
        if created {
            // Not under the ballast's second try: a failed sync is never retried, whatever its
            // reason, because the next one need not cover what this one lost.
            self.log
                .disk
                .sync_dir("")
                .map_err(|error| self.poison("checkpoint directory sync", &error))?;
        }
        let mut id = self.log.random_id();
        let head = loop {
            match self.dump(&*file, id) {
                Ok(head) => break head,
                Err(DumpError::View(error)) => return Err(WalError::View(error)),
                Err(DumpError::Io(error)) if is_full(&error) => {
                    let released = self.log.release_ballast();
                    if !released.map_err(|error| self.dump_error(error))? {
                        return Err(self.dump_error(error));
                    }
                    id = self.log.random_id();
                }
                Err(DumpError::Io(error)) => return Err(self.dump_error(error)),
            }
        };
        // CRASH(wal.checkpoint.before_sync): before: the older checkpoint and the log since it are
        // whole, this one is written and not synced; a start ignores it | after: it is synced and not
        // confirmed.
        crash_point!("wal.checkpoint.before_sync");
        // ORDER: this sync, then its confirmation, then files below the older one are reused.
        file.sync_data()
            .map_err(|error| self.poison("checkpoint sync", &error))?;
        // CRASH(wal.checkpoint.before_confirm): before: this checkpoint is synced and not confirmed; a
        // start prefers the older one | after: it is confirmed.
        crash_point!("wal.checkpoint.before_confirm");
        checkpoint::confirm(&*file, &head.id)
            .map_err(|error| self.poison("checkpoint confirmation", &error))?;
        file.sync_data()
            .map_err(|error| self.poison("checkpoint sync", &error))?;
        self.log.syncs += 2;
        self.log.written += SECTOR_BYTES;
        self.checkpoints += 1;
        if !mutant!("full_for_ever", "C1", "and a checkpoint changes nothing") {
            self.low = false;
        }
        self.witnessed = self.witnessed.max(head.lsn);
        let floor = self.base.lsn;
        self.base = run::BaseState {
            slot: Some(slot),
            lsn: head.lsn,
            id: head.id,
            count: head.count,
        };
        self.log.tail_bytes = 0;
        // CRASH(wal.checkpoint.after_confirm): before: this checkpoint is confirmed and a start counts
        // its tail from here; nothing below it is freed | after: idle files below the older one are for
        // reuse or removed.
        crash_point!("wal.checkpoint.after_confirm");
        let tidied = self
            .log
            .recycle(floor)
            .and_then(|()| self.log.restore_ballast());
        match tidied {
            Ok(()) => {}
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(self.poison("recycling", &error)),
        }
        self.revive_view()
    }

    /// Like [`Wal::admit`], and if that refuses although the disk has room again, first takes back
    /// what the full disk took: the files held back, the view's backlog, the ballast. Without
    /// this nothing would, as long as nothing is committed. For an epoch it makes a checkpoint on a full
    /// disk as well, so that staging need not, when something has been encrypted already.
    pub fn admit_or_relieve(&mut self, bytes: u64, priority: Priority) -> Result<(), WalError> {
        let refused = match self.admit(bytes, priority) {
            Err(error @ WalError::Space { .. }) => error,
            result => return result,
        };
        mutant!("full_for_ever", "C1", "what was refused once is refused for ever" => {
            self.low = true;
        });
        let pressed = self.low || !self.log.ballast || self.view.borrow().full;
        let available = self
            .log
            .disk
            .available_bytes()
            .map_err(|error| WalError::io("the free space", error))?;
        let roomy = pressed && available >= 2 * self.log.options.ballast_bytes;
        // An epoch needs no more room than a checkpoint makes: it shortens the tail, and frees files.
        let shortens = priority == Priority::Epoch && self.log.tail_bytes > 0 && !self.low;
        if !roomy && !shortens {
            return Err(refused);
        }
        match self.checkpoint() {
            Ok(()) => self.admit(bytes, priority),
            Err(WalError::Space { .. }) => Err(refused),
            Err(error) => Err(error),
        }
    }

    /// An error while a checkpoint is written: a full disk harms nothing, all else is poison.
    fn dump_error(&mut self, error: io::Error) -> WalError {
        if !is_full(&error) {
            return self.poison("checkpoint write", &error);
        }
        self.low = true;
        let available = self.log.disk.available_bytes().unwrap_or(0);
        WalError::Space {
            needed: self.log.options.ballast_bytes,
            available,
        }
    }

    /// Writes values and file table, not yet synced.
    fn dump(&mut self, file: &dyn DiskFile, id: LifeId) -> Result<CheckpointHead, DumpError> {
        let mut writer = checkpoint::Writer::new(file, &id);
        let mut from = vec![VALUE];
        loop {
            let page = self.read_view(|view| view.scan(None, &[VALUE], &from, DUMP_PAGE));
            let page = page.map_err(|error| match error {
                WalError::View(error) => DumpError::View(error),
                other => DumpError::View(StoreError::Corrupt {
                    detail: other.to_string(),
                }),
            })?;
            for (raw, value) in &page {
                writer
                    .value(raw.get(1..).unwrap_or_default(), value)
                    .map_err(DumpError::Io)?;
            }
            let Some((last, _)) = page.into_iter().next_back() else {
                break;
            };
            from = last;
            from.push(0);
        }
        for file in self.log.files.values() {
            for row in file_rows(file) {
                writer.file_row(row).map_err(DumpError::Io)?;
            }
        }
        let head = CheckpointHead {
            id,
            lsn: self.synced,
            next_ordinal: self.next_ordinal,
            next_number: self.log.next_number,
            incarnation: self.log.incarnation,
            body_bytes: 0,
            count: self.base.count + 1,
        };
        self.log.written += writer.finish(head).map_err(DumpError::Io)?;
        Ok(head)
    }
}

enum DumpError {
    Io(io::Error),
    View(StoreError),
}

/// One row for each range of live payloads, or one empty row.
fn file_rows(file: &LogFile) -> Vec<FileRow> {
    let row = |(live_start, live_end)| FileRow {
        number: file.identity.number,
        life: file.identity.life,
        incarnation: file.identity.incarnation,
        kind: FileRow::kind_code(file.identity.kind),
        first_lsn: file.first_lsn.0,
        last_lsn: file.last_lsn.0,
        live_bytes: file.live_bytes,
        live_start,
        live_end,
    };
    let pairs = file.live.pairs();
    if pairs.is_empty() {
        vec![row((0, 0))]
    } else {
        pairs.into_iter().map(row).collect()
    }
}
