//! What moves, with the real programs: cameras of GStreamer's RTSP server with a login, the hub, the relay and the phone;
//! and what the players say of the clip.
//!
//! Where that server is not installed, which is said, our own test camera stands in for it. Cameras that are away have a
//! program of their own, `away.rs`: they can wait beside other tests, and these cannot.

mod gstreamer;
mod login;
mod people;
mod sources;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use bytes::Bytes;
use crashtest::process::{Line, Role};
use crashtest::system::{PATIENCE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};
use crashtest_players::{Film, Player, Seen, decode, play, read};
use gstreamer::Server;
use people::{CLIP, PICTURE, RATE, SOUND_SLACK, nals, sound};
use serde_json::Value;
use sources::{HEAD, KEY_EVERY, Noise, encoded, gained, street, visit, visited};
use test_camera::{Config, LoginKind, Scene, Sound, TestCamera};
use tokio::runtime::{Builder, Runtime};

/// Pictures of the last one that are waited for: thirty seconds.
const TAIL_SEEN: usize = 300;
/// The hub's pre-roll and post-roll, in pictures.
const ROLL: usize = 5 * RATE as usize;
/// The least of the pre-roll that is good, in pictures.
const PRE_ROLL_MIN: usize = 4 * RATE as usize;
/// How far an event's beginning may be from when the people begin to move, in pictures: a second.
const FOUND_WITHIN: usize = RATE as usize;
/// What is called motion may go on behind the last one for so long, in pictures: until it is still (2 s), and until
/// three of five looks are gone, with a second for a slow machine.
const OVER_AFTER: usize = 36;
/// Who looks at a camera has decoded so many pictures of it at least: a third of those that have come.
const DECODED_MIN: u64 = 200;
/// The same of key frames alone, of which there is one a second.
const KEY_FRAMES_DECODED_MIN: u64 = 30;

/// The camera that somebody visits, and those before which nothing happens. Somebody else's has a microphone.
const VISITED: &str = "visited";
/// One before which a box goes around, as before the masked one.
const OPEN: &str = "open";

fn scenes() -> Vec<(&'static str, Scene)> {
    let street = street();
    let levels = [100, 112, 160, 88].map(|percent| vec![gained(&street, percent); 20]);
    let mut noise = Noise(7);
    vec![
        (VISITED, visit()),
        ("still", encoded(vec![street.clone(); 10])),
        ("brightness", encoded(levels.concat())),
        (
            "masked",
            encoded((0..20).map(|step| visited(&street, step))),
        ),
        // The same without a mask: it is the mask that keeps the one above quiet.
        (OPEN, encoded((0..20).map(|step| visited(&street, step)))),
        ("noise", encoded((0..20).map(|_| noise.onto(&street, 12)))),
    ]
}

