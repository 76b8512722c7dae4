//! The events being recorded, at most one of each camera: pieces of a clip in, transactions out.
//!
//! Each is a list of what is wanted ([`Recording`]) and one function that stages whatever is not
//! staged yet (`staging`). So taking a recording up again after a failed sync is the same function
//! again, after a look at what the journal really holds. The pieces of a fragment are one transaction, so
//! that a clip which a crash cuts off ends with a whole one, and with those of the first go the Commit and
//! the header: nothing is begun before there is something to show, and the first byte waits
//! for one sync. Clips of several cameras share a line and its epochs; each ends with a trailer of its
//! own, which closes the epoch, and the others go on behind a Commit. It must never encrypt before the room for it was admitted, and never try again what a
//! full disk refused: that is given up ([`super::room`]).

mod staging;

use std::collections::VecDeque;

use bytes::Bytes;
use journal::ids::{ClipId, Line};
use journal::message::DropReason;
use journal::{Committer, JournalError, Session, Txn};
use wire::ids::Seq;

use super::room::Room;
use super::{
    CHUNK_OVERHEAD_BYTES, ClipFacts, Core, CoreError, EPOCH_BYTES, LineState, Notice, Stop,
    TRIM_STEPS_PER_TICK, unless_reopened,
};
use crate::camera::EventEnd;

/// Which of a hub's cameras, by its place in the configuration. It is never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CameraNumber(pub u8);

impl CameraNumber {
    /// That of a hub with one camera.
    pub const FIRST: Self = Self(0);
}

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
    camera: CameraNumber,
    event: u64,
    staged: u32,
    begun: bool,
    ended: bool,
}

/// A piece, and its place in its fragment.
struct Wanted {
    piece: Piece,
    ends_fragment: bool,
}

/// What is wanted, and how far it is staged.
pub(super) struct Recording {
    /// Which of this handle's events.
    number: u64,
    event: Event,
    /// The name under which phones are shown it.
    shown: String,
    /// Lines that take part, each with its clip once it is begun.
    clips: Vec<(Line, Option<ClipId>)>,
    /// Pieces whose sync is not confirmed; the first one is number `first`.
    pieces: VecDeque<Wanted>,
    first: u32,
    /// Pieces staged so far, counted from the beginning of the clip.
    staged: u32,
    /// How often the log takes each of them for a line, since the clip was begun.
    copies: u64,
    begun: bool,
    announced: bool,
    ending: Option<Ending>,
    ended: bool,
    /// It was said that the end has to wait for room.
    said_owed: bool,
}

impl Recording {
    fn new(
        number: u64,
        (event, shown): (Event, String),
        lines: impl Iterator<Item = Line>,
    ) -> Self {
        Self {
            number,
            event,
            shown,
            clips: lines.map(|line| (line, None)).collect(),
            pieces: VecDeque::new(),
            first: 0,
            staged: 0,
            copies: 0,
            begun: false,
            announced: false,
            ending: None,
            ended: false,
            said_owed: false,
        }
    }

