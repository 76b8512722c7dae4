//! Results as JUnit XML, which hosted CI reads: one case for each step, one for each test.
//!
//! This room only formats. It reads what libtest prints for people, because its machine output is
//! not stable; a line that it does not know is no case, and the step's own case says the outcome.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{Because as _, Failure, Outcome};

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// What sort of thing it is: `step` or `test`.
    pub(crate) class: &'static str,
    pub(crate) name: String,
    pub(crate) passed: bool,
    pub(crate) time: Duration,
}

/// The tests of a run of `cargo test`, from what it printed. The same name may occur in several
/// programs; the worst outcome counts then.
pub(crate) fn tests(printed: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in printed.lines() {
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            continue;
        };
        // `test name - should panic ... ok` and doc-tests keep their words.
        let passed = match outcome.trim() {
            "ok" => true,
            text if text.starts_with("FAILED") => false,
            _ => continue,
        };
        cases.push(Case {
            class: "test",
            name: name.to_owned(),
            passed,
            time: Duration::ZERO,
        });
    }
    cases
}

/// `--junit FILE` taken out of a command line, and what is left of it.
pub(crate) fn asked_for(words: &[String]) -> Outcome<(Option<PathBuf>, Vec<String>)> {
    let mut rest = words.to_vec();
    let Some(at) = rest.iter().position(|word| word == "--junit") else {
        return Ok((None, rest));
    };
    if at + 1 >= rest.len() {
        return Err(Failure::usage("--junit wants a file"));
    }
    let path = PathBuf::from(rest.remove(at + 1));
    rest.remove(at);
    Ok((Some(path), rest))
}

/// Writes a file of results.
pub(crate) fn write(path: &Path, suite: &str, cases: &[Case]) -> Outcome<()> {
    fs::write(path, xml(suite, cases)).because("the JUnit file cannot be written")
}

fn xml(suite: &str, cases: &[Case]) -> String {
    let failures = cases.iter().filter(|case| !case.passed).count();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let suite = escaped(suite);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "<testsuites><testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failures}\">",
        cases.len()
    );
    for case in cases {
        let name = escaped(&case.name);
        let seconds = case.time.as_secs_f64();
        let _ = write!(
            text,
            "<testcase classname=\"{}\" name=\"{name}\" time=\"{seconds:.3}\"",
            case.class
        );
        let end = if case.passed {
            "/>\n"
        } else {
            "><failure message=\"failed; the log says why\"/></testcase>\n"
        };
        text.push_str(end);
    }
    text.push_str("</testsuite></testsuites>\n");
    text
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libtest_prints_becomes_cases() {
        let printed = "running 3 tests\n\
                       test store::a_file_is_whole ... ok\n\
                       test journal/src/lib.rs - (line 7) - compile fail ... ok\n\
                       test that::<\"one\"> ... FAILED\n\
                       test result: FAILED. 2 passed; 1 failed\n";
        let cases = tests(printed);
        let passed: Vec<bool> = cases.iter().map(|case| case.passed).collect();
        assert_eq!(passed, [true, true, false]);
        let xml = xml("gate", &cases);
        assert!(xml.contains("tests=\"3\" failures=\"1\""), "{xml}");
        assert!(
            xml.contains("name=\"that::&lt;&quot;one&quot;&gt;\""),
            "{xml}"
        );
        assert_eq!(xml.matches("<failure ").count(), 1);
    }
}
