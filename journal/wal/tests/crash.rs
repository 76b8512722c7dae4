//! Thousands of simulated crashes: at every operation, in every manner, and again in recovery.

mod common;

use std::sync::Arc;

use common::*;
use wal::disk::{CrashPolicy, Disk, Fault, RealDisk, SimDisk, TraceOp};
use wal::store::RocksStore;
use wal::{ErrorKind, Options, SeededDice, Txn, Wal, WalError};

/// Lives, and processes in each, of the longest test here.
const LIVES: u64 = 120;
const ROUNDS: u64 = 40;
/// Lives of many more in which something was found once.
const FOUND: [u64; 1] = [1079];

/// Runs a random workload; the disk's mark is how many transactions were acknowledged.
fn workload(
    wal: &mut Wal,
    disk: &SimDisk,
    seed: u64,
    from: u64,
    count: u64,
    history: &mut Vec<Model>,
) {
    let mut dice = SeededDice(seed);
    let mut model = history.last().cloned().unwrap_or_default();
    history.truncate(from as usize + 1);
    // The last transaction of a commit that was begun: nobody was told of it yet.
    let mut begun = None;
    for n in from + 1..=from + count {
        let txn = random_txn(&mut dice, n, &mut model);
        history.push(model.clone());
        if wal.stage(txn, ()).is_err() {
            return;
        }
        if dice.below(4) == 0 {
            // Beginning finishes what was begun before; only a finished one is told.
            if wal.begin_commit().is_err() {
                return;
            }
            begun = Some(n);
        } else if begun.is_some() && dice.below(2) == 0 {
            if wal.finish_commit().is_err() {
                return;
            }
            disk.set_mark(begun.take().unwrap_or(from));
        } else if dice.below(3) != 0 || wal.staged_bytes() > 12 << 10 {
            if wal.commit().is_err() {
                return;
            }
            begun = None;
            disk.set_mark(n);
        }
        if dice.below(40) == 0 && wal.checkpoint().is_err() {
            return;
        }
    }
}

/// A run whose every operation left a snapshot.
fn recorded(seed: u64, count: u64) -> (Vec<SimDisk>, Vec<Model>) {
    let disk = SimDisk::new();
    if seed.is_multiple_of(2) {
        disk.delay_started_writes();
    }
    disk.record_snapshots();
    let mut history = vec![Model::default()];
    let (mut wal, _) = open(&disk, seed).unwrap();
    workload(&mut wal, &disk, seed, 0, count, &mut history);
    drop(wal);
    (disk.snapshots(), history)
}

fn survives(disk: &SimDisk, history: &[Model], context: &str) -> usize {
    let (wal, report) = open(disk, 77).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(
        report.damaged_payloads.is_empty() && report.lost_payloads == 0,
        "{context}: {report:?}"
    );
    check(&wal, history, disk.mark(), context)
}

#[test]
fn every_crash_leaves_a_prefix_with_all_that_was_acknowledged() {
    let mut states = 0;
    for seed in [1, 2] {
        let (snapshots, history) = recorded(seed, 110);
        for (at, snapshot) in snapshots.iter().enumerate() {
            for policy in CrashPolicy::ALL {
                let after = snapshot.crash_clone(policy, at as u64);
                survives(&after, &history, &format!("seed {seed} op {at} {policy:?}"));
                states += 1;
            }
        }
    }
    println!("{states} crash states");
    assert!(states > 3000, "{states}");
}

#[test]
fn a_crash_in_recovery_changes_nothing() {
    let mut states = 0;
    let (snapshots, history) = recorded(3, 60);
    for (at, snapshot) in snapshots.iter().enumerate().step_by(11) {
        for policy in [
            CrashPolicy::ProcessKill,
            CrashPolicy::Subset,
            CrashPolicy::Garbage,
        ] {
            let first = snapshot.crash_clone(policy, at as u64);
            first.record_snapshots();
            let context = format!("op {at} {policy:?}");
            let want = survives(&first, &history, &context);
            for (again, second) in first.snapshots().iter().enumerate() {
                for policy in [
                    CrashPolicy::LoseAll,
                    CrashPolicy::Subset,
                    CrashPolicy::Torn { sector_bytes: 512 },
                ] {
                    let context = format!("{context}, then op {again} {policy:?}");
                    let second = second.crash_clone(policy, again as u64);
                    let got = survives(&second, &history, &context);
                    // Only what no sync ever covered may still get lost.
                    assert!(got <= want, "{context}");
                    states += 1;
                }
            }
        }
    }
    println!("{states} second crashes");
    assert!(states > 1500, "{states}");
}

