//! The engine alone: random transactions on `wal`, crashed at any operation and again in recovery.
//!
//! What a log may do wrong shows here in a millisecond, because nothing is encrypted and every
//! prefix of the history is a state of its own. The oracle: after a start the journal holds exactly
//! what the first n transactions made, with n not below what was told, nor below what an earlier
//! start has shown. It must never know how the engine stores anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::disk::{CrashPolicy, Disk, Fault, SimDisk};
use wal::store::MemStore;
use wal::{Dice as _, Options, SeededDice, Txn, Wal, WalError};

use crate::oracle::Broken;

/// Lives of one journal in a run.
const LIVES_MAX: u64 = 6;
/// Starts that may die before one succeeds.
const STARTS_MAX: u64 = 4;
/// The same where they die in their syncs.
const DYING_STARTS_MAX: u64 = 8;
/// Syncs that a start makes, about.
const SYNCS_OF_A_START: u64 = 8;
/// And of a start and the commits behind it.
const SYNCS_OF_A_LIFE: u64 = 30;
/// Transactions of one life at most.
const TXNS_MAX: u64 = 60;
/// A commit is due when so much less is staged than half of a log file: room for one transaction.
const STAGED_SPARE: u64 = 20 << 10;

/// What transactions look like in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    /// One sector each.
    Uniform,
    /// Small values and payloads.
    Mixed,
    /// Values of several sectors.
    Large,
}

/// What a run is full of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bias {
    /// Anything.
    Any,
    /// Checkpoints, killed and cut off, with failing syncs.
    Checkpoints,
    /// Torn sectors of large batches.
    Torn,
    /// Deaths between a write and its sync, in sectors of which garbage is left.
    Trash,
    /// Torn sectors in starts.
    Starts,
    /// Operations that fail.
    Faults,
    /// Deaths in a sync, start after start: what one start took from the page cache, the next one must
    /// not count on, nor the one after that.
    Syncs,
}

impl Bias {
    /// Each in turn.
    #[must_use]
    pub fn of(seed: u64) -> Bias {
        let turns = [
            Bias::Any,
            Bias::Checkpoints,
            Bias::Any,
            Bias::Torn,
            Bias::Trash,
            Bias::Starts,
            Bias::Syncs,
            Bias::Faults,
        ];
        turns[(seed % 8) as usize]
    }
}

/// How the view keeps what it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keeping {
    /// In memory: every start makes it anew.
    Memory,
    /// On the disk when it is flushed.
    OnFlush,
    /// On the disk at every batch.
    Always,
}

/// What a journal should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    payloads: BTreeMap<Vec<u8>, Vec<u8>>,
}

struct Run {
    bias: Bias,
    seed: u64,
    dice: SeededDice,
    disk: SimDisk,
    style: Style,
    keeping: Keeping,
    spare_files_max: usize,
    log_file_bytes: u64,
    /// One transaction in so many is followed by a commit.
    commits: u64,
    /// One transaction in so many is followed by a checkpoint.
    checkpoints: u64,
    /// What the first n transactions make, for each n.
    history: Vec<Model>,
    /// Transactions that somebody was told of.
    told: usize,
    life: u64,
    crashes: u64,
    /// An error is explained.
    troubled: bool,
}

