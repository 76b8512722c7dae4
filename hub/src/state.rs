//! The state directory: how its journal is opened, and what of the system matters to it.
//!
//! ```text
//! state_dir/          0700
//!   journal/          the log, its view, the vault: see journal/FORMAT.md
//!   control.sock      0600, while a hub runs
//!   reset             whoever makes this file asks for a reset: see `crate::reset`
//! ```

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::ids::Channel;
use journal::vault::file::FileVault;
use journal::{Journal, Role};
use wal::disk::{RealDisk, make_dir};
use wal::store::RocksStore;
use wal::{Disk, Options, OsDice};

use crate::config::Config;
use crate::core::Opener;
use crate::exit::{Code, Failure};

/// The vault's file inside the journal's directory.
pub const VAULT_NAME: &str = "vault";

/// Where the journal is.
pub fn journal_dir(config: &Config) -> PathBuf {
    config.state_dir.join("journal")
}

/// Makes the state directory, for the owner alone, and durably.
///
/// # Errors
/// [`Code::Usage`] if the path is wrong or others may read it, [`Code::Space`] or [`Code::Internal`] if the disk
/// does not let it be made.
pub fn prepare(state_dir: &Path) -> Result<(), Failure> {
    let shown = state_dir.display();
    make_dir(state_dir).map_err(|error| {
        let code = Code::of_path(&error);
        let what = match code {
            Code::Space => format!("the disk of {shown} is full; free some space"),
            Code::Usage => {
                format!("the state directory {shown} cannot be made ({error}); correct state_dir")
            }
            _ => format!("the state directory {shown} cannot be made ({error}); check the disk"),
        };
        Failure::new(code, what)
    })?;
    let mode = std::fs::metadata(state_dir).map(|meta| meta.permissions().mode() & 0o777);
    match mode {
        Ok(mode) if mode & 0o077 == 0 => Ok(()),
        Ok(mode) => Err(Failure::new(
            Code::Usage,
            format!(
                "others may enter the state directory {shown} (mode {mode:o}); run `chmod 700 {shown}`"
            ),
        )),
        Err(error) => Err(Failure::new(
            Code::of_path(&error),
            format!("the state directory {shown} cannot be read ({error})"),
        )),
    }
}

/// The directory, or the nearest one above it that exists.
pub(crate) fn existing(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"))
}

/// Refuses for anybody but the owner of the state directory; while there is none, of the directory that it
/// would be made in: what `user` makes there, the hub's own user may not open.
///
/// # Errors
/// [`Code::Usage`], with whose it is; [`Code::of_path`] if that cannot be asked.
pub(crate) fn refuse_others(state_dir: &Path, user: u32) -> Result<(), Failure> {
    let place = existing(state_dir);
    let shown = place.display();
    let found = std::fs::metadata(place).map_err(|error| {
        let what = format!("{shown} cannot be looked at ({error})");
        Failure::new(Code::of_path(&error), what)
    })?;
    match found.uid() {
        owner if owner == user => Ok(()),
        owner => Err(Failure::new(
            Code::Usage,
            format!(
                "{shown} belongs to user {owner}, and the hub could not open what user {user} makes there; do this as that user (`sudo -u '#{owner}'`), or make the state directory first"
            ),
        )),
    }
}

/// Opens the journal, as often as it is asked to.
///
/// # Errors
/// If the directory cannot be made.
pub fn opener(config: &Config) -> Result<Opener, Failure> {
    let root = journal_dir(config);
    let disk = RealDisk::new(&root).map_err(|error| {
        let shown = root.display();
        Failure::new(
            Code::of_path(&error),
            format!("the journal directory {shown} cannot be made ({error})"),
        )
    })?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let options = Options {
        log_file_bytes: config.disk.log_file_bytes,
        ..Options::default()
    };
    let is_shaped = config.traffic.is_some();
    Ok(Box::new(move || {
        let store = RocksStore::new(root.join("view"));
        let vault = FileVault::new(Arc::clone(&disk), VAULT_NAME);
        let opened = Journal::open(
            Role::Hub,
            Arc::clone(&disk),
            Box::new(store),
            Box::new(vault),
            Box::new(OsDice),
            options.clone(),
        );
        opened.map(|(mut journal, report)| {
            if is_shaped {
                journal.send_in_full_size(Channel::EventVideo);
            }
            (journal, report)
        })
    }))
}
