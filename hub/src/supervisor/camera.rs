//! Keeps a camera: records it, and opens it again after it has failed.
//!
//! Pauses between two attempts double up to their limit. What it failed of is told as it changes and
//! stands in `status` until the camera is there again; the rest of the hub goes on meanwhile. In privacy mode
//! nobody has the camera: it is let go of, and opened again when the owner says so. This room must never give
//! a camera up otherwise while the hub runs.

use tokio::sync::watch;

use crate::camera::{CameraError, Clock, FileCamera, FileCameraConfig};
use crate::core::Wishes;
use crate::recorder::{Over, Recorder};
use crate::sealer::{Sealer, SealerError};
use crate::uplink::Backoff;

/// A camera and what it takes to record it for as long as the hub runs.
pub(super) struct Keeper<C> {
    /// `None` while nobody has it.
    pub(super) camera: Option<FileCamera<C>>,
    /// How it is opened the next time.
    pub(super) config: FileCameraConfig,
    pub(super) name: String,
    pub(super) sealer: Sealer,
    pub(super) clock: C,
    pub(super) pauses: Backoff,
    /// What the camera failed of; `None` while it is there.
    pub(super) trouble: watch::Sender<Option<CameraError>>,
}

impl<C: Clock + Clone + 'static> Keeper<C> {
    /// Records until the camera has no more events, or `stop` changes.
    ///
    /// # Errors
    /// [`SealerError`] when the journal is gone.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), SealerError> {
        let mut recorder = Recorder::new(self.name.clone(), self.sealer.clone());
        let mut next = Attempt::AtOnce;
        loop {
            let mut camera = match self.camera.take() {
                Some(camera) => camera,
                None => {
                    let opened = tokio::select! {
                        biased;
                        _ = stop.changed() => return Ok(()),
                        camera = self.open(next) => camera?,
                    };
                    self.tell(None);
                    opened
                }
            };
            let completed = recorder.completed();
            let over = recorder.run(&mut camera, &mut stop).await?;
            if recorder.completed() > completed {
                self.pauses.reset();
            }
            let Some(passes) = camera.passes_left() else {
                return Ok(());
            };
            self.config = FileCameraConfig {
                passes,
                ..camera.config().clone()
            };
            drop(camera);
            next = match over {
                Over::Stopped | Over::Finished => return Ok(()),
                Over::Failed(error) => {
                    self.tell(Some(error));
                    Attempt::AfterPause
                }
                Over::Private => Attempt::AtOnce,
            };
        }
    }

    /// Tries until it can be opened. Each attempt waits for the end of privacy mode.
    async fn open(&mut self, first: Attempt) -> Result<FileCamera<C>, SealerError> {
        let mut wishes = self.sealer.wishes();
        let mut next = first;
        loop {
            if next == Attempt::AfterPause {
                let at = self.clock.now().saturating_add(self.pauses.pause());
                self.clock.sleep_until(at).await;
            }
            next = Attempt::AfterPause;
            until_wanted(&mut wishes).await?;
            let (again, clock) = (self.config.clone(), self.clock.clone());
            // The file may lie on a slow disk.
            match tokio::task::spawn_blocking(move || FileCamera::open(again, clock)).await {
                Ok(Ok(camera)) => return Ok(camera),
                Ok(Err(error)) => self.tell(Some(error)),
                Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
                // The runtime is shutting down.
                Err(_) => std::future::pending().await,
            }
        }
    }

    fn tell(&self, trouble: Option<CameraError>) {
        self.trouble.send_if_modified(|told| {
            let changed = *told != trouble;
            *told = trouble;
            changed
        });
    }
}

/// When a camera is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    /// It was good when it was let go of.
    AtOnce,
    /// It has just failed.
    AfterPause,
}

