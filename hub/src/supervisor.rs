//! The running hub: which parts there are, the order in which they start and stop, and what a dead
//! journal means.
//!
//! Order of start: journal (with what a start owes), camera, control socket, uplink. Order of stop:
//! camera (its clip is cut off), then a moment for the uplink, then the journal. A restart that a phone asks
//! for is such a stop with an exit code of its own; whoever supervises the process starts it again, and the
//! journal has forgotten the wish by then. This room must never restart a part whose state it does not know:
//! the journal's thread decides that itself.

mod camera;

use std::sync::Arc;
use std::time::Duration;

use relay_client::ClientError;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use wal::{Dice as _, OsDice};

use crate::camera::{CameraError, Clock as _, FileCamera, TokioClock};
use crate::config::{CameraConfig, Config, Retain};
use crate::control::{self, Services};
use crate::core::{Core, CoreError, Notice};
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::pairing::{self, Inviter, STEPS_MAX, Step, Turn};
use crate::sealer::{self, Sealer, SealerThread};
use crate::uplink::{self, Backoff, LinkStatus, Uplink, UplinkConfig};
use crate::{reset, secret, state};
use camera::Keeper;

/// What the uplink may still send when the hub stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long a pairing may take to end its offer.
const PAIRING_STOP_WAIT: Duration = Duration::from_secs(3);
/// How long the camera may take to end its clip.
const CAMERA_STOP_WAIT: Duration = Duration::from_secs(5);

/// Journal and uplink, running.
struct Parts {
    sealer: Sealer,
    thread: SealerThread,
    uplink: Uplink,
    uplink_task: tokio::task::JoinHandle<()>,
    /// What the camera failed of, until it is there again.
    camera: watch::Receiver<Option<CameraError>>,
}