#[test]
fn what_recovery_has_told_survives_the_next_crash() {
    // After `open` returned, everything it shows is durable: the mark rises to what it showed.
    let (snapshots, history) = recorded(4, 80);
    for (at, snapshot) in snapshots.iter().enumerate().step_by(3) {
        let killed = snapshot.crash_clone(CrashPolicy::ProcessKill, at as u64);
        let told = survives(&killed, &history, &format!("op {at}"));
        killed.set_mark(told as u64);
        let cut = killed.crash_clone(CrashPolicy::LoseAll, 1);
        survives(&cut, &history, &format!("op {at}, kill, power cut"));
    }
}

#[test]
fn a_checkpoint_that_only_the_page_cache_has_is_not_built_on() {
    // Killed around a checkpoint, reopened, killed by a power cut around the next one: neither
    // file may depend on the other one's luck.
    let (snapshots, history) = recorded(14, 40);
    let mut states = 0;
    for (at, snapshot) in snapshots.iter().enumerate() {
        let killed = snapshot.crash_clone(CrashPolicy::ProcessKill, at as u64);
        let (mut wal, _) = open(&killed, 77).unwrap();
        let told = check(&wal, &history, killed.mark(), &format!("op {at}"));
        killed.set_mark(told as u64);
        killed.record_snapshots();
        wal.checkpoint().unwrap();
        drop(wal);
        for (again, second) in killed.snapshots().iter().enumerate() {
            for seed in 0..5 {
                let cut = second.crash_clone(CrashPolicy::Garbage, seed);
                survives(
                    &cut,
                    &history,
                    &format!("op {at}, kill, op {again} seed {seed}"),
                );
                states += 1;
            }
        }
    }
    assert!(states > 1000, "{states}");
}

/// Starts that are cut off one after the other, each finding in the page cache what the last one left,
/// perhaps above a batch that was never synced; then the power goes. What a start had only half done
/// must not have cost what it was made from, and must not pass for proof of what nobody acknowledged.
#[test]
fn three_starts_cut_off_in_a_row_cost_nothing() {
    // Thirds that dice choose for each pair of cuts.
    const THIRDS: u64 = 2;
    let operations = |disk: &SimDisk| {
        let disk = disk.crash_clone(CrashPolicy::ProcessKill, 1);
        drop(open(&disk, 4));
        disk.op_count()
    };
    // The process is gone, the machine goes on.
    let cut_off = |disk: &SimDisk, at: u64, fault: Fault| {
        let disk = disk.crash_clone(CrashPolicy::ProcessKill, 1);
        match fault {
            Fault::Dead => disk.inject_from(disk.op_count() + at, fault),
            other => disk.inject(disk.op_count() + at, other),
        }
        drop(open(&disk, 4));
        disk.crash_clone(CrashPolicy::ProcessKill, 2)
    };
    let mut dice = SeededDice(6);
    for (seed, from_end) in [(3, 0), (5, 1), (8, 2)] {
        let (snapshots, history) = recorded(seed, 12);
        let disk = &snapshots[snapshots.len() - 1 - from_end];
        for first in 0..operations(disk) {
            for fault in [Fault::Dead, Fault::Eio, Fault::Enospc] {
                let once = cut_off(disk, first, fault);
                for second in 0..operations(&once) {
                    let twice = cut_off(&once, second, Fault::Dead);
                    let mut ends = vec![(0, twice.clone())];
                    let operations = operations(&twice);
                    for _ in 0..THIRDS {
                        let third = dice.below(operations);
                        ends.push((third, cut_off(&twice, third, Fault::Dead)));
                    }
                    for (third, end) in ends {
                        let policies = [
                            CrashPolicy::LoseAll,
                            CrashPolicy::Subset,
                            CrashPolicy::Garbage,
                        ];
                        let policy = policies[dice.below(3) as usize];
                        let cut = end.crash_clone(policy, dice.below(1 << 40));
                        let context = format!(
                            "seed {seed}, {from_end} from the end, {fault:?} at {first}, dead at \
                             {second} and {third}, {policy:?}"
                        );
                        survives(&cut, &history, &context);
                    }
                }
            }
        }
    }
}

