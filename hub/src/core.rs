//! The hub's heart: one journal, one MLS session per pairing, the event being recorded.
//!
//! Sans-IO apart from the journal handle it owns: events and `now` come in as arguments, facts come
//! out as [`Notice`]s and only after they are synced. A thread ([`crate::sealer`]) or a simulation
//! drives it. It must never encrypt in an epoch that its handle did not open (the journal's session
//! sees to that), never show what is not durable, and never let the network hold up a recording:
//! it knows no network.
//!
//! ```text
//! handle_*  stage transactions     commit  one sync for all     poll_notice  what is true now
//! ```

mod delivery;
mod facts;
mod recording;

use std::collections::{BTreeMap, VecDeque};

use journal::ids::{Channel, Line};
use journal::{
    Closed, Committer, Durable, ErrorKind, HubPairing, Journal, JournalError, PairingState, Session,
};
use wal::{Priority, RecoveryReport};
use wire::envelope::Envelope;
use wire::ids::{Digest, Seq};

pub use delivery::{Delivered, Verdict};
pub use facts::{
    ClipFacts, ClipState, CoreStatus, Evidence, Heads, LineHeads, LineStatus, Notice, Standing,
    Stop,
};
pub use recording::{Event, Piece, Recorded};

use recording::Recording;

/// Bytes that are staged before a sync happens even if more could share it. Well below half a log
/// file of the smallest size that the configuration takes.
pub const BATCH_BYTES_MAX: u64 = 1024 * 1024;
/// What a Commit, a header and a notice take in the log, with room for X-Wing's keys.
const EPOCH_BYTES: u64 = 128 * 1024;
/// What a chunk takes beside its own bytes: MLS, wrap, padding, its rows and its sector.
const CHUNK_OVERHEAD_BYTES: u64 = 12 * 1024;
/// Times that the journal is opened again without one good sync in between.
const REOPENS_MAX: u32 = 2;
/// Damaged clips that one question for an envelope may drop.
const DAMAGED_PER_CALL_MAX: u32 = 64;
/// Facts that wait for whoever polls; the oldest go first.
const NOTICES_MAX: usize = 1024;

/// Opens the journal; called again after a failed write or sync.
pub type Opener = Box<dyn FnMut() -> Result<(Journal, RecoveryReport), JournalError> + Send>;

/// Why the core could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The journal refused; nothing of the step remains.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A write or sync failed and the journal was opened again. Whether the step was stored is not
    /// known: look, then ask again. A recording was taken up again already.
    #[error("a write to the disk failed; the journal was opened again through recovery")]
    Reopened,
    /// Opening again failed twice: the process must end.
    #[error("the journal cannot be written and could not be opened again: {0}")]
    Dead(String),
}

/// What is kept in memory of a line.
struct LineState {
    session: Session<Committer>,
    standing: Standing,
    /// The event that this line's stored state could not take part in was reported.
    broken: bool,
}

impl LineState {
    fn new(line: Line) -> Self {
        Self {
            session: Session::new(line),
            standing: Standing::Good,
            broken: false,
        }
    }
}

/// The hub's core. See the module's documentation.
pub struct Core {
    /// `None` only while it is being opened again, and after that failed for good.
    journal: Option<Journal>,
    opener: Opener,
    lines: BTreeMap<Line, LineState>,
    recording: Option<Recording>,
    /// Said once until a phone is there.
    said_no_pairing: bool,
    staged_bytes: u64,
    reopens: u32,
    generation: u64,
    /// True as soon as they are synced.
    pending: Vec<Notice>,
    notices: VecDeque<Notice>,
}

impl Core {
    /// Opens the journal and does what a start owes: every epoch that was encrypted in is closed,
    /// with the cut-off notice of its clip, all in one sync.
    ///
    /// # Errors
    /// The journal's, each of which names the way out.
    pub fn start(mut opener: Opener, now_unix_ms: u64) -> Result<Self, CoreError> {
        let (journal, report) = opener()?;
        let mut core = Self {
            journal: Some(journal),
            opener,
            lines: BTreeMap::new(),
            recording: None,
            said_no_pairing: false,
            staged_bytes: 0,
            reopens: 0,
            generation: 0,
            pending: Vec::new(),
            notices: VecDeque::new(),
        };
        tracing::info!(
            incarnation = report.incarnation,
            groups_copied = report.groups_copied,
            torn_tail = report.torn_tail.is_some(),
            damaged_payloads = report.damaged_payloads.len(),
            "the journal is open"
        );
        core.refresh_lines()?;
        core.close_used_epochs(now_unix_ms)?;
        core.commit(now_unix_ms)?;
        let expired = HubPairing::expire(core.journal()?, now_unix_ms / 1000);
        core.judge(expired, now_unix_ms)?;
        Ok(core)
    }