    pub(super) fn mark(&self, camera: CameraNumber) -> Mark {
        Mark {
            camera,
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

    /// The camera's name.
    pub(super) fn name(&self) -> &str {
        &self.event.camera
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

    /// These are wanted, too: the pieces of one fragment.
    fn want(&mut self, fragment: Vec<Piece>) {
        let all = fragment.len();
        let numbered = fragment.into_iter().zip(1_usize..);
        self.pieces.extend(numbered.map(|(piece, nth)| Wanted {
            piece,
            ends_fragment: nth == all,
        }));
    }

    /// What is to be staged next: all that is left of a fragment, or as many of its pieces as take `bytes_max`,
    /// but one at least. None if everything is staged.
    fn next_pieces(&self, bytes_max: u64, bytes_of: impl Fn(&Piece) -> u64) -> Vec<Piece> {
        let staged = self.staged.saturating_sub(self.first) as usize;
        let (mut next, mut bytes) = (Vec::new(), 0);
        for wanted in self.pieces.iter().skip(staged) {
            bytes += bytes_of(&wanted.piece);
            if bytes > bytes_max && !next.is_empty() {
                break;
            }
            next.push(wanted.piece.clone());
            if wanted.ends_fragment {
                break;
            }
        }
        next
    }
}

impl Core {
    /// Whether an event of any camera is being recorded.
    pub fn is_recording(&self) -> bool {
        self.recordings
            .values()
            .any(|recording| recording.ending.is_none())
    }

    /// The names of the cameras of which an event is being recorded.
    pub(super) fn recording_of(&self) -> Vec<String> {
        let going_on = |recording: &&Recording| recording.ending.is_none();
        let recordings = self.recordings.values().filter(going_on);
        recordings.map(|one| one.name().to_owned()).collect()
    }

    fn goes_on(&self, camera: CameraNumber) -> bool {
        self.recordings
            .get(&camera)
            .is_some_and(|recording| recording.ending.is_none())
    }

    /// [`Self::begin_event`] of the first camera.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_event_started(
        &mut self,
        event: Event,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        self.begin_event(CameraNumber::FIRST, event, now_unix_ms)
    }

    /// [`Self::take_pieces`] of the first camera.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_pieces(
        &mut self,
        pieces: Vec<Piece>,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        self.take_pieces(CameraNumber::FIRST, pieces, now_unix_ms)
    }

    /// [`Self::end_event`] of the first camera.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_event_ended(
        &mut self,
        end: EventEnd,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        self.end_event(CameraNumber::FIRST, end, now_unix_ms)
    }

    /// An event begins. Nothing is written yet; room for it is asked for. An event of the same camera
    /// that has not ended is cut off.
    ///
    /// # Errors
    /// The journal's.
    pub fn begin_event(
        &mut self,
        camera: CameraNumber,
        event: Event,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        if self.recordings.contains_key(&camera) {
            self.end_recording(camera, Ending::CutOff, now_unix_ms)?;
            // Opened again, it has ended the clip that was open; this event begins all the same.
            let synced = self.commit(now_unix_ms);
            unless_reopened(synced)?;
        }
        // An event goes before what is played: that is broken off, and played again later.
        let stopped = self.stop_playing(now_unix_ms);
        unless_reopened(stopped)?;
        if self.recordings.contains_key(&camera) || self.playing.is_some() {
            // The end of that is still owed, because the disk is full.
            return Ok(self.not_recorded(Stop::Space));
        }
        if self.settings(now_unix_ms)?.settings.privacy {
            return Ok(self.not_recorded(Stop::Privacy));
        }
        let shown = self.event_name(&event.camera, event.started_unix_ms);
        let usable = self
            .lines
            .iter()
            .filter(|(line, state)| state.may_record() && !self.silence.is_silent(line.pairing))
            .map(|(line, _)| *line);
        self.events += 1;
        let recording = Recording::new(self.events, (event, shown), usable);
        if recording.clips.is_empty() {
            let why = self.nobody();
            return Ok(self.not_recorded(why));
        }
        let needed = recording.clips.len() as u64 * (2 * EPOCH_BYTES);
        if !self.make_room(needed, now_unix_ms)? {
            return Ok(self.not_recorded(Stop::Space));
        }
        self.recordings.insert(camera, recording);
        Ok(Recorded::Taken)
    }

