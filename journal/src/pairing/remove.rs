//! The end of a pairing at the hub: a phone is lost, sold, or unheard of for too long.
//!
//! One transaction takes everything that is about the phone: groups, keys, outbox, what was known of its
//! clips. What the relay must then be told is kept in the same transaction, because the relay may be
//! away. This room knows no relay; it must never forget a dismissal that nobody has confirmed.

use serde::{Deserialize, Serialize};
use wal::{Durable, crash_point};
use wire::ids::{DeviceId, SendId};

use super::{HubPairing, end_pairing, invite};
use crate::codec;
use crate::error::JournalError;
use crate::ids::{Line, PairingId};
use crate::journal::{Journal, scan_all};
use crate::keys::{self, Family};
use crate::outbox;
use crate::record::{Pairing, PairingRecord, PairingState};
use crate::scope::Scope;
use crate::txn::Txn;

/// A phone that was removed here, and that the relay was not yet told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dismissal {
    /// Which pairing it was.
    pub pairing: PairingId,
    /// The phone's account at the relay, which is to end; `None` while the same phone is paired with this
    /// hub by another pairing, which may be a new one, and needs it.
    pub device: Option<DeviceId>,
    /// The relay, as text.
    pub relay: String,
    /// The pairing's mailboxes, of both directions: nobody reads or fills them any more.
    pub mailboxes: Vec<SendId>,
}

/// A dismissal as stored. The mailboxes are rights to append, so it is a secret.
#[derive(Serialize, Deserialize)]
struct DismissalRow {
    device: DeviceId,
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

    /// Ends a confirmed pairing whole, and remembers to tell the relay ([`Journal::dismissals`]). Rows
    /// of its outbox that one transaction cannot remove go by [`crate::Txn::trim_ended`]; they are dead
    /// at once. Every session of its lines must be dropped. False if there is no such pairing, or none
    /// any more: nothing changed.
    ///
    /// # Errors
    /// Our own storage.
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
    /// Our own storage.
    pub fn remove_phone(&mut self, id: PairingId) -> Result<bool, JournalError> {
        let record: Option<PairingRecord> =
            self.secret_row(Scope::Pairing(id), Family::Pairing, &[])?;
        let record = record.filter(|record| record.state == PairingState::Confirmed);
        let Some(record) = record else {
            return Ok(false);
        };
        let row = DismissalRow {
            device: record.peer_device,
            relay: record.relay.clone(),
            mailboxes: record
                .lines
                .iter()
                .flat_map(|line| [line.send, line.receive.send_id()])
                .collect(),
        };
        for line in Line::all(id) {
            outbox::end(self, line)?;
        }
        end_pairing(self, id);
        // An offer that it passes on is void with it.
        invite::forget_phone(self, id)?;
        self.put_secret_row(Scope::Device, Family::Dismissal, &id.0, &row)?;
        // CRASH(journal.pairing.hub_removed): before: the phone is there, whole, and is removed again |
        // after: it is gone with its keys, and what the relay is to be told is stored, synced as one.
        crash_point!("journal.pairing.hub_removed");
        Ok(true)
    }
}

impl Journal {
    /// The phones that were removed and that the relay was not yet told of, in no particular order.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn dismissals(&self) -> Result<Vec<Dismissal>, JournalError> {
        let damaged = JournalError::ValueDamaged {
            scope: Scope::Device,
            what: "dismissal",
        };
        let prefix = keys::secret(Scope::Device, Family::Dismissal, &[]);
        let rows = scan_all(&self.wal, &prefix)?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let phones = HubPairing::phones(self)?;
        let goes_on = |device: &DeviceId| phones.iter().any(|phone| phone.peer_device == *device);
        let mut found = Vec::new();
        for (key, sealed) in rows {
            let bytes = self.open_value(Scope::Device, &key, &sealed)?;
            let id = key.get(prefix.len()..).and_then(|id| id.try_into().ok());
            let row: Option<DismissalRow> = codec::from_row(&bytes);
            let (Some(id), Some(row)) = (id, row) else {
                return Err(damaged);
            };
            found.push(Dismissal {
                pairing: PairingId(id),
                device: Some(row.device).filter(|device| !goes_on(device)),
                relay: row.relay,
                mailboxes: row.mailboxes,
            });
        }
        Ok(found)
    }

    /// The relay has confirmed a dismissal, or has said that it never will: it is not told again.
    ///
    /// # Errors
    /// Our own storage.
    pub fn dismissal_told(&mut self, pairing: PairingId) -> Result<Durable<()>, JournalError> {
        let key = keys::secret(Scope::Device, Family::Dismissal, &pairing.0);
        let mut txn = self.begin();
        txn.delete_secret(Scope::Device, key);
        txn.commit(())
    }
}
