//! Keeps a camera: opens it, records it, and opens it again after it has failed.
//!
//! Pauses between two attempts are those of `camera::pauses`. That it failed is told, and what of stands in
//! `status`, until pictures have kept coming again (`proof`); the rest of the hub goes on meanwhile. In privacy mode
//! nobody has the camera: it is let go of, and opened again when the owner says so. This room must never give
//! a camera up otherwise while the hub runs, and never try a refused password again sooner
//! than these pauses say.

mod blindness;
mod proof;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::camera::pauses::{HELD_MIN, Pauses};
use crate::camera::{
    Camera, CameraError, Clock, DECODABLE, FileCamera, FileCameraConfig, LiveCamera, Source,
    SourceConfig, SourceItem, VideoTrack, Windows, WindowsConfig, caught, unless_panicked,
};
use crate::config::detection::Detection;
use crate::core::{CameraNumber, Presence, Wishes};
use crate::live::{Tap, Tapped, TappedSource};
use crate::media::Tracks;
use crate::person::ProgramHint;
use crate::recorder::{Over, Recorder};
use crate::sealer::{Sealer, SealerError};
use crate::tally::Tally;
use crate::watcher::{Eyes, Wanted, WatchedOrTimed, Watcher, Watching};
use blindness::Blindness;
use proof::{Proof, ProvenCamera, ProvenSource};

/// How one camera stands, for `status` and for whoever is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CameraState {
    /// Its name.
    pub name: String,
    /// Its kind, as the configuration has it.
    pub kind: &'static str,
    /// What it failed of last; `None` once its pictures have proved that it is there, and before it ever failed.
    pub trouble: Option<CameraError>,
    /// It is open now: it may still be about to prove that it is there.
    pub is_open: bool,
    /// What makes its events.
    pub looks: Looks,
    /// How many of its pictures were decoded since the process began.
    pub decoded: Tally,
}

/// What makes a camera's events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looks {
    /// Nothing was opened yet, or nobody has it, because privacy mode is on.
    Opening,
    /// The clock, or the passes of a clip: nobody looks at the pictures.
    No,
    /// The clock, because the pictures cannot be decoded.
    Cannot,
    /// What moves.
    Yes(Watching),
}

/// How all cameras stand, in the order of the configuration.
pub type Cameras = Vec<CameraState>;

/// Where one camera says how it stands.
#[derive(Clone)]
pub(super) struct Reporter {
    pub(super) number: CameraNumber,
    pub(super) board: Arc<watch::Sender<Cameras>>,
}

impl Reporter {
    fn set_trouble(&self, trouble: Option<CameraError>) {
        self.set(|state| {
            let changed = state.trouble != trouble;
            state.trouble = trouble;
            changed
        });
    }

    fn set_open(&self, is_open: bool) {
        self.set(|state| std::mem::replace(&mut state.is_open, is_open) != is_open);
    }

    /// Answers whether that is new.
    fn set_looks(&self, looks: Looks) -> bool {
        self.set(|state| {
            let changed = state.looks != looks;
            state.looks = looks;
            changed
        })
    }

    /// What moves is asked for, and nobody can look at the pictures. Said when that is new; `why` is a part of it.
    fn set_undecodable(&self, name: &str, why: &str) {
        if self.set_looks(Looks::Cannot) {
            tracing::warn!(
                camera = name,
                "the camera is recorded and sent, but nothing can be detected in its pictures ({why}), so its events go by the clock: set it to {DECODABLE} for that"
            );
        }
    }

    /// Where its decoded pictures are counted.
    fn tally(&self) -> Tally {
        let board = self.board.borrow();
        let state = board.get(usize::from(self.number.0));
        state.map(|state| state.decoded.clone()).unwrap_or_default()
    }

    fn set(&self, change: impl FnOnce(&mut CameraState) -> bool) -> bool {
        let index = usize::from(self.number.0);
        self.board
            .send_if_modified(|board| board.get_mut(index).is_some_and(change))
    }
}