/// Starts that die in a sync, one after the other, each death a killed process, whose page cache the
/// next start believes or not, or a power cut, which takes what that page cache had. However they follow
/// each other, what had been told is there in the end.
#[test]
fn starts_that_die_in_their_syncs_one_after_the_other_cost_nothing() {
    const JOURNALS: u64 = 40;
    // More journals, of which some row lost what had been told before every unproven seal was kept.
    const LOST: [u64; 3] = [44, 165, 247];
    const ROWS: u64 = 60;
    const STARTS: u64 = 5;
    const SYNCS: u64 = 9;
    for seed in (0..JOURNALS).chain(LOST) {
        let mut dice = SeededDice(seed ^ 0x0005_71c5);
        let options = Options {
            spare_files_max: dice.below(3) as usize,
            ..small()
        };
        let start = |disk: &SimDisk, seed: u64| open_with(disk, seed, options.clone());
        // After some lives no file is blank any more: a copy goes over what an earlier one left.
        let disk = SimDisk::new();
        if seed.is_multiple_of(2) {
            disk.hide_boot();
        }
        let mut history = vec![Model::default()];
        for life in 0..2 + dice.below(6) {
            let (mut wal, _) = start(&disk, life).unwrap();
            let from = history.len() as u64 - 1;
            let count = 1 + dice.below(12);
            workload(&mut wal, &disk, life, from, count, &mut history);
            drop(wal.commit().unwrap());
            disk.set_mark(history.len() as u64 - 1);
        }
        for _ in 0..ROWS {
            let mut now = disk.clone();
            let mut row = format!("journal {seed}");
            for number in 0..STARTS {
                let next = now.crash_clone(CrashPolicy::ProcessKill, 0);
                let nth = 1 + dice.below(SYNCS);
                next.die_at_sync(nth);
                drop(start(&next, 90 + number));
                let policies = [CrashPolicy::ProcessKill, CrashPolicy::LoseAll];
                let policy = policies[dice.below(2) as usize];
                row += &format!(", sync {nth} {policy:?}");
                now = next.crash_clone(policy, 0);
            }
            let cut = now.crash_clone(CrashPolicy::LoseAll, 0);
            survives(&cut, &history, &row);
        }
    }
}

#[test]
fn life_goes_on_after_many_crashes() {
    let mut disk = SimDisk::new();
    let mut history = vec![Model::default()];
    let mut dice = SeededDice(6);
    for round in 0..120u64 {
        let context = format!("round {round}");
        let (mut wal, _) = open(&disk, round).unwrap_or_else(|error| panic!("{context}: {error}"));
        let n = check(&wal, &history, disk.mark(), &context);
        history.truncate(n + 1);
        disk.set_mark(n as u64);
        // The process dies in the middle of what it is doing.
        disk.inject(disk.op_count() + dice.below(60), Fault::Dead);
        workload(&mut wal, &disk, round, n as u64, 40, &mut history);
        drop(wal);
        let policy = CrashPolicy::ALL[dice.below(8) as usize];
        disk = disk.crash_clone(policy, round);
    }
    assert!(history.len() > 500, "{}", history.len());
}

/// Lives of many short processes: most die and leave their page cache to the next one, some meet an
/// error, in a start as often as later; now and then the power goes. Files are recycled and checkpoints
/// take turns on the way. Nobody may refuse but over an error that was planned.
#[test]
fn lives_of_errors_kills_and_power_cuts_lose_nothing() {
    for life in (0..LIVES).chain(FOUND) {
        let mut dice = SeededDice(life ^ 0x11fe);
        let mut disk = SimDisk::new();
        let mut history = vec![Model::default()];
        for round in 0..ROUNDS {
            let context = format!("life {life}, round {round}");
            let faults = [Fault::Dead, Fault::Eio, Fault::Enospc, Fault::ShortWrite];
            let fault = faults[dice.below(4) as usize];
            let span = [30, 120][dice.below(2) as usize];
            let at = disk.op_count() + dice.below(span);
            match (dice.below(4), fault) {
                (0, _) => {}
                (_, Fault::Dead) => disk.inject_from(at, fault),
                (_, other) => disk.inject(at, other),
            }
            match open(&disk, dice.below(1 << 40)) {
                Ok((mut wal, _)) => {
                    let n = check(&wal, &history, disk.mark(), &context);
                    history.truncate(n + 1);
                    disk.set_mark(n as u64);
                    let count = 1 + dice.below(30);
                    workload(
                        &mut wal,
                        &disk,
                        dice.below(1 << 40),
                        n as u64,
                        count,
                        &mut history,
                    );
                    if dice.below(3) == 0 {
                        // It may fail as anything else here.
                        let _tried = wal.checkpoint();
                    }
                }
                Err(error) => {
                    let struck = disk.op_count() > at;
                    let excused = matches!(
                        error.kind(),
                        ErrorKind::Retry | ErrorKind::Space | ErrorKind::Poisoned
                    );
                    assert!(struck && excused, "{context}: {error}");
                }
            }
            let policy = match dice.below(10) {
                0..7 => CrashPolicy::ProcessKill,
                _ => CrashPolicy::ALL[dice.below(8) as usize],
            };
            disk = disk.crash_clone(policy, dice.below(1 << 40));
        }
    }
}

