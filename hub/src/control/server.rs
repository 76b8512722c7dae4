//! Answering on the socket.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use wal::service::Service;
use zeroize::Zeroizing;

use super::{CONNECTIONS_MAX, REQUEST_BYTES_MAX, Request, SocketPath};
use crate::camera::{Clock as _, TokioClock};
use crate::exit::Failure;
use crate::pairing::{self, STEPS_MAX, Step, Turn};
use crate::phones::{self, Question};
use crate::sealer::Sealer;
use crate::supervisor::{Cameras, Current};
use crate::tally::Tallies;
use crate::uplink::Uplink;
use crate::{metrics, moving, retained, secret, status};

/// How long a client may take to ask.
const ASK_WAIT: Duration = Duration::from_secs(5);

/// What the answers come from.
pub struct Services {
    /// The configuration that counts now.
    pub current: watch::Receiver<Current>,
    /// The journal.
    pub sealer: Sealer,
    /// The uplink.
    pub uplink: Uplink,
    /// How the cameras stand.
    pub cameras: watch::Receiver<Cameras>,
    /// How many of their pictures were decoded, and of those that are no more.
    pub tallies: Tallies,
    /// Set to stop the hub.
    pub stop: watch::Sender<bool>,
    /// One pairing at a time.
    pub pairing: Turn,
    /// Who supervises the process.
    pub service: Arc<Service>,
    /// The clock; its origin is the start of this hub.
    pub clock: TokioClock,
}

impl Services {
    /// All that `status` says.
    ///
    /// # Errors
    /// The journal's.
    pub async fn status(&self) -> Result<Value, Failure> {
        let mut status = self.running().await?;
        // It cannot change while the hub runs.
        let file = self.current.borrow().config.device_secret_file.clone();
        // Whether the device has the secret of the configured file; null without one.
        status["device_secret"] = match file {
            Some(file) => secret::compared(&self.sealer, file).await?,
            None => Value::Null,
        };
        Ok(status)
    }

    /// The same without what lies beside the hub: nothing is read for it.
    async fn running(&self) -> Result<Value, Failure> {
        let cameras = self.cameras.borrow().clone();
        let mut status = status::read(&self.sealer, &self.uplink, cameras).await?;
        // Of all cameras since the process began, also of those that the configuration has no more. It only rises.
        status["decoded_pictures"] = self.tallies.total().into();
        let current = self.current.borrow();
        status["service"] = json!({
            "uptime_s": self.clock.now().as_secs(),
            // Somebody starts this hub again if it ends, and is told that it is alive so often.
            "supervised": self.service.is_supervised(),
            "watchdog_s": self.service.watchdog().map(|patience| patience.as_secs()),
            // How often the wall clock was not what the time that has passed makes of it.
            "clock_jumps": self.sealer.clock_jumps(),
            // Changed configurations that were taken, and what of the last one waits for a restart.
            "reloads": current.reloads,
            "waiting": current.waiting,
        });
        Ok(status)
    }

    /// The same in numbers; none if the journal cannot say.
    pub async fn metrics(&self) -> Option<String> {
        let status = self.running().await.ok()?;
        Some(metrics::to_text(&status))
    }
}

/// A socket that is bound and not yet served.
pub struct Server {
    listener: UnixListener,
    // Keeps the descriptor of the path.
    _path: SocketPath,
}

/// Binds the socket of a state directory whose journal lock is held: a socket that is there is a
/// dead hub's.
///
/// # Errors
/// The system's.
pub fn bind(state_dir: &Path) -> std::io::Result<Server> {
    let path = SocketPath::of(state_dir)?;
    match std::fs::remove_file(&path.path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path.path)?;
    std::fs::set_permissions(&path.path, std::fs::Permissions::from_mode(0o600))?;
    Ok(Server {
        listener,
        _path: path,
    })
}

