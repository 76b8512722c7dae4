//! `relay.toml`: parsed once, into values that cannot be wrong.
//!
//! Unknown keys are refused with their line: a misspelt limit must not silently be none. This
//! room must never read the data directory; the identity key is named here because it is
//! configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use relay_client::RelayAddress;
use serde::Deserialize;
use thiserror::Error;
use wire::limits::MAILBOXES_PER_ACCOUNT_MAX;
use wire::{DeviceId, RelayId};

use crate::bucket::Rate;
use crate::store::{Quota, Quotas};

/// A configuration file is small; a wrong path may not be.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Everything that a relay is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The UDP address to listen on.
    pub listen: SocketAddr,
    /// `host:port` as clients reach it; none: what it listens on.
    pub public_address: Option<(String, u16)>,
    /// The identity key file.
    pub identity_key: PathBuf,
    /// Where mailboxes are stored; made if it is missing.
    pub data_dir: PathBuf,
    /// Devices that are not let in though they have a certificate.
    pub revoked: Vec<DeviceId>,
    /// What one account may use, by its class.
    pub quotas: Quotas,
    /// Connections at a time.
    pub connections_max: usize,
    /// Handshakes per address prefix.
    pub handshakes: Rate,
    /// The size of a log file in bytes.
    pub log_file_bytes: u64,
    /// How long an answer may wait for a peer that does not read; then its connection is closed.
    pub unread_max: Duration,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value that cannot be.
    #[error("{}: {key}: {message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    public_address: Option<String>,
    identity_key: PathBuf,
    data_dir: PathBuf,
    #[serde(default)]
    revoked: Vec<String>,
    #[serde(default)]
    quota: QuotaTable,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaTable {
    account_mib: Option<u32>,
    reserved_mib: Option<u32>,
    mailboxes: Option<u32>,
    phone_account_mib: Option<u32>,
    phone_reserved_mib: Option<u32>,
    phone_mailboxes: Option<u32>,
}

/// The keys of one class, for errors.
struct QuotaKeys {
    reserved: &'static str,
    reserved_hint: &'static str,
    mailboxes: &'static str,
}

const HUB_KEYS: QuotaKeys = QuotaKeys {
    reserved: "quota.reserved_mib",
    reserved_hint: "must be less than quota.account_mib",
    mailboxes: "quota.mailboxes",
};
const PHONE_KEYS: QuotaKeys = QuotaKeys {
    reserved: "quota.phone_reserved_mib",
    reserved_hint: "must be less than quota.phone_account_mib",
    mailboxes: "quota.phone_mailboxes",
};

impl QuotaTable {
    /// The quotas, or the key that cannot be and what is wrong with it.
    fn checked(&self) -> Result<Quotas, (&'static str, &'static str)> {
        let default = Quotas::default();
        let bytes = |mib: Option<u32>, default| mib.map_or(default, |mib| u64::from(mib) << 20);
        let hub = Quota {
            account_bytes: bytes(self.account_mib, default.hub.account_bytes),
            reserved_bytes: bytes(self.reserved_mib, default.hub.reserved_bytes),
            mailboxes: self.mailboxes.unwrap_or(default.hub.mailboxes),
        };
        let phone = Quota {
            account_bytes: bytes(self.phone_account_mib, default.phone.account_bytes),
            reserved_bytes: bytes(self.phone_reserved_mib, default.phone.reserved_bytes),
            mailboxes: self.phone_mailboxes.unwrap_or(default.phone.mailboxes),
        };
        for (quota, keys) in [(&hub, &HUB_KEYS), (&phone, &PHONE_KEYS)] {
            if quota.reserved_bytes >= quota.account_bytes {
                return Err((keys.reserved, keys.reserved_hint));
            }
            if quota.mailboxes > MAILBOXES_PER_ACCOUNT_MAX {
                return Err((keys.mailboxes, "must not be above 256"));
            }
        }
        Ok(Quotas { hub, phone })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    connections: Option<u32>,
    handshakes_per_second: Option<u32>,
    handshake_burst: Option<u32>,
    log_file_mib: Option<u32>,
    unread_seconds: Option<u32>,
}

/// Where a relay listens if it is not told.
const LISTEN_DEFAULT: &str = "[::]:4433";
/// Longer than a phone is without a network when it changes cells, shorter than the idle timeout.
const UNREAD_SECONDS_DEFAULT: u32 = 30;

impl Config {
    /// Reads and checks a file. Relative paths in it start from its directory.
    ///
    /// # Errors
    /// [`ConfigError`], naming the line or the key.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        use std::io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
            .map_err(|source| ConfigError::Io {
                path: path.to_owned(),
                source,
            })?;
        Config::parse(&text, path)
    }

