//! The running hub: which parts there are, the order in which they start and stop, and what a dead
//! journal means.
//!
//! Order of start: journal (with what a start owes) and uplink, control socket, cameras. Order of stop:
//! cameras (their clips are cut off), then a moment for the uplink, then the journal. A restart that a phone asks
//! for is such a stop with an exit code of its own; whoever supervises the process starts it again, and the
//! journal has forgotten the wish by then. Whoever supervises the process is told when it is ready, that it is
//! alive for as long as its journal answers and whoever obeys signals goes on, and that it stops. This room must never
//! restart a part whose state it does not know: the journal's thread decides that itself.

mod camera;
mod crew;
mod reload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relay_client::ClientError;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use wal::service::{Service, Urgency};
use wal::{Dice as _, OsDice};

use crate::camera::{CameraError, Clock as _, TokioClock};
use crate::config::{Config, Retain};
use crate::control::{self, Services};
use crate::core::{Core, CoreError, Notice};
use crate::exit::{Code, Failure};
use crate::logging::{self, aside, aside_about};
use crate::metrics::Endpoint;
use crate::output::{self, Format};
use crate::pairing::{self, Inviter, STEPS_MAX, Step, Turn};
use crate::preflight::{self, Looker};
use crate::sealer::{self, Sealer, SealerError, SealerThread};
use crate::tally::Tallies;
use crate::uplink::{self, LinkStatus, Uplink, UplinkConfig};
use crate::{reset, secret, state};
pub use camera::{CameraState, Cameras, Looks};
use crew::Crew;
pub use reload::Current;
use reload::Reloader;

/// What the uplink may still send when the hub stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long a pairing may take to end its offer.
const PAIRING_STOP_WAIT: Duration = Duration::from_secs(3);
/// How long the cameras may take to end their clips.
const CAMERA_STOP_WAIT: Duration = Duration::from_secs(5);

/// Journal and uplink, running.
struct Parts {
    sealer: Sealer,
    thread: SealerThread,
    uplink: Uplink,
    uplink_task: tokio::task::JoinHandle<()>,
    /// How the cameras stand.
    cameras: watch::Receiver<Cameras>,
}

fn start_parts(
    config: &Config,
    clock: &TokioClock,
    cameras: watch::Receiver<Cameras>,
) -> Result<Parts, Failure> {
    let mut core = Core::start(state::opener(config)?, config.silence, clock.unix_ms())?;
    core.let_phones_invite(config.may_invite);
    core.set_retention(config.retain == Retain::UntilAcked);
    core.set_detections(crew::detections(config));
    core.set_budget(config.disk.budget_bytes);
    core.set_clip_days(config.disk.clip_days_max);
    // Before the uplink, which makes the device if there is none.
    secret::import(config, &mut core, clock.unix_ms())?;
    let (sealer, thread) = sealer::start(core, clock.clone()).map_err(|error| {
        Failure::new(
            Code::Internal,
            format!("no thread for the journal: {error}"),
        )
    })?;
    let uplink_config = UplinkConfig {
        relay: config.relay.clone(),
        invitation: config.invitation.clone(),
        traffic: config.traffic,
    };
    let (uplink, uplink_task) = uplink::start(uplink_config, sealer.clone(), clock.clone(), dice());
    Ok(Parts {
        sealer,
        thread,
        uplink,
        uplink_task,
        cameras,
    })
}

fn dice() -> impl FnMut() -> u64 + Send + 'static {
    || {
        let mut bytes = [0; 8];
        OsDice.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// Why a hub ended that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// A signal, or `stop`: it is not to be started again.
    Stopped,
    /// A phone's wish for a restart.
    Restart,
    /// A trigger file asks for a reset.
    Reset,
}