#[test]
fn every_error_at_every_operation_is_survived() {
    let mut poisoned = 0;
    let faults = [Fault::Eio, Fault::Enospc, Fault::ShortWrite];
    let total = {
        let disk = SimDisk::new();
        let (mut wal, _) = open(&disk, 8).unwrap();
        workload(&mut wal, &disk, 8, 0, 50, &mut vec![Model::default()]);
        disk.op_count()
    };
    for fault in faults {
        for at in 0..total {
            let context = format!("{fault:?} at op {at}");
            let disk = SimDisk::new();
            disk.inject(at, fault);
            let mut history = vec![Model::default()];
            if let Ok((mut wal, _)) = open(&disk, 8) {
                workload(&mut wal, &disk, 8, 0, 50, &mut history);
                if let Some(cause) = wal.poisoned().cloned() {
                    poisoned += 1;
                    let dead = wal.get(b"count").err().map(|error| error.kind());
                    assert_eq!(dead, Some(ErrorKind::Poisoned), "{context}: {cause:?}");
                    assert!(wal.commit().is_err() && wal.stage(Txn::new(), ()).is_err());
                }
            }
            disk.heal();
            // The owner reopens in the same machine: the page cache lives on.
            let told = survives(&disk, &history, &format!("{context}, reopened"));
            disk.set_mark(told as u64);
            let cut = disk.crash_clone(CrashPolicy::LoseAll, at);
            survives(&cut, &history, &format!("{context}, reopened, power cut"));
            // Life goes on in files that the failed operation may have left half made.
            history.truncate(told + 1);
            let context = format!("{context}, reopened, went on");
            let (mut wal, _) = open(&disk, 10).unwrap_or_else(|e| panic!("{context}: {e}"));
            workload(&mut wal, &disk, at, told as u64, 40, &mut history);
            drop(wal);
            for policy in [CrashPolicy::LoseAll, CrashPolicy::KeepAll] {
                let cut = disk.crash_clone(policy, at);
                survives(&cut, &history, &format!("{context}, {policy:?}"));
            }
        }
    }
    println!("{total} operations, {poisoned} poisoned runs");
    assert!(poisoned > 50, "{poisoned}");
}

/// Log files come and go; a sync of their names whose outcome is unknown is not asked for again, whatever it failed of.
#[test]
fn a_failed_sync_of_the_names_of_log_files_is_poison() {
    let options = Options {
        spare_files_max: 0,
        ..small()
    };
    let life = |disk: &SimDisk| {
        let (mut wal, _) = open_with(disk, 8, options.clone()).unwrap();
        let opened = disk.op_count();
        workload(&mut wal, disk, 8, 0, 50, &mut vec![Model::default()]);
        (opened, wal.poisoned().is_some())
    };
    let disk = SimDisk::new();
    disk.record_trace();
    let (opened, _) = life(&disk);
    let syncs_names = |one: &TraceOp| one.kind == "sync_dir" && one.path == "log";
    let mut before = "";
    let mut failed = [0, 0];
    for (at, one) in disk.trace().iter().enumerate() {
        if at as u64 >= opened && syncs_names(one) {
            for fault in [Fault::Eio, Fault::Enospc] {
                let disk = SimDisk::new();
                disk.inject(at as u64, fault);
                let (_, is_poisoned) = life(&disk);
                assert!(is_poisoned, "{fault:?} at op {at}, behind a {before}");
            }
            failed[usize::from(before == "remove")] += 1;
        }
        before = one.kind;
    }
    assert!(failed.iter().all(|count| *count > 0), "{failed:?}");
}

