//! One line on one connection: its sender, driven by `wire::sender`, and its receiver.
//!
//! The machine decides what is sent; this room fetches it from the journal and hands it over. With a
//! constant rate it fetches the next envelope ahead, so that how long the journal takes does not show, and hands
//! it over in its slot; without one, when it is its turn ([`place`]). What the relay claims against the journal's books
//! it fetches, and the core judges it. It must never send on a line on which a rollback is proved, never take the
//! relay's word for that, and never trim before the journal has synced what it trims.

mod place;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::Durable;
use journal::ids::{Channel, Line};
use relay_client::{AppendEvent, AppendHandle, ClientError, Connection, ErrorKind};
use tokio::time::timeout;
use wire::envelope::Envelope;
use wire::ids::Seq;
use wire::sender::{Evidence, Need, Sender, SenderEvent};

use super::hearing::{Comparison, Hearing};
use super::hold::{Alerts, Hold};
use super::shape::Shaper;
use super::stall::{QUIET_MAX_MS, Sight, Stall};
use super::turns::Rank;
use super::{Board, Over};
use crate::camera::Clock;
use crate::core::{CoreError, Judged, LineHeads, Standing, Verdict};
use crate::sealer::{Pending, Sealer, SealerError};
use crate::traffic::Traffic;
pub(super) use place::{Place, Queue};
use slots::{Next, cover_made};

/// Pause after the relay refused a slot, before it is attached again.
pub(super) const SLOT_PAUSE: Duration = Duration::from_millis(500);
/// What is looked at though nothing says that there is anything to do.
const LOOK_PAUSE_MS: u64 = 600_000;
/// An envelope that the journal could not give is asked for again after this time, if nothing else
/// happens before: its clip may have found room for its end.
const ABSENT_PAUSE_MS: u64 = 1_000;
/// Pause after an envelope that the phone did not make, or for which there is no room, doubling ...
const FORGED_PAUSE: Duration = Duration::from_secs(1);
/// ... up to this.
const FORGED_PAUSE_MAX: Duration = Duration::from_secs(60);
/// A mailbox of which nothing came for so long is attached again.
const QUIET_MAX: Duration = Duration::from_millis(QUIET_MAX_MS);

/// What both directions of a line share on one connection.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) line: Line,
    pub(super) head: LineHeads,
    pub(super) hearing: Arc<Hearing>,
    pub(super) comparison: Arc<Comparison>,
    pub(super) connection: Arc<Connection>,
    pub(super) sealer: Sealer,
    pub(super) board: Board,
    pub(super) queue: Queue,
}

/// The sender of a line; it outlives connections.
pub(super) struct LineUplink {
    line: Line,
    sender: Sender,
    absent: Option<Absent>,
    /// How often the phone had asked that the relay be asked anew when it last was.
    asked_again: u64,
    /// It has waited for what the relay holds and the phone said; a later connection does not make it wait again.
    may_speak: bool,
    /// Since when neither receipts nor acks move.
    stall: Stall,
    /// The rhythm, if there is one.
    shaper: Option<Shaper>,
    /// Whether a clip waits for the picture of its event. Never on another line.
    hold: Hold,
    /// The envelope that waits for its slot, or for its turn.
    ready: Option<(Seq, Durable<Envelope>)>,
    /// A cover that is being made: whether it could be.
    cover: Option<Pending<bool>>,
}

/// An envelope that should be in the outbox and could not be had: acked meanwhile, which the next
/// heads will say, or damaged and not to be dropped yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Absent {
    seq: Seq,
    again_at_ms: u64,
}

impl Absent {
    fn at(seq: Seq, now_ms: u64) -> Self {
        Self {
            seq,
            again_at_ms: now_ms.saturating_add(ABSENT_PAUSE_MS),
        }
    }

    /// Whether asking for what the machine needs would only find the same again.
    fn holds_back(self, need: Need, now_ms: u64) -> bool {
        matches!(need, Need::Envelope { seq, .. } if seq == self.seq) && now_ms < self.again_at_ms
    }
}

