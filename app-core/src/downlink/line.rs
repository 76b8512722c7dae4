//! One line on one connection: its mailbox read, and in `sending` its acks sent.
//!
//! The order is always: deliveries to the core, commit, then what the commit allows (events, trim,
//! acks). This room must never announce, trim or ack what the core has not committed.

mod sending;

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use journal::Taken;
use journal::ids::Channel;
use relay_client::{AppendHandle, ClientError, Connection, Deliveries, Delivery};
use tokio::sync::watch;
use wal::mutant;
use wire::Seq;
use wire::sender::Sender;

use sending::next_append_event;

use super::hearing::Hearing;
use super::live::{Lane, Stirred, Trouble};
use super::look::Levels;
use super::{ATTEMPTS_ONCE_MAX, End, die};
use crate::app::Shared;
use crate::backoff::Backoff;
use crate::core::{AckSent, Delivered, Halt, LineInfo, RUN_BYTES_MAX, RUN_ENVELOPES_MAX, Run};
use crate::error::{AppError, ErrorKind};
use crate::event::Event;
use crate::types::{HUB_WAIT_MS, HubId, SyncMode};

/// A relay that owes deliveries or receipts and gives none for so long is asked again.
const STALL_MS: u64 = 20_000;
/// Receipts may be missing for so long before the hub counts as told: a relay that gives none must not keep from its owner
/// that the hub is silent.
const RECEIPTS_MAX_MS: u64 = 5 * 60 * 1_000;
/// Acks whose receipts are awaited; older ones are covered by newer ones.
const ACKS_AWAITED_MAX: usize = 64;
/// What a line stores may fail so often in a row, with growing pauses of half a minute and more together, though the
/// journal could be opened again each time.
const STORE_FAILURES_MAX: u32 = 8;

/// How long a line's task stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stay {
    /// Until everything that the relay holds is here, and what is in the outbox is there.
    UntilLevel,
    /// Until the hub has said what the line waits for, too; [`HUB_WAIT_MS`] longer at most.
    UntilAnswered,
    /// Until the future is dropped.
    Following,
}

impl Stay {
    fn mode(self) -> SyncMode {
        match self {
            Self::UntilLevel | Self::UntilAnswered => SyncMode::Once,
            Self::Following => SyncMode::Follow,
        }
    }
}

/// Where an attachment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// What the relay held when the mailbox was attached is not all here.
    CatchingUp,
    /// It is, and whatever comes is taken.
    Listening,
    /// What comes now belongs to the next sync; ours has yet to reach the relay.
    Closing,
}

/// One line's task.
pub(super) struct LineTask {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    info: LineInfo,
    stay: Stay,
    progress: Arc<AtomicBool>,
    sender: Sender,
    acks: VecDeque<AckSent>,
    /// Everything through here is durable and was told to the relay.
    cursor: Seq,
    /// Whether this line is among those that are level with the relay.
    levels: Arc<Levels>,
    /// Which lines of this connection were compared, and have taken what the relay held for them.
    hearing: Arc<Hearing>,
    /// Nothing is said before.
    has_heard: bool,
    /// The line waits for what only the hub can say.
    waits_for_hub: bool,
    /// Since when we have listened while the relay had all that we said, but for acks that came later.
    told_since_ms: Option<u64>,
    /// Since when we have listened on this connection while the relay had not all that we said.
    owed_since_ms: Option<u64>,
    /// Somebody else put something into the outbox, or has made an ack due.
    nudges: watch::Receiver<u64>,
    /// The mailbox was attached before: everything through the cursor was told to watchers.
    was_attached: bool,
    /// When the core wants to be called again.
    due_at_ms: Option<u64>,
    moved_at_ms: u64,
    /// How often the journal has failed for good while this line stored nothing.
    store_failures: u32,
    /// The newest of the outbox when it was looked at last.
    stored: Seq,
}

