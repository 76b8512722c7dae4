//! Mailboxes, accounts and used invitations, kept in the log engine.
//!
//! One thread owns a [`MailboxStore`]. It stages what it decides and says so in types: a
//! [`Receipt`] can only be made from a mailbox row that a sync has covered. This room must
//! never answer "stored" before that, never look inside an envelope, and never know the name of
//! anything: a mailbox is a hash, an account is a key.

use bytes::Bytes;
use wal::{Committed, Durable, Priority, RecoveryReport, Staged, Txn, Wal, WalError, crash_point};
use wire::envelope::Size;
use wire::limits::{INVITATIONS_PER_DAY_MAX, MAILBOXES_PER_ACCOUNT_MAX};
use wire::mailbox::{Mailbox, Verdict};
use wire::{DeviceId, Digest, Head, ReceiveState, SendId, SendState, Seq};

mod rows;
#[cfg(test)]
mod tests;

use rows::{AccountRow, InviteRow, MailboxRow, account_key, envelope_key, invite_key, mailbox_key};

/// Envelopes that one transaction of a trim removes.
const TRIM_ENVELOPES_MAX: usize = 512;
/// Envelopes that one read hands out.
const READ_ENVELOPES_MAX: usize = 64;
/// Used invitations that one redemption looks at, to forget the expired ones.
const INVITE_SWEEP_MAX: usize = 64;
/// What an append costs in the log besides its envelope: records, rows, padding.
const APPEND_OVERHEAD_BYTES: u64 = 8 * 1024;
/// Rows that the figures of `status` count at most.
const STATUS_ROWS_MAX: usize = 100_000;

/// What one account may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of envelopes stored for it.
    pub account_bytes: u64,
    /// The part of `account_bytes` that only small envelopes may use.
    pub reserved_bytes: u64,
    /// Mailboxes that it fills.
    pub mailboxes: u32,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota {
            account_bytes: 2 << 30,
            reserved_bytes: 16 << 20,
            mailboxes: MAILBOXES_PER_ACCOUNT_MAX,
        }
    }
}

/// Proof that a mailbox holds everything through an envelope, synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Receipt(Head);

impl Receipt {
    /// The only way to a receipt: a durable row that reaches at least as far.
    fn covered_by(row: &Durable<MailboxRow>, head: Head) -> Receipt {
        assert!(
            row.last.is_some_and(|last| last.seq >= head.seq),
            "a receipt above the durable end of its mailbox"
        );
        Receipt(head)
    }

    /// What the receipt says.
    #[must_use]
    pub fn head(&self) -> Head {
        self.0
    }
}

/// The answer to an append, once the batch is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAnswer {
    /// Stored, now or before.
    Receipt(Receipt),
    /// Another envelope is stored under this number.
    Conflict(Head),
    /// Not the next one; this is the head.
    NotNext(Option<Head>),
    /// No room in this slice of the account, or on the disk.
    OverQuota(Size),
    /// The account fills too many mailboxes.
    TooManyMailboxes,
}

/// What is decided about an append and waits for the sync.
pub enum PendingAppend {
    /// Stored in this batch.
    Staged(Staged<MailboxRow>, Head),
    /// Stored before, perhaps in this very batch.
    Duplicate(SendId, Head),
    /// Nothing to store.
    Refused(AppendAnswer),
}

/// Proof, once durable, that an invitation belongs to the device that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redeemed(());

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadAnswer {
    /// Envelopes in rising order, all durable; empty when there is nothing more.
    Envelopes(Vec<(Seq, Bytes)>),
    /// The mailbox was damaged on disk and has been emptied: its sender will fill it again.
    Lost,
}

/// Figures for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Accounts with anything stored.
    pub accounts: u64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Bytes of envelopes.
    pub envelope_bytes: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Log files in use.
    pub log_files: u64,
}

/// The store of one relay.
pub struct MailboxStore {
    wal: Wal,
    quota: Quota,
    lost: Vec<SendId>,
}