impl LineUplink {
    /// With a constant rate, if `traffic` asks for one and the line carries event videos: what other lines carry
    /// follows from what the phone said, and from nothing that a camera saw (`Stop::Covered`).
    pub(super) fn new(line: Line, head: LineHeads, traffic: Option<Traffic>) -> Self {
        let shaped = traffic.filter(|_| line.channel == Channel::EventVideo);
        Self {
            line,
            sender: Sender::new(head.acked, head.last),
            absent: None,
            asked_again: head.asked_again,
            may_speak: false,
            stall: Stall::default(),
            shaper: shaped.map(Shaper::new),
            hold: Hold::default(),
            ready: None,
            cover: None,
        }
    }

    /// The phone misses something that it has not acked: the relay says anew what it holds, and what it has
    /// forgotten is sent again. True for each time that it asks.
    fn asks_again(&mut self, head: &LineHeads) -> bool {
        std::mem::replace(&mut self.asked_again, head.asked_again) != head.asked_again
    }

    fn sight(&self, head: &LineHeads) -> Sight {
        Sight {
            receipted_through: self.sender.receipted_through(),
            acked_through: head.acked,
            is_in_flight: self.sender.in_flight_bytes() > 0,
            is_owed: head.acked < head.last,
        }
    }

    /// Sends until the connection ends or the line is no more.
    pub(super) async fn send(&mut self, shared: &Shared, clock: &impl Clock) -> Result<(), Over> {
        let mut heads = shared.sealer.heads();
        let mut handle: Option<AppendHandle> = None;
        let mut place = shared.queue.place(Rank::of(self.line.channel));
        self.sender.handle_detached(now_ms(clock));
        loop {
            place.look();
            let (head, alerts) = {
                let all = heads.borrow_and_update();
                let head = all.get(&self.line).copied();
                (head, Alerts::of(&all, self.line.pairing))
            };
            let Some(head) = head else {
                return Ok(());
            };
            if self.line.channel == Channel::EventVideo {
                let handed = shared.queue.pictures_handed(self.line.pairing);
                self.hold.handle_alerts(alerts, handed, now_ms(clock));
            }
            self.sender.handle_durable(head.last);
            self.sender.handle_ack(head.acked);
            if self.asks_again(&head) {
                tracing::info!("a phone misses something; the relay is asked what it holds");
                handle = None;
                self.sender.handle_detached(now_ms(clock));
            }
            self.take_events(shared)?;
            let blocked = head.standing == Standing::RolledBack;
            if !blocked && self.stall.is_over(self.sight(&head), now_ms(clock)) {
                tracing::info!("nothing moves on a line; the relay is asked what it holds");
                handle = None;
                self.sender.handle_detached(now_ms(clock));
            }
            self.tell_shape(&head, shared);
            if !self.may_speak && (blocked || self.sender.is_sending()) {
                // ORDER: every mailbox is compared, then the first envelope leaves for any.
                shared.comparison.done(self.line);
                shared.hearing.over(&shared.comparison).await;
                self.may_speak = true;
                continue;
            }
            match self.next(&head, blocked, &place, now_ms(clock)) {
                Next::Serve(need) => {
                    self.serve(need, shared, clock, (&mut handle, &place))
                        .await?;
                }
                Next::Cover => self.ask_for_cover(shared).await?,
                Next::Wait => {
                    let wait = self.until_next(blocked, clock);
                    let turn = self.until_turn(&place, now_ms(clock));
                    let wait = turn.map_or(wait, |turn| turn.min(wait));
                    tokio::select! {
                        changed = heads.changed() => match changed {
                            Ok(()) => self.absent = None,
                            Err(_) => return Err(Over::Sealer(SealerError::Closed)),
                        },
                        event = next_event(&mut handle) => self.take(event, shared, clock, &mut handle)?,
                        () = place.moved(), if turn.is_some() => {}
                        made = cover_made(&mut self.cover) => self.take_cover(made, clock)?,
                        () = tokio::time::sleep(wait) => {}
                    }
                    continue;
                }
            }
            // Between two envelopes: what the relay said meanwhile, without waiting for it.
            let said = tokio::select! {
                biased;
                event = next_event(&mut handle) => Some(event),
                () = std::future::ready(()) => None,
            };
            if let Some(event) = said {
                self.take(event, shared, clock, &mut handle)?;
            }
        }
    }

