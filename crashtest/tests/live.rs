//! Live pictures with real processes: watched while events are recorded, taken by every player, ended from both sides, and
//! nothing of them left behind.

use std::time::{Duration, Instant};

use crashtest::oracle::Verdict;
use crashtest::process::{Line, Role, Start};
use crashtest::system::{Setup, System};
use crashtest::trouble::Outcome;
use crashtest_players::{Film, Player, Seen, Want, decode, longest_stretch, play, read};
use serde_json::Value;

/// For how long somebody who is gone is shown something at most: the five seconds that are promised, and two for a machine
/// that tests many things at once. The relay's two seconds and the hub's two are 4.3 s with the looks between them, and
/// behind them come a job of the journal's thread, its sync, and whoever reads the line.
const GONE_MAX: Duration = Duration::from_secs(5 + 2);

/// For how long the virtual camera is watched, in seconds: a session may begin in the second of them, and change in the
/// third, for the heartbeat of a launch makes it do so.
const WATCHED_S: u64 = 8;
/// So much of that comes without a hole.
const STRETCH_MIN: Duration = Duration::from_secs(4);
/// From one of its pictures to the next.
const PICTURE_MS: u64 = 100;
/// One event, by the clock, of which no test sees the end. Somebody walks through most of it: what is flat is no secret that
/// could be sought.
const VIRTUAL_CAMERA: &str = "\
[camera]
kind = \"virtual\"
cycle_seconds = 12.0
events = \"clock\"
event_seconds = 600.0

";

/// The boxes of a file, one after the other: where each begins, and its kind.
fn boxes(bytes: &[u8]) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(head) = rest.first_chunk::<8>() {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = String::from_utf8_lossy(&head[4..]).into_owned();
        out.push((bytes.len() - rest.len(), kind));
        assert!((8..=rest.len()).contains(&size), "{out:?}");
        rest = &rest[size..];
    }
    assert!(rest.is_empty());
    out
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// The hub says that somebody watches no more. A session that goes on as another one is none of that.
fn is_end(line: &Line) -> bool {
    line.role == Role::Hub && line.event() == "live_ended" && line.text("why") != "interrupted"
}

/// The clips that were recorded while somebody watched, in whole or in part: how each ended, or that it has not.
fn beside(lines: &[Line]) -> Vec<&str> {
    let hub: Vec<&Line> = lines.iter().filter(|line| line.role == Role::Hub).collect();
    let is = |event| move |line: &&Line| line.event() == event;
    let began = hub.iter().position(is("live_began")).expect("a beginning");
    let ended = hub.iter().rposition(is("live_ended")).expect("an end");
    let mut all = Vec::new();
    for (started, line) in hub.iter().enumerate() {
        if line.event() != "clip_started" || started > ended {
            continue;
        }
        let is_its_end = |other: &&Line| {
            other.event() == "clip_finished" && other.text("clip") == line.text("clip")
        };
        match hub.iter().position(is_its_end) {
            Some(finished) if finished < began => {}
            Some(finished) => all.push(hub[finished].text("outcome")),
            None => all.push("open"),
        }
    }
    all
}

fn hub_watched(system: &mut System) -> Outcome<usize> {
    let config = system.path("hub.toml").display().to_string();
    let answer = system.ask_ok(Role::Hub, &["status", "--config", &config, "--json"])?;
    let status = answer.lines.last().cloned().unwrap_or_default();
    Ok(status["live"].as_array().map_or(usize::MAX, Vec::len))
}

/// When the newest picture of each fragment was captured, by the camera's clock.
fn captured_ms(lines: &[Value]) -> Vec<u64> {
    let media = of(lines, "live_media").into_iter();
    media
        .filter_map(|one| one["captured_unix_ms"].as_u64())
        .collect()
}

