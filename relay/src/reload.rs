//! A configuration that was changed, for a relay that runs: what counts at once, and what waits for the next start.
//!
//! This room must never let a device stay that the operator has shut out: whoever takes over a list closes the
//! connections of all that are on it.

use std::time::Duration;

use wire::DeviceId;

use crate::config::Config;

/// What can change while a relay runs.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    /// Devices that are not let in though they have a certificate.
    pub(crate) revoked: Vec<DeviceId>,
    /// Connections at a time; those that there are stay.
    pub(crate) connections_max: usize,
    /// How long an answer may wait for a peer that does not read, of connections that are made from now on.
    pub(crate) unread_max: Duration,
    /// What the last file said otherwise and what waits for the next start.
    pub(crate) waiting: Vec<&'static str>,
}

impl Current {
    /// As a start has read it.
    pub(crate) fn new(config: &Config) -> Current {
        Current {
            revoked: config.revoked.clone(),
            connections_max: config.connections_max,
            unread_max: config.unread_max,
            waiting: Vec::new(),
        }
    }

    /// Of a file that was read again by a relay that was started with `started`.
    pub(crate) fn changed(started: &Config, new: &Config) -> Current {
        Current {
            waiting: waiting(started, new),
            ..Current::new(new)
        }
    }

    pub(crate) fn is_revoked(&self, device: &DeviceId) -> bool {
        self.revoked.contains(device)
    }
}

/// What differs and cannot change while the relay runs. Every key is named here, so that none is forgotten.
fn waiting(now: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        listen,
        public_address,
        identity_key,
        data_dir,
        revoked: _,
        quotas,
        connections_max: _,
        handshakes,
        log_file_bytes,
        unread_max: _,
    } = new;
    let differs = [
        ("listen", now.listen != *listen),
        ("public_address", now.public_address != *public_address),
        ("identity_key", now.identity_key != *identity_key),
        ("data_dir", now.data_dir != *data_dir),
        ("[quota]", now.quotas != *quotas),
        ("handshakes", now.handshakes != *handshakes),
        ("log_file_mib", now.log_file_bytes != *log_file_bytes),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(more: &str) -> Config {
        let least = "identity_key = \"id.key\"\ndata_dir = \"data\"\n";
        Config::parse(
            &format!("{least}{more}"),
            Path::new("/etc/relay/relay.toml"),
        )
        .unwrap()
    }

    #[test]
    fn who_is_shut_out_counts_at_once_and_the_rest_is_named() {
        let started = config("");
        let current = Current::changed(&started, &started);
        assert!(current.waiting.is_empty() && current.revoked.is_empty());
        let device = DeviceId([7; 32]);
        let more = format!(
            "revoked = [\"{}\"]\nlisten = \"127.0.0.1:9\"\n[limits]\nconnections = 5\nlog_file_mib = 32\n\
             unread_seconds = 5\nhandshakes_per_second = 1\n[quota]\nmailboxes = 7\n",
            device.to_text()
        );
        let current = Current::changed(&started, &config(&more));
        assert!(current.is_revoked(&device));
        assert_eq!(
            (current.connections_max, current.unread_max.as_secs()),
            (5, 5)
        );
        let waiting = ["listen", "[quota]", "handshakes", "log_file_mib"];
        assert_eq!(current.waiting, waiting);
    }
}
