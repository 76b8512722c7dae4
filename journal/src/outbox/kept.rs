//! What the outbox keeps of an envelope, read as what leaves: that itself, or what its recipe makes.
//!
//! A recipe is ciphertext without its padding, and only the pairing's wrapping key makes the envelope of it. That
//! is in the pairing's record, which is opened for each recipe anew, and not for what lies here whole: a damaged
//! record must not hold that up. This room decides nothing; what it cannot read is damaged.

use wal::Durable;
use wire::envelope::Envelope;
use wire::ids::{SendId, Seq};

use crate::error::JournalError;
use crate::ids::Line;
use crate::journal::Journal;
use crate::keys::Family;
use crate::record::PairingRecord;
use crate::scope::Scope;
use crate::sealed::Key;
use crate::wrap::{self, Place};

impl Journal {
    /// The durable envelope of which this durable row is held; `None` if its bytes are damaged.
    pub(super) fn durable_envelope(
        &self,
        line: Line,
        seq: Seq,
        stored: Durable<Vec<u8>>,
    ) -> Result<Option<Durable<Envelope>>, JournalError> {
        if wrap::is_envelope(&stored) {
            return Ok(stored.try_map(Envelope::new).ok());
        }
        let Some((key, mailbox)) = self.wraps_with(line)? else {
            return Ok(None);
        };
        let place = Place {
            mailbox: &mailbox,
            seq,
        };
        let made = stored.try_map_with(&key, |stored, key| wrap::envelope(stored, key).ok_or(()));
        let made = made.ok();
        Ok(made.filter(|made| wrap::is_authentic(&key, place, made.as_bytes())))
    }

    /// The envelope of which this row is held; `None` if its bytes are damaged.
    pub(super) fn envelope_of(
        &self,
        line: Line,
        seq: Seq,
        stored: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, JournalError> {
        if wrap::is_envelope(&stored) {
            return Ok(Some(stored));
        }
        Ok(self.wraps_with(line)?.and_then(|(key, mailbox)| {
            let place = Place {
                mailbox: &mailbox,
                seq,
            };
            wrap::on_the_wire(&key, place, stored)
        }))
    }

    /// What is inside an envelope of ours, or what its recipe makes; `None` if these bytes are not one for this
    /// place.
    pub(super) fn own_body(
        &self,
        line: Line,
        seq: Seq,
        stored: &[u8],
    ) -> Result<Option<wrap::Body>, JournalError> {
        Ok(self.wraps_with(line)?.and_then(|(key, mailbox)| {
            let place = Place {
                mailbox: &mailbox,
                seq,
            };
            let envelope = wrap::on_the_wire(&key, place, stored.to_vec())?;
            wrap::unwrap(&key, place, &envelope)
        }))
    }

    /// The key that wraps what this line sends, and the mailbox that it goes to.
    fn wraps_with(&self, line: Line) -> Result<Option<(Key, SendId)>, JournalError> {
        let record: Option<PairingRecord> =
            self.secret_row(Scope::Pairing(line.pairing), Family::Pairing, &[])?;
        Ok(record.and_then(|record| {
            let mailbox = record.line(line.channel)?.send;
            Some((record.send_key, mailbox))
        }))
    }
}
