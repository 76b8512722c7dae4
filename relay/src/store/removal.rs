//! Taking envelopes away: trims, damaged mailboxes, and what a start finds incomplete.
//!
//! Every removal is a row of transactions of bounded size; a crash between two of them leaves a
//! state from which the next start, or the next trim of the reader, goes on. This room must
//! never remove the last envelope of a mailbox that is not lost: it is evidence (scenario 19). It
//! must never stop the relay because a full disk has no room for a removal.

use wal::{Txn, WalError, crash_point};
use wire::{Class, SendId, Seq};

use super::MailboxStore;
use super::answer::Progress;
use super::rows::{self, MailboxRow, account_key, envelope_key, lost_key, mailbox_key};

/// Envelopes that one transaction removes.
pub(super) const REMOVED_ENVELOPES_MAX: usize = 512;
/// Rows that a start reads at a time.
const PAGE_ROWS: usize = 512;

impl MailboxStore {
    /// Stages one step of the removal of what the reader holds, except the last envelope: at
    /// most 512 envelopes, one transaction. Call again while it says [`Progress::More`].
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn trim(&mut self, mailbox: &SendId, through: Seq) -> Result<Progress, WalError> {
        if self.is_losing(mailbox) {
            return Ok(Progress::Done);
        }
        let Some(mut row) = self.mailbox(mailbox)? else {
            return Ok(Progress::Done);
        };
        let Some(plan) = row.state().trim(through) else {
            return Ok(Progress::Done);
        };
        // Nothing lies below what was trimmed before, except removed rows, which a scan from the
        // beginning would have to step over each time.
        let found = self.wal.scan_payloads(
            &rows::envelope_prefix(mailbox),
            &envelope_key(mailbox, row.trimmed_through.next()),
            REMOVED_ENVELOPES_MAX,
        )?;
        let full = found.len() == REMOVED_ENVELOPES_MAX;
        let all = wal::mutant!(
            "relay_keeps_no_evidence",
            "C8",
            "the last envelope goes as well when it is acked"
        ) && !full
            && row.last.is_some_and(|last| last.seq <= plan.through);
        let (mut account, _) = self.account(&row.payer, Class::Phone)?;
        let mut freed = rows::Charge::default();
        let mut txn = Txn::new();
        let mut reached = Seq::NONE;
        for (key, bytes) in found {
            let seq = rows::envelope_seq(&key);
            if seq > plan.through {
                reached = plan.through;
                break;
            }
            reached = seq;
            if seq != plan.keep || all {
                txn.delete_payload(key);
                freed.add(u64::from(bytes));
            }
        }
        row.trimmed_through = if full { reached } else { plan.through };
        if all {
            (row.last, row.trimmed_through) = (None, Seq::NONE);
        }
        row.held.sub(freed);
        account.held.sub(freed);
        txn.put(mailbox_key(mailbox), row.encode());
        txn.put(account_key(&row.payer), account.encode());
        // CRASH(relay.trim.before_stage): before: nothing removed, or the steps before this one; the
        // reader trims again from its durable cursor | after: the envelopes of this step are gone.
        crash_point!("relay.trim.before_stage");
        let _no_answer = self.stage(txn, ())?;
        self.totals.held.sub(freed);
        if row.trimmed_through >= plan.through || all {
            Ok(Progress::Done)
        } else {
            Ok(Progress::More)
        }
    }

    /// Stages the end of a damaged mailbox: as if the relay had never had it. Both ends know
    /// that case well, it is what a wiped relay looks like. On a full disk it is shown as empty from
    /// now on and emptied when there is room ([`MailboxStore::go_on_losing`]).
    pub(super) fn lose(&mut self, mailbox: &SendId) -> Result<(), WalError> {
        if self.is_losing(mailbox) || self.mailbox(mailbox)?.is_none() {
            return Ok(());
        }
        tracing::warn!(mailbox = %mailbox.short(), "a stored envelope is damaged; its mailbox starts again");
        self.give_up(mailbox)
    }

    /// Stages the end of a mailbox that is there: damaged, or of no more use to anybody.
    pub(super) fn give_up(&mut self, mailbox: &SendId) -> Result<(), WalError> {
        self.lost.push(*mailbox);
        self.losing.insert(*mailbox);
        self.go_on_losing()
    }