/// `run`: until SIGTERM, SIGINT or `stop`. `path` is where the configuration was read, and is read again at
/// SIGHUP. When a trigger file asks for a reset, at a start or later, the hub ends its parts, erases its state
/// and starts anew.
///
/// # Errors
/// One sentence and its code.
pub async fn run(config: Config, path: PathBuf, format: Format) -> Result<(), Failure> {
    let service = Arc::new(Service::of_environment());
    // Kept from one start to the next, so that who asks this hub to end, or to read its configuration again,
    // between the two is heard.
    let mut reloader = Reloader::new(path, config)?;
    let mut signals = None;
    let tallies = Tallies::default();
    loop {
        let config = reloader.current().borrow().config.clone();
        prepare(&config, |json, text| {
            format.line(json, "");
            aside_about(Urgency::Warning, text, json);
        })?;
        match run_once(&mut reloader, &service, format, &mut signals, &tallies).await? {
            Ending::Stopped => return Ok(()),
            Ending::Restart => {
                return Err(Failure::new(
                    Code::Restart,
                    "a phone has asked this hub to restart: it has stopped cleanly. Start it again",
                ));
            }
            // Erasing takes its time, and so does the next start.
            Ending::Reset => service.tell_alive(),
        }
    }
}

/// The state directory, and what a trigger file asks for: before anything is read from it.
fn prepare(config: &Config, tell: impl FnOnce(&Value, &str)) -> Result<(), Failure> {
    state::prepare(&config.state_dir)?;
    if let Some((json, text)) = reset::obey(config)? {
        tell(&json, &text);
    }
    Ok(())
}

async fn run_once(
    reloader: &mut Reloader,
    service: &Arc<Service>,
    format: Format,
    signals: &mut Option<Signals>,
    tallies: &Tallies,
) -> Result<Ending, Failure> {
    let clock = TokioClock::new();
    let current = reloader.current();
    let config = current.borrow().config.clone();
    let unopened = config.cameras.iter();
    let unopened = unopened.map(|camera| crew::unopened(camera, tallies));
    let (board, cameras) = watch::channel(unopened.collect());
    let mut parts = start_parts(&config, &clock, cameras.clone())?;
    let front = match front(&config, signals).await {
        Ok(front) => front,
        // The journal's thread must have closed it before the process ends: what RocksDB keeps for the whole
        // process is gone then, and a thread that still uses it aborts.
        Err(failure) => return finish(parts, format, Err(failure)).await,
    };
    while let Ok(notice) = parts.thread.notices.try_recv() {
        tell(format, &notice);
    }
    tell_flaws(format, &config);
    format.line(&serde_json::json!({"event": "ready"}), "the hub is ready");
    if let Some(traffic) = config.traffic {
        aside(Urgency::Info, &traffic.cost().to_text());
    }

    let (stop, stopped) = watch::channel(false);
    let services = Arc::new(Services {
        current: current.clone(),
        sealer: parts.sealer.clone(),
        uplink: parts.uplink.clone(),
        cameras,
        tallies: tallies.clone(),
        stop: stop.clone(),
        pairing: Turn::default(),
        service: Arc::clone(service),
        clock: clock.clone(),
    });
    // They hold the journal open, and are gone before it is closed.
    let mut attendants = tokio::task::JoinSet::new();
    attendants.spawn(front.socket.run(Arc::clone(&services)));
    let (answer, answers) = watch::channel(());
    attendants.spawn(beat(service.beat(), parts.sealer.clone(), answer));
    let mut pulse = Pulse {
        service: Arc::clone(service),
        answers,
    };
    if let Some(endpoint) = front.metrics {
        let services = Arc::clone(&services);
        attendants.spawn(endpoint.run(move || {
            let services = Arc::clone(&services);
            async move { services.metrics().await }
        }));
    }
    let invites_task = tokio::spawn(follow_invites(Arc::clone(&services)));
    let (sealer, outlets) = (parts.sealer.clone(), parts.uplink.outlets());
    let crew = Crew::start(
        current.clone(),
        (Arc::new(board), tallies.clone()),
        (sealer, outlets),
        clock,
    );
    let mut camera_task = tokio::spawn(crew.run(stopped.clone()));
    service.tell_ready();
    let is_reset = || reset::asked(&current.borrow().config).is_some();
    let watched = watch_over(
        &mut parts,
        format,
        (front.signals, reloader, &mut pulse),
        stopped,
        &mut camera_task,
        is_reset,
    );
    let ended = watched.await;
    if !matches!(ended, Ok(Ending::Reset)) {
        service.tell_stopping();
    }
    stop.send_replace(true);
    // An offer that a phone passes on stands until its time is over; the next start goes on with it.
    end_task(invites_task).await;
    if ended.is_ok() {
        // A pairing under way ends its offer.
        let _late = tokio::time::timeout(PAIRING_STOP_WAIT, services.pairing.is_over()).await;
    }
    if !camera_task.is_finished()
        && tokio::time::timeout(CAMERA_STOP_WAIT, &mut camera_task)
            .await
            .is_err()
    {
        tracing::warn!("a camera did not stop in time; the next start ends its clip");
        camera_task.abort();
        // Its keepers have the journal.
        let _aborted = camera_task.await;
    }
    attendants.shutdown().await;
    drop(services);
    finish(parts, format, ended).await
}

