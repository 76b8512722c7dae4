//! Makes a [`Camera`] of any [`Source`] by what moves in its pictures.
//!
//! ```text
//! source --> ring and events machine --> Camera events --> recorder
//!    \             ^        |
//!     +--> eyes ---+        +--> which picture to keep, and when to send it
//!   waiting   sightings
//! ```
//!
//! What to record is the machine's business ([`crate::events`]), what moves the detector's
//! ([`crate::detector`]). This room carries between the two: pictures wait here for the eyes, which have
//! one job at a time on a thread that may block, and what the machine decides becomes events of a camera.
//! It must never hold a recording up: what the eyes have no time for is left out, and they go on with the
//! next key frame. And it must never let a verdict reach the machine while the picture of an earlier event
//! still has to become a JPEG.

mod blind;
mod eyes;
mod hint;
mod wanted;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::camera::{
    AccessUnit, Camera, CameraError, CameraEvent, Clock, EventKind, EventPicture, EventStart,
    LiveCamera, NextEvent, Source, SourceItem, VideoTrack,
};
use crate::config::detection::Detection;
use crate::detector::Mode;
use crate::events::{Effect, EventMachine, Sighting};
use crate::media::{MediaUnit, Tracks};
use crate::motion::{MinuteOfDay, MotionSettings, WallClock};
use crate::person::Score;
pub use blind::WatchedOrTimed;
pub use eyes::Eyes;
use eyes::{Answer, Job, Seen};
use hint::Hints;
pub use wanted::Wanted;

/// Pictures that wait for the eyes.
pub const WAITING_MAX: usize = 128;
/// Their bytes; most of them are in the ring as well. One that is larger waits alone.
pub const WAITING_BYTES_MAX: usize = 8 << 20;

/// What is said where the ring is too small for the distance of a camera's key frames.
pub const RING_TOO_SMALL: &str = "what the camera sends from one key frame to the next is more than `ring_mib` holds, so events may begin only with the next key frame, without what was before it";

/// How watching goes, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watching {
    /// Which pictures are decoded.
    pub mode: Mode,
    /// Whether what moves is looked for; a phone can turn it off.
    pub is_on: bool,
    /// Events since the camera was opened.
    pub events: u64,
    /// Whether one is under way.
    pub is_event: bool,
    /// Pictures that could not be decoded.
    pub undecodable: u64,
    /// Whether the memory for the pre-roll did not hold the pictures from one key frame to the next.
    pub is_ring_too_small: bool,
}

/// Where the eyes are.
enum Sight {
    Idle(Box<Eyes>),
    Busy(JoinHandle<(Box<Eyes>, Answer)>),
    /// Only while they are handed over.
    Between,
}

/// Something that waits for the eyes.
enum Waiting {
    Picture {
        unit: AccessUnit,
        came: Duration,
    },
    /// The stream goes on with other parameters.
    Track(Arc<VideoTrack>),
    /// Pictures were left out.
    Gap,
}

/// What a watcher waited for.
enum Step {
    Answer(Box<Eyes>, Answer),
    /// The eyes have panicked.
    Broken,
    Due,
    /// Whether there is a person; `None`: nobody knows.
    Hint(Option<Score>),
    Settings(Box<Detection>),
    Item(Result<Option<SourceItem>, CameraError>),
}

/// A [`Camera`] over a source whose pictures are looked at.
pub struct Watcher<C> {
    name: String,
    source: Box<dyn Source>,
    clock: C,
    /// Of the quiet hours.
    wall_clock: WallClock,
    /// What phones may set, if they may.
    wanted: Option<Wanted>,
    tracks: Option<Tracks>,
    machine: EventMachine,
    sight: Sight,
    /// The eyes see nothing in this stream, as they said last.
    are_eyes_blind: bool,
    /// What the eyes are to look for from their next picture on, if that is new.
    new_sight: Option<(MotionSettings, u32)>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// A verdict that waits for a JPEG.
    seen: Option<Seen>,
    /// Who is asked about the pictures of events, if the file names anybody; a phone can turn that off.
    hints: Option<Hints>,
    /// When the event began, by the wall clock, whose kept picture is to become a JPEG.
    owes_picture: Option<u64>,
    /// The same of the event that began last.
    started_unix_ms: u64,
    ready: VecDeque<CameraEvent>,
    is_over: bool,
    /// When the first picture came, and the last one, by the clock.
    pictures: Option<(Duration, Duration)>,
    watching: Watching,
    /// That the ring is too small was said, of this opening.
    is_ring_said: bool,
    report: Box<dyn FnMut(Watching) + Send>,
}

