//! The event machine: by example, and by whatever a camera may do.

mod sparse;

use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::camera::{AccessUnit, AvcConfig, VideoCodec, VideoTrack};
use crate::media::{AacConfig, AudioTrack, AudioUnit};

/// Ten pictures a second, each tenth a key frame.
const PICTURE: Duration = Duration::from_millis(100);
const GROUP: u64 = 10;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tracks(width: u16) -> Tracks {
    let record = [
        1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
    ];
    Tracks {
        video: Arc::new(VideoTrack {
            timescale: NonZeroU32::new(90_000).unwrap(),
            width: NonZeroU16::new(width).unwrap(),
            height: NonZeroU16::new(48).unwrap(),
            codec: VideoCodec::H264(AvcConfig::parse(&record).unwrap()),
        }),
        audio: Some(Arc::new(AudioTrack {
            timescale: NonZeroU32::new(8_000).unwrap(),
            channels: NonZeroU8::MIN,
            config: AacConfig::new(&[0x15, 0x88]).unwrap(),
        })),
    }
}

/// A picture whose decode time is its number.
fn picture(number: u64, is_sync: bool, bytes: usize) -> MediaUnit {
    MediaUnit::Video(AccessUnit {
        data: Bytes::from(vec![0; bytes]),
        dts: number,
        composition_offset: 0,
        duration: None,
        is_sync,
        captured_unix_ms: 1_000 + number,
    })
}

fn sound(number: u64) -> MediaUnit {
    MediaUnit::Audio(AudioUnit {
        data: Bytes::from_static(&[1]),
        pts: number,
        duration: 1024,
        captured_unix_ms: 1_000 + number,
    })
}

fn number(unit: &MediaUnit) -> u64 {
    match unit {
        MediaUnit::Video(unit) => unit.dts,
        MediaUnit::Audio(unit) => unit.pts,
    }
}

fn noon() -> MinuteOfDay {
    MinuteOfDay::new(720).unwrap()
}

fn sighting(scene: Scene, score: u16) -> Sighting {
    Sighting {
        scene,
        score,
        local: noon(),
    }
}

fn no_cool_down() -> EventValues {
    EventValues {
        cool_down_seconds: 0.0,
        ..EventValues::default()
    }
}

/// What became of one event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    units: Vec<u64>,
    kept: usize,
    sent: usize,
    end: Option<(EndReason, Duration)>,
}

/// A camera, a detector and a clip writer.
struct Rig {
    machine: EventMachine,
    now: Duration,
    next: u64,
    told: Vec<Told>,
}

impl Rig {
    fn new(values: EventValues) -> Self {
        let mut machine = EventMachine::new(EventSettings::new(values).unwrap());
        machine.handle_tracks(tracks(64), seconds(100));
        Self {
            machine,
            now: seconds(100),
            next: 0,
            told: Vec::new(),
        }
    }

    /// The stream for so long; something moves in it or does not, and is looked at in every picture.
    fn run(&mut self, time: Duration, scene: Scene) {
        let end = self.now + time;
        while self.now < end {
            self.now += PICTURE;
            let unit = picture(self.next, self.next.is_multiple_of(GROUP), 100);
            self.next += 1;
            self.machine.handle_unit(unit, self.now);
            self.machine.handle_sighting(sighting(scene, 5), self.now);
            self.take();
        }
    }

    fn take(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            if let Effect::Begin(begin) = effect {
                assert_eq!(begin.number.0, self.told.len() as u64 + 1);
                assert_eq!(begin.started_unix_ms, begin.units[0].captured_unix_ms());
                self.told.push(Told {
                    units: begin.units.iter().map(number).collect(),
                    ..Told::default()
                });
                continue;
            }
            let told = self.told.last_mut().expect("an event began");
            assert_eq!(told.end, None);
            match effect {
                Effect::Append(unit) => told.units.push(number(&unit)),
                Effect::KeepPicture(_) => told.kept += 1,
                Effect::SendPicture(_) => told.sent += 1,
                Effect::End { reason, .. } => told.end = Some((reason, self.now)),
                Effect::Begin(_) => {}
            }
        }
    }

    fn ends(&self) -> Vec<Option<EndReason>> {
        let reason = |told: &Told| told.end.map(|(reason, _)| reason);
        self.told.iter().map(reason).collect()
    }
}

