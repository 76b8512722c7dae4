//! Clips that are given up: a signed statement in the place of what is gone, so that the phone can pass the
//! gap (promise C2).
//!
//! Three reasons: stored bytes are damaged, and then what lies before the damage stays; or the disk needs the
//! room, or its owner wants it kept no longer, and then the clip goes whole. A transaction takes a bounded part of it.
//! This room must never touch a Commit, nor a clip that is being recorded, and never let an envelope go without a
//! statement that covers it.

use serde::{Deserialize, Serialize};
use wal::{crash_point, mutant};
use wire::ids::Seq;

use super::{ClipOutcome, HubClip, load_clip, put_clip};
use crate::error::JournalError;
use crate::ids::ClipId;
use crate::message::{DropReason, Statement};
use crate::outbox;
use crate::retain;
use crate::session::{Committer, Session};
use crate::txn::Txn;

/// Statements about a dropped clip that one transaction makes at most: some 64 KiB in the log, so that they fit
/// beside the removal of [`crate::TRIM_ROWS_MAX`] rows.
pub(crate) const STATEMENTS_MAX: usize = 64;

/// Where a clip is still to be dropped from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Rest {
    /// The page of its spans.
    page: u32,
    /// The envelope.
    from: u64,
}

/// What one transaction made of a clip.
struct Stated {
    /// Statements made.
    count: usize,
    /// What is left for the next.
    rest: Option<Rest>,
}

impl Session<Committer> {
    /// Drops the clip that envelope `at` belongs to, whose stored bytes are damaged: from `at` on its
    /// envelopes give way to signed statements, each under the number of the last one that it covers.
    /// What came before `at` may already be at the relay and stays. Commits stay always.
    ///
    /// A statement that stands may have left, so it stays as it is, and its range with it. If an
    /// earlier place of a clip is found damaged later, what lies between the two gets a statement of
    /// its own; asked again about the same place, or a later one, this changes nothing.
    ///
    /// The clip comes back if it was not dropped before. One that was recorded beside others lies in many
    /// pieces, of which one transaction takes [`STATEMENTS_MAX`]: [`Self::drop_more`] goes on.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] if `at` belongs to no clip, or to one that is being recorded: finish
    /// that one first.
    pub fn drop_damaged(
        &mut self,
        txn: &mut Txn<'_>,
        at: Seq,
    ) -> Result<Option<HubClip>, JournalError> {
        let mut record = self.damaged_clip(txn, at)?;
        let stated = self.state(txn, &record, from(at), DropReason::Damaged)?;
        if stated.count == 0 || matches!(record.outcome, ClipOutcome::Dropped(_)) {
            return Ok(None);
        }
        record.outcome = ClipOutcome::Dropped(DropReason::Damaged);
        put_clip(txn, self.line(), &record)?;
        retain::lost(txn, self.line(), record.clip);
        Ok(Some(record))
    }

    /// Puts statements in the place of more of a clip that [`Self::drop_damaged`] has dropped at the same
    /// place; false if nothing is left. Who is kept from it loses nothing: what is left is sent, and the phone
    /// passes over it.
    ///
    /// # Errors
    /// As [`Self::drop_damaged`].
    pub fn drop_more(&mut self, txn: &mut Txn<'_>, at: Seq) -> Result<bool, JournalError> {
        let record = self.damaged_clip(txn, at)?;
        let stated = self.state(txn, &record, from(at), DropReason::Damaged)?;
        Ok(stated.count > 0)
    }

