//! The commands that gate a change: test, check, bless.
//!
//! This room lists the steps and their order; each step's work is cargo's or a neighbour's. It
//! never skips a step silently: what cannot run is said loudly.

use std::time::Duration;

use crate::budget::{self, Said};
use crate::cargo::{self, Heard, Manner, SELECTION};
use crate::failure::{Failure, Outcome};
use crate::junit::{self, Case};
use crate::progress::Steps;
use crate::{lanes, setup, tidy};

/// The step whose time the gate watches.
const TESTS: &str = "tests";

/// Everything that gates a change.
pub(crate) fn test(extra: &[String]) -> Outcome<()> {
    let mut steps = Steps::new(&[
        "set-up",
        "formatting",
        "tidy rules",
        "lints",
        "build the programs",
        "build the tests",
        TESTS,
    ]);
    let (junit, extra) = junit::asked_for(extra)?;
    let (limit, extra) = budget::asked_for(&extra)?;
    let mut found = Found::default();
    let mut result = test_steps(&mut steps, &extra, &mut found);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let said = budget::judge(found.took, cores, limit, &found.programs);
    if let Said::TooLate(why) = &said {
        steps.fail("time limit", why);
        // What a test found is the better reason.
        result = result.and_then(|()| Err(Failure::found(why.clone())));
    }
    steps.summary(&found.cases);
    if let Some(path) = junit {
        let mut cases = found.cases;
        cases.extend(steps.cases());
        junit::write(&path, "gate", &cases)?;
    }
    // The last words, so that nobody has to look for them.
    if let Said::Warning(why) = said {
        eprintln!("\n{why}");
    }
    result
}

/// What the tests said.
#[derive(Default)]
struct Found {
    cases: Vec<Case>,
    /// How long each program took, the slowest first.
    programs: Vec<(String, Duration)>,
    /// How long all of them took; nothing if they were not run.
    took: Duration,
}

fn test_steps(steps: &mut Steps, extra: &[String], found: &mut Found) -> Outcome<()> {
    steps.step("set-up", || {
        setup::ensure_build_tools()?;
        setup::ensure_test_tools()?;
        setup::ensure_players()?;
        setup::ensure_lint_tools()
    })?;
    // The quick steps come first, so that a slip costs seconds. All of them run, and all that
    // is wrong is reported, before the first failure stops the command.
    let quick = [
        steps.step("formatting", formatting),
        steps.step("tidy rules", tidy::run),
        steps.step("lints", lints),
    ];
    for outcome in quick {
        outcome?;
    }
    // The crash sweep and the end-to-end tests run the real programs beside them.
    steps.step("build the programs", || cargo::build_programs().map(drop))?;
    steps.step("build the tests", || cargo_test(&["--no-run"]))?;
    steps.step(TESTS, || {
        let heard = match extra {
            [] => lanes::run()?,
            // Whoever wants some of them says which.
            _ => some_tests(extra)?,
        };
        let said: Vec<&str> = heard.stderr.iter().map(|line| line.text.as_str()).collect();
        found.cases = junit::tests(&heard.stdout, &said.join("\n"));
        found.programs = heard.programs;
        found.took = heard.took;
        heard.outcome
    })
}

/// What these words of cargo's choose.
fn some_tests(words: &[String]) -> Outcome<Heard> {
    let mut all = vec!["test"];
    all.extend(SELECTION);
    all.push("--no-fail-fast");
    all.extend(words.iter().map(String::as_str));
    let mut heard = cargo::run_heard(&all, Manner::Lines)?;
    heard.programs = budget::programs(&heard.stderr, heard.took);
    Ok(heard)
}

/// Formatting, lints, tidy rules, documentation, licences: everything but tests.
pub(crate) fn check(extra: &[String]) -> Outcome<()> {
    let (junit, extra) = junit::asked_for(extra)?;
    if let Some(word) = extra.first() {
        return Err(Failure::usage(format!("check: what is `{word}`?")));
    }
    let mut steps = Steps::new(&[
        "set-up",
        "formatting",
        "tidy rules",
        "lints",
        "documentation",
        "licences and advisories",
    ]);
    let result = check_steps(&mut steps);
    steps.summary(&[]);
    if let Some(path) = junit {
        junit::write(&path, "check", &steps.cases())?;
    }
    result
}

