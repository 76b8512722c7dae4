//! The three kills, each at an instant when that process has un-acked bytes in flight.
//!
//! A kill proves something only if there was something to lose. So the phone is put to sleep
//! (SIGSTOP) while an event is recorded: nothing can be acked then, and what the hub sends piles
//! up at hub and relay. This room never counts a kill that had nothing in flight.

use std::time::Duration;

use super::process::{Event, unix_ms};
use super::world::{Cameras, HubStatus, PATIENCE, Recovered, World};
use crate::failure::{Failure, Outcome};

/// With so many envelopes piled up the phone wakes to a queue and not to a single message.
const PILED_UP_ENVELOPES: u64 = 4;
/// How long the watermark must stand still before we believe that no ack is under way.
const SETTLE: Duration = Duration::from_millis(400);
/// An ack under way arrives within one of these; more means that somebody is still acking.
const SETTLE_ROUNDS_MAX: usize = 25;
/// An event may end under our hands; then we take the next one.
const EVENTS_MAX: usize = 10;
/// The app may be too quick for us; then we kill it again.
const APP_KILLS_MAX: usize = 10;
/// A phone that slept while the relay died notices at the latest when its connection has been
/// silent for a minute.
const RECONNECT_WAIT: Duration = Duration::from_secs(90);
/// An event ends within this, with all that is under way.
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
    /// When the process was started again.
    pub(super) restarted_unix_ms: u64,
    /// The most memory that the process had until then, in bytes.
    pub(super) peak_memory_bytes: Option<u64>,
}

/// Kills the app just after it stored a chunk that it has not acked yet.
pub(super) fn app(world: &mut World) -> Outcome<Kill> {
    for _ in 0..APP_KILLS_MAX {
        let status = pile_up(world)?;
        let from = world.app()?.heard();
        world.wake_phone()?;
        let first = world.app()?.wait_for("media", from, PATIENCE, is_media)?;
        let Some(app) = world.app.take() else { break };
        let peak_memory_bytes = app.peak_memory_bytes();
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
        let restarted_unix_ms = unix_ms();
        world.start_app()?;
        world.end_disturbance(Recovered::WithMedia);
        if unacked_bytes > 0 && status.recording {
            return Ok(Kill {
                process: "app",
                unacked_bytes,
                clip: first.text("clip").to_owned(),
                restarted_unix_ms,
                peak_memory_bytes,
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
    let peak_memory_bytes = relay.peak_memory_bytes();
    relay.kill()?;
    if unacked_bytes == 0 || status.stored_through <= status.acked_through {
        return Err(Failure::found(
            "the relay held nothing un-acked when it was killed",
        ));
    }
    if disk == RelayDisk::Wiped {
        world.wipe_relay()?;
    }
    let restarted_unix_ms = unix_ms();
    world.start_relay()?;
    world.wake_phone()?;
    world.end_disturbance(Recovered::WithMedia);
    Ok(Kill {
        process: "relay",
        unacked_bytes,
        clip: current_clip(&status)?,
        restarted_unix_ms,
        peak_memory_bytes,
    })
}

/// Kills the hub in the middle of a clip, and starts it again for some more events.
pub(super) fn hub(world: &mut World) -> Outcome<Kill> {
    // A clip of its own, so that the one with the other two kills may end complete.
    if let Ok(before) = current_clip(&world.hub_status()?) {
        let ended = |world: &mut World| {
            let status = world.hub_status()?;
            let mut clips = status.clips.iter();
            let over = clips.any(|clip| clip.id == before && clip.outcome != "recording");
            Ok(over.then_some(()))
        };
        // One that is late is killed where it is; that is as good a middle.
        let _ = world.until("the end of a clip", CLIP_END_WAIT, ended);
    }
    let status = pile_up(world)?;
    let clip = current_clip(&status)?;
    world.count_hub_writes();
    let Some(hub) = world.hub.take() else {
        return Err(Failure::found("the demo lost its hub"));
    };
    let peak_memory_bytes = hub.peak_memory_bytes();
    world.hub_past.extend(hub.kill()?);
    if status.unacked_bytes == 0 {
        return Err(Failure::found(
            "the hub had nothing un-acked when it was killed",
        ));
    }
    // The phone is awake before the hub is back: the later event is timed.
    world.wake_phone()?;
    world.configure_hub(Cameras::LaterEvents)?;
    world.end_disturbance(Recovered::AtOnce);
    let restarted_unix_ms = unix_ms();
    world.start_hub()?;
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
        restarted_unix_ms,
        peak_memory_bytes,
    })
}

/// Waits for the middle of a clip, puts the phone to sleep and lets envelopes pile up until the
/// relay stores some and the watermark stands still. The phone is still asleep afterwards.
fn pile_up(world: &mut World) -> Outcome<HubStatus> {
    for _ in 0..EVENTS_MAX {
        // In the middle: this clip's first bytes have arrived at the phone.
        world.until(
            "a recorded event that reaches the phone",
            RECONNECT_WAIT,
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
        world.sleep_phone()?;
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
        world.wake_phone()?;
        world.end_disturbance(Recovered::WithMedia);
    }
    Err(Failure::found(format!(
        "{EVENTS_MAX} events ended before anything piled up; the clip has too few pictures a second for the demo"
    )))
}

/// The hub's watermark, once it has stood still for a while.
fn settled_watermark(world: &World) -> Outcome<u64> {
    let mut last = world.hub_status()?.acked_through;
    for _ in 0..SETTLE_ROUNDS_MAX {
        std::thread::sleep(SETTLE);
        let now = world.hub_status()?.acked_through;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    Err(Failure::found("acks keep coming though the phone sleeps"))
}

fn current_clip(status: &HubStatus) -> Outcome<String> {
    status
        .clips
        .iter()
        .find(|clip| clip.outcome == "recording")
        .map(|clip| clip.id.clone())
        .ok_or_else(|| Failure::found("the hub is recording no clip"))
}

/// Whether the phone says that it has a chunk.
pub(super) fn is_media(event: &Event) -> bool {
    event.name() == "media"
}
