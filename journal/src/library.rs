//! Clips at the app: chunks as they arrive, and the check of what was written against the hub's word.
//!
//! The picture of an event is a clip of another channel, in a list of its own. Each clip is a scope of its own: its row and its chunks are sealed under a key that dies with the
//! clip, before they enter the log. The chunks are the log's payloads; they are written once.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wal::{mutant, note_with};
use wire::ids::Seq;
use zeroize::Zeroizing;

use crate::command::DoneCommand;
use crate::error::JournalError;
use crate::ids::{Channel, ClipId, CommandId, Epoch, Line, PairingId};
use crate::journal::{Journal, scan_all};
use crate::keys::{self, Family};
use crate::message::{
    self, AddedPhone, AppConfigMessage, AppMessage, CHUNK_BYTES_MAX, ClipEnd, ClipHeader,
    DropReason, HeartbeatAnswer, HubConfigMessage, HubMessage, LiveBegun, LiveEnded,
    NAME_BYTES_MAX, SettingsDoc,
};
use crate::notice::AppNotice;
use crate::outbox::Trim;
use crate::passed::InviteTaken;
use crate::scope::Scope;
use crate::session::{Arrived, Follower, Received, Session, notes};
use crate::txn::Txn;

/// Why an outcome is of no use to a phone ([`Taken::Nothing`]): its hub has done a command once more.
pub const NO_COMMAND_WAITS: &str = "an answer to no command that waits";

/// Chunks of a deleted clip whose rows one transaction removes, for the same reason as
/// [`crate::TRIM_ROWS_MAX`]: under 64 KiB in the log, beside the group's values if that rotates in the
/// same transaction. More at once than there, because whoever deletes wants the room.
const DELETED_ROWS_MAX: u32 = 512;

/// How a clip stands at the app.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AppClipState {
    /// Chunks are coming, or will come.
    Receiving,
    /// All of it is here, and its SHA-256 is the hub's.
    Complete,
    /// The hub was cut off; what is here is what the hub had made durable, and its SHA-256 is the hub's.
    CutOff,
    /// What is here is not what the hub accepted.
    Mismatch,
    /// The hub lost it and said so.
    Dropped(DropReason),
}

/// A clip as the app knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AppClip {
    /// Which clip.
    pub clip: ClipId,
    /// When its event began, milliseconds since 1970 by the hub's clock.
    pub started_unix_ms: u64,
    /// Name of the camera.
    pub camera: String,
    /// What the bytes are.
    pub mime: String,
    /// Chunks here.
    pub chunks: u32,
    /// Bytes here.
    pub bytes: u64,
    /// How it stands.
    pub state: AppClipState,
    /// SHA-256 of the bytes here, once the clip has ended.
    pub sha256: Option<[u8; 32]>,
}

/// What an envelope from the hub did at the app.
#[expect(
    clippy::large_enum_variant,
    reason = "One lives at a time, and is matched at once."
)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// See [`Received::Duplicate`].
    Duplicate,
    /// See [`Received::Gap`].
    Gap {
        /// What must come first.
        expected: Seq,
    },
    /// See [`Received::NotAuthentic`].
    NotAuthentic,
    /// See [`Received::RolledBack`]: stage the transaction, and send nothing any more.
    RolledBack,
    /// See [`Received::LineBroken`]: stage the transaction, and send nothing any more.
    LineBroken,
    /// An envelope in which there is nothing ([`Received::Cover`]).
    Cover,
    /// Taken without effect: stale, or against the rules; the text says which.
    Nothing(&'static str),
    /// A new epoch; the hub should hear an ack in it. An update of ours that was pending is not any more:
    /// this Commit did not take it, and it is to be proposed again.
    NewEpoch(Epoch),
    /// A new epoch, whose Commit took an update of ours; the hub should hear an ack in it.
    Healed(Epoch),
    /// The hub has answered a heartbeat.
    Answered(HeartbeatAnswer),
    /// The hub has answered a command.
    CommandDone(DoneCommand),
    /// The hub has told its settings.
    Settings(SettingsDoc),
    /// The hub has said what became of an offer that this phone is to pass on.
    Invited {
        /// The command that asked for it.
        asked_by: CommandId,
        /// What became of it. The code itself is not carried about.
        taken: InviteTaken,
    },
    /// The hub has told of phones that were added by another one: those that are news here.
    Added(Vec<AddedPhone>),
    /// A live session has begun. What is shown of it, [`Session::open_live`] decides.
    LiveBegun(LiveBegun),
    /// A live session is over, or none begins.
    LiveEnded(LiveEnded),
    /// An event was announced.
    Notified(AppNotice),
    /// A clip began.
    Started(ClipId),
    /// Bytes of a clip came.
    Media {
        /// Which clip.
        clip: ClipId,
        /// How many bytes.
        bytes: u32,
        /// When the newest sample in them was captured, milliseconds since 1970 by the hub's clock.
        captured_unix_ms: u64,
    },
    /// A clip ended, one way or another.
    Ended {
        /// Which clip.
        clip: ClipId,
        /// How.
        state: AppClipState,
    },
}