    /// What is to be done now; nothing while it would only fail again.
    fn need(&mut self, blocked: bool, now_ms: u64) -> Option<Need> {
        if blocked {
            return None;
        }
        let need = self.sender.poll_need(now_ms)?;
        match self.absent {
            Some(absent) if absent.holds_back(need, now_ms) => None,
            _ => {
                self.absent = None;
                Some(need)
            }
        }
    }

    fn until_next(&self, blocked: bool, clock: &impl Clock) -> Duration {
        // A line that may not send waits for its standing, and for nothing else.
        let sender = self.sender.poll_timeout().filter(|_| !blocked);
        let absent = self.absent.map(|absent| absent.again_at_ms);
        let stall = self.stall.until_ms().filter(|_| !blocked);
        let at = [sender, absent, stall].into_iter().flatten().min();
        let now_ms = now_ms(clock);
        let wait = at.map(|at| at.saturating_sub(now_ms).max(10));
        // A slot is kept to the millisecond. Where it has passed, something else is waited for.
        let shaper = self.shaper.as_ref().filter(|_| !blocked);
        let slot = shaper
            .filter(|_| self.ready.is_some())
            .map(Shaper::slot_at_ms)
            .filter(|at| *at > now_ms);
        let cover = shaper.and_then(|shaper| shaper.cover_again_at_ms(now_ms));
        let shaped = slot.into_iter().chain(cover).min();
        let shaped = shaped.map(|at| at.saturating_sub(now_ms).max(1));
        let wait = wait.into_iter().chain(shaped).min();
        Duration::from_millis(wait.unwrap_or(LOOK_PAUSE_MS))
    }

    /// Does what the machine wants.
    async fn serve(
        &mut self,
        need: Need,
        shared: &Shared,
        clock: &impl Clock,
        (handle, place): (&mut Option<AppendHandle>, &Place),
    ) -> Result<(), Over> {
        let line = self.line;
        match need {
            Need::Attach => {
                *handle = None;
                match shared.connection.attach_send(shared.head.send).await {
                    Ok((state, attached)) => {
                        attached.set_priority(Rank::of(line.channel).priority());
                        *handle = Some(attached);
                        shared.board.change(|board| {
                            let entry = board.lines.entry(line).or_default();
                            entry.connected = true;
                            entry.over_quota = false;
                        });
                        self.sender.handle_attached(&state, now_ms(clock));
                    }
                    Err(error) => self.slot_failed(error, clock)?,
                }
            }
            Need::Digest(seq) => {
                let ours = shared
                    .sealer
                    .run(move |core, now| core.digest(line, seq, now))
                    .await;
                let ours = unless_reopened(ours)?.flatten();
                self.sender.handle_digest(seq, ours, now_ms(clock));
            }
            Need::Stored(evidence) => {
                return self.have_judged(evidence, shared, clock, handle).await;
            }
            Need::Envelope { seq, after } => {
                if !self.is_ready(seq) {
                    // Now it has a slot or its turn to wait for, or leaves with the next look.
                    return self.fetch(seq, shared, clock).await;
                }
                let Some((_, envelope)) = self.ready.take().filter(|(ready, _)| *ready == seq)
                else {
                    return Ok(());
                };
                let Some(handle) = handle.as_mut() else {
                    self.sender.handle_detached(now_ms(clock));
                    return Ok(());
                };
                let digest = envelope.digest();
                let bytes = Bytes::from(envelope.into_inner().into_bytes());
                let length = bytes.len();
                wal::leaves!(
                    "envelope {} {seq} {}",
                    shared.head.send.to_text(),
                    digest.to_text()
                );
                // Noted first: once it is polled it counts as sent.
                self.sender.handle_sent(seq, digest, length);
                place.handed(length, now_ms(clock));
                shared.connection.follow_network();
                if let Some(shaper) = &mut self.shaper {
                    shaper.handle_leaving(seq, now_ms(clock));
                }
                match handle.append(seq, after, digest, bytes).await {
                    // ORDER: behind the append. What was only about to be handed over could still be overtaken.
                    Ok(()) if line.channel == Channel::Thumbnail => {
                        shared.queue.picture_handed(line.pairing, seq);
                    }
                    Ok(()) => {}
                    Err(error) => self.slot_failed(error, clock)?,
                }
            }
        }
        Ok(())
    }

