//! An offer that a paired phone passes on (hub): asked for by a command, made when the hub listens and has an
//! invitation from the relay, good for one phone and for its time.
//!
//! One at a time. That it is wanted, whose it is, and who came by it are one row, so that each step is one
//! transaction with what it belongs to: the command's answer, the message with the code, the confirmed pairing,
//! the removal of who asked. This room must never leave an offer that can be used and that nobody was told of, and
//! never a phone that came by one and that the others are not told of.

use serde::{Deserialize, Serialize};
use wire::ids::Seq;

use super::hub::{end_offer, make_offer, offer_row};
use super::{Offer, OfferTerms, PHONES_MAX};
use crate::error::JournalError;
use crate::ids::{CommandId, OfferId, PairingId};
use crate::journal::Journal;
use crate::keys;
use crate::message::{AddedPhone, AddedPhones};
use crate::txn::Txn;

/// An offer that a phone wants to pass on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invite {
    /// The phone that passes it on.
    pub by: PairingId,
    /// The command by which it asked.
    pub asked_by: CommandId,
    /// The offer, once it is made and on its way to that phone.
    pub offer: Option<OfferId>,
}

/// What came of asking for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InviteAsked {
    /// It is wanted. An earlier one of the same phone is void.
    Taken,
    /// Nothing changed: another phone passes one on.
    Busy,
    /// Nothing changed: there are [`PHONES_MAX`] phones.
    TooManyPhones,
}

/// What a phone was told last of the phones that were added.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct AddedSaid {
    /// The version of [`AddedPhones`]; 0 if it was told of none.
    pub version: u64,
    /// The envelope in the config line that said it. Until it is acked, nothing newer need be said.
    pub said: Seq,
}

/// As stored.
#[derive(Default, Serialize, Deserialize)]
struct InviteRow {
    open: Option<Invite>,
    added: AddedPhones,
}

fn load(txn: &Txn<'_>) -> Result<InviteRow, JournalError> {
    Ok(txn.row(keys::INVITES)?.unwrap_or_default())
}

/// The one that this command asked for, if it is still wanted.
fn open_by(row: &InviteRow, asked_by: CommandId) -> Option<Invite> {
    row.open.filter(|open| open.asked_by == asked_by)
}

/// Its offer dies whole, with what was made for a phone that has not proved itself.
fn void(txn: &mut Txn<'_>, open: Invite) -> Result<(), JournalError> {
    let Some(id) = open.offer else {
        return Ok(());
    };
    if let Some(row) = offer_row(txn.journal(), id)? {
        end_offer(txn, id, &row);
    }
    Ok(())
}

/// A phone was confirmed by this offer: if another one passed it on, that is written down.
pub(super) fn used(
    txn: &mut Txn<'_>,
    offer: OfferId,
    phone: PairingId,
    paired_unix_s: u64,
) -> Result<(), JournalError> {
    let mut row = load(txn)?;
    let Some(open) = row.open.filter(|open| open.offer == Some(offer)) else {
        return Ok(());
    };
    row.open = None;
    row.added.add(AddedPhone {
        phone,
        by: open.by,
        asked_by: open.asked_by,
        paired_unix_s,
    });
    txn.put_row(keys::INVITES, &row)
}

/// A phone is removed: what it passes on is void. Whom it added stays, and stays named as added by it.
pub(super) fn forget_phone(txn: &mut Txn<'_>, phone: PairingId) -> Result<(), JournalError> {
    let mut row = load(txn)?;
    let (own, known) = (
        row.open.filter(|open| open.by == phone),
        row.added.phones.len(),
    );
    row.added.phones.retain(|added| added.phone != phone);
    if own.is_none() && row.added.phones.len() == known {
        return Ok(());
    }
    if let Some(open) = own {
        void(txn, open)?;
        row.open = None;
    }
    txn.put_row(keys::INVITES, &row)
}

