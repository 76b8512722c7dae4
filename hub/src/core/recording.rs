//! The event being recorded: pieces of a clip in, transactions out.
//!
//! It is a list of what is wanted ([`Recording`]) and one function that stages whatever is not
//! staged yet. So taking a recording up again after a failed sync is the same function again, after
//! a look at what the journal really holds. The Commit, the header and the first piece are one
//! transaction: nothing is begun before there is something to show, and the first byte waits for
//! one sync. It must never encrypt before the room for it was admitted, and never try again what a
//! full disk refused: that is given up ([`super::room`]).

use std::collections::VecDeque;

use bytes::Bytes;
use journal::ids::{ClipId, Line};
use journal::message::ClipEnd;
use journal::{Committer, ErrorKind, JournalError, Session, Txn, WantsCommit, or_after_commit};
use wal::Priority;
use wire::ids::Seq;

use super::room::Room;
use super::{
    BATCH_BYTES, CHUNK_OVERHEAD_BYTES, ClipFacts, ClipState, Core, CoreError, EPOCH_BYTES,
    LineState, Notice, Stop, TRIM_STEPS_PER_TICK, is_about_one_line, unless_reopened,
};
use crate::camera::EventEnd;

/// What is known of an event when it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Name of the camera, at most [`journal::message::NAME_BYTES_MAX`] bytes.
    pub camera: String,
    /// What the bytes are, as a MIME type; same limit.
    pub mime: String,
    /// When the first picture was captured, milliseconds since 1970.
    pub started_unix_ms: u64,
}

/// The next bytes of a clip: at most [`journal::CHUNK_BYTES_MAX`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The bytes.
    pub bytes: Bytes,
    /// When the newest picture in them was captured, milliseconds since 1970.
    pub captured_unix_ms: u64,
}

/// What became of a step of a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Recorded {
    /// It is staged; after the next commit it is durable.
    Taken,
    /// The event is not recorded, or no further.
    Not(Stop),
}

/// Why a clip ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The event is over: the trailer.
    Trailer,
    /// The camera failed, the hub stops, the disk is full, or stored bytes are damaged: the cut-off
    /// notice, in the same epoch, so that a full disk costs none.
    CutOff,
}

/// How far a recording was staged when a sync began.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    event: u64,
    staged: u32,
    begun: bool,
    ended: bool,
}

/// Why a transaction over all lines failed.
struct AtFault {
    /// The line whose own step failed; none if it was the transaction as a whole.
    line: Option<Line>,
    error: CoreError,
}

impl From<CoreError> for AtFault {
    fn from(error: CoreError) -> Self {
        Self { line: None, error }
    }
}

impl WantsCommit for AtFault {
    fn wants_commit(&self) -> bool {
        self.error.wants_commit()
    }
}

/// What is wanted, and how far it is staged.
pub(super) struct Recording {
    /// Which of this handle's events.
    number: u64,
    event: Event,
    /// Lines that take part, each with its clip once it is begun.
    clips: Vec<(Line, Option<ClipId>)>,
    /// Pieces whose sync is not confirmed; the first one is number `first`.
    pieces: VecDeque<Piece>,
    first: u32,
    /// Pieces staged so far, counted from the beginning of the clip.
    staged: u32,
    begun: bool,
    announced: bool,
    ending: Option<Ending>,
    ended: bool,
    /// It was said that the end has to wait for room.
    said_owed: bool,
}

impl Recording {
    fn new(number: u64, event: Event, lines: impl Iterator<Item = Line>) -> Self {
        Self {
            number,
            event,
            clips: lines.map(|line| (line, None)).collect(),
            pieces: VecDeque::new(),
            first: 0,
            staged: 0,
            begun: false,
            announced: false,
            ending: None,
            ended: false,
            said_owed: false,
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            event: self.number,
            staged: self.staged,
            begun: self.begun,
            ended: self.ended,
        }
    }

