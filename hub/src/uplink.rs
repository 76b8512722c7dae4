//! The way to the relay: one connection, and on it one sender and one receiver for each line.
//!
//! It works while there is something to send and somebody to send it to, and otherwise waits: a
//! recording never notices. A process compares every mailbox, and hears a phone, before it speaks to it ([`hearing`]). Only `Durable<Envelope>` reaches an append; a receipt stops re-sending
//! and frees nothing; the relay may forget what a phone sent only after it is durable here. This
//! room must never give up for ever: every state it can be in ends with another attempt.

mod backoff;
mod dismissals;
mod hearing;
mod hold;
mod line;
mod live;
mod shape;
mod stall;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use journal::ids::{Channel, Line, PairingId};
use relay_client::rpk::EndpointLimits;
use relay_client::{Admission, ClientError, Connection, ErrorKind, Identity, RelayAddress};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use wire::ids::Seq;
use wire::{Certificate, Class, Invitation};

pub use backoff::Backoff;
pub use shape::Shaped;

use crate::camera::Clock;
use crate::core::{CoreError, Heads, LineHeads, is_about_one_line};
use crate::live::Outlets;
use crate::sealer::{Sealer, SealerError};
use crate::traffic::Traffic;
use hearing::{Comparison, Hearing};
use line::{LineUplink, Queue};

/// A relay that was killed answers nothing; after this silence the connection is dropped.
const IDLE: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Wait after a relay has said that it does not know us, or after somebody else answered for it.
const NOT_ADMITTED_PAUSE: Duration = Duration::from_secs(60);
/// Pause of a line whose stored state cannot be used, before it is looked at again.
const BROKEN_LINE_PAUSE: Duration = Duration::from_secs(60);

/// What the uplink shows of one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineLink {
    /// Whether it is attached for sending right now.
    pub connected: bool,
    /// Highest number with a receipt, as far as this process knows.
    pub stored_through: Seq,
    /// The relay had no room when it was last asked.
    pub over_quota: bool,
    /// Its rhythm, if its envelopes leave at a constant rate.
    pub shaped: Option<Shaped>,
}

/// What the uplink shows of itself.
#[derive(Clone, Debug, Default)]
pub struct LinkStatus {
    /// Whether the relay has admitted us right now.
    pub connected: bool,
    /// Why not, if not.
    pub trouble: Option<String>,
    /// Set when the relay has refused us and we have nothing else to show: exit code 6.
    pub not_admitted: bool,
    /// Set when what answers at the relay's address does not hold its key.
    pub wrong_relay: bool,
    /// Removed phones that the relay admits all the same, by an invitation that is not this hub's.
    pub still_admitted: BTreeSet<PairingId>,
    /// The lines.
    pub lines: BTreeMap<Line, LineLink>,
}

/// The status, shared with `status` and the supervisor.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<LinkStatus>>);

