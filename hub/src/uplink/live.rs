//! The live frames of one phone, while it watches: one stream for each group of pictures.
//!
//! What is late is given up and never sent again. A frame waits for its turn among the lines of the connection: behind
//! what is small and says more, before every clip ([`super::turns`]). The relay stops a stream
//! that nobody watches, also one on which nothing is sent; when it has done so for a while, the session ends. This room must never send on a line whose standing is in doubt, and never
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
/// A session that nobody has watched for so long ends.
const UNWATCHED_MAX: Duration = Duration::from_secs(2);
/// The relay is asked again whether anybody watches after so long, if no stream has told; one that stands tells at once.
const ASK_PAUSE: Duration = Duration::from_secs(1);
/// What a refusal may take beside two round trips.
const ANSWER_MARGIN: Duration = Duration::from_millis(150);

/// Sends whenever this phone watches, until the connection ends.
pub(super) async fn send(
    shared: &Shared,
    outlets: &Outlets,
    clock: &impl Clock,
) -> Result<(), Over> {
    let line = shared.line;
    let mut lives = shared.sealer.lives();
    let mut may_speak = false;
    loop {
        let watched = lives.wait_for(|lives| lives.contains_key(&line)).await;
        drop(watched.map_err(|_| Over::Sealer(SealerError::Closed))?);
        if !may_speak {
            // ORDER: as with envelopes: every mailbox is compared, then the first frame leaves.
            shared.hearing.over(&shared.comparison).await;
            may_speak = true;
            continue;
        }
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
            question: None,
            watched: Watched::new(Instant::now()),
            holds: false,
            is_detached: false,
        };
        pour.run(&mut sender, &mut outlet, &mut lives).await?;
        if pour.is_detached {
            tokio::time::sleep(SLOT_PAUSE).await;
        }
    }
}

/// What the relay has shown of whether anybody watches. It is pure.
///
/// A stream that is not refused for as long as a refusal takes says that somebody does. Streams that are shorter say
/// nothing, and when there are no others one is begun on which nothing is sent.
struct Watched {
    /// When the stream under way was begun, if there is one and it has said nothing yet.
    begun_at: Option<Instant>,
    /// When a stream last said something, or this began.
    told_at: Instant,
    /// Since when nobody watches, as far as is known.
    alone_since: Option<Instant>,
}

impl Watched {
    fn new(now: Instant) -> Self {
        Self {
            begun_at: None,
            told_at: now,
            alone_since: None,
        }
    }

    fn begin(&mut self, now: Instant) {
        self.begun_at = Some(now);
    }

    /// When the stream under way will have said that somebody watches.
    fn answers_at(&self, rtt: Duration) -> Option<Instant> {
        Some(self.begun_at? + 2 * rtt + ANSWER_MARGIN)
    }

    /// It was not refused, or only because whoever watches is too slow for it.
    fn is_taken(&mut self, now: Instant) {
        self.begun_at = None;
        self.told_at = now;
        self.alone_since = None;
    }

    /// It is over here. What it has said has held until now; before it could say anything it says nothing.
    fn is_over(&mut self, now: Instant) {
        if self.begun_at.take().is_none() {
            self.is_taken(now);
        }
    }

    /// Whether the stream under way may still say something.
    fn waits(&self) -> bool {
        self.begun_at.is_some()
    }

    /// Nobody watches.
    fn is_refused(&mut self, now: Instant) {
        self.begun_at = None;
        self.told_at = now;
        self.alone_since.get_or_insert(now);
    }

    /// When the relay is to be asked, if no stream tells before.
    fn asks_at(&self) -> Instant {
        self.told_at + ASK_PAUSE
    }

    /// When the session is to end: never while a stream may still say that somebody watches.
    fn ends_at(&self) -> Option<Instant> {
        let alone_since = self.alone_since.filter(|_| self.begun_at.is_none())?;
        Some(alone_since + UNWATCHED_MAX)
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
    /// A stream on which nothing is sent; none while a group is under way.
    question: Option<LiveStream>,
    watched: Watched,
    /// The question was begun in the place of a group.
    holds: bool,
    /// The relay has freed the slot, and knows it no more.
    is_detached: bool,
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
        let mut session = None;
        while !self.is_detached {
            let now = lives.borrow().get(&line).map(|live| live.session);
            if now.is_none() {
                return Ok(());
            }
            if now != session {
                // Whoever watches this one may not have come yet.
                session = now;
                self.watched.alone_since = None;
            }
            let answers_at = self.watched.answers_at(self.shared.connection.rtt());
            let is_idle = self.group.is_none() && self.question.is_none();
            let asks_at = is_idle.then(|| self.watched.asks_at());
            tokio::select! {
                biased;
                changed = lives.changed() => {
                    if changed.is_err() {
                        return Err(Over::Sealer(SealerError::Closed));
                    }
                }
                error = refused(&self.group) => {
                    self.group = None;
                    self.lost(error)?;
                }
                error = refused(&self.question) => {
                    self.question = None;
                    self.lost(error)?;
                }
                () = until(answers_at) => {
                    self.watched.is_taken(Instant::now());
                    // The next one shows whether whoever watches is still within the relay's reach.
                    self.question = None;
                }
                () = until(self.watched.ends_at()) => self.end_unwatched(session).await?,
                next = outlet.next() => match next {
                    Some(next) => self.pour(next, sender).await?,
                    None => return Ok(()),
                },
                () = until(asks_at) => self.ask(sender).await?,
                // Polled when no frame is there: nobody waits for one.
                () = leave(&self.place) => {}
            }
        }
        Ok(())
    }