/// Asks the journal in this interval whether it answers, if anybody waits for a sign of life.
async fn beat(interval: Option<Duration>, sealer: Sealer, answer: watch::Sender<()>) {
    let Some(interval) = interval else {
        return;
    };
    loop {
        // What a step of somebody else's failed of is no sign of death.
        if let Err(SealerError::Closed) = sealer.run(|_core, _now| Ok(())).await {
            return;
        }
        answer.send_replace(());
        tokio::time::sleep(interval).await;
    }
}

/// What whoever watches over the parts says of it: that the journal has answered, and that it is there itself to say
/// so. A loop that stands still obeys no signal, and is to be ended.
struct Pulse {
    service: Arc<Service>,
    answers: watch::Receiver<()>,
}

impl Pulse {
    /// Waits for the journal's next answer; cancel safe.
    async fn answered(&mut self) {
        if self.answers.changed().await.is_err() {
            // Nobody waits for a sign of life, or the journal is gone, which is told elsewhere.
            std::future::pending().await
        }
    }
}

/// What is there before anybody is told that the hub runs.
struct Front<'s> {
    socket: control::Server,
    metrics: Option<Endpoint>,
    signals: &'s mut Signals,
}

/// The control socket, and the signals before anybody is told that the hub runs: whoever is told may stop it.
async fn front<'s>(config: &Config, kept: &'s mut Option<Signals>) -> Result<Front<'s>, Failure> {
    let socket = control::bind(&config.state_dir).map_err(|error| {
        let dir = config.state_dir.display();
        Failure::new(
            Code::of_path(&error),
            format!("the control socket cannot be made in {dir}: {error}"),
        )
    })?;
    let metrics = match config.metrics {
        Some(address) => Some(Endpoint::bind(address).await?),
        None => None,
    };
    Ok(Front {
        socket,
        metrics,
        signals: kept.get_or_insert(Signals::new()?),
    })
}

