//! What the kernel says about a process: bytes written, memory used.
//!
//! Reads `/proc` only. On a system without it every answer is an error, never a guess.

use std::path::Path;

use crate::Outcome;

/// Bytes that this process caused to be written to the disk so far (`write_bytes`, proc(5)).
pub(crate) fn own_write_bytes() -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    field(&text, "write_bytes:").ok_or_else(|| "no write_bytes in /proc/self/io".into())
}

/// A process's memory in bytes: the most that was ever resident, and what is resident now.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    pub(crate) peak: u64,
    pub(crate) now: u64,
    /// The part of `now` that is the process's own, not pages of its program file.
    pub(crate) anonymous: u64,
}

/// Memory of a process by its id, or of this one by "self".
pub(crate) fn memory(process: &str) -> Outcome<Memory> {
    let text = std::fs::read_to_string(Path::new("/proc").join(process).join("status"))?;
    let kib =
        |name| field(&text, name).ok_or_else(|| format!("no {name} in /proc/{process}/status"));
    Ok(Memory {
        peak: kib("VmHWM:")? * 1024,
        now: kib("VmRSS:")? * 1024,
        anonymous: kib("RssAnon:")? * 1024,
    })
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_name_at_the_start_of_a_line() {
        let text = "rchar: 1\ncancelled_write_bytes: 5\nwrite_bytes: 42\nVmHWM:\t  7 kB\n";
        assert_eq!(field(text, "write_bytes:"), Some(42));
        assert_eq!(field(text, "VmHWM:"), Some(7));
        assert_eq!(field(text, "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let memory = memory("self").unwrap();
        assert!(memory.peak >= memory.now && memory.now > 0);
    }
}
