//! Used invitations, and how many each hub asked for.
//!
//! This room must never forget a used invitation before it has expired.

use wal::{Staged, Txn, WalError, crash_point};
use wire::limits::INVITATIONS_PER_DAY_MAX;
use wire::{Class, DeviceId};

use super::MailboxStore;
use super::answer::Redeemed;
use super::rows::{self, GuestRow, InviteRow, account_key, guest_key, invite_key};
use crate::admission::{self, InviterTag};

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
        self.redeem_as(device, nonce, expires_unix_s, now_unix_s, None)
    }

    /// As [`Self::redeem`], for a phone: the hub whose tag is in the invitation may shut it out again
    /// ([`MailboxStore::revoke`]). A phone that was shut out is admitted again with another invitation,
    /// and none is staged for the one that it used before.
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
        let inviter = Some(admission::tag_of(nonce));
        self.redeem_as(device, nonce, expires_unix_s, now_unix_s, inviter)
    }

    fn redeem_as(
        &mut self,
        device: DeviceId,
        nonce: &[u8; 16],
        expires_unix_s: u64,
        now_unix_s: u64,
        inviter: Option<InviterTag>,
    ) -> Result<Option<Staged<Redeemed>>, WalError> {
        let mut is_new = true;
        if let Some(used) = self.wal.get(&invite_key(nonce))? {
            let used = InviteRow::decode(used);
            if used.device != device || self.is_revoked(&device)? {
                return Ok(None);
            }
            is_new = false;
        }
        let mut txn = Txn::new();
        self.sweep_invitations(&mut txn, now_unix_s)?;
        if let Some(inviter) = inviter.filter(|_| is_new) {
            let guest = GuestRow {
                inviter,
                is_revoked: false,
            };
            txn.put(guest_key(&device), guest.encode());
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

    /// Forgets expired invitations among the next few, going round: nonces are random, so the
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
            if InviteRow::decode(value).expires_unix_s < now_unix_s {
                txn.delete(key);
            }
        }
        Ok(())
    }

    /// Stages one more invitation asked for by `device`, a hub, on `day` (days since 1970); none
    /// when it had its share.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn count_invitation(
        &mut self,
        device: DeviceId,
        day: u64,
    ) -> Result<Option<Staged<()>>, WalError> {
        let (mut account, new) = self.account(&device, Class::Hub)?;
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
        let staged = self.stage(txn, ())?;
        self.totals.accounts += u64::from(new);
        Ok(Some(staged))
    }
}
