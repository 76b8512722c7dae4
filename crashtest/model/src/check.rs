//! Runs the checker and says what came of it.
//!
//! This room must never change a bound.
#![expect(clippy::disallowed_methods, reason = "A run shows how long it took.")]

use std::fmt::Debug;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Outcome<Action> {
    /// Different states.
    pub unique: usize,
    /// States reached, repetitions included.
    pub generated: usize,
    /// Steps of the longest shortest way.
    pub depth: usize,
    /// Wall time.
    pub took: Duration,
    /// Broken promises, each with its shortest way there.
    pub broken: Vec<(&'static str, Vec<Action>)>,
}

/// Explores everything within bounds; with `until`, only until that promise is broken. With one
/// thread the ways are the shortest.
pub fn explore<M>(model: M, until: Option<&'static str>, threads: usize) -> Outcome<M::Action>
where
    M: Model + Send + Sync + 'static,
    M::State: std::hash::Hash + Send + Sync + Clone + PartialEq + Debug + 'static,
    M::Action: Clone + PartialEq + Debug + Send + Sync,
{
    let began = Instant::now();
    let mut builder = model.checker().threads(threads);
    if let Some(name) = until {
        builder = builder.finish_when(HasDiscoveries::AllOf([name].into_iter().collect()));
    }
    let checker = builder.spawn_bfs().join();
    let broken = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| (name, path.into_actions()))
        .collect();
    Outcome {
        unique: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        broken,
    }
}

/// The most memory that this process has had, in KiB; 0 where it cannot be learnt.
#[must_use]
pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
