//! Watching live, as callers see it: who watches what, and what they are shown.
//!
//! A viewer is served by whichever sync runs meanwhile ([`crate::SyncMode::Follow`]), on its one connection. Nothing
//! waits for a viewer that is slow: it loses pictures, and is told so. This room must never store a picture, and
//! never show one without its time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use journal::ids::PairingId;
use journal::message::{LiveEnd, LiveStart};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::core::LiveOut;
use crate::error::AppError;

/// Fragments that wait for a viewer: some six seconds.
const WAITING_MAX: usize = 64;
/// Of these, room that is kept for whatever is no picture. The last place of all is the end's.
const WORDS_MAX: usize = 8;
/// Bytes of fragments that wait for a viewer.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Whoever is shown nothing for so long is told.
const QUIET_AFTER: Duration = Duration::from_secs(5);
/// Longest name of a camera, in bytes.
const CAMERA_BYTES_MAX: usize = journal::message::NAME_BYTES_MAX;

/// Something to show, or about it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LiveEvent {
    /// The hub has begun: pictures follow.
    Began,
    /// What a player needs before the next fragment: once, and again when it changes.
    Start {
        /// What the bytes are, as a MIME type with codecs.
        mime: String,
        /// The initialisation segment (fMP4).
        init: Vec<u8>,
    },
    /// A whole fragment (fMP4), at most about 100 ms of video.
    Media {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether it can be decoded without those before it.
        begins_group: bool,
        /// When its newest picture was captured, milliseconds since 1970 by the hub's clock. Show it, or how long ago
        /// that was: whoever carries the pictures may hold them back.
        captured_unix_ms: u64,
        /// When it came, milliseconds since 1970 by our clock.
        received_unix_ms: u64,
    },
    /// Pictures are missing here; what follows can be decoded by itself.
    Gap {
        /// How many frames, as far as that is known.
        frames: u64,
    },
    /// Nothing has come for 5 s: the hub has not answered, or the relay passes nothing on. What was shown last is
    /// older than that. Said once, until something comes again.
    Quiet,
    /// The session was lost, by a restart of the hub or new keys; another one follows.
    Interrupted,
    /// Nothing more comes.
    Ended(LiveStop),
}

/// Why nothing more comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LiveStop {
    /// It was stopped here.
    Enough,
    /// It has lasted as long as one may: ask again to go on.
    Limit,
    /// The relay has told the hub that nobody watches.
    Unwatched,
    /// Privacy mode is on.
    Privacy,
    /// As many phones watch as may.
    Busy,
    /// The hub sends at a constant rate, and shows nothing live for that reason.
    Covered,
    /// No camera of the hub has that name, or none has it any more.
    NoCamera,
    /// The hub's sessions were lost again and again.
    Lost,
}

impl LiveStop {
    fn of(end: LiveEnd) -> Self {
        match end {
            LiveEnd::Enough => Self::Enough,
            LiveEnd::Limit => Self::Limit,
            LiveEnd::Unwatched => Self::Unwatched,
            LiveEnd::Privacy => Self::Privacy,
            LiveEnd::Busy => Self::Busy,
            LiveEnd::Covered => Self::Covered,
            LiveEnd::NoCamera => Self::NoCamera,
        }
    }

    /// The word for programs: `enough`, `limit`, `unwatched`, `privacy`, `busy`, `covered`, `no_camera` or `lost`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enough => "enough",
            Self::Limit => "limit",
            Self::Unwatched => "unwatched",
            Self::Privacy => "privacy",
            Self::Busy => "busy",
            Self::Covered => "covered",
            Self::NoCamera => "no_camera",
            Self::Lost => "lost",
        }
    }
}

/// One viewer, as whoever serves it sees it.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    number: u64,
    /// Which camera; empty: the first.
    pub(crate) camera: String,
    /// It has not said that it has seen enough.
    pub(crate) wants: bool,
    events: mpsc::Sender<Waiting>,
    /// For the bytes of fragments.
    room: Arc<Semaphore>,
    /// It outlives whoever serves it on one connection.
    showing: Arc<Mutex<Showing>>,
}

/// What a viewer is owed between two fragments.
#[derive(Debug, Default)]
struct Showing {
    /// What a player needs, for as long as there was no room for it.
    start: Option<LiveStart>,
    /// A fragment was left out: what follows in its group is of no use.
    is_behind: bool,
}

