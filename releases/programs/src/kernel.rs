//! What the kernel says about a process: processor time, bytes written, memory used.
//!
//! Reads `/proc` only. On a system without it every answer is a failure, never a guess.

use std::path::Path;
use std::time::Duration;

use crate::failure::{Because, Failure, Outcome};

/// Ticks a second of the times in `/proc/PID/stat` (`USER_HZ`): the kernel counts in its own, and shows these, on
/// every processor that the programs are built for.
const TICKS_PER_SECOND: u64 = 100;

/// A process's memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The most that was ever resident.
    pub peak: u64,
    /// What is resident now.
    pub now: u64,
    /// The part of `now` that is the process's own, not pages of its program file.
    pub anonymous: u64,
}

/// Memory of a process by its id, or of this one by "self".
///
/// # Errors
/// The process is gone, or `/proc` does not say.
pub fn memory(process: &str) -> Outcome<Memory> {
    let text = read(process, "status")?;
    memory_in(&text)
        .ok_or_else(|| Failure::found(format!("/proc/{process}/status says nothing of memory")))
}

/// Bytes that the kernel wrote to disks for a process by its id, or for this one by "self": `write_bytes` of proc(5).
/// What was written to files is counted when it becomes dirty, not when it reaches the disk.
///
/// # Errors
/// As [`memory`].
pub fn write_bytes(process: &str) -> Outcome<u64> {
    field(&read(process, "io")?, "write_bytes:")
        .ok_or_else(|| Failure::found(format!("no write_bytes in /proc/{process}/io")))
}

/// The time that all threads of a process have had on a processor, those that have ended included.
///
/// # Errors
/// As [`memory`].
pub fn cpu_time(process: &str) -> Outcome<Duration> {
    let text = read(process, "stat")?;
    cpu_time_in(&text)
        .ok_or_else(|| Failure::found(format!("/proc/{process}/stat is not as proc(5) says")))
}

fn read(process: &str, file: &str) -> Outcome<String> {
    let path = Path::new("/proc").join(process).join(file);
    std::fs::read_to_string(&path).because(&format!("cannot read {}", path.display()))
}

fn memory_in(status: &str) -> Option<Memory> {
    let bytes = |name| field(status, name)?.checked_mul(1024);
    Some(Memory {
        peak: bytes("VmHWM:")?,
        now: bytes("VmRSS:")?,
        anonymous: bytes("RssAnon:")?,
    })
}

fn cpu_time_in(stat: &str) -> Option<Duration> {
    // The second field is the program's name in brackets, which may hold spaces and brackets itself.
    let (_, behind) = stat.rsplit_once(')')?;
    // The third field is the first one behind it; user time is the 14th, system time the 15th.
    let mut fields = behind.split_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks = user.checked_add(system)?;
    Some(Duration::from_millis(
        ticks.checked_mul(1000 / TICKS_PER_SECOND)?,
    ))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_name_at_the_start_of_a_line() {
        let text = "rchar: 1\ncancelled_write_bytes: 5\nwrite_bytes: 42\n";
        assert_eq!(field(text, "write_bytes:"), Some(42));
        assert_eq!(field(text, "syscw:"), None);
        let status = "Name:\thub\nVmHWM:\t  70 kB\nVmRSS:\t  60 kB\nRssAnon:\t  50 kB\n";
        let memory = memory_in(status).unwrap();
        let kib = [memory.peak, memory.now, memory.anonymous].map(|bytes| bytes / 1024);
        assert_eq!(kib, [70, 60, 50]);
        assert_eq!(memory_in("VmHWM:\t70 kB\n"), None);
    }

    #[test]
    fn processor_time_is_read_behind_whatever_a_program_is_called() {
        let behind = "S 1 2 3 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 12345 1000 200";
        for name in ["hub", "a (b) c", ") S 1 2"] {
            let stat = format!("42 ({name}) {behind}\n");
            assert_eq!(cpu_time_in(&stat), Some(Duration::from_secs(3)), "{name}");
        }
        for cut in ["", "42 (hub", "42 (hub) S 1 2 3"] {
            assert_eq!(cpu_time_in(cut), None, "{cut}");
        }
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let memory = memory("self").unwrap();
        assert!(memory.peak >= memory.now && memory.now > 0);
        assert!(cpu_time("self").unwrap() < Duration::from_secs(24 * 60 * 60));
        assert!(write_bytes("self").is_ok());
        let gone = super::memory("0").unwrap_err().to_string();
        assert!(gone.contains("/proc/0/status"), "{gone}");
    }
}
