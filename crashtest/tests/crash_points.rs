//! Every crash point of every program: killed at its first hit, started again, judged; and for each
//! promise a deliberate bug, caught by that promise. `cargo xtask crash` tries them all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crashtest::mutants::{self, Finding, Trial};
use crashtest::progress::Progress;
use crashtest::report::Report;
use crashtest::steps;
use crashtest::sweep::{self, Survey};
use crashtest::system::Stock;
use crashtest::trouble::{Outcome, Trouble};
use crashtest::workload::Workload;

/// One run of each of the gate's workloads without a crash, for both tests.
fn survey() -> Outcome<Survey> {
    static SURVEY: Mutex<Option<Survey>> = Mutex::new(None);
    let mut kept = SURVEY.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        let stock = Stock::paired(&Workload::Event.setup())?;
        *kept = Some(sweep::survey_of_gate(&stock)?);
    }
    Ok(kept.clone().unwrap_or_default())
}

#[test]
fn killed_at_the_first_hit_of_every_point() -> Outcome<()> {
    let began = Instant::now();
    let survey = survey()?;
    let unhit = steps::unhit(&steps::rows(), &survey);
    assert!(unhit.is_empty(), "{unhit:#?}");
    let cases = survey.each_point_once();
    let cells = sweep::run(&cases, None, &Progress::unkept(), |_count, cell| {
        println!("{cell}");
    })?;
    let report = Report {
        survey: &survey,
        cases: &cases,
        cells: &cells,
        took: began.elapsed(),
    };
    println!("{}", report.table());
    if report.is_good() {
        return Ok(());
    }
    Err(Trouble::Broken(report.table()))
}

#[test]
fn a_deliberate_bug_of_each_promise_is_caught_by_it() -> Outcome<()> {
    let survey = survey()?;
    let unmatched = mutants::unmatched(&survey);
    assert!(unmatched.is_empty(), "{unmatched:?}");
    // The first of each: the gate has ten minutes. `unmatched` has seen that each bug has a trial.
    let mut of_promise: BTreeMap<&str, &Trial> = BTreeMap::new();
    for trial in mutants::TRIALS {
        let promise = survey.mutants.get(trial.mutant).map_or("?", String::as_str);
        of_promise.entry(promise).or_insert(trial);
    }
    let trials: Vec<(&str, &Trial)> = of_promise.into_iter().collect();
    // Two at a time, each in a world of its own: they mostly wait.
    let next = AtomicUsize::new(0);
    let work = || -> Outcome<Vec<Finding>> {
        let stock = Stock::paired(&Workload::Event.setup())?;
        let mut findings = Vec::new();
        while let Some((promise, trial)) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            let finding = mutants::find(&stock, trial, promise);
            println!("{finding}");
            findings.push(finding);
        }
        Ok(findings)
    };
    let mut findings = std::thread::scope(|scope| -> Outcome<Vec<Finding>> {
        let other = scope.spawn(work);
        let mut findings = work()?;
        findings.extend(other.join().expect("it panicked")?);
        Ok(findings)
    })?;
    assert_eq!(findings.len(), trials.len());
    assert!(findings.len() >= 4, "{findings:?}");
    findings.retain(|finding| !finding.caught());
    let survived: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(survived.is_empty(), "{survived:#?}");
    Ok(())
}
