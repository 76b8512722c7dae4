//! The control socket of a running hub: `status`, `phones`, `remove`, `pair`, `relay-code`, `retained`, `secret` and `stop`
//! for the owner of the state directory, as one JSON object a line. It must never answer anybody else: the
//! socket has mode 0600 in a directory of mode 0700.

mod client;
mod server;

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use client::{Until, ask, ask_until, is_running, read_answer};
pub(crate) use server::step_json;
pub use server::{Server, Services, bind};

/// The socket's name in the state directory.
pub const SOCKET_NAME: &str = "control.sock";
/// Longest question in bytes.
const REQUEST_BYTES_MAX: u64 = 4096;
/// Questions that are answered at a time.
const CONNECTIONS_MAX: usize = 8;
/// Longest path that a unix socket takes, with room to spare (`sun_path` has 108 bytes).
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// A question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// One answer: the status.
    Status,
    /// One answer: the phones.
    Phones,
    /// One answer: this phone is removed.
    Remove {
        /// The first digits of its identifier.
        phone: String,
    },
    /// Answers `offer`, then one of `paired`, `stopped` and `failed`. Whoever closes its own half of
    /// the connection stops it, and is answered all the same.
    Pair,
    /// One answer: the clips that are retained, by phone.
    Retained,
    /// One answer: how many clips are played to a phone that were retained for another.
    Play {
        /// The first digits of the phone that gets them.
        to: String,
        /// The first digits of the one for which they were recorded.
        from: String,
    },
    /// One answer: how many copies were erased.
    Forget {
        /// The first digits of the phone for which they were recorded.
        phone: String,
    },
    /// One answer: what a phone needs to come to this hub's relay.
    RelayCode {
        /// The first digits of its identifier; none if there is only one phone.
        phone: Option<String>,
        /// Another invitation, also where it has one of this relay.
        again: bool,
    },
    /// One answer: the device secret, as text.
    Secret,
    /// One answer, then a clean stop.
    Stop,
}

/// Where the socket is, however long the directory's path: a long one is reached through the
/// descriptor, which must live as long as the path is used.
struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    fn of(state_dir: &Path) -> std::io::Result<Self> {
        let path = state_dir.join(SOCKET_NAME);
        if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return Ok(Self {
                path,
                _directory: None,
            });
        }
        let directory = File::open(state_dir)?;
        let path = PathBuf::from(format!(
            "/proc/self/fd/{}/{SOCKET_NAME}",
            directory.as_raw_fd()
        ));
        Ok(Self {
            path,
            _directory: Some(directory),
        })
    }
}
