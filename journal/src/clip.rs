//! Clips at the hub: what of an event was accepted, and how it ends.
//!
//! A clip is a header, chunks and a trailer, all in the epoch that its Commit opened. The picture of an
//! event is one, too, in a channel of its own. Clips of several cameras may be open in one line: each
//! begins with a Commit, and each end closes the epoch, behind which the others go on with another. Running digest
//! and counts are stored with every batch (scenario 17), so that whatever happens, the last message
//! about a clip says exactly which bytes [`crate::Journal::commit`] accepted: the trailer if all went
//! well, the cut-off notice after a crash, the statement if its bytes were lost.

mod dropping;
mod spans;

use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256};
use wal::mutant;
use wire::ids::Seq;
use zeroize::Zeroizing;

use crate::error::JournalError;
use crate::ids::{Channel, ClipId, Line, PairingId};
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::message::{
    self, CHUNK_BYTES_MAX, ClipEnd, ClipHeader, DropReason, HubMessage, NAME_BYTES_MAX,
};
use crate::outbox::Placement;
use crate::retain::{self, RetainedClip};
use crate::scope::Scope;
use crate::session::{Committer, EpochUse, Session};
use crate::txn::{Outcome, Txn};

#[cfg(test)]
pub(crate) use dropping::STATEMENTS_MAX;
#[cfg(test)]
pub(crate) use spans::SPANS_PER_PAGE;

use dropping::Rest;
use spans::Spans;

/// How many clips a hub remembers per pairing after they are acked, for `status`.
pub const ACKED_CLIPS_KEPT: usize = 64;

/// Rows of clips beyond those that one start of a clip removes: under 16 KiB in the log. More than that are
/// over at once if one ack covers what a phone was away for; the rest goes with the next clips.
const CLIPS_PRUNED_MAX: u32 = 128;

/// How a clip stands at the hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ClipOutcome {
    /// Being recorded.
    Recording,
    /// Its trailer is in the outbox, or already acked.
    Complete,
    /// Its cut-off notice is.
    CutOff,
    /// Its bytes are gone; a signed statement says so.
    Dropped(DropReason),
}

/// A clip as the hub knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HubClip {
    /// Which clip.
    pub clip: ClipId,
    /// When its event began, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Number of chunks accepted.
    pub chunks: u32,
    /// Number of bytes accepted.
    pub bytes: u64,
    /// SHA-256 of the bytes accepted, once it has ended.
    pub sha256: Option<[u8; 32]>,
    /// How it stands.
    pub outcome: ClipOutcome,
    /// Its envelopes.
    spans: Spans,
    /// It is being dropped whole, and from here on no statement was made yet.
    rest: Option<Rest>,
}

impl HubClip {
    /// The first envelope that belongs to it: clips of a line are in this order.
    pub fn first_seq(&self) -> Seq {
        self.spans.first()
    }

    /// The last envelope that belongs to it.
    pub fn last_seq(&self) -> Seq {
        self.spans.last()
    }

    /// Whether [`Session::drop_whole`] has begun with it and is not done.
    pub fn is_dropped_in_part(&self) -> bool {
        self.rest.is_some()
    }

    fn end(&self, sha256: [u8; 32], now_unix_ms: u64) -> ClipEnd {
        ClipEnd {
            clip: self.clip,
            chunks: self.chunks,
            bytes: self.bytes,
            sha256,
            ended_unix_ms: now_unix_ms,
        }
    }
}

fn clip_scope(line: Line) -> Scope {
    Scope::Pairing(line.pairing)
}

/// Where the clips of a line are; `None` for one that has none.
fn family(line: Line) -> Option<Family> {
    match line.channel {
        Channel::EventVideo => Some(Family::Clip),
        Channel::Thumbnail => Some(Family::Thumbnail),
        Channel::Livestream | Channel::Notification | Channel::Config => None,
    }
}

fn own_family(line: Line) -> Result<Family, JournalError> {
    family(line).ok_or(JournalError::Misuse(
        "clips are recorded in the channels of event video and thumbnails",
    ))
}

