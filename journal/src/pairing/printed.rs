//! Pairing by the secret that is printed on a device: the phone asks the hub for the code that it shows.
//!
//! ```text
//! app                                          hub, in pairing mode
//!  |  Ask {nonce}                                |
//!  |-------------------------------------------->|   knows the device secret
//!  |  Offered {nonce, code, sealed}              |
//!  |<--------------------------------------------|   opened with the device secret; the code names this hub
//! ```
//!
//! Asking changes nothing at either end and proves nothing: the four messages follow, as with a code that
//! was scanned, on a connection to the key that the code names. Whoever stands in between sees random
//! bytes, and has another key than the one in the code. This room knows no sockets and no clock.

use serde::{Deserialize, Serialize};
use wire::ids::DeviceId;

use super::hub::current_offer;
use super::{HubPairing, Offer, PairingError};
use crate::device::DeviceSecret;
use crate::error::JournalError;
use crate::journal::Journal;
use crate::sealed::{self, Key, derive};

const LABEL: &[u8] = b"secluso offer asked v1";

/// What a phone asks that has a device secret and no code: app to hub.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ask {
    nonce: [u8; 32],
}

/// The code that the hub shows, for whoever has the device secret: hub to app.
#[derive(Clone, Serialize, Deserialize)]
pub struct Offered {
    nonce: [u8; 32],
    sealed: Vec<u8>,
}

impl Ask {
    /// A new question. The phone keeps it until it is answered, and asks anew after that.
    pub fn new(journal: &mut Journal) -> Self {
        Self {
            nonce: journal.begin().random(),
        }
    }

    /// Of this question and its answer alone.
    fn key(&self, secret: &[u8], nonce: &[u8; 32]) -> Key {
        derive(secret, &[LABEL, &self.nonce, nonce])
    }
}

impl HubPairing {
    /// Answers a phone that has the device secret, while an offer stands. Nothing changes.
    ///
    /// # Errors
    /// [`PairingError::UnknownOffer`] inside [`JournalError::Pairing`] if none stands; our own storage.
    pub fn asked(
        journal: &mut Journal,
        ask: &Ask,
        now_unix_s: u64,
    ) -> Result<Offered, JournalError> {
        let offer = current_offer(journal, now_unix_s)?.ok_or(PairingError::UnknownOffer)?;
        let secret = journal.device()?.secret;
        let text = offer.to_text();
        let mut txn = journal.begin();
        let nonce = txn.random();
        let key = ask.key(&secret, &nonce);
        Ok(Offered {
            nonce,
            sealed: sealed::seal(&key, LABEL, text.as_bytes(), txn.dice()),
        })
    }
}

impl DeviceSecret {
    /// The code in a hub's answer. `hub` is whose key the connection has shown on which the answer came.
    ///
    /// # Errors
    /// [`PairingError::WrongSecret`] if whoever answered does not have this secret, or only passed on the
    /// words of a hub that does.
    pub fn open(&self, ask: &Ask, offered: &Offered, hub: DeviceId) -> Result<Offer, PairingError> {
        let key = ask.key(self.as_bytes(), &offered.nonce);
        let text = sealed::open(&key, LABEL, &offered.sealed).ok_or(PairingError::WrongSecret)?;
        let text = core::str::from_utf8(&text).map_err(|_| PairingError::NotAnOffer)?;
        let offer = Offer::from_text(text)?;
        match offer.hub == hub {
            true => Ok(offer),
            false => Err(PairingError::WrongSecret),
        }
    }
}