/// Waits for the end of privacy mode.
async fn until_wanted(wishes: &mut watch::Receiver<Wishes>) -> Result<(), SealerError> {
    let wanted = wishes.wait_for(|wishes| !wishes.settings.privacy).await;
    wanted.map(drop).map_err(|_closed| SealerError::Closed)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::camera::{CameraErrorKind, TokioClock};
    use crate::core::tests::world::{HandClock, World};
    use crate::core::{ClipState, Notice};
    use crate::sealer::{self, SealerThread};

    /// Waits for a clip that ends so.
    async fn ended(thread: &mut SealerThread, state: ClipState) {
        let ended = async {
            loop {
                match thread.notices.recv().await.unwrap() {
                    Notice::ClipFinished { clip, .. } if clip.state == state => return,
                    _ => {}
                }
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, ended).await.unwrap();
    }

    #[tokio::test]
    async fn a_clip_that_is_cut_short_and_put_back_is_recorded_again() {
        let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
        let whole = std::fs::read(testdata).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        std::fs::write(&path, &whole).unwrap();
        let clock = TokioClock::new();
        let config = FileCameraConfig {
            gap: Duration::from_millis(200),
            speed: NonZeroU32::new(20).unwrap(),
            at_most: Some(Duration::from_secs(10)),
            ..FileCameraConfig::new(&path)
        };
        let (sealer, mut thread) =
            sealer::start(World::paired().core, HandClock::default()).unwrap();
        let (trouble, mut told) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper {
            camera: Some(FileCamera::open(config.clone(), clock.clone()).unwrap()),
            config,
            name: "door".into(),
            sealer,
            clock,
            pauses: Backoff::new(Box::new(|| 0)),
            trouble,
        };
        let keeping = tokio::spawn(keeper.run(stopped));
        ended(&mut thread, ClipState::Complete).await;

        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(100_000).unwrap();
        ended(&mut thread, ClipState::CutOff).await;
        // First it cannot be read, then it cannot be opened: both are told.
        let unusable = |told: &Option<CameraError>| {
            let text = told.as_ref().map(ToString::to_string);
            text.is_some_and(|text| text.contains("cut off"))
        };
        let found = told.wait_for(unusable).await.unwrap().clone().unwrap();
        assert_eq!(found.kind(), CameraErrorKind::Replace);

        std::fs::write(&path, &whole).unwrap();
        told.wait_for(Option::is_none).await.unwrap();
        ended(&mut thread, ClipState::Complete).await;
        stop.send_replace(true);
        keeping.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn in_privacy_mode_nobody_has_the_camera_and_afterwards_events_are_recorded_again() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
        let clock = TokioClock::new();
        let config = FileCameraConfig {
            gap: Duration::from_millis(200),
            speed: NonZeroU32::new(20).unwrap(),
            at_most: Some(Duration::from_secs(10)),
            ..FileCameraConfig::new(path)
        };
        let (sealer, mut thread) =
            sealer::start(World::paired().core, HandClock::default()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper {
            camera: Some(FileCamera::open(config.clone(), clock.clone()).unwrap()),
            config,
            name: "door".into(),
            sealer: sealer.clone(),
            clock,
            pauses: Backoff::new(Box::new(|| 0)),
            trouble: watch::channel(None).0,
        };
        let keeping = tokio::spawn(keeper.run(stopped));
        ended(&mut thread, ClipState::Complete).await;
        let set = |privacy| {
            let settings = journal::message::Settings {
                privacy,
                event_seconds_max: None,
            };
            sealer.run(move |core, now| core.set(settings, now))
        };
        set(true).await.unwrap();
        let recording = sealer.run(|core, _now| Ok(core.is_recording()));
        assert!(!recording.await.unwrap());
        // Nothing begins while it is on: not even an event that is refused.
        while thread.notices.try_recv().is_ok() {}
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(thread.notices.try_recv().is_err());
        set(false).await.unwrap();
        ended(&mut thread, ClipState::Complete).await;
        stop.send_replace(true);
        keeping.await.unwrap().unwrap();
    }

    /// Neither at a start nor after it has failed: each attempt would have it for a moment.
    #[tokio::test]
    async fn in_privacy_mode_no_attempt_is_made_to_open_a_camera() {
        let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
        let whole = std::fs::read(testdata).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        let config = FileCameraConfig {
            gap: Duration::from_millis(200),
            speed: NonZeroU32::new(20).unwrap(),
            at_most: Some(Duration::from_secs(10)),
            ..FileCameraConfig::new(&path)
        };
        let (sealer, mut thread) =
            sealer::start(World::paired().core, HandClock::default()).unwrap();
        let set = |privacy| {
            let settings = journal::message::Settings {
                privacy,
                event_seconds_max: None,
            };
            sealer.run(move |core, now| core.set(settings, now))
        };
        set(true).await.unwrap();
        let (trouble, mut told) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper {
            camera: None,
            config,
            name: "door".into(),
            sealer: sealer.clone(),
            clock: TokioClock::new(),
            pauses: Backoff::new(Box::new(|| 0)),
            trouble,
        };
        let keeping = tokio::spawn(keeper.run(stopped));
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(told.borrow().is_none(), "it was looked for");

        set(false).await.unwrap();
        drop(told.wait_for(Option::is_some).await.unwrap());
        set(true).await.unwrap();
        std::fs::write(&path, &whole).unwrap();
        // Longer than the pause behind the first attempts.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(told.borrow().is_some(), "it was opened");
        set(false).await.unwrap();
        drop(told.wait_for(Option::is_none).await.unwrap());
        ended(&mut thread, ClipState::Complete).await;
        stop.send_replace(true);
        keeping.await.unwrap().unwrap();
    }
}