impl<C: Clock + Clone + 'static> Watcher<C> {
    /// Watches a source whose first item was taken: `tracks`, which the eyes were made for. `name` is the
    /// camera's, for messages; whatever `report` is told has changed.
    pub fn new(
        name: String,
        source: Box<dyn Source>,
        (tracks, eyes): (Tracks, Eyes),
        detection: &Detection,
        clock: C,
        report: impl FnMut(Watching) + Send + 'static,
    ) -> Self {
        let mut machine = EventMachine::new(detection.events);
        machine.handle_tracks(tracks.clone(), clock.now());
        let watching = Watching {
            mode: eyes.mode(),
            is_on: detection.detects,
            events: 0,
            is_event: false,
            undecodable: 0,
            is_ring_too_small: false,
        };
        Self {
            name,
            source,
            clock,
            wall_clock: detection.wall_clock.clone(),
            wanted: None,
            tracks: Some(tracks),
            machine,
            sight: Sight::Idle(Box::new(eyes)),
            are_eyes_blind: false,
            new_sight: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            seen: None,
            hints: None,
            owes_picture: None,
            started_unix_ms: 0,
            ready: VecDeque::new(),
            is_over: false,
            pictures: None,
            watching,
            is_ring_said: false,
            report: Box::new(report),
        }
    }

    async fn next(&mut self) -> Option<CameraEvent> {
        // Also before anything comes, and again after others have made its events.
        self.tell();
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.is_blind() {
                return None;
            }
            self.begin_job();
            if self.is_over && !matches!(self.sight, Sight::Busy(_)) {
                return None;
            }
            let due = self.machine.poll_timeout();
            let step = tokio::select! {
                biased;
                seen = answer(&mut self.sight) => match seen {
                    Some((eyes, answer)) => Step::Answer(eyes, answer),
                    None => Step::Broken,
                },
                () = sleep(&self.clock, due) => Step::Due,
                hint = hint::answered(&mut self.hints) => Step::Hint(hint),
                detection = wanted::changed(&mut self.wanted) => Step::Settings(Box::new(detection)),
                item = self.source.next_item(), if !self.is_over => Step::Item(item),
            };
            let now = self.clock.now();
            match step {
                Step::Answer(eyes, answer) => self.handle_answer(eyes, answer, now),
                Step::Broken => self.lose_eyes(now),
                Step::Due => self.machine.handle_timeout(now),
                Step::Hint(score) => self.handle_hint(score, now),
                Step::Settings(detection) => self.handle_settings(*detection, now),
                Step::Item(item) => self.handle_item(item, now),
            }
            self.take_effects();
            self.tell();
        }
    }

    fn handle_item(&mut self, item: Result<Option<SourceItem>, CameraError>, now: Duration) {
        match item {
            Ok(Some(SourceItem::Format(tracks))) => self.handle_tracks(tracks, now),
            Ok(Some(SourceItem::Video(unit))) => {
                let first = self.pictures.map_or(now, |(first, _)| first);
                self.pictures = Some((first, now));
                self.machine
                    .handle_unit(MediaUnit::Video(unit.clone()), now);
                self.queue(unit, now);
            }
            Ok(Some(SourceItem::Audio(unit))) => {
                self.machine.handle_unit(MediaUnit::Audio(unit), now);
            }
            // The next picture can be decoded by itself, and what is missing shows in the times.
            Ok(Some(SourceItem::Gap)) => {}
            Ok(None) => {
                self.machine.handle_over(now);
                self.end();
            }
            Err(error) => self.fail(error, now),
        }
    }

    fn handle_tracks(&mut self, tracks: Tracks, now: Duration) {
        if self.tracks.as_ref() == Some(&tracks) {
            // A file that is played again goes on in the same stream.
            return;
        }
        if let Some(codec) = tracks.video.codec.undecodable() {
            let camera = self.name.clone();
            return self.fail(CameraError::CodecChanged { camera, codec }, now);
        }
        self.waiting
            .push_back(Waiting::Track(Arc::clone(&tracks.video)));
        self.tracks = Some(tracks.clone());
        self.machine.handle_tracks(tracks, now);
    }

    fn fail(&mut self, error: CameraError, now: Duration) {
        self.ready.push_back(CameraEvent::Trouble(error));
        self.machine.handle_lost(now);
        self.end();
    }

    /// One picture has broken the decoder, or what looks at it: this camera begins anew, and no other ends.
    fn lose_eyes(&mut self, now: Duration) {
        self.sight = Sight::Between;
        let camera = self.name.clone();
        self.fail(CameraError::Broken { camera }, now);
    }

    /// Nothing more comes; what is still to be looked at cannot change anything any more.
    fn end(&mut self) {
        self.is_over = true;
        self.waiting.clear();
        self.seen = None;
    }

    /// Lets a picture wait for the eyes. If too many do, none of them is looked at.
    fn queue(&mut self, unit: AccessUnit, now: Duration) {
        if !self.watching.is_on {
            return;
        }
        let bytes = unit.data.len();
        let is_full = self.waiting.len() >= WAITING_MAX
            || self.waiting_bytes > 0 && self.waiting_bytes + bytes > WAITING_BYTES_MAX;
        if is_full {
            self.leave_waiting_out();
            self.waiting.push_back(Waiting::Gap);
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting::Picture { unit, came: now });
    }

    /// No picture that waits is looked at, and of the parameters only the newest are of use.
    fn leave_waiting_out(&mut self) {
        let is_track = |one: &Waiting| matches!(one, Waiting::Track(_));
        let newest = self.waiting.drain(..).rfind(is_track);
        self.waiting.extend(newest);
        self.waiting_bytes = 0;
    }

    /// Gives the eyes their next job, if they have none and there is one.
    fn begin_job(&mut self) {
        if !matches!(self.sight, Sight::Idle(_)) {
            return;
        }
        let job = match self.owes_picture {
            Some(_) => Some(Job::Jpeg),
            None => self.next_picture(),
        };
        let Some(job) = job else {
            return;
        };
        self.sight = match std::mem::replace(&mut self.sight, Sight::Between) {
            Sight::Idle(mut eyes) => {
                let clock = self.clock.clone();
                Sight::Busy(tokio::task::spawn_blocking(move || {
                    let answer = eyes.work(job, &clock);
                    (eyes, answer)
                }))
            }
            other => other,
        };
    }

    fn next_picture(&mut self) -> Option<Job> {
        let Sight::Idle(eyes) = &mut self.sight else {
            return None;
        };
        if let Some((motion, cpu_percent)) = self.new_sight.take() {
            eyes.handle_settings(motion, cpu_percent);
        }
        while let Some(next) = self.waiting.pop_front() {
            match next {
                Waiting::Track(track) => eyes.handle_track(track),
                Waiting::Gap => eyes.handle_gap(),
                Waiting::Picture { unit, came } => {
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(unit.data.len());
                    let behind = self.clock.now().saturating_sub(came);
                    return Some(Job::Look { unit, behind });
                }
            }
        }
        None
    }

    fn handle_answer(&mut self, eyes: Box<Eyes>, answer: Answer, now: Duration) {
        self.watching.mode = eyes.mode();
        self.watching.undecodable = eyes.failures();
        self.are_eyes_blind = eyes.are_blind(now);
        self.sight = Sight::Idle(eyes);
        match answer {
            Answer::Seen(seen) => {
                self.seen = seen.filter(|_| !self.is_over && self.watching.is_on);
            }
            Answer::Jpeg(jpeg) => self.send_picture(jpeg, now),
        }
        // ORDER: the picture of the event before is out before a verdict may keep another one.
        if self.owes_picture.is_none()
            && let Some(seen) = self.seen.take()
        {
            let sighting = Sighting {
                scene: seen.scene,
                score: seen.score,
                local: MinuteOfDay::at(self.clock.unix_ms(), &self.wall_clock),
            };
            self.machine.handle_sighting(sighting, now);
        }
        // Behind the verdict: the picture was looked at as it was before.
        self.machine.handle_mode(self.watching.mode, now);
    }

    fn send_picture(
        &mut self,
        jpeg: Result<Vec<u8>, crate::thumbnail::ThumbnailError>,
        now: Duration,
    ) {
        let Some(started_unix_ms) = self.owes_picture.take() else {
            return;
        };
        match jpeg {
            Ok(jpeg) => {
                let jpeg = Bytes::from(jpeg);
                if let Some(hints) = &mut self.hints {
                    hints.ask(started_unix_ms, jpeg.clone(), now);
                }
                self.ready.push_back(CameraEvent::Thumbnail(EventPicture {
                    started_unix_ms,
                    jpeg,
                }));
            }
            Err(error) => tracing::warn!(%error, "an event has no thumbnail"),
        }
    }

    /// What the machine wants becomes events.
    fn take_effects(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Begin(beginning) => {
                    self.started_unix_ms = beginning.started_unix_ms;
                    self.watching.events += 1;
                    self.ready.push_back(CameraEvent::EventStarted(EventStart {
                        tracks: beginning.tracks,
                        kind: EventKind::Motion,
                        started_unix_ms: beginning.started_unix_ms,
                    }));
                    self.ready.extend(beginning.units.into_iter().map(event_of));
                }
                Effect::Append(unit) => self.ready.push_back(event_of(unit)),
                Effect::KeepPicture(_) => {
                    // It follows a sighting, and that an answer of the eyes, which are idle then.
                    if let Sight::Idle(eyes) = &mut self.sight {
                        eyes.keep();
                    }
                }
                Effect::SendPicture(_) => self.owes_picture = Some(self.started_unix_ms),
                Effect::End { reason, .. } => {
                    self.ready
                        .push_back(CameraEvent::EventEnded(reason.event_end()));
                }
            }
        }
        self.watching.is_event = self.machine.running().is_some();
        self.watching.is_ring_too_small = self.machine.is_ring_too_small();
        if self.watching.is_ring_too_small && !std::mem::replace(&mut self.is_ring_said, true) {
            tracing::warn!(
                camera = self.name,
                "{RING_TOO_SMALL}: set the camera's key frame interval (GOP, I-frame interval) to one or two seconds, or raise `ring_mib`"
            );
        }
    }

    fn tell(&mut self) {
        // The sender compares; a call for each picture is cheap.
        (self.report)(self.watching);
    }
}

/// The answer of eyes that have a job, `None` if they have panicked; otherwise it never comes. Cancel safe.
async fn answer(sight: &mut Sight) -> Option<(Box<Eyes>, Answer)> {
    let Sight::Busy(job) = sight else {
        return std::future::pending().await;
    };
    match job.await {
        Ok(done) => Some(done),
        Err(join) if join.is_panic() => None,
        // The runtime is shutting down.
        Err(_) => std::future::pending().await,
    }
}

async fn sleep(clock: &impl Clock, until: Option<Duration>) {
    match until {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn event_of(unit: MediaUnit) -> CameraEvent {
    match unit {
        MediaUnit::Video(unit) => CameraEvent::AccessUnit(unit),
        MediaUnit::Audio(unit) => CameraEvent::Sound(unit),
    }
}

impl<C: Clock + Clone + 'static> Camera for Watcher<C> {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(self.next())
    }
}

impl<C: Clock + Clone + 'static> LiveCamera for Watcher<C> {
    fn held(&self) -> Duration {
        self.pictures
            .map_or(Duration::ZERO, |(first, last)| last.saturating_sub(first))
    }
}

#[cfg(test)]
mod tests;
