//! What the programs say of a command line that cannot be read, for a program that reads JSON: one sentence, as of any other
//! failure.
//!
//! It prints nothing: each program has its own object and its own place for it. It must never repeat a code that stands
//! in the wrong place.

use std::ffi::OsString;

use clap::error::ErrorKind;

/// With which every code that hub or relay shows or prints begins.
const CODE_PREFIXES: [&str; 2] = ["SECLUSO", "secluso-invite:"];

/// What is wrong with a command line of these words, if whoever gave it reads JSON. None for a person, who gets what the
/// parser says, and where help or the version was asked for.
pub fn sentence_for_scripts(
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
        return "a command or an argument is missing; see --help".into();
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().take_while(|line| !line.is_empty());
    without_codes(&lines.map(str::trim).collect::<Vec<_>>().join(" "))
}

/// A code that was given in the place of a command is a secret, and what scripts are told is kept.
fn without_codes(text: &str) -> String {
    CODE_PREFIXES
        .into_iter()
        .fold(text.to_owned(), |text, prefix| without(&text, prefix))
}

fn without(text: &str, prefix: &str) -> String {
    let mut parts = text.split(prefix);
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|of: char| !(of.is_ascii_alphanumeric() || ":-_.".contains(of)));
        said.push_str("(a code)");
        said.push_str(end.and_then(|end| part.get(end..)).unwrap_or_default());
    }
    said
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    fn said(words: &[&str]) -> Option<String> {
        let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
        let look = Command::new("look").arg(Arg::new("what").required(true));
        let program = Command::new("program").arg(json.global(true));
        let program = program
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(look);
        let words = || words.iter().map(OsString::from);
        let error = program.try_get_matches_from(words()).unwrap_err();
        sentence_for_scripts(&error, words())
    }

    #[test]
    fn a_script_gets_one_sentence_and_a_person_what_the_parser_says() {
        let unknown = said(&["program", "look", "--json", "--bogus"]).unwrap();
        assert!(unknown.contains("--bogus"), "{unknown}");
        let missing = said(&["program", "look", "--json"]).unwrap();
        assert!(missing.contains("<what>"), "{missing}");
        let nothing = said(&["program", "--json"]).unwrap();
        for said in [unknown, missing, nothing] {
            assert!(!said.contains('\n') && !said.starts_with("error"), "{said}");
        }
        for words in [
            &["program", "look", "--bogus"][..],
            &["program", "look", "--json", "--help"],
            &["program", "look", "--bogus", "--", "--json"],
        ] {
            assert_eq!(said(words), None, "{words:?}");
        }
    }

    #[test]
    fn a_code_in_a_wrong_place_is_not_repeated() {
        let wrong = said(&["program", "--json", "SECLUSODEVICE1:AB-CD_9.x"]).unwrap();
        assert!(
            wrong.contains("'(a code)'") && !wrong.contains("AB-CD"),
            "{wrong}"
        );
        let two = without_codes("'SECLUSODEVICE1:AB-CD_9.x', or SECLUSO1:QQ");
        assert_eq!(two, "'(a code)', or (a code)");
        let invitation = without_codes("'secluso-invite:AAEC_-0' is none");
        assert_eq!(invitation, "'(a code)' is none");
        assert_eq!(without_codes("no such file"), "no such file");
    }
}
