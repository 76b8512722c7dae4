//! Clips that a hub keeps for a phone that may be lost: a copy of each, sealed under a key of its own,
//! until the phone's ack.
//!
//! An outbox is ciphertext for one phone, under keys that are gone. Where the owner wants to give a new
//! phone what the lost one never had, the hub must keep what it can open itself: exactly that, and no
//! longer. So a copy is a scope of its own, as a clip is on a phone: chunk by chunk in the transaction that
//! seals the chunk for the phone; the ack ends the scope, which erases its key. One ack may cover more clips
//! than a transaction can end: it ends some, and the rest go in steps ([`Txn::trim_retained`]). This room
//! never sends anything.

use serde::{Deserialize, Serialize};
use wire::ids::Seq;
use zeroize::Zeroizing;

use crate::clip::ClipOutcome;
use crate::error::JournalError;
use crate::ids::{Channel, ClipId, Line, PairingId};
use crate::journal::{Journal, scan_all};
use crate::keys::{self, Family};
use crate::outbox::Trim;
use crate::scope::Scope;
use crate::session::{Committer, Session};
use crate::txn::Txn;

/// In front of the bytes of a chunk: when they were captured, milliseconds since 1970, big-endian.
const CAPTURED_BYTES: usize = 8;
/// Copies that one transaction ends at most, beside whatever else is in it: under 128 KiB in the log, for the
/// same reason as [`crate::TRIM_ROWS_MAX`].
pub(crate) const RELEASED_MAX: usize = 256;

/// A clip of which the hub keeps a copy that it can open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetainedClip {
    /// Which clip.
    pub clip: ClipId,
    /// For which phone it was recorded.
    pub pairing: PairingId,
    /// The number of its first envelope to that phone: clips of a phone are in this order.
    pub first: u64,
    /// When its event began, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Name of the camera.
    pub camera: String,
    /// What the bytes are, as a MIME type.
    pub mime: String,
    /// Chunks kept.
    pub chunks: u32,
    /// Whether it ended with its trailer.
    pub is_whole: bool,
}

fn load(txn: &Txn<'_>, clip: ClipId) -> Result<Option<RetainedClip>, JournalError> {
    match txn.has_scope(Scope::Clip(clip)) {
        true => txn.secret_row(Scope::Clip(clip), Family::Clip, &[]),
        false => Ok(None),
    }
}

fn put(txn: &mut Txn<'_>, kept: &RetainedClip) -> Result<(), JournalError> {
    txn.put_secret_row(Scope::Clip(kept.clip), Family::Clip, &[], kept)
}