/// Something that waits for a viewer, with the room that it takes.
type Waiting = (LiveEvent, Option<OwnedSemaphorePermit>);

impl Viewer {
    /// Which viewer: no two of a process have the same.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Shows all of it, in order. A fragment for which there is no room costs the rest of its group.
    pub(crate) fn show_all(&self, out: Vec<LiveOut>, received_unix_ms: u64) {
        // Whoever panicked in here has left two plain values.
        let mut showing = self.showing.lock().unwrap_or_else(PoisonError::into_inner);
        for one in out {
            if let LiveOut::Start(start) = one {
                // Whoever misses it can show nothing that follows.
                showing.start = Some(start);
                self.show_start(&mut showing, received_unix_ms);
                continue;
            }
            if let LiveOut::Fragment { begins_group, .. } = &one {
                if showing.is_behind {
                    if !begins_group || !self.has_room() {
                        continue;
                    }
                    showing.is_behind = false;
                    let _told = self.show(LiveOut::Gap { frames: 1 }, received_unix_ms);
                }
                if !self.show_start(&mut showing, received_unix_ms) {
                    showing.is_behind = true;
                    continue;
                }
            }
            if !self.show(one, received_unix_ms) {
                tracing::debug!("a viewer is too slow; pictures are left out");
                showing.is_behind = true;
            }
        }
    }

    /// Shows what a player needs, if that is owed. False if it still is.
    fn show_start(&self, showing: &mut Showing, received_unix_ms: u64) -> bool {
        let Some(start) = &showing.start else {
            return true;
        };
        if self.show(LiveOut::Start(start.clone()), received_unix_ms) {
            showing.start = None;
        }
        showing.start.is_none()
    }

    /// Shows something. False if there was no room for it; there always is for the first end.
    fn show(&self, out: LiveOut, received_unix_ms: u64) -> bool {
        let mut room = None;
        match &out {
            LiveOut::Fragment { bytes, .. } => {
                let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let taken = Arc::clone(&self.room).try_acquire_many_owned(bytes);
                let Some(taken) = taken.ok().filter(|_| self.has_room()) else {
                    return false;
                };
                room = Some(taken);
            }
            LiveOut::Ended(_) => {}
            _ if self.events.capacity() <= 1 => return false,
            _ => {}
        }
        let event = match out {
            LiveOut::Began => LiveEvent::Began,
            LiveOut::Start(start) => LiveEvent::Start {
                mime: start.mime,
                init: start.init,
            },
            LiveOut::Fragment {
                bytes,
                begins_group,
                captured_unix_ms,
            } => LiveEvent::Media {
                bytes,
                begins_group,
                captured_unix_ms,
                received_unix_ms,
            },
            LiveOut::Gap { frames } => LiveEvent::Gap { frames },
            LiveOut::Interrupted => LiveEvent::Interrupted,
            LiveOut::Ended(end) => LiveEvent::Ended(LiveStop::of(end)),
        };
        self.events.try_send((event, room)).is_ok()
    }

    /// Whether there is room for another fragment.
    fn has_room(&self) -> bool {
        self.events.capacity() > WORDS_MAX
    }

    /// The last word.
    pub(crate) fn end(&self, why: LiveStop) {
        // A viewer that is gone needs none.
        let _gone = self.events.try_send((LiveEvent::Ended(why), None));
    }
}

/// Who watches which hub. Changes wake whoever serves them.
#[derive(Debug, Default)]
pub(crate) struct Viewers(watch::Sender<BTreeMap<PairingId, Viewer>>);

impl Viewers {
    /// Somebody begins to watch.
    ///
    /// # Errors
    /// [`AppError::WatchedAlready`] if somebody does; [`AppError::NoSuchCamera`] for a name that none can have.
    pub(crate) fn add(
        self: &Arc<Self>,
        pairing: PairingId,
        camera: &str,
    ) -> Result<LiveView, AppError> {
        if camera.len() > CAMERA_BYTES_MAX {
            return Err(AppError::NoSuchCamera);
        }
        let (events, waiting) = mpsc::channel(WAITING_MAX);
        let mut number = None;
        self.0.send_if_modified(|viewers| {
            if viewers.contains_key(&pairing) {
                return false;
            }
            let next = next_number();
            number = Some(next);
            let viewer = Viewer {
                number: next,
                camera: camera.to_owned(),
                wants: true,
                events,
                room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
                showing: Arc::default(),
            };
            viewers.insert(pairing, viewer);
            true
        });
        match number {
            Some(number) => Ok(LiveView {
                viewers: Arc::clone(self),
                pairing,
                number,
                events: waiting,
                quiet_at: Some(Instant::now() + QUIET_AFTER),
            }),
            None => Err(AppError::WatchedAlready),
        }
    }

