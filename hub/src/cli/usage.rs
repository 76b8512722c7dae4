//! A command line that cannot be read, for a program that reads JSON: the same object as for any other failure.

use std::ffi::OsString;

use crate::exit::{Code, Failure};

/// What is wrong with a command line of these words, if whoever gave it reads JSON. None for a person, who gets what the
/// parser says, and where help or the version was asked for.
pub fn usage_failure(
    error: &clap::Error,
    words: impl IntoIterator<Item = OsString>,
) -> Option<Failure> {
    let sentence = usage_words::sentence_for_scripts(error, words)?;
    Some(Failure::new(Code::Usage, sentence))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;
    use super::*;

    fn failure(words: &[&str]) -> Option<Failure> {
        let words = || words.iter().map(OsString::from);
        let error = Cli::try_parse_from(words()).err().unwrap();
        usage_failure(&error, words())
    }

    #[test]
    fn a_script_gets_one_sentence_and_a_person_what_the_parser_says() {
        let failure_of = |words: &[&str]| failure(words).unwrap();
        let unknown = failure_of(&["secluso-hub", "status", "--json", "--bogus"]);
        assert_eq!(unknown.code, Code::Usage);
        assert!(unknown.message.contains("--bogus"), "{unknown}");
        let missing = failure_of(&["secluso-hub", "test-camera", "--json"]);
        assert!(missing.message.contains("<URL>"), "{missing}");
        for said in [unknown.message, missing.message] {
            assert!(!said.contains('\n') && !said.starts_with("error"), "{said}");
        }
        for words in [
            &["secluso-hub", "status", "--bogus"][..],
            &["secluso-hub", "status", "--json", "--help"],
            &["secluso-hub", "status", "--bogus", "--", "--json"],
        ] {
            assert_eq!(failure(words), None, "{words:?}");
        }
    }
}
