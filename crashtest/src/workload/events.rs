//! Conversations about events: recorded, delivered, kept, deleted; and a heartbeat in the middle of one.

use crate::oracle::{Clip, Ends};
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
    judge_drops(system)?;
    system.settle()
}

/// What the owner is told of clips that made room: at the hub that each went for the budget, at the phone that the
/// storage is full, and of each clip that it was given up for that. What the hub still owes it says in its next process.
fn judge_drops(system: &mut System) -> Outcome<()> {
    for role in [Role::App, Role::Hub] {
        system.stop(role)?;
    }
    // One that was killed would play its events anew, and drop clips meanwhile.
    system.write_hub_config_without_camera()?;
    system.start(Role::Hub)?;
    let patience = system.setup.patience;
    let told = system.until("word of a full storage", patience, |system| {
        let status = system.hub_status()?;
        let answer = system.ask_app(&["notifications", "--json"])?;
        let answer = answer.lines.last().cloned().unwrap_or_default();
        system.remember(format!("{status:?}, {answer}"));
        let mut rows = answer["notifications"].as_array().into_iter().flatten();
        let is_told = rows.any(|row| row["kind"] == "storage_full");
        if is_told && status.unacked_envelopes == 0 {
            return Ok(Some(()));
        }
        // The hub says it at a tick.
        let _synced = system.sync_once()?;
        Ok(None)
    });
    match told {
        Err(Trouble::Late { what, last, .. }) => {
            system.found_broken("C2", format!("{what} never came to the phone: {last}"));
        }
        told => told?,
    }
    let of_hub = system.hub_clips()?;
    let of_phone = system.app_clips()?;
    let is_dropped = |clip: &&Clip| clip.outcome == "dropped";
    let lines = system.board().lines();
    for clip in of_hub.iter().filter(is_dropped) {
        let there = of_phone.iter().find(|there| there.id == clip.id);
        if there.is_none_or(|there| there.outcome != clip.outcome) {
            let what = format!("a clip made room, and the phone has it as {there:?}");
            system.found_broken("C2", what);
        }
        let mut said = lines.iter().filter(|line| {
            line.role == Role::Hub && line.event() == "clip_dropped" && line.text("clip") == clip.id
        });
        let is_said = said.clone().next().is_some();
        // Who is killed behind the sync says it no more.
        if said.any(|line| line.text("why") != "budget") || !(is_said || system.died()) {
            let what = format!("the hub does not say of clip {} why it went", clip.id);
            system.found_broken("C2", what);
        }
    }
    Ok(())
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
