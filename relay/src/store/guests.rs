//! Which invitations admit which phone, and which phones are shut out.
//!
//! A phone's certificate is good for ever and no list of the admitted is needed to judge it; what is kept
//! here are the invitations that it redeemed, and in `invites` who redeemed each. A hub takes its own back, by name; a phone that has none left is
//! shut out. So that row must stay for as long as the relay's key does. This room must never let a hub shut
//! out a phone that somebody else invited as well, nor by an invitation that it gave later.

use wal::{Staged, Txn, WalError, crash_point, mutant};
use wire::frame::Guest;
use wire::limits::{INVITATION_TTL_SECONDS_MAX, REVOCATIONS_PER_DAY_MAX};
use wire::{Class, DeviceId, SendId};

use super::MailboxStore;
use super::answer::{Revoked, TakenBack};
use super::rows::{GuestRow, InviteRow, guest_key, invite_key};
use crate::admission::{self, InviterTag};

/// Invitations that are remembered for one phone; of more, the oldest is forgotten, and then nobody can take
/// it back.
pub(super) const ADMITTED_BY_MAX: usize = 16;
/// Seconds in a day, for counting.
const DAY_S: u64 = 24 * 3600;

impl MailboxStore {
    /// Whether every invitation of this phone was taken back.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn is_revoked(&self, device: &DeviceId) -> Result<bool, WalError> {
        let guest = self.guest(device)?;
        Ok(guest.is_some_and(|guest| guest.admitted_by.is_empty()))
    }

    fn guest(&self, device: &DeviceId) -> Result<Option<GuestRow>, WalError> {
        Ok(self.wal.get(&guest_key(device))?.map(GuestRow::decode))
    }

    /// Whether this device is admitted as a phone by this invitation, and it was not taken back.
    pub(super) fn is_admitted_by(
        &self,
        device: &DeviceId,
        nonce: &[u8; 16],
    ) -> Result<bool, WalError> {
        let guest = self.guest(device)?;
        Ok(guest.is_some_and(|guest| guest.admitted_by.contains(nonce)))
    }

    /// Whether this phone's invitation, which it has redeemed once, is good no more.
    pub(super) fn is_taken_back(
        &self,
        device: &DeviceId,
        nonce: &[u8; 16],
    ) -> Result<bool, WalError> {
        let guest = self.guest(device)?;
        Ok(guest.is_some_and(|guest| !guest.admitted_by.contains(nonce)))
    }

    /// From this transaction on, a phone is admitted by this invitation too.
    pub(super) fn admit(
        &self,
        txn: &mut Txn,
        device: &DeviceId,
        nonce: &[u8; 16],
    ) -> Result<(), WalError> {
        let mut guest = self.guest(device)?.unwrap_or_default();
        guest.admitted_by.retain(|known| known != nonce);
        guest.admitted_by.push(*nonce);
        if guest.admitted_by.len() > ADMITTED_BY_MAX {
            guest.admitted_by.remove(0);
        }
        txn.put(guest_key(device), guest.encode());
        Ok(())
    }

    /// Stages that `hub` takes its invitation of a phone back, used or not, also if another device used it, and
    /// empties those of `mailboxes` that the hub fills, or that whoever came by that invitation fills. Asked
    /// again, it stages nothing and answers the same. None if this hub has taken back its share for today.
    ///
    /// # Errors
    /// A [`WalError`] of the engine.
    pub fn revoke(
        &mut self,
        (hub, tag): (DeviceId, InviterTag),
        guest: Option<Guest>,
        mailboxes: &[SendId],
        now_unix_s: u64,
    ) -> Result<Option<Staged<TakenBack>>, WalError> {
        let mut txn = Txn::new();
        let mut revoked = match guest {
            None => Revoked::Done,
            Some(_) => Revoked::StillAdmitted,
        };
        // Whose mailboxes go, beside the hub's own.
        let mut gone = [None; 2];
        let mut also_shut_out = None;
        // Another hub's invitation is none of its business.
        let own = guest.filter(|guest| admission::tag_of(&guest.invitation) == tag);
        if let Some(Guest { device, invitation }) = own {
            let used = self.wal.get(&invite_key(&invitation))?;
            let used = used.map(InviteRow::decode);
            if used.is_none() {
                // Nobody uses it from now on; how long it lasts is in nobody's memory.
                let row = InviteRow {
                    device: hub,
                    expires_unix_s: now_unix_s
                        .saturating_add(u64::from(INVITATION_TTL_SECONDS_MAX)),
                };
                txn.put(invite_key(&invitation), row.encode());
            }
            let user = used.map(|used| used.device);
            let mut came_by_it = user == Some(device);
            // A code can be given away: whoever used it, in whatever name, loses what it gave.
            if let Some(other) = user.filter(|user| *user != device)
                && let Some(left) = self.strike(&mut txn, &other, &invitation)?
                && left.admitted_by.is_empty()
            {
                also_shut_out = Some(other);
            }
            let struck = self.strike(&mut txn, &device, &invitation)?;
            came_by_it |= struck.is_some();
            let row = match struck {
                Some(row) => Some(row),
                None => self.guest(&device)?,
            };
            match row {
                Some(row) if row.admitted_by.is_empty() => {
                    came_by_it = true;
                    revoked = Revoked::Done;
                }
                Some(_) => {}
                // It was killed before it came here, or this relay has lost what it knew: no question will ever
                // have another answer.
                None => revoked = Revoked::NotKnown,
            }
            gone = [Some(device).filter(|_| came_by_it), user];
        }
        let mut new_accounts = 0;
        if !txn.is_empty() {
            new_accounts = u64::from(self.account(&hub, Class::Hub)?.1);
            let day = now_unix_s / DAY_S;
            if !self.count_wish(&mut txn, hub, day, REVOCATIONS_PER_DAY_MAX)? {
                return Ok(None);
            }
        }
        mutant!("revoke_not_stored", "C4", "a hub hears that a phone is shut out, and no row says so" => {
            txn = Txn::new();
        });
        // CRASH(relay.revoke.before_stage): before: nothing of it; the hub has no answer and asks again |
        // after: the phone is shut out, synced with its batch; mailboxes are emptied in steps behind it.
        crash_point!("relay.revoke.before_stage");
        let taken_back = TakenBack {
            outcome: revoked,
            also_shut_out,
        };
        let staged = self.stage(txn, taken_back)?;
        self.totals.accounts += new_accounts;
        for mailbox in mailboxes {
            let payer = self.mailbox(mailbox)?.map(|row| row.payer);
            if payer.is_some_and(|payer| payer == hub || gone.contains(&Some(payer))) {
                self.give_up(mailbox)?;
            }
        }
        Ok(Some(staged))
    }

    /// From this transaction on, a device is not admitted by this invitation any more: what it still has. None,
    /// and nothing changed, if it was not.
    fn strike(
        &self,
        txn: &mut Txn,
        device: &DeviceId,
        nonce: &[u8; 16],
    ) -> Result<Option<GuestRow>, WalError> {
        let Some(mut guest) = self.guest(device)? else {
            return Ok(None);
        };
        let before = guest.admitted_by.len();
        guest.admitted_by.retain(|known| known != nonce);
        if guest.admitted_by.len() == before {
            return Ok(None);
        }
        txn.put(guest_key(device), guest.encode());
        Ok(Some(guest))
    }
}
