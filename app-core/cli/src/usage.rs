//! A command line that cannot be read: what the parser says for a person, and for a program that reads JSON the same object
//! as for any other failure.
//!
//! It must never write where `live` would have written pictures.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::output::{Place, Style};

/// The exit code of wrong use.
const EXIT_USAGE: u8 = 2;

/// Says what is wrong with the words of a command line, or shows help or the version.
pub(crate) fn refuse(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE);
    match usage_words::sentence_for_scripts(error, words.iter().cloned()) {
        Some(sentence) => Style::Json.failure(place_of_facts(words), &sentence, code),
        None => {
            // Nobody can be told that stdout or stderr is closed.
            let _closed = error.print();
        }
    }
    ExitCode::from(code)
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

#[cfg(test)]
mod tests {
    use super::*;

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
            place_of_facts(&words)
        };
        for words in stderr {
            assert_eq!(place(words), Place::Stderr, "{words:?}");
        }
        for words in stdout {
            assert_eq!(place(words), Place::Stdout, "{words:?}");
        }
    }
}