    /// Checks the text of a file that lies at `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            message: error.message().to_owned(),
        })?;
        let value = |key, message: &str| ConfigError::Value {
            path: path.to_owned(),
            key,
            message: message.to_owned(),
        };
        let base = path.parent().unwrap_or(Path::new(""));
        let listen = file.listen.as_deref().unwrap_or(LISTEN_DEFAULT);
        let listen = listen
            .parse()
            .map_err(|_| value("listen", "not an address with a port, like 0.0.0.0:4433"))?;
        let public_address = match file.public_address {
            None => None,
            Some(text) => Some(parse_public(&text).ok_or_else(|| {
                value("public_address", "not host:port, like relay.example:4433")
            })?),
        };
        let revoked = file
            .revoked
            .iter()
            .map(|id| id.parse())
            .collect::<Result<Vec<DeviceId>, _>>()
            .map_err(|_| value("revoked", "not a device id"))?;
        let quotas = file
            .quota
            .checked()
            .map_err(|(key, message)| value(key, message))?;
        let log_file_mib = file.limits.log_file_mib.unwrap_or(16);
        if !(4..=64).contains(&log_file_mib) {
            return Err(value("limits.log_file_mib", "must be from 4 to 64"));
        }
        let unread_seconds = file.limits.unread_seconds.unwrap_or(UNREAD_SECONDS_DEFAULT);
        if unread_seconds == 0 {
            return Err(value("limits.unread_seconds", "must be at least 1"));
        }
        Ok(Config {
            listen,
            public_address,
            identity_key: base.join(file.identity_key),
            data_dir: base.join(file.data_dir),
            revoked,
            quotas,
            connections_max: file.limits.connections.unwrap_or(4096) as usize,
            handshakes: Rate {
                per_second: file.limits.handshakes_per_second.unwrap_or(32),
                burst: file.limits.handshake_burst.unwrap_or(256).max(1),
            },
            log_file_bytes: u64::from(log_file_mib) << 20,
            unread_max: Duration::from_secs(u64::from(unread_seconds)),
        })
    }

    /// The address that clients are given; `bound` is where the socket really is.
    #[must_use]
    pub fn advertised(&self, bound: SocketAddr, relay_id: RelayId) -> RelayAddress {
        let (host, port) = match &self.public_address {
            // Port 0 here means: whichever port was found free.
            Some((host, 0)) => (host.clone(), bound.port()),
            Some((host, port)) => (host.clone(), *port),
            None if bound.ip().is_unspecified() => ("localhost".to_owned(), bound.port()),
            None => (bound.ip().to_string(), bound.port()),
        };
        RelayAddress {
            host,
            port,
            relay_id,
        }
    }
}

fn parse_public(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None => host,
    };
    (!host.is_empty()).then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    1 + before.filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "identity_key = \"id.key\"\ndata_dir = \"data\"\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/etc/relay/relay.toml"))
    }

    #[test]
    fn the_least_file_is_enough() {
        let config = parse(LEAST).unwrap();
        assert_eq!(config.data_dir, Path::new("/etc/relay/data"));
        assert_eq!(config.identity_key, Path::new("/etc/relay/id.key"));
        assert_eq!(config.listen.port(), 4433);
        assert_eq!(config.quotas, Quotas::default());
    }

    #[test]
    fn an_unknown_key_names_its_line() {
        let error = parse(&format!("{LEAST}[quota]\nacount_mib = 5\n")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("relay.toml, line 4"), "{text}");
        assert!(text.contains("acount_mib"), "{text}");
    }

    #[test]
    fn values_that_cannot_be() {
        for (more, key) in [
            ("listen = \"nowhere\"", "listen"),
            ("public_address = \"host\"", "public_address"),
            ("revoked = [\"x\"]", "revoked"),
            ("[quota]\nreserved_mib = 4096", "quota.reserved_mib"),
            ("[quota]\nmailboxes = 1000", "quota.mailboxes"),
            (
                "[quota]\nphone_reserved_mib = 64",
                "quota.phone_reserved_mib",
            ),
            ("[quota]\nphone_mailboxes = 257", "quota.phone_mailboxes"),
            ("[limits]\nlog_file_mib = 1", "limits.log_file_mib"),
            ("[limits]\nunread_seconds = 0", "limits.unread_seconds"),
        ] {
            let text = parse(&format!("{LEAST}{more}\n")).unwrap_err().to_string();
            assert!(text.contains(key), "{text}");
        }
    }

    #[test]
    fn a_phone_has_a_quota_of_its_own_and_a_smaller_one() {
        let default = Quotas::default();
        assert!(default.phone.account_bytes < default.hub.account_bytes);
        assert!(default.phone.mailboxes < default.hub.mailboxes);
        let more = "[quota]\nphone_account_mib = 5\nphone_reserved_mib = 1\nphone_mailboxes = 7\n";
        let quotas = parse(&format!("{LEAST}{more}")).unwrap().quotas;
        assert_eq!(quotas.hub, default.hub);
        let phone = Quota {
            account_bytes: 5 << 20,
            reserved_bytes: 1 << 20,
            mailboxes: 7,
        };
        assert_eq!(quotas.phone, phone);
    }

    #[test]
    fn the_advertised_address() {
        let id = RelayId([1; 32]);
        let bound = "0.0.0.0:77".parse().unwrap();
        let mut config = parse(LEAST).unwrap();
        assert_eq!(config.advertised(bound, id).host, "localhost");
        config.public_address = parse_public("relay.example:0");
        assert_eq!(config.advertised(bound, id).port, 77);
        config.public_address = parse_public("[2001:db8::1]:9");
        assert_eq!(config.advertised(bound, id).host, "2001:db8::1");
    }
}
