//! The hub's side of commands: its settings, what it said of them, outcomes that no ack covers yet, and what
//! the parts outside the journal have still to do.
//!
//! Everything here is a row, because a command's effect, its outcome and the envelope of the answer are one
//! transaction, and what runs outside is driven from the rows. This room must never encrypt in an epoch that
//! was not opened in the same transaction.

use serde::{Deserialize, Serialize};
use wal::mutant;
use wire::ids::Seq;
use zeroize::Zeroizing;

use crate::error::{ErrorKind, JournalError};
use crate::heartbeat::in_config;
use crate::ids::{CommandId, Line, PairingId};
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::message::{self, CameraDoc, CommandResult, HubConfigMessage, SettingsDoc};
use crate::outbox::Placement;
use crate::scope::Scope;
use crate::session::{Committer, Session};
use crate::txn::Txn;

/// Outcomes that a hub remembers for one phone. A phone that waits for one of them can have been answered at
/// most [`super::COMMANDS_PENDING_MAX`] times since, because answers come in the order of the commands.
pub const OUTCOMES_KEPT: usize = 2 * super::COMMANDS_PENDING_MAX;

/// Above the longest message of the config channel, which is a pairing code.
const MESSAGE_ROOM_BYTES: usize = 4096;
/// Cameras whose settings are kept: as many as a hub may have. Where one more is set, one that the hub has no more is
/// forgotten.
pub const CAMERAS_SET_MAX: usize = 16;

/// What a phone was told last of the settings (hub).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct SettingsSaid {
    /// Their version; 0 if it was told of none.
    pub version: u64,
    /// The envelope in the config line that said it. Until it is acked, nothing newer need be said.
    pub said: Seq,
}

/// An outcome that the phone may not have heard yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Remembered {
    id: CommandId,
    result: CommandResult,
    /// The last envelope that said it.
    said: Seq,
}

impl Session<Committer> {
    /// Says these things in the config channel, the last of them last, in an epoch of their own: the one that
    /// [`Session::receive`] opened in this transaction, else a new one. Commit, messages, the used-up ratchet
    /// and the rotation of the group's key are in this transaction. Returns the number of the last.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] on another channel, or with nothing to say. As [`Session::advance_epoch`]
    /// otherwise; the transaction must be dropped.
    pub fn say(
        &mut self,
        txn: &mut Txn<'_>,
        messages: &[HubConfigMessage],
    ) -> Result<Seq, JournalError> {
        in_config(self.line())?;
        let nothing = JournalError::Misuse("an epoch of the config channel says something");
        let (last, others) = messages.split_last().ok_or(nothing)?;
        let encoded = |message: &HubConfigMessage| {
            // Room enough from the start: one of them is a pairing code, and growing would leave copies behind.
            let mut bytes = Zeroizing::new(Vec::<u8>::with_capacity(MESSAGE_ROOM_BYTES));
            let written = message::encode_into(message, &mut bytes);
            written.ok_or(JournalError::Misuse("our own messages must encode"))?;
            Ok::<_, JournalError>(bytes)
        };
        // The right to encrypt is the handle's that opened the epoch. In this channel every epoch is finished
        // by the transaction that opens it, so there is one only if it was opened just now.
        if !self.may_encrypt(txn) {
            self.advance_epoch(txn)?;
        }
        for message in others {
            self.seal(txn, &encoded(message)?, Placement::Inline)?;
        }
        self.finish(txn, &encoded(last)?)
    }

    /// As [`Session::say`], in answer to a command: in a new epoch, whose Commit counts among those that the
    /// phone's wishes have cost ([`Journal::unacked_heals`]).
    ///
    /// # Errors
    /// As [`Session::say`].
    pub fn say_back(
        &mut self,
        txn: &mut Txn<'_>,
        messages: &[HubConfigMessage],
    ) -> Result<Seq, JournalError> {
        in_config(self.line())?;
        self.advance_for_app(txn)?;
        self.say(txn, messages)
    }
}

