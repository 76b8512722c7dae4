//! Cover: envelopes in which there is nothing, so that whoever sees them leave does not see whether anything
//! happened.
//!
//! A cover is wrapped like any other envelope and takes a number of its own, so it is in the outbox and durable
//! before it leaves, is sent again as the same bytes, and goes with an ack. It is no MLS message: it costs no
//! generation, opens no epoch and keeps none open, so that an idle hub stays one. This room must never decide
//! when one leaves.

use wal::note_with;
use wire::ids::Seq;

use super::{Committer, Session};
use crate::error::JournalError;
use crate::keys;
use crate::outbox::{self, Placement};
use crate::txn::Txn;
use crate::wrap::Kind;

impl Session<Committer> {
    /// Puts an envelope without content into the outbox. It has the size of every other envelope of its channel
    /// only if those have one ([`crate::Journal::send_in_full_size`]).
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] once that is proved: nothing was changed. Otherwise only our own storage.
    pub fn cover(&mut self, txn: &mut Txn<'_>) -> Result<Seq, JournalError> {
        self.check_not_rolled_back(txn)?;
        let line = self.line;
        let record = txn.pairing_record(line)?;
        // It lies in no ratchet, so it has no place: this says why.
        let seq = outbox::upcoming(txn, line)?;
        note_with!(keys::outbox(line, seq); "cover {seq}");
        outbox::append(txn, line, &record, Kind::Cover, &[], Placement::Inline)
    }
}
