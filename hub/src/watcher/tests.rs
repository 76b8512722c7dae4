//! A watcher with the real decoder over pictures that are drawn, one step after the other by a clock of
//! its own.

mod blind;
mod sparse;

use std::path::Path;
use std::sync::Mutex;

use super::hint::Guess;
use super::*;
use crate::camera::clock::Sleep;
use crate::camera::virtual_camera::testing::{PICTURE_MS, Shows, items};
use crate::camera::{EventEnd, NextItem};
use crate::config::Config;
use crate::config::detection::DetectionTable;

#[derive(Clone, Default)]
struct Hand(Arc<Mutex<Duration>>);

impl Hand {
    fn set(&self, now: Duration) {
        *self.0.lock().unwrap() = now;
    }
}

impl Clock for Hand {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn unix_ms(&self) -> u64 {
        self.now().as_millis() as u64
    }

    fn sleep_until(&self, _at: Duration) -> Sleep<'_> {
        Box::pin(std::future::pending())
    }
}

/// What is handed in by hand has no source.
struct Nothing;

impl Source for Nothing {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(std::future::pending())
    }
}

fn detection(text: &str) -> Detection {
    let table: DetectionTable = toml::from_str(text).unwrap();
    Detection::new(table).unwrap()
}

const SHORT: &str = "pre_roll_seconds = 2\npost_roll_seconds = 2\ncool_down_seconds = 0\n";

/// The same where somebody is asked about persons, who may take all of a core.
const ASKED: &str = "pre_roll_seconds = 2\npost_roll_seconds = 2\ncool_down_seconds = 0\n\
                     cpu_percent = 100\nperson_program = \"guess\"\n";

struct Rig {
    clock: Hand,
    watcher: Watcher<Hand>,
    told: Arc<Mutex<Vec<Watching>>>,
    /// Everything that came, with its time.
    events: Vec<(u64, CameraEvent)>,
    now_ms: u64,
}

impl Rig {
    fn new(first: SourceItem, detection: &Detection) -> Self {
        let SourceItem::Format(tracks) = first else {
            panic!("the format is first");
        };
        let clock = Hand::default();
        let eyes = Eyes::new(Arc::clone(&tracks.video), detection).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let report = move |watching| sink.lock().unwrap().push(watching);
        let seen = (tracks, eyes);
        let source = Box::new(Nothing);
        let watcher = Watcher::new(
            "door".into(),
            source,
            seen,
            detection,
            clock.clone(),
            report,
        );
        Self {
            clock,
            watcher,
            told,
            events: Vec::new(),
            now_ms: 0,
        }
    }

    /// One step of [`Watcher::next`], and all that the eyes make of it.
    async fn step(&mut self, item: Result<Option<SourceItem>, CameraError>) {
        let now = Duration::from_millis(self.now_ms);
        self.clock.set(now);
        self.watcher.machine.handle_timeout(now);
        self.watcher.take_effects();
        self.watcher.handle_item(item, now);
        self.watcher.take_effects();
        loop {
            self.watcher.begin_job();
            if !matches!(self.watcher.sight, Sight::Busy(_)) {
                break;
            }
            let (eyes, answer) = answer(&mut self.watcher.sight).await.unwrap();
            self.watcher.handle_answer(eyes, answer, now);
            self.watcher.take_effects();
        }
        self.watcher.tell();
        let ready = std::mem::take(&mut self.watcher.ready);
        self.events
            .extend(ready.into_iter().map(|event| (self.now_ms, event)));
    }

    async fn play(&mut self, items: impl IntoIterator<Item = SourceItem>) {
        for item in items {
            self.now_ms += PICTURE_MS;
            self.step(Ok(Some(item))).await;
        }
    }

    /// `S`tart, `J`PEG, `P`erson, `E`nd, `C`ut off, `T`rouble; pictures and sound left out.
    fn letters(&self) -> String {
        let letter = |(_, event): &(u64, CameraEvent)| match event {
            CameraEvent::EventStarted(_) => Some('S'),
            CameraEvent::Thumbnail(_) => Some('J'),
            CameraEvent::Person(_) => Some('P'),
            CameraEvent::EventEnded(EventEnd::Completed) => Some('E'),
            CameraEvent::EventEnded(EventEnd::CutOff) => Some('C'),
            CameraEvent::Trouble(_) => Some('T'),
            CameraEvent::AccessUnit(_) | CameraEvent::Sound(_) => None,
        };
        self.events.iter().filter_map(letter).collect()
    }

