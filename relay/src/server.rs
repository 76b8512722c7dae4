//! One relay in a process: the endpoint, the storage thread, a task per connection.
//!
//! Here the wall clock and the operating system's dice enter; everything below takes them as
//! arguments. This room must never let a connection in before it was counted against the
//! limits, and never keep the store open after the server is gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn::Endpoint;
use relay_client::rpk::{self, EndpointLimits, RpkError};
use relay_client::{Identity, RelayAddress};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use wal::disk::RealDisk;
use wal::store::RocksStore;
use wal::{OsDice, Wal, WalError};
use wire::limits::ALPN;

use crate::bucket::{Buckets, Pass};
use crate::config::Config;
use crate::live::Live;
use crate::registry::Registry;
use crate::reload::Current;
use crate::session;
use crate::storage::{Job, Opener, Storage, StorageRestarting};
use crate::store::{MailboxStore, Usage};
use crate::watchers::Watchers;

/// Envelopes of all senders together that wait for their sync, in bytes.
const INGEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Envelopes that were read for all readers together and wait to be written, in bytes. Beyond it
/// each attached reader holds one.
const DELIVERY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Above this many connections a new address must first show that it can receive.
const RETRY_ABOVE_CONNECTIONS: usize = 512;
/// What the relay allows a peer: the connection window bounds a stranger to 256 KiB whatever
/// the stream window says, and is raised once the peer is admitted.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What the relay buffers for a reader that does not acknowledge.
pub(crate) const SEND_WINDOW_BYTES: u64 = 2 * 1024 * 1024;
/// How long a connection has to say goodbye at shutdown.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why a relay does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The endpoint.
    #[error(transparent)]
    Endpoint(#[from] RpkError),
    /// The store.
    #[error(transparent)]
    Store(#[from] WalError),
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    /// As the start has read it; what can change since is in `current`.
    pub(crate) config: Config,
    pub(crate) current: watch::Sender<Current>,
    pub(crate) storage: Storage,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) live: Arc<Live>,
    pub(crate) ingest: Arc<Semaphore>,
    pub(crate) delivery: Arc<Semaphore>,
    pub(crate) stopping: watch::Receiver<Stop>,
}

/// Whether the server goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Running,
    Stopping,
}

/// Waits until the server stops, or is gone.
pub(crate) async fn until_stopping(stopping: &mut watch::Receiver<Stop>) {
    let _stopped = stopping.wait_for(|stop| *stop == Stop::Stopping).await;
}

/// A running relay. [`Server::shutdown`] ends it; dropping it leaves tasks to the runtime.
pub struct Server {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    bound: SocketAddr,
    stop: watch::Sender<Stop>,
    accepting: tokio::task::JoinHandle<()>,
    storage_thread: JoinHandle<()>,
}

/// Figures for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Devices connected now.
    pub connections: u64,
    /// What is stored.
    pub usage: Usage,
}

impl Server {
    /// Opens the store and starts to listen. `fatal` is called on the storage thread when the
    /// store cannot be reopened after a failure; it should end the process.
    ///
    /// # Errors
    /// [`StartError`]: the store is locked, damaged or full, or the address is taken.
    pub fn start(
        config: Config,
        identity: Identity,
        fatal: Box<dyn FnOnce(WalError) + Send>,
    ) -> Result<Server, StartError> {
        let watchers = Arc::new(Watchers::default());
        let (storage, storage_thread) =
            Storage::start(opener(&config), Arc::clone(&watchers), fatal)?;
        let limits = EndpointLimits {
            peer_bidi_streams: 1,
            peer_uni_streams: 3,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            send_window_bytes: SEND_WINDOW_BYTES,
            ..EndpointLimits::default()
        };
        let listening = listen(&config, &identity, &limits);
        let (endpoint, bound) = match listening {
            Ok(listening) => listening,
            Err(error) => {
                // The thread must be gone before the process is: the view's library does not
                // like to be used while the process takes its statics apart.
                drop(storage);
                if storage_thread.join().is_err() {
                    tracing::error!("the storage thread panicked");
                }
                return Err(error.into());
            }
        };
        let (stop, stopping) = watch::channel(Stop::Running);
        let shared = Arc::new(Shared {
            identity,
            current: watch::Sender::new(Current::new(&config)),
            config,
            storage,
            watchers,
            registry: Arc::new(Registry::default()),
            live: Arc::new(Live::default()),
            ingest: Arc::new(Semaphore::new(INGEST_BYTES_MAX)),
            delivery: Arc::new(Semaphore::new(DELIVERY_BYTES_MAX)),
            stopping,
        });
        let accepting = tokio::spawn(accept(Arc::clone(&shared), endpoint.clone()));
        Ok(Server {
            shared,
            endpoint,
            bound,
            stop,
            accepting,
            storage_thread,
        })
    }

    /// Where the socket is.
    #[must_use]
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// What clients are given.
    #[must_use]
    pub fn address(&self) -> RelayAddress {
        let relay_id = self.shared.identity.relay_id();
        self.shared.config.advertised(self.bound, relay_id)
    }

