//! From a camera to the journal: events become clips, access units become pieces.
//!
//! One task per camera. It hands each fragment to the journal as soon as it is full, so that the next
//! is sealed while the disk syncs the last, and takes the answers in their order. It never waits for
//! the network; for the disk it waits when a few fragments are on their way, and then the camera waits
//! too. It must never go on in a clip that the journal has ended: then it begins a new one at the next
//! key frame.

use std::collections::VecDeque;

use journal::message::NAME_BYTES_MAX;
use tokio::sync::watch;

use crate::camera::{
    AccessUnit, Camera, CameraError, CameraEvent, EventEnd, EventKind, EventPicture,
};
use crate::core::{
    Alert, CameraNumber, Core, CoreError, Event, Piece, Recorded, Still, Stop, Wishes,
};
use crate::media::{AudioUnit, Tracks};
use crate::sealer::{Pending, Sealer, SealerError};
use crate::segmenter::{ClipChunk, Pace, Segmenter};

/// Steps of one camera that were handed over and not answered.
pub const FLYING_MAX: usize = 4;
/// Bytes of such steps. A fragment that is larger goes alone.
pub const FLYING_BYTES_MAX: usize = 1 << 20;

/// Where in an event the recorder is.
enum State {
    /// No event.
    Idle,
    /// A clip is open.
    Open(Box<Segmenter>),
    /// Its last pieces and its end are on their way.
    Ending,
    /// The clip was lost; the next key frame begins another.
    Restart(Tracks),
    /// The rest of the event is not recorded.
    Skip,
}

/// Why a recorder has nothing more to record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Over {
    /// It was asked to stop.
    Stopped,
    /// The camera has no more events.
    Finished,
    /// Privacy mode: whoever has the camera lets go of it.
    Private,
    /// The camera failed. Whoever has another one, or the same again, goes on with it.
    Failed(CameraError),
}

/// Steps that were handed over, oldest first.
#[derive(Default)]
struct Flying {
    steps: VecDeque<(Pending<Recorded>, usize)>,
    bytes: usize,
}

impl Flying {
    fn has_room_for(&self, bytes: usize) -> bool {
        self.steps.is_empty()
            || self.steps.len() < FLYING_MAX && self.bytes + bytes <= FLYING_BYTES_MAX
    }

    fn push(&mut self, step: Pending<Recorded>, bytes: usize) {
        self.steps.push_back((step, bytes));
        self.bytes += bytes;
    }

    /// The oldest step's answer; without steps it never comes. Cancel safe.
    async fn next(&mut self) -> Result<Recorded, SealerError> {
        let Some((step, bytes)) = self.steps.front_mut() else {
            return std::future::pending().await;
        };
        let answer = step.answer().await;
        self.bytes -= *bytes;
        self.steps.pop_front();
        answer
    }
}

/// Records one camera.
pub struct Recorder {
    number: CameraNumber,
    name: String,
    sealer: Sealer,
    wishes: watch::Receiver<Wishes>,
    state: State,
    tracks: Option<Tracks>,
    /// The decode time of the event's first picture, once that has come.
    began_dts: Option<u64>,
    flying: Flying,
    /// What the camera failed of last.
    trouble: Option<CameraError>,
    completed: u64,
}

impl Recorder {
    /// A recorder for the camera of this number and name.
    pub fn new(number: CameraNumber, name: String, sealer: Sealer) -> Self {
        Self {
            number,
            name,
            wishes: sealer.wishes(),
            sealer,
            state: State::Idle,
            tracks: None,
            began_dts: None,
            flying: Flying::default(),
            trouble: None,
            completed: 0,
        }
    }

