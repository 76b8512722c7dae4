//! The procedure of a start: gather the facts, ask the tables, copy the tail, seal it, and only
//! then believe it.
//!
//! It may be cut off anywhere and run again: everything it writes before its seal is reclaimed by
//! the next start, and everything after it is derived from the seal.

use std::io;

use super::replay::{each_group, rebuild_view, replay_view};
use super::walk::{Base, Taken, Walk, walk};
use super::{
    BaseAction, CheckpointFact, DamagedPayload, RecoveryReport, ViewAction, ViewFact, ViewOutcome,
    decide_base, decide_view,
};
use crate::checkpoint::{self, CheckpointHead, CheckpointSlot, Read};
use crate::disk::{Disk, DiskFile, OpenMode, is_full};
use crate::log::{COPY_EXTRA_SECTORS, Log};
use crate::log_file::{
    FileScan, FreeFile, GroupAt, HeaderState, Identified, LOG_DIR, LogFile, PayloadCheck,
    check_payloads, identify, read_group, read_salvaging, read_zeroed, scan, slot_of, slot_path,
};
use crate::options::SECTOR_BYTES;
use crate::ranges::Ranges;
use crate::record::{
    FileHeader, FileKind, FileRow, GROUP_HEADER_BYTES, GroupDraft, Identity, LifeId, Record, Seal,
    chain_start, encode_group,
};
use crate::store::StoreError;
use crate::view::{PAYLOAD, PayloadRow, View, raw_key};
use crate::{Corruption, Lsn, WalError, crash_point, mutant};

#[cfg(feature = "crashtest")]
#[path = "bugs.rs"]
mod bugs;

/// The checkpoint that is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BaseState {
    /// Its file; `None` is the beginning of the log.
    pub(crate) slot: Option<CheckpointSlot>,
    pub(crate) lsn: Lsn,
    /// Its id, if there is a file.
    pub(crate) id: LifeId,
    /// Its number, 0 for the beginning.
    pub(crate) count: u64,
}

/// What a start hands to the engine.
pub(crate) struct Recovered {
    pub(crate) log: Log,
    pub(crate) view: View,
    pub(crate) next_ordinal: u64,
    pub(crate) base: BaseState,
}

/// A file of the directory that says who it is.
struct Known {
    slot: u64,
    filled: u64,
    identity: Identity,
    header: HeaderState,
    first_lsn: Lsn,
}

/// One sound checkpoint.
struct Found {
    slot: CheckpointSlot,
    head: CheckpointHead,
    files: Vec<FileRow>,
}

/// The base as chosen, with its file table.
struct Chosen {
    state: BaseState,
    head: Option<CheckpointHead>,
    files: Vec<FileRow>,
}

