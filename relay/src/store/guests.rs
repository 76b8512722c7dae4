//! Which hub may shut out which phone, and which phones are shut out.
//!
//! A phone's certificate is good for ever and no list of the admitted is needed to judge it; what is kept
//! here is the tag of the hub that invited a phone last, and whether that hub has taken it back. This room
//! must never let a hub shut out a phone that another one invited.

use wal::{Staged, Txn, WalError, crash_point};
use wire::{DeviceId, SendId};

use super::MailboxStore;
use super::answer::Revoked;
use super::rows::{GuestRow, guest_key};
use crate::admission::InviterTag;

impl MailboxStore {
    /// Whether the hub that invited this phone last has shut it out.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn is_revoked(&self, device: &DeviceId) -> Result<bool, WalError> {
        Ok(self.guest(device)?.is_some_and(|guest| guest.is_revoked))
    }

    pub(super) fn guest(&self, device: &DeviceId) -> Result<Option<GuestRow>, WalError> {
        Ok(self.wal.get(&guest_key(device))?.map(GuestRow::decode))
    }

    /// Stages that `hub` takes back its invitation of `device`, if there is one to take back, and empties
    /// those of `mailboxes` that the hub fills, or that the device fills if it is shut out. Asked again,
    /// it changes nothing and answers the same.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn revoke(
        &mut self,
        (hub, tag): (DeviceId, InviterTag),
        device: Option<DeviceId>,
        mailboxes: &[SendId],
    ) -> Result<Staged<Revoked>, WalError> {
        let mut txn = Txn::new();
        let mut shut_out = None;
        if let Some(device) = device
            && let Some(mut guest) = self.guest(&device)?
            && guest.inviter == tag
        {
            guest.is_revoked = true;
            txn.put(guest_key(&device), guest.encode());
            shut_out = Some(device);
        }
        let revoked = match shut_out == device {
            true => Revoked::Done,
            false => Revoked::NotInviter,
        };
        // CRASH(relay.revoke.before_stage): before: nothing of it; the hub has no answer and asks again |
        // after: the phone is shut out, synced with its batch; mailboxes are emptied in steps behind it.
        crash_point!("relay.revoke.before_stage");
        let staged = self.stage(txn, revoked)?;
        for mailbox in mailboxes {
            let payer = self.mailbox(mailbox)?.map(|row| row.payer);
            if payer.is_some_and(|payer| payer == hub || Some(payer) == shut_out) {
                self.give_up(mailbox)?;
            }
        }
        Ok(staged)
    }
}