/// The polite requests to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they no longer end the process.
    pub(crate) fn new() -> Result<Self, Failure> {
        let no_signals =
            |error: std::io::Error| Failure::new(Code::Internal, format!("no signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(no_signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(no_signals)?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Passes notices on until something ends the hub.
async fn watch_over(
    parts: &mut Parts,
    format: Format,
    (signals, reloader, pulse): (&mut Signals, &mut Reloader, &mut Pulse),
    mut stopped: watch::Receiver<bool>,
    camera_task: &mut tokio::task::JoinHandle<Result<(), Failure>>,
    is_reset: impl Fn() -> bool,
) -> Result<Ending, Failure> {
    let mut look = tokio::time::interval(Duration::from_millis(500));
    let mut camera_ended = false;
    let mut are_cameras_told = true;
    let mut told = parts.cameras.borrow_and_update().clone();
    let mut wishes = parts.sealer.wishes();
    // Whether all cameras are there, where the journal does not know it yet.
    let mut unsaid = None;
    loop {
        if let Some(are_there) = unsaid {
            // Phones are told of it in the answers to their heartbeats. Never waited for: a journal that is slow holds
            // up no signal, and one that is gone is told below.
            let offered = parts.sealer.offer(move |core, _now| {
                core.handle_cameras(are_there);
                Ok(())
            });
            if !matches!(offered, Ok(false)) {
                unsaid = None;
            }
        }
        // A wish that is there is durable, and so is the answer to whoever has it.
        if wishes.borrow_and_update().restart {
            return Ok(Ending::Restart);
        }
        tokio::select! {
            () = signals.any() => return Ok(Ending::Stopped),
            () = pulse.answered() => pulse.service.tell_alive(),
            () = reloader.asked() => {
                let reloaded = reloader.reload();
                let (json, text) = reload::said(&reloaded);
                format.line(&json, "");
                let urgency = match &reloaded {
                    Ok(waiting) if waiting.is_empty() => Urgency::Info,
                    _ => Urgency::Warning,
                };
                aside_about(urgency, &text, &json);
                if reloaded.is_ok() {
                    tell_flaws_aside(format, &reloader.current().borrow().config);
                }
            },
            changed = wishes.changed() => if changed.is_err() {
                return Err(gone("journal"));
            },
            _ = stopped.changed() => return Ok(Ending::Stopped),
            notice = parts.thread.notices.recv() => match notice {
                Some(notice) => tell(format, &notice),
                None => return Err(gone("journal")),
            },
            changed = parts.cameras.changed(), if are_cameras_told => match changed {
                Ok(()) => {
                    let cameras = parts.cameras.borrow_and_update().clone();
                    tell_cameras(format, &told, &cameras);
                    let before = std::mem::replace(&mut told, cameras);
                    let are_there = are_all_there(&told);
                    if are_there != are_all_there(&before) {
                        unsaid = Some(are_there);
                    }
                }
                // No camera, or none any more.
                Err(_gone) => are_cameras_told = false,
            },
            ended = &mut *camera_task, if !camera_ended => {
                camera_ended = true;
                match ended {
                    Ok(result) => result?,
                    Err(_panicked) => return Err(gone("camera")),
                }
            },
            // It never ends of itself: without it the hub would record and send nothing, in silence.
            _ended = &mut parts.uplink_task => return Err(gone("uplink")),
            _ = look.tick() => {
                if is_reset() {
                    return Ok(Ending::Reset);
                }
                let link = parts.uplink.status();
                // With phones it records on and asks again.
                if parts.sealer.heads().borrow().is_empty() && let Some(failure) = hopeless(&link) {
                    return Err(failure);
                }
            }
        }
    }
}

/// A part that must live as long as the hub has ended, or panicked.
fn gone(part: &str) -> Failure {
    let message = format!(
        "the {part}'s task has ended, which must not happen; start the hub again and report it"
    );
    Failure::new(Code::Internal, message)
}

/// Why nothing that a hub without phones can do is of use: its relay does not admit it, or what answers
/// is not its relay.
fn hopeless(link: &LinkStatus) -> Option<Failure> {
    if link.wrong_relay {
        let what = ClientError::WrongRelay.to_string();
        return Some(Failure::new(Code::Network, what));
    }
    if !link.not_admitted {
        return None;
    }
    let why = link.trouble.as_deref();
    let why = why.unwrap_or("it does not know this hub");
    let what = format!(
        "the relay did not admit this hub: {why}. Get an invitation with `secluso-relay invite --class hub` and put it into the configuration"
    );
    Some(Failure::new(Code::NotAdmitted, what))
}

async fn finish<T>(parts: Parts, format: Format, ended: Result<T, Failure>) -> Result<T, Failure> {
    let Parts {
        sealer,
        mut thread,
        uplink,
        uplink_task,
        cameras: _,
    } = parts;
    if ended.is_ok() && uplink.status().connected {
        tokio::time::sleep(FAREWELL).await;
    }
    end_task(uplink_task).await;
    drop(uplink);
    drop(sealer);
    // The thread ends when the last handle is gone, and its notices with it.
    while let Ok(Some(notice)) =
        tokio::time::timeout(Duration::from_secs(10), thread.notices.recv()).await
    {
        tell(format, &notice);
    }
    join(thread).await.and(ended)
}

/// Ends a task that may have ended already.
async fn end_task(task: tokio::task::JoinHandle<()>) {
    if !task.is_finished() {
        task.abort();
        let _ended = task.await;
    }
}

/// Waits for the journal's thread; its own end explains every other.
pub(crate) async fn join(thread: SealerThread) -> Result<(), Failure> {
    match tokio::task::spawn_blocking(move || thread.join()).await {
        Ok(Err(CoreError::Dead(death))) => {
            // Nothing is left to write: the journal is closed.
            tracing::error!(%death, "the journal is dead");
            Err(death.into())
        }
        Ok(_) => Ok(()),
        Err(_panicked) => Err(gone("journal")),
    }
}

/// Makes the offers that phones pass on, for as long as the hub runs.
async fn follow_invites(services: Arc<Services>) {
    let config = services.current.borrow().config.clone();
    // How phones pair may change meanwhile; the rest waits for the next start.
    let pairing = || services.current.borrow().config.pairing.clone();
    let inviter = Inviter {
        config: &pairing,
        may_invite: config.may_invite,
        relay: &config.relay,
        sealer: &services.sealer,
        uplink: &services.uplink,
        clock: &services.clock,
        turn: &services.pairing,
    };
    inviter.run().await;
}

/// Says what the configuration names that cannot be used, as `check-config` does. The hub goes on without it:
/// everything else is recorded, and what is put right later is found.
fn tell_flaws(format: Format, config: &Config) {
    for flaw in preflight::look(config, Looker::Hub) {
        let json = flaw.to_json();
        format.line(&json, "");
        aside_about(Urgency::Warning, &flaw.to_string(), &json);
    }
}

/// The same while the hub runs. Nobody waits for it, at the end of the process either: a disk that does not answer, and
/// holds what the configuration names, must keep neither the watchdog waiting nor whoever stops the hub.
#[expect(
    clippy::disallowed_methods,
    reason = "Whoever joined this thread would wait for the disk."
)]
fn tell_flaws_aside(format: Format, config: &Config) {
    let config = config.clone();
    let told = std::thread::Builder::new()
        .name("flaws".to_owned())
        .spawn(move || tell_flaws(format, &config));
    if let Err(error) = told {
        tracing::warn!(%error, "the system gives no thread to look at what the configuration names");
    }
}

/// Whether no camera has failed.
fn are_all_there(cameras: &Cameras) -> bool {
    cameras.iter().all(|camera| camera.trouble.is_none())
}

/// Says which cameras failed, and which are there again.
fn tell_cameras(format: Format, before: &Cameras, now: &Cameras) {
    for state in changed_cameras(before, now) {
        let (json, text) = output::camera(&state.name, state.trouble.as_ref());
        let urgency = match state.trouble {
            Some(_) => Urgency::Warning,
            None => Urgency::Info,
        };
        format.line(&json, "");
        aside_about(urgency, &text, &json);
    }
}

/// The cameras of which there is something to say: they failed, are there again, or somebody else must do something
/// about it. What one fails of may be another thing with each try, and `status` has the last.
fn changed_cameras<'c>(before: &Cameras, now: &'c Cameras) -> Vec<&'c CameraState> {
    let kind = |state: &CameraState| state.trouble.as_ref().map(CameraError::kind);
    let mut changed = Vec::new();
    for now in now {
        // Wherever it stood. One that is new was in no trouble.
        let before = before.iter().find(|before| before.name == now.name);
        if before.and_then(kind) != kind(now) {
            changed.push(now);
        }
    }
    changed
}

