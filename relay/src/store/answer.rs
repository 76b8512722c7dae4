//! What the store answers: receipts, refusals, envelopes, figures.
//!
//! This room must never offer another way to a [`Receipt`] than a row that a sync has covered.

use bytes::Bytes;
use wal::{Durable, Staged};
use wire::envelope::Size;
use wire::{DeviceId, Head, SendId, Seq};

use super::rows::MailboxRow;

/// Proof that a mailbox holds everything through an envelope, synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Receipt(Head);

impl Receipt {
    /// The only way to a receipt: a durable row that reaches at least as far. None when it does
    /// not, which damage can bring about between the decision and the sync.
    pub(super) fn covered_by(row: &Durable<MailboxRow>, head: Head) -> Option<Receipt> {
        row.last
            .is_some_and(|last| last.seq >= head.seq)
            .then_some(Receipt(head))
    }

    /// What the receipt says.
    #[must_use]
    pub fn head(&self) -> Head {
        self.0
    }
}

/// The answer to an append, once the batch is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAnswer {
    /// Stored, now or before.
    Receipt(Receipt),
    /// Another envelope is stored under this number.
    Conflict(Head),
    /// Not the next one; this is the head.
    NotNext(Option<Head>),
    /// No room in this slice of the account, or on the disk.
    OverQuota(Size),
    /// The account fills too many mailboxes.
    TooManyMailboxes,
}

/// What is decided about an append and waits for the sync.
pub enum PendingAppend {
    /// Stored in this batch.
    Staged(SendId, Staged<MailboxRow>, Head),
    /// Stored before, perhaps in this very batch.
    Duplicate(SendId, Head),
    /// Nothing to store.
    Refused(AppendAnswer),
}

/// Proof, once durable, that an invitation belongs to the device that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redeemed(pub(super) ());

/// What came of a hub's wish to shut a phone out, once it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The phone is shut out, or none was named; the mailboxes are gone, or go as soon as there is room.
    Done,
    /// The phone stays admitted by an invitation that was not taken back. The mailboxes are gone as far as they
    /// may go.
    StillAdmitted,
    /// The invitation was the hub's and is taken back, and no row says that the phone was ever here.
    NotKnown,
}

/// An invitation that was taken back, once that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// What came of it for the phone that was named.
    pub outcome: Revoked,
    /// Another device that had used the invitation instead, and is shut out with it.
    pub also_shut_out: Option<DeviceId>,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadAnswer {
    /// Envelopes in rising order, all durable; empty when there is nothing more.
    Envelopes(Vec<(Seq, Bytes)>),
    /// The mailbox was damaged on disk and has been emptied: its sender will fill it again.
    Lost,
}

/// Whether something that is done in steps is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "more steps may be needed"]
pub enum Progress {
    /// Nothing is left to do.
    Done,
    /// Call again, after other work had its turn.
    More,
}

/// Figures for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Accounts that have stored something or asked for invitations.
    pub accounts: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Bytes of envelopes, as they came.
    pub envelope_bytes: u64,
    /// What quotas count for them: whole sectors on disk, in bytes.
    pub quota_bytes: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Log files in use.
    pub log_files: u64,
    /// Log files that are kept free, for reuse and for recovery.
    pub free_log_files: u64,
    /// The largest size of a log file in bytes.
    pub log_file_bytes: u64,
}
