//! Keeps a camera: opens it, records it, and opens it again after it has failed.
//!
//! Pauses between two attempts are those of `camera::pauses`. What it failed of is told as it changes
//! and stands in `status` until pictures come again; the rest of the hub goes on meanwhile. This room
//! must never give a camera up while the hub runs, and never try a refused password again soon.

use std::time::Duration;

use tokio::sync::watch;

use crate::camera::pauses::{HELD_MIN, Pauses};
use crate::camera::{
    Camera, CameraError, Clock, FileCamera, FileCameraConfig, SourceConfig, Windows, WindowsConfig,
};
use crate::recorder::{Over, Recorder};
use crate::sealer::{Sealer, SealerError};

/// What is kept, open or not.
pub(super) enum Input<C> {
    /// A clip, whose passes are events.
    File {
        /// The camera while it is open.
        camera: Option<FileCamera<C>>,
        /// How to open it again.
        config: FileCameraConfig,
    },
    /// A source that is always there, whose events are made by the clock.
    Live {
        /// The camera while it is open.
        camera: Option<Box<Windows<C>>>,
        /// How to open its source.
        source: SourceConfig,
        /// The times of its events.
        windows: WindowsConfig,
    },
}

impl<C: Clock + Clone + 'static> Input<C> {
    /// A clip that is open.
    pub(super) fn of_file(camera: FileCamera<C>) -> Self {
        let config = camera.config().clone();
        Self::File {
            camera: Some(camera),
            config,
        }
    }

    /// A source that is not open yet.
    pub(super) fn of_source(source: SourceConfig, windows: WindowsConfig) -> Self {
        Self::Live {
            camera: None,
            source,
            windows,
        }
    }

    fn camera(&mut self) -> Option<&mut dyn Camera> {
        match self {
            Self::File { camera, .. } => camera.as_mut().map(|camera| camera as &mut dyn Camera),
            Self::Live { camera, .. } => camera
                .as_deref_mut()
                .map(|camera| camera as &mut dyn Camera),
        }
    }

    /// Opens it; a live one is open when its first picture is there.
    async fn open(&mut self, clock: C) -> Result<(), CameraError> {
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
            }
            Self::Live {
                camera,
                source,
                windows,
            } => {
                let opened = source.open(clock.clone()).await?;
                let mut opened = Box::new(Windows::new(opened, *windows, clock));
                opened.begin().await?;
                *camera = Some(opened);
            }
        }
        Ok(())
    }

    /// Closes what has failed; answers for how long it had handed out pictures, or `None` if there is
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

/// A camera and what it takes to record it for as long as the hub runs.
pub(super) struct Keeper<C> {
    pub(super) input: Input<C>,
    pub(super) name: String,
    pub(super) sealer: Sealer,
    pub(super) clock: C,
    pub(super) pauses: Pauses,
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
        let mut not_before = self.clock.now();
        loop {
            let opened = tokio::select! {
                biased;
                _ = stop.changed() => false,
                () = self.open(not_before) => true,
            };
            if !opened {
                return Ok(());
            }
            self.tell(None);
            let completed = recorder.completed();
            let Some(camera) = self.input.camera() else {
                continue;
            };
            let error = match recorder.run(camera, &mut stop).await? {
                Over::Stopped | Over::Finished => return Ok(()),
                Over::Failed(error) => error,
            };
            let Some(held) = self.input.close() else {
                return Ok(());
            };
            // A whole event is as good as a long time.
            let held = if recorder.completed() > completed {
                held.max(HELD_MIN)
            } else {
                held
            };
            not_before = self.after_failure(error, held);
        }
    }

    /// Tries until it is open, not before this time.
    async fn open(&mut self, mut not_before: Duration) {
        while self.input.camera().is_none() {
            self.clock.sleep_until(not_before).await;
            if let Err(error) = self.input.open(self.clock.clone()).await {
                not_before = self.after_failure(error, Duration::ZERO);
            }
        }
        self.pauses.handle_opened();
    }

    /// Tells a failure; answers when to try again, by the clock.
    fn after_failure(&mut self, error: CameraError, held: Duration) -> Duration {
        let pause = self.pauses.handle_failure(error.kind(), held);
        self.tell(Some(error));
        self.clock.now().saturating_add(pause)
    }

    fn tell(&self, trouble: Option<CameraError>) {
        self.trouble.send_if_modified(|told| {
            let changed = *told != trouble;
            *told = trouble;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::camera::address::Password;
    use crate::camera::rtsp::{AudioWish, RtspConfig};
    use crate::camera::virtual_camera::VirtualConfig;
    use crate::camera::{CameraAddress, CameraErrorKind, Login, Secret, TokioClock};
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
            input: Input::of_file(FileCamera::open(config, clock.clone()).unwrap()),
            name: "door".into(),
            sealer,
            clock,
            pauses: Pauses::new(Box::new(|| 0)),
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

    fn keeper(
        source: SourceConfig,
        event: Duration,
        sealer: Sealer,
    ) -> (Keeper<TokioClock>, watch::Receiver<Option<CameraError>>) {
        let (trouble, told) = watch::channel(None);
        let windows = WindowsConfig {
            event,
            gap: Duration::ZERO,
        };
        let keeper = Keeper {
            input: Input::of_source(source, windows),
            name: "door".into(),
            sealer,
            clock: TokioClock::new(),
            pauses: Pauses::new(Box::new(|| 0)),
            trouble,
        };
        (keeper, told)
    }

    #[tokio::test]
    async fn the_virtual_camera_is_recorded_event_by_event() {
        let (sealer, mut thread) =
            sealer::start(World::paired().core, HandClock::default()).unwrap();
        let config = VirtualConfig {
            width: 160,
            height: 160,
            pictures_per_second: 30,
        };
        let source = SourceConfig::Virtual(config);
        let (keeper, told) = keeper(source, Duration::from_millis(500), sealer);
        let (stop, stopped) = watch::channel(false);
        let keeping = tokio::spawn(keeper.run(stopped));
        ended(&mut thread, ClipState::Complete).await;
        ended(&mut thread, ClipState::Complete).await;
        assert!(told.borrow().is_none());
        stop.send_replace(true);
        keeping.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_refused_password_is_said_once_and_not_tried_again() {
        let scene = test_camera::Scene {
            sps: bytes::Bytes::from_static(&[0x67, 0x42, 0xC0, 0x1F]),
            pps: bytes::Bytes::from_static(&[0x68]),
            pictures: Vec::new(),
            duration: 90_000,
        };
        let camera = test_camera::TestCamera::start(test_camera::Config {
            login: test_camera::LoginKind::Digest,
            sound: test_camera::Sound::None,
            scene,
            speed: 1,
        });
        let camera = camera.await.unwrap();
        let source = SourceConfig::Rtsp(RtspConfig {
            address: CameraAddress::parse(&camera.url()).unwrap(),
            login: Some(Login {
                user: test_camera::USER.into(),
                password: Password::Given(Secret::new("guess".into())),
            }),
            audio: AudioWish::IfSupported,
            stall: Duration::from_secs(60),
        });
        let (sealer, _thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
        let (keeper, mut told) = keeper(source, Duration::from_secs(1), sealer);
        let (stop, stopped) = watch::channel(false);
        let keeping = tokio::spawn(keeper.run(stopped));
        let found = told.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(found.kind(), CameraErrorKind::Login);
        // Any other failure would have been tried again some times by now.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!told.has_changed().unwrap(), "it is said once");
        assert_eq!(camera.refused(), 1);
        stop.send_replace(true);
        keeping.await.unwrap().unwrap();
    }
}
