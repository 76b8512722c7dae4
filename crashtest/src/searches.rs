//! The two commands that can be shared, stopped and resumed: `sweep` and `errors`.
//!
//! It reads their options, runs them and prints; what they found is judged in the library. It must never
//! end with 0 if a promise is broken, in whichever part, or if something planned was not done, unless the
//! time was the plan.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crashtest::daemon_errors;
use crashtest::fault;
use crashtest::mutants::Finding;
use crashtest::process::Role;
use crashtest::progress::{Kept, Progress};
use crashtest::report::Report;
use crashtest::shard::Shard;
use crashtest::steps;
use crashtest::sweep::{self, Case, Cell};
use crashtest::trouble::{Outcome, Trouble};
use serde_json::json;

use crate::{hunt, stock};

/// The whole of either may take this long; what is left then is reported as not covered.
const MINUTES_MAX: u64 = 60;

/// What one of them should do.
#[derive(Debug)]
pub(crate) struct Options {
    json: bool,
    /// Each point once.
    quick: bool,
    /// Operations of each program and error.
    each: u64,
    minutes: u64,
    /// What the time does not reach is no failure.
    open_ended: bool,
    shard: Shard,
    /// Where the progress is kept.
    resume: Option<PathBuf>,
}

impl Options {
    pub(crate) fn of_sweep(words: &[&str]) -> Outcome<Self> {
        Self::parse(words, &["--quick"])
    }

    pub(crate) fn of_errors(words: &[&str]) -> Outcome<Self> {
        Self::parse(words, &["--each"])
    }

    /// What both take, and what only this one does.
    fn parse(words: &[&str], own: &[&str]) -> Outcome<Self> {
        let mut options = Self {
            json: false,
            quick: false,
            each: daemon_errors::EACH,
            minutes: MINUTES_MAX,
            open_ended: false,
            shard: Shard::WHOLE,
            resume: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next().copied();
                value.ok_or_else(|| Trouble::Usage(format!("{word} wants a value")))
            };
            match *word {
                "--json" => options.json = true,
                "--open-ended" => options.open_ended = true,
                "--minutes" => options.minutes = number(value()?)?,
                "--shard" => options.shard = value()?.parse::<Shard>().map_err(Trouble::Usage)?,
                "--resume" => options.resume = Some(value()?.into()),
                "--quick" if own.contains(word) => options.quick = true,
                "--each" if own.contains(word) => options.each = number(value()?)?.max(1),
                other => {
                    let what = format!("what is `{other}`?\n\n{}", crate::USAGE);
                    return Err(Trouble::Usage(what));
                }
            }
        }
        Ok(options)
    }

    fn until(&self, began: Instant) -> Instant {
        began + Duration::from_secs(60 * self.minutes)
    }

    /// What earlier parts did with the same programs: this one, the three that it tests, and `more`.
    fn progress<T: Kept>(&self, more: &[PathBuf]) -> Outcome<Progress<T>> {
        let mut programs = vec![own_path()?];
        for role in Role::ALL {
            programs.push(role.path()?);
        }
        programs.extend_from_slice(more);
        let kind = if self.quick { "quick" } else { "all" };
        let part = format!("{kind} each {} shard {}", self.each, self.shard);
        let progress = Progress::resumed(self.resume.as_deref(), &programs, &part);
        progress.map_err(Trouble::machine("progress"))
    }
}

fn own_path() -> Outcome<PathBuf> {
    std::env::current_exe().map_err(Trouble::machine("this program"))
}

fn number(text: &str) -> Outcome<u64> {
    let wrong = |_| Trouble::Usage(format!("`{text}` is no number"));
    text.parse().map_err(wrong)
}

