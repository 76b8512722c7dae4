//! Clips that are retained until they are acked, and played to a phone that takes another's place.
//!
//! One clip at a tick, while nothing is recorded: as a new event of the new phone, through the same seals
//! as any other. The copy ends in the transaction of the new clip's end, so that each is played whole once;
//! what a crash cuts off is played again from its beginning, and the new phone keeps the piece that is
//! marked as cut off.
//! It must never play what the owner did not ask for, and never while a camera records.

use journal::ids::{Channel, ClipId, Line, PairingId};
use journal::{ErrorKind, JournalError, RetainedClip};
use wal::Priority;

use super::recording::Recording;
use super::{
    BATCH_BYTES, CHUNK_OVERHEAD_BYTES, ClipFacts, ClipState, Core, CoreError, EPOCH_BYTES,
    LineState, Notice, SMALL_GROUP_BYTES,
};

impl Core {
    /// Whether copies are kept of clips that begin from here on. Off at a start.
    pub fn set_retention(&mut self, retains: bool) {
        self.retains = retains;
        for state in self.lines.values_mut() {
            state.session.retain(retains);
        }
    }

    /// The owner wants phone `to` to get what was retained for `from` before `to` was paired: noted, and played
    /// from the next tick on. How many clips that is.
    ///
    /// # Errors
    /// [`JournalError::NoGroup`] if `to` is no confirmed phone of this hub, or is `from`; the journal's.
    pub fn handle_play(
        &mut self,
        to: PairingId,
        from: PairingId,
        now_unix_ms: u64,
    ) -> Result<usize, CoreError> {
        let line = Line::of(to, Channel::EventVideo);
        if to == from || !self.lines.contains_key(&line) {
            return Err(JournalError::NoGroup(line).into());
        }
        let count = self.journal_ref()?.playable(to, from)?.len();
        self.in_txn(line, SMALL_GROUP_BYTES, now_unix_ms, |_session, txn| {
            txn.play(to, from)
        })?;
        self.commit(now_unix_ms)?;
        Ok(count)
    }

