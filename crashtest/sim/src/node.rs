//! What every machine has: a disk that can fail, and deaths that were planned for it.

use std::path::PathBuf;
use std::sync::Arc;

use crashtest_trace::Event;
use journal::vault::file::FileVault;
use journal::{Journal, JournalError, Role};
use wal::disk::{CrashPolicy, Disk, Fault, RealDisk, SimDisk};
use wal::store::{MemStore, RocksStore, Store};
use wal::{Options, RecoveryReport, SeededDice};

use crate::watch::Watch;

/// Sizes with which a short scenario meets rotations, checkpoints and recycled files.
#[must_use]
pub fn options() -> Options {
    Options {
        log_file_bytes: 512 << 10,
        grow_bytes: 64 << 10,
        ballast_bytes: 64 << 10,
        ..Options::default()
    }
}

/// A process on real files that one disk error ended more often than this is a broken promise: the
/// owner's machine would start it for ever.
const RESTARTS_MAX: u64 = 4;

/// A death that was planned.
#[derive(Clone, Debug)]
pub struct Death {
    /// What the disk looks like after it.
    pub policy: CrashPolicy,
    /// How long the machine stays down.
    pub down_ms: u64,
    /// Further deaths while it starts again.
    pub again: Vec<u64>,
}

/// Where a machine's state lies, and who watches it.
#[derive(Clone)]
pub struct Ground {
    /// Where.
    pub place: Place,
    watch: Watch,
}

/// The place of a machine's state.
#[derive(Clone)]
pub enum Place {
    /// On a disk in memory, the view beside it.
    Simulated(SimDisk),
    /// In files below this directory, the view in RocksDB.
    Files(PathBuf, RealDisk),
}

impl Ground {
    /// A place that nobody else watches.
    #[must_use]
    pub fn new(place: Place) -> Ground {
        Ground {
            place,
            watch: Watch::default(),
        }
    }

    /// Its disk and its view: whoever asks opens them, or opens them again.
    #[must_use]
    pub fn parts(&self) -> (Arc<dyn Disk>, Box<dyn Store>) {
        let (disk, view): (Arc<dyn Disk>, Box<dyn Store>) = match &self.place {
            Place::Simulated(disk) => {
                let disk: Arc<dyn Disk> = Arc::new(disk.clone());
                let view = MemStore::on_disk(disk.clone(), "view");
                (disk, Box::new(view))
            }
            Place::Files(dir, disk) => (
                Arc::new(disk.clone()),
                Box::new(RocksStore::new(dir.join("rocksdb"))),
            ),
        };
        (self.watch.opened(disk), view)
    }
}

/// Real files, and the recorder's trace of what is done to them.
struct Files {
    dir: PathBuf,
    disk: RealDisk,
    trace: Option<PathBuf>,
}

impl Files {
    /// How often the recorder has made an operation fail so far.
    fn strikes(&self) -> usize {
        let bytes = self.trace.as_ref().map(std::fs::read);
        let Some(Ok(bytes)) = bytes else {
            return 0;
        };
        // Other threads go on writing: an end in the middle of a frame is to be expected.
        let (records, _cut_off) = crashtest_trace::read(&bytes);
        let struck = |event: &Event| matches!(event, Event::Fault { .. });
        records.iter().filter(|one| struck(&one.event)).count()
    }
}

/// A machine.
pub struct Machine {
    /// Its disk, if it is simulated.
    pub disk: SimDisk,
    /// Its real files. Their trouble comes from outside.
    files: Option<Files>,
    watch: Watch,
    death: Option<Death>,
    /// Operations on it were made to fail; an error is explained until the next restart.
    pub troubled: bool,
    /// How often it was started; part of the seeds of its dice.
    starts: u64,
    seed: u64,
    /// Deaths so far.
    pub deaths: u64,
}

impl Machine {
    /// A machine with this disk.
    #[must_use]
    pub fn new(disk: SimDisk, seed: u64) -> Machine {
        Machine {
            disk,
            files: None,
            watch: Watch::default(),
            death: None,
            troubled: false,
            starts: 0,
            seed,
            deaths: 0,
        }
    }

