//! Somebody walks through the scene of the virtual camera: found by motion, told, shown and recorded; twice in
//! peace, and twice with a kill in the middle.
//!
//! The camera is exchanged while the hub runs. This room never counts an event that no motion made, and never
//! times one in which something was killed.

use std::time::Duration;

use super::process::Event;
use super::world::{Cameras, PATIENCE, World};
use crate::failure::{Failure, Outcome};

/// Somebody comes so often, and an event waits for the one before it to end.
const WALK_WAIT: Duration = Duration::from_secs(60);
/// Which camera's events count.
pub(super) const CAMERA: &str = "virtual";

/// Somebody who walked by, in peace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// When the event began, by its camera: what hub and phone name it by.
    pub(super) started_unix_ms: u64,
    /// Its clip.
    pub(super) clip: String,
    /// From the hub's word that its notice is safe to the phone's that it has it.
    pub(super) notice_ms: u64,
    /// From the same to the picture.
    pub(super) picture_ms: u64,
}

/// What motion made.
pub(super) struct Motion {
    /// In peace.
    pub(super) walks: Vec<Walk>,
    /// When those events began in which a program was killed.
    pub(super) disturbed: Vec<u64>,
}

impl Motion {
    /// When each event began of which the phone must have been told.
    pub(super) fn told(&self) -> impl Iterator<Item = u64> {
        let calm = self.walks.iter().map(|walk| walk.started_unix_ms);
        calm.chain(self.disturbed.iter().copied())
    }
}

/// Exchanges the camera of the running hub; answers from which of its words on the new one speaks.
pub(super) fn exchange(world: &mut World) -> Outcome<usize> {
    world.configure_hub(Cameras::Virtual)?;
    let from = world.hub()?.heard();
    world.leave_timing();
    world.reload_hub()?;
    Ok(from)
}

/// Somebody walks by and nothing is disturbed: notice, picture and the whole clip come.
pub(super) fn in_peace(world: &mut World, from: usize) -> Outcome<Walk> {
    let seen_from = world.app()?.heard();
    let told = told(world, from)?;
    let started_unix_ms = told.number("unix_ms");
    let is_it = |event: &Event| event.number("started_unix_ms") == started_unix_ms;
    let notice = world
        .app()?
        .wait_for("notice", seen_from, PATIENCE, |event| {
            event.name() == "notification" && is_it(event)
        })?;
    if notice.text("camera") != CAMERA {
        return Err(Failure::found("a notice names another camera"));
    }
    let picture = world
        .app()?
        .wait_for("picture", seen_from, PATIENCE, |event| {
            event.name() == "thumbnail" && is_it(event)
        })?;
    let clip = clip_of(world, from, started_unix_ms)?;
    ends(world, from, &clip, "complete")?;
    Ok(Walk {
        started_unix_ms,
        clip,
        notice_ms: notice.unix_ms.saturating_sub(told.unix_ms),
        picture_ms: picture.unix_ms.saturating_sub(told.unix_ms),
    })
}

/// The app is killed when it has just been told; answers when the event began.
pub(super) fn kill_app(world: &mut World) -> Outcome<u64> {
    let from = world.hub()?.heard();
    let started_unix_ms = noticed(world, from)?;
    if let Some(app) = world.app.take() {
        let events = app.kill()?;
        world.app_past.extend(events);
    }
    world.start_app()?;
    let clip = clip_of(world, from, started_unix_ms)?;
    ends(world, from, &clip, "complete")?;
    Ok(started_unix_ms)
}

/// The hub is killed when the phone has just been told; its next start marks the clip as cut off. Answers when
/// the event began.
pub(super) fn kill_hub(world: &mut World) -> Outcome<u64> {
    let from = world.hub()?.heard();
    let started_unix_ms = noticed(world, from)?;
    let clip = clip_of(world, from, started_unix_ms)?;
    if let Some(hub) = world.hub.take() {
        let events = hub.kill()?;
        world.hub_past.extend(events);
    }
    world.start_hub()?;
    ends(world, 0, &clip, "cut_off")?;
    Ok(started_unix_ms)
}

/// Nobody is watched any more, so that all that was recorded can be acked.
pub(super) fn end(world: &mut World) -> Outcome<()> {
    world.configure_hub(Cameras::None)?;
    world.reload_hub()
}

/// The hub's word that a notice of motion is safe.
fn told(world: &mut World, from: usize) -> Outcome<Event> {
    world
        .hub()?
        .wait_for("somebody who walks by", from, WALK_WAIT, |event| {
            event.name() == "told" && event.text("channel") == "notification"
        })
}

/// Waits until the phone knows of the next walk; answers when that began.
fn noticed(world: &mut World, from: usize) -> Outcome<u64> {
    let started_unix_ms = told(world, from)?.number("unix_ms");
    world.app()?.wait_for("notice", 0, PATIENCE, |event| {
        event.name() == "notification" && event.number("started_unix_ms") == started_unix_ms
    })?;
    Ok(started_unix_ms)
}

fn clip_of(world: &mut World, from: usize, started_unix_ms: u64) -> Outcome<String> {
    let started = world.hub()?.wait_for("clip", from, PATIENCE, |event| {
        event.name() == "clip_started" && event.number("unix_ms") == started_unix_ms
    })?;
    Ok(started.text("clip").to_owned())
}

fn ends(world: &mut World, from: usize, clip: &str, outcome: &str) -> Outcome<()> {
    let ended = world
        .hub()?
        .wait_for("end of a clip", from, WALK_WAIT, |event| {
            event.name() == "clip_finished" && event.text("clip") == clip
        })?;
    match ended.text("outcome") {
        found if found == outcome => Ok(()),
        found => Err(Failure::found(format!(
            "the clip of somebody who walked by ended {found}, not {outcome}"
        ))),
    }
}
