//! The heartbeat: the phone's sign of life in the config channel, the hub's answer, and what each side
//! remembers of them.
//!
//! It is said first, and the updates of the keys last, because an end that has proposed cannot speak until
//! the hub's Commit (scenario 11). The rows here are plain: numbers, times and a version are no secrets. This
//! room knows no time of its own and decides nothing about when a heartbeat is due.

use serde::{Deserialize, Serialize};
use wal::mutant;
use wire::ids::Seq;

use crate::error::JournalError;
use crate::ids::{Channel, Epoch, Line, PairingId};
use crate::inbox::InboxHead;
use crate::journal::Journal;
use crate::keys;
use crate::message::{
    self, AppConfigMessage, ChannelHeld, Heartbeat, HeartbeatAnswer, HubConfigMessage, HubReport,
    NAME_BYTES_MAX,
};
use crate::session::{Committer, Follower, Session};
use crate::txn::Txn;

/// New keys of this phone that are proposed on a line and that no Commit has taken yet (app).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Made {
    /// The heartbeat that they belong to.
    pub number: u64,
    /// When they were made and stored here, milliseconds since 1970 by our clock.
    pub made_unix_ms: u64,
}

/// The last new keys of this phone that a Commit took on a line (app). Whoever copied this phone's files
/// before they were made is shut out; a copy made since holds them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Healed {
    /// The epoch that their Commit opened.
    pub epoch: Epoch,
    /// The heartbeat that they belong to.
    pub number: u64,
    /// When they were made and stored here, milliseconds since 1970 by our clock: since when the line is
    /// healed.
    pub made_unix_ms: u64,
    /// When their Commit was taken here, milliseconds since 1970 by our clock.
    pub taken_unix_ms: u64,
}

/// What this phone remembers of its own keys on a line (app).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct LineKeys {
    /// Those that wait for a Commit of the hub.
    pub pending: Option<Made>,
    /// The last ones that a Commit took.
    pub healed: Option<Healed>,
}

/// The last heartbeat of a pairing (app).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeartbeatState {
    /// The last one that was sent.
    pub number: u64,
    /// When it was sent for the first time, milliseconds since 1970 by our clock.
    pub first_sent_unix_ms: u64,
    /// When it was sent last, in the same way.
    pub sent_unix_ms: u64,
    /// How often it was sent; at least 1.
    pub attempts: u32,
    /// When this phone last had, on all lines that could be reached, everything that the relay held, since it
    /// was first sent; milliseconds since 1970 by our clock ([`Txn::put_caught_up`]).
    pub caught_up_unix_ms: Option<u64>,
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
    /// How the hub was then.
    pub report: HubReport,
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
    /// ([`Session::propose_update`]), those of this channel too. One that is said again keeps its number.
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
        let mut acked = Vec::with_capacity(Channel::ALL.len());
        for line in Line::all(pairing) {
            let head: InboxHead = txn.row(&keys::inbox_head(line))?.unwrap_or_default();
            holds.push(ChannelHeld {
                channel: line.channel,
                through: head.cursor.0,
                digest: head.digest.0,
            });
            acked.push((line, head.cursor));
        }
        let heartbeat = AppConfigMessage::Heartbeat(Heartbeat {
            number,
            sent_unix_ms: now_unix_ms,
            holds,
        });
        let bytes = message::encode(&heartbeat)
            .ok_or(JournalError::Misuse("our own messages must encode"))?;
        let seq = self.send(txn, &bytes)?;
        for (line, cursor) in acked {
            txn.put_row(&keys::ack_sent(line), &cursor)?;
        }
        let key = keys::heartbeat(pairing);
        let state = match txn.row::<HeartbeatState>(&key)? {
            Some(last) if last.number == number => HeartbeatState {
                sent_unix_ms: now_unix_ms,
                attempts: last.attempts.saturating_add(1),
                ..last
            },
            last => HeartbeatState {
                number,
                first_sent_unix_ms: now_unix_ms,
                sent_unix_ms: now_unix_ms,
                attempts: 1,
                caught_up_unix_ms: None,
                answered: last.and_then(|last| last.answered),
            },
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
                report: answer.status,
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
        mutant!("answer_left_out", "C1", "the epoch that a heartbeat opened in the config channel stays without its answer" => {
            return crate::outbox::upcoming(txn, self.line());
        });
        let bytes = message::encode(&HubConfigMessage::Answer(answer.clone()))
            .ok_or(JournalError::Misuse("our own messages must encode"))?;
        self.finish(txn, &bytes)
    }
}