    /// Who watches this hub.
    pub(crate) fn of(&self, pairing: PairingId) -> Option<Viewer> {
        self.0.borrow().get(&pairing).cloned()
    }

    /// Changes whenever somebody begins or stops.
    pub(crate) fn changes(&self) -> watch::Receiver<BTreeMap<PairingId, Viewer>> {
        self.0.subscribe()
    }

    fn change(&self, pairing: PairingId, number: u64, change: impl FnOnce(&mut Viewer)) {
        self.0.send_if_modified(|viewers| {
            let viewer = viewers.get_mut(&pairing);
            let viewer = viewer.filter(|viewer| viewer.number == number);
            viewer.map(change).is_some()
        });
    }

    fn remove(&self, pairing: PairingId, number: u64) {
        self.0.send_if_modified(|viewers| {
            let is_it = viewers
                .get(&pairing)
                .is_some_and(|viewer| viewer.number == number);
            is_it && viewers.remove(&pairing).is_some()
        });
    }
}

/// Tells one viewer from the next of the same hub.
fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// A camera that is watched live; from [`crate::App::live`]. Dropping it ends that: at once if a sync that follows
/// goes on, else within some seconds, because the relay finds nobody.
#[derive(Debug)]
pub struct LiveView {
    viewers: Arc<Viewers>,
    pairing: PairingId,
    number: u64,
    events: mpsc::Receiver<Waiting>,
    /// When to say that nothing comes; none if that was said.
    quiet_at: Option<Instant>,
}

