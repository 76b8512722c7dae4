//! From a camera to the journal: events become clips, access units become pieces.
//!
//! One task per camera. It hands each fragment to the journal as soon as it is full, so that the next
//! is sealed while the disk syncs the last, and takes the answers in their order. It never waits for
//! the network; for the disk it waits when a few fragments are on their way, and then the camera waits
//! too. It must never go on in a clip that the journal has ended: then it begins a new one at the next
//! key frame.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::camera::{AccessUnit, Camera, CameraError, CameraEvent, EventEnd, VideoTrack};
use crate::core::{CoreError, Event, Piece, Recorded, Stop, Wishes};
use crate::sealer::{Pending, Sealer, SealerError};
use crate::segmenter::{ClipChunk, Segmenter};

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
    Restart(Arc<VideoTrack>),
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
    name: String,
    sealer: Sealer,
    wishes: watch::Receiver<Wishes>,
    state: State,
    track: Option<Arc<VideoTrack>>,
    /// When the event began, milliseconds since 1970, as its camera says.
    started_unix_ms: u64,
    flying: Flying,
    /// What the camera failed of last.
    trouble: Option<CameraError>,
    completed: u64,
}

impl Recorder {
    /// A recorder for the camera of this name.
    pub fn new(name: String, sealer: Sealer) -> Self {
        Self {
            name,
            wishes: sealer.wishes(),
            sealer,
            state: State::Idle,
            track: None,
            started_unix_ms: 0,
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
                self.started_unix_ms = start.started_unix_ms;
                self.begin(start.track, start.started_unix_ms).await
            }
            CameraEvent::AccessUnit(unit) => self.unit(unit).await,
            CameraEvent::EventEnded(end) => {
                self.completed += u64::from(end == EventEnd::Completed);
                self.end(end).await
            }
            CameraEvent::Trouble(error) => {
                tracing::error!(%error, "the camera failed");
                self.trouble = Some(error);
                Ok(())
            }
        }
    }

    async fn begin(
        &mut self,
        track: Arc<VideoTrack>,
        started_unix_ms: u64,
    ) -> Result<(), SealerError> {
        // Answers of an earlier clip say nothing of this one.
        self.land_all().await?;
        self.track = Some(Arc::clone(&track));
        let codec = track.avc.codec_string();
        let event = Event {
            camera: self.name.clone(),
            mime: format!("video/mp4; codecs=\"{codec}\""),
            started_unix_ms,
        };
        let begun = self
            .sealer
            .run(move |core, now| core.handle_event_started(event, now))
            .await;
        self.state = after_begin(begun, track)?;
        Ok(())
    }

    async fn unit(&mut self, unit: AccessUnit) -> Result<(), SealerError> {
        if self.is_too_long(unit.captured_unix_ms) {
            // Whole, as the owner wants it. What the camera still has of the event is not recorded.
            if !matches!(self.state, State::Skip) {
                self.end(EventEnd::Completed).await?;
                self.state = State::Skip;
            }
            return Ok(());
        }
        if let State::Restart(track) = &self.state
            && unit.is_sync
        {
            let track = Arc::clone(track);
            self.begin(track, unit.captured_unix_ms).await?;
        }
        let State::Open(segmenter) = &mut self.state else {
            return Ok(());
        };
        match segmenter.handle_unit(unit) {
            Ok(chunks) => self.pieces(chunks).await,
            Err(error) => {
                tracing::warn!(%error, "the camera's pictures do not fit together; the clip ends");
                self.end(EventEnd::CutOff).await?;
                self.state = State::Skip;
                Ok(())
            }
        }
    }

    /// Whether a picture lies beyond the limit that the owner has set for an event.
    fn is_too_long(&self, captured_unix_ms: u64) -> bool {
        let limit = self.wishes.borrow().settings.event_seconds_max;
        let lasted_ms = captured_unix_ms.saturating_sub(self.started_unix_ms);
        limit.is_some_and(|seconds| lasted_ms >= u64::from(seconds) * 1_000)
    }

    async fn pieces(&mut self, chunks: Vec<ClipChunk>) -> Result<(), SealerError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let bytes = chunks.iter().map(|chunk| chunk.data.len()).sum();
        while !self.flying.has_room_for(bytes) {
            self.land_one().await?;
        }
        if !self.is_in_clip() {
            // It was lost while these waited for their turn.
            return Ok(());
        }
        let pieces = chunks
            .into_iter()
            .map(|chunk| Piece {
                bytes: chunk.data,
                captured_unix_ms: chunk.captured_unix_ms,
            })
            .collect();
        let step = self
            .sealer
            .hand_over(move |core, now| core.handle_pieces(pieces, now))
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
                self.state = self.track.clone().map_or(State::Skip, State::Restart);
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
            State::Open(segmenter) => self.pieces(segmenter.finish()).await?,
            _ => self.state = State::Idle,
        }
        let mut ended = None;
        if self.is_in_clip() {
            // If pieces before it are refused, the core has ended the clip where they began, and keeps
            // to that.
            let step = self
                .sealer
                .hand_over(move |core, now| core.handle_event_ended(end, now))
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

    /// Ends a clip that cannot go on.
    async fn cut_off(&mut self) -> Result<(), SealerError> {
        let ended = self
            .sealer
            .run(|core, now| core.handle_event_ended(EventEnd::CutOff, now))
            .await;
        judge_end(ended)
    }
}

fn after_begin(
    begun: Result<Recorded, SealerError>,
    track: Arc<VideoTrack>,
) -> Result<State, SealerError> {
    let open = |track| State::Open(Box::new(Segmenter::new(track)));
    Ok(match begun {
        Ok(Recorded::Taken) => open(track),
        Ok(Recorded::Not(_)) => State::Skip,
        // Another step's sync failed under it. Whether the event was begun is not known: if not, its
        // first piece says so, and the next key frame begins another.
        Err(SealerError::Core(error)) if error.is_open() => open(track),
        Err(SealerError::Core(error)) if !is_fatal(&error) => {
            tracing::error!(%error, "an event is not recorded");
            State::Skip
        }
        Err(error) => return Err(error),
    })
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