fn put_clip(txn: &mut Txn<'_>, clip: &AppClip) -> Result<(), JournalError> {
    txn.put_secret_row(Scope::Clip(clip.clip), Family::Clip, &[], clip)
}

fn load_clip(txn: &Txn<'_>, clip: ClipId) -> Result<Option<AppClip>, JournalError> {
    txn.secret_row(Scope::Clip(clip), Family::Clip, &[])
}

fn add_clip(txn: &mut Txn<'_>, line: Line, clip: &AppClip) -> Result<(), JournalError> {
    txn.birth(Scope::Clip(clip.clip))?;
    let pairing = line.pairing;
    let is_thumbnail = line.channel == Channel::Thumbnail;
    let prefix = match is_thumbnail {
        true => keys::thumbnail_order_prefix(pairing),
        false => keys::clip_order_prefix(pairing),
    };
    let last = txn.journal().wal.scan_last(&prefix)?;
    let number = last
        .and_then(|(key, _)| Some(u64::from_be_bytes(*key.last_chunk::<8>()?) + 1))
        .unwrap_or(0);
    let key = match is_thumbnail {
        true => keys::thumbnail_order(pairing, number),
        false => keys::clip_order(pairing, number),
    };
    txn.put(&key, &clip.clip.0);
    put_clip(txn, clip)
}

impl Session<Follower> {
    /// Takes one envelope from the hub: its effect on group, clip and cursor in one transaction. The
    /// time is this end's, for what it remembers.
    ///
    /// # Errors
    /// Only our own storage; the transaction must be dropped.
    pub fn take(
        &mut self,
        txn: &mut Txn<'_>,
        seq: Seq,
        envelope: &[u8],
        now_unix_ms: u64,
    ) -> Result<Taken, JournalError> {
        let Arrived { received, held } = self.receive(txn, seq, envelope)?;
        let taken = match received {
            Received::Duplicate => return Ok(Taken::Duplicate),
            Received::Gap { expected } => return Ok(Taken::Gap { expected }),
            Received::NotAuthentic => return Ok(Taken::NotAuthentic),
            Received::RolledBack(_) => return Ok(Taken::RolledBack),
            Received::LineBroken(_) => return Ok(Taken::LineBroken),
            Received::Stale => Taken::Nothing("from an epoch that is over"),
            Received::Refused(why) | Received::NotHealed(why) => Taken::Nothing(why),
            Received::Waits => Taken::Nothing("a proposal to one that never commits"),
            Received::Cover => Taken::Cover,
            Received::NewEpoch(epoch) => {
                self.commands_overtaken(txn, held)?;
                txn.keys_settled(self.line(), None)?;
                if self.line().channel == Channel::Config {
                    txn.heartbeat_overtaken(self.line().pairing)?;
                }
                Taken::NewEpoch(epoch)
            }
            Received::Healed(epoch) => {
                self.commands_overtaken(txn, held)?;
                txn.keys_settled(self.line(), Some((epoch, now_unix_ms)))?;
                Taken::Healed(epoch)
            }
            Received::Message(plaintext) => self.take_plaintext(txn, &plaintext, now_unix_ms)?,
            Received::Dropped(statement) => {
                self.take_dropped(txn, statement.clip, statement.reason)?
            }
        };
        if let Some(held) = held {
            self.peer_holds(txn, held)?;
        }
        Ok(taken)
    }

