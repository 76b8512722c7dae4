//! The outbox: every envelope that the other side has not acked, in the order of its `Seq`.
//!
//! Commits and notices lie in the view (so that they never pin a log file), chunks in the log only.
//! A receipt of the relay changes nothing here; only the other side's ack, sealed end to end, moves
//! the watermark. What lies here of an envelope is the envelope, or its recipe ([`crate::wrap`]); every digest
//! is that of the envelope. An envelope is checked against the relay's limits before it becomes durable, so
//! that nothing can sit at the head that the relay would refuse for ever.
//!
//! What is acked, or gave way to a statement, is dead at once: the head row says so, in the same
//! transaction. The dead rows themselves are removed at most [`TRIM_ROWS_MAX`] in one transaction,
//! because an ack may cover more than one transaction can hold. Nothing dead is ever given out or
//! counted, whether its row is still there or not.

mod ended;
mod evidence;
mod kept;

use serde::{Deserialize, Serialize};
use wal::{Durable, mutant, note_with};
use wire::envelope::Envelope;
use wire::ids::{Digest, SendId, Seq};
use wire::limits::ENVELOPE_BYTES_MAX;

use crate::error::JournalError;
use crate::ids::Line;
use crate::inbox::InboxHead;
use crate::journal::Journal;
use crate::keys;
use crate::message::{self, SignedStatement, Statement};
use crate::record::PairingRecord;
use crate::txn::Txn;
use crate::wrap::{self, Held, Kind, Place};

pub(crate) use ended::{end, end_in_steps};
pub use evidence::OutboxBooks;

/// Dead envelopes whose rows one transaction removes: under 32 KiB in the log, so that it fits
/// beside whatever else the transaction does. The rest goes by [`Txn::trim_outbox`].
pub const TRIM_ROWS_MAX: u64 = 128;

/// Head and watermark of a line's outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutboxHead {
    /// The last sequence number given; 0 if none.
    pub last: Seq,
    /// Everything up to here is durable at the other side.
    pub acked: Seq,
}

/// The row of a line's outbox (FORMAT.md, `H`).
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
struct Row {
    last: Seq,
    /// `None` while the envelope is a payload in the log: it is read when the digest is wanted, so
    /// that no chunk is hashed on its way out.
    last_digest: Option<Digest>,
    replaced_digest: Option<Digest>,
    acked: Seq,
    /// Envelopes, first and last of each range, that are acked or gave way to a statement and whose
    /// rows may still be there. Ascending; no two overlap or touch.
    dead: Vec<(Seq, Seq)>,
}

impl Row {
    /// Everything of `first..=last` is dead.
    fn kill(&mut self, mut first: Seq, mut last: Seq) {
        if first > last {
            return;
        }
        self.dead.retain(|(a, b)| {
            let joins = *a <= next_seq(last) && first <= next_seq(*b);
            if joins {
                first = first.min(*a);
                last = last.max(*b);
            }
            !joins
        });
        let at = self.dead.partition_point(|(a, _)| *a < first);
        self.dead.insert(at, (first, last));
    }

    /// The first number from `seq` on that is not dead.
    fn living_from(&self, seq: Seq) -> Seq {
        let from = seq.max(next_seq(self.acked));
        self.dead
            .iter()
            .fold(from, |from, (first, last)| match *first <= from {
                true => from.max(next_seq(*last)),
                false => from,
            })
    }

    fn is_dead(&self, seq: Seq) -> bool {
        self.living_from(seq) != seq
    }

    /// Removes at most [`TRIM_ROWS_MAX`] dead rows, the oldest first. The caller puts the row.
    fn trim(&mut self, txn: &mut Txn<'_>, line: Line) {
        let mut room = TRIM_ROWS_MAX;
        while room > 0
            && let Some((first, last)) = self.dead.first().copied()
        {
            let end = Seq(last.0.min(first.0 + room - 1));
            remove(txn, line, first, end);
            room -= end.0 - first.0 + 1;
            match self.dead.first_mut() {
                Some(range) if end < last => range.0 = next_seq(end),
                _ => drop(self.dead.remove(0)),
            }
        }
    }
}

