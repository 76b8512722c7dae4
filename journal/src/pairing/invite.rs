//! An offer that a paired phone passes on (hub): asked for by a command, made when the hub listens and has an
//! invitation from the relay, good for one phone and for its time.
//!
//! One at a time, and its invitation to the relay is taken back if nobody used it. That it is wanted, whose it is, and
//! who came by it are one row, so that each step is one transaction with what it belongs to: the command's answer, the
//! message with the code, the confirmed pairing, the removal of who asked. The wish goes on behind the confirmed
//! pairing until that phone has its last word. This room must never leave an offer that can be used and that nobody was
//! told of, and never a phone that came by one and that the others are not told of.

use serde::{Deserialize, Serialize};
use wal::mutant;
use wire::Invitation;
use wire::ids::Seq;

use super::hub::{end_offer, make_offer, offer_row};
use super::remove::{forget_dismissal, if_readable, owe_offer};
use super::{Guest, HubPairing, Offer, OfferTerms, PHONES_MAX};
use crate::error::{ErrorKind, JournalError};
use crate::ids::{CommandId, OfferId, PairingId};
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::message::{AddedPhone, AddedPhones};
use crate::record::PairingRecord;
use crate::scope::Scope;
use crate::txn::Txn;

/// An offer that a phone wants to pass on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invite {
    /// The phone that passes it on.
    pub by: PairingId,
    /// The command by which it asked.
    pub asked_by: CommandId,
    /// How far it is.
    pub state: InviteState,
}

/// How far an offer is that a phone passes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InviteState {
    /// It is not made yet.
    Wanted,
    /// It is made and its code on its way to the phone that asked.
    Made {
        /// Which it is.
        offer: OfferId,
        /// When it stops being good, seconds since 1970.
        expires_unix_s: u64,
    },
    /// A phone has used it and is paired. It may have missed the last word, and asks for that again where it asked
    /// before, until the offer's time is over.
    Used {
        /// Which phone.
        phone: PairingId,
        /// When the offer's time is over, seconds since 1970.
        expires_unix_s: u64,
    },
}

impl Invite {
    /// Whether a phone has used it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        matches!(self.state, InviteState::Used { .. })
    }

    /// The offer that is made and that nobody has used yet.
    pub(super) fn offer(&self) -> Option<OfferId> {
        match self.state {
            InviteState::Made { offer, .. } => Some(offer),
            InviteState::Wanted | InviteState::Used { .. } => None,
        }
    }
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

/// For a step that goes on from it. One that cannot be read holds nothing up: this transaction puts another in its
/// place.
fn load(txn: &mut Txn<'_>) -> Result<InviteRow, JournalError> {
    match txn.row(keys::INVITES) {
        Err(error) if error.kind() == ErrorKind::Corrupt => lost(txn, &error),
        row => Ok(row?.unwrap_or_default()),
    }
}

/// For who only looks: one that cannot be read names nobody.
fn read(journal: &Journal) -> Result<InviteRow, JournalError> {
    match journal.row(keys::INVITES) {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(InviteRow::default()),
        row => Ok(row?.unwrap_or_default()),
    }
}

/// What a row that cannot be read is replaced by. Whose code is passed on cannot be told, so none is good any more. The
/// versions go on from what was said, or the next phone would be added unannounced.
fn lost(txn: &mut Txn<'_>, error: &JournalError) -> Result<InviteRow, JournalError> {
    tracing::error!(%error, "who was added by whom cannot be read, and is forgotten");
    for id in super::offers(txn.journal()) {
        end_whole(txn, id)?;
    }
    let mut row = InviteRow::default();
    for pairing in txn.journal().pairing_ids() {
        let said = if_readable(txn.journal().added_said(pairing).map(Some))?;
        let version = said.unwrap_or_default().version;
        row.added.version = row.added.version.max(version);
    }
    txn.put_row(keys::INVITES, &row)?;
    Ok(row)
}

