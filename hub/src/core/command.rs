//! What a phone orders: done once, answered in the same transaction, and what follows from the rows.
//!
//! ```text
//! envelope -> effect on rows, outcome, Commit, answer, rotation     one transaction
//! rows     -> clip ended, other phones told, restart, relay asked   afterwards, at every start and tick
//! ```
//!
//! Nothing outside the journal is set in motion by a message: a recording, the camera, the uplink and the end
//! of the process follow what is stored, so that a crash between the two loses nothing and repeats nothing.
//! This room must never take a command whose answer has no room, and never do one twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::ids::{Channel, CommandId, Line, PairingId};
use journal::message::{
    Command, CommandKind, CommandResult, HubConfigMessage, LiveEnd, Outcome, PhoneFacts, Refusal,
    SettingsDoc,
};
use journal::pairing::PHONES_MAX;
use journal::{ErrorKind, JournalError, SettingsSaid, Txn};
use wal::{Priority, crash_point, mutant};
use wire::ids::Seq;

use super::recording::Ending;
use super::{
    Core, CoreError, Detections, EPOCH_BYTES, LineState, MayInvite, Notice, PROVEN,
    SMALL_GROUP_BYTES, Stop, Wishes, camera_settings, invite, is_about_one_line,
};

/// What this hub does at the moment if a phone orders it.
#[derive(Clone, Copy)]
pub(super) struct Allowed<'d> {
    /// It has run for long enough to restart.
    pub(super) restart: bool,
    /// Its owner lets phones pass offers on.
    pub(super) invite: MayInvite,
    /// The cameras that can be set.
    pub(super) detections: &'d Detections,
}

