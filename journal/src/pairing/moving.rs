//! Another relay in the place of the one at which hub and phone have met: which one it is now, on either side.
//!
//! Nothing else of a pairing changes. What was sealed is un-acked until the phone has it, whichever relay it comes by,
//! so an empty one is filled again from both ends. This room knows no relay; it must never leave a device admitted at
//! one relay and its pairings at another.

use wal::Durable;
use wire::ids::DeviceId;

use super::hub::{invitation_of, keep_invitation};
use super::remove::{Guest, if_readable, owe_offer};
use super::{AppPairing, HubPairing};
use crate::error::JournalError;
use crate::ids::{OfferId, PairingId};
use crate::journal::Journal;
use crate::keys::Family;
use crate::record::PairingRecord;
use crate::scope::Scope;
use crate::txn::Txn;

/// By which invitation a phone comes to a relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Readmission {
    /// The relay, as text.
    pub relay: String,
    /// The invitation's nonce.
    pub invitation: [u8; 16],
}

impl AppPairing {
    /// From here on this device meets all its hubs at this relay (as text), which has given it this certificate: one
    /// transaction. A pairing of which nothing can be read stays as it is.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn move_to(
        journal: &mut Journal,
        relay: &str,
        certificate: Vec<u8>,
    ) -> Result<Durable<()>, JournalError> {
        let mut device = journal.device()?;
        device.certificate = Some(certificate);
        device.certificate_relay = relay.to_owned();
        let pairings = journal.pairing_ids();
        let mut txn = journal.begin();
        for id in pairings {
            put_relay(&mut txn, id, relay)?;
        }
        txn.put_secret_row(Scope::Device, Family::Device, &[], &device)?;
        txn.commit(())
    }
}

impl HubPairing {
    /// Remembers by which invitation a phone comes to a relay, before anybody is shown it: whoever removes the phone
    /// takes that back. The one that it had before is owed to the relay of that time, which the hub may have left and may
    /// come back to. False if there is no such phone, or nothing of it can be read; nothing changed.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn readmit(
        journal: &mut Journal,
        id: PairingId,
        readmission: &Readmission,
    ) -> Result<Durable<bool>, JournalError> {
        // It stands already wherever an offer was made; its scope is where what the relay is owed lies.
        drop(journal.device()?);
        let mut txn = journal.begin();
        if !txn.has_scope(Scope::Pairing(id)) {
            return txn.commit(false);
        }
        let before = if_readable(invitation_of(&txn, id))?;
        let known = put_relay(&mut txn, id, &readmission.relay)?;
        let is_kept = keep_invitation(&mut txn, id, readmission.invitation)?;
        let (Some((device, left)), true) = (known, is_kept) else {
            drop(txn);
            return journal.begin().commit(false);
        };
        if let Some(invitation) = before {
            let guest = Guest { device, invitation };
            let owed = OfferId(txn.random());
            owe_offer(&mut txn, owed, guest, &left)?;
        }
        txn.commit(true)
    }
}

/// A pairing meets at this relay. The other side's account and the relay before, if what is stored of the pairing can be
/// read.
fn put_relay(
    txn: &mut Txn<'_>,
    id: PairingId,
    relay: &str,
) -> Result<Option<(DeviceId, String)>, JournalError> {
    let record: Option<PairingRecord> =
        if_readable(txn.secret_row(Scope::Pairing(id), Family::Pairing, &[]))?;
    let Some(mut record) = record else {
        return Ok(None);
    };
    let left = std::mem::replace(&mut record.relay, relay.to_owned());
    record.put(txn, id)?;
    Ok(Some((record.peer_device, left)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::Dismissed;
    use crate::tests::harness::paired;

    const NEW: &str = "new.example:4433/key";
    const OTHER: &str = "other.example:4433/key";

    fn readmission(invitation: u8, relay: &str) -> Readmission {
        Readmission {
            relay: relay.into(),
            invitation: [invitation; 16],
        }
    }

    #[test]
    fn a_phone_that_moves_has_the_certificate_and_its_hubs_at_the_same_relay() {
        let (hub, mut app) = paired();
        let line = hub.line();
        drop(AppPairing::move_to(&mut app.journal, NEW, vec![7]).unwrap());
        let device = app.journal.known_device().unwrap().unwrap();
        assert_eq!(device.certificate, Some(vec![7]));
        assert_eq!(device.certificate_relay, NEW);
        let pairing = app.journal.pairing(line.pairing).unwrap().unwrap();
        assert_eq!(pairing.relay, NEW);
        assert!(app.journal.mailboxes(line).is_ok());
    }

    #[test]
    fn a_removal_takes_back_the_invitation_by_which_the_phone_came_last() {
        let (mut hub, _app) = paired();
        let id = hub.line().pairing;
        for (number, relay) in [(1, NEW), (2, OTHER), (3, NEW), (2, NEW)] {
            let wish = readmission(number, relay);
            let kept = HubPairing::readmit(&mut hub.journal, id, &wish).unwrap();
            assert!(kept.into_inner());
        }
        // Each code has made the one before void, at the relay where that is from: the hub may come back to it.
        let taken_back = hub.journal.dismissals().unwrap().owed;
        let mut void: Vec<(String, [u8; 16])> = Vec::new();
        for one in &taken_back {
            assert_eq!(one.what, Dismissed::Invitation);
            assert!(one.mailboxes.is_empty(), "those are in use");
            void.extend(one.guest.map(|guest| (one.relay.clone(), guest.invitation)));
        }
        for (number, relay) in [(1, NEW), (2, OTHER), (3, NEW)] {
            let wanted = (relay.to_owned(), [number; 16]);
            assert!(void.contains(&wanted), "{number}: {void:?}");
        }
        assert!(!void.contains(&(NEW.to_owned(), [2; 16])), "it is in use");
        drop(HubPairing::remove(&mut hub.journal, id).unwrap());
        let owed = hub.journal.dismissals().unwrap().owed;
        let phone = owed.iter().find(|owed| owed.pairing == id).unwrap();
        assert_eq!(phone.relay, NEW);
        assert_eq!(phone.guest.map(|guest| guest.invitation), Some([2; 16]));
        let gone = HubPairing::readmit(&mut hub.journal, id, &readmission(4, NEW)).unwrap();
        assert!(!gone.into_inner(), "there is no such phone any more");
    }
}
