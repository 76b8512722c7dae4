//! `cargo xtask crash`: every kind of crash test, one after the other, and one report.
//!
//! [`trials`] says which programs are run with what, in which tier; this room keeps what each of them says
//! as JSON, and `secluso-crashtest report` makes the document of it. It must never end well if one of
//! them did not, or if one was left out without being asked to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cargo;
use crate::commit;
use crate::failure::{Because as _, Failure, Outcome};
use crate::junit::{self, Case};
use crate::progress::Steps;
use crate::setup;

mod merge;
mod trials;

use trials::{Trial, share, trials};

/// The whole of the middle tier may take this long, in minutes.
const CRASH_MINUTES: u64 = 60;
/// The long tier, where nothing else is said.
const FULL_MINUTES: u64 = 600;
/// Where the report is kept for readers.
const REPORT: &str = "crashtest/REPORT.md";
/// Where the totals of the last long run are kept, with its commit.
const FULL_TOTALS: &str = "crashtest/full-totals.json";

/// The shard of somebody who shares with nobody.
const WHOLE: &str = "0/1";

/// The last step.
const REPORT_STEP: &str = "report";
/// Where the report begins its list of what was not covered.
const MISSING_HEADING: &str = "## Not covered in this run";
/// What fails if the middle tier takes longer than it has.
const TIME: &str = "time";
/// The example program's trial.
const EXAMPLE: &str = "sqlite-example";

/// The trial on a real file system, as root; the long tier's, because it takes hours and a machine.
const REAL_FILE_SYSTEM: &str = "real-file-system";
/// What its program says when the machine cannot run it.
const NOT_COVERED: i32 = 77;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    /// What the gate runs of it, in a few minutes.
    Quick,
    /// Up to an hour, the same for everybody.
    Crash,
    /// As long as it may take.
    Full,
}

impl Tier {
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Crash => "crash",
            Self::Full => "full",
        }
    }
}

/// What the user asks for.
#[derive(Debug)]
struct Options {
    tier: Tier,
    json: bool,
    minutes: u64,
    /// The user gave a time for the long tier: what it does not reach is not covered, and no failure.
    open_ended: bool,
    only: Option<String>,
    /// Kinds that the user does not want; the report says that they are not covered.
    without: Vec<String>,
    shard: String,
    resume: bool,
    bless: bool,
}

impl Options {
    /// Whether one kind is to be run.
    fn wants(&self, name: &str) -> bool {
        let only = self.only.as_deref().is_none_or(|only| only == name);
        only && !self.without.iter().any(|without| without == name)
    }

    fn parse(words: &[String]) -> Outcome<Self> {
        let mut options = Self {
            tier: Tier::Crash,
            json: false,
            minutes: CRASH_MINUTES,
            open_ended: false,
            only: None,
            without: Vec::new(),
            shard: WHOLE.to_owned(),
            resume: false,
            bless: false,
        };
        let mut minutes = None;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let missing = || Failure::usage(format!("{word} wants a value"));
                words.next().cloned().ok_or_else(missing)
            };
            match word.as_str() {
                "--json" => options.json = true,
                "--quick" => options.tier = Tier::Quick,
                "--full" => options.tier = Tier::Full,
                "--resume" => options.resume = true,
                "--bless" => options.bless = true,
                "--only" => options.only = Some(value()?),
                "--without" => options.without.push(value()?),
                "--shard" => options.shard = value()?,
                "--minutes" => {
                    let number = value()?.parse();
                    let wrong = |_| Failure::usage("--minutes wants a number".to_owned());
                    minutes = Some(number.map_err(wrong)?);
                }
                other => return Err(Failure::usage(format!("crash: what is `{other}`?"))),
            }
        }
        options.open_ended = minutes.is_some() && options.tier == Tier::Full;
        let part = options.only.is_some() || !options.without.is_empty();
        if options.bless && part && options.tier != Tier::Full {
            return Err(Failure::usage(
                "--bless keeps the report of a whole run; with --only or --without only the long tier's \
                 parts are kept"
                    .to_owned(),
            ));
        }
        if options.bless && (options.tier == Tier::Quick || options.shard != WHOLE) {
            return Err(Failure::usage(
                "--bless keeps what a whole tier found; neither --quick nor a --shard is one"
                    .to_owned(),
            ));
        }
        if options.only.is_some() && !options.without.is_empty() {
            return Err(Failure::usage(
                "--only already leaves out all others".to_owned(),
            ));
        }
        options.minutes = minutes.unwrap_or(match options.tier {
            Tier::Full => FULL_MINUTES,
            Tier::Quick | Tier::Crash => CRASH_MINUTES,
        });
        Ok(options)
    }
}