fn put_clip(txn: &mut Txn<'_>, line: Line, clip: &HubClip) -> Result<(), JournalError> {
    txn.put_secret_row(clip_scope(line), own_family(line)?, &clip.clip.0, clip)
}

fn load_clip(txn: &Txn<'_>, line: Line, clip: ClipId) -> Result<HubClip, JournalError> {
    txn.secret_row(clip_scope(line), own_family(line)?, &clip.0)?
        .ok_or(JournalError::NoSuchClip(clip))
}

/// Whether a clip that an epoch carries is still being recorded.
pub(crate) fn is_recording(txn: &Txn<'_>, line: Line, clip: ClipId) -> Result<bool, JournalError> {
    Ok(load_clip(txn, line, clip)?.outcome == ClipOutcome::Recording)
}

/// The running digest: secret, because up to 63 bytes of the clip are in its buffer.
fn put_digest(
    txn: &mut Txn<'_>,
    line: Line,
    clip: ClipId,
    digest: &Sha256,
) -> Result<(), JournalError> {
    let state = Zeroizing::new(digest.serialize().to_vec());
    txn.put_secret_row(Scope::Group(line), Family::ClipDigest, &clip.0, &*state)
}

fn load_digest(txn: &Txn<'_>, line: Line, clip: ClipId) -> Result<Sha256, JournalError> {
    let damaged = JournalError::ValueDamaged {
        scope: Scope::Group(line),
        what: "running digest",
    };
    let state: Option<Vec<u8>> = txn.secret_row(Scope::Group(line), Family::ClipDigest, &clip.0)?;
    let state = state.ok_or(JournalError::NoSuchClip(clip))?;
    let Ok(state) = state.as_slice().try_into() else {
        return Err(damaged);
    };
    Sha256::deserialize(state).map_err(|_| damaged)
}

fn drop_digest(txn: &mut Txn<'_>, line: Line, clip: ClipId) {
    txn.delete_secret(
        Scope::Group(line),
        keys::secret(Scope::Group(line), Family::ClipDigest, &clip.0),
    );
}

/// A clip being recorded, in memory: what the rows say, without reading them for every chunk.
pub(crate) struct OpenClip {
    record: HubClip,
    digest: Sha256,
    /// The last transaction that moved it. Unless it was staged, memory is ahead of the rows.
    touched: Outcome,
}

impl OpenClip {
    fn load(txn: &Txn<'_>, line: Line, clip: ClipId) -> Result<Self, JournalError> {
        let record = load_clip(txn, line, clip)?;
        if record.outcome != ClipOutcome::Recording {
            return Err(JournalError::Misuse(
                "only a clip that is being recorded takes chunks and an end",
            ));
        }
        Ok(Self {
            record,
            digest: load_digest(txn, line, clip)?,
            touched: txn.outcome().clone(),
        })
    }

    fn fits(&self, txn: &Txn<'_>, clip: ClipId) -> bool {
        let current = self.touched.is_staged() || self.touched.same(txn.outcome());
        current && self.record.clip == clip
    }

    /// Writes both rows.
    fn put(&mut self, txn: &mut Txn<'_>, line: Line) -> Result<(), JournalError> {
        self.touched = txn.outcome().clone();
        put_clip(txn, line, &self.record)?;
        put_digest(txn, line, self.record.clip, &self.digest)
    }
}

/// What becomes of the epoch in which a clip ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Another clip has its end in it as well.
    GoesOn,
    /// Nothing more is said in it.
    Closes,
}

/// Room for the largest message, so that encoding never moves it.
const SCRATCH_BYTES: usize = CHUNK_BYTES_MAX + 256;