    /// Makes everything staged durable with one sync; only then do its notices come out.
    ///
    /// # Errors
    /// [`CoreError::Reopened`]: the sync failed, the journal was opened again, a recording goes on
    /// behind a new Commit. [`CoreError::Dead`]: end the process.
    pub fn commit(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        match self.journal()?.commit() {
            Ok(_committed) => {
                self.reopens = 0;
                self.staged_bytes = 0;
                self.settle();
                Ok(())
            }
            Err(error) => self.reopen(&error, now_unix_ms),
        }
    }

    /// Whether [`Self::commit`] has anything to do.
    pub fn has_staged(&self) -> bool {
        self.staged_bytes > 0 || !self.pending.is_empty()
    }

    /// How often the journal was opened again. What was staged under an earlier number and not
    /// synced then may be lost.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The next fact, each once.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// The first durable envelope of a line after `after`. One whose bytes are damaged on disk
    /// costs its clip: a signed statement takes its place.
    ///
    /// # Errors
    /// The journal's.
    pub fn next_envelope(
        &mut self,
        line: Line,
        after: Seq,
        now_unix_ms: u64,
    ) -> Result<Option<(Seq, Durable<Envelope>)>, CoreError> {
        for _ in 0..DAMAGED_PER_CALL_MAX {
            match self.journal()?.outbox_next(line, after) {
                Err(JournalError::EnvelopeDamaged { line, seq }) => {
                    self.drop_damaged(line, seq, now_unix_ms)?;
                    self.commit(now_unix_ms)?;
                }
                other => return self.judge(other, now_unix_ms),
            }
        }
        Ok(None)
    }

    /// The digest of an envelope of ours that is not acked; `None` if it is gone or its bytes are
    /// damaged, which here costs nothing: the relay has it.
    ///
    /// # Errors
    /// The journal's.
    pub fn digest(
        &mut self,
        line: Line,
        seq: Seq,
        now_unix_ms: u64,
    ) -> Result<Option<Digest>, CoreError> {
        let found = match self
            .journal()?
            .outbox_next(line, Seq(seq.0.saturating_sub(1)))
        {
            Err(JournalError::EnvelopeDamaged { .. }) => return Ok(None),
            other => self.judge(other, now_unix_ms)?,
        };
        Ok(found.and_then(|(found, envelope)| (found == seq).then(|| envelope.digest())))
    }

    /// The relay showed what our own books cannot explain, or agrees with them again.
    pub fn handle_standing(&mut self, line: Line, standing: Standing) {
        if let Some(state) = self.lines.get_mut(&line)
            && state.standing != standing
        {
            state.standing = standing;
            push(&mut self.notices, Notice::Standing { line, standing });
        }
    }

    /// Runs a step that is the journal's own (pairing, certificate). A poisoned journal is opened
    /// again.
    ///
    /// # Errors
    /// The journal's, or [`CoreError::Reopened`].
    pub fn with_journal<T>(
        &mut self,
        now_unix_ms: u64,
        step: impl FnOnce(&mut Journal) -> Result<T, JournalError>,
    ) -> Result<T, CoreError> {
        let result = step(self.journal()?);
        self.judge(result, now_unix_ms)
    }

    /// Looks which pairings there are: after one was confirmed.
    ///
    /// # Errors
    /// The journal's.
    pub fn refresh_lines(&mut self) -> Result<(), CoreError> {
        let journal = self.journal()?;
        let mut lines = Vec::new();
        for id in journal.pairing_ids() {
            let confirmed = journal
                .pairing(id)?
                .is_some_and(|p| p.state == PairingState::Confirmed);
            if confirmed {
                lines.push(Line {
                    pairing: id,
                    channel: Channel::EventVideo,
                });
            }
        }
        self.lines.retain(|line, _| lines.contains(line));
        for line in lines {
            self.lines
                .entry(line)
                .or_insert_with(|| LineState::new(line));
        }
        Ok(())
    }

