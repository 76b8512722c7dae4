//! What a watcher is to look for: the file's word, and what phones have set over it.
//!
//! It follows what is durable, so that a camera never does what a power cut takes back. This room must never leave a
//! watcher without settings: where what phones have set does not fit the file any more, the file's holds alone.

use tokio::sync::watch;

use crate::config::detection::Detection;
use crate::core::Wishes;

/// The settings of one camera, as they change.
pub struct Wanted {
    camera: String,
    file: Box<Detection>,
    wishes: watch::Receiver<Wishes>,
    /// The version of what phones have set, as it was looked at last; 0: nothing.
    version: u64,
}

impl Wanted {
    /// Of the camera of this name, of which the file says `file`.
    pub fn new(camera: &str, file: Box<Detection>, wishes: watch::Receiver<Wishes>) -> Self {
        Self {
            camera: camera.to_owned(),
            file,
            wishes,
            version: 0,
        }
    }

    /// What holds now.
    pub fn now(&mut self) -> Detection {
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

    /// Waits until a phone has set something else; answers what holds then. Cancel safe. Never, once the journal is
    /// gone.
    pub(super) async fn changed(&mut self) -> Detection {
        loop {
            if self.wishes.changed().await.is_err() {
                return std::future::pending().await;
            }
            let before = self.version;
            let now = self.now();
            // Other wishes change as well.
            if self.version != before {
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
