//! Commands, as the app remembers them until they are answered, and the hub until the answer is acked.
//!
//! A command is a row of the app, sealed in its pairing's scope, before anything is encrypted; then it is one
//! message of the config channel, and one at a time, because the answer is a new epoch of that channel, in which
//! whatever was encrypted before is stale. So which command is in force is never in doubt: an epoch of the hub
//! either comes from one that holds the command, and then the outcome follows in that epoch, or it does not, and
//! then no hub will ever open that envelope; the same identifier is encrypted again. This room decides nothing
//! about when a command is sent, and has no effect of its own.

mod hub;

use serde::{Deserialize, Serialize};
use wal::mutant;
use wire::ids::Seq;

use crate::error::JournalError;
use crate::heartbeat::in_config;
use crate::ids::{Channel, CommandId, PairingId};
use crate::journal::Journal;
use crate::keys::Family;
use crate::message::{
    self, AppConfigMessage, CameraChange, CameraSettings, Command, CommandKind, CommandResult,
    Outcome, Settings, SettingsBase, SettingsDoc,
};
use crate::scope::Scope;
use crate::session::{Follower, Session};
use crate::txn::Txn;
use crate::wrap::Held;

pub(crate) use hub::forget_outcomes;
pub use hub::{CAMERAS_SET_MAX, OUTCOMES_KEPT, SettingsSaid};

/// Commands to one hub that may wait for their answers.
pub const COMMANDS_PENDING_MAX: usize = 16;
/// Answered commands that the app remembers, for people who were not there.
pub const COMMANDS_DONE_KEPT: usize = 16;

/// A command that has no answer yet (app).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PendingCommand {
    /// Which.
    pub id: CommandId,
    /// What is ordered.
    pub kind: CommandKind,
    /// When it was given, milliseconds since 1970 by our clock.
    pub made_unix_ms: u64,
    /// Its envelope in the config line, if one is on its way that the hub can still open.
    pub sent: Option<Seq>,
    /// When it was encrypted last, milliseconds since 1970 by our clock; 0 if never.
    pub sent_unix_ms: u64,
    /// How often it was encrypted.
    pub times: u32,
}

/// A command that was answered (app).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DoneCommand {
    /// Which.
    pub id: CommandId,
    /// What was ordered.
    pub kind: CommandKind,
    /// What came of it.
    pub result: CommandResult,
    /// When the answer was taken here, milliseconds since 1970 by our clock.
    pub unix_ms: u64,
}

/// What an app knows of its commands to one hub.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CommandBook {
    /// Those that wait, in the order in which they were given; at most [`COMMANDS_PENDING_MAX`].
    pub pending: Vec<PendingCommand>,
    /// The last that were answered, oldest first; at most [`COMMANDS_DONE_KEPT`].
    pub done: Vec<DoneCommand>,
    /// The hub's settings as it told them last; version 0, with nothing set, before that.
    pub settings: SettingsDoc,
}

impl CommandBook {
    /// What a further change starts from: the settings as they will be if every command that waits is done,
    /// and the name for them.
    pub fn to_change(&self) -> (SettingsBase, Settings) {
        let SettingsDoc {
            mut version,
            mut settings,
            ..
        } = self.settings;
        let mut base = SettingsBase::Version(version);
        for pending in &self.pending {
            match &pending.kind {
                CommandKind::Privacy { on } => settings.privacy = *on,
                CommandKind::SetSettings {
                    settings: wanted, ..
                } => settings = *wanted,
                CommandKind::SendAgain { .. }
                | CommandKind::Restart
                | CommandKind::Phones
                | CommandKind::Remove { .. }
                | CommandKind::Invite
                | CommandKind::Camera { .. }
                | CommandKind::SetCamera(_) => continue,
            }
            // Each makes one version, if no other phone's comes between. The hub's number may be any.
            version = version.saturating_add(1);
            let id = pending.id;
            base = SettingsBase::Command { id, version };
        }
        (base, settings)
    }

