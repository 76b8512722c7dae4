//! How long a start takes with a large outbox: real files, RocksDB, nobody who acks.
//!
//! The outbox is filled by the hub's core itself, at full speed and with events of a usual size.
#![expect(
    clippy::disallowed_methods,
    reason = "Real starts are timed by a real clock."
)]

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hub::camera::EventEnd;
use hub::core::{Core, CoreError, Event, Piece, Recorded};
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
    /// A start after a clean end.
    pub start: Duration,
    /// A start after the process was gone in the middle of an event, which it closes.
    pub start_after_kill: Duration,
    /// Peak memory of this process, in MiB; filling included.
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
    let core = Core::start(opener, NOW_MS).map_err(io::Error::other)?;
    Ok((core, began.elapsed()))
}

/// Fills an outbox, and starts twice.
///
/// # Errors
/// The machine's, or the core's.
pub fn measure(mib: u64) -> io::Result<Figures> {
    let scratch = tempfile::tempdir()?;
    let pair = run::pair(Suite::XWing).map_err(io::Error::other)?;
    files::lay_out(&pair, scratch.path())?;
    let Some(dir) = files::files_of(crate::plan::Who::Hub, scratch.path()) else {
        return Err(io::Error::other("a hub has files"));
    };
    filled(&dir, mib)
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

fn filled(dir: &Path, mib: u64) -> io::Result<Figures> {
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
    let clips = (mib << 20).div_ceil(EVENT_BYTES as u64);
    for number in 0..clips {
        taken(core.handle_event_started(event(number), NOW_MS))?;
        for _ in 0..EVENT_BYTES.div_ceil(PIECE_BYTES * 16) {
            taken(core.handle_pieces((0..16).map(|_| piece()).collect(), NOW_MS))?;
            core.commit(NOW_MS).map_err(io::Error::other)?;
        }
        taken(core.handle_event_ended(EventEnd::Completed, NOW_MS))?;
        core.commit(NOW_MS).map_err(io::Error::other)?;
        while core.poll_notice().is_some() {}
    }
    drop(core);
    let (mut core, start) = started(dir)?;
    taken(core.handle_event_started(event(clips), NOW_MS))?;
    taken(core.handle_pieces(vec![piece()], NOW_MS))?;
    core.commit(NOW_MS).map_err(io::Error::other)?;
    drop(core);
    let (core, start_after_kill) = started(dir)?;
    drop(core);
    Ok(Figures {
        outbox_mib: mib,
        clips,
        start,
        start_after_kill,
        memory_mib: peak_memory_mib(),
    })
}

fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
