//! Conversations about events: recorded, delivered, kept, deleted; and a heartbeat in the middle of one.

use crate::oracle::Ends;
use crate::process::{Line, Role};
use crate::system::{System, short_clip};
use crate::trouble::{Outcome, Trouble};

/// The largest number of events that a conversation records at a time.
const EVENTS_MAX: usize = 3;

pub(super) fn event(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::App, Role::Hub] {
        system.start(role)?;
    }
    events_arrive(system)?;
    system.settle()
}

pub(super) fn sync(system: &mut System) -> Outcome<Ends> {
    // The hub first: it records while the relay is away.
    for role in [Role::Hub, Role::Relay] {
        system.start(role)?;
    }
    let patience = system.setup.patience;
    let passes = passes(system);
    system.until("recorded events at the relay", patience, |system| {
        let played = finished(system)? >= passes;
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        let stored = status.stored_through >= status.acked_through + status.unacked_envelopes;
        Ok((played && !status.recording && stored).then_some(()))
    })?;
    system.start_app()?;
    everything_acked(system)?;
    system.settle()
}

/// `passes`: of what the camera plays, more than the budget holds.
pub(super) fn budget(system: &mut System, passes: usize) -> Outcome<Ends> {
    system.start(Role::Hub)?;
    let patience = system.setup.patience;
    system.until("recorded and dropped events", patience, |system| {
        let played = finished(system)? >= passes;
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        let dropped = status.clips.iter().any(|clip| clip.outcome == "dropped");
        Ok((played && !status.recording && dropped).then_some(()))
    })?;
    for role in [Role::Relay, Role::App] {
        system.start(role)?;
    }
    everything_acked(system)?;
    system.settle()
}

pub(super) fn trim(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::App, Role::Hub] {
        system.start(role)?;
    }
    events_arrive(system)?;
    for role in [Role::App, Role::Relay, Role::Hub] {
        system.stop(role)?;
    }
    for role in [Role::Hub, Role::Relay, Role::App] {
        system.start(role)?;
    }
    events_arrive(system)?;
    for role in [Role::App, Role::Relay] {
        system.stop(role)?;
    }
    system.delete_first_clip()?;
    system.settle()
}

/// The phone is launched while something is recorded, so that its first heartbeat heals a line in the middle of a
/// clip. Then the hub stops, which cuts that off.
pub(super) fn beat(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::Hub] {
        system.start(role)?;
    }
    let started = |line: &Line| line.role == Role::Hub && line.event() == "clip_started";
    system.until_line("an event", 0, started)?;
    system.start_app()?;
    let patience = system.setup.patience;
    let healed = system.until("new keys in the middle of a clip", patience, |system| {
        // Whoever died there says it no more; that everything goes on is seen at rest.
        if system.died() {
            return Ok(Some(()));
        }
        let lines = system.board().lines();
        let answered = lines
            .iter()
            .any(|line| line.event() == "heartbeat_answered");
        Ok((answered && healed_in_a_clip(&lines)?).then_some(()))
    });
    healed.map_err(Trouble::apart)?;
    system.stop(Role::Hub)?;
    system.setup.clip = short_clip();
    system.settle()
}

/// Whether the hub has taken new keys on the line of its videos; it must have been in the middle of a clip then.
fn healed_in_a_clip(lines: &[Line]) -> Outcome<bool> {
    let of_hub = lines.iter().filter(|line| line.role == Role::Hub);
    let mut is_recording = false;
    for line in of_hub {
        match line.event() {
            "clip_started" => is_recording = true,
            "clip_finished" => is_recording = false,
            "healed" if line.text("channel") == "event_video" => {
                return match is_recording {
                    true => Ok(true),
                    false => Err(Trouble::Broken(
                        "the heartbeat did not fall into the clip".to_owned(),
                    )),
                };
            }
            _ => {}
        }
    }
    Ok(false)
}

pub(super) fn passes(system: &System) -> usize {
    usize::try_from(system.setup.passes)
        .unwrap_or(EVENTS_MAX)
        .min(EVENTS_MAX)
}

/// Complete clips of the hub's running process. One that a crash killed begins its passes again, so
/// that nothing is waited for in vain.
pub(super) fn finished(system: &mut System) -> Outcome<usize> {
    let hub = system.process(Role::Hub)?.number();
    let lines = system.board().lines();
    let finished = lines.iter().filter(|line| {
        line.process == hub && line.event() == "clip_finished" && line.text("outcome") == "complete"
    });
    Ok(finished.count())
}

/// Waits until the running hub has played all its passes and the app has acked everything.
fn events_arrive(system: &mut System) -> Outcome<()> {
    let (patience, passes) = (system.setup.patience, passes(system));
    let played = system.until("the events", patience, |system| {
        Ok((finished(system)? >= passes).then_some(()))
    });
    played.map_err(Trouble::apart)?;
    everything_acked(system)
}

pub(super) fn everything_acked(system: &mut System) -> Outcome<()> {
    let patience = system.setup.patience;
    let acked = system.until("their acks", patience, |system| {
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        Ok((!status.recording && status.unacked_envelopes == 0).then_some(()))
    });
    acked.map_err(Trouble::apart)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::{Value, json};

    use super::*;

    fn said(values: &[Value]) -> Vec<Line> {
        let line = |value: &Value| Line {
            role: Role::Hub,
            process: 1,
            at: Instant::now(),
            value: value.clone(),
        };
        values.iter().map(line).collect()
    }

    #[test]
    fn a_heartbeat_behind_the_clip_is_not_in_its_middle() {
        let (started, finished) = (
            json!({"event": "clip_started"}),
            json!({"event": "clip_finished"}),
        );
        let healed = |channel| json!({"event": "healed", "channel": channel});
        let video = healed("event_video");
        let good = said(&[
            started.clone(),
            healed("config"),
            video.clone(),
            finished.clone(),
        ]);
        assert!(healed_in_a_clip(&good).unwrap());
        assert!(!healed_in_a_clip(&good[..2]).unwrap(), "not yet");
        assert!(healed_in_a_clip(&said(&[started, finished, video])).is_err());
    }
}