/// Runs everything that was asked for, and writes the report.
pub(crate) fn run(extra: &[String]) -> Outcome<()> {
    if let Some(merge) = merge::asked_for(extra)? {
        return merge::run(&merge);
    }
    let (junit, extra) = junit::asked_for(extra)?;
    let options = Options::parse(&extra)?;
    let mut steps = Steps::new(&["set-up", "build the programs"]);
    let mut missing = Vec::new();
    let result = run_steps(&options, &mut steps, &mut missing);
    let mut cases = steps.cases();
    // What was left out as a step is said once.
    let left_out: Vec<&Case> = cases
        .iter()
        .filter(|step| step.not_covered().is_some())
        .collect();
    missing.retain(|case| !left_out.iter().any(|step| step.name == case.name));
    steps.summary(&missing);
    if let Some(path) = junit {
        cases.extend(missing);
        junit::write(&path, "crash", &cases)?;
    }
    result
}

/// Its steps; what the report says not to be covered comes into `missing`.
fn run_steps(options: &Options, steps: &mut Steps, missing: &mut Vec<Case>) -> Outcome<()> {
    steps.step("set-up", || {
        setup::ensure_build_tools()?;
        setup::ensure_test_tools()
    })?;
    let programs = steps.step("build the programs", cargo::build_programs)?;
    let (_, beside) = programs
        .first_key_value()
        .ok_or_else(|| Failure::found("cargo built no program"))?;
    let place = beside.with_file_name("crash").join(options.tier.name());
    fs::create_dir_all(&place).because("no place for results")?;
    let all = trials(options, &place);
    let chosen = chosen(options, &all)?;
    let example = options.tier == Tier::Full && options.wants(EXAMPLE);
    let mut names: Vec<&str> = all.iter().map(|trial| trial.name).collect();
    if options.tier == Tier::Full {
        names.push(EXAMPLE);
    }
    steps.expect(&names);
    steps.expect(&[REPORT_STEP]);
    for name in names.iter().filter(|name| !options.wants(name)) {
        steps.skip(name, "left out, as was asked for");
    }
    let stamp = Stamp {
        place: &place,
        commit: commit(),
        shard: &options.shard,
    };
    let mut failed = Vec::new();
    let began = Instant::now();
    let until = began + Duration::from_secs(60 * options.minutes);
    for (place_in_row, trial) in chosen.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let minutes = share(
            options.tier,
            left,
            chosen.get(place_in_row..).unwrap_or_default(),
        );
        let outcome = steps.step(trial.name, || {
            stamp.put(trial.name, || {
                let progress = place.join(format!("{}.progress", trial.name));
                if !options.resume && progress.exists() {
                    fs::remove_file(&progress).because("old progress cannot be removed")?;
                }
                play(trial, minutes, &programs, &place)
            })
        });
        if let Err(failure) = outcome {
            eprintln!("      FAILED: {failure}");
            failed.push(trial.name);
        }
    }
    if let Some(why) = too_late(options, began.elapsed()) {
        eprintln!("      FAILED: {why}");
        steps.fail(TIME, &why);
        failed.push(TIME);
    }
    if example {
        let played = steps.step(EXAMPLE, || {
            stamp.put(EXAMPLE, || play_example(&programs, &place))
        });
        if let Err(failure) = played {
            eprintln!("      FAILED: {failure}");
            failed.push(EXAMPLE);
        }
    }
    let sentences = steps.step(REPORT_STEP, || {
        report(options, &programs, &place, &all, &failed)
    })?;
    missing.extend(sentences.iter().map(|sentence| Case::missing(sentence)));
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::found(format!(
        "{} found something; see the lines FAILED, SURVIVED and NOT COVERED",
        failed.join(", ")
    )))
}

