//! Events that a source's items make, by a clock that the test sets.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::*;
use crate::camera::clock::Sleep;
use crate::camera::{AvcConfig, NextItem, VideoCodec, VideoTrack};
use crate::media::{AudioUnit, Tracks};

/// A clock of seconds, set by the source.
#[derive(Clone, Default)]
struct Seconds(Arc<AtomicU64>);

impl Clock for Seconds {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn unix_ms(&self) -> u64 {
        0
    }

    fn sleep_until(&self, _at: Duration) -> Sleep<'_> {
        Box::pin(std::future::ready(()))
    }
}

/// Items with the second at which each comes.
struct Script {
    items: std::vec::IntoIter<(u64, Result<Option<SourceItem>, CameraError>)>,
    clock: Seconds,
}

impl Source for Script {
    fn next_item(&mut self) -> NextItem<'_> {
        let (second, item) = self.items.next().expect("it is not asked after its end");
        self.clock.0.store(second, Ordering::Relaxed);
        Box::pin(std::future::ready(item))
    }
}

fn format(width: u16) -> SourceItem {
    let record = [
        1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
    ];
    SourceItem::Format(Tracks {
        video: Arc::new(VideoTrack {
            timescale: NonZeroU32::new(1).unwrap(),
            width: NonZeroU16::new(width).unwrap(),
            height: NonZeroU16::new(64).unwrap(),
            codec: VideoCodec::H264(AvcConfig::parse(&record).unwrap()),
        }),
        audio: None,
    })
}

fn picture(dts: u64, is_sync: bool) -> SourceItem {
    SourceItem::Video(AccessUnit {
        data: Bytes::from_static(b"x"),
        dts,
        composition_offset: 0,
        duration: None,
        is_sync,
        captured_unix_ms: dts,
    })
}

fn failed() -> CameraError {
    CameraError::Closed {
        camera: "cam".into(),
    }
}

/// `S`tart with the width, picture times (key frames with `!`), `E`nd, `C`ut off, `T`rouble.
async fn run(items: Vec<(u64, Result<Option<SourceItem>, CameraError>)>) -> (String, Duration) {
    run_as(items, |windows| windows).await
}

/// The same of a camera that is more than that.
async fn run_as(
    items: Vec<(u64, Result<Option<SourceItem>, CameraError>)>,
    more: impl FnOnce(Windows<Seconds>) -> Windows<Seconds>,
) -> (String, Duration) {
    let clock = Seconds::default();
    let script = Script {
        items: items.into_iter(),
        clock: clock.clone(),
    };
    let config = WindowsConfig {
        event: Duration::from_secs(4),
        gap: Duration::from_secs(3),
    };
    let mut windows = more(Windows::new(Box::new(script), config, clock));
    let mut words = Vec::new();
    while let Some(event) = windows.next_event().await {
        words.push(match event {
            CameraEvent::EventStarted(start) => format!("S{}", start.tracks.video.width),
            CameraEvent::AccessUnit(unit) if unit.is_sync => format!("{}!", unit.dts),
            CameraEvent::AccessUnit(unit) => unit.dts.to_string(),
            CameraEvent::EventEnded(EventEnd::Completed) => "E".into(),
            CameraEvent::EventEnded(EventEnd::CutOff) => "C".into(),
            CameraEvent::Trouble(_) => "T".into(),
            CameraEvent::Sound(unit) => format!("a{}", unit.pts),
            CameraEvent::Thumbnail(_) => "J".into(),
            CameraEvent::Person(_) => "P".into(),
        });
    }
    assert!(windows.next_event().await.is_none(), "it stays over");
    (words.join(" "), windows.held())
}

/// A picture a second, every second one a key frame.
fn pictures(seconds: std::ops::Range<u64>) -> Vec<(u64, Result<Option<SourceItem>, CameraError>)> {
    seconds
        .map(|second| (second, Ok(Some(picture(second, second.is_multiple_of(2))))))
        .collect()
}

