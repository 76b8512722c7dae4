//! Recovery: what a start decides, as tables, and what it reports.
//!
//! The tables are data. Each combination of facts meets exactly one row, which a test proves by
//! trying them all. The procedure in `recover/run.rs` gathers the facts and obeys; it never
//! decides anything itself. FORMAT.md prints the same rows.

use std::fmt;

use crate::{Lsn, mutant};

pub(crate) mod replay;
pub(crate) mod run;
mod walk;

/// A payload whose bytes are damaged on disk. `Debug` leaves the key out: our callers put whole names into their keys,
/// and a report goes to a log.
#[derive(Clone, PartialEq, Eq)]
pub struct DamagedPayload {
    /// The key it is stored under.
    pub key: Vec<u8>,
    /// The transaction that stored it.
    pub lsn: Lsn,
}

impl fmt::Debug for DamagedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DamagedPayload")
            .field("lsn", &self.lsn)
            .finish_non_exhaustive()
    }
}

/// What became of the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViewOutcome {
    /// It was sound; the tail was applied to it again.
    #[default]
    Kept,
    /// It was damaged, missing or too old and was made anew from checkpoint and log.
    Rebuilt,
}

/// What a start found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The number of this start in the journal's life, from 1.
    pub incarnation: u64,
    /// True if there was nothing before.
    pub fresh: bool,
    /// The checkpoint that the tail was counted from.
    pub base_lsn: Lsn,
    /// The last transaction that was found.
    pub last_lsn: Lsn,
    /// Transactions copied into the fresh file.
    pub groups_copied: u64,
    /// Bytes copied into the fresh file.
    pub bytes_copied: u64,
    /// The first transaction of a torn, never acknowledged tail, if there was one.
    pub torn_tail: Option<Lsn>,
    /// Unfinished copies of earlier starts that were reclaimed.
    pub reclaimed_copies: u64,
    /// Files whose header was damaged and whose groups were read all the same.
    pub headless_files: u64,
    /// Payloads of the tail whose bytes are damaged.
    pub damaged_payloads: Vec<DamagedPayload>,
    /// Live payloads whose whole file is gone; their keys answer `PayloadDamaged`, or nothing if
    /// the view had to be rebuilt.
    pub lost_payloads: u64,
    /// What became of the view.
    pub view: ViewOutcome,
}

/// One row of a table: a pattern over `N` facts (`None` matches anything) and what follows.
#[derive(Clone, Copy, Debug)]
pub struct Row<F: 'static, A: 'static, const N: usize> {
    /// The row's number in FORMAT.md.
    pub number: u8,
    /// The facts it wants.
    pub when: [Option<F>; N],
    /// What to do.
    pub then: A,
}

fn decide<F: PartialEq + Copy, A: Copy, const N: usize>(
    table: &[Row<F, A, N>],
    facts: [F; N],
) -> A {
    let meets = |row: &&Row<F, A, N>| {
        row.when
            .iter()
            .zip(facts)
            .all(|(want, fact)| want.is_none_or(|want| want == fact))
    };
    match table.iter().find(meets) {
        Some(row) => row.then,
        None => panic!("no row of a recovery table matches: the table lost a row"),
    }
}

/// One fact about the group that should hold the next LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFact {
    /// Its meta section is sound (first fact only).
    Sound,
    /// It is missing or damaged (first fact only).
    Lost,
    /// Every payload has its checksum (second fact only).
    PayloadSound,
    /// Some payload has not (second fact only).
    PayloadDamaged,
    /// The disk does not read some payload at all (second fact only).
    PayloadUnreadable,
    /// Something proves that it was synced (third fact only).
    Proven,
    /// Nothing does (third fact only).
    Unproven,
}

/// What to do with the group that should hold the next LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAction {
    /// It is part of the log.
    Take,
    /// It is part of the log; its payload is reported.
    TakeDamaged,
    /// The log ends before it.
    EndOfLog,
    /// It was acknowledged and is gone: refuse to start.
    Refuse,
    /// It may have been acknowledged and the disk does not answer: refuse to start for now. To
    /// call it torn would forget what may have left the process.
    RefuseUnread,
}

