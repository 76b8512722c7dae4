//! Every crash point of every program: killed at its first hit, started again, judged; and every
//! deliberate bug, caught by the promise that it breaks.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crashtest::mutants::{self, Finding};
use crashtest::progress::Progress;
use crashtest::report::Report;
use crashtest::sweep::{self, Survey};
use crashtest::system::Stock;
use crashtest::trouble::{Outcome, Trouble};
use crashtest::workload::Workload;

/// One run of each workload without a crash, for both tests.
fn survey() -> Outcome<Survey> {
    static SURVEY: Mutex<Option<Survey>> = Mutex::new(None);
    let mut kept = SURVEY.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        let stock = Stock::paired(&Workload::Event.setup())?;
        *kept = Some(sweep::survey(&stock)?);
    }
    Ok(kept.clone().unwrap_or_default())
}

#[test]
fn killed_at_the_first_hit_of_every_point() -> Outcome<()> {
    let began = Instant::now();
    let survey = survey()?;
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
fn every_deliberate_bug_is_caught_by_its_promise() -> Outcome<()> {
    let survey = survey()?;
    let stock = Stock::paired(&Workload::Event.setup())?;
    let unmatched = mutants::unmatched(&survey);
    assert!(unmatched.is_empty(), "{unmatched:?}");
    let mut survived = Vec::new();
    for trial in mutants::TRIALS {
        let promise = survey.mutants.get(trial.mutant).map_or("?", String::as_str);
        let finding = mutants::find(&stock, trial, promise);
        println!("{finding}");
        if !Finding::caught(&finding) {
            survived.push(finding.to_string());
        }
    }
    assert!(survived.is_empty(), "{survived:#?}");
    Ok(())
}
