//! From a camera to the journal: events become clips, access units become pieces.
//!
//! One task per camera. It waits for the journal's disk, piece by piece, and never for the network;
//! what waits in memory is one fragment. It must never go on in a clip that the journal has ended:
//! then it begins a new one at the next key frame.

use std::sync::Arc;

use tokio::sync::watch;

use crate::camera::{AccessUnit, Camera, CameraEvent, EventEnd, VideoTrack};
use crate::core::{CoreError, Event, Piece, Recorded, Stop};
use crate::sealer::{Sealer, SealerError};
use crate::segmenter::{ClipChunk, Segmenter};

/// Where in an event the recorder is.
enum State {
    /// No event.
    Idle,
    /// A clip is open.
    Open(Box<Segmenter>),
    /// The clip was lost; the next key frame begins another.
    Restart(Arc<VideoTrack>),
    /// The rest of the event is not recorded.
    Skip,
}

/// Records one camera.
pub struct Recorder {
    name: String,
    sealer: Sealer,
    state: State,
    track: Option<Arc<VideoTrack>>,
}

impl Recorder {
    /// A recorder for the camera of this name.
    pub fn new(name: String, sealer: Sealer) -> Self {
        Self {
            name,
            sealer,
            state: State::Idle,
            track: None,
        }
    }

    /// Records until the camera is over or `stop` changes; an open clip is then cut off.
    ///
    /// # Errors
    /// [`SealerError`] when the journal is gone.
    pub async fn run(
        &mut self,
        camera: &mut dyn Camera,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), SealerError> {
        loop {
            let event = tokio::select! {
                biased;
                _ = stop.changed() => None,
                event = camera.next_event() => event,
            };
            match event {
                Some(event) => self.handle(event).await?,
                None => return self.end(EventEnd::CutOff).await,
            }
        }
    }

    async fn handle(&mut self, event: CameraEvent) -> Result<(), SealerError> {
        match event {
            CameraEvent::EventStarted(start) => {
                self.begin(start.track, start.started_unix_ms).await
            }
            CameraEvent::AccessUnit(unit) => self.unit(unit).await,
            CameraEvent::EventEnded(end) => self.end(end).await,
            CameraEvent::Trouble(error) => {
                tracing::error!(%error, "the camera failed");
                Ok(())
            }
        }
    }

    async fn begin(
        &mut self,
        track: Arc<VideoTrack>,
        started_unix_ms: u64,
    ) -> Result<(), SealerError> {
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
        self.state = match begun {
            Ok(Recorded::Taken) => State::Open(Box::new(Segmenter::new(track))),
            Ok(Recorded::Not(_)) => State::Skip,
            Err(SealerError::Core(error)) if !is_fatal(&error) => {
                tracing::error!(%error, "an event is not recorded");
                State::Skip
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }

    async fn unit(&mut self, unit: AccessUnit) -> Result<(), SealerError> {
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

    async fn pieces(&mut self, chunks: Vec<ClipChunk>) -> Result<(), SealerError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let pieces = chunks
            .into_iter()
            .map(|chunk| Piece {
                bytes: chunk.data,
                captured_unix_ms: chunk.captured_unix_ms,
            })
            .collect();
        let taken = self
            .sealer
            .run(move |core, now| core.handle_pieces(pieces, now))
            .await;
        match taken {
            Ok(Recorded::Taken) => {}
            // The core has taken the recording up where the durable part ends, or keeps the pieces
            // for the next sync.
            Err(SealerError::Core(error)) if error.is_open() => {}
            Ok(Recorded::Not(Stop::NoClip)) => {
                self.state = self.track.clone().map_or(State::Skip, State::Restart);
            }
            Ok(Recorded::Not(_)) => self.state = State::Skip,
            Err(SealerError::Core(error)) if !is_fatal(&error) => {
                tracing::error!(%error, "the rest of the event is not recorded");
                self.state = State::Skip;
                self.finish_event(EventEnd::CutOff).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn end(&mut self, end: EventEnd) -> Result<(), SealerError> {
        if let State::Open(segmenter) = std::mem::replace(&mut self.state, State::Idle) {
            self.state = State::Skip;
            self.pieces(segmenter.finish()).await?;
            self.state = State::Idle;
            self.finish_event(end).await?;
        }
        Ok(())
    }

    async fn finish_event(&mut self, end: EventEnd) -> Result<(), SealerError> {
        let ended = self
            .sealer
            .run(move |core, now| core.handle_event_ended(end, now))
            .await;
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
}

fn is_fatal(error: &CoreError) -> bool {
    matches!(error, CoreError::Dead(_))
}
