//! A watcher whose pictures cannot be decoded, though its stream's parameters say nothing of it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::camera::sps::testing::INTERLACED;
use crate::camera::{AvcConfig, VideoCodec, WindowsConfig};
use crate::detector::BLIND_AFTER;

/// Pictures of nobody, so many seconds of them. The key frames of the first `broken` seconds cannot be decoded.
fn items_of(seconds: u64, broken: u64) -> Vec<SourceItem> {
    let mut items = items(&[(Shows::Nobody, seconds)]);
    for item in &mut items {
        if let SourceItem::Video(unit) = item
            && unit.is_sync
            && unit.captured_unix_ms < broken * 1_000
        {
            // Longer than it is.
            unit.data = Bytes::from_static(&[0, 0, 0, 9, 0x65, 7]);
        }
    }
    items
}

/// What is left of a stream when nobody has looked at it for long enough.
struct Rest(std::vec::IntoIter<SourceItem>);

impl Source for Rest {
    fn next_item(&mut self) -> NextItem<'_> {
        let item = self.0.next();
        Box::pin(std::future::ready(Ok(item)))
    }
}

#[tokio::test]
async fn where_no_key_frame_can_be_decoded_for_a_while_events_go_by_the_clock() {
    let mut items = items_of(34, 34).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &detection(SHORT));
    rig.play(items.by_ref().take(290)).await;
    assert!(!rig.watcher.is_blind(), "29 s are no reason");
    rig.play(items.by_ref().take(30)).await;
    assert!(rig.watcher.is_blind());
    assert!(rig.events.is_empty(), "{}", rig.letters());

    rig.watcher.source = Box::new(Rest(items.collect::<Vec<_>>().into_iter()));
    let reports = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&reports);
    let looked_at = rig
        .watcher
        .tracks
        .as_ref()
        .map(|tracks| Arc::clone(&tracks.video));
    let report = move |video| {
        assert_eq!(video, looked_at);
        count.fetch_add(1, Ordering::SeqCst);
        Duration::MAX
    };
    let windows = WindowsConfig {
        event: Duration::from_secs(30),
        gap: Duration::ZERO,
    };
    let mut camera = WatchedOrTimed::new(rig.watcher, windows, report);
    let Some(CameraEvent::EventStarted(start)) = camera.next_event().await else {
        panic!("it is recorded");
    };
    assert_eq!(start.kind, EventKind::Plain, "nobody is notified");
    // The key frame that was next, and all that follow it.
    let (mut pictures, mut ended) = (0, None);
    while let Some(event) = camera.next_event().await {
        match event {
            CameraEvent::AccessUnit(unit) => {
                assert!(unit.is_sync || pictures > 0);
                pictures += 1;
            }
            CameraEvent::EventEnded(end) => ended = Some(end),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((pictures, ended), (20, Some(EventEnd::Completed)));
    assert_eq!(reports.load(Ordering::SeqCst), 1, "it is said once");
    assert!(camera.held() >= BLIND_AFTER, "{:?}", camera.held());
}

/// What comes by the clock, and then nothing for a while.
struct Pausing(std::vec::IntoIter<SourceItem>);

impl Source for Pausing {
    fn next_item(&mut self) -> NextItem<'_> {
        match self.0.next() {
            Some(item) => Box::pin(std::future::ready(Ok(Some(item)))),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// A camera on a good network stays connected for months. The same of one that was opened again within the hour.
#[tokio::test]
async fn an_hour_later_what_moves_makes_events_again_behind_the_one_by_the_clock() {
    const HOUR: Duration = Duration::from_secs(3_600);
    for is_opened_again in [false, true] {
        let mut broken = items_of(34, 34).into_iter();
        let mut rig = Rig::new(broken.next().unwrap(), &detection(SHORT));
        let half_a_minute = broken.by_ref().take(320);
        match is_opened_again {
            true => half_a_minute.for_each(drop),
            false => rig.play(half_a_minute).await,
        }
        assert_eq!(rig.watcher.is_blind(), !is_opened_again);
        // A group of pictures, and the key frame of the next one.
        let group: Vec<SourceItem> = broken.take(11).collect();
        rig.watcher.source = Box::new(Pausing(group.into_iter()));
        let now = Duration::from_millis(rig.now_ms);
        let windows = WindowsConfig {
            event: Duration::from_secs(30),
            gap: Duration::ZERO,
        };
        let camera = WatchedOrTimed::new(rig.watcher, windows, move |_video| now + HOUR);
        let mut camera = match is_opened_again {
            true => camera.blind_until(now + HOUR),
            false => camera,
        };
        let event = camera.next_event().await;
        assert!(
            matches!(&event, Some(CameraEvent::EventStarted(start)) if start.kind == EventKind::Plain),
            "{event:?}"
        );
        for _ in 0..10 {
            let event = camera.next_event().await;
            assert!(
                matches!(event, Some(CameraEvent::AccessUnit(_))),
                "{event:?}"
            );
        }
        let later = now + HOUR + Duration::from_secs(1);
        rig.clock.set(later);
        let event = camera.next_event().await;
        assert_eq!(event, Some(CameraEvent::EventEnded(EventEnd::Completed)));
        let moment = Duration::from_millis(20);
        let silent = tokio::time::timeout(moment, camera.next_event()).await;
        assert!(silent.is_err(), "another event by the clock");
        assert!(is_opened_again || camera.held() >= BLIND_AFTER);

        rig.watcher = camera.into_watcher().expect("somebody looks");
        rig.now_ms = later.as_millis() as u64;
        rig.play(items(&VISIT).into_iter().skip(1)).await;
        assert_eq!(rig.letters(), "SJE", "{is_opened_again}");
        assert!(!rig.watcher.is_blind());
    }
}

#[tokio::test]
async fn a_key_frame_that_can_be_decoded_again_leaves_the_events_to_what_moves() {
    let mut items = items_of(34, 25).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &detection(SHORT));
    rig.play(items).await;
    assert!(!rig.watcher.is_blind());
    let told = rig.told.lock().unwrap();
    assert!(told.last().unwrap().undecodable >= 20, "{told:?}");
}

/// A change of the camera's settings, while somebody looks.
#[tokio::test]
async fn a_stream_that_goes_on_in_fields_has_failed() {
    let mut items = items_of(1, 0).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &detection(SHORT));
    rig.play(items).await;
    let mut tracks = rig.watcher.tracks.clone().unwrap();
    let mut video = (*tracks.video).clone();
    video.codec = VideoCodec::H264(AvcConfig::of_sets(&INTERLACED, &[0x68, 9]).unwrap());
    tracks.video = Arc::new(video);
    rig.step(Ok(Some(SourceItem::Format(tracks)))).await;
    let [(_, CameraEvent::Trouble(error))] = &rig.events[..] else {
        panic!("{}", rig.letters());
    };
    assert!(error.to_string().ends_with("interlaced H.264"), "{error}");
}
