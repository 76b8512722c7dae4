//! A watcher whose eyes turn out to see nothing: what comes of its camera is a camera by the clock, for a while.
//!
//! What a stream's parameters say is known before anybody looks ([`crate::camera::VideoCodec::undecodable`]); this is for
//! what they do not say. How long the while is, others say; then the watcher looks anew, for a camera may stay connected for
//! months. It must never take the source from a watcher that still has something to say, nor from an event by the clock, and
//! never open anything.

use std::sync::Arc;
use std::time::Duration;

use super::{Sight, Waiting, Watcher};
use crate::camera::{
    Camera, CameraEvent, Clock, LiveCamera, NextEvent, NextItem, Source, SourceItem, VideoTrack,
    Windows, WindowsConfig,
};

/// A [`Watcher`] for as long as there is anything to see, and [`Windows`] for a while where there is not.
pub struct WatchedOrTimed<C> {
    state: State<C>,
    windows: WindowsConfig,
    report: Box<dyn FnMut(Option<Arc<VideoTrack>>) -> Duration + Send>,
}

enum State<C> {
    Watched(Box<Watcher<C>>),
    /// And who will look again, without a source.
    Timed(Box<Windows<C>>, Box<Watcher<C>>),
    /// Only while one becomes the other.
    Between,
}

impl<C: Clock + Clone + 'static> WatchedOrTimed<C> {
    /// `windows` are the times of its events while nothing can be seen; `report` hears then of what, and says until
    /// when that holds, by the clock.
    pub fn new(
        watcher: Watcher<C>,
        windows: WindowsConfig,
        report: impl FnMut(Option<Arc<VideoTrack>>) -> Duration + Send + 'static,
    ) -> Self {
        Self {
            state: State::Watched(Box::new(watcher)),
            windows,
            report: Box::new(report),
        }
    }

    /// The same of a stream in which, as is known, nothing can be seen until then. Nobody is told of that.
    #[must_use]
    pub fn blind_until(mut self, until: Duration) -> Self {
        self.state = match std::mem::replace(&mut self.state, State::Between) {
            State::Watched(watcher) => timed(watcher, self.windows, until),
            other => other,
        };
        self
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
                State::Timed(windows, _) => {
                    let event = windows.next_event().await;
                    if event.is_some() || !windows.is_due() {
                        return event;
                    }
                }
                State::Between => return None,
            }
            // Without an await in between: whoever drops the future loses no source.
            self.state = match std::mem::replace(&mut self.state, State::Between) {
                State::Watched(watcher) => {
                    let blind = watcher.tracks.as_ref();
                    let until = (self.report)(blind.map(|tracks| Arc::clone(&tracks.video)));
                    timed(watcher, self.windows, until)
                }
                State::Timed(windows, mut watcher) => {
                    watcher.look_again(*windows);
                    State::Watched(watcher)
                }
                State::Between => State::Between,
            };
        }
    }
}

fn timed<C: Clock + Clone + 'static>(
    mut watcher: Box<Watcher<C>>,
    config: WindowsConfig,
    until: Duration,
) -> State<C> {
    let windows = watcher.lend(config, until);
    State::Timed(Box::new(windows), watcher)
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
            State::Timed(windows, watcher) => watcher.held().saturating_add(windows.held()),
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

    /// The same camera by the clock, from its next key frame on, and until then at the longest.
    fn lend(&mut self, config: WindowsConfig, until: Duration) -> Windows<C> {
        let source = std::mem::replace(&mut self.source, Box::new(Lent));
        let windows = Windows::new(source, config, self.clock.clone());
        let windows = windows.until_decodable(self.name.clone());
        let mut windows = windows.no_longer_than(until);
        if let Some(tracks) = self.tracks.clone() {
            windows.handle_first(Some(SourceItem::Format(tracks)));
        }
        self.waiting.clear();
        self.waiting_bytes = 0;
        // Of an event that is over by then.
        if let Some(hints) = &mut self.hints {
            hints.give_up(self.clock.now());
        }
        windows
    }

    /// It has its source again, and looks at it as at one that was just opened.
    fn look_again(&mut self, windows: Windows<C>) {
        let now = self.clock.now();
        let held = self.held().saturating_add(windows.held());
        let (source, tracks) = windows.into_source();
        self.source = source;
        self.pictures = Some((now.saturating_sub(held), now));
        self.are_eyes_blind = false;
        if let Some(tracks) = tracks {
            self.waiting
                .push_back(Waiting::Track(Arc::clone(&tracks.video)));
            self.tracks = Some(tracks.clone());
            self.machine.handle_tracks(tracks, now);
        }
    }
}

/// What a watcher has meanwhile.
struct Lent;

impl Source for Lent {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(std::future::pending())
    }
}

#[cfg(test)]
impl<C> WatchedOrTimed<C> {
    /// Who looks now, if anybody does.
    pub(super) fn into_watcher(self) -> Option<Watcher<C>> {
        match self.state {
            State::Watched(watcher) => Some(*watcher),
            State::Timed(..) | State::Between => None,
        }
    }
}
