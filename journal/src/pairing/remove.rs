//! The end of a pairing at the hub: a phone is lost, sold, or unheard of for too long.
//!
//! One transaction takes everything that is about the phone: groups, keys, outbox, what was known of its
//! clips. What the relay must then be told is kept in the same transaction, because the relay may be
//! away. This room knows no relay; it must never forget a dismissal that nobody has confirmed.

use serde::{Deserialize, Serialize};
use wal::{Durable, crash_point, mutant};
use wire::ids::{DeviceId, SendId};

use super::hub::invitation_of;
use super::{HubPairing, end_pairing, invite};
use crate::codec;
use crate::error::{ErrorKind, JournalError};
use crate::ids::{Line, OfferId, PairingId};
use crate::journal::{Journal, scan_all};
use crate::keys::{self, Family};
use crate::outbox;
use crate::record::{Pairing, PairingRecord, PairingState};
use crate::scope::Scope;
use crate::txn::Txn;

/// Most bytes that a removal takes in the log, beside the dismissal's answer: whatever the phone has left
/// unacked goes afterwards, in steps.
pub const REMOVAL_BYTES_MAX: u64 = 32 * 1024;

/// A phone that was removed here, or an offer that came to nothing, and that the relay was not yet told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dismissal {
    /// What is over.
    pub what: Dismissed,
    /// Which pairing it was; of an offer, its identifier, which no pairing has.
    pub pairing: PairingId,
    /// What is taken back at the relay; `None` if it could not be read any more.
    pub guest: Option<Guest>,
    /// The relay, as text.
    pub relay: String,
    /// The pairing's mailboxes, of both directions: nobody reads or fills them any more.
    pub mailboxes: Vec<SendId>,
}

/// The invitation by which a pairing brought its phone to the relay. If the same phone has paired again, that
/// was by another one, which stays good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Guest {
    /// The phone's account at the relay.
    pub device: DeviceId,
    /// The invitation's nonce.
    pub invitation: [u8; 16],
}

/// What is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Dismissed {
    /// A pairing: its phone is to be shut out.
    Phone,
    /// An invitation, of an offer that a phone passed on and that nobody used, or of a pairing whose phone has paired
    /// again and is still paired. The guest, which passed the offer on, or paired again, may well stay by another one.
    Invitation,
}

/// What [`Journal::dismissals`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dismissals {
    /// In no particular order.
    pub owed: Vec<Dismissal>,
    /// Rows that cannot be read any more: of these phones the relay will not be told.
    pub damaged: u64,
}

/// A dismissal as stored. The mailboxes are rights to append, so it is a secret.
#[derive(Serialize, Deserialize)]
struct DismissalRow {
    what: Dismissed,
    guest: Option<Guest>,
    relay: String,
    mailboxes: Vec<SendId>,
}

impl HubPairing {
    /// The phones that are paired, oldest pairing first.
    ///
    /// # Errors
    /// If a pairing's row does not open.
    pub fn phones(journal: &Journal) -> Result<Vec<Pairing>, JournalError> {
        let mut phones = Vec::new();
        for id in journal.pairing_ids() {
            let pairing = journal.pairing(id)?;
            phones.extend(pairing.filter(|known| known.state == PairingState::Confirmed));
        }
        // Keys are given in rising order, so they say which was made first; a clock could not.
        phones.sort_by_key(|known| {
            let key = journal.scopes.get(Scope::Pairing(known.id));
            key.map(|key| key.id)
        });
        Ok(phones)
    }

