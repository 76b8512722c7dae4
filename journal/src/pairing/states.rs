//! Where a pairing stands, as types: each is made by the step before it and is what the next step takes, so
//! that a step out of turn cannot be written.
//!
//! ```text
//! hub   Offer ------> Welcomed ------> Confirmed
//! app   Offer ------> Requested -----> Joined ------> PairingId
//! ```
//!
//! A value stands for what is in the journal that made it, and is the message to be said: it may be said again, and
//! the step behind it repeated, as often as messages are lost. After a restart [`super::AppPairing::start`] and
//! [`super::HubPairing::resume`] give back the one that is stored. This room must never make a value of what is not
//! durable: the steps hand them out as [`wal::Durable`].

use std::ops::Deref;

use super::{Answer, Confirm, Done, Offer, PairingMessage, Request};
use crate::ids::OfferId;

/// The phone has asked, and waits for the hub's answer ([`super::AppPairing::answer`]). Derefs to the message.
#[derive(Clone)]
pub struct Requested {
    pub(super) offer: Offer,
    pub(super) request: Request,
}

/// The phone has joined, and waits for the hub's last word ([`super::AppPairing::done`]). Derefs to its proof.
#[derive(Clone)]
pub struct Joined {
    pub(super) offer: Offer,
    pub(super) confirm: Confirm,
}

/// The hub has answered a request, and waits for the phone's proof ([`Welcomed::confirm`]). Derefs to the answer.
#[derive(Clone)]
pub struct Welcomed {
    pub(super) offer: OfferId,
    pub(super) answer: Answer,
}

/// The hub has the phone's proof: the pairing is whole. Derefs to the last word.
#[derive(Clone)]
pub struct Confirmed {
    pub(super) done: Done,
}

impl Requested {
    /// What is to be said.
    pub fn to_message(&self) -> PairingMessage {
        PairingMessage::Request(self.request.clone())
    }
}

impl Joined {
    /// What is to be said.
    pub fn to_message(&self) -> PairingMessage {
        PairingMessage::Confirm(self.confirm.clone())
    }
}

impl Welcomed {
    /// What is to be said.
    pub fn to_message(&self) -> PairingMessage {
        PairingMessage::Answer(self.answer.clone())
    }
}

impl Confirmed {
    /// What is to be said.
    pub fn to_message(&self) -> PairingMessage {
        PairingMessage::Done(self.done.clone())
    }
}

impl Deref for Requested {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

impl Deref for Joined {
    type Target = Confirm;

    fn deref(&self) -> &Confirm {
        &self.confirm
    }
}

impl Deref for Welcomed {
    type Target = Answer;

    fn deref(&self) -> &Answer {
        &self.answer
    }
}

impl Deref for Confirmed {
    type Target = Done;

    fn deref(&self) -> &Done {
        &self.done
    }
}
