//! `secluso-crashtest`: the crash sweep as a program of its own, started by `cargo xtask crash`.
//!
//! Progress goes to stderr, results to stdout. This room only reads a command line and prints (`searches`
//! has the two commands that may take hours); it must never end with 0 if a promise is broken or something
//! planned was not done.
#![expect(
    clippy::disallowed_methods,
    reason = "A developer's tool is a shell: it times what it does."
)]

mod searches;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crashtest::cycles;
use crashtest::daemon_errors;
use crashtest::mutants::{self, Finding};
use crashtest::process::Role;
use crashtest::summary;
use crashtest::sweep::{self, Case};
use crashtest::system::{Crash, Stock, System};
use crashtest::trouble::{Outcome, Trouble};
use crashtest::workload::Workload;
use searches::Options;
use serde_json::Value;

/// Cycles of one installation.
const CYCLES: u32 = 1_000;

const USAGE: &str = "\
secluso-crashtest sweep    every hit up to 8 of every crash point in the workloads event, sync, trim and
                           pair, the same in all others of points that those do not pass and else the first hit
                           but of the engine's, each point again inside the recovery that follows, and the
                           deliberate bugs
                             --json          one JSON object on stdout
                             --quick         each point once (the gate runs that of most)
                             --minutes N     at most so long (60)
                             --shard K/N     the runs of one machine of N, from 0
                             --open-ended    what the time does not reach is no failure
                             --resume FILE   go on behind what this file says, and write each run down
                                             there: what failed is run again first and stays failed,
                                             what passed counts. Of the same programs only; the
                                             deliberate bugs are tried each time
secluso-crashtest case WORKLOAD ROLE POINT HIT [POINT_IN_RECOVERY]
                           one run by hand; ROLE is relay, hub or app
secluso-crashtest mutants  only the deliberate bugs
secluso-crashtest mutant NAME WORKLOAD [ROLE POINT HIT]
                           one deliberate bug by hand
secluso-crashtest errors   one operation on a file fails in a running program: EIO, ENOSPC, half a
                           write, a lost sync, a full disk, at operations spread over all there are
                             --json          one JSON object on stdout
                             --each N        operations of each program and error (24)
                             --minutes N     at most so long (60)
                             --shard K/N     the runs of one machine of N, from 0
                             --open-ended    what the time does not reach is no failure
                             --resume FILE   as above
secluso-crashtest error ROLE PLAN
                           one of them by hand; PLAN as for the recorder: any:17:EIO
secluso-crashtest cycles [N]
                           kills and starts one installation N times (1000): files, disk, memory and
                           start-up time must stay bounded; one JSON object on stdout
secluso-crashtest report TOTALS [FULL_TOTALS]
                           the report as a document, from what `cargo xtask crash` wrote down
secluso-crashtest repro SEED
                           a seed of the simulation again: its plan, its verdict, and if it fails the
                           shortest plan that still does
secluso-crashtest canaries DIR
                           whether anything that programs wrote below DIR holds a secret of theirs: of a
                           world in which nothing runs, laid out as the demo's is
secluso-crashtest points   which points there are and which workload hits each how often