    /// How many of the places for phones are taken ([`super::PHONES_MAX`]): as [`Self::phones`] counts, and one for each
    /// pairing of which nothing can be read, so that it keeps no other phone from pairing.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn places_taken(journal: &Journal) -> Result<usize, JournalError> {
        let mut taken = 0;
        for id in journal.pairing_ids() {
            let is_confirmed = match journal.pairing(id) {
                Err(error) if error.kind() == ErrorKind::Corrupt => true,
                known => known?.is_some_and(|known| known.state == PairingState::Confirmed),
            };
            taken += usize::from(is_confirmed);
        }
        Ok(taken)
    }

    /// Ends a confirmed pairing whole, and remembers to tell the relay ([`Journal::dismissals`]). The rows
    /// of its outbox go by [`crate::Txn::trim_ended`]; they are dead at once. Nothing that is stored of it
    /// need be readable for that. Every session of its lines must be dropped. False if there is no such
    /// pairing, or none any more: nothing changed.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn remove(journal: &mut Journal, id: PairingId) -> Result<Durable<bool>, JournalError> {
        // It stands already wherever an offer was made; its scope is where the dismissal lies.
        drop(journal.device()?);
        let mut txn = journal.begin();
        let removed = txn.remove_phone(id)?;
        txn.commit(removed)
    }
}

impl Txn<'_> {
    /// [`HubPairing::phones`], as earlier transactions left them.
    ///
    /// # Errors
    /// If a pairing's row does not open.
    pub fn phones(&self) -> Result<Vec<Pairing>, JournalError> {
        HubPairing::phones(self.journal())
    }

    /// [`HubPairing::remove`] as a part of this transaction, for a hub whose device has its row.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn remove_phone(&mut self, id: PairingId) -> Result<bool, JournalError> {
        let scope = Scope::Pairing(id);
        if !self.has_scope(scope) {
            return Ok(false);
        }
        let record: Option<PairingRecord> =
            if_readable(self.secret_row(scope, Family::Pairing, &[]))?;
        let is_confirmed = |record: &PairingRecord| record.state == PairingState::Confirmed;
        if record.as_ref().is_some_and(|record| !is_confirmed(record)) {
            return Ok(false);
        }
        let invitation = if_readable(invitation_of(self, id))?;
        match &record {
            Some(record) => {
                let row = dismissal(Dismissed::Phone, record, invitation);
                if !mutant!(
                    "dismissal_forgotten",
                    "C4",
                    "what the relay is to be told of a removed phone is not kept"
                ) {
                    self.put_secret_row(Scope::Device, Family::Dismissal, &id.0, &row)?;
                }
            }
            None => tracing::error!(
                "what was stored of a removed phone cannot be read: the relay is not told of it, and its operator can revoke it"
            ),
        }
        mutant!("copies_go_with_their_phone", "C2", "what is retained for a phone goes when that is removed" => {
            let _ended = self.forget_retained(Some(id), &[])?;
        });
        for line in Line::all(id) {
            outbox::end_in_steps(self, line)?;
        }
        end_pairing(self, id);
        // An offer that it passes on is void with it.
        invite::forget_phone(self, id)?;
        // CRASH(journal.pairing.hub_removed): before: the phone is there, whole, and is removed again |
        // after: it is gone with its keys, and what the relay is to be told is stored, synced as one.
        crash_point!("journal.pairing.hub_removed");
        Ok(true)
    }
}

fn dismissal(
    what: Dismissed,
    record: &PairingRecord,
    invitation: Option<[u8; 16]>,
) -> DismissalRow {
    let device = record.peer_device;
    let mailboxes = record.lines.iter();
    DismissalRow {
        what,
        guest: invitation.map(|invitation| Guest { device, invitation }),
        relay: record.relay.clone(),
        mailboxes: mailboxes
            .flat_map(|line| [line.send, line.receive.send_id()])
            .collect(),
    }
}

/// What the relay is owed for a pairing whose phone has paired again, to be called before it ends: the invitation that
/// it brought would outlive the removal of that phone.
pub(super) fn owe_replaced(txn: &mut Txn<'_>, id: PairingId) -> Result<(), JournalError> {
    let record: Option<PairingRecord> =
        if_readable(txn.secret_row(Scope::Pairing(id), Family::Pairing, &[]))?;
    let invitation = if_readable(invitation_of(txn, id))?;
    if let (Some(record), Some(_)) = (record, invitation) {
        let row = dismissal(Dismissed::Invitation, &record, invitation);
        txn.put_secret_row(Scope::Device, Family::Dismissal, &id.0, &row)?;
    }
    Ok(())
}

