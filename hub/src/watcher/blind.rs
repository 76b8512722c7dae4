//! A watcher whose eyes turn out to see nothing: what comes of its camera is a camera by the clock.
//!
//! What a stream's parameters say is known before anybody looks ([`crate::camera::VideoCodec::undecodable`]); this is for
//! what they do not say. Whoever opens the camera again decides whether to try anew. It must never take the source from a watcher that
//! still has something to say, and never open anything.

use std::sync::Arc;
use std::time::Duration;

use super::{Sight, Watcher};
use crate::camera::{
    Camera, CameraEvent, Clock, LiveCamera, NextEvent, SourceItem, VideoTrack, Windows,
    WindowsConfig,
};

/// A [`Watcher`] for as long as there is anything to see, and [`Windows`] afterwards.
pub struct WatchedOrTimed<C> {
    state: State<C>,
    windows: WindowsConfig,
    report: Box<dyn FnMut(Option<Arc<VideoTrack>>) + Send>,
}

enum State<C> {
    Watched(Box<Watcher<C>>),
    /// For how long the watcher had handed out pictures before that.
    Timed(Box<Windows<C>>, Duration),
    /// Only while one becomes the other.
    Between,
}

impl<C: Clock + Clone + 'static> WatchedOrTimed<C> {
    /// `windows` are the times of its events once nothing can be seen; `report` hears then of what.
    pub fn new(
        watcher: Watcher<C>,
        windows: WindowsConfig,
        report: impl FnMut(Option<Arc<VideoTrack>>) + Send + 'static,
    ) -> Self {
        Self {
            state: State::Watched(Box::new(watcher)),
            windows,
            report: Box::new(report),
        }
    }

    async fn next(&mut self) -> Option<CameraEvent> {
        loop {
            match &mut self.state {
                State::Watched(watcher) => {
                    let event = watcher.next().await;
                    if event.is_some() || !watcher.is_blind() {
                        return event;
                    }
                }
                State::Timed(windows, _) => return windows.next_event().await,
                State::Between => return None,
            }
            // Without an await in between: whoever drops the future loses no source.
            self.state = match std::mem::replace(&mut self.state, State::Between) {
                State::Watched(watcher) => {
                    let blind = watcher.tracks.as_ref();
                    (self.report)(blind.map(|tracks| Arc::clone(&tracks.video)));
                    let held = watcher.held();
                    State::Timed(Box::new(watcher.into_windows(self.windows)), held)
                }
                other => other,
            };
        }
    }
}

impl<C: Clock + Clone + 'static> Camera for WatchedOrTimed<C> {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(self.next())
    }
}

impl<C: Clock + Clone + 'static> LiveCamera for WatchedOrTimed<C> {
    fn held(&self) -> Duration {
        match &self.state {
            State::Watched(watcher) => watcher.held(),
            State::Timed(windows, before) => before.saturating_add(windows.held()),
            State::Between => Duration::ZERO,
        }
    }
}

impl<C: Clock + Clone + 'static> Watcher<C> {
    /// Whether nothing is to be seen in its stream, and nothing is left to be done: no event runs, and no picture is
    /// owed. Its source goes on.
    pub(super) fn is_blind(&self) -> bool {
        self.are_eyes_blind
            && !self.is_over
            && self.machine.running().is_none()
            && self.owes_picture.is_none()
            && matches!(self.sight, Sight::Idle(_))
    }

    /// The same camera by the clock, from its next key frame on.
    fn into_windows(self, config: WindowsConfig) -> Windows<C> {
        let windows = Windows::new(self.source, config, self.clock);
        let mut windows = windows.until_decodable(self.name);
        if let Some(tracks) = self.tracks {
            windows.handle_first(Some(SourceItem::Format(tracks)));
        }
        windows
    }
}
