//! The file camera as an actor in time: when it hands out what, and what happens to it.

use std::fs::OpenOptions;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hub::camera::clock::Sleep;
use hub::camera::{
    AvcConfig, Camera, CameraError, CameraErrorKind, CameraEvent, ClipError, Clock, EventEnd,
    FileCamera, FileSource, Passes, Source as _, SourceItem, TokioClock,
};

use crate::support::{JumpingClock, START_UNIX_MS, block_on, config, demux, read, testdata};

const MS: Duration = Duration::from_millis(1);

/// Each event and when it came.
fn play(
    camera: &mut FileCamera<JumpingClock>,
    clock: &JumpingClock,
) -> Vec<(Duration, CameraEvent)> {
    block_on(async {
        let mut events = Vec::new();
        while let Some(event) = camera.next_event().await {
            events.push((clock.passed(), event));
        }
        events
    })
}

#[test]
fn every_picture_comes_at_its_time_and_every_pass_is_an_event() {
    let clock = JumpingClock::new();
    let path = testdata("people-20s.mp4");
    let mut camera = FileCamera::open(config(path, 2), clock.clone()).expect("a sound clip");
    assert_eq!(camera.facts().duration, 20_000 * MS);
    assert_eq!(camera.facts().pictures, 200);
    let events = play(&mut camera, &clock);
    assert_eq!(events.len(), 2 * 202);
    // Twenty seconds of video, three seconds of gap, and again.
    for (pass, started) in [(0, Duration::ZERO), (1, 23_000 * MS)] {
        let events = &events[pass * 202..(pass + 1) * 202];
        let (at, CameraEvent::EventStarted(start)) = &events[0] else {
            panic!("{:?}", events[0]);
        };
        assert_eq!(*at, started);
        assert_eq!(start.tracks.video, *camera.track());
        assert_eq!(
            start.started_unix_ms,
            START_UNIX_MS + started.as_millis() as u64
        );
        for (index, (at, event)) in events[1..201].iter().enumerate() {
            let CameraEvent::AccessUnit(unit) = event else {
                panic!("{event:?}");
            };
            let due = started + 100 * MS * index as u32;
            assert_eq!(*at, due);
            // The times go on rising, and the gap is in them: 10,240 ticks a second.
            let dts = started.as_secs() * 10_240 + 1024 * index as u64;
            assert_eq!(unit.dts, dts);
            assert_eq!(unit.pts(), dts as i64);
            assert_eq!(unit.duration, Some(1024));
            assert_eq!(unit.is_sync, index % 20 == 0);
            assert_eq!(
                unit.captured_unix_ms,
                START_UNIX_MS + due.as_millis() as u64
            );
        }
        let end = (
            started + 20_000 * MS,
            CameraEvent::EventEnded(EventEnd::Completed),
        );
        assert_eq!(events[201], end);
    }
    assert_eq!(block_on(camera.next_event()), None, "it stays over");
}

#[test]
fn uneven_pictures_come_unevenly() {
    let clock = JumpingClock::new();
    let path = testdata("odd-durations.mp4");
    let mut camera = FileCamera::open(config(path, 1), clock.clone()).expect("a sound clip");
    let events = play(&mut camera, &clock);
    let mut ticks = 0;
    let samples = demux(&read("odd-durations.mp4")).samples;
    for (sample, (at, _)) in samples.iter().zip(&events[1..]) {
        let want = Duration::from_nanos(ticks * 1_000_000_000 / 90_000);
        assert_eq!(*at, want);
        ticks += u64::from(sample.duration);
    }
}

#[test]
fn speed_shortens_the_passes_and_not_the_gaps() {
    let clock = JumpingClock::new();
    let mut config = config(testdata("people-20s.mp4"), 2);
    config.speed = NonZeroU32::new(10).expect("not zero");
    let mut camera = FileCamera::open(config, clock.clone()).expect("a sound clip");
    let events = play(&mut camera, &clock);
    assert_eq!(events[2].0, 10 * MS);
    assert_eq!(events[201].0, 2_000 * MS);
    assert_eq!(events[202].0, 5_000 * MS);
}

