//! What a person gets wrong: codes, invitations, clips, configuration, a second start.

use std::time::{Duration, Instant};

use crashtest::process::{Role, Start};
use crashtest::system::{PATIENCE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};

use crate::{goes_on, one_event, refused, wrong};

/// Characters of the code's text that lie in the offer's name and in its secret.
const OFFER_AT: usize = "SECLUSO1:".len() + 8;
const SECRET_AT: usize = "SECLUSO1:".len() + 40;

/// The code with another character at one place.
fn altered(code: &str, at: usize) -> String {
    let swap = |(index, c): (usize, char)| match (index == at, c) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, c) => c,
    };
    code.chars().enumerate().map(swap).collect()
}

#[test]
fn a_wrong_code_is_refused_and_the_right_one_still_works() -> Outcome<()> {
    let mut system = System::new(one_event())?;
    system.make_relay()?;
    system.write_hub_config()?;
    let (mut hub, code) = system.offer()?;

    // Not a code at all, and codes in which one character of the secret or of the offer's name was
    // misread: the same sentence whatever is wrong.
    let answer = system.app_pair("https://example.org/")?;
    refused(&answer, 6, &["code"]);
    let wrong_offer = system.app_pair(&altered(&code, OFFER_AT))?;
    refused(&wrong_offer, 6, &["code"]);
    let wrong_secret = system.app_pair(&altered(&code, SECRET_AT))?;
    refused(&wrong_secret, 6, &["code"]);
    assert_eq!(wrong_secret.said, wrong_offer.said);

    let answer = system.app_pair(&code)?;
    assert!(answer.status.success(), "{answer:?}");
    let status = hub.wait(PATIENCE)?;
    assert!(status.success(), "{status} {}", hub.said());
    goes_on(&mut system)
}

#[test]
fn a_code_is_used_once() -> Outcome<()> {
    let mut system = System::new(one_event())?;
    system.make_relay()?;
    system.write_hub_config()?;
    let (mut hub, code) = system.offer()?;
    assert!(system.app_pair(&code)?.status.success());
    assert!(hub.wait(PATIENCE)?.success());
    // Again by the same app: nothing to do. By another phone, while the hub offers a new code: no.
    assert!(system.app_pair(&code)?.status.success());
    let (mut hub, _new_code) = system.offer()?;
    let other = system.path("other");
    let mut start = Start::with(&["--dir", &other.to_string_lossy(), "pair", "-", "--json"]);
    start.input = code;
    let answer = system.ask_started(Role::App, &start)?;
    refused(&answer, 6, &["refused"]);
    hub.kill();
    goes_on(&mut system)
}

#[test]
fn an_expired_and_a_used_invitation_are_refused() -> Outcome<()> {
    let mut system = System::new(one_event())?;
    system.make_relay()?;
    let good = system.invitation.clone();

    system.invitation = system.invite("hub", "1s")?;
    let made = Instant::now();
    system.write_hub_config()?;
    // Only time can make it expire; the relay counts in whole seconds.
    while made.elapsed() < Duration::from_millis(2_100) {
        std::thread::sleep(Duration::from_millis(50));
    }
    refused(
        &hub_says(&mut system, "pair", "hub.toml")?,
        6,
        &["invitation"],
    );

    system.invitation = good;
    system.write_hub_config()?;
    system.pair()?;

    // Another hub with the invitation that the first one has used.
    let config =
        std::fs::read_to_string(system.path("hub.toml")).map_err(Trouble::machine("hub.toml"))?;
    let other = config.replace(
        &*system.path("hub").to_string_lossy(),
        &system.path("hub2").to_string_lossy(),
    );
    std::fs::write(system.path("other.toml"), other).map_err(Trouble::machine("other.toml"))?;
    refused(
        &hub_says(&mut system, "pair", "other.toml")?,
        6,
        &["invitation"],
    );
    goes_on(&mut system)
}

#[test]
fn a_clip_that_cannot_be_read_is_named_at_the_start() -> Outcome<()> {
    let mut system = System::paired(one_event())?;
    let good = system.setup.clip.clone();
    let testdata = good.with_file_name("../../hub/testdata");
    let text = system.path("hub.toml");
    for clip in [
        testdata.join("no-h264.mp4"),
        testdata.join("audio-only.mp4"),
        system.path("absent.mp4"),
        text,
    ] {
        system.setup.clip = clip.clone();
        system.write_hub_config()?;
        let name = clip
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // It may come yet, and other cameras are not concerned: the hub goes on.
        let from = system.board().len();
        system.start_hub()?;
        let failed = system.until_line("word of the clip", from, |line| {
            line.role == Role::Hub && line.event() == "camera_failed"
        })?;
        assert!(failed.text("what").contains(&name), "{failed:?}");
        assert_eq!(failed.text("next"), "replace", "{failed:?}");
        system.stop(Role::Hub)?;
    }
    system.setup.clip = good;
    goes_on(&mut system)
}

#[test]
fn a_second_program_on_the_same_directory_leaves_it_alone() -> Outcome<()> {
    let mut system = System::paired(Setup {
        passes: 0,
        ..Setup::default()
    })?;
    system.start_app()?;
    system.start_hub()?;
    system.until_line("an event", 0, |line| line.event() == "clip_started")?;
    refused(&hub_says(&mut system, "run", "hub.toml")?, 3, &["another"]);
    system.until_line("a follower", 0, |line| line.role == Role::App)?;
    let words = system.app_words(&["clips", "--json"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refused(
        &system.ask_started(Role::App, &Start::with(&words))?,
        3,
        &["another"],
    );
    let config = system
        .path("relay/relay.toml")
        .to_string_lossy()
        .into_owned();
    let second = system.ask_started(
        Role::Relay,
        &Start::with(&["run", "--config", &config, "--json"]),
    )?;
    // Its port is taken too; whichever it meets first.
    assert!(matches!(second.code(), 3 | 5), "{second:?}");
    goes_on(&mut system)
}

#[test]
fn an_unknown_key_is_named_with_its_line() -> Outcome<()> {
    let mut system = System::paired(one_event())?;
    system.setup.hub_extra = "log_file_mb = 7\n".into();
    system.write_hub_config()?;
    let config =
        std::fs::read_to_string(system.path("hub.toml")).map_err(Trouble::machine("hub.toml"))?;
    let line = config
        .lines()
        .position(|line| line.starts_with("log_file_mb "));
    let Some(line) = line.map(|index| format!("line {}", index + 1)) else {
        return wrong("the test wrote no unknown key");
    };
    for command in ["run", "pair", "status"] {
        refused(
            &hub_says(&mut system, command, "hub.toml")?,
            2,
            &["log_file_mb", &line],
        );
    }
    system.setup.hub_extra.clear();
    goes_on(&mut system)
}

/// A command of the hub, run to its end.
fn hub_says(
    system: &mut System,
    command: &str,
    config: &str,
) -> Outcome<crashtest::system::Answer> {
    let config = system.path(config).to_string_lossy().into_owned();
    system.ask_started(
        Role::Hub,
        &Start::with(&[command, "--config", &config, "--json"]),
    )
}