/// The trials that the user wants.
fn chosen<'a>(options: &Options, all: &'a [Trial]) -> Outcome<Vec<&'a Trial>> {
    let known = |name: &str| {
        let example = options.tier == Tier::Full && name == EXAMPLE;
        example || all.iter().any(|trial| trial.name == name)
    };
    let named = options.only.iter().map(|name| ("--only", name));
    let named = named.chain(options.without.iter().map(|name| ("--without", name)));
    for (option, name) in named {
        if !known(name) {
            let names: Vec<&str> = all.iter().map(|trial| trial.name).collect();
            return Err(Failure::usage(format!(
                "{option} is one of {}",
                names.join(", ")
            )));
        }
    }
    let wanted = all.iter().filter(|trial| options.wants(trial.name));
    Ok(wanted.collect())
}

/// Whether the middle tier, which promises a time to everybody, took longer than it has.
fn too_late(options: &Options, took: Duration) -> Option<String> {
    let late = options.tier == Tier::Crash
        && options.only.is_none()
        && took > Duration::from_secs(60 * options.minutes);
    late.then(|| {
        let minutes = took.as_secs_f64() / 60.0;
        format!("it took {minutes:.1} min and has {}", options.minutes)
    })
}

/// What is kept beside a result: with `--only`, results of other commits and shards may stand beside it,
/// and each says its own.
struct Stamp<'a> {
    place: &'a Path,
    commit: String,
    shard: &'a str,
}

impl Stamp<'_> {
    /// Runs one trial and keeps its commit, its shard, its time and whether it ended well.
    fn put(&self, name: &str, trial: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let keep = |kind: &str, text: &str| {
            let path = self.place.join(format!("{name}.{kind}"));
            fs::write(path, text).because("a result's commit and time cannot be kept")
        };
        keep("commit", &self.commit)?;
        keep("shard", self.shard)?;
        let began = Instant::now();
        // Bad until it ended well: a run that is killed leaves no good result.
        keep("good", "false")?;
        let outcome = trial();
        let seconds = format!("{:.1}", began.elapsed().as_secs_f64());
        keep("seconds", &seconds)?;
        keep("good", &outcome.is_ok().to_string())?;
        outcome
    }
}

/// A program on autocommit SQLite that was not written for us: the harness must find its fatal points.
fn play_example(programs: &BTreeMap<String, PathBuf>, place: &Path) -> Outcome<()> {
    // A build of its own: SQLite's dependencies beside RocksDB's would build that again.
    let build = [
        "build",
        "--locked",
        "--package",
        "yardstick",
        "--features",
        "sqlite",
    ];
    cargo::run(&build)?;
    let replay = programs
        .get("crashtest-replay")
        .ok_or_else(|| Failure::found("cargo built no crashtest-replay"))?;
    let (diary, recorder) = (
        replay.with_file_name("sqlite-diary"),
        replay.with_file_name("libcrashtest_record.so"),
    );
    let home = place.join(EXAMPLE);
    if home.exists() {
        fs::remove_dir_all(&home).because("an old recording cannot be removed")?;
    }
    fs::create_dir_all(home.join("state")).because("no place for a recording")?;
    let home = home.canonicalize().because("no place for a recording")?;
    let marks = home.join("marks");
    let status = Command::new(&diary)
        .arg("write")
        .args([home.join("state"), marks.clone(), PathBuf::from("6")])
        .env("LD_PRELOAD", recorder)
        .env("SECLUSO_RECORD_ROOT", home.join("state"))
        .env("SECLUSO_RECORD_TRACE", home.join("trace"))
        .env("SECLUSO_RECORD_MARKS", &marks)
        .status()
        .because("cannot start the example")?;
    if !status.success() {
        return Err(Failure::found("the example could not be recorded"));
    }
    let totals = place.join(format!("{EXAMPLE}.json"));
    // The replayer writes none if the check calls the example's own clean end bad, or if it has no mark.
    if totals.exists() {
        fs::remove_file(&totals).because("an old result cannot be removed")?;
    }
    let status = Command::new(replay)
        .args(["any".as_ref(), home.join("trace").as_os_str()])
        .args(["--states", "4000", "--json"])
        .args([
            totals.as_os_str(),
            "--keep".as_ref(),
            home.join("fatal").as_os_str(),
        ])
        .args(["--".as_ref(), diary.as_os_str(), "check".as_ref()])
        .args(["{state}", "{told}"])
        .stdout(Stdio::null())
        .status()
        .because("cannot start the replayer")?;
    let text = fs::read_to_string(&totals).because("the example has no totals")?;
    let reports: Value = serde_json::from_str(&text).because("the example has no totals")?;
    let fatal = reports[0]["failed"].as_u64().unwrap_or_default();
    if status.success() || fatal == 0 {
        return Err(Failure::found(
            "no fatal point was found in a program that has many: the harness is blind",
        ));
    }
    eprintln!("      {fatal} fatal states found, as there must be");
    Ok(())
}