impl Board {
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut LinkStatus) -> T) -> T {
        // Plain facts; a panic elsewhere cannot have left them half changed.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn read(&self) -> LinkStatus {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What an uplink needs.
pub struct UplinkConfig {
    /// The relay.
    pub relay: RelayAddress,
    /// For the first connection.
    pub invitation: Option<Invitation>,
    /// The constant rate of the lines of event videos, if there is one.
    pub traffic: Option<Traffic>,
}

/// A handle on the running uplink.
#[derive(Clone)]
pub struct Uplink {
    board: Board,
    connection: watch::Receiver<Option<Arc<Connection>>>,
    outlets: Outlets,
}

impl Uplink {
    /// Where live frames are given to it.
    pub fn outlets(&self) -> Outlets {
        self.outlets.clone()
    }

    /// What it shows.
    pub fn status(&self) -> LinkStatus {
        self.board.read()
    }

    /// An invitation for a phone, from the relay; waits for a connection.
    ///
    /// # Errors
    /// The relay's refusal, or [`ClientError::Timeout`] if there is no connection in time.
    pub async fn invite_phone(
        &self,
        lasts: Duration,
        patience: Duration,
    ) -> Result<Invitation, ClientError> {
        let ttl_seconds = u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX);
        let asked = async {
            let mut connection = self.connection.clone();
            loop {
                let current = connection.borrow_and_update().clone();
                if let Some(current) = current {
                    match current.invite(Class::Phone, ttl_seconds).await {
                        Err(error) if error.kind() == ErrorKind::Retry && !is_refusal(&error) => {}
                        answer => return answer,
                    }
                }
                if connection.changed().await.is_err() {
                    return Err(ClientError::Timeout);
                }
            }
        };
        let refused = async {
            loop {
                let link = self.board.read();
                if link.wrong_relay {
                    return ClientError::WrongRelay;
                }
                if link.not_admitted {
                    return ClientError::Refused {
                        code: wire::ErrorCode::Stranger,
                    };
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            answer = asked => answer,
            refusal = refused => Err(refusal),
            () = tokio::time::sleep(patience) => Err(ClientError::Timeout),
        }
    }
}

fn is_refusal(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { .. })
}

/// Starts the uplink's task; aborting it is a clean stop.
pub fn start(
    config: UplinkConfig,
    sealer: Sealer,
    clock: impl Clock + Clone + 'static,
    jitter: impl FnMut() -> u64 + Send + 'static,
) -> (Uplink, tokio::task::JoinHandle<()>) {
    let board = Board::default();
    let (publish, connection) = watch::channel(None);
    let outlets = Outlets::default();
    let task = Worker {
        config,
        sealer,
        clock,
        board: board.clone(),
        publish,
        outlets: outlets.clone(),
        queue: Queue::new(),
        lines: BTreeMap::new(),
        hearings: BTreeMap::new(),
        comparison: None,
        backoff: Backoff::new(Box::new(jitter)),
    };
    let task = tokio::spawn(task.run());
    let uplink = Uplink {
        board,
        connection,
        outlets,
    };
    (uplink, task)
}

struct Worker<C> {
    config: UplinkConfig,
    sealer: Sealer,
    clock: C,
    board: Board,
    publish: watch::Sender<Option<Arc<Connection>>>,
    outlets: Outlets,
    /// Whose turn it is to send, and which pictures have gone.
    queue: Queue,
    /// What each sender knows outlives a connection.
    lines: BTreeMap<Line, Arc<tokio::sync::Mutex<LineUplink>>>,
    /// Which phones this process has heard.
    hearings: BTreeMap<PairingId, Arc<Hearing>>,
    /// Which mailboxes it has compared, once it has been connected.
    comparison: Option<Arc<Comparison>>,
    backoff: Backoff,
}

/// Why one connection is over.
enum Over {
    Client(ClientError),
    Sealer(SealerError),
}

impl<C: Clock + Clone + 'static> Worker<C> {
    async fn run(mut self) {
        loop {
            let over = match self.connect().await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    self.publish.send_replace(Some(Arc::clone(&connection)));
                    self.board.change(|board| {
                        board.connected = true;
                        board.trouble = None;
                        board.not_admitted = false;
                        board.wrong_relay = false;
                    });
                    tracing::info!("connected to the relay");
                    let began = self.clock.now();
                    let over = match say_attached(&self.sealer, true).await {
                        Ok(()) => self.serve(&connection).await,
                        Err(over) => over,
                    };
                    // What is counted until this is done is a moment; a journal that is gone counts nothing.
                    let _gone = say_attached(&self.sealer, false).await;
                    self.publish.send_replace(None);
                    connection.close();
                    if self.clock.now().saturating_sub(began) > IDLE {
                        self.backoff.reset();
                    }
                    over
                }
                Err(over) => over,
            };
            let error = match over {
                Over::Client(error) => error,
                Over::Sealer(SealerError::Closed) => return,
                Over::Sealer(error) => {
                    tracing::warn!(%error, "the uplink could not read the journal");
                    ClientError::Timeout
                }
            };
            tracing::warn!(%error, "no connection to the relay; recording goes on");
            self.board.change(|board| {
                board.connected = false;
                board.trouble = Some(error.to_string());
                for line in board.lines.values_mut() {
                    line.connected = false;
                }
            });
            tokio::time::sleep(pause_after(&mut self.backoff, &error)).await;
        }
    }

    /// With the certificate that this relay gave, else with the invitation of the configuration.
    async fn connect(&mut self) -> Result<Connection, Over> {
        let relay = self.config.relay.to_string();
        let device = self
            .sealer
            .run(|core, now| core.with_journal(now, journal::Journal::device))
            .await;
        let device = device.map_err(Over::Sealer)?;
        // The key names the relay; its address may change.
        let same = |text: &str| {
            text.parse::<RelayAddress>()
                .is_ok_and(|a| a.relay_id == self.config.relay.relay_id)
        };
        let certificate = device
            .certificate
            .as_deref()
            .filter(|_| same(&device.certificate_relay))
            .and_then(|bytes| Certificate::decode(bytes).ok());
        let invitation = self.config.invitation.clone();
        let mut ways: Vec<Admission> = certificate
            .map(Admission::Certificate)
            .into_iter()
            .collect();
        ways.extend(invitation.map(Admission::Invitation));
        let identity = Identity::from_seed(*device.identity_seed);
        let mut refused = ClientError::Refused {
            code: wire::ErrorCode::Stranger,
        };
        for way in ways {
            let used_invitation = matches!(way, Admission::Invitation(_));
            match relay_client::connect(&self.config.relay, &identity, way, client_config()).await {
                Ok((connection, certificate)) => {
                    if used_invitation {
                        let bytes = certificate.to_bytes();
                        let keep = move |core: &mut crate::core::Core, now| {
                            core.with_journal(now, |journal| {
                                journal.keep_certificate(&relay, bytes)
                            })
                        };
                        drop(self.sealer.run(keep).await.map_err(Over::Sealer)?);
                    }
                    return Ok(connection);
                }
                Err(error) if error.kind() == ErrorKind::NotAdmitted => refused = error,
                Err(error) => {
                    let wrong_relay = error == ClientError::WrongRelay;
                    self.board.change(|board| {
                        board.wrong_relay = wrong_relay;
                        board.not_admitted = false;
                    });
                    return Err(Over::Client(error));
                }
            }
        }
        self.board.change(|board| {
            board.not_admitted = true;
            board.wrong_relay = false;
        });
        Err(Over::Client(refused))
    }

    /// Runs the tasks of all lines until the connection ends; new lines join, and those of a phone that
    /// was removed end.
    async fn serve(&mut self, connection: &Arc<Connection>) -> Over {
        let mut heads = self.sealer.heads();
        let relay = self.config.relay.relay_id;
        let mut telling = pin!(dismissals::tell(
            connection,
            self.sealer.clone(),
            relay,
            self.board.clone(),
        ));
        let mut tasks: JoinSet<(Line, Result<(), Over>)> = JoinSet::new();
        let mut attached: BTreeMap<Line, Vec<AbortHandle>> = BTreeMap::new();
        loop {
            let current: Heads = heads.borrow_and_update().clone();
            let comparison = self.comparison.get_or_insert_with(|| {
                let all = current.keys().copied().collect();
                Arc::new(Comparison::new(all))
            });
            let comparison = Arc::clone(comparison);
            comparison.retain(|line| current.contains_key(line));
            for (line, head) in &current {
                if !attached.contains_key(line) {
                    let of_line = self.attach(*line, *head, (connection, &comparison), &mut tasks);
                    attached.insert(*line, of_line);
                }
            }
            // A phone was removed: nothing is sent to it and nothing is waited for from it any more.
            attached.retain(|line, of_line| {
                let is_there = current.contains_key(line);
                if !is_there {
                    of_line.iter().for_each(AbortHandle::abort);
                }
                is_there
            });
            self.lines.retain(|line, _| current.contains_key(line));
            self.board
                .change(|board| board.lines.retain(|line, _| current.contains_key(line)));
            let goes_on = |pairing: PairingId| current.keys().any(|line| line.pairing == pairing);
            self.hearings.retain(|pairing, _| goes_on(*pairing));
            self.queue.retain(goes_on);
            tokio::select! {
                error = connection.closed() => return Over::Client(error),
                over = &mut telling => return over,
                changed = heads.changed() => if changed.is_err() {
                    return Over::Sealer(SealerError::Closed);
                },
                Some(ended) = tasks.join_next() => match ended {
                    Ok((line, Ok(()))) => {
                        tracing::debug!(?line, "a line is no more");
                        // Its removal may be undone: then all of it begins anew.
                        let of_line = attached.remove(&line).unwrap_or_default();
                        of_line.iter().for_each(AbortHandle::abort);
                    }
                    Ok((_, Err(over))) => return over,
                    Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
                    Err(_cancelled) => {}
                },
            }
        }
    }

    fn attach(
        &mut self,
        line: Line,
        head: LineHeads,
        (connection, comparison): (&Arc<Connection>, &Arc<Comparison>),
        tasks: &mut JoinSet<(Line, Result<(), Over>)>,
    ) -> Vec<AbortHandle> {
        let known = self.lines.entry(line).or_insert_with(|| {
            let new = LineUplink::new(line, head, self.config.traffic);
            Arc::new(tokio::sync::Mutex::new(new))
        });
        let known = Arc::clone(known);
        let hearing = self
            .hearings
            .entry(line.pairing)
            .or_insert_with(|| Arc::new(Hearing::new(line.pairing)));
        let shared = line::Shared {
            line,
            head,
            hearing: Arc::clone(hearing),
            comparison: Arc::clone(comparison),
            connection: Arc::clone(connection),
            sealer: self.sealer.clone(),
            board: self.board.clone(),
            queue: self.queue.clone(),
        };
        let clock = self.clock.clone();
        let (for_receiving, for_live) = (shared.clone(), shared.clone());
        let sending = tasks.spawn(async move {
            let mut known = known.lock().await;
            loop {
                let ended = known.send(&shared, &clock).await;
                if is_its_own(&ended) {
                    // The others do not wait for what cannot be compared.
                    shared.comparison.done(line);
                }
                if let Some(ended) = unless_its_own(line, ended).await {
                    return (line, ended);
                }
            }
        });
        let receiving = tasks.spawn(async move {
            loop {
                let ended = line::receive(&for_receiving).await;
                if let Some(ended) = unless_its_own(line, ended).await {
                    return (line, ended);
                }
            }
        });
        let mut all = vec![sending, receiving];
        if line.channel == Channel::Livestream {
            let (outlets, clock) = (self.outlets.clone(), self.clock.clone());
            let casting = async move { (line, live::send(&for_live, &outlets, &clock).await) };
            all.push(tasks.spawn(casting));
        }
        all
    }
}

