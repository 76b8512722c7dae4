//! Live pictures with real processes: watched while events are recorded, taken by every player, ended from both sides, and
//! nothing of them left behind.

use std::time::{Duration, Instant};

use crashtest::oracle::Verdict;
use crashtest::process::Role;
use crashtest::system::{Setup, System};
use crashtest::trouble::Outcome;
use crashtest_players::{Film, Player, decode, play};
use serde_json::Value;

/// For how long somebody who is gone is shown something at most.
const GONE_MAX: Duration = Duration::from_secs(15);

/// The kinds of the boxes of a file, one after the other.
fn boxes(bytes: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(head) = rest.first_chunk::<8>() {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        out.push(String::from_utf8_lossy(&head[4..]).into_owned());
        assert!((8..=rest.len()).contains(&size), "{out:?}");
        rest = &rest[size..];
    }
    assert!(rest.is_empty());
    out
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

fn hub_watched(system: &mut System) -> Outcome<usize> {
    let config = system.path("hub.toml").display().to_string();
    let answer = system.ask_ok(Role::Hub, &["status", "--config", &config, "--json"])?;
    let status = answer.lines.last().cloned().unwrap_or_default();
    Ok(status["live"].as_array().map_or(usize::MAX, Vec::len))
}

/// The stream as the app has written it, which is of many passes of a clip, with a gap behind each. Where sessions change, which the heartbeat of a launch makes them do, pictures may be missing;
/// a browser is shown what comes between two such holes.
fn players_take(bytes: Vec<u8>, lines: &[Value]) {
    let test = "a_camera_is_watched_live_while_its_events_are_recorded";
    let mime = of(lines, "live_start")[0]["mime"].as_str();
    let film = Film::found("live", bytes, mime).unwrap();
    assert!(film.want.lasts > Duration::from_secs(1), "{:?}", film.want);
    if Player::Ffmpeg.is_here(test) {
        decode(&film).unwrap();
    }
    if Player::Chromium.is_here(test) {
        let film = film.longest_stretch().unwrap();
        // A pass of the clip, at least: behind it comes the gap between two passes.
        let half = Duration::from_millis(500);
        assert!(film.want.lasts > half, "{:?}", film.want);
        play(&[film]).unwrap().remove(0).unwrap();
    }
}

#[test]
fn a_camera_is_watched_live_while_its_events_are_recorded() -> Outcome<()> {
    let setup = Setup {
        passes: 12,
        ..Setup::default()
    };
    let mut system = System::paired(setup)?;
    system.start_hub()?;
    let lines = system.watch(4)?;
    let media = of(&lines, "live_media");
    assert!(media.len() >= 10, "{lines:?}");
    assert_eq!(media[0]["begins_group"], true, "{lines:?}");
    let captured: Vec<u64> = media
        .iter()
        .filter_map(|one| one["captured_unix_ms"].as_u64())
        .collect();
    assert!(captured.is_sorted(), "{captured:?}");
    assert_eq!(of(&lines, "live_ended")[0]["why"], "enough", "{lines:?}");

    let bytes = std::fs::read(system.path("live.mp4")).unwrap();
    let kinds = boxes(&bytes);
    assert_eq!(kinds[..2], ["ftyp", "moov"], "{kinds:?}");
    let fragments = kinds.iter().filter(|kind| *kind == "moof").count();
    assert_eq!(fragments, media.len());
    players_take(bytes, &lines);
    // The hub has heard the end, and said so. The heartbeat of a launch may have come in between: then the session
    // went on as another one.
    assert_eq!(hub_watched(&mut system)?, 0);
    let said = system.board().lines();
    let said = |event: &str| said.iter().filter(|line| line.event() == event).count();
    assert!(said("live_began") >= 1);
    // An attempt that came to nothing has an end of its own.
    assert!(said("live_ended") >= 1);
    Verdict::of(&system.settle()).expect_pass()
}

/// Nobody says that it is enough: the relay finds nobody, and the hub ends it.
#[test]
fn a_viewer_that_is_killed_ends_its_session_within_seconds() -> Outcome<()> {
    let setup = Setup {
        passes: 0,
        ..Setup::default()
    };
    let mut system = System::paired(setup)?;
    system.start_hub()?;
    let out = system.path("live.mp4").display().to_string();
    let words = system.app_words(&["live", "--out", &out, "--json"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let start = crashtest::process::Start::with(&words);
    system.spawn(Role::App, &start)?;
    let patience = system.setup.patience;
    system.until("pictures", patience, |system| {
        let lines = system.board().lines();
        Ok(lines
            .iter()
            .any(|line| line.event() == "live_media")
            .then_some(()))
    })?;
    assert_eq!(hub_watched(&mut system)?, 1);
    system.kill(Role::App)?;
    let killed = Instant::now();
    // Of a phone that is gone without a word the relay hears nothing for 3 s, and 4 s later the hub gives up; long
    // before the connection has been idle for as long as it may.
    system.until("the end of the session", patience, |system| {
        let lines = system.board().lines();
        let ended = lines.iter().find(|line| line.event() == "live_ended");
        Ok(ended.map(|line| assert_eq!(line.text("why"), "unwatched")))
    })?;
    assert!(killed.elapsed() < GONE_MAX, "{:?}", killed.elapsed());
    assert_eq!(hub_watched(&mut system)?, 0);
    system.stop(Role::Hub)?;
    system.finish()
}