/// Runs a start. The lock is held.
pub(crate) fn recover(
    mut log: Log,
    mut view: View,
) -> Result<(Recovered, RecoveryReport), WalError> {
    log.disk
        .create_dir(LOG_DIR)
        .map_err(|error| WalError::io("the log directory", error))?;
    log.disk
        .sync_dir("")
        .map_err(|error| WalError::io("the state directory", error))?;
    let mut view_state = open_view(&mut view)?;
    if matches!(view_state, Err(StoreError::Full)) {
        // The view needs a little room to open; that is what the ballast is for.
        log.release_ballast()
            .map_err(|error| WalError::io("the ballast", error))?;
        view_state = open_view(&mut view)?;
    }
    let known = inventory(&mut log)?;
    checkpoint::drop_unborn(&*log.disk).map_err(|error| WalError::io("the checkpoints", error))?;
    let from_start = known.iter().any(|file| file.first_lsn == Lsn(1));
    let (chosen, checkpoints) = choose_base(&*log.disk, from_start, known.is_empty())?;
    log.next_number = log
        .next_number
        .max(chosen.head.map_or(1, |head| head.next_number));
    let scanned = scan_files(&log, &known, &chosen)?;
    let base = Base {
        lsn: chosen.state.lsn,
        incarnation: chosen.head.map_or(0, |head| head.incarnation),
        proof: checkpoints
            .iter()
            .map(|found| found.head.lsn)
            .chain(view_state.as_ref().ok().copied())
            .fold(chosen.state.lsn, Lsn::max),
        finished: checkpoints
            .iter()
            .map(|found| found.head.incarnation)
            .max()
            .unwrap_or(0),
    };
    let slots: Vec<u64> = scanned.iter().map(|(slot, _)| *slot).collect();
    let scans: Vec<FileScan> = scanned.into_iter().map(|(_, scan)| scan).collect();
    let mut sources = Sources {
        log: &log,
        slots: &slots,
        scans: &scans,
    };
    let found = walk(&scans, base, &mut |index, group| {
        sources.check(index, group)
    })?;
    let newest = known.iter().map(|file| file.identity.incarnation);
    let newest = newest.chain([base.finished]).max().unwrap_or(0);
    log.incarnation = newest.saturating_add(1);

    #[allow(unused_mut, reason = "Only a deliberate bug changes it.")]
    let mut kept = keep_files(&known, &chosen);
    let mut lost = lost_payloads(&known, &chosen);
    let proven = Proven::of(&known, &slots, &scans, base, log.disk.boot());
    let used = found
        .groups
        .iter()
        .filter_map(|taken| slots.get(taken.scan));
    let kept_too: &[u64] = match mutant!(
        "sources_given_away",
        "C7",
        "a start overwrites what a seal replaces that perhaps only the page cache has"
    ) {
        true => &[],
        false => &proven.sources,
    };
    let used: Vec<u64> = used.chain(kept_too).copied().collect();
    collect_free(&mut log, &known, &kept, &used);
    let mut report = RecoveryReport {
        incarnation: log.incarnation,
        fresh: known.is_empty() && checkpoints.is_empty(),
        base_lsn: chosen.state.lsn,
        torn_tail: found.torn,
        reclaimed_copies: found.reclaimed.len() as u64,
        headless_files: found.headless,
        ..RecoveryReport::default()
    };
    #[cfg(not(feature = "crashtest"))]
    let copied = copy_tail(&mut log, &slots, &scans, &found, &proven, chosen.state.lsn)?;
    #[cfg(feature = "crashtest")]
    let copied = match mutant!(
        "write_on_in_a_recovered_file",
        "C5",
        "the tail is not copied, and new groups go behind it"
    ) && !found.groups.is_empty()
    {
        true => bugs::write_on(&mut log, &mut kept, &slots, &scans, &found)?,
        false => copy_tail(&mut log, &slots, &scans, &found, &proven, chosen.state.lsn)?,
    };
    report.groups_copied = found.groups.len() as u64;
    report.bytes_copied = copied.bytes;
    report.last_lsn = copied.file.last_lsn;
    let damaged = found.damaged.into_iter();
    report.damaged_payloads = damaged
        .map(|(lsn, key)| DamagedPayload { key, lsn })
        .collect();

    // From here on the copy is the truth. What it replaces is free.
    log.tail_bytes = copied.bytes;
    log.files = kept
        .into_iter()
        .map(|file| (file.identity.number, file))
        .collect();
    log.files.insert(copied.file.identity.number, copied.file);
    release_sources(&mut log, &known);
    let next_ordinal = replay_live(&mut log, &chosen, &mut lost)?;
    report.lost_payloads = lost.len();
    report.view = settle_view(&log, &mut view, view_state, &chosen.state, report.last_lsn)?;
    report
        .damaged_payloads
        .retain(|damaged| still_live(&view, damaged));
    // CRASH(wal.recover.after_view): before: log sealed, view applied; the next start does the same
    // again | after: the same, and the first commit of this process.
    crash_point!("wal.recover.after_view");
    Ok((
        Recovered {
            log,
            view,
            next_ordinal,
            base: chosen.state,
        },
        report,
    ))
}