#[test]
fn an_error_anywhere_in_recovery_is_survived() {
    let (snapshots, history) = recorded(9, 50);
    let last = snapshots
        .last()
        .unwrap()
        .crash_clone(CrashPolicy::KeepAll, 0);
    let ops = {
        let probe = last.crash_clone(CrashPolicy::KeepAll, 0);
        let wal = open(&probe, 1).unwrap();
        drop(wal);
        probe.op_count()
    };
    for fault in [Fault::Eio, Fault::Enospc, Fault::ShortWrite, Fault::Dead] {
        for at in 0..ops {
            let disk = last.crash_clone(CrashPolicy::KeepAll, 0);
            disk.inject(at, fault);
            match open(&disk, 1) {
                Ok((wal, _)) => drop(check(&wal, &history, disk.mark(), "with an error")),
                Err(error) => {
                    assert!(
                        !matches!(error, WalError::Corrupt(_)),
                        "{fault:?} at {at}: {error}"
                    );
                }
            }
            disk.heal();
            survives(
                &disk,
                &history,
                &format!("{fault:?} at op {at} of recovery"),
            );
        }
    }
}

#[test]
fn rocks_survives_crashes_too() {
    // The view's files live on the real disk; a crash of the log meets a view of any age.
    let dir = tempfile::tempdir().unwrap();
    let mut dice = SeededDice(12);
    let mut history = vec![Model::default()];
    let mut disk = SimDisk::new();
    for round in 0..12u64 {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let store = Box::new(RocksStore::new(dir.path().join("view")));
        let (mut wal, _) = Wal::open(shared, store, Box::new(SeededDice(round)), small()).unwrap();
        let n = check(&wal, &history, disk.mark(), &format!("round {round}"));
        history.truncate(n + 1);
        disk.set_mark(n as u64);
        disk.inject(disk.op_count() + 20 + dice.below(60), Fault::Dead);
        workload(&mut wal, &disk, round, n as u64, 40, &mut history);
        // Not dropped: a destructor would flush what a crash forgets. Its lock on the directory
        // goes with the process, so the view moves to a fresh copy of its files.
        let next = dir.path().join(format!("view{round}"));
        copy_dir(&dir.path().join("view"), &next);
        drop(wal);
        std::fs::remove_dir_all(dir.path().join("view")).unwrap();
        std::fs::rename(&next, dir.path().join("view")).unwrap();
        disk = disk.crash_clone(CrashPolicy::Subset, round);
    }
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match std::fs::copy(entry.path(), to.join(entry.file_name())) {
            Ok(_) => {}
            // A compaction took it away meanwhile: the copy is as torn as a crash may leave it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_real_directory_survives_a_missing_view() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let disk = Arc::new(RealDisk::new(dir.path()).unwrap());
        let store = Box::new(RocksStore::new(dir.path().join("view")));
        Wal::open(disk, store, Box::new(SeededDice(1)), Options { ..small() })
    };
    let mut history = vec![Model::default()];
    let sim = SimDisk::new();
    let (mut wal, _) = open().unwrap();
    workload(&mut wal, &sim, 5, 0, 80, &mut history);
    drop(wal.commit().unwrap());
    drop(wal);
    std::fs::remove_dir_all(dir.path().join("view")).unwrap();
    let (wal, report) = open().unwrap();
    assert_eq!(report.view, wal::ViewOutcome::Rebuilt);
    check(&wal, &history, 80, "view removed");
}

#[test]
fn any_damaged_file_of_rocks_is_cured() {
    let dir = tempfile::tempdir().unwrap();
    let view = dir.path().join("view");
    let open = || {
        let disk = Arc::new(RealDisk::new(dir.path()).unwrap());
        let store = Box::new(RocksStore::new(&view));
        Wal::open(disk, store, Box::new(SeededDice(1)), small())
    };
    let mut history = vec![Model::default()];
    let sim = SimDisk::new();
    let (mut wal, _) = open().unwrap();
    workload(&mut wal, &sim, 5, 0, 80, &mut history);
    drop(wal.commit().unwrap());
    wal.checkpoint().unwrap();
    drop(wal);
    let mut rebuilt = 0;
    let names = |dir: &std::path::Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    for round in 0..12usize {
        let mut files = names(&view);
        files.retain(|path| std::fs::metadata(path).is_ok_and(|facts| facts.len() > 0));
        files.sort();
        let path = &files[round % files.len()];
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        let end = bytes.len().min(middle + 4096);
        bytes[middle..end].fill(0xa5);
        std::fs::write(path, &bytes).unwrap();
        let context = format!("{}", path.display());
        let (wal, report) = open().unwrap_or_else(|error| panic!("{context}: {error}"));
        rebuilt += u32::from(report.view == wal::ViewOutcome::Rebuilt);
        check(&wal, &history, 80, &context);
    }
    assert!(rebuilt > 0);
}

