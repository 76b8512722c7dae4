//! `reset`: after it, nothing that opens anything is left in the state directory.
//!
//! The vault goes first, overwritten and synced in place: without its keys the rest is noise, even
//! if the power fails before the rest is removed. It must never run beside a hub.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde_json::json;
use wal::Disk as _;
use wal::disk::RealDisk;

use crate::config::Config;
use crate::control::SOCKET_NAME;
use crate::exit::{Code, Failure};
use crate::output::Format;
use crate::state::{VAULT_NAME, journal_dir};

/// The engine's lock file (journal/FORMAT.md).
const LOCK_NAME: &str = "lock";

/// Whether the owner said yes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consent {
    /// `--yes`.
    Given,
    /// Nothing: say what would be done.
    Missing,
}

/// Erases the state.
///
/// # Errors
/// [`Code::Locked`] beside a running hub, [`Code::Usage`] without consent.
pub fn run(config: &Config, consent: Consent, format: Format) -> Result<(), Failure> {
    let dir = journal_dir(config);
    let shown = dir.display();
    if !dir.exists() {
        format.line(
            &json!({"event": "reset", "removed": false}),
            &format!("nothing to erase: {shown} does not exist"),
        );
        return Ok(());
    }
    if consent == Consent::Missing {
        let what = format!(
            "this erases all keys and stored video in {shown}; phones must pair again. Add --yes to do it"
        );
        return Err(Failure::new(Code::Usage, what));
    }
    let failed = |what: &str, error: std::io::Error| {
        let code = Code::of_path(&error);
        let way_out = match code {
            Code::Usage => "correct its path or its permissions, then reset again",
            Code::Space => "free some space, then reset again",
            _ => "check the disk, then reset again",
        };
        Failure::new(
            code,
            format!("{what} in {shown} failed: {error}; {way_out}"),
        )
    };
    let disk = RealDisk::new(&dir).map_err(|error| failed("opening", error))?;
    let lock = disk.lock(LOCK_NAME).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Failure::new(
            Code::Locked,
            format!("a hub is running on {shown}; stop it first, then reset"),
        ),
        _ => failed("locking", error),
    })?;
    let erased =
        overwrite(&dir.join(VAULT_NAME)).map_err(|error| failed("overwriting the vault", error))?;
    fs::remove_dir_all(&dir).map_err(|error| failed("removing", error))?;
    let _none = fs::remove_file(config.state_dir.join(SOCKET_NAME));
    File::open(&config.state_dir)
        .and_then(|parent| parent.sync_all())
        .map_err(|error| failed("syncing", error))?;
    drop(lock);
    let text =
        format!("overwrote {erased} bytes of keys and removed {shown}. Phones must pair again");
    format.line(
        &json!({"event": "reset", "removed": true, "key_bytes_overwritten": erased}),
        &text,
    );
    Ok(())
}

/// Overwrites a file in place, twice, each time synced. Returns its length; 0 if there is none.
fn overwrite(path: &Path) -> std::io::Result<u64> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    for pattern in [0xff, 0x00] {
        file.seek(SeekFrom::Start(0))?;
        let block = [pattern; 4096];
        let mut left = length;
        while left > 0 {
            let part = usize::try_from(left.min(4096)).unwrap_or(4096);
            file.write_all(block.get(..part).unwrap_or(&block))?;
            left -= part as u64;
        }
        file.sync_all()?;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        let relay = format!("127.0.0.1:1/{}", wire::RelayId([7; 32]).to_text());
        Config::parse(
            &format!("state_dir = \"state\"\nrelay = \"{relay}\"\n"),
            "hub.toml",
            dir,
        )
        .unwrap()
    }

    #[test]
    fn it_asks_refuses_beside_a_hub_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        run(&config, Consent::Given, Format::Json).unwrap();
        let journal = journal_dir(&config);
        fs::create_dir_all(&journal).unwrap();
        fs::write(journal.join(VAULT_NAME), vec![7; 10_000]).unwrap();
        assert_eq!(
            run(&config, Consent::Missing, Format::Json)
                .unwrap_err()
                .code,
            Code::Usage
        );
        let disk = RealDisk::new(&journal).unwrap();
        let lock = disk.lock(LOCK_NAME).unwrap();
        assert_eq!(
            run(&config, Consent::Given, Format::Json).unwrap_err().code,
            Code::Locked
        );
        assert!(journal.join(VAULT_NAME).exists());
        drop(lock);
        run(&config, Consent::Given, Format::Json).unwrap();
        assert!(!journal.exists());
    }

    #[test]
    fn the_vault_is_overwritten_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        fs::write(&path, vec![7; 5000]).unwrap();
        assert_eq!(overwrite(&path).unwrap(), 5000);
        assert_eq!(fs::read(&path).unwrap(), vec![0; 5000]);
    }
}
