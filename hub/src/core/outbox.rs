//! What the uplink takes from a line's outbox: durable envelopes, and their digests.
//!
//! This room must never give out what no sync covers, nor anything to a phone that has proved a rollback. An envelope
//! that is damaged on disk is replaced by a statement, or reported if that has to wait.

use journal::ids::Line;
use journal::{Durable, ErrorKind, JournalError};
use wire::envelope::Envelope;
use wire::ids::{Digest, Seq};

use super::{Core, CoreError, Notice, PROVEN, is_about_one_line, push};

/// Damaged clips that one question for an envelope may drop.
const DAMAGED_PER_CALL_MAX: u32 = 64;

impl Core {
    /// The first durable envelope of a line after `after`. One whose bytes are damaged on disk, or
    /// gone, costs its clip: a signed statement takes its place. While that cannot be made, because
    /// the clip's end is still owed or the disk is full, there is none: that is reported once, and
    /// whoever asks again later tries again. A phone that proved a rollback is given nothing.
    ///
    /// # Errors
    /// The journal's.
    pub fn next_envelope(
        &mut self,
        line: Line,
        after: Seq,
        now_unix_ms: u64,
    ) -> Result<Option<(Seq, Durable<Envelope>)>, CoreError> {
        if self
            .lines
            .get(&line)
            .is_some_and(|state| state.standing == PROVEN)
        {
            return Ok(None);
        }
        for _ in 0..DAMAGED_PER_CALL_MAX {
            match self.journal()?.outbox_next(line, after) {
                Err(JournalError::EnvelopeDamaged { line, seq }) => {
                    match self.drop_damaged(line, seq, now_unix_ms) {
                        Ok(()) => self.commit(now_unix_ms)?,
                        Err(CoreError::Journal(error)) if is_passing(&error) => {
                            self.wait_at(line, seq, &error);
                            return Ok(None);
                        }
                        Err(error) => return Err(error),
                    }
                }
                other => return self.judge(other, now_unix_ms),
            }
        }
        Ok(None)
    }

    /// The digest of an envelope of ours that is not acked; `None` if it is gone, if its bytes are
    /// damaged, which here costs nothing because the relay has it, or if a statement took its place:
    /// the relay may honestly hold what stood there before, and no digest proves anything.
    ///
    /// # Errors
    /// The journal's.
    pub fn digest(
        &mut self,
        line: Line,
        seq: Seq,
        now_unix_ms: u64,
    ) -> Result<Option<Digest>, CoreError> {
        let found = self.journal()?.outbox_digest(line, seq);
        self.judge(found, now_unix_ms)
    }

    /// Reports, once for each envelope, that a damaged one cannot be dropped yet.
    fn wait_at(&mut self, line: Line, seq: Seq, error: &JournalError) {
        if let Some(state) = self.lines.get_mut(&line)
            && state.waits_at != Some(seq)
        {
            state.waits_at = Some(seq);
            let what = error.to_string();
            push(&mut self.notices, Notice::DamageWaits { line, seq, what });
        }
    }
}

/// Whether a damaged clip may be dropped later though it cannot be now.
fn is_passing(error: &JournalError) -> bool {
    is_about_one_line(error) || matches!(error.kind(), ErrorKind::Space | ErrorKind::Retry)
}
