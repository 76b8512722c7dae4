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
use wal::{crash_point, mutant};
use wire::ids::Seq;
use zeroize::Zeroizing;

use crate::clip::ClipOutcome;
use crate::error::{ErrorKind, JournalError};
use crate::ids::{Channel, ClipId, Line, PairingId};
use crate::journal::{Journal, scan_all};
use crate::keys::{self, Family};
use crate::outbox::Trim;
use crate::pairing::first_key_since;
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

/// What is known of a copy. Where that is damaged the copy is of no use: nothing is added to it, and it
/// must hold up neither the recording nor the ack.
fn load(txn: &Txn<'_>, clip: ClipId) -> Result<Option<RetainedClip>, JournalError> {
    if !has_copy(txn, clip) {
        return Ok(None);
    }
    match txn.secret_row(Scope::Clip(clip), Family::Clip, &[]) {
        Err(JournalError::ValueDamaged { .. }) => {
            tracing::warn!("what is known of a retained copy is damaged");
            Ok(None)
        }
        loaded => loaded,
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
    put(txn, &kept)?;
    // CRASH(journal.retain.added): before: the chunk is neither in the outbox nor in the copy | after: it is
    // in both, synced as one.
    crash_point!("journal.retain.added");
    Ok(())
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
    mutant!("retained_never_forgotten", "S3", "the ack of a clip ends no copy of it" => {
        return Ok(false);
    });
    // What was lost in the outbox the phone has not got: its copy is about to be played.
    let plays_lost = txn.get(&keys::plays(line.pairing, line.pairing))?;
    let mut due = txn.hub_clips(line.pairing)?;
    due.retain(|clip| {
        let is_over = match clip.outcome {
            ClipOutcome::Recording => false,
            ClipOutcome::Dropped(_) => plays_lost.is_none(),
            ClipOutcome::Complete | ClipOutcome::CutOff => true,
        };
        is_over && clip.last_seq() <= through && has_copy(txn, clip.clip)
    });
    for clip in due.iter().take(RELEASED_MAX) {
        txn.release_retained(clip.clip)?;
        // CRASH(journal.retain.released): before: the copy is there, whole, and the ack comes again, or the
        // step that follows one | after: its key is past, synced with the ack.
        crash_point!("journal.retain.released");
    }
    Ok(!due.is_empty())
}

/// The bytes of a clip are lost in the outbox of its line. If there is a copy, the phone gets that, as a new
/// clip.
pub(crate) fn lost(txn: &mut Txn<'_>, line: Line, clip: ClipId) {
    if has_copy(txn, clip) {
        txn.play(line.pairing, line.pairing);
    }
}

/// Whether there is a copy of this clip. What is known of the clip is kept as long.
pub(crate) fn has_copy(txn: &Txn<'_>, clip: ClipId) -> bool {
    txn.has_scope(Scope::Clip(clip))
}

/// Whether there is a copy of any clip.
pub(crate) fn keeps_any(txn: &Txn<'_>) -> bool {
    txn.journal()
        .scopes
        .iter()
        .any(|scope| clip_of(scope).is_some())
}

fn clip_of(scope: Scope) -> Option<ClipId> {
    match scope {
        Scope::Clip(clip) => Some(clip),
        _ => None,
    }
}

/// How many chunks a copy may have at most, by the last of their rows: for one of which nothing else can be
/// read.
fn chunks_stored(txn: &Txn<'_>, clip: ClipId) -> Result<u32, JournalError> {
    const PAGE: usize = 256;
    let prefix = keys::chunks(clip);
    let (mut from, mut end) = (prefix.clone(), 0);
    loop {
        let page = txn.journal().wal.scan_payloads(&prefix, &from, PAGE)?;
        let Some((last, _)) = page.last() else {
            return Ok(end);
        };
        end = keys::chunk_index(last).map_or(end, |index| index.saturating_add(1));
        from.clone_from(last);
        from.push(0);
    }
}

impl Session<Committer> {
    /// Whether a copy is kept of clips that begin from here on.
    pub fn retain(&mut self, retains: bool) {
        self.retains = retains;
    }
}

impl Txn<'_> {
    /// Ends the copy of a clip, if there is one: its key is erased after this transaction's sync, whether or
    /// not anything of it can be read. Its rows are removed by [`Txn::trim_deleted`], because one ack may end
    /// many copies.
    ///
    /// # Errors
    /// Our own storage.
    pub fn release_retained(&mut self, clip: ClipId) -> Result<(), JournalError> {
        if !has_copy(self, clip) {
            return Ok(());
        }
        let chunks = match load(self, clip)? {
            Some(kept) => kept.chunks,
            None => chunks_stored(self, clip)?,
        };
        if chunks > 0 {
            self.put_row(&keys::deleted(clip), &(0_u32, chunks))?;
        }
        self.end(Scope::Clip(clip));
        Ok(())
    }

    /// Ends copies that nobody wants any more: those for one phone, or all; at most [`RELEASED_MAX`] of them,
    /// and none of the clips in `but`. How many it ended: none means that none is left.
    ///
    /// # Errors
    /// Our own storage.
    pub fn forget_retained(
        &mut self,
        phone: Option<PairingId>,
        but: &[ClipId],
    ) -> Result<usize, JournalError> {
        // Tells whose a copy is that cannot be read; what is not known there stays for `None`.
        let known = phone.map(|phone| self.hub_clips(phone).unwrap_or_default());
        let clips: Vec<ClipId> = self.journal().scopes.iter().filter_map(clip_of).collect();
        let mut ended = 0;
        for clip in clips.into_iter().filter(|clip| !but.contains(clip)) {
            let is_meant = match (phone, load(self, clip)?) {
                (None, _) => true,
                (Some(phone), Some(kept)) => kept.pairing == phone,
                (Some(_), None) => known.iter().flatten().any(|known| known.clip == clip),
            };
            if is_meant && ended < RELEASED_MAX && has_copy(self, clip) {
                self.release_retained(clip)?;
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Ends more copies of what phones have acked. A crash between two steps costs nothing.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn trim_retained(&mut self) -> Result<Trim, JournalError> {
        if !keeps_any(self) {
            return Ok(Trim::Idle);
        }
        for pairing in self.journal().pairing_ids() {
            let line = Line::of(pairing, Channel::EventVideo);
            let head = self.journal().outbox_head(line);
            match head.and_then(|head| acked(self, line, head.acked)) {
                Ok(false) => {}
                // Of this phone or another: the next step sees.
                Ok(true) => return Ok(Trim::More),
                // What cannot be read of one phone holds up no other's.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(%error, "what a phone has acked cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Trim::Idle)
    }

    /// Ends more of all copies but those of the clips in `but`: of a hub whose owner wants none kept.
    ///
    /// # Errors
    /// Our own storage.
    pub fn trim_unwanted(&mut self, but: &[ClipId]) -> Result<Trim, JournalError> {
        Ok(match self.forget_retained(None, but)? {
            0 => Trim::Idle,
            _ => Trim::More,
        })
    }

    /// Notes that a phone is to get what was retained for another, or of its own what was lost in its outbox:
    /// until [`Txn::played`].
    pub fn play(&mut self, to: PairingId, from: PairingId) {
        self.put(&keys::plays(to, from), &[]);
    }

    /// Nothing more of that is to be played.
    pub fn played(&mut self, to: PairingId, from: PairingId) {
        self.delete(&keys::plays(to, from));
    }
}

impl Journal {
    /// The clips of which copies are kept, by phone and in the order in which they were recorded. One of which
    /// nothing can be read is not among them ([`Self::stranded_copies`]).
    ///
    /// # Errors
    /// Our own storage.
    pub fn retained_clips(&self) -> Result<Vec<RetainedClip>, JournalError> {
        let mut clips: Vec<RetainedClip> = Vec::new();
        for clip in self.scopes.iter().filter_map(clip_of) {
            clips.extend(self.retained_clip(clip)?);
        }
        clips.sort_by_key(|clip| (clip.pairing, clip.first));
        Ok(clips)
    }

    fn retained_clip(&self, clip: ClipId) -> Result<Option<RetainedClip>, JournalError> {
        match self.secret_row(Scope::Clip(clip), Family::Clip, &[]) {
            Err(JournalError::ValueDamaged { .. }) => Ok(None),
            read => read,
        }
    }

    /// How many copies no ack will end: their phone's pairing has ended, a rollback is proved on its line, or
    /// nothing can be read of them.
    ///
    /// # Errors
    /// Our own storage.
    pub fn stranded_copies(&self) -> Result<usize, JournalError> {
        let mut stranded = 0;
        for clip in self.scopes.iter().filter_map(clip_of) {
            let may_be_acked = match self.retained_clip(clip)? {
                Some(kept) => self.may_ack(kept.pairing)?,
                None => false,
            };
            stranded += usize::from(!may_be_acked);
        }
        Ok(stranded)
    }

    /// Whether an ack of what was recorded for this phone may still come.
    ///
    /// # Errors
    /// Our own storage.
    pub fn may_ack(&self, phone: PairingId) -> Result<bool, JournalError> {
        let line = Line::of(phone, Channel::EventVideo);
        let is_paired = self.scopes.get(Scope::Pairing(phone)).is_some();
        Ok(is_paired && self.rollback_proof(line)?.is_none())
    }

    /// Of what is retained for phone `from`, the clips that were begun before `to` was confirmed, in order: what
    /// came later was recorded for that phone as well. For a phone itself, those that were lost in its outbox.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn playable(
        &self,
        to: PairingId,
        from: PairingId,
    ) -> Result<Vec<RetainedClip>, JournalError> {
        let mut clips = self.retained_clips()?;
        clips.retain(|clip| clip.pairing == from);
        if to == from {
            let mut lost = self.hub_clips(to)?;
            lost.retain(|clip| matches!(clip.outcome, ClipOutcome::Dropped(_)));
            clips.retain(|clip| lost.iter().any(|lost| lost.clip == clip.clip));
            return Ok(clips);
        }
        // Keys are given in rising order, so they say which was made first; a clock could not.
        let Some(since) = first_key_since(self, to)? else {
            return Ok(Vec::new());
        };
        let born = |scope| self.scopes.get(scope).map(|key| key.id.0);
        clips.retain(|clip| born(Scope::Clip(clip.clip)).is_some_and(|key| key < since));
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
        Ok((
            u64::from_be_bytes(*captured),
            Zeroizing::new(bytes.to_vec()),
        ))
    }

    /// What is to be played: to which phone, and for which one it was retained.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub fn plays(&self) -> Result<Vec<(PairingId, PairingId)>, JournalError> {
        let rows = scan_all(&self.wal, keys::PLAYS)?;
        let pairs = rows.iter().filter_map(|(key, _)| keys::played_pair(key));
        Ok(pairs.collect())
    }
}