/// Whether a damaged payload is still what its key stands for; nobody misses a freed one.
fn still_live(view: &View, damaged: &DamagedPayload) -> bool {
    let row = view.get(None, &raw_key(PAYLOAD, &damaged.key));
    let row = row
        .ok()
        .flatten()
        .and_then(|bytes| PayloadRow::decode(&bytes).ok());
    row.is_some_and(|row| row.lsn == damaged.lsn.0)
}

/// Opens the view; gives its applied LSN (zero if it is empty) or that it is damaged.
fn open_view(view: &mut View) -> Result<Result<Lsn, StoreError>, WalError> {
    match view.store.open().and_then(|()| view.store.applied_lsn()) {
        Ok(applied) => Ok(Ok(applied.unwrap_or(Lsn::ZERO))),
        Err(error @ StoreError::Corrupt { .. }) => Ok(Err(error)),
        // A full disk can keep a view from opening; its rebuild is tried then, too.
        Err(error @ StoreError::Full) => Ok(Err(error)),
        Err(error) => Err(WalError::View(error)),
    }
}

/// Reads who every log file is. Blank ones are free at once.
fn inventory(log: &mut Log) -> Result<Vec<Known>, WalError> {
    let failed = |error| WalError::io("the log files", error);
    let mut slots: Vec<u64> = log
        .disk
        .list(LOG_DIR)
        .map_err(failed)?
        .iter()
        .filter_map(|name| slot_of(name))
        .collect();
    slots.sort_unstable();
    let (mut known, mut blank) = (Vec::new(), Vec::new());
    for slot in slots {
        log.next_slot = log.next_slot.max(slot + 1);
        let file = log
            .disk
            .open(&slot_path(slot), OpenMode::Existing)
            .map_err(failed)?;
        let filled = file.len().map_err(failed)?;
        match identify(&*file).map_err(failed)? {
            Identified::Blank => blank.push(FreeFile { slot, filled }),
            Identified::Foreign(found) => {
                return Err(WalError::Corrupt(Corruption::Version { found }));
            }
            Identified::Known {
                identity,
                header,
                first_lsn,
            } => {
                log.next_number = log.next_number.max(identity.number.saturating_add(1));
                known.push(Known {
                    slot,
                    filled,
                    identity,
                    header,
                    first_lsn,
                });
            }
        }
    }
    // A file without a header may have been made by a start or a commit whose directory sync
    // failed: its name is in the cache and perhaps never on the disk, and no later sync need cover
    // it. A new name is a new change, which the sync before the seal does cover.
    for mut file in blank {
        let slot = log.next_slot;
        log.disk
            .rename(&slot_path(file.slot), &slot_path(slot))
            .map_err(failed)?;
        log.next_slot += 1;
        file.slot = slot;
        log.free.push(file);
    }
    Ok(known)
}