#[test]
fn an_event_has_its_pre_roll_and_its_post_roll_and_no_gap() {
    let mut rig = Rig::new(EventValues::default());
    rig.run(seconds(20), Scene::Still);
    assert!(rig.told.is_empty());
    let motion_at = rig.next;
    rig.run(seconds(3), Scene::Moving);
    let last_motion = rig.now;
    rig.run(seconds(20), Scene::Still);
    let [told] = &rig.told[..] else {
        panic!("{:?}", rig.told);
    };
    let first = told.units[0];
    assert!(first.is_multiple_of(GROUP));
    assert!((50..50 + GROUP).contains(&(motion_at - first)), "{first}");
    let want: Vec<u64> = (first..first + told.units.len() as u64).collect();
    assert_eq!(told.units, want);
    assert_eq!(
        told.end,
        Some((EndReason::MotionOver, last_motion + seconds(5)))
    );
}

#[test]
fn motion_within_the_post_roll_is_the_same_event_and_later_motion_another() {
    for (pause, want) in [(4, 1), (6, 2)] {
        let mut rig = Rig::new(no_cool_down());
        rig.run(seconds(10), Scene::Still);
        rig.run(seconds(1), Scene::Moving);
        rig.run(seconds(pause), Scene::Still);
        rig.run(seconds(1), Scene::Moving);
        rig.run(seconds(10), Scene::Still);
        assert_eq!(rig.ends(), vec![Some(EndReason::MotionOver); want]);
        // The second has what was not told yet, and at most the newest group twice.
        if let [first, second] = &rig.told[..] {
            let (last, next) = (first.units[first.units.len() - 1], second.units[0]);
            assert!(next > last || last - next < GROUP, "{last} {next}");
        }
    }
}

#[test]
fn a_long_event_is_divided_at_a_key_frame_without_loss() {
    let mut rig = Rig::new(EventValues {
        at_most_seconds: 10.0,
        ..no_cool_down()
    });
    rig.run(seconds(10), Scene::Still);
    rig.run(seconds(31), Scene::Moving);
    assert!(rig.told.len() >= 3);
    for pair in rig.told.windows(2) {
        let [first, second] = pair else {
            panic!("two");
        };
        assert_eq!(
            first.end.map(|(reason, _)| reason),
            Some(EndReason::LengthLimit)
        );
        assert_eq!(second.units[0], first.units[first.units.len() - 1] + 1);
        assert!(second.units[0].is_multiple_of(GROUP));
    }
}

#[test]
fn a_camera_without_key_frames_is_cut_all_the_same() {
    let mut rig = Rig::new(EventValues {
        at_most_seconds: 10.0,
        ..no_cool_down()
    });
    rig.run(PICTURE, Scene::Moving);
    let began = rig.now;
    while rig.told[0].end.is_none() {
        rig.now += PICTURE;
        rig.machine
            .handle_unit(picture(rig.next, false, 10), rig.now);
        rig.next += 1;
        rig.machine
            .handle_sighting(sighting(Scene::Moving, 1), rig.now);
        rig.take();
    }
    let want = began + seconds(10) + KEY_FRAME_WAIT;
    assert_eq!(rig.told[0].end, Some((EndReason::LengthLimit, want)));
}

#[test]
fn after_an_event_none_begins_for_the_cool_down() {
    let mut rig = Rig::new(EventValues {
        cool_down_seconds: 20.0,
        ..EventValues::default()
    });
    rig.run(seconds(1), Scene::Moving);
    rig.run(seconds(6), Scene::Still);
    assert_eq!(rig.ends(), [Some(EndReason::MotionOver)]);
    let (_, ended) = rig.told[0].end.unwrap();
    while rig.told.len() == 1 {
        rig.run(PICTURE, Scene::Moving);
    }
    assert_eq!(rig.now, ended + seconds(20));
}

