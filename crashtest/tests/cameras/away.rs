//! A camera of GStreamer's RTSP server that goes away, with the real programs: it is killed, it hangs, privacy mode lets
//! go of it, and it refuses a password.
//!
//! Nearly all of the time is waited, so it runs beside other tests. Where that server is not installed it covers nothing,
//! and says so; the hub's own tests ask the same of our own test camera.

mod gstreamer;
mod login;
mod people;

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crashtest::process::{Line, Role};
use crashtest::system::{PATIENCE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};
use crashtest_players::{Film, Player, Seen, decode};
use gstreamer::Server;
use people::{PICTURE, SOUND_SLACK, sound};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use test_camera::USER;

/// The one camera.
const CAMERA: &str = "gate";
/// Events by the clock, short ones: that one begins is all that is wanted of them.
const SHORT_EVENTS: &str = "events = \"clock\"\nevent_seconds = 3.0\ngap_seconds = 1.0\n";
/// A camera that is there again is recorded again within this time.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);
/// How often a camera is killed.
const DEATHS: usize = 5;
/// For how long it stays away then: some attempts of the hub's.
const KILLED_FOR: Duration = Duration::from_secs(3);
/// For how long it hangs.
const HUNG_FOR: Duration = Duration::from_secs(20);
/// By how much later the word of that may be here, on a machine that tests many things at once. The hub has said it
/// until then, or never will: a camera that is back was not away.
const TOLD_LATE: Duration = Duration::from_secs(10);
/// The pause between two questions to the running hub.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Longer than the longest pause of a hub that wants to open a camera (`hub/src/camera/pauses.rs`).
const LET_GO_FOR: Duration = Duration::from_secs(5);
/// Within this time what a camera's log says is known here, and its last picture has come.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// No camera's password.
const WRONG_PASSWORD: &str = "wr0ng-one";

/// A hub that is paired, does not run, and has the camera with these lines in its table.
fn paired(server: &Server, more: &str) -> Outcome<System> {
    let mut system = System::new(Setup::default())?;
    let password = system.path("camera-password");
    login::password_file(&password);
    system.setup.hub_extra = login::table(CAMERA, &server.url(CAMERA), &password, more);
    system.make_relay()?;
    system.write_hub_config_without_camera()?;
    system.pair()?;
    Ok(system)
}

/// The first line that is wanted, from this place on and within this time.
fn line(
    system: &mut System,
    (what, within): (&str, Duration),
    from: usize,
    wanted: impl Fn(&Line) -> bool,
) -> Outcome<Line> {
    system.until(what, within, |system| {
        Ok(system.board().find(from, &wanted))
    })
}

fn is_of_hub(event: &'static str) -> impl Fn(&Line) -> bool {
    move |line| line.role == Role::Hub && line.event() == event
}

/// The phone is notified of this, of the camera.
fn is_told(kind: &'static str) -> impl Fn(&Line) -> bool {
    move |line| {
        line.role == Role::App
            && line.event() == "notification"
            && line.text("kind") == kind
            && line.text("camera") == CAMERA
    }
}

fn signal(server: &Server, signal: Signal) -> Outcome<()> {
    kill_process(Pid::from_child(&server.child), signal)
        .map_err(|error| Trouble::machine("a signal to the server")(error.into()))
}

