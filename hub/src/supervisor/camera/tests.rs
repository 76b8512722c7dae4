//! Cameras that are kept: clips, the virtual camera, and one on the network.

mod h265;
mod outage;
mod resolution;
mod undecodable;

use std::num::NonZeroU32;

use journal::ids::{Channel, Line, LiveId};
use journal::message::LiveWish;
use journal::{Follower, Session};

use super::*;
use crate::camera::address::Password;
use crate::camera::demux::Clip;
use crate::camera::rtsp::{AudioWish, RtspConfig};
use crate::camera::virtual_camera::VirtualConfig;
use crate::camera::virtual_camera::testing::{Shows, scene};
use crate::camera::{CameraAddress, CameraErrorKind, Login, Secret, TokioClock};
use crate::core::tests::world::{HandClock, NOW_MS, World};
use crate::core::{ClipState, Notice, Verdict};
use crate::live::Outlets;
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
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let (reporter, mut told) = board();
    let (stop, stopped) = watch::channel(false);
    let keeper = Keeper {
        input: Input::of_file(config),
        name: "door".into(),
        tap: tap(&sealer),
        sealer,
        clock,
        pauses: Pauses::new(Box::new(|| 0)),
        reporter,
    };
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;

    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(100_000).unwrap();
    ended(&mut thread, ClipState::CutOff).await;
    // First it cannot be read, then it cannot be opened: both are told.
    let unusable = |board: &Cameras| {
        let text = board[0].trouble.as_ref().map(ToString::to_string);
        text.is_some_and(|text| text.contains("cut off"))
    };
    let found = told.wait_for(unusable).await.unwrap()[0].trouble.clone();
    assert_eq!(found.unwrap().kind(), CameraErrorKind::Replace);

    std::fs::write(&path, &whole).unwrap();
    told.wait_for(|board| board[0].trouble.is_none())
        .await
        .unwrap();
    ended(&mut thread, ClipState::Complete).await;
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
}

fn clip_at(path: &std::path::Path) -> FileCameraConfig {
    FileCameraConfig {
        gap: Duration::from_millis(200),
        speed: NonZeroU32::new(20).unwrap(),
        at_most: Some(Duration::from_secs(10)),
        ..FileCameraConfig::new(path)
    }
}

/// Switches privacy mode on or off, as a phone does.
async fn set_privacy(sealer: &Sealer, privacy: bool) {
    let settings = journal::message::Settings {
        privacy,
        event_seconds_max: None,
        ..journal::message::Settings::default()
    };
    let set = sealer.run(move |core, now| core.set(settings, now));
    set.await.unwrap();
}

#[tokio::test]
async fn in_privacy_mode_nobody_has_the_camera_and_afterwards_events_are_recorded_again() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
    let clock = TokioClock::new();
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let (reporter, mut told) = board();
    let (stop, stopped) = watch::channel(false);
    let keeper = Keeper {
        input: Input::of_file(clip_at(path.as_ref())),
        name: "door".into(),
        tap: tap(&sealer),
        sealer: sealer.clone(),
        clock,
        pauses: Pauses::new(Box::new(|| 0)),
        reporter,
    };
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;
    set_privacy(&sealer, true).await;
    let recording = sealer.run(|core, _now| Ok(core.is_recording()));
    assert!(!recording.await.unwrap());
    // Nothing begins while it is on: not even an event that is refused.
    while thread.notices.try_recv().is_ok() {}
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(thread.notices.try_recv().is_err());
    assert_eq!(told.borrow()[0].looks, Looks::Opening);
    set_privacy(&sealer, false).await;
    ended(&mut thread, ClipState::Complete).await;
    drop(
        told.wait_for(|board| board[0].looks == Looks::No)
            .await
            .unwrap(),
    );
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
}