/// What makes the events of a source.
#[derive(Clone, Debug)]
pub(super) struct Eventing {
    /// What moves; `None`: the clock.
    pub(super) detection: Option<Box<Detection>>,
    /// The times of the clock, also where the pictures cannot be decoded.
    pub(super) windows: WindowsConfig,
}

/// What is kept, open or not.
pub(super) enum Input<C> {
    /// A clip, whose passes are events.
    File {
        /// The camera while it is open.
        camera: Option<FileCamera<C>>,
        /// How to open it again.
        config: FileCameraConfig,
    },
    /// A source that is always there.
    Live {
        /// The camera while it is open.
        camera: Option<Box<dyn LiveCamera>>,
        /// How to open its source.
        source: SourceConfig,
        /// What makes its events.
        events: Eventing,
        /// In which of its streams nothing could be seen.
        blind: Blindness,
    },
}

impl<C: Clock + Clone + 'static> Input<C> {
    /// A clip that is not open yet.
    pub(super) fn of_file(config: FileCameraConfig) -> Self {
        Self::File {
            camera: None,
            config,
        }
    }

    /// A source that is not open yet.
    pub(super) fn of_source(source: SourceConfig, events: Eventing) -> Self {
        Self::Live {
            camera: None,
            source,
            events,
            blind: Blindness::default(),
        }
    }

    fn camera(&mut self) -> Option<&mut dyn Camera> {
        match self {
            Self::File { camera, .. } => camera.as_mut().map(|camera| camera as &mut dyn Camera),
            Self::Live { camera, .. } => match camera {
                Some(camera) => Some(&mut **camera),
                None => None,
            },
        }
    }

    /// Whether nothing comes but what is recorded: there is no stream between two passes.
    fn is_clip(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Opens it; a live one is open when it has said what it sends. Its pictures go into the `proof`, and `tap` hears
    /// all that it says. `wishes`: what phones set at it.
    async fn open(
        &mut self,
        (name, wishes): (&str, watch::Receiver<Wishes>),
        clock: C,
        tap: &Tap,
        reporter: &Reporter,
        proof: Proof<C>,
    ) -> Result<(), CameraError> {
        match self {
            Self::File { camera, config } => {
                let again = config.clone();
                // The file may lie on a slow disk.
                match tokio::task::spawn_blocking(move || FileCamera::open(again, clock)).await {
                    Ok(opened) => *camera = Some(opened?),
                    Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
                    // The runtime is shutting down.
                    Err(_) => std::future::pending().await,
                }
                reporter.set_looks(Looks::No);
            }
            Self::Live {
                camera,
                source,
                events,
                blind,
            } => {
                let opened = source.open(clock.clone()).await?;
                let proven = ProvenSource::new(opened, proof);
                let mut opened = TappedSource::new(Box::new(proven), tap.anew());
                let first = opened.next_item().await?;
                let opened = (Box::new(opened) as Box<dyn Source>, first);
                *camera = Some(live(
                    (name, wishes),
                    opened,
                    (events, blind),
                    clock,
                    reporter,
                ));
            }
        }
        Ok(())
    }

    /// Closes what has failed or is not to be had now; answers for how long it had handed out pictures, or `None` if there is
    /// nothing more to record.
    fn close(&mut self) -> Option<Duration> {
        match self {
            Self::File { camera, config } => {
                if let Some(camera) = camera.take() {
                    config.passes = camera.passes_left()?;
                }
                Some(Duration::ZERO)
            }
            Self::Live { camera, .. } => {
                let held = camera.take().map(|camera| camera.held());
                Some(held.unwrap_or(Duration::ZERO))
            }
        }
    }
}

/// Why nothing is detected in a stream whose parameters are good.
const NO_KEY_FRAME: &str = "no key frame could be decoded";

