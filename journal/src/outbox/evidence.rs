//! What the other side says it holds of ours, and what the relay does hold, judged by our own books (promise C8).
//!
//! Nobody but this journal makes what lies in its outbox, so where the other side holds something
//! else there, or something beyond it, this directory is older than what left it. That cannot be
//! mended: both ends are in epochs of the same number with different secrets. The other side's word
//! is its own, and counts for its pairing. A relay's word is nobody's; the envelope that it holds has a tag in
//! it that only this journal can make, and counts for the whole directory. This room judges, and
//! remembers the proof; it must never take what could have an innocent reason for a proof, nor what anybody
//! else could have made, because whoever owns the line stops sending on it for good.

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Seq};

use super::Row;
use crate::error::JournalError;
use crate::ids::{Line, PairingId};
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::record::PairingRecord;
use crate::scope::Scope;
use crate::txn::Txn;
use crate::wrap::{self, Held, Kind, Place};

/// What our books say about the last envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutboxBooks {
    /// The last sequence number given; 0 if none.
    pub last: Seq,
    /// Digest of that envelope; `None` if its bytes are damaged, and then it proves nothing.
    pub last_digest: Option<Digest>,
    /// Digest of the envelope that stood there before a statement took its place.
    pub replaced_digest: Option<Digest>,
}

/// The row of a line on which a rollback is proved (FORMAT.md, `R`).
#[derive(Serialize, Deserialize)]
struct Proof {
    seq: Seq,
    digest: Digest,
}

impl From<Proof> for Held {
    fn from(Proof { seq, digest }: Proof) -> Self {
        Self { seq, digest }
    }
}

impl Journal {
    /// What our books say about the last envelope. May read and hash it.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub fn outbox_books(&self, line: Line) -> Result<OutboxBooks, JournalError> {
        self.books(line, &self.outbox_row(line)?)
    }

    fn books(&self, line: Line, row: &Row) -> Result<OutboxBooks, JournalError> {
        let last_digest = match row.last_digest {
            _ if wal::mutant!(
                "digest_not_compared",
                "C8",
                "a number is compared with the relay's, and its digest is not"
            ) =>
            {
                None
            }
            Some(digest) => Some(digest),
            None => self.stored_digest(line, row.last)?,
        };
        Ok(OutboxBooks {
            last: row.last,
            last_digest,
            replaced_digest: row.replaced_digest,
        })
    }

    /// Whether these books explain that the other side holds `held` from us. If not, this journal
    /// is older than what left it.
    ///
    /// What is acked was judged when the ack was taken, and what is gone or damaged here cannot be
    /// compared: neither proves anything. Nor does a place that a statement took: the other side
    /// may honestly hold what stood there before, the clip's end or an earlier statement. Reads and
    /// hashes one envelope.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub fn outbox_explains(&self, line: Line, held: Held) -> Result<bool, JournalError> {
        let row = self.outbox_row(line)?;
        if held.seq > row.last {
            return Ok(false);
        }
        if held.seq == row.last {
            let books = self.books(line, &row)?;
            let same = books.last_digest.is_none_or(|last| last == held.digest);
            // Of a mailbox in which nothing was ever sent, nothing is held.
            let nothing = held.seq == Seq::NONE;
            return Ok(nothing || same || books.replaced_digest.is_some());
        }
        if row.is_dead(held.seq) {
            return Ok(true);
        }
        match self.stored_envelope(line, held.seq)? {
            Some(envelope) if Digest::of(&envelope) != held.digest => {
                let body = self.own_body(line, held.seq, &envelope)?;
                Ok(body.is_none_or(|body| body.kind == Kind::Statement))
            }
            _ => Ok(true),
        }
    }

    /// What these bytes prove, which a relay holds in the mailbox of this line under this number: they are an
    /// envelope of ours, by its own tag, and these books do not explain it. `None` if they prove nothing, whatever
    /// the relay says of them. Reads and compares one envelope.
    ///
    /// A tag is made for a number and a nonce. The other side has the wrapping key and can put something else
    /// behind them, so under a number of these books only another nonce proves anything: nobody but us makes a
    /// second tag for it.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub fn outbox_disproved(
        &self,
        line: Line,
        seq: Seq,
        envelope: &[u8],
    ) -> Result<Option<Held>, JournalError> {
        let record: Option<PairingRecord> =
            self.secret_row(Scope::Pairing(line.pairing), Family::Pairing, &[])?;
        let Some(record) = record else {
            return Ok(None);
        };
        let is_ours = record.line(line.channel).is_some_and(|channel| {
            let place = Place {
                mailbox: &channel.send,
                seq,
            };
            wrap::is_our_own(&record.send_key, &record.tag_key, place, envelope)
        });
        if !is_ours
            && !wal::mutant!(
                "tag_not_checked",
                "C8",
                "whatever a relay holds under a number counts as an envelope of ours"
            )
        {
            return Ok(None);
        }
        let held = Held {
            seq,
            digest: Digest::of(envelope),
        };
        let row = self.outbox_row(line)?;
        if seq > row.last {
            return Ok(Some(held));
        }
        // What is acked was judged with the ack; what is gone or damaged here cannot be compared.
        if row.is_dead(seq) {
            return Ok(None);
        }
        let Some(ours) = self.stored_envelope(line, seq)? else {
            return Ok(None);
        };
        if wrap::nonce(&ours) == wrap::nonce(envelope) {
            return Ok(None);
        }
        let body = self.own_body(line, seq, &ours)?;
        let is_statement = body.is_none_or(|body| body.kind == Kind::Statement);
        Ok((!is_statement).then_some(held))
    }

    /// The durable digest of an envelope that is not acked, to compare with what a relay shows. `None`
    /// where nothing can be compared: it is gone or damaged, or a statement took its place, and the
    /// relay may honestly hold what stood there before.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub fn outbox_digest(&self, line: Line, seq: Seq) -> Result<Option<Digest>, JournalError> {
        wal::mutant!("digest_not_compared", "C8", "the digest under a number is not told" => {
            return Ok(None);
        });
        let found = match self.outbox_next(line, Seq(seq.0.saturating_sub(1))) {
            Err(JournalError::EnvelopeDamaged { .. }) => return Ok(None),
            found => found?,
        };
        let Some((_, envelope)) = found.filter(|(found, _)| *found == seq) else {
            return Ok(None);
        };
        let body = self.own_body(line, seq, envelope.as_bytes())?;
        Ok(body
            .filter(|body| body.kind != Kind::Statement)
            .map(|_| envelope.digest()))
    }

    /// The proof that [`crate::Session::prove_rollback`] or [`Txn::prove_rollback_of_all`] kept: such a line must
    /// send nothing any more.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn rollback_proof(&self, line: Line) -> Result<Option<Held>, JournalError> {
        let proof: Option<Proof> = self.row(&keys::rollback_proof(line))?;
        Ok(proof.map(Held::from))
    }

    /// The digest of a stored envelope; `None` if it is gone or damaged.
    pub(super) fn stored_digest(
        &self,
        line: Line,
        seq: Seq,
    ) -> Result<Option<Digest>, JournalError> {
        let envelope = self.stored_envelope(line, seq)?;
        Ok(envelope.as_deref().map(Digest::of))
    }

    /// An envelope in the outbox, staged ones included; `None` if it is gone or damaged.
    fn stored_envelope(&self, line: Line, seq: Seq) -> Result<Option<Vec<u8>>, JournalError> {
        let key = keys::outbox(line, seq);
        let stored = match self.wal.get(&key)? {
            Some(bytes) => Some(bytes),
            None => match self.wal.payload(&key) {
                Err(wal::WalError::PayloadDamaged { .. }) => None,
                other => other?,
            },
        };
        match stored {
            Some(stored) => self.envelope_of(line, seq, stored),
            None => Ok(None),
        }
    }
}

