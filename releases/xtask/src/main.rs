//! `cargo xtask`: the project's one door for developers and for CI.
//!
//! This room reads the command line and calls the room that does the work. It must stay light: no
//! dependency on the product's own crates and none that takes long to build, so that a fresh clone
//! answers within a minute. It never changes the tree, except where the user asks for it (`bless`).

#![expect(
    clippy::disallowed_methods,
    reason = "A developer tool is a shell: it times its steps and waits for processes."
)]

mod adversary;
mod bench;
mod budget;
mod cargo;
mod commit;
mod crash;
mod demo;
mod fuzz;
mod gate;
mod junit;
mod lanes;
mod pages;
mod progress;
mod rows;
mod setup;
mod thief;
mod tidy;
mod words;

use std::process::ExitCode;

use failure::{Failure, Outcome};
use programs::failure;

const USAGE: &str = "\
cargo xtask COMMAND

  demo     set up what is missing, build, and run the whole system on a real clip:
           pair, record, stream, kill each process, compare every byte; then with a virtual camera,
           before which somebody walks by: found by motion, told, shown and recorded, with kills in
           the middle. Pictures and clips of that are left in demo-pictures beside the programs
             --clip FILE    another MP4 with an H.264 track for the first part, of any length: a short one is played again
                            within an event, of a long one the first 20 s are played. It wants about a
                            picture a second or more; what the hub refuses (no H.264, no key frame, a
                            damaged file, ...) it says in one sentence: hub/README.md
             --json         one JSON object on stdout
             --keep         keep the temporary directory
             --wipe-relay   also delete the relay's data while it is down
  test     set up what is missing and run everything that gates a change
             --junit FILE   results for CI; what was left out is there as skipped
             --time-limit N fail if the tests, without what is built before, take more than N minutes;
                            more than 10 are said loudly in any case
  check    formatting, lints, tidy rules, documentation, licences (no tests)
             --junit FILE   results for CI
  crash    every kind of crash test and one report, within an hour: a simulation, every disk
           error, power cuts derived from recordings, kills at every hit up to 8 of every crash
           point and again in recovery, deliberate bugs, the model
             --quick        a few minutes: less of everything (the gate runs more)
             --full         hours: more of everything, and what needs root
             --minutes N    at most about so long; what is left is reported as NOT COVERED, and
                            fails; with --full it is only reported, for there N is the plan. Stopped
                            by it: simulation, engine, disk-errors, daemon-errors, power-cuts,
                            real-file-system, kills; all others take what they take
             --only NAME    one kind: simulation, disk-errors, power-cuts, kills, ...
             --without NAME leave one kind out; the report says that it was not covered
             --shard K/N    one machine's part, K from 0, of those same seven (the seeds of simulation
                            and engine only with --full); all others do the whole of what they do
             --resume       with --full those same seven go on where they stopped, and all others begin
                            anew. What passed is not repeated; what failed is asked again first and
                            stays failed, totals are of all parts, another build is refused (of the
                            real file system totals are of the last part, and a failure is tried again)
             --json         one JSON object on stdout
             --junit FILE   results for CI; what was left out is there as skipped
             --bless        keep the report as crashtest/REPORT.md, if all of it is good; with
                            --full the totals, whatever parts were run
             --merge FILE.. run nothing: add the totals that the machines of --full --shard wrote with
                            --json; prints them (--json) or keeps them (--bless). A kind that no file
                            has fails, unless --without NAME says that this is meant
  thief    live a long life of hub and phone, copy all files after every step, and let a program that
           shares none of our code open what it can, with all that was ever sent at hand; then the
           same with sealing switched off, where everything must open
             --quick        20 epochs instead of 200
             --seed N       another life
             --json         one JSON object on stdout
             --bless        keep the figures of a whole run, of a commit, in SECURITY.md; wants root,
                            which also searches freed disk blocks
  adversary
           a malicious relay with eighteen vices against the real hub and app, starts on old copies of
           their directories, every message between them changed before it comes, and what lies
           under its wrap; half an hour or so
             --long         ten seeds of each vice, and every byte in three ways: some hours
             --only NAME    relay, rollback or traffic
             --json         one JSON object on stdout
             --bless        keep the table of old copies as crashtest/ROLLBACK.md, if all went well
  fuzz     every parser of bytes from outside under libFuzzer, 5 minutes each, on a nightly toolchain;
           it fails on a finding and keeps the input
             --minutes N    for each target
             --long         30 minutes for each
             --target NAME  one of them; may be given several times
             --jobs N       so many at a time; otherwise half as many as the machine has threads
             --resume       pass over targets that ran at least so long on this very commit, and found nothing
             --json         one JSON object on stdout
             --bless        keep the results as rows of crashtest/fuzz/RESULTS.md, each with its commit; other
                            targets keep theirs. Wants a tree without changes, and 5 minutes at least
  bench    ratios against the yardsticks, in one run; it fails if a target is missed or something is not measured
             --quick        fewer rounds: a look, not a result, in which that is only said
             --only PART    seal, epoch, ingest, memory, crypto, motion or whole (the programs together, a quarter of an
                            hour: live, moments of an event, four cameras); may be given several times
             --dir DIR      where to write: on the disk that is to be measured
             --json         one line of JSON on stdout
             --bless        keep the figures as rows of journal/bench/RESULTS.md, each with its commit, date and machine;
                            parts that are not run keep theirs. Wants a tree without changes, and no quick run
  bless    rewrite golden files and hex; then read the diff
             points         only the table of crash points (crashtest/points.md)
  pages    man pages and completions of the three programs, made of what they say themselves
             DIR            where to, laid out as /usr/share is
  setup    only set up what is missing
  tidy     only the tidy rules
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: &[String]) -> Outcome<()> {
    let Some((command, rest)) = arguments.split_first() else {
        return Err(Failure::usage(format!("which command?\n\n{USAGE}")));
    };
    if asks_for_help(rest)
        && let Some(part) = usage_of(command)
    {
        print!("{part}");
        return Ok(());
    }
    match command.as_str() {
        "demo" => demo::run(&demo::Options::parse(rest)?),
        "test" => gate::test(rest),
        "check" => gate::check(rest),
        "crash" => crash::run(rest),
        "thief" => thief::run(rest),
        "adversary" => adversary::run(rest),
        "fuzz" => fuzz::run(rest),
        "bench" => bench::run(rest),
        "bless" => gate::bless(rest),
        "pages" => pages::run(rest),
        "setup" => gate::setup_only(),
        "tidy" => gate::tidy_only(),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(Failure::usage(format!(
            "no command is called `{other}`\n\n{USAGE}"
        ))),
    }
}

