//! Who was shut out: as an honest relay has it, but in memory.
//!
//! Everybody with a certificate or an invitation of this relay is admitted; what is kept here are the exceptions.
//! This room must never lie.

use std::collections::BTreeSet;

use wire::DeviceId;
use wire::frame::Guest;

/// The exceptions.
#[derive(Default, Debug)]
pub(super) struct Guests {
    out: BTreeSet<DeviceId>,
    /// Invitations that their hub has taken back.
    taken_back: BTreeSet<[u8; 16]>,
}

impl Guests {
    /// Its hub takes back the invitation by which it came.
    pub(super) fn shut_out(&mut self, guest: Guest) {
        self.out.insert(guest.device);
        self.taken_back.insert(guest.invitation);
    }

    pub(super) fn is_shut_out(&self, device: &DeviceId) -> bool {
        self.out.contains(device)
    }

    /// A device comes with an invitation, by which it is admitted unless that was taken back.
    pub(super) fn redeem(&mut self, device: DeviceId, nonce: &[u8; 16]) -> bool {
        let is_good = !self.taken_back.contains(nonce);
        if is_good {
            self.out.remove(&device);
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
        guests.shut_out(Guest {
            device,
            invitation: [1; 16],
        });
        assert!(!guests.redeem(device, &[1; 16]) && guests.is_shut_out(&device));
        assert!(guests.redeem(device, &[2; 16]) && !guests.is_shut_out(&device));
    }
}