/// Whether phones can be heard: it decides whether their silence is counted.
async fn say_attached(sealer: &Sealer, is_attached: bool) -> Result<(), Over> {
    let said = sealer.run(move |core, _now| {
        core.handle_link(is_attached);
        Ok(())
    });
    said.await.map_err(Over::Sealer)
}

/// How a task of a line ended; `None` if it is to begin again, after a pause, because nothing but that line is
/// concerned: the connection is for the other lines, and the other phones, too.
async fn unless_its_own(line: Line, ended: Result<(), Over>) -> Option<Result<(), Over>> {
    if !is_its_own(&ended) {
        return Some(ended);
    }
    tracing::warn!(
        ?line,
        "what is stored of a line cannot be used; it waits, the others go on"
    );
    tokio::time::sleep(BROKEN_LINE_PAUSE).await;
    None
}

/// Whether a task ended by what is stored of its line alone.
fn is_its_own(ended: &Result<(), Over>) -> bool {
    matches!(ended, Err(Over::Sealer(SealerError::Core(CoreError::Journal(error))))
        if is_about_one_line(error))
}

/// How long to wait before the next connection. What a relay asks for has its limit in the error.
fn pause_after(backoff: &mut Backoff, error: &ClientError) -> Duration {
    let pause = backoff.pause();
    match error {
        ClientError::GoAway { retry_after_s } => {
            pause + Duration::from_secs(u64::from(*retry_after_s))
        }
        error if matches!(error.kind(), ErrorKind::NotAdmitted | ErrorKind::WrongRelay) => {
            pause + NOT_ADMITTED_PAUSE
        }
        _ => pause,
    }
}