    /// Each channel has messages of its own; one of another channel's is none here.
    fn take_plaintext(
        &mut self,
        txn: &mut Txn<'_>,
        plaintext: &[u8],
        now_unix_ms: u64,
    ) -> Result<Taken, JournalError> {
        let unreadable = Taken::Nothing("a message that cannot be read in this channel");
        Ok(match self.line().channel {
            Channel::EventVideo | Channel::Thumbnail => match message::decode(plaintext) {
                Some(message) => self.take_message(txn, message)?,
                None => unreadable,
            },
            Channel::Config => match message::decode(plaintext) {
                Some(HubConfigMessage::Answer(answer)) => {
                    match self.take_answer(txn, &answer, now_unix_ms)? {
                        true => Taken::Answered(answer),
                        false => Taken::Nothing("an answer to what was never asked"),
                    }
                }
                Some(HubConfigMessage::Outcome(outcome)) => {
                    match self.take_outcome(txn, &outcome, now_unix_ms)? {
                        Some(done) => Taken::CommandDone(done),
                        None => Taken::Nothing(NO_COMMAND_WAITS),
                    }
                }
                Some(HubConfigMessage::Settings(doc)) => {
                    self.take_settings(txn, &doc)?;
                    Taken::Settings(doc)
                }
                Some(HubConfigMessage::Invited(invited)) => {
                    let asked_by = invited.asked_by;
                    match self.take_invited(txn, invited)? {
                        Some(taken) => Taken::Invited { asked_by, taken },
                        None => Taken::Nothing("a code that is none, or is here"),
                    }
                }
                Some(HubConfigMessage::Added(added)) => Taken::Added(self.take_added(txn, &added)?),
                None => unreadable,
            },
            Channel::Livestream => match message::decode(plaintext) {
                Some(said) => self.take_live(txn, said)?,
                None => unreadable,
            },
            Channel::Notification => match message::decode(plaintext) {
                Some(said) => self.take_notification(txn, said, now_unix_ms)?,
                None => unreadable,
            },
        })
    }

    fn take_message(
        &mut self,
        txn: &mut Txn<'_>,
        message: HubMessage<'_>,
    ) -> Result<Taken, JournalError> {
        match message {
            HubMessage::ClipHeader(header) => self.take_header(txn, header),
            HubMessage::Chunk {
                clip,
                index,
                captured_unix_ms,
                bytes,
            } => self.take_chunk(txn, clip, index, captured_unix_ms, bytes),
            HubMessage::Trailer(end) => self.take_end(txn, &end, AppClipState::Complete),
            HubMessage::CutOff(end) => self.take_end(txn, &end, AppClipState::CutOff),
        }
    }

    fn take_header(
        &mut self,
        txn: &mut Txn<'_>,
        header: ClipHeader,
    ) -> Result<Taken, JournalError> {
        if header.camera.len() > NAME_BYTES_MAX || header.mime.len() > NAME_BYTES_MAX {
            return Ok(Taken::Nothing("a clip header with too long a name"));
        }
        if txn.has_scope(Scope::Clip(header.clip)) {
            return Ok(Taken::Nothing("a second header of the same clip"));
        }
        if self.line().channel == Channel::Thumbnail
            && txn.is_event_gone(self.line(), &header.camera, header.started_unix_ms)?
        {
            return Ok(Taken::Nothing("a picture of an event that was deleted"));
        }
        // Its new chunks would go with the old ones.
        if txn.get(&keys::deleted(header.clip))?.is_some() {
            return Ok(Taken::Nothing("a header of a clip that is being deleted"));
        }
        let clip = AppClip {
            clip: header.clip,
            started_unix_ms: header.started_unix_ms,
            camera: header.camera,
            mime: header.mime,
            chunks: 0,
            bytes: 0,
            state: AppClipState::Receiving,
            sha256: None,
        };
        add_clip(txn, self.line(), &clip)?;
        Ok(Taken::Started(clip.clip))
    }

    fn take_chunk(
        &mut self,
        txn: &mut Txn<'_>,
        clip: ClipId,
        index: u32,
        captured_unix_ms: u64,
        bytes: &[u8],
    ) -> Result<Taken, JournalError> {
        let Some(mut record) = load_clip(txn, clip)? else {
            return Ok(Taken::Nothing("a chunk of a clip that is not here"));
        };
        let fits = record.state == AppClipState::Receiving
            && index == record.chunks
            && bytes.len() <= CHUNK_BYTES_MAX;
        if !fits {
            return Ok(Taken::Nothing("a chunk that does not follow"));
        }
        let key = keys::chunk(clip, index);
        let sealed = txn.seal_payload(Scope::Clip(clip), &key, bytes)?;
        txn.put_payload(&key, sealed);
        record.chunks += 1;
        record.bytes += bytes.len() as u64;
        put_clip(txn, &record)?;
        Ok(Taken::Media {
            clip,
            bytes: bytes.len() as u32,
            captured_unix_ms,
        })
    }

