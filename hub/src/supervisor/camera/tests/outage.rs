//! Cameras that hang, are killed, or break what reads them, by the clock of this machine.

use journal::message::NoticeKind;

use super::*;
use crate::camera::{CameraEvent, EventKind, EventStart, NextEvent};

/// Lets the journal's time pass as this machine's does.
async fn follow_time(time: HandClock) {
    let began = tokio::time::Instant::now();
    let mut told_ms = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let passed_ms = u64::try_from(began.elapsed().as_millis()).unwrap();
        time.advance(passed_ms - told_ms);
        told_ms = passed_ms;
    }
}

/// With what is configured where nothing is: found out after ten seconds, said before twenty are over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_hangs_for_twenty_seconds_is_said_and_so_is_its_return() {
    let camera = visited().await;
    let (core, mut phone) = World::paired().split();
    let time = HandClock::default();
    let (sealer, mut thread) = sealer::start(core, time.clone()).unwrap();
    let passing = tokio::spawn(follow_time(time));
    let SourceConfig::Rtsp(mut source) = login(&camera, test_camera::PASSWORD) else {
        panic!("it is on the network");
    };
    source.stall = crate::camera::rtsp::STALL_DEFAULT;
    let mut events = by_the_clock(Duration::from_millis(500));
    events.windows.gap = Duration::from_secs(3_600);
    let (keeper, mut told) = keeper(SourceConfig::Rtsp(source), events, sealer.clone());
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;
    camera.set_mood(test_camera::Mood::Stalled);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut tells = 0;
    while let Ok(notice) = thread.notices.try_recv() {
        tells += u32::from(matches!(notice, Notice::Told { .. }));
    }
    assert_eq!(tells, 1, "it is said while it hangs");
    camera.set_mood(test_camera::Mood::Good);
    let there = |board: &Cameras| board[0].trouble.is_none();
    drop(told.wait_for(there).await.unwrap());
    // A tick and a little more.
    tokio::time::sleep(Duration::from_secs(7)).await;
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    passing.abort();
    let holds = sealer
        .run(move |core, _now| Ok(phone.take_all(core)))
        .await
        .unwrap();
    let kinds: Vec<_> = holds.notices.iter().map(|notice| notice.kind).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(kinds.contains(&NoticeKind::CameraAway), "{kinds:?}");
    assert!(kinds.contains(&NoticeKind::CameraBack), "{kinds:?}");
}

/// What makes events of its pictures panics over one.
struct Breaks(Option<Tracks>);

impl Camera for Breaks {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(async {
            let tracks = self.0.take().expect("as the test wants it");
            Some(CameraEvent::EventStarted(EventStart {
                tracks,
                kind: EventKind::Plain,
                started_unix_ms: NOW_MS,
            }))
        })
    }
}

impl LiveCamera for Breaks {
    fn held(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test]
async fn a_camera_that_panics_has_failed_and_is_opened_again() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
    let file = std::fs::File::open(path).unwrap();
    let tracks = Tracks::silent(Arc::new(Clip::read(&file).unwrap().track));
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let source = SourceConfig::Virtual(VirtualConfig {
        width: 160,
        height: 160,
        pictures_per_second: 30,
        ..VirtualConfig::default()
    });
    let events = by_the_clock(Duration::from_millis(500));
    let (mut keeper, mut told) = keeper(source.clone(), events.clone(), sealer);
    keeper.input = Input::Live {
        camera: Some(Box::new(Breaks(Some(tracks)))),
        source,
        events,
        blind: Blindness::default(),
    };
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    let broken = |board: &Cameras| matches!(board[0].trouble, Some(CameraError::Broken { .. }));
    drop(told.wait_for(broken).await.unwrap());
    ended(&mut thread, ClipState::Complete).await;
    let there = |board: &Cameras| board[0].trouble.is_none();
    drop(told.wait_for(there).await.unwrap());
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
}

/// Counts the lines that are said of a camera for as long as somebody has it.
async fn count_lines(mut told: watch::Receiver<Cameras>) -> usize {
    let mut before = told.borrow_and_update().clone();
    let mut lines = 0;
    while told.changed().await.is_ok() {
        let now = told.borrow_and_update().clone();
        lines += crate::supervisor::changed_cameras(&before, &now).len();
        before = now;
    }
    lines
}