impl Session<Committer> {
    /// Starts a clip: Commit and header in this transaction, to which the first chunks may be added.
    ///
    /// # Errors
    /// As [`Session::advance_epoch`].
    pub fn start_clip(
        &mut self,
        txn: &mut Txn<'_>,
        camera: &str,
        mime: &str,
        now_unix_ms: u64,
    ) -> Result<ClipId, JournalError> {
        if camera.len() > NAME_BYTES_MAX || mime.len() > NAME_BYTES_MAX {
            return Err(JournalError::Misuse(
                "camera names and MIME types have at most 64 bytes",
            ));
        }
        own_family(self.line())?;
        self.prune_clips(txn)?;
        let clip = match wal::mutant!(
            "clip_named_by_the_clock",
            "C1",
            "a clip's name comes from the clock, which may stand where it once stood"
        ) {
            true => ClipId(u128::from(now_unix_ms / 1_000).to_be_bytes()),
            false => ClipId(txn.random()),
        };
        self.advance_epoch(txn)?;
        self.carries(txn, clip)?;
        let header = HubMessage::ClipHeader(ClipHeader {
            clip,
            started_unix_ms: now_unix_ms,
            camera: camera.to_owned(),
            mime: mime.to_owned(),
        });
        let seq = self.seal_message(txn, &header, Placement::Inline)?;
        let mut record = HubClip {
            clip,
            started_unix_ms: now_unix_ms,
            chunks: 0,
            bytes: 0,
            sha256: None,
            outcome: ClipOutcome::Recording,
            spans: Spans::default(),
            rest: None,
        };
        let before = self.said_before();
        record.spans.took(txn, (self.line(), clip), seq, before)?;
        // A picture is no evidence that a clip is not: it has no copy.
        if self.retains && self.line().channel == Channel::EventVideo {
            let kept = RetainedClip {
                clip,
                pairing: self.line().pairing,
                first: seq.0,
                started_unix_ms: now_unix_ms,
                camera: camera.to_owned(),
                mime: mime.to_owned(),
                chunks: 0,
                is_whole: false,
            };
            retain::begin(txn, &kept)?;
        }
        let mut open = OpenClip {
            record,
            digest: Sha256::new(),
            touched: txn.outcome().clone(),
        };
        open.put(txn, self.line())?;
        self.open_clips.insert(clip, open);
        Ok(clip)
    }

    /// Sends something whole as a clip of its own, Commit and trailer included, in this transaction: the
    /// picture of an event. At most [`CHUNK_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// As [`Session::start_clip`].
    pub fn send_whole(
        &mut self,
        txn: &mut Txn<'_>,
        (camera, mime): (&str, &str),
        started_unix_ms: u64,
        bytes: &[u8],
        now_unix_ms: u64,
    ) -> Result<ClipEnd, JournalError> {
        let clip = self.start_clip(txn, camera, mime, started_unix_ms)?;
        self.append_chunk(txn, clip, bytes, started_unix_ms)?;
        let end = self.finish_clip(txn, clip, now_unix_ms)?;
        // CRASH(journal.picture.hub_staged): before: no picture, and none later: its clip goes on without | after: Commit,
        // picture and trailer are synced as one.
        wal::crash_point!("journal.picture.hub_staged");
        Ok(end)
    }

    /// A clip being recorded: from memory if that is what the rows say, else from the rows.
    fn take_open(&mut self, txn: &Txn<'_>, clip: ClipId) -> Result<OpenClip, JournalError> {
        match self.open_clips.remove(&clip) {
            Some(open) if open.fits(txn, clip) => Ok(open),
            _ => OpenClip::load(txn, self.line(), clip),
        }
    }

    /// Encodes a message and seals it.
    fn seal_message(
        &mut self,
        txn: &mut Txn<'_>,
        message: &HubMessage<'_>,
        placement: Placement,
    ) -> Result<Seq, JournalError> {
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.reserve(SCRATCH_BYTES);
        let encoded = message::encode_into(message, &mut scratch);
        let sealed = match encoded {
            Some(()) => self.seal(txn, &scratch, placement),
            None => Err(JournalError::Misuse("our own messages must encode")),
        };
        self.scratch = scratch;
        sealed
    }

