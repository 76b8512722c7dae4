//! What moves, with the real programs: RTSP cameras with a login, the hub, the relay and the phone.

mod sources;

use std::time::Duration;

use crashtest::process::Role;
use crashtest::system::{Setup, System};
use crashtest::trouble::{Outcome, Trouble};
use serde_json::Value;
use sources::{CLIP, HEAD, Noise, RATE, encoded, gained, nals, street, visit, visited};
use test_camera::{Config, LoginKind, Scene, Sound, TestCamera, USER};
use tokio::runtime::{Builder, Runtime};

/// Pictures of the last one that are waited for: thirty seconds.
const TAIL_SEEN: usize = 300;
/// How long the last picture may be waited for beyond its time.
const LATE_MAX: Duration = Duration::from_secs(60);
/// The hub's pre-roll and post-roll, in pictures.
const ROLL: usize = 5 * RATE as usize;
/// What is called motion may go on behind the last one for so long, in pictures: until it is still (2 s), and until
/// three of five looks are gone, with a second for a slow machine.
const OVER_AFTER: usize = 36;

/// The camera that somebody visits, and those before which nothing happens.
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

fn start(runtime: &Runtime, scene: Scene) -> TestCamera {
    let config = Config {
        login: LoginKind::Digest,
        sound: Sound::None,
        scene,
        speed: 1,
    };
    let started = runtime.block_on(TestCamera::start(config));
    started.expect("it starts")
}

/// The tables of the cameras in the hub's configuration.
fn tables(cameras: &[(&str, TestCamera)], password: &str) -> String {
    let table = |(name, camera): &(&str, TestCamera)| {
        let masks = match *name {
            "masked" => "masks = [[[0, 0], [500, 0], [500, 1000], [0, 1000]]]\n",
            _ => "",
        };
        format!(
            "[[camera]]\nkind = \"rtsp\"\nname = \"{name}\"\nurl = \"{}\"\nuser = \"{USER}\"\n\
             password_file = {password:?}\n[camera.detection]\ncpu_percent = 100\n{masks}\n",
            camera.url()
        )
    };
    cameras.iter().map(table).collect()
}

/// The rows of a list that the app has; no sync runs.
fn list(system: &mut System, what: &str) -> Outcome<Vec<Value>> {
    let answer = system.ask_app(&[what, "--json"])?;
    let last = answer.lines.last();
    let rows = last.and_then(|line| line[what].as_array().cloned());
    rows.ok_or_else(|| Trouble::Broken(format!("no {what} in {answer:?}")))
}

/// In real time, because the hub's times of motion and events are those at which pictures come: a minute, all cameras
/// in it at once.
#[test]
fn one_visit_is_one_event_and_what_is_no_visit_is_none() -> Outcome<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut cameras = Vec::new();
    for (name, scene) in scenes() {
        cameras.push((name, start(&runtime, scene)));
    }
    let mut system = System::new(Setup::default())?;
    let password = system.path("camera-password");
    sources::password_file(&password);
    system.setup.hub_extra = format!("\n{}", tables(&cameras, &password.to_string_lossy()));
    system.make_relay()?;
    system.write_hub_config_without_camera()?;
    system.pair()?;
    system.start_hub()?;
    system.start_app()?;

    let seen = HEAD + CLIP + TAIL_SEEN;
    let patience = Duration::from_secs(seen as u64 / u64::from(RATE)) + LATE_MAX;
    let played = runtime.block_on(async {
        let all = cameras[0].1.has_sent(seen as u32);
        tokio::time::timeout(patience, all).await
    });
    played.expect("the source is played");
    let status = system.ask_hub(&["status"])?;
    for ((name, camera), said) in cameras.iter().zip(status["cameras"].as_array().unwrap()) {
        assert_eq!((camera.played(), camera.refused()), (1, 0), "{name}");
        assert_eq!(said["camera"], *name);
        // A machine that stood still for half a second looks at key frames alone, and says so.
        let ways = ["every_picture", "key_frames_only"];
        let way = said["detection"].as_str().unwrap_or_default();
        assert!(ways.contains(&way), "{said}");
        assert_eq!(said["undecodable_pictures"], 0, "{said}");
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
    let bytes = system.export(clip["clip"].as_str().unwrap_or_default())?;
    check(&bytes);
    let told = list(&mut system, "notifications")?;
    let of_motion = told.iter().filter(|row| row["camera"] == VISITED);
    assert_eq!(of_motion.count(), 1, "{told:?}");
    system.finish()
}

/// The clip, against what was sent. The people begin to move with the second picture of theirs, 0.1 s behind the ten
/// seconds in which they stood, and key frames are a second apart there: an event that begins with the one of 5 s was
/// found before 11 s, and so it is on a machine that has the time.
fn check(bytes: &[u8]) {
    let mp4 = re_mp4::Mp4::read_bytes(bytes).expect("a sound clip");
    let track = mp4.tracks().values().next().expect("one track");
    let recorded: Vec<_> = track
        .samples
        .iter()
        .map(|sample| {
            let start = sample.offset as usize;
            nals(&bytes[start..start + sample.size as usize])
        })
        .collect();
    let sent = visit().pictures;
    let first_move = recorded
        .iter()
        .position(|nals| *nals == sent[HEAD + 1].nals);
    let pre_roll = first_move.expect("the visit is in it") - 1;
    assert!(pre_roll >= 4 * RATE as usize, "{pre_roll} pictures");
    // That it is found within a second, to the picture, is what the detector's own test says of the same film; what is
    // late here is the machine, and may cost one key frame.
    let begun = [ROLL, ROLL + RATE as usize];
    assert!(begun.contains(&(HEAD - pre_roll)), "{pre_roll}");
    let want = &sent[HEAD - pre_roll..];
    assert!(
        recorded
            .iter()
            .zip(want)
            .all(|(nals, sent)| *nals == sent.nals)
    );
    let behind = recorded.len() - pre_roll - CLIP;
    assert!(
        (ROLL - RATE as usize..=ROLL + OVER_AFTER).contains(&behind),
        "{behind}"
    );
}
