//! The state directory: whose it is, who may read it, and how the journal in it is opened.
//!
//! It must never tighten or fill a directory that holds somebody else's files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::vault::file::FileVault;
use journal::{Journal, JournalError, Role};
use wal::disk::RealDisk;
use wal::store::RocksStore;
use wal::{OsDice, WalError};

use crate::app::Creation;
use crate::engine::Opener;
use crate::error::AppError;

/// Name of the vault file.
const VAULT: &str = "vault";
/// Name of the view's directory.
const VIEW: &str = "view";
/// What only a journal has in its directory.
const MARKS: [&str; 2] = ["lock", "log"];
/// Everybody but the owner.
const OTHERS: u32 = 0o077;

/// Checks that `dir` can be ours, and that nobody else may look into it.
pub(crate) fn prepare(dir: &Path, creation: Creation) -> Result<(), AppError> {
    let refuse = |reason: String| AppError::Directory {
        path: dir.display().to_string(),
        reason,
    };
    let Ok(metadata) = std::fs::metadata(dir) else {
        return match creation {
            // The disk makes it, with the right mode, and syncs its parent.
            Creation::IfMissing => Ok(()),
            Creation::Never => Err(AppError::NotPaired),
        };
    };
    if !metadata.is_dir() {
        return Err(refuse("it is not a directory".into()));
    }
    let mut names = std::fs::read_dir(dir).map_err(|error| refuse(error.to_string()))?;
    let empty = names.next().is_none();
    let ours = MARKS.iter().any(|mark| dir.join(mark).exists());
    if empty && creation == Creation::Never {
        return Err(AppError::NotPaired);
    }
    if !empty && !ours {
        return Err(refuse(
            "it holds other files; give a new or empty directory".into(),
        ));
    }
    if metadata.permissions().mode() & OTHERS != 0 {
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(dir, private).map_err(|error| {
            refuse(format!(
                "others may read it, and that could not be changed ({error})"
            ))
        })?;
    }
    Ok(())
}

/// Opens the journal in `dir`, as often as asked.
pub(crate) fn opener(dir: PathBuf) -> Opener {
    Box::new(move || {
        let disk = RealDisk::new(&dir).map_err(|source| {
            JournalError::Wal(WalError::Io {
                operation: "the state directory",
                source,
            })
        })?;
        let disk = Arc::new(disk);
        let store = Box::new(RocksStore::new(dir.join(VIEW)));
        let vault = Box::new(FileVault::new(
            Arc::clone(&disk) as Arc<dyn wal::Disk>,
            VAULT,
        ));
        let (journal, report) = Journal::open(
            Role::App,
            disk,
            store,
            vault,
            Box::new(OsDice),
            wal::Options::default(),
        )?;
        tracing::debug!(?report, "the journal is open");
        Ok(journal)
    })
}