#[test]
fn a_camera_that_dies_or_hangs_is_recorded_again_and_its_owner_is_told() -> Outcome<()> {
    let test = "a_camera_that_dies_or_hangs_is_recorded_again_and_its_owner_is_told";
    if !gstreamer::is_here(test) {
        return Ok(());
    }
    let films = tempfile::tempdir().map_err(Trouble::machine("a directory of films"))?;
    gstreamer::write(films.path(), CAMERA, &people::clip(), &sound())?;
    let mut server = Server::start(films.path(), &[CAMERA], 0)?;
    let mut system = paired(&server, SHORT_EVENTS)?;
    is_seen(&mut system, &server)?;
    system.start_hub()?;
    system.start_app()?;
    let first = ("a recording", PATIENCE);
    let first = line(&mut system, first, 0, is_of_hub("clip_started"))?;
    line(&mut system, ("its arrival", PATIENCE), 0, |line| {
        line.role == Role::App
            && line.event() == "clip"
            && line.text("clip") == first.text("clip")
            && line.text("state") == "complete"
    })?;

    // First, because phones are told of the same camera again only after a while.
    let (from, hung) = (system.board().len(), Instant::now());
    signal(&server, Signal::STOP)?;
    sleep(HUNG_FOR);
    let thawed = system.board().len();
    signal(&server, Signal::CONT)?;
    let told = ("word that the camera is away", TOLD_LATE);
    let told = line(&mut system, told, from, is_told("camera_away"))?;
    println!("told {:?} after it hung", told.at.duration_since(hung));
    let recorded = ("a recording again", RECORDED_WITHIN);
    line(&mut system, recorded, thawed, is_of_hub("clip_started"))?;
    let back = ("word that the camera is back", PATIENCE);
    line(&mut system, back, thawed, is_told("camera_back"))?;

    for _death in 0..DEATHS {
        let port = server.port;
        drop(server);
        sleep(KILLED_FOR);
        let from = system.board().len();
        server = Server::start(films.path(), &[CAMERA], port)?;
        line(&mut system, recorded, from, is_of_hub("clip_started"))?;
    }

    system.stop(Role::App)?;
    let clips = system.ask_app(&["clips", "--json"])?;
    let clips = clips.lines.last().cloned().unwrap_or_default();
    let bytes = system.export(first.text("clip"))?;
    has_sound(bytes, &clips, first.text("clip"), test);
    system.finish()
}

/// What the owner of a new camera asks first.
fn is_seen(system: &mut System, server: &Server) -> Outcome<()> {
    let url = server.url(CAMERA);
    let password = system.path("camera-password");
    let password = password.to_string_lossy();
    let words = [
        "test-camera",
        &url,
        "--user",
        USER,
        "--password-file",
        &password,
        "--seconds",
        "2",
        "--json",
    ];
    let answer = system.ask_ok(Role::Hub, &words)?;
    let seen = answer.lines.last().cloned().unwrap_or_default();
    assert_eq!(seen["video"]["width"], 768, "{seen}");
    assert_eq!(seen["video"]["height"], 576, "{seen}");
    assert_eq!(seen["audio"]["codec"], "mp4a.40.2", "{seen}");
    assert!(seen["key_frames"].as_u64() >= Some(1), "{seen}");
    Ok(())
}

/// A clip whose camera has a microphone is whole, for FFmpeg too. A browser is shown one in the other program, which has
/// the machine to itself.
fn has_sound(bytes: Vec<u8>, clips: &Value, clip: &str, test: &str) {
    let mut rows = clips["clips"].as_array().into_iter().flatten();
    let row = rows.find(|row| row["clip"] == clip).expect("it is listed");
    let mime = row["mime"].as_str().unwrap_or_default().to_owned();
    assert!(mime.contains("mp4a.40.2"), "{mime}");
    let seen = Seen::of(&bytes).expect("a sound clip");
    let heard = seen.sound.expect("it has sound");
    assert!(heard.abs_diff(seen.lasts) <= SOUND_SLACK, "{seen:?}");
    let film = Film {
        name: "a clip with sound".to_owned(),
        bytes,
        mime,
        want: seen.want(PICTURE * seen.pictures as u32, PICTURE),
    };
    if Player::Ffmpeg.is_here(test) {
        decode(&film).unwrap();
    }
}