    /// More of the event: the pieces of one fragment. They are staged in one transaction for all phones, or in
    /// several if they take more than [`Journal::txn_bytes_max`](journal::Journal::txn_bytes_max): a crash may then
    /// leave some of them.
    ///
    /// # Errors
    /// The journal's.
    pub fn take_pieces(
        &mut self,
        camera: CameraNumber,
        pieces: Vec<Piece>,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        let Some(recording) = self.recordings.get(&camera).filter(|r| r.ending.is_none()) else {
            return Ok(Recorded::Not(Stop::NoClip));
        };
        let bytes: u64 = pieces
            .iter()
            .map(|piece| piece.bytes.len() as u64 + CHUNK_OVERHEAD_BYTES)
            .sum();
        let lines = recording.clips.len() as u64;
        let needed = bytes * lines * self.copies();
        match self.make_room(needed, now_unix_ms) {
            Ok(true) => {}
            Ok(false) => {
                self.end_recording(camera, Ending::CutOff, now_unix_ms)?;
                return Ok(self.not_recorded(Stop::Space));
            }
            // These pieces are lost, and more of the event may be on its way: the clip ends here, for
            // nothing may close over the hole.
            Err(CoreError::Reopened) => {
                self.end_recording(camera, Ending::CutOff, now_unix_ms)?;
                return Ok(Recorded::Not(Stop::NoClip));
            }
            Err(error) => {
                if let Err(ended) = self.end_recording(camera, Ending::CutOff, now_unix_ms) {
                    tracing::error!(error = %ended, "the end of a clip has to wait");
                }
                return Err(error);
            }
        }
        // The question may have opened the journal again, and that may have ended the clip.
        let Some(recording) = self
            .recordings
            .get_mut(&camera)
            .filter(|r| r.ending.is_none())
        else {
            return Ok(Recorded::Not(Stop::NoClip));
        };
        recording.want(pieces);
        match self.advance_or_shed(camera, now_unix_ms) {
            Ok(Room::None) => Ok(self.not_recorded(Stop::Space)),
            // If it was opened again, the pieces were taken up with it.
            Ok(Room::Enough) | Err(CoreError::Reopened) if self.goes_on(camera) => {
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
    pub fn end_event(
        &mut self,
        camera: CameraNumber,
        end: EventEnd,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        if !self.recordings.contains_key(&camera) {
            return Ok(Recorded::Not(Stop::NoClip));
        }
        let ending = match end {
            EventEnd::Completed => Ending::Trailer,
            EventEnd::CutOff => Ending::CutOff,
        };
        self.end_recording(camera, ending, now_unix_ms)?;
        Ok(Recorded::Taken)
    }

    /// The vault hears of keys that were given up. Something that waits for room may have it now: the ends of clips that
    /// the full disk cut, or what a phone is to be told. Acked envelopes are removed, clips that are dropped in part go on to be, old ones go, alarms
    /// are said, and keys rotated that an event has kept waiting.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_timeout(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.settle_keys_at_tick(now_unix_ms)?;
        self.keep_disproof(now_unix_ms)?;
        self.trim(TRIM_STEPS_PER_TICK);
        for camera in self.cameras() {
            let recording = self.recordings.get(&camera);
            if let Some(ending) = recording.and_then(|recording| recording.ending) {
                self.end_recording(camera, ending, now_unix_ms)?;
            }
        }
        self.follow_settings(now_unix_ms)?;
        self.follow_added(now_unix_ms)?;
        self.finish_drops(now_unix_ms)?;
        self.drop_aged(now_unix_ms)?;
        self.say_alarms(now_unix_ms)?;
        self.rotate_at_tick(now_unix_ms)?;
        match self.recordings.is_empty() {
            false => Ok(()),
            true => {
                let played = self.play_next(now_unix_ms);
                self.judge(played, now_unix_ms)
            }
        }
    }

    /// The cameras of which something is wanted.
    pub(super) fn cameras(&self) -> Vec<CameraNumber> {
        self.recordings.keys().copied().collect()
    }

    /// Nothing has happened for a moment: what was synced last is written down as synced.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_rest(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        // First, because a rotation that is owed waits for the vault to have heard of the one before.
        self.finish_commit(now_unix_ms)?;
        self.settle_keys(now_unix_ms)?;
        self.commit(now_unix_ms)?;
        let rested = self.journal()?.rest();
        self.judge(rested, now_unix_ms)?;
        self.reopen_if_poisoned(now_unix_ms)
    }

    /// Drops the clip of a damaged envelope. If it is one being recorded, those of its line are ended
    /// first; their events go on in new ones.
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
        let own: Vec<CameraNumber> = self
            .recordings
            .iter()
            .filter(|(_, r)| r.begun && r.lines().contains(&line))
            .map(|(camera, _)| *camera)
            .collect();
        let is_misuse = matches!(&dropped, Err(CoreError::Journal(JournalError::Misuse(_))));
        if is_misuse && !own.is_empty() {
            for camera in own {
                self.end_recording(camera, Ending::CutOff, now_unix_ms)?;
            }
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
                if clip.is_some() {
                    self.drop_more(line, at, now_unix_ms)?;
                }
                let clip = clip.as_ref().map(ClipFacts::of);
                let reason = DropReason::Damaged;
                self.pending
                    .extend(clip.map(|clip| Notice::ClipDropped { line, clip, reason }));
                Ok(())
            }
            Err(CoreError::Journal(error)) if self.is_poison(&error) => {
                self.reopen(&error, now_unix_ms)
            }
            Err(error) => Err(error),
        }
    }

    /// The rest of a clip that lies in more pieces than one transaction has statements for.
    fn drop_more(&mut self, line: Line, at: Seq, now_unix_ms: u64) -> Result<(), CoreError> {
        loop {
            let more = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
                session.drop_more(txn, at)
            });
            match self.judge(more, now_unix_ms) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(CoreError::Journal(error)) => {
                    tracing::warn!(%error, "the rest of a damaged clip is sent, and passed over");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// After a sync: what is durable need not be kept, and what has ended is over.
    pub(super) fn settle_recording(&mut self, mark: Mark) {
        let Some(recording) = self
            .recordings
            .get_mut(&mark.camera)
            .filter(|recording| recording.number == mark.event)
        else {
            return;
        };
        recording.announced |= mark.begun;
        recording.forget_through(mark.staged);
        if mark.ended {
            self.recordings.remove(&mark.camera);
        }
    }

    /// After the journal was opened again: how far did each recording get? Then the rest of it.
    pub(super) fn resume_recordings(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        for camera in self.cameras() {
            self.resume_recording(camera, now_unix_ms)?;
        }
        Ok(())
    }

    fn resume_recording(
        &mut self,
        camera: CameraNumber,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let Some(recording) = self.recordings.get_mut(&camera) else {
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
                self.recordings.remove(&camera);
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
                let (announced, ended) = (recording.announced, recording.ended);
                if !announced {
                    self.announce_start(camera);
                }
                if ended {
                    self.announce_stored_end(camera)?;
                }
            }
        }
        if self.advance_or_shed(camera, now_unix_ms)? == Room::None {
            let _said = self.not_recorded(Stop::Space);
        }
        Ok(())
    }

    /// A line that is new takes part in the events of which nothing is stored yet: what begins from here on is
    /// recorded for it, and is not among what it has missed.
    pub(super) fn join_recordings(&mut self, line: Line) {
        for recording in self.recordings.values_mut() {
            let waits = !recording.begun && recording.ending.is_none();
            if waits && !recording.lines().contains(&line) {
                recording.clips.push((line, None));
            }
        }
    }

    /// A line takes no further part in any event. `why`: what is said if nobody is left for whom one could go
    /// on.
    pub(super) fn leave_recordings(&mut self, line: Line, why: Stop) {
        let mut stopped = false;
        self.recordings.retain(|_, recording| {
            recording.clips.retain(|(other, _)| *other != line);
            let is_left = !recording.clips.is_empty();
            stopped |= !is_left && recording.ending.is_none();
            is_left
        });
        if stopped {
            let _said = self.not_recorded(why);
        }
    }
}