    /// The owner wants nothing any more of what is retained for a phone: the copies' keys are erased, but for
    /// that of the clip being recorded. How many there were.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_forget(
        &mut self,
        phone: PairingId,
        now_unix_ms: u64,
    ) -> Result<usize, CoreError> {
        let recorded = self.recording.as_ref().map(Recording::clip_ids);
        let recorded = recorded.unwrap_or_default();
        let mut clips = self.retained()?;
        clips.retain(|clip| clip.pairing == phone && !recorded.contains(&clip.clip));
        for clip in &clips {
            self.with_journal(now_unix_ms, |journal| {
                let mut txn = journal.begin();
                txn.release_retained(clip.clip)?;
                txn.commit(()).map(drop)
            })?;
        }
        Ok(clips.len())
    }

    /// The copies that are kept.
    ///
    /// # Errors
    /// The journal's.
    pub fn retained(&self) -> Result<Vec<RetainedClip>, CoreError> {
        Ok(self.journal_ref()?.retained_clips()?)
    }

    /// Plays one clip that is to be played, if there is one and room for it.
    pub(super) fn play_next(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let plays = self.journal_ref()?.plays()?;
        // A phone that is silent gets nothing new: it waits until it is heard of.
        let mut plays = plays.into_iter();
        let heard = plays.find(|(to, _from)| !self.silence.is_silent(*to));
        let Some((to, from)) = heard else {
            return Ok(());
        };
        let line = Line::of(to, Channel::EventVideo);
        let next = self.journal_ref()?.playable(to, from)?.into_iter().next();
        let may_play = self.lines.get(&line).is_some_and(LineState::may_record);
        let played = match next {
            Some(kept) if may_play => self.play(line, &kept, now_unix_ms),
            // It is all there, or nobody is there any more who could get it.
            _ => return self.end_playing(to, now_unix_ms),
        };
        match played {
            // It would end like this at every tick. The copies stay, and may be asked for again.
            Err(CoreError::Journal(error)) if !self.is_poison(&error) && !may_pass(&error) => {
                tracing::error!(%error, "what is retained cannot be played");
                self.end_playing(to, now_unix_ms)
            }
            played => played,
        }
    }

    fn end_playing(&mut self, to: PairingId, now_unix_ms: u64) -> Result<(), CoreError> {
        self.with_journal(now_unix_ms, |journal| {
            let mut txn = journal.begin();
            txn.played(to);
            txn.commit(()).map(drop)
        })
    }

    fn play(&mut self, line: Line, kept: &RetainedClip, now_unix_ms: u64) -> Result<(), CoreError> {
        let chunk_bytes = journal::CHUNK_BYTES_MAX as u64 + CHUNK_OVERHEAD_BYTES;
        let needed = 2 * EPOCH_BYTES + u64::from(kept.chunks) * chunk_bytes * self.copies();
        if !self.has_room(needed, Priority::Bulk, now_unix_ms)? {
            return Ok(());
        }
        let clip = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
            session.start_clip(txn, &kept.camera, &kept.mime, kept.started_unix_ms)
        })?;
        self.pending.push(Notice::ClipStarted {
            line,
            clip,
            started_unix_ms: kept.started_unix_ms,
        });
        let played = self.play_chunks(line, clip, kept, now_unix_ms);
        match played {
            Ok(is_whole) => self.end_played(line, clip, Some((kept, is_whole)), now_unix_ms),
            // Opened again, it has cut off what was begun, or will; the copy is still there.
            Err(error) if error.is_open() => Err(error),
            Err(CoreError::Journal(error)) if self.is_poison(&error) => Err(error.into()),
            Err(error) => {
                if let Err(also) = self.end_played(line, clip, None, now_unix_ms) {
                    tracing::error!(error = %also, "a clip that was being played is not ended");
                }
                Err(error)
            }
        }
    }

    /// All chunks of a copy, or those before the first that is damaged: whether the clip is whole.
    fn play_chunks(
        &mut self,
        line: Line,
        clip: ClipId,
        kept: &RetainedClip,
        now_unix_ms: u64,
    ) -> Result<bool, CoreError> {
        for index in 0..kept.chunks {
            let chunk = self.journal_ref()?.retained_chunk(kept.clip, index);
            let (captured_unix_ms, bytes) = match chunk {
                Ok(chunk) => chunk,
                Err(JournalError::ChunkDamaged { .. }) => {
                    tracing::error!(index, "a retained copy is damaged; it is played up to there");
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            };
            let size = self.copies() * (bytes.len() as u64 + CHUNK_OVERHEAD_BYTES);
            self.in_txn(line, size, now_unix_ms, |session, txn| {
                session.append_chunk(txn, clip, &bytes, captured_unix_ms)
            })?;
            if self.staged_bytes >= BATCH_BYTES {
                self.commit(now_unix_ms)?;
            }
        }
        Ok(kept.is_whole)
    }

    /// Ends a clip that was played, and in the same transaction the copy that it came from, if all of that
    /// was played which could be.
    fn end_played(
        &mut self,
        line: Line,
        clip: ClipId,
        kept: Option<(&RetainedClip, bool)>,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let is_whole = kept.is_some_and(|(_, is_whole)| is_whole);
        let end = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
            let end = match is_whole {
                true => session.finish_clip(txn, clip, now_unix_ms)?,
                false => session.cut_off_clip(txn, clip, now_unix_ms)?,
            };
            if let Some((kept, _)) = kept {
                txn.release_retained(kept.clip)?;
            }
            Ok(end)
        })?;
        let state = match is_whole {
            true => ClipState::Complete,
            false => ClipState::CutOff,
        };
        self.pending.push(Notice::ClipFinished {
            line,
            clip: ClipFacts::ended(&end, state),
        });
        self.commit(now_unix_ms)
    }

    /// How often each byte of a clip is stored for one phone.
    pub(super) fn copies(&self) -> u64 {
        1 + u64::from(self.retains)
    }
}

/// Whether the same may go well at another time.
fn may_pass(error: &JournalError) -> bool {
    matches!(error.kind(), ErrorKind::Space | ErrorKind::Retry)
}
