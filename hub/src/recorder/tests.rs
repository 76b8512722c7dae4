//! The recorder over a disk that is slow, and what it makes of refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::camera::demux::Clip;
use crate::camera::{EventStart, NextEvent, VideoTrack};
use crate::core::tests::world::{HandClock, NOW_MS, World, opener};
use crate::core::{ClipFacts, Notice};
use crate::sealer::{self, SealerThread};

/// Plays a script as fast as it is asked for, and counts what it was asked for.
struct Script {
    events: VecDeque<CameraEvent>,
    asked: Arc<AtomicUsize>,
}

impl Camera for Script {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.events.pop_front()
        })
    }
}

fn track() -> Arc<VideoTrack> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
    let file = std::fs::File::open(path).unwrap();
    Arc::new(Clip::read(&file).unwrap().track)
}

/// Pictures that fill a fragment each.
fn units(track: &VideoTrack, count: u64) -> Vec<AccessUnit> {
    let ticks = track.timescale.get() / 5;
    let unit = |number: u64| AccessUnit {
        data: Bytes::from(vec![number as u8; 5_000]),
        dts: number * u64::from(ticks),
        composition_offset: 0,
        duration: Some(ticks),
        is_sync: number == 0,
        captured_unix_ms: NOW_MS + number * 200,
    };
    (0..count).map(unit).collect()
}

async fn until(what: &str, mut seen: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if seen() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

/// The clips that ended, until nobody has the journal's thread any more.
async fn finished(thread: &mut SealerThread) -> Vec<ClipFacts> {
    let mut finished = Vec::new();
    while let Some(notice) = thread.notices.recv().await {
        if let Notice::ClipFinished { clip, .. } = notice {
            finished.push(clip);
        }
    }
    finished
}

/// All of a script, to its end.
async fn play(recorder: &mut Recorder, events: VecDeque<CameraEvent>) {
    let mut camera = Script {
        events,
        asked: Arc::default(),
    };
    let (_keep, mut stop) = watch::channel(false);
    let over = recorder.run(&mut camera, &mut stop).await.unwrap();
    assert_eq!(over, Over::Finished);
}

#[tokio::test]
async fn fragments_are_sealed_while_the_first_is_synced_and_shown_only_then() {
    let (world, gate) = World::gated();
    let (disk, line) = (world.disk.clone(), world.line);
    let before = world.core.heads().unwrap()[&line].last.0;
    let (sealer, mut thread) = sealer::start(world.core, HandClock::default()).unwrap();

    let track = track();
    let pictures = units(&track, 12);
    let mut events = VecDeque::from([CameraEvent::EventStarted(EventStart {
        tracks: Tracks::silent(Arc::clone(&track)),
        kind: EventKind::Plain,
        started_unix_ms: NOW_MS,
    })]);
    events.extend(pictures.iter().cloned().map(CameraEvent::AccessUnit));
    events.push_back(CameraEvent::EventEnded(EventEnd::Completed));
    let asked = Arc::new(AtomicUsize::new(0));
    let mut camera = Script {
        events,
        asked: Arc::clone(&asked),
    };
    gate.close();
    let (_keep, mut stop) = watch::channel(false);
    let mut recorder = Recorder::new(CameraNumber::FIRST, "door".into(), sealer.clone());
    let recording = tokio::spawn(async move { recorder.run(&mut camera, &mut stop).await });

    // The start, what flies, and one that waits for its turn: then the camera waits too.
    let limit = 1 + FLYING_MAX + 1;
    until("the back-pressure", || {
        asked.load(Ordering::Relaxed) == limit
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(asked.load(Ordering::Relaxed), limit);
    // Behind a sync that is not over: Commit, header and all fragments that fly are sealed.
    let (tell, sealed) = tokio::sync::oneshot::channel();
    let look = sealer.hand_over(move |core, _now| {
        let _gone = tell.send(core.status()?.lines[0].last.0);
        Ok(())
    });
    let mut look = look.await.unwrap();
    assert_eq!(sealed.await.unwrap(), before + 2 + FLYING_MAX as u64);
    // And nobody was told of any.
    assert_eq!(sealer.heads().borrow()[&line].last.0, before);
    assert!(thread.notices.try_recv().is_err());
    let answer = tokio::time::timeout(Duration::from_millis(20), look.answer());
    assert!(answer.await.is_err(), "answered before the sync");

    gate.open();
    recording.await.unwrap().unwrap();
    look.answer().await.unwrap();
    drop(sealer);
    let finished = finished(&mut thread).await;
    tokio::task::spawn_blocking(move || thread.join())
        .await
        .unwrap()
        .unwrap();
    let mut segmenter = Segmenter::new(track);
    let mut chunks = Vec::new();
    for unit in pictures {
        chunks.extend(segmenter.handle_unit(unit).unwrap());
    }
    chunks.extend(segmenter.finish());
    let mut hash = Sha256::new();
    chunks.iter().for_each(|chunk| hash.update(&chunk.data));
    let digest: [u8; 32] = hash.finalize().into();
    let whole: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].bytes, whole as u64);
    assert_eq!(finished[0].state, crate::core::ClipState::Complete);
    assert_eq!(finished[0].sha256, Some(digest));
    let crashed = disk.crash_clone(wal::disk::CrashPolicy::LoseAll, 1);
    let (journal, _) = opener(&crashed, 9_000)().unwrap();
    let stored = journal.hub_clips(line.pairing).unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].outcome, journal::ClipOutcome::Complete);
    assert_eq!(stored[0].sha256, Some(digest));
}

