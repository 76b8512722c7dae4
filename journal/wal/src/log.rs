//! The set of log files: where the next group goes, what is free, what is held back.
//!
//! Space is made before a group is encoded, so that a commit never allocates. Everything here
//! that fails for another reason than a full disk is for the caller to turn into poison.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, DiskFile, OpenMode, PendingSync, is_full};
use crate::log_file::{FreeFile, LOG_DIR, LogFile, WriteHead, slot_path};
use crate::options::{Options, SECTOR_BYTES};
use crate::ranges::Ranges;
use crate::record::{
    FileHeader, FileKind, GROUP_HEADER_BYTES, GroupDraft, Identity, LifeId, chain_start,
    encode_group,
};
use crate::{Dice, Lsn, ballast, crash_point, mutant, note};

#[cfg(feature = "crashtest")]
mod bugs;

/// Files held back so that a start can always copy the tail, even on a full disk: one for its copy, and
/// two that starts before it may have filled, of which one is proven to be finished and the other not.
pub(crate) const RESERVE_FILES: usize = 3;
/// Sectors by which they are larger than the tail that they must take. Each start that is cut off behind
/// its seal makes the tail of the next one two sectors longer, and none of them can grow a file on a
/// full disk.
pub(crate) const RESERVE_EXTRA_SECTORS: u64 = 8;
/// Sectors that a copy needs beyond the tail: its header, its seal, the witness of the seal, and one to
/// spare.
pub(crate) const COPY_EXTRA_SECTORS: u64 = 4;
/// Open files kept for reading payloads.
const READ_HANDLES_MAX: usize = 8;
/// Buffers kept for the next batches: one is filled while the other is being written.
const SPARE_BUFFERS_MAX: usize = 2;
/// How many zeros are written at once.
const FILL_BYTES: u64 = 256 << 10;

/// Groups of one file that wait for the next commit.
pub(crate) struct Part {
    pub(crate) slot: u64,
    pub(crate) identity: Identity,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where in the file the buffer goes.
    pub(crate) offset: u64,
    pub(crate) buffer: Vec<u8>,
    /// Whether the buffer begins with the header of a file that is being taken into use.
    pub(crate) fresh: bool,
    pub(crate) first_lsn: Lsn,
    pub(crate) last_lsn: Lsn,
    pub(crate) filled: u64,
}

/// A write with its sync that is under way: the last part of a commit.
pub(crate) struct Flying {
    number: u64,
    offset: u64,
    buffer: Arc<Vec<u8>>,
    pending: Box<dyn PendingSync>,
}

impl Flying {
    /// Bytes of a payload in it. The file may not have them yet.
    pub(crate) fn bytes_of(&self, number: u64, offset: u64, len: usize) -> Option<&[u8]> {
        let start = offset
            .checked_sub(self.offset)
            .filter(|_| number == self.number)?;
        let start = usize::try_from(start).ok()?;
        self.buffer.get(start..start.checked_add(len)?)
    }

    /// Waits at most so long; whether [`Self::land`] would not wait any more.
    pub(crate) fn wait_at_most(&mut self, patience: Duration) -> bool {
        self.pending.wait_at_most(patience)
    }

    /// Waits for write and sync; gives the buffer back, empty.
    pub(crate) fn land(self) -> io::Result<Option<Vec<u8>>> {
        self.pending.wait()?;
        let buffer = Arc::into_inner(self.buffer);
        Ok(buffer.map(|mut buffer| {
            buffer.clear();
            buffer
        }))
    }
}