fn choose_base(
    disk: &dyn Disk,
    from_start: bool,
    empty: bool,
) -> Result<(Chosen, Vec<Found>), WalError> {
    let mut facts = Vec::new();
    let mut sound = Vec::new();
    for slot in [CheckpointSlot::A, CheckpointSlot::B] {
        let read = checkpoint::read(disk, slot, &mut |_, _| {})
            .map_err(|error| WalError::io("the checkpoints", error))?;
        facts.push(match read {
            Read::Absent => CheckpointFact::Absent,
            Read::Bad => CheckpointFact::Bad,
            Read::Foreign(found) => {
                return Err(WalError::Corrupt(Corruption::Version { found }));
            }
            Read::Sound {
                head,
                confirmed,
                files,
            } => {
                sound.push(Found { slot, head, files });
                if confirmed {
                    CheckpointFact::Confirmed
                } else {
                    CheckpointFact::Unconfirmed
                }
            }
        });
    }
    let log = if from_start {
        CheckpointFact::LogFromStart
    } else {
        CheckpointFact::LogLater
    };
    let (a, b) = match facts.as_slice() {
        [a, b] => (*a, *b),
        _ => panic!("there are two checkpoint files"),
    };
    let wanted = match decide_base(a, b, log) {
        BaseAction::A => Some(CheckpointSlot::A),
        BaseAction::B => Some(CheckpointSlot::B),
        BaseAction::Newer => sound
            .iter()
            .max_by_key(|found| found.head.count)
            .map(|found| found.slot),
        BaseAction::Older => sound
            .iter()
            .min_by_key(|found| found.head.count)
            .map(|found| found.slot),
        BaseAction::Beginning => None,
        BaseAction::None => {
            // Nothing at all is a first start; anything else lost its beginning.
            let first = (a, b) == (CheckpointFact::Absent, CheckpointFact::Absent) && empty;
            if !first {
                return Err(WalError::Corrupt(Corruption::NoBase));
            }
            None
        }
    };
    let chosen = match sound.iter().find(|found| Some(found.slot) == wanted) {
        Some(found) => Chosen {
            state: BaseState {
                slot: Some(found.slot),
                lsn: found.head.lsn,
                id: found.head.id,
                count: found.head.count,
            },
            head: Some(found.head),
            files: found.files.clone(),
        },
        None => Chosen {
            state: BaseState {
                slot: None,
                lsn: Lsn::ZERO,
                id: LifeId::default(),
                count: 0,
            },
            head: None,
            files: Vec::new(),
        },
    };
    Ok((chosen, sound))
}

/// Scans the files that can hold something above the base.
fn scan_files(
    log: &Log,
    known: &[Known],
    chosen: &Chosen,
) -> Result<Vec<(u64, FileScan)>, WalError> {
    let mut scans = Vec::new();
    for file in known {
        let row = chosen
            .files
            .iter()
            .find(|row| row.number == file.identity.number);
        // A file that the base knows and that ends below it holds nothing newer.
        if row.is_some_and(|row| Lsn(row.last_lsn) < chosen.state.lsn) {
            continue;
        }
        let failed = |error| WalError::io("the log files", error);
        let reader = log
            .disk
            .open(&slot_path(file.slot), OpenMode::Existing)
            .map_err(failed)?;
        let scan = scan(&*reader, file.identity, file.header, file.first_lsn).map_err(failed)?;
        scans.push((file.slot, scan));
    }
    Ok(scans)
}

struct Sources<'a> {
    log: &'a Log,
    slots: &'a [u64],
    scans: &'a [FileScan],
}

impl Sources<'_> {
    fn check(&mut self, index: usize, group: &GroupAt) -> PayloadCheck {
        let (Some(slot), Some(scan)) = (self.slots.get(index), self.scans.get(index)) else {
            panic!("a scan that was never made was asked for");
        };
        let read = || -> io::Result<PayloadCheck> {
            let file = self.log.disk.open(&slot_path(*slot), OpenMode::Existing)?;
            let gone = || io::Error::from(io::ErrorKind::InvalidData);
            let meta = read_group(&*file, &scan.identity, group.offset)?.ok_or_else(gone)?;
            let (records, _) = meta.records().map_err(|_| gone())?;
            Ok(check_payloads(&*file, group.offset, &meta.header, &records))
        };
        // A group that was read a moment ago and now is not: the disk does not answer reliably.
        read().unwrap_or_else(|_| PayloadCheck {
            damaged: vec![Vec::new()],
            unreadable: true,
        })
    }
}