/// Lets time pass for the journal's thread until something that is about no event was said to a phone.
async fn alarm(sealer: &Sealer, thread: &mut SealerThread, time: &HandClock) {
    let is_alarm = |notice: &Notice| matches!(notice, Notice::Told { started_unix_ms, .. } if *started_unix_ms == NOW_MS);
    for _ in 0..200 {
        time.advance(10_000);
        // Whoever has done something is given its chance behind it.
        sealer.run(|_core, _now| Ok(())).await.unwrap();
        while let Ok(notice) = thread.notices.try_recv() {
            if is_alarm(&notice) {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no phone was told");
}

#[tokio::test]
async fn a_camera_that_is_away_and_back_is_said_to_the_phones() {
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    // The journal's time, by which alarms are dated, stands still on the wall; the camera's does not.
    let time = HandClock::default();
    let (sealer, mut thread) = sealer::start(World::paired().core, time.clone()).unwrap();
    let (reporter, mut told) = board();
    let (stop, stopped) = watch::channel(false);
    let keeper = Keeper {
        input: Input::of_file(clip_at(&path)),
        name: "door".into(),
        tap: tap(&sealer),
        sealer: sealer.clone(),
        clock: TokioClock::new(),
        pauses: Pauses::new(Box::new(|| 0)),
        reporter,
    };
    let keeping = tokio::spawn(keeper.run(stopped));
    drop(
        told.wait_for(|board| board[0].trouble.is_some())
            .await
            .unwrap(),
    );
    alarm(&sealer, &mut thread, &time).await;
    std::fs::copy(testdata, &path).unwrap();
    drop(
        told.wait_for(|board| board[0].trouble.is_none())
            .await
            .unwrap(),
    );
    alarm(&sealer, &mut thread, &time).await;
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
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    set_privacy(&sealer, true).await;
    let (reporter, mut told) = board();
    let (stop, stopped) = watch::channel(false);
    let keeper = Keeper {
        input: Input::of_file(clip_at(&path)),
        name: "door".into(),
        tap: tap(&sealer),
        sealer: sealer.clone(),
        clock: TokioClock::new(),
        pauses: Pauses::new(Box::new(|| 0)),
        reporter,
    };
    let keeping = tokio::spawn(keeper.run(stopped));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(told.borrow()[0].trouble.is_none(), "it was looked for");

    set_privacy(&sealer, false).await;
    let failed = |board: &Cameras| board[0].trouble.is_some();
    drop(told.wait_for(failed).await.unwrap());
    set_privacy(&sealer, true).await;
    std::fs::write(&path, &whole).unwrap();
    // Longer than the pause behind the first attempts.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(failed(&told.borrow()), "it was opened");
    set_privacy(&sealer, false).await;
    drop(told.wait_for(|board| !failed(board)).await.unwrap());
    ended(&mut thread, ClipState::Complete).await;
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
}

/// One on the network lets its connection go, also while it is only being opened.
#[tokio::test]
async fn in_privacy_mode_a_camera_on_the_network_is_not_connected() {
    let camera = visited().await;
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let source = login(&camera, test_camera::PASSWORD);
    let events = by_the_clock(Duration::from_millis(500));
    let (keeper, mut told) = keeper(source, events, sealer.clone());
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;
    set_privacy(&sealer, true).await;
    let gone = |board: &Cameras| board[0].looks == Looks::Opening;
    drop(told.wait_for(gone).await.unwrap());
    hung_up(&camera).await;
    let before = camera.connected();
    while thread.notices.try_recv().is_ok() {}
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(thread.notices.try_recv().is_err());
    assert!(gone(&told.borrow()), "it was opened");
    assert_eq!(camera.connected(), before, "the camera was connected to");
    set_privacy(&sealer, false).await;
    ended(&mut thread, ClipState::Complete).await;
    assert!(camera.connected() > before);
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    assert_eq!(camera.refused(), 0);
}

/// Waits until the camera has no connection.
async fn hung_up(camera: &test_camera::TestCamera) {
    for _ in 0..200 {
        if camera.attached() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("somebody stays connected to the camera");
}

/// Where a camera says how it stands, and where that is read.
fn board() -> (Reporter, watch::Receiver<Cameras>) {
    let state = CameraState {
        name: "door".into(),
        kind: "rtsp",
        trouble: None,
        is_open: false,
        looks: Looks::Opening,
        decoded: Tally::default(),
    };
    let (board, told) = watch::channel(vec![state]);
    let reporter = Reporter {
        number: CameraNumber::FIRST,
        board: Arc::new(board),
    };
    (reporter, told)
}

/// A tap that nobody hears.
fn tap(sealer: &Sealer) -> Tap {
    crate::live::cast("door".into(), true, sealer, Outlets::default()).0
}

fn by_the_clock(event: Duration) -> Eventing {
    Eventing {
        detection: None,
        windows: WindowsConfig {
            event,
            gap: Duration::ZERO,
        },
    }
}

fn keeper(
    source: SourceConfig,
    events: Eventing,
    sealer: Sealer,
) -> (Keeper<TokioClock>, watch::Receiver<Cameras>) {
    let (reporter, told) = board();
    let keeper = Keeper {
        input: Input::of_source(source, events),
        name: "door".into(),
        tap: tap(&sealer),
        sealer,
        clock: TokioClock::new(),
        pauses: Pauses::new(Box::new(|| 0)),
        reporter,
    };
    (keeper, told)
}

#[tokio::test]
async fn the_virtual_camera_is_recorded_event_by_event() {
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let config = VirtualConfig {
        width: 160,
        height: 160,
        pictures_per_second: 30,
        ..VirtualConfig::default()
    };
    let source = SourceConfig::Virtual(config);
    let (keeper, told) = keeper(source, by_the_clock(Duration::from_millis(500)), sealer);
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;
    ended(&mut thread, ClipState::Complete).await;
    {
        let board = told.borrow();
        assert_eq!((&board[0].trouble, board[0].looks), (&None, Looks::No));
    }
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
}

/// Whoever watches sees what the camera sends, also while there is no event.
#[tokio::test]
async fn the_virtual_camera_is_shown_live_between_two_events() {
    let (mut core, mut phone) = World::paired().split();
    let line = Line::of(phone.line.pairing, Channel::Livestream);
    let wish = LiveWish {
        id: LiveId([7; 16]),
        camera: "door".into(),
    };
    let mut txn = phone.journal().begin();
    let mut viewer = Session::<Follower>::new(line);
    viewer.send_watch(&mut txn, &wish).unwrap();
    drop(txn.commit(()).unwrap());
    assert_eq!(phone.send(&mut core, line, NOW_MS), [Verdict::Taken]);
    assert!(core.live_board().contains_key(&line));

    let (sealer, mut thread) = sealer::start(core, HandClock::default()).unwrap();
    let outlets = Outlets::default();
    let mut outlet = outlets.attach(line);
    let (tap, caster) = crate::live::cast("door".into(), true, &sealer, outlets);
    let casting = tokio::spawn(caster.run());
    let source = SourceConfig::Virtual(VirtualConfig {
        width: 160,
        height: 160,
        pictures_per_second: 30,
        ..VirtualConfig::default()
    });
    let mut events = by_the_clock(Duration::from_millis(500));
    events.windows.gap = Duration::from_secs(3_600);
    let (mut keeper, _told) = keeper(source, events, sealer.clone());
    keeper.tap = tap;
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;
    // What has waited meanwhile is of the event; two groups later it is not.
    let mut groups = 0;
    while groups < 3 {
        let next = tokio::time::timeout(Duration::from_secs(20), outlet.next());
        let frame = next.await.unwrap().expect("somebody watches");
        groups += u32::from(frame.begins_group);
    }
    let recording = sealer.run(|core, _now| Ok(core.is_recording()));
    assert!(!recording.await.unwrap());
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    // It ends with its taps.
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, casting)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_refused_password_is_said_once_and_not_tried_again() {
    let scene = test_camera::Scene {
        vps: None,
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
    let source = login(&camera, "guess");
    let (sealer, _thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let (keeper, mut told) = keeper(source, by_the_clock(Duration::from_secs(1)), sealer);
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    let failed = |board: &Cameras| board[0].trouble.is_some();
    let found = told.wait_for(failed).await.unwrap()[0].trouble.clone();
    assert_eq!(found.unwrap().kind(), CameraErrorKind::Login);
    // Any other failure would have been tried again some times by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!told.has_changed().unwrap(), "it is said once");
    assert_eq!(camera.refused(), 1);
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
}

fn login(camera: &test_camera::TestCamera, password: &str) -> SourceConfig {
    SourceConfig::Rtsp(RtspConfig {
        address: CameraAddress::parse(&camera.url()).unwrap(),
        login: Some(Login {
            user: test_camera::USER.into(),
            password: Password::Given(Secret::new(password.into())),
        }),
        audio: AudioWish::IfSupported,
        stall: Duration::from_secs(60),
    })
}

/// A camera that shows a visit, again and again.
async fn visited() -> test_camera::TestCamera {
    test_camera::TestCamera::start(visit()).await.unwrap()
}

fn visit() -> test_camera::Config {
    test_camera::Config {
        login: test_camera::LoginKind::Digest,
        sound: test_camera::Sound::Aac,
        scene: scene(&[(Shows::Nobody, 4), (Shows::Somebody, 3), (Shows::Nobody, 5)]),
        speed: 1,
    }
}

fn by_motion() -> Eventing {
    let table = "pre_roll_seconds = 2\npost_roll_seconds = 2\ncool_down_seconds = 0\n";
    let detection = Detection::new(toml::from_str(table).unwrap()).unwrap();
    Eventing {
        detection: Some(Box::new(detection)),
        ..by_the_clock(Duration::from_secs(1))
    }
}

/// Turns detection on or off, as a phone does.
async fn set_detection(sealer: &Sealer, detects: bool) {
    let settings = journal::message::CameraSettings {
        detects: Some(detects),
        ..journal::message::CameraSettings::default()
    };
    let set = sealer.run(move |core, _now| core.set_camera("door", settings));
    set.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_follows_what_phones_set_while_it_runs_and_when_it_is_opened() {
    let (sealer, _thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    set_detection(&sealer, false).await;
    let source = SourceConfig::Virtual(VirtualConfig {
        width: 160,
        height: 160,
        pictures_per_second: 10,
        ..VirtualConfig::default()
    });
    let (keeper, mut told) = keeper(source, by_motion(), sealer.clone());
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    let is_on = |board: &Cameras| match board[0].looks {
        Looks::Yes(watching) => Some(watching.is_on),
        _ => None,
    };
    let off = |board: &Cameras| is_on(board) == Some(false);
    drop(told.wait_for(off).await.unwrap());
    set_detection(&sealer, true).await;
    let on = |board: &Cameras| is_on(board) == Some(true);
    drop(told.wait_for(on).await.unwrap());
    // What is set while nobody has it holds when it is opened.
    set_privacy(&sealer, true).await;
    drop(told.wait_for(|board| is_on(board).is_none()).await.unwrap());
    set_detection(&sealer, false).await;
    set_privacy(&sealer, false).await;
    drop(told.wait_for(off).await.unwrap());
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
}

/// From the network through decoder, detector, machine, recorder and journal to the phone, in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_before_a_camera_on_the_network_is_told_shown_and_recorded() {
    let camera = visited().await;
    let (core, mut phone) = World::paired().split();
    let (sealer, mut thread) = sealer::start(core, HandClock::default()).unwrap();
    let source = login(&camera, test_camera::PASSWORD);
    let (keeper, told) = keeper(source, by_motion(), sealer.clone());
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    let mut words = Vec::new();
    let finished = async {
        loop {
            match thread.notices.recv().await.unwrap() {
                Notice::Told { line, .. } => words.push(format!("{:?}", line.channel)),
                Notice::ClipStarted { .. } => words.push("clip".into()),
                Notice::ClipFinished { clip, .. } => return clip,
                _ => {}
            }
        }
    };
    let patience = Duration::from_secs(60);
    let clip = tokio::time::timeout(patience, finished).await.unwrap();
    // Notification first, the picture while the clip is being recorded.
    assert_eq!(words, ["Notification", "clip", "Thumbnail"]);
    assert_eq!(clip.state, ClipState::Complete);
    assert!(clip.bytes > 10_000, "{}", clip.bytes);
    let Looks::Yes(watching) = told.borrow()[0].looks else {
        panic!("{:?}", told.borrow()[0]);
    };
    assert_eq!((watching.events, watching.undecodable), (1, 0));
    // From before the visit to behind it.
    let decoded = told.borrow()[0].decoded.get();
    assert!(decoded >= 50, "{decoded}");
    let status = sealer.run(|core, _now| core.status()).await.unwrap();
    assert_eq!(status.clips.len(), 1, "the picture is no clip");
    let holds = sealer
        .run(move |core, _now| Ok(phone.take_all(core)))
        .await
        .unwrap();
    let (notice, clip) = (&holds.notices[0], &holds.clips[0]);
    assert_eq!((holds.notices.len(), holds.clips.len()), (1, 1));
    assert_eq!(
        (notice.camera.as_str(), clip.camera.as_str()),
        ("door", "door")
    );
    assert_eq!(notice.started_unix_ms, clip.started_unix_ms);
    assert!(clip.mime.ends_with(",mp4a.40.2\""), "{}", clip.mime);
    let [(started_unix_ms, jpeg)] = &holds.pictures[..] else {
        panic!("{} pictures", holds.pictures.len());
    };
    assert_eq!(*started_unix_ms, clip.started_unix_ms);
    assert!(jpeg.starts_with(&[0xFF, 0xD8]) && jpeg.ends_with(&[0xFF, 0xD9]));
    // Two seconds before, three of the visit, two behind it; whole, and it can be played from its beginning.
    let played = Clip::read(&holds.bytes[0][..]).unwrap();
    let seconds = played.duration_ticks() / u64::from(played.track.timescale.get());
    assert!((6..=9).contains(&seconds), "{seconds}");
    assert!(played.samples[0].is_sync);
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    assert_eq!(camera.refused(), 0);
}

#[tokio::test]
async fn two_cameras_are_recorded_at_once() {
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let state = |name: &str| CameraState {
        name: name.into(),
        kind: "virtual",
        trouble: None,
        is_open: false,
        looks: Looks::Opening,
        decoded: Tally::default(),
    };
    let (board, _told) = watch::channel(vec![state("door"), state("yard")]);
    let board = Arc::new(board);
    let (stop, stopped) = watch::channel(false);
    let mut keeping = Vec::new();
    for (number, name) in [(CameraNumber::FIRST, "door"), (CameraNumber(1), "yard")] {
        let source = SourceConfig::Virtual(VirtualConfig {
            width: 160,
            height: 160,
            pictures_per_second: 30,
            ..VirtualConfig::default()
        });
        let keeper = Keeper {
            input: Input::of_source(source, by_the_clock(Duration::from_secs(2))),
            name: name.into(),
            tap: tap(&sealer),
            sealer: sealer.clone(),
            clock: TokioClock::new(),
            pauses: Pauses::new(Box::new(|| 0)),
            reporter: Reporter {
                number,
                board: Arc::clone(&board),
            },
        };
        keeping.push(tokio::spawn(keeper.run(stopped.clone())));
    }
    let mut words = Vec::new();
    while words.len() < 4 {
        match thread.notices.recv().await.unwrap() {
            Notice::ClipStarted { .. } => words.push("begins"),
            Notice::ClipFinished { clip, .. } => {
                assert_eq!(clip.state, ClipState::Complete);
                words.push("ends");
            }
            _ => {}
        }
    }
    assert_eq!(words[..2], ["begins", "begins"]);
    stop.send_replace(true);
    for task in keeping {
        task.await.unwrap().unwrap();
    }
}
