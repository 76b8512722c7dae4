//! Loop devices and mounts, and that none of them stays behind.
//!
//! A [`Mounted`] is taken down when it is dropped, whatever happened. This room must never take a
//! failure of the harness for one of the file system.
#![expect(
    clippy::disallowed_methods,
    reason = "A file system that is still in use for a moment is waited for, by the clock."
)]

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crashtest::trouble::{Outcome, Trouble};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

/// How often and how long a busy file system is waited for.
const BUSY_TRIES: u32 = 500;
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// What `mount` says when it was not the file system's fault.
const NOT_THE_FILE_SYSTEM: [&str; 3] = ["loop device", "mount point", "permission denied"];
/// `e2fsck`: errors were corrected, and perhaps the machine should be restarted.
const E2FSCK_CORRECTED: i32 = 3;

/// Something that is mounted.
#[derive(Debug)]
pub struct Mounted {
    place: PathBuf,
    here: bool,
}

/// Whether a file system could be mounted.
#[derive(Debug)]
pub enum Attempt {
    /// It could.
    Mounted(Mounted),
    /// The kernel refuses it, with these words of `mount`.
    Refused(String),
}

impl Mounted {
    /// Mounts the ext4 in a file by a loop device that goes when the mount goes, or that of a device.
    ///
    /// # Errors
    /// The harness: there is no loop device, for example.
    pub fn ext4(source: &Path, place: &Path) -> Outcome<Attempt> {
        std::fs::create_dir_all(place).map_err(Trouble::machine("a mount point"))?;
        let metadata = std::fs::metadata(source).map_err(Trouble::machine("a disk"))?;
        let options = if metadata.file_type().is_block_device() {
            "rw"
        } else {
            "loop"
        };
        let output = run("mount", |command| {
            command
                .args(["-t", "ext4", "-o", options])
                .arg(source)
                .arg(place)
        })?;
        if output.status.success() {
            return Ok(Attempt::Mounted(Self {
                place: place.to_owned(),
                here: true,
            }));
        }
        let said = said(&output);
        if NOT_THE_FILE_SYSTEM.iter().any(|words| said.contains(words)) {
            return Err(Trouble::Broken(format!("mount: {said}")));
        }
        Ok(Attempt::Refused(said))
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Takes it down, which writes out what is in memory.
    ///
    /// # Errors
    /// Somebody is still in it after seconds.
    pub fn unmount(mut self) -> Outcome<()> {
        self.here = false;
        let mut last = Ok(());
        for _ in 0..BUSY_TRIES {
            last = umount2(&self.place, MntFlags::empty());
            match last {
                Err(Errno::EBUSY) => std::thread::sleep(BUSY_PAUSE),
                _ => break,
            }
        }
        self.here = last.is_err();
        last.map_err(|error| {
            let what = format!("unmounting {}", self.place.display());
            Trouble::machine(what)(error.into())
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.here {
            // Something failed before. It goes when the last one leaves it, or with our namespace.
            let _ = umount2(&self.place, MntFlags::MNT_DETACH);
        }
    }
}

/// A loop device that stays when what is mounted on it goes, for its counters.
#[derive(Debug)]
pub struct Loop {
    device: PathBuf,
}

impl Loop {
    /// Attaches one to a file, past the page cache.
    ///
    /// # Errors
    /// The machine's; or it does not go past the page cache.
    pub fn attach(file: &Path) -> Outcome<Self> {
        let output = run("losetup", |command| {
            command
                .args(["--find", "--show", "--direct-io=on"])
                .arg(file)
        })?;
        if !output.status.success() {
            return Err(Trouble::Broken(format!("losetup: {}", said(&output))));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let own = Self {
            device: PathBuf::from(text.trim()),
        };
        let direct = own.read("loop/dio")?;
        if direct.trim() == "1" {
            Ok(own)
        } else {
            Err(Trouble::Broken(
                "the loop device refuses direct IO".to_owned(),
            ))
        }
    }

    /// Its device file.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    fn read(&self, name: &str) -> Outcome<String> {
        let own = self.device.file_name().unwrap_or_default();
        let path = Path::new("/sys/block").join(own).join(name);
        std::fs::read_to_string(&path).map_err(Trouble::machine("what is known of a loop device"))
    }

    /// What the kernel has counted on it.
    ///
    /// # Errors
    /// The machine's.
    pub fn counters(&self) -> Outcome<Counters> {
        let text = self.read("stat")?;
        Counters::parse(&text).ok_or_else(|| Trouble::Broken(format!("counters: {text}")))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        detach_loop(&self.device);
    }
}

/// What the kernel counts on a block device (its documentation: `block/stat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes written.
    pub bytes: u64,
    /// Bytes discarded or made zero.
    pub discarded: u64,
    /// Flushes.
    pub flushes: u64,
}

impl Counters {
    fn parse(text: &str) -> Option<Self> {
        let fields: Option<Vec<u64>> = text
            .split_whitespace()
            .map(|word| word.parse().ok())
            .collect();
        let fields = fields?;
        Some(Self {
            bytes: fields.get(6)? * 512,
            discarded: fields.get(13)? * 512,
            flushes: *fields.get(15)?,
        })
    }

    /// What came since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(before.bytes),
            discarded: self.discarded.saturating_sub(before.discarded),
            flushes: self.flushes.saturating_sub(before.flushes),
        }
    }
}

/// Makes an ext4 with everything that is usual, and nothing that is done later in the background.
///
/// # Errors
/// The tool's.
pub fn make_ext4(file: &Path, journal_mib: u32) -> Outcome<()> {
    let journal = format!("size={journal_mib}");
    let later = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
    let output = run("mkfs.ext4", |command| {
        let words = [
            "-q", "-F", "-b", "4096", "-N", "2048", "-J", &journal, "-E", later,
        ];
        command.args(words).arg(file)
    })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Trouble::Broken(format!("mkfs.ext4: {}", said(&output))))
    }
}

/// Repairs an ext4 that does not mount, as a machine does when it starts; whether that succeeded.
///
/// # Errors
/// The tool cannot be started.
pub fn repair(file: &Path) -> Outcome<bool> {
    let output = run("e2fsck", |command| command.args(["-f", "-y"]).arg(file))?;
    let code = output.status.code();
    Ok(code.is_some_and(|code| (0..=E2FSCK_CORRECTED).contains(&code)))
}

/// Takes down everything below a directory, the latest first; for whoever tidies up after others.
pub fn detach_below(home: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines().rev() {
        let Some(place) = line.split(' ').nth(1).map(Path::new) else {
            continue;
        };
        if place.starts_with(home) {
            // It goes with the namespace at the latest.
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
    }
}

/// Detaches a loop device, now or when what is on it goes.
pub fn detach_loop(device: &Path) {
    // There is nothing else to try; the device is of this run and of no other.
    let _ = run("losetup", |command| command.arg("--detach").arg(device));
}

fn run(program: &str, words: impl FnOnce(&mut Command) -> &mut Command) -> Outcome<Output> {
    let mut command = Command::new(program);
    words(&mut command)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(Trouble::machine(format!("starting {program}")))
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_a_device_are_read_from_their_places() {
        let text = "  5 0 40 1  7 2 96 3  0 4 4  6 0 24 1  9 2\n";
        let counters = Counters::parse(text).unwrap();
        let want = Counters {
            bytes: 96 * 512,
            discarded: 24 * 512,
            flushes: 9,
        };
        assert_eq!(counters, want);
        assert_eq!(counters.since(counters), Counters::default());
        assert_eq!(Counters::parse("1 2 3"), None);
        assert_eq!(Counters::parse("a b"), None);
    }
}