#[test]
fn the_pieces_of_a_fragment_stay_together() {
    let track = track();
    let mut segmenter = Segmenter::new(Arc::clone(&track));
    let mut chunks = Vec::new();
    for mut unit in units(&track, 3) {
        unit.data = Bytes::from(vec![1; 2 * journal::CHUNK_BYTES_MAX]);
        chunks.extend(segmenter.handle_unit(unit).unwrap());
    }
    let pieces = fragments_of(chunks);
    let counts: Vec<usize> = pieces.iter().map(Vec::len).collect();
    // The heads of a fragment take the third.
    assert_eq!(counts, [3, 3, 3]);
}

#[tokio::test]
async fn only_the_first_refusal_of_a_clip_says_why() {
    let (sealer, _thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
    let mut recorder = Recorder::new(CameraNumber::FIRST, "door".into(), sealer);
    let track = track();
    recorder.tracks = Some(Tracks::silent(Arc::clone(&track)));
    let open = || State::Open(Box::new(Segmenter::new(Arc::clone(&track))));

    recorder.state = open();
    for answer in [Stop::Space, Stop::NoClip] {
        recorder.judge(Ok(Recorded::Not(answer))).await.unwrap();
        assert!(matches!(recorder.state, State::Skip), "{answer:?}");
    }
    recorder.state = open();
    for answer in [Stop::NoClip, Stop::Space] {
        recorder.judge(Ok(Recorded::Not(answer))).await.unwrap();
        assert!(matches!(recorder.state, State::Restart(_)), "{answer:?}");
    }
    // A journal that is gone is never overheard.
    let dead = CoreError::Dead("as the test wants it".into());
    assert!(recorder.judge(Err(dead.into())).await.is_err());
}

#[test]
fn an_event_whose_beginning_is_not_known_is_recorded_all_the_same() {
    let after = |error: CoreError| after_begin(Err(error.into()), Tracks::silent(track()));
    for open in [
        CoreError::Reopened,
        CoreError::NotSynced("as the test wants it".into()),
    ] {
        assert!(matches!(after(open), Ok(State::Open(_))));
    }
    assert!(after(CoreError::Dead("as the test wants it".into())).is_err());
    let refused = after_begin(Ok(Recorded::Not(Stop::Space)), Tracks::silent(track()));
    assert!(matches!(refused, Ok(State::Skip)));
}

/// The owner's limit ends an event whole, whatever its camera still has of it; the next event is recorded.
#[tokio::test]
async fn an_event_ends_whole_at_the_limit_that_the_owner_has_set() {
    let mut world = World::paired();
    let settings = journal::message::Settings {
        privacy: false,
        event_seconds_max: Some(1),
        ..journal::message::Settings::default()
    };
    world.core.set(settings, NOW_MS).unwrap();
    world.core.commit(NOW_MS).unwrap();
    let (sealer, mut thread) = sealer::start(world.core, HandClock::default()).unwrap();
    let track = track();
    let mut events = VecDeque::new();
    for _ in 0..2 {
        events.push_back(CameraEvent::EventStarted(EventStart {
            tracks: Tracks::silent(Arc::clone(&track)),
            kind: EventKind::Plain,
            started_unix_ms: NOW_MS,
        }));
        events.extend(units(&track, 12).into_iter().map(CameraEvent::AccessUnit));
        events.push_back(CameraEvent::EventEnded(EventEnd::Completed));
    }
    let mut recorder = Recorder::new(CameraNumber::FIRST, "door".into(), sealer);
    play(&mut recorder, events).await;
    assert_eq!(recorder.completed(), 2);
    drop(recorder);
    let finished = finished(&mut thread).await;
    assert_eq!(finished.len(), 2);
    for clip in finished {
        assert_eq!(clip.state, crate::core::ClipState::Complete);
        // Five pictures of a fifth of a second, and what the container adds.
        assert!((25_000..30_000).contains(&clip.bytes), "{}", clip.bytes);
    }
}

/// A small computer's clock is set when its network comes, also in the middle of an event: by years, either way.
#[tokio::test]
async fn a_clock_that_is_set_neither_ends_an_event_nor_lets_it_go_on() {
    let year_ms = 365 * 24 * 3_600_000;
    for (limit_seconds, forwards, pictures) in [(60, true, 12), (1, false, 5)] {
        let mut world = World::paired();
        let settings = journal::message::Settings {
            privacy: false,
            event_seconds_max: Some(limit_seconds),
            ..journal::message::Settings::default()
        };
        world.core.set(settings, NOW_MS).unwrap();
        world.core.commit(NOW_MS).unwrap();
        let (sealer, mut thread) = sealer::start(world.core, HandClock::default()).unwrap();
        let track = track();
        let mut pictures_seen = units(&track, 12);
        for unit in &mut pictures_seen[3..] {
            unit.captured_unix_ms = match forwards {
                true => unit.captured_unix_ms + year_ms,
                false => unit.captured_unix_ms - year_ms,
            };
        }
        let mut events = VecDeque::from([CameraEvent::EventStarted(EventStart {
            tracks: Tracks::silent(Arc::clone(&track)),
            kind: EventKind::Plain,
            started_unix_ms: NOW_MS,
        })]);
        events.extend(pictures_seen.into_iter().map(CameraEvent::AccessUnit));
        events.push_back(CameraEvent::EventEnded(EventEnd::Completed));
        let mut recorder = Recorder::new(CameraNumber::FIRST, "door".into(), sealer);
        play(&mut recorder, events).await;
        drop(recorder);
        let finished = finished(&mut thread).await;
        assert_eq!(finished.len(), 1, "{forwards}");
        assert_eq!(finished[0].state, crate::core::ClipState::Complete);
        let bytes = pictures * 5_000;
        assert!(
            (bytes..bytes + 5_000).contains(&finished[0].bytes),
            "{forwards}: {}",
            finished[0].bytes
        );
    }
}

/// Privacy mode ends the clip and lets go of the camera: it is asked for nothing more.
#[tokio::test]
async fn privacy_mode_stops_asking_the_camera() {
    let mut world = World::paired();
    let private = journal::message::Settings {
        privacy: true,
        event_seconds_max: None,
        ..journal::message::Settings::default()
    };
    world.core.set(private, NOW_MS).unwrap();
    world.core.commit(NOW_MS).unwrap();
    let (sealer, _thread) = sealer::start(world.core, HandClock::default()).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let mut camera = Script {
        events: VecDeque::new(),
        asked: Arc::clone(&asked),
    };
    let (_keep, mut stop) = watch::channel(false);
    let mut recorder = Recorder::new(CameraNumber::FIRST, "door".into(), sealer);
    let over = recorder.run(&mut camera, &mut stop).await.unwrap();
    assert_eq!(over, Over::Private);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}