    /// The beginning of the first event: when it was found, and what it says.
    fn start(&self) -> (u64, &EventStart) {
        let start = self.events.iter().find_map(|(at, event)| match event {
            CameraEvent::EventStarted(start) => Some((*at, start)),
            _ => None,
        });
        start.expect("an event")
    }
}

async fn watch(script: &[(Shows, u64)], detection: &Detection) -> Rig {
    let mut items = items(script).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), detection);
    rig.play(items).await;
    rig
}

const VISIT: [(Shows, u64); 3] = [(Shows::Nobody, 5), (Shows::Somebody, 4), (Shows::Nobody, 5)];

#[tokio::test]
async fn a_visit_is_one_event_with_what_came_before_it_and_one_picture() {
    let rig = watch(&VISIT, &detection(SHORT)).await;
    assert_eq!(rig.letters(), "SJE");
    let (found_ms, start) = rig.start();
    // Within a second of the first picture of it.
    assert!(
        (5_000..=6_000 + PICTURE_MS).contains(&found_ms),
        "{found_ms}"
    );
    assert_eq!(start.kind, EventKind::Motion);
    let pre_roll = found_ms - start.started_unix_ms;
    assert!((2_000..=3_200).contains(&pre_roll), "{pre_roll}");
    let (mut pictures, mut last) = (0, None);
    for (_, event) in &rig.events {
        match event {
            CameraEvent::AccessUnit(unit) => {
                assert!(unit.is_sync || pictures > 0, "it begins with a key frame");
                assert!(last.is_none_or(|last| unit.dts > last), "each picture once");
                last = Some(unit.dts);
                pictures += 1;
            }
            CameraEvent::Thumbnail(picture) => {
                assert_eq!(picture.started_unix_ms, start.started_unix_ms);
                assert!(picture.jpeg.starts_with(&[0xFF, 0xD8]));
            }
            _ => {}
        }
    }
    // From the pre-roll to the post-roll, without a hole.
    assert!((70..=100).contains(&pictures), "{pictures}");
    let told = rig.told.lock().unwrap();
    let last = told.last().unwrap();
    assert_eq!(
        (last.events, last.is_event, last.undecodable),
        (1, false, 0)
    );
    assert!(told.iter().any(|watching| watching.is_event));
}

/// Nothing that is asked about a picture is a reason not to record: it is behind the picture or it is missing, and all
/// else is as without it.
#[tokio::test]
async fn a_hint_that_panics_or_never_comes_leaves_the_event_as_it_is() {
    let plain = watch(&VISIT, &detection(SHORT)).await;
    for (guess, answers, letters) in [
        (Guess::This(90), true, "SJEP"),
        (Guess::This(10), true, "SJE"),
        (Guess::Panic, true, "SJE"),
        (Guess::Never, false, "SJE"),
    ] {
        let mut items = items(&VISIT).into_iter();
        let mut rig = Rig::new(items.next().unwrap(), &detection(SHORT));
        let at_least = Score::new(70).unwrap();
        let asked = detection(ASKED);
        rig.watcher = rig.watcher.hinted(Arc::new(guess), at_least, &asked);
        rig.play(items).await;
        assert_eq!(rig.events, plain.events);
        if answers {
            let score = hint::answered(&mut rig.watcher.hints).await;
            rig.watcher.handle_hint(score, rig.clock.now());
            let ready = std::mem::take(&mut rig.watcher.ready);
            let now_ms = rig.now_ms;
            rig.events
                .extend(ready.into_iter().map(|event| (now_ms, event)));
        }
        assert_eq!(rig.letters(), letters);
        let started = rig.start().1.started_unix_ms;
        for (_, event) in &rig.events {
            assert!(!matches!(event, CameraEvent::Person(of) if *of != started));
        }
    }
}

