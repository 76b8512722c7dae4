//! A relay that changes, cuts and replays what it stores. Its own checksums are right, so only the
//! ends can notice; nothing it hands out may change their state, and once it is honest again (its
//! store wiped, filled again by the hub) everything arrives.

use crashtest::damage::{self, Change};
use crashtest::process::Role;
use crashtest::system::{PATIENCE, System};
use crashtest::trouble::{Outcome, Trouble};

use crate::{goes_on, one_event};

#[test]
fn flipped_envelopes_change_nothing() -> Outcome<()> {
    lies(Change::FlipBit)
}

#[test]
fn truncated_envelopes_change_nothing() -> Outcome<()> {
    lies(Change::Truncate)
}

#[test]
fn replayed_envelopes_change_nothing() -> Outcome<()> {
    lies(Change::ReplayPrevious)
}

fn lies(change: Change) -> Outcome<()> {
    let mut system = System::paired(one_event())?;
    let before = status(&mut system)?;
    system.start_hub()?;
    system.until("a stored clip", PATIENCE, |system| {
        let status = system.hub_status()?;
        let stored = status.stored_through >= status.acked_through + status.unacked_envelopes;
        Ok((!status.clips.is_empty() && !status.recording && stored).then_some(()))
    })?;
    system.stop(Role::Hub)?;
    system.stop(Role::Relay)?;
    let changed = damage::change_envelopes(&system.path("relay/data"), 0, change)?;
    assert!(changed > 3, "only {changed} envelopes were changed");

    // The app meets the lies alone: the hub must not have the time to make them good.
    system.start_relay()?;
    let from = system.board().len();
    system.start_app()?;
    let mut tries = 0;
    system.until("the app noticing", PATIENCE, |system| {
        let lines = system.board().lines();
        let since = lines
            .iter()
            .skip(from)
            .filter(|line| line.role == Role::App);
        tries = since
            .clone()
            .filter(|line| line.event() == "disconnected")
            .count();
        if let Some(media) = since
            .clone()
            .find(|line| line.event() == "media" && change != Change::ReplayPrevious)
        {
            return Err(Trouble::Broken(format!(
                "the app took a changed envelope: {}",
                media.value
            )));
        }
        Ok((tries >= 2).then_some(()))
    })?;
    system.stop(Role::App)?;
    let after = status(&mut system)?;
    if change != Change::ReplayPrevious {
        // The first envelope is the replay's only true one.
        assert_eq!(before, after, "changed envelopes changed the app");
    }
    system.kill(Role::Relay)?;
    system.wipe_relay()?;
    system.start_relay()?;
    goes_on(&mut system)
}

/// Epoch and cursor of the app.
fn status(system: &mut System) -> Outcome<(Option<u64>, Option<u64>)> {
    let answer = system.ask_app(&["status", "--json"])?;
    let line = answer.lines.last().cloned().unwrap_or_default();
    let number = |key: &str| line.get(key).and_then(serde_json::Value::as_u64);
    Ok((number("epoch"), number("cursor")))
}
