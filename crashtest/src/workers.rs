//! Runs that are independent of each other, a few at a time, each in a paired world of its worker's own.
//!
//! This room knows nothing of what a run does. It must never say that one was done which was not.
#![expect(
    clippy::disallowed_methods,
    reason = "Its workers are threads that wait for processes, and it looks at a real clock."
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::system::{Setup, Stock};
use crate::trouble::Outcome;

/// Runs at a time. They mostly wait: for the camera, which plays in real time, and for syncs.
pub const WORKERS: usize = 6;

/// Runs all cases; what came of each, in the order of `cases`. Those that the time did not reach are
/// missing. Each result is told when it is there; what cannot be told ends its worker.
///
/// # Errors
/// No paired world could be made, or a result could not be told.
pub fn run<C: Sync, R: Send>(
    setup: &Setup,
    cases: &[C],
    until: Option<Instant>,
    one: impl Fn(&Stock, &C) -> R + Sync,
    tell: impl Fn(&R) -> Outcome<()> + Sync,
) -> Outcome<Vec<R>> {
    run_in(|| Stock::paired(setup), cases, until, one, tell)
}

/// The same, each worker in a world that `stock` makes.
///
/// # Errors
/// No such world could be made, or a result could not be told.
pub fn run_in<C: Sync, R: Send>(
    stock: impl Fn() -> Outcome<Stock> + Sync,
    cases: &[C],
    until: Option<Instant>,
    one: impl Fn(&Stock, &C) -> R + Sync,
    tell: impl Fn(&R) -> Outcome<()> + Sync,
) -> Outcome<Vec<R>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, R>> = Mutex::new(BTreeMap::new());
    let keep = |index: usize, result: R| {
        // A worker that panicked is joined, and its panic goes on there.
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.insert(index, result);
    };
    let work = || -> Outcome<()> {
        let stock = stock()?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let late = until.is_some_and(|until| Instant::now() >= until);
            let Some(case) = cases.get(index).filter(|_| !late) else {
                return Ok(());
            };
            let result = one(&stock, case);
            tell(&result)?;
            keep(index, result);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(cases.len()))
            .map(|_| scope.spawn(work))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(done.into_values().collect())
}