/// FFmpeg takes without a word what the app has written: a stream of many passes of a clip with a gap behind each, and maybe
/// a hole where sessions change. How long that should last nobody knows. A browser is shown what comes between two such
/// holes, and drops no picture of it.
fn players_take(bytes: Vec<u8>, lines: &[Value]) {
    let test = "a_camera_is_watched_live_while_its_events_are_recorded";
    let mime = of(lines, "live_start")[0]["mime"].as_str();
    let film = |bytes: Vec<u8>, lasts_min| {
        let seen = Seen::of(&bytes).unwrap();
        assert!(seen.lasts > lasts_min, "{seen:?}");
        let want = seen.want(seen.lasts, seen.picture);
        Film::received("live", bytes, mime, want).unwrap()
    };
    let stretch = longest_stretch(&bytes).unwrap().bytes;
    let whole = film(bytes, Duration::from_secs(1));
    if Player::Ffmpeg.is_here(test) {
        decode(&whole).unwrap();
    }
    if Player::Chromium.is_here(test) {
        // A pass of the clip, at least: behind it comes the gap between two passes.
        let stretch = film(stretch, Duration::from_millis(500));
        play(&[stretch]).unwrap().remove(0).unwrap();
    }
}

/// What fragments should be that the virtual camera has made, by the time at which it captured the newest picture of each, and
/// of the one behind them.
fn made(seen: &Seen, captured_ms: &[u64]) -> Want {
    let gaps: Vec<u64> = captured_ms.windows(2).map(|two| two[1] - two[0]).collect();
    let (behind, within) = gaps.split_last().expect("two fragments");
    let longest = within.iter().copied().max().unwrap_or(0).max(PICTURE_MS);
    // What is behind them may be behind a hole.
    let lasts = within.iter().sum::<u64>() + (*behind).min(longest);
    seen.want(Duration::from_millis(lasts), Duration::from_millis(longest))
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
    let captured = captured_ms(&lines);
    assert!(captured.is_sorted(), "{captured:?}");
    assert_eq!(of(&lines, "live_ended")[0]["why"], "enough", "{lines:?}");

    let bytes = std::fs::read(system.path("live.mp4")).unwrap();
    let kinds: Vec<String> = boxes(&bytes).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds[..2], ["ftyp", "moov"], "{kinds:?}");
    let fragments = kinds.iter().filter(|kind| *kind == "moof").count();
    assert_eq!(fragments, media.len());
    players_take(bytes, &lines);
    // The hub has heard the end, and said so. The heartbeat of a launch may have come in between: then the session
    // went on as another one. An attempt that came to nothing has an end of its own.
    assert_eq!(hub_watched(&mut system)?, 0);
    let patience = system.setup.patience;
    let said = system.until("the end of the session", patience, |system| {
        let lines = system.board().lines();
        let last = lines.iter().rfind(|line| line.event().starts_with("live_"));
        let is_over = last.is_some_and(is_end);
        Ok(is_over.then_some(lines))
    })?;
    let clips = beside(&said);
    assert!(clips.contains(&"complete"), "{clips:?}");
    let is_good = |outcome: &&str| ["complete", "open"].contains(outcome);
    assert!(clips.iter().all(is_good), "{clips:?}");
    Verdict::of(&system.settle()).expect_pass()
}

/// The pictures have stdout for themselves, and a script has its facts all the same.
#[test]
fn pictures_on_a_pipe_have_their_facts_beside_them() -> Outcome<()> {
    let setup = Setup {
        passes: 0,
        ..Setup::default()
    };
    let mut system = System::paired(setup)?;
    system.start_hub()?;
    let (bytes, facts, others) = system.watch_piped(2)?;
    // The log may say something, and nobody else.
    let is_for_people = |line: &&String| line.starts_with("secluso-app:");
    assert_eq!(others.iter().find(is_for_people), None);
    let kinds: Vec<String> = boxes(&bytes).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds[..2], ["ftyp", "moov"], "{kinds:?}");
    let fragments = kinds.iter().filter(|kind| *kind == "moof").count();
    assert_eq!(fragments, of(&facts, "live_media").len());
    let ends = of(&facts, "live_ended");
    assert_eq!(ends[ends.len() - 1]["why"], "enough", "{facts:?}");
    system.stop(Role::Hub)?;
    system.finish()
}

