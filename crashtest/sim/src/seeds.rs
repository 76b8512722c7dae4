//! Many seeds, on all cores, until they are done or the time is up; and where to go on.
//!
//! It must never lose a seed: those that the time did not reach are counted as not played, and a
//! seed that was begun is finished.
#![expect(
    clippy::disallowed_methods,
    reason = "Seeds share the machine's cores and may have a deadline: a shell."
)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::oracle::Broken;

/// How often a long run says how far it has come.
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
    /// Go on behind the seed that this file names, and write down there how far we came.
    pub resume: Option<PathBuf>,
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

/// What came of them. `T` is what one seed tells.
#[derive(Debug)]
pub struct Played<T> {
    /// What each good seed told, in no order.
    pub told: Vec<T>,
    /// The bad ones, ascending, with what they broke.
    pub failed: Vec<(u64, Broken)>,
    /// How many were played, earlier runs that were resumed not counted.
    pub played: u64,
    /// How many the time did not reach.
    pub left: u64,
    /// How long it took.
    pub took: Duration,
}

/// Plays them. `worker` makes the player of one thread; what it cannot make fails the run.
///
/// # Errors
/// The file of the last run cannot be read or written, or no player can be made.
pub fn play<T, P>(seeds: &Seeds, worker: impl Fn() -> io::Result<P> + Sync) -> io::Result<Played<T>>
where
    T: Send,
    P: FnMut(u64) -> Result<T, Broken>,
{
    let began = Instant::now();
    let (rest, of) = seeds.shard;
    let mine = |seed: &u64| seed % of.max(1) == rest;
    let end = seeds.from.saturating_add(seeds.count);
    let first = match &seeds.resume {
        Some(path) => next_of(path)?.unwrap_or(seeds.from).max(seeds.from),
        None => seeds.from,
    };
    let next = AtomicU64::new(first);
    let (late, said) = (AtomicBool::new(false), AtomicU64::new(0));
    let work = || -> io::Result<(Vec<T>, Vec<(u64, Broken)>)> {
        let mut player = worker()?;
        let (mut told, mut failed) = (Vec::new(), Vec::new());
        loop {
            if seeds.time_max.is_some_and(|max| began.elapsed() >= max) {
                late.store(true, Ordering::Relaxed);
            }
            if late.load(Ordering::Relaxed) {
                return Ok((told, failed));
            }
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok((told, failed));
            }
            if !mine(&seed) {
                continue;
            }
            match player(seed) {
                Ok(one) => told.push(one),
                Err(broken) => failed.push((seed, broken)),
            }
            let due = began.elapsed().as_secs() / SAY_SECONDS;
            if said.fetch_max(due, Ordering::Relaxed) < due {
                eprintln!("seed {seed} of {end}, {} s", began.elapsed().as_secs());
            }
        }
    };
    let (mut told, mut failed) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| -> io::Result<()> {
        let workers: Vec<_> = (0..seeds.threads.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        for worker in workers {
            let (more, bad) = match worker.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            told.extend(more);
            failed.extend(bad);
        }
        Ok(())
    })?;
    failed.sort_by_key(|(seed, _)| *seed);
    // Every seed below this one was played: a thread that took one finished it.
    let reached = next.load(Ordering::Relaxed).min(end);
    if let Some(path) = &seeds.resume {
        std::fs::write(path, format!("{reached}\n"))?;
    }
    let played = (told.len() + failed.len()) as u64;
    Ok(Played {
        told,
        failed,
        played,
        left: (reached..end).filter(mine).count() as u64,
        took: began.elapsed(),
    })
}

/// The seed at which the last run stopped, if there was one.
fn next_of(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let next = text.trim().parse().map_err(io::Error::other)?;
            Ok(Some(next))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
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
        let mut all = Vec::new();
        for rest in 0..3 {
            let seeds = Seeds {
                shard: (rest, 3),
                ..Seeds::new(5, 50)
            };
            let played = play(&seeds, || Ok(odd)).unwrap();
            assert_eq!(played.left, 0);
            all.extend(played.told);
            all.extend(played.failed.iter().map(|(seed, _)| *seed));
        }
        all.sort_unstable();
        assert_eq!(all, (5..55).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_time_did_not_reach_is_left_and_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let mut seeds = Seeds {
            resume: Some(directory.path().join("next")),
            time_max: Some(Duration::ZERO),
            ..Seeds::new(0, 20)
        };
        let played = play(&seeds, || Ok(odd)).unwrap();
        assert_eq!((played.played, played.left), (0, 20));
        seeds.time_max = None;
        let played = play(&seeds, || Ok(odd)).unwrap();
        assert_eq!((played.played, played.left), (20, 0));
        assert_eq!(played.failed.len(), 2);
        let played = play(&seeds, || Ok(odd)).unwrap();
        assert_eq!(played.played, 0, "all of them are done");
    }
}
