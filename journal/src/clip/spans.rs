//! Which envelopes a clip lies in.
//!
//! A clip that is recorded alone is one run of envelopes and a few more; beside others each chunk is a run of
//! its own. The clip's row is written with every chunk, so it keeps the newest runs only: those that are too many
//! become a page, a row of its own that is written once. The owner of an envelope must not be told by
//! the envelope's own row, because it is asked for when that is damaged or gone. This room must never let
//! the row of a clip grow with the clip.

use serde::{Deserialize, Serialize};
use wire::ids::Seq;

use super::clip_scope;
use crate::error::JournalError;
use crate::ids::{ClipId, Line};
use crate::keys::{self, Family};
use crate::txn::Txn;

/// Runs that a page holds, and at most as many are in the clip's row: under 400 bytes.
pub(crate) const SPANS_PER_PAGE: usize = 32;

/// First and last envelope of a run.
pub(super) type Span = (u64, u64);

/// A clip, and the line that it is recorded in.
pub(super) type Place = (Line, ClipId);

/// The envelopes of a clip, one span for each run of them: Commits and what other clips of its line say lie
/// between spans, and covers may lie in them.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Spans {
    /// The first envelope; 0 before it is made.
    first: u64,
    /// How many pages there are.
    pages: u32,
    /// The spans behind those of the pages; at most [`SPANS_PER_PAGE`].
    newest: Vec<Span>,
}

impl Spans {
    pub(super) fn first(&self) -> Seq {
        Seq(self.first)
    }

    pub(super) fn last(&self) -> Seq {
        Seq(self.newest.last().map_or(0, |span| span.1))
    }

    /// Its clip has said `seq`. `before` is what its recorder said before this, covers not counted: where that
    /// is the last of this clip, nothing but cover lies between the two.
    ///
    /// # Errors
    /// None that storage could cause.
    pub(super) fn took(
        &mut self,
        txn: &mut Txn<'_>,
        (line, clip): Place,
        seq: Seq,
        before: Seq,
    ) -> Result<(), JournalError> {
        if let Some((_, last)) = self.newest.last_mut()
            && (*last + 1 == seq.0 || (*last == before.0 && before.is_some()))
        {
            *last = seq.0;
            return Ok(());
        }
        if self.newest.len() == SPANS_PER_PAGE {
            let rest = keys::page_of_spans(clip, self.pages);
            txn.put_secret_row(clip_scope(line), Family::Spans, &rest, &self.newest)?;
            self.pages += 1;
            self.newest.clear();
        }
        if self.first == 0 {
            self.first = seq.0;
        }
        self.newest.push((seq.0, seq.0));
        Ok(())
    }

    /// The numbers of the pages from this one on. The last of them are the spans of the clip's own row.
    pub(super) fn pages_from(&self, page: u32) -> std::ops::RangeInclusive<u32> {
        page..=self.pages
    }

    /// The spans of a page, in order.
    ///
    /// # Errors
    /// [`JournalError::ValueDamaged`], also if the page is not there.
    pub(super) fn page(
        &self,
        txn: &Txn<'_>,
        (line, clip): Place,
        page: u32,
    ) -> Result<Vec<Span>, JournalError> {
        if page >= self.pages {
            return Ok(self.newest.clone());
        }
        let scope = clip_scope(line);
        let rest = keys::page_of_spans(clip, page);
        let spans = txn.secret_row(scope, Family::Spans, &rest)?;
        spans.ok_or(JournalError::ValueDamaged {
            scope,
            what: "where a clip lies",
        })
    }

    /// Whether an envelope is one of its clip's.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub(super) fn hold(&self, txn: &Txn<'_>, place: Place, seq: Seq) -> Result<bool, JournalError> {
        // Most clips end before it or begin behind it, and of those no page is read.
        if seq < self.first() || self.last() < seq {
            return Ok(false);
        }
        for page in self.pages_from(0) {
            let spans = self.page(txn, place, page)?;
            if spans.last().is_some_and(|(_, last)| seq.0 <= *last) {
                return Ok(spans.iter().any(|(a, b)| (*a..=*b).contains(&seq.0)));
            }
        }
        Ok(false)
    }

    /// Removes pages, at most `room` of them, the newest first; how many. Of a clip of which nothing is asked
    /// any more.
    pub(super) fn forget_pages(
        &mut self,
        txn: &mut Txn<'_>,
        (line, clip): Place,
        room: u32,
    ) -> u32 {
        let scope = clip_scope(line);
        let left = self.pages.saturating_sub(room);
        for page in left..self.pages {
            let rest = keys::page_of_spans(clip, page);
            txn.delete_secret(scope, keys::secret(scope, Family::Spans, &rest));
        }
        std::mem::replace(&mut self.pages, left) - left
    }
}