    /// Its state lies in files below this directory instead; a recorder that makes operations on them
    /// fail says so in `trace`.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn on_files(&mut self, dir: PathBuf, trace: Option<PathBuf>) -> std::io::Result<()> {
        let disk = RealDisk::new(&dir)?;
        self.files = Some(Files { dir, disk, trace });
        Ok(())
    }

    /// Which write or sync of its log or vault failed since they were opened last.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.watch.failure()
    }

    /// How often an operation on its real files was made to fail so far.
    #[must_use]
    pub fn strikes(&self) -> usize {
        self.files.as_ref().map_or(0, Files::strikes)
    }

    /// Whether its state lies in real files.
    #[must_use]
    pub fn is_on_files(&self) -> bool {
        self.files.is_some()
    }

    /// Where its state lies.
    #[must_use]
    pub fn ground(&self) -> Ground {
        let place = match &self.files {
            Some(files) => Place::Files(files.dir.clone(), files.disk.clone()),
            None => Place::Simulated(self.disk.clone()),
        };
        Ground {
            place,
            watch: self.watch.clone(),
        }
    }

    /// Whether an error of its disk was to be expected: on real files, once one was made to fail.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        self.troubled || (self.deaths < RESTARTS_MAX && self.strikes() > 0)
    }

    /// It will die at its n-th disk operation from now.
    pub fn plan_death(&mut self, after_ops: u64, death: Death) {
        if self.death.is_none() {
            let at = self.disk.op_count() + after_ops;
            self.disk.inject_from(at, Fault::Dead);
            self.death = Some(death);
        }
    }

    /// It will die in its n-th sync from now, counted from 1: what that was to cover is written.
    pub fn plan_death_at_sync(&mut self, n: u64, policy: CrashPolicy) {
        self.disk.die_at_sync(n);
        self.death = Some(Death {
            policy,
            down_ms: 0,
            again: Vec::new(),
        });
    }

    /// One of its disk operations will fail.
    pub fn plan_error(&mut self, after_ops: u64, fault: Fault) {
        self.troubled = true;
        self.disk.inject(self.disk.op_count() + after_ops, fault);
    }

    /// Whether it is dead and has not been buried yet.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.disk.is_dead()
    }

    /// What is left of the disk, and how long the machine stays down. Whatever ran on it must have
    /// been dropped.
    pub fn bury(&mut self) -> u64 {
        self.deaths += 1;
        let mut death = self.death.take().unwrap_or(Death {
            policy: CrashPolicy::ProcessKill,
            down_ms: 0,
            again: Vec::new(),
        });
        let seed = self.seed ^ self.deaths.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.disk = self.disk.crash_clone(death.policy, seed);
        self.troubled = false;
        let down_ms = death.down_ms;
        if let Some(ops) = death.again.pop() {
            self.plan_death(ops, death);
        }
        down_ms
    }

    /// No more trouble.
    pub fn heal(&mut self) {
        if !self.is_dead() {
            self.disk.heal();
            self.death = None;
        } else if let Some(death) = &mut self.death {
            death.again.clear();
        }
        self.disk.set_capacity(None);
        self.troubled = false;
    }

    /// The dice of the next start.
    pub fn dice(&mut self) -> SeededDice {
        self.starts += 1;
        SeededDice(
            self.seed
                .wrapping_add(self.starts.wrapping_mul(0x0051_7cc1_b727)),
        )
    }
}

/// Opens the journal on a disk.
///
/// # Errors
/// The journal's.
pub fn open_journal(
    role: Role,
    ground: &Ground,
    dice: SeededDice,
) -> Result<(Journal, RecoveryReport), JournalError> {
    let (disk, store) = ground.parts();
    let vault = FileVault::new(disk.clone(), "vault");
    Journal::open(
        role,
        disk,
        store,
        Box::new(vault),
        Box::new(dice),
        options(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crashtest_trace::{Head, Kind};

    #[test]
    fn an_error_on_real_files_is_excused_only_after_one_was_made_to_fail() {
        let place = tempfile::tempdir().unwrap();
        let trace = place.path().join("trace");
        let mut machine = Machine::new(SimDisk::new(), 1);
        let state = place.path().join("state");
        machine.on_files(state, Some(trace.clone())).unwrap();
        assert!(!machine.is_troubled(), "no trace yet");
        let frame = |kind, seq, payload: &[u8]| {
            let head = Head {
                kind,
                flags: 0,
                seq,
                nanos: 0,
                process: 1,
                thread: 1,
                file: 0,
                a: 0,
                b: 0,
            };
            [head.encode(&[payload]).to_vec(), payload.to_vec()].concat()
        };
        let mut bytes = frame(Kind::Unlink, 0, b"log/1");
        std::fs::write(&trace, &bytes).unwrap();
        assert!(!machine.is_troubled(), "nothing failed");
        bytes.extend(frame(Kind::Fault, 1, b"Write Short"));
        // Another thread is in the middle of its frame.
        bytes.extend(&frame(Kind::Unlink, 2, b"log/2")[..66]);
        std::fs::write(&trace, &bytes).unwrap();
        assert!(machine.is_troubled());
        machine.deaths = RESTARTS_MAX;
        assert!(
            !machine.is_troubled(),
            "one fault excuses no endless deaths"
        );
    }
}