    /// Gets the envelope that the machine needs out of the journal, or says that it is not there.
    async fn fetch(&mut self, seq: Seq, shared: &Shared, clock: &impl Clock) -> Result<(), Over> {
        let line = self.line;
        let before = Seq(seq.0.saturating_sub(1));
        let found = shared
            .sealer
            .run(move |core, now| core.next_envelope(line, before, now))
            .await;
        self.ready = None;
        match unless_reopened(found)?.flatten() {
            Some((found, envelope)) if found == seq => self.ready = Some((seq, envelope)),
            Some(_) => self.sender.handle_missing(seq),
            None => self.absent = Some(Absent::at(seq, now_ms(clock))),
        }
        Ok(())
    }

    /// Fetches what the relay claims to hold of ours, and has it judged. An answer that does not come in time says
    /// nothing, and least of all that there is no proof: the next connection begins with the question.
    async fn have_judged(
        &mut self,
        evidence: Evidence,
        shared: &Shared,
        clock: &impl Clock,
        handle: &Option<AppendHandle>,
    ) -> Result<(), Over> {
        let (line, seq) = (self.line, evidence.relay().seq);
        let Some(handle) = handle else {
            self.sender.handle_detached(now_ms(clock));
            return Ok(());
        };
        let envelope = match handle.fetch(seq).await {
            Ok(envelope) => envelope,
            Err(error) => return Err(Over::Client(error)),
        };
        let judged = shared
            .sealer
            .run(move |core, now| core.handle_stored(line, seq, envelope.as_deref(), now))
            .await;
        match unless_reopened(judged)? {
            Some(Judged::RolledBack) => self.sender.handle_proof(),
            Some(Judged::Nothing) => self.sender.handle_evidence_dismissed(now_ms(clock)),
            // The machine asks for it again.
            None => {}
        }
        Ok(())
    }