/// Facts: its meta section, its payloads, and whether something proves that it was synced.
pub const GROUP_TABLE: &[Row<GroupFact, GroupAction, 3>] = {
    use GroupFact::{
        Lost, PayloadDamaged, PayloadSound, PayloadUnreadable, Proven, Sound, Unproven,
    };
    &[
        Row {
            number: 1,
            when: [Some(Sound), Some(PayloadSound), None],
            then: GroupAction::Take,
        },
        Row {
            number: 2,
            when: [Some(Sound), Some(PayloadDamaged), Some(Proven)],
            then: GroupAction::TakeDamaged,
        },
        Row {
            number: 3,
            when: [Some(Sound), Some(PayloadDamaged), Some(Unproven)],
            then: GroupAction::EndOfLog,
        },
        Row {
            number: 4,
            when: [Some(Sound), Some(PayloadUnreadable), Some(Proven)],
            then: GroupAction::TakeDamaged,
        },
        Row {
            number: 5,
            when: [Some(Sound), Some(PayloadUnreadable), Some(Unproven)],
            then: GroupAction::RefuseUnread,
        },
        Row {
            number: 6,
            when: [Some(Lost), None, Some(Proven)],
            then: GroupAction::Refuse,
        },
        Row {
            number: 7,
            when: [Some(Lost), None, Some(Unproven)],
            then: GroupAction::EndOfLog,
        },
    ]
};

/// Decides about one group.
pub fn decide_group(meta: GroupFact, payload: GroupFact, proof: GroupFact) -> GroupAction {
    decide(GROUP_TABLE, [meta, payload, proof])
}

/// What a file means for this start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAction {
    /// Its groups above the base may be part of the log, up to its cap.
    Source,
    /// An unfinished copy: reclaim it first.
    Reclaim,
    /// It proves that a start was finished whose copy cannot be read: refuse.
    Refuse,
}

/// One fact about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFact {
    /// Written by commits.
    Normal,
    /// A copy that ends with its seal.
    Sealed,
    /// A copy without a seal.
    Unsealed,
    /// Its incarnation is above the last one whose seal, or checkpoint, is known.
    Above,
    /// Its incarnation is not above.
    NotAbove,
}

/// Facts: what it is, and whether its incarnation is above the last finished one.
pub const FILE_TABLE: &[Row<FileFact, FileAction, 2>] = &[
    Row {
        number: 1,
        when: [Some(FileFact::Normal), Some(FileFact::NotAbove)],
        then: FileAction::Source,
    },
    Row {
        number: 2,
        when: [Some(FileFact::Normal), Some(FileFact::Above)],
        then: FileAction::Refuse,
    },
    Row {
        number: 3,
        when: [Some(FileFact::Sealed), None],
        then: FileAction::Source,
    },
    Row {
        number: 4,
        when: [Some(FileFact::Unsealed), None],
        then: FileAction::Reclaim,
    },
];

/// Decides about one file.
pub fn decide_file(what: FileFact, relation: FileFact) -> FileAction {
    decide(FILE_TABLE, [what, relation])
}

/// One fact about a checkpoint file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointFact {
    /// It was never written.
    Absent,
    /// It cannot be verified.
    Bad,
    /// Sound, but nothing says that its sync returned.
    Unconfirmed,
    /// Sound and confirmed.
    Confirmed,
    /// The log has a file that begins at LSN 1 (third fact only).
    LogFromStart,
    /// It has not (third fact only).
    LogLater,
}

/// Which state the tail is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseAction {
    /// Of two confirmed ones the one that was made later.
    Newer,
    /// Of two that no mark confirms the one that was made first: the other one was begun only when
    /// this one was known to be on the disk, and a mark can be lost when it is written once more.
    Older,
    /// Checkpoint A.
    A,
    /// Checkpoint B.
    B,
    /// Nothing: the log from LSN 1.
    Beginning,
    /// Nothing to build on: refuse, unless the directory is empty of logs, too.
    None,
}

