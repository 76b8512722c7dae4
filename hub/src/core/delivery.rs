//! What a phone sends: judged, taken, and what it says about our own books.
//!
//! It must never let a stale or forged envelope cost the right to encrypt (scenario 12), and never
//! move the watermark on anything but the phone's own sealed word.

use journal::ids::Line;
use journal::message::{self, AppMessage};
use journal::{AckEffect, ErrorKind, Received, Takes};
use wire::ids::{Digest, Seq};

use super::{Core, CoreError, Evidence, Notice, Standing, push};

/// What an envelope in our mailbox was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Taken. After the next commit the relay may forget it.
    Taken,
    /// Taken before.
    Duplicate,
    /// Something is missing before it: attach again from the cursor.
    Gap,
    /// Not made by the phone: drop the connection's delivery, wait, ask again.
    NotAuthentic,
    /// The phone holds what this directory never made.
    RolledBack,
}

/// What came of [`Core::handle_envelope`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Delivered {
    /// What it was.
    pub verdict: Verdict,
    /// Read through here, once the commit has succeeded.
    pub cursor: Seq,
}

impl Core {
    /// Takes an envelope that the relay delivered to a line's mailbox.
    ///
    /// # Errors
    /// Only our own storage; whatever phone or relay did is in the verdict.
    pub fn handle_envelope(
        &mut self,
        line: Line,
        seq: Seq,
        envelope: &[u8],
        now_unix_ms: u64,
    ) -> Result<Delivered, CoreError> {
        let mut result = self.take(line, seq, envelope);
        if matches!(&result, Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Retry) {
            // Nothing of it was staged, and the log takes more after a commit.
            self.commit(now_unix_ms)?;
            result = self.take(line, seq, envelope);
        }
        let verdict = match result {
            Ok(verdict) => verdict,
            Err(CoreError::Journal(error)) => return self.judge(Err(error), now_unix_ms),
            Err(error) => return Err(error),
        };
        let cursor = self.journal_ref()?.inbox_head(line)?.cursor;
        Ok(Delivered { verdict, cursor })
    }

    /// How far a line's mailbox has been read.
    ///
    /// # Errors
    /// The journal's.
    pub fn cursor(&self, line: Line) -> Result<Seq, CoreError> {
        Ok(self.journal_ref()?.inbox_head(line)?.cursor)
    }

    fn take(&mut self, line: Line, seq: Seq, envelope: &[u8]) -> Result<Verdict, CoreError> {
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        let Some(state) = self.lines.get_mut(&line) else {
            return Ok(Verdict::NotAuthentic);
        };
        let books = journal.outbox_books(line)?;
        let mut txn = journal.begin();
        let arrived = state
            .session
            .receive(&mut txn, seq, envelope, Takes::Messages)?;
        let unchanged = match &arrived.received {
            Received::Duplicate => Some(Verdict::Duplicate),
            Received::Gap { .. } => Some(Verdict::Gap),
            Received::NotAuthentic => Some(Verdict::NotAuthentic),
            _ => None,
        };
        let held = arrived.held.map(|held| (held.seq, held.digest));
        let mut proof = held.is_some_and(|(seq, digest)| books.is_beyond(seq, digest));
        if let Some(verdict) = unchanged
            && !proof
        {
            return Ok(verdict);
        }
        match arrived.received {
            Received::Message(plaintext) => match message::decode::<AppMessage>(&plaintext) {
                Some(AppMessage::Ack { through, digest }) => {
                    proof |= books.is_beyond(Seq(through), Digest(digest));
                    if !proof {
                        let effect = state.session.take_ack(&mut txn, Seq(through))?;
                        proof |= effect == AckEffect::BeyondOurHead;
                    }
                }
                None => tracing::debug!("a phone said something that cannot be read"),
            },
            Received::Refused(why) => tracing::debug!(why, "an envelope was taken without effect"),
            _ => {}
        }
        if proof {
            // Not taken: the proof stays in the mailbox and is seen again by the next start.
            drop(txn);
            let standing = Standing::RolledBack(Evidence::PhoneHoldsMore);
            if state.standing != standing {
                state.standing = standing;
                push(&mut self.notices, Notice::Standing { line, standing });
            }
            return Ok(Verdict::RolledBack);
        }
        drop(txn.stage(())?);
        self.staged_bytes += envelope.len() as u64;
        if state.standing == Standing::RolledBack(Evidence::PhoneHoldsMore) {
            // The phone holds nothing that our books do not explain, after all.
            state.standing = Standing::Good;
            let standing = Standing::Good;
            push(&mut self.notices, Notice::Standing { line, standing });
        }
        Ok(Verdict::Taken)
    }
}
