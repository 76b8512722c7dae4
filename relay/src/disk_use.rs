//! How much disk a directory really takes.
//!
//! For `status` and `doctor`: what quotas count is a rule, this is the measure. This room must
//! never follow a link and never change anything.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Entries that are looked at; a data directory has some hundred.
const ENTRIES_MAX: usize = 1_000_000;
/// What `st_blocks` counts in, whatever the file system's own blocks are.
const BLOCK_BYTES: u64 = 512;

/// Bytes that the files under `dir` take on disk. What disappears meanwhile is not counted: the
/// relay may be running.
///
/// # Errors
/// `dir` itself cannot be read.
pub(crate) fn allocated_bytes(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = std::fs::symlink_metadata(dir)?.blocks() * BLOCK_BYTES;
    let mut to_read: Vec<PathBuf> = vec![dir.to_owned()];
    let mut seen = 0;
    while let Some(dir) = to_read.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return Err(std::io::Error::other("too many files to count"));
            }
            let Ok(metadata) = std::fs::symlink_metadata(entry.path()) else {
                continue;
            };
            bytes += metadata.blocks() * BLOCK_BYTES;
            if metadata.is_dir() {
                to_read.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_counted_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let before = allocated_bytes(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let path = dir.path().join("log/1");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        let grown = allocated_bytes(dir.path()).unwrap() - before;
        assert!((100_000..400_000).contains(&grown), "{grown}");
        assert!(allocated_bytes(&dir.path().join("gone")).is_err());
    }
}