impl Server {
    /// Answers until it is dropped, and every talk under way with it: they hold the journal open.
    pub async fn run(self, services: Arc<Services>) {
        let mut talks = JoinSet::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _address)) => {
                    let services = Arc::clone(&services);
                    while talks.try_join_next().is_some() {}
                    talks.spawn(async move {
                        if let Err(error) = answer(stream, &services).await {
                            tracing::debug!(%error, "a control connection ended early");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not accept");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

async fn answer(stream: UnixStream, services: &Services) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(REQUEST_BYTES_MAX));
    if tokio::time::timeout(ASK_WAIT, reader.read_line(&mut line))
        .await
        .is_err()
    {
        return Ok(());
    }
    match serde_json::from_str(&line) {
        Ok(Request::Status) => say(&mut write, &or_failed(services.status().await)).await,
        Ok(Request::Phones) => {
            let listed = phones::answer(&services.sealer, &Question::List).await;
            say(&mut write, &or_failed(listed)).await
        }
        Ok(Request::Remove { phone }) => {
            let removed = phones::answer(&services.sealer, &Question::Remove(phone)).await;
            say(&mut write, &or_failed(removed)).await
        }
        Ok(Request::RelayCode { phone, again }) => {
            // It cannot change while the hub runs.
            let relay = services.current.borrow().config.relay.clone();
            let place = (&services.sealer, &services.uplink, &relay);
            let told = moving::answer(place, phone.as_deref(), again).await;
            say(&mut write, &or_failed(told)).await
        }
        Ok(Request::Secret) => match secret::answer(&services.sealer).await {
            Ok(line) => {
                write.write_all(line.as_bytes()).await?;
                write.flush().await
            }
            Err(failure) => say(&mut write, &failed(&failure)).await,
        },
        Ok(Request::Retained) => {
            let told = retained::list(&services.sealer).await;
            say(&mut write, &told.unwrap_or_else(|failure| failed(&failure))).await
        }
        Ok(Request::Play { to, from }) => {
            let told = retained::play(&services.sealer, &to, &from).await;
            say(&mut write, &told.unwrap_or_else(|failure| failed(&failure))).await
        }
        Ok(Request::Forget { phone }) => {
            let told = retained::forget(&services.sealer, &phone).await;
            say(&mut write, &told.unwrap_or_else(|failure| failed(&failure))).await
        }
        Ok(Request::Stop) => {
            say(&mut write, &json!({"event": "stopping"})).await?;
            services.stop.send_replace(true);
            Ok(())
        }
        Ok(Request::Pair) => pair(reader, &mut write, services).await,
        Err(_) => {
            say(
                &mut write,
                &json!({"event": "failed", "code": 2, "message": "not a question"}),
            )
            .await
        }
    }
}

fn failed(failure: &Failure) -> Value {
    json!({"event": "failed", "code": failure.code as u8, "message": failure.message})
}

/// An answer, or why there is none.
fn or_failed(answer: Result<Value, Failure>) -> Value {
    answer.unwrap_or_else(|failure| failed(&failure))
}

/// Until it is done, or whoever asked hangs up, or the hub stops.
async fn pair(
    mut reader: impl tokio::io::AsyncRead + Unpin,
    write: &mut (impl tokio::io::AsyncWrite + Unpin),
    services: &Services,
) -> std::io::Result<()> {
    let Some(_one) = services.pairing.at_the_hub(&services.sealer).await else {
        let message = "another pairing is under way; finish that one first";
        return say(
            write,
            &json!({"event": "failed", "code": 6, "message": message}),
        )
        .await;
    };
    let mut stop = services.stop.subscribe();
    let hung_up = async {
        let mut more = [0; 64];
        while !matches!(reader.read(&mut more).await, Ok(0) | Err(_)) {}
    };
    let stop = async {
        tokio::select! {
            () = hung_up => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    };
    let (tell, mut steps) = mpsc::channel(STEPS_MAX);
    let clock = TokioClock::new();
    let work = async {
        // As it is when pairing begins.
        let config = services.current.borrow().config.clone();
        let done = pairing::pair(
            &config.pairing,
            &config.relay,
            &services.sealer,
            &services.uplink,
            &clock,
            &tell,
            stop,
        )
        .await;
        drop(tell);
        done
    };
    let show = async {
        let mut shown = Ok(());
        // Read to the end also when nobody listens: the offer must be ended.
        while let Some(step) = steps.recv().await {
            if shown.is_ok() {
                shown = say_line(write, &step_line(&step)).await;
            }
        }
        shown
    };
    let (done, shown) = tokio::join!(work, show);
    shown?;
    if let Err(failure) = done {
        say(
            write,
            &json!({"event": "failed", "code": failure.code as u8, "message": failure.message}),
        )
        .await?;
    }
    Ok(())
}

/// A step of a pairing as JSON.
pub(crate) fn step_json(step: &Step) -> Value {
    match step {
        Step::Offer {
            text,
            expires_unix_ms,
        } => {
            json!({"event": "offer", "qr": text.as_str(), "expires_unix_ms": expires_unix_ms})
        }
        Step::Paired { phone } => json!({"event": "paired", "phone": phone}),
        Step::Stopped => json!({"event": "stopped"}),
    }
}

/// The same as a line. One with the code is written by hand, because this process goes on and JSON's own values are
/// not wiped. The code has nothing to escape.
fn step_line(step: &Step) -> Zeroizing<String> {
    match step {
        Step::Offer {
            text,
            expires_unix_ms,
        } => secret::joined(&[
            "{\"event\":\"offer\",\"qr\":\"",
            text.as_str(),
            "\",\"expires_unix_ms\":",
            &expires_unix_ms.to_string(),
            "}\n",
        ]),
        Step::Paired { .. } | Step::Stopped => Zeroizing::new(format!("{}\n", step_json(step))),
    }
}

async fn say(
    write: &mut (impl tokio::io::AsyncWrite + Unpin),
    value: &Value,
) -> std::io::Result<()> {
    say_line(write, &format!("{value}\n")).await
}

async fn say_line(
    write: &mut (impl tokio::io::AsyncWrite + Unpin),
    line: &str,
) -> std::io::Result<()> {
    write.write_all(line.as_bytes()).await?;
    write.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_is_the_json_that_is_meant() {
        let steps = [
            Step::Offer {
                text: Zeroizing::new("SECLUSO1:Az09-_".into()),
                expires_unix_ms: 1_700_000_000_123,
            },
            Step::Paired {
                phone: "1a2b".into(),
            },
            Step::Stopped,
        ];
        for step in &steps {
            let line = step_line(step);
            assert!(line.ends_with('\n'));
            let value: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value, step_json(step));
        }
    }
}