    /// Begins a stream on which nothing is sent, for the relay's answer to it.
    async fn ask(&mut self, sender: &mut LiveSender) -> Result<(), Over> {
        // Whatever becomes of it, the next one has time.
        self.watched.told_at = Instant::now();
        if self.may_send() {
            self.question = self.begin(sender).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, sender: &mut LiveSender) -> Result<Option<LiveStream>, Over> {
        let begun_at = Instant::now();
        match timeout(STALE, sender.begin()).await {
            Ok(Ok(stream)) => {
                self.watched.begin(begun_at);
                Ok(Some(stream))
            }
            Ok(Err(error)) => self.lost(error).map(|()| None),
            Err(_elapsed) => Ok(None),
        }
    }

    async fn pour(&mut self, next: Outgoing, sender: &mut LiveSender) -> Result<(), Over> {
        if next.begins_group {
            if self.holds && self.question.is_some() && self.watched.waits() {
                return Ok(());
            }
            self.holds = false;
            let over = self.group.take().or_else(|| self.question.take());
            if let Some(over) = over {
                self.watched.is_over(Instant::now());
                over.end();
            }
            if !self.may_send() {
                return Ok(());
            }
            // Groups that are too short to say anything make room for a question.
            if Instant::now() >= self.watched.asks_at() + ASK_PAUSE {
                self.holds = true;
                return self.ask(sender).await;
            }
            self.group = self.begin(sender).await?;
        }
        if self.group.is_none() {
            return Ok(());
        }
        let bytes = Bytes::from(next.frame.into_inner().into_bytes());
        let is_turn = timeout(STALE, self.turn(bytes.len())).await.is_ok();
        let Some(group) = self.group.as_mut().filter(|_| is_turn) else {
            tracing::debug!("others go before live pictures; the rest of their group is left out");
            self.give_up();
            return Ok(());
        };
        match timeout(STALE, group.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.group = None;
                self.lost(error)
            }
            Err(_elapsed) => {
                tracing::debug!("live pictures are late; the rest of their group is left out");
                self.give_up();
                Ok(())
            }
        }
    }

    fn give_up(&mut self) {
        self.group = None;
        self.watched.is_over(Instant::now());
    }

    /// Waits until so many bytes may be handed over, and takes that turn. Cancel safe.
    async fn turn(&mut self, bytes: usize) {
        loop {
            self.place.look();
            let now = now_ms(self.clock);
            self.place.ask(now);
            if self.place.may_go(bytes, now) {
                self.place.handed(bytes, now);
                self.shared.connection.follow_network();
                return;
            }
            self.place.moved().await;
        }
    }

    /// The relay wants no more of a stream, or the connection is over.
    fn lost(&mut self, error: ClientError) -> Result<(), Over> {
        let ClientError::Refused { code } = error else {
            return Err(Over::Client(error));
        };
        match code {
            ErrorCode::NotWatched => self.watched.is_refused(Instant::now()),
            ErrorCode::Stale => self.watched.is_taken(Instant::now()),
            // The stream was dropped with its slot: only the live pictures of this line are to be attached again.
            ErrorCode::Done | ErrorCode::MailboxLost => self.is_detached = true,
            _ => return Err(Over::Client(error)),
        }
        Ok(())
    }

    async fn end_unwatched(&mut self, session: Option<u64>) -> Result<(), Over> {
        self.watched.alone_since = None;
        let Some(session) = session else {
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

/// Why the relay wants no more of a stream; never, if there is none.
async fn refused(stream: &Option<LiveStream>) -> ClientError {
    match stream {
        Some(stream) => stream.refused().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_stream_that_stands_says_that_somebody_watches() {
        let start = Instant::now();
        let mut watched = Watched::new(start);
        watched.is_refused(start);
        assert_eq!(watched.ends_at(), Some(start + UNWATCHED_MAX));
        // A viewer that was away: what begins before the end may still be taken.
        let later = start + UNWATCHED_MAX - ms(1);
        watched.begin(later);
        assert_eq!(watched.ends_at(), None);
        assert_eq!(
            watched.answers_at(RTT),
            Some(later + 2 * RTT + ANSWER_MARGIN)
        );
        watched.is_taken(later + ms(350));
        assert_eq!(watched.ends_at(), None);
        assert_eq!(watched.answers_at(RTT), None);
        // And has said so for as long as it stood.
        watched.is_over(later + ms(9_000));
        assert_eq!(watched.asks_at(), later + ms(9_000) + ASK_PAUSE);
    }

    #[test]
    fn nobody_is_counted_from_the_first_refusal_on() {
        let start = Instant::now();
        let mut watched = Watched::new(start);
        watched.begin(start);
        watched.is_refused(start + ms(100));
        assert_eq!(watched.asks_at(), start + ms(100) + ASK_PAUSE);
        watched.begin(start + ms(1_100));
        watched.is_refused(start + ms(1_200));
        assert_eq!(watched.ends_at(), Some(start + ms(100) + UNWATCHED_MAX));
    }

    /// Of a camera whose every picture begins a group.
    #[test]
    fn streams_that_are_too_short_say_nothing() {
        let start = Instant::now();
        let mut watched = Watched::new(start);
        watched.is_refused(start);
        for n in 1..20_u32 {
            watched.begin(start + n * ms(40));
            watched.is_over(start + n * ms(40) + ms(39));
        }
        assert_eq!(watched.ends_at(), Some(start + UNWATCHED_MAX));
        assert_eq!(watched.asks_at(), start + ASK_PAUSE);
    }
}
