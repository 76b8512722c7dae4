//! The live pictures of one line on one connection: who watches, the groups as they come, the words about it.
//!
//! The newest group counts. One that is under way may come to its end while the next has begun, for a moment; then it
//! is given up. Frames that overtake the beginning of their session wait for it, a few of them. This room must never
//! hold up the line's envelopes, and never judge a frame: the core does.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::ids::PairingId;
use relay_client::{ClientError, Deliveries, LiveGroup, LiveGroups};
use tokio::sync::watch;
use tokio::time::Instant;
use wire::Seq;

use crate::app::Shared;
use crate::core::LiveNeed;
use crate::error::AppError;
use crate::live::{LiveStop, Viewer};

/// A group may come to its end for so long after the next one has begun.
const GRACE: Duration = Duration::from_millis(200);
/// Frames that wait for the beginning of their session: some five seconds, 5 MiB at most.
const EARLY_MAX: usize = 64;

/// Why a lane stops its line's task.
pub(super) enum Trouble {
    /// The connection.
    Client(ClientError),
    /// Our own journal.
    Storage(AppError),
}

/// What came.
enum Arrived {
    Piece(Bytes),
    /// The group under way is over, one way or another.
    Over,
    Group(LiveGroup),
    /// The group under way has had its time.
    Late,
    /// No more groups can come.
    Closed,
}

/// What a line's task does for whoever watches.
pub(super) struct Lane {
    shared: Arc<Shared>,
    pairing: PairingId,
    viewers: watch::Receiver<BTreeMap<PairingId, Viewer>>,
    groups: Option<LiveGroups>,
    current: Option<LiveGroup>,
    /// The next one, and when it takes the place of the current one.
    next: Option<(LiveGroup, Instant)>,
    early: VecDeque<Bytes>,
    /// How far the line was when those were tried last.
    early_at: Seq,
    /// The relay was asked to pass groups on.
    is_watching: bool,
    /// The core may have something for a viewer, of this attachment or of one before.
    has_view: bool,
    /// The hub was told that it is enough.
    said_enough: bool,
    /// When the core wants to be asked again.
    again_at: Option<Instant>,
}

impl Lane {
    /// Nobody is watched yet on this attachment.
    pub(super) fn new(shared: Arc<Shared>, pairing: PairingId, groups: Option<LiveGroups>) -> Self {
        let viewers = shared.viewers.changes();
        Self {
            shared,
            pairing,
            viewers,
            groups,
            current: None,
            next: None,
            early: VecDeque::new(),
            early_at: Seq::NONE,
            is_watching: false,
            has_view: true,
            said_enough: false,
            again_at: None,
        }
    }

    /// Does what is to be done for whoever watches. True if something was put into the outbox. `is_level`: the line
    /// has caught up with the relay and may speak.
    pub(super) async fn tend(
        &mut self,
        deliveries: &Option<Deliveries>,
        is_level: bool,
        cursor: Seq,
    ) -> Result<bool, Trouble> {
        let viewer = self.viewers.borrow_and_update().get(&self.pairing).cloned();
        if let Some(deliveries) = deliveries
            && viewer.is_some() != self.is_watching
        {
            // ORDER: before the wish, so that the first group finds somebody.
            let on = viewer.is_some();
            deliveries.watch(on).await.map_err(Trouble::Client)?;
            self.is_watching = on;
        }
        let Some(viewer) = viewer else {
            return self.leave(is_level).await;
        };
        self.has_view = true;
        if self.early_at < cursor && !self.early.is_empty() {
            self.early_at = cursor;
            let frames = self.early.drain(..).collect();
            self.open(frames).await?;
        }
        self.show(&viewer).await?;
        if !is_level {
            return Ok(false);
        }
        match (viewer.wants, self.said_enough) {
            (true, _) => self.wish(&viewer).await,
            (false, true) => Ok(false),
            (false, false) => self.say_enough().await,
        }
    }

    /// Nobody watches. True if the hub was told.
    async fn leave(&mut self, is_level: bool) -> Result<bool, Trouble> {
        if !self.has_view {
            return Ok(false);
        }
        let said = is_level && !self.said_enough && self.say_enough().await?;
        (self.current, self.next) = (None, None);
        self.early.clear();
        (self.has_view, self.said_enough) = (false, false);
        let pairing = self.pairing;
        self.read(move |core| {
            core.stop_viewing(pairing);
            Ok(())
        })
        .await?;
        Ok(said)
    }