/// A clip begins. Where the vault takes no more keys it is recorded without a copy.
pub(crate) fn begin(txn: &mut Txn<'_>, kept: &RetainedClip) -> Result<(), JournalError> {
    match txn.birth(Scope::Clip(kept.clip)) {
        Ok(()) => put(txn, kept),
        Err(JournalError::VaultFull) => {
            tracing::warn!("no key is free for the copy of a clip; it is not retained");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The next chunk of a clip, if it has a copy.
pub(crate) fn add(
    txn: &mut Txn<'_>,
    clip: ClipId,
    bytes: &[u8],
    captured_unix_ms: u64,
) -> Result<(), JournalError> {
    let Some(mut kept) = load(txn, clip)? else {
        return Ok(());
    };
    let key = keys::chunk(clip, kept.chunks);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(CAPTURED_BYTES + bytes.len()));
    plaintext.extend_from_slice(&captured_unix_ms.to_be_bytes());
    plaintext.extend_from_slice(bytes);
    let sealed = txn.seal_payload(Scope::Clip(clip), &key, &plaintext)?;
    txn.put_payload(&key, sealed);
    kept.chunks += 1;
    put(txn, &kept)
}

/// A clip has ended, one way or another.
pub(crate) fn end(
    txn: &mut Txn<'_>,
    clip: ClipId,
    outcome: ClipOutcome,
) -> Result<(), JournalError> {
    let Some(mut kept) = load(txn, clip)? else {
        return Ok(());
    };
    kept.is_whole = outcome == ClipOutcome::Complete;
    put(txn, &kept)
}

/// The phone has everything through this number: copies of what it has whole are gone with this
/// transaction, at most [`RELEASED_MAX`] of them. True if there was any.
pub(crate) fn acked(txn: &mut Txn<'_>, line: Line, through: Seq) -> Result<bool, JournalError> {
    if !keeps_any(txn) {
        return Ok(false);
    }
    let mut due = txn.hub_clips(line.pairing)?;
    due.retain(|clip| {
        let ended = clip.outcome != ClipOutcome::Recording;
        ended && clip.last_seq() <= through && has_copy(txn, clip.clip)
    });
    for clip in due.iter().take(RELEASED_MAX) {
        txn.release_retained(clip.clip)?;
    }
    Ok(!due.is_empty())
}

/// Whether there is a copy of this clip. What is known of the clip is kept as long.
pub(crate) fn has_copy(txn: &Txn<'_>, clip: ClipId) -> bool {
    txn.has_scope(Scope::Clip(clip))
}

fn keeps_any(txn: &Txn<'_>) -> bool {
    txn.journal().scopes.iter().any(is_clip)
}

fn is_clip(scope: Scope) -> bool {
    matches!(scope, Scope::Clip(_))
}

impl Session<Committer> {
    /// Whether a copy is kept of clips that begin from here on.
    pub fn retain(&mut self, retains: bool) {
        self.retains = retains;
    }
}

impl Txn<'_> {
    /// Ends the copy of a clip, if there is one: its key is erased after this transaction's sync. Its rows
    /// are removed by [`Txn::trim_deleted`], because one ack may end many copies.
    ///
    /// # Errors
    /// If its row cannot be read.
    pub fn release_retained(&mut self, clip: ClipId) -> Result<(), JournalError> {
        if let Some(kept) = load(self, clip)? {
            if kept.chunks > 0 {
                self.put_row(&keys::deleted(clip), &(0_u32, kept.chunks))?;
            }
            self.end(Scope::Clip(clip));
        }
        Ok(())
    }

    /// Ends more copies of what phones have acked. A crash between two steps costs nothing.
    ///
    /// # Errors
    /// If what is known of a clip cannot be read.
    pub fn trim_retained(&mut self) -> Result<Trim, JournalError> {
        if !keeps_any(self) {
            return Ok(Trim::Idle);
        }
        for pairing in self.journal().pairing_ids() {
            let line = Line::of(pairing, Channel::EventVideo);
            let through = self.journal().outbox_head(line)?.acked;
            if acked(self, line, through)? {
                // Of this phone or another: the next step sees.
                return Ok(Trim::More);
            }
        }
        Ok(Trim::Idle)
    }

    /// Notes that the owner wants a new phone to get what was retained for another: until
    /// [`Txn::played`].
    ///
    /// # Errors
    /// Our own storage.
    pub fn play(&mut self, to: PairingId, from: PairingId) -> Result<(), JournalError> {
        self.put_row(&keys::plays(to), &from)
    }

    /// Nothing more is to be played to this phone.
    pub fn played(&mut self, to: PairingId) {
        self.delete(&keys::plays(to));
    }
}

impl Journal {
    /// The clips of which copies are kept, by phone and in the order in which they were recorded.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn retained_clips(&self) -> Result<Vec<RetainedClip>, JournalError> {
        let mut clips: Vec<RetainedClip> = Vec::new();
        for scope in self.scopes.iter().filter(|scope| is_clip(*scope)) {
            let clip: Option<RetainedClip> = self.secret_row(scope, Family::Clip, &[])?;
            clips.extend(clip);
        }
        clips.sort_by_key(|clip| (clip.pairing, clip.first));
        Ok(clips)
    }

    /// Of what is retained for phone `from`, the clips that were begun before `to` was paired, in order: what
    /// came later was recorded for that phone as well.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn playable(
        &self,
        to: PairingId,
        from: PairingId,
    ) -> Result<Vec<RetainedClip>, JournalError> {
        // Keys are given in rising order, so they say which was made first; a clock could not.
        let born = |scope| self.scopes.get(scope).map(|key| key.id);
        let Some(paired) = born(Scope::Pairing(to)) else {
            return Ok(Vec::new());
        };
        let mut clips = self.retained_clips()?;
        clips.retain(|clip| {
            clip.pairing == from && born(Scope::Clip(clip.clip)).is_some_and(|key| key < paired)
        });
        Ok(clips)
    }

    /// A chunk of such a copy: when its newest picture was captured, milliseconds since 1970, and its bytes.
    ///
    /// # Errors
    /// [`JournalError::ChunkDamaged`] if the copy is bad.
    pub fn retained_chunk(
        &self,
        clip: ClipId,
        index: u32,
    ) -> Result<(u64, Zeroizing<Vec<u8>>), JournalError> {
        let kept = self.app_chunk(clip, index)?;
        let damaged = JournalError::ChunkDamaged { clip, index };
        let (captured, bytes) = kept.split_first_chunk::<CAPTURED_BYTES>().ok_or(damaged)?;
        Ok((u64::from_be_bytes(*captured), Zeroizing::new(bytes.to_vec())))
    }

    /// What the owner wants to be played: to which phone, and for which one it was retained.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn plays(&self) -> Result<Vec<(PairingId, PairingId)>, JournalError> {
        let rows = scan_all(&self.wal, keys::PLAYS)?;
        let mut plays = Vec::with_capacity(rows.len());
        for (key, _value) in rows {
            let to = key.get(1..).and_then(|id| id.try_into().ok()).map(PairingId);
            if let (Some(to), Some(from)) = (to, self.row(&key)?) {
                plays.push((to, from));
            }
        }
        Ok(plays)
    }
}