/// Plays the run of a seed; gives the number of crashes.
///
/// # Errors
/// C2 for a payload that is not what was stored, C4 for what is gone, C5 for a state that no prefix
/// of the history is, C7 for a start that fails or an engine that stops without a reason.
pub fn run(bias: Bias, seed: u64) -> Result<u64, Broken> {
    wal::note::keep(false);
    let mut dice = SeededDice(seed ^ 0xe9e1_ae00);
    let styles = [Style::Uniform, Style::Mixed, Style::Mixed, Style::Large];
    let style = styles[dice.below(4) as usize];
    let keeping = [Keeping::Memory, Keeping::OnFlush, Keeping::Always][dice.below(3) as usize];
    let disk = SimDisk::new();
    if dice.below(2) == 0 {
        disk.delay_started_writes();
    }
    // Who can tell boots apart needs less care; the care is tried where it is needed.
    if bias == Bias::Syncs || dice.below(2) == 0 {
        disk.hide_boot();
    }
    let mut run = Run {
        bias,
        seed,
        style,
        keeping,
        spare_files_max: dice.below(4) as usize,
        log_file_bytes: [64 << 10, 256 << 10][dice.below(2) as usize],
        commits: [2, 12][dice.below(2) as usize],
        checkpoints: [40, 40, 4][dice.below(3) as usize],
        dice,
        disk,
        history: vec![Model::default()],
        told: 0,
        life: 0,
        crashes: 0,
        troubled: false,
    };
    match bias {
        Bias::Any | Bias::Faults => {}
        Bias::Starts => (run.style, run.commits) = (Style::Mixed, 2),
        Bias::Checkpoints => {
            (run.log_file_bytes, run.commits, run.checkpoints) = (64 << 10, 2, 4);
            run.spare_files_max = 3;
        }
        Bias::Torn | Bias::Trash => {
            (run.log_file_bytes, run.commits, run.checkpoints) = (256 << 10, 12, 40)
        }
        Bias::Syncs => {
            (run.log_file_bytes, run.commits) = (64 << 10, 2);
            run.checkpoints = [4, 400][run.dice.below(2) as usize];
        }
    }
    let lives = 2 + run.dice.below(LIVES_MAX - 1);
    for _ in 0..lives {
        run.life += 1;
        run.live()?;
    }
    run.plan_nothing();
    drop(run.start()?);
    Ok(run.crashes)
}

impl Run {
    /// One life: a start, which may take several tries, transactions, and its end.
    fn live(&mut self) -> Result<(), Broken> {
        self.plan_nothing();
        // A short fuse strikes the start itself.
        let fuse = match self.bias {
            Bias::Starts => 16,
            _ => [12, 40, 250][self.dice.below(3) as usize],
        };
        let deadly = if self.bias == Bias::Faults { 2 } else { 5 };
        let at = self.disk.op_count() + self.dice.below(fuse);
        match self.dice.below(8) {
            _ if self.bias == Bias::Syncs => self.die_at_sync(),
            _ if self.bias == Bias::Trash => {
                let nth = 1 + self.dice.below(SYNCS_OF_A_LIFE);
                self.disk.die_at_sync(nth);
            }
            n if n < deadly => self.disk.inject_from(at, Fault::Dead),
            _ => {
                let fault = [Fault::Eio, Fault::Enospc, Fault::ShortWrite];
                self.disk.inject(at, fault[self.dice.below(3) as usize]);
                self.troubled = true;
            }
        }
        let mut tries = 0;
        let mut wal = loop {
            match self.start()? {
                Some(wal) => break wal,
                None => tries += 1,
            }
            let most = match self.bias {
                Bias::Syncs => DYING_STARTS_MAX,
                _ => STARTS_MAX,
            };
            if tries == most {
                self.plan_nothing();
            } else if self.bias == Bias::Syncs {
                self.die_at_sync();
            } else {
                // A crash in the recovery from a crash in recovery.
                let at = self.disk.op_count() + self.dice.below(12);
                self.disk.inject_from(at, Fault::Dead);
            }
        };
        // Some lives end as soon as they have begun.
        let ended = match (self.dice.below(4), self.bias) {
            (0, _) | (1 | 2, Bias::Syncs) => Ok(()),
            _ => self.work(&mut wal),
        };
        drop(wal);
        match ended {
            Ok(()) => {}
            Err(_) if self.disk.is_dead() || self.troubled => {}
            Err(error) => {
                return Err(Broken::new("C7", format!("the engine stopped: {error}")));
            }
        }
        self.crash();
        Ok(())
    }

    /// One of the syncs of a start, or a little later.
    fn die_at_sync(&mut self) {
        let nth = 1 + self.dice.below(SYNCS_OF_A_START + 2);
        self.disk.die_at_sync(nth);
    }

    fn plan_nothing(&mut self) {
        self.disk.heal();
        self.troubled = false;
    }