#[tokio::test]
async fn a_phone_turns_the_hint_off_and_on_while_the_camera_runs_and_events_stay_as_they_are() {
    use journal::message::CameraSettings;

    let file = detection(ASKED);
    let mut items = items(&[VISIT; 3].concat()).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &file);
    let persons = |on| CameraSettings {
        persons: Some(on),
        ..CameraSettings::default()
    };
    // It was off when the camera was opened.
    let off = file.with(&persons(false)).unwrap();
    let at_least = Score::new(70).unwrap();
    let guess = Arc::new(Guess::This(90));
    rig.watcher = rig.watcher.hinted(guess, at_least, &off);
    let seconds: u64 = VISIT.iter().map(|(_, seconds)| seconds).sum();
    let pictures = (seconds * 1_000 / PICTURE_MS) as usize;
    for (set, letters) in [(None, "SJE"), (Some(true), "SJEP"), (Some(false), "SJE")] {
        if let Some(on) = set {
            let now = Duration::from_millis(rig.now_ms);
            let settings = file.with(&persons(on)).unwrap();
            rig.watcher.handle_settings(settings, now);
            rig.watcher.take_effects();
        }
        rig.events.clear();
        rig.play(items.by_ref().take(pictures)).await;
        let answer = hint::answered(&mut rig.watcher.hints);
        if set == Some(true) {
            let score = answer.await;
            rig.watcher.handle_hint(score, rig.clock.now());
        } else {
            let moment = Duration::from_millis(20);
            let silent = tokio::time::timeout(moment, answer).await;
            assert!(silent.is_err(), "somebody was asked");
        }
        let ready = std::mem::take(&mut rig.watcher.ready);
        let now_ms = rig.now_ms;
        rig.events
            .extend(ready.into_iter().map(|event| (now_ms, event)));
        assert_eq!(rig.letters(), letters, "{set:?}");
    }
}

/// Who asks how the camera is hears it.
#[tokio::test]
async fn a_ring_that_is_too_small_for_the_distance_of_key_frames_is_told() {
    let small = format!("{SHORT}ring_mib = 1\n");
    let mut items = items(&[(Shows::Nobody, 1)]).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &detection(&small));
    // Nobody looks at them: it is about their bytes.
    rig.watcher.watching.is_on = false;
    let told = |rig: &Rig| rig.told.lock().unwrap().last().unwrap().is_ring_too_small;
    rig.play(items.by_ref().take(1)).await;
    assert!(!told(&rig));
    let Some(SourceItem::Video(unit)) = items.next() else {
        panic!("a picture follows");
    };
    let large = AccessUnit {
        data: Bytes::from(vec![0; 600_000]),
        is_sync: false,
        ..unit
    };
    rig.play([large.clone(), large].map(SourceItem::Video))
        .await;
    assert!(told(&rig));
}

#[tokio::test]
async fn the_picture_comes_within_a_second_of_the_beginning() {
    let rig = watch(&VISIT, &detection(SHORT)).await;
    let (found_ms, _) = rig.start();
    let sent = rig.events.iter().find_map(|(at, event)| match event {
        CameraEvent::Thumbnail(_) => Some(*at),
        _ => None,
    });
    assert!(sent.is_some_and(|at| at <= found_ms + 1_000), "{sent:?}");
}

#[tokio::test]
async fn a_still_scene_a_masked_one_and_quiet_hours_are_no_event() {
    let quiet = format!("{SHORT}quiet = \"00:00-00:05\"\n");
    let masked = format!("{SHORT}masks = [[[0, 0], [1000, 0], [1000, 1000], [0, 1000]]]\n");
    let still = [(Shows::Nobody, 10)];
    let cases = [
        (&still[..], SHORT),
        (&VISIT[..], masked.as_str()),
        (&VISIT[..], quiet.as_str()),
    ];
    for (script, text) in cases {
        let rig = watch(script, &detection(text)).await;
        assert!(rig.events.is_empty(), "{}", rig.letters());
    }
}

#[tokio::test]
async fn the_virtual_cameras_clock_is_no_event_and_who_walks_below_it_is() {
    let relay = wire::RelayId([7; 32]).to_text();
    let text = format!(
        "state_dir = \"x\"\nrelay = \"127.0.0.1:1/{relay}\"\n[camera]\nkind = \"virtual\"\n"
    );
    let config = Config::parse(&text, "hub.toml", Path::new("/")).unwrap();
    let detection = config.cameras[0].detection.as_ref().unwrap();
    let rig = watch(&[(Shows::Clock, 10)], detection).await;
    assert!(rig.events.is_empty(), "{}", rig.letters());
    let rig = watch(&[(Shows::Clock, 5), (Shows::Somebody, 3)], detection).await;
    assert_eq!(rig.letters(), "SJ");
}

