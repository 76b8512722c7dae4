//! Commands to a hub: stored first, then sent one at a time until each is answered.
//!
//! The answer to a command is a new epoch of the config channel, in which whatever was encrypted before is
//! stale; so the next command waits for it. Which of them has reached the hub is the journal's to know
//! ([`journal::Session::send_command`]). This room must never send one on a line that has not caught up with
//! the relay, so the caller asks only then: it would be stale before it arrives.

use journal::ids::{Channel, CommandId, Line, PairingId};
use journal::message::{CameraSettings, CommandKind, Settings};
use journal::{CommandBook, JournalError, Staged};
use wal::{Priority, crash_point};
use wire::Seq;

use super::{ACK_COST_BYTES, Core};

/// A command that was sent less than this ago may be answered any moment, in milliseconds.
const ANSWER_NEAR_MS: u64 = 30_000;

/// What an owner orders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Privacy mode on or off.
    Privacy {
        /// Whether no event may be recorded.
        on: bool,
    },
    /// These settings in the place of those that are known here.
    Settings(Settings),
    /// Whatever of this channel is missing here.
    SendAgain(Channel),
    /// The hub's program is to start again.
    Restart,
    /// Which phones the hub has.
    Phones,
    /// This other phone of the hub is to be removed.
    Remove(PairingId),
    /// An offer that this phone passes on to one more.
    Invite,
    /// What phones have set at this camera.
    Camera(String),
    /// These settings of a camera in the place of those that are known here.
    SetCamera {
        /// Its name.
        camera: String,
        /// All that is to be set.
        settings: CameraSettings,
    },
}

/// What became of an order.
pub enum Ordered {
    /// It is stored, once that is committed.
    Taken(Staged<CommandId>),
    /// As many wait as may.
    Full,
    /// There is no such pairing here.
    NoSuchHub,
}

/// A command in the outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandSent {
    /// Which.
    pub id: CommandId,
    /// Its envelope in the config line.
    pub envelope: Seq,
}

impl Core {
    /// Stages a command: it waits from now on, also through restarts, until the hub has answered it.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`], or only our own storage.
    pub fn stage_order(
        &mut self,
        pairing: PairingId,
        order: Order,
        now_unix_ms: u64,
    ) -> Result<Ordered, JournalError> {
        if !self.confirmed()?.iter().any(|known| known.id == pairing) {
            return Ok(Ordered::NoSuchHub);
        }
        self.check_goes_on(Line::of(pairing, Channel::Config))?;
        journal::or_after_commit(
            self,
            |core| core.try_stage_order(pairing, &order, now_unix_ms),
            |core| core.commit().map(drop),
        )
    }

    fn try_stage_order(
        &mut self,
        pairing: PairingId,
        order: &Order,
        now_unix_ms: u64,
    ) -> Result<Ordered, JournalError> {
        // As much as its envelope will want: what cannot be sent is better not stored.
        self.journal.admit(ACK_COST_BYTES, Priority::Epoch)?;
        let missing = |channel| {
            let line = Line::of(pairing, channel);
            Ok::<_, JournalError>(self.journal.inbox_head(line)?.cursor.next().0)
        };
        let kind = match order {
            Order::Privacy { on } => Some(CommandKind::Privacy { on: *on }),
            Order::SendAgain(channel) => Some(CommandKind::SendAgain {
                channel: *channel,
                from: missing(*channel)?,
            }),
            Order::Restart => Some(CommandKind::Restart),
            Order::Phones => Some(CommandKind::Phones),
            Order::Remove(phone) => Some(CommandKind::Remove { phone: *phone }),
            Order::Invite => Some(CommandKind::Invite),
            Order::Camera(camera) => Some(CommandKind::Camera {
                camera: camera.clone(),
            }),
            Order::Settings(_) | Order::SetCamera { .. } => None,
        };
        let mut txn = self.journal.begin();
        let id = match (kind, order) {
            (Some(kind), _) => txn.add_command(pairing, kind, now_unix_ms)?,
            (None, Order::Settings(settings)) => {
                txn.add_settings(pairing, *settings, now_unix_ms)?
            }
            (None, Order::SetCamera { camera, settings }) => {
                let change = (camera.as_str(), settings.clone());
                txn.add_camera_settings(pairing, change, now_unix_ms)?
            }
            (None, _) => None,
        };
        let Some(id) = id else {
            return Ok(Ordered::Full);
        };
        let staged = txn.stage(id)?;
        // CRASH(app.order.staged): before: nobody has ordered anything; the owner gives it again | after: it waits
        // until the hub has answered it, whoever dies.
        crash_point!("app.order.staged");
        Ok(Ordered::Taken(staged))
    }