    /// What a sync covers need not be kept.
    fn forget_through(&mut self, staged: u32) {
        while self.first < staged && self.pieces.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Gives up the pieces that are not staged; the clip is then cut off where they began. True if
    /// there were any.
    pub(super) fn shed(&mut self) -> bool {
        let staged = self.staged.saturating_sub(self.first) as usize;
        let sheds = self.pieces.len() > staged;
        self.pieces.truncate(staged);
        if sheds {
            self.ending = Some(Ending::CutOff);
        }
        sheds
    }

    /// Notes that the end has to wait for room; true for the first time.
    pub(super) fn owes_end(&mut self) -> bool {
        !std::mem::replace(&mut self.said_owed, true)
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        self.clips.iter().map(|(line, _)| *line).collect()
    }

    /// Its clips, as far as they are begun.
    pub(super) fn clip_ids(&self) -> Vec<ClipId> {
        self.clips.iter().filter_map(|(_, clip)| *clip).collect()
    }

    /// Whether its end is staged.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether nothing of it is durable yet, so that its first byte waits for a sync.
    pub(super) fn awaits_first_byte(&self) -> bool {
        !self.announced
    }

    fn next_piece(&self) -> Option<&Piece> {
        self.pieces
            .get(self.staged.saturating_sub(self.first) as usize)
    }
}

impl Core {
    /// Whether an event is being recorded.
    pub fn is_recording(&self) -> bool {
        self.recording
            .as_ref()
            .is_some_and(|recording| recording.ending.is_none())
    }

    /// An event begins. Nothing is written yet; room for it is asked for.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_event_started(
        &mut self,
        event: Event,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        if self.recording.is_some() {
            self.end_recording(Ending::CutOff, now_unix_ms)?;
            // Opened again, it has ended the clip that was open; this event begins all the same.
            let synced = self.commit(now_unix_ms);
            unless_reopened(synced)?;
        }
        // An event goes before what is played: that is broken off, and played again later.
        let stopped = self.stop_playing(now_unix_ms);
        unless_reopened(stopped)?;
        if self.recording.is_some() || self.playing.is_some() {
            // The end of that is still owed, because the disk is full.
            return Ok(self.not_recorded(Stop::Space));
        }
        if self.settings(now_unix_ms)?.settings.privacy {
            return Ok(self.not_recorded(Stop::Privacy));
        }
        let usable = self
            .lines
            .iter()
            .filter(|(line, state)| state.may_record() && !self.silence.is_silent(line.pairing))
            .map(|(line, _)| *line);
        self.events += 1;
        let recording = Recording::new(self.events, event, usable);
        if recording.clips.is_empty() {
            let why = self.nobody();
            return Ok(self.not_recorded(why));
        }
        let needed = recording.clips.len() as u64 * (2 * EPOCH_BYTES);
        if !self.has_room(needed, Priority::Bulk, now_unix_ms)? {
            return Ok(self.not_recorded(Stop::Space));
        }
        self.recording = Some(recording);
        Ok(Recorded::Taken)
    }