#[tokio::test]
async fn a_camera_that_fails_cuts_the_event_off_and_its_picture_is_sent_all_the_same() {
    // Until somebody has just come.
    let script = [(Shows::Nobody, 5), (Shows::Somebody, 1)];
    let mut rig = watch(&script, &detection(SHORT)).await;
    let gone = || CameraError::Closed {
        camera: "cam".into(),
    };
    rig.step(Err(gone())).await;
    let letters = rig.letters();
    assert!(letters == "STCJ" || letters == "SJTC", "{letters}");
    assert!(rig.watcher.next().await.is_none(), "it is over");
}

#[tokio::test]
async fn the_end_of_a_file_completes_the_event() {
    let script = [(Shows::Nobody, 5), (Shows::Somebody, 3)];
    let mut rig = watch(&script, &detection(SHORT)).await;
    rig.step(Ok(None)).await;
    assert_eq!(rig.letters(), "SJE");
}

#[tokio::test]
async fn a_format_that_comes_again_changes_nothing() {
    let mut all = items(&VISIT);
    let format = all[0].clone();
    let half = all.split_off(70);
    let mut rig = Rig::new(all.remove(0), &detection(SHORT));
    rig.play(all).await;
    rig.step(Ok(Some(format))).await;
    rig.play(half).await;
    assert_eq!(rig.letters(), "SJE");
}

#[tokio::test]
async fn too_many_waiting_pictures_are_left_out_and_a_key_frame_goes_on() {
    let mut items = items(&[(Shows::Nobody, 20)]).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &detection(SHORT));
    // The eyes have no turn meanwhile.
    for item in items {
        rig.watcher.handle_item(Ok(Some(item)), Duration::ZERO);
    }
    assert!(rig.watcher.waiting.len() <= WAITING_MAX + 1);
    let gaps = rig
        .watcher
        .waiting
        .iter()
        .filter(|one| matches!(one, Waiting::Gap));
    assert_eq!(gaps.count(), 1);
    let bytes: usize = rig
        .watcher
        .waiting
        .iter()
        .map(|one| match one {
            Waiting::Picture { unit, .. } => unit.data.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(bytes, rig.watcher.waiting_bytes);
}

/// A camera that has other parameters with every key frame, while the eyes hang.
#[tokio::test]
async fn of_parameters_that_wait_only_the_newest_stay_when_pictures_are_left_out() {
    let mut items = items(&[(Shows::Nobody, 2)]).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &detection(SHORT));
    let picture = items.next().unwrap();
    let mut tracks = rig.watcher.tracks.clone().unwrap();
    for width in 16..2_016 {
        let mut video = (*tracks.video).clone();
        video.width = std::num::NonZeroU16::new(width).unwrap();
        tracks.video = Arc::new(video);
        for item in [SourceItem::Format(tracks.clone()), picture.clone()] {
            rig.watcher.handle_item(Ok(Some(item)), Duration::ZERO);
        }
        assert!(rig.watcher.waiting.len() <= WAITING_MAX + 2);
    }
    let mut waiting = rig.watcher.waiting.iter().rev();
    let newest = waiting.find_map(|one| match one {
        Waiting::Track(track) => Some(track.width.get()),
        _ => None,
    });
    assert_eq!(newest, Some(2_015));
}

#[tokio::test]
async fn eyes_that_panic_are_a_failure_of_their_camera_alone() {
    let mut items = items(&[(Shows::Nobody, 1)]).into_iter();
    let mut rig = Rig::new(items.next().unwrap(), &detection(SHORT));
    let job =
        tokio::task::spawn_blocking(|| -> (Box<Eyes>, Answer) { panic!("as the test wants it") });
    rig.watcher.sight = Sight::Busy(job);
    let camera = "door".to_owned();
    let broken = CameraEvent::Trouble(CameraError::Broken { camera });
    assert_eq!(rig.watcher.next().await, Some(broken));
    assert_eq!(rig.watcher.next().await, None);
}

/// What a camera shows, and until when in milliseconds.
type Script<'a> = &'a [(Shows, u64)];

/// A watcher that saw the first part by one set of settings, and the rest by another.
async fn set_between(
    (before, after): (Script<'_>, Script<'_>),
    (first, then): (&Detection, Detection),
) -> Rig {
    let script = [before, after].concat();
    let mut all = items(&script);
    let seconds: u64 = before.iter().map(|(_, seconds)| seconds).sum();
    // The format is the first item.
    let rest = all.split_off(1 + (seconds * 1_000 / PICTURE_MS) as usize);
    let mut rig = Rig::new(all.remove(0), first);
    rig.play(all).await;
    let now = Duration::from_millis(rig.now_ms);
    rig.watcher.handle_settings(then, now);
    rig.watcher.take_effects();
    rig.play(rest).await;
    rig
}

