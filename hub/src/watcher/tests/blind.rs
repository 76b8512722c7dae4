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
