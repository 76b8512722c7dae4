//! A pair laid out in files, and a scenario in which one machine lives on real ones.
//!
//! Everything that a process of its own needs: the parent lays a pair out once, each child plays
//! the same conversation with its own copy. This room must never inject anything: what goes wrong
//! with the files is the recorder's doing (`crashtest/record`).

use std::io;
use std::path::{Path, PathBuf};

use journal::{JournalError, Role};
use serde::{Deserialize, Serialize};
use wal::SeededDice;
use wal::disk::{Disk, OpenMode, RealDisk, SimDisk};

use crate::Outcome;
use crate::net::Way;
use crate::node::{Ground, Place, open_journal};
use crate::oracle::Broken;
use crate::plan::{Plan, Step, What, Who};
use crate::run;
use crate::world::{Pair, World};

/// Pieces of a long event, in bytes: two such events fill log files of [`crate::node::options`], so
/// that checkpoints and recycled files come into it.
const LONG_PIECE_BYTES: u32 = 48_000;
const LONG_PIECES: usize = 8;

#[derive(Serialize, Deserialize)]
struct Names {
    ways: (Vec<Way>, Vec<Way>),
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

/// Lays a pair out: each disk as the simulation reads it, and once more with RocksDB opened.
///
/// # Errors
/// The machine's, or a journal that does not open.
pub fn lay_out(pair: &Pair, dir: &Path) -> io::Result<()> {
    let names = Names {
        ways: pair.ways.clone(),
    };
    std::fs::create_dir_all(dir)?;
    std::fs::write(
        dir.join("names"),
        serde_json::to_vec(&names).map_err(other)?,
    )?;
    for (role, disk, name) in [(Role::Hub, &pair.hub, "hub"), (Role::App, &pair.app, "app")] {
        for (end, is_view) in [("simulated", true), ("files", false)] {
            let place = dir.join(format!("{name}.{end}"));
            for path in disk.paths() {
                // The simulated view has no use beside RocksDB, which is made from the log.
                if is_view || !path.starts_with("view") {
                    let to = place.join(&path);
                    to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                    std::fs::write(to, disk.contents(&path)?)?;
                }
            }
        }
        let files = dir.join(format!("{name}.files"));
        let ground = Ground::new(Place::Files(files.clone(), RealDisk::new(files)?));
        let opened: Result<_, JournalError> = open_journal(role, &ground, SeededDice(3));
        drop(opened.map_err(other)?);
    }
    Ok(())
}

/// The files of a pair, ready to be copied for a machine on real files; none for a relay, which
/// begins empty.
#[must_use]
pub fn files_of(who: Who, dir: &Path) -> Option<PathBuf> {
    match who {
        Who::Hub => Some(dir.join("hub.files")),
        Who::App => Some(dir.join("app.files")),
        Who::Relay => None,
    }
}

/// Copies a directory and all that lies below it.
pub(crate) fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn read_back(dir: &Path) -> io::Result<Pair> {
    let names: Names = serde_json::from_slice(&std::fs::read(dir.join("names"))?).map_err(other)?;
    Ok(Pair {
        hub: disk_of(&dir.join("hub.simulated"))?,
        app: disk_of(&dir.join("app.simulated"))?,
        ways: names.ways,
    })
}

/// What lies below a directory, as a disk in memory. RocksDB is left behind: it holds nothing that the
/// log does not.
///
/// # Errors
/// The machine's.
pub fn disk_of(root: &Path) -> io::Result<SimDisk> {
    fn copy(disk: &SimDisk, root: &Path, below: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(root.join(below))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            if path == "rocksdb" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                disk.create_dir(&path)?;
                copy(disk, root, &path)?;
            } else {
                let file = disk.open(&path, OpenMode::CreateNew)?;
                file.write_at(0, &std::fs::read(entry.path())?)?;
                file.sync_data()?;
            }
        }
        disk.sync_dir(below)
    }
    let disk = SimDisk::new();
    copy(&disk, root, "")?;
    Ok(disk)
}

/// What is played: two long events, a short one that the camera cuts off, one piece more.
#[must_use]
pub fn conversation() -> Plan {
    let record = |at_ms, pieces, cut| Step {
        at_ms,
        what: What::Record {
            pieces,
            gap_ms: 40,
            cut,
        },
    };
    let long = || vec![LONG_PIECE_BYTES; LONG_PIECES];
    Plan {
        seed: 1,
        steps: vec![
            record(0, long(), false),
            record(2_000, long(), false),
            record(4_000, vec![100, 3_000], true),
            record(5_000, vec![700], false),
        ],
    }
}

/// Plays the conversation with `who` on the files in `state`, and asks the oracle. What the recorder
/// made fail stands in its `trace`; without one, no error is excused.
///
/// # Errors
/// The pair cannot be read back.
pub fn play(who: Who, pair: &Path, state: PathBuf, trace: Option<PathBuf>) -> io::Result<Outcome> {
    let pair = read_back(pair)?;
    let mut world = World::new(conversation(), &pair);
    Ok(match world.on_files(who, state, trace) {
        Ok(()) => run::caught(|| world.run()),
        Err(error) => Err(Broken::new("C7", format!("its directory: {error}"))),
    })
}