fn outcomes(txn: &Txn<'_>, pairing: PairingId) -> Result<Vec<Remembered>, JournalError> {
    let row = txn.secret_row(Scope::Pairing(pairing), Family::Outcomes, &[])?;
    Ok(row.unwrap_or_default())
}

fn put_outcomes(
    txn: &mut Txn<'_>,
    pairing: PairingId,
    kept: &[Remembered],
) -> Result<(), JournalError> {
    txn.put_secret_row(Scope::Pairing(pairing), Family::Outcomes, &[], &kept)
}

/// An ack of the config channel covers everything through `through`: the phone knows those outcomes.
pub(crate) fn forget_outcomes(
    txn: &mut Txn<'_>,
    pairing: PairingId,
    through: Seq,
) -> Result<(), JournalError> {
    let mut kept = outcomes(txn, pairing)?;
    let before = kept.len();
    kept.retain(|one| one.said > through);
    match kept.len() == before {
        true => Ok(()),
        false => put_outcomes(txn, pairing, &kept),
    }
}

/// Every sync and every start goes by them: what rots there must not hold them up.
fn cameras_or_none(
    row: Result<Option<Vec<CameraDoc>>, JournalError>,
) -> Result<Vec<CameraDoc>, JournalError> {
    match row {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::debug!(%error, "what phones have set at cameras cannot be read");
            Ok(Vec::new())
        }
        row => Ok(row?.unwrap_or_default()),
    }
}

/// As [`cameras_or_none`]; closed, because nothing may be recorded that the owner may have forbidden.
fn settings_or_closed(
    row: Result<Option<SettingsDoc>, JournalError>,
    journal: &Journal,
) -> Result<SettingsDoc, JournalError> {
    match row {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::debug!(%error, "what phones have set cannot be read");
        }
        row => return Ok(row?.unwrap_or_default()),
    }
    let mut doc = SettingsDoc::default();
    doc.settings.privacy = true;
    for pairing in journal.pairing_ids() {
        let said: Result<Option<SettingsSaid>, _> = journal.row(&keys::settings_said(pairing));
        match said {
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            said => doc.version = doc.version.max(said?.unwrap_or_default().version),
        }
    }
    doc.version = doc.version.saturating_add(1);
    Ok(doc)
}