    /// The same of one camera, from the answers that are remembered here; `None` if none of them tells it and no
    /// change of it waits: the hub is to be asked first.
    pub fn camera_to_change(&self, camera: &str) -> Option<(SettingsBase, CameraSettings)> {
        let camera = self.configured_name(camera);
        let docs = self.done.iter().filter_map(|done| done.result.camera());
        // An older version can only be an answer that was remembered.
        let known = docs
            .filter(|doc| doc.camera == camera)
            .max_by_key(|doc| doc.version)
            .map(|doc| (SettingsBase::Version(doc.version), doc.settings.clone()));
        let wanted = self
            .pending
            .iter()
            .rev()
            .find_map(|pending| match &pending.kind {
                CommandKind::SetCamera(change) if change.camera == camera => {
                    let base = SettingsBase::Command {
                        id: pending.id,
                        version: change.base.version().saturating_add(1),
                    };
                    Some((base, change.settings.clone()))
                }
                _ => None,
            });
        wanted.or(known)
    }

    /// The name of a camera in the hub's configuration, by which it is set, for that name or for the one under which it
    /// is shown, as far as the answers that are remembered here tell it.
    pub fn configured_name<'a>(&'a self, camera: &'a str) -> &'a str {
        let told = || {
            self.done
                .iter()
                .rev()
                .filter_map(|done| done.result.camera())
        };
        if told().any(|doc| doc.camera == camera) {
            return camera;
        }
        // Only a camera's newest word counts: it may have had the name before, and another now.
        let newest = |of: &str| {
            told()
                .filter(|doc| doc.camera == of)
                .map(|doc| doc.version)
                .max()
        };
        let shown = told().find(|doc| {
            doc.settings.name.as_deref() == Some(camera) && newest(&doc.camera) == Some(doc.version)
        });
        shown.map_or(camera, |doc| doc.camera.as_str())
    }

    fn learn(&mut self, doc: &SettingsDoc) {
        // The hub's word comes in order; an older version can only be an answer that was remembered.
        if doc.version >= self.settings.version {
            self.settings = *doc;
        }
    }
}

fn load(txn: &Txn<'_>, pairing: PairingId) -> Result<CommandBook, JournalError> {
    let row = txn.secret_row(Scope::Pairing(pairing), Family::Commands, &[])?;
    Ok(row.unwrap_or_default())
}

fn put(txn: &mut Txn<'_>, pairing: PairingId, book: &CommandBook) -> Result<(), JournalError> {
    txn.put_secret_row(Scope::Pairing(pairing), Family::Commands, &[], book)
}

impl Txn<'_> {
    /// Remembers a command that is to be sent (app). `None` if [`COMMANDS_PENDING_MAX`] wait already:
    /// nothing was changed.
    ///
    /// # Errors
    /// If what waits cannot be read.
    pub fn add_command(
        &mut self,
        pairing: PairingId,
        kind: CommandKind,
        now_unix_ms: u64,
    ) -> Result<Option<CommandId>, JournalError> {
        let mut book = load(self, pairing)?;
        if book.pending.len() >= COMMANDS_PENDING_MAX {
            return Ok(None);
        }
        let id = CommandId(self.random());
        book.pending.push(PendingCommand {
            id,
            kind,
            made_unix_ms: now_unix_ms,
            sent: None,
            sent_unix_ms: 0,
            times: 0,
        });
        put(self, pairing, &book)?;
        Ok(Some(id))
    }

    /// As [`Self::add_command`], for new settings in the place of [`CommandBook::to_change`]'s.
    ///
    /// # Errors
    /// If what waits cannot be read.
    pub fn add_settings(
        &mut self,
        pairing: PairingId,
        settings: Settings,
        now_unix_ms: u64,
    ) -> Result<Option<CommandId>, JournalError> {
        let (base, _before) = load(self, pairing)?.to_change();
        let kind = CommandKind::SetSettings { base, settings };
        self.add_command(pairing, kind, now_unix_ms)
    }

    /// The same for one camera, in the place of [`CommandBook::camera_to_change`]'s. Where those are not known it
    /// starts from a camera at which nothing was ever set.
    ///
    /// # Errors
    /// If what waits cannot be read. [`JournalError::Misuse`] if the settings are not small
    /// ([`CameraSettings::are_small`]) or the name is too long: such a command could never be sent.
    pub fn add_camera_settings(
        &mut self,
        pairing: PairingId,
        (camera, settings): (&str, CameraSettings),
        now_unix_ms: u64,
    ) -> Result<Option<CommandId>, JournalError> {
        if !settings.are_small() || camera.len() > message::NAME_BYTES_MAX {
            return Err(JournalError::Misuse(
                "a camera's settings fit into a command",
            ));
        }
        let book = load(self, pairing)?;
        let known = book.camera_to_change(camera);
        let base = known.map_or(SettingsBase::Version(0), |(base, _before)| base);
        let change = CameraChange {
            camera: book.configured_name(camera).to_owned(),
            base,
            settings,
        };
        self.add_command(pairing, CommandKind::SetCamera(change), now_unix_ms)
    }
}

