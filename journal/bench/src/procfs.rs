//! What the kernel says about a process, and where a path lies.
//!
//! Reads `/proc` only. On a system without it every answer is an error, never a guess.

use std::path::Path;

use programs::kernel;

use crate::Outcome;

/// Bytes that this process caused to be written to the disk so far (`write_bytes`, proc(5)).
pub(crate) fn own_write_bytes() -> Outcome<u64> {
    Ok(kernel::write_bytes("self")?)
}

/// A process's memory in bytes, as a child process tells it.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    pub(crate) peak: u64,
    pub(crate) now: u64,
    /// The part of `now` that is the process's own, not pages of its program file.
    pub(crate) anonymous: u64,
}

/// Memory of a process by its id, or of this one by "self".
pub(crate) fn memory(process: &str) -> Outcome<Memory> {
    let kernel::Memory {
        peak,
        now,
        anonymous,
    } = kernel::memory(process)?;
    Ok(Memory {
        peak,
        now,
        anonymous,
    })
}

/// The file system type of a path, as the mount table names it.
pub(crate) fn file_system(path: &Path) -> Outcome<String> {
    let path = path.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        let mut words = line.split_whitespace().skip(1);
        let (Some(point), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        if path.starts_with(point) && point.len() >= best.0 {
            best = (point.len(), kind);
        }
    }
    Ok(best.1.to_owned())
}