/// Does what a phone orders, unless it was done before, and says what came of it: effect, outcome and answer
/// are in this transaction. If the phone was not told of the settings yet, it is told in the same epoch. Where the
/// program may not restart, because it has just done so, the wish is granted already. Returns the phone that this
/// transaction removes, if it does ([`Core::forget_phone`]).
pub(super) fn obey(
    lines: &mut BTreeMap<Line, LineState>,
    txn: &mut Txn<'_>,
    config: Line,
    (command, allowed): (&Command, Allowed<'_>),
) -> Result<Option<PairingId>, JournalError> {
    let (pairing, id) = (config.pairing, command.id);
    let mut removed = None;
    let result = match (txn.remembered_outcome(pairing, id)?, command.kind()) {
        (Some(known), _) => known,
        (None, None) => CommandResult::Refused(Refusal::NotUnderstood),
        (None, Some(CommandKind::Restart)) if !allowed.restart => CommandResult::Done,
        (None, Some(kind)) => match carry_out(txn, config, (id, kind), allowed, &mut removed) {
            // It is about another line or phone than the one that is answered.
            Err(error) if is_about_one_line(&error) => {
                tracing::error!(%error, "a command is refused");
                CommandResult::Refused(Refusal::Unreadable)
            }
            done => done?,
        },
    };
    let doc = txn.settings()?;
    let told = result.settings().map_or(0, |doc| doc.version);
    let is_new = txn.settings_said(pairing)?.version < doc.version;
    let mut messages = Vec::new();
    if is_new && told < doc.version {
        messages.push(HubConfigMessage::Settings(doc));
    }
    let outcome = Outcome {
        id,
        result: result.clone(),
    };
    messages.push(HubConfigMessage::Outcome(outcome));
    let state = lines
        .get_mut(&config)
        .ok_or(JournalError::NoGroup(config))?;
    let said = state.session.say_back(txn, &messages)?;
    txn.remember_outcome(pairing, (id, result), said)?;
    if is_new {
        let version = doc.version;
        txn.put_settings_said(pairing, SettingsSaid { version, said })?;
    }
    Ok(removed)
}

/// The effect of a command on the rows of this transaction, all of it or none. Says which phone it removes, if it
/// does.
fn carry_out(
    txn: &mut Txn<'_>,
    config: Line,
    (id, kind): (CommandId, CommandKind),
    allowed: Allowed<'_>,
    removed: &mut Option<PairingId>,
) -> Result<CommandResult, JournalError> {
    let current = txn.settings()?;
    let settings = match kind {
        CommandKind::Restart => {
            txn.want_restart(id)?;
            return Ok(CommandResult::Done);
        }
        CommandKind::Phones => return Ok(CommandResult::Phones(phones(txn)?)),
        CommandKind::Invite => return invite::ask(txn, config.pairing, id, allowed.invite),
        CommandKind::Remove { phone } => {
            // Itself it cannot remove: nobody would be left to be answered.
            if phone == config.pairing || !txn.remove_phone(phone)? {
                return Ok(CommandResult::Refused(Refusal::NoSuchPhone));
            }
            *removed = Some(phone);
            return Ok(CommandResult::Done);
        }
        CommandKind::SendAgain { channel, from } => {
            return send_again(txn, Line::of(config.pairing, channel), Seq(from));
        }
        CommandKind::Camera { camera } => {
            return camera_settings::ask(txn, allowed.detections, &camera);
        }
        CommandKind::SetCamera(change) => {
            return camera_settings::change(txn, allowed.detections, (id, change));
        }
        CommandKind::Privacy { on } => {
            let mut settings = current.settings;
            settings.privacy = on;
            settings
        }
        CommandKind::SetSettings { base, .. }
            if !base.is(&current)
                && !mutant!(
                    "settings_version_not_compared",
                    "C2",
                    "a change of settings applies on top of another phone's, and nobody is told"
                ) =>
        {
            return Ok(CommandResult::Conflict(current));
        }
        CommandKind::SetSettings { settings, .. } if !settings.are_sound() => {
            return Ok(CommandResult::Refused(Refusal::OutOfRange));
        }
        CommandKind::SetSettings { settings, .. } => settings,
    };
    // Also if nothing differs: a later change may start from what this command made.
    let doc = SettingsDoc {
        version: current.version + 1,
        made_by: Some(id),
        settings,
    };
    txn.put_settings(&doc)?;
    Ok(CommandResult::Changed(doc))
}

fn phones(txn: &Txn<'_>) -> Result<Vec<PhoneFacts>, JournalError> {
    let mut facts = Vec::new();
    for phone in txn.phones()?.iter().take(PHONES_MAX) {
        let heard = txn.phone_heard(phone.id)?;
        facts.push(PhoneFacts {
            phone: phone.id,
            paired_unix_s: phone.paired_unix_s,
            heard_unix_ms: heard.map(|heard| heard.unix_ms),
        });
    }
    Ok(facts)
}

/// What is acked is at the phone, and what was never made cannot be missing there: a phone that has all of
/// it asks for the next.
fn send_again(txn: &mut Txn<'_>, line: Line, from: Seq) -> Result<CommandResult, JournalError> {
    let head = txn.outbox_head(line)?;
    if from == Seq::NONE || from > head.last.next() {
        return Ok(CommandResult::Refused(Refusal::OutOfRange));
    }
    if from > head.acked && from <= head.last {
        txn.ask_again(line)?;
    }
    Ok(CommandResult::Done)
}

impl Core {
    /// What the parts outside the journal are to do: only what a finished commit covers.
    pub fn wishes(&self) -> Wishes {
        self.wishes.clone()
    }

    /// The same, with what is only staged.
    pub(super) fn staged_wishes(&self) -> Result<Wishes, JournalError> {
        let journal = self.journal.as_ref().ok_or(JournalError::Poisoned(None))?;
        let restart = journal.restart_wanted()?;
        Ok(Wishes {
            settings: journal.settings()?.settings,
            // What cannot be read there is none; neither holds up a sync.
            cameras: Arc::new(journal.cameras_set()?),
            restart: restart.is_some() && restart != self.restarted_for,
            invite: journal.invite()?,
        })
    }

    /// The restart that a phone asked for is this start: the row goes, so that no crash repeats it. A disk
    /// without room for that keeps the row, and this process knows that it is past.
    pub(super) fn note_restarted(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.restarted_for = self.journal_ref()?.restart_wanted()?;
        if self.restarted_for.is_none() {
            return Ok(());
        }
        let mut txn = self.journal()?.begin();
        txn.forget_restart();
        match txn.stage(()).map(drop) {
            Ok(()) => self.staged_bytes += SMALL_GROUP_BYTES,
            Err(error) if error.kind() == ErrorKind::Space => {
                tracing::warn!(%error, "that the hub was restarted is written down later");
                return Ok(());
            }
            Err(error) => return self.judge(Err(error), now_unix_ms),
        }
        self.commit(now_unix_ms)
    }

    /// Settings that cannot be read are replaced by privacy mode, so that every phone is told of it once. A disk without
    /// room for that leaves it to the next tick; until then it is privacy mode all the same.
    fn mend_settings(&mut self, doc: &SettingsDoc, now_unix_ms: u64) -> Result<(), CoreError> {
        if !self.journal_ref()?.are_settings_lost()? {
            return Ok(());
        }
        tracing::error!(
            "what phones have set cannot be read: privacy mode is on until one sets it again"
        );
        let mut txn = self.journal()?.begin();
        txn.put_settings(doc)?;
        match txn.stage(()).map(drop) {
            Ok(()) => {
                self.staged_bytes += SMALL_GROUP_BYTES;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Space => Ok(()),
            Err(error) => self.judge(Err(error), now_unix_ms),
        }
    }

    /// Does what follows from the settings that are stored: in privacy mode the clips being recorded end, and so
    /// does whatever is watched live, and
    /// every phone that was not told of this version is told, as far as there is room. A silent phone is told
    /// nothing, and one that has not acked what it was told before is told the newest version when it has: so
    /// no number of changes fills the outbox of a phone that is away.
    ///
    /// # Errors
    /// The journal's.
    pub(super) fn follow_settings(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let doc = self.settings(now_unix_ms)?;
        self.mend_settings(&doc, now_unix_ms)?;
        if doc.settings.privacy {
            self.end_lives(LiveEnd::Privacy, now_unix_ms)?;
        }
        if doc.settings.privacy && self.is_recording() {
            for camera in self.cameras() {
                self.end_recording(camera, Ending::CutOff, now_unix_ms)?;
            }
            let _said = self.not_recorded(Stop::Privacy);
        }
        for line in self.lines_to_tell(doc.version)? {
            if !self.has_room(EPOCH_BYTES, Priority::Epoch, now_unix_ms)? {
                tracing::debug!("a phone is told of the settings when there is room");
                return Ok(());
            }
            let told = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
                let doc = txn.settings()?;
                let said = session.say(txn, &[HubConfigMessage::Settings(doc)])?;
                let version = doc.version;
                txn.put_settings_said(line.pairing, SettingsSaid { version, said })?;
                // CRASH(hub.settings.staged): before: the phone knows the older settings, and so does the row; the
                // next start or tick tells it | after: Commit, settings and what it was told are synced as one.
                crash_point!("hub.settings.staged");
                Ok(())
            });
            match self.judge(told, now_unix_ms) {
                Ok(()) => {}
                Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                }
                Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                    tracing::debug!(%error, "a phone is told of the settings when there is room");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The config lines of the phones that know an older version and are to be told now.
    fn lines_to_tell(&self, version: u64) -> Result<Vec<Line>, CoreError> {
        let journal = self.journal_ref()?;
        let mut due = Vec::new();
        for (line, state) in &self.lines {
            let goes_on = !state.broken && state.standing != PROVEN;
            if line.channel != Channel::Config || !goes_on || self.silence.is_silent(line.pairing) {
                continue;
            }
            let said = journal.settings_said(line.pairing)?;
            if said.version < version && said.said <= journal.outbox_head(*line)?.acked {
                due.push(*line);
            }
        }
        Ok(due)
    }

    /// Says once what was set, when it is durable.
    pub(super) fn announce_settings(
        &mut self,
        before: SettingsDoc,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let doc = self.settings(now_unix_ms)?;
        if doc.version != before.version {
            self.pending.push(Notice::Settings(doc));
        }
        Ok(())
    }

    /// What phones have set, with what is only staged. A journal that fails at the question is opened again
    /// and asked once more.
    pub(super) fn settings(&mut self, now_unix_ms: u64) -> Result<SettingsDoc, CoreError> {
        let read = self.journal()?.settings();
        match self.judge(read, now_unix_ms) {
            Err(CoreError::Reopened) => Ok(self.journal_ref()?.settings()?),
            read => read,
        }
    }
}
