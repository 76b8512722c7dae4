//! A hub's code that this phone passes on, and who was added to its hubs (app).
//!
//! The code is a secret of somebody else's pairing, so it lives in a scope of its own that dies whole: when it
//! was shown, when a phone has used it, when another takes its place, and when its time is over, which a start, a sync
//! and whoever asks for it look at. This room must never keep one longer.

use serde::{Deserialize, Serialize};
use wal::{Durable, crash_point};

use crate::error::{ErrorKind, JournalError};
use crate::ids::{CommandId, OfferId, PairingId};
use crate::journal::Journal;
use crate::keys::Family;
use crate::message::{AddedPhone, AddedPhones, InviteFailure, InviteNews, Invited, PairingCode};
use crate::pairing::Offer;
use crate::scope::Scope;
use crate::session::{Follower, Session};
use crate::txn::Txn;

/// A code that this phone passes on.
#[derive(Clone, Serialize, Deserialize)]
pub struct PassedCode {
    /// Of which hub.
    pub pairing: PairingId,
    /// The command that asked for it.
    pub asked_by: CommandId,
    /// When it stops being good, seconds since 1970 by the hub's clock.
    pub expires_unix_s: u64,
    /// What another phone reads.
    pub code: PairingCode,
}

/// What a message about an invite did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InviteTaken {
    /// The code is here ([`Journal::passed_code`]).
    Here,
    /// There is none, or the one that there was is void.
    Failed(InviteFailure),
}

/// All of them; none for one that cannot be read any more.
pub(crate) fn passed(
    journal: &Journal,
) -> Result<Vec<(OfferId, Option<PassedCode>)>, JournalError> {
    let mut found = Vec::new();
    for scope in journal.scopes.iter() {
        let Scope::Passed(id) = scope else {
            continue;
        };
        match journal.secret_row(scope, Family::Passed, &[]) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(%error, "a code to pass on cannot be read");
                found.push((id, None));
            }
            code => found.push((id, code?)),
        }
    }
    Ok(found)
}

/// Those that fit are gone with their keys, and with them what nobody can read.
fn end(txn: &mut Txn<'_>, fits: impl Fn(&PassedCode) -> bool) -> Result<bool, JournalError> {
    let mut any = false;
    for (id, code) in passed(txn.journal())? {
        if code.as_ref().is_none_or(&fits) {
            txn.end(Scope::Passed(id));
            any = true;
        }
    }
    Ok(any)
}

/// A hub is forgotten: the codes of it that this phone passes on are gone with their keys.
pub(crate) fn end_of(txn: &mut Txn<'_>, pairing: PairingId) -> Result<(), JournalError> {
    end(txn, |known| known.pairing == pairing).map(drop)
}

impl Session<Follower> {
    /// Takes what the hub says of an invite; `None` if it is no code of this hub's, which changes nothing.
    pub(crate) fn take_invited(
        &mut self,
        txn: &mut Txn<'_>,
        invited: Invited,
    ) -> Result<Option<InviteTaken>, JournalError> {
        let pairing = self.line().pairing;
        let asked_by = invited.asked_by;
        let code = match invited.news {
            InviteNews::Code(code) => code,
            InviteNews::Failed(why) => {
                end(txn, |known| known.asked_by == asked_by)?;
                return Ok(Some(InviteTaken::Failed(why)));
            }
        };
        let Ok(offer) = Offer::from_text(code.text()) else {
            return Ok(None);
        };
        let scope = Scope::Passed(offer.offer);
        if txn.has_scope(scope) {
            return Ok(None);
        }
        // A hub has one at a time.
        end(txn, |known| known.pairing == pairing)?;
        txn.birth(scope)?;
        let row = PassedCode {
            pairing,
            asked_by,
            expires_unix_s: offer.expires_unix_s,
            code,
        };
        txn.put_secret_row(scope, Family::Passed, &[], &row)?;
        // CRASH(journal.passed.kept): before: no code, the cursor is before it; it comes again | after: the code is here,
        // under a key of its own, synced with the cursor behind it.
        crash_point!("journal.passed.kept");
        Ok(Some(InviteTaken::Here))
    }

    /// Keeps who was added, and gives those that are news here. A code that one of them has used is gone.
    pub(crate) fn take_added(
        &mut self,
        txn: &mut Txn<'_>,
        added: &AddedPhones,
    ) -> Result<Vec<AddedPhone>, JournalError> {
        let scope = Scope::Pairing(self.line().pairing);
        let known: Option<AddedPhones> = txn.secret_row(scope, Family::Added, &[])?;
        let known = known.unwrap_or_default();
        let is_news = |one: &&AddedPhone| !known.phones.contains(one);
        let news = added.phones.iter().filter(is_news).copied().collect();
        txn.put_secret_row(scope, Family::Added, &[], added)?;
        let used = |code: &PassedCode| {
            let by_it = |one: &AddedPhone| one.asked_by == code.asked_by;
            added.phones.iter().any(by_it)
        };
        end(txn, used)?;
        Ok(news)
    }
}

impl Journal {
    /// The code that this command asked for, as long as it is here (app).
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn passed_code(&self, asked_by: CommandId) -> Result<Option<PassedCode>, JournalError> {
        let all = passed(self)?;
        let mut codes = all.into_iter().filter_map(|(_, code)| code);
        Ok(codes.find(|code| code.asked_by == asked_by))
    }

    /// The code that this command asked for was shown, or nobody wants it any more: it is gone with its key. False
    /// if it was not here (app).
    ///
    /// # Errors
    /// Our own storage.
    pub fn end_passed_code(&mut self, asked_by: CommandId) -> Result<Durable<bool>, JournalError> {
        let mut txn = self.begin();
        let ended = end(&mut txn, |code| code.asked_by == asked_by)?;
        // CRASH(journal.passed.ended): before: the code was shown, and is here until its time is over, a phone has used it
        // or another takes its place | after: it is gone with its key.
        crash_point!("journal.passed.ended");
        txn.commit(ended)
    }

    /// Ends the codes whose time is over: what a start and each sync do (app).
    ///
    /// # Errors
    /// Our own storage.
    pub fn expire_passed_codes(&mut self, now_unix_s: u64) -> Result<(), JournalError> {
        let old = |code: &PassedCode| code.expires_unix_s <= now_unix_s;
        let is_over = |(_, code): &(OfferId, Option<PassedCode>)| code.as_ref().is_none_or(old);
        if passed(self)?.iter().any(is_over) {
            let mut txn = self.begin();
            let _any = end(&mut txn, old)?;
            drop(txn.commit(())?);
        }
        Ok(())
    }

    /// The phones that a hub has told of as added by another phone (app).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn told_of_added(&self, pairing: PairingId) -> Result<AddedPhones, JournalError> {
        let row = self.secret_row(Scope::Pairing(pairing), Family::Added, &[])?;
        Ok(row.unwrap_or_default())
    }
}
