//! What its camera gives: the pieces of an event, what the phone is told and shown of it, and cover where nothing is
//! recorded.
//!
//! The books know as durable what a sync here has covered, and nothing else.

use bytes::Bytes;
use hub::camera::EventEnd;
use hub::core::{Alert, CoreError, Event, Piece, Recorded, Still};
use journal::ids::Channel;

use super::sync::sync;
use super::{Fault, Hub, ended, passing};
use crate::oracle::{self, Books};

impl Hub {
    /// An event begins, with its first piece.
    ///
    /// # Errors
    /// As all steps.
    pub fn event(&mut self, name: u64, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        if !self.is_up() {
            return Ok(());
        }
        if oracle::is_told(name) {
            books.announced.insert(name);
            self.tell(name, now_ms)?;
            // What a hub says it may say at once, before anything of the event is synced.
            self.settle(books)?;
        }
        self.begin(name, now_ms)?;
        self.commit(now_ms, books).map(drop)
    }

    /// The phone is told of an event and sent its picture, as far as there is room for that.
    fn tell(&mut self, name: u64, now_ms: u64) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let alert = Alert {
            camera: "door".into(),
            started_unix_ms: name,
        };
        let still = Still {
            camera: "door".into(),
            started_unix_ms: name,
            jpeg: Bytes::from(oracle::picture_of(name)),
        };
        let said = process.core.handle_alert(&alert, wall);
        let sent = match said {
            Ok(_) | Err(CoreError::Reopened) => process.core.handle_still(&still, wall),
            Err(error) => Err(error),
        };
        self.recorded(sent).map(drop)
    }

    /// An event begins; nothing is staged before its first piece.
    ///
    /// # Errors
    /// As all steps.
    pub fn begin(&mut self, name: u64, now_ms: u64) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        process.event = Some(name);
        let event = Event {
            camera: "door".into(),
            mime: "video/mp4".into(),
            started_unix_ms: name,
        };
        let begun = process.core.handle_event_started(event, wall);
        self.recorded(begun).map(drop)
    }

    /// The next piece of the event that is being recorded.
    ///
    /// # Errors
    /// As all steps.
    pub fn piece(
        &mut self,
        name: u64,
        bytes: &[u8],
        now_ms: u64,
        books: &mut Books,
    ) -> Result<(), Fault> {
        let Some(taken) = self.stage_piece(name, bytes, now_ms, books)? else {
            return Ok(());
        };
        let synced = self.commit(now_ms, books)?;
        // Durable only if nobody had to take the recording up again in between, or if it goes on: on
        // a full disk what was lost with the sync is given up.
        if taken
            && synced
            && let Some(event) = books.events.get_mut(&name)
        {
            event.durable = event.pieces.len();
        }
        Ok(())
    }

    /// Stages a piece and syncs nothing: whether it was taken, or nothing if that event is not being
    /// recorded.
    ///
    /// # Errors
    /// As all steps.
    pub fn stage_piece(
        &mut self,
        name: u64,
        bytes: &[u8],
        now_ms: u64,
        books: &mut Books,
    ) -> Result<Option<bool>, Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        if !process.core.is_recording() || process.event != Some(name) {
            return Ok(None);
        }
        let piece = Piece {
            bytes: Bytes::copy_from_slice(bytes),
            captured_unix_ms: wall,
        };
        let born_ms = books.ran_ms;
        let event = books.events.entry(name).or_insert_with(|| oracle::Event {
            born_ms,
            ..oracle::Event::default()
        });
        event.pieces.push(bytes.to_vec());
        let taken = process.core.handle_pieces(vec![piece], wall);
        Ok(Some(self.recorded(taken)? == Some(Recorded::Taken)))
    }

    /// The event that is being recorded.
    #[must_use]
    pub fn recording(&self) -> Option<u64> {
        let process = self.process.as_ref();
        process
            .filter(|process| process.core.is_recording())
            .and_then(|process| process.event)
    }

    /// Syncs everything that is staged.
    ///
    /// # Errors
    /// As all steps.
    pub fn sync(&mut self, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let recording = self.recording();
        if self.commit(now_ms, books)?
            && let Some(event) = recording.and_then(|name| books.events.get_mut(&name))
        {
            event.durable = event.pieces.len();
        }
        Ok(())
    }

    /// The event is over.
    ///
    /// # Errors
    /// As all steps.
    pub fn event_over(
        &mut self,
        name: u64,
        cut: bool,
        now_ms: u64,
        books: &mut Books,
    ) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = self
            .process
            .as_mut()
            .filter(|process| process.event == Some(name))
        else {
            return Ok(());
        };
        process.event = None;
        let end = if cut {
            EventEnd::CutOff
        } else {
            EventEnd::Completed
        };
        let over = process.core.handle_event_ended(end, wall);
        self.recorded(over)?;
        self.commit(now_ms, books).map(drop)
    }

    /// Cover is due on the line of its videos.
    ///
    /// # Errors
    /// As all steps.
    pub fn cover(&mut self, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        let mut lines = self.ways.iter().map(|way| way.line);
        let videos = lines.find(|line| line.channel == Channel::EventVideo);
        let (Some(process), Some(line)) = (&mut self.process, videos) else {
            return Ok(());
        };
        passing(process.core.handle_cover_due(line, wall))?;
        self.commit(now_ms, books).map(drop)
    }

    fn recorded(&mut self, result: Result<Recorded, CoreError>) -> Result<Option<Recorded>, Fault> {
        match result {
            Ok(recorded) => Ok(Some(recorded)),
            Err(CoreError::Reopened) => Ok(None),
            Err(error) => Err(ended(error)),
        }
    }

    /// Whether everything of the event is durable, if one is being recorded.
    fn commit(&mut self, now_ms: u64, books: &mut Books) -> Result<bool, Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(false);
        };
        let synced = sync(&mut process.core, now_ms, wall);
        let synced = match synced {
            Ok(()) => true,
            Err(CoreError::Reopened) => process.core.is_recording(),
            Err(error) => return Err(ended(error)),
        };
        self.settle(books)?;
        Ok(synced)
    }
}
