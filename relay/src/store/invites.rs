//! Used invitations, and how many each hub asked for.
//!
//! This room must never forget a used invitation before it has expired, nor who used it while that admits a phone:
//! it is the only way from an invitation that a hub takes back to a device that used it in another name.

use wal::{Staged, Txn, WalError, crash_point};
use wire::limits::INVITATIONS_PER_DAY_MAX;
use wire::{Class, DeviceId};

use super::MailboxStore;
use super::answer::Redeemed;
use super::rows::{self, InviteRow, account_key, invite_key};

/// Used invitations that one redemption looks at, to forget the expired ones.
pub(super) const INVITE_SWEEP_MAX: usize = 64;

impl MailboxStore {
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
        self.redeem_as(device, nonce, expires_unix_s, now_unix_s, Class::Hub)
    }

    /// As [`Self::redeem`], for a phone: it is admitted by this invitation too, until the hub that asked for it
    /// takes it back ([`MailboxStore::revoke`]). None is staged for one that was.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn redeem_phone(
        &mut self,
        device: DeviceId,
        nonce: &[u8; 16],
        expires_unix_s: u64,
        now_unix_s: u64,
    ) -> Result<Option<Staged<Redeemed>>, WalError> {
        self.redeem_as(device, nonce, expires_unix_s, now_unix_s, Class::Phone)
    }

    fn redeem_as(
        &mut self,
        device: DeviceId,
        nonce: &[u8; 16],
        expires_unix_s: u64,
        now_unix_s: u64,
        class: Class,
    ) -> Result<Option<Staged<Redeemed>>, WalError> {
        let mut is_new = true;
        if let Some(used) = self.wal.get(&invite_key(nonce))? {
            let used = InviteRow::decode(used);
            let is_phone = class == Class::Phone;
            if used.device != device || is_phone && self.is_taken_back(&device, nonce)? {
                return Ok(None);
            }
            is_new = false;
        }
        let mut txn = Txn::new();
        self.sweep_invitations(&mut txn, now_unix_s)?;
        if class == Class::Phone && is_new {
            self.admit(&mut txn, &device, nonce)?;
        }
        let row = InviteRow {
            device,
            expires_unix_s,
        };
        txn.put(invite_key(nonce), row.encode());
        // CRASH(relay.redeem.before_stage): before: the invitation is good for anybody who has it |
        // after: it is used up by this device.
        crash_point!("relay.redeem.before_stage");
        Ok(Some(self.stage(txn, Redeemed(()))?))
    }

    /// Forgets expired invitations that admit nobody among the next few, going round: nonces are random, so the
    /// long-lived ones that come first must not hide the others for ever. Where it got to is not
    /// stored; after a restart it begins anew.
    fn sweep_invitations(&mut self, txn: &mut Txn, now_unix_s: u64) -> Result<(), WalError> {
        let page = self
            .wal
            .scan(rows::INVITE, &self.sweep_from, INVITE_SWEEP_MAX)?;
        self.sweep_from = match page.last() {
            Some((last, _)) if page.len() == INVITE_SWEEP_MAX => rows::after(last),
            _ => rows::INVITE.to_vec(),
        };
        for (key, value) in page {
            let used = InviteRow::decode(value);
            if used.expires_unix_s < now_unix_s
                && !self.is_admitted_by(&used.device, &rows::nonce_of(&key))?
            {
                txn.delete(key);
            }
        }
        Ok(())
    }

    /// Stages one more invitation asked for by `device`, a hub, on `day` (days since 1970); none
    /// when it had its share. What it takes back counts with what it asks for.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn count_invitation(
        &mut self,
        device: DeviceId,
        day: u64,
    ) -> Result<Option<Staged<()>>, WalError> {
        let mut txn = Txn::new();
        let (_, new) = self.account(&device, Class::Hub)?;
        if !self.count_wish(&mut txn, device, day, INVITATIONS_PER_DAY_MAX)? {
            return Ok(None);
        }
        let staged = self.stage(txn, ())?;
        self.totals.accounts += u64::from(new);
        Ok(Some(staged))
    }

    /// Counts one more thing that a hub wants of its invitations on this day; false if it had its share.
    pub(super) fn count_wish(
        &self,
        txn: &mut Txn,
        hub: DeviceId,
        day: u64,
        most: u32,
    ) -> Result<bool, WalError> {
        let (mut account, _) = self.account(&hub, Class::Hub)?;
        if account.invite_day != day {
            account.invite_day = day;
            account.invites = 0;
        }
        if account.invites >= most {
            return Ok(false);
        }
        account.invites += 1;
        txn.put(account_key(&hub), account.encode());
        Ok(true)
    }
}
