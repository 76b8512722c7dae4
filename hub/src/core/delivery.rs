//! What a phone sends: judged, taken, and what it says about our own books.
//!
//! It must never let a stale or forged envelope cost the right to encrypt (scenario 12), never move
//! the watermark on anything but the phone's own sealed word, and never take, record or send anything
//! on a line whose phone has proved a rollback (promise C8): the next start knows it before anybody
//! is asked.

use journal::ids::Line;
use journal::message::{self, AppMessage};
use journal::{AckEffect, Arrived, Held, Received, Takes, or_after_commit};
use wire::ids::{Digest, Seq};

use super::{ClipFacts, Core, CoreError, Evidence, Notice, SMALL_GROUP_BYTES, Standing};

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
        let verdict = self.judge(taken, now_unix_ms)?;
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
        let Arrived { received, held } =
            state
                .session
                .receive(&mut txn, seq, envelope, Takes::Messages)?;
        let mut disproved = None;
        match received {
            Received::Duplicate => return Ok(Verdict::Duplicate),
            Received::Gap { .. } => return Ok(Verdict::Gap),
            Received::NotAuthentic => return Ok(Verdict::NotAuthentic),
            Received::RolledBack(proof) => disproved = Some(proof),
            Received::Message(plaintext) => match message::decode::<AppMessage>(&plaintext) {
                Some(AppMessage::Ack { through, digest }) => {
                    let acked = Held {
                        seq: Seq(through),
                        digest: Digest(digest),
                    };
                    // Mostly the wrap named the same envelope, which was just hashed.
                    let known = held == Some(acked);
                    if !known && !txn.outbox_explains(line, acked)?
                        || state.session.take_ack(&mut txn, acked.seq)? == AckEffect::BeyondOurHead
                    {
                        // Nothing of it is taken: the watermark stays where it is.
                        drop(txn);
                        txn = journal.begin();
                        state.session.prove_rollback(&mut txn, acked)?;
                        disproved = Some(acked);
                    }
                }
                None => tracing::debug!("a phone said something that cannot be read"),
            },
            Received::Refused(why) => {
                tracing::debug!(why, "an envelope was taken without effect");
            }
            // The last is a follower's.
            Received::Stale
            | Received::NewEpoch(_)
            | Received::Dropped(_)
            | Received::LineBroken(_) => {}
        }
        let Some(proof) = disproved else {
            drop(txn.stage(())?);
            self.staged_bytes += envelope.len() as u64;
            return Ok(Verdict::Taken);
        };
        tracing::error!(
            seq = proof.seq.0,
            "a phone holds an envelope that this state directory never made"
        );
        // The proof and the end of what was being recorded are one transaction. That a clip's rows
        // cannot be read must not hold the proof up.
        let abandoned = state.session.abandon(&mut txn).unwrap_or_else(|error| {
            tracing::error!(%error, "a clip of a line that is rolled back stays as it is");
            None
        });
        let staged = txn.stage(()).map(drop);
        // Also if there was no room for the proof: it comes again with the next envelope.
        self.set_standing(line, PROVEN);
        self.leave_recording(line);
        staged?;
        self.staged_bytes += SMALL_GROUP_BYTES;
        self.pending
            .extend(abandoned.map(|clip| Notice::ClipFinished {
                line,
                clip: ClipFacts::of(&clip),
            }));
        Ok(Verdict::RolledBack)
    }
}
