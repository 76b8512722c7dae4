//! The configuration file: read once, into types that cannot be wrong.
//!
//! Every mistake names line, key and next step. This room must never touch the network or the
//! state directory, and a value that is not here is not configurable.

pub mod detection;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::Suite;
use relay_client::RelayAddress;
use serde::Deserialize;
use wire::Invitation;

pub use camera::{CAMERAS_MAX, CameraConfig};

mod camera;

/// A longer file is not a configuration.
const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Smallest and largest log file in MiB.
const LOG_FILE_MIB: (u64, u64) = (4, 256);
/// Shortest and longest life of a pairing code, in seconds.
const OFFER_SECONDS: (u64, u64) = (30, journal::pairing::OFFER_TTL_S_MAX);
/// Addresses that a pairing code may name.
const ADDRESSES_MAX: usize = 4;

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything durable is.
    pub state_dir: PathBuf,
    /// The relay.
    pub relay: RelayAddress,
    /// For the first connection; not used once a certificate is stored.
    pub invitation: Option<Invitation>,
    /// Pairing.
    pub pairing: PairingConfig,
    /// The cameras, at most [`CAMERAS_MAX`]; none: the hub only sends what it has.
    pub cameras: Vec<CameraConfig>,
    /// Sizes on disk.
    pub disk: DiskConfig,
}

/// How phones pair.
#[derive(Clone, Debug)]
pub struct PairingConfig {
    /// Where the hub listens while it pairs.
    pub listen: SocketAddr,
    /// What the code names instead of the addresses found; hosts without port.
    pub addresses: Vec<String>,
    /// The suite of the groups.
    pub suite: Suite,
    /// How long a code lasts.
    pub offer: Duration,
}

/// Sizes on disk.
#[derive(Clone, Copy, Debug)]
pub struct DiskConfig {
    /// Size of a log file in bytes.
    pub log_file_bytes: u64,
}

/// What is wrong with a configuration, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "the configuration {path} cannot be read ({reason}); give the right path with --config"
    )]
    Unreadable {
        /// As given.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// It is no TOML, or has a key that does not exist, or one of the wrong type.
    #[error("{path}, line {line}: {what}; correct that line (see `secluso-hub run --help`)")]
    Syntax {
        /// As given.
        path: String,
        /// From 1.
        line: usize,
        /// What the parser says, with the key.
        what: String,
    },
    /// A value cannot be.
    #[error("{path}, line {line}: `{key}`: {what}")]
    Value {
        /// As given.
        path: String,
        /// From 1; 0 if the key is not in the file.
        line: usize,
        /// Which key.
        key: &'static str,
        /// What is wrong and what would be right.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    state_dir: PathBuf,
    relay: String,
    invitation: Option<String>,
    #[serde(default)]
    pairing: PairingTable,
    #[serde(default)]
    camera: camera::Tables,
    #[serde(default)]
    disk: DiskTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PairingTable {
    listen: Option<String>,
    addresses: Option<Vec<String>>,
    suite: Option<SuiteName>,
    offer_seconds: Option<u64>,
}

#[derive(Deserialize, Clone, Copy)]
enum SuiteName {
    #[serde(rename = "x-wing")]
    XWing,
    #[serde(rename = "classic")]
    Classic,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DiskTable {
    log_file_mib: Option<u64>,
}

impl Config {
    /// Reads and checks a file. Relative paths in it start at its own directory.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let unreadable = |reason: String| ConfigError::Unreadable {
            path: shown.clone(),
            reason,
        };
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
        if metadata.len() > CONFIG_BYTES_MAX {
            return Err(unreadable(format!(
                "it has more than {CONFIG_BYTES_MAX} bytes"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &shown, base)
    }

    /// Checks a text. `path` is for messages, `base` for relative paths.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &str, path: &str, base: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            what: error.message().replace('\n', " "),
        })?;
        let bad = |key: &'static str, what: String| ConfigError::Value {
            path: path.to_owned(),
            line: line_of(text, key),
            key,
            what,
        };
        let bad_at = |at: Range<usize>, key: &'static str, what: String| ConfigError::Value {
            path: path.to_owned(),
            line: line_at(text, at.start),
            key,
            what,
        };
        let relay = file.relay.parse().map_err(|_| {
            bad("relay", "not a relay address; it looks like host:port/key, as `secluso-relay run` prints it".into())
        })?;
        let invitation = match file.invitation.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                bad(
                    "invitation",
                    "not an invitation; paste what `secluso-relay invite --class hub` printed"
                        .into(),
                )
            })?),
        };
        Ok(Self {
            state_dir: base.join(file.state_dir),
            relay,
            invitation,
            pairing: pairing(file.pairing, &bad)?,
            cameras: camera::cameras(file.camera, base, &bad_at)?,
            disk: disk(&file.disk, &bad)?,
        })
    }
}

type Bad<'a> = &'a dyn Fn(&'static str, String) -> ConfigError;

fn pairing(table: PairingTable, bad: Bad<'_>) -> Result<PairingConfig, ConfigError> {
    let listen = match table.listen {
        None => SocketAddr::from(([0, 0, 0, 0], 0)),
        Some(text) => text.parse().map_err(|_| {
            bad(
                "listen",
                "not an address with port; for example 0.0.0.0:0".into(),
            )
        })?,
    };
    let addresses = table.addresses.unwrap_or_default();
    if addresses.len() > ADDRESSES_MAX {
        return Err(bad(
            "addresses",
            format!("at most {ADDRESSES_MAX} are supported"),
        ));
    }
    let offer_seconds = table.offer_seconds.unwrap_or(600);
    in_range("offer_seconds", offer_seconds, OFFER_SECONDS, bad)?;
    Ok(PairingConfig {
        listen,
        addresses,
        suite: match table.suite {
            Some(SuiteName::Classic) => Suite::Classic,
            Some(SuiteName::XWing) | None => Suite::XWing,
        },
        offer: Duration::from_secs(offer_seconds),
    })
}

fn disk(table: &DiskTable, bad: Bad<'_>) -> Result<DiskConfig, ConfigError> {
    let mib = table.log_file_mib.unwrap_or(16);
    in_range("log_file_mib", mib, LOG_FILE_MIB, bad)?;
    Ok(DiskConfig {
        log_file_bytes: mib << 20,
    })
}

fn in_range(
    key: &'static str,
    value: u64,
    (min, max): (u64, u64),
    bad: Bad<'_>,
) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(bad(key, format!("{value} is outside {min} to {max}")))
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

/// The line that sets a key; 0 if none does.
fn line_of(text: &str, key: &str) -> usize {
    let sets = |line: &str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(sets).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests;