    /// Stages the envelope of the next command, if one is to be sent now: none is under way, and no update of
    /// ours makes the line mute. Call it only when the config line has caught up with the relay.
    ///
    /// # Errors
    /// As [`Self::tick`].
    pub fn stage_command(
        &mut self,
        pairing: PairingId,
        now_unix_ms: u64,
    ) -> Result<Option<Staged<CommandSent>>, JournalError> {
        let config = Line::of(pairing, Channel::Config);
        self.check_goes_on(config)?;
        if !self.command_is_due(pairing)? {
            return Ok(None);
        }
        journal::or_after_commit(
            self,
            |core| core.try_stage_command(config, now_unix_ms),
            |core| core.commit().map(drop),
        )
    }

    /// Whether a command is to be sent now, if the config line has caught up with the relay: none is under way,
    /// no update of ours makes the line mute, and it is not over.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn command_is_due(&mut self, pairing: PairingId) -> Result<bool, JournalError> {
        let (over, awaits_commit) = self.stand(Line::of(pairing, Channel::Config))?;
        if over.is_some() || awaits_commit {
            return Ok(false);
        }
        let book = self.journal.commands(pairing)?;
        Ok(book.pending.first().is_some_and(|one| one.sent.is_none()))
    }

    /// Whether a command was just sent, so that the hub's next epoch in the config channel is near: what is
    /// encrypted there now would be stale.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn answer_is_near(
        &self,
        pairing: PairingId,
        now_unix_ms: u64,
    ) -> Result<bool, JournalError> {
        let book = self.journal.commands(pairing)?;
        let near = book.pending.iter().any(|one| {
            // Also behind a clock that was put back: it must not silence us for as long as it was wrong.
            one.sent.is_some() && now_unix_ms.abs_diff(one.sent_unix_ms) < ANSWER_NEAR_MS
        });
        Ok(near)
    }

    fn try_stage_command(
        &mut self,
        config: Line,
        now_unix_ms: u64,
    ) -> Result<Option<Staged<CommandSent>>, JournalError> {
        // Before anything is encrypted: a refusal spends no generation.
        self.journal.admit(ACK_COST_BYTES, Priority::Epoch)?;
        let Some(follow) = self.lines.get_mut(&config) else {
            return Err(JournalError::NoGroup(config));
        };
        let mut txn = self.journal.begin();
        let sent = follow.session.send_command(&mut txn, now_unix_ms)?;
        let Some((id, envelope)) = sent else {
            return Ok(None);
        };
        let staged = txn.stage(CommandSent { id, envelope })?;
        // CRASH(app.command.staged): before: the command waits, not sent; the next sync encrypts it | after: its
        // envelope is in the outbox and the book says so, synced as one.
        crash_point!("app.command.staged");
        Ok(Some(staged))
    }

    /// What is known of the commands to each hub, the oldest pairing first.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn command_books(&self) -> Result<Vec<(PairingId, CommandBook)>, JournalError> {
        let mut out = Vec::new();
        for pairing in self.confirmed()? {
            out.push((pairing.id, self.journal.commands(pairing.id)?));
        }
        Ok(out)
    }
}