/// The files below the base that still matter: those of its table that are still there. What
/// they hold above the base is the copy's from now on.
fn keep_files(known: &[Known], chosen: &Chosen) -> Vec<LogFile> {
    let mut kept: Vec<LogFile> = Vec::new();
    for row in &chosen.files {
        let same = known
            .iter()
            .find(|file| Some(file.identity) == row.identity());
        let Some(file) = same else { continue };
        let entry = match kept.iter_mut().find(|kept| kept.identity == file.identity) {
            Some(entry) => entry,
            None => {
                kept.push(LogFile {
                    slot: file.slot,
                    identity: file.identity,
                    first_lsn: Lsn(row.first_lsn),
                    last_lsn: Lsn(row.last_lsn).min(chosen.state.lsn),
                    live: Ranges::new(),
                    live_bytes: row.live_bytes,
                    filled: file.filled,
                });
                match kept.last_mut() {
                    Some(entry) => entry,
                    None => continue,
                }
            }
        };
        for ordinal in row.live_start..row.live_end {
            entry.live.insert(ordinal);
        }
    }
    kept
}

/// Payloads that were live at the base and whose file is gone. What the log frees above the base is
/// taken out of them later: its file may have been used again for good reason.
fn lost_payloads(known: &[Known], chosen: &Chosen) -> Ranges {
    let gone = |row: &&FileRow| {
        !known
            .iter()
            .any(|file| Some(file.identity) == row.identity())
    };
    let mut lost = Ranges::new();
    for row in chosen.files.iter().filter(gone) {
        for ordinal in row.live_start..row.live_end {
            lost.insert(ordinal);
        }
    }
    lost
}

/// What holds even if a seal that reads back is in the page cache alone.
///
/// A start that died between its seal's write and the end of its sync leaves a copy that looks
/// finished and after a power cut is not. The copy may be read, but what it was made from must not
/// be overwritten before a seal of this start is synced. That a seal's sync returned is proven by what
/// is only written after it: the witness behind it, a file of commits or a checkpoint of its
/// incarnation. And what reads back after the machine was started again is on the disk. Nobody was told anything by a start that did not come so far.
struct Proven {
    /// The files that are the log if no unproven copy is, and each unproven copy itself.
    sources: Vec<u64>,
    /// Everything through here was synced by commits, checkpoints and the starts before them. What a
    /// later start says of itself is not repeated in a copy: were that copy cut off, it would bear
    /// witness to a seal of which nothing else is left.
    lsn: Lsn,
}

impl Proven {
    fn of(known: &[Known], slots: &[u64], scans: &[FileScan], base: Base, boot: u64) -> Proven {
        let normal = known.iter();
        let normal = normal.filter(|file| file.identity.kind == FileKind::Normal);
        let normal = normal.map(|file| file.identity.incarnation);
        let worked = normal.fold(base.finished, u64::max);
        let sure = |scan: &&FileScan| scan.is_witnessed_copy() || scan.outlived_its_boot(boot);
        let copies = scans.iter().filter(sure);
        let copies = copies.map(|scan| scan.identity.incarnation);
        let finished = copies.fold(worked, u64::max);
        let older = |scan: &&FileScan| scan.identity.incarnation <= worked;
        let lsn = scans.iter().filter(older).map(FileScan::proof);
        let (mut sources, reach) = log_through(finished, slots, scans, base);
        let unproven =
            |scan: &&FileScan| scan.is_sealed_copy() && scan.identity.incarnation > finished;
        let copies: Vec<&FileScan> = scans.iter().filter(unproven).collect();
        let copied = copies.iter().filter_map(|scan| scan.seal);
        let whole = copied.map(|seal| Lsn(seal.last_lsn)).min() <= reach;
        // A witness that reads back was written after the sync that it speaks of, but may itself be in
        // the page cache alone. An earlier start may have read one, given away what that seal replaces,
        // and been cut off by the power, which took the witness. Then those files no longer reach as far
        // as the first unproven copy was made from, each unproven seal may be the only one that is on the
        // disk, and none of them is given away before a seal of this start is.
        let forgetful = mutant!(
            "older_seals_given_away",
            "C7",
            "of several unproven seals only the newest is kept"
        );
        if !whole && !forgetful {
            for copy in copies {
                sources.extend(log_through(copy.identity.incarnation, slots, scans, base).0);
            }
        }
        Proven {
            sources,
            lsn: lsn.fold(base.proof, Lsn::max),
        }
    }
}