/// All log files of one journal.
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dice: Box<dyn Dice>,
    pub(crate) options: Options,
    pub(crate) incarnation: u64,
    pub(crate) files: BTreeMap<u64, LogFile>,
    pub(crate) free: Vec<FreeFile>,
    pub(crate) reserve: Vec<FreeFile>,
    pub(crate) next_slot: u64,
    pub(crate) next_number: u64,
    pub(crate) head: Option<WriteHead>,
    pub(crate) parts: Vec<Part>,
    /// Bytes of groups since the last confirmed checkpoint.
    pub(crate) tail_bytes: u64,
    pub(crate) ballast: bool,
    pub(crate) written: u64,
    pub(crate) syncs: u64,
    /// Files finished since the last look at this.
    pub(crate) rotations: u64,
    spare_buffers: Vec<Vec<u8>>,
    /// The last sector of the last group, for a deliberate bug.
    #[cfg(feature = "crashtest")]
    last_sector: Vec<u8>,
    handles: RefCell<VecDeque<(u64, Arc<dyn DiskFile>)>>,
}

impl Log {
    pub(crate) fn new(disk: Arc<dyn Disk>, dice: Box<dyn Dice>, options: Options) -> Self {
        Log {
            disk,
            dice,
            options,
            incarnation: 0,
            files: BTreeMap::new(),
            free: Vec::new(),
            reserve: Vec::new(),
            next_slot: 1,
            next_number: 1,
            head: None,
            parts: Vec::new(),
            tail_bytes: 0,
            ballast: false,
            written: 0,
            syncs: 0,
            rotations: 0,
            spare_buffers: Vec::new(),
            #[cfg(feature = "crashtest")]
            last_sector: Vec::new(),
            handles: RefCell::default(),
        }
    }

    pub(crate) fn random_id(&mut self) -> LifeId {
        let mut id = [0; 16];
        self.dice.fill(&mut id);
        id
    }

