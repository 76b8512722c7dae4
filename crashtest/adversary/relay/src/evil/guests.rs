//! Who was shut out: as an honest relay has it, but in memory.
//!
//! Everybody with a certificate or an invitation of this relay is admitted; what is kept here are the exceptions.
//! This room must never lie.

use std::collections::{BTreeMap, BTreeSet};

use wire::DeviceId;
use wire::frame::Guest;

/// The exceptions.
#[derive(Default, Debug)]
pub(super) struct Guests {
    out: BTreeSet<DeviceId>,
    /// Invitations that their hub has taken back.
    taken_back: BTreeSet<[u8; 16]>,
    /// By which invitations that nobody has taken back each is admitted, of those that came since this relay runs.
    admitted_by: BTreeMap<DeviceId, BTreeSet<[u8; 16]>>,
}

impl Guests {
    /// A hub takes an invitation back, used or not: whoever used it and has no other is shut out. Whether the device
    /// that is named is out; of one that came before this relay ran it is believed that it has no other.
    pub(super) fn take_back(&mut self, guest: Guest) -> bool {
        let Guest { device, invitation } = guest;
        self.taken_back.insert(invitation);
        for (user, by) in &mut self.admitted_by {
            if by.remove(&invitation) && by.is_empty() {
                self.out.insert(*user);
            }
        }
        if !self.admitted_by.contains_key(&device) {
            self.out.insert(device);
        }
        self.is_shut_out(&device)
    }

    pub(super) fn is_shut_out(&self, device: &DeviceId) -> bool {
        self.out.contains(device)
    }

    /// A device comes with an invitation, by which it is admitted unless that was taken back.
    pub(super) fn redeem(&mut self, device: DeviceId, nonce: &[u8; 16]) -> bool {
        let is_good = !self.taken_back.contains(nonce);
        if is_good {
            self.out.remove(&device);
            self.admitted_by.entry(device).or_default().insert(*nonce);
        }
        is_good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_invited_again_is_in_again_and_not_by_the_old_invitation() {
        let device = DeviceId([1; 32]);
        let mut guests = Guests::default();
        assert!(guests.redeem(device, &[1; 16]));
        assert!(guests.take_back(Guest {
            device,
            invitation: [1; 16],
        }));
        assert!(!guests.redeem(device, &[1; 16]) && guests.is_shut_out(&device));
        assert!(guests.redeem(device, &[2; 16]) && !guests.is_shut_out(&device));
    }

    #[test]
    fn whoever_used_what_is_taken_back_is_out_and_who_has_another_is_not() {
        let (owner, stranger) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let mut guests = Guests::default();
        assert!(guests.redeem(owner, &[1; 16]) && guests.redeem(stranger, &[2; 16]));
        // The owner passed it on, and somebody else used it.
        assert!(!guests.take_back(Guest {
            device: owner,
            invitation: [2; 16],
        }));
        assert!(guests.is_shut_out(&stranger) && !guests.is_shut_out(&owner));
        let before = DeviceId([3; 32]);
        assert!(guests.take_back(Guest {
            device: before,
            invitation: [3; 16],
        }));
    }
}