    /// A handle for asking the figures while the server runs.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Lets count of a changed configuration what may while the relay runs, and shuts out at once who is
    /// revoked; answers what waits for the next start.
    pub fn reload(&self, new: &Config) -> Vec<&'static str> {
        let current = Current::changed(&self.shared.config, new);
        let waiting = current.waiting.clone();
        // ORDER: the list before its connections: who is admitted by the old one finds the new one when it
        // has its place.
        self.shared.current.send_replace(current);
        for device in &new.revoked {
            self.shared.registry.shut_out(device);
        }
        waiting
    }

    /// Waits until the storage thread is gone: the store could not be opened again, or there is a bug of
    /// ours. The process should end then: nothing can be stored any more.
    pub async fn storage_gone(&self) {
        let mut reopened = self.shared.storage.reopened();
        while reopened.changed().await.is_ok() {}
    }

    /// Says goodbye to every connection, commits what is staged, and closes the store. Drop
    /// all [`Figures`] first: each keeps the store open.
    pub async fn shutdown(self) {
        let Server {
            shared,
            endpoint,
            stop,
            accepting,
            storage_thread,
            ..
        } = self;
        stop.send_replace(Stop::Stopping);
        // It ends because of the stop; if it panicked there is nothing left to wait for.
        let _ended = accepting.await;
        endpoint.close(
            u32::from(wire::ErrorCode::ShuttingDown.to_u16()).into(),
            b"shutting down",
        );
        let _idle = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
        // The storage thread ends when the last handle on its queue is gone.
        drop(shared);
        let joined = tokio::task::spawn_blocking(move || storage_thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the storage thread panicked");
        }
    }
}

/// Asks for the figures of a running server.
#[derive(Clone)]
pub struct Figures {
    shared: Arc<Shared>,
}

impl Figures {
    /// The figures now.
    ///
    /// # Errors
    /// [`StorageRestarting`] when the storage thread does not answer.
    pub async fn read(&self) -> Result<Status, StorageRestarting> {
        let usage = self
            .shared
            .storage
            .ask(|answer| Job::Usage { answer })
            .await?;
        Ok(Status {
            connections: self.shared.registry.len() as u64,
            usage,
        })
    }

    /// What of a changed configuration waits for the next start.
    #[must_use]
    pub fn waiting(&self) -> Vec<&'static str> {
        self.shared.current.borrow().waiting.clone()
    }
}

fn listen(
    config: &Config,
    identity: &Identity,
    limits: &EndpointLimits,
) -> Result<(Endpoint, SocketAddr), RpkError> {
    let endpoint = rpk::server_endpoint(config.listen, identity, ALPN, limits)?;
    let bound = endpoint.local_addr().map_err(|error| RpkError::Socket {
        bind: config.listen,
        reason: error.to_string(),
        kind: error.kind(),
    })?;
    Ok((endpoint, bound))
}

/// Opens the engine in the data directory, each time anew.
fn opener(config: &Config) -> Opener {
    let data_dir = config.data_dir.clone();
    let quotas = config.quotas;
    let options = wal::Options {
        log_file_bytes: config.log_file_bytes,
        ..wal::Options::default()
    };
    Box::new(move || {
        let disk = RealDisk::new(&data_dir).map_err(|source| WalError::Io {
            operation: "the data directory",
            source,
        })?;
        let view = RocksStore::new(data_dir.join("view"));
        let (wal, report) = Wal::open(
            Arc::new(disk),
            Box::new(view),
            Box::new(OsDice),
            options.clone(),
        )?;
        tracing::info!(
            incarnation = report.incarnation,
            groups_copied = report.groups_copied,
            damaged_payloads = report.damaged_payloads.len(),
            lost_payloads = report.lost_payloads,
            "the store is open"
        );
        MailboxStore::new(wal, &report, quotas)
    })
}

/// Takes connections until the server stops, then waits for their goodbyes.
async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    let mut buckets = Buckets::new(shared.config.handshakes);
    let started = tokio::time::Instant::now();
    let mut stopping = shared.stopping.clone();
    let mut sessions = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
            Some(ended) = sessions.join_next() => {
                log_panic(ended);
                continue;
            }
            () = until_stopping(&mut stopping) => break,
        };
        let open = endpoint.open_connections();
        let connections_max = shared.current.borrow().connections_max;
        if open >= connections_max {
            incoming.refuse();
            continue;
        }
        if open >= RETRY_ABOVE_CONNECTIONS
            && !incoming.remote_address_validated()
            && incoming.may_retry()
        {
            if incoming.retry().is_err() {
                tracing::debug!("a retry was not possible");
            }
            continue;
        }
        let now_ms = started.elapsed().as_millis() as u64;
        if buckets.take(incoming.remote_address().ip(), now_ms) == Pass::Wait {
            incoming.refuse();
            continue;
        }
        sessions.spawn(session::serve(Arc::clone(&shared), incoming));
    }
    let goodbyes = async {
        while let Some(ended) = sessions.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(GOODBYE, goodbyes).await.is_err() {
        sessions.shutdown().await;
    }
}

/// A panic in one session costs that session, and is a bug to be seen.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session panicked");
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_now_s() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "The daemon is where the clock enters; only expiries of days depend on it."
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A nonce from the operating system.
///
/// # Panics
/// When the system has no randomness to give; nothing could be signed safely then.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    use wal::Dice as _;
    let mut bytes = [0; N];
    OsDice.fill(&mut bytes);
    bytes
}