    /// Compares what the hub accepted with what was written here, by reading that back.
    fn take_end(
        &mut self,
        txn: &mut Txn<'_>,
        end: &ClipEnd,
        good: AppClipState,
    ) -> Result<Taken, JournalError> {
        let Some(mut record) = load_clip(txn, end.clip)? else {
            return Ok(Taken::Nothing("the end of a clip that is not here"));
        };
        if record.state != AppClipState::Receiving {
            return Ok(Taken::Nothing("a second end of the same clip"));
        }
        let mut digest = Sha256::new();
        let mut readable = true;
        for index in 0..record.chunks {
            match txn.open_payload(Scope::Clip(end.clip), &keys::chunk(end.clip, index)) {
                Ok(Some(bytes)) => digest.update(&bytes),
                Ok(None) | Err(JournalError::ValueDamaged { .. }) => readable = false,
                Err(JournalError::Wal(wal::WalError::PayloadDamaged { .. })) => readable = false,
                Err(other) => return Err(other),
            }
        }
        let sha256: [u8; 32] = digest.finalize().into();
        let equal = readable
            && record.chunks == end.chunks
            && record.bytes == end.bytes
            && sha256 == end.sha256;
        record.sha256 = Some(sha256);
        record.state = if equal { good } else { AppClipState::Mismatch };
        put_clip(txn, &record)?;
        if self.line().channel == Channel::Thumbnail {
            // CRASH(journal.picture.app_staged): before: the picture is here without its end, the cursor is before that;
            // it comes again | after: it is whole and shown, synced with the cursor behind its end.
            wal::crash_point!("journal.picture.app_staged");
        }
        Ok(Taken::Ended {
            clip: end.clip,
            state: record.state,
        })
    }

    fn take_dropped(
        &mut self,
        txn: &mut Txn<'_>,
        clip: ClipId,
        reason: DropReason,
    ) -> Result<Taken, JournalError> {
        let state = AppClipState::Dropped(reason);
        match load_clip(txn, clip)? {
            Some(mut record) => {
                record.state = state;
                put_clip(txn, &record)?;
            }
            None if txn.is_clip_gone(self.line(), clip)? => {
                return Ok(Taken::Nothing("the loss of a clip that was deleted"));
            }
            None => {
                let record = AppClip {
                    clip,
                    started_unix_ms: 0,
                    camera: String::new(),
                    mime: String::new(),
                    chunks: 0,
                    bytes: 0,
                    state,
                    sha256: None,
                };
                add_clip(txn, self.line(), &record)?;
            }
        }
        Ok(Taken::Ended { clip, state })
    }

    /// Seals an ack of everything taken so far. Cumulative: one that comes too late for its epoch is
    /// made good by the next.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] once that is proved, [`JournalError::LineBroken`] once that is so,
    /// and [`JournalError::AwaitsCommit`] while an update is pending: nothing was changed. Storage, or
    /// MLS; the transaction must be dropped.
    pub fn send_ack(&mut self, txn: &mut Txn<'_>) -> Result<Seq, JournalError> {
        let head = txn.journal().inbox_head(self.line())?;
        let (through, digest) = (head.cursor.0, head.digest.0);
        let encoded = match self.line().channel {
            Channel::Config => message::encode(&AppConfigMessage::Ack { through, digest }),
            _ => message::encode(&AppMessage::Ack { through, digest }),
        };
        let bytes = encoded.ok_or(JournalError::Misuse("our own messages must encode"))?;
        let seq = self.send(txn, &bytes)?;
        txn.put_row(&keys::ack_sent(self.line()), &head.cursor)?;
        note_with!(
            keys::outbox(self.line(), seq);
            "claim {seq} {} {}", notes::inbox(txn, self.line()), head.cursor
        );
        Ok(seq)
    }
}