/// The slots of the files that are the log if no start after this incarnation was finished, and its last
/// LSN. Nothing, if they are no longer whole: then a later start was finished, and gave them away.
fn log_through(top: u64, slots: &[u64], scans: &[FileScan], base: Base) -> (Vec<u64>, Option<Lsn>) {
    let chosen = slots.iter().zip(scans);
    let chosen = chosen.filter(|(_, scan)| scan.identity.incarnation <= top);
    let (slots, scans): (Vec<u64>, Vec<FileScan>) =
        chosen.map(|(slot, scan)| (*slot, scan.clone())).unzip();
    let Ok(found) = walk(&scans, base, &mut |_, _| PayloadCheck::default()) else {
        return (Vec::new(), None);
    };
    let taken = found.groups.iter().map(|taken| taken.scan);
    let used = taken.filter_map(|scan| slots.get(scan).copied());
    (used.collect(), Some(found.last_lsn))
}

/// Files that may be overwritten by the copy: neither kept nor in use. Unfinished copies of earlier
/// starts come first of all.
fn collect_free(log: &mut Log, known: &[Known], kept: &[LogFile], used: &[u64]) {
    for file in known {
        let needed = kept.iter().any(|kept| kept.slot == file.slot) || used.contains(&file.slot);
        if !needed {
            log.free.push(FreeFile {
                slot: file.slot,
                filled: file.filled,
            });
        }
    }
}

struct Copied {
    file: LogFile,
    bytes: u64,
}