impl Txn<'_> {
    /// A phone wants to pass an offer on. It is made later, by [`Self::make_invite`].
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn ask_invite(
        &mut self,
        by: PairingId,
        asked_by: CommandId,
    ) -> Result<InviteAsked, JournalError> {
        let mut row = load(self)?;
        if row.open.is_some_and(|open| open.by != by) {
            return Ok(InviteAsked::Busy);
        }
        if self.phones()?.len() >= PHONES_MAX {
            return Ok(InviteAsked::TooManyPhones);
        }
        if let Some(open) = row.open {
            void(self, open)?;
        }
        row.open = Some(Invite {
            by,
            asked_by,
            offer: None,
        });
        self.put_row(keys::INVITES, &row)?;
        Ok(InviteAsked::Taken)
    }

    /// Makes the offer that this command asked for. Whoever calls this must say its code to that phone in the same
    /// transaction. `None` if it is not wanted any more: nothing changed.
    ///
    /// # Errors
    /// [`super::PairingError::TooManyPhones`] if there are [`PHONES_MAX`] by now. Our own storage.
    pub fn make_invite(
        &mut self,
        asked_by: CommandId,
        terms: OfferTerms,
        now_unix_s: u64,
    ) -> Result<Option<Offer>, JournalError> {
        let mut row = load(self)?;
        let Some(open) = open_by(&row, asked_by) else {
            return Ok(None);
        };
        if self.phones()?.len() >= PHONES_MAX {
            return Err(super::PairingError::TooManyPhones.into());
        }
        void(self, open)?;
        let offer = make_offer(self, terms, now_unix_s)?;
        row.open = Some(Invite {
            offer: Some(offer.offer),
            ..open
        });
        self.put_row(keys::INVITES, &row)?;
        Ok(Some(offer))
    }

    /// What this command asked for is not wanted any more, and its offer is void. False if it was not wanted before.
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn end_invite(&mut self, asked_by: CommandId) -> Result<bool, JournalError> {
        let mut row = load(self)?;
        let Some(open) = open_by(&row, asked_by) else {
            return Ok(false);
        };
        void(self, open)?;
        row.open = None;
        self.put_row(keys::INVITES, &row)?;
        Ok(true)
    }

    /// [`Journal::added_phones`], as the transaction sees them.
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn added_phones(&self) -> Result<AddedPhones, JournalError> {
        Ok(load(self)?.added)
    }

    /// Remembers what this transaction tells a phone of those that were added.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn put_added_said(
        &mut self,
        pairing: PairingId,
        said: AddedSaid,
    ) -> Result<(), JournalError> {
        self.put_row(&keys::added_said(pairing), &said)
    }
}

impl Journal {
    /// The offer that a phone wants to pass on, or passes on now (hub).
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn invite(&self) -> Result<Option<Invite>, JournalError> {
        let row: Option<InviteRow> = self.row(keys::INVITES)?;
        Ok(row.and_then(|row| row.open))
    }

    /// The offer that this command asked for and that its phone was told; `None` if there is none, or none any
    /// more (hub).
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn standing_invite(&self, asked_by: CommandId) -> Result<Option<Offer>, JournalError> {
        let open = self.invite()?.filter(|open| open.asked_by == asked_by);
        let Some(id) = open.and_then(|open| open.offer) else {
            return Ok(None);
        };
        Ok(offer_row(self, id)?.map(|row| row.offer))
    }

    /// The phones that came by an offer which another one passed on (hub).
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn added_phones(&self) -> Result<AddedPhones, JournalError> {
        let row: Option<InviteRow> = self.row(keys::INVITES)?;
        Ok(row.unwrap_or_default().added)
    }

    /// What a phone was told last of them (hub).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn added_said(&self, pairing: PairingId) -> Result<AddedSaid, JournalError> {
        Ok(self.row(&keys::added_said(pairing))?.unwrap_or_default())
    }
}
