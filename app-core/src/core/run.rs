//! What a call staged, and the facts that it becomes.
//!
//! This room must never make a fact of anything without the journal's [`Committed`], the proof that it is durable.

use journal::ids::{Channel, ClipId, Line};
use journal::{AppClip, Committed, JournalError, Staged, Taken};
use wire::Seq;

use super::{AckSent, Core, Halt};

/// A durable fact about one envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The envelope.
    pub seq: Seq,
    /// What it did.
    pub taken: Taken,
    /// The clip as it stands after the run, if it began or ended.
    pub clip: Option<AppClip>,
}

/// What a call staged; worthless until [`Core::settle`].
#[must_use = "staged effects become real by commit() and settle()"]
pub struct PendingRun {
    pub(super) line: Line,
    pub(super) facts: Vec<Staged<(Seq, Taken)>>,
    pub(super) ack: Option<Staged<AckSent>>,
    pub(super) halt: Option<Halt>,
    pub(super) now_ms: u64,
}

impl PendingRun {
    pub(super) fn new(line: Line, now_ms: u64) -> Self {
        Self {
            line,
            facts: Vec::new(),
            ack: None,
            halt: None,
            now_ms,
        }
    }

    pub(super) fn no_journal_trouble(mut self) -> Result<Self, JournalError> {
        match self.halt.take() {
            Some(Halt::Journal(error)) => Err(error),
            other => {
                self.halt = other;
                Ok(self)
            }
        }
    }
}

/// What is true and durable now.
#[derive(Debug)]
pub struct Run {
    /// What the envelopes did, in order. Duplicates do nothing and are not listed.
    pub facts: Vec<Fact>,
    /// The ack that was made.
    pub ack: Option<AckSent>,
    /// Everything through here is durable: the relay may forget it.
    pub cursor: Seq,
    /// Head and watermark of our own outbox.
    pub outbox: journal::OutboxHead,
    /// Why the run stopped early.
    pub halt: Option<Halt>,
    /// Call [`Core::tick`] after so many milliseconds.
    pub due_in_ms: Option<u64>,
    /// The line waits for what only the hub can say: [`Core::waits_for_hub`].
    pub waits_for_hub: bool,
    /// Acks of the pairing's other lines may be due since: ask [`Core::due_in_ms`] for each of them.
    pub stirs_others: bool,
}

impl Core {
    /// Turns what was staged into facts. `committed` proves that it is durable.
    ///
    /// # Errors
    /// Only our own storage, on reading back.
    pub fn settle(
        &mut self,
        committed: &Committed,
        pending: PendingRun,
    ) -> Result<Run, JournalError> {
        let line = pending.line;
        let mut facts = Vec::with_capacity(pending.facts.len());
        for staged in pending.facts {
            let (seq, taken) = committed.redeem(staged).into_inner();
            let clip = match taken {
                Taken::Started(clip) | Taken::Ended { clip, .. } => self.clip_if_known(clip)?,
                _ => None,
            };
            facts.push(Fact { seq, taken, clip });
        }
        let ack = pending
            .ack
            .map(|staged| committed.redeem(staged).into_inner());
        let cursor = self.journal.inbox_head(line)?.cursor;
        let outbox = self.journal.outbox_head(line)?;
        let waits_for_hub = self.waits_for_hub(line)?;
        let due_in_ms = self.due_in_ms(line, pending.now_ms)?;
        let overtakes = |fact: &Fact| matches!(fact.taken, Taken::NewEpoch(_));
        let stirs_others = line.channel == Channel::Config && facts.iter().any(overtakes);
        Ok(Run {
            facts,
            ack,
            cursor,
            outbox,
            halt: pending.halt,
            due_in_ms,
            waits_for_hub,
            stirs_others,
        })
    }

    fn clip_if_known(&self, clip: ClipId) -> Result<Option<AppClip>, JournalError> {
        match self.journal.app_clip(clip) {
            Ok(clip) => Ok(Some(clip)),
            Err(JournalError::NoSuchClip(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