    fn take_events(&mut self, shared: &Shared) -> Result<(), Over> {
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::Receipt { through } => shared.board.change(|board| {
                    let entry = board.lines.entry(self.line).or_default();
                    entry.stored_through = entry.stored_through.max(through);
                }),
                SenderEvent::Rewound {
                    from,
                    receipted_through,
                } => {
                    tracing::warn!(
                        from = from.0,
                        receipted_through = receipted_through.0,
                        "the relay forgot envelopes; what is not acked is sent again"
                    );
                }
                SenderEvent::OverQuota { retry_after_s, .. } => {
                    tracing::warn!(
                        retry_after_s,
                        "the relay is full; recording goes on, sending waits"
                    );
                    shared.board.change(|board| {
                        board.lines.entry(self.line).or_default().over_quota = true
                    });
                }
                SenderEvent::Misbehaved { seq } => {
                    tracing::warn!(
                        seq = seq.0,
                        "the relay gave a receipt for what was not sent"
                    );
                    return Err(Over::Client(ClientError::Unexpected {
                        kind: wire::frame::kind::RECEIPT,
                    }));
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        event: Result<AppendEvent, ClientError>,
        shared: &Shared,
        clock: &impl Clock,
        handle: &mut Option<AppendHandle>,
    ) -> Result<(), Over> {
        match event {
            Ok(AppendEvent::Receipt(head)) => self.sender.handle_receipt(head, now_ms(clock)),
            Ok(AppendEvent::Conflict { stored }) => {
                self.sender.handle_conflict(stored, now_ms(clock))
            }
            Ok(AppendEvent::NotNext { .. }) => self.sender.handle_not_next(now_ms(clock)),
            Ok(AppendEvent::OverQuota {
                size,
                retry_after_s,
                ..
            }) => {
                self.sender
                    .handle_over_quota(size, retry_after_s, now_ms(clock));
            }
            Err(error) => {
                *handle = None;
                shared
                    .board
                    .change(|board| board.lines.entry(self.line).or_default().connected = false);
                self.slot_failed(error, clock)?;
            }
        }
        Ok(())
    }

    /// A refused slot is attached again; anything else ends the connection.
    fn slot_failed(&mut self, error: ClientError, clock: &impl Clock) -> Result<(), Over> {
        if matches!(error, ClientError::Refused { .. }) && error.kind() == ErrorKind::Retry {
            let pause = u64::try_from(SLOT_PAUSE.as_millis()).unwrap_or(u64::MAX);
            self.sender.handle_detached(now_ms(clock) + pause);
            return Ok(());
        }
        Err(Over::Client(error))
    }
}

/// Takes what the phone sends until the connection ends.
pub(super) async fn receive(shared: &Shared) -> Result<(), Over> {
    let line = shared.line;
    let mut pause = FORGED_PAUSE;
    loop {
        let cursor = shared
            .sealer
            .run(move |core, _now| core.cursor(line))
            .await
            .map_err(Over::Sealer)?;
        let attached = shared
            .connection
            .attach_receive(shared.head.receive, cursor)
            .await;
        let (state, mut deliveries) = match attached {
            Ok(attached) => attached,
            Err(error) if error.kind() == ErrorKind::Retry && super::is_refusal(&error) => {
                tokio::time::sleep(SLOT_PAUSE).await;
                continue;
            }
            Err(error) => return Err(Over::Client(error)),
        };
        let held = state.last.map_or(Seq::NONE, |last| last.seq);
        if cursor >= held {
            shared.hearing.heard(line);
        }
        loop {
            let delivery = match timeout(QUIET_MAX, deliveries.next()).await {
                Ok(Ok(delivery)) => delivery,
                // What the relay left out it says when it is asked again.
                Err(_quiet) => break,
                Ok(Err(error)) if error.kind() == ErrorKind::Retry && super::is_refusal(&error) => {
                    break;
                }
                Ok(Err(error)) => return Err(Over::Client(error)),
            };
            let bytes = delivery.bytes;
            let seq = delivery.seq;
            let taken = shared
                .sealer
                .run(move |core, now| core.handle_envelope(line, seq, &bytes, now))
                .await;
            if is_about_space(&taken) {
                // The others do not wait for what cannot be taken, and the connection is for them, too.
                shared.hearing.heard(line);
                tracing::warn!("there is no room for an envelope; it is asked for again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(FORGED_PAUSE_MAX);
                break;
            }
            let Some(taken) = unless_reopened(taken)? else {
                break;
            };
            match taken.verdict {
                // ORDER: the answer came after the sync.
                Verdict::Taken | Verdict::Duplicate => {
                    pause = FORGED_PAUSE;
                    if taken.cursor >= held {
                        shared.hearing.heard(line);
                    }
                    wal::leaves!(
                        "trim {} {}",
                        shared.head.receive.send_id().to_text(),
                        taken.cursor
                    );
                    deliveries.trim(taken.cursor).await.map_err(Over::Client)?;
                }
                // Whatever is behind them may still prove this directory old, and is waited for as long as that may take.
                Verdict::Slowed => {
                    // A phone that says too much must not fill the log either.
                    tracing::debug!("envelopes come too fast; they are asked for again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(FORGED_PAUSE_MAX);
                    break;
                }
                Verdict::Waits
                | Verdict::Gap
                | Verdict::NotAuthentic
                | Verdict::RolledBack
                | Verdict::LineBroken => {
                    // The others do not wait for what cannot be taken.
                    shared.hearing.heard(line);
                    tracing::warn!(verdict = ?taken.verdict, "an envelope could not be taken; it is asked for again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(FORGED_PAUSE_MAX);
                    break;
                }
            }
        }
        drop(deliveries);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether the disk, or what this hub may use of it, is full.
fn is_about_space<T>(answer: &Result<T, SealerError>) -> bool {
    matches!(answer, Err(SealerError::Core(CoreError::Journal(error)))
        if error.kind() == journal::ErrorKind::Space)
}

/// After a reopened journal there is no answer, and the caller looks again.
pub(super) fn unless_reopened<T>(answer: Result<T, SealerError>) -> Result<Option<T>, Over> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(SealerError::Core(error)) if error.is_open() => Ok(None),
        Err(error) => Err(Over::Sealer(error)),
    }
}

/// The next word of the relay; never, if nothing is attached.
async fn next_event(handle: &mut Option<AppendHandle>) -> Result<AppendEvent, ClientError> {
    match handle {
        Some(handle) => handle.next_event().await,
        None => std::future::pending().await,
    }
}

/// The machine's clock: milliseconds that do not go backwards.
/// Milliseconds by the clock that never falls.
pub(super) fn now_ms(clock: &impl Clock) -> u64 {
    u64::try_from(clock.now().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each time that a phone asks costs one look at the relay, and a new process has none to make up for.
    #[test]
    fn the_relay_is_asked_anew_once_for_each_time_that_a_phone_asks() {
        let mut head = LineHeads {
            send: wire::ids::SendId([1; 24]),
            receive: wire::ids::ReceiveId([2; 24]),
            last: Seq(9),
            acked: Seq(3),
            standing: Standing::Good,
            asked_again: 4,
            events_told: 0,
        };
        let line = Line::of(journal::ids::PairingId([0; 16]), Channel::EventVideo);
        let mut uplink = LineUplink::new(line, head, None);
        assert!(!uplink.asks_again(&head));
        head.asked_again = 5;
        assert!(uplink.asks_again(&head));
        assert!(!uplink.asks_again(&head));
    }

    #[test]
    fn an_envelope_without_room_is_the_affair_of_its_mailbox_and_a_failed_journal_of_all() {
        let no_room = journal::JournalError::Wal(wal::WalError::Space {
            needed: 2,
            available: 1,
        });
        let of = |error| -> Result<(), _> { Err(SealerError::Core(error)) };
        assert!(is_about_space(&of(CoreError::Journal(no_room))));
        let poisoned = journal::JournalError::Poisoned(None);
        assert!(!is_about_space(&of(CoreError::Journal(poisoned))));
        assert!(!is_about_space(&of(CoreError::Reopened)));
        assert!(!is_about_space(&Ok(())));
    }

    #[test]
    fn what_could_not_be_had_is_not_asked_for_at_once_again() {
        let absent = Absent::at(Seq(7), 1_000);
        let need = |seq| Need::Envelope {
            seq: Seq(seq),
            after: Seq(6),
        };
        assert!(absent.holds_back(need(7), 1_000));
        assert!(absent.holds_back(need(7), 999 + ABSENT_PAUSE_MS));
        assert!(!absent.holds_back(need(7), 1_000 + ABSENT_PAUSE_MS));
        // An ack moved the machine on, or the relay must be attached again.
        assert!(!absent.holds_back(need(8), 1_000));
        assert!(!absent.holds_back(Need::Attach, 1_000));
    }
}