#[test]
fn an_event_can_be_longer_and_shorter_than_the_file() {
    let pictures = |events: &[(Duration, CameraEvent)]| {
        let unit = |(_, event): &(Duration, CameraEvent)| match event {
            CameraEvent::AccessUnit(unit) => Some((unit.dts, unit.is_sync, unit.data.clone())),
            _ => None,
        };
        events.iter().filter_map(unit).collect::<Vec<_>>()
    };
    let play_all = |at_least: u64, at_most: Option<u64>| {
        let clock = JumpingClock::new();
        let mut config = config(testdata("people-20s.mp4"), 1);
        config.at_least = Duration::from_secs(at_least);
        config.at_most = at_most.map(Duration::from_secs);
        let mut camera = FileCamera::open(config, clock.clone()).expect("a sound clip");
        let events = play(&mut camera, &clock);
        let (ended, CameraEvent::EventEnded(EventEnd::Completed)) = &events[events.len() - 1]
        else {
            panic!("{events:?}");
        };
        (pictures(&events), *ended)
    };
    // Whole files within one event: the decode time goes on, and each begins with a key frame.
    let (again, ended) = play_all(25, None);
    assert_eq!((again.len(), ended), (400, 40_000 * MS));
    assert_eq!(again[200].0, 200 * 1024);
    assert!(again[200].1 && again[200].2 == again[0].2);
    let (short, ended) = play_all(0, Some(3));
    assert_eq!((short.len(), ended), (30, 3_000 * MS));
    let (both, ended) = play_all(30, Some(30));
    assert_eq!((both.len(), ended), (300, 30_000 * MS));
    assert_eq!(play_all(0, None).0.len(), 200);
}

#[test]
fn parameter_sets_may_come_with_the_pictures() {
    let mut bytes = read("people-20s.mp4");
    let at = entry_kind_at(&bytes);
    bytes[at + 3] = b'3';
    let track = demux(&bytes).track;
    assert!(track.codec.codec_string().starts_with("avc3."));
    let written = hub::fmp4::init_segment(&track, 0);
    let at = entry_kind_at(&written);
    assert_eq!(&written[at..at + 4], b"avc3");
    // And then the record need not have any.
    let mut record = track.codec.record()[..6].to_vec();
    record[5] = 0xe0;
    record.push(0);
    assert!(AvcConfig::parse(&record).is_err());
    assert!(AvcConfig::parse_in_band(&record).is_ok());
}

/// Where the kind of the first sample entry is.
fn entry_kind_at(mp4: &[u8]) -> usize {
    // Kind, version and flags, count, size of the entry, kind of the entry.
    let stsd = mp4.windows(4).position(|four| four == b"stsd");
    stsd.expect("one") + 16
}

#[test]
fn a_late_reader_gets_everything_with_the_time_it_was_captured() {
    let clock = JumpingClock::new();
    let path = testdata("people-20s.mp4");
    let mut camera = FileCamera::open(config(path, 1), clock.clone()).expect("a sound clip");
    block_on(async {
        camera.next_event().await;
        camera.next_event().await;
        *clock.lock() += 1_000 * MS;
        for index in 1..=10 {
            let Some(CameraEvent::AccessUnit(unit)) = camera.next_event().await else {
                panic!("a picture");
            };
            assert_eq!(unit.dts, 1024 * index);
            assert_eq!(unit.captured_unix_ms, START_UNIX_MS + 100 * index);
            assert_eq!(clock.passed(), 1_000 * MS, "it does not make anybody wait");
        }
        camera.next_event().await;
        assert_eq!(clock.passed(), 1_100 * MS, "and is on time again");
    });
}

#[test]
fn an_endless_camera_goes_on() {
    let clock = JumpingClock::new();
    let mut config = config(testdata("bframes.mp4"), 1);
    config.passes = Passes::Endless;
    let mut camera = FileCamera::open(config, clock.clone()).expect("a sound clip");
    let mut passes = 0;
    block_on(async {
        while passes < 20 {
            if let Some(CameraEvent::EventEnded(_)) = camera.next_event().await {
                passes += 1;
            }
        }
        // 20 passes of 2 s, 19 gaps of 3 s.
        assert_eq!(clock.passed(), 97_000 * MS);
    });
}

/// A clock that stands until it is moved; who sleeps is not woken but polled again.
#[derive(Clone, Default)]
struct StandingClock(Arc<Mutex<Duration>>);

impl Clock for StandingClock {
    fn now(&self) -> Duration {
        *self.0.lock().expect("not poisoned")
    }

    fn unix_ms(&self) -> u64 {
        0
    }

