//! Cameras that are kept: clips, the virtual camera, and one on the network.

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
