//! `secluso-crashtest`: the crash sweep as a program of its own, started by `cargo xtask crash`.
//!
//! Progress goes to stderr, results to stdout. This room only reads a command line and prints; it
//! must never end with 0 if a promise is broken or something planned was not done.
#![expect(
    clippy::disallowed_methods,
    reason = "A developer's tool is a shell: it times what it does."
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crashtest::cycles;
use crashtest::daemon_errors;
use crashtest::mutants::{self, Finding};
use crashtest::process::Role;
use crashtest::report::Report;
use crashtest::summary;
use crashtest::sweep::{self, Case, Cell};
use crashtest::system::{Crash, Stock};
use crashtest::trouble::{Outcome, Trouble};
use crashtest::workload::Workload;
use serde_json::{Value, json};

/// The whole sweep may take this long; what is left then is reported as not covered.
const MINUTES_MAX: u64 = 60;

/// Cycles of one installation.
const CYCLES: u32 = 1_000;

const USAGE: &str = "\
secluso-crashtest sweep    every hit up to 8 of every crash point in the workloads event, sync, trim
                           and pair, each point again inside the recovery that follows, and the
                           deliberate bugs
                             --json          one JSON object on stdout
                             --quick         each point once (what the gate runs)
                             --minutes N     at most so long (60)
                             --shard K/N     the runs of one machine of N, from 0
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
        ["sweep", options @ ..] => sweep(&Options::parse(options)?),
        ["mutants"] => {
            let stock = stock()?;
            let survey = sweep::survey(&stock)?;
            Ok(hunt(&stock, &survey)?.1)
        }
        ["points"] => points(),
        ["errors", options @ ..] => errors(options),
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
            setup.patience = Duration::from_secs(8);
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

/// Disk errors under the running programs.
fn errors(words: &[&str]) -> Outcome<bool> {
    let (mut json, mut each, mut minutes) = (false, daemon_errors::EACH, MINUTES_MAX);
    let (mut open_ended, mut part) = (false, (0, 1));
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().and_then(|word| word.parse().ok());
            number.ok_or_else(|| Trouble::Usage(format!("{word} wants a number")))
        };
        match *word {
            "--json" => json = true,
            "--open-ended" => open_ended = true,
            "--shard" => {
                let wrong = || Trouble::Usage("--shard wants K/N, K from 0".into());
                part = words
                    .next()
                    .and_then(|word| shard(word))
                    .ok_or_else(wrong)?;
            }
            "--each" => each = number()?,
            "--minutes" => minutes = number()?,
            other => return Err(Trouble::Usage(format!("what is `{other}`?"))),
        }
    }
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    eprintln!("one run of each program in which no operation fails");
    let operations = daemon_errors::count(&stock()?)?;
    let (rest, of) = part;
    let cases = daemon_errors::cases(&operations, each).into_iter();
    let cases: Vec<_> = cases.skip(rest).step_by(of).collect();
    let all = cases.len();
    let found = daemon_errors::run(cases, Some(until), |count, cell| {
        eprintln!("{count:>5}/{all}  {cell}");
    })?;
    for sentence in found.not_covered() {
        eprintln!("NOT COVERED: {sentence}");
    }
    if json {
        println!("{}", found.json());
    }
    let late = found.left() > 0;
    Ok(
        found.is_good()
            || open_ended && late && !found.cells.iter().any(daemon_errors::Cell::fails),
    )
}

/// What a sweep should do.
struct Options {
    json: bool,
    quick: bool,
    minutes: u64,
    /// The runs of one machine of several: `(rest, of)`.
    shard: (usize, usize),
}

impl Options {
    fn parse(words: &[&str]) -> Outcome<Self> {
        let mut options = Self {
            json: false,
            quick: false,
            minutes: MINUTES_MAX,
            shard: (0, 1),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--minutes" => {
                    let number = words.next().and_then(|word| word.parse().ok());
                    options.minutes =
                        number.ok_or_else(|| Trouble::Usage("--minutes wants a number".into()))?;
                }
                "--shard" => {
                    let shard = words.next().and_then(|word| shard(word));
                    options.shard = shard
                        .ok_or_else(|| Trouble::Usage("--shard wants K/N, K from 0".into()))?;
                }
                other => {
                    return Err(Trouble::Usage(format!("what is `{other}`?\n\n{USAGE}")));
                }
            }
        }
        Ok(options)
    }
}

fn shard(text: &str) -> Option<(usize, usize)> {
    let (rest, of) = text.split_once('/')?;
    let (rest, of) = (rest.parse().ok()?, of.parse().ok()?);
    (rest < of).then_some((rest, of))
}

fn sweep(options: &Options) -> Outcome<bool> {
    let began = Instant::now();
    let until = began + Duration::from_secs(60 * options.minutes);
    eprintln!("one run of each workload without a crash");
    let stock = stock()?;
    let mut survey = sweep::survey(&stock)?;
    if !options.quick {
        survey = survey.least(&sweep::survey(&stock)?);
    }
    let (findings, all_caught) = hunt(&stock, &survey)?;
    drop(stock);
    let cases = if options.quick {
        survey.each_point_once()
    } else {
        // The recoveries before the many hits: if the time is up, the rarer kind is covered.
        let mut cases = survey.each_point_once();
        cases.extend(survey.again_in_recovery());
        let hits = survey.every_hit();
        let more = hits.into_iter().filter(|case| !cases.contains(case));
        let more: Vec<Case> = more.collect();
        cases.extend(more);
        cases
    };
    let cases = sweep::of_shard(cases, options.shard);
    let all = cases.len();
    let cells = sweep::run(&cases, Some(until), |count, cell: &Cell| {
        let minutes = began.elapsed().as_secs() / 60;
        eprintln!("{count:>5}/{all} {minutes:>3} min  {cell}");
    })?;
    let report = Report {
        survey: &survey,
        cases: &cases,
        cells: &cells,
        took: began.elapsed(),
    };
    let good = report.is_good() && all_caught;
    if options.json {
        let mut value = report.json();
        let caught = findings.iter().map(|finding| {
            json!({"mutant": finding.mutant, "promise": finding.promise,
                   "caught": finding.caught(), "seconds": finding.took.as_secs_f64()})
        });
        value["mutants"] = caught.collect();
        value["good"] = good.into();
        println!("{value}");
    } else {
        println!("{}", report.table());
        for finding in &findings {
            println!("{finding}");
        }
    }
    Ok(good)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_several_and_nothing_else() {
        let parse = |words: &[&str]| Options::parse(words).map(|options| options.shard);
        assert_eq!(parse(&[]).unwrap(), (0, 1));
        assert_eq!(parse(&["--json", "--shard", "3/4"]).unwrap(), (3, 4));
        for wrong in ["4/4", "1", "a/b", "/2", "0/0"] {
            assert!(parse(&["--shard", wrong]).is_err(), "{wrong}");
        }
        assert!(parse(&["--shard"]).is_err());
    }
}