    async fn wish(&mut self, viewer: &Viewer) -> Result<bool, Trouble> {
        let (pairing, number) = (self.pairing, viewer.number());
        let now_ms = self.shared.clock.now_ms();
        self.again_at = None;
        let need = self.read(move |core| Ok(core.live_need(pairing, number, now_ms)));
        match need.await? {
            LiveNeed::Nothing => Ok(false),
            LiveNeed::Later(ms) => {
                self.again_at = Some(Instant::now() + Duration::from_millis(ms));
                Ok(false)
            }
            LiveNeed::GiveUp => {
                viewer.end(LiveStop::Lost);
                Ok(false)
            }
            LiveNeed::Wish => {
                let camera = viewer.camera.clone();
                let said = self.shared.engine.write(
                    move |core, _shell| core.stage_wish(pairing, number, &camera),
                    |_core, committed, staged, _shell| {
                        Ok(staged.map(|staged| committed.redeem(staged).into_inner()))
                    },
                );
                let said = said.await.map_err(Trouble::Storage)?.is_some();
                self.said_enough &= !said;
                Ok(said)
            }
        }
    }

    async fn say_enough(&mut self) -> Result<bool, Trouble> {
        let pairing = self.pairing;
        let said = self.shared.engine.write(
            move |core, _shell| core.stage_enough(pairing),
            |_core, committed, staged, _shell| {
                Ok(staged.map(|staged| committed.redeem(staged).into_inner()))
            },
        );
        // A line that is mute says it never: the relay's silence does.
        self.said_enough = true;
        Ok(said.await.map_err(Trouble::Storage)?.is_some())
    }

    /// Until there is something to tend or to take. Dropping the future loses nothing.
    pub(super) async fn stirred(&mut self) -> Stirred {
        let again_at = self.again_at;
        let Self {
            viewers,
            groups,
            current,
            next,
            ..
        } = self;
        let late_at = next.as_ref().map(|(_, at)| *at);
        let arrived = tokio::select! {
            biased;
            piece = next_piece(current) => match piece {
                Ok(Some(bytes)) => Arrived::Piece(bytes),
                Ok(None) | Err(_) => Arrived::Over,
            },
            group = next_group(groups) => match group {
                Some(group) => Arrived::Group(group),
                None => Arrived::Closed,
            },
            () = sleep_until(late_at) => Arrived::Late,
            _changed = viewers.changed() => return Stirred(None),
            () = sleep_until(again_at) => return Stirred(None),
        };
        Stirred(Some(arrived))
    }

    /// Takes what came.
    pub(super) async fn take(&mut self, stirred: Stirred) -> Result<(), Trouble> {
        match stirred.0 {
            None => Ok(()),
            Some(Arrived::Piece(bytes)) => self.open(vec![bytes]).await,
            Some(Arrived::Over | Arrived::Late) => {
                self.current = self.next.take().map(|(group, _)| group);
                Ok(())
            }
            Some(Arrived::Group(group)) if self.current.is_none() => {
                self.current = Some(group);
                Ok(())
            }
            Some(Arrived::Group(group)) => {
                // Streams may overtake each other. The newest counts, and what is older than what is shown is late.
                let newest = self.next.as_ref().map(|(next, _)| next);
                let newest = newest.or(self.current.as_ref()).map(LiveGroup::number);
                if newest.is_none_or(|newest| newest < group.number()) {
                    self.next = Some((group, Instant::now() + GRACE));
                }
                Ok(())
            }
            Some(Arrived::Closed) => {
                self.groups = None;
                Ok(())
            }
        }
    }

    async fn open(&mut self, frames: Vec<Bytes>) -> Result<(), Trouble> {
        let pairing = self.pairing;
        let early = self
            .read(move |core| core.open_live(pairing, frames))
            .await?;
        for frame in early {
            // The relay may bring the same one again.
            if !self.early.contains(&frame) {
                self.early.push_back(frame);
            }
        }
        while self.early.len() > EARLY_MAX {
            self.early.pop_front();
        }
        match self.shared.viewers.of(pairing) {
            Some(viewer) => self.show(&viewer).await,
            None => Ok(()),
        }
    }

    async fn show(&self, viewer: &Viewer) -> Result<(), Trouble> {
        let (pairing, viewer) = (self.pairing, viewer.clone());
        let now_unix_ms = self.shared.clock.unix_ms();
        // There, so that nothing is lost of what was taken out if the connection, and this with it, ends meanwhile.
        self.read(move |core| {
            viewer.show_all(core.poll_live(pairing, viewer.number()), now_unix_ms);
            Ok(())
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut crate::core::Core) -> Result<T, journal::JournalError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let read = self.shared.engine.read(move |core, _shell| read(core));
        read.await.map_err(Trouble::Storage)
    }
}

/// What has woken a lane.
pub(super) struct Stirred(Option<Arrived>);

async fn next_piece(group: &mut Option<LiveGroup>) -> Result<Option<Bytes>, ClientError> {
    match group {
        Some(group) => group.next().await,
        None => pending().await,
    }
}

async fn next_group(groups: &mut Option<LiveGroups>) -> Option<LiveGroup> {
    match groups {
        Some(groups) => groups.next().await,
        None => pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}
