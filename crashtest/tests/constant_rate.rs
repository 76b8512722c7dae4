//! A constant rate with the real programs: what the relay gets are envelopes of one size, at one rhythm, with and
//! without an event; and the event arrives whole, also where each of them is killed among covers.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crashtest::oracle::Verdict;
use crashtest::process::{Role, Start};
use crashtest::system::{PATIENCE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};
use serde_json::Value;

/// What every envelope of event videos has then.
const ENVELOPE_BYTES: u64 = 65_024;
/// From one to the next at 1 MiB/s, in milliseconds.
const INTERVAL_MS: u128 = 62;
/// Envelopes that each look waits for.
const ENVELOPES: u64 = 20;
/// Kills of each program.
const KILLS: u64 = 3;
/// The longest time between a start and the next kill, in ms: about one event and a half.
const KILL_DELAY_MS_MAX: u64 = 1_200;

fn shaped(passes: u32) -> Setup {
    Setup {
        passes,
        quota_mib: 512,
        hub_extra: "\n[traffic]\nconstant_rate = \"1 MiB/s\"\n".into(),
        ..Setup::default()
    }
}

/// The last line that a program answers.
fn asked(system: &mut System, role: Role, command: &str, config: &str) -> Outcome<Value> {
    let config = system.path(config).to_string_lossy().into_owned();
    let start = Start::with(&[command, "--config", &config, "--json"]);
    let answer = system.ask_started(role, &start)?;
    let last = answer.lines.last().cloned();
    last.filter(|_| answer.code() == 0)
        .ok_or_else(|| Trouble::Broken(format!("{command}: {answer:?}")))
}

/// Bytes of envelopes that the relay has; no phone reads any.
fn stored(system: &mut System) -> Outcome<u64> {
    let status = asked(system, Role::Relay, "status", "relay/relay.toml")?;
    status["status"]["envelope_bytes"]
        .as_u64()
        .ok_or_else(|| Trouble::Broken(format!("no envelope_bytes: {status}")))
}

/// Waits until so much more is there, and says how much it then is.
fn grown(system: &mut System, before: u64) -> Outcome<u64> {
    system.until("more envelopes at the relay", PATIENCE, |system| {
        let now = stored(system)?;
        system.remember(format!("{before} bytes before, {now} now"));
        Ok((now >= before + ENVELOPES * ENVELOPE_BYTES).then_some(now))
    })
}

#[test]
fn what_the_relay_gets_is_alike_with_and_without_an_event() -> Outcome<()> {
    let mut system = System::paired(shaped(1))?;
    let said = asked(&mut system, Role::Hub, "check-config", "hub.toml")?;
    assert_eq!(said["traffic"]["interval_ms"], 62);

    // What the pairing left.
    let before = stored(&mut system)?;
    let began = Instant::now();
    system.start_hub()?;
    system.until_line("the end of an event", 0, |line| {
        line.role == Role::Hub && line.event() == "clip_finished"
    })?;
    let with_event = grown(&mut system, before)?;
    // The camera plays no more.
    let without = grown(&mut system, with_event)?;
    for bytes in [with_event, without] {
        assert_eq!(bytes % ENVELOPE_BYTES, 0, "{bytes}");
    }
    let slots = began.elapsed().as_millis() / INTERVAL_MS + 1;
    assert!(
        u128::from((without - before) / ENVELOPE_BYTES) <= slots,
        "{before} {without}"
    );

    let status = asked(&mut system, Role::Hub, "status", "hub.toml")?;
    let shaped = &status["pairings"][0]["constant_rate"];
    assert_eq!(shaped["interval_ms"], 62, "{status}");
    assert_eq!(shaped["covered"], true, "{status}");

    system.start_app()?;
    system.until_line("the clip", 0, |line| {
        line.role == Role::App && line.event() == "clip" && line.text("state") == "complete"
    })?;
    // With cover the outbox is never empty: the last word is without.
    system.setup.hub_extra.clear();
    Verdict::of(&system.settle()).expect_pass()
}

/// The delays are the same in every run; what they hit is not.
#[test]
fn a_program_killed_among_covers_costs_nothing() -> Outcome<()> {
    let mut system = System::paired(shaped(0))?;
    system.start(Role::Hub)?;
    system.start(Role::App)?;
    for kill in 0..KILLS {
        for (number, role) in Role::ALL.into_iter().enumerate() {
            // The instant itself is what is tested; nothing is waited for.
            let step = kill * 487 + number as u64 * 311;
            sleep(Duration::from_millis(100 + step % KILL_DELAY_MS_MAX));
            system.revive()?;
            system.kill(role)?;
            system.start(role)?;
        }
    }
    system.setup.hub_extra.clear();
    Verdict::of(&system.settle()).expect_pass()
}