/// What stands behind `--` is not ours.
fn asks_for_help(arguments: &[String]) -> bool {
    let ours = arguments.iter().take_while(|argument| *argument != "--");
    ours.into_iter()
        .any(|argument| argument == "--help" || argument == "-h")
}

/// The part of the usage that is about one command.
fn usage_of(command: &str) -> Option<String> {
    let is_command = |line: &str| line.starts_with("  ") && !line.starts_with("   ");
    let mut lines = USAGE
        .lines()
        .skip_while(|line| !is_command(line) || line.split_whitespace().next() != Some(command));
    let mut part = format!("cargo xtask {command}\n\n{}\n", lines.next()?);
    for line in lines.take_while(|line| line.starts_with("   ")) {
        part.push_str(line);
        part.push('\n');
    }
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn every_command_explains_itself() {
        let commands = "demo test check crash thief adversary fuzz bench bless pages setup tidy";
        for command in words(commands) {
            for help in ["--help", "-h"] {
                run(&[command.clone(), help.to_owned()]).unwrap();
            }
        }
        let demo = usage_of("demo").unwrap();
        assert!(demo.contains("--clip FILE") && demo.contains("--wipe-relay"));
        assert!(!demo.contains("--junit"), "{demo}");
        assert!(usage_of("bench").unwrap().contains("--quick"));
        assert!(usage_of("fast").is_none());
        assert_eq!(run(&words("fast --help")).unwrap_err().exit_code(), 2);
        // What is another program's is not ours to explain.
        assert!(!asks_for_help(&words("-- --help")));
    }
}
