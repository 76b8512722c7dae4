//! The commands of `simulate` that search on all cores: seeds, and the deliberate bugs.
//!
//! It only counts and prints; what is caught is decided in the library.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use crashtest_sim::mutants::{self as bugs, Finding, TRIALS, Trial};
use crashtest_sim::run::{self, pair};
use crashtest_sim::seeds::{Played, Seeds};
use journal::Suite;

/// Plays the plans of seeds; true if all of them were played and every promise held, or if the time
/// alone was planned (`open_ended`) and every promise held until then.
pub(crate) fn worlds(seeds: &Seeds, json: bool, open_ended: bool) -> io::Result<bool> {
    let found = run::worlds(seeds)?;
    let extra = serde_json::json!({"deaths": found.sum(0), "envelopes": found.sum(1),
        "dropped": found.sum(3), "old_copies": found.sum(4), "heartbeats": found.sum(5)});
    let good = tell("simulate repro", seeds, &found, extra, json);
    Ok(good && found.played > 0 && (open_ended || found.left == 0))
}

/// The same of the engine alone.
pub(crate) fn engines(seeds: &Seeds, json: bool, open_ended: bool) -> io::Result<bool> {
    let found = run::engines(seeds)?;
    let extra = serde_json::json!({ "crashes": found.sum(0) });
    let repeat = "simulate engine --seeds 1 --from";
    let good = tell(repeat, seeds, &found, extra, json);
    Ok(good && found.played > 0 && (open_ended || found.left == 0))
}

fn tell(repeat: &str, seeds: &Seeds, found: &Played, extra: serde_json::Value, json: bool) -> bool {
    for (seed, broken) in &found.failed {
        eprintln!("FAILED seed {seed}: {broken}\n  repeat: {repeat} {seed}");
    }
    if found.left > 0 {
        let left = found.left;
        eprintln!("NOT COVERED: the time was up before {left} seeds of this part were played");
    }
    let failed: Vec<u64> = found.failed.iter().map(|(seed, _)| *seed).collect();
    let mut value = serde_json::json!({
        "from": seeds.from, "seeds": found.played, "left": found.left, "failed": failed,
        "unfinished": (found.left > 0).then(|| format!("{} seeds were not reached", found.left)),
        "seconds": found.took.as_secs_f64(),
    });
    if let (Some(value), serde_json::Value::Object(extra)) = (value.as_object_mut(), extra) {
        value.extend(extra);
    }
    if json {
        println!("{value}");
    } else {
        let (played, count) = (found.played, failed.len());
        println!(
            "{played} seeds from {}: {count} failed; {:.0} s; {value}",
            seeds.from,
            found.took.as_secs_f64()
        );
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
    // Of one alone the median says nothing.
    let quick = name.is_some() || median <= crashtest::mutants::MEDIAN_MAX.as_secs_f64();
    if !quick {
        eprintln!("FAILED: half of the bugs are seen only after {median:.0} s");
    }
    let good = quick && survived == 0 && unmatched.is_empty() && !trials.is_empty();
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