/// Disk errors under the running programs.
pub(crate) fn errors(options: &Options) -> Outcome<bool> {
    let until = options.until(Instant::now());
    let recorder = fault::library(&own_path()?).map_err(Trouble::Broken)?;
    let progress = options.progress(&[recorder])?;
    let operations = daemon_errors::counted(&progress, || {
        eprintln!("one run of each program in which no operation fails");
        stock()
    })?;
    let cases = daemon_errors::cases(&operations, options.each, options.shard);
    let all = progress.with_done(cases.clone()).len();
    let found = daemon_errors::run(operations, cases, Some(until), &progress, |count, cell| {
        eprintln!("{count:>5}/{all}  {cell}");
    })?;
    for cell in found.cells.iter().filter(|cell| cell.fails()) {
        eprintln!("FAILED: {cell}");
    }
    for sentence in found.not_covered() {
        eprintln!("NOT COVERED: {sentence}");
    }
    let good = found.is_good() || options.open_ended && found.is_good_so_far();
    if options.json {
        let mut value = found.json();
        value["good"] = good.into();
        println!("{value}");
    }
    Ok(good)
}

/// Kills at the crash points.
pub(crate) fn sweep(options: &Options) -> Outcome<bool> {
    let until = options.until(Instant::now());
    let progress: Progress<Cell> = options.progress(&[])?;
    eprintln!("one run of each workload without a crash");
    let stock = stock()?;
    let mut survey = sweep::survey(&stock)?;
    if !options.quick {
        survey = survey.least(&sweep::survey(&stock)?);
    }
    let unhit = steps::unhit(&steps::rows(), &survey);
    if !unhit.is_empty() {
        return Err(Trouble::Broken(unhit.join("; ")));
    }
    let (findings, all_caught) = hunt(&stock, &survey)?;
    drop(stock);
    let cases = sweep::of_shard(planned(&survey, options.quick), options.shard);
    let cases = progress.with_done(cases);
    let all = cases.len();
    let cells = sweep::run(&cases, Some(until), &progress, |count, cell: &Cell| {
        let minutes = progress.wall().as_secs() / 60;
        eprintln!("{count:>5}/{all} {minutes:>3} min  {cell}");
    })?;
    let report = Report {
        survey: &survey,
        cases: &cases,
        cells: &cells,
        took: progress.wall(),
    };
    let kept = report.is_good() || options.open_ended && report.is_good_so_far();
    let good = kept && all_caught;
    if options.json {
        for sentence in report.not_covered() {
            eprintln!("NOT COVERED: {sentence}");
        }
        print_json(&report, &findings, good);
    } else {
        println!("{}", report.table());
        for finding in &findings {
            println!("{finding}");
        }
    }
    Ok(good)
}

/// The recoveries before the many hits: if the time is up, the rarer kind is covered.
fn planned(survey: &sweep::Survey, quick: bool) -> Vec<Case> {
    let mut cases = survey.each_point_once();
    if !quick {
        cases.extend(survey.again_in_recovery());
        let hits = survey.every_hit();
        let more = hits.into_iter().filter(|case| !cases.contains(case));
        let more: Vec<Case> = more.collect();
        cases.extend(more);
    }
    cases
}

fn print_json(report: &Report<'_>, findings: &[Finding], good: bool) {
    let mut value = report.json();
    let caught = findings.iter().map(|finding| {
        json!({"mutant": finding.mutant, "promise": finding.promise,
               "caught": finding.caught(), "seconds": finding.took.as_secs_f64()})
    });
    value["mutants"] = caught.collect();
    value["good"] = good.into();
    println!("{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_takes_its_own_options_and_no_others() {
        let sweep = |words: &[&str]| Options::of_sweep(words);
        let none = sweep(&[]).unwrap();
        assert_eq!((none.shard, none.minutes), (Shard::WHOLE, MINUTES_MAX));
        assert!(!none.open_ended && none.resume.is_none() && !none.quick);
        let all = "--json --quick --shard 3/4 --minutes 7 --open-ended --resume there";
        let all: Vec<&str> = all.split(' ').collect();
        let all = sweep(&all).unwrap();
        assert_eq!((all.shard.numbers(), all.minutes), ((3, 4), 7));
        assert!(all.open_ended && all.quick && all.json);
        assert_eq!(all.resume, Some(PathBuf::from("there")));
        assert_eq!(Options::of_errors(&["--each", "9"]).unwrap().each, 9);
        for wrong in [
            "--shard",
            "--shard 4/4",
            "--resume",
            "--minutes x",
            "--each 9",
        ] {
            let words: Vec<&str> = wrong.split(' ').collect();
            assert!(sweep(&words).is_err(), "{wrong}");
        }
        assert!(Options::of_errors(&["--quick"]).is_err());
    }
}