    fn journal(&mut self) -> Result<&mut Journal, CoreError> {
        self.journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))
    }

    fn journal_ref(&self) -> Result<&Journal, CoreError> {
        self.journal
            .as_ref()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))
    }

    /// Turns a poisoned journal into one that was opened again.
    fn judge<T>(
        &mut self,
        result: Result<T, JournalError>,
        now_unix_ms: u64,
    ) -> Result<T, CoreError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) if self.is_poison(&error) => {
                self.reopen(&error, now_unix_ms)?;
                Err(CoreError::Reopened)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn is_poison(&self, error: &JournalError) -> bool {
        error.kind() == ErrorKind::Poisoned
            || self.journal.as_ref().is_none_or(Journal::is_poisoned)
    }

    /// Drops everything in memory and opens the journal through recovery. What was recorded and not
    /// synced is still in memory as plain pieces and is sealed again behind a new Commit, exactly
    /// from where the durable part ends.
    ///
    /// # Errors
    /// Always one: [`CoreError::Reopened`], or [`CoreError::Dead`].
    fn reopen(&mut self, cause: &JournalError, now_unix_ms: u64) -> Result<(), CoreError> {
        tracing::error!(error = %cause, "the journal failed and is opened again");
        self.pending.clear();
        self.staged_bytes = 0;
        self.generation += 1;
        for state in self.lines.values_mut() {
            state.session.forget();
        }
        // The lock is inside: the old handle must be gone before the new one is made.
        self.journal = None;
        let mut last = cause.to_string();
        while self.reopens < REOPENS_MAX {
            self.reopens += 1;
            match (self.opener)() {
                Ok((journal, _report)) => {
                    self.journal = Some(journal);
                    push(&mut self.notices, Notice::Reopened);
                    self.refresh_lines()?;
                    self.resume_recording(now_unix_ms)?;
                    self.close_used_epochs(now_unix_ms)?;
                    return match self.commit(now_unix_ms) {
                        Ok(()) | Err(CoreError::Reopened) => Err(CoreError::Reopened),
                        Err(error) => Err(error),
                    };
                }
                Err(error) => last = error.to_string(),
            }
        }
        self.journal = None;
        Err(CoreError::Dead(last))
    }

    /// What a start owes to epochs that were encrypted in, all lines in one sync. A line whose
    /// recording goes on owes nothing.
    fn close_used_epochs(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let busy: Vec<Line> = self
            .recording
            .as_ref()
            .map(Recording::lines)
            .unwrap_or_default();
        let lines: Vec<Line> = self
            .lines
            .keys()
            .copied()
            .filter(|line| !busy.contains(line))
            .collect();
        for line in lines {
            let Some(journal::EpochUse::InUse { .. }) = self.journal()?.epoch_use(line)? else {
                continue;
            };
            self.journal()?.admit(EPOCH_BYTES, Priority::Epoch)?;
            let closed = self.in_txn(line, EPOCH_BYTES, |session, txn| {
                session.close_used_epoch(txn, now_unix_ms)
            });
            match closed {
                Ok(Closed::CutOff(end)) => self.pending.push(Notice::ClipFinished {
                    line,
                    clip: ClipFacts::ended(&end, ClipState::CutOff),
                }),
                Ok(Closed::NothingOwed | Closed::EpochOnly) => {}
                Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                    self.set_broken(line, &error)
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One transaction of one line, staged.
    fn in_txn<T>(
        &mut self,
        line: Line,
        bytes: u64,
        step: impl FnOnce(&mut Session<Committer>, &mut journal::Txn<'_>) -> Result<T, JournalError>,
    ) -> Result<T, CoreError> {
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        let state = self
            .lines
            .get_mut(&line)
            .ok_or(JournalError::NoGroup(line))?;
        let mut txn = journal.begin();
        let value = step(&mut state.session, &mut txn)?;
        drop(txn.stage(())?);
        self.staged_bytes += bytes;
        Ok(value)
    }

    fn set_broken(&mut self, line: Line, error: &JournalError) {
        if let Some(state) = self.lines.get_mut(&line)
            && !state.broken
        {
            state.broken = true;
            let what = error.to_string();
            push(&mut self.notices, Notice::LineBroken { line, what });
        }
    }

    /// Lets out what the last sync made true.
    fn settle(&mut self) {
        for notice in std::mem::take(&mut self.pending) {
            push(&mut self.notices, notice);
        }
        self.settle_recording();
    }
}

/// Whether an error concerns one line's stored state and leaves the others alone.
fn is_about_one_line(error: &JournalError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::Peer | ErrorKind::Misuse
    )
}

fn push(notices: &mut VecDeque<Notice>, notice: Notice) {
    if notices.len() == NOTICES_MAX {
        notices.pop_front();
    }
    notices.push_back(notice);
}

#[cfg(test)]
mod tests;