    /// Seals the next chunk of a clip. If this handle lost its epoch, a Commit is made first and the
    /// clip goes on behind it.
    ///
    /// # Errors
    /// Storage, or MLS; the transaction must be dropped.
    pub fn append_chunk(
        &mut self,
        txn: &mut Txn<'_>,
        clip: ClipId,
        bytes: &[u8],
        captured_unix_ms: u64,
    ) -> Result<Seq, JournalError> {
        if bytes.len() > CHUNK_BYTES_MAX {
            return Err(JournalError::Misuse(
                "a chunk has at most CHUNK_BYTES_MAX bytes",
            ));
        }
        let mut open = self.take_open(txn, clip)?;
        self.keep_right(txn, clip)?;
        let chunk = HubMessage::Chunk {
            clip,
            index: open.record.chunks,
            captured_unix_ms,
            bytes,
        };
        let seq = self.seal_message(txn, &chunk, Placement::Payload)?;
        retain::add(txn, clip, bytes, captured_unix_ms)?;
        open.digest.update(bytes);
        open.record.chunks += 1;
        open.record.bytes += bytes.len() as u64;
        let before = self.said_before();
        open.record
            .spans
            .took(txn, (self.line(), clip), seq, before)?;
        open.put(txn, self.line())?;
        self.open_clips.insert(clip, open);
        Ok(seq)
    }

    /// Ends a clip with its trailer, and the epoch with it: used-up ratchet and key rotation are in
    /// the same transaction.
    ///
    /// # Errors
    /// Storage, or MLS; the transaction must be dropped.
    pub fn finish_clip(
        &mut self,
        txn: &mut Txn<'_>,
        clip: ClipId,
        now_unix_ms: u64,
    ) -> Result<ClipEnd, JournalError> {
        self.keep_right(txn, clip)?;
        self.end_clip(
            txn,
            clip,
            now_unix_ms,
            (ClipOutcome::Complete, Then::Closes),
        )
    }

    /// Ends a clip early, with its cut-off notice, while the process lives: otherwise as
    /// [`Session::finish_clip`], so that the full disk that ended it need not take a Commit.
    ///
    /// # Errors
    /// Storage, or MLS; the transaction must be dropped.
    pub fn cut_off_clip(
        &mut self,
        txn: &mut Txn<'_>,
        clip: ClipId,
        now_unix_ms: u64,
    ) -> Result<ClipEnd, JournalError> {
        self.keep_right(txn, clip)?;
        self.end_clip(txn, clip, now_unix_ms, (ClipOutcome::CutOff, Then::Closes))
    }

    /// What a start owes to an epoch that was encrypted in: a Commit, the cut-off notice of each clip
    /// that is still being recorded, and rotation. An unused or finished epoch gets nothing, unless a clip
    /// waited behind it for its next chunk.
    ///
    /// # Errors
    /// Storage, or MLS; the transaction must be dropped.
    pub fn close_used_epoch(
        &mut self,
        txn: &mut Txn<'_>,
        now_unix_ms: u64,
    ) -> Result<Closed, JournalError> {
        let used: Option<EpochUse> = txn.row(&keys::epoch_use(self.line()))?;
        let mut open = txn.clips_being_recorded(self.line())?;
        mutant!("clip_left_open", "C2", "a start closes the epoch that was used, and not the clip that was sent in it: it never ends" => {
            open.clear();
        });
        let Some(last) = open.pop() else {
            if !matches!(used, Some(EpochUse::InUse { .. })) {
                return Ok(Closed::NothingOwed);
            }
            // Nothing is left to say in it, but its ratchet is on disk: move on and rotate.
            self.advance_epoch(txn)?;
            self.finish_empty(txn)?;
            return Ok(Closed::EpochOnly);
        };
        if crate::session::old_epochs_are_good() {
            // Loads the group, and with it the right.
            let _epoch = self.epoch(txn)?;
        } else {
            self.advance_epoch(txn)?;
        }
        let mut ends = Vec::with_capacity(open.len() + 1);
        for clip in open {
            ends.push(self.end_clip(
                txn,
                clip,
                now_unix_ms,
                (ClipOutcome::CutOff, Then::GoesOn),
            )?);
        }
        let ending = (ClipOutcome::CutOff, Then::Closes);
        ends.push(self.end_clip(txn, last, now_unix_ms, ending)?);
        Ok(Closed::CutOff(ends))
    }

