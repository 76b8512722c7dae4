//! What every machine has: a disk that can fail, and deaths that were planned for it.

use std::sync::Arc;

use journal::vault::file::FileVault;
use journal::{Journal, JournalError, Role};
use wal::disk::{CrashPolicy, Fault, SimDisk};
use wal::store::MemStore;
use wal::{Options, RecoveryReport, SeededDice};

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

/// A machine.
pub struct Machine {
    /// Its disk.
    pub disk: SimDisk,
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
            death: None,
            troubled: false,
            starts: 0,
            seed,
            deaths: 0,
        }
    }

    /// It will die at its n-th disk operation from now.
    pub fn plan_death(&mut self, after_ops: u64, death: Death) {
        if self.death.is_none() {
            let at = self.disk.op_count() + after_ops;
            self.disk.inject_from(at, Fault::Dead);
            self.death = Some(death);
        }
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
    disk: &SimDisk,
    dice: SeededDice,
) -> Result<(Journal, RecoveryReport), JournalError> {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let store = MemStore::on_disk(disk.clone(), "view");
    let vault = FileVault::new(disk.clone(), "vault");
    Journal::open(
        role,
        disk,
        Box::new(store),
        Box::new(vault),
        Box::new(dice),
        options(),
    )
}
