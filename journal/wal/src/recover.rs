//! What a start does. (Skeleton.)

use crate::Lsn;

/// A payload whose bytes are damaged on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPayload {
    /// The key it is stored under.
    pub key: Vec<u8>,
    /// The transaction that stored it.
    pub lsn: Lsn,
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
    /// Payloads whose whole file is gone or was damaged before the tail; their keys answer
    /// `PayloadDamaged`, or nothing if the view had to be rebuilt.
    pub lost_payloads: u64,
    /// What became of the view.
    pub view: ViewOutcome,
}
