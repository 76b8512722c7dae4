//! How a process dies in the middle of a sync: what of that the next process finds, and a thief who comes in between.
//!
//! A power cut may take anything that was not synced yet, and leave what was written behind it. The header of the first
//! group of the batch is spoilt here, and all else of it is whole: recovery ends the log before it, and the rest is there
//! for who reads the files. This room must never spoil what anybody was told of, nor what a file that was begun behind it
//! vouches for.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use crashtest::raw;
use wal::SeededDice;
use wal::disk::RealDisk;

use super::Outcome;

/// How long the sync of a few transactions may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Where the checksum of a group's header lies in it (`journal/FORMAT.md`), and what stands there afterwards.
const CHECKSUM_AT: u64 = 76;
const GARBAGE: [u8; 4] = [0x5a; 4];

/// What was under way when a process died.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dying {
    /// Nothing.
    AtRest,
    /// A sync, and nobody knows how far it was.
    InASync,
    /// A sync that was over, and nobody had heard of it.
    Untold,
    /// A sync, and the power went.
    Torn,
}

impl Dying {
    /// As dice fall.
    pub(super) fn any(dice: &mut SeededDice) -> Self {
        match dice.below(4) {
            0 => Self::AtRest,
            1 => Self::InASync,
            2 => Self::Untold,
            _ => Self::Torn,
        }
    }

    /// Whether it is waited for what was under way.
    pub(super) fn is_written(self) -> bool {
        matches!(self, Self::Untold | Self::Torn)
    }
}

/// The newest transaction in the log files below `dir`; 0 if there is none.
pub(super) fn newest(dir: &Path) -> Outcome<u64> {
    let groups = raw::groups(&RealDisk::new(dir)?)?;
    Ok(groups.iter().map(|group| group.lsn).max().unwrap_or(0))
}

/// Spoils the first group behind this transaction in the log files below `dir`. Not if the batch goes over two files: the
/// second is only begun when the first is synced.
pub(super) fn tear(dir: &Path, behind: u64) -> Outcome<()> {
    let mut groups = raw::groups(&RealDisk::new(dir)?)?;
    groups.retain(|group| group.lsn > behind);
    let Some(first) = groups.iter().min_by_key(|group| group.lsn) else {
        return Ok(());
    };
    if groups.iter().all(|group| group.path == first.path) {
        let file = OpenOptions::new().write(true).open(dir.join(&first.path))?;
        file.write_all_at(&GARBAGE, first.offset + CHECKSUM_AT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use journal::vault::file::FileVault;
    use journal::{Journal, Role};
    use wal::disk::Disk;
    use wal::store::RocksStore;

    use super::super::ends::copy_files;
    use super::*;

    fn open(dir: &Path, seed: u64) -> Journal {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir).unwrap());
        let store = Box::new(RocksStore::new(dir.join("rocksdb")));
        let vault = Box::new(FileVault::new(disk.clone(), "vault"));
        let dice = Box::new(SeededDice(seed));
        let options = crate::node::options();
        let opened = Journal::open(Role::Hub, disk, store, vault, dice, options);
        opened.unwrap().0
    }

    #[test]
    fn a_start_ends_the_log_before_what_was_torn_and_goes_on_from_there() {
        let place = tempfile::tempdir().unwrap();
        let (dir, copy) = (place.path().join("end"), place.path().join("copy"));
        let mut journal = open(&dir, 1);
        drop(journal.keep_pairing_port(1).unwrap());
        let first = newest(&dir).unwrap();
        assert!(first > 0);
        drop(journal.keep_pairing_port(2).unwrap());
        assert!(newest(&dir).unwrap() > first);
        // The view of this moment does not know the second yet, and nothing in the log says that it was synced.
        copy_files(&dir, &copy).unwrap();
        drop(journal);
        tear(&copy, first).unwrap();
        assert_eq!(newest(&copy).unwrap(), first);
        assert_eq!(open(&copy, 2).pairing_port().unwrap(), Some(1));
        // Of nothing there is nothing to take.
        tear(&dir, newest(&dir).unwrap()).unwrap();
        assert_eq!(open(&dir, 3).pairing_port().unwrap(), Some(2));
    }
}
