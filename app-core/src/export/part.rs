//! What is written of an export before it is whole: a file without a name.
//!
//! A clip in the clear must not outlive a process that was killed, because no deletion of the clip knows of it. So
//! the bytes go into a file that has no name (`O_TMPFILE`) and is gone with the process, and get one when they are
//! whole. Where the file system knows no such file it is a hidden one beside the target, always the same: the next export to
//! that target takes it over, emptied, and removes it. This room must never touch what another export is writing.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::io_error;
use crate::error::AppError;

/// Times that a hidden file is taken that went away meanwhile, because another export had just ended.
const ATTEMPTS_MAX: u32 = 8;

/// A file that is gone unless it takes the target's place.
pub(super) struct Part {
    file: File,
    /// The hidden name beside the target.
    path: PathBuf,
    /// Whether the file has that name, which must go.
    is_named: bool,
}

impl Part {
    /// An empty part of `target`, which must name a file.
    pub(super) fn create(target: &Path) -> Result<Self, AppError> {
        let path = hidden(target)?;
        match unnamed(parent(target)) {
            Ok(file) => {
                // What a kill may have left where, or when, there was a name.
                if std::fs::symlink_metadata(&path).is_ok() {
                    drop(claim(&path));
                }
                Ok(Self {
                    file,
                    path,
                    is_named: false,
                })
            }
            // Whatever is in the way of a named one as well is said by that.
            Err(error) => {
                tracing::debug!(%error, "there are no files without a name here");
                claim(&path).map_err(|error| io_error(target, &error))
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// The whole file takes the target's place, durably.
    pub(super) fn keep(mut self, target: &Path) -> Result<(), AppError> {
        let kept = self.try_keep(target);
        kept.map_err(|error| io_error(target, &error))
    }

    fn try_keep(&mut self, target: &Path) -> io::Result<()> {
        // ORDER: content, name, directory. A crash leaves the old file or the whole new one.
        self.file.sync_all()?;
        if !self.is_named {
            match name(&self.file, target) {
                // It has to take the place of what is there, and only a name can.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    name(&self.file, &self.path)?;
                    self.is_named = true;
                }
                named => named?,
            }
        }
        if self.is_named {
            std::fs::rename(&self.path, target)?;
            self.is_named = false;
        }
        File::open(parent(target))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.is_named
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "a partly written export could not be removed");
        }
    }
}

/// The hidden name beside a target.
fn hidden(target: &Path) -> Result<PathBuf, AppError> {
    let refuse = |reason: &str| AppError::Target {
        path: target.display().to_string(),
        reason: reason.to_owned(),
    };
    let name = target
        .file_name()
        .ok_or_else(|| refuse("it names no file"))?;
    if target.is_dir() {
        return Err(refuse("it is a directory"));
    }
    let mut part = std::ffi::OsString::from(".");
    part.push(name);
    part.push(".part");
    Ok(target.with_file_name(part))
}

fn parent(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The hidden file, new or left behind, empty and nobody else's.
fn claim(path: &Path) -> io::Result<Part> {
    for _ in 0..ATTEMPTS_MAX {
        let mut options = OpenOptions::new();
        // Not emptied yet: it may be another export's.
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // INVARIANT: who holds the lock on the file of that name is the only one that writes, renames or removes it.
        // One that was renamed before the lock was had is a finished export.
        let (ours, there) = (file.metadata()?, std::fs::symlink_metadata(path));
        let is_there =
            there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
        if is_there {
            let part = Part {
                file,
                path: path.to_owned(),
                is_named: true,
            };
            part.file.set_len(0)?;
            return Ok(part);
        }
    }
    Err(ErrorKind::ResourceBusy.into())
}

/// A file without a name in this directory, which can be given one.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn unnamed(dir: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags};

    // A name is given by way of it.
    std::fs::metadata(DESCRIPTORS)?;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, dir, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(file.into())
}

/// Gives a file without a name one that nobody has.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn name(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{AtFlags, CWD};

    let this = format!("{DESCRIPTORS}/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, this.as_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

/// The files that this process has open.
#[cfg(any(target_os = "linux", target_os = "android"))]
const DESCRIPTORS: &str = "/proc/self/fd";

/// There is no such file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unnamed(_dir: &Path) -> io::Result<File> {
    Err(ErrorKind::Unsupported.into())
}

/// Never asked for.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn name(_file: &File, _path: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
