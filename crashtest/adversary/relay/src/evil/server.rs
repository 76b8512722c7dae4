//! The malicious relay as a server: its endpoint, and the socket over which it is told how to lie.
//!
//! It starts and says where it listens as a relay does, so that a test can put it in a relay's place. This room
//! must never take an order from the network.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::Endpoint;
use relay::config::Config;
use relay::keyfile;
use relay_client::Identity;
use relay_client::rpk::{self, EndpointLimits};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use wire::limits::{ALPN, SLOTS_PER_CONNECTION_MAX};
use wire::{ErrorCode, SendId, Slot};

use super::{Connections, Evil, session};
use crate::fault::{Fault, Outcome};
use crate::orders::{self, Order};

/// What a peer may have under way on one stream and on all together, in bytes.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// How long a connection has to say goodbye at the end.
const GOODBYE: Duration = Duration::from_millis(500);

/// What all connections share.
pub(super) struct Shared {
    pub(super) identity: Identity,
    evil: Mutex<Evil>,
    /// Grows with everything that a reader may want to know.
    pub(super) news: watch::Sender<u64>,
    /// Who watches which mailbox live.
    watchers: Mutex<HashMap<SendId, Vec<Watcher>>>,
    /// Grows with each order that closes the connections.
    pub(super) orders: watch::Sender<u64>,
}

/// A receive slot that watches.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) connection: quinn::Connection,
    pub(super) slot: Slot,
}

impl Shared {
    /// A slot begins to watch, or stops.
    pub(super) fn watch(&self, mailbox: SendId, watcher: Watcher, on: bool) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_mailbox = watchers.entry(mailbox).or_default();
        let is_it = |one: &Watcher| {
            one.slot == watcher.slot && one.connection.stable_id() == watcher.connection.stable_id()
        };
        of_mailbox.retain(|one| !is_it(one));
        if on {
            of_mailbox.push(watcher);
        }
    }

    /// Who watches a mailbox now.
    pub(super) fn watchers(&self, mailbox: &SendId) -> Vec<Watcher> {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_mailbox) = watchers.get_mut(mailbox) else {
            return Vec::new();
        };
        of_mailbox.retain(|one| one.connection.close_reason().is_none());
        of_mailbox.clone()
    }

    pub(super) fn evil(&self) -> MutexGuard<'_, Evil> {
        self.evil.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the malicious relay with a relay's configuration until SIGTERM, and says where it listens as a relay
/// does.
///
/// # Errors
/// The configuration, the key, the socket.
pub fn run(config_path: &Path) -> Outcome<()> {
    let usage = |error: &dyn std::fmt::Display| Fault::Usage(error.to_string());
    let config = Config::load(config_path).map_err(|error| usage(&error))?;
    let identity = keyfile::load(&config.identity_key).map_err(|error| usage(&error))?;
    // Nothing of it has to survive: an attacker's relay keeps its mailboxes in memory.
    std::fs::create_dir_all(&config.data_dir).map_err(Fault::machine("the data directory"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Fault::machine("the runtime"))?;
    runtime.block_on(serve(&config, identity))
}

async fn serve(config: &Config, identity: Identity) -> Outcome<()> {
    // Before anybody is told that it runs: who reads that line may stop it at once.
    let mut terminate =
        signal(SignalKind::terminate()).map_err(Fault::machine("the signal handler"))?;
    let limits = EndpointLimits {
        peer_bidi_streams: 1,
        peer_uni_streams: SLOTS_PER_CONNECTION_MAX as u32,
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        ..EndpointLimits::default()
    };
    let endpoint = rpk::server_endpoint(config.listen, &identity, ALPN, &limits)
        .map_err(|error| Fault::Usage(error.to_string()))?;
    let bound = endpoint
        .local_addr()
        .map_err(Fault::machine("the endpoint"))?;
    let relay = config.advertised(bound, identity.relay_id());
    let shared = Arc::new(Shared {
        identity,
        evil: Mutex::default(),
        watchers: Mutex::default(),
        news: watch::Sender::new(0),
        orders: watch::Sender::new(0),
    });
    let place = orders::socket(&config.data_dir);
    match std::fs::remove_file(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Fault::machine("an old socket")(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&place).map_err(Fault::machine("the orders' socket"))?;
    println!(
        "{}",
        json!({"event": "listening", "addr": bound.to_string(), "relay": relay.to_string()})
    );
    let accepting = tokio::spawn(accept(Arc::clone(&shared), endpoint.clone()));
    let obeying = tokio::spawn(obey(Arc::clone(&shared), listener));
    let _told = terminate.recv().await;
    accepting.abort();
    obeying.abort();
    endpoint.close(
        u32::from(ErrorCode::ShuttingDown.to_u16()).into(),
        b"shutting down",
    );
    let _idle = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
    std::fs::remove_file(&place).map_err(Fault::machine("the orders' socket"))
}

async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(session::serve(Arc::clone(&shared), incoming));
    }
}

/// Takes orders, one connection at a time.
async fn obey(shared: Arc<Shared>, listener: UnixListener) {
    while let Ok((stream, _from)) = listener.accept().await {
        if let Err(error) = obey_one(&shared, stream).await {
            eprintln!("secluso-evil-relay: an order was lost: {error}");
        }
    }
}

async fn obey_one(shared: &Shared, stream: UnixStream) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut text = String::new();
    tokio::io::BufReader::new(reading)
        .read_line(&mut text)
        .await?;
    let answer = match text.parse::<Order>() {
        Ok(order) => {
            let connections = shared.evil().obey(order);
            if connections == Connections::Closed {
                shared.orders.send_modify(|count| *count += 1);
                shared.news.send_modify(|count| *count += 1);
            }
            shared.evil().look().to_json().to_string()
        }
        Err(trouble) => json!({"error": trouble.to_string()}).to_string(),
    };
    writing.write_all(format!("{answer}\n").as_bytes()).await
}
