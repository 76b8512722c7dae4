//! The state directory: whose it is, who may read it, and how the journal in it is opened.
//!
//! It must never tighten or fill a directory that holds somebody else's files.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::vault::file::FileVault;
use journal::{Journal, JournalError, Role};
use wal::disk::{Cause, RealDisk};
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
    let metadata = match std::fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match creation {
                // The disk makes it, with the right mode, and syncs its parent.
                Creation::IfMissing => Ok(()),
                Creation::Never => Err(AppError::NotPaired),
            };
        }
        Err(error) => return Err(unusable(dir, "it cannot be looked at", &error)),
    };
    if !metadata.is_dir() {
        return Err(refuse("it is not a directory".into()));
    }
    let names = std::fs::read_dir(dir);
    let mut names = names.map_err(|error| unusable(dir, "it cannot be read", &error))?;
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
            let what = "others may read it, and that could not be changed";
            unusable(dir, what, &error)
        })?;
    }
    Ok(())
}

/// A path that is wrong is the owner's to correct; a disk that is full or fails is not.
fn unusable(dir: &Path, what: &str, error: &std::io::Error) -> AppError {
    let path = dir.display().to_string();
    match Cause::of(error) {
        Cause::Setup => AppError::Directory {
            path,
            reason: format!("{what} ({error}); correct the path, or its permissions"),
        },
        Cause::Space => AppError::Space(format!(
            "{path}: {what} ({error}); free some space, then start again"
        )),
        _ => AppError::Poisoned(format!("{path}: {what}: {error}")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_the_directory_has_the_kind_of_its_way_out() {
        use crate::error::ErrorKind;
        let table = [
            (13, ErrorKind::Usage, "permissions"),      // EACCES
            (20, ErrorKind::Usage, "correct the path"), // ENOTDIR
            (28, ErrorKind::Space, "free some space"),
            (5, ErrorKind::Poisoned, "check the disk"),
        ];
        for (number, kind, way_out) in table {
            let error = std::io::Error::from_raw_os_error(number);
            let error = unusable(Path::new("there"), "it cannot be read", &error);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(way_out), "{error}");
        }
    }

    #[test]
    fn a_path_through_a_file_is_wrong_and_no_missing_pairing() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, b"somebody's").unwrap();
        for creation in [Creation::IfMissing, Creation::Never] {
            let error = prepare(&file.join("app"), creation).unwrap_err();
            assert!(matches!(error, AppError::Directory { .. }), "{error}");
        }
        let missing = place.path().join("missing");
        assert_eq!(
            prepare(&missing, Creation::Never),
            Err(AppError::NotPaired),
            "nothing is wrong with that path"
        );
        assert_eq!(prepare(&missing, Creation::IfMissing), Ok(()));
    }
}
