//! Makes a [`Camera`] of any [`Source`] by the clock alone: an event begins with a picture that can be
//! decoded, lasts a configured time, and after a gap the next one begins.
//!
//! It is what records a live camera whose pictures nobody looks at: because the owner wants it so, or
//! because the hub cannot decode them. It must never change a
//! time or a picture, and never go on in an event whose format has changed: that is another event.

use std::collections::VecDeque;
use std::time::Duration;

use super::{
    AccessUnit, Camera, CameraError, CameraEvent, Clock, EventEnd, EventKind, EventStart,
    LiveCamera, NextEvent, Source, SourceItem,
};
use crate::events::KEY_FRAME_WAIT;
use crate::media::Tracks;

/// How long events last, and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowsConfig {
    /// An event's length; it ends with the first key frame after that, so that nothing is cut in two, and
    /// [`KEY_FRAME_WAIT`] later where none comes.
    pub event: Duration,
    /// From the end of one event to the beginning of the next, at least.
    pub gap: Duration,
}

/// A [`Camera`] over a source.
pub struct Windows<C> {
    source: Box<dyn Source>,
    clock: C,
    config: WindowsConfig,
    /// The camera's name, if nobody looks at the pictures only because they cannot be decoded.
    makeshift_of: Option<String>,
    /// From this time of the clock on somebody wants to look at them.
    until: Option<Duration>,
    tracks: Option<Tracks>,
    state: State,
    /// What one item made: at most three events.
    ready: VecDeque<CameraEvent>,
    /// When the first picture came, and the last one, by the clock.
    pictures: Option<(Duration, Duration)>,
}

/// Where in its order of events the camera is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No event before this time of the clock.
    Waiting(Duration),
    /// An event that should end after this time.
    Event(Duration),
    Over,
}

impl<C: Clock> Windows<C> {
    /// Records from the first picture on.
    pub fn new(source: Box<dyn Source>, config: WindowsConfig, clock: C) -> Self {
        let now = clock.now();
        Self {
            source,
            clock,
            config,
            makeshift_of: None,
            until: None,
            tracks: None,
            state: State::Waiting(now),
            ready: VecDeque::new(),
            pictures: None,
        }
    }

    /// Only for as long as the pictures of this camera cannot be decoded: it fails where it goes on with others that
    /// can, so that whoever opens it again looks at them.
    #[must_use]
    pub fn until_decodable(mut self, camera: String) -> Self {
        self.makeshift_of = Some(camera);
        self
    }

    /// Until this time of the clock, or the end of the event that is under way then: it has nothing more to say, and
    /// [`Self::into_source`] goes on.
    #[must_use]
    pub fn no_longer_than(mut self, until: Duration) -> Self {
        self.until = Some(until);
        self
    }

    /// Whether its time is over ([`Self::no_longer_than`]), and no event is under way. Never where the pictures are such as
    /// nobody can look at.
    pub fn is_due(&self) -> bool {
        self.is_due_at(self.clock.now())
    }

    fn is_due_at(&self, now: Duration) -> bool {
        let tracks = self.tracks.as_ref();
        self.until.is_some_and(|until| now >= until)
            && matches!(self.state, State::Waiting(_))
            && tracks.is_some_and(|tracks| tracks.video.codec.is_decodable())
    }

    /// Its source, and what that sends.
    pub fn into_source(self) -> (Box<dyn Source>, Option<Tracks>) {
        (self.source, self.tracks)
    }

    /// Takes the first thing that the source had to say, which somebody has looked at.
    pub fn handle_first(&mut self, item: Option<SourceItem>) {
        self.handle_item(Ok(item), self.clock.now());
    }

    async fn next(&mut self) -> Option<CameraEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.state == State::Over || self.is_due() {
                return None;
            }
            let item = self.source.next_item().await;
            self.handle_item(item, self.clock.now());
        }
    }

    fn handle_item(&mut self, item: Result<Option<SourceItem>, CameraError>, now: Duration) {
        match item {
            Ok(Some(SourceItem::Format(tracks))) => {
                let is_other = self.tracks.as_ref() != Some(&tracks);
                if let Some(camera) = &self.makeshift_of
                    && is_other
                    && self.tracks.is_some()
                    && tracks.video.codec.is_decodable()
                {
                    let (camera, codec) = (camera.clone(), tracks.video.codec.name());
                    return self.fail(CameraError::CodecChanged { camera, codec });
                }
                self.tracks = Some(tracks);
                if is_other && matches!(self.state, State::Event(_)) {
                    // The key frame that follows begins the next one, without a gap.
                    self.end(EventEnd::Completed);
                    self.state = State::Waiting(now);
                }
            }
            Ok(Some(SourceItem::Video(unit))) => self.handle_unit(unit, now),
            Ok(Some(SourceItem::Audio(unit))) => {
                if matches!(self.state, State::Event(_)) {
                    self.ready.push_back(CameraEvent::Sound(unit));
                }
            }
            // What is missing shows in the times.
            Ok(Some(SourceItem::Gap)) => {}
            Ok(None) => {
                if matches!(self.state, State::Event(_)) {
                    self.end(EventEnd::Completed);
                }
                self.state = State::Over;
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: CameraError) {
        self.ready.push_back(CameraEvent::Trouble(error));
        if matches!(self.state, State::Event(_)) {
            self.end(EventEnd::CutOff);
        }
        self.state = State::Over;
    }

    fn handle_unit(&mut self, unit: AccessUnit, now: Duration) {
        let first = self.pictures.map_or(now, |(first, _)| first);
        self.pictures = Some((first, now));
        match self.state {
            State::Event(until)
                if now >= until
                    && (unit.is_sync || now >= until.saturating_add(KEY_FRAME_WAIT)) =>
            {
                self.end(EventEnd::Completed);
                self.state = State::Waiting(now.saturating_add(self.config.gap));
            }
            _ => {}
        }
        match (self.state, &self.tracks) {
            (State::Waiting(at), Some(tracks))
                if unit.is_sync && now >= at && !self.is_due_at(now) =>
            {
                self.ready.push_back(CameraEvent::EventStarted(EventStart {
                    tracks: tracks.clone(),
                    kind: EventKind::Plain,
                    started_unix_ms: unit.captured_unix_ms,
                }));
                self.state = State::Event(now.saturating_add(self.config.event));
                self.ready.push_back(CameraEvent::AccessUnit(unit));
            }
            (State::Event(_), _) => self.ready.push_back(CameraEvent::AccessUnit(unit)),
            _ => {}
        }
    }

    fn end(&mut self, end: EventEnd) {
        self.ready.push_back(CameraEvent::EventEnded(end));
    }
}

impl<C: Clock> Camera for Windows<C> {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(self.next())
    }
}

impl<C: Clock> LiveCamera for Windows<C> {
    fn held(&self) -> Duration {
        self.pictures
            .map_or(Duration::ZERO, |(first, last)| last.saturating_sub(first))
    }
}

#[cfg(test)]
mod tests;