/// An hour by mistake, corrected by a phone: it holds no longer than the mistake does.
#[test]
fn a_cool_down_that_is_set_anew_holds_for_the_one_under_way() {
    for (corrected, waits) in [(0.0, 0), (10.0, 10), (20.0, 20)] {
        let mut rig = Rig::new(EventValues {
            cool_down_seconds: 3600.0,
            ..EventValues::default()
        });
        rig.run(seconds(1), Scene::Moving);
        rig.run(seconds(6), Scene::Still);
        let (_, ended) = rig.told[0].end.unwrap();
        rig.run(seconds(1), Scene::Moving);
        assert_eq!(rig.told.len(), 1);
        let settings = EventSettings::new(EventValues {
            cool_down_seconds: corrected,
            ..EventValues::default()
        });
        rig.machine.handle_settings(settings.unwrap(), rig.now);
        let set_at = rig.now;
        while rig.told.len() == 1 {
            rig.run(PICTURE, Scene::Moving);
        }
        assert_eq!(rig.now, (set_at + PICTURE).max(ended + seconds(waits)));
    }
}

/// The largest picture is larger than the smallest ring: there is no pre-roll, and an event all the same.
#[test]
fn a_key_frame_that_is_larger_than_the_ring_begins_an_event() {
    let mut rig = Rig::new(EventValues {
        ring_bytes_max: RING_BYTES.0,
        ..EventValues::default()
    });
    for number in 0..30 {
        rig.now += PICTURE;
        let is_sync = number % GROUP == 0;
        let bytes = if is_sync { 2 * RING_BYTES.0 } else { 100 };
        rig.machine
            .handle_unit(picture(number, is_sync, bytes), rig.now);
        rig.machine
            .handle_sighting(sighting(Scene::Moving, 5), rig.now);
        rig.take();
    }
    let [told] = &rig.told[..] else {
        panic!("{:?}", rig.told);
    };
    assert_eq!(told.units, (0..30).collect::<Vec<u64>>());
}

#[test]
fn in_quiet_hours_none_begins_and_one_that_runs_goes_on() {
    let values = EventValues {
        quiet: Some("12:00-13:00".parse().unwrap()),
        ..EventValues::default()
    };
    let mut rig = Rig::new(values);
    rig.run(seconds(10), Scene::Moving);
    assert!(rig.told.is_empty());
    let before = Sighting {
        local: MinuteOfDay::new(719).unwrap(),
        ..sighting(Scene::Moving, 5)
    };
    rig.machine.handle_sighting(before, rig.now);
    rig.run(seconds(20), Scene::Moving);
    assert_eq!(rig.ends(), [None::<EndReason>]);
}

#[test]
fn motion_without_a_key_frame_waits_for_one() {
    let mut rig = Rig::new(EventValues::default());
    rig.next = 1;
    rig.run(PICTURE * 9, Scene::Moving);
    assert!(rig.told.is_empty());
    rig.run(PICTURE * 3, Scene::Moving);
    assert_eq!(rig.told[0].units, [10, 11, 12]);
    assert_eq!(rig.told[0].kept, 1);

    // But not for longer than a post-roll.
    let mut rig = Rig::new(EventValues::default());
    rig.next = 1;
    rig.run(PICTURE, Scene::Moving);
    rig.now += seconds(6);
    rig.next = 10;
    rig.run(seconds(1), Scene::Still);
    assert!(rig.told.is_empty());
}

#[test]
fn the_ring_keeps_to_its_bytes_and_a_group_that_is_too_large_is_given_up_whole() {
    let mut rig = Rig::new(EventValues {
        ring_bytes_max: RING_BYTES.0,
        ..EventValues::default()
    });
    for index in 0..40 {
        rig.now += PICTURE;
        let unit = picture(index, index == 0 || index == 35, 100_000);
        rig.machine.handle_unit(unit, rig.now);
        assert!(rig.machine.ring_bytes() <= RING_BYTES.0);
    }
    rig.machine
        .handle_sighting(sighting(Scene::Moving, 1), rig.now);
    rig.take();
    assert_eq!(rig.told[0].units, [35, 36, 37, 38, 39]);
}