/// Runs one trial and keeps what it says.
fn play(
    trial: &Trial,
    minutes: u64,
    programs: &BTreeMap<String, PathBuf>,
    place: &Path,
) -> Outcome<()> {
    let program = programs
        .get(trial.program)
        .ok_or_else(|| Failure::found(format!("cargo built no {}", trial.program)))?;
    let result = place.join(format!("{}.json", trial.name));
    // What an earlier run said must never stand for this one. Who goes on with that run has its progress, and
    // makes the result anew from all of it: what failed then has failed now.
    if result.exists() {
        fs::remove_file(&result).because("an old result cannot be removed")?;
    }
    for stale in trial.stale.iter().filter(|stale| stale.exists()) {
        let removed = match stale.is_dir() {
            true => fs::remove_dir_all(stale),
            false => fs::remove_file(stale),
        };
        removed.because("what an earlier run left cannot be removed")?;
    }
    if let Some(first) = &trial.first {
        let recording = place.join("recording");
        if recording.exists() {
            fs::remove_dir_all(&recording).because("an old recording cannot be removed")?;
        }
        let status = Command::new(program)
            .args(first)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .because("cannot start the recording")?;
        if !status.success() {
            return Err(Failure::found("the recording failed"));
        }
    }
    let minutes = ["--minutes".to_owned(), minutes.to_string()];
    let output = Command::new(program)
        .args(&trial.arguments)
        .args(minutes.iter().filter(|_| trial.timed))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .because("cannot start it")?;
    if trial.writes.is_none() {
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text
            .lines()
            .rfind(|line| line.starts_with('{'))
            .unwrap_or_default();
        fs::write(&result, last).because("its result cannot be kept")?;
    }
    if output.status.success() {
        return Ok(());
    }
    if output.status.code() == Some(NOT_COVERED) {
        return Err(Failure::machine(format!(
            "NOT COVERED: {} says what this machine lacks",
            trial.program
        )));
    }
    Err(Failure::found(format!(
        "{} ended with {}",
        trial.program, output.status
    )))
}

