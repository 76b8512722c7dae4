//! The gate's time: what the tests have, and what is said if they take more.
//!
//! A timed test on a busy machine says nothing about the tree, so this room only talks, and fails
//! nothing unless a limit was asked for.

use std::time::Duration;

use crate::cargo::Line;
use crate::failure::{Failure, Outcome};
use crate::progress::human;
use crate::words;

/// The tests of the gate have so long, on a machine with [`CORES`], without what is built before.
const TIME: Duration = Duration::from_secs(10 * 60);
/// Nothing is promised to a smaller machine.
const CORES: usize = 2;
/// So many of the slowest programs are named.
const PROGRAMS_NAMED: usize = 5;

/// `--time-limit MINUTES` taken out of a command line, and what is left of it.
pub(crate) fn asked_for(arguments: &[String]) -> Outcome<(Option<Duration>, Vec<String>)> {
    let (minutes, rest) = words::take(arguments, "--time-limit")?;
    let limit = minutes.map(|text| {
        let minutes: Option<u64> = text.parse().ok().filter(|minutes| *minutes > 0);
        let minutes = minutes.ok_or_else(|| Failure::usage("--time-limit wants minutes"))?;
        Ok(Duration::from_secs(60 * minutes))
    });
    Ok((limit.transpose()?, rest))
}

/// What is said about the time that the tests took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// They kept to it.
    Nothing,
    /// Loudly, and the command may end well.
    Warning(String),
    /// A limit that was asked for is broken.
    TooLate(String),
}

/// Compares the time of the tests with what they have.
pub(crate) fn judge(
    took: Duration,
    cores: usize,
    limit: Option<Duration>,
    programs: &[(String, Duration)],
) -> Said {
    let over = |limit: &Duration| took > *limit;
    let slow = |has: Duration| {
        let mut text = format!(
            "TOO SLOW: the tests took {} and have {} on {CORES} cores (here are {cores}). The slowest \
             programs:",
            human(took),
            human(has)
        );
        for (name, time) in programs.iter().take(PROGRAMS_NAMED) {
            text.push_str(&format!("\n  {:>12}  {name}", human(*time)));
        }
        text
    };
    if let Some(limit) = limit.filter(over) {
        return Said::TooLate(slow(limit));
    }
    if over(&TIME) && cores >= CORES {
        return Said::Warning(slow(TIME));
    }
    Said::Nothing
}

/// How long each test program ran, the slowest first: from one line of cargo's about a program to the
/// next.
pub(crate) fn programs(lines: &[Line], end: Duration) -> Vec<(String, Duration)> {
    let begun: Vec<(String, Duration)> = lines
        .iter()
        .filter_map(|line| Some((program(&line.text)?, line.at)))
        .collect();
    let ends = begun.iter().skip(1).map(|(_, at)| *at).chain([end]);
    let mut all: Vec<(String, Duration)> = begun
        .iter()
        .zip(ends)
        .map(|((name, at), end)| (name.clone(), end.saturating_sub(*at)))
        .collect();
    all.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    all
}

/// The program that a line of cargo's says to begin: `Running tests/a.rs (target/debug/deps/a-0f1e)`.
fn program(line: &str) -> Option<String> {
    let line = line.trim();
    if line.starts_with("Doc-tests ") {
        return Some(line.to_owned());
    }
    let (source, path) = line.strip_prefix("Running ")?.split_once(" (")?;
    let (_, file) = path.strip_suffix(')')?.rsplit_once("deps/")?;
    let (name, _hash) = file.rsplit_once('-')?;
    Some(format!("{name}, {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn line(minutes: u32, text: &str) -> Line {
        Line {
            at: MINUTE * minutes,
            text: text.to_owned(),
        }
    }

    #[test]
    fn each_program_has_the_time_until_the_next_one() {
        let lines = [
            line(0, "    Finished `dev` profile"),
            line(
                1,
                "     Running unittests src/lib.rs (/t/debug/deps/wal-0f1e)",
            ),
            line(2, "NOT COVERED: a: Running (late)"),
            line(3, "     Running tests/a.rs (target/debug/deps/a_b-77)"),
            line(8, "   Doc-tests wal"),
        ];
        let found = programs(&lines, MINUTE * 9);
        let wanted = [
            ("a_b, tests/a.rs", 5),
            ("wal, unittests src/lib.rs", 2),
            ("Doc-tests wal", 1),
        ];
        let wanted = wanted.map(|(name, minutes)| (name.to_owned(), MINUTE * minutes));
        assert_eq!(found, wanted);
        assert!(programs(&[], MINUTE).is_empty());
    }

    #[test]
    fn being_late_is_said_and_fails_only_behind_a_limit_that_was_asked_for() {
        let programs = [("slow one".to_owned(), MINUTE * 7)];
        let judge = |minutes: u32, cores, limit: Option<u32>| {
            let limit = limit.map(|minutes| MINUTE * minutes);
            judge(MINUTE * minutes, cores, limit, &programs)
        };
        assert_eq!(judge(10, 2, None), Said::Nothing);
        assert_eq!(judge(11, 1, None), Said::Nothing);
        let Said::Warning(text) = judge(11, 2, None) else {
            panic!("nobody is told");
        };
        for wanted in ["11 min 00 s", "10 min 00 s", "7 min 00 s  slow one"] {
            assert!(text.contains(wanted), "{text}");
        }
        assert!(matches!(judge(19, 2, Some(20)), Said::Warning(_)));
        assert!(matches!(judge(21, 2, Some(20)), Said::TooLate(_)));
        assert!(matches!(judge(9, 1, Some(8)), Said::TooLate(_)));
    }

    #[test]
    fn a_limit_is_a_number_of_minutes() {
        let limit = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            asked_for(&words).map(|(limit, _)| limit)
        };
        assert_eq!(limit("--time-limit 20").unwrap(), Some(MINUTE * 20));
        assert_eq!(limit("-p wal").unwrap(), None);
        for wrong in ["--time-limit", "--time-limit 0", "--time-limit soon"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
