//! A configuration that was changed, for a hub that runs: what counts at once, and what waits for the next start.
//!
//! SIGHUP asks for it. A file that is not good changes nothing. It must never take over half of a table.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, ConfigError};
use crate::exit::{Code, Failure};

/// The configuration that a running hub goes by.
#[derive(Clone, Debug)]
pub struct Current {
    /// What counts now.
    pub config: Config,
    /// How often a changed file was taken since the process began.
    pub reloads: u64,
    /// What the file says otherwise and what waits for the next start: keys and tables.
    pub waiting: Vec<&'static str>,
}

impl Current {
    /// As a start has read it.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            reloads: 0,
            waiting: Vec::new(),
        }
    }

    /// Takes what can change while the hub runs of a file that was read again.
    fn take(&mut self, new: Config) {
        self.waiting = waiting(&self.config, &new);
        self.reloads += 1;
        self.config.cameras = new.cameras;
        self.config.pairing = new.pairing;
        self.config.reset_file = new.reset_file;
    }
}

/// What differs and cannot change while the hub runs. Every key is named here, so that none is forgotten.
fn waiting(now: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        state_dir,
        relay,
        invitation,
        pairing: _,
        silence,
        may_invite,
        cameras: _,
        disk,
        retain,
        device_secret_file,
        reset_file: _,
        traffic,
        metrics,
    } = new;
    let differs = [
        ("state_dir", now.state_dir != *state_dir),
        ("relay", now.relay != *relay),
        ("invitation", now.invitation != *invitation),
        (
            "device_secret_file",
            now.device_secret_file != *device_secret_file,
        ),
        (
            "[phones]",
            now.silence != *silence || now.may_invite != *may_invite,
        ),
        ("[disk]", now.disk != *disk),
        ("[privacy]", now.retain != *retain),
        ("[traffic]", now.traffic != *traffic),
        ("[metrics]", now.metrics != *metrics),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(name, _)| name).collect()
}

/// Reads the configuration again when it is asked to, from SIGHUP on.
pub(super) struct Reloader {
    path: PathBuf,
    asked: Signal,
    current: watch::Sender<Current>,
}

impl Reloader {
    /// For the file at `path`, which holds `config`. From here on the signal no longer ends the process.
    pub(super) fn new(path: PathBuf, config: Config) -> Result<Self, Failure> {
        let asked = signal(SignalKind::hangup())
            .map_err(|error| Failure::new(Code::Internal, format!("no signals: {error}")))?;
        Ok(Self {
            path,
            asked,
            current: watch::Sender::new(Current::new(config)),
        })
    }

    /// What counts now; changes wake.
    pub(super) fn current(&self) -> watch::Receiver<Current> {
        self.current.subscribe()
    }

    /// Waits until somebody asks. Cancel safe.
    pub(super) async fn asked(&mut self) {
        if self.asked.recv().await.is_none() {
            // The runtime gives no more signals.
            std::future::pending().await
        }
    }

    /// Reads the file again and lets count what may; answers what waits for the next start.
    ///
    /// # Errors
    /// [`ConfigError`]: everything stays as it is.
    pub(super) fn reload(&self) -> Result<Vec<&'static str>, ConfigError> {
        let new = Config::read(&self.path)?;
        self.current.send_modify(|current| current.take(new));
        Ok(self.current.borrow().waiting.clone())
    }
}

/// What became of a reload: JSON for stdout, and a line for people.
pub(super) fn said(reloaded: &Result<Vec<&'static str>, ConfigError>) -> (Value, String) {
    match reloaded {
        Ok(waiting) => {
            let json = json!({"event": "reloaded", "waiting": waiting});
            let text = match waiting.as_slice() {
                [] => "the configuration was read again and is in force".to_owned(),
                keys => format!(
                    "the configuration was read again; what it says of cameras, pairing and reset_file is in force. {} cannot change while the hub runs: restart it",
                    keys.join(", ")
                ),
            };
            (json, text)
        }
        Err(error) => {
            let message = error.to_string();
            let text = format!("the changed configuration is not used: {message}");
            (json!({"event": "reload_refused", "message": message}), text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn text(rest: &str) -> String {
        let relay = wire::RelayId([7; 32]).to_text();
        format!("state_dir = \"state\"\nrelay = \"127.0.0.1:4433/{relay}\"\n{rest}")
    }

    fn config(rest: &str) -> Config {
        Config::parse(&text(rest), "hub.toml", Path::new("/etc")).unwrap()
    }

    #[test]
    fn cameras_and_pairing_count_at_once_and_the_rest_is_named() {
        let mut current = Current::new(config(""));
        current.take(config(
            "reset_file = \"/boot/reset\"\n[pairing]\noffer_seconds = 60\n[camera]\nkind = \"virtual\"\n",
        ));
        assert!(current.waiting.is_empty(), "{:?}", current.waiting);
        assert_eq!(current.config.cameras.len(), 1);
        assert_eq!(current.config.pairing.offer.as_secs(), 60);
        assert!(current.config.reset_file.is_some());

        current.take(config(
            "device_secret_file = \"secret\"\n[phones]\nsilent_after = \"2d\"\n[disk]\nlog_file_mib = 32\n\
             [privacy]\nretain = \"until-acked\"\n[traffic]\nconstant_rate = \"64 KiB/s\"\n\
             [metrics]\nlisten = \"127.0.0.1:9\"\n",
        ));
        let waiting = [
            "device_secret_file",
            "[phones]",
            "[disk]",
            "[privacy]",
            "[traffic]",
            "[metrics]",
        ];
        assert_eq!(current.waiting, waiting);
        assert!(current.config.cameras.is_empty(), "its camera is gone");
        assert!(current.config.traffic.is_none(), "it waits");
        // A file that is as it was at the start waits for nothing.
        current.take(config(""));
        assert_eq!((current.waiting.len(), current.reloads), (0, 3));
    }

    #[tokio::test]
    async fn a_file_that_is_not_good_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("hub.toml");
        std::fs::write(&path, text("[camera]\nkind = \"virtual\"\n")).unwrap();
        let reloader = Reloader::new(path.clone(), Config::read(&path).unwrap()).unwrap();
        let mut current = reloader.current();
        std::fs::write(&path, text("[camera]\nkind = \"unknown\"\n")).unwrap();
        let refused = reloader.reload();
        let (json, said) = said(&refused);
        assert_eq!(json["event"], "reload_refused");
        assert!(said.contains("hub.toml"), "{said}");
        assert!(!current.has_changed().unwrap());
        std::fs::write(&path, text("")).unwrap();
        assert!(reloader.reload().unwrap().is_empty());
        assert!(current.has_changed().unwrap());
        assert!(current.borrow_and_update().config.cameras.is_empty());
    }
}