    /// Events that a camera called complete, recorded or not.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// Records until the camera is over, `stop` changes, or privacy mode is on; an open clip is then cut off.
    ///
    /// # Errors
    /// [`SealerError`] when the journal is gone.
    pub async fn run(
        &mut self,
        camera: &mut dyn Camera,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Over, SealerError> {
        loop {
            if self.wishes.borrow_and_update().settings.privacy {
                self.end(EventEnd::CutOff).await?;
                // Whatever it was: the next camera is another one.
                self.trouble = None;
                return Ok(Over::Private);
            }
            let event = tokio::select! {
                biased;
                _ = stop.changed() => {
                    self.end(EventEnd::CutOff).await?;
                    return Ok(Over::Stopped);
                }
                changed = self.wishes.changed() => match changed {
                    Ok(()) => continue,
                    Err(_closed) => return Err(SealerError::Closed),
                },
                answer = self.flying.next() => {
                    self.judge(answer).await?;
                    continue;
                }
                event = camera.next_event() => event,
            };
            match event {
                Some(event) => self.handle(event).await?,
                None => {
                    self.end(EventEnd::CutOff).await?;
                    return Ok(self.trouble.take().map_or(Over::Finished, Over::Failed));
                }
            }
        }
    }

    async fn handle(&mut self, event: CameraEvent) -> Result<(), SealerError> {
        match event {
            CameraEvent::EventStarted(start) => {
                self.began_dts = None;
                if start.kind == EventKind::Motion {
                    self.alert(start.started_unix_ms).await?;
                }
                self.begin(start.tracks, start.started_unix_ms).await
            }
            CameraEvent::AccessUnit(unit) => self.unit(unit).await,
            CameraEvent::Sound(unit) => {
                self.sound(unit);
                Ok(())
            }
            CameraEvent::Thumbnail(picture) => self.thumbnail(picture).await,
            CameraEvent::Person(started_unix_ms) => self.person(started_unix_ms).await,
            CameraEvent::EventEnded(end) => {
                self.completed += u64::from(end == EventEnd::Completed);
                self.end(end).await
            }
            CameraEvent::Trouble(error) => {
                // Whoever keeps the camera says so, and not with each try.
                tracing::debug!(%error, "the camera failed");
                self.trouble = Some(error);
                Ok(())
            }
        }
    }

    /// Tells the phones that something happens. It is durable before the clip begins, so it leaves first.
    async fn alert(&mut self, started_unix_ms: u64) -> Result<(), SealerError> {
        let alert = Alert {
            camera: self.name.clone(),
            started_unix_ms,
        };
        let said = self
            .say(move |core, now| core.handle_alert(&alert, now))
            .await;
        judge_aside(said, "a notification")
    }

    /// Tells the phones a hint about an event of which they were told.
    async fn person(&mut self, started_unix_ms: u64) -> Result<(), SealerError> {
        let alert = Alert {
            camera: self.name.clone(),
            started_unix_ms,
        };
        let said = self
            .say(move |core, now| core.handle_person(&alert, now))
            .await;
        judge_aside(said, "a hint at a person")
    }

    /// Hands the picture of an event over, while its clip is being recorded.
    async fn thumbnail(&mut self, picture: EventPicture) -> Result<(), SealerError> {
        let still = Still {
            camera: self.name.clone(),
            started_unix_ms: picture.started_unix_ms,
            jpeg: picture.jpeg,
        };
        let said = self
            .say(move |core, now| core.handle_still(&still, now))
            .await;
        judge_aside(said, "a thumbnail")
    }

    /// A step that stands alone, once more if it is not known whether it was stored: a phone keeps one of
    /// two that are the same.
    async fn say(
        &self,
        step: impl Fn(&mut Core, u64) -> Result<Recorded, CoreError> + Clone + Send + 'static,
    ) -> Result<Recorded, SealerError> {
        let first = step.clone();
        match self.sealer.run(move |core, now| first(core, now)).await {
            Err(SealerError::Core(error)) if error.is_open() => {
                self.sealer.run(move |core, now| step(core, now)).await
            }
            said => said,
        }
    }

    async fn begin(&mut self, tracks: Tracks, started_unix_ms: u64) -> Result<(), SealerError> {
        // Answers of an earlier clip say nothing of this one.
        self.land_all().await?;
        self.tracks = Some(tracks.clone());
        let mime = tracks.mime();
        let event = Event {
            camera: self.name.clone(),
            mime: match mime.len() <= NAME_BYTES_MAX {
                true => mime,
                // A codec whose name is that long: its parameters are in the clip as well.
                false => "video/mp4".to_owned(),
            },
            started_unix_ms,
        };
        let number = self.number;
        let begun = self
            .sealer
            .run(move |core, now| core.begin_event(number, event, now))
            .await;
        self.state = after_begin(begun, tracks)?;
        Ok(())
    }

    /// Sound goes with the pictures. A piece that does not fit is missing, and the clip goes on.
    fn sound(&mut self, unit: AudioUnit) {
        if let State::Open(segmenter) = &mut self.state
            && let Err(error) = segmenter.handle_sound(unit)
        {
            tracing::debug!(%error, "a piece of sound is left out");
        }
    }

    async fn unit(&mut self, unit: AccessUnit) -> Result<(), SealerError> {
        if self.is_too_long(unit.dts) {
            // Whole, as the owner wants it. What the camera still has of the event is not recorded.
            if !matches!(self.state, State::Skip) {
                self.end(EventEnd::Completed).await?;
                self.state = State::Skip;
            }
            return Ok(());
        }
        if let State::Restart(tracks) = &self.state
            && unit.is_sync
        {
            let tracks = tracks.clone();
            self.begin(tracks, unit.captured_unix_ms).await?;
        }
        let State::Open(segmenter) = &mut self.state else {
            return Ok(());
        };
        match segmenter.handle_unit(unit) {
            Ok(chunks) => self.fragments(chunks).await,
            Err(error) => {
                tracing::warn!(%error, "the camera's pictures do not fit together; the clip ends");
                self.end(EventEnd::CutOff).await?;
                self.state = State::Skip;
                Ok(())
            }
        }
    }

    /// Whether a picture lies beyond the limit that the owner has set for an event. By the pictures' own times: the
    /// clock on the wall may be set meanwhile.
    fn is_too_long(&mut self, dts: u64) -> bool {
        let lasted = dts.saturating_sub(*self.began_dts.get_or_insert(dts));
        let limit = self.wishes.borrow().settings.event_seconds_max;
        let ticks = self.tracks.as_ref().map(|tracks| tracks.video.timescale);
        limit
            .zip(ticks)
            .is_some_and(|(seconds, ticks)| lasted >= u64::from(seconds) * u64::from(ticks.get()))
    }

    /// Each fragment is a step of its own: what the core is given at once, a crash leaves whole or not at all.
    async fn fragments(&mut self, chunks: Vec<ClipChunk>) -> Result<(), SealerError> {
        for fragment in fragments_of(chunks) {
            self.fragment(fragment).await?;
        }
        Ok(())
    }

    async fn fragment(&mut self, pieces: Vec<Piece>) -> Result<(), SealerError> {
        let bytes = pieces.iter().map(|piece| piece.bytes.len()).sum();
        while !self.flying.has_room_for(bytes) {
            self.land_one().await?;
        }
        if !self.is_in_clip() {
            // It was lost while these waited for their turn.
            return Ok(());
        }
        let number = self.number;
        let step = self
            .sealer
            .hand_over(move |core, now| core.take_pieces(number, pieces, now))
            .await?;
        self.flying.push(step, bytes);
        Ok(())
    }

    fn is_in_clip(&self) -> bool {
        matches!(self.state, State::Open(_) | State::Ending)
    }

    async fn land_one(&mut self) -> Result<(), SealerError> {
        let answer = self.flying.next().await;
        self.judge(answer).await
    }

    /// Waits until nothing is on its way.
    async fn land_all(&mut self) -> Result<(), SealerError> {
        while !self.flying.steps.is_empty() {
            self.land_one().await?;
        }
        Ok(())
    }

    /// What became of the oldest step. Only the first refusal of a clip says anything: the steps
    /// behind it were refused because it was.
    async fn judge(&mut self, answer: Result<Recorded, SealerError>) -> Result<(), SealerError> {
        match answer {
            Err(SealerError::Closed) => return Err(SealerError::Closed),
            Err(SealerError::Core(error)) if is_fatal(&error) => return Err(error.into()),
            _ if !self.is_in_clip() => {}
            Ok(Recorded::Taken) => {}
            // The core has taken the recording up where the durable part ends, or keeps the pieces
            // for the next sync.
            Err(SealerError::Core(error)) if error.is_open() => {}
            Ok(Recorded::Not(Stop::NoClip)) => {
                self.state = self.tracks.clone().map_or(State::Skip, State::Restart);
            }
            Ok(Recorded::Not(_)) => self.state = State::Skip,
            Err(SealerError::Core(error)) => {
                tracing::error!(%error, "the rest of the event is not recorded");
                self.state = State::Skip;
                self.cut_off().await?;
            }
        }
        Ok(())
    }

    /// The last pieces and, without waiting for them, the end: they may share a sync. Then every
    /// answer.
    async fn end(&mut self, end: EventEnd) -> Result<(), SealerError> {
        match std::mem::replace(&mut self.state, State::Ending) {
            State::Open(segmenter) => self.fragments(segmenter.finish()).await?,
            _ => self.state = State::Idle,
        }
        let mut ended = None;
        if self.is_in_clip() {
            // If pieces before it are refused, the core has ended the clip where they began, and keeps
            // to that.
            let number = self.number;
            let step = self
                .sealer
                .hand_over(move |core, now| core.end_event(number, end, now))
                .await?;
            ended = Some(step);
        }
        self.land_all().await?;
        self.state = State::Idle;
        match ended {
            Some(mut step) => judge_end(step.answer().await),
            None => Ok(()),
        }
    }

    /// Ends a clip that cannot go on, also one that another recorder of this camera has left open.
    ///
    /// # Errors
    /// [`SealerError`] when the journal is gone.
    pub async fn cut_off(&mut self) -> Result<(), SealerError> {
        let number = self.number;
        let ended = self
            .sealer
            .run(move |core, now| core.end_event(number, EventEnd::CutOff, now))
            .await;
        judge_end(ended)
    }
}

/// The pieces of each fragment; a segmenter hands out whole ones.
fn fragments_of(chunks: Vec<ClipChunk>) -> Vec<Vec<Piece>> {
    let mut fragments = Vec::new();
    let mut pieces = Vec::new();
    for chunk in chunks {
        pieces.push(Piece {
            bytes: chunk.data,
            captured_unix_ms: chunk.captured_unix_ms,
        });
        if chunk.is_last_of_fragment {
            fragments.push(std::mem::take(&mut pieces));
        }
    }
    fragments
}

fn after_begin(begun: Result<Recorded, SealerError>, tracks: Tracks) -> Result<State, SealerError> {
    let open = |tracks| State::Open(Box::new(Segmenter::with_tracks(tracks, Pace::Clip)));
    Ok(match begun {
        Ok(Recorded::Taken) => open(tracks),
        Ok(Recorded::Not(_)) => State::Skip,
        // Another step's sync failed under it. Whether the event was begun is not known: if not, its
        // first piece says so, and the next key frame begins another.
        Err(SealerError::Core(error)) if error.is_open() => open(tracks),
        Err(SealerError::Core(error)) if !is_fatal(&error) => {
            tracing::error!(%error, "an event is not recorded");
            State::Skip
        }
        Err(error) => return Err(error),
    })
}

/// What became of a notification or a thumbnail: nothing of it is a reason not to record.
fn judge_aside(said: Result<Recorded, SealerError>, what: &str) -> Result<(), SealerError> {
    match said {
        Ok(_) => Ok(()),
        Err(SealerError::Core(error)) if !is_fatal(&error) => {
            tracing::error!(%error, what, "it is not known whether it was stored, or it was not");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn judge_end(ended: Result<Recorded, SealerError>) -> Result<(), SealerError> {
    match ended {
        Ok(_) => Ok(()),
        Err(SealerError::Core(error)) if error.is_open() => Ok(()),
        Err(SealerError::Core(error)) if !is_fatal(&error) => {
            tracing::error!(%error, "the clip's end could not be stored; the next start cuts it off");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn is_fatal(error: &CoreError) -> bool {
    matches!(error, CoreError::Dead(_))
}

#[cfg(test)]
mod tests;
