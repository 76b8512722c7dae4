//! One operation of each running program fails with each error: it goes on, or ends with a word about it
//! and is started again, and every promise holds.

use crashtest::daemon_errors;
use crashtest::oracle::Verdict;
use crashtest::process::Role;
use crashtest::progress::Progress;
use crashtest::shard::Shard;
use crashtest::system::{Met, Setup, Stock};
use crashtest::trouble::{Outcome, Trouble};
use crashtest::workers;
use crashtest::workload::Workload;

/// Of each program and error; the middle tier tries more.
const EACH: u64 = 2;

#[test]
fn an_operation_that_fails_under_a_running_program_breaks_no_promise() -> Outcome<()> {
    let setup = Setup {
        passes: 2,
        ..Workload::Event.setup()
    };
    let operations = daemon_errors::count(&Stock::paired(&setup)?)?;
    let cases = daemon_errors::cases(&operations, EACH, Shard::WHOLE);
    let found = daemon_errors::run(
        operations,
        cases,
        None,
        &Progress::unkept(),
        |_count, cell| {
            println!("{cell}");
        },
    )?;
    println!("{}", found.json());
    let failed: Vec<String> = found
        .cells
        .iter()
        .filter(|c| c.fails())
        .map(ToString::to_string)
        .collect();
    if found.is_good() {
        return Ok(());
    }
    let all = failed.into_iter().chain(found.not_covered());
    Err(Trouble::Broken(all.collect::<Vec<_>>().join("; ")))
}

/// A phone whose sync failed opens its journal again, and what it had written may be there all the same: it has
/// told nobody of it, and no later run does. It says so, so that whoever watches it asks.
#[test]
fn what_a_failed_sync_left_durable_is_not_passed_over_in_silence() -> Outcome<()> {
    // Around the arrival of the last event's end; which sync that is depends on how batches come together.
    let plans: Vec<String> = (26..=37)
        .map(|number| format!("sync:{number}:EIO"))
        .collect();
    let setup = Setup {
        passes: 2,
        ..Workload::Event.setup()
    };
    let one =
        |stock: &Stock, plan: &String| daemon_errors::attempt(stock, Role::App, plan.as_str());
    let tell = |run: &(Met, Verdict)| {
        println!("{run:?}");
        Ok(())
    };
    let runs = workers::run(&setup, &plans, None, one, tell)?;
    for (_, verdict) in &runs {
        verdict.clone().expect_pass()?;
    }
    match runs.iter().any(|(met, _)| met.untold > 0) {
        true => Ok(()),
        false => Err(Trouble::Broken("no run came to that".to_owned())),
    }
}
