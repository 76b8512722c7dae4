//! A command line that cannot be read, for a program that reads JSON: the same object as for any other failure.

use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::exit::{Code, Failure};

/// What is wrong with a command line of these words, if whoever gave it reads JSON. None for a person, who gets what the
/// parser says, and where help or the version was asked for.
pub fn usage_failure(
    error: &clap::Error,
    words: impl IntoIterator<Item = OsString>,
) -> Option<Failure> {
    let mut words = words.into_iter().take_while(|word| word != "--");
    let wants_json = words.any(|word| word == "--json");
    (wants_json && error.use_stderr()).then(|| Failure::new(Code::Usage, sentence(error)))
}

/// What the parser says, without how a command line should look.
fn sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command or an argument is missing; see --help".into();
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().take_while(|line| !line.is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
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
