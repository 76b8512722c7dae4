//! Copies from within a step: of all files in the middle of each change of a vault.
//!
//! A vault is changed behind the log's sync, one image after the other. A thief may come between any two of these,
//! so a copy is made before each write into the vault's file: behind the log's sync and before the first image, and
//! behind the first image's sync and before the second. This room must never change what an operation does, or how
//! it ends: that a copy failed is said when somebody asks for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wal::disk::{Disk, DiskFile, DiskOver, FileOver, RealDisk};

use super::Outcome;
use super::ends::copy_files;

/// The vault's file.
pub(super) const VAULT: &str = "vault";

/// Copies that nobody has asked for yet. Clones share them.
#[derive(Clone)]
pub(super) struct Peep(Arc<Mutex<Made>>);

struct Made {
    /// Below which directory they are made, and what their names begin with.
    place: PathBuf,
    name: String,
    number: u64,
    copies: Vec<PathBuf>,
    failed: Option<String>,
}

impl Peep {
    /// None yet; they are made below `place`, under names that begin with `name`.
    pub(super) fn new(place: &Path, name: &str) -> Self {
        Self(Arc::new(Mutex::new(Made {
            place: place.to_owned(),
            name: name.to_owned(),
            number: 0,
            copies: Vec::new(),
            failed: None,
        })))
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy(&self, dir: &Path) {
        let mut made = self.made();
        made.number += 1;
        let name = format!("{}-within-{}", made.name, made.number);
        let to = made.place.join(name);
        match copy_files(dir, &to) {
            Ok(()) => made.copies.push(to),
            Err(error) => {
                let error = error.to_string();
                made.failed.get_or_insert(error);
            }
        }
    }

    /// What was copied since the last time; whoever asks removes it.
    pub(super) fn take(&self) -> Outcome<Vec<PathBuf>> {
        let mut made = self.made();
        match made.failed.take() {
            Some(failed) => Err(format!("no copy could be made within a step: {failed}").into()),
            None => Ok(std::mem::take(&mut made.copies)),
        }
    }

    /// The disk below `dir`, looked into by this one.
    pub(super) fn over(&self, dir: &Path) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(Peeped {
            disk: RealDisk::new(dir)?,
            dir: dir.to_owned(),
            peep: self.clone(),
        }))
    }
}

struct Peeped {
    disk: RealDisk,
    dir: PathBuf,
    peep: Peep,
}

impl DiskOver for Peeped {
    fn below(&self) -> &dyn Disk {
        &self.disk
    }

    fn opened(&self, path: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        if path != VAULT {
            return file;
        }
        Arc::new(PeepedVault {
            file,
            dir: self.dir.clone(),
            peep: self.peep.clone(),
        })
    }
}

struct PeepedVault {
    file: Arc<dyn DiskFile>,
    dir: PathBuf,
    peep: Peep,
}

impl FileOver for PeepedVault {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.peep.copy(&self.dir);
        self.file.write_at(offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use wal::disk::OpenMode;

    use super::*;

    #[test]
    fn a_copy_is_what_stood_there_before_each_write_of_the_vault() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("end");
        let peep = Peep::new(place.path(), "end");
        let disk = peep.over(&dir).unwrap();
        let other = disk.open("other", OpenMode::CreateNew).unwrap();
        other.write_at(0, b"log").unwrap();
        assert!(peep.take().unwrap().is_empty());
        let vault = disk.open(VAULT, OpenMode::CreateNew).unwrap();
        vault.write_at(0, b"first").unwrap();
        vault.write_at(0, b"later").unwrap();
        let copies = peep.take().unwrap();
        let read = |copy: &PathBuf| std::fs::read(copy.join(VAULT)).unwrap();
        let all: Vec<Vec<u8>> = copies.iter().map(read).collect();
        assert_eq!(all, [Vec::new(), b"first".to_vec()]);
        assert!(copies.iter().all(|copy| copy.join("other").exists()));
        assert!(peep.take().unwrap().is_empty());
    }
}
