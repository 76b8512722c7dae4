//! A command line that cannot be read: what the parser says for a person, and for a program that reads JSON the same object
//! as for any other failure.
//!
//! It must never write where `live` would have written pictures.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::output::{Place, Style};

/// The exit code of wrong use.
const EXIT_USAGE: u8 = 2;
/// With which every code that the hub shows or prints begins.
const CODE_PREFIX: &str = "SECLUSO";

/// Says what is wrong with the words of a command line, or shows help or the version.
pub(crate) fn refuse(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE);
    match error.use_stderr() && wants_json(words) {
        true => Style::Json.failure(place_of_facts(words), &sentence(error), code),
        false => {
            // Nobody can be told that stdout or stderr is closed.
            let _closed = error.print();
        }
    }
    ExitCode::from(code)
}

fn wants_json(words: &[OsString]) -> bool {
    let mut words = words.iter().take_while(|word| *word != "--");
    words.any(|word| word == "--json")
}

/// Where the facts would have gone, as far as words tell that nobody could read: `live` has stdout for its pictures,
/// unless they go elsewhere.
fn place_of_facts(words: &[OsString]) -> Place {
    let begins_with = |word: &OsString, name: &str| {
        let word = word.to_string_lossy();
        word == name || word.starts_with(&format!("{name}="))
    };
    let mut rest = words.iter();
    let command = loop {
        match rest.next() {
            Some(word) if word == "--dir" => {
                let _its_value = rest.next();
            }
            Some(word) if word.to_string_lossy().starts_with('-') => {}
            command => break command,
        }
    };
    let is_live = command.is_some_and(|command| command == "live");
    let has_stdout = |word: &OsString| begins_with(word, "--out") || begins_with(word, "--player");
    match is_live && !words.iter().any(has_stdout) {
        true => Place::Stderr,
        false => Place::Stdout,
    }
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
    let mut parts = text.split(CODE_PREFIX);
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
    use super::*;

    #[test]
    fn a_code_in_a_wrong_place_is_not_repeated() {
        let said =
            without_codes("unrecognized subcommand 'SECLUSODEVICE1:AB-CD_9.x', or SECLUSO1:QQ");
        assert_eq!(said, "unrecognized subcommand '(a code)', or (a code)");
        assert_eq!(without_codes("no such file"), "no such file");
    }

    #[test]
    fn a_failure_stands_beside_the_pictures_that_would_have_come() {
        let stderr = [
            &["live", "--json", "--bogus"][..],
            &["--json", "--dir", "status", "live", "--seconds", "x"],
        ];
        let stdout = [
            &["live", "--json", "--out", "x.mp4", "--bogus"][..],
            &["live", "--json", "--player=mpv", "--bogus"],
            &["--json", "--dir", "live", "status", "--bogus"],
            &["--json"],
        ];
        let place = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert!(wants_json(&words));
            place_of_facts(&words)
        };
        for words in stderr {
            assert_eq!(place(words), Place::Stderr, "{words:?}");
        }
        for words in stdout {
            assert_eq!(place(words), Place::Stdout, "{words:?}");
        }
        assert!(!wants_json(&[
            "export".into(),
            "--".into(),
            "--json".into()
        ]));
    }
}