impl Txn<'_> {
    /// Deletes a clip: its key is erased from the vault after this transaction's sync, and with it
    /// every copy of its bytes that log or view still hold. Of the rows of a long clip some are
    /// removed here and the rest by [`Txn::trim_deleted`]; they open under no key any more.
    ///
    /// # Errors
    /// [`JournalError::NoSuchClip`].
    pub fn delete_clip(&mut self, pairing: PairingId, clip: ClipId) -> Result<(), JournalError> {
        let record = load_clip(self, clip)?.ok_or(JournalError::NoSuchClip(clip))?;
        self.remove_chunks(clip, (0, record.chunks))?;
        let lists = [
            keys::clip_order_prefix(pairing),
            keys::thumbnail_order_prefix(pairing),
        ];
        for list in lists {
            for (key, value) in scan_all(&self.journal().wal, &list)? {
                if value == clip.0 {
                    self.delete(&key);
                }
            }
        }
        if !mutant!(
            "deleted_key_stays",
            "S3",
            "a clip is deleted on the phone, and its key stays in the vault"
        ) {
            self.end(Scope::Clip(clip));
        }
        Ok(())
    }

    /// Removes the first chunks of `first..end`, and notes which remain.
    fn remove_chunks(
        &mut self,
        clip: ClipId,
        (first, end): (u32, u32),
    ) -> Result<(), JournalError> {
        let until = end.min(first.saturating_add(DELETED_ROWS_MAX));
        for index in first..until {
            self.delete_payload(&keys::chunk(clip, index));
        }
        if until < end {
            return self.put_row(&keys::deleted(clip), &(until, end));
        }
        if first > 0 {
            self.delete(&keys::deleted(clip));
        }
        Ok(())
    }

    /// Removes more rows of what deleted clips left. A crash between two steps costs nothing.
    ///
    /// # Errors
    /// If what is left to remove cannot be read.
    pub fn trim_deleted(&mut self) -> Result<Trim, JournalError> {
        let Some(key) = self.first(keys::DELETED)? else {
            return Ok(Trim::Idle);
        };
        let left = self.row::<(u32, u32)>(&key)?;
        let (Some(clip), Some(left)) = (keys::deleted_clip(&key), left) else {
            return Err(JournalError::ValueDamaged {
                scope: Scope::Device,
                what: "row of a deleted clip",
            });
        };
        self.remove_chunks(clip, left)?;
        // Of one that was only noted, and is short.
        if left.0 == 0 && left.1 <= DELETED_ROWS_MAX {
            self.delete(&key);
        }
        Ok(match self.first(keys::DELETED)? {
            Some(_) => Trim::More,
            None => Trim::Done,
        })
    }
}

impl Journal {
    /// The clips of a pairing, in the order in which they became known.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn app_clips(&self, pairing: PairingId) -> Result<Vec<AppClip>, JournalError> {
        self.listed(&keys::clip_order_prefix(pairing))
    }

    /// The pictures of events of a pairing, in the same way.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn app_thumbnails(&self, pairing: PairingId) -> Result<Vec<AppClip>, JournalError> {
        self.listed(&keys::thumbnail_order_prefix(pairing))
    }

    fn listed(&self, list: &[u8]) -> Result<Vec<AppClip>, JournalError> {
        let order = scan_all(&self.wal, list)?;
        let ids = order
            .iter()
            .filter_map(|(_, id)| Some(ClipId(id.as_slice().try_into().ok()?)));
        ids.map(|id| self.app_clip(id)).collect()
    }

    /// How far the last ack that was sealed reaches; 0 if none was. Whether the hub has taken it
    /// is another question.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn ack_sent(&self, line: Line) -> Result<Seq, JournalError> {
        Ok(self.row(&keys::ack_sent(line))?.unwrap_or(Seq(0)))
    }

    /// One clip.
    ///
    /// # Errors
    /// [`JournalError::NoSuchClip`], or if its row cannot be read.
    pub fn app_clip(&self, clip: ClipId) -> Result<AppClip, JournalError> {
        let scope = Scope::Clip(clip);
        if self.scopes.get(scope).is_none() {
            return Err(JournalError::NoSuchClip(clip));
        }
        self.secret_row(scope, Family::Clip, &[])?
            .ok_or(JournalError::NoSuchClip(clip))
    }

    /// The bytes of one chunk of a clip, from 0.
    ///
    /// # Errors
    /// [`JournalError::ChunkDamaged`] if this device's copy is bad.
    pub fn app_chunk(&self, clip: ClipId, index: u32) -> Result<Zeroizing<Vec<u8>>, JournalError> {
        let key = keys::chunk(clip, index);
        let damaged = JournalError::ChunkDamaged { clip, index };
        let scope = Scope::Clip(clip);
        match self.payload(&key) {
            Ok(Some(sealed)) => self.open_value(scope, &key, &sealed).map_err(|_| damaged),
            Ok(None) | Err(JournalError::Wal(wal::WalError::PayloadDamaged { .. })) => Err(damaged),
            Err(other) => Err(other),
        }
    }
}