#[tokio::test]
async fn events_last_their_time_and_begin_and_end_with_key_frames() {
    let mut items = vec![(0, Ok(Some(format(64))))];
    items.extend(pictures(1..13));
    items.push((13, Ok(None)));
    let (words, held) = run(items).await;
    // From 2 s on; over at 6 s; the gap ends at 9 s, and the next key frame comes at 10 s.
    assert_eq!(words, "S64 2! 3 4! 5 E S64 10! 11 12! E");
    assert_eq!(held, Duration::from_secs(11));
}

/// One at the beginning is all that some cameras send: no clip of theirs is without end.
#[tokio::test]
async fn an_event_to_which_no_key_frame_comes_is_cut_between_two_others() {
    let mut items = vec![(0, Ok(Some(format(64))))];
    items.push((0, Ok(Some(picture(0, true)))));
    items.extend((1..40).map(|second| (second, Ok(Some(picture(second, second == 30))))));
    items.push((40, Ok(None)));
    let (words, _held) = run(items).await;
    // It should end at 4 s, and a key frame is waited for until 14 s.
    let first = (1..14).map(|second| second.to_string());
    let first = first.collect::<Vec<_>>().join(" ");
    let second = (31..40).map(|second| second.to_string());
    let second = second.collect::<Vec<_>>().join(" ");
    assert_eq!(words, format!("S64 0! {first} E S64 30! {second} E"));
}

#[tokio::test]
async fn sound_within_an_event_belongs_to_it() {
    let sound = |pts| {
        Ok(Some(SourceItem::Audio(AudioUnit {
            data: Bytes::from_static(b"x"),
            pts,
            duration: 1,
            captured_unix_ms: 0,
        })))
    };
    let items = vec![
        (0, Ok(Some(format(64)))),
        (0, sound(7)),
        (0, Ok(Some(picture(0, true)))),
        (1, sound(8)),
        (2, Ok(None)),
    ];
    assert_eq!(run(items).await.0, "S64 0! a8 E");
}

#[tokio::test]
async fn another_format_is_another_event_at_once() {
    let mut items = vec![(0, Ok(Some(format(64))))];
    items.extend(pictures(0..2));
    items.push((2, Ok(Some(format(128)))));
    items.extend(pictures(2..4));
    items.push((4, Ok(None)));
    assert_eq!(run(items).await.0, "S64 0! 1 E S128 2! 3 E");
}

/// Somebody else looks at them from then on.
#[tokio::test]
async fn where_pictures_could_not_be_decoded_others_that_can_end_the_makeshift() {
    let mut items = vec![(0, Ok(Some(format(64))))];
    items.extend(pictures(0..2));
    items.push((2, Ok(Some(format(64)))));
    items.extend(pictures(2..4));
    items.push((4, Ok(Some(format(128)))));
    let makeshift = |windows: Windows<Seconds>| windows.until_decodable("door".into());
    assert_eq!(run_as(items, makeshift).await.0, "S64 0! 1 2! 3 T C");
}

#[tokio::test]
async fn a_makeshift_whose_time_is_over_ends_behind_its_event() {
    // Amid the event from 0 s to 4 s, and in the gap behind it.
    for until in [2, 6] {
        let mut items = vec![(0, Ok(Some(format(64))))];
        items.extend(pictures(0..12));
        let makeshift = |windows: Windows<Seconds>| {
            let windows = windows.until_decodable("door".into());
            windows.no_longer_than(Duration::from_secs(until))
        };
        let words = run_as(items, makeshift).await.0;
        assert_eq!(words, "S64 0! 1 2! 3 E", "{until}");
    }
}

#[tokio::test]
async fn a_source_that_fails_cuts_its_event_off() {
    let mut items = vec![(0, Ok(Some(format(64))))];
    items.extend(pictures(0..2));
    items.push((2, Err(failed())));
    assert_eq!(run(items).await.0, "S64 0! 1 T C");
    assert_eq!(run(vec![(0, Err(failed()))]).await.0, "T");
}
