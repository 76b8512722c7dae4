//! Under which names cameras are shown to phones: what a phone has set, else what the configuration says.
//!
//! Inside this program a camera has its configured name and no other; the shown one is put in its place where
//! something is said. What belongs to one event is said under one name, so whoever renames a camera meanwhile disturbs
//! nothing. Only what is durable counts. This room must never let two cameras of the configuration pass for one.

use std::collections::VecDeque;

use journal::message::CameraDoc;

use super::{Core, Detections};

/// Events of which the names are known; more than all cameras can have under way at once.
const EVENTS_MAX: usize = 64;

/// The names of the last events.
#[derive(Default)]
pub(super) struct Names {
    /// Camera, when the event began, and the name.
    events: VecDeque<(String, u64, String)>,
}

impl Names {
    fn known(&self, camera: &str, started_unix_ms: u64) -> Option<&str> {
        let mut events = self.events.iter();
        let known =
            events.find(|(other, started, _)| other == camera && *started == started_unix_ms);
        known.map(|(_, _, name)| name.as_str())
    }

    fn remember(&mut self, camera: &str, started_unix_ms: u64, name: &str) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events
            .push_back((camera.to_owned(), started_unix_ms, name.to_owned()));
    }
}

/// The configured name of the camera that somebody names: by that, else by the one under which it is shown.
pub(super) fn configured<'a>(
    named: &'a str,
    docs: &'a [CameraDoc],
    detections: &Detections,
) -> &'a str {
    if named.is_empty() || detections.contains_key(named) {
        return named;
    }
    let mut shown = docs
        .iter()
        .filter(|doc| detections.contains_key(&doc.camera));
    let found = shown.find(|doc| doc.settings.name.as_deref() == Some(named));
    found.map_or(named, |doc| doc.camera.as_str())
}

impl Core {
    /// The name under which a camera is shown now.
    pub(super) fn shown_name(&self, camera: &str) -> String {
        let doc = self.wishes.cameras.iter().find(|doc| doc.camera == camera);
        let set = doc.and_then(|doc| doc.settings.name.as_deref());
        // The configuration may have got another camera of that name since, or one back that was set to it before.
        let is_its = |name: &&str| {
            let found = configured(name, &self.wishes.cameras, &self.detections);
            found == camera || (found == *name && !self.detections.contains_key(found))
        };
        set.filter(is_its).unwrap_or(camera).to_owned()
    }

    /// The name under which everything of an event of this camera is said that began then.
    pub(super) fn event_name(&mut self, camera: &str, started_unix_ms: u64) -> String {
        if let Some(known) = self.names.known(camera, started_unix_ms) {
            return known.to_owned();
        }
        let name = self.shown_name(camera);
        self.names.remember(camera, started_unix_ms, &name);
        name
    }

    /// The camera that a phone names.
    pub(super) fn camera_named(&self, named: &str) -> String {
        configured(named, &self.wishes.cameras, &self.detections).to_owned()
    }
}
