//! The live frames of one phone, while it watches: one stream for each group of pictures.
//!
//! What is late is given up and never sent again. A frame waits for its turn among the lines of the connection: behind
//! what is small and says more, before every clip ([`super::turns`]). The relay stops a stream that nobody watches; when it has done so
//! for a while, the session ends. This room must never send on a line whose standing is in doubt, and never
//! anything but [`journal::Live`] frames.

use std::time::Duration;

use bytes::Bytes;
use journal::ids::Line;
use relay_client::{ClientError, ErrorKind, LiveSender, LiveStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use wire::ErrorCode;
use wire::limits::LIVE_STALE_MS;

use super::line::{Place, SLOT_PAUSE, Shared, now_ms};
use super::turns::Rank;
use super::{Over, is_refusal};
use crate::camera::Clock;
use crate::core::{LiveBoard, Standing};
use crate::live::{Outgoing, Outlet, Outlets};
use crate::sealer::SealerError;

/// A frame whose turn does not come sooner, or that the network takes no sooner, is late, and its group with it.
const STALE: Duration = Duration::from_millis(LIVE_STALE_MS);
/// A session that nobody has watched for so long ends: together with what the relay takes to notice, within 5 s of
/// the last viewer.
const UNWATCHED_MAX: Duration = Duration::from_secs(4);

/// Sends whenever this phone watches, until the connection ends.
pub(super) async fn send(
    shared: &Shared,
    outlets: &Outlets,
    clock: &impl Clock,
) -> Result<(), Over> {
    let line = shared.line;
    let mut lives = shared.sealer.lives();
    loop {
        let watched = lives.wait_for(|lives| lives.contains_key(&line)).await;
        drop(watched.map_err(|_| Over::Sealer(SealerError::Closed))?);
        let mut sender = match shared.connection.attach_live(shared.head.send).await {
            Ok(sender) => sender,
            Err(error) if error.kind() == ErrorKind::Retry && is_refusal(&error) => {
                tokio::time::sleep(SLOT_PAUSE).await;
                continue;
            }
            Err(error) => return Err(Over::Client(error)),
        };
        let mut outlet = outlets.attach(line);
        let mut pour = Pour {
            shared,
            clock,
            place: shared.queue.place(Rank::Live),
            group: None,
            alone_since: None,
        };
        pour.run(&mut sender, &mut outlet, &mut lives).await?;
    }
}

/// The frames of one session after the other.
struct Pour<'s, C> {
    shared: &'s Shared,
    clock: &'s C,
    /// Among the lines of the connection.
    place: Place,
    /// The group under way; none while it is given up.
    group: Option<LiveStream>,
    /// Since when the relay has found nobody who watches, in which session.
    alone_since: Option<(Instant, u64)>,
}

impl<C: Clock> Pour<'_, C> {
    /// Until this phone watches no more.
    async fn run(
        &mut self,
        sender: &mut LiveSender,
        outlet: &mut Outlet,
        lives: &mut watch::Receiver<LiveBoard>,
    ) -> Result<(), Over> {
        let line = self.shared.line;
        loop {
            let left = self.alone_since.map(|(since, _)| since + UNWATCHED_MAX);
            tokio::select! {
                biased;
                changed = lives.changed() => {
                    if changed.is_err() {
                        return Err(Over::Sealer(SealerError::Closed));
                    }
                    if !lives.borrow_and_update().contains_key(&line) {
                        return Ok(());
                    }
                }
                () = until(left) => self.end_unwatched().await?,
                next = outlet.next() => match next {
                    Some(next) => self.pour(next, sender).await?,
                    None => return Ok(()),
                },
                // Polled when no frame is there: nobody waits for one.
                () = leave(&self.place) => {}
            }
        }
    }

    async fn pour(&mut self, next: Outgoing, sender: &mut LiveSender) -> Result<(), Over> {
        if next.begins_group {
            if let Some(whole) = self.group.take() {
                // Somebody took it to its end.
                self.alone_since = None;
                whole.end();
            }
            if !self.may_send() {
                return Ok(());
            }
            match timeout(STALE, sender.begin()).await {
                Ok(Ok(group)) => self.group = Some(group),
                Ok(Err(error)) => return self.lost(error, next.session),
                Err(_elapsed) => return Ok(()),
            }
        }
        if self.group.is_none() {
            return Ok(());
        }
        let bytes = Bytes::from(next.frame.into_inner().into_bytes());
        let is_turn = timeout(STALE, self.turn(bytes.len())).await.is_ok();
        let Some(group) = self.group.as_mut().filter(|_| is_turn) else {
            tracing::debug!("others go before live pictures; the rest of their group is left out");
            self.group = None;
            return Ok(());
        };
        match timeout(STALE, group.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.group = None;
                self.lost(error, next.session)
            }
            Err(_elapsed) => {
                tracing::debug!("live pictures are late; the rest of their group is left out");
                self.group = None;
                Ok(())
            }
        }
    }

    /// Waits until so many bytes may be handed over, and takes that turn. Cancel safe.
    async fn turn(&mut self, bytes: usize) {
        loop {
            self.place.look();
            let now = now_ms(self.clock);
            self.place.ask(now);
            if self.place.may_go(bytes, now) {
                self.place.handed(bytes, now);
                return;
            }
            self.place.moved().await;
        }
    }

    /// The relay wants no more of a group, or the connection is over.
    fn lost(&mut self, error: ClientError, session: u64) -> Result<(), Over> {
        match error {
            ClientError::Refused {
                code: ErrorCode::NotWatched,
            } => {
                let alone = self.alone_since.filter(|(_, known)| *known == session);
                self.alone_since = Some(alone.unwrap_or_else(|| (Instant::now(), session)));
                Ok(())
            }
            ClientError::Refused {
                code: ErrorCode::Stale,
            } => Ok(()),
            error => Err(Over::Client(error)),
        }
    }

    async fn end_unwatched(&mut self) -> Result<(), Over> {
        let Some((_, session)) = self.alone_since.take() else {
            return Ok(());
        };
        let line = self.shared.line;
        tracing::info!("nobody watches any more; a live session ends");
        let ended = self
            .shared
            .sealer
            .run(move |core, now| core.handle_unwatched(line, session, now))
            .await;
        super::line::unless_reopened(ended).map(drop)
    }

    /// Whether this line may send at all.
    fn may_send(&self) -> bool {
        let line: Line = self.shared.line;
        let heads = self.shared.sealer.heads();
        let standing = heads.borrow().get(&line).map(|head| head.standing);
        standing == Some(Standing::Good)
    }
}

/// Nothing is sent from this place now; for as long as it is waited for.
async fn leave(place: &Place) {
    place.leave();
    std::future::pending().await
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