/// At a start: a row that cannot be read is replaced.
pub(super) fn mend(journal: &mut Journal) -> Result<(), JournalError> {
    let found = journal.row::<InviteRow>(keys::INVITES);
    if !matches!(&found, Err(error) if error.kind() == ErrorKind::Corrupt) {
        return found.map(drop);
    }
    let mut txn = journal.begin();
    let _new = load(&mut txn)?;
    txn.commit(()).map(drop)
}

/// The one that this command asked for, if it is still wanted.
fn open_by(row: &InviteRow, asked_by: CommandId) -> Option<Invite> {
    row.open.filter(|open| open.asked_by == asked_by)
}

/// Its offer dies whole, with what was made for a phone that has not proved itself. What the relay is owed for it was
/// written down when it was made.
fn void(txn: &mut Txn<'_>, open: Invite) -> Result<(), JournalError> {
    match open.offer() {
        Some(id) => end_whole(txn, id),
        None => Ok(()),
    }
}

/// Ends an offer that is still there, whether or not it can be read.
fn end_whole(txn: &mut Txn<'_>, id: OfferId) -> Result<(), JournalError> {
    // The pairing that this transaction confirms has ended its own.
    if !txn.has_scope(Scope::Offer(id)) {
        return Ok(());
    }
    match if_readable(offer_row(txn.journal(), id))? {
        Some(row) => end_offer(txn, id, &row),
        None => txn.end(Scope::Offer(id)),
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
    mutant!("added_unsaid", "C5", "a phone that came by another one's code is paired, and no row says so" => {
        return Ok(());
    });
    let mut row = load(txn)?;
    let Some(open) = row.open.as_mut() else {
        return Ok(());
    };
    let InviteState::Made {
        offer: made,
        expires_unix_s,
    } = open.state
    else {
        return Ok(());
    };
    if made != offer {
        return Ok(());
    }
    open.state = InviteState::Used {
        phone,
        expires_unix_s,
    };
    let (by, asked_by) = (open.by, open.asked_by);
    row.added.add(AddedPhone {
        phone,
        by,
        asked_by,
        paired_unix_s,
    });
    // Its invitation is the pairing's from now on.
    forget_dismissal(txn, &offer.0);
    txn.put_row(keys::INVITES, &row)
}

/// A phone is removed, or has paired again: what it passes on is void. Whom it added stays, and stays named as added
/// by it.
pub(super) fn forget_phone(txn: &mut Txn<'_>, phone: PairingId) -> Result<(), JournalError> {
    let mut row = load(txn)?;
    let is_about = |open: &Invite| match open.state {
        InviteState::Used { phone: by_it, .. } => by_it == phone,
        InviteState::Wanted | InviteState::Made { .. } => open.by == phone,
    };
    let (own, known) = (row.open.filter(is_about), row.added.phones.len());
    row.added.phones.retain(|added| added.phone != phone);
    if own.is_none() && row.added.phones.len() == known {
        return Ok(());
    }
    if let Some(open) = own {
        if !mutant!(
            "code_outlives_its_phone",
            "S2",
            "a phone is removed, and the code that it passes on stays good"
        ) {
            void(txn, open)?;
        }
        row.open = None;
    }
    txn.put_row(keys::INVITES, &row)
}

/// What is taken back at the relay if nobody uses an offer: its invitation, whoever has redeemed that by then.
fn owe(txn: &mut Txn<'_>, by: PairingId, offer: &Offer) -> Result<(), JournalError> {
    let record: Option<PairingRecord> = txn.secret_row(Scope::Pairing(by), Family::Pairing, &[])?;
    let invitation = Invitation::decode(&offer.invitation);
    if let (Some(record), Ok(invitation)) = (record, invitation) {
        let guest = Guest {
            device: record.peer_device,
            invitation: invitation.nonce,
        };
        owe_offer(txn, offer.offer, guest, &offer.relay)?;
    }
    Ok(())
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
        // One that is used only waits for a phone that may have missed its last word.
        if row
            .open
            .is_some_and(|open| open.by != by && !open.is_used())
        {
            return Ok(InviteAsked::Busy);
        }
        if HubPairing::places_taken(self.journal())? >= PHONES_MAX {
            return Ok(InviteAsked::TooManyPhones);
        }
        if let Some(open) = row.open {
            void(self, open)?;
        }
        row.open = Some(Invite {
            by,
            asked_by,
            state: InviteState::Wanted,
        });
        self.put_row(keys::INVITES, &row)?;
        Ok(InviteAsked::Taken)
    }

    /// Makes the offer that this command asked for. Whoever calls this must say its code to that phone in the same
    /// transaction. `None` if it is not wanted any more, or a phone has used one already: nothing changed.
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
        let Some(open) = open_by(&row, asked_by).filter(|open| !open.is_used()) else {
            return Ok(None);
        };
        if HubPairing::places_taken(self.journal())? >= PHONES_MAX {
            return Err(super::PairingError::TooManyPhones.into());
        }
        void(self, open)?;
        let offer = make_offer(self, terms, now_unix_s)?;
        // ORDER: with the offer, so that there is no way in which it ends and its invitation stays good.
        owe(self, open.by, &offer)?;
        row.open = Some(Invite {
            state: InviteState::Made {
                offer: offer.offer,
                expires_unix_s: offer.expires_unix_s,
            },
            ..open
        });
        self.put_row(keys::INVITES, &row)?;
        Ok(Some(offer))
    }

    /// What this command asked for is not wanted any more, and its offer is void: as it was. `None` if it was not
    /// wanted before.
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn end_invite(&mut self, asked_by: CommandId) -> Result<Option<Invite>, JournalError> {
        let mut row = load(self)?;
        let Some(open) = open_by(&row, asked_by) else {
            return Ok(None);
        };
        void(self, open)?;
        row.open = None;
        self.put_row(keys::INVITES, &row)?;
        Ok(Some(open))
    }

    /// This phone has heard its last word. If it was by what this command asked for, nothing is left to be done for
    /// that; otherwise nothing changes. Says whether it was.
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn finish_invite(
        &mut self,
        asked_by: CommandId,
        phone: PairingId,
    ) -> Result<bool, JournalError> {
        let mut row = load(self)?;
        let is_by_it = |open: &Invite| match open.state {
            InviteState::Used { phone: used_by, .. } => used_by == phone,
            InviteState::Wanted | InviteState::Made { .. } => false,
        };
        if !open_by(&row, asked_by).as_ref().is_some_and(is_by_it) {
            return Ok(false);
        }
        row.open = None;
        self.put_row(keys::INVITES, &row)?;
        Ok(true)
    }

    /// [`Journal::added_phones`], as the transaction sees them.
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn added_phones(&self) -> Result<AddedPhones, JournalError> {
        match self.row::<InviteRow>(keys::INVITES) {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(AddedPhones::default()),
            row => Ok(row?.unwrap_or_default().added),
        }
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
        Ok(read(self)?.open)
    }

    /// The offer that this command asked for and that its phone was told; `None` if there is none, or none any
    /// more (hub).
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn standing_invite(&self, asked_by: CommandId) -> Result<Option<Offer>, JournalError> {
        let open = self.invite()?.filter(|open| open.asked_by == asked_by);
        let Some(id) = open.and_then(|open| open.offer()) else {
            return Ok(None);
        };
        Ok(offer_row(self, id)?.map(|row| row.offer))
    }

    /// The phones that came by an offer which another one passed on (hub).
    ///
    /// # Errors
    /// If what is stored cannot be read.
    pub fn added_phones(&self) -> Result<AddedPhones, JournalError> {
        Ok(read(self)?.added)
    }

    /// What a phone was told last of them (hub).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn added_said(&self, pairing: PairingId) -> Result<AddedSaid, JournalError> {
        Ok(self.row(&keys::added_said(pairing))?.unwrap_or_default())
    }
}