fn off() -> Detection {
    Detection {
        detects: false,
        ..detection(SHORT)
    }
}

#[tokio::test]
async fn a_phone_turns_detection_on_and_off_while_the_camera_runs() {
    let calm = [(Shows::Nobody, 5)];
    let visit = [(Shows::Somebody, 4), (Shows::Nobody, 5)];
    let rig = set_between((&calm, &visit), (&detection(SHORT), off())).await;
    assert!(rig.events.is_empty(), "{}", rig.letters());
    assert!(!rig.told.lock().unwrap().last().unwrap().is_on);
    let rig = set_between((&calm, &visit), (&off(), detection(SHORT))).await;
    assert!(rig.told.lock().unwrap().last().unwrap().is_on);
    // The scene is learned first, and somebody may be part of it.
    let later = [(Shows::Nobody, 5), (Shows::Somebody, 4), (Shows::Nobody, 5)];
    let rig = set_between((&calm, &later), (&off(), detection(SHORT))).await;
    assert_eq!(rig.letters(), "SJE");
}

#[tokio::test]
async fn an_event_that_runs_goes_on_by_other_settings_and_is_whole() {
    let coming = [(Shows::Nobody, 5), (Shows::Somebody, 2)];
    let leaving = [(Shows::Somebody, 2), (Shows::Nobody, 8)];
    let longer = SHORT.replace("post_roll_seconds = 2", "post_roll_seconds = 5");
    let mut lengths = Vec::new();
    for then in [detection(SHORT), detection(&longer)] {
        let rig = set_between((&coming, &leaving), (&detection(SHORT), then)).await;
        assert_eq!(rig.letters(), "SJE");
        let pictures = rig.events.iter();
        let pictures = pictures.filter(|(_, event)| matches!(event, CameraEvent::AccessUnit(_)));
        lengths.push(pictures.count());
    }
    assert!(lengths[1] > lengths[0] + 15, "{lengths:?}");
    // Turned off amid it, it ends with its post-roll.
    let rig = set_between((&coming, &leaving), (&detection(SHORT), off())).await;
    assert_eq!(rig.letters(), "SJE");
}

#[tokio::test]
async fn a_watcher_follows_what_is_durable_and_only_what_concerns_it() {
    use crate::core::Wishes;
    use journal::message::{CameraDoc, CameraSettings};

    let doc = |camera: &str, version, sensitivity| CameraDoc {
        version,
        settings: CameraSettings {
            sensitivity: Some(sensitivity),
            ..CameraSettings::default()
        },
        ..CameraDoc::unset(camera)
    };
    let wishes = |cameras| Wishes {
        cameras: Arc::new(cameras),
        ..Wishes::default()
    };
    let (wish, wished) = tokio::sync::watch::channel(wishes(vec![doc("door", 1, 70)]));
    let file = detection("sensitivity = 40");
    let mut wanted = Wanted::new("door", Box::new(file.clone()), wished);
    assert_eq!(wanted.now().motion.values().sensitivity, 70);
    // Of another camera, and a wish of another kind: nothing that concerns it.
    wish.send_replace(wishes(vec![doc("door", 1, 70), doc("yard", 1, 1)]));
    let moment = Duration::from_millis(20);
    let silent = tokio::time::timeout(moment, wanted.changed()).await;
    assert!(silent.is_err());
    wish.send_replace(wishes(vec![doc("door", 2, 80)]));
    assert_eq!(wanted.changed().await.motion.values().sensitivity, 80);
    // Another name is nothing to look for: what runs is not disturbed.
    let mut renamed = doc("door", 3, 80);
    renamed.settings.name = Some("Gate".into());
    wish.send_replace(wishes(vec![renamed]));
    let silent = tokio::time::timeout(moment, wanted.changed()).await;
    assert!(silent.is_err());
    // What does not fit the file leaves the file's.
    wish.send_replace(wishes(vec![doc("door", 4, 0)]));
    assert_eq!(wanted.changed().await, file);
    drop(wish);
    let gone = tokio::time::timeout(moment, wanted.changed()).await;
    assert!(gone.is_err(), "a journal that is gone sets nothing");
}
