//! Which file descriptors are ours: one atomic word for each, so that all others cost one load.

use std::sync::atomic::{AtomicU64, Ordering};

/// Descriptors above this number are not followed; opening one beneath the directory aborts.
pub(crate) const DESCRIPTORS_MAX: usize = 65_536;

/// Not ours.
const NONE: u64 = 0;
/// The file of marks. No file system gives this inode number.
const MARKS: u64 = u64::MAX;
/// Set beside the inode number when each write is a sync (`O_SYNC`, `O_DSYNC`).
const SYNCED: u64 = 1 << 63;

static DESCRIPTORS: [AtomicU64; DESCRIPTORS_MAX] =
    [const { AtomicU64::new(NONE) }; DESCRIPTORS_MAX];

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file or directory beneath the recorded one.
    File { inode: u64, synced: bool },
    /// The file to which the program writes its marks.
    Marks,
}

fn slot(fd: i32) -> Option<&'static AtomicU64> {
    DESCRIPTORS.get(usize::try_from(fd).ok()?)
}

/// What `fd` stands for, if it is ours.
pub(crate) fn get(fd: i32) -> Option<Target> {
    match slot(fd)?.load(Ordering::Acquire) {
        NONE => None,
        MARKS => Some(Target::Marks),
        word => Some(Target::File {
            inode: word & !SYNCED,
            synced: word & SYNCED != 0,
        }),
    }
}

/// Follows `fd` from now on. False if its number is too high.
pub(crate) fn set(fd: i32, target: Target) -> bool {
    let word = match target {
        Target::Marks => MARKS,
        Target::File { inode, synced } => inode | if synced { SYNCED } else { 0 },
    };
    slot(fd)
        .map(|slot| slot.store(word, Ordering::Release))
        .is_some()
}

/// Follows `fd` no more.
pub(crate) fn clear(fd: i32) {
    if let Some(slot) = slot(fd) {
        slot.store(NONE, Ordering::Release);
    }
}

/// `to` stands for what `from` stands for.
pub(crate) fn copy(from: i32, to: i32) {
    match get(from) {
        Some(target) => {
            set(to, target);
        }
        None => clear(to),
    }
}
