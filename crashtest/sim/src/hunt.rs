//! The commands of `simulate` that search on two threads: the engine's seeds, and the deliberate bugs.
//!
//! It only counts and prints; what is caught is decided in the library.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crashtest_sim::engine::Bias;
use crashtest_sim::mutants::{self as bugs, Finding, TRIALS, Trial};
use crashtest_sim::run::{self, pair};
use journal::Suite;

/// Plays seeds of the engine alone; true if every promise held.
pub(crate) fn engine(from: u64, seeds: u64, json: bool) -> bool {
    let next = AtomicU64::new(from);
    let work = || {
        let (mut failed, mut crashes) = (Vec::new(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from.saturating_add(seeds) {
                return (failed, crashes);
            }
            match run::engine(Bias::of(seed), seed) {
                Ok(died) => crashes += died,
                Err(broken) => {
                    eprintln!("engine seed {seed}: {broken}");
                    failed.push(seed);
                }
            }
        }
    };
    let (failed, crashes) = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let (mut failed, mut crashes) = work();
        if let Ok((more, died)) = other.join() {
            failed.extend(more);
            crashes += died;
        }
        (failed, crashes)
    });
    if json {
        let line = serde_json::json!({"seeds": seeds, "failed": failed, "crashes": crashes});
        println!("{line}");
    } else {
        let count = failed.len();
        println!("{seeds} engine seeds from {from}: {count} failed, {crashes} crashes");
    }
    failed.is_empty()
}

/// Tries the bugs on two threads; true if every one was caught by its own promise.
pub(crate) fn mutants(name: Option<&str>, json: bool) -> bool {
    // A bug may well end in a panic, which is a broken promise like any other.
    std::panic::set_hook(Box::new(|_| {}));
    let linked = match bugs::linked() {
        Ok(linked) => linked,
        Err(what) => {
            eprintln!("simulate: {what}");
            return false;
        }
    };
    let unmatched = bugs::unmatched(&linked);
    for line in &unmatched {
        eprintln!("simulate: {line}");
    }
    let wanted = |trial: &&Trial| name.is_none_or(|name| name == trial.mutant);
    let trials: Vec<&Trial> = TRIALS.iter().filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut findings = Vec::new();
        let pair = pair(Suite::XWing);
        while let (Some(trial), Ok(pair)) =
            (trials.get(next.fetch_add(1, Ordering::Relaxed)), &pair)
        {
            let promise = linked.get(trial.mutant).copied().unwrap_or("?");
            let finding = bugs::find(trial, promise, pair);
            eprintln!("{finding}");
            findings.push(finding);
        }
        findings
    };
    let findings: Vec<Finding> = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut findings = work();
        findings.extend(other.join().unwrap_or_default());
        findings
    });
    let survived = trials.len() - findings.iter().filter(|found| found.caught()).count();
    let mut took: Vec<f64> = findings
        .iter()
        .map(|found| found.took.as_secs_f64())
        .collect();
    took.sort_by(f64::total_cmp);
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    let good = survived == 0 && unmatched.is_empty() && !trials.is_empty();
    if json {
        let bugs = findings.iter().map(|found| {
            serde_json::json!({
                "mutant": found.mutant, "promise": found.promise, "tier": found.tier.to_string(),
                "caught": found.caught(), "seeds": found.seeds,
                "seed": found.seen.as_ref().map(|seen| seen.0),
                "seconds": found.took.as_secs_f64(),
            })
        });
        let bugs: Vec<_> = bugs.collect();
        let line = serde_json::json!({
            "mutants": bugs, "survived": survived, "median_seconds": median, "good": good,
        });
        println!("{line}");
    } else {
        println!(
            "{} deliberate bugs, {survived} survived, median time to detection {median:.2} s",
            trials.len()
        );
    }
    good
}
