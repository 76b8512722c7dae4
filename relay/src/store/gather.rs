//! Gathers what is still stored out of log files that are mostly dead.
//!
//! A log file can be used again only when nothing in it lives. One kept envelope in each would
//! pin sixteen MiB for a few KiB of quota, so when the files in use are much larger than what
//! quotas count, everything that lives is written anew, once round, and the old files come free.
//! The work is divided into small steps between other work, and a round that moves N bytes comes
//! after about N were appended, so it costs no more than they did. A crash loses nothing but the place: each step is one transaction that replaces
//! envelopes by themselves. This room must never change a number, a digest or an account.

use wal::{Priority, Txn, WalError};

use super::MailboxStore;
use super::answer::Progress;
use super::rows;

/// Log files in use that are no reason to gather: the current one, those back to the previous
/// checkpoint, and some for what is only half dead.
pub(super) const SLACK_FILES: u64 = 6;
/// Envelopes that one step moves.
const STEP_ENVELOPES_MAX: usize = 64;
/// Bytes after which a step takes no more envelopes: with one more it still fits a transaction
/// of the smallest log file.
const STEP_BYTES: u64 = 128 * 1024;
/// What a step may cost in the log besides its envelopes.
const STEP_OVERHEAD_BYTES: u64 = 64 * 1024;

/// Where gathering stands.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// The next envelope to move; none while nothing is to be done.
    cursor: Option<Vec<u8>>,
    /// No new round before the engine has written so much: what the last one freed shows only
    /// after a while, and a round that a full disk stopped is not repeated at once.
    not_before_written: u64,
}

impl MailboxStore {
    /// Whether [`MailboxStore::gather`] has something to do.
    #[must_use]
    pub fn wants_gathering(&self) -> bool {
        let stats = self.wal.stats();
        let size = self.wal.options().log_file_bytes;
        let allowed = 2 * self.totals.held.disk_bytes + SLACK_FILES * size;
        let sparse = stats.files * size > allowed;
        sparse
            && (self.gather.cursor.is_some()
                || stats.bytes_written >= self.gather.not_before_written)
    }

    /// Stages the move of some envelopes, one transaction. Call it between batches while
    /// [`MailboxStore::wants_gathering`], and commit.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn gather(&mut self) -> Result<Progress, WalError> {
        if !self.wants_gathering() {
            self.gather.cursor = None;
            return Ok(Progress::Done);
        }
        let from = self
            .gather
            .cursor
            .take()
            .unwrap_or_else(|| rows::ENVELOPE.to_vec());
        let found = self
            .wal
            .scan_payloads(rows::ENVELOPE, &from, STEP_ENVELOPES_MAX)?;
        if found.is_empty() {
            return self.end_round();
        }
        let mut txn = Txn::new();
        let mut moved = 0;
        for (key, bytes) in found {
            if moved >= STEP_BYTES {
                break;
            }
            self.gather.cursor = Some(rows::after(&key));
            if self.is_losing(&rows::mailbox_of_envelope(&key)) {
                continue;
            }
            match self.wal.payload(&key) {
                Ok(Some(envelope)) => {
                    moved += u64::from(bytes);
                    txn.put_payload(key, envelope);
                }
                Ok(None) => {}
                Err(WalError::PayloadDamaged { .. }) => {
                    // Its mailbox ends here, and with it what this step has of it.
                    drop(txn);
                    self.lose(&rows::mailbox_of_envelope(&key))?;
                    self.gather.cursor = Some(from);
                    return Ok(Progress::More);
                }
                Err(error) => return Err(error),
            }
        }
        let admitted = self.wal.admit(moved + STEP_OVERHEAD_BYTES, Priority::Bulk);
        let staged = admitted.and_then(|()| self.stage(txn, ()));
        match staged {
            Ok(_no_answer) => Ok(Progress::More),
            // Trims free files too, and cost less room than this.
            Err(WalError::Space { .. }) => Ok(self.rest()),
            Err(error) => Err(error),
        }
    }

    /// Everything was moved: two checkpoints later the old files are free.
    fn end_round(&mut self) -> Result<Progress, WalError> {
        let _durable = self.commit()?;
        for _ in 0..2 {
            match self.wal.checkpoint() {
                Ok(()) | Err(WalError::Space { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.rest())
    }

    fn rest(&mut self) -> Progress {
        self.gather.cursor = None;
        let pause = SLACK_FILES * self.wal.options().log_file_bytes;
        self.gather.not_before_written = self.wal.stats().bytes_written + pause;
        Progress::Done
    }
}