fn check_steps(steps: &mut Steps) -> Outcome<()> {
    steps.step("set-up", || {
        setup::ensure_build_tools()?;
        setup::ensure_lint_tools()
    })?;
    let outcomes = [
        steps.step("formatting", formatting),
        steps.step("tidy rules", tidy::run),
        steps.step("lints", lints),
        steps.step("documentation", documentation),
        steps.step_unless("licences and advisories", no_deny(), || {
            cargo::run(&["deny", "check"])
        }),
    ];
    outcomes.into_iter().collect()
}

/// Rewrites golden files, or with the word `points` only the table of crash points. The difference is
/// for a person to read.
pub(crate) fn bless(extra: &[String]) -> Outcome<()> {
    tidy::bless_points()?;
    if extra == ["points"] {
        return Ok(());
    }
    setup::ensure_build_tools()?;
    let mut arguments = vec!["test"];
    arguments.extend(SELECTION);
    arguments.extend(extra.iter().map(String::as_str));
    cargo::run_with(&arguments, &[("BLESS", "1")])?;
    eprintln!("\nGolden files are rewritten. Read `git diff` before you commit.");
    Ok(())
}

/// Only the set-up.
pub(crate) fn setup_only() -> Outcome<()> {
    setup::ensure_build_tools()?;
    setup::ensure_test_tools()?;
    setup::ensure_lint_tools()?;
    setup::ensure_players()?;
    eprintln!("Everything that a build needs is there.");
    Ok(())
}

/// Only the tidy rules.
pub(crate) fn tidy_only() -> Outcome<()> {
    tidy::run()
}

fn formatting() -> Outcome<()> {
    cargo::run(&["fmt", "--all", "--check"])
        .map_err(|_| Failure::found("the tree is not formatted; run: cargo fmt --all"))
}

/// What test code may and the rest may not: clocks and threads, and `pub` in modules that several
/// test programs share.
const ALLOWED_IN_TESTS: [&str; 6] = [
    "-A",
    "clippy::disallowed_methods",
    "-A",
    "clippy::disallowed_types",
    "-A",
    "unreachable_pub",
];

/// Two runs over one set of checked dependencies.
fn lints() -> Outcome<()> {
    clippy(&["--lib", "--bins"], &[])?;
    clippy(&["--tests"], &ALLOWED_IN_TESTS)
}

fn clippy(targets: &[&str], levels: &[&str]) -> Outcome<()> {
    let mut arguments = vec!["clippy"];
    arguments.extend(SELECTION);
    arguments.extend(targets);
    arguments.extend(["--", "-D", "warnings"]);
    arguments.extend(levels);
    cargo::run(&arguments)
}

fn cargo_test(extra: &[&str]) -> Outcome<()> {
    let mut arguments = vec!["test"];
    arguments.extend(SELECTION);
    arguments.extend(extra);
    cargo::run(&arguments)
}

fn documentation() -> Outcome<()> {
    let mut arguments = vec!["doc", "--no-deps", "--document-private-items"];
    arguments.extend(SELECTION);
    cargo::run_with(&arguments, &[("RUSTDOCFLAGS", "-D warnings")])
}

/// cargo-deny is built from source by whoever wants it; the ban that matters most (the relay
/// links no `journal` and no `openmls`) is also a tidy rule and so holds without it.
fn no_deny() -> Option<String> {
    let lacking = cargo::output(&["deny", "--version"]).is_err();
    lacking.then(|| {
        "cargo-deny is not installed, so advisories and sources were not checked (cargo install --locked \
         cargo-deny); licences and the relay's closure were, by the tidy rules"
            .to_owned()
    })
}