impl LineTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: Arc<Connection>,
        info: LineInfo,
        stay: Stay,
        progress: Arc<AtomicBool>,
        (levels, hearing): (Arc<Levels>, Arc<Hearing>),
    ) -> Self {
        let moved_at_ms = shared.clock.now_ms();
        let nudges = levels.nudges();
        Self {
            shared,
            connection,
            info,
            stay,
            progress,
            sender: Sender::new(Seq::NONE, Seq::NONE),
            acks: VecDeque::new(),
            cursor: Seq::NONE,
            levels,
            hearing,
            has_heard: false,
            waits_for_hub: false,
            told_since_ms: None,
            owed_since_ms: None,
            nudges,
            was_attached: false,
            due_at_ms: None,
            moved_at_ms,
            store_failures: 0,
            stored: Seq::NONE,
        }
    }

    /// What people and programs hear of a connection is how the event videos stand.
    fn tell(&self, event: Event) {
        if self.info.line.channel == Channel::EventVideo {
            self.shared.announcer.tell(event);
        }
    }

    fn hub(&self) -> HubId {
        HubId::from_journal(self.info.line.pairing)
    }

    /// Until the line is done (once), or its connection is.
    pub(super) async fn run(mut self) -> Result<(), End> {
        let mut backoff = Backoff::new();
        let mut attempt = 1;
        loop {
            let before = self.cursor;
            let ended = self.attachment().await;
            // The others do not wait for what cannot be taken.
            self.hearing.compared(self.info.line);
            self.hearing.heard(self.info.line);
            match &ended {
                Ok(()) => {}
                Err(End::Line(error) | End::Fatal(error))
                    if error.kind() != ErrorKind::RolledBack =>
                {
                    // What cannot be reached must not hold up the heartbeats of other lines.
                    self.levels.away(self.info.line);
                }
                // A directory that was just found to be old must not say anything new.
                Err(End::Line(_) | End::Fatal(_)) => self.levels.suspect(self.info.line),
                Err(End::Connection(_) | End::Refused(_)) => self.levels.lower(self.info.line),
            }
            let error = match ended {
                Err(End::Line(error)) if self.store_fails_for_good(&error) => {
                    return Err(End::Fatal(error));
                }
                Err(End::Line(error)) => error,
                other => return other,
            };
            if self.cursor > before {
                backoff.reset();
                attempt = 1;
            }
            if self.stay.mode() == SyncMode::Once && attempt >= ATTEMPTS_ONCE_MAX {
                return Err(End::Fatal(error));
            }
            attempt += 1;
            if error.kind() == ErrorKind::Space {
                backoff.at_longest();
            }
            let pause = backoff.next(die());
            let (hub, reason) = (self.hub(), error.to_string());
            let retry_after_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            self.shared.announcer.tell(match self.info.line.channel {
                Channel::EventVideo => Event::Disconnected {
                    hub,
                    reason,
                    retry_after_ms,
                },
                other => Event::ChannelAway {
                    hub,
                    channel: crate::types::Channel::from_journal(other),
                    reason,
                    retry_after_ms,
                },
            });
            tracing::info!(%error, ?pause, "a mailbox is attached again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Whatever it was closed for, nothing can be attached on it any more.
                error = self.connection.closed() => return Err(End::from_client(&error)),
            }
            self.sender.handle_detached(self.shared.clock.now_ms());
        }
    }

    fn storage(&self, error: AppError) -> End {
        End::from_app(error, self.stay.mode())
    }

    /// Whether the disk has failed under this line too often for it to be tried once more.
    fn store_fails_for_good(&mut self, error: &AppError) -> bool {
        self.store_failures += u32::from(error.is_of_the_disk());
        self.store_failures >= STORE_FAILURES_MAX
    }

    /// From attach to trouble, or to the end of a sync that ends.
    async fn attachment(&mut self) -> Result<(), End> {
        let line = self.info.line;
        self.levels.lower(line);
        self.told_since_ms = None;
        let heads = self.shared.engine.read(move |core, _shell| {
            // Nothing is asked of the relay, and nothing told to it, once the line is over.
            match core.over(line)? {
                Some(over) => Err(over.error(line)),
                None => Ok((core.cursor(line)?, core.outbox(line)?)),
            }
        });
        let (cursor, outbox) = heads.await.map_err(|error| match error.is_of_the_disk() {
            // Nothing is to be stored yet: the journal cannot be opened.
            true => End::Fatal(error),
            false => self.storage(error),
        })?;
        let attached = self
            .connection
            .attach_receive(self.info.mailboxes.receive, cursor)
            .await;
        let (state, deliveries) =
            attached.map_err(|error| End::from_mailbox(&error, &self.connection))?;
        // A write that failed may be durable all the same, once the journal has been opened again: its facts
        // were told to nobody, and no later run repeats them.
        if self.was_attached && self.cursor < cursor {
            let count = cursor.0 - self.cursor.0;
            self.tell(Event::Missed { count });
        }
        self.was_attached = true;
        self.cursor = cursor;
        self.stored = outbox.last;
        self.sender.handle_durable(outbox.last);
        self.sender.handle_ack(outbox.acked);
        let target = state.last.map_or(Seq::NONE, |head| head.seq);
        if target < cursor {
            tracing::info!("the relay forgot envelopes; the hub will hear once more what is here");
            let owe = self
                .shared
                .engine
                .read(move |core, shell| core.owe_ack(line, shell.clock.now_ms()));
            owe.await.map_err(|error| self.storage(error))?;
        }
        if cursor.is_some() {
            // An earlier trim may have been lost with its connection.
            wal::leaves!(
                "trim {} {cursor}",
                self.info.mailboxes.receive.send_id().to_text()
            );
            deliveries
                .trim(cursor)
                .await
                .map_err(|error| End::from_mailbox(&error, &self.connection))?;
        }
        self.tell(Event::Connected { hub: self.hub() });
        self.progress.store(true, Ordering::Relaxed);
        self.moved_at_ms = self.shared.clock.now_ms();
        self.pass(target, Some(deliveries)).await
    }

    async fn pass(&mut self, target: Seq, mut deliveries: Option<Deliveries>) -> Result<(), End> {
        let mut appends: Option<AppendHandle> = None;
        let mut phase = Phase::CatchingUp;
        let mut lane = self.lane(&mut deliveries);
        loop {
            if phase == Phase::CatchingUp && self.cursor >= target {
                self.hearing.heard(self.info.line);
                self.finish_sync().await?;
                self.tell(Event::Idle { hub: self.hub() });
                phase = match self.stay {
                    Stay::UntilLevel => Phase::Closing,
                    Stay::UntilAnswered | Stay::Following => Phase::Listening,
                };
            }
            if phase == Phase::Listening && self.has_heard_enough() {
                // Commits were taken: their acks, and the rotation behind them.
                self.finish_sync().await?;
                phase = Phase::Closing;
            }
            if phase == Phase::Closing {
                deliveries = None;
            }
            if !self.has_heard && self.may_speak() {
                // What another line was shown meanwhile ends this one as well.
                self.look_again().await?;
                self.has_heard = true;
            }
            self.send(&mut appends).await?;
            if self.sender.is_sending() {
                self.hearing.compared(self.info.line);
            }
            // Whoever does not listen has not waited, however long ago the relay had it all.
            if phase == Phase::Listening && self.has_heard {
                let now_ms = self.shared.clock.now_ms();
                match self.sender.is_idle() {
                    true => {
                        self.told_since_ms.get_or_insert(now_ms);
                        self.owed_since_ms = None;
                    }
                    false => drop(self.owed_since_ms.get_or_insert(now_ms)),
                }
            }
            // Only now is it known that nothing at the relay speaks against our outbox.
            match phase != Phase::CatchingUp && self.has_heard && self.sender.is_sending() {
                true => self
                    .levels
                    .insert(self.info.line, self.counts_as_told_since_ms()),
                false => self.levels.lower(self.info.line),
            }
            if phase == Phase::Closing && self.has_heard && self.sender.is_idle() {
                return Ok(());
            }
            if let Some(lane) = &mut lane {
                let is_level =
                    phase == Phase::Listening && self.has_heard && self.sender.is_sending();
                let tended = lane.tend(&deliveries, is_level, self.cursor).await;
                if tended.map_err(|trouble| self.lane_trouble(trouble))? {
                    self.look_again().await?;
                    continue;
                }
            }
            let pause = self.pause(phase);
            tokio::select! {
                delivery = next_delivery(&mut deliveries) => {
                    let delivery = delivery.map_err(|error| End::from_mailbox(&error, &self.connection))?;
                    let run = collect(delivery, &mut deliveries).await;
                    self.deliver(run, &deliveries).await?;
                }
                event = next_append_event(&mut appends) => self.handle_append_event(event, &mut appends)?,
                stirred = stirred(&mut lane) => if let Some(lane) = &mut lane {
                    let taken = lane.take(stirred).await;
                    taken.map_err(|trouble| self.lane_trouble(trouble))?;
                },
                changed = self.nudges.changed() => match changed {
                    Ok(()) => self.look_again().await?,
                    Err(_over) => return Ok(()),
                },
                () = self.hearing.over(self.info.line.pairing), if !self.has_heard => {}
                () = tokio::time::sleep(pause) => self.wake(phase, &deliveries).await?,
            }
        }
    }

    /// What this attachment does for whoever watches, on the line for that: in a sync that goes on.
    fn lane(&self, deliveries: &mut Option<Deliveries>) -> Option<Lane> {
        let is_for_live =
            self.info.line.channel == Channel::Livestream && self.stay == Stay::Following;
        is_for_live.then(|| {
            let groups = deliveries.as_mut().and_then(Deliveries::take_live);
            Lane::new(Arc::clone(&self.shared), self.info.line.pairing, groups)
        })
    }

    fn lane_trouble(&self, trouble: Trouble) -> End {
        match trouble {
            Trouble::Client(error) => End::from_mailbox(&error, &self.connection),
            Trouble::Storage(error) => self.storage(error),
        }
    }

    fn may_speak(&self) -> bool {
        let now_ms = self.shared.clock.now_ms();
        self.hearing.may_speak(self.info.line.pairing, now_ms)
    }

    /// Whether a sync that is to end has waited for the hub long enough.
    fn has_heard_enough(&self) -> bool {
        if self.stay != Stay::UntilAnswered {
            return false;
        }
        let now_ms = self.shared.clock.now_ms();
        !self.waits_for_hub || self.listens_until_ms().is_some_and(|until| now_ms >= until)
    }

    /// Until when a sync that is to end waits for the hub, once the relay has all that we said.
    fn listens_until_ms(&self) -> Option<u64> {
        let until_ms = self.told_since_ms?.saturating_add(HUB_WAIT_MS);
        (self.stay == Stay::UntilAnswered).then_some(until_ms)
    }

    /// Since when a hub that is there could have answered; it may lie ahead.
    fn counts_as_told_since_ms(&self) -> Option<u64> {
        let without = || Some(self.owed_since_ms?.saturating_add(RECEIPTS_MAX_MS));
        self.told_since_ms.or_else(without)
    }

    /// Whether the relay owes deliveries or receipts that this pass cannot do without, or has swallowed what was sent:
    /// nothing else would ever show that.
    fn waits_for_relay(&self, phase: Phase) -> bool {
        match (phase, self.stay.mode()) {
            (Phase::CatchingUp, _) => true,
            (Phase::Listening | Phase::Closing, SyncMode::Once) => !self.sender.is_idle(),
            (Phase::Listening | Phase::Closing, SyncMode::Follow | SyncMode::Attended) => {
                self.sender.in_flight_bytes() > 0
            }
        }
    }

    /// How long nothing needs to be done unless something comes in.
    fn pause(&self, phase: Phase) -> Duration {
        let stall = self
            .waits_for_relay(phase)
            .then_some(self.moved_at_ms + STALL_MS);
        let (due, listens) = match phase {
            Phase::CatchingUp => (self.due_at_ms, None),
            Phase::Listening => (self.due_at_ms, self.listens_until_ms()),
            Phase::Closing => (None, None),
        };
        let speaks = (!self.has_heard).then(|| self.hearing.until_ms());
        let times = [stall, due, listens, speaks, self.sender.poll_timeout()];
        let next = times.into_iter().flatten().min();
        let now_ms = self.shared.clock.now_ms();
        Duration::from_millis(next.map_or(STALL_MS, |at| at.saturating_sub(now_ms)))
    }

    async fn wake(&mut self, phase: Phase, deliveries: &Option<Deliveries>) -> Result<(), End> {
        let now_ms = self.shared.clock.now_ms();
        if self.waits_for_relay(phase) && now_ms >= self.moved_at_ms + STALL_MS {
            let what = match phase {
                Phase::CatchingUp => "deliver what it says it holds",
                Phase::Listening | Phase::Closing => "give receipts",
            };
            return Err(End::Line(AppError::Network(format!(
                "the relay does not {what}"
            ))));
        }
        if self.due_at_ms.is_some_and(|at| at <= now_ms) {
            let line = self.info.line;
            let shared = Arc::clone(&self.shared);
            let run = shared.engine.write(
                move |core, shell| core.tick(line, shell.clock.now_ms()),
                move |core, committed, pending, _shell| core.settle(committed, pending),
            );
            let run = run.await.map_err(|error| self.storage(error))?;
            let quiet = run.due_in_ms.is_none();
            self.handle_run(run, deliveries).await?;
            if quiet && phase != Phase::CatchingUp {
                self.tell(Event::Idle { hub: self.hub() });
            }
        }
        Ok(())
    }

    /// A heartbeat or a command was put into the outbox, or what one had said on this line is owed again.
    async fn look_again(&mut self) -> Result<(), End> {
        let line = self.info.line;
        let found = self.shared.engine.read(move |core, shell| {
            // What another line was shown ends this one as well.
            if let Some(over) = core.over(line)? {
                return Err(over.error(line));
            }
            let due_in_ms = core.due_in_ms(line, shell.clock.now_ms())?;
            Ok((core.outbox(line)?, due_in_ms))
        });
        let (outbox, due_in_ms) = found.await.map_err(|error| self.storage(error))?;
        let now_ms = self.shared.clock.now_ms();
        self.due_at_ms = due_in_ms.map(|due| now_ms + due);
        self.sender.handle_durable(outbox.last);
        self.sender.handle_ack(outbox.acked);
        // A sync that is to end says nothing new meanwhile, and would wait for ever if acks counted.
        if self.stay == Stay::Following && !self.sender.is_idle() {
            self.told_since_ms = None;
        }
        Ok(())
    }

    async fn finish_sync(&mut self) -> Result<(), End> {
        let line = self.info.line;
        let shared = Arc::clone(&self.shared);
        let run = shared.engine.write(
            move |core, shell| core.finish_sync(line, shell.clock.now_ms()),
            move |core, committed, pending, _shell| core.settle(committed, pending),
        );
        let run = run.await.map_err(|error| self.storage(error))?;
        self.handle_run(run, &None).await
    }

    async fn deliver(
        &mut self,
        run: Vec<Delivered>,
        deliveries: &Option<Deliveries>,
    ) -> Result<(), End> {
        let line = self.info.line;
        let shared = Arc::clone(&self.shared);
        mutant!("ack_before_durable", "C4", "the relay may forget what is not yet durable here" => {
            if let (Some(deliveries), Some(last)) = (deliveries, run.last()) {
                let mailbox = self.info.mailboxes.receive.send_id();
                wal::leaves!("trim {} {}", mailbox.to_text(), last.seq);
                deliveries.trim(last.seq).await.map_err(|error| End::from_mailbox(&error, &self.connection))?;
            }
        });
        let run = shared.engine.write(
            move |core, shell| {
                let clock = shell.clock;
                core.deliver(line, &run, clock.now_ms(), clock.unix_ms())
            },
            move |core, committed, pending, shell| {
                let run = core.settle(committed, pending)?;
                // Told from here, where it became durable: a sync that was dropped meanwhile must
                // not cost its watchers a fact, because no later sync repeats it.
                crate::app::announce(shell, line, &run);
                Ok(run)
            },
        );
        let run = run.await.map_err(|error| self.storage(error))?;
        self.handle_run(run, deliveries).await
    }

    async fn handle_run(&mut self, run: Run, deliveries: &Option<Deliveries>) -> Result<(), End> {
        let now_ms = self.shared.clock.now_ms();
        if run.cursor > self.cursor || run.outbox.last > self.stored {
            self.store_failures = 0;
        }
        self.stored = run.outbox.last;
        self.sender.handle_durable(run.outbox.last);
        self.sender.handle_ack(run.outbox.acked);
        if let Some(ack) = run.ack {
            if self.acks.len() == ACKS_AWAITED_MAX {
                self.acks.pop_front();
            }
            self.acks.push_back(ack);
        }
        self.due_at_ms = run.due_in_ms.map(|due| now_ms + due);
        self.waits_for_hub = run.waits_for_hub;
        let moves = |taken: &Taken| {
            matches!(
                taken,
                Taken::NewEpoch(_) | Taken::Healed(_) | Taken::Answered(_) | Taken::CommandDone(_)
            )
        };
        if run.facts.iter().any(|fact| moves(&fact.taken)) {
            self.levels.stir();
        }
        if run.stirs_others {
            self.levels.nudge();
        }
        if run.cursor > self.cursor {
            self.cursor = run.cursor;
            self.moved_at_ms = now_ms;
            self.progress.store(true, Ordering::Relaxed);
            if let Some(deliveries) = deliveries {
                wal::leaves!(
                    "trim {} {}",
                    self.info.mailboxes.receive.send_id().to_text(),
                    run.cursor
                );
                deliveries
                    .trim(run.cursor)
                    .await
                    .map_err(|error| End::from_mailbox(&error, &self.connection))?;
            }
        }
        match run.halt {
            None => Ok(()),
            Some(Halt::NotAuthentic { seq }) => Err(End::Line(AppError::Peer(format!(
                "the relay delivered an envelope {seq} that the hub did not make; asking again"
            )))),
            Some(Halt::Gap { expected }) => Err(End::Line(AppError::Peer(format!(
                "the relay left out envelope {expected}; asking again"
            )))),
            Some(Halt::Over(over)) => {
                let error = over.error(self.info.line);
                Err(self.storage(AppError::from_journal(&error)))
            }
            Some(Halt::Journal(error)) => Err(self.storage(AppError::from_journal(&error))),
        }
    }
}

async fn next_delivery(deliveries: &mut Option<Deliveries>) -> Result<Delivery, ClientError> {
    match deliveries {
        Some(deliveries) => deliveries.next().await,
        None => pending().await,
    }
}

async fn stirred(lane: &mut Option<Lane>) -> Stirred {
    match lane {
        Some(lane) => lane.stirred().await,
        None => pending().await,
    }
}

/// The run that begins with `first`: whatever has arrived already, up to the limits. An error that
/// comes after it shows itself again on the next call.
async fn collect(first: Delivery, deliveries: &mut Option<Deliveries>) -> Vec<Delivered> {
    let mut bytes = first.bytes.len();
    let mut run = vec![delivered(first)];
    while run.len() < RUN_ENVELOPES_MAX && bytes < RUN_BYTES_MAX {
        match if_ready(next_delivery(deliveries)).await {
            Some(Ok(next)) => {
                bytes += next.bytes.len();
                run.push(delivered(next));
            }
            Some(Err(_)) | None => break,
        }
    }
    run
}

fn delivered(delivery: Delivery) -> Delivered {
    Delivered {
        seq: delivery.seq,
        bytes: delivery.bytes,
    }
}

/// What a future has ready now. It is dropped if it has nothing.
async fn if_ready<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
