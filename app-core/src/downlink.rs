//! A sync: one connection to each relay, one task for each line on it, again and again until done.
//!
//! A shell: sockets, waiting and order of attempts. It must never decide what an envelope means (the
//! core does) and never trim at the relay what is not durable here. Everything it starts ends when
//! its future is dropped.

mod hearing;
mod line;
mod live;
mod look;
#[cfg(test)]
mod tests;
mod tries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use journal::ids::{Channel, Line, PairingId};
use relay_client::{Admission, ClientError, Config, Connection, Identity, RelayAddress};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use wal::Dice;
use wire::{Certificate, ErrorCode, Invitation};

use crate::app::Shared;
use crate::core::LineInfo;
use crate::error::{AppError, ErrorKind};
use crate::event::Event;
use crate::types::{self, HubId, SyncMode};
use hearing::Hearing;
use line::Stay;
use look::{LOOK_PAUSE_MAX, Levels, look};
use tries::Tries;

/// How often a sync that is to end attaches a line before it gives up.
const ATTEMPTS_ONCE_MAX: u32 = 4;
/// How many commands a sync that is to end sends one after the other: each waits for the answer to the last.
const ORDERS_ONCE_MAX: usize = journal::COMMANDS_PENDING_MAX;
/// How long one address of the relay may take to complete a handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How something that a sync does came to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    /// The connection is of no more use; its lines must come back on another.
    Connection(AppError),
    /// The relay did not admit this device: there was no connection.
    Refused(AppError),
    /// This line must be attached again; others are not concerned.
    Line(AppError),
    /// Trying again cannot help.
    Fatal(AppError),
}

impl End {
    fn error(self) -> AppError {
        match self {
            Self::Connection(error)
            | Self::Refused(error)
            | Self::Line(error)
            | Self::Fatal(error) => error,
        }
    }

    fn from_app(error: AppError, mode: SyncMode) -> Self {
        // What was proved is kept, and no attempt changes it.
        if error == AppError::OlderCopy {
            return Self::Fatal(error);
        }
        match error.kind() {
            ErrorKind::Retry | ErrorKind::Peer => Self::Line(error),
            // Somebody may free space while we follow.
            ErrorKind::Space if mode.goes_on() => Self::Line(error),
            // The journal failed more than once in a row, and whoever asks next has it opened again: what is read first
            // then says whether it can be.
            _ if mode.goes_on() && error.is_of_the_disk() => Self::Line(error),
            _ => Self::Fatal(error),
        }
    }

    /// What was said of a connection to which this device is admitted.
    fn from_client(error: &ClientError) -> Self {
        let app = AppError::from_client(error);
        match app.kind() {
            // A refusal here is no more than a relay's word: if it is true, the next admission repeats it.
            ErrorKind::Retry | ErrorKind::Peer | ErrorKind::Refused => Self::Connection(app),
            _ => Self::Fatal(app),
        }
    }

    /// What was said of one mailbox, or of the `connection` that it is attached on. A mailbox that is refused time and
    /// again stops no other, as long as the connection stands.
    fn from_mailbox(error: &ClientError, connection: &Connection) -> Self {
        use relay_client::ErrorKind::{NotAdmitted, Replaced};
        let may_concern_one = match error {
            ClientError::Refused {
                code: ErrorCode::MailboxLost | ErrorCode::UnknownSlot | ErrorCode::TooManyMailboxes,
            } => true,
            other => matches!(other.kind(), NotAdmitted | Replaced),
        };
        // A relay may close a connection with the same words, and nothing can be attached on that any more.
        match may_concern_one && !connection.is_closed() {
            true => Self::Line(AppError::from_client(error)),
            false => Self::from_client(error),
        }
    }

    /// The same of one that was only asked for.
    fn from_admission(error: &ClientError) -> Self {
        match error.kind() {
            relay_client::ErrorKind::NotAdmitted => Self::Refused(AppError::from_client(error)),
            _ => Self::from_client(error),
        }
    }

    /// What our own journal answered before there was a connection.
    fn from_journal(error: AppError) -> Self {
        match error.kind() {
            ErrorKind::Retry => Self::Connection(error),
            _ => Self::Fatal(error),
        }
    }

    /// Whether the other lines can do without the one that has ended so. A line that is dead beside living ones would
    /// be missed by nobody, so everything else ends all of them.
    fn concerns_all(&self) -> bool {
        match self {
            Self::Fatal(error) => {
                !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::RolledBack)
            }
            Self::Connection(_) | Self::Refused(_) => true,
            Self::Line(_) => false,
        }
    }
}

