//! What the relay holds of ours, judged by the tag that is in it (promise C8).
//!
//! A relay may say what it likes of a mailbox. The uplink fetches the envelope that it means, and here that is
//! judged: its own tag nobody but this hub could have made, so what it proves is no word of one phone, and ends every
//! line of the directory at once and for good; whatever the relay shows from then on changes nothing. This room must never
//! believe a number or a digest, and never let anything leave once an envelope of ours was found that the books do
//! not explain, whether there is room for the proof or not.

use journal::ids::{Line, PairingId};
use journal::{ErrorKind, Held, or_after_commit};
use wal::Priority;
use wire::ids::Seq;

use super::{
    Core, CoreError, EPOCH_BYTES, LineState, PROVEN, SMALL_GROUP_BYTES, Stop, is_about_one_line,
};

/// What a proof takes in the log for each line, its key included.
const PROOF_BYTES: u64 = 128;

/// What came of [`Core::handle_stored`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Judged {
    /// It proves nothing: sending goes on.
    Nothing,
    /// This directory is older than what left it: nothing leaves it any more.
    RolledBack,
}

/// An envelope of ours that the books do not explain, and the pairings that there were when it was found.
pub(super) struct Disproof {
    held: Held,
    pairings: Vec<PairingId>,
}

impl Disproof {
    /// Whether this pairing is over by it.
    pub(super) fn ends(&self, pairing: PairingId) -> bool {
        self.pairings.contains(&pairing)
    }
}

impl Core {
    /// The relay was asked for the envelope by which it speaks against a line's books, and gave this, or nothing.
    /// If that is an envelope of ours which the books do not explain, every line of this directory is over.
    ///
    /// # Errors
    /// Only our own storage; that a line's own stored state is unusable is said, and proves nothing. After
    /// [`CoreError::Reopened`] it is to be asked again.
    pub fn handle_stored(
        &mut self,
        line: Line,
        seq: Seq,
        envelope: Option<&[u8]>,
        now_unix_ms: u64,
    ) -> Result<Judged, CoreError> {
        let Some(state) = self.lines.get(&line) else {
            return Ok(Judged::Nothing);
        };
        if state.standing == PROVEN {
            return Ok(Judged::RolledBack);
        }
        let held = match envelope {
            Some(envelope) => self.disproved_by(line, seq, envelope, now_unix_ms)?,
            None => None,
        };
        let Some(held) = held else {
            tracing::warn!(
                seq = seq.0,
                "the relay claims to hold what this hub never made, and what it shows proves nothing; sending goes on"
            );
            return Ok(Judged::Nothing);
        };
        tracing::error!(
            seq = seq.0,
            "the relay holds an envelope of this hub that its state directory never made"
        );
        let pairings = self.journal_ref()?.pairing_ids();
        self.disproof = Some(Disproof { held, pairings });
        // ORDER: nothing leaves from here on, whatever becomes of the rows that say so.
        let lines: Vec<Line> = self.lines.keys().copied().collect();
        for of in lines {
            self.line_is_over(of);
        }
        self.keep_disproof(now_unix_ms)?;
        Ok(Judged::RolledBack)
    }

    fn disproved_by(
        &mut self,
        line: Line,
        seq: Seq,
        envelope: &[u8],
        now_unix_ms: u64,
    ) -> Result<Option<Held>, CoreError> {
        match self.journal_ref()?.outbox_disproved(line, seq, envelope) {
            Err(error) if is_about_one_line(&error) => {
                self.set_broken(line, &error);
                Ok(None)
            }
            found => self.judge(found, now_unix_ms),
        }
    }

    /// A rollback is proved: a line takes no further part in anything, from this moment on.
    pub(super) fn line_is_over(&mut self, line: Line) {
        self.set_rolled_back(line);
        self.leave_recordings(line, Stop::RolledBack);
        self.leave_playing(line);
        self.lives.leave(line);
    }

    /// Sees to it that what was found is known to the next process: the rows of all lines in one transaction, then
    /// the end of their groups. What has no room now, or is lost with a sync that failed, is staged again by a tick.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub(super) fn keep_disproof(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let Some(disproof) = self.disproof.take() else {
            return Ok(());
        };
        let kept = self.try_keep_disproof(&disproof, now_unix_ms);
        if !matches!(kept, Ok(true)) {
            self.disproof = Some(disproof);
        }
        match self.judge(kept, now_unix_ms) {
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                tracing::warn!(%error, "that this directory is an older copy is written down later");
                Ok(())
            }
            kept => kept.map(drop),
        }
    }

    /// Whether all of it was durable already.
    fn try_keep_disproof(
        &mut self,
        disproof: &Disproof,
        now_unix_ms: u64,
    ) -> Result<bool, CoreError> {
        let is_kept = self.is_kept(disproof)?;
        if !is_kept && !self.stage_disproof(disproof, now_unix_ms)? {
            return Ok(false);
        }
        self.end_disproved_groups(now_unix_ms)?;
        // Of what is staged nobody knows yet whether it stays.
        Ok(is_kept && !self.has_staged() && !self.is_committing())
    }

    /// False if there is no room for it.
    fn stage_disproof(&mut self, disproof: &Disproof, now_unix_ms: u64) -> Result<bool, CoreError> {
        let lines = disproof.pairings.len() * journal::ids::Channel::ALL.len();
        let bytes = SMALL_GROUP_BYTES + lines as u64 * PROOF_BYTES;
        if !self.has_room(bytes, Priority::Epoch, now_unix_ms)? {
            tracing::warn!("there is no room to write down that this directory is an older copy");
            return Ok(false);
        }
        or_after_commit(
            self,
            |core| {
                let mut txn = core.journal()?.begin();
                txn.prove_rollback_of_all(&disproof.pairings, disproof.held)?;
                drop(txn.stage(())?);
                core.staged_bytes += bytes;
                Ok(true)
            },
            |core| core.commit(now_unix_ms),
        )
    }

    /// Whether each line that there was and still is has its row.
    fn is_kept(&self, disproof: &Disproof) -> Result<bool, CoreError> {
        let journal = self.journal_ref()?;
        let there = journal.pairing_ids();
        let still = disproof.pairings.iter().filter(|one| there.contains(one));
        let mut lines = still.flat_map(|pairing| Line::all(*pairing));
        Ok(lines.all(|line| matches!(journal.rollback_proof(line), Ok(Some(_)))))
    }

    /// Nothing is encrypted any more on a line on which a rollback is proved, and what left of a clip in progress
    /// would open with its group's keys: the groups that are left die.
    pub(super) fn end_disproved_groups(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let is_over =
            |(line, state): (&Line, &LineState)| (state.standing == PROVEN).then_some(*line);
        let lines: Vec<Line> = self.lines.iter().filter_map(is_over).collect();
        for line in lines {
            if !self.journal_ref()?.has_group(line) {
                continue;
            }
            if !self.has_room(EPOCH_BYTES, Priority::Epoch, now_unix_ms)? {
                tracing::warn!("there is no room to end the groups of an older copy");
                return Ok(());
            }
            or_after_commit(
                self,
                |core| core.try_abandon(line),
                |core| core.commit(now_unix_ms),
            )?;
        }
        Ok(())
    }
}