/// Heartbeats and commands are said in the config channel alone.
pub(crate) fn in_config(line: Line) -> Result<PairingId, JournalError> {
    match line.channel {
        Channel::Config => Ok(line.pairing),
        _ => Err(JournalError::Misuse(
            "heartbeats and commands are said in the config channel",
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

    /// Remembers for how long a phone was not heard of, in milliseconds.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn put_unheard(&mut self, pairing: PairingId, ms: u64) -> Result<(), JournalError> {
        self.put_row(&keys::unheard(pairing), &ms)
    }

    /// A phone was heard of, by whatever it said.
    pub fn forget_unheard(&mut self, pairing: PairingId) {
        self.delete(&keys::unheard(pairing));
    }

    /// [`Journal::phone_heard`], as the transaction sees it.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn phone_heard(&self, pairing: PairingId) -> Result<Option<PhoneHeard>, JournalError> {
        self.row(&keys::phone_heard(pairing))
    }

    /// Remembers that this phone has, on all lines of a pairing that can be reached, everything that the relay
    /// holds. Before the first heartbeat there is nothing to remember it for. If the clock was put back behind
    /// the time when that was first sent, what is waited for is counted from now.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn put_caught_up(&mut self, pairing: PairingId, unix_ms: u64) -> Result<(), JournalError> {
        let key = keys::heartbeat(pairing);
        let Some(mut state) = self.row::<HeartbeatState>(&key)? else {
            return Ok(());
        };
        state.first_sent_unix_ms = state.first_sent_unix_ms.min(unix_ms);
        state.caught_up_unix_ms = Some(unix_ms);
        self.put_row(&key, &state)
    }

    /// Remembers new keys of ours that are proposed in this transaction.
    pub(crate) fn keys_made(&mut self, line: Line, made: Made) -> Result<(), JournalError> {
        let known: LineKeys = self.row(&keys::line_keys(line))?.unwrap_or_default();
        let healed = match mutant!(
            "healed_told_early",
            "S4",
            "a line says that it is healed since keys that no Commit has taken yet"
        ) {
            true => Some(Healed {
                epoch: Epoch(0),
                number: made.number,
                made_unix_ms: made.made_unix_ms,
                taken_unix_ms: made.made_unix_ms,
            }),
            false => known.healed,
        };
        let pending = Some(made);
        self.put_row(&keys::line_keys(line), &LineKeys { pending, healed })
    }

    /// What a Commit made of the keys that were pending: `taken` has the epoch that it opened and the time,
    /// if it took them. Either way nothing is pending any more.
    pub(crate) fn keys_settled(
        &mut self,
        line: Line,
        taken: Option<(Epoch, u64)>,
    ) -> Result<(), JournalError> {
        let Some(mut known) = self.row::<LineKeys>(&keys::line_keys(line))? else {
            return Ok(());
        };
        if let (Some(made), Some((epoch, taken_unix_ms))) = (known.pending.take(), taken) {
            known.healed = Some(Healed {
                epoch,
                number: made.number,
                made_unix_ms: made.made_unix_ms,
                taken_unix_ms,
            });
        }
        self.put_row(&keys::line_keys(line), &known)
    }

    /// A Commit of the config channel took no update of ours, so whatever we said there was of an epoch that
    /// is over: the acks in an unanswered heartbeat may have been consumed with it. Those of the other lines
    /// are owed again; its own is, because the cursor has moved.
    pub(crate) fn heartbeat_overtaken(&mut self, pairing: PairingId) -> Result<(), JournalError> {
        let state: Option<HeartbeatState> = self.row(&keys::heartbeat(pairing))?;
        if state.is_none_or(|state| state.is_answered()) {
            return Ok(());
        }
        for line in Line::all(pairing) {
            if line.channel != Channel::Config {
                self.put_row(&keys::ack_sent(line), &Seq(0))?;
            }
        }
        Ok(())
    }
}

impl Journal {
    /// What this phone remembers of its own keys on a line (app); `None` if none were made since pairing.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn line_keys(&self, line: Line) -> Result<Option<LineKeys>, JournalError> {
        self.row(&keys::line_keys(line))
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

    /// For how long a phone was not heard of, in milliseconds in which it could have been, as it was last
    /// stored; 0 if never since something was heard, or since pairing (hub).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn unheard_ms(&self, pairing: PairingId) -> Result<u64, JournalError> {
        Ok(self.row(&keys::unheard(pairing))?.unwrap_or_default())
    }
}