/// Syncs every line of every confirmed pairing.
pub(crate) async fn sync(shared: &Arc<Shared>, mode: SyncMode) -> Result<(), AppError> {
    let lines = shared.engine.read(|core, _shell| core.lines()).await?;
    if lines.is_empty() {
        return Err(AppError::NotPaired);
    }
    let mut tasks = JoinSet::new();
    for (texts, lines) in by_relay(lines) {
        tasks.spawn(sync_relay(Arc::clone(shared), texts, lines, mode));
    }
    let mut first_error = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = joined(ended).unwrap_or(Ok(()));
        if let Err(error) = &ended
            && mode.goes_on()
            && End::Fatal(error.clone()).concerns_all()
        {
            // The hubs of another relay would go on without these, and nobody be told.
            return ended;
        }
        first_error = first_error.and(ended);
    }
    first_error
}

/// The lines at each relay, with all that hubs call it: two connections of one device displace each other there.
fn by_relay(lines: Vec<LineInfo>) -> Vec<(BTreeSet<String>, Vec<LineInfo>)> {
    let mut relays: BTreeMap<String, (BTreeSet<String>, Vec<LineInfo>)> = BTreeMap::new();
    for line in lines {
        let text = line.relay.clone();
        let address = text.parse::<RelayAddress>();
        // What is none is said when it is connected to.
        let relay = address.map_or_else(|_none| text.clone(), |address| address.relay_id.to_text());
        let (texts, lines) = relays.entry(relay).or_default();
        texts.insert(text);
        lines.push(line);
    }
    relays.into_values().collect()
}

/// What a task came to; none if we ended it. A panic in it is ours to pass on.
fn joined<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(result) => Some(result),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_aborted) => None,
    }
}

/// Everything that goes over one relay.
async fn sync_relay(
    shared: Arc<Shared>,
    texts: BTreeSet<String>,
    lines: Vec<LineInfo>,
    mode: SyncMode,
) -> Result<(), AppError> {
    let progress = Arc::new(AtomicBool::new(false));
    let mut tries = Tries::new(mode);
    loop {
        let ended = match connect_by_any(&shared, &texts).await {
            Ok(connection) => {
                tries.handle_admitted(shared.clock.now_ms());
                one_connection(&shared, connection, &lines, mode, &progress).await
            }
            Err(end) => Err(end),
        };
        let Err(end) = ended else { return Ok(()) };
        let has_moved = progress.swap(false, Ordering::Relaxed);
        let now_ms = shared.clock.now_ms();
        let (error, pause) = tries.handle_end(end, has_moved, now_ms, die())?;
        let videos = lines
            .iter()
            .filter(|info| info.line.channel == Channel::EventVideo);
        for line in videos {
            shared.announcer.tell(Event::Disconnected {
                hub: HubId::from_journal(line.line.pairing),
                reason: error.to_string(),
                retry_after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            });
        }
        match error {
            // Somebody has to do something about these, and not everybody who syncs is shown events.
            AppError::NotAdmitted(_) | AppError::Replaced => {
                tracing::warn!(%error, ?pause, "the relay says no; trying again");
            }
            _ => tracing::info!(%error, ?pause, "the relay is away; trying again"),
        }
        tokio::time::sleep(pause).await;
    }
}