impl Txn<'_> {
    /// What came of a command that this phone gave before, if that is remembered: as long as no ack covers
    /// the answer.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn remembered_outcome(
        &self,
        pairing: PairingId,
        id: CommandId,
    ) -> Result<Option<CommandResult>, JournalError> {
        if mutant!(
            "command_done_twice",
            "C2",
            "a hub does not look whether it has done a command"
        ) {
            return Ok(None);
        }
        let kept = outcomes(self, pairing)?;
        let known = kept.iter().find(|one| one.id == id);
        Ok(known.map(|one| one.result.clone()))
    }

    /// Remembers what came of a command, and which envelope says it. The oldest of more than
    /// [`OUTCOMES_KEPT`] goes.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn remember_outcome(
        &mut self,
        pairing: PairingId,
        (id, result): (CommandId, CommandResult),
        said: Seq,
    ) -> Result<(), JournalError> {
        let mut kept = outcomes(self, pairing)?;
        kept.retain(|one| one.id != id);
        if kept.len() >= OUTCOMES_KEPT {
            kept.remove(0);
        }
        kept.push(Remembered { id, result, said });
        put_outcomes(self, pairing, &kept)
    }

    /// [`Journal::settings`], as the transaction sees them.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn settings(&self) -> Result<SettingsDoc, JournalError> {
        settings_or_closed(self.row(keys::SETTINGS), self.journal())
    }

    /// Keeps a new version of the settings.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn put_settings(&mut self, doc: &SettingsDoc) -> Result<(), JournalError> {
        self.put_row(keys::SETTINGS, doc)
    }

    /// [`Journal::cameras_set`], as the transaction sees it.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn cameras_set(&self) -> Result<Vec<CameraDoc>, JournalError> {
        cameras_or_none(self.row(keys::CAMERAS))
    }

    /// Keeps a new version of a camera's settings, at most [`CAMERAS_SET_MAX`] cameras'. Where there is no place, the
    /// camera that was set first of those goes that the hub has no more; false if it has them all (`is_there`), and
    /// nothing changed.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn put_camera_set(
        &mut self,
        doc: &CameraDoc,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<bool, JournalError> {
        let mut all = self.cameras_set()?;
        match all.iter_mut().find(|known| known.camera == doc.camera) {
            Some(known) => *known = doc.clone(),
            None => {
                if all.len() >= CAMERAS_SET_MAX {
                    let Some(gone) = all.iter().position(|known| !is_there(&known.camera)) else {
                        return Ok(false);
                    };
                    all.remove(gone);
                }
                all.push(doc.clone());
            }
        }
        self.put_row(keys::CAMERAS, &all)?;
        Ok(true)
    }

    /// [`Journal::settings_said`], as the transaction sees it.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn settings_said(&self, pairing: PairingId) -> Result<SettingsSaid, JournalError> {
        Ok(self.row(&keys::settings_said(pairing))?.unwrap_or_default())
    }

    /// Remembers what this transaction tells a phone of the settings.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn put_settings_said(
        &mut self,
        pairing: PairingId,
        said: SettingsSaid,
    ) -> Result<(), JournalError> {
        self.put_row(&keys::settings_said(pairing), &said)
    }

    /// Remembers that a command asks for a restart.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn want_restart(&mut self, asked_by: CommandId) -> Result<(), JournalError> {
        self.put_row(keys::RESTART, &asked_by)
    }

    /// The restart that was asked for has happened.
    pub fn forget_restart(&mut self) {
        self.delete(keys::RESTART);
    }

    /// Remembers that a phone wants the relay to be asked anew about a line.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn ask_again(&mut self, line: Line) -> Result<(), JournalError> {
        let key = keys::asked_again(line);
        let times: u64 = self.row(&key)?.unwrap_or(0);
        self.put_row(&key, &times.saturating_add(1))
    }
}

impl Journal {
    /// The settings that phones have made (hub); version 0, with nothing set, before the first. What cannot be read is
    /// privacy mode, which the owner may have wanted, in a version above all that phones were told; it is to be
    /// written down ([`Self::are_settings_lost`]).
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn settings(&self) -> Result<SettingsDoc, JournalError> {
        settings_or_closed(self.row(keys::SETTINGS), self)
    }

    /// Whether the settings that are stored cannot be read (hub). Then whoever has room for it puts what
    /// [`Self::settings`] gives in their place ([`Txn::put_settings`]): its version is another one each time that a
    /// phone is told of it.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn are_settings_lost(&self) -> Result<bool, JournalError> {
        match self.row::<SettingsDoc>(keys::SETTINGS) {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(true),
            read => read.map(|_| false),
        }
    }

    /// What phones have set at cameras (hub), the camera that was set first in front; none before the first, and none
    /// if that cannot be read: the configuration holds alone then, and phones can set it again.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn cameras_set(&self) -> Result<Vec<CameraDoc>, JournalError> {
        cameras_or_none(self.row(keys::CAMERAS))
    }

    /// What a phone was told last of the settings (hub).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn settings_said(&self, pairing: PairingId) -> Result<SettingsSaid, JournalError> {
        Ok(self.row(&keys::settings_said(pairing))?.unwrap_or_default())
    }

    /// The command that asked for a restart which has not happened yet (hub). What cannot be read asks for none: a
    /// phone can ask again, and nothing else of a hub waits for it.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn restart_wanted(&self) -> Result<Option<CommandId>, JournalError> {
        match self.row(keys::RESTART) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::debug!(%error, "whether a restart is wanted cannot be read");
                Ok(None)
            }
            wanted => wanted,
        }
    }

    /// How often a phone has asked that the relay be asked anew about this line (hub).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn asked_again(&self, line: Line) -> Result<u64, JournalError> {
        Ok(self.row(&keys::asked_again(line))?.unwrap_or(0))
    }
}