/// Seconds of a camera that never pauses, in one piece: the reader and FFmpeg find in it as much as the camera's clock says,
/// and a browser drops no picture of it.
#[test]
fn live_pictures_of_seconds_are_what_the_camera_made() -> Outcome<()> {
    let test = "live_pictures_of_seconds_are_what_the_camera_made";
    let mut system = System::new(Setup::default())?;
    system.make_relay()?;
    system.write_hub_config_with(VIRTUAL_CAMERA)?;
    system.pair()?;
    system.start_hub()?;
    system.until_line("an event", 0, |line| line.event() == "clip_started")?;
    let lines = system.watch(WATCHED_S)?;
    assert!(system.hub_status()?.recording);

    let bytes = std::fs::read(system.path("live.mp4")).unwrap();
    let ends = system.settle();
    let captured = captured_ms(&lines);
    let boxes = boxes(&bytes);
    let fragments = boxes.iter().filter(|(_, kind)| kind == "moof");
    let begins: Vec<usize> = fragments.map(|(at, _)| *at).collect();
    assert_eq!(begins.len(), captured.len());
    // How long the last fragment lasts nobody knows: the next one would say so.
    let last = *begins.last().expect("a fragment");
    let stretch = longest_stretch(&bytes[..last]).unwrap();
    let seen = Seen::of(&stretch.bytes).unwrap();
    let (first, behind) = (stretch.fragments.start, stretch.fragments.end);
    let want = made(&seen, &captured[first..=behind]);
    assert!(
        want.lasts >= STRETCH_MIN && seen.lasts >= STRETCH_MIN,
        "{want:?}, {seen:?}, {captured:?}"
    );
    assert!(seen.pictures >= stretch.fragments.len(), "{seen:?}");
    let mime = of(&lines, "live_start")[0]["mime"].as_str();
    let film = Film::received("live", stretch.bytes, mime, want).unwrap();
    assert_eq!(read(&film).unwrap().holes, 0);
    if Player::Ffmpeg.is_here(test) {
        decode(&film).unwrap();
    }
    if Player::Chromium.is_here(test) {
        play(&[film]).unwrap().remove(0).unwrap();
    }
    Verdict::of(&ends).expect_pass()
}

/// Watching live to a file, with these words more.
fn live(system: &System, more: &[&str]) -> Start {
    let out = system.path("live.mp4").display().to_string();
    let words = [&["live", "--out", &out, "--json"], more].concat();
    let words = system.app_words(&words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Start::with(&words)
}

/// Who names a camera that the hub does not have is told so, instead of being shown nothing for ever, and is no viewer.
#[test]
fn a_camera_that_is_not_there_is_refused_by_name() -> Outcome<()> {
    let setup = Setup {
        passes: 0,
        ..Setup::default()
    };
    let mut system = System::paired(setup)?;
    system.start_hub()?;
    let start = live(&system, &["--camera", "nobody"]);
    let answer = system.ask_started(Role::App, &start)?;
    assert_eq!(answer.code(), 2, "{answer:?}");
    let ends = of(&answer.lines, "live_ended");
    assert_eq!(ends[ends.len() - 1]["why"], "no_camera", "{answer:?}");
    assert!(answer.said.contains("\"nobody\""), "{answer:?}");
    assert!(of(&answer.lines, "live_began").is_empty(), "{answer:?}");
    assert_eq!(hub_watched(&mut system)?, 0);
    system.stop(Role::Hub)?;
    system.finish()
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
    let start = live(&system, &[]);
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
    let from = system.board().len();
    let killed = Instant::now();
    system.kill(Role::App)?;
    // Of a phone that is gone without a word the relay hears nothing for 2 s, and 2 s later the hub gives up; long
    // before the connection has been idle for as long as it may.
    let ended = system.until_line("the end of the session", from, is_end)?;
    assert_eq!(ended.text("why"), "unwatched");
    let lasted = ended.at.duration_since(killed);
    assert!(lasted < GONE_MAX, "{lasted:?}");
    assert_eq!(hub_watched(&mut system)?, 0);
    system.stop(Role::Hub)?;
    system.finish()
}
