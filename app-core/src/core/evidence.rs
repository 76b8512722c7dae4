//! What a relay holds of ours, judged by the tag that is in it (promise C8).
//!
//! A relay may say what it likes of a mailbox. The shell fetches the envelope that it means, and here that is judged:
//! its own tag nobody but this app could have made, so what it proves is no word of one hub, and ends every line of the
//! directory at once and for good; whatever a relay shows from then on changes nothing. This room must never believe a
//! number or a digest, and never let anything leave once an envelope of ours was found that the books do not explain,
//! whether there is room for the proof or not.

use journal::ids::{Line, PairingId};
use journal::{ErrorKind, Held, JournalError, or_after_commit};
use wire::Seq;

use super::{Core, Over};

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
#[derive(Clone)]
pub(crate) struct Disproof {
    held: Held,
    pairings: Vec<PairingId>,
}

impl Core {
    /// What must outlast this core when its journal is opened again: the rows that say so may not be there.
    pub(crate) fn into_disproof(self) -> Option<Disproof> {
        self.disproof
    }

    /// What the core before this one knew; before anything is asked of this one.
    pub(crate) fn believe(&mut self, disproof: Option<Disproof>) {
        self.disproof = disproof.or(self.disproof.take());
    }

    /// A relay was asked for the envelope by which it speaks against a line's books, and gave this, or nothing. If
    /// that is an envelope of ours which the books do not explain, every line of this directory is over. The caller
    /// commits, so that the next process knows it.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn handle_stored(
        &mut self,
        line: Line,
        seq: Seq,
        envelope: Option<&[u8]>,
    ) -> Result<Judged, JournalError> {
        if self.over(line)? == Some(Over::RolledBack) {
            return Ok(Judged::RolledBack);
        }
        let held = match envelope {
            Some(envelope) => self.journal.outbox_disproved(line, seq, envelope)?,
            None => None,
        };
        let Some(held) = held else {
            tracing::warn!(
                %seq,
                "the relay claims to hold what this app never made, and what it shows proves nothing; sending goes on"
            );
            return Ok(Judged::Nothing);
        };
        tracing::error!(%seq, "the relay holds an envelope of this app that its directory never made");
        let pairings = self.journal.pairing_ids();
        // ORDER: nothing leaves from here on, whatever becomes of the rows that say so.
        for (of, follow) in &mut self.lines {
            if pairings.contains(&of.pairing) {
                follow.over = Some(Over::RolledBack);
            }
        }
        self.disproof = Some(Disproof { held, pairings });
        match self.keep_disproof() {
            Err(error) if error.kind() == ErrorKind::Space => {
                tracing::warn!(%error, "that this directory is an older copy is written down later");
            }
            Err(error) => return Err(error),
            Ok(_staged) => {}
        }
        Ok(Judged::RolledBack)
    }

    /// Why a line is over, as far as anything but its own process memory knows.
    pub(super) fn known_over(&self, line: Line) -> Result<Option<Over>, JournalError> {
        let disproof = self.disproof.as_ref();
        match disproof.is_some_and(|disproof| disproof.pairings.contains(&line.pairing)) {
            true => Ok(Some(Over::RolledBack)),
            false => Over::stored(&self.journal, line),
        }
    }

    /// Sees to it that what was found is known to the next process: the rows of all lines in one transaction, then
    /// the rotation of their keys. True if something was staged for that.
    pub(super) fn keep_disproof(&mut self) -> Result<bool, JournalError> {
        let Some(Disproof { held, pairings }) = self.disproof.clone() else {
            return Ok(false);
        };
        let there = self.journal.pairing_ids();
        let still = pairings.iter().filter(|pairing| there.contains(pairing));
        let lines: Vec<Line> = still.flat_map(|pairing| Line::all(*pairing)).collect();
        let is_kept = |line: &Line| matches!(self.journal.rollback_proof(*line), Ok(Some(_)));
        if lines.iter().all(is_kept) {
            return Ok(false);
        }
        or_after_commit(
            &mut self.journal,
            |journal| {
                let mut txn = journal.begin();
                txn.prove_rollback_of_all(&pairings, held)?;
                txn.stage(()).map(drop)
            },
            |journal| journal.commit().map(drop),
        )?;
        for line in lines {
            self.rotate_what_is_over(line);
        }
        Ok(true)
    }
}
