//! A watcher whose eyes may look at key frames alone, of a camera that has one in ten seconds.

use super::*;

/// From one key frame to the next, in milliseconds.
const APART_MS: u64 = 10_000;

#[tokio::test]
async fn a_visit_that_one_key_frame_shows_is_one_event_and_has_its_beginning() {
    // It is shown at 20 s.
    let script = [
        (Shows::Nobody, 12),
        (Shows::Somebody, 10),
        (Shows::Nobody, 23),
    ];
    let mut items = items(&script);
    for item in &mut items {
        if let SourceItem::Video(unit) = item {
            unit.is_sync &= unit.captured_unix_ms.is_multiple_of(APART_MS);
        }
    }
    let mut items = items.into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &detection(SHORT));
    rig.play(items.by_ref().take(20)).await;
    // Once, a picture waits for longer than it may.
    let waits = items.next().unwrap();
    let now = Duration::from_millis(rig.now_ms);
    rig.watcher.handle_item(Ok(Some(waits)), now);
    rig.now_ms += 1_000;
    // Until behind the look at 30 s, at which nobody is there.
    rig.play(items.by_ref().take(289)).await;
    let mode = rig.told.lock().unwrap().last().unwrap().mode;
    assert_eq!(mode, Mode::KeyFramesOnly);
    assert_eq!(rig.letters(), "SJ", "it goes on until the next look");
    let (_, start) = rig.start();
    // Nobody had come at 10 s, and that look has its pre-roll.
    assert!(start.started_unix_ms < 10_000, "{start:?}");
    // All are tried again with the key frame at 40 s.
    rig.play(items).await;
    let mode = rig.told.lock().unwrap().last().unwrap().mode;
    assert_eq!(mode, Mode::EveryPicture);
    assert_eq!(rig.letters(), "SJE");
}