/// A view that spills while it is being made anew, as RocksDB does, and a start that dies then.
#[test]
fn a_rebuild_that_is_cut_off_is_done_again() {
    let open = |disk: &SimDisk, seed| {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let store = wal::store::MemStore::on_disk(Arc::clone(&disk), "view").spilling(1);
        Wal::open(disk, Box::new(store), Box::new(SeededDice(seed)), small())
    };
    let disk = SimDisk::new();
    let mut history = vec![Model::default()];
    let (mut wal, _) = open(&disk, 1).unwrap();
    workload(&mut wal, &disk, 4, 0, 120, &mut history);
    drop(wal.commit().unwrap());
    wal.checkpoint().unwrap();
    drop(wal);
    disk.set_mark(120);
    disk.remove("view").unwrap();
    let disk = disk.crash_clone(CrashPolicy::KeepAll, 0);
    disk.record_snapshots();
    drop(open(&disk, 2).unwrap());
    let mut rebuilt = 0;
    for (at, snapshot) in disk.snapshots().iter().enumerate() {
        for policy in [CrashPolicy::ProcessKill, CrashPolicy::LoseAll] {
            let cut = snapshot.crash_clone(policy, at as u64);
            let (wal, report) = open(&cut, 3).unwrap();
            check(&wal, &history, 120, &format!("op {at} {policy:?}"));
            rebuilt += usize::from(report.view == wal::ViewOutcome::Rebuilt);
        }
    }
    assert!(rebuilt > 6, "{rebuilt}");
}

/// A start that refused in the middle of a rebuild refuses again, with RocksDB, which writes out
/// what it has when it is closed.
#[test]
fn a_rebuild_that_failed_is_not_believed() {
    use wal::record::GroupHeader;
    let dir = tempfile::tempdir().unwrap();
    let view = dir.path().join("view");
    let open = || {
        let disk = Arc::new(RealDisk::new(dir.path()).unwrap());
        let store = Box::new(RocksStore::new(&view));
        Wal::open(disk, store, Box::new(SeededDice(1)), small())
    };
    let (mut wal, _) = open().unwrap();
    let first = put_payload(&mut wal, "kept", vec![7; 9000]);
    for n in 0..40 {
        put(&mut wal, "k", &format!("{n}"));
        let _lsn = put_payload(&mut wal, "replaced", vec![n; 9000]);
    }
    wal.checkpoint().unwrap();
    drop(wal);
    // The group of the payload that is still wanted is damaged, and the view is gone.
    let mut damaged = 0;
    for entry in std::fs::read_dir(dir.path().join("log")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(4096) {
            let header = GroupHeader::decode(&bytes[at..(at + 4096).min(bytes.len())]);
            if header.is_ok_and(|(header, _)| header.lsn == first) {
                bytes[at + 90] ^= 0xff;
                damaged += 1;
            }
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(damaged > 0);
    std::fs::remove_dir_all(&view).unwrap();
    for _ in 0..3 {
        let refused = open().err().expect("half a view was believed");
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    }
}

/// A confirmation that only the page cache has must not be all that is left while the other
/// checkpoint is overwritten. (Found by the simulated engine: a start built on it, and the next
/// checkpoint took the place of the only one that was confirmed on the disk.)
#[test]
fn a_confirmation_in_the_page_cache_and_a_power_cut_in_the_next_checkpoint_lose_nothing() {
    let mut states = 0;
    for seed in [2, 6] {
        let (snapshots, history) = recorded(seed, 110);
        for (at, snapshot) in snapshots.iter().enumerate() {
            let killed = snapshot.crash_clone(CrashPolicy::ProcessKill, at as u64);
            let (mut wal, _) = open(&killed, 77).unwrap();
            let context = format!("seed {seed} op {at}");
            let told = check(&wal, &history, killed.mark(), &context);
            killed.set_mark(told as u64);
            killed.record_snapshots();
            wal.checkpoint().unwrap();
            drop(wal);
            for (again, second) in killed.snapshots().iter().enumerate() {
                let cut = second.crash_clone(CrashPolicy::LoseAll, 0);
                survives(&cut, &history, &format!("{context}, kill, op {again}"));
                states += 1;
            }
        }
    }
    assert!(states > 1000, "{states}");
}
