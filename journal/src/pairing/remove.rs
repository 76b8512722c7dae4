//! The end of a pairing at the hub: a phone is lost, sold, or unheard of for too long.
//!
//! One transaction takes everything that is about the phone: groups, keys, outbox, what was known of its
//! clips. What the relay must then be told is kept in the same transaction, because the relay may be
//! away. This room knows no relay; it must never forget a dismissal that nobody has confirmed.

use serde::{Deserialize, Serialize};
use wal::{Durable, crash_point, mutant};
use wire::ids::{DeviceId, SendId};

use super::hub::invitation_of;
use super::{HubPairing, end_pairing};
use crate::codec;
use crate::error::{ErrorKind, JournalError};
use crate::ids::{Line, PairingId};
use crate::journal::{Journal, scan_all};
use crate::keys::{self, Family};
use crate::outbox;
use crate::record::{Pairing, PairingRecord, PairingState};
use crate::scope::Scope;
use crate::txn::Txn;

/// Most bytes that a removal takes in the log, beside the dismissal's answer: whatever the phone has left
/// unacked goes afterwards, in steps.
pub const REMOVAL_BYTES_MAX: u64 = 32 * 1024;

/// A phone that was removed here, and that the relay was not yet told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dismissal {
    /// Which pairing it was.
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
                let device = record.peer_device;
                let mailboxes = record.lines.iter();
                let row = DismissalRow {
                    guest: invitation.map(|invitation| Guest { device, invitation }),
                    relay: record.relay.clone(),
                    mailboxes: mailboxes
                        .flat_map(|line| [line.send, line.receive.send_id()])
                        .collect(),
                };
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
        for line in Line::all(id) {
            outbox::end_in_steps(self, line)?;
        }
        end_pairing(self, id);
        // CRASH(journal.pairing.hub_removed): before: the phone is there, whole, and is removed again |
        // after: it is gone with its keys, and what the relay is to be told is stored, synced as one.
        crash_point!("journal.pairing.hub_removed");
        Ok(true)
    }
}

/// What was read; nothing if it is damaged, which must not keep a phone here.
fn if_readable<T>(read: Result<Option<T>, JournalError>) -> Result<Option<T>, JournalError> {
    match read {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::error!(%error, "a phone is removed of which not all can be read");
            Ok(None)
        }
        read => read,
    }
}

impl Journal {
    /// The phones that were removed and that the relay was not yet told of.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn dismissals(&self) -> Result<Dismissals, JournalError> {
        let prefix = keys::secret(Scope::Device, Family::Dismissal, &[]);
        let mut found = Dismissals::default();
        for (key, sealed) in scan_all(&self.wal, &prefix)? {
            let row = match self.open_value(Scope::Device, &key, &sealed) {
                Ok(bytes) => codec::from_row::<DismissalRow>(&bytes),
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                Err(error) => return Err(error),
            };
            let id = key.get(prefix.len()..).and_then(|id| id.try_into().ok());
            let (Some(id), Some(row)) = (id, row) else {
                found.damaged += 1;
                continue;
            };
            found.owed.push(Dismissal {
                pairing: PairingId(id),
                guest: row.guest,
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
        // CRASH(journal.pairing.hub_told): before: the relay knows, and is told again, which changes nothing |
        // after: it is told no more.
        crash_point!("journal.pairing.hub_told");
        txn.commit(())
    }
}
