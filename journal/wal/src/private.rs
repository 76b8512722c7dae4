//! What keeps a program's keys its own: no core dumps, no memory that others may look into, no files
//! that others may open.
//!
//! It is here because all three programs store in this engine. It must never be called by a library on
//! its own: it changes the whole process.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, set_dumpable_behavior, setrlimit, umask,
};

/// The bits of a mode that are for anybody but the owner.
pub const OTHERS: u32 = 0o077;
/// More files and directories than this are no state of ours.
const FILES_MAX: usize = 100_000;

/// Keeps this process to itself, before it reads or makes a key:
///
/// - what it makes from here on is for its user alone (`umask(2)`), also what libraries make;
/// - a crash leaves no dump (`RLIMIT_CORE`);
/// - nor one that is piped to a collector, for which that limit does not count, and no other program of
///   this user may read its memory or trace it (`PR_SET_DUMPABLE`).
///
/// # Errors
/// What the system says. All of it was tried all the same; whoever calls says so and goes on.
pub fn keep_process() -> io::Result<()> {
    let _before = umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let no_dump = setrlimit(Resource::Core, none);
    let not_read = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    no_dump.and(not_read).map_err(io::Error::from)
}

/// Whether a file belongs to this process's user, or to root, whom nothing is kept from: from nobody else it
/// takes a secret or an order.
pub fn is_ours(file: &Metadata) -> bool {
    is_of(file.uid(), user())
}

/// The user in whose name this process makes files.
pub fn user() -> u32 {
    geteuid().as_raw()
}

fn is_of(owner: u32, user: u32) -> bool {
    owner == user || owner == 0
}

/// The first file or directory at or below `root` into which others may look, with its mode; `passed` is
/// not looked at. Links are not followed.
///
/// # Errors
/// What the system says; what goes while it is looked at is no error.
pub fn first_shared(root: &Path, passed: Option<&Path>) -> io::Result<Option<(PathBuf, u32)>> {
    let mut waiting = vec![root.to_path_buf()];
    for _file in 0..FILES_MAX {
        let Some(path) = waiting.pop() else {
            return Ok(None);
        };
        if Some(path.as_path()) == passed {
            continue;
        }
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound && path != root;
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if gone(&error) => continue,
            Err(error) => return Err(error),
        };
        // A link has no mode of its own.
        if metadata.is_symlink() {
            continue;
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Ok(Some((path, mode)));
        }
        if metadata.is_dir() {
            match std::fs::read_dir(&path) {
                Ok(entries) => {
                    for entry in entries {
                        waiting.push(entry?.path());
                    }
                }
                Err(error) if gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::Error::other(
        "it holds more files than a state directory does",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_or_roots_is_ours() {
        for (owner, is_ours) in [(1000, true), (0, true), (1001, false)] {
            assert_eq!(is_of(owner, 1000), is_ours, "{owner}");
        }
        assert!(!is_of(1000, 0), "root takes nothing from others");
        let place = tempfile::tempdir().unwrap();
        assert!(is_ours(&std::fs::metadata(place.path()).unwrap()));
    }

    #[test]
    fn what_others_may_read_is_found_wherever_it_lies() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("state");
        let deep = root.join("view/deep");
        std::fs::create_dir_all(&deep).unwrap();
        let file = deep.join("000001.sst");
        std::fs::write(&file, b"sealed").unwrap();
        let set = |path: &Path, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).unwrap();
        };
        for dir in [root.clone(), root.join("view"), deep.clone()] {
            set(&dir, 0o700);
        }
        set(&file, 0o600);
        std::os::unix::fs::symlink("/", deep.join("link")).unwrap();
        assert_eq!(first_shared(&root, None).unwrap(), None);
        for (path, good, bad) in [(&file, 0o600, 0o640), (&deep, 0o700, 0o701)] {
            set(path, bad);
            assert_eq!(
                first_shared(&root, None).unwrap(),
                Some((path.clone(), bad))
            );
            assert_eq!(first_shared(&root, Some(path.as_path())).unwrap(), None);
            set(path, good);
        }
        assert_eq!(first_shared(&root, None).unwrap(), None);
        assert!(first_shared(&root.join("nothing"), None).is_err());
    }
}
