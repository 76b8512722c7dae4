//! The walk: from the scans of all files to the one list of groups that is the log.
//!
//! It is a pure function of what the scans say, but for the check of payloads, which is an
//! argument. It never looks at a clock, a disk or the view.

use std::collections::BTreeMap;

use super::{FileAction, FileFact, GroupAction, GroupFact, decide_file, decide_group};
use crate::log_file::{FileScan, GroupAt, HeaderState, PayloadCheck};
use crate::{Corruption, Lsn, WalError, mutant};

/// One group of the log and the scan that it stands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) scan: usize,
    pub(super) group: GroupAt,
    /// Whether some payload of it is known to be damaged or unreadable.
    pub(super) damaged: bool,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) groups: Vec<Taken>,
    /// Keys of damaged payloads with their LSN.
    pub(super) damaged: Vec<(Lsn, Vec<u8>)>,
    pub(super) last_lsn: Lsn,
    /// The first LSN of a torn tail, if anything was there.
    pub(super) torn: Option<Lsn>,
    /// Scans that are unfinished copies.
    pub(super) reclaimed: Vec<usize>,
    pub(super) headless: u64,
}

/// What is known besides the files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    /// The tail begins after this.
    pub(super) lsn: Lsn,
    /// The incarnation that the base was written in, 0 for none.
    pub(super) incarnation: u64,
    /// The highest LSN that checkpoints and view prove to have been synced.
    pub(super) proof: Lsn,
    /// The highest incarnation that any checkpoint proves to have been finished.
    pub(super) finished: u64,
}

/// Finds the log. `check` looks at a group's payloads.
pub(super) fn walk(
    scans: &[FileScan],
    base: Base,
    check: &mut dyn FnMut(usize, &GroupAt) -> PayloadCheck,
) -> Result<Walk, WalError> {
    let sealed = scans.iter().filter(|scan| scan.is_sealed_copy());
    let top = sealed
        .map(|scan| scan.identity.incarnation)
        .max()
        .unwrap_or(0)
        .max(base.incarnation);
    if base.finished > top {
        return Err(WalError::Corrupt(Corruption::LostCopy {
            incarnation: base.finished,
        }));
    }
    let mut out = Walk {
        last_lsn: base.lsn,
        ..Walk::default()
    };
    let mut proof = base.proof;
    let mut sources = Vec::new();
    for (index, scan) in scans.iter().enumerate() {
        let what = match (scan.identity.kind, scan.seal) {
            (crate::record::FileKind::Normal, _) => FileFact::Normal,
            (crate::record::FileKind::Copy, Some(_)) => FileFact::Sealed,
            (crate::record::FileKind::Copy, None) if scan.is_sealed_copy() => FileFact::Sealed,
            (crate::record::FileKind::Copy, None) => FileFact::Unsealed,
        };
        let above = scan.identity.incarnation > top;
        let relation = if above {
            FileFact::Above
        } else {
            FileFact::NotAbove
        };
        match decide_file(what, relation) {
            FileAction::Source => sources.push(index),
            FileAction::Reclaim => out.reclaimed.push(index),
            FileAction::Refuse => {
                return Err(WalError::Corrupt(Corruption::LostCopy {
                    incarnation: scan.identity.incarnation,
                }));
            }
        }
        // What any of them says about the past stays true, also of one that is reclaimed.
        proof = proof.max(scan.proof());
    }
    let mut steps = Steps {
        scans,
        proof,
        check,
        out,
    };
    for (incarnation, cap) in caps(scans, &sources, base) {
        let files: Vec<usize> = sources
            .iter()
            .copied()
            .filter(|index| scan_of(scans, *index).identity.incarnation == incarnation)
            .collect();
        if steps.follow(files, cap)? == Outcome::Ended {
            break;
        }
    }
    mutant!("truncates_too_much", "C4", "a start drops one sound group with the torn ones" => {
        if steps.out.torn.is_some() && steps.out.groups.pop().is_some() {
            steps.out.last_lsn = steps.out.last_lsn.prev();
        }
    });
    Ok(steps.out)
}

fn scan_of(scans: &[FileScan], index: usize) -> &FileScan {
    match scans.get(index) {
        Some(scan) => scan,
        None => panic!("a scan that was never made was asked for"),
    }
}