/// Each time that it is opened there is a second of pictures and then nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_freezes_after_each_opening_is_said_to_be_away_and_in_one_line() {
    let mut config = visit();
    config.scene = scene(&[(Shows::Nobody, 1)]);
    // The next pass is in an hour.
    config.scene.duration = 3_600 * 90_000;
    let camera = test_camera::TestCamera::start(config).await.unwrap();
    let (core, mut phone) = World::paired().split();
    let time = HandClock::default();
    let (sealer, mut thread) = sealer::start(core, time.clone()).unwrap();
    let passing = tokio::spawn(follow_time(time));
    let SourceConfig::Rtsp(mut source) = login(&camera, test_camera::PASSWORD) else {
        panic!("it is on the network");
    };
    source.stall = Duration::from_secs(2);
    let events = by_the_clock(Duration::from_secs(30));
    let (keeper, told) = keeper(SourceConfig::Rtsp(source), events, sealer.clone());
    let lines = tokio::spawn(count_lines(told));
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    let said = async {
        loop {
            if let Notice::Told { .. } = thread.notices.recv().await.unwrap() {
                return;
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(40), said).await;
    assert!(said.is_ok(), "it is opened and opened, and never away");
    // Nothing more is said of what it does then.
    let opened = camera.played();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(camera.played() > opened && opened > 2, "{opened} times");
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    passing.abort();
    assert_eq!(lines.await.unwrap(), 1);
    let holds = sealer
        .run(move |core, _now| Ok(phone.take_all(core)))
        .await
        .unwrap();
    let kinds: Vec<_> = holds.notices.iter().map(|notice| notice.kind).collect();
    assert_eq!(kinds, [NoticeKind::CameraAway]);
}

/// So good are its packets that pictures and sound can be put together of them. What they are nobody looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_whose_pictures_and_sound_are_rubbish_is_recorded_and_nothing_is_said() {
    let mut config = visit();
    // Longer than this takes: parameter sets come with the first picture, and are to be good.
    config.scene = scene(&[(Shows::Nobody, 30)]);
    let camera = test_camera::TestCamera::start(config).await.unwrap();
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let source = login(&camera, test_camera::PASSWORD);
    let events = by_the_clock(Duration::from_millis(500));
    let (keeper, told) = keeper(source, events, sealer);
    let lines = tokio::spawn(count_lines(told));
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;
    camera.set_mood(test_camera::Mood::Rubbish(4));
    // The second at the latest has nothing else.
    for _ in 0..3 {
        ended(&mut thread, ClipState::Complete).await;
    }
    assert_eq!(camera.played(), 1, "it was opened again");
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    assert_eq!(lines.await.unwrap(), 0);
}

/// In no packet is anything of which a picture or sound could be put together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_sends_rubbish_in_its_packets_has_failed_in_one_line_and_is_recorded_again() {
    let camera = visited().await;
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let source = login(&camera, test_camera::PASSWORD);
    let events = by_the_clock(Duration::from_millis(500));
    let (keeper, mut told) = keeper(source, events, sealer);
    let lines = tokio::spawn(count_lines(told.clone()));
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;
    camera.set_mood(test_camera::Mood::Rubbish(0));
    let failed = |board: &Cameras| matches!(board[0].trouble, Some(CameraError::Protocol { .. }));
    drop(told.wait_for(failed).await.unwrap());
    // It is opened again, and is no better.
    let opened = async {
        while camera.played() < 3 {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, opened).await.unwrap();
    while thread.notices.try_recv().is_ok() {}
    camera.set_mood(test_camera::Mood::Good);
    ended(&mut thread, ClipState::Complete).await;
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    // That it is back is said when its pictures have kept coming.
    assert_eq!(lines.await.unwrap(), 1);
}

/// Five times the plug is pulled for some seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_comes_back_is_recorded_again_within_ten_seconds() {
    let mut camera = visited().await;
    let address = camera.address();
    let (sealer, mut thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let source = login(&camera, test_camera::PASSWORD);
    let events = by_the_clock(Duration::from_millis(500));
    let (keeper, mut told) = keeper(source, events, sealer);
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    ended(&mut thread, ClipState::Complete).await;
    for round in 0..5 {
        camera.kill().await;
        let failed = |board: &Cameras| board[0].trouble.is_some();
        drop(told.wait_for(failed).await.unwrap());
        // Long enough for the longest pause.
        tokio::time::sleep(Duration::from_secs(8)).await;
        while thread.notices.try_recv().is_ok() {}
        camera = test_camera::TestCamera::start_at(address, visit())
            .await
            .unwrap();
        let begun = async {
            while !matches!(
                thread.notices.recv().await.unwrap(),
                Notice::ClipStarted { .. }
            ) {}
        };
        let begun = tokio::time::timeout(Duration::from_secs(10), begun).await;
        assert!(begun.is_ok(), "the {round}th time");
    }
    // That it is back is believed when its pictures have kept coming; it is recorded all the same.
    {
        let board = told.borrow();
        assert!(board[0].trouble.is_some() && board[0].is_open);
    }
    let there = |board: &Cameras| board[0].trouble.is_none();
    drop(told.wait_for(there).await.unwrap());
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    assert_eq!(camera.refused(), 0);
}