impl LiveView {
    /// What there is to show; none behind [`LiveEvent::Ended`]. Nothing but [`LiveEvent::Quiet`] comes while no sync
    /// follows. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event.map(|(event, _room)| event),
            () = until(self.quiet_at) => {
                self.quiet_at = None;
                return Some(LiveEvent::Quiet);
            }
        };
        self.quiet_at = Some(Instant::now() + QUIET_AFTER);
        if matches!(event, Some(LiveEvent::Ended(_))) {
            self.events.close();
            self.viewers.remove(self.pairing, self.number);
        }
        event
    }

    /// The same, if something comes in so long; `None` waits for as long as it takes. None also behind the end.
    pub async fn next_within(&mut self, patience: Option<Duration>) -> Option<LiveEvent> {
        match patience {
            Some(patience) => tokio::time::timeout(patience, self.next())
                .await
                .ok()
                .flatten(),
            None => self.next().await,
        }
    }

    /// Tells the hub that it is enough. [`LiveEvent::Ended`] comes when it has heard.
    pub fn stop(&self) {
        self.viewers
            .change(self.pairing, self.number, |viewer| viewer.wants = false);
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.viewers.remove(self.pairing, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: PairingId = PairingId([1; 16]);

    #[tokio::test]
    async fn one_watches_a_hub_at_a_time_and_leaves_nothing_behind() {
        let viewers = Arc::new(Viewers::default());
        let first = viewers.add(HUB, "").unwrap();
        assert_eq!(viewers.add(HUB, "").unwrap_err(), AppError::WatchedAlready);
        assert!(viewers.of(HUB).unwrap().wants);
        first.stop();
        assert!(!viewers.of(HUB).unwrap().wants);
        drop(first);
        assert!(viewers.of(HUB).is_none());
        let long = "x".repeat(CAMERA_BYTES_MAX + 1);
        assert_eq!(viewers.add(HUB, &long).unwrap_err(), AppError::NoSuchCamera);
    }

    #[tokio::test]
    async fn a_viewer_that_is_slow_loses_pictures_and_the_end_frees_its_place() {
        let viewers = Arc::new(Viewers::default());
        let mut view = viewers.add(HUB, "door").unwrap();
        let viewer = viewers.of(HUB).unwrap();
        let fragment = || LiveOut::Fragment {
            bytes: vec![1],
            begins_group: true,
            captured_unix_ms: 4,
        };
        let shown = (0..WAITING_MAX)
            .filter(|_| viewer.show(fragment(), 5))
            .count();
        assert_eq!(shown, WAITING_MAX - WORDS_MAX);
        assert!(viewer.show(LiveOut::Interrupted, 5));
        for _ in 0..shown {
            assert!(matches!(view.next().await, Some(LiveEvent::Media { .. })));
        }
        assert_eq!(view.next().await, Some(LiveEvent::Interrupted));
        viewer.end(LiveStop::Lost);
        let last = view.next().await;
        assert_eq!(last, Some(LiveEvent::Ended(LiveStop::Lost)));
        assert_eq!(view.next().await, None);
        assert!(viewers.of(HUB).is_none());
        drop(viewers.add(HUB, "").unwrap());
    }

    /// A connection may end between any two things that are shown: whoever serves the viewer on the next one knows what
    /// is owed.
    #[tokio::test]
    async fn what_a_player_needs_is_owed_until_there_is_room_for_it() {
        let viewers = Arc::new(Viewers::default());
        let mut view = viewers.add(HUB, "door").unwrap();
        let fragment = |begins_group| LiveOut::Fragment {
            bytes: vec![1],
            begins_group,
            captured_unix_ms: 4,
        };
        let start = || {
            LiveOut::Start(LiveStart {
                mime: "video/mp4".into(),
                init: vec![9],
            })
        };
        let viewer = viewers.of(HUB).unwrap();
        let words = vec![LiveOut::Interrupted; WAITING_MAX];
        viewer.show_all(words, 5);
        viewer.show_all(vec![start(), fragment(true)], 5);
        drop(viewer);
        for _ in 0..WAITING_MAX - 1 {
            assert_eq!(view.next().await, Some(LiveEvent::Interrupted));
        }
        // The rest of the group is of no use; the next one brings what was owed before it.
        let viewer = viewers.of(HUB).unwrap();
        viewer.show_all(vec![fragment(false), fragment(true)], 6);
        let next = [view.next().await, view.next().await, view.next().await];
        assert!(
            matches!(
                next,
                [
                    Some(LiveEvent::Gap { frames: 1 }),
                    Some(LiveEvent::Start { .. }),
                    Some(LiveEvent::Media {
                        begins_group: true,
                        ..
                    })
                ]
            ),
            "{next:?}"
        );
    }

    /// Whatever a viewer has not taken, it hears that it is over.
    #[tokio::test]
    async fn there_is_always_a_place_for_the_end() {
        let viewers = Arc::new(Viewers::default());
        let mut view = viewers.add(HUB, "door").unwrap();
        let viewer = viewers.of(HUB).unwrap();
        let words = (0..2 * WAITING_MAX)
            .filter(|_| viewer.show(LiveOut::Interrupted, 5))
            .count();
        assert_eq!(words, WAITING_MAX - 1);
        assert!(viewer.show(LiveOut::Ended(LiveEnd::Privacy), 5));
        for _ in 0..words {
            assert_eq!(view.next().await, Some(LiveEvent::Interrupted));
        }
        let last = view.next().await;
        assert_eq!(last, Some(LiveEvent::Ended(LiveStop::Privacy)));
        assert!(viewers.of(HUB).is_none());
    }

    #[tokio::test]
    async fn what_waits_for_a_viewer_is_bounded_in_bytes() {
        let viewers = Arc::new(Viewers::default());
        let mut view = viewers.add(HUB, "door").unwrap();
        let viewer = viewers.of(HUB).unwrap();
        let fragment = || LiveOut::Fragment {
            bytes: vec![1; WAITING_BYTES_MAX / 2],
            begins_group: true,
            captured_unix_ms: 4,
        };
        assert!(viewer.show(fragment(), 5) && viewer.show(fragment(), 5));
        assert!(!viewer.show(fragment(), 5));
        assert!(matches!(view.next().await, Some(LiveEvent::Media { .. })));
        assert!(viewer.show(fragment(), 5));
    }

    /// A relay that passes nothing on shows no last picture for ever in silence.
    #[tokio::test]
    async fn who_is_shown_nothing_is_told_once() {
        let viewers = Arc::new(Viewers::default());
        let mut view = viewers.add(HUB, "door").unwrap();
        view.quiet_at = Some(Instant::now());
        assert_eq!(view.next().await, Some(LiveEvent::Quiet));
        assert_eq!(view.quiet_at, None);
        let viewer = viewers.of(HUB).unwrap();
        assert!(viewer.show(LiveOut::Began, 5));
        assert_eq!(view.next().await, Some(LiveEvent::Began));
        assert!(view.quiet_at.is_some());
    }
}