/// The incarnations that can own LSNs, ascending, each with the last LSN that it counts for: a
/// finished copy owns everything from its first LSN on.
fn caps(scans: &[FileScan], sources: &[usize], base: Base) -> Vec<(u64, Lsn)> {
    let mut starts: BTreeMap<u64, Lsn> = BTreeMap::new();
    starts.insert(base.incarnation, base.lsn.next());
    for scan in sources.iter().map(|index| scan_of(scans, *index)) {
        if scan.is_sealed_copy() && scan.identity.incarnation > base.incarnation {
            starts.insert(scan.identity.incarnation, scan.first_lsn);
        }
    }
    mutant!("longest_copy_wins", "C2", "the file that reaches farthest counts, whatever copied it" => {
        let reach = |index: &&usize| {
            let scan = scan_of(scans, **index);
            let last = scan.groups.last().map_or(Lsn::ZERO, |group| group.header.lsn);
            (last, std::cmp::Reverse(scan.identity.incarnation))
        };
        if let Some(longest) = sources.iter().max_by_key(reach) {
            let wins = scan_of(scans, *longest).identity.incarnation;
            starts.retain(|incarnation, _| *incarnation <= wins);
            starts.entry(wins).or_insert(base.lsn.next());
        }
    });
    let mut cap = Lsn(u64::MAX);
    let mut out = Vec::new();
    for (incarnation, start) in starts.into_iter().rev() {
        if start <= cap {
            out.push((incarnation, cap));
            cap = cap.min(start.prev());
        }
    }
    out.reverse();
    out
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Ended,
    Capped,
}

struct Steps<'a> {
    scans: &'a [FileScan],
    proof: Lsn,
    check: &'a mut dyn FnMut(usize, &GroupAt) -> PayloadCheck,
    out: Walk,
}

impl Steps<'_> {
    /// Follows the files of one incarnation from the next LSN up to `cap`.
    fn follow(&mut self, mut files: Vec<usize>, cap: Lsn) -> Result<Outcome, WalError> {
        files.sort_by_key(|index| scan_of(self.scans, *index).identity.number);
        loop {
            let expected = self.out.last_lsn.next();
            if expected > cap {
                return Ok(Outcome::Capped);
            }
            let holds = |index: &&usize| {
                let scan = scan_of(self.scans, **index);
                let last = scan
                    .groups
                    .last()
                    .map_or(Lsn::ZERO, |group| group.header.lsn);
                scan.first_lsn <= expected && expected <= last
            };
            let Some(&index) = files.iter().rev().find(holds) else {
                let payload = GroupFact::PayloadDamaged;
                let action = decide_group(GroupFact::Lost, payload, self.proof_of(expected));
                return self.refuse_or_end(action, expected);
            };
            let scan = scan_of(self.scans, index);
            if scan.header == HeaderState::Damaged {
                self.out.headless += 1;
            }
            for group in scan
                .groups
                .iter()
                .filter(|group| group.header.lsn >= expected)
            {
                if group.header.lsn > cap {
                    return Ok(Outcome::Capped);
                }
                if let Some(outcome) = self.take(index, group)? {
                    return Ok(outcome);
                }
            }
        }
    }

    fn take(&mut self, index: usize, group: &GroupAt) -> Result<Option<Outcome>, WalError> {
        let lsn = group.header.lsn;
        let check = match mutant!(
            "index_before_chunk",
            "C2",
            "a row counts without its payload"
        ) {
            true => PayloadCheck::default(),
            false => (self.check)(index, group),
        };
        let payload = match (check.unreadable, check.damaged.is_empty()) {
            (true, _) => GroupFact::PayloadUnreadable,
            (false, false) => GroupFact::PayloadDamaged,
            (false, true) => GroupFact::PayloadSound,
        };
        let action = decide_group(GroupFact::Sound, payload, self.proof_of(lsn));
        match action {
            GroupAction::Take | GroupAction::TakeDamaged => {
                self.out.groups.push(Taken {
                    scan: index,
                    group: *group,
                    damaged: action == GroupAction::TakeDamaged,
                });
                let keys = check.damaged.into_iter();
                self.out.damaged.extend(keys.map(|key| (lsn, key)));
                self.out.last_lsn = lsn;
                Ok(None)
            }
            GroupAction::EndOfLog | GroupAction::Refuse | GroupAction::RefuseUnread => {
                self.refuse_or_end(action, lsn).map(Some)
            }
        }
    }

    fn proof_of(&self, lsn: Lsn) -> GroupFact {
        if self.proof >= lsn {
            GroupFact::Proven
        } else {
            GroupFact::Unproven
        }
    }

    fn refuse_or_end(&mut self, action: GroupAction, lsn: Lsn) -> Result<Outcome, WalError> {
        if action == GroupAction::Refuse {
            return Err(WalError::Corrupt(Corruption::LostGroup {
                lsn,
                proven: self.proof,
            }));
        }
        if action == GroupAction::RefuseUnread {
            return Err(WalError::Unread { lsn });
        }
        let left = self.scans.iter().any(|scan| {
            let strays = scan.strays.iter().map(|header| header.lsn);
            let groups = scan.groups.iter().map(|group| group.header.lsn);
            strays.chain(groups).any(|found| found >= lsn)
        });
        self.out.torn = left.then_some(lsn);
        Ok(Outcome::Ended)
    }
}
