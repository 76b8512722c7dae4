//! What a phone sends: judged, taken, and what it says about our own books.
//!
//! It must never let a stale or forged envelope cost the right to encrypt (scenario 12), and never
//! move the watermark on anything but the phone's own sealed word.

use journal::ids::Line;
use journal::message::{self, AppMessage};
use journal::{AckEffect, Held, Received, Takes, or_after_commit};
use wire::ids::{Digest, Seq};

use super::{Core, CoreError, Evidence, SMALL_GROUP_BYTES, Standing};

/// How a line stands whose phone has proved a rollback.
pub(super) const PROVEN: Standing = Standing::RolledBack(Evidence::PhoneHoldsMore);

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
    /// The phone holds what this directory never made. Nothing is taken from it, and nothing is
    /// sent to it, any more.
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
        let taken = or_after_commit(
            self,
            |core| core.take(line, seq, envelope),
            |core| core.commit(now_unix_ms),
        );
        let verdict = match taken {
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
        if state.standing == PROVEN && journal.rollback_proof(line)?.is_some() {
            return Ok(Verdict::RolledBack);
        }
        let mut txn = journal.begin();
        let arrived = state
            .session
            .receive(&mut txn, seq, envelope, Takes::Messages)?;
        let mut proof = None;
        // ORDER: what the phone holds is judged before anything that it says is believed.
        if let Some(held) = arrived.held
            && !txn.outbox_explains(line, held)?
        {
            proof = Some(held);
        }
        let unchanged = match &arrived.received {
            Received::Duplicate => Some(Verdict::Duplicate),
            Received::Gap { .. } => Some(Verdict::Gap),
            Received::NotAuthentic => Some(Verdict::NotAuthentic),
            _ => None,
        };
        match (unchanged, proof) {
            (Some(verdict), None) => return Ok(verdict),
            (_, Some(_)) => {}
            (None, None) => match arrived.received {
                Received::Message(plaintext) => match message::decode::<AppMessage>(&plaintext) {
                    Some(AppMessage::Ack { through, digest }) => {
                        let acked = Held {
                            seq: Seq(through),
                            digest: Digest(digest),
                        };
                        // Mostly the wrap named the same envelope, which was just hashed.
                        let known = arrived.held == Some(acked);
                        if !known && !txn.outbox_explains(line, acked)?
                            || state.session.take_ack(&mut txn, acked.seq)?
                                == AckEffect::BeyondOurHead
                        {
                            proof = Some(acked);
                        }
                    }
                    None => tracing::debug!("a phone said something that cannot be read"),
                },
                Received::Refused(why) => {
                    tracing::debug!(why, "an envelope was taken without effect");
                }
                _ => {}
            },
        }
        if let Some(proof) = proof {
            // Nothing of it is taken: the watermark stays where it is.
            drop(txn);
            return self.rolled_back(line, proof);
        }
        drop(txn.stage(())?);
        self.staged_bytes += envelope.len() as u64;
        Ok(Verdict::Taken)
    }

    /// The phone holds what our books do not explain. Nothing is sent to it from now on, and the
    /// next start knows it before anybody is asked (promise C8).
    fn rolled_back(&mut self, line: Line, proof: Held) -> Result<Verdict, CoreError> {
        tracing::error!(
            seq = proof.seq.0,
            "a phone holds an envelope that this state directory never made"
        );
        self.set_standing(line, PROVEN);
        let mut txn = self.journal()?.begin();
        txn.keep_rollback_proof(line, proof)?;
        drop(txn.stage(())?);
        self.staged_bytes += SMALL_GROUP_BYTES;
        Ok(Verdict::RolledBack)
    }
}