/// How far a removal in steps has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trim {
    /// There is nothing to remove; the transaction is as it was.
    Idle,
    /// This transaction removes the last of them.
    Done,
    /// This transaction removes some, and others remain for the next.
    More,
}

fn row(txn: &Txn<'_>, line: Line) -> Result<Row, JournalError> {
    Ok(txn.row(&keys::outbox_head(line))?.unwrap_or_default())
}

/// Where an envelope lies until it is acked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placement {
    /// In the view and the log: Commits, headers, notices.
    Inline,
    /// In the log only: chunks.
    Payload,
}

/// Wraps `content` under the next `Seq` and puts it into the outbox of this transaction.
pub(crate) fn append(
    txn: &mut Txn<'_>,
    line: Line,
    record: &PairingRecord,
    kind: Kind,
    content: &[u8],
    placement: Placement,
) -> Result<Seq, JournalError> {
    let needed = wrap::size_class(wrap::OVERHEAD_BYTES + content.len());
    if needed > ENVELOPE_BYTES_MAX {
        return Err(JournalError::EnvelopeTooLarge {
            bytes: needed,
            limit: ENVELOPE_BYTES_MAX,
        });
    }
    let mut head = row(txn, line)?;
    let seq = next_seq(head.last);
    let (mailbox, envelope) = wrapped(txn, line, record, seq, kind, content)?;
    head.last = seq;
    head.last_digest = match placement {
        Placement::Inline => Some(Digest::of(&envelope)),
        Placement::Payload => None,
    };
    head.replaced_digest = None;
    txn.put_row(&keys::outbox_head(line), &head)?;
    let key = keys::outbox(line, seq);
    note_with!(key.clone(); "seal {} {seq} {}", mailbox.to_text(), Digest::of(&envelope).to_text());
    let bytes = wrap::stored(envelope, content.len());
    match placement {
        Placement::Inline => txn.put(&key, &bytes),
        Placement::Payload => txn.put_payload(&key, bytes),
    }
    Ok(seq)
}

/// The mailbox of a line, and the envelope with this content under this number, as it leaves.
fn wrapped(
    txn: &mut Txn<'_>,
    line: Line,
    record: &PairingRecord,
    seq: Seq,
    kind: Kind,
    content: &[u8],
) -> Result<(SendId, Vec<u8>), JournalError> {
    let InboxHead { cursor, digest } = txn.row(&keys::inbox_head(line))?.unwrap_or_default();
    let mailbox = record
        .line(line.channel)
        .ok_or(JournalError::NoGroup(line))?
        .send;
    let place = Place {
        mailbox: &mailbox,
        seq,
    };
    let held = Held {
        seq: cursor,
        digest,
    };
    let (key, tag_key) = (&record.send_key, &record.tag_key);
    let told_apart = kind == Kind::Cover
        && mutant!(
            "cover_in_its_own_size",
            "S1",
            "a cover leaves as short as it is, and by that it is told from what holds something"
        );
    let envelope = match txn.journal().sends_in_full_size(line.channel) && !told_apart {
        true => wrap::wrap_in_full_size(key, tag_key, place, kind, held, content, txn.dice()),
        false => wrap::wrap(key, tag_key, place, kind, held, content, txn.dice()),
    };
    Ok((mailbox, envelope))
}

/// The part of envelopes `first..=last` of one clip that is not acked and that no statement explains:
/// what a new statement has to cover. Statements of a clip were made from its end towards its
/// beginning, so it is one range before the first of them.
pub(crate) fn unexplained(
    txn: &Txn<'_>,
    line: Line,
    (first, last): (Seq, Seq),
) -> Result<Option<(Seq, Seq)>, JournalError> {
    let first = first.max(next_seq(row(txn, line)?.acked));
    let mut end = last;
    while first <= end {
        let Some(bytes) = txn.get(&keys::outbox(line, end))? else {
            break;
        };
        let Some(statement) = txn.journal().own_statement(line, end, &bytes)? else {
            break;
        };
        end = Seq(statement.first.saturating_sub(1));
    }
    Ok((first <= end).then_some((first, end)))
}

