//! Mailboxes, accounts and used invitations, kept in the log engine.
//!
//! One thread owns a [`MailboxStore`]. It stages what it decides and says so in types: a
//! [`Receipt`] can only be made from a mailbox row that a sync has covered. This room must
//! never answer "stored" before that, never look inside an envelope, and never know the name of
//! anything: a mailbox is a hash, an account is a key.

use std::collections::BTreeSet;

use bytes::Bytes;
use wal::{Committed, Priority, RecoveryReport, Staged, Txn, Wal, WalError, crash_point};
use wire::envelope::Size;
use wire::mailbox::{Mailbox, Verdict};
use wire::{Class, DeviceId, Digest, Head, ReceiveState, SendId, SendState, Seq};

mod answer;
mod gather;
mod guests;
mod invites;
mod mask;
mod quota;
mod removal;
mod rows;
#[cfg(test)]
mod tests;

pub use answer::{
    AppendAnswer, PendingAppend, Progress, ReadAnswer, Receipt, Redeemed, Revoked, TakenBack, Usage,
};
pub use quota::{Quota, Quotas, envelope_disk_bytes};

use gather::Gather;
use mask::Mask;
use rows::{AccountRow, Charge, MailboxRow, account_key, envelope_key, mailbox_key};

/// Envelopes that one read hands out.
const READ_ENVELOPES_MAX: usize = 64;
/// Accounts that a start reads at a time.
const PAGE_ROWS: usize = 512;
/// Staged bytes after which a batch is committed without waiting for more, if the log files are
/// large enough; see [`MailboxStore::batch_bytes_max`].
const BATCH_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Sums over all accounts, kept so that neither `status` nor the gathering reads all rows. What
/// is staged counts already; when it is not committed, the store is opened anew.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    accounts: u64,
    mailboxes: u64,
    held: Charge,
}

/// The store of one relay.
pub struct MailboxStore {
    wal: Wal,
    quotas: Quotas,
    batch_bytes_max: u64,
    totals: Totals,
    gather: Gather,
    mask: Mask,
    /// Where the search for expired invitations goes on.
    sweep_from: Vec<u8>,
    lost: Vec<SendId>,
    /// Lost, and not emptied yet because the disk is full.
    losing: BTreeSet<SendId>,
}

