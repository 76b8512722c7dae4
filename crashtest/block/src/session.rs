//! One session of relay, hub and app, of which one has its directory on a real ext4 over the logged
//! drive; and the recording of it on disk.
//!
//! ```text
//! DIRECTORY/
//!   device.log              what the drive was told (`log.rs`)
//!   session.json            whose directory it was, and what the kernel counted
//!   secluso-hub.iotrace ... the traces of all three with their marks (crashtest/replay)
//! ```
//!
//! The programs run as their owner would run them. This room must never keep a log of which the
//! kernel's own counters, or the directory itself, say something else.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crashtest::process::Role;
use crashtest::system::Setup;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::conversation::save;
use crashtest_replay::image::Hash;
use crashtest_replay::recording::Recording;
use crashtest_replay::tree::Tree;
use serde_json::{Value, json};

use crate::mounts::{Attempt, Counters, Loop, Mounted, make_ext4};
use crate::serve::{Duty, RECORDED, Server, read_log};

/// The file of the log in a recording.
pub const LOG: &str = "device.log";
/// The file of everything else.
const SESSION: &str = "session.json";
/// A recording whose trace lost a frame in the kill is made again so often.
const TRIES: u32 = 3;
/// Size of the ext4 in MiB: two groups of blocks, so that there is a second superblock for `e2fsck`.
const DISK_MIB: u64 = 256;
/// Deleted rubbish that lies on it when the session begins, in so many directories and MiB in each.
const RUBBISH_DIRECTORIES: u64 = 4;
const RUBBISH_MIB: u64 = 12;
/// Size of its journal in MiB: the smallest, so that it wraps around.
const JOURNAL_MIB: u32 = 4;

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose directory lies on the drive.
    pub role: Role,
    /// Events between two restarts.
    pub events: usize,
    /// Size of the log files in KiB, so small that checkpoints and used files come.
    pub log_kib: u32,
}

/// What is known of a recording besides log and traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose directory lay on the drive.
    pub role: Role,
    /// Size of the log files in KiB.
    pub log_kib: u32,
    /// The hash of that directory in the end, as the program saw it.
    pub left: Hash,
    /// What the kernel counted on the loop device.
    pub counted: Counters,
}

impl Session {
    fn json(&self) -> Value {
        json!({
            "role": self.role.program(),
            "log_kib": self.log_kib,
            "left": format!("{:x}", self.left),
            "counted_bytes": self.counted.bytes,
            "counted_discarded": self.counted.discarded,
            "counted_flushes": self.counted.flushes,
        })
    }

    /// Reads it from a recording.
    ///
    /// # Errors
    /// There is none.
    pub fn read(directory: &Path) -> Outcome<Self> {
        let path = directory.join(SESSION);
        let text = fs::read_to_string(&path).map_err(Trouble::machine("a recording"))?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        let word = |key: &str| value.get(key).and_then(Value::as_str);
        let read = || {
            Some(Self {
                role: role_of(word("role")?)?,
                log_kib: u32::try_from(number("log_kib")?).ok()?,
                left: Hash::from_str_radix(word("left")?, 16).ok()?,
                counted: Counters {
                    bytes: number("counted_bytes")?,
                    discarded: number("counted_discarded")?,
                    flushes: number("counted_flushes")?,
                },
            })
        };
        read().ok_or_else(|| Trouble::Broken(format!("{} is no session", path.display())))
    }
}

/// The role of a program's name.
#[must_use]
pub fn role_of(program: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.program() == program)
}

/// Whether a directory holds a recording.
#[must_use]
pub fn is_recorded(directory: &Path) -> bool {
    directory.join(SESSION).is_file()
}

/// Records a session into a directory; `home` is for what is needed meanwhile.
///
/// # Errors
/// A program failed or is not built, or the log is not all that happened.
pub fn record(wanted: Wanted, home: &Path, directory: &Path) -> Outcome<()> {
    let mut tries = 1;
    loop {
        match record_once(wanted, home, directory) {
            // A program that is killed between an operation and its frame leaves that out.
            Err(Trouble::Broken(why)) if tries < TRIES => {
                eprintln!("recording again: {why}");
                tries += 1;
            }
            result => return result,
        }
    }
}