/// Puts a statement in the place of envelopes `first..=last`: it takes the number `last`, the rest
/// are dead, and become a hole before it that it explains. At the end, because the other side may hold some of
/// the first ones already, and a relay that has forgotten them gives it nothing but what follows.
pub(crate) fn replace(
    txn: &mut Txn<'_>,
    line: Line,
    record: &PairingRecord,
    (first, last): (Seq, Seq),
    content: &[u8],
) -> Result<(), JournalError> {
    let (mailbox, envelope) = wrapped(txn, line, record, last, Kind::Statement, content)?;
    let digest = Digest::of(&envelope);
    let mut head = row(txn, line)?;
    // The statement takes the last one's row at once; the others are dead from now on.
    remove(txn, line, last, last);
    head.kill(first, Seq(last.0.saturating_sub(1)));
    note_with!(keys::outbox(line, last); "replace {} {last} {}", mailbox.to_text(), digest.to_text());
    let bytes = wrap::stored(envelope, content.len());
    txn.put(&keys::outbox(line, last), &bytes);
    if head.last == last {
        // A clip ends with its trailer, which is small and has its digest.
        head.replaced_digest = head.last_digest;
        head.last_digest = Some(digest);
    }
    txn.put_row(&keys::outbox_head(line), &head)
}

/// The deliberate bug `dropped_unsaid`: envelopes `first..=last` are dead, and nothing explains that.
#[allow(dead_code, reason = "Only a build with crash points calls it.")]
pub(crate) fn forget(
    txn: &mut Txn<'_>,
    line: Line,
    (first, last): (Seq, Seq),
) -> Result<(), JournalError> {
    let mut head = row(txn, line)?;
    head.kill(first, last);
    txn.put_row(&keys::outbox_head(line), &head)
}

/// The deliberate bug `new_commit_after_restart`: what the other side has not acked is forgotten, as
/// if nobody could have it.
#[allow(dead_code, reason = "Only a build with crash points calls it.")]
pub(crate) fn forget_unacked(txn: &mut Txn<'_>, line: Line) -> Result<(), JournalError> {
    let mut head = row(txn, line)?;
    remove(txn, line, next_seq(head.acked), head.last);
    let acked = head.acked;
    head.dead.retain(|(first, _)| *first <= acked);
    head.last = acked;
    txn.put_row(&keys::outbox_head(line), &head)
}

/// The number that the next [`append`] will give.
pub(crate) fn upcoming(txn: &Txn<'_>, line: Line) -> Result<Seq, JournalError> {
    Ok(next_seq(row(txn, line)?.last))
}

/// Removes rows `first..=last`, wherever they lie.
fn remove(txn: &mut Txn<'_>, line: Line, first: Seq, last: Seq) {
    for seq in first.0..=last.0 {
        let key = keys::outbox(line, Seq(seq));
        txn.delete(&key);
        txn.delete_payload(&key);
    }
}

/// Moves the watermark, and removes some of the dead rows. An ack that is older than the watermark,
/// or beyond our head, does not move it.
pub(crate) fn acked(
    txn: &mut Txn<'_>,
    line: Line,
    through: Seq,
) -> Result<Watermark, JournalError> {
    let mut head = row(txn, line)?;
    if through > head.last {
        return Ok(Watermark::BeyondOurHead);
    }
    if through <= head.acked {
        txn.trim_outbox(line)?;
        return Ok(Watermark::Unmoved);
    }
    if through == head.last && head.last_digest.is_none() {
        head.last_digest = txn.journal().stored_digest(line, head.last)?;
    }
    head.kill(next_seq(head.acked), through);
    head.acked = through;
    head.trim(txn, line);
    txn.put_row(&keys::outbox_head(line), &head)?;
    Ok(Watermark::Moved)
}