    /// A handle for reading the file in a slot.
    pub(crate) fn reader(&self, slot: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut handles = self.handles.borrow_mut();
        if let Some((_, file)) = handles.iter().find(|(held, _)| *held == slot) {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(&slot_path(slot), OpenMode::Existing)?;
        if handles.len() == READ_HANDLES_MAX {
            handles.pop_front();
        }
        handles.push_back((slot, Arc::clone(&file)));
        Ok(file)
    }

    fn forget_handle(&self, slot: u64) {
        self.handles.borrow_mut().retain(|(held, _)| *held != slot);
    }

    /// Gives the ballast up; true if that freed anything.
    pub(crate) fn release_ballast(&mut self) -> io::Result<bool> {
        self.ballast = false;
        ballast::release(&*self.disk)
    }

    /// Makes the ballast again if the disk has clearly room for it.
    pub(crate) fn restore_ballast(&mut self) -> io::Result<()> {
        if self.ballast {
            return Ok(());
        }
        let wanted = self.options.ballast_bytes;
        if ballast::is_present(&*self.disk, wanted)? {
            self.ballast = true;
            return Ok(());
        }
        if self.disk.available_bytes()? < wanted * 2 {
            return Ok(());
        }
        match ballast::create(&*self.disk, wanted) {
            Ok(()) => {
                self.ballast = true;
                self.written += wanted;
                Ok(())
            }
            // Somebody else took the room: better none than half a one.
            Err(error) if is_full(&error) => ballast::release(&*self.disk).map(drop),
            Err(error) => Err(error),
        }
    }

    /// Runs something that may find the disk full; then the ballast goes and it runs again.
    pub(crate) fn with_ballast<T>(
        &mut self,
        mut action: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        match action(self) {
            Err(error) if is_full(&error) => {
                if !self.release_ballast()? {
                    return Err(error);
                }
                action(self)
            }
            result => result,
        }
    }

    /// Fills a file with zeros from `from` to `to`, in steps.
    fn fill(&mut self, file: &dyn DiskFile, from: u64, to: u64, step: u64) -> io::Result<()> {
        let zeros = vec![0; step.min(to.saturating_sub(from)) as usize];
        let mut at = from;
        while at < to {
            let now = (to - at).min(step);
            file.write_at(at, zeros.get(..now as usize).unwrap_or(&zeros))?;
            at += now;
        }
        self.written += to.saturating_sub(from);
        Ok(())
    }

    /// Makes a new, empty file. Its directory entry is durable when this returns.
    fn create_file(&mut self) -> io::Result<FreeFile> {
        let slot = self.next_slot;
        self.disk.open(&slot_path(slot), OpenMode::CreateNew)?;
        self.next_slot += 1;
        // CRASH(wal.file.created): before: an empty file without a header, its name not synced; a start
        // finds it blank, if at all | after: its name is synced.
        crash_point!("wal.file.created");
        match mutant!(
            "directory_not_synced",
            "C4",
            "a new log file's name may be lost"
        ) {
            true => {}
            false => self.sync_names()?,
        }
        Ok(FreeFile { slot, filled: 0 })
    }

    /// Makes the names of the log's files durable, and that removed ones are gone.
    fn sync_names(&mut self) -> io::Result<()> {
        // A failed sync is never retried. As "full" it would be, with the ballast gone or by the next
        // file that comes or goes; so it is passed on as what it is, and the caller poisons.
        self.disk.sync_dir(LOG_DIR).map_err(io::Error::other)?;
        self.syncs += 1;
        Ok(())
    }

    /// Grows a free file until `bytes` of it are filled, in whole steps, and syncs it, so that
    /// the space stays ours after a crash.
    fn grow_free(&mut self, free: &mut FreeFile, bytes: u64) -> io::Result<()> {
        if free.filled >= bytes {
            return Ok(());
        }
        let target = bytes.next_multiple_of(self.options.grow_bytes);
        let file = self.disk.open(&slot_path(free.slot), OpenMode::Existing)?;
        let result = self.fill(&*file, free.filled, target, FILL_BYTES);
        if let Err(error) = &result
            && is_full(error)
        {
            // Half a step helps nobody and starves everybody else.
            file.set_len(free.filled)?;
        }
        result?;
        file.sync_data()?;
        file.forget_cache();
        self.syncs += 1;
        free.filled = target;
        Ok(())
    }

    /// Makes sure that the files held back for recovery can take a tail of `tail_bytes`.
    pub(crate) fn ensure_reserve(&mut self, tail_bytes: u64) -> io::Result<()> {
        let need = tail_bytes + (COPY_EXTRA_SECTORS + RESERVE_EXTRA_SECTORS) * SECTOR_BYTES;
        while self.reserve.len() < RESERVE_FILES {
            let file = match self.pop_free(need) {
                Some(file) => file,
                None => self.create_file()?,
            };
            self.reserve.push(file);
        }
        for index in 0..self.reserve.len() {
            let Some(mut file) = self.reserve.get(index).copied() else {
                continue;
            };
            let result = self.grow_free(&mut file, need);
            if let Some(slot) = self.reserve.get_mut(index) {
                *slot = file;
            }
            result?;
        }
        Ok(())
    }

    /// Bytes that the disk must still give before [`Self::ensure_reserve`] can succeed for this tail.
    pub(crate) fn reserve_shortfall(&self, tail_bytes: u64) -> u64 {
        let need = tail_bytes + (COPY_EXTRA_SECTORS + RESERVE_EXTRA_SECTORS) * SECTOR_BYTES;
        let target = need.next_multiple_of(self.options.grow_bytes);
        let missing = RESERVE_FILES.saturating_sub(self.reserve.len()) as u64 * target;
        let small = self.reserve.iter().filter(|file| file.filled < need);
        let growth: u64 = small.map(|file| target.saturating_sub(file.filled)).sum();
        missing + growth
    }

    /// Takes the smallest free file that holds `bytes`, or else the largest.
    fn pop_free(&mut self, bytes: u64) -> Option<FreeFile> {
        let fits = self
            .free
            .iter()
            .enumerate()
            .filter(|(_, file)| file.filled >= bytes);
        let best = fits.min_by_key(|(_, file)| file.filled);
        let best = best.or_else(|| {
            self.free
                .iter()
                .enumerate()
                .max_by_key(|(_, file)| file.filled)
        });
        let index = best.map(|(index, _)| index)?;
        Some(self.free.swap_remove(index))
    }

    /// A free file of at least `bytes` for the copy of a start, whatever it takes: spare files,
    /// then the ballast, then the room of the other spare files.
    pub(crate) fn take_for_copy(&mut self, bytes: u64) -> io::Result<FreeFile> {
        let mut file = match self.pop_free(bytes) {
            Some(file) => file,
            None => self.with_ballast(Log::create_file)?,
        };
        loop {
            let result = self.with_ballast(|log| log.grow_free(&mut file, bytes));
            match (result, self.free.pop()) {
                (Err(error), Some(other)) if is_full(&error) => {
                    self.disk.remove(&slot_path(other.slot))?;
                }
                (result, other) => {
                    self.free.extend(other);
                    return result.map(|()| file);
                }
            }
        }
    }

    /// Bytes that can be staged without asking the disk for more.
    pub(crate) fn prepared_bytes(&self) -> u64 {
        let head = self.head.as_ref();
        let head = head.map_or(0, |head| {
            head.filled.min(self.options.log_file_bytes) - head.end
        });
        let spare = self
            .free
            .iter()
            .map(|file| file.filled.saturating_sub(SECTOR_BYTES))
            .max();
        head.max(spare.unwrap_or(0))
    }

    /// Makes room for a group of `bytes` (padded): in the current file if it fits, else in the
    /// next one. Also makes sure that a start could copy the tail with it.
    pub(crate) fn make_room(&mut self, bytes: u64, next_lsn: Lsn) -> io::Result<()> {
        let staged: u64 = self.parts.iter().map(|part| part.buffer.len() as u64).sum();
        self.ensure_reserve(self.tail_bytes + staged + bytes)?;
        let limit = self.options.log_file_bytes;
        let pressed = !self.ballast;
        let unfit = |head: &WriteHead| {
            // Once the ballast is gone the current file, which video may pin, grows no more:
            // epochs go round in small files that come free again.
            head.end + bytes
                > if pressed {
                    head.filled.min(limit)
                } else {
                    limit
                }
        };
        if self.head.as_ref().is_none_or(unfit) {
            self.next_file(SECTOR_BYTES + bytes, next_lsn)?;
        }
        let Some(mut head) = self.head.take() else {
            panic!("a write head was made and is gone");
        };
        let want = head.end + bytes;
        let mut result = Ok(());
        if head.filled < want {
            let target = want.next_multiple_of(self.options.grow_bytes).min(limit);
            let file = Arc::clone(&head.file);
            // Sector by sector: large cached pages would be dirtied whole by the groups to come.
            result = self.fill(&*file, head.filled, target, SECTOR_BYTES);
            // After an error, what was filled is nobody's; a later try fills it again.
            if result.is_ok() {
                head.filled = target;
            }
        }
        self.head = Some(head);
        result
    }

    /// Takes a free file into use for new groups. Its header is only encoded here; it is written
    /// with its first groups.
    fn next_file(&mut self, bytes: u64, first_lsn: Lsn) -> io::Result<()> {
        let mut free = match self.pop_free(bytes) {
            Some(free) => free,
            None => self.create_file()?,
        };
        if let Err(error) = self.grow_free(&mut free, bytes) {
            self.free.push(free);
            return Err(error);
        }
        let file = self.disk.open(&slot_path(free.slot), OpenMode::Existing)?;
        #[allow(unused_mut, reason = "Only a deliberate bug changes it.")]
        let mut identity = Identity {
            kind: FileKind::Normal,
            life: self.random_id(),
            number: self.next_number,
            incarnation: self.incarnation,
        };
        self.next_number += 1;
        mutant!("life_id_reused", "C4", "a recycled file goes on under its old name" => {
            let sector = crate::log_file::read_zeroed(&*file, 0, SECTOR_BYTES as usize)?;
            if let Ok(old) = FileHeader::decode(&sector) {
                identity = old.identity;
            }
        });
        file.forget_cache();
        self.rotations += u64::from(self.head.is_some());
        self.parts.push(Part {
            slot: free.slot,
            identity,
            file: Arc::clone(&file),
            offset: 0,
            buffer: FileHeader {
                identity,
                first_lsn,
                boot: self.disk.boot(),
            }
            .encode(),
            fresh: true,
            first_lsn,
            last_lsn: first_lsn.prev(),
            filled: free.filled,
        });
        self.head = Some(WriteHead {
            slot: free.slot,
            file,
            identity,
            first_lsn,
            filled: free.filled,
            end: SECTOR_BYTES,
            chain: chain_start(&identity.life),
        });
        Ok(())
    }

    /// Encodes a group where `make_room` made room; gives the file's number and the offset of its
    /// first payload byte.
    pub(crate) fn append(&mut self, draft: &GroupDraft<'_>, payloads: &[&[u8]]) -> (u64, u64) {
        let Some(head) = self.head.as_mut() else {
            panic!("a group was appended without room");
        };
        let continues = self
            .parts
            .last()
            .is_some_and(|part| part.identity == head.identity);
        if !continues {
            self.parts.push(Part {
                slot: head.slot,
                identity: head.identity,
                file: Arc::clone(&head.file),
                offset: head.end,
                buffer: self.spare_buffers.pop().unwrap_or_default(),
                fresh: false,
                first_lsn: head.first_lsn,
                last_lsn: draft.lsn.prev(),
                filled: head.filled,
            });
        }
        let Some(part) = self.parts.last_mut() else {
            panic!("a part was pushed and is gone");
        };
        #[cfg(feature = "crashtest")]
        if !continues && !part.fresh {
            bugs::begin_in_the_sector_before(part, &self.last_sector);
        }
        let payload_bytes: usize = payloads.iter().map(|bytes| bytes.len()).sum();
        part.buffer
            .reserve(payload_bytes + 2 * SECTOR_BYTES as usize);
        // A new file is written after the one before it was synced, and only then.
        let synced_through = if part.fresh {
            part.first_lsn.prev()
        } else {
            draft.synced_through
        };
        let draft = GroupDraft {
            synced_through,
            ..*draft
        };
        let (header, chain) = encode_group(&draft, &head.identity, head.chain, &mut part.buffer);
        let payload_at = head.end + GROUP_HEADER_BYTES as u64 + u64::from(header.meta_bytes);
        for bytes in payloads {
            part.buffer.extend_from_slice(bytes);
        }
        let padded = (head.end - part.offset + header.padded_bytes()) as usize;
        part.buffer.resize(padded, 0);
        #[cfg(feature = "crashtest")]
        bugs::last_sector(&part.buffer, &mut self.last_sector);
        part.last_lsn = draft.lsn;
        part.filled = head.filled;
        head.end += header.padded_bytes();
        head.chain = chain;
        (head.identity.number, payload_at)
    }

    /// Bytes of a staged payload, if it is still in a buffer.
    pub(crate) fn staged_bytes_of(&self, number: u64, offset: u64, len: usize) -> Option<&[u8]> {
        let part = self
            .parts
            .iter()
            .find(|part| part.identity.number == number)?;
        let start = offset.checked_sub(part.offset)? as usize;
        part.buffer.get(start..start + len)
    }

    /// Bytes that wait for the next commit.
    pub(crate) fn staged_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.buffer.len() as u64).sum()
    }

    /// Starts to write and sync everything staged; the files before the last one are waited for.
    /// An error here is poison.
    pub(crate) fn write_parts(&mut self) -> Result<Flying, (&'static str, io::Error)> {
        let mut flying: Option<Flying> = None;
        for part in std::mem::take(&mut self.parts) {
            if let Some(before) = flying.take() {
                let failed = |error| ("log write or sync", error);
                self.spare_buffers.extend(before.land().map_err(failed)?);
            }
            note!("handed {}", part.last_lsn.0);
            let bytes = part.buffer.len() as u64;
            self.syncs += 1;
            self.written += bytes;
            self.tail_bytes += bytes;
            let entry = self
                .files
                .entry(part.identity.number)
                .or_insert_with(|| LogFile {
                    slot: part.slot,
                    identity: part.identity,
                    first_lsn: part.first_lsn,
                    last_lsn: part.last_lsn,
                    live: Ranges::new(),
                    live_bytes: 0,
                    filled: part.filled,
                });
            entry.last_lsn = part.last_lsn;
            entry.filled = part.filled;
            let buffer = Arc::new(part.buffer);
            #[cfg(not(feature = "crashtest"))]
            let pending = part.file.start_write(part.offset, Arc::clone(&buffer));
            #[cfg(feature = "crashtest")]
            let pending = {
                let reserve = self.reserve.first().map(|free| slot_path(free.slot));
                let other = || {
                    self.disk
                        .open(&reserve.unwrap_or_default(), OpenMode::Existing)
                };
                bugs::start_write(&part.file, part.offset, &buffer, other)
            };
            flying = Some(Flying {
                number: part.identity.number,
                offset: part.offset,
                pending,
                buffer,
            });
        }
        match flying {
            Some(flying) => Ok(flying),
            None => panic!("a commit without anything staged reached the log"),
        }
    }

    /// Takes the buffer of a write that has landed, for the next one.
    pub(crate) fn reuse(&mut self, buffer: Option<Vec<u8>>) {
        if self.spare_buffers.len() < SPARE_BUFFERS_MAX {
            self.spare_buffers.extend(buffer);
        }
    }

    /// Adds a live payload to a file.
    pub(crate) fn add_live(&mut self, number: u64, ordinal: u64, len: u32) {
        if let Some(file) = self.files.get_mut(&number)
            && file.live.insert(ordinal)
        {
            file.live_bytes += u64::from(len);
        }
    }

    /// Frees a payload wherever it is; freeing twice is harmless.
    pub(crate) fn free_live(&mut self, ordinal: u64, len: u32) {
        let holder = self
            .files
            .values_mut()
            .rev()
            .find(|file| file.live.contains(ordinal));
        if let Some(file) = holder {
            file.live.remove(ordinal);
            file.live_bytes = file.live_bytes.saturating_sub(u64::from(len));
        }
    }

    /// Frees the files that lie wholly below `floor` and hold no live payload, in any order, and
    /// deletes what is more than the spare files wanted.
    pub(crate) fn recycle(&mut self, floor: Lsn) -> io::Result<()> {
        let current = self.head.as_ref().map(|head| head.identity.number);
        let idle: Vec<u64> = self
            .files
            .values()
            .filter(|file| file.last_lsn <= floor && file.live.is_empty())
            .map(|file| file.identity.number)
            .filter(|number| Some(*number) != current)
            // What is staged into a file keeps it, however little of it is synced.
            .filter(|number| {
                self.parts
                    .iter()
                    .all(|part| part.identity.number != *number)
            })
            .collect();
        for number in idle {
            if let Some(file) = self.files.remove(&number) {
                self.forget_handle(file.slot);
                self.free.push(FreeFile {
                    slot: file.slot,
                    filled: file.filled,
                });
            }
        }
        // CRASH(wal.recycle.before_trim): before: nothing has changed on disk; a start finds the same
        // files free again | after: no more free files than are wanted.
        crash_point!("wal.recycle.before_trim");
        self.trim_free()
    }

    fn trim_free(&mut self) -> io::Result<()> {
        let mut removed = false;
        while self.free.len() > self.options.spare_files_max {
            let smallest = self
                .free
                .iter()
                .enumerate()
                .min_by_key(|(_, file)| file.filled);
            let Some(index) = smallest.map(|(index, _)| index) else {
                break;
            };
            let file = self.free.swap_remove(index);
            self.disk.remove(&slot_path(file.slot))?;
            removed = true;
        }
        match removed {
            true => self.sync_names(),
            false => Ok(()),
        }
    }
}