fn tell(format: Format, notice: &Notice) {
    let (json, text) = output::notice(notice);
    let is_fact = matches!(
        notice,
        Notice::ClipStarted { .. }
            | Notice::ClipFinished { .. }
            | Notice::Told { .. }
            | Notice::Healed { .. }
    );
    if let Some(json) = &json {
        logging::fact(format, json, if is_fact { &text } else { "" });
    }
    if !is_fact {
        aside_about(
            Urgency::Warning,
            &text,
            json.as_ref().unwrap_or(&Value::Null),
        );
    }
}

/// `pair` when no hub runs: the same parts without camera. SIGTERM and SIGINT stop it cleanly.
///
/// # Errors
/// One sentence and its code.
pub async fn pair(
    config: Config,
    mut show: impl FnMut(&Step) + Send + 'static,
) -> Result<(), Failure> {
    prepare(&config, |_json, text| aside(Urgency::Warning, text))?;
    let mut signals = Signals::new()?;
    let clock = TokioClock::new();
    let (_no_camera, cameras) = watch::channel(Cameras::new());
    let parts = start_parts(&config, &clock, cameras)?;
    let (tell, mut steps) = mpsc::channel(STEPS_MAX);
    let shower = tokio::spawn(async move {
        while let Some(step) = steps.recv().await {
            show(&step);
        }
    });
    let paired = pairing::pair(
        &config.pairing,
        &config.relay,
        &parts.sealer,
        &parts.uplink,
        &clock,
        &tell,
        signals.any(),
    )
    .await;
    drop(tell);
    let _shown = shower.await;
    let Parts {
        sealer,
        thread,
        uplink,
        uplink_task,
        cameras: _,
    } = parts;
    end_task(uplink_task).await;
    drop(uplink);
    drop(sealer);
    join(thread).await?;
    paired.map(|_ended| ())
}

#[cfg(test)]
mod tests;
