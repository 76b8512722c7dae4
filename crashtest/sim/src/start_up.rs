//! How long a start takes with a large outbox: real files, RocksDB, nobody who acks.
//!
//! The outbox is filled by the hub's core itself, at full speed and with events of a usual size, in
//! processes of their own: the last one is killed with SIGKILL in the middle of an event, so that no
//! destructor tidies up. Before each start that is timed the page cache forgets the files, as it has
//! after a machine was off. This room must never time a start whose files are still in memory.
#![expect(
    clippy::disallowed_methods,
    reason = "Real starts are timed by a real clock, after real processes."
)]

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hub::camera::EventEnd;
use hub::core::{Core, CoreError, Event, Piece, Recorded, SilenceLimits};
use journal::vault::file::FileVault;
use journal::{Journal, Role, Suite};
use serde_json::{Value, json};
use wal::disk::RealDisk;
use wal::store::RocksStore;
use wal::{Dice as _, Options, SeededDice};

use crate::files;
use crate::run;

/// Bytes of one event: half a minute of video.
const EVENT_BYTES: usize = 5 << 20;
const PIECE_BYTES: usize = 60_000;
/// Longest start (promise C7).
pub const START_MAX: Duration = Duration::from_secs(2);
const NOW_MS: u64 = 1_800_000_000_000;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Un-acked, in MiB.
    pub outbox_mib: u64,
    /// Of so many clips.
    pub clips: u64,
    /// A start after a clean end, with nothing in the page cache.
    pub start: Duration,
    /// A start after SIGKILL in the middle of an event, which it closes; likewise.
    pub start_after_kill: Duration,
    /// Peak memory of any of the processes, in MiB; filling included.
    pub memory_mib: u64,
}

impl Figures {
    /// Whether both starts were short enough.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.start.max(self.start_after_kill) <= START_MAX
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"outbox_mib": self.outbox_mib, "clips": self.clips,
               "start_ms": self.start.as_millis() as u64,
               "start_after_kill_ms": self.start_after_kill.as_millis() as u64,
               "memory_mib": self.memory_mib, "good": self.is_good()})
    }
}

fn started(dir: &Path) -> io::Result<(Core, Duration)> {
    let began = Instant::now();
    let root = dir.to_owned();
    let opener = Box::new(move || {
        let disk = RealDisk::new(&root).map_err(journal::JournalError::Vault)?;
        let disk = std::sync::Arc::new(disk);
        let vault = FileVault::new(disk.clone(), "vault");
        let store = RocksStore::new(root.join("rocksdb"));
        Journal::open(
            Role::Hub,
            disk,
            Box::new(store),
            Box::new(vault),
            Box::new(SeededDice(4)),
            Options::default(),
        )
    });
    let core = Core::start(opener, SilenceLimits::default(), NOW_MS).map_err(io::Error::other)?;
    Ok((core, began.elapsed()))
}

/// Fills an outbox, and starts twice. `program` is `simulate`.
///
/// # Errors
/// The machine's, or the core's.
pub fn measure(program: &Path, mib: u64) -> io::Result<Figures> {
    let scratch = tempfile::tempdir()?;
    let pair = run::pair(Suite::XWing).map_err(io::Error::other)?;
    files::lay_out(&pair, scratch.path())?;
    let Some(dir) = files::files_of(crate::plan::Who::Hub, scratch.path()) else {
        return Err(io::Error::other("a hub has files"));
    };
    let (mut filling, said) = spawned(program, &dir, mib)?;
    if !filling.wait()?.success() {
        return Err(io::Error::other("the outbox could not be filled"));
    }
    let clips = clips_of(mib);
    forget_cache(&dir)?;
    let (core, start) = started(&dir)?;
    drop(core);
    // One more event, and the end of the process in the middle of it.
    let (mut recording, more) = spawned(program, &dir, 0)?;
    recording.kill()?;
    recording.wait()?;
    forget_cache(&dir)?;
    let (core, start_after_kill) = started(&dir)?;
    drop(core);
    Ok(Figures {
        outbox_mib: mib,
        clips,
        start,
        start_after_kill,
        memory_mib: said.max(more).max(peak_memory_mib()),
    })
}

fn clips_of(mib: u64) -> u64 {
    (mib << 20).div_ceil(EVENT_BYTES as u64)
}

/// A process that fills the outbox, or with 0 MiB begins an event and waits for its end. It has done so
/// when this returns, with the peak of its memory in MiB.
fn spawned(program: &Path, dir: &Path, mib: u64) -> io::Result<(Child, u64)> {
    let mut child = Command::new(program)
        .arg("fill")
        .arg(dir)
        .arg(mib.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = child.stdout.take();
    let said = said.ok_or_else(|| io::Error::other("a child without an output"))?;
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    let memory_mib = line.trim().parse();
    match memory_mib {
        Ok(memory_mib) => Ok((child, memory_mib)),
        Err(_) => {
            child.kill()?;
            let status = child.wait()?;
            Err(io::Error::other(format!(
                "the process that fills said `{line}` and ended with {status}"
            )))
        }
    }
}

/// Everything below a directory goes out of the page cache. What is not on the disk yet is written
/// first, as the kernel does by itself within half a minute: nothing else can go.
fn forget_cache(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget_cache(&entry.path())?;
        } else {
            let file = File::open(entry.path())?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// What the core answers must be that it took it.
fn taken(answer: Result<Recorded, CoreError>) -> io::Result<()> {
    match answer.map_err(io::Error::other)? {
        Recorded::Taken => Ok(()),
        other => Err(io::Error::other(format!(
            "the hub recorded nothing: {other:?}"
        ))),
    }
}

/// What the process of its own does: fills the outbox and ends as usual, or with 0 MiB begins an event,
/// says so, and waits to be killed. It says the peak of its memory in MiB.
///
/// # Errors
/// The machine's, or the core's.
pub fn fill(dir: &Path, mib: u64) -> io::Result<()> {
    let (mut core, _) = started(dir)?;
    let mut bytes = vec![0; PIECE_BYTES];
    SeededDice(5).fill(&mut bytes);
    let bytes = Bytes::from(bytes);
    let piece = || Piece {
        bytes: bytes.clone(),
        captured_unix_ms: NOW_MS,
    };
    let event = |number: u64| Event {
        camera: "door".into(),
        mime: "video/mp4".into(),
        started_unix_ms: NOW_MS + number,
    };
    for number in 0..clips_of(mib) {
        taken(core.handle_event_started(event(number), NOW_MS))?;
        for _ in 0..EVENT_BYTES.div_ceil(PIECE_BYTES * 16) {
            taken(core.handle_pieces((0..16).map(|_| piece()).collect(), NOW_MS))?;
            core.commit(NOW_MS).map_err(io::Error::other)?;
        }
        taken(core.handle_event_ended(EventEnd::Completed, NOW_MS))?;
        core.commit(NOW_MS).map_err(io::Error::other)?;
        while core.poll_notice().is_some() {}
    }
    if mib > 0 {
        drop(core);
        println!("{}", peak_memory_mib());
        return Ok(());
    }
    taken(core.handle_event_started(event(u64::from(u32::MAX)), NOW_MS))?;
    taken(core.handle_pieces(vec![piece()], NOW_MS))?;
    core.commit(NOW_MS).map_err(io::Error::other)?;
    println!("{}", peak_memory_mib());
    // Whoever waits for SIGKILL ends here only if its parent is gone.
    io::stdin().read_to_end(&mut Vec::new())?;
    Err(io::Error::other("nobody killed this process"))
}

fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