    fn end_clip(
        &mut self,
        txn: &mut Txn<'_>,
        clip: ClipId,
        now_unix_ms: u64,
        (outcome, then): (ClipOutcome, Then),
    ) -> Result<ClipEnd, JournalError> {
        let line = self.line();
        let OpenClip {
            mut record, digest, ..
        } = self.take_open(txn, clip)?;
        let sha256: [u8; 32] = digest.finalize().into();
        let end = record.end(sha256, now_unix_ms);
        let message = match outcome {
            ClipOutcome::CutOff => HubMessage::CutOff(end.clone()),
            _ => HubMessage::Trailer(end.clone()),
        };
        let encoded = message::encode(&message).map(Zeroizing::new);
        let encoded = encoded.ok_or(JournalError::Misuse("our own messages must encode"))?;
        let seq = match then {
            Then::GoesOn => self.seal(txn, &encoded, Placement::Inline)?,
            Then::Closes => self.finish(txn, &encoded)?,
        };
        let before = self.said_before();
        record.spans.took(txn, (line, clip), seq, before)?;
        record.sha256 = Some(sha256);
        record.outcome = outcome;
        drop_digest(txn, line, clip);
        put_clip(txn, line, &record)?;
        retain::end(txn, clip, outcome)?;
        // The last plaintext of the clip goes with it.
        self.scratch = Zeroizing::default();
        Ok(end)
    }

    /// A Commit first if this handle may not encrypt.
    fn keep_right(&mut self, txn: &mut Txn<'_>, clip: ClipId) -> Result<(), JournalError> {
        if self.may_encrypt(txn) {
            return Ok(());
        }
        self.advance_epoch(txn)?;
        self.carries(txn, clip)
    }

    /// What a proved rollback costs the hub ([`Session::prove_rollback`]), and an epoch that a start cannot close: the
    /// group dies with all its keys, because nothing is encrypted in it any more and what left of a clip in progress
    /// would open with them. Such clips end in our books only; they come back with how much was accepted.
    ///
    /// # Errors
    /// If a clip's rows cannot be read: it stays as it is, and the group dies all the same.
    pub fn abandon(&mut self, txn: &mut Txn<'_>) -> Result<Vec<HubClip>, JournalError> {
        let ended = self.end_unsaid(txn);
        self.forget();
        self.scratch = Zeroizing::default();
        txn.end(Scope::Group(self.line()));
        ended
    }

    /// Ends the clips being recorded, without envelopes that say so.
    fn end_unsaid(&mut self, txn: &mut Txn<'_>) -> Result<Vec<HubClip>, JournalError> {
        let line = self.line();
        let mut ended = Vec::new();
        for clip in txn.clips_being_recorded(line)? {
            let OpenClip {
                mut record, digest, ..
            } = self.take_open(txn, clip)?;
            record.sha256 = Some(digest.finalize().into());
            record.outcome = ClipOutcome::CutOff;
            put_clip(txn, line, &record)?;
            ended.push(record);
        }
        Ok(ended)
    }

    /// Forgets clips that are acked and older than the last [`ACKED_CLIPS_KEPT`], the oldest first, at
    /// most [`CLIPS_PRUNED_MAX`] rows of them.
    fn prune_clips(&mut self, txn: &mut Txn<'_>) -> Result<(), JournalError> {
        let line = self.line();
        let acked = txn.journal().outbox_head(line)?.acked;
        let mut done: Vec<_> = txn.clips_of(line)?;
        done.retain(|clip| {
            let ended = clip.outcome != ClipOutcome::Recording;
            // A copy that is still to be released is found by what is known of its clip.
            ended && clip.last_seq() <= acked && !retain::has_copy(txn, clip.clip)
        });
        let excess = done.len().saturating_sub(ACKED_CLIPS_KEPT);
        let mut room = CLIPS_PRUNED_MAX;
        for mut clip in done.into_iter().take(excess) {
            room -= clip.spans.forget_pages(txn, (line, clip.clip), room);
            if room == 0 {
                // It goes with a later clip, and has fewer pages until then.
                return put_clip(txn, line, &clip);
            }
            let key = keys::secret(clip_scope(line), own_family(line)?, &clip.clip.0);
            txn.delete_secret(clip_scope(line), key);
            room -= 1;
        }
        Ok(())
    }
}

