//! What is wanted of a recording becomes transactions: each one over all lines of the event.
//!
//! The pieces of a fragment share one, as far as the log takes them in one: what a crash leaves of a clip is whole
//! fragments then, whatever became of the sync that it struck. It must never stage a piece before those in front
//! of it, nor an end before a beginning.

use journal::ids::{ClipId, Line};
use journal::message::ClipEnd;
use journal::{Committer, ErrorKind, JournalError, Session, Txn, WantsCommit, or_after_commit};
use wal::Priority;

use super::{CameraNumber, Ending, Piece, Recording};
use crate::core::{
    BATCH_BYTES, CHUNK_OVERHEAD_BYTES, ClipFacts, ClipState, Core, CoreError, EPOCH_BYTES, Notice,
    is_about_one_line,
};

/// What a piece takes in the log, once.
fn bytes_of(piece: &Piece) -> u64 {
    piece.bytes.len() as u64 + CHUNK_OVERHEAD_BYTES
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

impl Core {
    /// Ends the recording, or owes its end if not even the reserve has room.
    pub(in crate::core) fn end_recording(
        &mut self,
        camera: CameraNumber,
        ending: Ending,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let Some(recording) = self.recordings.get_mut(&camera) else {
            return Ok(());
        };
        recording.ending.get_or_insert(ending);
        if !recording.begun {
            self.recordings.remove(&camera);
            return Ok(());
        }
        let needed = recording.clips.len() as u64 * EPOCH_BYTES;
        let tried = match self.has_room(needed, Priority::Epoch, now_unix_ms)? {
            true => self.advance(camera, now_unix_ms),
            false => {
                let _any = self
                    .recordings
                    .get_mut(&camera)
                    .is_some_and(Recording::shed);
                self.say_owed(camera);
                return Ok(());
            }
        };
        match tried {
            // The recording was taken up again, its end included.
            Err(CoreError::Reopened) => Ok(()),
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                let recording = self.recordings.get_mut(&camera);
                if recording.is_some_and(Recording::shed) {
                    // Without the video that was in its way it may fit.
                    return self.end_recording(camera, ending, now_unix_ms);
                }
                self.say_owed(camera);
                Ok(())
            }
            other => other,
        }
    }

    /// Stages whatever of the recording is not staged yet.
    pub(in crate::core) fn advance(
        &mut self,
        camera: CameraNumber,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        loop {
            let Some(recording) = self.recordings.get(&camera) else {
                return Ok(());
            };
            if recording.ended {
                return Ok(());
            }
            let copies = self.copies_of(recording);
            let bytes_max = self.pieces_bytes_max(recording.clips.len())?;
            let pieces = recording.next_pieces(bytes_max, |piece| copies * bytes_of(piece));
            if !pieces.is_empty() {
                self.stage_pieces(camera, &pieces, copies, now_unix_ms)?;
                if self.staged_bytes >= BATCH_BYTES {
                    // The next fragment is sealed while the disk works.
                    match self.begin_commit(now_unix_ms) {
                        // What is staged waits for the next one.
                        Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Retry => {}
                        begun => begun?,
                    }
                }
            } else if let Some(ending) = recording.ending.filter(|_| recording.begun) {
                return self.stage_end(camera, ending, now_unix_ms);
            } else {
                return Ok(());
            }
        }
    }

    /// How often the log takes a piece for each line: once more if its clip has a copy that is retained.
    fn copies_of(&self, recording: &Recording) -> u64 {
        match recording.begun {
            // Whether there is a copy was decided when the clip began.
            true => recording.copies,
            false => self.copies(),
        }
    }

    /// How many bytes of pieces one transaction takes for each of so many lines, with room for a Commit in each of
    /// them: the first of a clip has one, and whatever follows may have.
    fn pieces_bytes_max(&self, lines: usize) -> Result<u64, CoreError> {
        let all = self.journal_ref()?.txn_bytes_max();
        let each = all / (lines as u64).max(1);
        Ok(each.saturating_sub(EPOCH_BYTES))
    }

    /// Pieces of a fragment for all lines in one transaction; before the first, Commit and header. `copies`: as
    /// [`Self::copies_of`] has it.
    fn stage_pieces(
        &mut self,
        camera: CameraNumber,
        pieces: &[Piece],
        copies: u64,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let Some(recording) = self.recordings.get(&camera) else {
            return Ok(());
        };
        let (event, shown) = (recording.event.clone(), recording.shown.clone());
        let begins = !recording.begun;
        let bytes = copies * pieces.iter().map(bytes_of).sum::<u64>();
        let step = |session: &mut Session<Committer>, txn: &mut Txn<'_>, clip: Option<ClipId>| {
            let clip = match clip {
                Some(clip) if !begins => clip,
                _ => session.start_clip(txn, &shown, &event.mime, event.started_unix_ms)?,
            };
            for piece in pieces {
                session.append_chunk(txn, clip, &piece.bytes, piece.captured_unix_ms)?;
            }
            Ok(clip)
        };
        let clips = self.for_all_lines(camera, bytes, now_unix_ms, step)?;
        let Some(recording) = self.recordings.get_mut(&camera) else {
            return Ok(());
        };
        let phones = clips.len() as u64;
        recording.clips = clips
            .into_iter()
            .map(|(line, clip)| (line, Some(clip)))
            .collect();
        recording.begun = true;
        recording.copies = copies;
        recording.staged += pieces.len() as u32;
        self.stopped = None;
        if begins {
            self.staged_bytes += phones * EPOCH_BYTES;
            self.announce_start(camera);
        }
        Ok(())
    }

    fn stage_end(
        &mut self,
        camera: CameraNumber,
        ending: Ending,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let step = |session: &mut Session<Committer>, txn: &mut Txn<'_>, clip: Option<ClipId>| {
            let clip = clip.ok_or(JournalError::Misuse("a clip that ends was begun"))?;
            let end: ClipEnd = match ending {
                Ending::Trailer => session.finish_clip(txn, clip, now_unix_ms)?,
                Ending::CutOff => session.cut_off_clip(txn, clip, now_unix_ms)?,
            };
            Ok(end)
        };
        let ends = self.for_all_lines(camera, EPOCH_BYTES, now_unix_ms, step)?;
        let state = match ending {
            Ending::Trailer => ClipState::Complete,
            Ending::CutOff => ClipState::CutOff,
        };
        for (line, end) in ends {
            let clip = ClipFacts::ended(&end, state);
            self.pending.push(Notice::ClipFinished { line, clip });
        }
        if let Some(recording) = self.recordings.get_mut(&camera) {
            recording.ended = true;
        }
        Ok(())
    }

    /// One transaction over all lines of the recording. A line whose own stored state is unusable
    /// leaves the event and the others go on.
    fn for_all_lines<T>(
        &mut self,
        camera: CameraNumber,
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
                .recordings
                .get(&camera)
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
                        self.recordings.remove(&camera);
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
                    if let Some(recording) = self.recordings.get_mut(&camera) {
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

    pub(super) fn announce_start(&mut self, camera: CameraNumber) {
        let Some(recording) = self.recordings.get(&camera) else {
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
    pub(super) fn announce_stored_end(&mut self, camera: CameraNumber) -> Result<(), CoreError> {
        let Some(recording) = self.recordings.get(&camera) else {
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