/// One object with everything, and the document that is made of it. Returns what that says not to be
/// covered.
fn report(
    options: &Options,
    programs: &BTreeMap<String, PathBuf>,
    place: &Path,
    all: &[Trial],
    failed: &[&str],
) -> Outcome<Vec<String>> {
    let mut results = serde_json::Map::new();
    let (mut commits, mut seconds) = (serde_json::Map::new(), serde_json::Map::new());
    let mut shards = serde_json::Map::new();
    // Each result by its own exit, whichever run left it: `failed` is only of this one.
    let mut bad: Vec<&str> = Vec::new();
    let example = (options.tier == Tier::Full).then_some(EXAMPLE);
    let result_of = |name: &str| place.join(format!("{name}.json"));
    let is_left_out = |name: &str| {
        // The long tier is run in parts: what is in none of them is left out, and said to be.
        let other = options.only.as_deref().is_some_and(|only| only != name);
        let in_no_part = options.tier == Tier::Full && other && !result_of(name).exists();
        in_no_part || options.without.iter().any(|one| one == name)
    };
    if failed.contains(&TIME) {
        bad.push(TIME);
    }
    let names = all.iter().map(|trial| trial.name).chain(example);
    let (left_out, names): (Vec<&str>, Vec<&str>) = names.partition(|name| is_left_out(name));
    for name in names {
        let text = fs::read_to_string(result_of(name));
        let value = text.ok().and_then(|text| serde_json::from_str(&text).ok());
        let stamp = |kind: &str| fs::read_to_string(place.join(format!("{name}.{kind}"))).ok();
        if value.is_none() || stamp("good").as_deref() != Some("true") {
            bad.push(name);
        }
        if value.is_some() {
            let took: Option<f64> = stamp("seconds").and_then(|text| text.parse().ok());
            commits.insert(name.to_owned(), stamp("commit").into());
            shards.insert(name.to_owned(), stamp("shard").into());
            seconds.insert(name.to_owned(), took.into());
        }
        results.insert(name.to_owned(), value.unwrap_or(Value::Null));
    }
    let whole = json!({
        "tier": options.tier.name(),
        "commit": commit(),
        "commits": commits,
        "shards": shards,
        "seconds": seconds,
        "minutes": options.minutes,
        "shard": options.shard,
        "left_out": left_out,
        "failed": bad,
        "failed_now": failed,
        "good": bad.is_empty(),
        "results": results,
    });
    let totals = place.join("totals.json");
    let text = whole.to_string();
    fs::write(&totals, &text).because("the totals cannot be written")?;
    let root = cargo::root();
    if options.bless && options.tier == Tier::Full {
        // Where this machine keeps what failed is of no use to another.
        let kept = text.replace(&place.display().to_string(), "crash/full");
        fs::write(root.join(FULL_TOTALS), kept).because("the totals cannot be written")?;
    }
    let program = programs
        .get("secluso-crashtest")
        .ok_or_else(|| Failure::found("cargo built no secluso-crashtest"))?;
    let document = place.join("REPORT.md");
    let output = Command::new(program)
        .arg("report")
        .arg(&totals)
        .arg(root.join(FULL_TOTALS))
        .output()
        .because("cannot start the report")?;
    if !output.status.success() {
        return Err(Failure::found("the report cannot be made"));
    }
    fs::write(&document, &output.stdout).because("the report cannot be written")?;
    let keep = options.bless && options.tier != Tier::Full;
    if keep && bad.is_empty() {
        fs::write(root.join(REPORT), &output.stdout).because("the report cannot be written")?;
    }
    if options.json {
        println!("{text}");
    }
    eprintln!("\nThe report: {}", document.display());
    if keep && !bad.is_empty() {
        return Err(Failure::found(format!(
            "not blessed: {} not good",
            bad.join(", ")
        )));
    }
    Ok(not_covered(&String::from_utf8_lossy(&output.stdout)))
}

/// The list of what a report says not to be covered.
fn not_covered(document: &str) -> Vec<String> {
    let lines = document.lines().skip_while(|line| *line != MISSING_HEADING);
    let section = lines.skip(1).take_while(|line| !line.starts_with('#'));
    section
        .filter_map(|line| line.strip_prefix("- "))
        .map(str::to_owned)
        .collect()
}

