//! One more phone through a paired one: whether that may be, the code on its way to who asked, and the word to
//! every phone about who was added.
//!
//! ```text
//! command  -> wanted, answer                          one transaction (obey)
//! wanted   -> listener, invitation from the relay     outside, by the wish
//! offer, and the message with its code                one transaction
//! pairing confirmed, who was added, used              one transaction (journal)
//! last word heard, wanted no more                     one transaction
//! rows     -> every phone told                        afterwards, at every start and tick
//! ```
//!
//! This room must never make an offer whose code is not in the same transaction: nobody could pass it on, and
//! whoever came by it would come unannounced.

use journal::ids::{Channel, CommandId, Line, PairingId};
use journal::message::{
    AddedPhones, CommandResult, HubConfigMessage, InviteFailure, InviteNews, Invited, PairingCode,
    Refusal,
};
use journal::pairing::OfferTerms;
use journal::{AddedSaid, ErrorKind, Invite, InviteAsked, JournalError, Offer, Txn};
use wal::{Priority, crash_point};

use super::{
    Core, CoreError, EPOCH_BYTES, Notice, PROVEN, SMALL_GROUP_BYTES, is_about_one_line, push,
};

/// Whether a paired phone may pass an offer on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MayInvite {
    /// Yes.
    #[default]
    Yes,
    /// No: every phone pairs at the hub.
    No,
}

/// A phone asks for an offer to pass on: written down, or why not.
pub(super) fn ask(
    txn: &mut Txn<'_>,
    by: PairingId,
    asked_by: CommandId,
    may: MayInvite,
) -> Result<CommandResult, JournalError> {
    if may == MayInvite::No {
        return Ok(CommandResult::Refused(Refusal::NotAllowed));
    }
    Ok(match txn.ask_invite(by, asked_by)? {
        InviteAsked::Taken => CommandResult::Done,
        InviteAsked::Busy => CommandResult::Refused(Refusal::Busy),
        InviteAsked::TooManyPhones => CommandResult::Refused(Refusal::TooManyPhones),
    })
}

impl Core {
    /// Whether paired phones may pass offers on. Until this is called they may.
    pub fn let_phones_invite(&mut self, may: MayInvite) {
        self.may_invite = may;
    }