    /// Whether a mailbox is lost and could not be emptied yet. It is shown as empty and takes
    /// nothing in: what is left of it may be half of it.
    pub(super) fn is_losing(&self, mailbox: &SendId) -> bool {
        self.losing.contains(mailbox)
    }

    /// Empties lost mailboxes that the full disk has kept; those that find no room stay for the next
    /// call. Nothing is lost with the memory of them: a start finds the same damage, or the row that
    /// says how far it came.
    ///
    /// # Errors
    /// A [`WalError`] of the engine, never of kind `Space`.
    pub fn go_on_losing(&mut self) -> Result<(), WalError> {
        let losing: Vec<SendId> = self.losing.iter().copied().collect();
        for mailbox in losing {
            let emptied = self.mark_lost(&mailbox).and_then(|()| self.empty(&mailbox));
            match emptied {
                Ok(()) => drop(self.losing.remove(&mailbox)),
                Err(WalError::Space { .. }) => {
                    // A smaller one may find room. Each batch comes by here.
                    tracing::debug!(mailbox = %mailbox.short(), "the disk is too full to empty a mailbox");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The first step of a loss: from now on even a start goes through with it. Half a mailbox
    /// would show its reader a gap that nobody ever fills.
    pub(super) fn mark_lost(&mut self, mailbox: &SendId) -> Result<(), WalError> {
        // Once: whoever waits for room must not use up what is left of it.
        if self.wal.get(&lost_key(mailbox))?.is_some() {
            return Ok(());
        }
        let mut txn = Txn::new();
        txn.put(lost_key(mailbox), []);
        let _no_answer = self.stage(txn, ())?;
        Ok(())
    }

    /// Stages the removal of everything in a mailbox, its row last.
    fn empty(&mut self, mailbox: &SendId) -> Result<(), WalError> {
        let prefix = rows::envelope_prefix(mailbox);
        let mut from = prefix.clone();
        loop {
            let found = self
                .wal
                .scan_payloads(&prefix, &from, REMOVED_ENVELOPES_MAX)?;
            let Some((last, _)) = found.last() else {
                break;
            };
            from = rows::after(last);
            let mut txn = Txn::new();
            for (key, _) in found {
                txn.delete_payload(key);
            }
            let _no_answer = self.stage(txn, ())?;
        }
        let mut txn = Txn::new();
        let row = self.mailbox(mailbox)?;
        if let Some(row) = &row {
            let (mut account, _) = self.account(&row.payer, Class::Phone)?;
            account.held.sub(row.held);
            account.mailboxes = account.mailboxes.saturating_sub(1);
            txn.delete(mailbox_key(mailbox));
            txn.put(account_key(&row.payer), account.encode());
        }
        txn.delete(lost_key(mailbox));
        let _no_answer = self.stage(txn, ())?;
        if let Some(row) = row {
            self.totals.held.sub(row.held);
            self.totals.mailboxes = self.totals.mailboxes.saturating_sub(1);
        }
        Ok(())
    }

    /// Goes on with mailboxes whose loss a crash, or the full disk, interrupted.
    pub(super) fn finish_losses(&mut self) -> Result<(), WalError> {
        let mut from = rows::LOST.to_vec();
        loop {
            let page = self.wal.scan(rows::LOST, &from, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else {
                return self.go_on_losing();
            };
            from = rows::after(last);
            let found = page
                .iter()
                .map(|(key, _)| rows::mailbox_of(key, rows::LOST));
            self.losing.extend(found);
        }
    }

    /// Ends mailboxes that no longer hold what their row counts.
    pub(super) fn drop_incomplete_mailboxes(&mut self) -> Result<(), WalError> {
        let mut from = rows::MAILBOX.to_vec();
        loop {
            let page = self.wal.scan(rows::MAILBOX, &from, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            from = rows::after(last);
            for (key, value) in page {
                let row = MailboxRow::decode(value);
                let mailbox = rows::mailbox_of(&key, rows::MAILBOX);
                if self.count_envelopes(&mailbox)? != row.held.envelopes {
                    self.lose(&mailbox)?;
                }
            }
        }
    }

    fn count_envelopes(&self, mailbox: &SendId) -> Result<u64, WalError> {
        let prefix = rows::envelope_prefix(mailbox);
        let mut from = prefix.clone();
        let mut count = 0;
        loop {
            let page = self.wal.scan_payloads(&prefix, &from, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else {
                return Ok(count);
            };
            count += page.len() as u64;
            from = rows::after(last);
        }
    }
}
