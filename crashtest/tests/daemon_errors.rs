//! One operation of each running program fails with each error: it goes on, or ends with a word about it
//! and is started again, and every promise holds.

use crashtest::daemon_errors;
use crashtest::progress::Progress;
use crashtest::shard::Shard;
use crashtest::system::{Setup, Stock};
use crashtest::trouble::{Outcome, Trouble};
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
    let found = daemon_errors::run(operations, cases, None, &Progress::unkept(), |_count, cell| {
        println!("{cell}");
    })?;
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
