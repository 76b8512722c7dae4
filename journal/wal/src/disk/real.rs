//! The real disk below one root directory: files 0600, directories 0700.
//!
//! It never follows a path out of its root and never hides an error of a sync.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::sync_thread::SyncThread;
use super::{Disk, DiskFile, LockGuard, OpenMode, PendingSync};

/// Files below a root directory of the operating system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: PathBuf,
    syncs: Arc<SyncThread>,
}

impl RealDisk {
    /// Takes `root` as the root, making it if needed: see [`make_dir`].
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        make_dir(&root)?;
        Ok(RealDisk {
            root,
            syncs: Arc::default(),
        })
    }

    fn path(&self, relative: &str) -> io::Result<PathBuf> {
        let relative = Path::new(relative);
        if relative
            .components()
            .any(|part| !matches!(part, Component::Normal(_)))
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(self.root.join(relative))
    }
}

/// Makes a directory, with whatever is missing above it (0700), and sees to it that its own name, and
/// that of each directory above it, survives a power cut: all of them are synced at each call, because
/// the process that made them may have died before it could.
///
/// # Errors
/// What the system says. Of what was there before the call, only the directory right above `dir` must be
/// synced, unless this user may not even read it (then somebody else made `dir`), or it lies on a file
/// system that cannot sync directories or take new names: then no name can be lost there.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    make_dir_with(dir, &mut |dir| File::open(dir)?.sync_all())
}

fn make_dir_with(dir: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let dir = std::path::absolute(dir)?;
    let made = dir.ancestors().take_while(|above| !above.is_dir()).count();
    if made > 0 {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    }
    // ORDER: from the top, so that no name is durable below one that is not. `skip(1)`: the entries
    // of the directory itself are its owner's to sync.
    let above: Vec<&Path> = dir.ancestors().skip(1).collect();
    for (distance, parent) in above.iter().enumerate().rev() {
        match sync(parent) {
            Err(error) if distance < made => return Err(error),
            Err(error) if distance == 0 && !owes_nothing(error.kind()) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a directory whose sync ends so owes its names to somebody else.
fn owes_nothing(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// The kernel's name for this boot, made anew at each start of the machine (`random(4)`): the first 16
/// hexadecimal digits of it.
fn boot_of(text: &str) -> Option<u64> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(digits.get(..16)?, 16).ok()
}

impl Disk for RealDisk {
    fn boot(&self) -> u64 {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        text.ok().and_then(|text| boot_of(&text)).unwrap_or(0)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(dir)?)? {
            // A name that is not UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        match mode {
            OpenMode::Existing => {}
            OpenMode::Create => {
                options.create(true);
            }
            OpenMode::CreateNew => {
                options.create_new(true);
            }
        }
        Ok(Arc::new(RealFile {
            file: Arc::new(options.open(self.path(path)?)?),
            syncs: Arc::clone(&self.syncs),
        }))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(path)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from)?, self.path(to)?)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir)?)?.sync_all()
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.path(path)?.try_exists()
    }

    fn available_bytes(&self) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(&self.root)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn LockGuard>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path(path)?)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The lock lives as long as the open file; the kernel lets go when the process dies.
struct RealLock {
    file: File,
}

impl LockGuard for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        // A program that another thread is just starting shares the open file until its exec, and closing ours would
        // leave the lock with it for that long: who opens the directory again at once would be refused.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "a lock could not be given back; it goes when the file is closed");
        }
    }
}

struct RealFile {
    file: Arc<File>,
    syncs: Arc<SyncThread>,
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn start_write(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        self.syncs.start(Arc::clone(&self.file), offset, bytes)
    }

    fn forget_cache(&self) {
        // Losing a hint loses speed and nothing else.
        let _ = rustix::fs::fadvise(&*self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_lock_that_is_given_back_is_free_even_while_another_holds_its_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let file = File::create(dir.path().join("lock")).unwrap();
        file.try_lock().unwrap();
        // As a program does that a thread is just starting.
        let shared = file.try_clone().unwrap();
        assert!(disk.lock("lock").is_err());
        drop(RealLock { file });
        assert!(disk.lock("lock").is_ok());
        drop(shared);
    }

    #[test]
    fn files_are_private_and_paths_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path().join("state")).unwrap();
        disk.create_dir("log").unwrap();
        disk.create_dir("log").unwrap();
        let file = disk.open("log/a", OpenMode::CreateNew).unwrap();
        assert!(disk.open("log/a", OpenMode::CreateNew).is_err());
        file.write_at(4096, b"x").unwrap();
        file.sync_data().unwrap();
        disk.sync_dir("log").unwrap();
        disk.sync_dir("").unwrap();
        assert_eq!(file.len().unwrap(), 4097);
        let mut out = [9u8; 2];
        assert_eq!(file.read_at(4096, &mut out).unwrap(), 1);
        let mode = |p: &str| {
            std::fs::metadata(dir.path().join(p))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode("state"), mode("state/log"), mode("state/log/a")),
            (0o700, 0o700, 0o600)
        );
        for outside in ["../x", "/etc/passwd", "log/../../x"] {
            assert!(disk.open(outside, OpenMode::Existing).is_err());
        }
        assert!(disk.available_bytes().unwrap() > 0);
    }

    #[test]
    fn the_names_of_all_directories_above_are_synced_at_each_start() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b/c");
        let synced = |refuse: Option<(&Path, io::ErrorKind)>| {
            let mut synced = Vec::new();
            let made = make_dir_with(&dir, &mut |dir| {
                synced.push(dir.to_owned());
                match refuse {
                    Some((refused, kind)) if refused == dir => Err(kind.into()),
                    _ => Ok(()),
                }
            });
            made.map(|()| synced)
        };
        let all: Vec<PathBuf> = {
            let above: Vec<_> = dir.ancestors().skip(1).map(Path::to_owned).collect();
            above.into_iter().rev().collect()
        };
        // What is made now must be durable; whoever dies before that leaves it to the next start.
        let unreadable = io::ErrorKind::PermissionDenied;
        let refused = synced(Some((place.path(), unreadable)));
        assert!(refused.is_err(), "the parent of what was made");
        assert!(dir.is_dir());
        assert_eq!(synced(None).unwrap(), all);
        assert!(all.contains(&place.path().to_owned()));
        let parent = place.path().join("a/b");
        let fails = io::ErrorKind::Other;
        assert_eq!(synced(Some((Path::new("/"), fails))).unwrap(), all);
        assert_eq!(synced(Some((&parent, unreadable))).unwrap(), all);
        assert!(synced(Some((&parent, fails))).is_err());
        // A read-only image above the mount point of the state: its names cannot be lost.
        for still in [
            io::ErrorKind::InvalidInput,
            io::ErrorKind::Unsupported,
            io::ErrorKind::ReadOnlyFilesystem,
        ] {
            assert_eq!(synced(Some((&parent, still))).unwrap(), all);
        }
        let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_lock_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let guard = disk.lock("lock").unwrap();
        let refused = disk.lock("lock").err().map(|e| e.kind());
        assert_eq!(refused, Some(io::ErrorKind::WouldBlock));
        drop(guard);
        disk.lock("lock").unwrap();
    }
}