SECLUSO_KEEP=1 keeps the directories of failed runs.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(trouble) => {
            eprintln!("secluso-crashtest: {trouble}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Outcome<bool> {
    match words {
        ["sweep", options @ ..] => searches::sweep(&Options::of_sweep(options)?),
        ["mutants"] => {
            let stock = stock()?;
            let survey = sweep::survey(&stock)?;
            Ok(hunt(&stock, &survey)?.1)
        }
        ["points"] => points(),
        ["canaries", directory] => {
            System::made_elsewhere(Path::new(directory))?.finish()?;
            println!("no secret stands where it must not");
            Ok(true)
        }
        ["errors", options @ ..] => searches::errors(&Options::of_errors(options)?),
        ["error", role, plan] => {
            let stock = stock()?;
            let (met, verdict) = daemon_errors::attempt(&stock, role_of(role)?, plan);
            println!("{met:?} {verdict:#?}");
            stock.keep("error");
            Ok(verdict == crashtest::oracle::Verdict::Pass)
        }
        ["cycles", count @ ..] => {
            let wrong = |_| Trouble::Usage("cycles wants a number".to_owned());
            let count = count.first().map_or(Ok(CYCLES), |count| count.parse());
            let figures = cycles::run(count.map_err(wrong)?, |done| {
                if done % 100 == 0 {
                    eprintln!("{done} cycles");
                }
            })?;
            println!("{}", figures.json());
            for complaint in figures.complaints() {
                eprintln!("FAILED: {complaint}");
            }
            Ok(figures.complaints().is_empty())
        }
        ["report", totals, full @ ..] => {
            let whole = |path: &str| -> Outcome<Value> {
                let text = std::fs::read_to_string(path).map_err(Trouble::machine(path))?;
                let wrong = |error| Trouble::Usage(format!("{path} is no JSON: {error}"));
                serde_json::from_str(&text).map_err(wrong)
            };
            // A long tier that has never been run has left no file.
            let full = full.first().and_then(|path| whole(path).ok());
            print!("{}", summary::document(&whole(totals)?, full.as_ref()));
            Ok(true)
        }
        ["repro", seed] => {
            // The simulation is a program of its own, built beside this one.
            let own = std::env::current_exe().map_err(Trouble::machine("this program"))?;
            let simulate = own.with_file_name("simulate");
            let status = std::process::Command::new(&simulate)
                .args(["repro", seed])
                .status()
                .map_err(Trouble::machine(simulate.display().to_string()))?;
            Ok(status.success())
        }
        ["case", workload, role, point, hit, again @ ..] => {
            let mut case = Case {
                workload: workload.parse()?,
                crashes: vec![crash(role, point, hit)?],
            };
            if let [again] = again {
                case.crashes.push(crash(role, again, "1")?);
            }
            let cell = sweep::cell(&stock()?, &case);
            println!("{cell}");
            Ok(!cell.fails())
        }
        ["mutant", name, workload, rest @ ..] => {
            let workload: Workload = workload.parse()?;
            let mut setup = workload.setup();
            setup.mutant = Some((*name).to_owned());
            setup.patience = Duration::from_secs(30);
            let stock = match rest.is_empty() {
                true => stock()?,
                false => Stock::answered(&Workload::Event.setup())?,
            };
            let mut system = workload.world(&stock, setup)?;
            if let [role, point, hit] = rest {
                system = system.planted(crash(role, point, hit)?);
            }
            let run = workload.run(&mut system);
            let verdict = crashtest::oracle::Verdict::with_notes(&run, &system.all_notes());
            println!("died {} times: {verdict:#?}", system.deaths());
            stock.keep("mutant");
            Ok(true)
        }
        _ => Err(Trouble::Usage(format!("which command?\n\n{USAGE}"))),
    }
}

fn stock() -> Outcome<Stock> {
    Stock::paired(&Workload::Event.setup())
}

fn role_of(name: &str) -> Outcome<Role> {
    let found = Role::ALL
        .into_iter()
        .find(|one| one.program().ends_with(&format!("-{name}")));
    found.ok_or_else(|| Trouble::Usage(format!("no such role\n\n{USAGE}")))
}

fn crash(role: &str, point: &str, hit: &str) -> Outcome<Crash> {
    let wrong = |_| Trouble::Usage(format!("a hit is a number from 1\n\n{USAGE}"));
    Ok(Crash {
        role: role_of(role)?,
        point: point.to_owned(),
        hit: hit.parse().map_err(wrong)?,
    })
}

/// Tries every deliberate bug.
fn hunt(stock: &Stock, survey: &sweep::Survey) -> Outcome<(Vec<Finding>, bool)> {
    let unmatched = mutants::unmatched(survey);
    for line in &unmatched {
        eprintln!("{line}");
    }
    let mut findings = Vec::new();
    for trial in mutants::TRIALS {
        let promise = survey.mutants.get(trial.mutant).map_or("?", String::as_str);
        let finding = mutants::find(stock, trial, promise);
        eprintln!("{finding}");
        findings.push(finding);
    }
    let median = mutants::median(&findings);
    if median > mutants::MEDIAN_MAX {
        eprintln!("FAILED: half of the bugs are seen only after {median:?}");
    }
    let caught = findings.iter().all(Finding::caught)
        && unmatched.is_empty()
        && median <= mutants::MEDIAN_MAX;
    Ok((findings, caught))
}

fn points() -> Outcome<bool> {
    let survey = sweep::survey(&stock()?)?;
    for (role, points) in &survey.points {
        for (name, place) in &points.linked {
            let hits = Workload::ALL.into_iter().map(|workload| {
                let most = points.hits.get(&(workload, name.clone()));
                format!("{workload} {}", most.copied().unwrap_or_default())
            });
            let hits: Vec<String> = hits.collect();
            println!(
                "{:<14} {name:<38} {:<40} {place}",
                role.program(),
                hits.join(", ")
            );
        }
    }
    let never = survey.never_hit();
    for line in &never {
        println!("NEVER HIT: {line}");
    }
    for (name, promise) in &survey.mutants {
        println!("mutant {name} breaks {promise}");
    }
    Ok(never.is_empty())
}
