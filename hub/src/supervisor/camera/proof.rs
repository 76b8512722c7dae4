//! When a camera that was opened counts as there: once its pictures have kept coming for a while.
//!
//! One that shows a picture and freezes, each time that it is opened, is away: whoever believed its first picture would
//! say every few seconds that it is back. This room must never hold a picture up, and never wait for anybody.

use std::time::Duration;

use super::Reporter;
use crate::camera::pauses::HELD_MIN;
use crate::camera::{
    Camera, CameraEvent, Clock, EventEnd, NextEvent, NextItem, Source, SourceItem,
};
use crate::core::Presence;
use crate::sealer::Sealer;

/// Whether a camera has proved that it is there, of one time that it is open.
pub(super) struct Proof<C> {
    name: String,
    sealer: Sealer,
    reporter: Reporter,
    clock: C,
    /// When its first picture came, by the clock.
    first: Option<Duration>,
    is_given: bool,
}

impl<C: Clock> Proof<C> {
    /// Of the camera of this name, which has shown nothing yet.
    pub(super) fn new(name: String, sealer: Sealer, reporter: Reporter, clock: C) -> Self {
        Self {
            name,
            sealer,
            reporter,
            clock,
            first: None,
            is_given: false,
        }
    }

    fn handle_picture(&mut self) {
        if self.is_given {
            return;
        }
        let now = self.clock.now();
        let first = *self.first.get_or_insert(now);
        if now.saturating_sub(first) >= HELD_MIN {
            self.give();
        }
    }

    /// It is there: whatever it failed of is over.
    fn give(&mut self) {
        if self.is_given {
            return;
        }
        self.reporter.set_trouble(None);
        let name = self.name.clone();
        let told = self.sealer.offer(move |core, now| {
            core.handle_camera(&name, Presence::There, now);
            Ok(())
        });
        // Where the journal's queue has no place, what comes next tries again; that the journal is gone is found out
        // elsewhere.
        self.is_given = !matches!(told, Ok(false));
    }
}

/// A source whose pictures are its proof.
pub(super) struct ProvenSource<C> {
    source: Box<dyn Source>,
    proof: Proof<C>,
}

impl<C: Clock> ProvenSource<C> {
    pub(super) fn new(source: Box<dyn Source>, proof: Proof<C>) -> Self {
        Self { source, proof }
    }
}

impl<C: Clock> Source for ProvenSource<C> {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(async move {
            let item = self.source.next_item().await;
            // Without an await in between: a future that is dropped has lost nothing.
            if matches!(item, Ok(Some(SourceItem::Video(_)))) {
                self.proof.handle_picture();
            }
            item
        })
    }
}

/// A clip, for which a pass that was whole is as good as a long time.
pub(super) struct ProvenCamera<'c, C> {
    camera: &'c mut dyn Camera,
    proof: Proof<C>,
}

impl<'c, C: Clock> ProvenCamera<'c, C> {
    pub(super) fn new(camera: &'c mut dyn Camera, proof: Proof<C>) -> Self {
        Self { camera, proof }
    }
}

impl<C: Clock> Camera for ProvenCamera<'_, C> {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(async move {
            let event = self.camera.next_event().await;
            // As above.
            match &event {
                Some(CameraEvent::AccessUnit(_)) => self.proof.handle_picture(),
                Some(CameraEvent::EventEnded(EventEnd::Completed)) => self.proof.give(),
                _ => {}
            }
            event
        })
    }
}