/// Who was seen while detection was on is not told of once a phone has turned it off.
#[test]
fn what_waits_for_a_key_frame_is_forgotten_where_nobody_looks_any_more() {
    for is_off in [true, false] {
        let mut rig = Rig::new(EventValues {
            ring_bytes_max: RING_BYTES.0,
            ..EventValues::default()
        });
        for index in 0..20_u64 {
            rig.now += PICTURE;
            rig.machine
                .handle_unit(picture(index, index == 0, 100_000), rig.now);
        }
        assert!(rig.machine.is_ring_too_small());
        rig.machine
            .handle_sighting(sighting(Scene::Moving, 1), rig.now);
        if is_off {
            rig.machine.handle_blindfold();
        }
        rig.now += PICTURE;
        rig.machine.handle_unit(picture(20, true, 100_000), rig.now);
        rig.take();
        assert_eq!(rig.told.is_empty(), is_off);
    }
}

/// Five seconds from one key frame to the next, of which the ring holds one: it gives them up, and whoever walks by then
/// is told and shown all the same, as far as there is anything to begin with.
#[test]
fn what_moves_while_the_ring_has_nothing_is_told_with_the_next_key_frame() {
    for (is_long, told) in [(true, 1), (false, 0)] {
        let mut rig = Rig::new(EventValues {
            ring_bytes_max: RING_BYTES.0,
            post_roll_seconds: 1.0,
            ..EventValues::default()
        });
        let group = |rig: &mut Rig, bytes: usize, moving: std::ops::Range<u64>| {
            for index in 0..50_u64 {
                rig.now += PICTURE;
                // Without one at its beginning there is nothing either, and no ring is to blame.
                let is_sync = index == 0 && (is_long || rig.next > 0);
                rig.machine
                    .handle_unit(picture(rig.next, is_sync, bytes), rig.now);
                rig.next += 1;
                let scene = match moving.contains(&index) {
                    true => Scene::Moving,
                    false => Scene::Still,
                };
                rig.machine.handle_sighting(sighting(scene, 1), rig.now);
                rig.take();
            }
        };
        let bytes = if is_long { 100_000 } else { 100 };
        group(&mut rig, bytes, 20..25);
        assert_eq!(rig.machine.is_ring_too_small(), is_long);
        assert!(rig.told.is_empty());
        let began = rig.next;
        group(&mut rig, bytes, 0..0);
        assert_eq!(rig.told.len(), told);
        if let [event] = &rig.told[..] {
            let post_roll = began + 10;
            assert_eq!(event.units, (began..post_roll).collect::<Vec<u64>>());
            assert_eq!(rig.ends(), [Some(EndReason::MotionOver)]);
        }
        // Key frames come closer again: one whole group shows it.
        group(&mut rig, 100, 0..0);
        assert_eq!(rig.machine.is_ring_too_small(), is_long);
        group(&mut rig, 100, 0..0);
        assert!(!rig.machine.is_ring_too_small());
    }
}

#[test]
fn the_picture_is_the_best_of_the_first_moments_and_sent_once() {
    let mut rig = Rig::new(EventValues::default());
    rig.run(seconds(1), Scene::Still);
    let began = rig.now;
    // (milliseconds after the first, score, pictures kept until then, pictures sent until then)
    let table = [
        (0, 5, 1, 0),
        (100, 4, 1, 0),
        (200, 9, 2, 0),
        (299, 9, 2, 0),
        (300, 50, 2, 1),
        (900, 99, 2, 1),
    ];
    for (after, score, kept, sent) in table {
        rig.now = began + Duration::from_millis(after);
        rig.machine
            .handle_sighting(sighting(Scene::Moving, score), rig.now);
        rig.take();
        let told = &rig.told[0];
        assert_eq!((told.kept, told.sent), (kept, sent), "{after} ms");
    }
}

#[test]
fn the_time_to_be_called_again_is_when_something_is_due() {
    let mut rig = Rig::new(EventValues::default());
    assert_eq!(rig.machine.poll_timeout(), None);
    rig.run(seconds(1), Scene::Still);
    rig.run(PICTURE, Scene::Moving);
    let began = rig.now;
    for (want, sent, is_over) in [
        (began + PICTURE_WAIT, 1, false),
        (began + seconds(5), 1, true),
    ] {
        assert_eq!(rig.machine.poll_timeout(), Some(want));
        rig.now = want;
        rig.machine.handle_timeout(want);
        rig.take();
        assert_eq!(rig.told[0].sent, sent);
        assert_eq!(rig.told[0].end.is_some(), is_over);
    }
    assert_eq!(rig.machine.poll_timeout(), None);
}

