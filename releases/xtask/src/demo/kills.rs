//! The three kills, each at an instant when that process has un-acked bytes in flight.
//!
//! A kill proves something only if there was something to lose. So the phone is put to sleep
//! (SIGSTOP) while an event is recorded: nothing can be acked then, and what the hub sends piles
//! up at hub and relay. This room never counts a kill that had nothing in flight.

use std::time::Duration;

use super::process::Event;
use super::world::{HubStatus, PATIENCE, Passes, World};
use crate::failure::{Failure, Outcome};

/// With so many envelopes piled up the phone wakes to a queue and not to a single message.
const PILED_UP_ENVELOPES: u64 = 4;
/// How long the watermark must stand still before we believe that no ack is under way.
const SETTLE: Duration = Duration::from_millis(600);
/// The app may be too quick for us; then we kill it again.
const APP_KILLS_MAX: usize = 10;
/// A clip ends, or it is so long that we do not wait for its end.
const CLIP_END_WAIT: Duration = Duration::from_secs(45);

/// Whether the relay keeps its disk when it dies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayDisk {
    Kept,
    Wiped,
}

/// A kill that counted.
pub(super) struct Kill {
    pub(super) process: &'static str,
    pub(super) unacked_bytes: u64,
    pub(super) clip: String,
}

/// Kills the app just after it stored a chunk that it has not acked yet.
pub(super) fn app(world: &mut World) -> Outcome<Kill> {
    for _ in 0..APP_KILLS_MAX {
        let status = pile_up(world)?;
        let from = world.app()?.heard();
        world.app()?.wake()?;
        let first = world.app()?.wait_for("media", from, PATIENCE, is_media)?;
        let Some(app) = world.app.take() else { break };
        let events = app.kill()?;
        // What was durable and announced at the phone, against what the hub ever hears of it:
        // relay and hub live on, so an ack that had left would arrive now.
        let acked_through = settled_watermark(world)?;
        let unacked_bytes = events
            .iter()
            .filter(|event| is_media(event) && event.number("seq") > acked_through)
            .map(|event| event.number("bytes"))
            .sum();
        world.app_past.extend(events);
        world.start_app()?;
        if unacked_bytes > 0 && status.recording {
            return Ok(Kill {
                process: "app",
                unacked_bytes,
                clip: first.text("clip").to_owned(),
            });
        }
    }
    Err(Failure::found(format!(
        "the app was killed {APP_KILLS_MAX} times and never had un-acked bytes"
    )))
}

/// Kills the relay while it stores envelopes of the hub that the phone has not acked.
pub(super) fn relay(world: &mut World, disk: RelayDisk) -> Outcome<Kill> {
    let status = pile_up(world)?;
    // The hub knows what is un-acked, the relay what it stores; what it holds un-acked is at most
    // the smaller. That it holds some is what receipts above the watermark say.
    let unacked_bytes = world.relay_bytes()?.min(status.unacked_bytes);
    let Some(relay) = world.relay.take() else {
        return Err(Failure::found("the demo lost its relay"));
    };
    relay.kill()?;
    if unacked_bytes == 0 || status.stored_through <= status.acked_through {
        return Err(Failure::found(
            "the relay held nothing un-acked when it was killed",
        ));
    }
    if disk == RelayDisk::Wiped {
        world.wipe_relay()?;
    }
    world.start_relay()?;
    world.app()?.wake()?;
    Ok(Kill {
        process: "relay",
        unacked_bytes,
        clip: current_clip(&status)?,
    })
}

/// Kills the hub in the middle of a clip, and starts it again for one more event.
pub(super) fn hub(world: &mut World) -> Outcome<Kill> {
    // A clip of its own, so that the one with the other two kills may end complete.
    let before = current_clip(&world.hub_status()?)?;
    let ended = |world: &mut World| {
        let moved_on = world
            .hub_status()?
            .clips
            .iter()
            .any(|clip| clip.id == before && clip.outcome != "recording");
        Ok(moved_on.then_some(()))
    };
    // A clip longer than our patience is killed where it is; that is as good a middle.
    let _ = world.until("the end of a clip", CLIP_END_WAIT, ended);
    let status = pile_up(world)?;
    let clip = current_clip(&status)?;
    let Some(hub) = world.hub.take() else {
        return Err(Failure::found("the demo lost its hub"));
    };
    world.hub_past.extend(hub.kill()?);
    if status.unacked_bytes == 0 {
        return Err(Failure::found(
            "the hub had nothing un-acked when it was killed",
        ));
    }
    world.configure_hub(Passes::One)?;
    world.start_hub()?;
    world.app()?.wake()?;
    let cut_off = world
        .hub()?
        .wait_for("cut-off notice", 0, PATIENCE, |event| {
            event.name() == "clip_finished" && event.text("clip") == clip
        })?;
    if cut_off.text("outcome") != "cut_off" {
        return Err(Failure::found(
            "the clip that the kill cut off is not marked so",
        ));
    }
    Ok(Kill {
        process: "hub",
        unacked_bytes: status.unacked_bytes,
        clip,
    })
}

/// Waits for the middle of a clip, puts the phone to sleep and lets envelopes pile up until the
/// relay stores some and the watermark stands still. The phone is still asleep afterwards.
fn pile_up(world: &mut World) -> Outcome<HubStatus> {
    loop {
        // In the middle: this clip's first bytes have arrived at the phone.
        world.until(
            "a recorded event that reaches the phone",
            PATIENCE,
            |world| {
                let status = world.hub_status()?;
                let Ok(clip) = current_clip(&status) else {
                    return Ok(None);
                };
                let arrived = world
                    .app()?
                    .events()
                    .iter()
                    .any(|e| is_media(e) && e.text("clip") == clip);
                Ok(arrived.then_some(()))
            },
        )?;
        world.app()?.freeze()?;
        let piled = world.until("a queue at hub and relay", PATIENCE, |world| {
            let status = world.hub_status()?;
            let piled = status.unacked_envelopes >= PILED_UP_ENVELOPES
                && status.stored_through > status.acked_through;
            Ok((piled || !status.recording).then_some(status))
        })?;
        if piled.recording {
            let acked_through = settled_watermark(world)?;
            let status = world.hub_status()?;
            if status.recording && status.acked_through == acked_through {
                return Ok(status);
            }
        }
        // The event ended under our hands: wake the phone and take the next one.
        world.app()?.wake()?;
    }
}

/// The hub's watermark, once it has stood still for a while.
fn settled_watermark(world: &World) -> Outcome<u64> {
    let mut last = world.hub_status()?.acked_through;
    loop {
        std::thread::sleep(SETTLE);
        let now = world.hub_status()?.acked_through;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

fn current_clip(status: &HubStatus) -> Outcome<String> {
    status
        .clips
        .iter()
        .find(|clip| clip.outcome == "recording")
        .map(|clip| clip.id.clone())
        .ok_or_else(|| Failure::found("the hub is recording no clip"))
}

fn is_media(event: &Event) -> bool {
    event.name() == "media"
}
