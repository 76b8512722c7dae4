//! `secluso-person`: how likely a person is in a picture.
//!
//! It gets a JPEG on its standard input and prints a number from 0 to 1, as the hub's `person_program` is to. It must
//! never open a file or a socket, never keep a picture, and never panic over one.
#![forbid(unsafe_code)]

mod crops;
mod jpeg;
mod model;
mod protocol;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::ExitCode;

const HELP: &str = "\
secluso-person: how likely a person is in a picture

Reads one JPEG from standard input and prints a number from 0 to 1. Without a picture it prints nothing.

Usage: secluso-person < PICTURE.jpg

Options:
  -h, --help     Print this
  -V, --version  Print the version
";
const VERSION: &str = concat!("secluso-person ", env!("CARGO_PKG_VERSION"), "\n");

/// The exit code for arguments that are none.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let said = match arguments.as_slice() {
        [] => hint(),
        [one] if *one == "--help" || *one == "-h" => Ok(HELP.to_owned()),
        [one] if *one == "--version" || *one == "-V" => Ok(VERSION.to_owned()),
        _ => {
            complain("it takes no arguments; see --help");
            return ExitCode::from(USAGE);
        }
    };
    let printed = said.and_then(|text| {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| format!("the answer cannot be printed: {error}"))
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// What is to be printed about the picture on standard input; nothing, if there is none.
fn hint() -> Result<String, String> {
    let read = protocol::read(std::io::stdin().lock()).map_err(|error| error.to_string())?;
    read.map_or(Ok(String::new()), |jpeg| look(&jpeg).map(protocol::answer))
}

/// How likely a person is in it, from 0 to 1: the most that the model says of any of its squares.
fn look(jpeg: &[u8]) -> Result<f32, String> {
    let grey = jpeg::grey(jpeg).map_err(|error| error.to_string())?;
    let squares = crops::of(grey.width, grey.height);
    if squares.is_empty() {
        return Err(format!(
            "the picture has {} by {} pixels; the model needs at least {side} by {side}",
            grey.width,
            grey.height,
            side = crops::SIDE
        ));
    }
    let likelihoods = squares
        .into_iter()
        .map(|square| model::likelihood(&crops::shrunk(&grey, square)));
    Ok(likelihoods.fold(0.0, f32::max))
}

/// Says it on standard error, if that is open.
fn complain(why: &str) {
    let _closed = writeln!(std::io::stderr(), "secluso-person: {why}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_an_error_that_says_why() {
        assert!(look(b"").is_err());
        assert!(look(b"\xFF\xD8\xFF\xE0 no picture").is_err());
        let small = jpeg::tests::encoded(95, 200, 80, |_, _| 90);
        let why = look(&small).expect_err("no square fits");
        assert!(why.contains("95 by 200"), "{why}");
    }

    /// A still of the people who walk in `hub/testdata/people-20s.mp4`, at its first second.
    #[test]
    fn walking_people_are_likelier_than_a_test_pattern() {
        let people = look(include_bytes!("../testdata/people.jpg")).expect("a picture");
        let pattern =
            jpeg::tests::encoded(640, 360, 80, |x, y| ((x / 40 + y / 40) % 2 * 200) as u8);
        let pattern = look(&pattern).expect("a picture");
        assert!(people > 0.7 && pattern < 0.5, "{people}, {pattern}");
    }

    #[test]
    fn a_picture_is_looked_at_from_its_bytes_to_the_answer() {
        let plain = jpeg::tests::encoded(96, 96, 80, |_, _| 191);
        let likelihood = look(&plain).expect("a picture");
        assert!((0.0..=1.0).contains(&likelihood), "{likelihood}");
    }
}