impl MailboxStore {
    /// Takes over an opened engine. If recovery found payloads missing, mailboxes that no
    /// longer hold what their row counts are emptied, so that their senders fill them again.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn new(
        wal: Wal,
        report: &RecoveryReport,
        quotas: Quotas,
    ) -> Result<MailboxStore, WalError> {
        let mut wal = wal;
        let mask = Mask::of(&mut wal)?;
        let batch_bytes_max = BATCH_BYTES_MAX.min(wal.options().batch_bytes_max() / 2);
        let mut store = MailboxStore {
            wal,
            quotas,
            batch_bytes_max,
            totals: Totals::default(),
            gather: Gather::default(),
            mask,
            sweep_from: rows::INVITE.to_vec(),
            lost: Vec::new(),
            losing: BTreeSet::new(),
        };
        store.count_accounts()?;
        store.finish_losses()?;
        if report.lost_payloads > 0 {
            store.drop_incomplete_mailboxes()?;
        }
        let _durable = store.wal.commit()?;
        Ok(store)
    }

    fn count_accounts(&mut self) -> Result<(), WalError> {
        let mut from = rows::ACCOUNT.to_vec();
        loop {
            let page = self.wal.scan(rows::ACCOUNT, &from, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            from = rows::after(last);
            for (_, value) in page {
                let account = AccountRow::decode(value);
                self.totals.accounts += 1;
                self.totals.mailboxes += u64::from(account.mailboxes);
                self.totals.held.merge(account.held);
            }
        }
    }

    /// Stages a transaction; what is staged already is committed first if the batch is full.
    ///
    /// A batch is full at half of what the engine takes, and no transaction is larger than the
    /// other half, so the engine never has to refuse one. Answers of the batch that wait for
    /// their commit are covered by the next one as well.
    fn stage<T>(&mut self, txn: Txn, value: T) -> Result<Staged<T>, WalError> {
        if self.is_batch_full() {
            let _covered_again = self.commit()?;
        }
        self.wal.stage(txn, value)
    }

    /// Decides about an append and stages it. The answer is [`MailboxStore::answer`] after
    /// [`MailboxStore::commit`].
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn append(
        &mut self,
        (account, class): (DeviceId, Class),
        mailbox: SendId,
        seq: Seq,
        after: Seq,
        digest: Digest,
        envelope: &Bytes,
    ) -> Result<PendingAppend, WalError> {
        let row = self.mailbox(&mailbox)?;
        let known = row.as_ref().map(MailboxRow::state).unwrap_or_default();
        let mut damaged = None;
        let verdict = known.append(seq, after, digest, |seq| {
            match self.wal.payload(&envelope_key(&mailbox, seq)) {
                Ok(stored) => stored.map(|bytes| Digest::of(&self.mask.turn(bytes))),
                Err(error) => {
                    damaged = Some(error);
                    None
                }
            }
        });
        match damaged {
            // What cannot be read cannot be compared: the sender looks again and resends.
            Some(WalError::PayloadDamaged { .. }) => self.lose(&mailbox)?,
            Some(error) => return Err(error),
            None => {}
        }
        if self.is_losing(&mailbox) {
            let size = Size::of(envelope.len());
            return Ok(PendingAppend::Refused(AppendAnswer::OverQuota(size)));
        }
        match verdict {
            Verdict::Store {
                mailbox: next,
                superseded,
            } => self.store((account, class), mailbox, row, next, superseded, envelope),
            Verdict::Duplicate => Ok(PendingAppend::Duplicate(mailbox, Head { seq, digest })),
            Verdict::Conflict { stored } => {
                Ok(PendingAppend::Refused(AppendAnswer::Conflict(stored)))
            }
            Verdict::NotNext { head } => Ok(PendingAppend::Refused(AppendAnswer::NotNext(head))),
        }
    }

    fn store(
        &mut self,
        (sender, class): (DeviceId, Class),
        mailbox: SendId,
        row: Option<MailboxRow>,
        next: Mailbox,
        superseded: Option<Seq>,
        envelope: &Bytes,
    ) -> Result<PendingAppend, WalError> {
        let refused = |answer| Ok(PendingAppend::Refused(answer));
        let size = Size::of(envelope.len());
        let bytes = envelope.len() as u64;
        let new_mailbox = row.is_none();
        let mut row = row.unwrap_or_else(|| MailboxRow::new(sender));
        let (mut account, new_account) = self.account(&row.payer, class)?;
        if row.payer == sender {
            account.set_class(class);
        }
        let quota = *self.quotas.of(account.class());
        if new_mailbox && account.mailboxes >= quota.mailboxes {
            return refused(AppendAnswer::TooManyMailboxes);
        }
        let mut freed = Charge::default();
        if let Some(seq) = superseded
            && let Some(bytes) = self.envelope_bytes(&mailbox, seq)?
        {
            freed.add(bytes);
        }
        let mut added = Charge::default();
        added.add(bytes);
        for held in [&mut row.held, &mut account.held] {
            held.sub(freed);
            held.merge(added);
        }
        let limit = match size {
            Size::Small => quota.account_bytes,
            Size::Bulk => quota.account_bytes.saturating_sub(quota.reserved_bytes),
        };
        if account.held.disk_bytes > limit {
            return refused(AppendAnswer::OverQuota(size));
        }
        let priority = match size {
            Size::Small => Priority::Epoch,
            Size::Bulk => Priority::Bulk,
        };
        match self.wal.admit_or_relieve(added.disk_bytes, priority) {
            Err(WalError::Space { .. }) => return refused(AppendAnswer::OverQuota(size)),
            other => other?,
        }

        let Some(head) = next.last else {
            panic!("a stored envelope is the last of its mailbox");
        };
        row.last = Some(head);
        account.mailboxes += u32::from(new_mailbox);
        let mut txn = Txn::new();
        if let Some(seq) = superseded {
            txn.delete_payload(envelope_key(&mailbox, seq));
        }
        let masked = self.mask.turn(envelope.to_vec());
        txn.put_payload(envelope_key(&mailbox, head.seq), masked);
        txn.put(mailbox_key(&mailbox), row.encode());
        txn.put(account_key(&row.payer), account.encode());
        wal::note_with!(
            envelope_key(&mailbox, head.seq);
            "stored {} {} {}",
            mailbox.to_text(),
            head.seq,
            head.digest.to_text()
        );
        // CRASH(relay.append.before_stage): before: nothing of this envelope; its sender has no receipt
        // and sends it again | after: it is synced with its batch.
        crash_point!("relay.append.before_stage");
        match self.stage(txn, row) {
            Ok(staged) => {
                self.totals.accounts += u64::from(new_account);
                self.totals.mailboxes += u64::from(new_mailbox);
                self.totals.held.sub(freed);
                self.totals.held.merge(added);
                Ok(PendingAppend::Staged(mailbox, staged, head))
            }
            // Others of this batch took the space that was there a moment ago.
            Err(WalError::Space { .. }) => {
                wal::note_forget!();
                refused(AppendAnswer::OverQuota(size))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes everything staged durable with one sync.
    ///
    /// # Errors
    /// A [`WalError`]; after one of kind `Poisoned` the store must be dropped and reopened.
    pub fn commit(&mut self) -> Result<Committed, WalError> {
        // CRASH(relay.batch.before_commit): before: nothing of the batch; no sender has a receipt |
        // after: it is synced.
        crash_point!("relay.batch.before_commit");
        wal::mutant!("relay_receipt_before_sync", "C4", "the relay gives receipts before its sync" => {
            self.wal.begin_commit()?;
            return Ok(self.wal.believed());
        });
        let committed = self.wal.commit()?;
        // CRASH(relay.batch.after_sync): before: the batch is synced and nobody knows; senders who come
        // back are shown the head | after: the same, and the receipts are made.
        crash_point!("relay.batch.after_sync");
        Ok(committed)
    }

    /// The answer to an append of the batch that `committed` covers.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn answer(
        &self,
        committed: &Committed,
        pending: PendingAppend,
    ) -> Result<AppendAnswer, WalError> {
        let (mailbox, row, head) = match pending {
            PendingAppend::Refused(answer) => return Ok(answer),
            PendingAppend::Staged(mailbox, staged, head) => {
                (mailbox, Some(committed.redeem(staged)), head)
            }
            PendingAppend::Duplicate(mailbox, head) => (mailbox, None, head),
        };
        if self.is_losing(&mailbox) {
            return Ok(AppendAnswer::NotNext(None));
        }
        // What is durable now says more than what was staged, if the mailbox was emptied in
        // between: then only its very last envelope is known to lie there.
        let lost = self.lost.contains(&mailbox);
        let row = match row {
            Some(row) if !lost => Some(row),
            _ => {
                let row = self.wal.durable_get(&mailbox_key(&mailbox))?;
                row.map(|row| row.map(MailboxRow::decode))
            }
        };
        let last = row.as_ref().and_then(|row| row.last);
        let receipt = row
            .as_ref()
            .filter(|_| !lost || last == Some(head))
            .and_then(|row| Receipt::covered_by(row, head));
        Ok(receipt.map_or(AppendAnswer::NotNext(last), AppendAnswer::Receipt))
    }

    /// What a writer is shown on attach. A mailbox whose last envelope is gone is emptied
    /// first: it could prove nothing any more.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn send_state(&mut self, mailbox: &SendId) -> Result<SendState, WalError> {
        Ok(self.checked(mailbox)?.send_state())
    }

    /// What a reader is shown on attach.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn receive_state(&mut self, mailbox: &SendId) -> Result<ReceiveState, WalError> {
        let state = self.checked(mailbox)?;
        if self.is_losing(mailbox) {
            return Ok(state.receive_state(Seq::NONE));
        }
        let prefix = rows::envelope_prefix(mailbox);
        let first = self.wal.scan_payloads(&prefix, &prefix, 1)?;
        let first = first
            .first()
            .map_or(Seq::NONE, |(key, _)| rows::envelope_seq(key));
        Ok(state.receive_state(first))
    }

    fn checked(&mut self, mailbox: &SendId) -> Result<Mailbox, WalError> {
        if self.is_losing(mailbox) {
            return Ok(Mailbox::default());
        }
        let Some(row) = self.mailbox(mailbox)? else {
            return Ok(Mailbox::default());
        };
        let last = row.last.map_or(Seq::NONE, |last| last.seq);
        let key = envelope_key(mailbox, last);
        let found = self.wal.scan_payloads(&key, &key, 1)?;
        if found.is_empty() {
            self.lose(mailbox)?;
            return Ok(Mailbox::default());
        }
        Ok(row.state())
    }

    /// Durable envelopes behind `cursor`, at most about `bytes_max` of them.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn read(
        &mut self,
        mailbox: &SendId,
        cursor: Seq,
        bytes_max: usize,
    ) -> Result<ReadAnswer, WalError> {
        if self.is_losing(mailbox) {
            return Ok(ReadAnswer::Envelopes(Vec::new()));
        }
        let prefix = rows::envelope_prefix(mailbox);
        let from = envelope_key(mailbox, cursor.next());
        let found = self.wal.scan_payloads(&prefix, &from, READ_ENVELOPES_MAX)?;
        let mut out = Vec::new();
        let mut total = 0;
        for (key, _) in found {
            match self.wal.durable_payload(&key) {
                Ok(Some(envelope)) => {
                    let envelope = Bytes::from(self.mask.turn(envelope.into_inner()));
                    total += envelope.len();
                    out.push((rows::envelope_seq(&key), envelope));
                }
                // Staged by the batch under way: it comes with the next read.
                Ok(None) => break,
                Err(WalError::PayloadDamaged { .. }) => {
                    self.lose(mailbox)?;
                    return Ok(ReadAnswer::Lost);
                }
                Err(error) => return Err(error),
            }
            if total >= bytes_max {
                break;
            }
        }
        wal::mutant!("relay_deletes_early", "C1", "the relay forgets what it has handed out" => {
            if let Some((last, _)) = out.last() {
                let _progress = self.trim(mailbox, *last)?;
            }
        });
        Ok(ReadAnswer::Envelopes(out))
    }

    /// The stored bytes of one envelope, if they are there and durable.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn fetch(&self, mailbox: &SendId, seq: Seq) -> Result<Option<Bytes>, WalError> {
        if self.is_losing(mailbox) {
            return Ok(None);
        }
        match self.wal.durable_payload(&envelope_key(mailbox, seq)) {
            Ok(envelope) => {
                Ok(envelope.map(|bytes| Bytes::from(self.mask.turn(bytes.into_inner()))))
            }
            Err(WalError::PayloadDamaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Figures for `status`.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let stats = self.wal.stats();
        Usage {
            accounts: self.totals.accounts,
            mailboxes: self.totals.mailboxes,
            envelope_bytes: self.totals.held.bytes,
            quota_bytes: self.totals.held.disk_bytes,
            syncs: stats.syncs,
            log_files: stats.files,
            free_log_files: stats.free_files,
            log_file_bytes: self.wal.options().log_file_bytes,
        }
    }

    /// Mailboxes that were lost since the last call, because they were damaged on disk.
    /// Their senders must be told, or nobody would fill them again.
    #[must_use]
    pub fn take_lost(&mut self) -> Vec<SendId> {
        std::mem::take(&mut self.lost)
    }

    /// Staged bytes at which a batch is to be committed: half of what the engine takes.
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        self.batch_bytes_max
    }

    /// Whether a batch is to be committed before more is staged.
    #[must_use]
    pub fn is_batch_full(&self) -> bool {
        self.staged_bytes() >= self.batch_bytes_max
    }

    /// Bytes that are staged and not yet committed.
    #[must_use]
    pub fn staged_bytes(&self) -> u64 {
        self.wal.staged_bytes()
    }

    fn mailbox(&self, mailbox: &SendId) -> Result<Option<MailboxRow>, WalError> {
        let row = self.wal.get(&mailbox_key(mailbox))?;
        Ok(row.map(MailboxRow::decode))
    }

    /// The row of an account, and whether it is new. `class` is that of an account which is
    /// seen for the first time.
    fn account(&self, device: &DeviceId, class: Class) -> Result<(AccountRow, bool), WalError> {
        let row = self.wal.get(&account_key(device))?;
        let new = row.is_none();
        let row = row.map_or_else(|| AccountRow::new(class), AccountRow::decode);
        Ok((row, new))
    }

    fn envelope_bytes(&self, mailbox: &SendId, seq: Seq) -> Result<Option<u64>, WalError> {
        let key = envelope_key(mailbox, seq);
        let found = self.wal.scan_payloads(&key, &key, 1)?;
        Ok(found.first().map(|(_, bytes)| u64::from(*bytes)))
    }
}