/// The cameras of the street, all with a login.
enum Street {
    /// Somebody else's.
    Foreign(Server),
    /// Ours, and the runtime in which they live.
    Ours(
        Vec<(&'static str, TestCamera)>,
        #[expect(dead_code, reason = "it is held, not used")] Runtime,
    ),
}

impl Street {
    /// Lets somebody else's server show the scenes, from files in `films`, if it is here.
    fn open(films: &Path, scenes: Vec<(&'static str, Scene)>, test: &str) -> Outcome<Self> {
        if gstreamer::is_here(test) {
            for (name, scene) in &scenes {
                let sound = match *name {
                    VISITED => sound(),
                    _ => Vec::new(),
                };
                gstreamer::write(films, name, scene, &sound)?;
            }
            let names: Vec<&str> = scenes.iter().map(|(name, _)| *name).collect();
            return Ok(Self::Foreign(Server::start(films, &names, 0)?));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut cameras = Vec::new();
        for (name, scene) in scenes {
            let config = Config {
                login: LoginKind::Digest,
                sound: Sound::None,
                scene,
                speed: 1,
            };
            let started = runtime.block_on(TestCamera::start(config));
            cameras.push((name, started.expect("it starts")));
        }
        Ok(Self::Ours(cameras, runtime))
    }

    fn camera(cameras: &[(&'static str, TestCamera)], name: &str) -> usize {
        let place = cameras.iter().position(|(one, _)| *one == name);
        place.expect("there is such a camera")
    }

    fn url(&self, name: &str) -> String {
        match self {
            Self::Foreign(server) => server.url(name),
            Self::Ours(cameras, _) => cameras[Self::camera(cameras, name)].1.url(),
        }
    }

    /// How often somebody who was let in began to watch.
    fn watched(&self, name: &str) -> usize {
        match self {
            Self::Foreign(server) => server.count(&format!("opened {name}")),
            Self::Ours(cameras, _) => cameras[Self::camera(cameras, name)].1.played() as usize,
        }
    }
}

/// The rows of a list that the app has; no sync runs.
fn list(system: &mut System, what: &str) -> Outcome<Vec<Value>> {
    let answer = system.ask_app(&[what, "--json"])?;
    let last = answer.lines.last();
    let rows = last.and_then(|line| line[what].as_array().cloned());
    rows.ok_or_else(|| Trouble::Broken(format!("no {what} in {answer:?}")))
}

/// In real time, because the hub's times of motion and events are those at which pictures come: a minute, all cameras
/// in it at once, with what a hub does where nothing else is configured.
#[test]
fn one_visit_is_one_event_and_what_is_no_visit_is_none() -> Outcome<()> {
    let test = "one_visit_is_one_event_and_what_is_no_visit_is_none";
    let films = tempfile::tempdir().map_err(Trouble::machine("a directory of films"))?;
    let scenes = scenes();
    let names: Vec<&str> = scenes.iter().map(|(name, _)| *name).collect();
    let street = Street::open(films.path(), scenes, test)?;
    let mut system = System::new(Setup::default())?;
    let password = system.path("camera-password");
    login::password_file(&password);
    let tables = names.iter().map(|name| {
        let more = match *name {
            "masked" => {
                "[camera.detection]\nmasks = [[[0, 0], [500, 0], [500, 1000], [0, 1000]]]\n"
            }
            _ => "",
        };
        login::table(name, &street.url(name), &password, more)
    });
    system.setup.hub_extra = tables.collect();
    system.make_relay()?;
    system.write_hub_config_without_camera()?;
    system.pair()?;
    system.start_hub()?;
    system.start_app()?;

    system.until("somebody who watches", PATIENCE, |_| {
        Ok((street.watched(VISITED) > 0).then_some(()))
    })?;
    // And a second for what comes between the question and the first picture.
    let seen = HEAD + CLIP + TAIL_SEEN + RATE as usize;
    sleep(PICTURE * seen as u32);
    let status = system.ask_hub(&["status"])?;
    for (name, said) in names.iter().zip(status["cameras"].as_array().unwrap()) {
        assert_eq!(street.watched(name), 1, "{name}");
        assert_eq!(said["camera"], *name);
        // A machine that stood still for half a second looks at key frames alone, and says so.
        let ways = ["every_picture", "key_frames_only"];
        let way = said["detection"].as_str().unwrap_or_default();
        assert!(ways.contains(&way), "{said}");
        assert_eq!(said["undecodable_pictures"], 0, "{said}");
        let least = match way {
            "every_picture" => DECODED_MIN,
            _ => KEY_FRAMES_DECODED_MIN,
        };
        assert!(said["decoded_pictures"].as_u64() >= Some(least), "{said}");
        if *name == OPEN {
            assert!(said["events"].as_u64() >= Some(1), "{said}");
        } else {
            assert_eq!(said["motion"], false, "{said}");
            assert_eq!(said["events"], u64::from(*name == VISITED), "{said}");
        }
    }
    system.until_line("the phone's ack", 0, |line| {
        line.role == Role::App
            && line.event() == "clip"
            && line.text("state") == "complete"
            && line.text("camera") == VISITED
    })?;
    system.stop(Role::App)?;

    let mut clips = list(&mut system, "clips")?;
    clips.retain(|clip| clip["camera"] != OPEN);
    let [clip] = &clips[..] else {
        panic!("{clips:?}");
    };
    assert_eq!(clip["camera"], VISITED);
    let id = clip["clip"].as_str().unwrap_or_default();
    comes_in_order(&system.board().lines(), id);
    let bytes = system.export(id)?;
    let pictures = check(&bytes);
    let seen = Seen::of(&bytes).expect("a sound clip");
    assert_eq!(seen.pictures, pictures);
    let has_microphone = matches!(street, Street::Foreign(_));
    assert_eq!(seen.sound.is_some(), has_microphone, "{seen:?}");
    let lasts = PICTURE * pictures as u32;
    let is_whole = |heard: Duration| heard.abs_diff(lasts) <= SOUND_SLACK;
    assert!(seen.sound.is_none_or(is_whole), "{seen:?}");
    let told = list(&mut system, "notifications")?;
    let of_motion = told.iter().filter(|row| row["camera"] == VISITED);
    assert_eq!(of_motion.count(), 1, "{told:?}");
    system.finish()?;
    // The browser has the machine to itself.
    drop(street);
    let film = Film {
        name: "the visit".to_owned(),
        bytes,
        mime: clip["mime"].as_str().unwrap_or_default().to_owned(),
        want: seen.want(lasts, PICTURE),
    };
    players_take(film, test);
    Ok(())
}

/// What the phone has heard of the visit, in its order: the notification before all else, and the picture while the event
/// is still recorded. Picture and clip have a stream each, and the clip does not wait for a picture for ever: which of
/// them is there first is said, and not judged.
fn comes_in_order(lines: &[Line], clip: &str) {
    let first = |event: &str, is_it: &dyn Fn(&Line) -> bool| {
        let mut of_phone = lines.iter().enumerate();
        let found = of_phone
            .find(|(_, line)| line.role == Role::App && line.event() == event && is_it(line));
        found.unwrap_or_else(|| panic!("no {event} of the visit"))
    };
    let is_of_camera = |line: &Line| line.text("camera") == VISITED;
    let is_of_clip = |line: &Line| line.text("clip") == clip;
    let is_whole = |line: &Line| is_of_clip(line) && line.text("state") == "complete";
    let (notified, notice) = first("notification", &is_of_camera);
    let (pictured, picture) = first("thumbnail", &is_of_camera);
    let (shown, media) = first("media", &is_of_clip);
    let (complete, _) = first("clip", &is_whole);
    let behind = |line: &Line| line.at.duration_since(notice.at);
    println!(
        "behind the notification: picture {:?}, first media {:?}",
        behind(picture),
        behind(media),
    );
    assert_eq!(notice.text("kind"), "motion", "{}", notice.value);
    assert!(notified < pictured.min(shown), "the notification is late");
    assert!(pictured < complete, "the picture is late");
}

/// What of a picture every server leaves as it is: parameter sets are told elsewhere, and delimiters may come and go.
fn slices(nals: &[Bytes]) -> Vec<&Bytes> {
    // ITU-T H.264, table 7-1.
    let is_slice = |nal: &&Bytes| (1..=5).contains(&(nal[0] & 0x1F));
    nals.iter().filter(is_slice).collect()
}

/// The clip, against what was sent; answers how many pictures are in it. The people begin to move with the second picture
/// of theirs, 0.1 s behind the ten seconds in which they stood. When the hub has found that, the clip's own beginning says:
/// it is the last key frame that is the pre-roll, or more, before it.
fn check(bytes: &[u8]) -> usize {
    let mp4 = re_mp4::Mp4::read_bytes(bytes).expect("a sound clip");
    let mut tracks = mp4.tracks().values();
    let track = tracks.find(|track| track.kind == Some(re_mp4::TrackKind::Video));
    let track = track.expect("it has pictures");
    let recorded: Vec<_> = track
        .samples
        .iter()
        .map(|sample| {
            let start = sample.offset as usize;
            nals(&bytes[start..start + sample.size as usize])
        })
        .collect();
    let sent = visit().pictures;
    let moved = HEAD + 1;
    let first_move = recorded
        .iter()
        .position(|nals| slices(nals) == slices(&sent[moved].nals));
    let begun = moved - first_move.expect("the visit is in it");
    let pre_roll = moved - begun;
    assert!(pre_roll >= PRE_ROLL_MIN, "{pre_roll} pictures");
    let found = begun + ROLL;
    println!(
        "moved at {:?}, found at {:?} or up to {:?} later",
        PICTURE * moved as u32,
        PICTURE * found as u32,
        PICTURE * KEY_EVERY as u32,
    );
    assert!(
        found.abs_diff(moved) <= FOUND_WITHIN,
        "found at picture {found}, moved at {moved}"
    );
    let want = &sent[begun..];
    assert!(
        recorded
            .iter()
            .zip(want)
            .all(|(nals, sent)| slices(nals) == slices(&sent.nals))
    );
    let behind = recorded.len() - (HEAD - begun) - CLIP;
    assert!(
        (ROLL - RATE as usize..=ROLL + OVER_AFTER).contains(&behind),
        "{behind}"
    );
    recorded.len()
}

/// Every player plays it, to the time of the last picture that was sent.
fn players_take(film: Film, test: &str) {
    let seen = read(&film).unwrap();
    assert_eq!(seen.holes, 0);
    if Player::Ffmpeg.is_here(test) {
        decode(&film).unwrap();
    }
    if Player::Chromium.is_here(test) {
        play(&[film]).unwrap().remove(0).unwrap();
    }
}