async fn one_connection(
    shared: &Arc<Shared>,
    connection: Connection,
    lines: &[LineInfo],
    mode: SyncMode,
    progress: &Arc<AtomicBool>,
) -> Result<(), End> {
    let connection = Arc::new(connection);
    let levels = Arc::new(Levels::default());
    let all = lines.iter().map(|info| info.line).collect();
    let hearing = Arc::new(Hearing::new(all, shared.clock.now_ms()));
    let start = |stay: Stay, wanted: &dyn Fn(Line) -> bool| {
        let mut pass = Pass::default();
        for info in lines.iter().filter(|info| wanted(info.line)) {
            let line = info.line;
            let task = line::LineTask::new(
                Arc::clone(shared),
                Arc::clone(&connection),
                info.clone(),
                stay,
                Arc::clone(progress),
                (Arc::clone(&levels), Arc::clone(&hearing)),
            );
            let task = pass.tasks.spawn(async move { (line, task.run().await) });
            pass.handles.push((line.pairing, task));
        }
        pass
    };
    let mut pass = match mode {
        SyncMode::Once => start(Stay::UntilLevel, &|_line| true),
        SyncMode::Follow | SyncMode::Attended => start(Stay::Following, &|_line| true),
    };
    let mut outcome = Ok(());
    let (mut over, mut said, mut stayed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut pause = LOOK_PAUSE_MAX;
    let mut orders = shared.orders();
    let mut order_passes = 0;
    loop {
        let ended = tokio::select! {
            ended = pass.tasks.join_next() => ended.map(joined),
            () = stirred(&levels, &mut orders, pause), if mode.goes_on() => {
                let looked = look(shared, &levels, &said).await;
                pause = looked.pause;
                if looked.finds_silence {
                    // The hub may have answered, and the relay left it out. Whatever that shows on a new connection is news.
                    let what = "a camera is silent; the relay is asked anew";
                    pass.tasks.shutdown().await;
                    return Err(End::Connection(AppError::Network(what.into())));
                }
                if !looked.tried.is_empty() || !looked.ordered.is_empty() {
                    levels.nudge();
                }
                continue;
            }
        };
        match ended {
            Some(Some((_line, Err(End::Connection(error))))) => {
                pass.tasks.shutdown().await;
                return Err(End::Connection(error));
            }
            Some(Some((_line, Err(end)))) if mode.goes_on() && end.concerns_all() => {
                pass.tasks.shutdown().await;
                return Err(end);
            }
            Some(Some((line, other))) => {
                match end_of_line(line, &other) {
                    Some(event @ Event::ChannelDamaged { .. }) => shared.announcer.tell(event),
                    Some(event) if over.insert(line.pairing) => shared.announcer.tell(event),
                    _ => {}
                }
                if let Err(End::Fatal(AppError::OlderCopy)) = &other {
                    // A directory rolls back whole: nothing more is asked or said on its other lines.
                    pass.abort(line.pairing);
                    // The other hubs' lines do not wait for what was ended before it could be compared.
                    for of in Line::all(line.pairing) {
                        hearing.compared(of);
                    }
                }
                outcome = outcome.and(other);
            }
            Some(None) => {}
            None if !mode.goes_on() => {
                // What it says was only now known to be all; a second pass takes it to the relay, and
                // stays a moment for the hub's word. So it does before a hub is called silent: what was said
                // long ago may have reached the relay only now. Each is done once for a pairing, and what no
                // pass could send is not made. Commands go one after the other, each behind its answer.
                let looked = look(shared, &levels, &said).await;
                let (mut staying, mut tried) = (looked.unsure, looked.tried);
                staying.retain(|pairing| stayed.insert(*pairing));
                tried.retain(|pairing| said.insert(*pairing));
                staying.extend(tried);
                if order_passes < ORDERS_ONCE_MAX && !looked.ordered.is_empty() {
                    order_passes += 1;
                    staying.extend(looked.ordered);
                }
                if staying.is_empty() {
                    return outcome;
                }
                pass = start(Stay::UntilAnswered, &|line| {
                    staying.contains(&line.pairing) && levels.contains(line)
                });
            }
            None => return outcome,
        }
    }
}

/// Until there may be something to say: a line has moved, a command was given, or so much time has passed.
async fn stirred(levels: &Levels, orders: &mut watch::Receiver<u64>, pause: Duration) {
    tokio::select! {
        () = levels.moved(pause) => {}
        // Whoever gives commands lives as long as the sync.
        _ = orders.changed() => {}
    }
}

/// What is told when a line ends for good and others go on: of the hub, or of this channel alone.
fn end_of_line(line: Line, ended: &Result<(), End>) -> Option<Event> {
    let hub = HubId::from_journal(line.pairing);
    match ended {
        Err(End::Fatal(AppError::OlderCopy)) => Some(Event::RolledBack { hub }),
        Err(End::Fatal(AppError::LineBroken)) => Some(Event::LineBroken { hub }),
        Err(End::Fatal(error)) if error.kind() == ErrorKind::Corrupt => {
            Some(Event::ChannelDamaged {
                hub,
                channel: types::Channel::from_journal(line.channel),
                reason: error.to_string(),
            })
        }
        _ => None,
    }
}

/// The tasks of some lines on one connection.
#[derive(Default)]
struct Pass {
    tasks: JoinSet<(Line, Result<(), End>)>,
    handles: Vec<(PairingId, AbortHandle)>,
}

impl Pass {
    fn abort(&self, pairing: PairingId) {
        for (_, handle) in self.handles.iter().filter(|(of, _)| *of == pairing) {
            handle.abort();
        }
    }
}

/// Connects to a relay as this device: with an invitation, if there is one, or, if that is refused, with its
/// certificate.
/// A new certificate is durable before this returns.
pub(crate) async fn connect_to_relay(
    shared: &Shared,
    relay: &str,
    invitation: Option<Invitation>,
) -> Result<Connection, AppError> {
    connect(shared, relay, invitation).await.map_err(End::error)
}

/// Connects to a relay by whichever of its addresses it is reached.
async fn connect_by_any(shared: &Shared, texts: &BTreeSet<String>) -> Result<Connection, End> {
    let mut last = Err(End::Fatal(AppError::NotPaired));
    for text in texts {
        last = connect(shared, text, None).await;
        if !matches!(last, Err(End::Connection(_))) {
            break;
        }
    }
    last
}

async fn connect(
    shared: &Shared,
    relay: &str,
    invitation: Option<Invitation>,
) -> Result<Connection, End> {
    let address: RelayAddress = relay.parse().map_err(|error| End::from_client(&error))?;
    let (connection, certificate, is_new) = admit(shared, &address, (invitation, true)).await?;
    if is_new {
        let relay = relay.to_owned();
        let bytes = certificate.to_bytes();
        let keep = shared
            .engine
            .read(move |core, _shell| core.journal().keep_certificate(&relay, bytes).map(drop));
        keep.await.map_err(End::from_journal)?;
    }
    Ok(connection)
}

/// As [`connect_to_relay`], to a relay that may be another one than this device is at: nothing is kept. The
/// certificate to be kept comes back.
pub(crate) async fn admitted(
    shared: &Shared,
    address: &RelayAddress,
    invitation: Option<Invitation>,
) -> Result<(Connection, Certificate), AppError> {
    // Whoever gives a code wants that hub to admit this device: no certificate in its place.
    let or_certificate = invitation.is_none();
    let admitted = admit(shared, address, (invitation, or_certificate)).await;
    let (connection, certificate, _is_new) = admitted.map_err(End::error)?;
    Ok((connection, certificate))
}

/// The connection, the certificate of this relay, and whether that is another one than is kept.
async fn admit(
    shared: &Shared,
    address: &RelayAddress,
    (invitation, or_certificate): (Option<Invitation>, bool),
) -> Result<(Connection, Certificate, bool), End> {
    let device = shared
        .engine
        .read(|core, _shell| core.device())
        .await
        .map_err(End::from_journal)?;
    let identity = Identity::from_seed(*device.identity_seed);
    let kept = device
        .certificate
        .as_deref()
        .and_then(|bytes| Certificate::decode(bytes).ok());
    let kept =
        kept.filter(|kept| kept.relay == address.relay_id && kept.device == identity.device_id());
    let certificate = kept
        .clone()
        .filter(|_| or_certificate)
        .map(Admission::Certificate);
    // The invitation first: each hub's own has to admit this device, or another hub's removal would shut it out.
    let ways = invitation.map(Admission::Invitation);
    let ways = ways.into_iter().chain(certificate);
    let mut connected = None;
    for admission in ways {
        let config = Config {
            connect_timeout: CONNECT_TIMEOUT,
            ..Config::default()
        };
        let tried = relay_client::connect(address, &identity, admission, config).await;
        let is_refused = tried
            .as_ref()
            .is_err_and(|error| error.kind() == relay_client::ErrorKind::NotAdmitted);
        connected = Some(tried);
        // One that ran out, or was used and taken back, leaves what another has given.
        if !is_refused {
            break;
        }
    }
    let Some(connected) = connected else {
        return Err(End::Fatal(AppError::NotAdmitted(
            "this app has no admission to that relay yet; give the hub's code to `pair` once more, or, if the hub is at another relay now, what `secluso-hub relay-code` prints"
                .into(),
        )));
    };
    let (connection, certificate) = connected.map_err(|error| End::from_admission(&error))?;
    let is_new = kept.as_ref() != Some(&certificate);
    Ok((connection, certificate, is_new))
}

/// A random number for the pauses between attempts.
pub(crate) fn die() -> u64 {
    let mut bytes = [0; 8];
    wal::OsDice.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