fn client_config() -> relay_client::Config {
    let defaults = relay_client::Config::default();
    relay_client::Config {
        limits: EndpointLimits {
            idle: IDLE,
            keep_alive: Some(KEEP_ALIVE),
            ..defaults.limits.clone()
        },
        ..defaults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_one_line_does_not_end_the_connection() {
        use journal::JournalError;
        use journal::ids::{Channel, PairingId};

        let line = Line::of(PairingId([1; 16]), Channel::Config);
        let of = |error| Err(Over::Sealer(SealerError::Core(CoreError::Journal(error))));
        assert!(is_its_own(&of(JournalError::NoGroup(line))));
        assert!(!is_its_own(&of(JournalError::VaultFull)));
        assert!(!is_its_own(&of(JournalError::Poisoned(None))));
        assert!(!is_its_own(&Err(Over::Sealer(SealerError::Closed))));
        assert!(!is_its_own(&Err(Over::Client(ClientError::Timeout))));
        assert!(!is_its_own(&Ok(())));
    }

    #[test]
    fn no_wish_of_a_relay_silences_the_hub_for_longer_than_its_limit() {
        let most = Duration::from_secs(u64::from(wire::limits::RETRY_AFTER_SECONDS_MAX));
        for asked in [0, 5, u32::MAX] {
            let mut backoff = Backoff::new(Box::new(|| u64::MAX));
            let pause = pause_after(&mut backoff, &ClientError::go_away(asked));
            assert!(pause >= Duration::from_secs(u64::from(asked)).min(most));
            assert!(pause <= most + Duration::from_secs(30), "{pause:?}");
        }
    }
}
