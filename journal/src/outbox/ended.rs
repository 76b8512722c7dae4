//! What a pairing that has ended leaves behind: its rows and those of its lines, removed in steps.
//!
//! A pairing ends in one transaction, which takes its keys with it; what its outbox holds, and the
//! clips that it knows, may be more than a transaction can remove. This room never touches a line that
//! lives.

use super::{Row, Trim, next_seq, row};
use crate::error::{ErrorKind, JournalError};
use crate::ids::Line;
use crate::keys;
use crate::scope::Scope;
use crate::txn::Txn;

/// Everything in the outbox of a line that ends in this transaction is dead: some of it goes at
/// once, the rest by [`Txn::trim_ended`].
pub(crate) fn end(txn: &mut Txn<'_>, line: Line) -> Result<(), JournalError> {
    end_in_steps(txn, line)?;
    remove_some(txn, line)
}

/// Everything in the outbox of a line that ends in this transaction is dead, and goes by
/// [`Txn::trim_ended`].
pub(crate) fn end_in_steps(txn: &mut Txn<'_>, line: Line) -> Result<(), JournalError> {
    let mut head = readable_row(txn, line)?;
    head.kill(next_seq(head.acked), head.last);
    head.acked = head.last;
    txn.put_row(&keys::outbox_head(line), &head)?;
    txn.put(&keys::ended(Scope::Group(line)), &[]);
    Ok(())
}

/// The head row of a line that ends; if it is damaged, one that counts whatever lies there as dead.
fn readable_row(txn: &Txn<'_>, line: Line) -> Result<Row, JournalError> {
    match row(txn, line) {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let mut found = Row::default();
            if let Some((first, last)) = txn.journal().stored_range(line)? {
                found.kill(first, last);
                (found.last, found.acked) = (last, last);
            }
            Ok(found)
        }
        row => row,
    }
}

/// Removes dead rows, and with the last of them all that was known of the line.
fn remove_some(txn: &mut Txn<'_>, line: Line) -> Result<(), JournalError> {
    let mut head = readable_row(txn, line)?;
    head.trim(txn, line);
    if !head.dead.is_empty() {
        return txn.put_row(&keys::outbox_head(line), &head);
    }
    for key in [
        keys::outbox_head(line),
        keys::rollback_proof(line),
        keys::inbox_head(line),
        keys::ack_sent(line),
        keys::epoch_use(line),
        keys::heals(line),
        keys::asked_again(line),
        // One each for the whole pairing, which has ended in the same transaction as this line.
        keys::phone_heard(line.pairing),
        keys::settings_said(line.pairing),
        keys::added_said(line.pairing),
        keys::unheard(line.pairing),
        keys::ended(Scope::Group(line)),
    ] {
        txn.delete(&key);
    }
    // A phone's own.
    for key in [
        keys::line_break(line),
        keys::line_keys(line),
        keys::heartbeat(line.pairing),
    ] {
        if txn.get(&key)?.is_some() {
            txn.delete(&key);
        }
    }
    Ok(())
}

impl Txn<'_> {
    /// Removes more rows of what pairings and their lines left that have ended. A crash between two
    /// steps costs nothing.
    ///
    /// # Errors
    /// If what is left to remove cannot be read.
    pub fn trim_ended(&mut self) -> Result<Trim, JournalError> {
        let Some(key) = self.first(keys::ENDED)? else {
            return Ok(Trim::Idle);
        };
        match keys::ended_scope(&key) {
            Some(Scope::Group(line)) => remove_some(self, line)?,
            Some(pairing @ Scope::Pairing(_)) => self.remove_values(pairing)?,
            _ => {
                return Err(JournalError::ValueDamaged {
                    scope: Scope::Device,
                    what: "row of a scope that has ended",
                });
            }
        }
        Ok(match self.first(keys::ENDED)? {
            Some(_) => Trim::More,
            None => Trim::Done,
        })
    }
}
