//! Clips that are retained until they are acked, and played to a phone that takes another's place.
//!
//! One batch at a tick, while nothing is recorded: as a new event of the new phone, through the same seals
//! as any other. The copy ends in the transaction of the new clip's end, so that each is played whole once.
//! What an event, a full disk or a crash breaks off is played again from its beginning, and the new phone
//! keeps the piece that is marked as cut off. A clip that was begun is ended under the priority of epochs,
//! and owed like the end of a recording if not even that has room.
//! It must never play what neither the owner asked for nor a phone's own pairing lost, never while a camera
//! records, and never begin a clip on a line whose last one is not ended.

use journal::ids::{Channel, ClipId, Line, PairingId};
use journal::{ErrorKind, JournalError, RetainedClip};
use wal::{Priority, crash_point};

use super::recording::Recording;
use super::{
    CHUNK_OVERHEAD_BYTES, ClipFacts, ClipState, Core, CoreError, EPOCH_BYTES, LineState, Notice,
    PROVEN, SMALL_GROUP_BYTES, is_about_one_line, push,
};

/// What is sealed of a retained clip at one tick, in bytes of log: as much as a camera may hand over at
/// once, so that an event that begins meanwhile waits no longer than for that.
const PLAYED_BYTES_PER_TICK: u64 = 1024 * 1024;

/// A clip that is being played.
pub(super) struct Playing {
    line: Line,
    clip: ClipId,
    /// The copy that it is made of.
    kept: RetainedClip,
    /// Chunks of it that are staged.
    played: u32,
    /// How it ends, once that is so: until the end is staged it is owed.
    ending: Option<PlayEnd>,
    /// It was said that the end has to wait.
    said_owed: bool,
}

impl Playing {
    /// The line of its phone.
    pub(super) fn line(&self) -> Line {
        self.line
    }
}

/// How a clip that is played ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PlayEnd {
    /// All is played that could be: the copy goes.
    Played { is_whole: bool },
    /// Something stands in the way: the copy stays, and is played again.
    BrokenOff,
}

impl Core {
    /// Whether copies are kept of clips that begin from here on. Not so at a start. Once it is said that none
    /// are, those that are there end, in steps: their owner wants none.
    pub fn set_retention(&mut self, retains: bool) {
        self.retains = retains;
        self.unwanted = !retains;
        for state in self.lines.values_mut() {
            state.session.retain(retains);
        }
    }

    /// The owner wants phone `to` to get what was retained for `from` before `to` was paired: noted, and played
    /// from the next tick on. How many clips that is.
    ///
    /// # Errors
    /// [`JournalError::NoGroup`] if `to` is no confirmed phone of this hub, or is `from`;
    /// [`JournalError::RolledBack`] or [`JournalError::GroupNotWhole`] if nothing can be recorded for it any
    /// more; the journal's.
    pub fn handle_play(
        &mut self,
        to: PairingId,
        from: PairingId,
        now_unix_ms: u64,
    ) -> Result<usize, CoreError> {
        let line = Line::of(to, Channel::EventVideo);
        let refused = match self.lines.get(&line) {
            Some(state) if to != from && state.may_record() => None,
            Some(state) if state.standing == PROVEN => Some(JournalError::RolledBack(line)),
            Some(state) if state.broken => Some(JournalError::GroupNotWhole {
                line,
                what: "nothing is recorded for this phone any more",
            }),
            _ => Some(JournalError::NoGroup(line)),
        };
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        let count = self.journal_ref()?.playable(to, from)?.len();
        self.in_txn(line, SMALL_GROUP_BYTES, now_unix_ms, |_session, txn| {
            txn.play(to, from);
            Ok(())
        })?;
        self.commit(now_unix_ms)?;
        Ok(count)
    }