impl MailboxStore {
    /// Takes over an opened engine. If recovery found payloads missing, mailboxes that no
    /// longer hold what their row counts are emptied, so that their senders fill them again.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn new(wal: Wal, report: &RecoveryReport, quota: Quota) -> Result<MailboxStore, WalError> {
        let mut store = MailboxStore {
            wal,
            quota,
            lost: Vec::new(),
        };
        if report.lost_payloads > 0 {
            store.drop_incomplete_mailboxes()?;
        }
        Ok(store)
    }

    /// Decides about an append and stages it. The answer is [`MailboxStore::answer`] after
    /// [`MailboxStore::commit`].
    ///
    /// # Errors
    /// A [`WalError`]; of kind `Retry` for a full batch: commit, then call again.
    pub fn append(
        &mut self,
        account: DeviceId,
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
                Ok(stored) => stored.map(|bytes| Digest::of(&bytes)),
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
        match verdict {
            Verdict::Store {
                mailbox: next,
                superseded,
            } => self.store(account, mailbox, row, next, superseded, envelope),
            Verdict::Duplicate => Ok(PendingAppend::Duplicate(mailbox, Head { seq, digest })),
            Verdict::Conflict { stored } => {
                Ok(PendingAppend::Refused(AppendAnswer::Conflict(stored)))
            }
            Verdict::NotNext { head } => Ok(PendingAppend::Refused(AppendAnswer::NotNext(head))),
        }
    }

    fn store(
        &mut self,
        sender: DeviceId,
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
        let mut account = self.account(&row.payer)?;
        if new_mailbox && account.mailboxes >= self.quota.mailboxes {
            return refused(AppendAnswer::TooManyMailboxes);
        }
        let limit = match size {
            Size::Small => self.quota.account_bytes,
            Size::Bulk => self
                .quota
                .account_bytes
                .saturating_sub(self.quota.reserved_bytes),
        };
        if account.bytes + bytes > limit {
            return refused(AppendAnswer::OverQuota(size));
        }
        let priority = match size {
            Size::Small => Priority::Epoch,
            Size::Bulk => Priority::Bulk,
        };
        match self
            .wal
            .admit_or_relieve(bytes + APPEND_OVERHEAD_BYTES, priority)
        {
            Err(WalError::Space { .. }) => return refused(AppendAnswer::OverQuota(size)),
            other => other?,
        }

        let mut txn = Txn::new();
        if let Some(seq) = superseded {
            let key = envelope_key(&mailbox, seq);
            let freed = self.envelope_bytes(&mailbox, seq)?;
            txn.delete_payload(key);
            row.free(freed);
            account.bytes = account.bytes.saturating_sub(freed);
        }
        let Some(head) = next.last else {
            panic!("a stored envelope is the last of its mailbox");
        };
        row.last = Some(head);
        row.bytes += bytes;
        row.stored += 1;
        account.bytes += bytes;
        account.mailboxes += u32::from(new_mailbox);
        txn.put_payload(envelope_key(&mailbox, head.seq), envelope.to_vec());
        txn.put(mailbox_key(&mailbox), row.encode());
        txn.put(account_key(&row.payer), account.encode());
        // CRASH(relay.append.before_stage): nothing of this envelope is on disk. No receipt was
        // given, so its sender still has it and sends it again.
        crash_point!("relay.append.before_stage");
        match self.wal.stage(txn, row) {
            Ok(staged) => Ok(PendingAppend::Staged(staged, head)),
            // Others of this batch took the space that was there a moment ago.
            Err(WalError::Space { .. }) => refused(AppendAnswer::OverQuota(size)),
            Err(error) => Err(error),
        }
    }

    /// Makes everything staged durable with one sync.
    ///
    /// # Errors
    /// A [`WalError`]; after one of kind `Poisoned` the store must be dropped and reopened.
    pub fn commit(&mut self) -> Result<Committed, WalError> {
        // CRASH(relay.batch.before_commit): decided, not written. Same as before_stage.
        crash_point!("relay.batch.before_commit");
        let committed = self.wal.commit()?;
        // CRASH(relay.batch.after_sync): durable, and nobody knows. Senders come back, see the
        // head in the state answer, and take it for the receipt that was never sent.
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
        match pending {
            PendingAppend::Staged(staged, head) => {
                let row = committed.redeem(staged);
                Ok(AppendAnswer::Receipt(Receipt::covered_by(&row, head)))
            }
            PendingAppend::Duplicate(mailbox, head) => {
                match self.wal.durable_get(&mailbox_key(&mailbox))? {
                    Some(row) => {
                        let row = row.map(MailboxRow::decode);
                        Ok(AppendAnswer::Receipt(Receipt::covered_by(&row, head)))
                    }
                    None => Ok(AppendAnswer::NotNext(None)),
                }
            }
            PendingAppend::Refused(answer) => Ok(answer),
        }
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
        let prefix = rows::envelope_prefix(mailbox);
        let first = self.wal.scan_payloads(&prefix, &prefix, 1)?;
        let first = first
            .first()
            .map_or(Seq::NONE, |(key, _)| rows::envelope_seq(key));
        Ok(state.receive_state(first))
    }

    fn checked(&mut self, mailbox: &SendId) -> Result<Mailbox, WalError> {
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
        let prefix = rows::envelope_prefix(mailbox);
        let from = envelope_key(mailbox, cursor.next());
        let found = self.wal.scan_payloads(&prefix, &from, READ_ENVELOPES_MAX)?;
        let mut out = Vec::new();
        let mut total = 0;
        for (key, _) in found {
            match self.wal.durable_payload(&key) {
                Ok(Some(envelope)) => {
                    let envelope = Bytes::from(envelope.into_inner());
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
        Ok(ReadAnswer::Envelopes(out))
    }

    /// The stored bytes of one envelope, if they are there and durable.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn fetch(&self, mailbox: &SendId, seq: Seq) -> Result<Option<Bytes>, WalError> {
        match self.wal.durable_payload(&envelope_key(mailbox, seq)) {
            Ok(envelope) => Ok(envelope.map(|bytes| Bytes::from(bytes.into_inner()))),
            Err(WalError::PayloadDamaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stages the removal of what the reader holds, except the last envelope.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn trim(&mut self, mailbox: &SendId, through: Seq) -> Result<(), WalError> {
        loop {
            let Some(mut row) = self.mailbox(mailbox)? else {
                return Ok(());
            };
            let Some(plan) = row.state().trim(through) else {
                return Ok(());
            };
            let prefix = rows::envelope_prefix(mailbox);
            let found = self
                .wal
                .scan_payloads(&prefix, &prefix, TRIM_ENVELOPES_MAX)?;
            let more = found.len() == TRIM_ENVELOPES_MAX;
            let mut account = self.account(&row.payer)?;
            let mut txn = Txn::new();
            let mut reached = Seq::NONE;
            for (key, bytes) in found {
                let seq = rows::envelope_seq(&key);
                if seq > plan.through {
                    reached = plan.through;
                    break;
                }
                reached = seq;
                if seq != plan.keep {
                    txn.delete_payload(key);
                    row.free(u64::from(bytes));
                    account.bytes = account.bytes.saturating_sub(u64::from(bytes));
                }
            }
            row.trimmed_through = if more { reached } else { plan.through };
            txn.put(mailbox_key(mailbox), row.encode());
            txn.put(account_key(&row.payer), account.encode());
            // CRASH(relay.trim.before_stage): nothing removed. The reader trims again when it
            // comes back, from its own durable cursor.
            crash_point!("relay.trim.before_stage");
            let _no_answer = self.wal.stage(txn, ())?;
            if row.trimmed_through >= plan.through {
                return Ok(());
            }
        }
    }

    /// Stages that `device` used the invitation `nonce`; none when another device did. The same
    /// device may come again: its answer may have been lost.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn redeem(
        &mut self,
        device: DeviceId,
        nonce: &[u8; 16],
        expires_unix_s: u64,
        now_unix_s: u64,
    ) -> Result<Option<Staged<Redeemed>>, WalError> {
        if let Some(used) = self.wal.get(&invite_key(nonce))? {
            let used = InviteRow::decode(used);
            if used.device != device {
                return Ok(None);
            }
        }
        let mut txn = Txn::new();
        for (key, value) in self
            .wal
            .scan(rows::INVITE, rows::INVITE, INVITE_SWEEP_MAX)?
        {
            if InviteRow::decode(value).expires_unix_s < now_unix_s {
                txn.delete(key);
            }
        }
        let row = InviteRow {
            device,
            expires_unix_s,
        };
        txn.put(invite_key(nonce), row.encode());
        // CRASH(relay.redeem.before_stage): the invitation is still good for anybody who has it.
        crash_point!("relay.redeem.before_stage");
        Ok(Some(self.wal.stage(txn, Redeemed(()))?))
    }

    /// Stages one more invitation asked for by `device` on `day` (days since 1970); none when
    /// it had its share.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn count_invitation(
        &mut self,
        device: DeviceId,
        day: u64,
    ) -> Result<Option<Staged<()>>, WalError> {
        let mut account = self.account(&device)?;
        if account.invite_day != day {
            account.invite_day = day;
            account.invites = 0;
        }
        if account.invites >= INVITATIONS_PER_DAY_MAX {
            return Ok(None);
        }
        account.invites += 1;
        let mut txn = Txn::new();
        txn.put(account_key(&device), account.encode());
        Ok(Some(self.wal.stage(txn, ())?))
    }

    /// Figures for `status`.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn usage(&self) -> Result<Usage, WalError> {
        let accounts = self
            .wal
            .scan(rows::ACCOUNT, rows::ACCOUNT, STATUS_ROWS_MAX)?;
        let mailboxes = self
            .wal
            .scan(rows::MAILBOX, rows::MAILBOX, STATUS_ROWS_MAX)?;
        let stats = self.wal.stats();
        Ok(Usage {
            accounts: accounts.len() as u64,
            mailboxes: mailboxes.len() as u64,
            envelope_bytes: accounts
                .into_iter()
                .map(|(_, row)| AccountRow::decode(row).bytes)
                .sum(),
            syncs: stats.syncs,
            log_files: stats.files,
        })
    }

    /// Mailboxes that were emptied since the last call, because they were damaged on disk.
    /// Their senders must be told, or nobody would fill them again.
    #[must_use]
    pub fn take_lost(&mut self) -> Vec<SendId> {
        std::mem::take(&mut self.lost)
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

    fn account(&self, device: &DeviceId) -> Result<AccountRow, WalError> {
        let row = self.wal.get(&account_key(device))?;
        Ok(row.map(AccountRow::decode).unwrap_or_default())
    }

    fn envelope_bytes(&self, mailbox: &SendId, seq: Seq) -> Result<u64, WalError> {
        let key = envelope_key(mailbox, seq);
        let found = self.wal.scan_payloads(&key, &key, 1)?;
        Ok(found.first().map_or(0, |(_, bytes)| u64::from(*bytes)))
    }

    /// Stages the end of a damaged mailbox: as if the relay had never had it. Both ends know
    /// that case well, it is what a wiped relay looks like.
    fn lose(&mut self, mailbox: &SendId) -> Result<(), WalError> {
        let Some(row) = self.mailbox(mailbox)? else {
            return Ok(());
        };
        tracing::warn!(mailbox = %mailbox.short(), "a stored envelope is damaged; its mailbox starts again");
        self.lost.push(*mailbox);
        let prefix = rows::envelope_prefix(mailbox);
        loop {
            let found = self
                .wal
                .scan_payloads(&prefix, &prefix, TRIM_ENVELOPES_MAX)?;
            if found.is_empty() {
                break;
            }
            let mut txn = Txn::new();
            for (key, _) in found {
                txn.delete_payload(key);
            }
            let _no_answer = self.wal.stage(txn, ())?;
        }
        let mut account = self.account(&row.payer)?;
        account.bytes = account.bytes.saturating_sub(row.bytes);
        account.mailboxes = account.mailboxes.saturating_sub(1);
        let mut txn = Txn::new();
        txn.delete(mailbox_key(mailbox));
        txn.put(account_key(&row.payer), account.encode());
        let _no_answer = self.wal.stage(txn, ())?;
        Ok(())
    }

    fn drop_incomplete_mailboxes(&mut self) -> Result<(), WalError> {
        let mut from = rows::MAILBOX.to_vec();
        loop {
            let page = self.wal.scan(rows::MAILBOX, &from, TRIM_ENVELOPES_MAX)?;
            for (key, value) in &page {
                let row = MailboxRow::decode(value.clone());
                let mailbox = rows::mailbox_of(key);
                if self.count_envelopes(&mailbox)? != u64::from(row.stored) {
                    self.lose(&mailbox)?;
                }
            }
            let Some((last, _)) = page.last().filter(|_| page.len() == TRIM_ENVELOPES_MAX) else {
                break;
            };
            from = last.clone();
            from.push(0);
        }
        let _durable = self.wal.commit()?;
        Ok(())
    }

    fn count_envelopes(&self, mailbox: &SendId) -> Result<u64, WalError> {
        let prefix = rows::envelope_prefix(mailbox);
        let mut from = prefix.clone();
        let mut count = 0;
        loop {
            let page = self.wal.scan_payloads(&prefix, &from, TRIM_ENVELOPES_MAX)?;
            count += page.len() as u64;
            match page.last() {
                Some((last, _)) if page.len() == TRIM_ENVELOPES_MAX => {
                    from = last.clone();
                    from.push(0);
                }
                _ => return Ok(count),
            }
        }
    }
}
