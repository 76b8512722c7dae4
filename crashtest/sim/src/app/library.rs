//! What it holds of events, and the deletion of a clip. Nothing here is a step of a line.

use app_core::core::Core;
use journal::{AppClip, AppClipState};

use super::{App, ended};
use crate::hub::Fault;
use crate::oracle::{Broken, Held};

impl App {
    /// Deletes the clip of the event that began then.
    ///
    /// # Errors
    /// There is none, or the disk's trouble.
    pub fn delete(&mut self, started_unix_ms: u64) -> Result<(), Fault> {
        let Some(process) = &mut self.process else {
            return Err(Broken::new("C7", "the app does not run").into());
        };
        let clips = process.core.clips().map_err(|error| ended(&error))?;
        let found = clips
            .into_iter()
            .find(|(_, clip)| clip.started_unix_ms == started_unix_ms);
        let Some((_, clip)) = found else {
            return Err(Broken::new("C2", "there is no such clip").into());
        };
        let deleted = process.core.delete(clip.clip);
        let committed = deleted.and_then(|_staged| process.core.commit());
        committed.map(drop).map_err(|error| ended(&error))
    }

    /// Everything that it holds.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn held(&mut self) -> Result<Vec<Held>, Fault> {
        self.held_of(|_started_unix_ms| true)
    }

    /// What it holds of the events that began at these times, in milliseconds since 1970.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn held_of(&mut self, wanted: impl Fn(u64) -> bool) -> Result<Vec<Held>, Fault> {
        let Some(process) = &mut self.process else {
            return Err(Broken::new("C7", "the app does not run").into());
        };
        let clips = process.core.clips().map_err(|error| ended(&error))?;
        let mut held = Vec::new();
        for (_, clip) in clips {
            if wanted(clip.started_unix_ms) {
                held.push(held_as(&process.core, &clip)?);
            }
        }
        Ok(held)
    }

    /// When the events began of which it remembers a notification, and the pictures of events that it holds.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn beside(&mut self) -> Result<(Vec<u64>, Vec<Held>), Fault> {
        let Some(process) = &mut self.process else {
            return Err(Broken::new("C7", "the app does not run").into());
        };
        let notices = process.core.notices().map_err(|error| ended(&error))?;
        let of_events = notices.iter().filter(|one| one.what.kind.is_event());
        let notices = of_events.map(|one| one.what.started_unix_ms);
        let pictures = process.core.thumbnails().map_err(|error| ended(&error))?;
        let pictures = pictures.iter().map(|one| held_as(&process.core, &one.what));
        Ok((notices.collect(), pictures.collect::<Result<_, Fault>>()?))
    }
}

/// A clip, or the picture of an event, as it is here.
fn held_as(core: &Core, clip: &AppClip) -> Result<Held, Fault> {
    let mut bytes = Vec::new();
    for index in 0..clip.chunks {
        let chunk = core.chunk(clip.clip, index);
        bytes.extend_from_slice(&chunk.map_err(|error| ended(&error))?);
    }
    let (whole, dropped) = match clip.state {
        AppClipState::Complete => (Some(true), None),
        AppClipState::CutOff => (Some(false), None),
        AppClipState::Receiving => (None, None),
        AppClipState::Dropped(reason) => (None, Some(reason)),
        other => {
            return Err(Broken::new("C2", format!("a clip is {other:?}")).into());
        }
    };
    Ok(Held {
        started_unix_ms: clip.started_unix_ms,
        bytes,
        whole,
        sha256: clip.sha256.filter(|_| dropped.is_none()),
        dropped,
    })
}