    /// The owner wants nothing any more of what is retained for a phone: the copies' keys are erased, but for
    /// those of the clips being recorded. How many ended in this step; to be asked again until there is none,
    /// because a transaction holds a bounded number of them.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_forget(
        &mut self,
        phone: PairingId,
        now_unix_ms: u64,
    ) -> Result<usize, CoreError> {
        let plays = |playing: &Playing| playing.kept.pairing == phone;
        if self.playing.as_ref().is_some_and(plays) {
            self.stop_playing(now_unix_ms)?;
        }
        let busy = self.clips_in_progress();
        self.with_journal(now_unix_ms, |journal| {
            let mut txn = journal.begin();
            let ended = txn.forget_retained(Some(phone), &busy)?;
            match ended {
                0 => Ok(0),
                _ => txn.commit(ended).map(journal::Durable::into_inner),
            }
        })
    }

    /// The clips that a camera or a copy adds to.
    pub(super) fn clips_in_progress(&self) -> Vec<ClipId> {
        let recorded = self.recordings.values().flat_map(Recording::clip_ids);
        let mut clips: Vec<ClipId> = recorded.collect();
        clips.extend(self.playing.as_ref().map(|playing| playing.clip));
        clips
    }

    /// The copies that are kept, as far as they can be read.
    ///
    /// # Errors
    /// The journal's.
    pub fn retained(&self) -> Result<Vec<RetainedClip>, CoreError> {
        Ok(self.journal_ref()?.retained_clips()?)
    }

    /// Whether an ack of what is retained for this phone may still come. On a line of which what is stored cannot be
    /// used none is taken.
    ///
    /// # Errors
    /// The journal's.
    pub fn may_ack(&self, phone: PairingId) -> Result<bool, CoreError> {
        let line = self.lines.get(&Line::of(phone, Channel::EventVideo));
        let is_broken = line.is_some_and(|state| state.broken);
        Ok(!is_broken && self.journal_ref()?.may_ack(phone)?)
    }

    /// How many copies no ack will end ([`Self::may_ack`]), those of which nothing can be read among them.
    pub(super) fn stranded_copies(&self) -> Result<usize, CoreError> {
        let journal = self.journal_ref()?;
        let mut stranded = journal.stranded_copies()?;
        for clip in journal.retained_clips()? {
            let counted = !journal.may_ack(clip.pairing)?;
            stranded += usize::from(!counted && !self.may_ack(clip.pairing)?);
        }
        Ok(stranded)
    }

    /// Plays on: some of the clip that is being played, or the first of the next one that is to be, if there
    /// is one and room for it.
    ///
    /// # Errors
    /// The journal's.
    pub(super) fn play_next(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        if self.playing.is_none() {
            self.begin_playing(now_unix_ms)?;
        }
        self.play_on(now_unix_ms)
    }

    fn begin_playing(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
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
        let Some(kept) = next.filter(|_| may_play) else {
            // It is all there, or nobody is there any more who could get it.
            return self.end_playing(to, from, now_unix_ms);
        };
        let chunk_bytes = journal::CHUNK_BYTES_MAX as u64 + CHUNK_OVERHEAD_BYTES;
        let needed = 2 * EPOCH_BYTES + u64::from(kept.chunks) * chunk_bytes * self.copies();
        // No clip goes for what is played.
        let fits =
            self.is_within_budget(needed)? && self.has_room(needed, Priority::Bulk, now_unix_ms)?;
        if !fits {
            if !std::mem::replace(&mut self.said_play_waits, true) {
                push(&mut self.notices, Notice::PlayWaits { line });
            }
            return Ok(());
        }
        self.said_play_waits = false;
        let begun = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
            session.start_clip(txn, &kept.camera, &kept.mime, kept.started_unix_ms)
        });
        match begun {
            Ok(clip) => {
                self.pending.push(Notice::ClipStarted {
                    line,
                    clip,
                    started_unix_ms: kept.started_unix_ms,
                });
                self.playing = Some(Playing {
                    line,
                    clip,
                    kept,
                    played: 0,
                    ending: None,
                    said_owed: false,
                });
                Ok(())
            }
            // It would end like this at every tick. The copies stay, and may be asked for again.
            Err(CoreError::Journal(error)) if !self.is_poison(&error) && !may_pass(&error) => {
                tracing::error!(%error, "what is retained cannot be played");
                self.end_playing(to, from, now_unix_ms)
            }
            Err(error) => Err(error),
        }
    }

    fn end_playing(
        &mut self,
        to: PairingId,
        from: PairingId,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        // What a phone lost of its own is its ack's again.
        self.releases = true;
        self.with_journal(now_unix_ms, |journal| {
            let mut txn = journal.begin();
            txn.played(to, from);
            txn.commit(()).map(drop)
        })
    }

    /// Some chunks of the copy, or those before the first that is damaged, and with the last of them the end.
    fn play_on(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let mut staged = 0;
        while let Some(playing) = &mut self.playing {
            if playing.ending.is_some() {
                return self.end_played(now_unix_ms);
            }
            let (line, clip, copy, index) = (
                playing.line,
                playing.clip,
                playing.kept.clip,
                playing.played,
            );
            if index == playing.kept.chunks {
                let is_whole = playing.kept.is_whole;
                playing.ending = Some(PlayEnd::Played { is_whole });
                continue;
            }
            if staged >= PLAYED_BYTES_PER_TICK {
                return Ok(());
            }
            let (captured_unix_ms, bytes) = match self.journal_ref()?.retained_chunk(copy, index) {
                Ok(chunk) => chunk,
                Err(JournalError::ChunkDamaged { .. }) => {
                    tracing::error!(
                        index,
                        "a retained copy is damaged; it is played up to there"
                    );
                    self.ends_playing(PlayEnd::Played { is_whole: false });
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let size = self.copies() * (bytes.len() as u64 + CHUNK_OVERHEAD_BYTES);
            let appended = self.in_txn(line, size, now_unix_ms, |session, txn| {
                session.append_chunk(txn, clip, &bytes, captured_unix_ms)
            });
            match appended {
                Ok(_seq) => {
                    staged += size;
                    if let Some(playing) = &mut self.playing {
                        playing.played += 1;
                    }
                }
                Err(CoreError::Journal(error)) if !self.is_poison(&error) => {
                    return self.fail_playing(error, now_unix_ms);
                }
                // Opened again, it has cut off what was begun.
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A chunk could not be staged.
    fn fail_playing(&mut self, error: JournalError, now_unix_ms: u64) -> Result<(), CoreError> {
        let pair = self
            .playing
            .as_ref()
            .map(|playing| (playing.line.pairing, playing.kept.pairing));
        match error.kind() {
            // Nothing is lost but time.
            ErrorKind::Retry => return Err(error.into()),
            ErrorKind::Space => {}
            _ => {
                tracing::error!(%error, "what is retained cannot be played");
                if let Some((to, from)) = pair {
                    self.end_playing(to, from, now_unix_ms)?;
                }
            }
        }
        self.stop_playing(now_unix_ms)
    }

    fn ends_playing(&mut self, end: PlayEnd) {
        if let Some(playing) = &mut self.playing {
            playing.ending.get_or_insert(end);
        }
    }

    /// Breaks off what is being played, if anything is, because its line is needed. The end is staged, or owed
    /// if not even the reserve has room for it.
    ///
    /// # Errors
    /// The journal's.
    pub(super) fn stop_playing(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.ends_playing(PlayEnd::BrokenOff);
        self.end_played(now_unix_ms)
    }

    /// A line takes nothing any more: what was played on it is over, in whatever state.
    pub(super) fn leave_playing(&mut self, line: Line) {
        self.playing.take_if(|playing| playing.line == line);
    }

    /// Whether a clip is being played on a line, or the end of one is owed there.
    pub(super) fn plays_on(&self, line: Line) -> bool {
        let playing = self.playing.as_ref();
        playing.is_some_and(|playing| playing.line == line)
    }

    /// Ends the clip that was played, and in the same transaction the copy that it came from, if all of that
    /// was played which could be.
    fn end_played(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        if self.playing.is_none() {
            return Ok(());
        }
        if !self.has_room(EPOCH_BYTES, Priority::Epoch, now_unix_ms)? {
            self.say_play_owed();
            return Ok(());
        }
        // The question may have opened the journal again, and that has ended it.
        let Some(playing) = &self.playing else {
            return Ok(());
        };
        let (line, clip, copy) = (playing.line, playing.clip, playing.kept.clip);
        let end = playing.ending.unwrap_or(PlayEnd::BrokenOff);
        let is_whole = end == PlayEnd::Played { is_whole: true };
        let ended = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
            let said = match is_whole {
                true => session.finish_clip(txn, clip, now_unix_ms)?,
                false => session.cut_off_clip(txn, clip, now_unix_ms)?,
            };
            if end != PlayEnd::BrokenOff {
                txn.release_retained(copy)?;
                // CRASH(hub.play.ended): before: a clip without its end, which the next start cuts off, and the
                // copy, which is played again | after: the end of the clip and that of the copy are synced as one.
                crash_point!("hub.play.ended");
            }
            Ok(said)
        });
        let said = match ended {
            Ok(said) => said,
            Err(CoreError::Journal(error)) if self.is_poison(&error) => return Err(error.into()),
            Err(CoreError::Journal(error)) if may_pass(&error) => {
                self.say_play_owed();
                return Ok(());
            }
            // Nobody can end it here; whatever can be done, a start does.
            Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                self.set_broken(line, &error);
                self.playing = None;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.playing = None;
        let state = match is_whole {
            true => ClipState::Complete,
            false => ClipState::CutOff,
        };
        self.pending.push(Notice::ClipFinished {
            line,
            clip: ClipFacts::ended(&said, state),
        });
        Ok(())
    }

    /// Says once of each clip that its end has to wait.
    fn say_play_owed(&mut self) {
        if let Some(playing) = &mut self.playing
            && !std::mem::replace(&mut playing.said_owed, true)
        {
            tracing::warn!("the end of a clip that was played has to wait; it is tried again");
        }
    }

    /// The clip of whose copy something is being played.
    pub(super) fn played_from(&self) -> Option<ClipId> {
        self.playing.as_ref().map(|playing| playing.kept.clip)
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