impl Txn<'_> {
    /// [`Journal::outbox_explains`], in the middle of a transaction that leaves the outbox alone.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub fn outbox_explains(&self, line: Line, held: Held) -> Result<bool, JournalError> {
        self.journal().outbox_explains(line, held)
    }

    /// [`Journal::rollback_proof`], as the transaction sees it.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn rollback_proof(&self, line: Line) -> Result<Option<Held>, JournalError> {
        let proof: Option<Proof> = self.row(&keys::rollback_proof(line))?;
        Ok(proof.map(Held::from))
    }

    /// Remembers on every line of these pairings that an envelope of ours is out that the books do not explain
    /// ([`Journal::outbox_disproved`]): nobody else could have made it, so it is no word of one phone or hub about
    /// its own pairing, and `pairings` are all that there were when it was found. In one transaction, because a
    /// relay that has shown it once need not do so again. One that is made later is none of the lost history's;
    /// one that has ended since gets nothing.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn prove_rollback_of_all(
        &mut self,
        pairings: &[PairingId],
        held: Held,
    ) -> Result<(), JournalError> {
        let there = self.journal().pairing_ids();
        for pairing in pairings.iter().filter(|pairing| there.contains(pairing)) {
            for line in Line::all(*pairing) {
                // One that cannot be read is no proof that is kept.
                if !matches!(self.rollback_proof(line), Ok(Some(_))) {
                    self.keep_rollback_proof(line, held)?;
                }
            }
        }
        Ok(())
    }

    /// Remembers that the other side holds what these books do not explain. There is no way back
    /// but to end the pairing: what the proof was compared with may be damaged or dropped later, and
    /// then nothing else would know any more.
    ///
    /// # Errors
    /// None that storage could cause.
    pub(crate) fn keep_rollback_proof(
        &mut self,
        line: Line,
        held: Held,
    ) -> Result<(), JournalError> {
        wal::mutant!("proof_not_kept", "C2", "that a directory is an older copy is known until the process ends; the next one tells of damage" => {
            return Ok(());
        });
        let Held { seq, digest } = held;
        self.put_row(&keys::rollback_proof(line), &Proof { seq, digest })
    }
}
