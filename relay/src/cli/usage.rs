//! A command line that cannot be read, for a program that reads JSON: one sentence, as of any other failure.

use std::ffi::OsString;

use clap::error::ErrorKind;

/// What is wrong with a command line of these words, if whoever gave it reads JSON. None for a person, who gets what the
/// parser says, and where help or the version was asked for.
pub(super) fn sentence_for_scripts(
    error: &clap::Error,
    words: impl IntoIterator<Item = OsString>,
) -> Option<String> {
    let mut words = words.into_iter().take_while(|word| word != "--");
    let wants_json = words.any(|word| word == "--json");
    (wants_json && error.use_stderr()).then(|| sentence(error))
}

/// What the parser says, without how a command line should look.
fn sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command or an argument is missing; see --help".to_owned();
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().take_while(|line| !line.is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Arguments;
    use super::*;

    fn said(words: &[&str]) -> Option<String> {
        let words = || words.iter().map(OsString::from);
        let error = Arguments::try_parse_from(words()).err().unwrap();
        sentence_for_scripts(&error, words())
    }

    #[test]
    fn a_script_gets_one_sentence_and_a_person_what_the_parser_says() {
        let unknown = said(&["secluso-relay", "status", "--json", "--bogus"]).unwrap();
        assert!(unknown.contains("--bogus"), "{unknown}");
        let wrong = said(&["secluso-relay", "--json", "invite", "--ttl", "1w"]).unwrap();
        assert!(wrong.contains("1w"), "{wrong}");
        let missing = said(&["secluso-relay", "--json"]).unwrap();
        for said in [unknown, wrong, missing] {
            assert!(!said.contains('\n') && !said.starts_with("error"), "{said}");
        }
        for words in [
            &["secluso-relay", "status", "--bogus"][..],
            &["secluso-relay", "status", "--json", "--help"],
        ] {
            assert_eq!(said(words), None, "{words:?}");
        }
    }
}