#[test]
fn a_stream_that_ends_or_changes_ends_its_event_and_empties_the_ring() {
    type Change = fn(&mut EventMachine, Duration);
    let table: [(Change, EndReason, EventEnd); 3] = [
        (
            |machine, now| machine.handle_tracks(tracks(128), now),
            EndReason::TracksChanged,
            EventEnd::Completed,
        ),
        (
            EventMachine::handle_lost,
            EndReason::CameraLost,
            EventEnd::CutOff,
        ),
        (
            EventMachine::handle_stop,
            EndReason::Stopped,
            EventEnd::CutOff,
        ),
    ];
    for (change, reason, end) in table {
        let mut rig = Rig::new(EventValues::default());
        rig.run(seconds(3), Scene::Moving);
        change(&mut rig.machine, rig.now);
        rig.take();
        assert_eq!(rig.ends(), [Some(reason)]);
        assert_eq!((rig.told[0].sent, reason.event_end()), (1, end));
        assert_eq!((rig.machine.ring_bytes(), rig.machine.running()), (0, None));
        // A new stream is recorded at once, from its first key frame on.
        rig.machine.handle_tracks(tracks(64), rig.now);
        rig.next = 1000;
        rig.run(seconds(1), Scene::Moving);
        assert_eq!(rig.told[1].units[0], 1000);
    }
}

#[test]
fn sound_goes_with_the_pictures_among_which_it_came() {
    let mut rig = Rig::new(EventValues::default());
    for (index, unit) in [
        sound(0),
        picture(1, true, 10),
        sound(2),
        picture(3, false, 10),
    ]
    .into_iter()
    .enumerate()
    {
        let now = rig.now + PICTURE * index as u32;
        rig.machine.handle_unit(unit, now);
    }
    rig.now += seconds(1);
    rig.machine
        .handle_sighting(sighting(Scene::Moving, 1), rig.now);
    rig.machine.handle_unit(sound(4), rig.now);
    rig.take();
    assert_eq!(rig.told[0].units, [1, 2, 3, 4]);
}

/// What may happen to a machine.
#[derive(Debug, Clone)]
enum Step {
    Picture { is_sync: bool, bytes: usize },
    Sound,
    Sighting { scene: Scene, score: u16 },
    Timeout,
    Tracks,
    Lost,
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let step = prop_oneof![
        20 => (0_u8..8, 0_usize..300_000).prop_map(|(key, bytes)| Step::Picture {
            is_sync: key == 0,
            bytes,
        }),
        5 => Just(Step::Sound),
        10 => (any::<bool>(), 0_u16..100).prop_map(|(moves, score)| Step::Sighting {
            scene: if moves { Scene::Moving } else { Scene::Still },
            score,
        }),
        3 => Just(Step::Timeout),
        1 => Just(Step::Tracks),
        1 => Just(Step::Lost),
    ];
    // Mostly a picture's time, sometimes seconds.
    let pause = prop_oneof![8 => 0_u64..200, 1 => 0_u64..8_000];
    (step, pause)
}

/// Says what must hold of any effects, from what was handed in.
struct Judge {
    settings: EventSettings,
    /// The number of the next piece.
    next: u64,
    newest_key: Option<u64>,
    last_motion: Duration,
    began: Duration,
    /// No event may begin before.
    cool_until: Duration,
    event: Option<EventNumber>,
    events: u64,
    kept: bool,
    sent: bool,
    /// The last piece told, and the newest key frame then.
    last_told: Option<u64>,
    key_of_last_told: u64,
}