impl Journal {
    /// What is known of the commands to a hub (app).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn commands(&self, pairing: PairingId) -> Result<CommandBook, JournalError> {
        let row = self.secret_row(Scope::Pairing(pairing), Family::Commands, &[])?;
        Ok(row.unwrap_or_default())
    }
}

impl Session<Follower> {
    /// Encrypts the first command that waits, if none is on its way already. One that was encrypted before
    /// and never reached the hub is encrypted again, under the same identifier.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] on another channel. As [`Session::send_ack`] otherwise.
    pub fn send_command(
        &mut self,
        txn: &mut Txn<'_>,
        now_unix_ms: u64,
    ) -> Result<Option<(CommandId, Seq)>, JournalError> {
        let pairing = in_config(self.line())?;
        let mut book = load(txn, pairing)?;
        let Some(first) = book.pending.first_mut().filter(|one| one.sent.is_none()) else {
            return Ok(None);
        };
        let message = Command::new(first.id, &first.kind).map(AppConfigMessage::Command);
        let bytes = message.and_then(|message| message::encode(&message));
        let bytes = bytes.ok_or(JournalError::Misuse("our own messages must encode"))?;
        let seq = self.send(txn, &bytes)?;
        first.sent = Some(seq);
        first.sent_unix_ms = now_unix_ms;
        first.times = first.times.saturating_add(1);
        let id = first.id;
        put(txn, pairing, &book)?;
        Ok(Some((id, seq)))
    }

    /// A Commit was taken, from a hub that held `held` of ours. What it did not hold was encrypted for an
    /// epoch that it has left: nobody will ever open that.
    pub(crate) fn commands_overtaken(
        &mut self,
        txn: &mut Txn<'_>,
        held: Option<Held>,
    ) -> Result<(), JournalError> {
        if self.line().channel != Channel::Config {
            return Ok(());
        }
        let pairing = self.line().pairing;
        let mut book = load(txn, pairing)?;
        let mut changed = false;
        mutant!("overtaken_not_noted", "C1", "a command that no hub can open any more counts as on its way" => {
            return Ok(());
        });
        let held = held.filter(|_| {
            !mutant!(
                "command_done_twice",
                "C2",
                "and a phone gives a command again that its hub holds"
            )
        });
        for one in &mut book.pending {
            let reached = |sent: Seq| held.is_some_and(|held| sent <= held.seq);
            if one.sent.is_some_and(|sent| !reached(sent)) {
                one.sent = None;
                changed = true;
            }
        }
        match changed {
            true => put(txn, pairing, &book),
            false => Ok(()),
        }
    }

    /// Keeps the hub's answer; `None` if no command of ours waits for it, which then changes nothing but
    /// what is known of the settings.
    pub(crate) fn take_outcome(
        &mut self,
        txn: &mut Txn<'_>,
        outcome: &Outcome,
        now_unix_ms: u64,
    ) -> Result<Option<DoneCommand>, JournalError> {
        let pairing = self.line().pairing;
        let mut book = load(txn, pairing)?;
        if let Some(doc) = outcome.result.settings() {
            book.learn(doc);
        }
        let at = book.pending.iter().position(|one| one.id == outcome.id);
        let done = at.map(|at| {
            let one = book.pending.remove(at);
            DoneCommand {
                id: one.id,
                kind: one.kind,
                result: outcome.result.clone(),
                unix_ms: now_unix_ms,
            }
        });
        if let Some(done) = &done {
            if book.done.len() >= COMMANDS_DONE_KEPT {
                book.done.remove(0);
            }
            book.done.push(done.clone());
        }
        put(txn, pairing, &book)?;
        Ok(done)
    }

    /// Keeps what the hub says of its settings.
    pub(crate) fn take_settings(
        &mut self,
        txn: &mut Txn<'_>,
        doc: &SettingsDoc,
    ) -> Result<(), JournalError> {
        let pairing = self.line().pairing;
        let mut book = load(txn, pairing)?;
        book.learn(doc);
        put(txn, pairing, &book)
    }
}