/// What a start did about the epoch that it found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closed {
    /// It was unused or finished.
    NothingOwed,
    /// It was closed; no clip was open in it.
    EpochOnly,
    /// It was closed, and these clips were cut off; at least one.
    CutOff(Vec<ClipEnd>),
}

impl Txn<'_> {
    /// [`Journal::hub_clips`], as the transaction sees them.
    pub(crate) fn hub_clips(&self, pairing: PairingId) -> Result<Vec<HubClip>, JournalError> {
        self.clips_of(Line::of(pairing, Channel::EventVideo))
    }

    fn clips_of(&self, line: Line) -> Result<Vec<HubClip>, JournalError> {
        let Some(family) = family(line) else {
            return Ok(Vec::new());
        };
        let scope = clip_scope(line);
        let rows = self.secrets(scope, &keys::secret(scope, family, &[]))?;
        decode_clips(scope, rows.into_values())
    }

    /// In the order in which they began.
    fn clips_being_recorded(&self, line: Line) -> Result<Vec<ClipId>, JournalError> {
        let clips = self.clips_of(line)?.into_iter();
        let open = clips.filter(|clip| clip.outcome == ClipOutcome::Recording);
        Ok(open.map(|clip| clip.clip).collect())
    }
}

impl Journal {
    /// Whether a line has a group. It dies before its line does with a proved rollback, and where what is stored of it
    /// is damaged for good.
    pub fn has_group(&self, line: Line) -> bool {
        self.scopes.get(Scope::Group(line)).is_some()
    }

    /// The clips that a hub knows of a pairing's events, oldest first.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn hub_clips(&self, pairing: PairingId) -> Result<Vec<HubClip>, JournalError> {
        self.clips_of(Line::of(pairing, Channel::EventVideo))
    }

    /// The pictures of events that a hub knows of a pairing, oldest first.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn hub_thumbnails(&self, pairing: PairingId) -> Result<Vec<HubClip>, JournalError> {
        self.clips_of(Line::of(pairing, Channel::Thumbnail))
    }

    /// Whether a start owes a line something ([`Session::close_used_epoch`]): its epoch is open, or a clip
    /// of it is.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn owes_close(&self, line: Line) -> Result<bool, JournalError> {
        if matches!(self.epoch_use(line)?, Some(EpochUse::InUse { .. })) {
            return Ok(true);
        }
        let clips = self.clips_of(line)?;
        Ok(clips
            .iter()
            .any(|clip| clip.outcome == ClipOutcome::Recording))
    }

    fn clips_of(&self, line: Line) -> Result<Vec<HubClip>, JournalError> {
        let Some(family) = family(line) else {
            return Ok(Vec::new());
        };
        let scope = clip_scope(line);
        let prefix = keys::secret(scope, family, &[]);
        let rows = crate::journal::scan_all(&self.wal, &prefix)?;
        let opened: Result<Vec<_>, _> = rows
            .iter()
            .map(|(key, sealed)| self.open_value(scope, key, sealed))
            .collect();
        decode_clips(scope, opened?.into_iter())
    }
}

fn decode_clips(
    scope: Scope,
    rows: impl Iterator<Item = Zeroizing<Vec<u8>>>,
) -> Result<Vec<HubClip>, JournalError> {
    let damaged = || JournalError::ValueDamaged {
        scope,
        what: "clip",
    };
    let clips: Result<Vec<HubClip>, _> = rows
        .map(|bytes| crate::codec::from_row(&bytes).ok_or_else(damaged))
        .collect();
    let mut clips = clips?;
    clips.sort_by_key(HubClip::first_seq);
    Ok(clips)
}
