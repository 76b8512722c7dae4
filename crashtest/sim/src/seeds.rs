//! Many seeds, on all cores, until they are done or the time is up; and where to go on.
//!
//! It must never lose a seed: those that the time did not reach are counted as not played, a seed that
//! was begun is finished, and one that failed is played again first by whoever goes on, on the same
//! build, for ever.
#![expect(
    clippy::disallowed_methods,
    reason = "Seeds share the machine's cores and may have a deadline: a shell."
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::oracle::Broken;

mod progress;

pub use progress::{Done, Progress};

/// How often a long run says how far it has come, and writes it down.
const SAY_SECONDS: u64 = 20;

/// Which seeds, and for how long.
#[derive(Clone, Debug)]
pub struct Seeds {
    /// The first one.
    pub from: u64,
    /// How many, over all machines that share them.
    pub count: u64,
    /// `(2, 8)` is the third of eight machines: it plays each eighth seed.
    pub shard: (u64, u64),
    /// Begin no seed after this time.
    pub time_max: Option<Duration>,
    /// Go on behind what this file says, and write down there how far we came.
    pub resume: Option<Progress>,
    /// Threads.
    pub threads: usize,
}

impl Seeds {
    /// All of `from..from + count`, on as many threads as there are cores.
    #[must_use]
    pub fn new(from: u64, count: u64) -> Self {
        Self {
            from,
            count,
            shard: (0, 1),
            time_max: None,
            resume: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// What one seed tells, as numbers that may be added.
pub trait Told {
    /// The numbers, always as many.
    fn numbers(&self) -> Vec<u64>;
}

impl Told for u64 {
    fn numbers(&self) -> Vec<u64> {
        vec![*self]
    }
}

/// What came of them, over all runs that were resumed.
#[derive(Debug)]
pub struct Played {
    /// The sums of what the seeds told.
    pub sums: Vec<u64>,
    /// The bad ones, ascending, with what they broke.
    pub failed: Vec<(u64, String)>,
    /// How many were played.
    pub played: u64,
    /// How many the time did not reach.
    pub left: u64,
    /// How long it took.
    pub took: Duration,
}

impl Played {
    /// One of the sums.
    #[must_use]
    pub fn sum(&self, place: usize) -> u64 {
        self.sums.get(place).copied().unwrap_or_default()
    }
}

/// What the threads share.
struct Table {
    /// The next seed that nobody has taken.
    next: u64,
    /// Taken, and not finished.
    flying: BTreeSet<u64>,
    /// Finished above the lowest that flies.
    ahead: BTreeMap<u64, Result<Vec<u64>, Broken>>,
    /// Everything below the lowest that flies.
    done: Done,
    said: u64,
}

impl Table {
    /// Counts what has nothing unfinished below it.
    fn settle(&mut self) {
        let reached = self.flying.first().copied().unwrap_or(self.next);
        let ahead = self.ahead.split_off(&reached);
        for (seed, result) in std::mem::replace(&mut self.ahead, ahead) {
            self.done.take(seed, result);
        }
        self.done.next = reached;
    }
}

/// Plays them. `worker` makes the player of one thread; what it cannot make fails the run. What failed
/// in an earlier run that is resumed is played again first, and stays failed whatever it does now.
///
/// # Errors
/// The file of the last run is another build's, cannot be read or written, or no player can be made.
pub fn play<T, P>(seeds: &Seeds, worker: impl Fn() -> io::Result<P> + Sync) -> io::Result<Played>
where
    T: Told,
    P: FnMut(u64) -> Result<T, Broken>,
{
    let began = Instant::now();
    let (rest, of) = seeds.shard;
    let mine = |seed: &u64| seed % of.max(1) == rest;
    let end = seeds.from.saturating_add(seeds.count);
    let mut done = match &seeds.resume {
        Some(progress) => progress.read(seeds.from)?,
        None => Done::at(seeds.from),
    };
    if !done.failed.is_empty() {
        let mut player = worker()?;
        for (seed, why) in &mut done.failed {
            *why = match player(*seed) {
                Err(broken) => broken.to_string(),
                Ok(_) => format!("{why} (in an earlier run; now it passes)"),
            };
        }
    }
    let before = done.took;
    let table = Mutex::new(Table {
        next: done.next,
        flying: BTreeSet::new(),
        ahead: BTreeMap::new(),
        done,
        said: 0,
    });
    let lock = || -> MutexGuard<'_, Table> {
        // Seeds are played outside of the lock, so whatever panicked left it whole.
        table.lock().unwrap_or_else(PoisonError::into_inner)
    };
    let note = |table: &mut Table| -> io::Result<()> {
        table.settle();
        table.done.took = before + began.elapsed();
        match &seeds.resume {
            Some(progress) => progress.write(&table.done),
            None => Ok(()),
        }
    };
    let take = || {
        let late = seeds.time_max.is_some_and(|max| began.elapsed() >= max);
        let mut table = lock();
        while !late && table.next < end {
            let seed = table.next;
            table.next += 1;
            if mine(&seed) {
                table.flying.insert(seed);
                return Some(seed);
            }
        }
        None
    };
    let work = || -> io::Result<()> {
        let mut player = worker()?;
        while let Some(seed) = take() {
            let result = player(seed).map(|told| told.numbers());
            let mut table = lock();
            table.flying.remove(&seed);
            table.ahead.insert(seed, result);
            let due = began.elapsed().as_secs() / SAY_SECONDS;
            if table.said < due {
                table.said = due;
                eprintln!("seed {seed} of {end}, {} s", began.elapsed().as_secs());
                note(&mut table)?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| -> io::Result<()> {
        let workers: Vec<_> = (0..seeds.threads.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })?;
    let mut table = lock();
    note(&mut table)?;
    let done = table.done.clone();
    let left = (done.next..end).filter(mine).count() as u64;
    Ok(Played {
        sums: done.sums,
        failed: done.failed,
        played: done.played,
        left,
        took: done.took,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(seed: u64) -> Result<u64, Broken> {
        match seed % 10 {
            9 => Err(Broken::new("C1", "nine")),
            _ => Ok(seed),
        }
    }

    #[test]
    fn each_seed_is_played_once_and_shards_share_them() {
        let (mut played, mut sum) = (0, 0);
        for rest in 0..3 {
            let seeds = Seeds {
                shard: (rest, 3),
                ..Seeds::new(5, 50)
            };
            let found = play(&seeds, || Ok(odd)).unwrap();
            assert_eq!(found.left, 0);
            played += found.played;
            sum += found.sum(0) + found.failed.iter().map(|(seed, _)| *seed).sum::<u64>();
        }
        assert_eq!((played, sum), (50, (5..55).sum::<u64>()));
    }

    #[test]
    fn what_the_time_did_not_reach_is_left_and_resumed_and_failures_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let progress = Progress::new(&directory.path().join("next"), "this build");
        let mut seeds = Seeds {
            resume: Some(progress.clone()),
            time_max: Some(Duration::ZERO),
            ..Seeds::new(0, 20)
        };
        let played = play(&seeds, || Ok(odd)).unwrap();
        assert_eq!((played.played, played.left), (0, 20));
        seeds.time_max = None;
        let played = play(&seeds, || Ok(odd)).unwrap();
        assert_eq!((played.played, played.left), (20, 0));
        assert_eq!(played.failed.len(), 2);
        // All are done: totals and failures are those of all runs, and the bad ones are asked again.
        let again = Mutex::new(Vec::new());
        let asking = |seed| {
            again.lock().unwrap().push(seed);
            odd(seed)
        };
        let found = play(&seeds, || Ok(asking)).unwrap();
        assert_eq!((found.played, found.left), (20, 0));
        assert_eq!(found.sums, played.sums);
        assert_eq!(found.failed.len(), 2, "a failure is forgotten");
        assert_eq!(*again.lock().unwrap(), [9, 19]);
        // A seed that passes now did fail on this build.
        let found = play(&seeds, || Ok(Ok::<u64, Broken>)).unwrap();
        assert_eq!(found.failed.len(), 2);
        // On another build none of it says anything.
        seeds.resume = Some(Progress::new(&directory.path().join("next"), "another"));
        let refused = play(&seeds, || Ok(odd)).unwrap_err().to_string();
        assert!(refused.contains("another build"), "{refused}");
    }
}