/// Makes a camera of a source whose first item has come. It begins with what phones have set, and follows that.
fn live<C: Clock + Clone + 'static>(
    (name, wishes): (&str, watch::Receiver<Wishes>),
    (source, first): (Box<dyn Source>, Option<SourceItem>),
    (events, blind): (&Eventing, &Blindness),
    clock: C,
    reporter: &Reporter,
) -> Box<dyn LiveCamera> {
    let (Some(file), Some(SourceItem::Format(tracks))) = (&events.detection, &first) else {
        reporter.set_looks(Looks::No);
        return by_the_clock(Windows::new(source, events.windows, clock), first);
    };
    let mut wanted = Wanted::new(name, file.clone(), wishes);
    let detection = wanted.now();
    let Some(eyes) = eyes(name, tracks, &detection, reporter) else {
        let windows = Windows::new(source, events.windows, clock);
        return by_the_clock(windows.until_decodable(name.to_owned()), first);
    };
    let blind_until = blind.until(&tracks.video, clock.now());
    let seen = (tracks.clone(), eyes);
    let report = {
        let reporter = reporter.clone();
        move |watching| {
            reporter.set_looks(Looks::Yes(watching));
        }
    };
    let told_blind = {
        let (reporter, name, blind) = (reporter.clone(), name.to_owned(), blind.clone());
        let clock = clock.clone();
        move |video: Option<Arc<VideoTrack>>| {
            reporter.set_undecodable(&name, NO_KEY_FRAME);
            video.map_or(Duration::MAX, |video| blind.note(video, clock.now()))
        }
    };
    let watcher = Watcher::new(name.to_owned(), source, seen, &detection, clock, report);
    let watcher = watcher.following(wanted);
    // Of the file: where a phone has turned it off, a phone may turn it on again.
    let watcher = match &file.person {
        Some(program) => {
            let hint = Arc::new(ProgramHint::new(program.clone()));
            watcher.hinted(hint, program.at_least, &detection)
        }
        None => watcher,
    };
    let watched = WatchedOrTimed::new(watcher, events.windows, told_blind);
    Box::new(match blind_until {
        Some(until) => {
            reporter.set_undecodable(name, NO_KEY_FRAME);
            watched.blind_until(until)
        }
        None => watched,
    })
}

fn by_the_clock<C: Clock + 'static>(
    mut windows: Windows<C>,
    first: Option<SourceItem>,
) -> Box<dyn LiveCamera> {
    windows.handle_first(first);
    Box::new(windows)
}

/// Eyes for a stream, if there can be any; if not, that is said.
fn eyes(name: &str, tracks: &Tracks, detection: &Detection, reporter: &Reporter) -> Option<Eyes> {
    if let Some(pictures) = tracks.video.codec.undecodable() {
        reporter.set_undecodable(name, pictures);
        return None;
    }
    match Eyes::new(Arc::clone(&tracks.video), detection) {
        Ok(eyes) => Some(eyes.tallied(reporter.tally())),
        Err(error) => {
            reporter.set_looks(Looks::Cannot);
            tracing::error!(%error, camera = name, "nothing is detected; events go by the clock");
            None
        }
    }
}

/// A camera and what it takes to record it for as long as the hub runs.
pub(super) struct Keeper<C> {
    pub(super) input: Input<C>,
    pub(super) name: String,
    pub(super) sealer: Sealer,
    /// Who casts it live hears what it says.
    pub(super) tap: Tap,
    pub(super) clock: C,
    pub(super) pauses: Pauses,
    pub(super) reporter: Reporter,
}