/// The commit that is tested. What a run writes down itself is no change of what it tests.
fn commit() -> String {
    commit::name(&[REPORT, FULL_TOTALS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_share_their_time_and_unknown_words_are_refused() {
        let parse = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Options::parse(&words)
        };
        assert_eq!(parse("").unwrap().minutes, CRASH_MINUTES);
        assert!(parse("--full --minutes 10").unwrap().open_ended);
        assert!(!parse("--full").unwrap().open_ended);
        assert!(!parse("--minutes 10").unwrap().open_ended);
        assert!(parse("--bless --only kills").is_err());
        assert!(parse("--full --bless --only kills").is_ok());
        assert!(parse("--quick --bless").is_err());
        assert!(parse("--bless --shard 0/8").is_err());
        assert!(parse("--full --bless --shard 0/8").is_err());
        assert_eq!(parse("--full").unwrap().minutes, FULL_MINUTES);
        assert!(parse("--fast").is_err());
        assert!(parse("--minutes x").is_err());
        assert!(parse("--only").is_err());
        let options = parse("--shard 2/8").unwrap();
        let all = trials(&options, Path::new("/place"));
        let cuts = all.iter().find(|trial| trial.name == "power-cuts").unwrap();
        assert!(
            cuts.arguments
                .windows(2)
                .any(|pair| pair == ["--shard", "2/8"])
        );
        // If each takes what it is given, all together take no more than there is, and nobody less than
        // it needs.
        let row: Vec<&Trial> = all.iter().collect();
        for (tier, hours) in [(Tier::Full, 4), (Tier::Crash, 1)] {
            let mut left = Duration::from_secs(3600 * hours);
            for at in 0..row.len() {
                let minutes = share(tier, left, &row[at..]);
                assert!(tier == Tier::Full || minutes >= row[at].needs);
                left = left.checked_sub(Duration::from_secs(60 * minutes)).unwrap();
            }
            assert!(left < Duration::from_secs(3600 * hours));
            assert_eq!(share(tier, Duration::ZERO, &row), 1);
            // Half of the time is half for everybody, not all of it for the last.
            let errors = row.iter().position(|trial| trial.name == "disk-errors");
            let half = share(tier, Duration::from_secs(1800), &row[errors.unwrap()..]);
            assert!((5..15).contains(&half), "{half}");
        }
    }

    #[test]
    fn what_is_left_out_is_left_out_by_name_and_no_report_is_kept_of_it() {
        let parse = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Options::parse(&words)
        };
        let names = |text: &str| -> Outcome<Vec<&'static str>> {
            let options = parse(text)?;
            let all = trials(&options, Path::new("/place"));
            let chosen = chosen(&options, &all)?;
            Ok(chosen.into_iter().map(|trial| trial.name).collect())
        };
        let all = names("--full").unwrap();
        let without = names("--full --without real-file-system").unwrap();
        assert!(all.contains(&REAL_FILE_SYSTEM));
        assert!(!without.contains(&REAL_FILE_SYSTEM));
        assert_eq!(without.len() + 1, all.len());
        let two = names("--full --without real-file-system --without kills").unwrap();
        assert_eq!(two.len() + 2, all.len());
        assert!(names("--full --without sqlite-example").is_ok());
        assert_eq!(names("--only kills").unwrap(), ["kills"]);
        for wrong in [
            "--without",
            "--without nothing",
            "--only nothing",
            // Not of this tier: it would say that something was left out that was never planned.
            "--without real-file-system",
            "--without sqlite-example",
            "--full --only kills --without mutants",
            "--bless --without mutants",
        ] {
            assert!(names(wrong).is_err(), "{wrong}");
        }
        assert!(names("--full --bless --without real-file-system").is_ok());
    }

    #[test]
    fn what_a_report_does_not_cover_is_read_from_it() {
        // The heading is the report's own, in another crate.
        let source = fs::read_to_string(cargo::root().join("crashtest/src/summary.rs")).unwrap();
        assert!(source.contains(&format!("\"{MISSING_HEADING}\\n\"")));
        let document = format!(
            "# Crash report\n- kills: something\n{MISSING_HEADING}\n\n- engine: 5 seeds were not reached\n\
             - all of it\n\n## Points\n- no more\n"
        );
        let found = not_covered(&document);
        assert_eq!(found, ["engine: 5 seeds were not reached", "all of it"]);
        assert!(not_covered("# Crash report\n").is_empty());
    }

    #[test]
    fn the_middle_tier_fails_if_it_takes_longer_than_its_time() {
        let late = |text: &str, minutes: u64| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let options = Options::parse(&words).unwrap();
            too_late(&options, Duration::from_secs(60 * minutes + 1)).is_some()
        };
        assert!(late("", CRASH_MINUTES));
        assert!(!late("", CRASH_MINUTES - 1));
        assert!(late("--minutes 10", 10));
        assert!(!late("--only kills", CRASH_MINUTES));
        assert!(!late("--full", 10_000));
    }

    #[test]
    fn kills_are_shared_and_the_real_file_system_knows_a_time_of_its_own() {
        let find = |text: &str, name: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let options = Options::parse(&words).unwrap();
            let all = trials(&options, Path::new("/place"));
            let trial = all.into_iter().find(|trial| trial.name == name);
            trial.unwrap().arguments
        };
        let kills = find("--full --shard 2/4", "kills");
        assert!(kills.windows(2).any(|pair| pair == ["--shard", "2/4"]));
        let open = "--open-ended".to_owned();
        assert!(!find("--full", REAL_FILE_SYSTEM).contains(&open));
        assert!(find("--full --minutes 9", REAL_FILE_SYSTEM).contains(&open));
    }

    #[test]
    fn the_real_file_system_is_the_long_tiers_or_asked_for() {
        let find = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let options = Options::parse(&words).unwrap();
            let all = trials(&options, Path::new("/place"));
            all.into_iter().find(|trial| trial.name == REAL_FILE_SYSTEM)
        };
        assert!(find("").is_none());
        assert!(find("--quick").is_none());
        assert!(find("--only real-file-system").is_some());
        assert_eq!(find("--full").unwrap().stale.len(), 1);
        let resumed = find("--full --resume").unwrap();
        assert!(resumed.stale.is_empty());
        assert!(resumed.arguments.contains(&"--resume".to_owned()));
    }
}