    fn crash(&mut self) {
        if !self.disk.is_dead() && self.troubled {
            // The process ends, the machine does not.
            self.plan_nothing();
            return;
        }
        self.crashes += 1;
        let policies: &[CrashPolicy] = match self.bias {
            Bias::Any | Bias::Faults => &CrashPolicy::ALL,
            Bias::Checkpoints => &[
                CrashPolicy::ProcessKill,
                CrashPolicy::LoseAll,
                CrashPolicy::Subset,
            ],
            // A page cache that survives is what the next start is tempted to believe.
            Bias::Syncs => &[
                CrashPolicy::ProcessKill,
                CrashPolicy::ProcessKill,
                CrashPolicy::LoseAll,
                CrashPolicy::LoseAll,
                CrashPolicy::Garbage,
            ],
            Bias::Trash => &[CrashPolicy::Garbage],
            Bias::Torn | Bias::Starts => &[
                CrashPolicy::Torn { sector_bytes: 4096 },
                CrashPolicy::Torn { sector_bytes: 512 },
                CrashPolicy::Garbage,
                CrashPolicy::LoseAll,
            ],
        };
        let policy = policies[self.dice.below(policies.len() as u64) as usize];
        self.disk = self.disk.crash_clone(policy, self.dice.next_u64());
        self.troubled = false;
    }

