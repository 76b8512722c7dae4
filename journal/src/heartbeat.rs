//! The heartbeat: the phone's sign of life in the config channel, the hub's answer, and what each side
//! remembers of them.
//!
//! It is said first, and the updates of the keys last, because an end that has proposed cannot speak until
//! the hub's Commit (scenario 11). The rows here are plain: numbers, times and a version are no secrets. This
//! room knows no time of its own and decides nothing about when a heartbeat is due.

use serde::{Deserialize, Serialize};
use wire::ids::Seq;

use crate::error::JournalError;
use crate::ids::{Channel, Epoch, Line, PairingId};
use crate::inbox::InboxHead;
use crate::journal::Journal;
use crate::keys;
use crate::message::{
    self, AppConfigMessage, ChannelHeld, Heartbeat, HeartbeatAnswer, HubConfigMessage,
    NAME_BYTES_MAX,
};
use crate::session::{Committer, Follower, Session};
use crate::txn::Txn;

/// The last time that new keys of this phone were taken on a line (app).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Healed {
    /// The epoch that their Commit opened.
    pub epoch: Epoch,
    /// When that Commit was taken here, milliseconds since 1970 by our clock.
    pub unix_ms: u64,
}

/// The last heartbeat of a pairing (app).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeartbeatState {
    /// The last one that was sent.
    pub number: u64,
    /// When, milliseconds since 1970 by our clock.
    pub sent_unix_ms: u64,
    /// The last one that was answered, which may be an earlier one.
    pub answered: Option<Answered>,
}

impl HeartbeatState {
    /// Whether the last one was answered.
    pub fn is_answered(&self) -> bool {
        let answered = self.answered.as_ref();
        answered.is_some_and(|answered| answered.number == self.number)
    }
}

/// A heartbeat that was answered (app).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answered {
    /// Which.
    pub number: u64,
    /// When the answer was taken here, milliseconds since 1970 by our clock.
    pub unix_ms: u64,
    /// The hub's program.
    pub version: String,
}

/// The last heartbeat that came from a phone (hub).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PhoneHeard {
    /// Which.
    pub number: u64,
    /// When it was taken, milliseconds since 1970 by our clock.
    pub unix_ms: u64,
}

impl Session<Follower> {
    /// Says in the config channel that this phone is there, with what is durable here of all channels of
    /// the pairing as this transaction sees it: an ack of each. The updates of the keys come after it
    /// ([`Session::propose_update`]), those of this channel too.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] on another channel. As [`Session::send_ack`] otherwise.
    pub fn send_heartbeat(
        &mut self,
        txn: &mut Txn<'_>,
        number: u64,
        now_unix_ms: u64,
    ) -> Result<Seq, JournalError> {
        let pairing = in_config(self.line())?;
        let mut holds = Vec::with_capacity(Channel::ALL.len());
        for line in Line::all(pairing) {
            let head: InboxHead = txn.row(&keys::inbox_head(line))?.unwrap_or_default();
            holds.push(ChannelHeld {
                channel: line.channel,
                through: head.cursor.0,
                digest: head.digest.0,
            });
        }
        let heartbeat = AppConfigMessage::Heartbeat(Heartbeat {
            number,
            sent_unix_ms: now_unix_ms,
            holds,
        });
        let bytes = message::encode(&heartbeat)
            .ok_or(JournalError::Misuse("our own messages must encode"))?;
        let seq = self.send(txn, &bytes)?;
        let key = keys::heartbeat(pairing);
        let last: Option<HeartbeatState> = txn.row(&key)?;
        let state = HeartbeatState {
            number,
            sent_unix_ms: now_unix_ms,
            answered: last.and_then(|last| last.answered),
        };
        txn.put_row(&key, &state)?;
        Ok(seq)
    }

