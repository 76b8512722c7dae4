//! What a line that has ended leaves behind: its rows, removed in steps.
//!
//! A pairing ends in one transaction, which takes its keys with it; what its outbox holds may be more
//! than a transaction can remove. This room never touches a line that lives.

use super::{Trim, next_seq, row};
use crate::error::JournalError;
use crate::ids::Line;
use crate::keys;
use crate::scope::Scope;
use crate::txn::Txn;

/// Everything in the outbox of a line that ends in this transaction is dead: some of it goes at
/// once, the rest by [`Txn::trim_ended`].
pub(crate) fn end(txn: &mut Txn<'_>, line: Line) -> Result<(), JournalError> {
    let mut head = row(txn, line)?;
    head.kill(next_seq(head.acked), head.last);
    head.acked = head.last;
    txn.put_row(&keys::outbox_head(line), &head)?;
    txn.put(&keys::ended_line(line), &[]);
    remove_some(txn, line)
}

/// Removes dead rows, and with the last of them all that was known of the line.
fn remove_some(txn: &mut Txn<'_>, line: Line) -> Result<(), JournalError> {
    let mut head = row(txn, line)?;
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
        keys::ended_line(line),
    ] {
        txn.delete(&key);
    }
    Ok(())
}

impl Txn<'_> {
    /// Removes more rows of what lines left that have ended. A crash between two steps costs
    /// nothing.
    ///
    /// # Errors
    /// If what is left to remove cannot be read.
    pub fn trim_ended(&mut self) -> Result<Trim, JournalError> {
        let Some(key) = self.first(keys::ENDED_LINES)? else {
            return Ok(Trim::Idle);
        };
        let line = keys::ended_line_of(&key).ok_or(JournalError::ValueDamaged {
            scope: Scope::Device,
            what: "row of a line that has ended",
        })?;
        remove_some(self, line)?;
        Ok(match self.first(keys::ENDED_LINES)? {
            Some(_) => Trim::More,
            None => Trim::Done,
        })
    }
}
