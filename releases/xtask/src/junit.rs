//! Results as JUnit XML, which hosted CI reads: one case for each step, one for each test.
//!
//! This room only formats. It reads what libtest prints for people, because its machine output is
//! not stable; a line that it does not know is no case, and the step's own case says the outcome.
//! It must never count as passed what says of itself that it was not covered.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{Because as _, Outcome};
use crate::words;

/// How a test says on stderr that it left something out: `NOT COVERED: name: reason`, a line of its own
/// that is written past libtest, which hides what a passing test prints.
const NOT_COVERED: &str = "NOT COVERED: ";

/// What came of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// With a sentence.
    Failed(String),
    /// It was not done, and this is why.
    Skipped(String),
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// What sort of thing it is: `step`, `test` or `coverage`.
    pub(crate) class: &'static str,
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    pub(crate) time: Duration,
}

impl Case {
    fn new(class: &'static str, name: &str, verdict: Verdict) -> Self {
        Self {
            class,
            name: name.to_owned(),
            verdict,
            time: Duration::ZERO,
        }
    }

    /// Something that a report says to be missing: `name: reason`.
    pub(crate) fn missing(sentence: &str) -> Self {
        let (name, why) = sentence
            .split_once(": ")
            .unwrap_or((sentence, "not covered"));
        Self::new("coverage", name, Verdict::Skipped(why.to_owned()))
    }

    /// For people, if it was not covered.
    pub(crate) fn not_covered(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Skipped(why) => Some(format!("{}: {why}", self.name)),
            Verdict::Passed | Verdict::Failed(_) => None,
        }
    }
}

/// The tests of a run of `cargo test`, from what it printed and from what they said on stderr.
pub(crate) fn tests(printed: &str, said: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in printed.lines() {
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            continue;
        };
        // `test name - should panic ... ok` and doc-tests keep their words.
        let verdict = match outcome.trim() {
            "ok" => Verdict::Passed,
            text if text.starts_with("FAILED") => {
                Verdict::Failed("failed; the log says why".to_owned())
            }
            text if text.starts_with("ignored") => Verdict::Skipped(text.to_owned()),
            _ => continue,
        };
        cases.push(Case::new("test", name, verdict));
    }
    for line in said.lines() {
        if let Some(sentence) = line.strip_prefix(NOT_COVERED) {
            leave_out(&mut cases, &Case::missing(sentence));
        }
    }
    cases
}

/// A test that passed and said that it covers nothing is a skipped one. What no test has the name of is
/// a case of its own, so that it is seen all the same.
fn leave_out(cases: &mut Vec<Case>, missing: &Case) {
    let path = format!("::{}", missing.name);
    let meant = cases.iter_mut().find(|case| {
        let named = case.name == missing.name || case.name.ends_with(&path);
        named && case.verdict == Verdict::Passed
    });
    match meant {
        Some(case) => case.verdict.clone_from(&missing.verdict),
        None => cases.push(missing.clone()),
    }
}

/// `--junit FILE` taken out of a command line, and what is left of it.
pub(crate) fn asked_for(arguments: &[String]) -> Outcome<(Option<PathBuf>, Vec<String>)> {
    let (path, rest) = words::take(arguments, "--junit")?;
    Ok((path.map(PathBuf::from), rest))
}

/// Writes a file of results.
pub(crate) fn write(path: &Path, suite: &str, cases: &[Case]) -> Outcome<()> {
    fs::write(path, xml(suite, cases)).because("the JUnit file cannot be written")
}

fn xml(suite: &str, cases: &[Case]) -> String {
    let count = |wanted: fn(&Verdict) -> bool| {
        let cases = cases.iter().filter(|case| wanted(&case.verdict));
        cases.count()
    };
    let failures = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let suite = escaped(suite);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "<testsuites><testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failures}\" \
         skipped=\"{skipped}\">",
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
        let (element, why) = match &case.verdict {
            Verdict::Passed => {
                text.push_str("/>\n");
                continue;
            }
            Verdict::Failed(why) => ("failure", why),
            Verdict::Skipped(why) => ("skipped", why),
        };
        let why = escaped(why);
        let _ = writeln!(text, "><{element} message=\"{why}\"/></testcase>");
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
        let printed = "running 4 tests\n\
                       test store::a_file_is_whole ... ok\n\
                       test journal/src/lib.rs - (line 7) - compile fail ... ok\n\
                       test journal/src/lib.rs - (line 9) ... ignored\n\
                       test that::<\"one\"> ... FAILED\n\
                       test result: FAILED. 2 passed; 1 failed\n";
        let cases = tests(printed, "");
        let verdicts: Vec<&Verdict> = cases.iter().map(|case| &case.verdict).collect();
        assert!(matches!(
            verdicts[..],
            [
                Verdict::Passed,
                Verdict::Passed,
                Verdict::Skipped(_),
                Verdict::Failed(_)
            ]
        ));
        let xml = xml("gate", &cases);
        assert!(
            xml.contains("tests=\"4\" failures=\"1\" skipped=\"1\""),
            "{xml}"
        );
        assert!(
            xml.contains("name=\"that::&lt;&quot;one&quot;&gt;\""),
            "{xml}"
        );
        assert_eq!(xml.matches("<failure ").count(), 1);
    }

    #[test]
    fn a_test_that_says_it_covers_nothing_has_not_passed() {
        let printed = "test media::with_ffmpeg ... ok\n\
                       test media::without ... ok\n\
                       test media::broken ... FAILED\n";
        let said = "     Running tests/media.rs (target/debug/deps/media-0)\n\
                    NOT COVERED: with_ffmpeg: ffmpeg is <not> installed\n\
                    what it says: NOT COVERED: is no line of its own\n\
                    NOT COVERED: broken: it must stay a failure\n\
                    NOT COVERED: a whole machine\n";
        let cases = tests(printed, said);
        let left: Vec<String> = cases.iter().filter_map(Case::not_covered).collect();
        let wanted = [
            "media::with_ffmpeg: ffmpeg is <not> installed",
            "broken: it must stay a failure",
            "a whole machine: not covered",
        ];
        assert_eq!(left, wanted);
        let xml = xml("gate", &cases);
        assert!(
            xml.contains("tests=\"5\" failures=\"1\" skipped=\"3\""),
            "{xml}"
        );
        let skipped = "<skipped message=\"ffmpeg is &lt;not&gt; installed\"/></testcase>";
        assert!(xml.contains(skipped), "{xml}");
        assert!(xml.contains("name=\"media::without\" time=\"0.000\"/>"));
    }
}