    /// More of the event. The pieces are staged, each in one transaction for all phones.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_pieces(
        &mut self,
        pieces: Vec<Piece>,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        let Some(recording) = self
            .recording
            .as_mut()
            .filter(|recording| recording.ending.is_none())
        else {
            return Ok(Recorded::Not(Stop::NoClip));
        };
        let bytes: u64 = pieces
            .iter()
            .map(|piece| piece.bytes.len() as u64 + CHUNK_OVERHEAD_BYTES)
            .sum();
        let lines = recording.clips.len() as u64;
        let needed = bytes * lines * self.copies();
        match self.has_room(needed, Priority::Bulk, now_unix_ms) {
            Ok(true) => {}
            Ok(false) => {
                self.end_recording(Ending::CutOff, now_unix_ms)?;
                return Ok(self.not_recorded(Stop::Space));
            }
            // These pieces are lost, and more of the event may be on its way: the clip ends here, for
            // nothing may close over the hole.
            Err(CoreError::Reopened) => {
                self.end_recording(Ending::CutOff, now_unix_ms)?;
                return Ok(Recorded::Not(Stop::NoClip));
            }
            Err(error) => {
                if let Err(ended) = self.end_recording(Ending::CutOff, now_unix_ms) {
                    tracing::error!(error = %ended, "the end of a clip has to wait");
                }
                return Err(error);
            }
        }
        // The question may have opened the journal again, and that may have ended the clip.
        let Some(recording) = self.recording.as_mut().filter(|r| r.ending.is_none()) else {
            return Ok(Recorded::Not(Stop::NoClip));
        };
        recording.pieces.extend(pieces);
        match self.advance_or_shed(now_unix_ms) {
            Ok(Room::None) => Ok(self.not_recorded(Stop::Space)),
            // If it was opened again, the pieces were taken up with it.
            Ok(Room::Enough) | Err(CoreError::Reopened) if self.is_recording() => {
                Ok(Recorded::Taken)
            }
            Ok(Room::Enough) | Err(CoreError::Reopened) => Ok(Recorded::Not(Stop::NoClip)),
            Err(error) => Err(error),
        }
    }

    /// The event is over.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_event_ended(
        &mut self,
        end: EventEnd,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        if self.recording.is_none() {
            return Ok(Recorded::Not(Stop::NoClip));
        }
        let ending = match end {
            EventEnd::Completed => Ending::Trailer,
            EventEnd::CutOff => Ending::CutOff,
        };
        self.end_recording(ending, now_unix_ms)?;
        Ok(Recorded::Taken)
    }

    /// Something that waits for room may have it now: the end of a clip that the full disk cut, or what a
    /// phone is to be told. Acked envelopes are removed, and keys rotated that an event has kept waiting.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_timeout(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.trim(TRIM_STEPS_PER_TICK);
        let ending = self
            .recording
            .as_ref()
            .and_then(|recording| recording.ending);
        if let Some(ending) = ending {
            self.end_recording(ending, now_unix_ms)?;
        }
        self.follow_settings(now_unix_ms)?;
        self.follow_added(now_unix_ms)?;
        self.rotate_at_tick(now_unix_ms)?;
        match self.recording {
            Some(_) => Ok(()),
            None => {
                let played = self.play_next(now_unix_ms);
                self.judge(played, now_unix_ms)
            }
        }
    }

    /// Nothing has happened for a moment: what was synced last is written down as synced.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_rest(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.commit(now_unix_ms)?;
        let rested = self.journal()?.rest();
        self.judge(rested, now_unix_ms)?;
        self.reopen_if_poisoned(now_unix_ms)
    }

    /// Drops the clip of a damaged envelope. The clip being recorded is ended first; the event goes
    /// on in a new one.
    pub(super) fn drop_damaged(
        &mut self,
        line: Line,
        at: Seq,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        tracing::error!(
            seq = at.0,
            "a stored envelope is damaged on disk, or gone; its clip is lost"
        );
        let step =
            |session: &mut Session<Committer>, txn: &mut Txn<'_>| session.drop_damaged(txn, at);
        let mut dropped = self.in_txn(line, EPOCH_BYTES, now_unix_ms, step);
        let own = self
            .recording
            .as_ref()
            .is_some_and(|r| r.begun && r.lines().contains(&line));
        if own && matches!(&dropped, Err(CoreError::Journal(JournalError::Misuse(_)))) {
            self.end_recording(Ending::CutOff, now_unix_ms)?;
            self.commit(now_unix_ms)?;
            dropped = self.in_txn(line, EPOCH_BYTES, now_unix_ms, step);
        }
        if self.plays_on(line)
            && matches!(&dropped, Err(CoreError::Journal(JournalError::Misuse(_))))
        {
            self.stop_playing(now_unix_ms)?;
            self.commit(now_unix_ms)?;
            dropped = self.in_txn(line, EPOCH_BYTES, now_unix_ms, step);
        }
        match dropped {
            Ok(clip) => {
                let clip = clip.as_ref().map(ClipFacts::of);
                self.pending
                    .extend(clip.map(|clip| Notice::ClipDropped { line, clip }));
                Ok(())
            }
            Err(CoreError::Journal(error)) if self.is_poison(&error) => {
                self.reopen(&error, now_unix_ms)
            }
            Err(error) => Err(error),
        }
    }

    /// After a sync: what is durable need not be kept, and what has ended is over.
    pub(super) fn settle_recording(&mut self, mark: Mark) {
        let Some(recording) = self
            .recording
            .as_mut()
            .filter(|recording| recording.number == mark.event)
        else {
            return;
        };
        recording.announced |= mark.begun;
        recording.forget_through(mark.staged);
        if mark.ended {
            self.recording = None;
        }
    }

    /// After the journal was opened again: how far did the recording get? Then the rest of it.
    pub(super) fn resume_recording(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        let lines = &self.lines;
        recording
            .clips
            .retain(|(line, _)| lines.get(line).is_some_and(LineState::may_record));
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        // All lines share each transaction, so any of them tells for all.
        let mut stored = None;
        for (line, clip) in &recording.clips {
            let clips = journal.hub_clips(line.pairing)?;
            stored = clips.into_iter().find(|known| Some(known.clip) == *clip);
            if stored.is_some() {
                break;
            }
        }
        match stored {
            None if recording.begun && recording.first > 0 => {
                tracing::error!("a clip that was synced is no longer known; the event ends");
                self.recording = None;
                return Ok(());
            }
            None => {
                recording.begun = false;
                recording.ended = false;
                recording.staged = 0;
                for (_, clip) in &mut recording.clips {
                    *clip = None;
                }
            }
            Some(stored) => {
                recording.begun = true;
                recording.staged = stored.chunks;
                recording.ended = stored.outcome != journal::ClipOutcome::Recording;
                recording.forget_through(stored.chunks);
                if !recording.announced {
                    self.announce_start();
                }
                if self
                    .recording
                    .as_ref()
                    .is_some_and(|recording| recording.ended)
                {
                    self.announce_stored_end()?;
                }
            }
        }
        if self.advance_or_shed(now_unix_ms)? == Room::None {
            let _said = self.not_recorded(Stop::Space);
        }
        Ok(())
    }

    /// A line that is new takes part in an event of which nothing is stored yet: what begins from here on is
    /// recorded for it, and is not among what it has missed.
    pub(super) fn join_recording(&mut self, line: Line) {
        let waits = |recording: &&mut Recording| !recording.begun && recording.ending.is_none();
        if let Some(recording) = self.recording.as_mut().filter(waits)
            && !recording.lines().contains(&line)
        {
            recording.clips.push((line, None));
        }
    }

    /// A line takes no further part in the event, if it took any. `why`: what is said if nobody is left
    /// for whom it could go on.
    pub(super) fn leave_recording(&mut self, line: Line, why: Stop) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        recording.clips.retain(|(other, _)| *other != line);
        if recording.clips.is_empty() {
            let goes_on = recording.ending.is_none();
            self.recording = None;
            if goes_on {
                let _said = self.not_recorded(why);
            }
        }
    }

    /// Ends the recording, or owes its end if not even the reserve has room.
    pub(super) fn end_recording(
        &mut self,
        ending: Ending,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        recording.ending.get_or_insert(ending);
        if !recording.begun {
            self.recording = None;
            return Ok(());
        }
        let needed = recording.clips.len() as u64 * EPOCH_BYTES;
        let tried = match self.has_room(needed, Priority::Epoch, now_unix_ms)? {
            true => self.advance(now_unix_ms),
            false => {
                let _any = self.recording.as_mut().is_some_and(Recording::shed);
                self.say_owed();
                return Ok(());
            }
        };
        match tried {
            // The recording was taken up again, its end included.
            Err(CoreError::Reopened) => Ok(()),
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                if self.recording.as_mut().is_some_and(Recording::shed) {
                    // Without the video that was in its way it may fit.
                    return self.end_recording(ending, now_unix_ms);
                }
                self.say_owed();
                Ok(())
            }
            other => other,
        }
    }

    /// Stages whatever of the recording is not staged yet.
    pub(super) fn advance(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        loop {
            let Some(recording) = &self.recording else {
                return Ok(());
            };
            if recording.ended {
                return Ok(());
            }
            if let Some(piece) = recording.next_piece().cloned() {
                self.stage_piece(&piece, now_unix_ms)?;
                if self.staged_bytes >= BATCH_BYTES {
                    // The next pieces are sealed while the disk works.
                    match self.begin_commit(now_unix_ms) {
                        // What is staged waits for the next one.
                        Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Retry => {}
                        begun => begun?,
                    }
                }
            } else if let Some(ending) = recording.ending.filter(|_| recording.begun) {
                return self.stage_end(ending, now_unix_ms);
            } else {
                return Ok(());
            }
        }
    }

    /// One piece for all lines in one transaction; before the first, Commit and header.
    fn stage_piece(&mut self, piece: &Piece, now_unix_ms: u64) -> Result<(), CoreError> {
        let Some(recording) = &self.recording else {
            return Ok(());
        };
        let event = recording.event.clone();
        let begins = !recording.begun;
        let bytes = self.copies() * (piece.bytes.len() as u64 + CHUNK_OVERHEAD_BYTES);
        let step = |session: &mut Session<Committer>, txn: &mut Txn<'_>, clip: Option<ClipId>| {
            let clip = match clip {
                Some(clip) if !begins => clip,
                _ => session.start_clip(txn, &event.camera, &event.mime, event.started_unix_ms)?,
            };
            session.append_chunk(txn, clip, &piece.bytes, piece.captured_unix_ms)?;
            Ok(clip)
        };
        let clips = self.for_all_lines(bytes, now_unix_ms, step)?;
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        let phones = clips.len() as u64;
        recording.clips = clips
            .into_iter()
            .map(|(line, clip)| (line, Some(clip)))
            .collect();
        recording.begun = true;
        recording.staged += 1;
        self.stopped = None;
        if begins {
            self.staged_bytes += phones * EPOCH_BYTES;
            self.announce_start();
        }
        Ok(())
    }

    fn stage_end(&mut self, ending: Ending, now_unix_ms: u64) -> Result<(), CoreError> {
        let step = |session: &mut Session<Committer>, txn: &mut Txn<'_>, clip: Option<ClipId>| {
            let clip = clip.ok_or(JournalError::Misuse("a clip that ends was begun"))?;
            let end: ClipEnd = match ending {
                Ending::Trailer => session.finish_clip(txn, clip, now_unix_ms)?,
                Ending::CutOff => session.cut_off_clip(txn, clip, now_unix_ms)?,
            };
            Ok(end)
        };
        let ends = self.for_all_lines(EPOCH_BYTES, now_unix_ms, step)?;
        let state = match ending {
            Ending::Trailer => ClipState::Complete,
            Ending::CutOff => ClipState::CutOff,
        };
        for (line, end) in ends {
            let clip = ClipFacts::ended(&end, state);
            self.pending.push(Notice::ClipFinished { line, clip });
        }
        if let Some(recording) = &mut self.recording {
            recording.ended = true;
        }
        Ok(())
    }

    /// One transaction over all lines of the recording. A line whose own stored state is unusable
    /// leaves the event and the others go on.
    fn for_all_lines<T>(
        &mut self,
        bytes_each: u64,
        now_unix_ms: u64,
        mut step: impl FnMut(
            &mut Session<Committer>,
            &mut Txn<'_>,
            Option<ClipId>,
        ) -> Result<T, JournalError>,
    ) -> Result<Vec<(Line, T)>, CoreError> {
        loop {
            let clips = self
                .recording
                .as_ref()
                .map(|r| r.clips.clone())
                .unwrap_or_default();
            let tried = or_after_commit(
                self,
                |core| core.try_all_lines(&clips, bytes_each, &mut step),
                |core| Ok(core.commit(now_unix_ms)?),
            );
            let at_fault = match tried {
                Ok(done) => {
                    if done.is_empty() {
                        self.recording = None;
                    }
                    return Ok(done);
                }
                Err(at_fault) => at_fault,
            };
            match at_fault {
                AtFault {
                    error: CoreError::Journal(error),
                    ..
                } if self.is_poison(&error) => {
                    self.reopen(&error, now_unix_ms)?;
                    return Err(CoreError::Reopened);
                }
                AtFault {
                    line: Some(line),
                    error: CoreError::Journal(error),
                } if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                    if let Some(recording) = &mut self.recording {
                        recording.clips.retain(|(other, _)| *other != line);
                    }
                }
                AtFault { error, .. } => return Err(error),
            }
        }
    }

    fn try_all_lines<T>(
        &mut self,
        clips: &[(Line, Option<ClipId>)],
        bytes_each: u64,
        step: &mut impl FnMut(
            &mut Session<Committer>,
            &mut Txn<'_>,
            Option<ClipId>,
        ) -> Result<T, JournalError>,
    ) -> Result<Vec<(Line, T)>, AtFault> {
        let Some(journal) = self.journal.as_mut() else {
            return Err(AtFault::from(CoreError::Journal(JournalError::Poisoned(
                None,
            ))));
        };
        let mut txn = journal.begin();
        let mut done = Vec::new();
        for (line, clip) in clips {
            let blame = |error| AtFault {
                line: Some(*line),
                error: CoreError::Journal(error),
            };
            let Some(state) = self.lines.get_mut(line) else {
                return Err(blame(JournalError::NoGroup(*line)));
            };
            done.push((
                *line,
                step(&mut state.session, &mut txn, *clip).map_err(blame)?,
            ));
        }
        if !done.is_empty() {
            drop(txn.stage(()).map_err(CoreError::Journal)?);
            self.staged_bytes += bytes_each * done.len() as u64;
        }
        Ok(done)
    }

    fn announce_start(&mut self) {
        let Some(recording) = &self.recording else {
            return;
        };
        for (line, clip) in &recording.clips {
            if let Some(clip) = *clip {
                self.pending.push(Notice::ClipStarted {
                    line: *line,
                    clip,
                    started_unix_ms: recording.event.started_unix_ms,
                });
            }
        }
    }

    /// The end was stored before the sync failed, and nobody has heard of it.
    fn announce_stored_end(&mut self) -> Result<(), CoreError> {
        let Some(recording) = &self.recording else {
            return Ok(());
        };
        for (line, clip) in &recording.clips {
            let clips = self.journal_ref()?.hub_clips(line.pairing)?;
            if let Some(stored) = clips.iter().find(|known| Some(known.clip) == *clip) {
                let clip = ClipFacts::of(stored);
                self.pending
                    .push(Notice::ClipFinished { line: *line, clip });
            }
        }
        Ok(())
    }
}
