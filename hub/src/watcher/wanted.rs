//! What a watcher is to look for: the file's word, and what phones have set over it.
//!
//! It follows what is durable, so that a camera never does what a power cut takes back. This room must never leave a
//! watcher without settings: where what phones have set does not fit the file any more, the file's holds alone.

use std::time::Duration;

use tokio::sync::watch;

use super::{Waiting, Watcher};
use crate::camera::Clock;
use crate::config::detection::Detection;
use crate::core::Wishes;

/// The settings of one camera, as they change.
pub struct Wanted {
    camera: String,
    file: Box<Detection>,
    wishes: watch::Receiver<Wishes>,
    /// The version of what phones have set, as it was looked at last; 0: nothing.
    version: u64,
    /// What was answered last.
    answered: Option<Detection>,
}

impl Wanted {
    /// Of the camera of this name, of which the file says `file`.
    pub fn new(camera: &str, file: Box<Detection>, wishes: watch::Receiver<Wishes>) -> Self {
        Self {
            camera: camera.to_owned(),
            file,
            wishes,
            version: 0,
            answered: None,
        }
    }

    /// What holds now.
    pub fn now(&mut self) -> Detection {
        let now = self.look();
        self.answered = Some(now.clone());
        now
    }

    fn look(&mut self) -> Detection {
        let wishes = self.wishes.borrow_and_update();
        let set = wishes.cameras.iter().find(|doc| doc.camera == self.camera);
        self.version = set.map_or(0, |doc| doc.version);
        let Some(doc) = set else {
            return (*self.file).clone();
        };
        self.file.with(&doc.settings).unwrap_or_else(|error| {
            let camera = &self.camera;
            tracing::warn!(%error, camera, "what phones have set does not fit the file, which holds alone");
            (*self.file).clone()
        })
    }

    /// Waits until a phone has set something else that is about what to look for, which a name is not; answers what
    /// holds then. Cancel safe. Never, once the journal is gone.
    pub(super) async fn changed(&mut self) -> Detection {
        loop {
            if self.wishes.changed().await.is_err() {
                return std::future::pending().await;
            }
            let before = self.version;
            let now = self.look();
            // Other wishes change as well.
            if self.version != before && self.answered.as_ref() != Some(&now) {
                self.answered = Some(now.clone());
                return now;
            }
        }
    }
}

/// As [`Wanted::changed`]; never, if nobody can set anything.
pub(super) async fn changed(wanted: &mut Option<Wanted>) -> Detection {
    match wanted {
        Some(wanted) => wanted.changed().await,
        None => std::future::pending().await,
    }
}

impl<C: Clock + Clone + 'static> Watcher<C> {
    /// From here on it follows what phones set. What `wanted` said last is what it was made with.
    #[must_use]
    pub fn following(mut self, wanted: Wanted) -> Self {
        self.wanted = Some(wanted);
        self
    }

    /// Other settings from here on: of an event that runs as well, which goes on. Turned off, no sight of anything
    /// comes any more, and what runs ends with its post-roll. Where nobody is to be asked about persons any more, who
    /// looks at a picture is ended.
    pub(super) fn handle_settings(&mut self, detection: Detection, now: Duration) {
        tracing::info!(camera = self.name, "a phone has set something");
        self.machine.handle_settings(detection.events, now);
        self.wall_clock = detection.wall_clock;
        if let Some(hints) = &mut self.hints {
            hints.handle_switch(detection.person.is_some(), now);
        }
        if !detection.detects {
            self.leave_waiting_out();
            self.seen = None;
            self.machine.handle_blindfold();
        } else if !self.watching.is_on {
            // Nobody saw what came meanwhile.
            self.waiting.push_back(Waiting::Gap);
        }
        self.watching.is_on = detection.detects;
        self.new_sight = Some((detection.motion, detection.cpu_percent));
    }
}