    fn sleep_until(&self, at: Duration) -> Sleep<'_> {
        Box::pin(std::future::poll_fn(move |_| {
            if self.now() >= at {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
    }
}

#[test]
fn a_dropped_wait_loses_nothing() {
    let clock = StandingClock::default();
    let path = testdata("people-20s.mp4");
    let mut camera = FileCamera::open(config(path, 1), clock.clone()).expect("a sound clip");
    // Each question is asked and dropped many times: before its time, and in the middle of the
    // read, which the first poll after its time only starts.
    block_on(async {
        let mut pictures = 0;
        for step in 0..=20_000 / 50 {
            for _ in 0..3 {
                let mut question = camera.next_event();
                let mut context = Context::from_waker(Waker::noop());
                if let Poll::Ready(Some(CameraEvent::AccessUnit(unit))) =
                    question.as_mut().poll(&mut context)
                {
                    assert_eq!(unit.dts, 1024 * pictures);
                    pictures += 1;
                }
            }
            if step % 2 == 0
                && let Some(CameraEvent::AccessUnit(unit)) =
                    tokio::time::timeout(Duration::from_millis(200), camera.next_event())
                        .await
                        .unwrap_or_default()
            {
                assert_eq!(unit.dts, 1024 * pictures);
                pictures += 1;
            }
            *clock.0.lock().expect("not poisoned") += 50 * MS;
        }
        while let Some(event) = camera.next_event().await {
            if let CameraEvent::AccessUnit(unit) = event {
                assert_eq!(unit.dts, 1024 * pictures);
                pictures += 1;
            }
        }
        assert_eq!(pictures, 200);
    });
}

#[test]
fn a_file_that_shrinks_cuts_the_event_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("clip.mp4");
    std::fs::copy(testdata("people-20s.mp4"), &path).expect("copied");
    let clock = JumpingClock::new();
    let mut camera = FileCamera::open(config(&path, 2), clock.clone()).expect("a sound clip");
    let file = OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(500_000).expect("made shorter");
    let events = play(&mut camera, &clock);
    let pictures = events
        .iter()
        .filter(|(_, event)| matches!(event, CameraEvent::AccessUnit(_)))
        .count();
    assert!((10..190).contains(&pictures), "{pictures}");
    let [.., (_, trouble), (_, end)] = &events[..] else {
        panic!("{events:?}");
    };
    let error = CameraError::Clip {
        path: path.display().to_string(),
        source: ClipError::Unreadable {
            kind: std::io::ErrorKind::UnexpectedEof,
        },
    };
    assert_eq!(error.kind(), CameraErrorKind::Replace);
    assert_eq!(*trouble, CameraEvent::Trouble(error));
    assert_eq!(*end, CameraEvent::EventEnded(EventEnd::CutOff));
    assert_eq!(block_on(camera.next_event()), None);
}

#[test]
fn the_real_clock_is_waited_for() {
    block_on(async {
        let mut config = config(testdata("bframes.mp4"), 1);
        config.speed = NonZeroU32::new(20).expect("not zero");
        let started = Instant::now();
        let mut camera = FileCamera::open(config, TokioClock::new()).expect("a sound clip");
        let mut events = 0;
        while camera.next_event().await.is_some() {
            events += 1;
        }
        assert_eq!(events, 52);
        assert!(started.elapsed() >= 100 * MS, "{:?}", started.elapsed());
    });
}

#[test]
fn as_a_source_a_clip_is_one_stream_of_all_its_passes() {
    let clip = demux(&read("bframes.mp4"));
    let (mut formats, mut units) = (0, Vec::new());
    block_on(async {
        let config = config(testdata("bframes.mp4"), 2);
        let mut source = FileSource::open(config, JumpingClock::new())
            .await
            .expect("a sound clip");
        while let Some(item) = source.next_item().await.expect("it can be read") {
            match item {
                SourceItem::Format(format) => {
                    assert_eq!(*format.video, clip.track);
                    formats += 1;
                }
                SourceItem::Video(unit) => units.push(unit),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(source.next_item().await, Ok(None));
    });
    let pictures = clip.samples.len();
    assert_eq!((formats, units.len()), (1, 2 * pictures));
    assert!(units.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    assert!(units[pictures].is_sync);
    // The gap of three seconds is in the stream's times, to the tick.
    let between = units[pictures].dts - units[0].dts;
    let pass = clip.duration_ticks() + 3 * u64::from(clip.track.timescale.get());
    assert!(between.abs_diff(pass) <= 1, "{between} {pass}");
}