impl Judge {
    fn take(&mut self, effect: Effect, now: Duration) {
        match effect {
            Effect::Begin(begin) => {
                assert_eq!(self.event, None, "one event at a time");
                assert!(now >= self.cool_until, "the cool-down was not kept");
                self.events += 1;
                assert_eq!(begin.number.0, self.events);
                assert!(begin.units[0].is_key_frame());
                let numbers: Vec<u64> = begin.units.iter().map(number).collect();
                let want: Vec<u64> = (numbers[0]..self.next).collect();
                assert_eq!(numbers, want, "no gap until now");
                if let Some(last) = self.last_told {
                    let first = numbers[0];
                    assert!(first > last || first == self.key_of_last_told, "told twice");
                }
                self.event = Some(begin.number);
                (self.kept, self.sent) = (false, false);
                self.began = now;
                self.told(self.next - 1);
            }
            Effect::Append(unit) => {
                assert!(self.event.is_some());
                assert_eq!(Some(number(&unit)), self.last_told.map(|last| last + 1));
                self.told(number(&unit));
            }
            Effect::KeepPicture(event) => {
                assert_eq!(Some(event), self.event);
                assert!(!self.sent, "too late for another");
                self.kept = true;
            }
            Effect::SendPicture(event) => {
                assert_eq!(Some(event), self.event);
                assert!(self.kept && !self.sent);
                self.sent = true;
            }
            Effect::End { number, reason } => {
                assert_eq!(Some(number), self.event.take());
                assert!(self.sent || !self.kept, "a picture was kept for nothing");
                match reason {
                    EndReason::MotionOver => {
                        assert!(now >= self.last_motion + self.settings.post_roll());
                        self.cool_until = now + self.settings.cool_down();
                    }
                    EndReason::LengthLimit => {
                        assert!(now >= self.began + self.settings.at_most());
                        self.cool_until = now + self.settings.cool_down();
                    }
                    _ => {}
                }
            }
        }
    }

    fn told(&mut self, number: u64) {
        self.last_told = Some(number);
        self.key_of_last_told = self.newest_key.expect("an event has a key frame");
    }
}

proptest! {
    #[test]
    fn whatever_a_camera_does_events_are_whole_and_the_ring_is_bounded(
        steps in proptest::collection::vec(step(), 1..300)
    ) {
        let settings = EventSettings::new(EventValues {
            at_most_seconds: 10.0,
            cool_down_seconds: 3.0,
            ring_bytes_max: RING_BYTES.0,
            ..EventValues::default()
        })
        .unwrap();
        let mut machine = EventMachine::new(settings);
        let mut now = seconds(50);
        machine.handle_tracks(tracks(64), now);
        let mut judge = Judge {
            settings,
            next: 0,
            newest_key: None,
            last_motion: Duration::ZERO,
            began: Duration::ZERO,
            cool_until: Duration::ZERO,
            event: None,
            events: 0,
            kept: false,
            sent: false,
            last_told: None,
            key_of_last_told: 0,
        };
        for (step, pause_ms) in steps {
            now += Duration::from_millis(pause_ms);
            // What is due is done before anything else happens, and judged by what was known then.
            machine.handle_timeout(now);
            while let Some(effect) = machine.poll_effect() {
                judge.take(effect, now);
            }
            match step {
                Step::Picture { is_sync, bytes } => {
                    // A length limit ends an event before its key frame is told.
                    let unit = picture(judge.next, is_sync, bytes);
                    if is_sync {
                        judge.newest_key = Some(judge.next);
                    }
                    judge.next += 1;
                    machine.handle_unit(unit, now);
                }
                Step::Sound => {
                    machine.handle_unit(sound(judge.next), now);
                    judge.next += 1;
                }
                Step::Sighting { scene, score } => {
                    if scene == Scene::Moving {
                        judge.last_motion = now;
                    }
                    machine.handle_sighting(sighting(scene, score), now);
                }
                Step::Timeout => machine.handle_timeout(now),
                Step::Tracks => machine.handle_tracks(tracks(64), now),
                Step::Lost => {
                    machine.handle_lost(now);
                    machine.handle_tracks(tracks(64), now);
                }
            }
            while let Some(effect) = machine.poll_effect() {
                judge.take(effect, now);
            }
            prop_assert!(machine.ring_bytes() <= settings.ring_bytes_max());
            prop_assert_eq!(machine.running(), judge.event);
            if let Some(due) = machine.poll_timeout() {
                prop_assert!(due > now);
            }
        }
        // Without motion, whatever runs is over after its post-roll.
        machine.handle_timeout(now + settings.post_roll());
        while let Some(effect) = machine.poll_effect() {
            judge.take(effect, now + settings.post_roll());
        }
        prop_assert_eq!(machine.running(), None);
    }
}