    /// Drops a clip that has ended because the disk needs its room, or because of its age: all of it that is not acked
    /// gives way to signed statements, and the retained copy, if there is one, ends with the first of them. Commits
    /// stay.
    ///
    /// One transaction takes [`STATEMENTS_MAX`] of its pieces. As long as the clip that comes back
    /// [`HubClip::is_dropped_in_part`] this is to be called again, by whatever process: the clip's row says where it
    /// goes on, and for which reason it was begun. A phone that meets the rest before that passes over it.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] if the clip is being recorded, or was dropped because it is damaged, or if that is the
    /// reason; [`JournalError::NoSuchClip`].
    pub fn drop_whole(
        &mut self,
        txn: &mut Txn<'_>,
        clip: ClipId,
        reason: DropReason,
    ) -> Result<HubClip, JournalError> {
        let line = self.line();
        let mut record = load_clip(txn, line, clip)?;
        let reason = match (record.outcome, reason) {
            (ClipOutcome::Complete | ClipOutcome::CutOff, DropReason::Budget | DropReason::Age) => {
                record.outcome = ClipOutcome::Dropped(reason);
                record.rest = Some(from(record.first_seq()));
                // It would be played anew, into the room that is made.
                txn.release_retained(clip)?;
                reason
            }
            (ClipOutcome::Dropped(begun @ (DropReason::Budget | DropReason::Age)), _) => begun,
            (
                ClipOutcome::Recording
                | ClipOutcome::Dropped(DropReason::Damaged)
                | ClipOutcome::Complete
                | ClipOutcome::CutOff,
                _,
            ) => {
                return Err(JournalError::Misuse(
                    "only a clip that has ended and is whole is dropped whole",
                ));
            }
        };
        if let Some(rest) = record.rest {
            record.rest = self.state(txn, &record, rest, reason)?.rest;
        }
        put_clip(txn, line, &record)?;
        // CRASH(journal.clip.drop_staged): before: the clip is there, whole, or as far as the steps before left it;
        // whoever needs room drops it again | after: the next statements stand in its place and its row says
        // what is left, synced as one.
        crash_point!("journal.clip.drop_staged");
        Ok(record)
    }

    /// The clip that an envelope belongs to, unless it is being recorded.
    fn damaged_clip(&self, txn: &Txn<'_>, at: Seq) -> Result<HubClip, JournalError> {
        let line = self.line();
        // Those of this line; of another one the numbers mean something else.
        let mut owner = None;
        for clip in txn.clips_of(line)? {
            if clip.spans.hold(txn, (line, clip.clip), at)? {
                owner = Some(clip);
                break;
            }
        }
        let record = owner.ok_or(JournalError::Misuse("a damaged payload belongs to a clip"))?;
        if record.outcome == ClipOutcome::Recording {
            return Err(JournalError::Misuse(
                "a clip is never dropped while it is being recorded",
            ));
        }
        Ok(record)
    }

    /// Statements in the place of what a clip has from a place on, at most [`STATEMENTS_MAX`].
    fn state(
        &mut self,
        txn: &mut Txn<'_>,
        record: &HubClip,
        from: Rest,
        reason: DropReason,
    ) -> Result<Stated, JournalError> {
        let line = self.line();
        let pairing = txn.pairing_record(line)?;
        let mut stated = Stated {
            count: 0,
            rest: None,
        };
        'pages: for page in record.spans.pages_from(from.page) {
            for (first, last) in record.spans.page(txn, (line, record.clip), page)? {
                let (first, last) = (Seq(first.max(from.from)), Seq(last));
                let Some(range) = outbox::unexplained(txn, line, (first, last))? else {
                    continue;
                };
                if stated.count == STATEMENTS_MAX {
                    let from = first.0;
                    stated.rest = Some(Rest { page, from });
                    break 'pages;
                }
                stated.count += 1;
                if reason != DropReason::Damaged
                    && mutant!(
                        "dropped_unsaid",
                        "C2",
                        "what goes for its room goes without a statement: it is missed when it would be sent, and the owner hears of damage"
                    )
                {
                    outbox::forget(txn, line, range)?;
                    continue;
                }
                let statement = Statement {
                    channel: line.channel,
                    first: range.0.0,
                    last: range.1.0,
                    clip: record.clip,
                    reason,
                };
                let content = self.sign_statement(txn, &statement)?;
                outbox::replace(txn, line, &pairing, range, &content)?;
            }
        }
        if stated.count > 0 {
            // Once, and not for each of its spans, of which a disk that fails often makes many.
            txn.trim_outbox(line)?;
        }
        Ok(stated)
    }
}

/// From an envelope on, wherever it lies.
fn from(seq: Seq) -> Rest {
    Rest {
        page: 0,
        from: seq.0,
    }
}