/// Copies the tail into a fresh file, syncs it, seals it, and syncs it again.
fn copy_tail(
    log: &mut Log,
    slots: &[u64],
    scans: &[FileScan],
    found: &Walk,
    proven: &Proven,
    base: Lsn,
) -> Result<Copied, WalError> {
    let tail: u64 = found
        .groups
        .iter()
        .map(|taken| taken.group.header.padded_bytes())
        .sum();
    let room = tail + COPY_EXTRA_SECTORS * SECTOR_BYTES;
    #[allow(unused_mut, reason = "Only a deliberate bug changes it.")]
    let mut target = log.take_for_copy(room);
    mutant!("copy_over_its_source", "C7", "a start that is cut off leaves neither source nor copy" => {
        let source = found.groups.last().and_then(|taken| slots.get(taken.scan));
        if let (Some(slot), Ok(spare)) = (source, &target) {
            log.free.push(*spare);
            target = Ok(FreeFile { slot: *slot, filled: spare.filled });
        }
    });
    let target = match target {
        Ok(target) => target,
        Err(error) if is_full(&error) => {
            let available = log.disk.available_bytes().unwrap_or(0);
            return Err(WalError::Space {
                needed: room,
                available,
            });
        }
        Err(error) => return Err(WalError::io("the file for the copied tail", error)),
    };
    let failed = |error| WalError::io("the copy of the tail", error);
    let identity = Identity {
        kind: FileKind::Copy,
        life: log.random_id(),
        number: log.next_number,
        incarnation: log.incarnation,
    };
    log.next_number += 1;
    let file = log
        .disk
        .open(&slot_path(target.slot), OpenMode::Existing)
        .map_err(failed)?;
    let header = FileHeader {
        identity,
        first_lsn: base.next(),
        boot: log.disk.boot(),
    };
    let before = identify(&*file).map_err(failed)?;
    file.write_at(0, &header.encode()).map_err(failed)?;
    if !matches!(before, Identified::Blank) {
        // ORDER: what the file was is gone before any of its bytes are: a finished copy of an earlier
        // start that lost only bytes of a payload would still be believed.
        file.sync_data().map_err(failed)?;
    }
    // CRASH(wal.recover.after_header): before: a copy's header without its groups or its seal; the next
    // start reclaims it | after: the groups are written behind it, not synced.
    crash_point!("wal.recover.after_header");
    let mut at = SECTOR_BYTES;
    let mut chain = chain_start(&identity.life);
    for taken in &found.groups {
        let (Some(slot), Some(scan)) = (slots.get(taken.scan), scans.get(taken.scan)) else {
            panic!("a scan that was never made was asked for");
        };
        let source = log
            .disk
            .open(&slot_path(*slot), OpenMode::Existing)
            .map_err(failed)?;
        let mut buffer = Vec::new();
        let place = (&identity, chain, proven.lsn);
        chain = copy_group(&*source, scan, taken, place, &mut buffer).map_err(failed)?;
        file.write_at(at, &buffer).map_err(failed)?;
        at += buffer.len() as u64;
    }
    // CRASH(wal.recover.before_sync): before: a copy without its seal, written and not synced; the next
    // start reclaims it | after: the copy is synced, without its seal.
    crash_point!("wal.recover.before_sync");
    let credulous = mutant!(
        "page_cache_believed",
        "C7",
        "a start syncs nothing of what it has read and copied"
    );
    let hasty = mutant!(
        "seal_synced_with_its_copy",
        "C2",
        "one sync for a copy and for the seal that says it was synced"
    );
    if !credulous && !hasty {
        file.sync_data().map_err(failed)?;
    }
    if !credulous {
        // The header's sync above and this one make the seal's statement true before it is made.
        log.disk.sync_dir(LOG_DIR).map_err(failed)?;
    }
    let last = found.groups.last().and_then(|taken| scans.get(taken.scan));
    let lsn = found.last_lsn.next();
    let seal = Record::Seal(Seal {
        source_number: last.map_or(0, |scan| scan.identity.number),
        source_life: last.map_or([0; 16], |scan| scan.identity.life),
        last_lsn: found.last_lsn.0,
        incarnation: identity.incarnation,
    });
    let draft = GroupDraft {
        lsn,
        synced_through: found.last_lsn,
        records: &[seal],
    };
    let mut buffer = Vec::new();
    let (_, chain) = encode_group(&draft, &identity, chain, &mut buffer);
    buffer.resize(buffer.len().next_multiple_of(SECTOR_BYTES as usize), 0);
    crate::note!("seals {}", lsn.next().0);
    // CRASH(wal.recover.before_seal): before: the copy is synced and without its seal; its sources are
    // the truth | after: the seal is synced.
    crash_point!("wal.recover.before_seal");
    file.write_at(at, &buffer).map_err(failed)?;
    // ORDER: the seal's sync, then the first Durable of this start.
    if !credulous {
        file.sync_data().map_err(failed)?;
    }
    // CRASH(wal.recover.after_seal): before: the seal is synced, and no witness says so; the next start
    // keeps the sources once more | after: a synced witness says so, and the sources may be given to
    // others.
    crash_point!("wal.recover.after_seal");
    at += buffer.len() as u64;
    let witness = GroupDraft {
        lsn: lsn.next(),
        synced_through: lsn,
        records: &[],
    };
    buffer.clear();
    encode_group(&witness, &identity, chain, &mut buffer);
    buffer.resize(buffer.len().next_multiple_of(SECTOR_BYTES as usize), 0);
    file.write_at(at, &buffer).map_err(failed)?;
    // ORDER: this sync, then the sources may be given to others.
    if !credulous {
        file.sync_data().map_err(failed)?;
    }
    let bytes = at + buffer.len() as u64 - SECTOR_BYTES;
    log.written += bytes + SECTOR_BYTES;
    log.syncs += 4;
    let file = LogFile {
        slot: target.slot,
        identity,
        first_lsn: base.next(),
        last_lsn: lsn.next(),
        live: Ranges::new(),
        live_bytes: 0,
        filled: target.filled,
    };
    Ok(Copied { file, bytes })
}