fn record_once(wanted: Wanted, home: &Path, directory: &Path) -> Outcome<()> {
    fs::create_dir_all(directory).map_err(Trouble::machine("a directory for a recording"))?;
    let mut server = Server::start(home, &Duty::Record(DISK_MIB << 20))?;
    let file = server.path(RECORDED);
    prepare(&file, &home.join("prepared"))?;
    let device = Loop::attach(&file)?;
    server.ask(&format!("loop {}", device.device().display()))?;
    let before = device.counters()?;
    server.ask("record")?;
    let mut recording = Recording::new(Setup {
        passes: 0,
        gap_seconds: 0.6,
        log_kib: Some(wanted.log_kib),
        ..Setup::default()
    })?;
    let root = recording.root(wanted.role);
    let mounted = match Mounted::ext4(device.device(), &root)? {
        Attempt::Mounted(mounted) => mounted,
        Attempt::Refused(said) => return Err(Trouble::Broken(format!("a new ext4: {said}"))),
    };
    converse(&mut recording, wanted)?;
    let (left, _) = Tree::read(&root).map_err(Trouble::machine("the directory in the end"))?;
    mounted.unmount()?;
    let counted = device.counters()?.since(before);
    let log = directory.join(LOG);
    server.ask(&format!("finish {}", log.display()))?;
    agrees(&log, counted)?;
    let rebuilt = recording.story(wanted.role)?.after();
    if let Some(difference) = rebuilt.difference(&left) {
        return Err(Trouble::Broken(format!(
            "the trace does not rebuild the directory: {difference}"
        )));
    }
    save(&recording, directory)?;
    let session = Session {
        role: wanted.role,
        log_kib: wanted.log_kib,
        left: left.hash(),
        counted,
    };
    // ORDER: last, so that a recording that was cut off is none.
    fs::write(directory.join(SESSION), session.json().to_string())
        .map_err(Trouble::machine("a recording"))
}

/// Makes the file system, with its root as a program wants its directory, on a disk that was used
/// before.
fn prepare(file: &Path, place: &Path) -> Outcome<()> {
    make_ext4(file, JOURNAL_MIB)?;
    let Attempt::Mounted(mounted) = Mounted::ext4(file, place)? else {
        return Err(Trouble::Broken("a new ext4 does not mount".to_owned()));
    };
    let private = fs::Permissions::from_mode(0o700);
    let used = || -> io::Result<()> {
        fs::set_permissions(place, private)?;
        fs::remove_dir(place.join("lost+found"))?;
        // What was deleted lies there still: a block that should have been overwritten, and was not,
        // must not read as the zeros of a new disk.
        for number in 0..RUBBISH_DIRECTORIES {
            // ext4 puts each directory of the root, and what is in it, elsewhere.
            let directory = place.join(format!("rubbish-{number}"));
            fs::create_dir(&directory)?;
            let mut file = fs::File::create(directory.join("file"))?;
            let byte = |at: u64| (at.wrapping_mul(31) ^ (at >> 8) ^ number) as u8 | 1;
            let bytes: Vec<u8> = (0..1 << 20).map(byte).collect();
            for _ in 0..RUBBISH_MIB {
                file.write_all(&bytes)?;
            }
            file.sync_all()?;
        }
        for number in 0..RUBBISH_DIRECTORIES {
            fs::remove_dir_all(place.join(format!("rubbish-{number}")))?;
        }
        Ok(())
    };
    used().map_err(Trouble::machine("the root of a new ext4"))?;
    mounted.unmount()
}

/// Pairing, events, a kill and a polite stop, each in the middle of an event.
fn converse(recording: &mut Recording, wanted: Wanted) -> Outcome<()> {
    recording.pair()?;
    recording.start(Role::App)?;
    recording.start(Role::Hub)?;
    recording.play(wanted.events)?;
    recording.into_an_event()?;
    recording.system_mut().kill(wanted.role)?;
    recording.start(wanted.role)?;
    recording.play(wanted.events)?;
    recording.into_an_event()?;
    recording.stop(wanted.role)?;
    recording.start(wanted.role)?;
    recording.play(1)?;
    for role in [Role::Hub, Role::App, Role::Relay] {
        recording.stop(role)?;
    }
    Ok(())
}

/// The kernel has counted what the log says: nothing went past it.
fn agrees(log: &Path, counted: Counters) -> Outcome<()> {
    let totals = read_log(log)?.totals();
    let bytes = counted.bytes + counted.discarded;
    if totals.bytes == bytes && totals.flushes == counted.flushes {
        return Ok(());
    }
    Err(Trouble::Usage(format!(
        "the log has {} bytes and {} flushes, the kernel counted {bytes} and {}: something went past it",
        totals.bytes, totals.flushes, counted.flushes
    )))
}

/// The file of a recording's log.
#[must_use]
pub fn log_of(directory: &Path) -> PathBuf {
    directory.join(LOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_as_it_was_written() {
        let place = tempfile::tempdir().unwrap();
        assert!(!is_recorded(place.path()));
        let session = Session {
            role: Role::App,
            log_kib: 512,
            left: Hash::MAX - 1,
            counted: Counters {
                bytes: 1,
                discarded: 2,
                flushes: 3,
            },
        };
        fs::write(place.path().join(SESSION), session.json().to_string()).unwrap();
        assert!(is_recorded(place.path()));
        assert_eq!(Session::read(place.path()).unwrap(), session);
        fs::write(place.path().join(SESSION), "{}").unwrap();
        assert!(Session::read(place.path()).is_err());
    }
}