    /// Makes the offer that a phone wants to pass on, and stages it with the message that tells that phone its
    /// code. `None` if it is not wanted any more.
    ///
    /// # Errors
    /// The journal's; without room for the message there is no offer either. [`CoreError::Reopened`]: look what is
    /// wanted, then ask again.
    pub fn make_invite(
        &mut self,
        invite: Invite,
        terms: OfferTerms,
        now_unix_ms: u64,
    ) -> Result<Option<Offer>, CoreError> {
        let asked_by = invite.asked_by;
        let Some(line) = self.line_of_guide(invite) else {
            self.drop_invite(asked_by, now_unix_ms)?;
            return Ok(None);
        };
        let admitted = self.journal()?.admit(EPOCH_BYTES, Priority::Epoch);
        self.judge(admitted, now_unix_ms)?;
        let made = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
            let offer = txn.make_invite(asked_by, terms.clone(), now_unix_ms / 1000)?;
            let Some(offer) = offer else {
                return Ok(None);
            };
            let news = InviteNews::Code(PairingCode::of(&offer));
            session.say(
                txn,
                &[HubConfigMessage::Invited(Invited { asked_by, news })],
            )?;
            // CRASH(hub.invite.made): before: an offer is wanted and there is none; the next start makes one | after: it
            // is made, and its code is on its way to who asked, synced as one.
            crash_point!("hub.invite.made");
            Ok(Some(offer))
        });
        let made = self.judge(made, now_unix_ms);
        let made = self.unless_broken(line, asked_by, made, now_unix_ms)?;
        Ok(made.flatten())
    }

    /// The offer whose code is on its way already, if it still stands: an earlier process made it.
    ///
    /// # Errors
    /// The journal's.
    pub fn standing_invite(
        &mut self,
        invite: Invite,
        now_unix_ms: u64,
    ) -> Result<Option<Offer>, CoreError> {
        let standing = self.journal()?.standing_invite(invite.asked_by);
        self.judge(standing, now_unix_ms)
    }

    /// There will be no offer, or the one that there was is void: that is staged, with the message that says so to
    /// the phone, unless another phone has used it. Nothing happens if it is not wanted any more.
    ///
    /// # Errors
    /// As [`Self::make_invite`].
    pub fn fail_invite(
        &mut self,
        invite: Invite,
        why: InviteFailure,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let asked_by = invite.asked_by;
        let Some(line) = self.line_of_guide(invite) else {
            return self.drop_invite(asked_by, now_unix_ms);
        };
        let admitted = self.journal()?.admit(EPOCH_BYTES, Priority::Epoch);
        self.judge(admitted, now_unix_ms)?;
        let failed = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
            let ended = txn.end_invite(asked_by)?;
            if ended.is_some_and(|ended| !ended.is_used()) {
                let news = InviteNews::Failed(why);
                session.say(
                    txn,
                    &[HubConfigMessage::Invited(Invited { asked_by, news })],
                )?;
            }
            Ok(())
        });
        let failed = self.judge(failed, now_unix_ms);
        let _said: Option<()> = self.unless_broken(line, asked_by, failed, now_unix_ms)?;
        Ok(())
    }

    /// What a phone passes on is void, whichever it is: somebody at the hub pairs a phone. False if there is nothing.
    ///
    /// # Errors
    /// As [`Self::fail_invite`].
    pub fn void_invite(&mut self, now_unix_ms: u64) -> Result<bool, CoreError> {
        let open = self.journal()?.invite();
        match self.judge(open, now_unix_ms)? {
            Some(invite) => {
                self.fail_invite(invite, InviteFailure::Void, now_unix_ms)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// A phone has heard the last word of its pairing: if it came by this offer, nobody need listen for it any more, and
    /// that is staged. Says whether it was.
    ///
    /// # Errors
    /// The journal's.
    pub fn finish_invite(
        &mut self,
        invite: Invite,
        phone: PairingId,
        now_unix_ms: u64,
    ) -> Result<bool, CoreError> {
        let finished = self.try_finish_invite(invite.asked_by, phone);
        self.judge(finished, now_unix_ms)
    }

    fn try_finish_invite(
        &mut self,
        asked_by: CommandId,
        phone: PairingId,
    ) -> Result<bool, CoreError> {
        let mut txn = self.journal()?.begin();
        let finished = txn.finish_invite(asked_by, phone)?;
        if finished {
            // CRASH(hub.invite.finished): before: a phone has paired by it and heard its last word; the next start says
            // that again to who asks, until the offer's time is over | after: nobody listens for it any more.
            crash_point!("hub.invite.finished");
            drop(txn.stage(())?);
            self.staged_bytes += SMALL_GROUP_BYTES;
        }
        Ok(finished)
    }

    /// A phone was just confirmed: its lines are there from now on, and if another one passed the offer on, that is
    /// said here and to every phone.
    ///
    /// # Errors
    /// The journal's. The phone is paired all the same.
    pub fn handle_paired(&mut self, phone: PairingId, now_unix_ms: u64) -> Result<(), CoreError> {
        let was_there = self.lines.keys().any(|line| line.pairing == phone);
        self.refresh_lines()?;
        self.refresh_wishes()?;
        let added = self.added_phones(now_unix_ms)?;
        let one = added.phones.iter().find(|added| added.phone == phone);
        if let Some(one) = one.filter(|_| !was_there) {
            let by = one.by;
            push(&mut self.notices, Notice::PhoneAdded { phone, by });
        }
        self.follow_added(now_unix_ms)
    }

    /// Tells every phone of those that were added, as [`Self::follow_settings`] tells of settings: once there is
    /// room, not while it is silent, and once it has acked what it was told of them before.
    pub(super) fn follow_added(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let added = self.added_phones(now_unix_ms)?;
        for line in self.lines_to_tell_of(added.version)? {
            if !self.has_room(EPOCH_BYTES, Priority::Epoch, now_unix_ms)? {
                tracing::debug!("a phone is told who was added when there is room");
                return Ok(());
            }
            let told = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
                let added = txn.added_phones()?;
                let version = added.version;
                let said = session.say(txn, &[HubConfigMessage::Added(added)])?;
                txn.put_added_said(line.pairing, AddedSaid { version, said })?;
                // CRASH(hub.added.staged): before: this phone is not told who was added, and no row says it is; the next
                // start or tick tells it | after: Commit, word and what it was told are synced as one.
                crash_point!("hub.added.staged");
                Ok(())
            });
            match self.judge(told, now_unix_ms) {
                Ok(()) => {}
                Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                }
                Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                    tracing::debug!(%error, "a phone is told who was added when there is room");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The config lines of the phones that know an older version and are to be told now.
    fn lines_to_tell_of(&self, version: u64) -> Result<Vec<Line>, CoreError> {
        let journal = self.journal_ref()?;
        let mut due = Vec::new();
        for (line, state) in &self.lines {
            let goes_on = !state.broken && state.standing != PROVEN;
            if line.channel != Channel::Config || !goes_on || self.silence.is_silent(line.pairing) {
                continue;
            }
            let said = journal.added_said(line.pairing)?;
            if said.version < version && said.said <= journal.outbox_head(*line)?.acked {
                due.push(*line);
            }
        }
        Ok(due)
    }

    fn added_phones(&mut self, now_unix_ms: u64) -> Result<AddedPhones, CoreError> {
        let read = self.journal()?.added_phones();
        match self.judge(read, now_unix_ms) {
            Err(CoreError::Reopened) => Ok(self.journal_ref()?.added_phones()?),
            read => read,
        }
    }

    /// The config line of the phone that passes an offer on; `None` if nothing can be said there any more.
    fn line_of_guide(&self, invite: Invite) -> Option<Line> {
        let line = Line::of(invite.by, Channel::Config);
        let state = self.lines.get(&line)?;
        (!state.broken && state.standing != PROVEN).then_some(line)
    }

    /// A line whose stored state cannot be used is over, and with it what its phone wanted: `None`.
    fn unless_broken<T>(
        &mut self,
        line: Line,
        asked_by: CommandId,
        result: Result<T, CoreError>,
        now_unix_ms: u64,
    ) -> Result<Option<T>, CoreError> {
        match result {
            // How many phones there are is no fault of the line.
            Err(CoreError::Journal(error @ JournalError::Pairing(_))) => Err(error.into()),
            Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                self.set_broken(line, &error);
                self.drop_invite(asked_by, now_unix_ms)?;
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// What is wanted by a phone that nobody can tell anything is wanted no more.
    fn drop_invite(&mut self, asked_by: CommandId, now_unix_ms: u64) -> Result<(), CoreError> {
        let dropped = self.try_drop_invite(asked_by);
        self.judge(dropped, now_unix_ms)
    }

    fn try_drop_invite(&mut self, asked_by: CommandId) -> Result<(), CoreError> {
        let mut txn = self.journal()?.begin();
        if txn.end_invite(asked_by)?.is_some() {
            drop(txn.stage(())?);
            self.staged_bytes += SMALL_GROUP_BYTES;
        }
        Ok(())
    }

    /// The journal has made something durable by itself: what is wanted now is told. Where a commit of ours is
    /// under way or due, the next one does it.
    pub(super) fn refresh_wishes(&mut self) -> Result<(), CoreError> {
        match self.has_staged() || self.is_committing() {
            true => self.staged_bytes = self.staged_bytes.max(SMALL_GROUP_BYTES),
            false => self.wishes = self.staged_wishes()?,
        }
        Ok(())
    }
}