    /// Keeps the hub's answer. False if no heartbeat of ours can have had it: it changes nothing.
    pub(crate) fn take_answer(
        &mut self,
        txn: &mut Txn<'_>,
        answer: &HeartbeatAnswer,
        now_unix_ms: u64,
    ) -> Result<bool, JournalError> {
        let key = keys::heartbeat(self.line().pairing);
        let state: Option<HeartbeatState> = txn.row(&key)?;
        let Some(mut state) = state.filter(|state| answer.number <= state.number) else {
            return Ok(false);
        };
        let known = state.answered.as_ref().map_or(0, |last| last.number);
        if answer.number >= known {
            state.answered = Some(Answered {
                number: answer.number,
                unix_ms: now_unix_ms,
                version: answer.version.clone(),
            });
            txn.put_row(&key, &state)?;
        }
        Ok(true)
    }
}

impl Session<Committer> {
    /// Answers a heartbeat in the config channel, in the epoch that [`Session::receive`] has opened in this
    /// transaction, and closes that epoch: its used-up ratchet and the rotation of the group's key are in
    /// the same transaction.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] on another channel, or with more than fits.
    /// [`JournalError::NoRightToEncrypt`] unless this handle opened the current epoch. Storage, or MLS;
    /// the transaction must be dropped.
    pub fn answer(
        &mut self,
        txn: &mut Txn<'_>,
        answer: &HeartbeatAnswer,
    ) -> Result<Seq, JournalError> {
        in_config(self.line())?;
        let rises = answer.epochs.is_sorted_by(|a, b| a.0 < b.0);
        if answer.version.len() > NAME_BYTES_MAX || !rises {
            return Err(JournalError::Misuse(
                "an answer names each channel once, in order, and a short version",
            ));
        }
        let bytes = message::encode(&HubConfigMessage::Answer(answer.clone()))
            .ok_or(JournalError::Misuse("our own messages must encode"))?;
        self.finish(txn, &bytes)
    }
}

/// Heartbeats are said in the config channel alone.
fn in_config(line: Line) -> Result<PairingId, JournalError> {
    match line.channel {
        Channel::Config => Ok(line.pairing),
        _ => Err(JournalError::Misuse(
            "heartbeats are said in the config channel",
        )),
    }
}

impl Txn<'_> {
    /// Remembers the last heartbeat that came from a phone. Its silence ends with it.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn put_phone_heard(
        &mut self,
        pairing: PairingId,
        heard: PhoneHeard,
    ) -> Result<(), JournalError> {
        self.delete(&keys::unheard(pairing));
        self.put_row(&keys::phone_heard(pairing), &heard)
    }

    /// Remembers for how long this hub has run without a heartbeat of a phone, in milliseconds.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn put_unheard(&mut self, pairing: PairingId, ms: u64) -> Result<(), JournalError> {
        self.put_row(&keys::unheard(pairing), &ms)
    }

    /// [`Journal::phone_heard`], as the transaction sees it.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn phone_heard(&self, pairing: PairingId) -> Result<Option<PhoneHeard>, JournalError> {
        self.row(&keys::phone_heard(pairing))
    }

    /// Remembers that new keys of ours were taken.
    pub(crate) fn put_healed(&mut self, line: Line, healed: Healed) -> Result<(), JournalError> {
        self.put_row(&keys::healed(line), &healed)
    }
}

impl Journal {
    /// When new keys of this phone were last taken on a line (app); `None` if never since pairing.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn healed(&self, line: Line) -> Result<Option<Healed>, JournalError> {
        self.row(&keys::healed(line))
    }

    /// The last heartbeat of a pairing (app); `None` before the first.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn heartbeat(&self, pairing: PairingId) -> Result<Option<HeartbeatState>, JournalError> {
        self.row(&keys::heartbeat(pairing))
    }

    /// The last heartbeat that came from a phone (hub).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn phone_heard(&self, pairing: PairingId) -> Result<Option<PhoneHeard>, JournalError> {
        self.row(&keys::phone_heard(pairing))
    }

    /// For how long this hub has run without a heartbeat of a phone, in milliseconds, as it was last
    /// stored; 0 if never since the last heartbeat, or since pairing (hub).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn unheard_ms(&self, pairing: PairingId) -> Result<u64, JournalError> {
        Ok(self.row(&keys::unheard(pairing))?.unwrap_or_default())
    }
}