/// What the relay is owed as soon as this offer is over and nobody has used it. It is stored with the offer, and told
/// only then ([`Journal::dismissals`]).
pub(super) fn owe_offer(
    txn: &mut Txn<'_>,
    offer: OfferId,
    guest: Guest,
    relay: &str,
) -> Result<(), JournalError> {
    let row = DismissalRow {
        what: Dismissed::Invitation,
        guest: Some(guest),
        relay: relay.to_owned(),
        mailboxes: Vec::new(),
    };
    txn.put_secret_row(Scope::Device, Family::Dismissal, &offer.0, &row)
}

/// Nothing is owed for this any more.
pub(super) fn forget_dismissal(txn: &mut Txn<'_>, id: &[u8; 16]) {
    let key = keys::secret(Scope::Device, Family::Dismissal, id);
    txn.delete_secret(Scope::Device, key);
}

/// What was read; nothing if it is damaged, which must not keep a phone here.
pub(super) fn if_readable<T>(
    read: Result<Option<T>, JournalError>,
) -> Result<Option<T>, JournalError> {
    match read {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::error!(%error, "not all that is stored of a phone can be read");
            Ok(None)
        }
        read => read,
    }
}

impl Journal {
    /// The phones that were removed, and the offers that nobody used, of which the relay was not yet told.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn dismissals(&self) -> Result<Dismissals, JournalError> {
        let prefix = keys::secret(Scope::Device, Family::Dismissal, &[]);
        let mut found = Dismissals::default();
        // What may still be used is nothing that is over. Without that row, nothing is good.
        let open = if_readable(self.invite())?.and_then(|invite| invite.offer());
        let paired = self.paired_devices()?;
        for (key, sealed) in scan_all(&self.wal, &prefix)? {
            let row = match self.open_value(Scope::Device, &key, &sealed) {
                Ok(bytes) => codec::from_row::<DismissalRow>(&bytes),
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                Err(error) => return Err(error),
            };
            let id: Option<[u8; 16]> = key.get(prefix.len()..).and_then(|id| id.try_into().ok());
            let (Some(id), Some(row)) = (id, row) else {
                found.damaged += 1;
                continue;
            };
            if open.is_some_and(|open| open.0 == id) {
                continue;
            }
            // By its other pairing it is rightly at the relay, and would be for as long as that lasts.
            let is_paired = row
                .guest
                .is_some_and(|guest| paired.contains(&guest.device));
            found.owed.push(Dismissal {
                what: match is_paired {
                    true => Dismissed::Invitation,
                    false => row.what,
                },
                pairing: PairingId(id),
                guest: row.guest,
                relay: row.relay,
                mailboxes: row.mailboxes,
            });
        }
        Ok(found)
    }

    /// The accounts at the relay of the phones that are paired, as far as that can be read.
    fn paired_devices(&self) -> Result<Vec<DeviceId>, JournalError> {
        let mut devices = Vec::new();
        for id in self.pairing_ids() {
            let pairing = if_readable(self.pairing(id))?;
            let paired = pairing.filter(|known| known.state == PairingState::Confirmed);
            devices.extend(paired.map(|known| known.peer_device));
        }
        Ok(devices)
    }

    /// The relay has confirmed a dismissal, or has said that it never will: it is not told again. The device's key
    /// rotates with it, so that the right to append that it held is in no file any more; not where a value of the
    /// device is damaged.
    ///
    /// # Errors
    /// Our own storage.
    pub fn dismissal_told(&mut self, pairing: PairingId) -> Result<Durable<()>, JournalError> {
        let mut txn = self.begin();
        forget_dismissal(&mut txn, &pairing.0);
        match txn.secrets(Scope::Device, &keys::secret_prefix(Scope::Device)) {
            Ok(_) if txn.journal().scopes.get(Scope::Device).is_none() => {}
            Ok(_) => txn.rotate(Scope::Device),
            Err(error) => tracing::warn!(%error, "the device's key does not rotate"),
        }
        // CRASH(journal.pairing.hub_told): before: the relay knows, and is told again, which changes nothing |
        // after: it is told no more.
        crash_point!("journal.pairing.hub_told");
        txn.commit(())
    }
}
