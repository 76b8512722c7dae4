//! A paired world that is kept, so that many runs begin with it and pair once.
//!
//! The programs know absolute paths and the relay's port. So a stock lends one world at a time,
//! always in the same place: whoever wants two at a time makes two stocks. This room must never
//! copy a world of which a program runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{FIRST_PHONE, RelayAddress, Setup, System, Tracing, temporary};
use crate::process::{Board, Role};
use crate::trouble::{Outcome, Trouble};

/// Where the world is in which a run takes place.
const LIVE: &str = "live";
/// Where the paired one is kept.
const KEPT: &str = "kept";

/// A paired world, at rest.
pub struct Stock {
    directory: TempDir,
    address: Option<RelayAddress>,
    invitation: String,
    pairing_port: u16,
    codes: Vec<String>,
}

impl Stock {
    /// Makes a world, pairs in it, stops everything and keeps it.
    ///
    /// # Errors
    /// Any step of it.
    pub fn paired(setup: &Setup) -> Outcome<Self> {
        Self::made(setup, System::pair)
    }

    /// As [`Self::paired`], and the phone's first heartbeat has been answered. For the next ten minutes a
    /// launch of the phone says none, so that what a program does first is about events: whoever counts
    /// hits there counts the same each time.
    ///
    /// # Errors
    /// Any step of it.
    pub fn answered(setup: &Setup) -> Outcome<Self> {
        Self::made(setup, |system| {
            system.pair()?;
            hear_the_phone(system)
        })
    }

    fn made(setup: &Setup, begin: impl FnOnce(&mut System) -> Outcome<()>) -> Outcome<Self> {
        let directory = temporary()?;
        let live = directory.path().join(LIVE);
        std::fs::create_dir(&live).map_err(Trouble::machine("a world's directory"))?;
        let mut system = System::new(setup.clone())?;
        system.root = live;
        system.make_relay()?;
        system.write_hub_config()?;
        begin(&mut system)?;
        system.stop(Role::Relay)?;
        let stock = Self {
            address: system.address.clone(),
            invitation: system.invitation.clone(),
            pairing_port: system.pairing_port,
            codes: system.codes.clone(),
            directory,
        };
        drop(system);
        copy(&stock.path(LIVE), &stock.path(KEPT))?;
        Ok(stock)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// The paired world, nothing of it running. The last one that was lent is gone.
    ///
    /// # Errors
    /// The machine.
    pub fn system(&self, setup: Setup) -> Outcome<System> {
        let live = self.path(LIVE);
        std::fs::remove_dir_all(&live).map_err(Trouble::machine("removing the last world"))?;
        copy(&self.path(KEPT), &live)?;
        let system = System {
            root: live,
            directory: None,
            board: Arc::new(Board::default()),
            setup,
            address: self.address.clone(),
            invitation: self.invitation.clone(),
            invitations: BTreeSet::new(),
            running: BTreeMap::new(),
            planted: VecDeque::new(),
            deaths: 0,
            fault: None,
            deleted: BTreeSet::new(),
            phone: FIRST_PHONE,
            removed: BTreeSet::new(),
            seen: Vec::new(),
            tracing: Tracing::Off,
            last_look: String::new(),
            pairing_port: self.pairing_port,
            codes: self.codes.clone(),
            answers: BTreeMap::new(),
            storage_keys: BTreeSet::new(),
        };
        system.write_hub_config()?;
        Ok(system)
    }

    /// Keeps the world that was lent last under a name, for whoever looks into a failure. Only with
    /// `SECLUSO_KEEP`.
    pub fn keep(&self, name: &str) {
        if std::env::var_os("SECLUSO_KEEP").is_some() {
            let place = self.path(name);
            match copy(&self.path(LIVE), &place) {
                Ok(()) => eprintln!("kept: {}", place.display()),
                Err(trouble) => eprintln!("not kept: {trouble}"),
            }
        }
    }
}

/// Has the phone say its heartbeat, and a hub that has no camera answer it.
fn hear_the_phone(system: &mut System) -> Outcome<()> {
    system.write_hub_config_with("")?;
    system.start_hub()?;
    let synced = system.ask_app(&["sync", "--json"])?;
    let answered = |line: &Value| line.get("event") == Some(&json!("heartbeat_answered"));
    if !synced.lines.iter().any(answered) {
        let lines = &synced.lines;
        return Err(Trouble::Broken(format!(
            "no heartbeat was answered: {lines:?}"
        )));
    }
    system.stop(Role::Hub)?;
    system.write_hub_config()
}

/// Copies a directory with everything in it; modes and holes stay.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .args([from, to])
        .status()
        .map_err(Trouble::machine("cp"))?;
    if status.success() {
        return Ok(());
    }
    Err(Trouble::Broken(format!(
        "copying {} failed: {status}",
        from.display()
    )))
}