/// What an ack did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Watermark {
    Moved,
    Unmoved,
    /// The other side holds what we never sent, or what we have forgotten: we are the older copy.
    BeyondOurHead,
}

fn next_seq(seq: Seq) -> Seq {
    Seq(seq.0 + 1)
}

impl Txn<'_> {
    /// [`Journal::outbox_head`], as the transaction sees it.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn outbox_head(&self, line: Line) -> Result<OutboxHead, JournalError> {
        let Row { last, acked, .. } = row(self, line)?;
        Ok(OutboxHead { last, acked })
    }

    /// Removes dead rows of a line's outbox, at most [`TRIM_ROWS_MAX`]. A crash between two steps
    /// costs nothing: what is left to remove is in the head row.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn trim_outbox(&mut self, line: Line) -> Result<Trim, JournalError> {
        let mut head = row(self, line)?;
        if head.dead.is_empty() {
            return Ok(Trim::Idle);
        }
        head.trim(self, line);
        self.put_row(&keys::outbox_head(line), &head)?;
        Ok(match head.dead.is_empty() {
            true => Trim::Done,
            false => Trim::More,
        })
    }
}

impl Journal {
    /// Head and watermark of a line.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn outbox_head(&self, line: Line) -> Result<OutboxHead, JournalError> {
        let Row { last, acked, .. } = self.outbox_row(line)?;
        Ok(OutboxHead { last, acked })
    }

    fn outbox_row(&self, line: Line) -> Result<Row, JournalError> {
        Ok(self.row(&keys::outbox_head(line))?.unwrap_or_default())
    }

    /// The first durable envelope after `after`, if there is one: what to send next. Passes what is
    /// acked, whether its rows are still there or not, and the holes that dropped clips leave.
    ///
    /// # Errors
    /// [`JournalError::EnvelopeDamaged`] if its bytes on disk are bad, or if it is gone though
    /// nothing explains that (its log file was lost, and the view was made anew): drop its clip.
    pub fn outbox_next(
        &self,
        line: Line,
        after: Seq,
    ) -> Result<Option<(Seq, Durable<Envelope>)>, JournalError> {
        self.alive()?;
        let row = self.outbox_row(line)?;
        let wanted = row.living_from(next_seq(after));
        if wanted > row.last {
            return Ok(None);
        }
        let seq = match self.has_row(line, wanted)? {
            true => wanted,
            // INVARIANT: a number that is not dead has a row, or the next statement explains it. It
            // must not be passed otherwise: the other side would wait at the gap for ever.
            false => self
                .statement_over(line, &row, wanted)?
                .ok_or(JournalError::EnvelopeDamaged { line, seq: wanted })?,
        };
        let key = keys::outbox(line, seq);
        let stored = match self.durable_small(&key)? {
            Some(bytes) => Some(bytes),
            None => match self.wal.durable_payload(&key) {
                Err(wal::WalError::PayloadDamaged { .. }) => {
                    return Err(JournalError::EnvelopeDamaged { line, seq });
                }
                other => other?,
            },
        };
        // A row that is staged but not yet synced is not sent.
        let Some(stored) = stored else {
            return Ok(None);
        };
        let envelope = self.durable_envelope(line, seq, stored)?;
        let envelope = envelope.ok_or(JournalError::EnvelopeDamaged { line, seq })?;
        Ok(Some((seq, envelope)))
    }

    /// Whether a row lies under this number, staged ones included.
    fn has_row(&self, line: Line, seq: Seq) -> Result<bool, JournalError> {
        let key = keys::outbox(line, seq);
        Ok(!self.wal.scan_payloads(&key, &key, 1)?.is_empty()
            || !self.wal.scan(&key, &key, 1)?.is_empty())
    }

    /// The statement whose range contains `gone`, which has no row: only the next living row can be.
    fn statement_over(
        &self,
        line: Line,
        row: &Row,
        gone: Seq,
    ) -> Result<Option<Seq>, JournalError> {
        let mut from = gone;
        let seq = loop {
            match self.first_row(line, from)? {
                None => return Ok(None),
                // Each turn passes one dead range.
                Some(seq) if row.is_dead(seq) => from = row.living_from(seq),
                Some(seq) => break seq,
            }
        };
        let Some(bytes) = self.wal.get(&keys::outbox(line, seq))? else {
            return Ok(None);
        };
        let statement = self.own_statement(line, seq, &bytes)?;
        Ok(statement
            .is_some_and(|statement| statement.first <= gone.0)
            .then_some(seq))
    }

    /// The statement that an envelope of ours is, if it is one.
    fn own_statement(
        &self,
        line: Line,
        seq: Seq,
        bytes: &[u8],
    ) -> Result<Option<Statement>, JournalError> {
        let body = self.own_body(line, seq, bytes)?;
        Ok(body
            .filter(|body| body.kind == Kind::Statement)
            .and_then(|body| message::decode::<SignedStatement>(&body.content))
            .map(|signed| signed.statement))
    }

    /// The first number from `from` on under which a row lies, dead or not.
    fn first_row(&self, line: Line, from: Seq) -> Result<Option<Seq>, JournalError> {
        let prefix = keys::outbox_prefix(line);
        let from = keys::outbox(line, from);
        let small = self.wal.scan(&prefix, &from, 1)?;
        let large = self.wal.scan_payloads(&prefix, &from, 1)?;
        let small = small.first().and_then(|(key, _)| keys::outbox_seq(key));
        let large = large.first().and_then(|(key, _)| keys::outbox_seq(key));
        Ok(match (small, large) {
            (None, seq) | (seq, None) => seq,
            (Some(a), Some(b)) => Some(a.min(b)),
        })
    }

    /// The first and the last number under which a row lies, dead or not.
    fn stored_range(&self, line: Line) -> Result<Option<(Seq, Seq)>, JournalError> {
        const PAGE: usize = 256;
        let Some(first) = self.first_row(line, Seq(1))? else {
            return Ok(None);
        };
        let prefix = keys::outbox_prefix(line);
        let small = crate::journal::scan_all(&self.wal, &prefix)?;
        let last_small = small.last().and_then(|(key, _)| keys::outbox_seq(key));
        let mut last = first.max(last_small.unwrap_or(first));
        let mut from = keys::outbox(line, first);
        loop {
            let page = self.wal.scan_payloads(&prefix, &from, PAGE)?;
            let Some((key, _)) = page.last() else {
                return Ok(Some((first, last)));
            };
            last = last.max(keys::outbox_seq(key).unwrap_or(last));
            from.clone_from(key);
            from.push(0);
        }
    }

    /// How much waits for the other side's ack: envelopes and bytes.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub fn outbox_waiting(&self, line: Line) -> Result<(u64, u64), JournalError> {
        const PAGE: usize = 256;
        let row = self.outbox_row(line)?;
        let lives = |key: &[u8]| keys::outbox_seq(key).is_some_and(|seq| !row.is_dead(seq));
        let prefix = keys::outbox_prefix(line);
        let mut small = crate::journal::scan_all(&self.wal, &prefix)?;
        small.retain(|(key, _)| lives(key));
        let mut count = small.len() as u64;
        let mut bytes = small.iter().map(|(_, value)| value.len() as u64).sum();
        let mut from = keys::outbox(line, next_seq(row.acked));
        loop {
            let page = self.wal.scan_payloads(&prefix, &from, PAGE)?;
            for (_, length) in page.iter().filter(|(key, _)| lives(key)) {
                count += 1;
                bytes += u64::from(*length);
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => {
                    from.clone_from(key);
                    from.push(0);
                }
                _ => return Ok((count, bytes)),
            }
        }
    }
}
