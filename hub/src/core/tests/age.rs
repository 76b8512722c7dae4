//! Clips that no phone has got go when they are old, by the time in which the hub has run and by no date.

use journal::ids::Channel;
use journal::message::{DropReason, NoticeKind, Settings};
use journal::{AppClipState, Taken};

use super::super::*;
use super::world::{NOW_MS, World};
use crate::camera::EventEnd;

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

fn days(days: u32) -> Settings {
    Settings {
        clip_days_max: Some(days),
        ..Settings::default()
    }
}

/// So many hours pass; the hub looks what is to be done once in each.
fn pass(world: &mut World, hours: u32) {
    for _ in 0..hours {
        for _minute in 0..60 {
            let passed = Duration::from_secs(60);
            world.core.handle_elapsed(passed, NOW_MS).unwrap();
        }
        world.core.handle_timeout(NOW_MS).unwrap();
        world.core.commit(NOW_MS).unwrap();
    }
}

fn record(world: &mut World) {
    let _bytes = world.record_some(2);
    world.end_event(EventEnd::Completed);
}

/// How many clips went for their age, of what was said since the last look.
fn aged(world: &mut World) -> usize {
    let is_it = |notice: &Notice| {
        matches!(
            notice,
            Notice::ClipDropped {
                reason: DropReason::Age,
                ..
            }
        )
    };
    world
        .notices()
        .iter()
        .filter(|notice| is_it(notice))
        .count()
}

#[test]
fn a_clip_goes_when_it_has_waited_for_the_days_that_are_set_and_the_phone_is_told() {
    let mut world = World::paired();
    world.core.set(days(1), NOW_MS).unwrap();
    record(&mut world);
    pass(&mut world, 12);
    record(&mut world);
    pass(&mut world, 11);
    assert_eq!(aged(&mut world), 0, "the oldest is less than a day old");
    // A clock that jumps makes nothing older.
    for now_ms in [NOW_MS + YEAR_MS, 0] {
        world.core.handle_timeout(now_ms).unwrap();
        world.core.commit(now_ms).unwrap();
    }
    assert_eq!(aged(&mut world), 0);
    // What is being recorded stays whatever goes beside it.
    let _open = world.record_some(1);
    pass(&mut world, 3);
    assert_eq!(aged(&mut world), 1);
    assert!(world.core.is_recording());
    let words: Vec<ClipState> = world
        .core
        .status()
        .unwrap()
        .clips
        .iter()
        .map(|c| c.state)
        .collect();
    assert_eq!(
        words,
        [
            ClipState::Dropped,
            ClipState::Complete,
            ClipState::Recording
        ]
    );
    // No alarm: nothing is full.
    let said = world.fetch_on(Channel::Notification).into_iter();
    let full = |taken: &Taken| matches!(taken, Taken::Notified(notice) if notice.kind == NoticeKind::StorageFull);
    assert_eq!(said.filter(full).count(), 0);

    // What was counted outlasts the process, but for an hour.
    world.crash();
    pass(&mut world, 9);
    assert_eq!(aged(&mut world), 0);
    pass(&mut world, 4);
    assert_eq!(aged(&mut world), 1);
    world.deliver();
    let states: Vec<AppClipState> = world.app_clips().iter().map(|clip| clip.0).collect();
    let gone = AppClipState::Dropped(DropReason::Age);
    assert_eq!(states, [gone, gone, AppClipState::CutOff]);
    // What the phone has is no longer the hub's to keep.
    world.ack();
    pass(&mut world, 26);
    assert_eq!(aged(&mut world), 0);
}

#[test]
fn a_phone_sets_the_days_over_the_configuration_and_gives_them_back() {
    let mut world = World::paired();
    assert_eq!(world.core.status().unwrap().clip_days_max, None);
    world.core.set_clip_days(Some(3));
    assert_eq!(world.core.status().unwrap().clip_days_max, Some(3));
    let (core, phone) = world.ends();
    for (wanted, holds) in [(days(9), 9), (Settings::default(), 3)] {
        phone.set(wanted);
        let _taken = phone.talk(core);
        assert_eq!(core.status().unwrap().clip_days_max, Some(holds));
    }
    // No fewer than one, and not for ever.
    for bad in [0, 3_651] {
        phone.set(days(bad));
        let _taken = phone.talk(core);
        let book = phone.book();
        let refused = &book.done.last().unwrap().result;
        let out = journal::message::Refusal::OutOfRange;
        assert_eq!(*refused, journal::message::CommandResult::Refused(out));
    }
    assert_eq!(core.status().unwrap().clip_days_max, Some(3));
}

/// Days that are set when a clip has waited for long count from its beginning, not from then on.
#[test]
fn days_that_are_set_later_find_what_has_waited_before() {
    let mut world = World::paired();
    record(&mut world);
    pass(&mut world, 48);
    assert_eq!(aged(&mut world), 0, "nobody has set anything");
    world.core.set(days(1), NOW_MS).unwrap();
    pass(&mut world, 1);
    assert_eq!(aged(&mut world), 1);
}