    fn open(&mut self) -> Result<Wal, WalError> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let store = match self.keeping {
            Keeping::Memory => MemStore::new(),
            Keeping::OnFlush => MemStore::on_disk(Arc::clone(&disk), "view"),
            Keeping::Always => MemStore::on_disk(Arc::clone(&disk), "view").spilling(1),
        };
        let options = Options {
            log_file_bytes: self.log_file_bytes,
            grow_bytes: 16 << 10,
            spare_files_max: self.spare_files_max,
            ballast_bytes: 32 << 10,
        };
        let dice = SeededDice(self.seed ^ self.dice.next_u64());
        Ok(Wal::open(disk, Box::new(store), Box::new(dice), options)?.0)
    }

    /// Starts the engine and looks at what it holds; `None` if the disk's trouble prevented it.
    fn start(&mut self) -> Result<Option<Wal>, Broken> {
        let wal = match self.open() {
            Ok(wal) => wal,
            Err(_) if self.disk.is_dead() || self.troubled => {
                self.crash();
                return Ok(None);
            }
            Err(error) => return Err(Broken::new("C7", format!("a start refused: {error}"))),
        };
        let found = match dump(&wal)? {
            Some(found) => found,
            None if self.disk.is_dead() || self.troubled => {
                drop(wal);
                self.crash();
                return Ok(None);
            }
            None => {
                return Err(Broken::new(
                    "C7",
                    "the journal cannot be read after a start",
                ));
            }
        };
        let count = found.values.get(b"count".as_slice()).map_or(0, |bytes| {
            let bytes = bytes.first_chunk::<8>().copied().unwrap_or_default();
            u64::from_le_bytes(bytes) as usize
        });
        let told = self.told;
        if count < told {
            let what = format!("{told} transactions were told and a start holds {count}");
            return Err(Broken::new("C4", what));
        }
        match self.history.get(count) {
            Some(model) if model.values != found.values => {
                let what = format!("the state after {count} transactions is of no prefix");
                return Err(Broken::new("C5", what));
            }
            Some(model) if model.payloads != found.payloads => {
                let what = format!("other payloads than {count} transactions stored");
                return Err(Broken::new("C2", what));
            }
            Some(_) => {}
            None => {
                return Err(Broken::new(
                    "C5",
                    format!("{count} transactions were never made"),
                ));
            }
        }
        // What a start shows is told.
        self.told = count;
        self.history.truncate(count + 1);
        Ok(Some(wal))
    }

    fn work(&mut self, wal: &mut Wal) -> Result<(), WalError> {
        let intruder = self.dice.below(6) == 0;
        let mut begun = None;
        let staged_max = self.log_file_bytes / 2 - STAGED_SPARE;
        for _ in 0..1 + self.dice.below(TXNS_MAX) {
            let mut model = self.history.last().cloned().unwrap_or_default();
            let number = self.history.len();
            let txn = self.txn(number as u64, &mut model);
            self.history.push(model);
            drop(wal.stage(txn, ())?);
            let full = wal.staged_bytes() > staged_max;
            if full || self.dice.below(self.commits) == 0 {
                match self.dice.below(4) {
                    0 => {
                        // Beginning finishes what was begun before; only a finished one is told.
                        wal.begin_commit()?;
                        begun = Some(number);
                    }
                    1 if begun.is_some() && !full => {
                        drop(wal.finish_commit()?);
                        self.told = begun.take().unwrap_or(self.told);
                    }
                    _ => self.commit(wal, &mut begun)?,
                }
            }
            if self.dice.below(self.checkpoints) == 0 {
                wal.checkpoint()?;
            }
            match self.dice.below(40) {
                0 => wal.witness()?,
                1 if intruder => self.intrude(),
                _ => {}
            }
        }
        if self.dice.below(2) == 0 {
            self.commit(wal, &mut begun)?;
        }
        Ok(())
    }

    fn commit(&mut self, wal: &mut Wal, begun: &mut Option<usize>) -> Result<(), WalError> {
        drop(wal.commit()?);
        *begun = None;
        self.told = self.history.len() - 1;
        Ok(())
    }

    /// Another process on the same directory. It is refused, or else it writes.
    fn intrude(&mut self) {
        let Ok(mut other) = self.open() else { return };
        let mut txn = Txn::new();
        txn.put("intruder", "was here");
        let staged = other.stage(txn, ());
        drop(staged.and_then(|_| other.commit()));
    }

    /// A transaction, applied to the model as well. Each counts itself, so that no two prefixes of a
    /// history are equal, and says in which life it was made, so that no dead one looks alive.
    fn txn(&mut self, number: u64, model: &mut Model) -> Txn {
        let mut txn = Txn::new();
        let mut count = number.to_le_bytes().to_vec();
        count.extend_from_slice(&self.life.to_le_bytes());
        let mut put = |key: Vec<u8>, value: Vec<u8>| {
            txn.put(key.clone(), value.clone());
            model.values.insert(key, value);
        };
        put(b"count".to_vec(), count.clone());
        let dice = &mut self.dice;
        if self.style != Style::Mixed {
            // Two more keys, that a torn transaction would part.
            let len = if self.style == Style::Large {
                9_000
            } else {
                100
            };
            put(format!("k{}", number % 5).into_bytes(), random(dice, len));
            put(format!("last{}", number % 2).into_bytes(), count);
            return txn;
        }
        for _ in 0..dice.below(4) {
            let key = format!("k{}", dice.below(12)).into_bytes();
            if dice.below(4) == 0 {
                txn.delete(key.clone());
                model.values.remove(&key);
            } else {
                let value = random(dice, 300);
                txn.put(key.clone(), value.clone());
                model.values.insert(key, value);
            }
        }
        for bytes_max in [6_000, 300].into_iter().take(dice.below(3) as usize) {
            let key = format!("p{}", dice.below(8)).into_bytes();
            if dice.below(3) == 0 {
                txn.delete_payload(key.clone());
                model.payloads.remove(&key);
            } else {
                let bytes = random(dice, bytes_max);
                txn.put_payload(key.clone(), bytes.clone());
                model.payloads.insert(key, bytes);
            }
        }
        txn
    }
}

fn random(dice: &mut SeededDice, bytes_max: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1 + dice.below(bytes_max) as usize];
    dice.fill(&mut bytes);
    bytes
}

/// Everything that a journal holds; `None` if it cannot be read.
fn dump(wal: &Wal) -> Result<Option<Model>, Broken> {
    let mut model = Model::default();
    let Ok(values) = wal.scan(b"", b"", usize::MAX) else {
        return Ok(None);
    };
    model.values.extend(values);
    let Ok(payloads) = wal.scan_payloads(b"", b"", usize::MAX) else {
        return Ok(None);
    };
    for (key, _) in payloads {
        match wal.payload(&key) {
            Ok(Some(bytes)) => drop(model.payloads.insert(key, bytes)),
            Ok(None) => {}
            Err(WalError::PayloadDamaged { .. }) => {
                return Err(Broken::new("C2", "a payload is listed and not there"));
            }
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(model))
}