/// Facts: checkpoint A, checkpoint B, and whether the log reaches back to LSN 1.
pub const BASE_TABLE: &[Row<CheckpointFact, BaseAction, 3>] = {
    use CheckpointFact::{Absent, Bad, Confirmed, LogFromStart, LogLater, Unconfirmed};
    &[
        Row {
            number: 1,
            when: [Some(Confirmed), Some(Confirmed), None],
            then: BaseAction::Newer,
        },
        Row {
            number: 2,
            when: [Some(Confirmed), Some(Absent), None],
            then: BaseAction::A,
        },
        Row {
            number: 3,
            when: [Some(Confirmed), Some(Bad), None],
            then: BaseAction::A,
        },
        Row {
            number: 4,
            when: [Some(Confirmed), Some(Unconfirmed), None],
            then: BaseAction::A,
        },
        Row {
            number: 5,
            when: [Some(Absent), Some(Confirmed), None],
            then: BaseAction::B,
        },
        Row {
            number: 6,
            when: [Some(Bad), Some(Confirmed), None],
            then: BaseAction::B,
        },
        Row {
            number: 7,
            when: [Some(Unconfirmed), Some(Confirmed), None],
            then: BaseAction::B,
        },
        Row {
            number: 8,
            when: [Some(Absent), Some(Absent), Some(LogFromStart)],
            then: BaseAction::Beginning,
        },
        Row {
            number: 9,
            when: [Some(Absent), Some(Absent), Some(LogLater)],
            then: BaseAction::None,
        },
        Row {
            number: 10,
            when: [Some(Absent), Some(Bad), Some(LogFromStart)],
            then: BaseAction::Beginning,
        },
        Row {
            number: 11,
            when: [Some(Absent), Some(Bad), Some(LogLater)],
            then: BaseAction::None,
        },
        Row {
            number: 12,
            when: [Some(Bad), Some(Absent), Some(LogFromStart)],
            then: BaseAction::Beginning,
        },
        Row {
            number: 13,
            when: [Some(Bad), Some(Absent), Some(LogLater)],
            then: BaseAction::None,
        },
        Row {
            number: 14,
            when: [Some(Bad), Some(Bad), Some(LogFromStart)],
            then: BaseAction::Beginning,
        },
        Row {
            number: 15,
            when: [Some(Bad), Some(Bad), Some(LogLater)],
            then: BaseAction::None,
        },
        Row {
            number: 16,
            when: [Some(Unconfirmed), Some(Absent), Some(LogFromStart)],
            then: BaseAction::Beginning,
        },
        Row {
            number: 17,
            when: [Some(Unconfirmed), Some(Absent), Some(LogLater)],
            then: BaseAction::A,
        },
        Row {
            number: 18,
            when: [Some(Unconfirmed), Some(Bad), None],
            then: BaseAction::A,
        },
        Row {
            number: 19,
            when: [Some(Absent), Some(Unconfirmed), Some(LogFromStart)],
            then: BaseAction::Beginning,
        },
        Row {
            number: 20,
            when: [Some(Absent), Some(Unconfirmed), Some(LogLater)],
            then: BaseAction::B,
        },
        Row {
            number: 21,
            when: [Some(Bad), Some(Unconfirmed), None],
            then: BaseAction::B,
        },
        Row {
            number: 22,
            when: [Some(Unconfirmed), Some(Unconfirmed), None],
            then: BaseAction::Older,
        },
    ]
};

/// Decides which checkpoint to build on.
pub fn decide_base(a: CheckpointFact, b: CheckpointFact, log: CheckpointFact) -> BaseAction {
    mutant!("unconfirmed_is_no_base", "C7", "a checkpoint whose mark is lost is not built on" => {
        let bad = |fact| match fact {
            CheckpointFact::Unconfirmed => CheckpointFact::Bad,
            fact => fact,
        };
        return decide(BASE_TABLE, [bad(a), bad(b), log]);
    });
    decide(BASE_TABLE, [a, b, log])
}

/// One fact about the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewFact {
    /// It opened and told its applied LSN.
    Opens,
    /// It reported damage.
    Corrupt,
    /// Its applied LSN is below the base.
    Behind,
    /// It lies between the base and the end of the log.
    Within,
    /// It is beyond the end of the log.
    Beyond,
}

/// What to do with the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewAction {
    /// Apply the tail again.
    Keep,
    /// Wipe it and make it anew.
    Rebuild,
}

/// Facts: whether it opens, and where its applied LSN lies.
pub const VIEW_TABLE: &[Row<ViewFact, ViewAction, 2>] = &[
    Row {
        number: 1,
        when: [Some(ViewFact::Corrupt), None],
        then: ViewAction::Rebuild,
    },
    Row {
        number: 2,
        when: [Some(ViewFact::Opens), Some(ViewFact::Behind)],
        then: ViewAction::Rebuild,
    },
    Row {
        number: 3,
        when: [Some(ViewFact::Opens), Some(ViewFact::Within)],
        then: ViewAction::Keep,
    },
    Row {
        number: 4,
        when: [Some(ViewFact::Opens), Some(ViewFact::Beyond)],
        then: ViewAction::Rebuild,
    },
];

/// Decides about the view.
pub fn decide_view(state: ViewFact, applied: ViewFact) -> ViewAction {
    decide(VIEW_TABLE, [state, applied])
}

#[cfg(test)]
mod tests;
