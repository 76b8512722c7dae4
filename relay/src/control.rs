//! A local socket in the data directory, over which `status` asks a running relay.
//!
//! Whoever may enter the data directory may ask. This room must never take a command that
//! changes anything.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use wal::service::Service;

use crate::disk_use::allocated_bytes;
use crate::server::Figures;

/// The socket's name in the data directory.
const SOCKET_NAME: &str = "control.sock";
/// How long `status` waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that `status` reads.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What `status` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    /// `host:port/key` as clients are given it.
    pub(crate) relay: String,
    /// The socket.
    pub(crate) listening: String,
    /// Devices connected now.
    pub(crate) connections: u64,
    /// Accounts with anything stored.
    pub(crate) accounts: u64,
    /// Mailboxes.
    pub(crate) mailboxes: u64,
    /// Bytes of envelopes, as they came.
    pub(crate) envelope_bytes: u64,
    /// What quotas count for them: whole sectors on disk, in bytes.
    pub(crate) quota_bytes: u64,
    /// What the data directory takes on disk, measured, in bytes; none if it cannot be.
    pub(crate) disk_bytes: Option<u64>,
    /// Syncs since the start.
    pub(crate) syncs: u64,
    /// Log files in use.
    pub(crate) log_files: u64,
    /// Log files that are kept free, for reuse and for recovery.
    pub(crate) free_log_files: u64,
    /// The largest size of a log file in bytes.
    pub(crate) log_file_bytes: u64,
    /// Whether somebody supervises the relay, and starts it again if it ends.
    pub(crate) supervised: bool,
    /// How long that one waits for a sign of life, in seconds; none if it awaits none.
    pub(crate) watchdog_s: Option<u64>,
    /// What of a changed configuration waits for a restart.
    pub(crate) waiting: Vec<String>,
}

/// What a running relay says of itself besides its figures.
pub(crate) struct Facts {
    /// `host:port/key` as clients are given it.
    pub(crate) relay: String,
    /// The socket.
    pub(crate) listening: String,
    /// Who supervises it.
    pub(crate) service: Arc<Service>,
}

pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET_NAME)
}

/// Answers every caller with one line of JSON. The caller of this function holds the lock of
/// the data directory, so a socket that lies there is a dead one's.
pub(crate) fn listen(data_dir: &Path) -> std::io::Result<UnixListener> {
    let path = socket_path(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves the socket until it is dropped.
pub(crate) async fn serve(
    listener: UnixListener,
    data_dir: PathBuf,
    figures: Figures,
    facts: Facts,
) {
    loop {
        let Ok((mut stream, _caller)) = listener.accept().await else {
            // Out of file descriptors, most likely: the next caller may have more luck.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(status) = figures.read().await else {
            continue;
        };
        let measured = data_dir.clone();
        let measured = tokio::task::spawn_blocking(move || allocated_bytes(&measured).ok()).await;
        let report = StatusReport {
            relay: facts.relay.clone(),
            listening: facts.listening.clone(),
            connections: status.connections,
            accounts: status.usage.accounts,
            mailboxes: status.usage.mailboxes,
            envelope_bytes: status.usage.envelope_bytes,
            quota_bytes: status.usage.quota_bytes,
            disk_bytes: measured.ok().flatten(),
            syncs: status.usage.syncs,
            log_files: status.usage.log_files,
            free_log_files: status.usage.free_log_files,
            log_file_bytes: status.usage.log_file_bytes,
            supervised: facts.service.is_supervised(),
            watchdog_s: facts.service.watchdog().map(|patience| patience.as_secs()),
            waiting: figures.waiting().into_iter().map(str::to_owned).collect(),
        };
        let Ok(line) = serde_json::to_string(&report) else {
            continue;
        };
        // A caller that went away did not want the answer.
        let _gone = stream.write_all(format!("{line}\n").as_bytes()).await;
    }
}

/// Asks the relay that runs in this data directory. None: there is none.
pub(crate) fn ask(data_dir: &Path) -> Option<StatusReport> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket_path(data_dir)).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    let mut text = String::new();
    stream
        .by_ref()
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}