impl<C: Clock + Clone + 'static> Keeper<C> {
    /// Records until the camera has no more events, or `stop` changes.
    ///
    /// # Errors
    /// [`SealerError`] when the journal is gone.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), SealerError> {
        let number = self.reporter.number;
        let mut recorder = Recorder::new(number, self.name.clone(), self.sealer.clone());
        let mut not_before = self.clock.now();
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return Ok(()),
                opened = self.open(not_before) => opened?,
            }
            self.tell(Presence::Returning).await?;
            let completed = recorder.completed();
            let is_clip = self.input.is_clip();
            let proof = self.proof();
            let Some(camera) = self.input.camera() else {
                continue;
            };
            let over = match is_clip {
                true => {
                    let mut tapped = Tapped::new(camera, &mut self.tap);
                    let mut proven = ProvenCamera::new(&mut tapped, proof);
                    unless_panicked(recorder.run(&mut proven, &mut stop)).await
                }
                // Its source is listened to, and has a proof of its own.
                false => unless_panicked(recorder.run(camera, &mut stop)).await,
            };
            let over = match over {
                Some(over) => over?,
                None => {
                    // One camera's bytes end nobody else's clips. What the panic has left is not asked any more.
                    recorder = Recorder::new(number, self.name.clone(), self.sealer.clone());
                    recorder.cut_off().await?;
                    let camera = self.name.clone();
                    Over::Failed(CameraError::Broken { camera })
                }
            };
            self.reporter.set_open(false);
            let failure = match over {
                Over::Stopped | Over::Finished => return Ok(()),
                Over::Failed(error) => Some(error),
                Over::Private => None,
            };
            let Some(held) = self.input.close() else {
                return Ok(());
            };
            // A whole pass is as good as a long time.
            let held = if is_clip && recorder.completed() > completed {
                held.max(HELD_MIN)
            } else {
                held
            };
            not_before = match failure {
                Some(error) => self.after_failure(error, held).await?,
                // It was good when it was let go of, and nobody misses it.
                None => {
                    self.reporter.set_looks(Looks::Opening);
                    self.clock.now()
                }
            };
        }
    }

    /// Tries until it is open, not before this time. Each attempt waits for the end of privacy mode, and is
    /// given up where that begins.
    async fn open(&mut self, mut not_before: Duration) -> Result<(), SealerError> {
        let mut wishes = self.sealer.wishes();
        while self.input.camera().is_none() {
            self.clock.sleep_until(not_before).await;
            until_private(&mut wishes, false).await?;
            let proof = self.proof();
            let opening = self.input.open(
                (self.name.as_str(), wishes.clone()),
                self.clock.clone(),
                &self.tap,
                &self.reporter,
                proof,
            );
            let opening = caught(&self.name, opening);
            let opened = tokio::select! {
                biased;
                private = until_private(&mut wishes, true) => {
                    private?;
                    continue;
                }
                opened = opening => opened,
            };
            if let Err(error) = opened {
                not_before = self.after_failure(error, Duration::ZERO).await?;
            }
        }
        self.pauses.handle_opened();
        self.reporter.set_open(true);
        Ok(())
    }

    /// What is to prove that the camera is there, once it is open.
    fn proof(&self) -> Proof<C> {
        let (name, sealer) = (self.name.clone(), self.sealer.clone());
        Proof::new(name, sealer, self.reporter.clone(), self.clock.clone())
    }

    /// Tells a failure; answers when to try again, by the clock.
    async fn after_failure(
        &mut self,
        error: CameraError,
        held: Duration,
    ) -> Result<Duration, SealerError> {
        let pause = self.pauses.handle_failure(error.kind(), held);
        let missed = error.missed();
        self.reporter.set_trouble(Some(error));
        self.tell(Presence::Away { missed }).await?;
        Ok(self.clock.now().saturating_add(pause))
    }

    /// Whether the camera is there, for the owner's phones. Waits for a place in the journal's queue, not for its
    /// sync.
    async fn tell(&mut self, presence: Presence) -> Result<(), SealerError> {
        let name = self.name.clone();
        let told = self.sealer.hand_over(move |core, now| {
            core.handle_camera(&name, presence, now);
            Ok(())
        });
        told.await.map(drop)
    }
}

/// Waits until privacy mode is on, or off.
async fn until_private(
    wishes: &mut watch::Receiver<Wishes>,
    is_private: bool,
) -> Result<(), SealerError> {
    let wanted = |wishes: &Wishes| wishes.settings.privacy == is_private;
    let came = wishes.wait_for(wanted).await;
    came.map(drop).map_err(|_closed| SealerError::Closed)
}

#[cfg(test)]
mod tests;