fn start_parts(
    config: &Config,
    clock: &TokioClock,
    camera: watch::Receiver<Option<CameraError>>,
) -> Result<Parts, Failure> {
    let mut core = Core::start(state::opener(config)?, config.silence, clock.unix_ms())?;
    core.let_phones_invite(config.may_invite);
    core.set_retention(config.retain == Retain::UntilAcked);
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
        camera,
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

/// `run`: until SIGTERM, SIGINT or `stop`. When a trigger file asks for a reset, at a start or later,
/// the hub ends its parts, erases its state and starts anew.
///
/// # Errors
/// One sentence and its code.
pub async fn run(config: Config, format: Format) -> Result<(), Failure> {
    // Kept from one start to the next, so that who asks this hub to end between the two is heard.
    let mut signals = None;
    loop {
        prepare(&config, |json, text| {
            format.line(json, "");
            eprintln!("secluso-hub: {text}");
        })?;
        match run_once(config.clone(), format, &mut signals).await? {
            Ending::Stopped => return Ok(()),
            Ending::Restart => {
                return Err(Failure::new(
                    Code::Restart,
                    "a phone has asked this hub to restart: it has stopped cleanly. Start it again",
                ));
            }
            Ending::Reset => {}
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
    config: Config,
    format: Format,
    signals: &mut Option<Signals>,
) -> Result<Ending, Failure> {
    let clock = TokioClock::new();
    let triggers = config.clone();
    let (camera_trouble, trouble) = watch::channel(None);
    let mut parts = start_parts(&config, &clock, trouble.clone())?;
    // In privacy mode nobody has the camera, from the first moment on, and only the journal knows of that.
    let is_private = parts.sealer.wishes().borrow().settings.privacy;
    let camera = config.camera.as_ref().filter(|_| !is_private);
    // An unreadable clip is a mistake of the configuration.
    let camera = camera.map(|camera| open_camera(camera, &clock)).transpose();
    let front = match camera {
        Ok(camera) => front(&config, signals).map(|(socket, signals)| (camera, socket, signals)),
        Err(failure) => Err(failure),
    };
    let (camera, socket, signals) = match front {
        Ok(front) => front,
        // The journal's thread must have closed it before the process ends: what RocksDB keeps for the whole
        // process is gone then, and a thread that still uses it aborts.
        Err(failure) => return finish(parts, format, Err(failure)).await,
    };
    while let Ok(notice) = parts.thread.notices.try_recv() {
        tell(format, &notice);
    }
    format.line(&serde_json::json!({"event": "ready"}), "the hub is ready");
    if let Some(traffic) = config.traffic {
        eprintln!("secluso-hub: {}", traffic.cost().to_text());
    }

    let (stop, stopped) = watch::channel(false);
    let keeper = config.camera.clone().map(|wanted| Keeper {
        camera,
        config: wanted.file,
        name: wanted.name,
        sealer: parts.sealer.clone(),
        clock: clock.clone(),
        pauses: Backoff::new(Box::new(dice())),
        trouble: camera_trouble,
    });
    let services = Arc::new(Services {
        config,
        sealer: parts.sealer.clone(),
        uplink: parts.uplink.clone(),
        camera: trouble,
        stop: stop.clone(),
        pairing: Turn::default(),
    });
    let control_task = tokio::spawn(socket.run(Arc::clone(&services)));
    let invites_task = tokio::spawn(follow_invites(Arc::clone(&services), clock));
    let mut camera_task = tokio::spawn(record(keeper, stopped.clone()));
    let is_reset = || reset::asked(&triggers).is_some();
    let watched = watch_over(
        &mut parts,
        format,
        signals,
        stopped,
        &mut camera_task,
        is_reset,
    );
    let ended = watched.await;
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
        tracing::warn!("the camera did not stop in time; the next start ends its clip");
        camera_task.abort();
    }
    control_task.abort();
    let _ended = control_task.await;
    drop(services);
    finish(parts, format, ended).await
}

/// The control socket, and the signals before anybody is told that the hub runs: whoever is told may stop it.
fn front<'s>(
    config: &Config,
    kept: &'s mut Option<Signals>,
) -> Result<(control::Server, &'s mut Signals), Failure> {
    let socket = control::bind(&config.state_dir).map_err(|error| {
        let dir = config.state_dir.display();
        Failure::new(
            Code::of_path(&error),
            format!("the control socket cannot be made in {dir}: {error}"),
        )
    })?;
    Ok((socket, kept.get_or_insert(Signals::new()?)))
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
    signals: &mut Signals,
    mut stopped: watch::Receiver<bool>,
    camera_task: &mut tokio::task::JoinHandle<Result<(), Failure>>,
    is_reset: impl Fn() -> bool,
) -> Result<Ending, Failure> {
    let mut look = tokio::time::interval(Duration::from_millis(500));
    let mut camera_ended = false;
    let mut is_camera_told = true;
    let mut wishes = parts.sealer.wishes();
    loop {
        // A wish that is there is durable, and so is the answer to whoever has it.
        if wishes.borrow_and_update().restart {
            return Ok(Ending::Restart);
        }
        tokio::select! {
            () = signals.any() => return Ok(Ending::Stopped),
            changed = wishes.changed() => if changed.is_err() {
                return Err(gone("journal"));
            },
            _ = stopped.changed() => return Ok(Ending::Stopped),
            notice = parts.thread.notices.recv() => match notice {
                Some(notice) => tell(format, &notice),
                None => return Err(gone("journal")),
            },
            changed = parts.camera.changed(), if is_camera_told => match changed {
                Ok(()) => {
                    let is_there = {
                        let trouble = parts.camera.borrow_and_update();
                        tell_camera(format, trouble.as_ref());
                        trouble.is_none()
                    };
                    // Phones are told of it in the answers to their heartbeats. A journal that is gone is told above.
                    let _told = parts.sealer.hand_over(move |core, _now| {
                        core.handle_camera(is_there);
                        Ok(())
                    }).await;
                }
                // No camera, or none any more.
                Err(_gone) => is_camera_told = false,
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
        camera: _,
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

fn open_camera(
    camera: &CameraConfig,
    clock: &TokioClock,
) -> Result<FileCamera<TokioClock>, Failure> {
    FileCamera::open(camera.file.clone(), clock.clone())
        .map_err(|error| Failure::new(Code::Usage, format!("{error}; correct [camera] path")))
}

async fn record(
    keeper: Option<Keeper<TokioClock>>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    match keeper {
        Some(keeper) => Ok(keeper.run(stop).await?),
        None => Ok(()),
    }
}

/// Makes the offers that phones pass on, for as long as the hub runs.
async fn follow_invites(services: Arc<Services>, clock: TokioClock) {
    let inviter = Inviter {
        config: &services.config.pairing,
        may_invite: services.config.may_invite,
        relay: &services.config.relay,
        sealer: &services.sealer,
        uplink: &services.uplink,
        clock: &clock,
        turn: &services.pairing,
    };
    inviter.run().await;
}

/// Says that the camera failed, or that it is there again.
fn tell_camera(format: Format, trouble: Option<&CameraError>) {
    let (json, text) = output::camera(trouble);
    format.line(&json, "");
    eprintln!("secluso-hub: {text}");
}

fn tell(format: Format, notice: &Notice) {
    let (json, text) = output::notice(notice);
    let is_fact = matches!(
        notice,
        Notice::ClipStarted { .. } | Notice::ClipFinished { .. } | Notice::Healed { .. }
    );
    if let Some(json) = &json {
        format.line(json, if is_fact { &text } else { "" });
    }
    if !is_fact {
        eprintln!("secluso-hub: {text}");
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
    prepare(&config, |_json, text| eprintln!("secluso-hub: {text}"))?;
    let mut signals = Signals::new()?;
    let clock = TokioClock::new();
    let (_no_camera, trouble) = watch::channel(None);
    let parts = start_parts(&config, &clock, trouble)?;
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
        camera: _,
    } = parts;
    end_task(uplink_task).await;
    drop(uplink);
    drop(sealer);
    join(thread).await?;
    paired.map(|_ended| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::world::World;

    /// A running hub without camera, whose uplink is this task.
    fn parts(uplink_task: tokio::task::JoinHandle<()>, core: Core) -> Parts {
        let clock = TokioClock::new();
        let (sealer, thread) = sealer::start(core, clock.clone()).unwrap();
        let nobody = UplinkConfig {
            relay: relay_client::RelayAddress {
                host: "127.0.0.1".into(),
                port: 9,
                relay_id: wire::ids::RelayId([0; 32]),
            },
            invitation: None,
            traffic: None,
        };
        let (uplink, real) = uplink::start(nobody, sealer.clone(), clock, || 0);
        real.abort();
        Parts {
            sealer,
            thread,
            uplink,
            uplink_task,
            camera: watch::channel(None).1,
        }
    }

    /// Watches over a hub whose camera never ends, and of which nobody asks a reset.
    async fn watched(parts: &mut Parts, stopped: watch::Receiver<bool>) -> Result<Ending, Failure> {
        let mut camera = tokio::spawn(std::future::pending());
        let mut signals = Signals::new()?;
        let never = || false;
        let watched = watch_over(
            parts,
            Format::Json,
            &mut signals,
            stopped,
            &mut camera,
            never,
        );
        watched.await
    }

    async fn ends(uplink_task: tokio::task::JoinHandle<()>, core: Core) -> Failure {
        let mut parts = parts(uplink_task, core);
        let (_stop, stopped) = watch::channel(false);
        let ended = watched(&mut parts, stopped).await;
        finish(parts, Format::Json, ended).await.unwrap_err()
    }

    /// A wish that comes when its owner has stopped the hub starts it no more.
    #[tokio::test]
    async fn only_the_wish_that_ended_the_watch_asks_for_a_start() {
        for by_phone in [false, true] {
            let uplink = tokio::spawn(std::future::pending());
            let mut parts = parts(uplink, World::paired().core);
            let (stop, stopped) = watch::channel(false);
            let wish = |sealer: Sealer| async move {
                let wished = sealer.run(|core, _now| core.wish_restart());
                wished.await.unwrap();
            };
            match by_phone {
                true => wish(parts.sealer.clone()).await,
                false => {
                    stop.send_replace(true);
                }
            }
            let ended = watched(&mut parts, stopped).await;
            let expected = match by_phone {
                true => Ending::Restart,
                false => Ending::Stopped,
            };
            assert_eq!(ended.unwrap(), expected);
            wish(parts.sealer.clone()).await;
            assert!(parts.sealer.wishes().borrow().restart);
            finish(parts, Format::Json, Ok(())).await.unwrap();
        }
    }

    #[test]
    fn no_invitation_is_advised_against_somebody_who_poses_as_the_relay() {
        let mut link = LinkStatus::default();
        assert!(hopeless(&link).is_none());
        link.not_admitted = true;
        let failure = hopeless(&link).unwrap();
        assert_eq!(failure.code, Code::NotAdmitted);
        assert!(failure.message.contains("Get an invitation"), "{failure}");
        (link.not_admitted, link.wrong_relay) = (false, true);
        let failure = hopeless(&link).unwrap();
        assert_eq!(failure.code, Code::Network);
        assert!(failure.message.contains("poses as the relay"), "{failure}");
        assert!(!failure.message.contains("invitation"), "{failure}");
    }

    #[tokio::test]
    async fn a_hub_without_its_uplink_is_not_there() {
        for task in [
            tokio::spawn(async {}),
            tokio::spawn(async { panic!("as the test wants it") }),
        ] {
            let failure = ends(task, World::paired().core).await;
            assert_eq!(failure.code, Code::Internal);
            assert!(failure.message.contains("uplink"), "{failure}");
        }
    }

    /// A phone's wish ends the hub as a clean stop does; what it ends with is for the one who started it.
    #[tokio::test]
    async fn a_restart_that_is_stored_ends_the_watch() {
        let mut world = World::paired();
        // One that has just started is a restart already.
        world.pass(10);
        let (core, phone) = world.ends();
        phone.order(journal::message::CommandKind::Restart);
        let _taken = phone.talk(core);
        let clock = TokioClock::new();
        let (sealer, thread) = sealer::start(world.core, clock.clone()).unwrap();
        assert!(sealer.wishes().borrow().restart);
        let nobody = UplinkConfig {
            relay: relay_client::RelayAddress {
                host: "127.0.0.1".into(),
                port: 9,
                relay_id: wire::ids::RelayId([0; 32]),
            },
            invitation: None,
            traffic: None,
        };
        let (uplink, uplink_task) = uplink::start(nobody, sealer.clone(), clock, || 0);
        let mut parts = Parts {
            sealer,
            thread,
            uplink,
            uplink_task,
            camera: watch::channel(None).1,
        };
        let (_stop, stopped) = watch::channel(false);
        let ended = watched(&mut parts, stopped).await;
        assert_eq!(ended, Ok(Ending::Restart));
        finish(parts, Format::Json, ended).await.unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_fails_or_is_full_ends_the_hub_with_its_code() {
        use wal::disk::Fault;
        for (fault, code, words) in [
            (Fault::Eio, Code::Internal, "the disk fails"),
            (Fault::Enospc, Code::Space, "the disk is full"),
        ] {
            let world = World::paired();
            let disk = world.disk.clone();
            let mut core = world.core;
            disk.inject_from(disk.op_count(), fault);
            let kept = core.with_journal(5, |journal| journal.keep_certificate("relay", vec![1]));
            assert!(matches!(kept, Err(CoreError::Dead(_))), "{kept:?}");
            let failure = ends(tokio::spawn(std::future::pending()), core).await;
            assert_eq!(failure.code, code, "{failure}");
            assert!(failure.message.contains(words), "{failure}");
        }
    }
}