/// How many pictures the running hub has decoded, as Prometheus is told.
fn decoded(system: &System) -> Outcome<u64> {
    const NAME: &str = "secluso_hub_decoded_pictures_total ";
    let mut command = Command::new(Role::Hub.path()?);
    command
        .arg("metrics")
        .arg("--config")
        .arg(system.path("hub.toml"));
    let output = command.output().map_err(Trouble::machine("secluso-hub"))?;
    let page = String::from_utf8_lossy(&output.stdout);
    let count = page.lines().find_map(|line| line.strip_prefix(NAME));
    let count = count.and_then(|count| count.parse().ok());
    count.ok_or_else(|| Trouble::Broken(format!("{NAME}is not in {page}")))
}

/// The phone orders it, and the hub has answered.
fn set_privacy(system: &mut System, switch: &str) -> Outcome<()> {
    let answer = system.ask_app(&["privacy", switch, "--wait", "--json"])?;
    let said = answer.lines.last().cloned().unwrap_or_default();
    assert_eq!(said["outcome"]["result"], "changed", "{said}");
    Ok(())
}

/// By the camera's own log, and by a number that only rises.
#[test]
fn in_privacy_mode_the_camera_has_no_connection_and_no_picture_is_decoded() -> Outcome<()> {
    let test = "in_privacy_mode_the_camera_has_no_connection_and_no_picture_is_decoded";
    if !gstreamer::is_here(test) {
        return Ok(());
    }
    let films = tempfile::tempdir().map_err(Trouble::machine("a directory of films"))?;
    gstreamer::write(films.path(), CAMERA, &people::clip(), &[])?;
    let server = Server::start(films.path(), &[CAMERA], 0)?;
    // What moves makes its events, so its pictures are decoded.
    let mut system = paired(&server, "")?;
    system.start_hub()?;
    let rises = |system: &mut System, above: u64| {
        system.until("decoded pictures", PATIENCE, |system| {
            sleep(ASK_EVERY);
            Ok((decoded(system)? > above).then_some(()))
        })
    };
    rises(&mut system, 10)?;

    set_privacy(&mut system, "on")?;
    system.until("the end of all connections", PATIENCE, |_| {
        let is_alone = server.count("connected") == server.count("closed");
        Ok(is_alone.then_some(()))
    })?;
    sleep(UNDER_WAY);
    let before = (decoded(&system)?, server.count("connected"));
    sleep(LET_GO_FOR);
    let after = (decoded(&system)?, server.count("connected"));
    assert_eq!(before, after, "decoded pictures, and connections");

    set_privacy(&mut system, "off")?;
    rises(&mut system, before.0)?;
    assert!(server.count("connected") > before.1);
    assert_eq!(server.count(&format!("opened {CAMERA}")), 2);
    system.stop(Role::Hub)?;
    system.finish()
}

/// It is tried once and then rarely, so that no camera locks the account.
#[test]
fn a_wrong_password_is_one_line_and_no_further_attempt() -> Outcome<()> {
    let test = "a_wrong_password_is_one_line_and_no_further_attempt";
    if !gstreamer::is_here(test) {
        return Ok(());
    }
    let films = tempfile::tempdir().map_err(Trouble::machine("a directory of films"))?;
    gstreamer::write(films.path(), CAMERA, &people::clip(), &[])?;
    let server = Server::start(films.path(), &[CAMERA], 0)?;
    let mut system = paired(&server, SHORT_EVENTS)?;
    std::fs::write(system.path("camera-password"), WRONG_PASSWORD)
        .map_err(Trouble::machine("a wrong password"))?;
    system.start_hub()?;
    let refused = ("word of the refusal", PATIENCE);
    let refused = line(&mut system, refused, 0, is_of_hub("camera_failed"))?;
    assert_eq!(refused.text("next"), "login", "{}", refused.value);

    sleep(UNDER_WAY);
    let before = server.count("connected");
    assert!(before > 0);
    sleep(LET_GO_FOR);
    assert_eq!(server.count("connected"), before);
    assert_eq!(server.count(&format!("opened {CAMERA}")), 0);
    let is_failure = is_of_hub("camera_failed");
    let lines = system.board().lines();
    assert_eq!(lines.iter().filter(|line| is_failure(line)).count(), 1);
    system.stop(Role::Hub)?;
    system.finish()
}