/// Encodes one group again for its new place. Payload bytes are taken as they are: a damaged one
/// stays damaged, and its descriptor goes on saying so. What could be read a moment ago and now
/// cannot is no damage: the start fails and is tried again.
fn copy_group(
    source: &dyn DiskFile,
    scan: &FileScan,
    taken: &Taken,
    (identity, chain, proven): (&Identity, u32, Lsn),
    out: &mut Vec<u8>,
) -> io::Result<u32> {
    let group = &taken.group;
    let gone = || io::Error::from(io::ErrorKind::InvalidData);
    let meta = read_group(source, &scan.identity, group.offset)?.ok_or_else(gone)?;
    let (records, _) = meta.records().map_err(|_| gone())?;
    let draft = GroupDraft {
        lsn: meta.header.lsn,
        // The seal of an unproven start says what is true only if that start was finished.
        synced_through: meta.header.synced_through.min(proven),
        records: &records,
    };
    let (_, chain) = encode_group(&draft, identity, chain, out);
    let start = group.offset + GROUP_HEADER_BYTES as u64 + u64::from(meta.header.meta_bytes);
    let len = meta.header.payload_bytes as usize;
    out.extend(if taken.damaged {
        read_salvaging(source, start, len)
    } else {
        read_zeroed(source, start, len)?
    });
    out.resize(out.len().next_multiple_of(SECTOR_BYTES as usize), 0);
    Ok(chain)
}

/// After the seal the sources that hold nothing below the base are free as well.
fn release_sources(log: &mut Log, known: &[Known]) {
    for file in known {
        let held = log.files.values().any(|kept| kept.slot == file.slot);
        let free = log.free.iter().any(|free| free.slot == file.slot);
        if !held && !free {
            log.free.push(FreeFile {
                slot: file.slot,
                filled: file.filled,
            });
        }
    }
}

/// Applies the tail's payload records to the live sets, and to those of lost files; gives the next
/// ordinal.
fn replay_live(log: &mut Log, chosen: &Chosen, lost: &mut Ranges) -> Result<u64, WalError> {
    let mut next = chosen.head.map_or(0, |head| head.next_ordinal);
    let mut changes = Vec::new();
    each_group(log, chosen.state.lsn, Lsn(u64::MAX), &mut |at| {
        for record in at.records {
            match record {
                Record::PayloadDescriptor { len, ordinal, .. } => {
                    changes.push((Some(at.number), *ordinal, *len));
                    next = next.max(ordinal + 1);
                }
                Record::FreePayload { ordinal, len, .. } => changes.push((None, *ordinal, *len)),
                _ => {}
            }
        }
        Ok(())
    })?;
    for (number, ordinal, len) in changes {
        match number {
            Some(number) => log.add_live(number, ordinal, len),
            None => {
                lost.remove(ordinal);
                log.free_live(ordinal, len);
            }
        }
    }
    Ok(next)
}

fn settle_view(
    log: &Log,
    view: &mut View,
    state: Result<Lsn, StoreError>,
    base: &BaseState,
    last: Lsn,
) -> Result<ViewOutcome, WalError> {
    let fact = if state.is_ok() {
        ViewFact::Opens
    } else {
        ViewFact::Corrupt
    };
    let applied = state.unwrap_or(Lsn::ZERO);
    let relation = if applied < base.lsn {
        ViewFact::Behind
    } else if applied <= last {
        ViewFact::Within
    } else {
        ViewFact::Beyond
    };
    match decide_view(fact, relation) {
        ViewAction::Keep => match replay_view(log, view, base.lsn, last) {
            Ok(()) => Ok(ViewOutcome::Kept),
            Err(WalError::View(StoreError::Corrupt { .. })) => {
                rebuild_view(log, view, base, last)?;
                Ok(ViewOutcome::Rebuilt)
            }
            Err(error) => Err(error),
        },
        ViewAction::Rebuild => {
            rebuild_view(log, view, base, last)?;
            Ok(ViewOutcome::Rebuilt)
        }
    }
}
